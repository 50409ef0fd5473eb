"""Look at a cluster's free nodes before jobs are sent there.

One short job with a task on each free node reports what it sees, so that a node without the shared
folder, without the environment or with a full scratch disk is told in one sentence, before a
hundred jobs fail there.
"""

import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pr12.cluster import slurm
from pr12.workflow.errors import UserError

MOST_NODES = 32
PATIENCE = 30  # seconds that the probe waits for a free node
SCRATCH_MB = 200  # free space below which a step may not be able to write
SKEW = 5.0  # seconds between clocks that are worth a word

SCRIPT = """
cd {folder} 2>/dev/null && test -f {token} && sees=yes || sees=no
test $sees = yes && echo seen > {token}.$SLURMD_NODENAME 2>/dev/null && writes=yes || writes=no
test -x {python} && python=yes || python=no
free() {{ df -Pm "$1" 2>/dev/null | awk 'NR == 2 {{print $4}}'; }}
echo "probe node=$SLURMD_NODENAME clock=$(date +%s.%N) sees=$sees writes=$writes python=$python" \
    "scratch=$(free "${{TMPDIR:-/tmp}}") build=$(free {folder})"
"""


class Seen(NamedTuple):
    """What a task saw on its node; free space in MiB, its clock in seconds since 1970."""

    node: str
    clock: float
    sees: bool
    writes: bool
    python: bool
    scratch: float
    build: float


def parse(text: str) -> list[Seen]:
    """Read what the tasks printed, one line each.

    Examples
    --------
    >>> parse("probe node=n1 clock=12.5 sees=yes writes=yes python=no scratch=900 build=7000")
    [Seen(node='n1', clock=12.5, sees=True, writes=True, python=False, scratch=900.0, build=7000.0)]
    """
    nodes = []
    for line in text.splitlines():
        if line.startswith("probe "):
            values = dict(re.findall(r"(\w+)=(\S*)", line))
            flags = [values[key] == "yes" for key in ("sees", "writes", "python")]
            free = [float(values[key] or "nan") for key in ("scratch", "build")]
            nodes.append(Seen(values["node"], float(values["clock"]), *flags, *free))
    return nodes


def complaints(seen: Sequence[Seen], folder: Path, python: str) -> list[str]:
    """Say what is wrong with nodes, one sentence for each fault.

    Examples
    --------
    >>> blind = Seen("n2", 12.5, False, False, True, 900.0, 7000.0)
    >>> complaints([blind], Path("/home/me/pr12"), "python")[0].partition(":")[0]
    'node n2 does not see /home/me/pr12'
    """
    faults = {
        f"does not see {folder}: put the repository into a folder that all nodes share": [
            s.node for s in seen if not s.sees
        ],
        f"cannot write to {folder}: make it writable there": [
            s.node for s in seen if s.sees and not s.writes
        ],
        f"has no {python}: install the environment where all nodes see it": [
            s.node for s in seen if s.sees and not s.python
        ],
        f"has less than {SCRATCH_MB} MiB free for temporary files: empty it or set TMPDIR": [
            s.node for s in seen if s.scratch < SCRATCH_MB
        ],
        f"finds less than {SCRATCH_MB} MiB free in {folder}: free some": [
            s.node for s in seen if s.sees and s.build < SCRATCH_MB
        ],
    }
    return [
        f"node {node} {fault}, or keep jobs off that node "
        f"(slurm-exclude-failed-nodes: {node} in profiles/slurm/config.yaml)"
        for fault, nodes in faults.items()
        for node in nodes
    ]


def idle_nodes(options: Sequence[str]) -> list[str]:
    """List nodes on which nothing runs, of the partition and without the excluded nodes in options.

    Raises
    ------
    UserError
        If sinfo cannot be asked, or the partition takes no jobs.
    """
    chosen = [option.partition("=")[2] for option in options if option.startswith("--partition=")]
    excluded = [option.partition("=")[2] for option in options if option.startswith("--exclude=")]
    without: set[str] = set()
    if excluded:
        without = set(slurm.ask(["scontrol", "show", "hostnames", excluded[0]]).split())
    rows = [
        line.split("|")
        for line in slurm.ask(
            ["sinfo", "--noheader", "--Node", "--format=%N|%t|%a|%P"]
        ).splitlines()
    ]
    here = [
        (node, state, up)
        for node, state, up, partition in rows
        if (partition.rstrip("*") in chosen if chosen else partition.endswith("*"))
    ]
    if here and all(up != "up" for *_, up in here):
        raise UserError("the partition is not up and takes no jobs; sinfo -s lists the partitions")
    return sorted({n for n, state, _ in here if state == "idle"} - without)[:MOST_NODES]


def nodes(folder: Path, options: Sequence[str] = ()) -> list[Seen]:
    """Run the probe on each idle node, or on some node if none is; on none if the cluster is full.

    Parameters
    ----------
    folder : Path
        The repository, where jobs will work.
    options : sequence of str
        Options of srun that all jobs have: partition, account, excluded nodes.

    Raises
    ------
    UserError
        If Slurm refuses the job, as for a partition that does not exist, or a node that is idle
        gives no answer.
    """
    idle = idle_nodes(options)
    token = folder / ".snakemake" / f"probe_{uuid.uuid4().hex}"
    script = SCRIPT.format(
        folder=shlex.quote(str(folder)),
        token=shlex.quote(str(token)),
        python=shlex.quote(sys.executable),
    )
    command = ["srun", "--nodes=1", "--ntasks=1", *options, "--mem=50", "--time=2", "--quiet"]
    command += [f"--immediate={PATIENCE}", "--chdir=/", "--job-name=pr12-probe"]
    try:
        token.parent.mkdir(exist_ok=True)
        token.write_text("probe\n", encoding="utf-8")
        probes = {
            node: subprocess.Popen(
                [*command, *([f"--nodelist={node}"] if node else []), "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for node in (idle or [""])
        }
        return [seen for node, each in probes.items() for seen in answer(node, each)]
    except FileNotFoundError:
        raise UserError(
            "srun is not to be found; use profiles/slurm on a host that submits to Slurm"
        ) from None
    finally:
        for path in token.parent.glob(f"{token.name}*"):
            path.unlink(missing_ok=True)


def answer(node: str, probe: subprocess.Popen[str]) -> list[Seen]:
    """Wait for one node's answer; none if the node was taken by other jobs meanwhile.

    Raises
    ------
    UserError
        If Slurm refuses the job, or the node does not answer.
    """
    try:
        output, refused = probe.communicate(timeout=PATIENCE + 60)
    except subprocess.TimeoutExpired:
        probe.terminate()  # srun cancels its job
        probe.communicate()
        raise UserError(
            f"node {node or '(any)'} gave no answer to a probe in {PATIENCE + 60} s; "
            "scontrol show node says how it is, PR12_PROBE=0 goes on without"
        ) from None
    refused = " ".join(refused.split())
    seen = parse(output)
    if seen or re.search("immediate|busy|timed out", refused, re.I):
        return seen
    raise UserError(f"Slurm refuses a job ({refused or 'without a word'}); {advice(refused)}")


def advice(refused: str) -> str:
    """Say what to do about a refusal of Slurm.

    Examples
    --------
    >>> advice("srun: error: invalid partition specified: nope")
    'sinfo -s lists the partitions; set slurm_partition in profiles/slurm/config.yaml'
    """
    if "partition" in refused.lower():
        return "sinfo -s lists the partitions; set slurm_partition in profiles/slurm/config.yaml"
    if "account" in refused.lower():
        return "set slurm_account in profiles/slurm/config.yaml to one of `sacctmgr show assoc`"
    return "docs/cluster.md says what a site must set"


def check(folder: Path, options: Sequence[str] = ()) -> None:
    """Probe the free nodes, warn of clocks that differ, and refuse to go on with an ill node.

    Raises
    ------
    UserError
        If a node does not see the folder or the environment, cannot write, or has no space left.
    """
    before = time.time()
    seen = nodes(folder, options)
    after = time.time()
    if not seen:
        print("no node was free for a probe; going on without", file=sys.stderr, flush=True)
    for node in seen:
        skew = node.clock - min(max(node.clock, before), after)
        if abs(skew) > SKEW:
            print(
                f"warning: the clock of node {node.node} is {skew:+.0f} s from this host's; "
                "results do not depend on it, dates in logs do",
                file=sys.stderr,
                flush=True,
            )
    if wrong := complaints(seen, folder, sys.executable):
        raise UserError("; ".join(wrong))
