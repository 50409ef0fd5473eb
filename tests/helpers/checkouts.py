"""Checkouts that tests start from: each is made once, also by several workers."""

import fcntl

import pytest

from checkout import Checkout, copy_repository


def once(tmp_path_factory, worker_id, name, make):
    """Make a checkout if no other worker has made it."""
    base = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        base = base.parent
    root = base / name
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            part = base / f"{name}.part"
            part.mkdir()
            make(part)
            part.rename(root)
    return Checkout(root)


@pytest.fixture(scope="session")
def worker(request):
    return getattr(request.config, "workerinput", {}).get("workerid", "master")


@pytest.fixture(scope="session")
def bare(tmp_path_factory, worker):
    """Return the repository with trimmed params and no results."""

    def make(root):
        checkout = copy_repository(root)
        checkout.trim()

    return once(tmp_path_factory, worker, "bare", make)


@pytest.fixture(scope="session")
def complete(tmp_path_factory, worker, bare):
    """Return the same with the results of one complete run."""

    def make(root):
        root.rmdir()
        root.with_suffix(".log").write_text(bare.copy(root).snakemake())

    return once(tmp_path_factory, worker, "complete", make)


@pytest.fixture(scope="session")
def bare_smoke(tmp_path_factory, worker):
    """Return the repository with all papers and cases at smoke scale, and no results."""

    def make(root):
        checkout = copy_repository(root)
        checkout.write_params(checkout.params() | {"run": "smoke"})

    return once(tmp_path_factory, worker, "bare_smoke", make)


@pytest.fixture(scope="session")
def everything(tmp_path_factory, worker, bare_smoke):
    """Return the same with the results of one complete run."""

    def make(root):
        root.rmdir()
        root.with_suffix(".log").write_text(bare_smoke.copy(root).snakemake())

    return once(tmp_path_factory, worker, "everything", make)


@pytest.fixture
def empty(bare, tmp_path):
    """Return a copy of the repository without results."""
    return bare.copy(tmp_path / "repository")


@pytest.fixture
def made(complete, tmp_path):
    """Return a copy of the repository with all results."""
    return complete.copy(tmp_path / "repository")


@pytest.fixture(scope="session")
def locked(tmp_path_factory, worker, complete):
    """Return a git repository whose results DVC has locked and pushed to a folder beside it."""

    def make(root):
        root.rmdir()
        checkout = complete.copy(root)
        checkout.git("init", "--quiet", "--initial-branch", "main")
        checkout.dvc("remote", "add", "--default", "storage", str(root.with_suffix(".storage")))
        checkout.commit("Code")
        (root.with_suffix(".log")).write_text(checkout.dvc("repro"), encoding="utf-8")
        checkout.commit("Results")
        checkout.dvc("push", "--quiet")

    return once(tmp_path_factory, worker, "locked", make)


@pytest.fixture
def versioned(locked, tmp_path):
    """Return a copy of that git repository."""
    return locked.copy(tmp_path / "repository")


@pytest.fixture
def clone(locked, tmp_path):
    """Return a fresh clone: what is in git, no results."""
    locked.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    return Checkout(tmp_path / "clone")
