"""What Snakemake 9.27 gets wrong on a cluster, put right at run time (docs/decisions.md)."""

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
    """Give the first thing that sbatch said, or all."""
    lines = list(lines)
    said = [line.partition("sbatch: error: ")[2] for line in lines if "sbatch: error: " in line]
    return (said[0] if said else " ".join(lines)).rstrip("'. ")
