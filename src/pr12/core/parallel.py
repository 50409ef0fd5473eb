"""Work on independent items in several processes, one thread each."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from joblib import Parallel, delayed, parallel_config


def workers() -> int:
    """Return how many processes may work: what Snakemake or a scheduler grants, else every core.

    Examples
    --------
    >>> workers() >= 1
    True
    """
    granted = os.environ.get("OMP_NUM_THREADS", "")  # Snakemake sets it to a rule's threads
    return max(int(granted), 1) if granted.isdecimal() else len(os.sched_getaffinity(0))


def spread(function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """Call a function of a module on each item, in parallel, and give the results in order.

    Parameters
    ----------
    function : callable
        It must be importable: the processes are started afresh, which no library forbids.
    items : iterable of tuple
        Its arguments.

    Yields
    ------
    Any
        One result per item, as soon as it and all before it are there.

    Examples
    --------
    >>> list(spread(divmod, [(7, 2), (9, 3)]))
    [(3, 1), (3, 0)]
    """
    count = workers()
    if count == 1:
        yield from (function(*item) for item in items)
        return
    # Else each process would take as many threads as all of them were granted
    with parallel_config(backend="loky", n_jobs=count, inner_max_num_threads=1):
        pool = Parallel(return_as="generator", pre_dispatch="2*n_jobs", batch_size=1)
        yield from pool(delayed(function)(*item) for item in items)
