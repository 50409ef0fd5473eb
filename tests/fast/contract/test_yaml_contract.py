"""YAML files are read strictly, and DVC rewrites params.yaml without changing what it need not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml

from pr12.workflow import settings, yaml_files
from pr12.workflow.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.yaml", "*.yml"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.splitlines()


@pytest.mark.parametrize("name", TRACKED)
def test_every_yaml_file_is_read_strictly(name):
    assert yaml_files.load(ROOT / name) is not None


def test_params_keep_their_length():
    lines = TEXT.splitlines()
    starts = [n for n, line in enumerate(lines) if re.match(r"\w+:", line)]
    lengths = [end - start for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    assert max(lengths) <= 250  # a paper's section
    assert len(lines) <= 1350


@pytest.fixture
def copy(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_params_are_what_the_writer_of_dvc_writes(copy):
    with modify_yaml(copy):
        pass
    assert copy.read_text(encoding="utf-8") == TEXT


def changed(path):
    """Return the lines that differ from params.yaml, in pairs."""
    pairs = zip(TEXT.splitlines(), path.read_text(encoding="utf-8").splitlines(), strict=True)
    return [pair for pair in pairs if pair[0] != pair[1]]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("distill.train.learning_rate=0.002", "    learning_rate: 0.002 # Adam, falling"),
        ("distill.train.learning_rate=2e-3", "    learning_rate: 0.002 # Adam, falling"),
        ("run=full", "run: full "),
        ("distill.cases.soft_30_T8.temperature=9.5", "    soft_30_T8: {hidden: [30, 30], soft_we"),
        ("distill.runs.full.train.epochs=13", "      train: {width_scale: 1.0, epochs: 13"),
        ("vae.train.adam_epsilon=1e-6", "    adam_epsilon: 1e-06"),
    ],
)
def test_a_value_set_by_dvc_changes_one_line(copy, override, line):
    apply_overrides(copy, [override])
    ((_, after),) = changed(copy)
    assert after.startswith(line)


def test_a_number_that_dvc_writes_as_yaml_1_1_reads_a_text_is_refused(copy):
    apply_overrides(copy, ["vae.train.adam_epsilon=1e-6"])
    with pytest.raises(UserError, match=r"vae\.train\.adam_epsilon is 1e-06 in line \d+"):
        yaml_files.load(copy)
    apply_overrides(copy, ["vae.train.adam_epsilon=0.002"])
    assert yaml_files.load(copy)["vae"]["train"]["adam_epsilon"] == 0.002


def test_a_text_that_dvc_sets_in_place_of_a_number_is_refused(copy):
    apply_overrides(copy, ["distill.train.learning_rate='1e-3'"])
    with pytest.raises(
        UserError, match=r"^distill\.train\.learning_rate is the text '1e-3', not a"
    ):
        settings.resolve(yaml_files.load(copy))


def test_an_experiment_of_dvc_changes_one_line(tmp_path, copy):
    stage = 'stages:\n  paper:\n    cmd: "true"\n    params: [distill]\n'
    (tmp_path / "dvc.yaml").write_text(stage)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))}
    environment |= {f"GIT_{who}_NAME": "Test" for who in ("AUTHOR", "COMMITTER")}
    environment |= {f"GIT_{who}_EMAIL": "a@example.org" for who in ("AUTHOR", "COMMITTER")}
    environment |= {"DVC_SITE_CACHE_DIR": str(tmp_path / ".site"), "DVC_NO_ANALYTICS": "1"}

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    run("git", "init", "--quiet")
    run(BIN / "dvc", "init", "--quiet")
    run("git", "add", "dvc.yaml", "params.yaml", ".dvc")
    run("git", "commit", "--quiet", "--message", "Start")
    run(BIN / "dvc", "exp", "run", "--queue", "--set-param", "distill.train.learning_rate=0.002")
    difference = run("git", "diff", "--unified=0", "HEAD", "refs/exps/celery/stash", "params.yaml")
    lines = [line for line in difference.splitlines() if re.match(r"[-+](?![-+])", line)]
    assert [line.partition("#")[0].strip() for line in lines] == [
        "-    learning_rate: 0.001",
        "+    learning_rate: 0.002",
    ]
