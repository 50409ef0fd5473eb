"""Run one paper's embedded cases on a real Slurm of 1 and of 2 nodes, and check the planner.

Prints wall time, how busy the nodes' cores were, efficiency against the critical path, what Slurm
and Snakemake added to each job, and how far `pr12.cluster.replay` is from the measured time, with
the seconds of steps and the overheads of the run on 1 node; ends with exit code 1 if that is more
than 20 %. With ``--write`` these figures, overheads and seconds are laid into benchmarks/measured,
where the planner reads them. Needs Debian's packages slurm-wlm and munge, one core for each node.
"""

import argparse
import csv
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embedded import ROOT, tracked_copy

sys.path[:0] = [str(ROOT / "tests/helpers"), str(ROOT / "src")]

import mini_slurm  # noqa: E402
from pr12.cluster import jobs as cluster_jobs  # noqa: E402
from pr12.cluster import measured, plan, replay, requests  # noqa: E402
from pr12.workflow import settings, yaml_files  # noqa: E402
from pr12.workflow.papers import Graphs  # noqa: E402

OVERHEADS = ROOT / "benchmarks/measured/slurm.json"
SECONDS = ROOT / "benchmarks/measured/embedded.csv"
TABLE = ROOT / "benchmarks/measured/slurm_scaling.csv"
PROFILE = ["snakemake", "--profile", "profiles/slurm", "--cores", "1"]
ALLOWED = 0.2  # of the measured time, that the planner may be off
NOTHING = replay.Overheads(0.0, 0.0, 0.001, 0.0, 0.001)
FIRST_LOOK, LOOK_STEP, LAST_LOOK = 5.0, 10.0, 180.0  # profiles/slurm, and the plugin's own steps


class Ended(NamedTuple):
    """A job of the cluster that has ended."""

    comment: str
    start: float
    end: float


class Ran(NamedTuple):
    """A run: wall seconds, its steps, what each took, and a line for each of its jobs."""

    nodes: int
    wall: float
    steps: list
    took: dict
    rows: np.ndarray


class Scaled(NamedTuple):
    """What a run on some nodes took, in seconds.

    `elapsed` is the sum over its jobs, `work` the sum over their steps; with these steps, so many
    nodes need at least `least`; the planner says `planned`.
    """

    paper: str
    nodes: int
    jobs: int
    steps: int
    wall: float
    elapsed: float
    work: float
    critical_path: float
    least: float
    planned: float

    @property
    def wrong(self):
        """How far the planner was off, as a share of what was measured."""
        return self.planned / self.wall - 1


def jobs_of(cluster):
    """Give comment, start and end (seconds) of each job that ended, but for the probe."""

    def moment(text):
        return datetime.datetime.fromisoformat(text).timestamp()

    found = []
    for line in cluster.call("scontrol", "show", "job", "-o").splitlines():
        said = dict(re.findall(r"(\w+)=(\S+)", line))
        if said.get("JobState") == "COMPLETED" and said["JobName"] != "pr12-probe":
            times = (moment(said[name]) for name in ("StartTime", "EndTime"))
            found.append(Ended(said["Comment"], *times))
    return found


def run(folder, paper, nodes):
    """Run a paper from nothing on a fresh cluster; give wall seconds and its jobs."""
    cluster = mini_slurm.Cluster(nodes=nodes, cpus=1, memory=8000)
    environment = os.environ | {
        "PATH": f"{cluster.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    try:
        subprocess.run(
            ["snakemake", "--cores", "2", "data"],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        start = time.perf_counter()
        done = subprocess.run(
            [*PROFILE, paper], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return time.perf_counter() - start, jobs_of(cluster)
    finally:
        assert cluster.down() == {}


def steps_of(paper):
    """Give the steps of a paper's embedded run, but for its data."""
    config = yaml_files.load(ROOT / "params.yaml") | {"run": "embedded"}
    graphs = Graphs(settings.resolve(config), config["papers"])
    asked = requests.Requests(measured.read(SECONDS), 1, requests.has_gpu())
    return [each for each in cluster_jobs.of_run(graphs, asked) if each.job.paper == paper]


def table_of(steps, took, jobs):
    """Give each job's seconds on the cluster, seconds of its steps, and number of steps."""
    rows = []
    for work in replay.works(steps):
        if not work.local:
            rules = "_".join(sorted({step.rule for step in work.steps}))
            start = f"rule_{work.name}_{rules}"
            (job,) = (job for job in jobs if job.comment.startswith(start))
            own = sum(took[step.job].seconds for step in work.steps)
            rows.append((job.end - job.start, own, len(work.steps)))
    assert len(rows) == len(jobs), (rows, jobs)
    return np.array(rows, dtype=float)


def fitted(rows):
    """Give what starting a job and each of its steps add, by least squares over the jobs.

    On one core a job's steps follow on one another: elapsed = start + steps * per_step + work.
    """
    design = np.stack([np.ones(len(rows)), rows[:, 2]], axis=1)
    (start, per_step), *_ = np.linalg.lstsq(design, rows[:, 0] - rows[:, 1], rcond=None)
    values = [round(float(start), 1), round(max(0.0, float(per_step)), 2)]
    names = ("start", "per_step", "first_look", "look_step", "last_look")
    return dict(zip(names, [*values, FIRST_LOOK, LOOK_STEP, LAST_LOOK], strict=True))


def ran(paper, nodes):
    """Run on some nodes, in a copy of the repository."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracked_copy(folder)
        wall, jobs = run(folder, paper, nodes)
        took = measured.gather(folder / "build/embedded")
        steps = steps_of(paper)
        return Ran(nodes, wall, steps, took, table_of(steps, took, jobs))


def scaled(paper, one, first):
    """Compare a run with what the steps and overheads of the first one let expect."""

    def replayed(took, overheads):
        seconds, unknown = plan.seconds_of(one.steps, took)
        assert not unknown, unknown
        return replay.replay(replay.works(one.steps), seconds, one.nodes, 1, overheads)

    own = replayed(one.took, NOTHING)
    guess = replayed(first.took, replay.Overheads(**fitted(first.rows)))
    elapsed, work, steps = one.rows.sum(axis=0)
    least = max(own.critical_path, own.work / one.nodes)
    seconds = (one.wall, elapsed, work, own.critical_path, least, guess.makespan)
    rounded = (round(float(each), 1) for each in seconds)
    return Scaled(paper, one.nodes, len(one.rows), int(steps), *rounded)


def tell(line):
    """Print the figures of a run."""
    print(f"{line.paper}, {line.nodes} nodes: {line.wall:.0f} s, {line.jobs} jobs of {line.steps}")
    print(f"  cores busy: {100 * line.elapsed / (line.nodes * line.wall):.0f} %")
    print(f"  added to the steps: {100 * (line.elapsed / line.work - 1):.1f} %")
    print(f"  critical path: {line.critical_path:.0f} s")
    print(f"  efficiency: {100 * line.least / line.wall:.0f} % of the least, {line.least:.0f} s")
    print(f"  planned: {line.planned:.0f} s, {100 * line.wrong:+.0f} %", flush=True)


def write(paper, lines, first):
    """Write the figures, and what the planner reads: overheads and the steps' seconds."""
    OVERHEADS.write_text(json.dumps(fitted(first.rows), indent=1) + "\n", encoding="utf-8")
    own = {job: each for job, each in first.took.items() if job.paper == paper}
    measured.write(SECONDS, measured.read(SECONDS) | own)
    with open(TABLE, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([Scaled._fields, *lines])


def main():
    """Run on 1 and 2 nodes and print the figures; what was measured is written at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paper", nargs="?", default="stn")
    names = ", ".join(path.name for path in (TABLE, OVERHEADS, SECONDS))
    parser.add_argument("--write", action="store_true", help=f"write {names}")
    options = parser.parse_args()
    lines, first = [], None
    for nodes in (1, 2):
        one = ran(options.paper, nodes)
        first = first or one
        lines.append(scaled(options.paper, one, first))
        tell(lines[-1])
    print(f"speed-up of 2 nodes: {lines[0].wall / lines[1].wall:.2f}")
    found = fitted(first.rows)
    print(f"added: {found['start']} s to a job, {found['per_step']} s to a step")
    if max(abs(line.wrong) for line in lines) > ALLOWED:
        sys.exit(f"error: the planner is off by more than {100 * ALLOWED:.0f} %")
    if options.write:
        write(options.paper, lines, first)


if __name__ == "__main__":
    main()
