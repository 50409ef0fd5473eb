"""docs/params.schema.json, by which editors check params.yaml."""

import copy
import json

import jsonschema
import pytest

from pr12.workflow import address, schema, settings, yaml_files
from pr12.workflow.errors import UserError

ROOT = address.SRC.parent
PARAMS = yaml_files.load(ROOT / "params.yaml")
FILE = ROOT / "docs/params.schema.json"


@pytest.fixture(scope="module")
def validator():
    committed = json.loads(FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(committed)
    return jsonschema.Draft202012Validator(committed)


def test_the_committed_schema_is_that_of_the_classes():
    text = FILE.read_text(encoding="utf-8")
    assert text == schema.text(PARAMS["papers"]), "write it again: make schema"


def test_params_are_of_the_schema_and_name_it(validator):
    assert [error.message for error in validator.iter_errors(PARAMS)] == []
    first, *_ = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    assert first == f"# yaml-language-server: $schema={FILE.relative_to(ROOT)}"


def changed(path, value):
    """Return params.yaml with another value; None: without the key."""
    config = copy.deepcopy(PARAMS)
    *parents, last = path.split("/")
    inner = config
    for key in parents:
        inner = inner.setdefault(key, {})
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return config


def resolve_all(config):
    for run in (config["run"], *settings.RUNS):
        settings.resolve(config | {"run": run})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("run", "ful"),
        ("papers", "distill"),
        ("wae", {}),
        ("data/mnist/train", "50000"),
        ("data/mnist/margin", None),
        ("distill/seeds", []),
        ("distill/seeds", [0, 0]),
        ("distill/train/temperature", 0),
        ("distill/train/temperature", True),
        ("distill/train/mean", "harmonic"),
        ("distill/train/epochs", None),
        ("distill/train/epoch", 3),
        ("distill/trian", {}),
        ("distill/cases", {}),
        ("distill/cases/teacher/temprature", 1.0),
        ("distill/cases/teacher/hidden", []),
        ("distill/cases/cost/step", "coast"),
        ("distill/runs/smoke/train/epochs", 0),
        ("distill/runs/smoke/claims", {}),
        ("distill/runs/tiny", {}),
        ("stn/evaluate/rotations", [0, 200]),
    ],
)
def test_what_the_workflow_refuses_the_schema_refuses(validator, path, value):
    config = changed(path, value)
    assert not validator.is_valid(config)
    with pytest.raises(UserError):
        resolve_all(config)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("distill/train/temperature", 3),
        ("distill/train/max_norm", 2.0),
        ("distill/cases/new", {"hidden": [3], "hard_weight": 1.0, "bias_classes": [1]}),
        ("distill/runs/full/cases/teacher/epochs", 30),
        ("distill/evaluate/bias_classes", []),
    ],
)
def test_what_the_workflow_takes_the_schema_takes(validator, path, value):
    config = changed(path, value)
    resolve_all(config)
    assert validator.is_valid(config)
