"""Real servers on this machine's loopback for DVC remotes: one speaks S3, one ssh."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import boto3
import psutil
import pytest

REGION = "us-east-1"
SECONDS = 30  # that a server has to answer
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


class S3(NamedTuple):
    """A running S3 server, and a user who may use its bucket."""

    address: str  # http://127.0.0.1:PORT
    bucket: str
    key: str
    secret: str


class SSH(NamedTuple):
    """A running ssh server that admits the current user with one key."""

    port: int
    user: str
    folder: Path  # keys, configuration, log, and the `storage` folder to push to


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextmanager
def serving(command: list[str], log: Path, answers, **environment) -> Iterator[None]:
    """Run a server from its first answer to the end of the block; leave no process."""
    with open(log, "w") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + SECONDS
        while not answers():
            text = log.read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None, f"{command[0]} ended at once: {text}"
            assert time.monotonic() < end, f"{command[0]} does not answer: {text}"
            time.sleep(0.05)
        yield
    finally:
        tree = []
        if process.poll() is None:  # sshd's sessions leave its group
            tree = psutil.Process(process.pid).children(recursive=True)
        for child in tree:
            child.kill()
        process.send_signal(signal.SIGKILL)
        process.wait()
        psutil.wait_procs(tree, timeout=SECONDS)


@contextmanager
def s3_server(folder: Path, bucket: str = "results") -> Iterator[S3]:
    """Start moto's S3 server, which checks signatures and permissions from then on."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return urllib.request.urlopen(f"{address}/moto-api/", timeout=1).status == 200
        except OSError:
            return False

    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, folder / "s3.log", answers):
        root = {
            "endpoint_url": address,
            "region_name": REGION,
            "aws_access_key_id": "root",
            "aws_secret_access_key": "root",
        }
        users = boto3.client("iam", **root)
        users.create_user(UserName="author")
        users.put_user_policy(UserName="author", PolicyName="s3", PolicyDocument=json.dumps(POLICY))
        pair = users.create_access_key(UserName="author")["AccessKey"]
        boto3.client("s3", **root).create_bucket(Bucket=bucket)
        request = urllib.request.Request(
            f"{address}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request).close()  # who is not known is refused from here on
        yield S3(address, bucket, pair["AccessKeyId"], pair["SecretAccessKey"])


def make_key(path: Path) -> str:
    """Write an ed25519 key pair without a passphrase, and give the public one."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text(encoding="utf-8")


def find_sshd() -> str:
    """Return sshd's path; without it skip the test, or fail where servers are required."""
    result = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if result is None:
        say = pytest.fail if os.environ.get("PR12_SERVERS") == "required" else pytest.skip
        say("sshd is not installed: apt-get install openssh-server")
    return result


@contextmanager
def ssh_server(folder: Path) -> Iterator[SSH]:
    """Start sshd with a configuration and keys of its own; it takes nothing but the key."""
    sshd = find_sshd()
    folder.mkdir()
    (folder / "storage").mkdir()
    port = free_port()
    host = make_key(folder / "host_key")
    (folder / "authorized_keys").write_text(make_key(folder / "client_key"), encoding="utf-8")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}", encoding="utf-8")
    lines = [
        "ListenAddress 127.0.0.1",
        f"Port {port}",
        f"HostKey {folder}/host_key",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        f"AllowUsers {getpass.getuser()}",
        "AuthenticationMethods publickey",
        "PermitRootLogin prohibit-password",
        "StrictModes no",  # the folder lies in /tmp, which all may write
        "UsePAM no",
        "PidFile none",
        "Subsystem sftp internal-sftp",
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if os.geteuid() == 0:  # where the child that talks to strangers is shut in; else not needed
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def answers():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
    with serving(command, folder / "sshd.log", answers):
        yield SSH(port, getpass.getuser(), folder)


@contextmanager
def ssh_agent(folder: Path) -> Iterator[dict[str, str]]:
    """Start an agent that holds the client's key, and give the variable that names it."""
    socket_path = folder / "agent"
    variable = {"SSH_AUTH_SOCK": str(socket_path)}
    command = ["ssh-agent", "-D", "-a", str(socket_path)]
    with serving(command, folder / "agent.log", socket_path.exists):
        add = ["ssh-add", "-q", str(folder / "client_key")]
        subprocess.run(add, env=os.environ | variable, check=True)
        yield variable
