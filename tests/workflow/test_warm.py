"""Steps that are forked from one process: the same results, and nobody is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pr12.workflow import warm

# A stand-in for a step: it says who it is, waits, or tells what a fork could get wrong
STEP = """
import json, os, resource, signal, sys, time
import torch
what, place = sys.argv[1], sys.argv[2]
if what == "wait":
    helper = os.fork()
    if helper == 0:
        time.sleep(600)
    with open(place + ".part", "w") as stream:
        stream.write(f"{os.getpid()} {helper}")
    os.rename(place + ".part", place)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        sys.exit(130)
print(json.dumps({
    "threads": torch.get_num_threads(), "folder": os.getcwd(), "word": os.environ.get("WORD"),
    "open": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "name": __name__,
    "input": sys.stdin.read(), "warm": os.getppid() != int(os.environ["ASKED_BY"]),
}))
print("to stderr", file=sys.stderr)
sys.exit(7 if what == "seven" else "a sentence" if what == "text" else 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a server's folder, and a package pr12 with one step beside it."""
    place = tmp_path_factory.mktemp("warm")
    (place / "src" / "pr12").mkdir(parents=True)
    (place / "src" / "pr12" / "__init__.py").touch()
    (place / "src" / "pr12" / "stand_in.py").write_text(STEP)
    return place


@pytest.fixture(scope="module")
def bin_folder():
    return warm.start()


def environment(folder, bin_folder, **more):
    return {
        **os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1", "ASKED_BY": str(os.getpid()),
        **more,
    }  # fmt: skip


def run(folder, bin_folder, what, shell="", **more):
    command = f"{shell}exec python -m pr12.stand_in {what} -"
    return subprocess.run(
        ["bash", "-c", command], env=environment(folder, bin_folder, **more), cwd=folder,
        input="given", capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_step_has_its_arguments_folder_environment_streams_threads_and_limits(folder, bin_folder):
    done = run(folder, bin_folder, "say", "ulimit -Sn 99; ", WORD="x", OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "threads": 2, "folder": str(folder), "word": "x", "open": 99, "name": "__main__",
        "input": "given", "warm": True,
    }  # fmt: skip
    assert done.stderr == "to stderr\n"


@pytest.mark.parametrize(("what", "code", "text"), [("seven", 7, ""), ("text", 1, "a sentence\n")])
def test_its_exit_code_and_last_words_come_back(folder, bin_folder, what, code, text):
    done = run(folder, bin_folder, what)
    assert (done.returncode, done.stderr) == (code, "to stderr\n" + text)


def test_another_python_is_plain(folder, bin_folder):
    words = ["python", "-c", "import sys; print('torch' in sys.modules)"]
    given = environment(folder, bin_folder)
    assert subprocess.check_output(words, env=given, text=True) == "False\n"


def waiting(folder, bin_folder, place, **more):
    """Start a step that waits; return the client, the step and its helper."""
    client = subprocess.Popen(
        ["python", "-m", "pr12.stand_in", "wait", str(place)], cwd=folder,
        env=environment(folder, bin_folder), **more,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not place.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return client, *map(int, place.read_text().split())


def ended(*processes):
    """Wait until processes are no more."""
    deadline = time.monotonic() + 10
    while any(alive(process) for process in processes):
        assert time.monotonic() < deadline, processes
        time.sleep(0.02)
    return True


def alive(process):
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_signal_reaches_the_step(folder, bin_folder, tmp_path, number, code):
    client, step, helper = waiting(
        folder, bin_folder, tmp_path / "pid",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    client.send_signal(number)
    assert client.wait(timeout=20) == code
    assert ended(step, helper)


def state(process):
    """Return the letter of a process's state: T is stopped."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def reached(processes, stopped):
    """Wait until all processes are stopped, or none."""
    deadline = time.monotonic() + 20
    while any((state(process) == "T") != stopped for process in processes):
        assert time.monotonic() < deadline, [state(process) for process in processes]
        time.sleep(0.02)
    return True


def test_ctrl_z_stops_the_step_with_its_client_and_both_go_on(folder, bin_folder, tmp_path):
    client, step, helper = waiting(
        folder, bin_folder, tmp_path / "place",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    everyone = (client.pid, step, helper)
    for _ in range(2):  # the second stop comes after the first was undone
        client.send_signal(signal.SIGTSTP)
        assert reached(everyone, stopped=True)
        client.send_signal(signal.SIGCONT)
        assert reached(everyone, stopped=False)
    client.send_signal(signal.SIGINT)
    assert client.wait(timeout=20) == 130
    ended(step, helper)


def test_a_stopped_client_that_is_killed_takes_its_step_along(folder, bin_folder, tmp_path):
    client, *processes = waiting(folder, bin_folder, tmp_path / "place")
    client.send_signal(signal.SIGTSTP)
    assert reached((client.pid, *processes), stopped=True)
    client.kill()
    client.wait()
    ended(*processes)


def test_an_ignored_ctrl_c_stays_ignored(folder, bin_folder, tmp_path):
    client, step, helper = waiting(
        folder, bin_folder, tmp_path / "pid",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    client.send_signal(signal.SIGINT)
    os.kill(step, signal.SIGINT)
    time.sleep(0.3)
    assert alive(step)
    client.kill()
    client.wait()
    assert ended(step, helper)


def test_a_killed_client_takes_its_step_along(folder, bin_folder, tmp_path):
    client, step, helper = waiting(folder, bin_folder, tmp_path / "pid")
    client.kill()
    client.wait()
    assert ended(step, helper)


def test_a_client_that_is_killed_while_the_server_is_busy_starts_no_step(folder, tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", "from pr12.workflow import warm; print(warm.start(), flush=True); "
         "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    place = Path(starter.stdout.readline().strip())
    client = subprocess.Popen(  # the server is still importing
        ["python", "-m", "pr12.stand_in", "wait", str(tmp_path / "place")], cwd=folder,
        env=environment(folder, place),
    )  # fmt: skip
    time.sleep(0.5)
    client.kill()
    client.wait()
    assert run(folder, place, "say").returncode == 0  # after it in the queue
    time.sleep(0.5)
    assert not (tmp_path / "place").exists()
    starter.kill()
    starter.wait()


def test_a_killed_step_is_told_as_one(folder, bin_folder, tmp_path):
    client, step, helper = waiting(folder, bin_folder, tmp_path / "pid")
    os.kill(step, signal.SIGKILL)
    assert client.wait(timeout=20) == -signal.SIGKILL
    assert ended(helper)


STARTING = """
import sys, time
from pr12.workflow import warm
print(warm.start(), warm._servers[0].pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("killed", ["who started it", "server"])
def test_who_dies_leaves_nobody(folder, tmp_path, killed):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTING], stdout=subprocess.PIPE, text=True,
        env={name: value for name, value in os.environ.items() if name != "PR12_WARM"},
    )  # fmt: skip
    place, server = starter.stdout.readline().split()
    client, step, helper = waiting(folder, place, tmp_path / "pid")
    os.kill(int(server) if killed == "server" else starter.pid, signal.SIGKILL)
    assert client.wait(timeout=20) != 0
    starter.kill()
    starter.wait()
    assert ended(int(server), step, helper)
    if killed != "server":
        deadline = time.monotonic() + 10
        while Path(place).exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_server_is_small(bin_folder, folder):
    assert run(folder, bin_folder, "say").returncode == 0
    status = Path(f"/proc/{warm._servers[0].pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 400 * 1024


@pytest.mark.parametrize(
    ("value", "platform", "paths", "expected"),
    [
        ("", "linux", [], True),
        ("0", "linux", [], False),
        ("", "darwin", [], False),
        ("", "linux", ["/dev/nvidiactl"], False),
    ],
)
def test_where_steps_start_warm(monkeypatch, value, platform, paths, expected):
    monkeypatch.setenv("PR12_WARM", value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os.path, "exists", lambda path: path in paths)
    monkeypatch.setattr(warm.shutil, "which", lambda name: None)
    assert warm.wanted() is expected
