"""What a step took of its machine: all that two runs of the same code need not share."""

import math
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

try:
    import resource
except ModuleNotFoundError:  # Windows, where the tools for people's own files run, too
    resource = None

from pr12.workflow import files
from pr12.workflow.errors import UserError

NAME = "timings.json"
FIGURES = ("seconds", "cpu_seconds", "peak_memory_bytes")
_IMPORTED = time.monotonic()


class Used(NamedTuple):
    """What processes took: processor seconds and bytes of memory."""

    cpu_seconds: float
    memory_bytes: int


def read(folder: Path) -> dict[str, Any]:
    """Return what making a result took: what `measured` returned, and ``times`` of its own.

    Parameters
    ----------
    folder : Path
        The addressed folder.

    Raises
    ------
    UserError
        If the file is missing or something else.
    """
    path = folder / NAME
    again = f"remove {folder} and run snakemake again"
    try:
        timings = files.read_json(path)
    except (UserError, RecursionError):
        raise UserError(f"{path} is missing or not JSON; {again}") from None
    times = timings.get("times") if isinstance(timings, dict) else None
    good = isinstance(times, dict) and all(
        isinstance(values, list) and values and all(map(_is_time, values))
        for values in times.values()
    )
    if not good or not all(_is_time(timings.get(key)) for key in FIGURES):
        raise UserError(f"{path} has no finite numbers for {', '.join(FIGURES)} and times; {again}")
    return timings


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def measured() -> dict[str, Any]:
    """Return seconds since the process began, processor seconds, memory and what it ran on.

    Workers count: their processor seconds, and the most memory that each of them had at once.

    Examples
    --------
    >>> sorted(measured())
    ['cpu_seconds', 'device', 'machine', 'peak_memory_bytes', 'seconds', 'threads']
    """
    torch = sys.modules.get("torch")  # steps without torch must not pay for it here
    cuda = torch is not None and torch.cuda.is_available()
    ours, workers = _ours(), _workers()
    return {
        "seconds": round(_age(), 3),
        "cpu_seconds": round(ours.cpu_seconds + sum(w.cpu_seconds for w in workers), 3),
        "peak_memory_bytes": ours.memory_bytes + sum(w.memory_bytes for w in workers),
        "machine": platform.node(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads() if torch else 1,
    }


def _ours() -> Used:
    """Return what this process and its ended children took; memory is unknown on Windows."""
    if resource is None:
        return Used(time.process_time(), 0)
    usage, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    cpu = sum(each.ru_utime + each.ru_stime for each in (usage, ended))
    return Used(cpu, usage.ru_maxrss * 1024)  # Linux counts in KiB


def _age() -> float:
    """Return the seconds since this process began: imports count."""
    try:
        began = float(_stat("self")[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:  # a system without /proc
        return time.monotonic() - _IMPORTED
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def _stat(process: str) -> list[str]:
    """Return the fields of /proc/<process>/stat after the command's name (see proc(5))."""
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _workers() -> list[Used]:
    """Return what the living children of this process took, which no `getrusage` tells yet."""
    used = []
    for task in Path("/proc/self/task").glob("*"):
        with suppress(OSError):  # a thread that has ended
            for child in (task / "children").read_text(encoding="utf-8").split():
                with suppress(OSError, StopIteration):  # a child that has ended
                    used.append(_used(child))
    return used


def _used(process: str) -> Used:
    ticks = sum(map(int, _stat(process)[11:13]))
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))  # KiB
    return Used(ticks / os.sysconf("SC_CLK_TCK"), int(peak) * 1024)
