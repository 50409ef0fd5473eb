"""What Snakemake 9.27 gets wrong, most of it on a cluster, put right at run time.

Each fault stands in docs/decisions.md.
"""

import math
import threading
import time
from collections.abc import Iterable
from typing import Any


def ignore_dates(dag: type) -> None:
    """Switch off the refusal of results that are dated before what they were made from.

    Nodes' clocks may differ; here a result is right if it lies at its address.

    Parameters
    ----------
    dag : type
        ``snakemake.dag.DAG``.
    """

    async def no_look_at_dates(self: Any, job: Any, outputs: Any) -> None:
        """Stand in for the comparison."""

    dag.check_output_mtime = no_look_at_dates


def forget_incomplete(dag: type) -> None:
    """Take what a killed job left for missing, as if its files were not there.

    Snakemake makes it again, but asks nothing of the jobs that come after it; and as their inputs
    are ancient and there, it would leave these jobs out and end well.

    Parameters
    ----------
    dag : type
        ``snakemake.dag.DAG``.
    """
    check = dag.check_incomplete

    async def check_and_forget(self: Any) -> None:
        await check(self)
        if not self.ignore_incomplete:
            for file in await self.incomplete_files():
                self.workflow.iocache.exists_local[file] = False

    dag.check_incomplete = check_and_forget


def wake_once(scheduler: type) -> None:
    """Let the scheduler have one alarm for each second.

    It sets one whenever it has looked for jobs to start, for the sake of a limit of jobs per
    second, and each makes it look again: while jobs wait to be started, every job that ends adds
    one more look a second.

    Parameters
    ----------
    scheduler : type
        ``snakemake.scheduling.job_scheduler.JobScheduler``.

    Examples
    --------
    >>> class Scheduler:
    ...     _open_jobs = threading.Semaphore(0)
    >>> wake_once(Scheduler)
    >>> looks = Scheduler()
    >>> for _ in range(9):
    ...     looks._schedule_reevalutation(3600)
    >>> len(looks.alarms) < 9
    True
    """

    def set_alarm(self: Any, delay: float) -> None:
        due = math.ceil(time.monotonic() + delay)
        self.alarms = getattr(self, "alarms", set())
        if due in self.alarms:
            return

        def wake() -> None:
            self.alarms.discard(due)  # before the look, which sets the next
            self._open_jobs.release()

        self.alarms.add(due)
        alarm = threading.Timer(due - time.monotonic(), wake)
        alarm.daemon = True  # nobody waits for it at the end
        alarm.start()

    scheduler._schedule_reevalutation = set_alarm


def hear_refusals(group_job: type) -> dict[str, str]:
    """Keep what Snakemake drops when a group of jobs cannot be submitted.

    Parameters
    ----------
    group_job : type
        ``snakemake.jobs.GroupJob``, which has no `rule` either, for which the plugin asks in its
        own error message: the run would hang.

    Returns
    -------
    dict of str to str
        Name of a group -> why it was refused; filled as the run goes on.

    Examples
    --------
    >>> class Group:
    ...     groupid, jobs = "vae_nets_0", []
    ...     def log_error(self, msg=None, **more): pass
    >>> refused = hear_refusals(Group)
    >>> Group().log_error("SLURM sbatch failed. The error message was 'sbatch: error: no memory'.")
    >>> refused
    {'vae_nets_0': 'no memory'}
    """
    refused: dict[str, str] = {}
    say = group_job.log_error

    def log_error(self: Any, msg: str | None = None, **more: Any) -> None:
        if msg and ("sbatch" in msg or "submission failed" in msg):
            refused[self.groupid] = words(msg.splitlines())
        say(self, msg, **more)

    group_job.log_error = log_error
    group_job.rule = property(lambda self: min((j.rule for j in self.jobs), key=lambda r: r.name))
    return refused


def words(lines: Iterable[str]) -> str:
    """Return the first thing that sbatch said, or all."""
    lines = list(lines)
    errors = [line.partition("sbatch: error: ")[2] for line in lines if "sbatch: error: " in line]
    return (errors[0] if errors else " ".join(lines)).rstrip("'. ")
