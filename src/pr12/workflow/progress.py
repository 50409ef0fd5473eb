"""How far a training is: a bar on a terminal, a line per epoch in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Row = TypeVar("Row")


def follow(
    rows: Iterable[Row], total: int, text: Callable[[Row], str], done: int = 0
) -> Iterator[Row]:
    """Pass rows through and show after each how many of `total` are done and what remains.

    Parameters
    ----------
    rows : iterable
        One item per epoch (or other unit of work).
    total : int
        How many there are in all.
    text : callable
        What to say of a row, such as its loss.
    done : int
        How many were done before this process started (a resumed training).

    Yields
    ------
    Row
        The rows, unchanged.

    Examples
    --------
    >>> list(follow([0.5, 0.25], 2, "loss {:.2f}".format))
    [0.5, 0.25]
    """
    if sys.stderr.isatty():
        yield from _bar(rows, total, text, done)
        return
    start = time.monotonic()
    for count, row in enumerate(rows, start=1):
        elapsed = time.monotonic() - start
        remaining = elapsed / count * (total - done - count)
        times = f"elapsed {_clock(elapsed)}  left {_clock(remaining)}"
        print(f"{done + count}/{total}  {text(row)}  {times}", file=sys.stderr, flush=True)
        yield row


def _bar(rows: Iterable[Row], total: int, text: Callable[[Row], str], done: int) -> Iterator[Row]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, completed=done)
        for row in rows:
            bar.update(task, advance=1, description=text(row))
            yield row


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
