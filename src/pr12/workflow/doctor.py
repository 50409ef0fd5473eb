"""What this machine has of all that the pipeline needs: a line each, and what to do about it."""

import csv
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

EMBEDDED_GB, FULL_GB = 2, 30  # of disk
MEMORY_GB = 4


class Line(NamedTuple):
    """One thing that was looked at: good (True), in want of something (False), or only less."""

    good: bool | None
    what: str
    remedy: str = ""


def checks(root: Path) -> Iterator[Line]:
    """Yield what there is, line by line.

    Parameters
    ----------
    root : Path
        The repository; without params.yaml in it, only what the tools need is looked at.
    """
    version = sys.version_info[:3]
    yield Line(version >= (3, 11), f"Python {platform.python_version()}", "install Python 3.11")
    yield _packages(root / "requirements.lock")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Line(True, f"{cores} cores")
    yield _memory()
    yield _gpu()
    yield _disk(root)
    yield from _data(root / "data/sources.csv")
    for command, what, remedy in (
        ("snakemake", "Snakemake", "pip install --constraint requirements.lock .[pipeline]"),
        ("dvc", "DVC", "pip install --constraint requirements.lock .[pipeline]"),
        ("git", "git", "install git"),
    ):
        yield _command(command, what, remedy, needed=True)
    for command, what, remedy in (
        ("chromium", "Chromium, for tests of pages", "apt-get install chromium fonts-dejavu-core"),
        ("slurmctld", "Slurm, for tests of clusters", "apt-get install slurm-wlm munge"),
        ("sshd", "an ssh server, for tests of remotes", "apt-get install openssh-server"),
    ):
        yield _command(command, what, f"only make test-all needs it: {remedy}", needed=False)


def _packages(lock: Path) -> Line:
    if not lock.is_file():
        return Line(None, "packages: no requirements.lock here", "run it in the repository")
    other, missing = [], []
    for name, version in re.findall(r"^([\w.-]+)==([\w.+-]+)", lock.read_text(), re.MULTILINE):
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if here.partition("+")[0] != version.partition("+")[0]:
            other.append(f"{name} {here} (the lock has {version})")
    remedy = "pip install -r requirements.lock"
    if other:
        return Line(False, f"packages: {len(other)} of other versions: {', '.join(other)}", remedy)
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        return Line(None, f"packages: {len(missing)} of the lock are not here: {shown}", remedy)
    return Line(True, "packages as in requirements.lock")


def _memory() -> Line:
    try:
        gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return Line(None, "memory: unknown")
    return Line(gb >= MEMORY_GB, f"{gb:.0f} GB of memory", f"{MEMORY_GB} GB are needed")


def _gpu() -> Line:
    if not shutil.which("nvidia-smi"):
        return Line(None, "no GPU", "the full run takes a day on a CPU; embedded needs none")
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode:
        return Line(False, "nvidia-smi fails", "see its own message")
    return Line(True, f"GPU: {done.stdout.strip().splitlines()[0]}")


def _disk(root: Path) -> Line:
    gb = shutil.disk_usage(root).free / 1e9
    if gb < EMBEDDED_GB:
        return Line(False, f"{gb:.1f} GB of disk are free", f"embedded needs {EMBEDDED_GB} GB")
    if gb < FULL_GB:
        return Line(None, f"{gb:.0f} GB of disk are free", f"the full run needs {FULL_GB} GB")
    return Line(True, f"{gb:.0f} GB of disk are free")


def _data(sources: Path) -> Iterator[Line]:
    mirror = os.environ.get("PR12_MIRROR")
    if mirror:
        web = urlsplit(mirror).netloc
        there = _reaches(web) if web else Path(mirror).is_dir()
        yield Line(there, f"PR12_MIRROR={mirror}", "it is out of reach: mend or unset the variable")
        return
    hosts = hosts_of(sources) if sources.is_file() else []
    with ThreadPoolExecutor() as pool:
        reached = list(pool.map(_reaches, hosts))
    for host, good in zip(hosts, reached, strict=True):
        if good:
            yield Line(True, f"{host} answers")
        else:
            remedy = "only the full run needs its data; set PR12_MIRROR to a folder that has them"
            yield Line(None, f"{host} is out of reach", remedy)


def hosts_of(sources: Path) -> list[str]:
    """Return the hosts of all data and weights.

    Parameters
    ----------
    sources : Path
        ``data/sources.csv``.
    """
    with sources.open(encoding="utf-8", newline="") as stream:
        urls = [url for row in csv.DictReader(stream) for url in row["urls"].split()]
    return sorted({urlsplit(url).netloc for url in urls})


def _reaches(host: str, timeout: float = 5) -> bool:
    try:
        urllib.request.urlopen(f"https://{host}/", timeout=timeout).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _command(command: str, what: str, remedy: str, needed: bool) -> Line:
    beside = Path(sys.executable).with_name(command)
    if shutil.which(command) or beside.exists() or Path("/usr/sbin", command).exists():
        return Line(True, what)
    return Line(False if needed else None, f"no {what}", remedy)


def report(root: Path, show: Callable[[Line], None]) -> bool:
    """Show each line; return whether nothing is wanting."""
    good = True
    for line in checks(root):
        show(line)
        good &= line.good is not False
    return good
