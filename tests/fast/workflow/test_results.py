"""Digests beside a result: what is damaged is named and removed, and nothing else ever is."""

import subprocess
import sys
from pathlib import Path

import pytest

from pr12.workflow import address, files, results, verify
from pr12.workflow.errors import UserError

FOLDER = Path("build/smoke/vae/z2/train.0123456789")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "PATIENCE", 0.0)


def make(folder=FOLDER, **texts):
    """Write a result as a step does."""
    texts = texts or {"model": "weights", "history": "[]"}
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    results.write(folder, [folder / name for name in texts])
    (folder / "train.log").write_text("epoch 1")
    return folder


def flip(folder):
    data = bytearray((folder / "model").read_bytes())
    data[3] ^= 1
    (folder / "model").write_bytes(bytes(data))


DAMAGES = {
    "a flipped bit": (flip, "model"),
    "a cut file": (lambda folder: (folder / "model").write_text("weigh"), "model"),
    "a missing file": (lambda folder: (folder / "model").unlink(), "model"),
    "a folder": (lambda f: (f / "model").unlink() or (f / "model").mkdir(), "model"),
    "a link to nothing": (
        lambda folder: (folder / "model").unlink() or (folder / "model").symlink_to("gone"),
        "model",
    ),
    "no digests": (lambda folder: (folder / "files.json").unlink(), "files.json"),
    "cut digests": (lambda folder: (folder / "files.json").write_text("{"), "files.json"),
    "no digest": (lambda folder: (folder / "files.json").write_text("{}"), "files.json"),
    "a list of digests": (lambda folder: (folder / "files.json").write_text("[]"), "files.json"),
}


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (FOLDER, "0123456789"),
        (FOLDER.absolute, "0123456789"),
        ("build/full/data/mnist/fetch.abcdef0123", "abcdef0123"),
        ("build/full/stn/a/train_parts.abcdef0123", "abcdef0123"),
        ("build/smoke/vae/z2/train.012345678", None),
        ("build/smoke/vae/z2/train.01234567890", None),
        ("build/smoke/vae/z2/train.ABCDEF0123", None),
        ("build/smoke/vae/z2/train", None),
        ("build/smoke/report/vae/chains.0123456789", None),  # written anew by every Snakemake
        ("results/z2/train.0123456789", None),
        ("/home/me/photographs.0123456789", None),
        ("build/../photographs.0123456789", None),
        ("../build/smoke/vae/z2/train.0123456789", None),
        (".", None),
    ],
)
def test_only_folders_of_results_below_build_are_addressed(path, digest):
    assert results.address(path() if callable(path) else path) == digest


def test_digests_are_those_of_the_files_and_of_nothing_else_in_the_folder():
    folder = make()
    sums = {name: files.sha256(folder / name) for name in ("model", "history")}
    assert files.read_json(folder / "files.json") == sums
    assert {name: results.checked(folder / name) for name in sums} == sums


@pytest.mark.parametrize(("damage", "name"), DAMAGES.values(), ids=DAMAGES)
def test_a_reader_names_what_is_damaged_and_removes_the_folder(damage, name):
    folder, other = make(), make(FOLDER.with_name("train.9876543210"))
    damage(folder)
    with pytest.raises(UserError) as caught:
        results.checked(folder / "model")
    assert str(caught.value) == (
        f"{folder}/{name} is missing or not as its step wrote it; {folder} was removed, "
        "snakemake makes it again"
    )
    assert not folder.exists()
    assert results.checked(other / "model")


def test_the_log_that_says_why_a_folder_was_removed_is_left():
    folder = make()
    flip(folder)
    code = (
        "from pathlib import Path\n"
        "from pr12.workflow import results\n"
        f"results.checked(Path('{folder}/model'))"
    )
    with open(folder / "evidence.log", "w") as log:
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(address.SRC)},
            stderr=log,
            check=False,
        )
    assert [path.name for path in folder.iterdir()] == ["evidence.log"]
    assert f"{folder} was removed, snakemake makes it again" in Path(log.name).read_text()
    assert verify.main(["build"]) == 0  # a log alone is no damaged result


def test_a_folder_that_cannot_be_removed_is_to_be_removed_by_hand(monkeypatch):
    folder = make()
    flip(folder)

    def refused(path):
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(UserError, match=rf"; remove {folder}, snakemake makes it again"):
        results.checked(folder / "model")


def test_a_file_that_is_not_vouched_for_is_no_result():
    folder = make()
    (folder / "more").write_text("")
    with pytest.raises(UserError, match="more is missing or not as its step wrote it"):
        results.checked(folder / "more")


def test_digests_that_come_late_are_waited_for(monkeypatch):
    folder = make()
    (folder / "files.json").rename("late.json")
    monkeypatch.setattr(
        results.time, "sleep", lambda seconds: Path("late.json").rename(folder / "files.json")
    )
    assert results.checked(folder / "model") == files.sha256(folder / "model")


@pytest.mark.parametrize(("damage", "name"), DAMAGES.values(), ids=DAMAGES)
def test_verify_names_every_damaged_result_and_removes_those_only(damage, name, capsys):
    good = [make(), make(Path("build/smoke/vae/z5/evaluate.0123456789"))]
    bad = [make(Path(f"build/smoke/{place}.0123456789")) for place in ("vae/z9/train", "rca/a/b")]
    for folder in bad:
        damage(folder)
    assert verify.main(["build/smoke/vae", "build/smoke/rca"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is ")[0] for line in lines] == [
        f"error: {folder}/{name}" for folder in bad
    ]
    assert [folder.exists() for folder in bad] == [False, False]
    assert verify.main(["build/smoke"]) == 0
    assert all(results.checked(folder / "history") for folder in good)
    flip(good[0])
    assert verify.main([str(good[0])]) == 2


def test_verify_looks_below_build_only(tmp_path, capsys):
    """Results of another working folder would all look right, for none is addressed there."""
    elsewhere = tmp_path / "elsewhere/build/smoke"
    elsewhere.mkdir(parents=True)
    assert verify.main([str(elsewhere)]) == 2
    assert f"error: {elsewhere} is not below build/" in capsys.readouterr().err


def test_verify_leaves_what_is_no_result(capsys):
    killed = FOLDER
    killed.mkdir(parents=True)
    for name in ("train.log", "resume.pt", ".model.12.part"):  # a killed training goes on from it
        (killed / name).write_text("x")
    pages = Path("build/smoke/report/vae/chains.0123456789/chains.json")
    files.write_json(pages, {})
    assert verify.main(["build/smoke"]) == 0
    assert capsys.readouterr().err == ""
    assert len(list(killed.iterdir())) == 3
    assert pages.exists()


def test_verify_is_a_command_that_needs_nothing_heavy():
    make()
    code = (
        "import sys\n"
        "from pr12.workflow import verify\n"
        "print(verify.main(['build']), {'torch', 'numpy', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(address.SRC)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0 set()\n"
    for arguments, sentence in (([], "no folder is given"), (["nowhere"], "nowhere is no folder")):
        done = subprocess.run(
            [sys.executable, "-m", "pr12.workflow.verify", *arguments],
            env={"PYTHONPATH": str(address.SRC)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {sentence}")
