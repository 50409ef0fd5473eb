"""Steps that write into the folder of a result, or read from one."""

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from pr12.workflow import address, files, results, step, timings
from pr12.workflow.errors import UserError

MODULE = "pr12.workflow.files"
DAMAGED = "is missing or not as its step wrote it"


@dataclass(frozen=True)
class Params:
    factor: int


Params.__module__ = MODULE  # the address is that of a module of the project


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "PATIENCE", 0.0)


def planned(inputs=None, factor=2, **outputs):
    """Return the folder that Snakemake's graph gives to a command line."""
    outputs = outputs or {"model": "model.txt"}
    digest = address.of(MODULE, {"factor": factor}, outputs, inputs or {})
    return Path(f"build/smoke/vae/z2/train.{digest}")


def run(*paths, factor=2, reads=(), writes=("model",), body=None, **options):
    """Run a step; by default it writes 2 into its outputs."""
    arguments = ["--params", f'{{"factor": {factor}}}', *map(str, paths)]
    with step.start(Params, reads=reads, writes=writes, arguments=arguments, **options) as job:
        for name in writes:
            job.paths[name].parent.mkdir(parents=True, exist_ok=True)
            job.paths[name].write_text(str(factor))
        if body:
            body(job)
    return job


def refused(capsys, *paths, **options):
    """Run a step that stops before it does anything; give its sentence."""

    def body(job):
        raise AssertionError("the step went on")

    with pytest.raises(SystemExit) as caught:
        run(*paths, body=body, **{"writes": ()} | options)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_result_is_whole_when_its_digests_are_there():
    folder, seen = planned(), []
    began = time.time()
    run(f"model={folder}/model.txt", body=lambda job: seen.extend(os.listdir(folder)))
    assert seen == ["model.txt"]
    assert files.read_json(folder / "files.json") == {
        "model.txt": files.sha256(folder / "model.txt")
    }
    took = timings.read(folder)
    assert set(took) == {*timings.FIGURES, "machine", "device", "threads", "times"}
    assert took["times"] == {}
    assert took["seconds"] > time.time() - began  # imports count
    assert took["peak_memory_bytes"] > 1_000_000
    assert {path.name for path in folder.iterdir()} == {"model.txt", "files.json", "timings.json"}


def test_a_failed_step_vouches_for_nothing():
    folder = planned()
    with pytest.raises(ZeroDivisionError):
        run(f"model={folder}/model.txt", body=lambda job: 1 / 0)
    assert [path.name for path in folder.iterdir()] == ["model.txt"]


def test_what_a_step_measures_is_beside_its_result_wherever_that_lies():
    times = {"net/milliseconds": [2.5]}
    for folder in (planned(), Path("mine")):
        run(f"model={folder}/model.txt", body=lambda job: job.times.update(times))
        assert timings.read(folder)["times"] == times
    assert not Path("mine/files.json").exists()


@pytest.mark.parametrize("folder", ["mine", "mine/train.0123456789", "build/smoke/z2/train"])
def test_other_folders_are_left_as_they_are(folder):
    run(f"model={folder}/model.txt")
    assert [path.name for path in Path(folder).iterdir()] == ["model.txt"]


@pytest.mark.parametrize(
    "planned_with",
    [
        {"factor": 3},
        {"inputs": {"train": "build/smoke/data/digits/data.9999999999/train.txt"}},
        {"inputs": {"test": "there/train.txt"}},
        {"model": "net.txt"},
        {"model": "model.txt", "history": "history.json"},
    ],
)
def test_a_job_of_an_earlier_plan_stops_before_it_writes(capsys, planned_with):
    Path("there").mkdir()
    Path("there/train.txt").write_text("1")
    right = {"inputs": {"train": "there/train.txt"}}
    folder = planned(**right | planned_with)
    arguments = ("train=there/train.txt", f"model={folder}/model.txt")
    line = refused(capsys, *arguments, reads=("train",), writes=("model",))
    assert line == (
        f"error: the code or the inputs of {folder} changed since this job was planned; "
        "run snakemake again"
    )
    assert not folder.exists()
    folder = planned(**right)
    run("train=there/train.txt", f"model={Path.cwd() / folder}/model.txt", reads=("train",))
    assert (folder / "files.json").exists()


def test_a_job_whose_source_is_edited_while_it_runs_vouches_for_nothing(capsys, monkeypatch):
    folder = planned()

    def body(job):
        monkeypatch.setattr(address, "source_digest", lambda module, src=None: "edited since")

    with pytest.raises(SystemExit):
        run(f"model={folder}/model.txt", body=body)
    assert f"error: the code or the inputs of {folder} changed" in capsys.readouterr().err
    assert not (folder / "files.json").exists()


def test_a_job_whose_source_was_edited_in_the_queue_stops(capsys, monkeypatch):
    folder = planned()
    monkeypatch.setattr(address, "source_digest", lambda module, src=None: "edited since")
    line = refused(capsys, f"model={folder}/model.txt", writes=("model",))
    assert line.startswith(f"error: the code or the inputs of {folder} changed")
    assert not folder.exists()


def test_provenance_says_by_which_source_a_step_began(monkeypatch):
    folder, source = planned(), address.source_digest(MODULE)

    def edited(job):
        with monkeypatch.context() as edit:
            edit.setattr(address, "source_digest", lambda module: "edited since")
            assert job.provenance()["source"] == source

    run(f"model={folder}/model.txt", body=edited)


def trained():
    """Write a result that another step reads; give its file."""
    path = planned() / "model.txt"
    run(f"model={path}")
    return path


def test_every_file_is_hashed_once(monkeypatch):
    path, hashed, sha256 = trained(), Counter(), files.sha256

    def counted(file):
        hashed[Path(file).name] += 1
        return sha256(file)

    Path("plain.txt").write_text("1")
    monkeypatch.setattr(files, "sha256", counted)

    def body(job):
        one, two = job.provenance(), job.provenance()
        assert one == two
        assert one["inputs"]["model"] == {"path": str(path), "sha256": sha256(path)}

    reads = ("model", "plain")
    run(f"model={path}", "plain=plain.txt", "out=out.txt", reads=reads, writes=("out",), body=body)
    assert hashed == {"model.txt": 1, "plain.txt": 1}


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda path: path.write_text("3"), "model.txt"),
        (lambda path: path.unlink(), "model.txt"),
        (lambda path: path.with_name("files.json").unlink(), "files.json"),
    ],
)
def test_a_step_refuses_a_damaged_input_and_removes_its_folder(capsys, damage, name):
    path = trained()
    damage(path)
    line = refused(capsys, f"model={path}", reads=("model",))
    folder = path.parent
    assert line.startswith(f"error: {folder}/{name} {DAMAGED}; {folder} was removed")
    assert not folder.exists()
    line = refused(capsys, f"model={path}", reads=("model",))
    assert line == f"error: the input model={path} does not exist"


def test_files_elsewhere_are_read_as_they_are():
    folder = Path("photographs.0123456789")  # looks like an address
    folder.mkdir()
    (folder / "model.txt").write_text("3")
    run(f"model={folder}/model.txt", "out=out.txt", reads=("model",), writes=("out",))
    assert (folder / "model.txt").exists()


def test_a_mark_beside_another_steps_result_vouches_for_nothing():
    path = trained()
    before = path.with_name("files.json").read_bytes()
    mark = path.with_name("evidence.json")
    run(f"model={path}", f"mark={mark}", reads=("model",), writes=("mark",), addressed=False)
    assert mark.exists()
    assert path.with_name("files.json").read_bytes() == before


def test_workers_that_still_live_are_counted():
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"
    before = timings.measured()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        now = timings.measured()
        worker.kill()
    assert now["cpu_seconds"] - before["cpu_seconds"] > 0.2
    assert now["peak_memory_bytes"] - before["peak_memory_bytes"] > 3_000_000


def test_who_reads_timings_is_told_what_is_wrong(tmp_path):
    good = {"seconds": 1.5, "cpu_seconds": 1, "peak_memory_bytes": 9, "times": {"a/s": [1, 2.5]}}
    files.write_json("timings.json", good)
    assert timings.read(Path()) == good
    for wrong in (
        [],
        good | {"seconds": None},
        good | {"seconds": True},
        good | {"times": []},
        good | {"times": {"a/s": []}},
        good | {"times": {"a/s": ["1"]}},
        {k: v for k, v in good.items() if k != "times"},
    ):
        files.write_json("timings.json", wrong)
        with pytest.raises(UserError, match=r"timings\.json .*; remove \. and run snakemake"):
            timings.read(Path())
