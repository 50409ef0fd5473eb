import hashlib
import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import psutil
import pytest

import remotes
from checkout import REPOSITORY, UP_TO_DATE, Checkout, job_table

REPORT = {"distill_pages": 1, "index": 1, "report": 1}
# No keys but a test's own; no instance of a cloud is asked for some, nothing is tried again
PLAIN = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}
GC = ("gc", "--workspace", "--all-branches", "--all-tags", "--force")


def dvc(checkout, *arguments, code=0, **environment):
    return checkout.run("dvc", *arguments, code=code, **(PLAIN | environment))


def set_remote(checkout, url, **options):
    """Name the only remote there is, as its author does, and commit it."""
    dvc(checkout, "remote", "remove", "storage")
    dvc(checkout, "remote", "add", "--default", "lab", url)
    for option, value in {"verify": "true", **options}.items():
        dvc(checkout, "remote", "modify", "lab", option, value)
    checkout.commit("Where the results are")


def set_secret(checkout, **options):
    for option, value in options.items():
        dvc(checkout, "remote", "modify", "--local", "lab", option, value)


def write_remote(checkout, **options):
    """Do what the commands above do, faster."""
    lines = [f"{name} = {value}" for name, value in {"verify": "true", **options}.items()]
    text = "\n".join(["[core]", "remote = lab", "autostage = false", "['remote \"lab\"']", *lines])
    (checkout / ".dvc/config").write_text(text + "\n", encoding="utf-8")


@contextmanager
def folder(checkout, tmp_path):
    set_remote(checkout, str(tmp_path / "shared"))
    yield {}, []


@contextmanager
def s3(checkout, tmp_path):
    """The author keeps the keys in .dvc/config.local, the colleague in the environment."""
    with remotes.s3_server(tmp_path) as server:
        address = {"endpointurl": server.address, "region": remotes.REGION}
        set_remote(checkout, f"s3://{server.bucket}/pr12", **address)
        set_secret(checkout, access_key_id=server.key, secret_access_key=server.secret)
        keys = {"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret}
        yield keys, [server.secret, server.key]


@contextmanager
def ssh(checkout, tmp_path):
    """The author names a key file in .dvc/config.local, the colleague has an agent."""
    with (
        remotes.ssh_server(tmp_path / "ssh") as server,
        remotes.ssh_agent(server.folder) as agent,
    ):
        url = f"ssh://127.0.0.1:{server.port}{server.folder}/storage"
        set_remote(checkout, url, user=server.user)
        key = server.folder / "client_key"
        set_secret(checkout, keyfile=str(key))
        yield agent, [str(key), *key.read_text(encoding="utf-8").splitlines()[1:-1]]


def in_git(checkout):
    """Return the text of every commit, and of every file that the next commit would have."""
    checkout.git("add", "--all")
    history = checkout.git("log", "--all", "--patch", "--format=%B", "--", ".dvc")
    names = checkout.git("ls-files", "-z").split("\0")
    files = [(checkout / name).read_bytes() for name in names if name]
    return history.encode() + b"".join(files)


@pytest.mark.parametrize("remote", [folder, s3, ssh])
def test_after_a_pull_from_any_remote_there_is_nothing_to_do(remote, versioned, tmp_path):
    other = Checkout(tmp_path / "clone")
    with remote(versioned, tmp_path) as (environment, secrets):
        assert re.search(r"\d+ files pushed", dvc(versioned, "push"))
        versioned.git("clone", "--quiet", ".", str(other.root))
        shutil.rmtree(versioned / ".dvc/cache")  # what comes, comes from the remote
        dvc(other, "pull", "--quiet", **environment)
    assert other.results() == versioned.results()
    assert other.jobs() == {}
    assert UP_TO_DATE in other.dvc("status")

    everything = in_git(versioned)
    assert b"['remote \"lab\"']" in everything
    assert not [secret for secret in secrets if secret.encode() in everything]
    assert versioned.git("check-ignore", ".dvc/config.local").strip() == ".dvc/config.local"


def test_after_a_pull_the_report_is_made_again_without_training(clone, locked):
    clone.dvc("pull", "--quiet")
    shutil.rmtree(clone / "build/smoke/report")
    for name in clone.bytes("reports/smoke/distill/*", "reports/smoke/distill/figures/*"):
        (clone / name).unlink()
    page = clone / "reports/smoke/index.html"  # neither git nor DVC keeps it
    assert not page.exists()
    assert job_table(clone.snakemake("report")) == REPORT
    assert page.exists()
    assert clone.results() == locked.results()
    assert clone.git("status", "--porcelain") == ""


def test_this_repository_holds_no_credentials():
    keys = (
        r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|^\s*(secret_access_key|password) *="
    )
    result = subprocess.run(
        ["git", "grep", "--untracked", "--extended-regexp", "--name-only", "--text", "-e", keys],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    ignored = ["git", "check-ignore", "--quiet", "--no-index", ".dvc/config.local"]
    assert subprocess.run(ignored, cwd=REPOSITORY).returncode == 0


def refused(checkout, *arguments, **environment):
    """Return the few words with which a command fails, having lost nothing local."""
    before = checkout.bytes(".dvc/cache/**/*", "build/smoke/**/*", "dvc.lock")
    text = dvc(checkout, *arguments, code=255, **environment)
    assert "Traceback" not in text
    assert len(text.splitlines()) < 12
    assert checkout.bytes(".dvc/cache/**/*", "build/smoke/**/*", "dvc.lock") == before
    return text


def test_a_push_that_s3_refuses_says_why_and_loses_nothing(versioned, tmp_path):
    with remotes.s3_server(tmp_path) as server:
        keys = {"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret}
        write_remote(versioned, url=f"s3://{server.bucket}/pr12", endpointurl=server.address)
        assert "Unable to locate credentials" in refused(versioned, "push")
        wrong = keys | {"AWS_SECRET_ACCESS_KEY": "wrong"}
        assert "Forbidden" in refused(versioned, "push", **wrong)
        write_remote(versioned, url="s3://no-such-bucket/pr12", endpointurl=server.address)
        assert "bucket does not exist" in refused(versioned, "push", **keys)
    assert "Could not connect" in refused(versioned, "push", **keys)


def test_a_push_that_ssh_refuses_says_why_and_loses_nothing(versioned, tmp_path):
    with remotes.ssh_server(tmp_path / "ssh") as server:
        url = f"ssh://127.0.0.1:{server.port}{server.folder}/storage"
        whose = {"url": url, "user": server.user}
        write_remote(versioned, **whose, keyfile=tmp_path / "nowhere")
        assert "nowhere" in refused(versioned, "push")
        remotes.make_key(tmp_path / "stranger")
        write_remote(versioned, **whose, keyfile=tmp_path / "stranger")
        assert "Permission denied" in refused(versioned, "push")
    assert "Connect call failed" in refused(versioned, "push")


def test_a_folder_that_cannot_be_written_is_refused(versioned, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    write_remote(versioned, url=str(tmp_path / "file/storage"))
    assert "Not a directory" in refused(versioned, "push")


FIND_DAMAGE = (  # as docs/sharing.md says it
    "find storage/files/md5 -type f ! -name '*.dir' -exec md5sum {} + |"
    """ awk '{n = split($2, p, "/"); if (p[n-1] p[n] != $1) print $2}'"""
)


def test_damage_in_a_remote_is_not_taken_for_a_result(locked, clone, tmp_path):
    shutil.copytree(locked.root.with_suffix(".storage"), tmp_path / "storage")
    write_remote(clone, url=str(tmp_path / "storage"))
    shown = ["bash", "-c", FIND_DAMAGE]
    assert subprocess.check_output(shown, cwd=tmp_path, text=True) == ""
    train = locked.folder("teacher", "train") / "model.safetensors"
    digest = hashlib.md5(train.read_bytes()).hexdigest()
    damaged = tmp_path / f"storage/files/md5/{digest[:2]}/{digest[2:]}"
    content = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert "Checkout failed" in dvc(clone, "pull", code=1)
    assert not (clone / train.relative_to(locked.root)).exists()
    listed = subprocess.check_output(shown, cwd=tmp_path, text=True)
    assert listed == f"{damaged.relative_to(tmp_path)}\n"
    # A push would not look at it again: from a cache that has it
    place = damaged.relative_to(tmp_path / "storage")
    damaged.unlink()
    shutil.copy2(locked / ".dvc/cache" / place, damaged)
    clone.dvc("pull", "--quiet")
    assert clone.results() == locked.results()


def test_servers_leave_no_process(tmp_path):
    before = psutil.Process().children(recursive=True)  # such as the warm start of other tests
    with (
        remotes.s3_server(tmp_path),
        remotes.ssh_server(tmp_path / "ssh") as server,
        remotes.ssh_agent(server.folder),
    ):
        children = psutil.Process().children(recursive=True)
        started = [process for process in children if process not in before]
        assert {process.name() for process in started} >= {"sshd", "ssh-agent"}
    assert not [process for process in started if process.is_running()]


def test_without_sshd_tests_are_skipped_only_where_servers_are_not_required(monkeypatch):
    monkeypatch.setattr(remotes.shutil, "which", lambda name, path: None)
    monkeypatch.setenv("PR12_SERVERS", "required")
    with pytest.raises(pytest.fail.Exception, match="apt-get install openssh-server"):
        remotes.find_sshd()
    monkeypatch.delenv("PR12_SERVERS")
    with pytest.raises(pytest.skip.Exception, match="apt-get install openssh-server"):
        remotes.find_sshd()


def cached(checkout, storage):
    """Return the names of what is in the cache and in the remote."""
    result = []
    for root in (checkout / ".dvc/cache", storage):
        paths = (path for path in (root / "files/md5").rglob("*") if path.is_file())
        result.append({path.parent.name + path.name for path in paths})
    return result


def test_gc_keeps_what_commits_need_and_removes_the_rest(versioned, tmp_path):
    storage = tmp_path / "shared"
    write_remote(versioned, url=storage)
    versioned.commit("Where the results are")
    versioned.dvc("push", "--quiet")
    main = versioned.results()
    needed, _ = cached(versioned, storage)
    # An experiment, saved and pushed; then back to what is committed
    versioned.set("distill.cases.soft_800_T20.temperature", 2.0)
    versioned.snakemake("--until", "distill_train")
    versioned.dvc("exp", "save", "--name", "softer")
    versioned.dvc("push", "--quiet")
    versioned.git("checkout", "--quiet", "--", ".")
    versioned.dvc("checkout", "--quiet")
    every, pushed = cached(versioned, storage)
    assert needed < every == pushed

    versioned.dvc(*GC, "--all-experiments", "--cloud")
    assert cached(versioned, storage) == [every, every]
    versioned.dvc("exp", "branch", "softer", "trial")  # a branch needs them as well
    versioned.dvc(*GC, "--cloud")
    assert cached(versioned, storage) == [every, every]
    versioned.git("branch", "--quiet", "--delete", "--force", "trial")
    versioned.dvc(*GC)
    assert cached(versioned, storage) == [needed, every]
    versioned.dvc(*GC, "--cloud")
    assert cached(versioned, storage) == [needed, needed]

    assert versioned.results() == main
    assert UP_TO_DATE in versioned.dvc("status")
    other = Checkout(tmp_path / "clone")
    versioned.git("clone", "--quiet", ".", str(other.root))
    other.dvc("pull", "--quiet")
    assert other.results() == main
