import os
import subprocess
import sys

import pytest

from pr12.workflow import address, files, lock, results
from pr12.workflow.errors import UserError

HOLD = (
    "import sys; from pr12.workflow import lock; held = lock.take(); print(1, flush=True); input()"
)


@pytest.fixture
def holder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={"PYTHONPATH": str(address.SRC)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_who_holds_the_lock_is_told_with_the_command_that_ends_it(holder):
    assert lock.is_held()
    with pytest.raises(UserError) as caught:
        lock.take()
    for message in (str(caught.value), lock.refusal()):
        assert f"as process {holder.pid}" in message
        assert f"`kill {holder.pid}`" in message
    lock.PATH.write_text("17 another-node")
    assert "as process 17 on another-node;" in lock.refusal()
    lock.PATH.write_text("")
    assert "wait for it to end" in lock.refusal()


def test_a_killed_holder_leaves_no_lock_and_the_command_for_snakemakes_own(holder):
    holder.kill()
    holder.wait()
    assert not lock.is_held()
    assert "`snakemake --unlock`" in lock.refusal()
    with lock.take() as stream:
        assert lock.is_held()
        assert lock.PATH.read_text().split()[0] == str(os.getpid())
    assert not lock.is_held()
    stream.close()


def test_a_report_of_half_a_run_is_refused_with_what_is_missing(tmp_path):
    (tmp_path / "a").touch()
    results.check_complete([str(tmp_path / "a")])
    with pytest.raises(UserError, match=r"1 files are missing, such as .*/b; run `snakemake --cor"):
        results.check_complete([str(tmp_path / name) for name in "ab"])


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    files.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"/nowhere cannot be written to, .* or work in a copy"):
        files.check_writable(tmp_path / "nowhere")
