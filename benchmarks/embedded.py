"""Run the embedded cases from nothing: wall time, busy cores, the longest job; warm and cold."""

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


def timed(command: list[str], folder: Path, **environment: str) -> tuple[float, float]:
    """Return wall seconds and processor seconds of a command and all its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True, env=os.environ | environment
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def timings(folder: Path) -> list[tuple[str, dict]]:
    """Return what each job took, as it measured itself: its folder, and its timings."""
    paths = (folder / "build").glob("*/*/*/*/timings.json")
    return [(str(path.parent.relative_to(folder)), json.loads(path.read_text())) for path in paths]


def run(papers: list[str], cores: int, warm: bool) -> float:
    """Run from nothing in a folder of its own and print its figures; return wall seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracked_copy(folder)
        command = ["snakemake", "--cores", str(cores), *papers]
        wall, cpu = timed(command, folder, PR12_WARM="" if warm else "0")
        took = timings(folder)
        steps = sum(each["cpu_seconds"] for _, each in took)
        # Forks of the warm process are nobody's children here; they have measured themselves
        cpu += steps if warm else 0
        print(f"{'warm' if warm else 'cold'} start, {len(took)} steps, from nothing:")
        print(f"  {wall:.0f} s wall on {cores} cores, {cpu:.0f} processor-seconds")
        print(f"  cores busy: {100 * cpu / (cores * wall):.0f} %")
        place, longest = max(took, key=lambda each: each[1]["seconds"])
        print(f"  longest job: {longest['seconds']:.0f} s ({place})")
        peak = max(each["peak_memory_bytes"] for _, each in took) / 2**20
        print(f"  peak memory of a job: {peak:.0f} MiB")
        dry, _ = timed(["snakemake", "-n", *papers], folder)
        print(f"  snakemake -n on the finished tree: {dry:.1f} s", flush=True)
    return wall


def main() -> None:
    """Print the figures of a run, and beside them those of a run whose steps start cold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("papers", nargs="*", help="of all papers without it")
    parser.add_argument("--cold", action="store_true", help="also without warm start")
    given = parser.parse_args()
    cores = min(2, os.cpu_count() or 1)
    warm = run(given.papers, cores, warm=True)
    if given.cold:
        cold = run(given.papers, cores, warm=False)
        print(f"warm / cold: {warm / cold:.2f} of the wall time")


if __name__ == "__main__":
    main()
