"""What make does before any tool runs: environments and results of others are left alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[3] / "Makefile"
ENVIRONMENT = Path(sys.executable).parents[1]


@pytest.fixture
def make(tmp_path):
    """Return a function that calls make in a folder with nothing but the Makefile."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/requirements.lock").touch()
    (tmp_path / "pyproject.toml").touch()

    # `make test VENV=...` hands its words on
    ours = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "VENV")}

    def call(*arguments):
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=tmp_path,
            env=ours,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.mark.parametrize("target", ["plan", "report", "test", "lint", "full", "schema", "pull"])
def test_an_environment_of_somebody_elses_is_used_as_it_is(make, target):
    asked = make("--dry-run", target, f"VENV={ENVIRONMENT}")
    assert asked.returncode == 0
    assert "pip install" not in asked.stdout
    assert "-m venv" not in asked.stdout
    assert "pip install" in make("--dry-run", target).stdout
    assert "pip install" in make("--dry-run", target, "VENV=.venv-ci").stdout


def test_packages_of_the_docs_are_installed_where_make_built_the_environment(make):
    for arguments in ((), ("VENV=.venv-ci",)):
        asked = make("--dry-run", "docs", *arguments).stdout
        assert "--requirement docs/requirements.lock" in asked
    asked = make("--dry-run", "docs", f"VENV={ENVIRONMENT}")
    assert "pip install" not in asked.stdout


def test_an_environment_without_sphinx_is_one_sentence(make, tmp_path):
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").touch()
    done = make("docs", "VENV=env")
    assert done.returncode == 2
    assert done.stderr.startswith("error: env/bin/sphinx-build does not exist; put what docs/")


def test_an_environment_that_is_not_there_is_one_sentence(make):
    done = make("plan", "VENV=/nowhere")
    assert done.returncode == 2
    first = done.stderr.splitlines()[0]
    assert first.startswith("error: /nowhere/bin/python does not exist; name an environment")


def test_results_of_a_full_run_are_not_removed_without_a_question(make, tmp_path):
    for run in ("smoke", "full"):
        (tmp_path / "build" / run).mkdir(parents=True)
    done = make("clean")
    assert done.returncode == 2
    message, *_ = done.stderr.splitlines()
    assert message.startswith("error: build/full has results of hours; `make clean SURE=yes`")
    assert (tmp_path / "build/full").exists()
    assert make("clean", "SURE=yes").returncode == 0
    assert not (tmp_path / "build").exists()
    (tmp_path / "build/smoke").mkdir(parents=True)
    assert make("clean").returncode == 0
    assert not (tmp_path / "build").exists()


def test_a_pull_that_brings_nothing_says_what_makes_the_results(make, tmp_path):
    tools = tmp_path / "env/bin"
    tools.mkdir(parents=True)
    for name, code in {"dvc": "exit 1", "python": "exit 0"}.items():
        (tools / name).write_text(f"#!/bin/sh\n{code}\n")
        (tools / name).chmod(0o755)
    done = make("pull", f"VENV={tmp_path}/env")
    assert done.returncode == 2
    assert "error: no results came from DVC's remote" in done.stderr
    assert "`make report` makes them all here" in done.stderr
