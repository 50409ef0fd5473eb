import dataclasses
import errno
import json
import subprocess
import sys
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt
from pydantic.dataclasses import dataclass

from pr12.workflow import address, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class Params:
    epochs: Annotated[int, Ge(1)]
    rate: Annotated[float, Gt(0)]
    mean: Literal["arithmetic", "geometric"]


GOOD = '{"epochs": 3, "rate": 0.5, "mean": "geometric"}'


def begin(arguments, **names):
    with step.start(Params, **names, arguments=arguments) as job:
        return job


@pytest.fixture
def place(tmp_path):
    (tmp_path / "train").write_text("data")
    return tmp_path


def test_a_right_command_line_becomes_params_and_paths(place, capsys):
    job = begin(
        [f"train={place}/train", "--params", GOOD, "model=a=b.safetensors"],
        reads=["train"],
        optional=["labels"],
        writes=["model"],
    )
    assert job.params == Params(3, 0.5, "geometric")
    assert {name: str(path) for name, path in job.paths.items()} == {
        "train": f"{place}/train",
        "model": "a=b.safetensors",  # only the first = divides
    }
    assert job.reads == ("train",)
    printed = capsys.readouterr().err
    assert printed.startswith("PYTHONPATH=src python -m ")
    assert '\'{"epochs": 3' in printed  # quoted: the line can be pasted into a shell


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--params"], "--params needs a JSON object after it"),
        (["--params", "{"], "--params is not JSON ("),
        (["--params", "{'epochs': 3}"], "--params is not JSON ("),
        (["--params", "[1]"], "--params must be a JSON object"),
        (["--params", "null"], "--params must be a JSON object"),
        (["--params", "[" * 10**5], "--params is not JSON ("),
        (["--params", '{"epochs": 1' + "0" * 5000 + "}"], "--params is not JSON ("),
        (["--params", "{}"], "--params.epochs is missing; add it to the JSON"),
        ([], "--params.epochs is missing"),
        (["--params", GOOD, "--params", GOOD], "--params is given twice; keep one"),
        (["--params", GOOD, "train"], "'train' is not of the form name=path"),
        (["--params", GOOD, "=there"], "'=there' is not of the form name=path"),
        (["--params", GOOD, "train="], "'train=' is not of the form name=path"),
        (["--params", GOOD, "--help"], "'--help' is not of the form name=path"),
        (["--params", GOOD, "train={0}/train", "train=x"], "the path train is given twice"),
        (["--params", GOOD, "tran={0}/train"], "unknown path tran; this step knows train, labels"),
        (["--params", GOOD], "the path train is missing; add train=PATH"),
        (["--params", GOOD, "train={0}/train"], "the path model is missing; add model=PATH"),
        (["--params", GOOD, "train={0}/no", "model=m"], "the input train={0}/no does not exist"),
        (
            ["--params", GOOD, "train={0}/train", "labels={0}/no", "model=m"],
            "the input labels={0}/no does not exist",
        ),
        (
            ["--params", GOOD.replace("3", '"3"'), "train={0}/train", "model=m"],
            '--params.epochs is "3"; it must be a whole number',
        ),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_one_sentence(place, capsys, arguments, sentence):
    arguments = [a.replace("{0}", str(place)) for a in arguments]
    with pytest.raises(SystemExit) as caught:
        begin(arguments, reads=["train"], optional=["labels"], writes=["model"])
    assert caught.value.code == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 2  # the command, and the sentence
    assert printed[1].startswith("error: " + sentence.replace("{0}", str(place)))


def test_a_real_process_ends_with_2_without_a_traceback():
    # the lightest step; that the heavy ones answer alike, test_train shows
    done = subprocess.run(
        [sys.executable, "-m", "pr12.workflow.prune", "--params", "{", "folder=build/x"],
        env={"PYTHONPATH": str(address.SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(" ")[0] for line in done.stderr.splitlines()] == [
        "PYTHONPATH=src",
        "error:",
    ]


def test_a_mistake_found_later_is_told_alike(capsys):
    with (
        pytest.raises(SystemExit) as caught,
        step.start(Params, arguments=["--params", GOOD]),
    ):
        raise UserError("the loss is not finite")
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[1:] == ["error: the loss is not finite"]


def test_an_interrupt_ends_with_130_and_says_how_to_go_on(capsys):
    with (
        pytest.raises(SystemExit) as caught,
        step.start(Params, arguments=["--params", GOOD]),
    ):
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError("odd"), RuntimeError("odd")])
def test_a_fault_of_ours_is_not_hidden(error):
    with (
        pytest.raises(type(error)),
        step.start(Params, arguments=["--params", GOOD]),
    ):
        raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ("No space", "df -h", "again")),
        (OSError(errno.EFBIG, "File too large", "a/b"), ("a/b", "too large", "ulimit", "again")),
        (PermissionError(errno.EACCES, "Permission denied", "x"), ("x", "denied", "ls -ld")),
        (OSError(errno.EROFS, "Read-only file system", "x" * 500), ("xxx...", "Read-only")),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), ("a: Is", "path of a file")),
        (MemoryError(), ("too little memory", "free -h")),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 TB"), ("too little memory",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_machine_refuses_is_one_sentence(capsys, error, words):
    with (
        pytest.raises(SystemExit) as caught,
        step.start(Params, arguments=["--params", GOOD]),
    ):
        raise error
    assert caught.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()[1:]
    assert message.startswith("error: ")
    assert len(message) < 300
    assert [word for word in words if word not in message] == []


def test_a_real_step_under_a_limit_of_file_sizes_ends_with_one_sentence_and_no_part(tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "from pr12.workflow import files, prune, step\n"
        "with step.start(prune.Params, writes=['out'],\n"
        "                arguments=['--params', '{\"keep\": []}', 'out=a.json']) as job:\n"
        "    files.write_json(job.paths['out'], list(range(99)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(address.SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: cannot write a.json: File too large; free or" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_provenance_holds_all_that_made_the_result(place):
    job = begin(
        ["--params", GOOD, f"train={place}/train", f"labels={place}/train", "model=m"],
        reads=["train"],
        optional=["labels", "other"],
        writes=["model"],
    )
    result = dataclasses.replace(job, module="pr12.workflow.files").provenance()
    checksum = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"  # of "data"
    given = {"path": f"{place}/train", "sha256": checksum}
    assert result["inputs"] == {"train": given, "labels": given}
    assert result["params"] == {"epochs": 3, "rate": 0.5, "mean": "geometric"}
    assert result["source"] == address.source_digest("pr12.workflow.files")
    assert set(result["packages"]) == set(step.PACKAGES)
    assert result["packages"]["torch"].startswith("2.13")
    # Neither times nor a machine: the same in every run of the same code
    assert set(result) == {"command", "inputs", "packages", "params", "python", "source"}
    json.dumps(result, allow_nan=False)


def test_snakemake_and_the_report_need_no_torch():
    modules = [f"workflow.{path.stem}" for path in (address.SRC / "pr12/workflow").glob("*.py")]
    modules += [f"report.{name}" for name in ("paper", "index", "readme", "claims", "evidence")]
    code = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module('pr12.' + name)\n"
        "    assert 'torch' not in sys.modules, name\n"
        "from pr12.workflow import params\n"
        "params.of_step('pr12.distill.train')\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *modules],
        env={"PYTHONPATH": str(address.SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
