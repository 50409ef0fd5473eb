"""Run the embedded distill from nothing: wall time, busy cores, peak memory per process."""

import os
import re
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
    """Give the largest peak memory of a step in MiB, from the steps' own records."""
    found = [0]
    for path in (folder / "build").rglob("*.json"):
        found += map(int, re.findall(r'"peak_memory_bytes": (\d+)', path.read_text()))
    return max(found) / 2**20


def main() -> None:
    """Print the three figures, and the time of a dry run on the finished tree."""
    cores = min(2, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracked_copy(folder)
        wall, cpu = timed(["snakemake", "--cores", str(cores), "distill"], folder)
        print(f"from nothing: {wall:.0f} s wall on {cores} cores, {cpu:.0f} s CPU")
        print(f"cores busy: {100 * cpu / (cores * wall):.0f} %")
        print(f"peak memory of a step: {peak_memory(folder):.0f} MiB")
        wall, _ = timed(["snakemake", "-n"], folder)
        print(f"snakemake -n on the finished tree: {wall:.1f} s")


if __name__ == "__main__":
    main()
