"""The command `pr12`: claims and where they come from."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import bad_inputs
from pr12 import cli, options
from pr12.photostyle.transfer import settings as style_settings
from pr12.rca.predict import settings as quality_settings
from pr12.report import claim_forms
from pr12.report.lookup import judged, trace
from pr12.workflow import doctor, yaml_files

ROOT = Path(__file__).resolve().parents[3]
PAPERS = ("distill", "photostyle", "rca", "stn", "vae")


def run(*words, code=0):
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, [*words, "--root", str(ROOT)])
    assert done.exit_code == code, done.output
    return done.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from pr12 import cli; "
        "text = CliRunner().invoke(cli.app, ['--help']).output; assert 'trace' in text; "
        "print(*sorted({'torch', 'numpy', 'snakemake', 'yaml', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_claims_are_listed_with_numbers_and_counted():
    text = run("claims", "distill", "--verdict", "differs")
    assert "distill.distilled_74" in text
    assert "139 [133.2, 144.8]" in text
    assert "56.8 to 91.2" in text
    assert "reproduced" not in text


def test_claims_as_json_are_the_records():
    records = json.loads(run("claims", "vae", "--run", "embedded", "--json"))
    committed = json.loads((ROOT / "reports/embedded/vae/claims.json").read_text(encoding="utf-8"))
    assert [record["id"] for record in records] == [record["id"] for record in committed]
    assert {(record["run"], record["paper"]) for record in records} == {("embedded", "vae")}


BAD_INPUTS = [
    ("paper", ["claims", "nobody"], ["'nobody'", "paper", "distill, photostyle"]),
    ("verdict", ["claims", "--verdict", "good"], ["'good'", "verdict", "reproduced"]),
    ("run", ["claims", "--run", "smok"], ["'smok'", "full, embedded"]),
    ("runs at once", ["claims", "--run", "*"], ["'*'", "full, embedded"]),
    ("run of a trace", ["trace", "vae.x", "--run", "../full"], ["'../full'", "full, embedded"]),
    ("claim", ["trace", "distill.distiled_74"], ["distill.distiled_74", "distill.distilled_74"]),
    ("no claim at all", ["trace", "x"], ["'x'", "pr12 claims"]),
]


@bad_inputs.each(BAD_INPUTS)
def test_a_mistake_is_one_sentence(row):
    (words,) = row.given
    text = run(*words, code=2).strip()
    assert text.startswith("error: ")
    bad_inputs.check(text, row.words)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["photostyle.residual_pair3", "--run", "embedded"], "no case in the run embedded"),
        (["stn.time_multi", "--run", "full"], "about time"),
    ],
)
def test_what_cannot_be_made_again_is_refused_before_the_question(words, part):
    assert part in run("trace", *words, "--again", code=2).splitlines()[-1]


@pytest.mark.parametrize("paper", PAPERS)
def test_a_claim_is_traced_to_its_raw_data(paper):
    records = json.loads((ROOT / f"reports/full/{paper}/claims.json").read_text(encoding="utf-8"))
    record = next(each for each in records if each["verdict"] == "reproduced")
    text = run("trace", f"{paper}.{record['id']}")
    lines = text.splitlines()
    assert lines[0] == f"{paper}.{record['id']} (run full): {record['says']}"
    assert f"  verdict    {record['verdict']}" in lines
    commands = [line for line in lines if "python -m pr12." in line]
    assert len(commands) == len(set(commands)) >= 2
    assert any(f"pr12.{paper}." in command for command in commands)
    for source in record["sources"]:
        if source["path"].startswith("build/"):
            assert source["case"] in text


def test_values_by_seed_are_those_of_the_evidence():
    actual = judged.find(list(judged.read(ROOT / "reports", ["full"])), "distill.distilled_74")
    traced = trace.trace(ROOT, actual)
    values = traced.metrics["soft_800_T20"]["test/errors"]
    assert sum(values) / len(values) == actual.record["measured"]["mean"]


def test_a_run_that_judged_a_claim_comes_first():
    every = list(judged.read(ROOT / "reports", cli.RUNS))
    claim = judged.find(every, "distill.munge_falls")  # of the embedded run only
    assert claim.run == "embedded"


def listed_claims():
    for paper in PAPERS:
        for claim in yaml_files.load(ROOT / "papers" / paper / "claims.yaml"):
            yield paper, claim


@pytest.mark.parametrize("kind", [*claim_forms.FORMS, "choose", "timing"])
def test_a_trace_shows_values_of_all_that_its_claim_is_judged_on(kind):
    judged_by_run = list(judged.read(ROOT / "reports", ["full"]))
    measured = {each.name for each in judged_by_run if each.record["measured"]}
    matching = [
        (f"{paper}.{claim['id']}", claim)
        for paper, claim in listed_claims()
        if claim_forms.form_of(claim) == kind or (kind in ("choose", "timing") and kind in claim)
    ]
    name, claim = next((name, claim) for name, claim in matching if name in measured)
    traced = trace.trace(ROOT, judged.find(judged_by_run, name))
    needed = claim_forms.needs(claim)
    assert {case for case, _ in needed} == set(traced.metrics)
    for case, key in needed:
        assert len(traced.metrics[case][key]) >= 1
    text = run("trace", name, "--run", "full")
    assert all(f"  {case}  {key}: " in text for case, key in needed)


SETTINGS = [
    (module, name) for module in (style_settings, quality_settings) for name in module.DEFAULTS
]


@pytest.mark.parametrize(("module", "name"), SETTINGS)
def test_messages_of_a_tool_name_its_options(module, name):
    shown = {each: f"--{each.replace('_', '-')}" for each in module.DEFAULTS}
    option = f"--{name.replace('_', '-')}"
    for text in ("--params.{} is 3; lower {}", "--params.{}[1] is 3; raise {} or give it"):
        assert options.translated(text.format(name, name), shown) == text.replace(
            "--params.{}", option
        ).format(option)
    assert options.translated(f"a/{name}/b.png and {name}.png", shown) == (
        f"a/{name}/b.png and {name}.png"
    )


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--style-weight", "-1"], ["--style-weight is -1.0", "at least 0"]),
        (["--size", "0"], ["--size is 0", "at least 1"]),
        (["--content-mask", "none.png"], ["--content-mask none.png", "does not exist"]),
        (["--weights", "none.pth"], ["--weights none.pth", "does not exist"]),
    ],
)
def test_a_mistake_of_the_style_command_names_the_option(tmp_path, capsys, words, parts):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    picture = str(tmp_path / "a.png")
    line = ["style", picture, picture, "--output", str(tmp_path / "out.png"), *words]
    done = CliRunner().invoke(cli.app, line)
    assert done.exit_code == 2
    (message,) = [row for row in done.output.splitlines() if row.startswith("error: ")]
    assert all(part in message for part in parts)
    assert "--params" not in message


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_the_command_that_reruns_a_tool_is_logged_in_files_and_not_on_terminals():
    text = "PYTHONPATH=src python -m pr12.a --params '{}' size=a"
    for stream, expected in ((Terminal(), "start\n"), (io.StringIO(), f"{text}\nstart\n")):
        stream_of_tool = options.Translated(stream, {"size": "--size"})
        print(text, file=stream_of_tool)
        print("start", file=stream_of_tool)
        assert stream.getvalue() == expected


def test_the_doctor_looks_at_packages_and_hosts(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_reaches", lambda host: host.endswith("pytorch.org"))
    monkeypatch.delenv("PR12_MIRROR", raising=False)
    lines = list(doctor.checks(ROOT))
    said = {line.what: line for line in lines}
    assert said["download.pytorch.org answers"].good
    assert said["yann.lecun.com is out of reach"].good is None
    assert "PR12_MIRROR" in said["yann.lecun.com is out of reach"].remedy

    (tmp_path / "requirements.lock").write_text("numpy==0.0.1\n")
    line = doctor._packages(tmp_path / "requirements.lock")
    assert line.good is False
    assert "numpy" in line.what
    assert "0.0.1" in line.what

    monkeypatch.setenv("PR12_MIRROR", str(tmp_path / "nothing"))
    assert [line.good for line in doctor._data(ROOT / "data/sources.csv")] == [False]


def test_the_doctor_ends_with_1_if_something_is_wanting(monkeypatch):
    monkeypatch.setattr(doctor, "checks", lambda root: [doctor.Line(False, "no disk", "buy one")])
    assert "NO  no disk: buy one" in run("doctor", code=1)
