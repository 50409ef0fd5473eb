"""Steps that start in a fifth of a second: forked from one process that has imported torch.

Importing torch takes longer than most steps of the embedded run. `start` puts a folder with a
``python`` of its own first on PATH. That client hands its arguments, folder, environment, limits
and streams to a server, which forks; any other Python than ``python -m pr12...`` stays plain.
Same code, same bytes: the fork sets its own number of threads, and nothing of pr12 is imported
before it.

Whoever dies takes along what it started: the step ends with its client, all steps and the server
with the process that called `start`, also when that is killed. Signals reach the step through the
client. ``PR12_WARM=0`` turns it off, ``PR12_WARM=FOLDER`` uses a server that runs already.
"""

import array
import contextlib
import ctypes
import importlib
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET = "server.socket"
# Imported before the forks, where installed; nothing of pr12, which may be edited meanwhile
PRELOADED = (
    "numpy",
    "pydantic.dataclasses",
    "safetensors.torch",
    "torch",
    "threadpoolctl",
    "yaml",
    "scipy.stats",
    "matplotlib.figure",
    "sklearn.ensemble",
)
LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
PASSED_ON += (signal.SIGTSTP, signal.SIGCONT)  # Ctrl-Z stops client and step, fg continues both
_servers: list[subprocess.Popen] = []  # whose standard input is open as long as this process lives

# The first lines start any Python: a path after #! may hold no space
CLIENT = """#!/bin/sh
'''exec' "{python}" -IES "$0" "$@"
' '''
import array, json, os, resource, signal, socket, sys
plain = [{python!r}, *sys.argv[1:]]
if sys.argv[1:2] != ["-m"] or not "".join(sys.argv[2:3]).startswith("pr12."):
    os.execv({python!r}, plain)
ignored = [number for number in {signals} if signal.getsignal(number) == signal.SIG_IGN]
heard = [number for number in {signals} if number not in ignored]
for number in heard:
    signal.signal(number, signal.SIG_DFL)
server = socket.socket(socket.AF_UNIX)
try:
    server.connect({address!r})
except OSError:
    os.execv({python!r}, plain)
limits = {{name: resource.getrlimit(getattr(resource, name)) for name in {limits}}}
asked = {{"argv": sys.argv[2:], "cwd": os.getcwd(), "environment": dict(os.environ)}}

def pass_on(number, frame):
    server.sendall(bytes([number]))
    if number == signal.SIGTSTP:
        os.kill(os.getpid(), signal.SIGSTOP)

asked |= {{"limits": limits, "ignored": ignored, "umask": os.umask(0o077)}}
data = json.dumps(asked).encode()
try:
    server.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.sendall(len(data).to_bytes(8, "big") + data)
    for number in heard:
        signal.signal(number, pass_on)
    code = server.makefile().readline()
except OSError:  # it was killed
    code = ""
if not code:
    sys.exit("error: the process that steps start from ended; run again, or with PR12_WARM=0")
if code.startswith("-"):  # as the step: by a signal
    signal.signal(-int(code), signal.SIG_DFL) if -int(code) != signal.SIGKILL else None
    os.kill(os.getpid(), -int(code))
sys.exit(int(code))
"""


def wanted() -> bool:
    """Return whether steps of a local run shall start warm: on Linux, without a GPU.

    CUDA does not survive a fork; it is looked for without touching it.
    """
    if os.environ.get("PR12_WARM") == "0" or not sys.platform.startswith("linux"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # an old kernel, or a Python that was built for one
        return False
    return not (os.path.exists("/dev/nvidiactl") or shutil.which("nvidia-smi"))


def enter() -> None:
    """Let the steps that this process starts by a shell start warm, where `wanted`."""
    if not wanted():
        return
    try:
        folder = start()
    except (OSError, subprocess.SubprocessError) as error:  # such as a /tmp that executes nothing
        print(f"steps start cold, each as a process of its own ({error})", file=sys.stderr)
    else:
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def start() -> Path:
    """Start a server that ends with this process, and return the folder for the front of PATH.

    Its imports go on while this returns; the first steps wait for them.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If there is no place for it, or its ``python`` cannot be run from there.
    """
    given = os.environ.get("PR12_WARM")
    if given:
        return Path(given)
    folder = Path(tempfile.mkdtemp(prefix="pr12-"))
    address = str(folder / SOCKET)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(256)
    client = folder / "python"
    values = {"signals": list(map(int, PASSED_ON)), "limits": LIMITS}
    client.write_text(CLIENT.format(python=sys.executable, address=address, **values))
    client.chmod(0o755)
    code = "import sys; sys.exit(sys.prefix != sys.argv[1])"
    subprocess.run([client, "-c", code, sys.prefix], check=True, timeout=60)
    # The end of its standard input tells the server that this process is no more
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, str(listener.fileno()), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )
    _servers.append(server)
    listener.close()
    return folder


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Fork for each client until standard input ends.

    Returns
    -------
    dict or None
        In a fork the step that it shall become; None in the server, at its end.
    """
    for name in PRELOADED:
        with contextlib.suppress(Exception):  # the pages need no torch; a step says what is wrong
            importlib.import_module(name)
    ready = select.poll()
    ready.register(0, select.POLLHUP)
    ready.register(listener, select.POLLIN)
    alive = os.pipe()  # its end tells the forks that this process is no more
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    while all(place != 0 for place, _ in ready.poll()):
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(alive[1])
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return answer(client, alive[0])
        client.close()
    return None


def answer(client: socket.socket, server: int) -> dict[str, Any]:
    """Fork once more, pass signals on to that child, and send its exit code; end with it.

    Parameters
    ----------
    client : socket
        Sends its streams and a description of the step, then the numbers of signals.
    server : int
        A file descriptor that ends with the server.

    Returns
    -------
    dict
        The step; in the child only.
    """
    streams = array.array("i")
    _, data, _, _ = client.recvmsg(1, socket.CMSG_LEN(3 * streams.itemsize))
    if not data:
        os._exit(1)  # the client was killed before it asked
    streams.frombytes(data[0][2])
    size = int.from_bytes(_exactly(client, 8), "big")
    asked = json.loads(_exactly(client, size))
    if select.select([client], [], [], 0)[0] and not client.recv(1, socket.MSG_PEEK):
        os._exit(1)  # the client was killed after it asked: nobody waits for the step
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the end of the parent
        os.close(server)
        client.close()
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        return asked
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    for stream in streams:
        os.close(stream)
    code = _followed(child, client, server)
    with contextlib.suppress(ProcessLookupError):  # its workers
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(OSError):
        client.sendall(f"{code}\n".encode())
    os._exit(0)


def _exactly(client: socket.socket, size: int) -> bytes:
    """Read so many bytes, none of the signals that follow them."""
    data = client.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        os._exit(1)  # the client was killed while it asked
    return data


def _followed(child: int, client: socket.socket, server: int) -> int:
    """Return a step's exit code; it is killed if the client or the server is no more."""
    done = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([done, client, server], [], [])
        if done in ready:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        signals = client.recv(16) if client in ready else b""
        if not signals:
            return -signal.SIGKILL
        for number in signals:
            os.killpg(child, signal.SIGSTOP if number == signal.SIGTSTP else number)


def become(asked: Mapping[str, Any]) -> None:
    """Run the step that a client asked for, as its own process would.

    Parameters
    ----------
    asked : mapping
        ``argv``, ``cwd``, ``environment``, ``umask``, ``limits`` and ``ignored`` signals.
    """
    if signal.SIGINT not in asked["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in asked["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.umask(asked["umask"])
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for name, limit in asked["limits"].items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(getattr(resource, name), limit)
    _set_threads()
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = ["-m", *asked["argv"][1:]]  # what Python puts there while it looks for a module
    runpy.run_module(asked["argv"][0], run_name="__main__", alter_sys=True)


def _set_threads() -> None:
    """Set the threads of the libraries that were loaded with one, as OMP_NUM_THREADS says."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))
    if threads > 1:
        if pools := sys.modules.get("threadpoolctl"):
            pools.threadpool_limits(threads)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(threads)


def main(listener: socket.socket, folder: str) -> None:
    """Serve, or be one of the steps."""
    asked = serve(listener)
    if asked is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        become(asked)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the steps through their clients
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
