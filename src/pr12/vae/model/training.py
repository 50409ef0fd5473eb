"""What the trainings share: their moments, their streams, the rows of their history."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.model import optimisers
from pr12.vae.model.networks import Parameters
from pr12.workflow.errors import UserError

ROWS = 50  # of the history; each is a point from which a killed training goes on


def begin(parameters: Parameters, optimiser: str) -> dict[str, Any]:
    """Return what the states of all trainings share before the first step.

    Parameters
    ----------
    parameters : dict of str to Tensor
        The initial ones, each (S, ...).
    optimiser : {"adagrad", "adam"}
        Which.

    Examples
    --------
    >>> sorted(begin({"a": torch.zeros(1)}, "adam"))
    ['history', 'optimiser', 'parameters', 'samples_seen', 'snapshots', 'streams']
    """
    return {
        "parameters": parameters,
        "snapshots": [],
        "samples_seen": [],
        "optimiser": optimisers.start(parameters, optimiser),
        "streams": [],
        "history": [],
    }


def advanced(
    state: dict[str, Any],
    parameters: Parameters,
    generators: Iterable[torch.Generator],
    row: dict[str, Any],
    snapshot: bool,
) -> dict[str, Any]:
    """Return a state with a new row of the history.

    Parameters
    ----------
    state : dict
        The one before; it stays as it is.
    parameters : dict of str to Tensor
        Those of now, which are copied.
    generators : iterable of torch.Generator
        In the order in which `restore` sets them.
    row : dict
        As `row` gives it.
    snapshot : bool
        Whether the parameters are kept for the evaluation.
    """
    copies = {name: value.detach().clone() for name, value in parameters.items()}
    return state | {
        "parameters": copies,
        "streams": [generator.get_state() for generator in generators],
        "history": [*state["history"], row],
        "snapshots": [*state["snapshots"], *([copies] if snapshot else [])],
        "samples_seen": [*state["samples_seen"], *([row["samples_seen"]] if snapshot else [])],
    }


def epochs_seen(snapshots: Sequence[int], batch_size: int, examples: int) -> list[int]:
    """Return the numbers of epochs after which parameters are kept, ascending.

    Parameters
    ----------
    snapshots : sequence of int
        Moments in training samples seen.
    batch_size : int
        Samples.
    examples : int
        N; an epoch has all whole batches of them.

    Raises
    ------
    UserError
        If two snapshots fall into one epoch or they do not ascend.

    Examples
    --------
    >>> epochs_seen((1000, 2500), 100, 1050)
    [1, 3]
    """
    size = examples // batch_size * batch_size
    epochs = [max(1, -(-moment // size)) for moment in snapshots]
    if any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
        raise UserError(
            f"snapshots {list(snapshots)} must ascend by at least an epoch of {size} samples"
        )
    return epochs


def minibatches_seen(snapshots: Sequence[int], evaluations: int) -> list[int]:
    """Return the numbers of minibatches after which parameters are kept, ascending.

    Parameters
    ----------
    snapshots : sequence of int
        Moments in training samples evaluated.
    evaluations : int
        Samples evaluated for a minibatch.

    Raises
    ------
    UserError
        If two snapshots fall into one minibatch or they do not ascend.

    Examples
    --------
    >>> minibatches_seen((1600, 10000), 1600)
    [1, 7]
    """
    moments = [max(1, -(-moment // evaluations)) for moment in snapshots]
    if any(later <= earlier for earlier, later in itertools.pairwise(moments)):
        raise UserError(
            f"snapshots {list(snapshots)} must ascend by at least a minibatch, which "
            f"evaluates {evaluations} samples"
        )
    return moments


def row_every(moments: list[int]) -> int:
    """Return after how many epochs, or minibatches, a row is added to the history.

    Parameters
    ----------
    moments : list of int
        As `epochs_seen` or `minibatches_seen` gives them.

    Examples
    --------
    >>> row_every([20, 200])
    4
    """
    return max(1, moments[-1] // ROWS)


def rows(moments: Sequence[int]) -> int:
    """Return the number of rows of a whole history: even ones, and one for each moment.

    Parameters
    ----------
    moments : sequence of int
        As `epochs_seen` or `minibatches_seen` gives them.

    Examples
    --------
    >>> rows([3, 100])  # every second epoch, and the third
    51
    """
    every = row_every(moments)
    return len({*range(every, moments[-1] + 1, every), *moments})


def streams(seeds: Sequence[int], purpose: str) -> list[torch.Generator]:
    """Open a stream of random numbers for every replica, on the device that computes.

    Parameters
    ----------
    seeds : sequence of int
        One per replica.
    purpose : str
        What is drawn.

    Examples
    --------
    >>> len(streams((0, 1), "shuffle"))
    2
    """
    return [determinism.generator(seed, purpose, determinism.device()) for seed in seeds]


def restore(generators: Iterable[torch.Generator], states: Sequence[Tensor]) -> None:
    """Set streams to where a state left them.

    Parameters
    ----------
    generators : iterable of torch.Generator
        In the order of `states`.
    states : sequence of Tensor
        None of a training that begins.

    Examples
    --------
    >>> (noise,) = streams((0,), "noise")
    >>> before, first = noise.get_state(), torch.rand(1, generator=noise)
    >>> restore([noise], [before])
    >>> bool(torch.rand(1, generator=noise) == first)
    True
    """
    for generator, state in zip(generators, states, strict=bool(states)):
        generator.set_state(state.cpu())


def row(
    samples_seen: int, means: Sequence[float], history: Sequence[dict[str, Any]], what: str
) -> dict[str, Any]:
    """Return a new row of the history.

    Parameters
    ----------
    samples_seen : int
        Training samples so far.
    means : sequence of float
        The objective's mean since the row before, in nats, for each replica.
    history : sequence of dict
        The rows before.
    what : str
        What is not finite, for the message.

    Raises
    ------
    UserError
        If a mean is not finite.

    Examples
    --------
    >>> row(100, [-2.5], [], "objective")
    {'samples_seen': 100, 'train/objective_nats': [-2.5]}
    """
    if not all(map(math.isfinite, means)):
        before = history[-1]["train/objective_nats"] if history else "none"
        raise UserError(
            f"the {what} is not finite after {samples_seen} samples (before: {before}); "
            "lower learning_rate and run again"
        )
    return {"samples_seen": samples_seen, "train/objective_nats": means}


def describe(state: dict[str, Any]) -> str:
    """Return the last row of the history as a line: the objective's mean over the replicas.

    Examples
    --------
    >>> describe({"history": [{"samples_seen": 100, "train/objective_nats": [-3.0, -2.0]}]})
    '100 samples  objective -2.50 nats'
    """
    row = state["history"][-1]
    reached = row["train/objective_nats"]
    return f"{row['samples_seen']} samples  objective {sum(reached) / len(reached):.2f} nats"
