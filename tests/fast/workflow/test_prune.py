import sys

import pytest

from pr12.workflow import prune, step
from pr12.workflow.errors import UserError

KEPT = "build/full/vae/z2/train.0123456789"
STALE = ("build/full/vae/z2/train.abcdef0123", "build/full/vae/report.9876543210")
OTHERS = (
    "build/smoke/vae/z2/train.abcdef0123",  # another run's
    "build/full/vae/z2/train.backup",  # no address
    "build/full/vae/z2/train.ABCDEF0123",
    "build/full/vae/z2/train.01234567891",
)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (KEPT, *STALE, *OTHERS):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.safetensors").write_text("x")
    (tmp_path / "build/full/vae/z2/file.abcdef0123").write_text("no folder")
    return tmp_path


def run(folder, keep=(KEPT,)):
    paths = {"folder": step.Path(folder)}
    prune.main(step.Job(prune.Params(keep=tuple(keep)), paths, (), "pr12.workflow.prune", ""))


def test_only_addressed_folders_that_nobody_keeps_go(tree, capsys):
    run("build/full")
    for name in (KEPT, *OTHERS):
        assert (tree / name / "model.safetensors").exists()
    assert (tree / "build/full/vae/z2/file.abcdef0123").exists()
    for name in STALE:
        assert not (tree / name).exists()
    assert capsys.readouterr().err.splitlines() == [f"removed {name}" for name in sorted(STALE)]
    run("build/full")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "folder", ["src", ".", "build/../src", "build/full/../../data", "/build/full", ""]
)
def test_nothing_outside_build_is_ever_removed(tree, folder):
    with pytest.raises(UserError, match="is not below build/; nothing else is ever removed"):
        run(folder, keep=())
    assert (tree / STALE[0]).exists()


def test_an_absolute_path_is_refused(tree):
    with pytest.raises(UserError, match="not below build/"):
        run(tree / "build" / "full", keep=())
    assert (tree / STALE[0]).exists()


def test_the_step_takes_its_folder_from_the_command_line(tree, monkeypatch):
    arguments = ["--params", f'{{"keep": ["{KEPT}"]}}', "folder=build/full"]
    monkeypatch.setattr(sys, "argv", ["prune", *arguments])
    with step.start(prune.Params, reads=["folder"]) as job:
        prune.main(job)
    assert (tree / KEPT).exists()
    assert not (tree / STALE[0]).exists()
