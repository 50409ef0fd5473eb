"""Trainings that go through their images epoch by epoch, one seed after the other.

House numbers and parts are learnt alike: what differs is in a `Task`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from pr12.core import checkpoints, determinism, uncompiled
from pr12.workflow.errors import UserError


class Task(NamedTuple):
    """What a training learns, and from what."""

    labels: Tensor  # of all images, int64, (N,) or (N, K); on the device that computes
    batch_size: int
    epochs: int
    # Seed -> the net, images to (logits, theta or thetas), and its optimiser before the first step
    start: Callable[[int], tuple[nn.Module, torch.optim.Optimizer]]
    # Rows, and the stream of what varies -> what the net reads of these images
    inputs: Callable[[Tensor, torch.Generator], Tensor]
    rate: Callable[[int, int], float]  # epoch and batch, both from 0 -> the step size
    loss: Callable[[Tensor, Tensor], Tensor]  # logits and labels -> nats
    bfloat16: bool  # products of 8 bits, sums and parameters of float32


def train(
    task: Task, seeds: Sequence[int], state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train one net per seed; after each epoch yield the whole state.

    Parameters
    ----------
    task : Task
        What to learn.
    seeds : sequence of int
        Of the nets.
    state : dict, optional
        Yielded before: training goes on from it.

    Yields
    ------
    dict
        ``finished`` (parameters of the seeds that are done), ``epoch`` of the seed at work, its
        ``network``, ``optimiser`` and ``streams``, and ``history``.

    Raises
    ------
    UserError
        If there are fewer images than a batch has, or a loss, a transformer's theta or the
        network's parameters are not finite.
    """
    batches = len(task.labels) // task.batch_size
    if not batches:
        raise UserError(
            f"train has {len(task.labels)} images and batch_size is {task.batch_size}; lower "
            "batch_size"
        )
    state = state or {"finished": [], "epoch": 0, "history": []}
    finished, history = state["finished"], state["history"]
    for seed in seeds[len(finished) :]:
        net, optimiser = task.start(seed)
        stream = determinism.generator(seed, "shuffle")
        done = state["epoch"]
        if done:
            net.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            checkpoints.set_streams(state["streams"], stream)
        for epoch in range(done, task.epochs):
            total, wrong, lost = _learn(task, net, optimiser, stream, epoch)
            _check(seed, epoch + 1, total, lost, history)
            checkpoints.check_parameters(net, f"in epoch {epoch + 1} of seed {seed}")
            history = [*history, row(seed, epoch + 1, total, wrong, batches)]
            parameters = {name: value.detach().clone() for name, value in net.state_dict().items()}
            last = epoch + 1 == task.epochs
            finished = [*finished, parameters] if last else finished
            yield {
                "finished": finished,
                "epoch": 0 if last else epoch + 1,
                "network": parameters,
                "optimiser": optimiser.state_dict(),
                "streams": checkpoints.streams(stream),
                "history": history,
            }
        state = {"epoch": 0}


def _learn(
    task: Task,
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    stream: torch.Generator,
    epoch: int,
) -> tuple[float, float, list[bool]]:
    """Learn for an epoch; return sums over batches of loss and error, and which thetas are lost."""
    where, batches = determinism.device(), len(task.labels) // task.batch_size
    order = torch.randperm(len(task.labels), generator=stream).to(where)
    total, wrong = torch.zeros(2, device=where)
    finite: list[Tensor] = []  # of each transformer
    for number, rows in enumerate(order[: batches * task.batch_size].chunk(batches)):
        step_size = task.rate(epoch, epoch * batches + number)
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * step_size
        x, labels = task.inputs(rows, stream), task.labels[rows]
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=task.bfloat16):
            logits, thetas = net(x)
        loss = task.loss(logits.float(), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.detach()
        wrong += (logits.argmax(dim=-1) != labels).view(len(rows), -1).any(dim=1).float().mean()
        if isinstance(thetas, Tensor):  # (N, transformers, parameters)
            thetas = thetas.unbind(dim=1)
        now = [torch.isfinite(theta.detach()).all() for theta in thetas]
        finite = [a & b for a, b in zip(finite, now, strict=True)] if number else now
    return float(total), float(wrong), [not one for one in finite]


def _check(
    seed: int, epoch: int, total: float, lost: Sequence[bool], history: list[dict[str, Any]]
) -> None:
    """Raise `UserError` for an epoch that is lost."""
    where = place(seed, epoch, history)
    if any(lost):
        raise UserError(
            f"transformer {list(lost).index(True) + 1} has parameters theta that are not finite "
            f"{where}; lower localisation_rate or learning_rate and run again"
        )
    if not math.isfinite(total):
        raise UserError(f"the loss is not finite {where}; lower learning_rate and run again")


def optimiser_of(
    net: nn.Module,
    slow: tuple[str, ...],
    name: Literal["sgd", "adam"],
    learning_rate: float,
    localisation_rate: float,
    momentum: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """Return the optimiser before the first step.

    Parameters
    ----------
    net : nn.Module
        What learns.
    slow : tuple of str
        How the names of the parameters of localisation nets start.
    name : {"sgd", "adam"}
        Which optimiser.
    learning_rate, localisation_rate : float
        Step size, and what it is multiplied by for localisation nets: the ``share`` of their group.
    momentum : float
        Of SGD; of Adam, of its first moment.
    weight_decay : float
        Of all parameters.

    Examples
    --------
    >>> net = nn.ModuleDict({"theta": nn.Linear(1, 1), "rest": nn.Linear(1, 1)})
    >>> optimiser = optimiser_of(net, ("theta.",), "sgd", 0.1, 0.01, 0.9, 0.0)
    >>> [group["share"] for group in optimiser.param_groups]
    [1.0, 0.01]
    """
    groups = [{"params": [], "share": 1.0}, {"params": [], "share": localisation_rate}]
    for key, value in net.named_parameters():
        groups[key.startswith(slow)]["params"].append(value)
    groups = [group for group in groups if group["params"]]
    # Fused: the same steps in one pass, measured 10 % faster for all of a small network's training
    shared = {"lr": learning_rate, "weight_decay": weight_decay, "fused": True}
    if name == "adam":
        return uncompiled.Adam(groups, betas=(momentum, 0.999), eps=1e-8, **shared)
    return uncompiled.SGD(groups, momentum=momentum, nesterov=False, **shared)


def row(seed: int, epoch: int, loss: float, wrong: float, batches: int) -> dict[str, Any]:
    """Return the row of an epoch.

    Parameters
    ----------
    seed, epoch : int
        Which seed, and which epoch of it, from 1.
    loss, wrong : float
        Sums over batches of the loss in nats and of the share that is wrong.
    batches : int
        How many.

    Examples
    --------
    >>> row(0, 2, 3.0, 1.0, 2)
    {'seed': 0, 'epoch': 2, 'train/loss_nats': 1.5, 'train/error_percent': 50.0}
    """
    return {
        "seed": seed,
        "epoch": epoch,
        "train/loss_nats": loss / batches,
        "train/error_percent": 100 * wrong / batches,
    }


def place(seed: int, epoch: int, history: list[dict[str, Any]]) -> str:
    """Return where a training is that is lost, for the message.

    Parameters
    ----------
    seed, epoch : int
        Which seed, and which epoch of it, from 1.
    history : list of dict
        The rows before.

    Examples
    --------
    >>> place(0, 3, [row(0, 2, 3.0, 1.0, 2)])
    'in epoch 3 of seed 0 (loss before: 1.5)'
    """
    last = f"{history[-1]['train/loss_nats']:.4g}" if history else "none"
    return f"in epoch {epoch} of seed {seed} (loss before: {last})"


def describe(state: dict[str, Any]) -> str:
    """Return the last row of the history as a line.

    Parameters
    ----------
    state : dict
        Of a training.

    Examples
    --------
    >>> describe({"history": [row(0, 2, 3.0, 1.0, 2)]})
    'seed 0 epoch 2  loss 1.500 nats  error 50.0 %'
    """
    last = state["history"][-1]
    return (
        f"seed {last['seed']} epoch {last['epoch']}  loss {last['train/loss_nats']:.3f} nats  "
        f"error {last['train/error_percent']:.1f} %"
    )
