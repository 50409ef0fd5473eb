"""Steps that start in a tenth of a second: forked from a process that has imported torch already.

A step spends three of its four seconds at smoke scale on importing torch. Where hundreds run, a
folder with a `python` of our own goes first on PATH; that client hands its arguments, folder,
environment and streams to a server, which forks. Tests that kill steps use plain Python.
"""

import array
import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback

CLIENT = """#!{python} -IES
import array, json, os, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith("pr12."):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = {{"argv": sys.argv[2:], "cwd": os.getcwd(), "environment": dict(os.environ)}}
streams = array.array("i", [0, 1, 2])
server.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(json.dumps(asked).encode() + b"\\n")
said = server.makefile().readline()
sys.exit(int(said) if said else 70)
"""


@contextlib.contextmanager
def python(folder):
    """Start the server; give a folder whose `python` asks it."""
    folder.mkdir()
    address = str(folder / "server.socket")
    client = folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
    )
    try:
        while not os.path.exists(address):
            assert server.poll() is None
            time.sleep(0.05)
        yield folder
    finally:
        server.kill()
        server.wait()


def serve(address):
    """Fork a process for each client."""
    import torch

    assert torch.get_num_threads() == 1
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.part")
    listener.listen(64)
    os.rename(f"{address}.part", address)
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            answer(client)
        client.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def answer(client):
    """Run the step in a child, and send its exit code."""
    streams = array.array("i")
    _, data, _, _ = client.recvmsg(1, socket.CMSG_LEN(3 * streams.itemsize))
    streams.frombytes(data[0][2])
    asked = json.loads(client.makefile().readline())
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(ProcessLookupError):  # pools that it has left
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(OSError):
            client.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
        os._exit(0)
    os.setpgid(0, 0)
    client.close()
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[:0] = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = asked["argv"]
    code = 0
    try:
        runpy.run_module(asked["argv"][0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
