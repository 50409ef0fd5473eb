"""Run one paper's embedded cases on a real Slurm of 1 and of 2 nodes, and check the planner.

Prints wall time, how busy the nodes' cores were, efficiency against the critical path, what Slurm
and Snakemake added to each job, and how far `pr12.cluster.plan` is from the measured time. With
``--write`` the measured overheads become benchmarks/measured/slurm.json, which the planner reads.
Needs Debian's packages slurm-wlm and munge, and one core for each node.
"""

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from embedded import ROOT, tracked_copy

sys.path[:0] = [str(ROOT / "tests/workflow"), str(ROOT / "src")]

import mini_slurm  # noqa: E402

from pr12.cluster import dag, measured, plan  # noqa: E402

OVERHEADS = ROOT / "benchmarks/measured/slurm.json"
PROFILE = ["snakemake", "--profile", "profiles/slurm", "--cores", "1"]
FIRST_LOOK, LOOK_STEP, LAST_LOOK = 5.0, 10.0, 180.0  # profiles/slurm, and the plugin's own steps


def jobs_of(cluster):
    """Give submission, start, end (seconds) and cores of each job that ended, but for the probe."""

    def moment(text):
        return datetime.datetime.fromisoformat(text).timestamp()

    found = []
    for line in cluster.call("scontrol", "show", "job", "-o").splitlines():
        said = dict(re.findall(r"(\w+)=(\S+)", line))
        if said.get("JobState") == "COMPLETED" and said["JobName"] != "pr12-probe":
            times = (moment(said[name]) for name in ("SubmitTime", "StartTime", "EndTime"))
            found.append((*times, int(said["NumCPUs"])))
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


def planned(folder, paper, nodes, overheads, table):
    """Give what the planner predicts for the same jobs."""
    text = subprocess.run(
        [*PROFILE, "--dry-run", "--forceall", paper], cwd=folder, capture_output=True, text=True
    )
    steps = [s for s in dag.parse(text.stdout + text.stderr) if s.job.paper != "data"]
    seconds, unknown = plan.seconds_of(steps, table)
    assert not unknown, unknown
    return plan.replay(plan.works(steps), seconds, plan.Params(nodes, 1), overheads)


def overheads_of(folder, paper, jobs):
    """Give what was added to each job: before its first step, and to each step."""
    text = subprocess.run(
        [*PROFILE, "--dry-run", "--forceall", paper], cwd=folder, capture_output=True, text=True
    )
    table = measured.gather(folder / "build/embedded")
    works = [
        work
        for work in plan.works(dag.parse(text.stdout + text.stderr))
        if not work.local and work.steps[0].job.paper != "data"
    ]
    assert len(works) == len(jobs), (len(works), len(jobs))
    # On one core a job's steps follow on one another: elapsed = start + steps * per_step + work
    spent = sum(end - begin for _, begin, end, _ in jobs)
    work = sum(table[step.job].seconds for each in works for step in each.steps)
    steps = sum(len(each.steps) for each in works)
    return spent, work, len(works), steps


def main():
    """Run on 1 and 2 nodes, print the figures, and write the overheads if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paper", nargs="?", default="stn")
    parser.add_argument("--write", action="store_true", help=f"write {OVERHEADS.name}")
    options = parser.parse_args()
    committed = measured.read(ROOT / "benchmarks/measured/embedded.csv")
    walls = {}
    for nodes in (1, 2):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tracked_copy(folder)
            wall, jobs = run(folder, options.paper, nodes)
            walls[nodes] = wall
            spent, work, count, steps = overheads_of(folder, options.paper, jobs)
            waits = [begin - submitted for submitted, begin, _, _ in jobs]
            added = spent - work
            print(f"{options.paper}, {nodes} node(s): {wall:.0f} s, {count} jobs, {steps} steps")
            print(f"  cores busy: {100 * spent / (nodes * wall):.0f} %")
            print(f"  added to the steps: {100 * added / work:.1f} % ({added / count:.1f} s a job)")
            print(f"  queued: median {statistics.median(waits):.0f} s")
            if options.write and nodes == 1:
                per_step = 0.3
                start = max(0.0, (added - per_step * steps) / count)
                values = [round(start, 1), per_step, FIRST_LOOK, LOOK_STEP, LAST_LOOK]
                names = ("start", "per_step", "first_look", "look_step", "last_look")
                text = json.dumps(dict(zip(names, values, strict=True)), indent=1) + "\n"
                OVERHEADS.write_text(text, encoding="utf-8")
            overheads = plan.Overheads(**json.loads(OVERHEADS.read_text(encoding="utf-8")))
            guess = planned(folder, options.paper, nodes, overheads, committed)
            print(f"  critical path: {guess.critical_path:.0f} s")
            floor = max(guess.critical_path, guess.work / nodes)
            print(f"  efficiency: {100 * floor / wall:.0f} % of the least possible {floor:.0f} s")
            print(f"  planned: {guess.makespan:.0f} s, {100 * (guess.makespan / wall - 1):+.0f} %")
    print(f"speed-up of 2 nodes: {walls[1] / walls[2]:.2f}")


if __name__ == "__main__":
    main()
