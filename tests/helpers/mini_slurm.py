"""A real Slurm on this machine: munged, slurmctld and several slurmd from Debian's packages.

All of it lives in one folder and listens on loopback only; no systemd, no cgroups. `Cluster.down`
ends every process that it or its jobs started, and says which it had to kill.
"""

import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun", "sacct")
PLACES = f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin"


def missing():
    """List what Debian's packages slurm-wlm and munge would bring."""
    return [name for name in (*DAEMONS, *COMMANDS) if not shutil.which(name, path=PLACES)]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def settle(cores):
    """Keep a daemon to some cores, and let the kernel end it when the tests end in any way."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    os.sched_setaffinity(0, cores)


def born(pid):
    """Return when a process started, None if it has ended: a number may be given out again."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[19]


def running_in(folder):
    """Return process number -> node of all daemons and jobs of the cluster in a folder.

    The controller's own helper, slurmscriptd, is on node None.
    """
    result = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            program = Path(os.readlink(entry / "exe")).name
            if program.startswith("slurmstepd"):  # it overwrites its environment
                files = " ".join(os.readlink(path) for path in (entry / "fd").iterdir())
                if f"{folder}/" in files:
                    at = files.find("slurmd.")
                    result[int(entry.name)] = files[at + 7 :].partition(".log")[0]
            elif f"SLURM_CONF={folder}/slurm.conf".encode() in environment and born(entry.name):
                node = [e[16:] for e in environment if e.startswith(b"SLURMD_NODENAME=")]
                result[int(entry.name)] = node[0].decode() if node else None
        except OSError:  # it ended meanwhile, or is not ours
            continue
    return result


def watch(folder):
    """Wait until the tests have ended, however they did, and end what they left."""
    sys.stdin.read()
    for _ in range(50):
        left = running_in(folder)
        for pid in left:
            with_pid(os.kill, pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """Nodes n1, n2, ... of `cpus` processors and `memory` MiB, with one partition, main."""

    def __init__(self, nodes=2, cpus=2, memory=8000, gpus=0):
        self.folder = Path(tempfile.mkdtemp(prefix="slurm"))  # short: sockets' names are limited
        self.folder.chmod(0o755)
        self.bin, self.log = self.folder / "bin", self.folder / "log"
        self.conf = self.folder / "slurm.conf"
        self.nodes = [f"n{number + 1}" for number in range(nodes)]
        self.processes = {}
        self.cores = {}
        here = sorted(os.sched_getaffinity(0))
        if nodes * cpus <= len(here):  # each node on cores of its own
            for number, node in enumerate(self.nodes):
                self.cores[f"slurmd.{node}"] = here[number * cpus : (number + 1) * cpus]
        for name in ("bin", "log", "run", "state", "spool"):
            (self.folder / name).mkdir()
        self.configure(cpus, memory, gpus)
        self.watchdog = subprocess.Popen(
            [sys.executable, __file__, self.folder], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            self.start_munged()
            self.start_controller()
            for node in self.nodes:
                self.start_node(node)
            self.wait_for_nodes(self.nodes)
        except BaseException:
            logs = {path.name: path.read_text()[-800:] for path in self.log.iterdir()}
            self.down()
            raise AssertionError(f"the cluster did not start: {logs}") from None

    def configure(self, cpus, memory, gpus):
        """Write slurm.conf, and commands that know where it is.

        Snakemake's job steps drop SLURM_CONF before they call srun.
        """
        control, *ports = free_ports(1 + len(self.nodes))
        host = socket.gethostname().split(".")[0]
        self.munge = self.folder / "run/munge"
        values = {
            "ClusterName": "mini",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmUser": getpass.getuser(),
            "AuthType": "auth/munge",
            "CredType": "cred/munge",
            "AuthInfo": f"socket={self.munge},cred_expire=10",
            "SlurmctldPort": control,
            "StateSaveLocation": self.folder / "state",
            "SlurmdSpoolDir": self.folder / "spool/%n",
            "SlurmctldPidFile": self.folder / "run/slurmctld.pid",
            "SlurmdPidFile": self.folder / "run/slurmd.%n.pid",
            "SlurmctldLogFile": self.log / "slurmctld.log",
            "SlurmdLogFile": self.log / "slurmd.%n.log",
            "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",  # loopback only
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            # Without cgroups, memory is looked at once a second and the job killed
            "JobAcctGatherType": "jobacct_gather/linux",
            "JobAcctGatherParams": "OverMemoryKill",
            "JobAcctGatherFrequency": "task=1",
            "AccountingStorageType": "accounting_storage/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "SlurmdParameters": "config_overrides",  # may claim more than this machine has
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1",
            "EnforcePartLimits": "ALL",
            "MinJobAge": 3600,  # squeue still knows jobs that have ended
            "ReturnToService": 2,
            "SlurmdTimeout": 10,
            "KillWait": 2,
            "MessageTimeout": 10,
            "MpiDefault": "none",
            "SwitchType": "switch/none",
            "MailProg": "/bin/true",
        }
        gres = ""
        if gpus:
            values["GresTypes"], gres = "gpu", f" Gres=gpu:{gpus}"
            devices = "".join(
                f"NodeName={node} Name=gpu Count={gpus} File=/dev/null\n" for node in self.nodes
            )
            (self.folder / "gres.conf").write_text(devices)
        lines = [f"{key}={value}" for key, value in values.items()]
        lines += [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
            f"RealMemory={memory}{gres} State=UNKNOWN"
            for node, port in zip(self.nodes, ports, strict=True)
        ]
        lines += [f"PartitionName=main Nodes={','.join(self.nodes)} Default=YES State=UP"]
        self.conf.write_text("\n".join(lines) + "\n")
        for name in COMMANDS:
            real = shutil.which(name, path=PLACES)
            (self.bin / name).write_text(f'#!/bin/sh\nSLURM_CONF={self.conf} exec {real} "$@"\n')
            (self.bin / name).chmod(0o755)

    def environment(self):
        """Return what commands need to talk to this cluster, and to no other."""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SRUN"))
        }
        return kept | {"PATH": f"{self.bin}:{kept['PATH']}"}

    def start(self, name, *command):
        cores = self.cores.get(name, os.sched_getaffinity(0))
        environment = self.environment() | {"SLURM_CONF": str(self.conf), "PATH": PLACES}
        with open(self.log / f"{name}.out", "ab") as log:
            process = subprocess.Popen(
                [shutil.which(command[0], path=PLACES), *map(str, command[1:])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=lambda: settle(cores),
            )
        self.processes[name] = process

    def kill(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def call(self, name, *arguments):
        """Run one of Slurm's commands and give what it prints."""
        done = subprocess.run(
            [self.bin / name, *arguments], capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def start_munged(self):
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        run = self.folder / "run"
        options = [f"--key-file={key}", f"--socket={self.munge}", f"--pid-file={run}/munged.pid"]
        options += [f"--log-file={self.log}/munged.log", f"--seed-file={run}/munged.seed"]
        self.start("munged", "munged", "-F", *options)
        wait_until(self.munge.exists, "munged")

    def start_controller(self):
        self.start("slurmctld", "slurmctld", "-D", "-i", "-f", self.conf)
        wait_until(lambda: "is UP" in self.call("scontrol", "ping"), "slurmctld")

    def kill_controller(self):
        self.kill("slurmctld", signal.SIGKILL)

    def start_node(self, node, hidden=None, size="0"):
        """Start a node; a folder that is `hidden` is an empty one of `size` there."""
        command = ["slurmd", "-D", "-f", self.conf, "-N", node]
        if hidden:
            script = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, hidden, *command]
        self.start(f"slurmd.{node}", *command)

    def wait_for_nodes(self, nodes):
        def ready():
            message = self.call("sinfo", "-hN", "-o", "%N %t").split()
            return all(message[message.index(n) + 1] in ("idle", "mix", "alloc") for n in nodes)

        wait_until(ready, f"nodes {nodes}")

    def stop_node(self, node):
        self.kill(f"slurmd.{node}")

    def cut_power(self, node):
        """End a node with all that runs on it, at once."""
        self.kill(f"slurmd.{node}", signal.SIGKILL)
        here = [pid for pid, place in self.jobs().items() if place == node]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # first none may report that others ended
            for pid in here:
                with_pid(os.kill, pid, number)

    def jobs(self):
        """Return process number -> node of all that runs on this cluster's nodes, in jobs."""
        daemons = {process.pid for process in self.processes.values()}
        result = running_in(self.folder).items()
        return {pid: node for pid, node in result if node and pid not in daemons}

    def wait_for_silence(self):
        """Wait for what outlives a job by a moment."""
        wait_until(lambda: not self.jobs(), "all processes of jobs to end", seconds=10)

    def number_of_job(self):
        """Return the number of the one job that runs now, None if there is none."""
        running = self.call("squeue", "-h", "-t", "RUNNING", "-o", "%i").split()
        return running[0] if len(running) == 1 else None

    def down(self):
        """End the jobs and the daemons; give what still ran after that and had to be killed."""
        if "slurmctld" in self.processes:
            self.call("scancel", "--signal=KILL", "--full", f"--user={getpass.getuser()}")
            self.call("scancel", f"--user={getpass.getuser()}")
            end = time.monotonic() + 10
            while self.call("squeue", "-h") and time.monotonic() < end:
                time.sleep(0.1)
        for name in sorted(self.processes, key=lambda name: -DAEMONS.index(name.split(".")[0])):
            self.kill(name)
        left = self.jobs()
        end = time.monotonic() + 2  # the controller's helper ends a moment after it
        while running_in(self.folder).keys() - left.keys() and time.monotonic() < end:
            time.sleep(0.1)
        left |= running_in(self.folder)
        for pid in left:
            with_pid(os.kill, pid, signal.SIGKILL)
        self.watchdog.communicate()
        return left


def with_pid(function, *arguments):
    """Call what may find that a process has ended already."""
    try:
        function(*arguments)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    watch(sys.argv[1])
