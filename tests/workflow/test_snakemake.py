import base64
import os
import random
import re
import shutil
import signal
import zipfile
from pathlib import Path

import pytest

from checkout import CASES, job_table, wait_for

PAGES = {"distill_pages": 1, "index": 1, "all": 1}
IMPORTED_TORCH = re.compile(r"\| +torch$", re.M)
EVALUATE = "src/pr12/distill/evaluate.py"


def after(cases):
    """Return the jobs that follow when results of so many cases are new."""
    return {"evidence": cases} | PAGES


def refusals(text):
    """Return the sentences by which a command refused."""
    assert "Traceback" not in text
    lines = text.splitlines()
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]


def test_a_complete_run_makes_everything_once_and_then_there_is_nothing_to_do(complete):
    ran = job_table(complete.root.with_suffix(".log").read_text(encoding="utf-8"))
    once = ("data_arrays", "distill_soft_labels", "distill_ensemble", "distill_temperature")
    once += ("distill_library", "distill_compress", "distill_evaluate_compression")
    assert ran == {"distill_train": 3, "distill_evaluate": 2} | dict.fromkeys(once, 1) | after(6)
    assert complete.jobs() == {}
    assert complete.bytes("reports/smoke/index.html")
    assert set(complete.bytes("reports/smoke/*/*")) == {
        f"reports/smoke/distill/{name}"
        for name in ("README.md", "metrics.json", "claims.json", "claims.csv")
    }
    evidence = complete.bytes("reports/smoke/distill/evidence/*/evidence.json")
    assert {Path(name).parent.name for name in evidence} == set(CASES)


def test_a_smoke_run_changes_no_tracked_file(complete, bare):
    before, after = (each.bytes("*", "*/**/*") for each in (bare, complete))
    generated = ("build/", "reports/smoke/", ".snakemake/")
    made = {
        name for name in after if not name.startswith(generated) and "/__pycache__/" not in name
    }
    assert {name: after[name] for name in made} == before


def test_dates_comments_docstrings_and_lost_records_rerun_nothing(made):
    shutil.rmtree(made / ".snakemake")
    choose = random.Random(0)
    for path in sorted(made.root.rglob("*")):
        os.utime(path, (date := choose.uniform(1e9, 2e9), date))
    made.append(EVALUATE, "\n# a comment\n")
    path = made / "src/pr12/distill/model/mlp.py"
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    path.write_text('"""Another docstring.' + text.partition('"""')[2], encoding="utf-8")
    assert made.jobs() == {}


def test_what_a_killed_job_left_holds_up_nothing_that_comes_after_it(made):
    """The job was killed when its files were there, before Snakemake had noted its end."""
    model = made.folder("hard_800", "train") / "model.safetensors"
    shutil.rmtree(made.folder("hard_800", "evaluate"))
    name = base64.urlsafe_b64encode(str(model.relative_to(made.root)).encode()).decode()
    parts = [name[place : place + 254] for place in range(0, len(name), 254)]
    mark = made / ".snakemake/incomplete"
    mark = mark.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text('{"external_jobid": null}')
    assert {"distill_train": 1, "distill_evaluate": 1}.items() <= made.jobs().items()
    made.snakemake()
    assert (made.folder("hard_800", "evaluate") / "metrics.json").is_file()
    assert made.jobs() == {}


def test_an_edited_evaluation_reruns_evaluations_and_what_follows(made):
    made.append(EVALUATE, "\nUNUSED = 1\n")
    assert made.jobs() == {"distill_evaluate": 2} | after(2)


def test_an_edited_model_reruns_all_steps_that_import_it_and_no_other(made):
    made.append("src/pr12/distill/model/mlp.py", "\nUNUSED = 1\n")
    of_nets = ("distill_soft_labels", "distill_ensemble", "distill_temperature")
    nets = {"distill_train": 3, "distill_evaluate": 2} | dict.fromkeys(of_nets, 1)
    assert made.jobs() == nets | after(4)
    # ... and the net that mimics an ensemble is in a module of its own
    made.append("src/pr12/distill/model/mimic.py", "\nUNUSED = 1\n")
    mimics = {"distill_compress": 1, "distill_evaluate_compression": 1}
    assert made.jobs() == nets | mimics | after(5)


def test_edited_figures_and_a_page_template_rerun_only_the_reports(made):
    made.append("src/pr12/distill/figures/__main__.py", "\nUNUSED = 1\n")
    assert made.jobs() == PAGES
    made.append("src/pr12/report/templates/index.css.j2", "\n")
    assert made.jobs() == PAGES


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("distill.cases.hard_800.epochs", 3, {"distill_train": 1, "distill_evaluate": 1}),
        ("distill.cases.hard_800.bias_classes", [3], {"distill_evaluate": 1}),
        ("distill.temperature.digits", 3, {"distill_temperature": 1}),
        (
            "distill.cases.compress_munge.hidden",
            8,
            {"distill_compress": 1, "distill_evaluate_compression": 1},
        ),
        ("distill.runs.embedded.seeds", [0], None),
    ],
)
def test_a_changed_param_reruns_its_cases_and_no_other(made, path, value, expected):
    made.set(path, value)
    if expected is not None:
        expected = after(1) | expected
    assert made.jobs() == (expected or {})


def test_another_deviation_makes_the_report_anew_and_nothing_else(made):
    made.append("papers/distill/deviations.md", "- One more.\n")
    assert made.jobs() == PAGES


def test_a_new_case_runs_alone(made):
    made.set("distill.cases.soft_800_T4", {"soft_weight": 1.0, "temperature": 4.0})
    assert made.jobs() == {"distill_train": 1, "distill_evaluate": 1} | after(1)


def test_a_param_set_back_finds_its_old_results_and_they_are_published_again(made):
    before = made.results()
    made.set("distill.cases.soft_800_T20.temperature", 5.0)
    ran = job_table(made.snakemake())
    assert ran == {"distill_train": 1, "distill_evaluate": 1} | after(1)
    changed = made.results()
    report = "reports/smoke/distill/README.md"
    assert {name: changed[name] for name in before if name.startswith("build/")} == {
        name: content for name, content in before.items() if name.startswith("build/")
    }
    assert (
        changed["reports/smoke/distill/metrics.json"]
        != (before["reports/smoke/distill/metrics.json"])
    )
    made.set("distill.cases.soft_800_T20.temperature", 20.0)
    assert made.jobs() == after(1)  # its evidence, from the old results
    made.snakemake()
    assert made.jobs() == {}
    again = made.results()
    assert {name: again[name] for name in before} == before
    assert again[report] == before[report]


def forget_students(checkout):
    """Remove the students' nets and all that was made from them."""
    for case in ("hard_800", "soft_800_T20"):
        shutil.rmtree(checkout / f"build/smoke/distill/{case}")
    for name in ("build/smoke/report", "reports/smoke"):
        shutil.rmtree(checkout / name)


def in_training(checkout):
    """Tell whether a student's training has begun, by the first line of its log."""
    return any(checkout.bytes("build/smoke/distill/hard_800/train.*/train.log").values())


def test_a_killed_run_goes_on_to_the_same_bytes(made):
    before = made.results()
    forget_students(made)
    running = made.start("snakemake", "--cores", "2")
    wait_for(lambda: in_training(made), running)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    for pid in made.processes():  # jobs in process groups of their own
        os.kill(pid, signal.SIGKILL)
    assert not made.bytes("reports/smoke/*", "reports/smoke/distill/*")
    (refused,) = refusals(made.snakemake(code=2))
    command = re.search("remove it by `(.+)`, then run the same command again$", refused)[1]
    made.run(*command.split())
    made.snakemake()
    assert made.results() == before
    assert not made.bytes("build/**/*.part*", "build/**/resume_*")
    assert made.jobs() == {}


def test_a_second_run_is_refused_and_the_first_is_unharmed(made):
    before = made.results()
    forget_students(made)
    first = made.start("snakemake", "--cores", "2")
    wait_for(lambda: in_training(made), first)
    (refused,) = refusals(made.snakemake(code=2))
    # Also where Snakemake's own lock is gone, which a refused run may take away
    (again,) = refusals(made.snakemake("--nolock", code=2))
    assert first.poll() is None  # it was running all the while
    words = f"another snakemake is running in this folder, as process {first.pid}; wait for it to"
    assert [message[: len(words)] for message in (refused, again)] == [words] * 2
    made.finish(first)
    assert made.results() == before
    assert made.jobs() == {}


def test_reports_are_rebuilt_from_what_there_is_without_torch(made):
    shutil.rmtree(made / "build/smoke/distill")
    shutil.rmtree(made / "reports/smoke/distill/evidence/soft_800_T20")
    # Python then tells all its imports on standard error, which steps send to their logs; forks of
    # a process that has imported before have none to tell
    tell = {"PYTHONPROFILEIMPORTTIME": "1", "PR12_WARM": "0"}
    command = ("python", "-m", "pr12.distill.evaluate", "--params", "[]")
    assert IMPORTED_TORCH.search(made.run(*command, code=2, PYTHONPATH="src", **tell))
    text = made.snakemake("report", **tell)
    assert job_table(text) == {"distill_pages": 1, "index": 1, "report": 1}
    logs = [made / f"build/smoke/report/{name}there.log" for name in ("distill/", "")]
    printed = [text, *(path.read_text(encoding="utf-8") for path in logs)]
    # Snakemake; the figures, the report and the table in README.md; the index
    assert [len(re.findall(r"\| +site$", each, re.M)) for each in printed] == [1, 3, 1]
    assert not any(IMPORTED_TORCH.search(each) for each in printed)
    report = (made / "reports/smoke/distill/README.md").read_text(encoding="utf-8")
    assert re.search(r"not run.*soft\\?_800\\?_T20", report, re.S)
    assert "soft_800_T20" not in (made / "reports/smoke/distill/metrics.json").read_text()
    assert "not run" in (made / "reports/smoke/index.html").read_text(encoding="utf-8")
    assert made.jobs("report") == {"report": 1}  # nothing but the target


def test_snakemakes_own_report_shows_claims_and_figures(made):
    made.snakemake("--report", "report.zip")
    figures = {Path(name).name for name in made.bytes("reports/smoke/distill/figures/*.svg")}
    with zipfile.ZipFile(made / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
        page = archive.read("report/report.html").decode("utf-8")
        (claims,) = [name for name in archive.namelist() if name.endswith("/claims.html")]
        table = archive.read(claims).decode("utf-8")
    assert {"claims.html"} | figures < names
    assert "PR-009: Distilling the Knowledge in a Neural Network" in page  # the category
    assert "Each claim beside what this run measured" in page  # a caption
    assert "reproduced" in table
    assert made.jobs() == {}
    # After a partial run, and where pages came from elsewhere, it says what to do
    (made / "build/smoke/report/distill/all.done").unlink()
    (sentence,) = refusals(made.snakemake("--report", "again.zip", code=2))
    assert "rm -f build/smoke/report/*/stamp.json" in sentence
    shutil.rmtree(made.folder("hard_800", "train"))
    (sentence,) = refusals(made.snakemake("--report", "again.zip", code=2))
    assert "run `snakemake --cores all` first" in sentence
    assert not (made / "again.zip").exists()


def test_one_paper_is_a_target_of_its_own(empty):
    wanted = empty.jobs("distill")
    assert wanted["distill_train"] == 3
    assert wanted["distill_pages"] == 1
    assert "index" not in wanted
    results = {rule: n for rule, n in wanted.items() if rule not in ("distill", "distill_pages")}
    assert empty.jobs("distill_results") == results | {"distill_results": 1}
    assert set(empty.jobs("data")) == {"data", "data_arrays"}


def test_runs_never_overwrite_each_other(made):
    before = made.bytes("build/**/*", "reports/**/*")
    text = made.snakemake("--dry-run", "--config", "run=embedded")
    outputs = re.findall(r"^ +output: (.*)$", text, re.M)
    files = [file for line in outputs for file in line.split(", ")]
    assert len(files) > 20
    assert all(file.startswith("build/embedded/") for file in files)
    made.snakemake("--config", "run=embedded", "--", "data")
    assert made.bytes("build/embedded/data/few_digits/arrays.*/train.safetensors")
    after = made.bytes("build/**/*", "reports/**/*")
    assert {name: after[name] for name in before} == before
    assert made.jobs() == {}


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "distill.cases.soft_800_T20.temperature",
            -1.0,
            "distill.cases.soft_800_T20.temperature is -1.0; it must be a number above 0 "
            "and at most 10000",
        ),
        ("distill.train.epoch", 3, "distill.train.epoch is unknown; allowed: .*epochs.*"),
        (
            "distill.train.batch_size",
            "fifty",
            'distill.train.batch_size is "fifty"; it must be a whole number',
        ),
        (
            "distill.runs.smoke.cases.teacher.epoch",
            1,
            r"distill.cases.teacher.epoch is unknown; allowed: .*epochs.*",
        ),
        ("run", "smok", "run is 'smok'; allowed: embedded, full, smoke"),
        ("distill.cases.hard_800.step", "trian", r"distill.cases.hard_800.step is .* train, .*"),
        (
            "distill.claims.0.case",
            "hard_900",
            r"papers/distill/claims.yaml\[0\].*'hard_900'.*distill.cases",
        ),
        (
            "distill.seeds",
            [],
            r"distill.*seeds is \[\]; it must be a list with at least one element",
        ),
        ("distill.dataset", "imagenet", "distill.dataset is 'imagenet'; allowed: .*few_digits.*"),
    ],
)
def test_a_bad_param_is_told_in_one_sentence_before_anything_runs(empty, path, value, sentence):
    if path.startswith("distill.claims"):
        first, *others = empty.claims()
        empty.write_claims([first | {"case": value}, *others])
    else:
        empty.set(path, value)
        if path in ("distill.seeds", "distill.dataset", "distill.train.batch_size"):
            params = empty.params()
            run = params["distill"]["runs"]["smoke"]
            run.pop("seeds"), run.pop("dataset"), run["train"].pop("batch_size", None)
            empty.write_params(params)
    (error,) = refusals(empty.snakemake(code=2))
    assert re.fullmatch(sentence, error)
    assert not (empty / "build").exists()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "params.yaml",
            "\nrun: full\n",
            r"params.yaml: the key run stands twice, in lines \d+ and \d+; remove one",
        ),
        ("params.yaml", "\tx: 1\n", r"params.yaml, line \d+, is no YAML \(.*\); check .*"),
        (
            "papers/distill/claims.yaml",
            "- id: x\n  id: y\n",
            r"papers/distill/claims.yaml: the key id stands twice, in lines .*; remove one",
        ),
    ],
)
def test_a_yaml_file_that_is_not_clear_is_one_sentence(empty, name, text, sentence):
    empty.append(name, text)
    (error,) = refusals(empty.snakemake(code=2))
    assert re.fullmatch(sentence, error)


def test_a_number_that_config_gives_as_a_text_is_refused(empty):
    text = empty.snakemake("--config", "distill={train: {learning_rate: 1e-3}}", code=2)
    (error,) = refusals(text)
    assert error.startswith(
        "distill.train.learning_rate is the text '1e-3', not a number; write 1."
    )


def test_prune_removes_exactly_what_nothing_addresses(made):
    made.set("distill.cases.hard_800.epochs", 1)
    stale = {
        str(made.folder("hard_800", step).relative_to(made.root)) for step in ("train", "evaluate")
    }
    (chains,) = made.root.glob("build/smoke/report/distill/chains.*")
    stale.add(str(chains.relative_to(made.root)))
    others = ("build/embedded/distill/teacher/train.0123456789", "data/raw/mnist.0123456789")
    for name in (*others, "build/smoke/distill/gone/train.0123456789"):
        (made / name).mkdir(parents=True)
        (made / name / "kept").touch()
    before = set(made.bytes("build/**/*", "data/**/*", "reports/**/*"))
    made.snakemake("prune")
    left = set(made.bytes("build/**/*", "data/**/*", "reports/**/*"))
    stale.add("build/smoke/distill/gone/train.0123456789")
    assert before - left == {
        name
        for name in before
        if name.startswith(tuple(f"{s}/" for s in stale)) or name.endswith(".done")  # of old pages
    }
    (chains,) = made.root.glob("build/smoke/report/distill/chains.*")  # of today's params
    new = {"build/smoke/prune.log", str(chains.relative_to(made.root) / "chains.json")}
    assert left - before == new
    made.set("distill.cases.hard_800", {"hard_weight": 1.0})
    assert made.jobs() == {"distill_train": 1, "distill_evaluate": 1} | after(1)


def test_without_a_data_host_the_rest_runs_and_the_report_says_what_did_not(empty):
    nowhere = "http://127.0.0.1:9"  # the discard port: nothing listens
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), nowhere)
    text = empty.snakemake("--keep-going", "--config", "run=full", code=1, no_proxy="", **proxies)
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "PR12_MIRROR" in errors[0]
    assert "mnist" in errors[0]
    results = empty.bytes("build/full/distill/**/metrics.json")
    assert {name.split("/")[3] for name in results} == {"library", "compress_munge"}
    made = job_table(empty.snakemake("--config", "run=full", "--", "report", **proxies))
    assert "data_fetch" not in made
    report = (empty / "reports/full/distill/README.md").read_text(encoding="utf-8")
    assert "not run" in report
    assert set(empty.bytes("build/full/distill/**/metrics.json")) == set(results)
