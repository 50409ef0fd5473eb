"""Run one paper's embedded cases from nothing: wall time, busy cores, peak memory per job."""

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tracked_copy(folder: Path) -> None:
    """Copy what git tracks, so that nothing is there yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Give wall seconds and CPU seconds of a command and all its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def peak_memory(folder: Path) -> float:
    """Give the largest peak memory of a job with its workers in MiB, as the jobs measured it."""
    timings = (
        json.loads(path.read_text()) for path in (folder / "build").glob("*/*/*/*/timings.json")
    )
    return max(took["peak_memory_bytes"] for took in timings) / 2**20


def main() -> None:
    """Print the three figures, and the time of a dry run on the finished tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paper", nargs="?", default="distill")
    paper = parser.parse_args().paper
    cores = min(2, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracked_copy(folder)
        wall, cpu = timed(["snakemake", "--cores", str(cores), paper], folder)
        print(f"from nothing: {wall:.0f} s wall on {cores} cores, {cpu:.0f} s CPU")
        print(f"cores busy: {100 * cpu / (cores * wall):.0f} %")
        print(f"peak memory of a job: {peak_memory(folder):.0f} MiB")
        wall, _ = timed(["snakemake", "-n"], folder)
        print(f"snakemake -n on the finished tree: {wall:.1f} s")


if __name__ == "__main__":
    main()
