"""Who runs Snakemake in this folder: a lock of the kernel's, which is gone when its holder is.

Snakemake's own lock stays behind when it is killed, and a second start that is refused can delete
the first one's.
"""

import fcntl
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from pr12.workflow.errors import UserError

PATH = Path(".snakemake/pr12.lock")


def take(path: Path = PATH) -> TextIO:
    """Take the lock and note this process in it; it is held for as long as the file is open.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.

    Raises
    ------
    UserError
        If another process holds it, with its number and what to do.
    """
    stream = open(path, "a+")  # noqa: SIM115 - open, the lock is held
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise UserError(refusal(path)) from None
    except OSError:  # a file system without such locks: Snakemake's own is left
        return stream
    stream.truncate(0)
    stream.write(f"{os.getpid()} {platform.node()}")
    stream.flush()
    return stream


def is_held(path: Path = PATH) -> bool:
    """Tell whether a process holds the lock; where there are no such locks, it seems so.

    Examples
    --------
    >>> is_held(Path("/nowhere/pr12.lock"))
    False
    """
    try:
        with open(path, "a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def refusal(path: Path = PATH) -> str:
    """Return why no other Snakemake may start, and the whole command that helps.

    Examples
    --------
    >>> refusal(Path("/nowhere/pr12.lock"))
    'a snakemake that was killed left its lock in this folder; remove it by `snakemake --unlock`, \
then run the same command again'
    """
    if not is_held(path):
        return (
            "a snakemake that was killed left its lock in this folder; remove it by "
            "`snakemake --unlock`, then run the same command again"
        )
    process, node = "", ""
    with suppress(OSError, ValueError):
        process, node = path.read_text().split()
    if not process:
        return "another snakemake is running in this folder; wait for it to end"
    where = "" if node == platform.node() else f" on {node}"
    return (
        f"another snakemake is running in this folder, as process {process}{where}; wait for it to "
        f"end, or end it by `kill {process}`"
    )
