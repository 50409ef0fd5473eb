"""Trainings on digits: their loop, the digits' order, the step sizes, a check of the outcome."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import checkpoints, determinism, uncompiled
from pr12.data import splits
from pr12.stn.model import digit_networks, distortions, following
from pr12.stn.params import Train
from pr12.workflow.errors import UserError

ROWS = 20  # of the history of one net; each is a point from which a killed training goes on


def train(
    params: Train, distortion: str, seed: int, digits: splits.Split, state: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """Train one net; `ROWS` times yield its whole state.

    Parameters
    ----------
    params : Train
        The row's.
    distortion, seed : str, int
        What the net sees; of its initial parameters, the digits' order and the distortions.
    digits : Split
        Training digits, 28 x 28, on the device.
    state : dict or None
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``net``, ``optimiser``, ``stream``, ``steps`` done and ``history``.

    Raises
    ------
    UserError
        If the loss, a transformer's theta or the net's parameters are not finite.
    """
    where = digits.images.device
    net, optimiser, since, history = _begin(params, distortion, seed, where, state)
    shuffle = determinism.generator(seed, "shuffle", where)
    batches = orders(len(digits.images), params.images, shuffle).split(params.batch_size)
    stream = determinism.generator(seed, f"distort {distortion}", where)
    shown = following.followed_digits(distortion, digits)
    if state:
        stream.set_state(state["stream"].cpu())
    total, finite = torch.zeros((), device=where), torch.ones((), dtype=torch.bool, device=where)
    marks = {max(1, round(len(batches) * row / ROWS)) for row in range(1, ROWS + 1)}
    for number, rows in enumerate(batches[since:], start=since + 1):
        data = distortions.batch(distortion, *digits, rows, stream)
        _learn(params, net, optimiser, (number - 1) / len(batches), data, total, finite)
        if number not in marks:
            continue
        seen = min(number * params.batch_size, params.images)
        place = f"{distortion}, seed {seed}, epoch {seen / len(digits.images):.2f}"
        loss_mean = float(total) / (number - since)
        check(loss_mean, bool(finite), place, history)
        checkpoints.check_parameters(net, f"at {place}")
        row = {"images_seen": seen, "train/loss_nats": loss_mean}
        if seed == params.seeds[0]:
            row["grids"] = following.grids(net, shown)
        history = [*history, row]
        total, since = torch.zeros_like(total), number
        yield {
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "stream": stream.get_state(),
            "steps": number,
            "history": history,
        }


def _begin(
    params: Train, distortion: str, seed: int, where: torch.device, state: dict[str, Any] | None
) -> tuple[digit_networks.Network, torch.optim.Optimizer, int, list[dict[str, Any]]]:
    """Return the net, its optimiser, the batches done and the history, as the state left them."""
    shape = params.network, params.transform, params.transformers, params.pooling
    net = digit_networks.seeded(seed, *shape, distortion, params.parameters)
    net = net.to(where, memory_format=torch.channels_last)
    shared = {"lr": params.learning_rate, "fused": True}  # the same steps in one pass
    if params.optimiser == "sgd":
        optimiser = uncompiled.SGD(net.parameters(), momentum=0.0, **shared)
    else:
        optimiser = uncompiled.Adam(net.parameters(), **shared)
    if not state:
        return net, optimiser, 0, []
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    return net, optimiser, state["steps"], state["history"]


def _learn(
    params: Train,
    net: digit_networks.Network,
    optimiser: torch.optim.Optimizer,
    done: float,
    data: tuple[Tensor, Tensor],
    total: Tensor,
    finite: Tensor,
) -> None:
    """Learn from a batch; the `total` of the loss and whether all is `finite` change in place."""
    inputs, targets = data
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(params.learning_rate, params.schedule, done)
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=params.bfloat16):
        logits, theta = net(inputs.contiguous(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits.float(), targets, reduction="mean")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    total += loss.detach()
    if theta is not None:  # the loss is lost with them, and would be taken for the cause
        finite &= torch.isfinite(theta.detach()).all()


def learning_rate(first: float, schedule: Literal["thirds", "linear"], done: float) -> float:
    """Return the step size after a share of the training.

    Parameters
    ----------
    first : float
        The first step size.
    schedule : {"thirds", "linear"}
        A tenth at each third (App. A.4), or falling linearly to 0.
    done : float
        From 0 to 1.

    Examples
    --------
    >>> [round(learning_rate(1.0, "thirds", done), 4) for done in (0, 0.33, 0.34, 0.7)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if schedule == "linear":
        return first * (1 - done)
    return first * 0.1 ** int(3 * done)


def orders(examples: int, wanted: int, stream: torch.Generator) -> Tensor:
    """Return the digits in the order in which a net sees them, every one once per epoch.

    Parameters
    ----------
    examples, wanted : int
        Digits that there are, and images that the net learns from.
    stream : torch.Generator
        Of the shuffles.

    Returns
    -------
    Tensor
        int64, shape (wanted,).

    Examples
    --------
    >>> sorted(orders(2, 4, torch.Generator()).tolist())
    [0, 0, 1, 1]
    """
    epochs = -(-wanted // examples)
    where = stream.device
    shuffled = [torch.randperm(examples, generator=stream, device=where) for _ in range(epochs)]
    return torch.cat(shuffled)[:wanted]


def check(loss: float, finite: bool, where: str, history: list[dict[str, Any]]) -> None:
    """Stop a training that is lost.

    Raises
    ------
    UserError
        With the place and the cause: the transformers' parameters, or the loss.

    Examples
    --------
    >>> check(float("nan"), False, "R, seed 0, epoch 1.00", [{"train/loss_nats": 2.5}])
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: the transformers' parameters theta are not finite at R, \
seed 0, epoch 1.00 (loss before: 2.5); lower learning_rate and run again
    """
    last = history[-1]["train/loss_nats"] if history else "none"
    cause = None
    if not finite:
        cause = "the transformers' parameters theta are"
    elif loss != loss or loss in (float("inf"), float("-inf")):
        cause = "the loss is"
    if cause:
        raise UserError(
            f"{cause} not finite at {where} (loss before: {last}); "
            "lower learning_rate and run again"
        )
