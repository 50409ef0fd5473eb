import dataclasses
import importlib
import json
import pkgutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

import pr12
import pr12.distill
import pr12.shared
from pr12.shared import address, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, Between, NotEmpty


@dataclass(frozen=True)
class Params:
    epochs: Annotated[int, AtLeast(1)]
    rate: Annotated[float, Above(0)]
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
    told = capsys.readouterr().err
    assert told.startswith("PYTHONPATH=src python -m ")
    assert '\'{"epochs": 3' in told  # quoted: the line can be pasted into a shell


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--params"], "--params needs a JSON object after it"),
        (["--params", "{"], "--params is not JSON ("),
        (["--params", "{'epochs': 3}"], "--params is not JSON ("),
        (["--params", "[1]"], "--params must be a JSON object"),
        (["--params", "null"], "--params must be a JSON object"),
        (["--params", "{}"], "--params.epochs is missing; add it to params.yaml"),
        ([], "--params.epochs is missing"),
        (["--params", GOOD, "--params", GOOD], "'--params' is not of the form name=path"),
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
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2  # the command, and the sentence
    assert told[1].startswith("error: " + sentence.replace("{0}", str(place)))


def test_a_real_process_ends_with_2_without_a_traceback():
    # the lightest step; that the heavy ones answer alike, test_train shows
    done = subprocess.run(
        [sys.executable, "-m", "pr12.shared.prune", "--params", "{", "folder=build/x"],
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


def test_a_fault_of_ours_is_not_hidden():
    with (
        pytest.raises(ZeroDivisionError),
        step.start(Params, arguments=["--params", GOOD]),
    ):
        1 / 0  # noqa: B018


def test_provenance_holds_all_that_made_the_result(place):
    job = begin(
        ["--params", GOOD, f"train={place}/train", f"labels={place}/train", "model=m"],
        reads=["train"],
        optional=["labels", "other"],
        writes=["model"],
    )
    found = dataclasses.replace(job, module="pr12.shared.files").provenance()
    checksum = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"  # of "data"
    given = {"path": f"{place}/train", "sha256": checksum}
    assert found["inputs"] == {"train": given, "labels": given}
    assert found["params"] == {"epochs": 3, "rate": 0.5, "mean": "geometric"}
    assert found["source"] == address.source_digest("pr12.shared.files")
    assert set(found["packages"]) == set(step.PACKAGES)
    assert found["packages"]["torch"].startswith("2.13")
    # Neither times nor a machine: the same in every run of the same code
    assert set(found) == {"command", "inputs", "packages", "params", "python", "source"}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("rule", "allowed", "forbidden", "text"),
    [
        (Above(0), 1e-9, 0, "a number above 0"),
        (AtLeast(1), 1, 0, "a number of at least 1"),
        (Between(0, 0.95), 0.95, 0.951, "a number from 0 to 0.95"),
        (Between(0, 0.95), 0, -0.001, "a number from 0 to 0.95"),
        (NotEmpty(), (0,), (), "a list with at least one element"),
    ],
)
def test_rules_at_their_bounds(rule, allowed, forbidden, text):
    assert rule.allows(allowed)
    assert not rule.allows(forbidden)
    assert str(rule) == text


def steps():
    """Name every module with Params."""
    names = [
        f"{package.__name__}.{module.name}"
        for package in (pr12.shared, pr12.distill)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return [name for name in names if _has_params(name)]


def _has_params(name):
    try:
        step.params_class(name)
    except UserError:
        return False
    return True


def test_params_read_without_importing_are_those_of_the_step():
    names = steps()
    assert {"pr12.distill.train", "pr12.shared.data", "pr12.distill.figures"} <= set(names)
    for name in names:
        read, imported = step.params_class(name), importlib.import_module(name).Params
        assert [(f.name, f.type) for f in dataclasses.fields(read)] == [
            (f.name, f.type) for f in dataclasses.fields(imported)
        ]
        for field in dataclasses.fields(read):  # every value stands in params.yaml
            assert field.default is field.default_factory is dataclasses.MISSING
        assert read.__dataclass_params__.frozen


def test_a_module_that_is_no_step_is_one_sentence():
    with pytest.raises(UserError, match=r"pr12\.distill\.model is not a step: it has no Params"):
        step.params_class("pr12.distill.model")
    with pytest.raises(UserError, match=r"there is no step pr12\.distill\.trian"):
        step.params_class("pr12.distill.trian")


def test_snakemake_and_the_report_need_no_torch():
    modules = (
        "settings",
        "yaml_files",
        "step",
        "address",
        "files",
        "report",
        "index",
        "readme",
        "claims",
    )
    code = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module('pr12.shared.' + name)\n"
        "    assert 'torch' not in sys.modules, name\n"
        "from pr12.shared import step\n"
        "step.params_class('pr12.distill.train')\n"
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
