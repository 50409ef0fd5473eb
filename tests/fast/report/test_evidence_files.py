"""Evidence as files: whole, or refused in a sentence that names the file and what to do."""

import json
from pathlib import Path

import pytest

import evidence_cases
from pr12.report import evidence
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

CODES = {"codes": [[0.125 * i, -0.5, i] for i in range(40)]}
AGAIN = "git checkout -- {} brings back what was committed, and snakemake makes the case again"


def written(folder, metrics=None, picture=CODES):
    """Write one case's evidence and give its folder."""
    metrics = metrics or {"test/error": [0.5, 0.25]}
    chain = [evidence_cases.node("vae/z2/evaluate", params={"samples": 5})]
    evidence_cases.write_case(folder, "z2", metrics, chain, picture)
    return folder / "z2"


def refusal(folder):
    """Return the sentence with which evidence is refused, None if it is not."""
    try:
        evidence.read(folder)
    except UserError as error:
        return str(error)
    return None


def test_what_is_written_is_read(tmp_path):
    answer = evidence.read(written(tmp_path))
    assert (answer.case, answer.metrics) == ("z2", {"test/error": [0.5, 0.25]})
    assert answer.pictured
    assert set(answer.files) == {"picture.json", "picture.safetensors"}
    assert not evidence.read(written(tmp_path, picture=None)).pictured
    assert [path.name for path in (tmp_path / "z2").iterdir()] == ["evidence.json"]


def test_the_same_result_gives_the_same_bytes(tmp_path):
    first = {path.name: path.read_bytes() for path in written(tmp_path / "one").iterdir()}
    assert first == {path.name: path.read_bytes() for path in written(tmp_path / "two").iterdir()}


def test_any_flipped_bit_of_evidence_is_known(tmp_path):
    folder = written(tmp_path, picture=None)
    path = folder / "evidence.json"
    whole, first = path.read_bytes(), evidence.read(folder)
    unknown = []
    for place in range(0, 8 * len(whole), 5):  # a bit or two of every byte
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        message = refusal(folder)
        if message is None:
            assert evidence.read(folder) == first  # a blank has become another one
            unknown.append(whole[place // 8])
        else:
            assert message.startswith(str(path))
            assert "\n" not in message
    assert set(unknown) <= set(b" \n")


@pytest.mark.parametrize("name", ["picture.json", "picture.safetensors"])
def test_a_flipped_bit_of_a_picture_is_known(tmp_path, name):
    folder = written(tmp_path)
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        evidence.read(folder)
    again = AGAIN.format(folder)
    assert str(caught.value) == f"{path} is missing or not as it was written; {again}"
    path.unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        evidence.read(folder)


def edited(**change):
    return lambda text: json.dumps(json.loads(text) | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read ("),
        (lambda text: "", "cannot be read ("),
        (lambda text: "[" * 100_000, "cannot be read ("),
        (lambda text: "[1]", "is no evidence"),
        (lambda text: text.replace("0.25", "0.26"), "is not as it was written"),
        (edited(more=1), "is not as it was written"),
        (edited(metrics={"test/error": [float("inf")]}), "is not as it was written"),
        (edited(schema=True), "is no evidence"),
        (edited(case="z3"), "is not as it was written"),
    ],
)
def test_damaged_evidence_is_refused_with_what_to_do(tmp_path, change, message):
    folder = written(tmp_path)
    path = folder / "evidence.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError) as caught:
        evidence.read(folder)
    assert str(caught.value).startswith(f"{path} {message}")
    assert str(caught.value).endswith(AGAIN.format(folder))
    assert "\n" not in str(caught.value)


def test_evidence_of_another_schema_is_refused_with_the_command_that_migrates_it(tmp_path):
    folder = written(tmp_path)
    path = folder / "evidence.json"
    path.write_text(edited(schema=7)(path.read_text()))
    with pytest.raises(UserError, match=r"is of schema 7, this code reads 3; run: python -m pr12"):
        evidence.read(folder)


def test_evidence_of_another_case_is_refused(tmp_path):
    folder = written(tmp_path)
    folder.rename(tmp_path / "z3")
    with pytest.raises(UserError, match=r"z3/evidence\.json is evidence of z2"):
        evidence.read_all(tmp_path, ["z3"])


def test_a_folder_without_evidence_is_refused(tmp_path):
    (tmp_path / "z2").mkdir()
    with pytest.raises(UserError, match=r"z2/evidence\.json cannot be read"):
        evidence.read_all(tmp_path, ["z2"])


def test_a_mark_tells_whether_evidence_is_published_and_whole(tmp_path):
    folder = written(tmp_path)
    mark, result = tmp_path / "mark.json", tmp_path / "metrics.json"
    result.write_text("{}")
    files.write_json(mark, evidence.mark_of(folder, [result]))
    assert evidence.published(mark, folder, [result])
    result.write_text('{"metrics": {}}')  # made anew, with other numbers
    assert not evidence.published(mark, folder, [result])
    files.write_json(mark, evidence.mark_of(folder, [result]))
    (folder / "picture.json").unlink()
    assert not evidence.published(mark, folder, [result])


def test_evidence_is_never_taken_for_whole_while_it_is_written(tmp_path, monkeypatch):
    folder = written(tmp_path)
    mark = tmp_path / "mark.json"
    files.write_json(mark, evidence.mark_of(folder, []))
    copies = len(list(folder.iterdir()))
    other = {"codes": [[0.25 * i, -0.5, i] for i in range(40)]}
    replace, whole = Path.replace, []
    for number in range(copies):  # stopped before the first file is there, the second, the last
        left = iter(range(number))

        def stopped(path, target, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            written(tmp_path, {"test/error": [0.125]}, other)
        monkeypatch.setattr(Path, "replace", replace)
        whole.append(refusal(folder) is None)
        assert evidence.published(mark, folder, []) == whole[-1]
        # Also where there was none
        monkeypatch.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            written(tmp_path / f"new{number}")
        monkeypatch.setattr(Path, "replace", replace)
        assert refusal(tmp_path / f"new{number}/z2") is not None
    assert whole == [True, False, False]  # untouched, or refused


WRONG = [
    {"metrics": {"test/error": []}},
    {"metrics": {"test/error": ["x"]}},
    {"metrics": {"test/error": [True]}},
    {"metrics": {"test/error": [float("nan")]}},
    {"metrics": {"test/error": 3}},
    {"metrics": [1]},
    {"metrics": None},
    {"provenance": {}},
]


def test_the_step_copies_a_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = evidence_cases.node("vae/z2/evaluate")
    result = Path(ours["folder"]) / "metrics.json"
    command = f"python -m pr12.vae.evaluate model={tmp_path / 'build' / 'm'} data=/else/where/d.gz"
    provenance = {"command": command, "source": ours["source"], "params": ours["params"]}
    times = {"a/milliseconds": [2.0], "b/milliseconds": [6.0]}
    took = {"seconds": 3.5, "cpu_seconds": 3.25, "peak_memory_bytes": 4096, "machine": "node7"}
    took |= {"device": "cpu", "threads": 2, "times": times}
    whole = {"metrics": {"test/error": [0.5]}, "provenance": provenance}
    files.write_json(result, whole)
    files.write_json(result.with_name("timings.json"), took)
    files.write_json("chains.json", evidence_cases.today([ours], {"z2": ours["folder"]}))
    names = {"metrics": result, "chains": "chains.json", "out": "reports/z2"}
    names |= {"timings": "timings.json", "mark": "mark.json"}
    paths = {name: Path(path) for name, path in names.items()}
    params = evidence.Params("full", "vae", "z2")
    job = step.Job(params, paths, (), "pr12.report.evidence", "python")
    evidence.main(job)
    answer = evidence.read(Path("reports/z2"))
    assert answer.provenance["command"] == "python -m pr12.vae.evaluate model=build/m data=d.gz"
    assert answer.ratios == {"a/milliseconds": [1.0], "b/milliseconds": [3.0]}
    assert "node7" not in Path("reports/z2/evidence.json").read_text()
    of_step = {"step/seconds": [3.5], "step/cpu_seconds": [3.25], "step/peak_memory_bytes": [4096]}
    measured = {"folder": ours["folder"], "times": times | of_step}
    assert files.read_json("timings.json") == measured
    assert answer.provenance["threads"] == 2
    assert answer.provenance["device"] == "cpu"
    assert evidence.published(Path("mark.json"), Path("reports/z2"), [result])
    files.write_json(result, whole | {"provenance": provenance | {"source": "0000000000"}})
    with pytest.raises(UserError, match="was made by another source"):
        evidence.main(job)
    files.write_json(result, whole | {"provenance": provenance | {"params": {"x": 9}}})
    with pytest.raises(UserError, match="was made by another params"):
        evidence.main(job)
    inputs = {"model": {"path": "build/test/vae/z2/train.ffffffffff/m", "sha256": "ab" * 32}}
    files.write_json(result, whole | {"provenance": provenance | {"inputs": inputs}})
    with pytest.raises(UserError, match=r"read model from build/test/vae/z2/train\.f"):
        evidence.main(job)
    for change in WRONG:
        result.write_text(json.dumps(whole | change))
        with pytest.raises(UserError, match=r"metrics\.json.*delete the file and run its step"):
            evidence.main(job)


def test_evidence_is_taken_anew_by_other_code(tmp_path, monkeypatch):
    folder = written(tmp_path)
    mark = tmp_path / "mark.json"
    files.write_json(mark, evidence.mark_of(folder, []))
    assert evidence.published(mark, folder, [])
    monkeypatch.setattr(evidence.address, "source_digest", lambda module, src: "edited")
    assert not evidence.published(mark, folder, [])
