"""Kill a run or a tool at seeded random moments, start it again, compare the bytes at the end.

By hand, from a checkout whose environment is active::

    python tests/helpers/kills.py run --paper stn --run smoke --kills 3 --seed 0
    python tests/helpers/kills.py tool --kills 10 --seed 0 --outputs out.png -- \
        python -m pr12.photostyle.transfer content=content.png style=style.png output=out.png

Exit code 1 if any file differs from that of an undisturbed run.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from checkout import REPOSITORY, Checkout, copy_repository
from pr12.workflow import files

# All that is addressed, and what is in git; not what a run says of its machine
COMPARED = ("build/*/*/*/*.*/*", "reports/*/*/**/*")
LEFT_OUT = ("timings.json", "stamp.json")
UNLOCK = re.compile(r"remove it by `(snakemake --unlock)`")
PATIENCE = 3600  # seconds that an undisturbed command may take


def kill_run(folder, papers, run="smoke", kills=3, seed=0, trim=None, cores=1):
    """Return the files that differ between an undisturbed run and one that is killed many times.

    Each process group and whatever else works in the copy is killed by SIGKILL, after a time that
    is drawn from the time that the undisturbed run took, so that kills fall anywhere in it.

    Parameters
    ----------
    folder : Path
        An empty folder; two copies of the repository are made in it.
    papers : list of str
        Targets of Snakemake; all papers if empty.
    run : str
        Its scale.
    kills : int
        How often.
    seed : int
        Of the moments.
    trim : callable, optional
        Changes a `Checkout`, such as its params, before anything runs.
    cores : int
        For Snakemake.
    """
    copies = []
    for name in ("undisturbed", "killed"):
        (Path(folder) / name).mkdir(parents=True)
        copies.append(copy_repository(Path(folder) / name))
        if trim:
            trim(copies[-1])
    undisturbed, killed = copies
    command = ["snakemake", "--cores", str(cores), "--config", f"run={run}", "--", *papers]
    began = time.monotonic()
    undisturbed.run(*command)
    seconds = time.monotonic() - began
    choose = random.Random(seed)
    for number in range(kills):
        delay = choose.uniform(0.5, max(1.0, seconds * 1.2 / max(kills, 1)))
        print(f"kill {number + 1}: after {delay:.1f} s", file=sys.stderr, flush=True)
        start(killed, command, delay)
    start(killed, command, PATIENCE)
    return differences(digests(undisturbed), digests(killed))


def kill_after(checkout, process, delay):
    """Kill a command's process group, and what it has started in groups of their own."""
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    while left := checkout.processes(process.log):
        # All stop before the first dies, or the others would have time to say who is missing
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        time.sleep(0.05)


def start(checkout, command, seconds):
    """Start a run and kill it later; if it is refused, do what the message says, and again."""
    for _ in range(2):
        process = checkout.start(*command)
        kill_after(checkout, process, seconds)
        text = process.log.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in text, text
        if not (refused := UNLOCK.search(text)):
            break
        checkout.run(*refused[1].split())
    ended = (0,) if seconds == PATIENCE else (0, -signal.SIGKILL)
    assert process.returncode in ended, text


def digests(checkout):
    """Return file -> SHA-256 of all addressed files and of what is in reports/."""
    paths = {path for pattern in COMPARED for path in checkout.root.glob(pattern)}
    assert paths, f"no results in {checkout.root}"
    return {
        str(path.relative_to(checkout.root)): files.sha256(path)
        for path in sorted(paths)
        if path.is_file() and path.name not in LEFT_OUT and path.suffix != ".log"
    }


def differences(first, second):
    """Return the files whose digests differ, or that only one of two runs has."""
    return sorted(
        name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
    )


def kill_tool(folder, command, outputs, kills=3, seed=0):
    """Return the outputs of a tool that differ after kills from those of an undisturbed command.

    Parameters
    ----------
    folder : Path
        A folder that holds the tool's inputs; it is copied for each of the two.
    command : list of str
        The tool, with paths relative to the folder.
    outputs : list of str
        Files, or folders of files, relative to the folder.
    kills : int
        How often; a command that ends earlier is started anew, from nothing.
    seed : int
        Of the moments.
    """
    scratch = Path(tempfile.mkdtemp(prefix="kills."))
    copies = [Checkout(Path(folder)).copy(scratch / name) for name in ("undisturbed", "killed")]
    more = {"PYTHONPATH": str(REPOSITORY / "src")}
    began = time.monotonic()
    copies[0].finish(copies[0].start(*command, **more), timeout=PATIENCE)
    seconds = time.monotonic() - began
    choose = random.Random(seed)
    number = 0
    while number < kills:
        delay = choose.uniform(0.5, max(1.0, seconds))
        process = copies[1].start(*command, **more)
        kill_after(copies[1], process, delay)
        text = process.log.read_text(encoding="utf-8", errors="replace")
        if process.returncode == -signal.SIGKILL:
            number += 1
            print(f"kill {number}: after {delay:.1f} s", file=sys.stderr, flush=True)
            continue
        assert process.returncode == 0, text
        seconds *= 0.7  # it had ended; what it wrote must not hide what follows
        for output in outputs:
            remove(copies[1] / output)
    copies[1].finish(copies[1].start(*command, **more), timeout=PATIENCE)
    return differences(*(output_digests(copy, outputs) for copy in copies))


def remove(path):
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def output_digests(checkout, outputs):
    """Return file -> SHA-256 of a tool's outputs."""
    paths = []
    for output in outputs:
        path = checkout / output
        paths += sorted(path.rglob("*")) if path.is_dir() else [path]
    assert any(path.is_file() for path in paths), f"no outputs {outputs} in {checkout.root}"
    return {
        str(path.relative_to(checkout.root)): files.sha256(path) for path in paths if path.is_file()
    }


def main():
    """Run one of both from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    run = kinds.add_parser("run", help="a Snakemake run in two copies of the repository")
    run.add_argument("--paper", action="append", default=[], help="may be given again")
    run.add_argument("--run", default="smoke")
    run.add_argument("--cores", type=int, default=1)
    tool = kinds.add_parser("tool", help="a command in copies of the current folder")
    tool.add_argument("--outputs", nargs="+", required=True)
    tool.add_argument("command", nargs="+", help="after --")
    for kind in (run, tool):
        kind.add_argument("--kills", type=int, default=3)
        kind.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.kind == "run":
        folder = Path(tempfile.mkdtemp(prefix="kills."))
        differing = kill_run(
            folder, given.paper, given.run, given.kills, given.seed, cores=given.cores
        )
        print(f"copies are in {folder}", file=sys.stderr)
    else:
        differing = kill_tool(Path.cwd(), given.command, given.outputs, given.kills, given.seed)
    for name in differing:
        print(f"differs: {name}")
    print(f"{len(differing)} files differ")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
