"""What each job of a run took, from the timings beside its result: one table a run, kept in git.

``benchmarks/measured/<run>.csv`` is what `pr12.cluster.requests` asks a cluster by (memory, time,
which short jobs go together) and what `pr12.cluster.plan` replays. It decides no result.
"""

import csv
import math
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import pydantic.dataclasses

from pr12.workflow import files, step, timings
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Params:
    """Params of the gathering: none."""


class Job(NamedTuple):
    """A job's place below ``build/<run>``; what is made for all cases has the empty case."""

    paper: str
    case: str
    step: str


@dataclass(frozen=True)
class Measured:
    """What a job took: wall seconds, processor seconds, largest resident memory in MiB."""

    seconds: float
    cpu_seconds: float
    memory_mb: float


HEADER = ["paper", "case", "step", "seconds", "cpu_seconds", "memory_mb"]


def gather(folder: Path) -> dict[Job, Measured]:
    """Read the timings of results below a run's folder; of several of one job, the newest.

    Parameters
    ----------
    folder : Path
        A run's folder, such as ``build/embedded``.

    Examples
    --------
    >>> import tempfile
    >>> run = Path(tempfile.mkdtemp())
    >>> took = {"seconds": 7.63, "cpu_seconds": 2.99, "peak_memory_bytes": 327_680_000, "times": {}}
    >>> files.write_json(run / "vae/z2/train.0123456789/timings.json", took)
    >>> gather(run)[Job("vae", "z2", "train")]
    Measured(seconds=7.6, cpu_seconds=3.0, memory_mb=312.0)
    """
    jobs = {}
    paths = [(path.stat().st_mtime, path) for path in folder.glob(f"**/*.*/{timings.NAME}")]
    for _, path in sorted(paths):
        paper, *case, name = path.parent.relative_to(folder).parts
        took = timings.read(path.parent)
        jobs[Job(paper, "/".join(case), name.partition(".")[0])] = Measured(
            round(float(took["seconds"]), 1),
            round(float(took["cpu_seconds"]), 1),
            float(round(took["peak_memory_bytes"] / 2**20)),
        )
    return jobs


def read(path: Path) -> dict[Job, Measured]:
    """Read a table; one that does not exist holds nothing.

    Raises
    ------
    UserError
        If a line is not a job and three numbers.
    """
    if not path.exists():
        return {}
    table = {}
    with open(path, encoding="utf-8", errors="replace", newline="") as stream:
        rows = csv.DictReader(stream)
        if rows.fieldnames != list(HEADER):
            raise UserError(
                f"{path}, line 1: not {','.join(HEADER)}; "
                "make measured RUN=... writes the table anew"
            )
        for number_, row in enumerate(rows, start=2):
            try:
                figures = [float(row[key]) for key in HEADER[3:]]
                if not all(math.isfinite(figure) and figure >= 0 for figure in figures):
                    raise ValueError
                table[Job(*(row[key] for key in HEADER[:3]))] = Measured(*figures)
            except (KeyError, TypeError, ValueError):
                raise UserError(
                    f"{path}, line {number_}: not {','.join(HEADER)}; "
                    "make measured RUN=... writes the table anew"
                ) from None
    return table


def write(path: Path, table: Mapping[Job, Measured]) -> None:
    """Write a table, its lines in the order of papers, cases and steps."""
    with files.atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows((*job, *astuple(table[job])) for job in sorted(table))


def main(job: step.Job) -> None:
    """Lay what was measured here over what the table holds of jobs that did not run here."""
    folder, table = job.paths["folder"], job.paths["table"]
    jobs = gather(folder)
    if not jobs:
        raise UserError(f"no {timings.NAME} below folder={folder}; run Snakemake there first")
    write(table, read(table) | jobs)
    print(f"{len(jobs)} jobs of {folder} in {table}", file=sys.stderr)


if __name__ == "__main__":
    with step.start(Params, reads=["folder"], writes=["table"]) as job:
        main(job)
