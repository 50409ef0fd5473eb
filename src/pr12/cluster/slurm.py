"""What Slurm says of this folder's jobs: which still run, and why some failed."""

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pr12.workflow.errors import UserError

UNFINISHED = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED")
LOOK_EVERY = 5.0  # seconds between two looks at jobs that are waited for
OUT_OF_MEMORY = re.compile(r"exceeded (job )?memory limit|oom[-_ ]?kill|Out Of Memory", re.I)
# The last two are what torch says when it cannot write the whole of a file
FULL_DISK = re.compile(
    r"No space left on device|Disk quota exceeded|the checkpoint .* cannot be written"
)
SUBMITTED = re.compile(r"submitted with SLURM jobid (\d+) \(log: (.+?)\)\.")
STEP_LOG = re.compile(r"^\s+log: (build/\S+)", re.M)


class State(NamedTuple):
    """How a Slurm job stands: its state, node, and the time and memory that it asked for."""

    state: str
    node: str
    time_limit: str
    memory: str


class Submitted(NamedTuple):
    """A job as Snakemake's log names it: its number, and Slurm's log of it."""

    number: str
    log: Path


def ask(command: Sequence[str]) -> str:
    """Run one of Slurm's commands and give what it printed.

    Raises
    ------
    UserError
        If the command is not there, or ends with an error.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is not to be found; use profiles/slurm on a host that submits to Slurm"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]} gave no answer in two minutes; is slurmctld up?") from None
    if done.returncode:
        message = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise UserError(f"{command[0]} failed ({message}); sinfo and squeue say how the cluster is")
    return done.stdout


def running(folder: Path) -> list[str]:
    """Return the numbers of the jobs that Snakemake has started in a folder and that still run.

    Other jobs of the user may work there too: Snakemake itself may run in one. Those that it
    submits have a comment that says of which rule they are.

    Raises
    ------
    UserError
        If squeue cannot be asked.
    """
    lines = ask(["squeue", "--me", "--noheader", "--format=%i|%k|%Z"]).splitlines()
    jobs = (line.split("|", 2) for line in lines if line.count("|") > 1)
    return [
        number
        for number, comment, place in jobs
        if comment.startswith("rule_") and Path(place) == folder
    ]


def wait(folder: Path) -> None:
    """Wait until jobs of an earlier, killed Snakemake have ended: what they make is not made twice.

    Raises
    ------
    UserError
        If squeue cannot be asked.
    """
    shown: list[str] = []
    while jobs := running(folder):
        if jobs != shown:
            print(
                f"waiting for Slurm jobs {', '.join(jobs)} that an earlier run started here; "
                f"their results are taken over (scancel {' '.join(jobs)} ends them)",
                file=sys.stderr,
                flush=True,
            )
            shown = jobs
        time.sleep(LOOK_EVERY)


def submitted(text: str) -> list[Submitted]:
    """List the last submission of each job that a Snakemake log tells of.

    Examples
    --------
    >>> submitted('''Job 5 has been submitted with SLURM jobid 7 (log: /w/rule_vae_train/a/7.log).
    ... Job 5 has been submitted with SLURM jobid 9 (log: /w/rule_vae_train/a/9.log).''')
    [Submitted(number='9', log=PosixPath('/w/rule_vae_train/a/9.log'))]
    """
    last = {}
    for number, log in SUBMITTED.findall(text):
        last[Path(log).parent] = Submitted(number, Path(log))
    return list(last.values())


def states() -> dict[str, State]:
    """Ask how this user's jobs stand, also those that ended a few minutes ago, or as accounts say.

    Slurm forgets ended jobs after `MinJobAge`; where accounting works, sacct remembers them.

    Raises
    ------
    UserError
        If squeue cannot be asked.
    """
    form = "--format=%i|%T|%N|%l|%m"
    text = ask(["squeue", "--me", "--states=all", "--noheader", form])
    form = "--format=JobID,State,NodeList,Timelimit,ReqMem"
    with suppress(UserError):  # no accounting
        since = "--starttime=now-7days"
        text = ask(["sacct", "--allocations", "--parsable2", "--noheader", since, form]) + text
    rows = (line.split("|") for line in text.splitlines())
    # sacct says "CANCELLED by 1000"
    return {row[0]: State(row[1].split(" ")[0], *row[2:5]) for row in rows if len(row) == 5}


def explain(job: Submitted, state: State, log: str, step_logs: Mapping[str, str]) -> str:
    """Say in one sentence which job failed, why, and where to read on.

    Parameters
    ----------
    job : Submitted
        The job.
    state : State
        How Slurm says it ended.
    log : str
        What Slurm's log of it holds.
    step_logs : mapping of str to str
        Path -> text of the logs of the steps in it.

    Examples
    --------
    >>> job = Submitted("7", Path("slurm_logs/group_vae_nets_0_vae_train/7.log"))
    >>> explain(job, State("TIMEOUT", "n1", "5:00", "2000M"), "", {}).partition(";")[0]
    'Slurm job 7 (vae_nets_0_vae_train) on n1 ran past its time limit of 5:00'
    """
    causes = {
        "CANCELLED": "was cancelled",
        "TIMEOUT": f"ran past its time limit of {state.time_limit}",
        "OUT_OF_MEMORY": f"needed more than its {state.memory} of memory",
        "NODE_FAIL": "lost its node",
        "BOOT_FAIL": "lost its node",
        "PREEMPTED": "was preempted by other jobs",
    }
    cause = causes.get(state.state, f"ended as {state.state}")
    if OUT_OF_MEMORY.search(log):
        cause = causes["OUT_OF_MEMORY"]
    elif any(FULL_DISK.search(text) for text in (log, *step_logs.values())):
        cause = "found no space left on a disk (df -h build $TMPDIR)"
    name = re.sub(r"^(group|rule)_", "", job.log.parent.name)
    if re.fullmatch(r"[0-9a-f]{8,}|unique", name):  # a rule's job: the folder above has its name
        name = re.sub(r"^(group|rule)_", "", job.log.parent.parent.name)
    where = f" on {state.node}" if state.node else ""
    sentence = f"Slurm job {job.number} ({name}){where} {cause}"
    errors = [
        line
        for text in step_logs.values()
        for line in text.splitlines()
        if line.startswith("error: ")
    ]
    if errors:
        sentence += f", {errors[-1].removeprefix('error: ')}"
    logs = [*step_logs, str(job.log)]
    return f"{sentence}; log: {', '.join(logs)}"


def failed_step(log: str) -> str | None:
    """Return the log of the step that failed in a job, or of the last one that was begun.

    Parameters
    ----------
    log : str
        What Slurm's log of the job holds: the output of the Snakemake in it.

    Examples
    --------
    >>> failed_step('''
    ... rule vae_train:
    ...     log: build/full/vae/z2/train.ab/train.log
    ... Error in rule vae_train:
    ...     log: build/full/vae/z2/train.ab/train.log (check log file(s) for error details)
    ... Error in group vae_nets_0
    ...     log: build/full/vae/z2/evaluate.cd/evaluate.log''')
    'build/full/vae/z2/train.ab/train.log'
    """
    inside = log.partition("Error in group")[0]
    _, failed, after = inside.rpartition("Error in rule")
    paths = STEP_LOG.findall(after if failed else inside)
    if not paths:
        return None
    return paths[0] if failed else paths[-1]


def failures(text: str) -> list[str]:
    """Say of each job in a Snakemake log that failed for good why it did.

    Parameters
    ----------
    text : str
        What Snakemake wrote to its own log.

    Raises
    ------
    UserError
        If squeue cannot be asked.
    """
    jobs = submitted(text)
    known = states()
    sentences = []
    for job in jobs:
        # The plugin deletes the log of a job that ended well
        if job.number not in known and not job.log.exists():
            continue
        state = known.get(job.number, State("an unknown state, forgotten by Slurm", "", "", ""))
        if state.state in (*UNFINISHED, "COMPLETED"):
            continue
        log = job.log.read_text(encoding="utf-8", errors="replace") if job.log.exists() else ""
        path = failed_step(log)
        logs = {}
        if path and Path(path).exists():
            logs[path] = Path(path).read_text(encoding="utf-8", errors="replace")
        sentences.append(explain(job, state, log, logs))
    return sentences
