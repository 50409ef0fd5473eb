"""Bounds of the workflow, the layers of the code, the lock file."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RULES = sorted((ROOT / "rules").rglob("*.smk"))
TEST_ARRAYS = re.compile(r"(?:^|[/_.])test(?:[/_.]|$)")


def code(path):
    """Give a file's lines without comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.lstrip().startswith("#")]


def rules(path):
    """Split a rules file: name of a rule -> its keywords."""
    found, name = {}, None
    for line in code(path):
        start = re.match(r"\s*rule(?: (\w+))?:", line)
        if start:
            name = start[1] or f"{path.stem}[{len(found)}]"
            found[name] = []
        elif name and (word := re.match(r"\s+([a-z]+):", line)):
            found[name].append(word[1])
        elif name and re.match(r"\S", line):
            name = None
    return found


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *RULES], ids=lambda path: path.name)
def test_rules_run_steps_by_shell_commands_and_log_them(path):
    assert not [line for line in code(path) if re.match(r"\s*(checkpoint\b.*|run|script):", line)]
    for name, words in rules(path).items():
        if "shell" in words:
            assert "log" in words, f"{path.name}: {name}"
        else:
            assert set(words) <= {"input", "name"} | {"default_target"}, f"{path.name}: {name}"


def test_the_rules_are_found():
    names = {name for path in RULES for name in rules(path)}
    assert {"data_fetch", "data_arrays", "distill_train", "distill_evaluate", "prune"} <= names


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Give what Snakemake would do from nothing, by run."""
    folder = tmp_path_factory.mktemp("plan")
    for name in (
        "Snakefile",
        "rules",
        "src",
        "data",
        "profiles",
        "params.yaml",
        "requirements.lock",
    ):
        if name == "data":
            (folder / name).mkdir()
            name = "data/sources.csv"
        (folder / name).symlink_to(ROOT / name)
    starting = {
        run: subprocess.Popen(
            [BIN / "snakemake", "--dry-run", "--cores", "1", "--config", f"run={run}"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for run in ("embedded", "full")
    }
    texts = {run: process.communicate()[0] for run, process in starting.items()}
    assert all(process.returncode == 0 for process in starting.values()), texts
    return texts


@pytest.mark.parametrize("run", ["embedded", "full"])
def test_the_plan_keeps_its_bounds(plans, run):
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", plans[run], re.M)
    total = re.search(r"^total +(\d+)$", plans[run], re.M)[1]
    assert len(jobs) == int(total) < 400
    used = {
        pair.partition("=")[0]
        for _, lines in jobs
        for found in re.findall(r"^    wildcards: (.*)$", lines, re.M)
        for pair in found.split(", ")
    }
    assert used == {"case", "digest"}


@pytest.mark.parametrize("run", ["embedded", "full"])
def test_no_training_reads_test_data(plans, run):
    jobs = re.findall(r"^rule (\w+):\n((?:    .*\n)+)", plans[run], re.M)
    read = {"train": set(), "evaluate": set()}
    for rule, lines in jobs:
        kind = "evaluate" if "_evaluate" in rule else "train"
        if re.search(
            r"_(train|train_forest|mcem|classifier|compress|soft_labels|evaluate\w*)$", rule
        ):
            (inputs,) = re.findall(r"^    input: (.*)$", lines, re.M)
            read[kind] |= {Path(name).name for name in inputs.split(", ")}
    assert len(read["train"]) >= 3
    assert not [name for name in read["train"] if TEST_ARRAYS.search(name)]
    assert [name for name in read["evaluate"] if TEST_ARRAYS.search(name)]  # so it would be seen


def test_the_lock_pins_all_that_the_project_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line.strip() and not line.startswith(("#", "--"))]
    pinned = dict(re.fullmatch(r"([\w.-]+)==(\S+)", line).groups() for line in wanted)
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    assert locked["torch"].partition("+")[0] == "2.13.0"
    assert locked["torchvision"].partition("+")[0] == "0.28.0"
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    needed += tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for requirement in needed:
        name, version = re.fullmatch(r"([\w.-]+)(?:==(\S+)|>=\S+)?", requirement).groups()
        name = re.sub(r"[-_.]+", "-", name).lower()
        assert name in locked, f"{name} is not in requirements.lock"
        assert version in (None, locked[name].partition("+")[0])


def test_imports_keep_to_the_layers():
    command = [BIN / "lint-imports", "--no-cache", "--config", "pyproject.toml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
