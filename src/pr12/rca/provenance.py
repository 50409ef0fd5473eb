"""The provenance of this paper's results: the shared one, and the versions of its own libraries."""

from importlib import metadata
from typing import Any

from pr12.shared.step import Job

PACKAGES = ("monai", "SimpleITK")


def provenance(job: Job) -> dict[str, Any]:
    """Give a job's provenance with the versions of MONAI and SimpleITK.

    Parameters
    ----------
    job : Job
        The running step.

    Examples
    --------
    >>> job = Job(None, {}, (), "pr12.rca.provenance", "python -m pr12.rca.provenance")
    >>> sorted(set(PACKAGES) & set(provenance(job)["packages"]))
    ['SimpleITK', 'monai']
    """
    made = job.provenance()
    own = {name: metadata.version(name) for name in PACKAGES}
    return made | {"packages": made["packages"] | own}
