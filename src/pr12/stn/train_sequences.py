"""Train the networks that read house numbers, all seeds of the case one after the other (Sec. 4.2).

The paper: stochastic gradient descent for 400,000 batches of 128, a rate of 0.01, a tenth of it
every 80,000, weight decay 0.0005, localisation nets at a tenth of the rate. The loss is the sum of
five cross-entropies.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pr12.shared import address, files, optimisers, progress, run, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, Between, NotEmpty
from pr12.stn import sequences, training
from pr12.stn.composed import LONGEST
from pr12.stn.sequence_networks import Architecture, Network, normalised


@dataclass(frozen=True)
class Params:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], NotEmpty()]
    network: Literal["cnn", "single", "multi"]
    width_scale: Annotated[float, Above(0)]
    fully_connected: Annotated[int, AtLeast(1)]
    dropout: Annotated[float, Between(0, 0.9)]
    epochs: Annotated[int, AtLeast(1)]
    batch_size: Annotated[int, AtLeast(1)]
    optimiser: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Above(0)]
    momentum: Annotated[float, Between(0, 0.999)]
    warmup_batches: Annotated[int, AtLeast(0)]
    decay_epochs: Annotated[int, AtLeast(1)]
    weight_decay: Annotated[float, AtLeast(0)]
    localisation_rate: Annotated[float, Above(0)]
    bfloat16: bool


def rate(params: Params, epoch: int, batch: int) -> float:
    """Give the step size of a batch: a linear start, then a tenth every `decay_epochs`.

    Parameters
    ----------
    params : Params
        The case's.
    epoch : int
        From 0.
    batch : int
        From 0, of the whole training.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> params = SimpleNamespace(learning_rate=1.0, decay_epochs=2, warmup_batches=4)
    >>> [rate(params, epoch, 2 * epoch) for epoch in range(4)]
    [0.25, 0.75, 0.1, 0.1]
    """
    start = min(1.0, (batch + 1) / (params.warmup_batches or 1))
    return params.learning_rate * start * 0.1 ** (epoch // params.decay_epochs)


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Give the sum of the five cross-entropies, the mean over images, in nats.

    Parameters
    ----------
    logits : Tensor
        Shape (N, 5, 11).
    labels : Tensor
        int64, shape (N, 5).

    Examples
    --------
    >>> round(float(loss(torch.zeros(2, 5, 11), torch.zeros(2, 5).long())), 3)  # 5 log 11
    11.989
    """
    each = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="mean")
    return LONGEST * each


def start(params: Params, size: int, seed: int) -> tuple[Network, torch.optim.Optimizer]:
    """Build one seed's network and its optimiser; the draws of dropout start here too.

    Parameters
    ----------
    params : Params
        The case's.
    size : int
        Of the images, in pixels.
    seed : int
        The replica's.

    Examples
    --------
    See `train`.
    """
    torch.manual_seed(run.generator(seed, "sequences").initial_seed())
    network = Network(architecture_of(params, size)).to(run.device())
    network = network.to(memory_format=torch.channels_last)
    slow = list(network.transformers.parameters())
    fast = [value for name, value in network.named_parameters() if "transformers" not in name]
    groups = [{"params": fast, "share": 1.0}]
    groups += [{"params": slow, "share": params.localisation_rate}] if slow else []
    # Fused: the same steps in one pass, measured 10 % faster for all of a small network's training
    shared = {"lr": params.learning_rate, "weight_decay": params.weight_decay, "fused": True}
    if params.optimiser == "adam":
        return network, optimisers.Adam(groups, betas=(params.momentum, 0.999), eps=1e-8, **shared)
    return network, optimisers.SGD(groups, momentum=params.momentum, **shared)


def architecture_of(params: Params, size: int) -> Architecture:
    """Give the case's architecture.

    Parameters
    ----------
    params : Params
        The case's.
    size : int
        Of the images, in pixels.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> kind = {"network": "cnn", "width_scale": 1.0, "fully_connected": 2, "dropout": 0.5}
    >>> architecture_of(SimpleNamespace(**kind), 64).size
    64
    """
    return Architecture(
        params.network, size, params.width_scale, params.fully_connected, params.dropout
    )


def train(
    params: Params, images: Tensor, labels: Tensor, state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train one network per seed; after each epoch yield the whole state.

    Parameters
    ----------
    params : Params
        The case's.
    images, labels : Tensor
        uint8 (N, 3, S, S) and int64 (N, 5), on the device that computes.
    state : dict, optional
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``finished`` (parameters of the seeds that are done), ``epoch`` and ``batch`` of the seed at
        work, its ``network``, ``optimiser`` and ``streams``, and ``history``.

    Raises
    ------
    UserError
        If there are fewer images than a batch has, or a loss, a transformer's theta or the
        network's parameters are not finite.
    """
    count, size = len(images), images.shape[-1]
    if count < params.batch_size:
        raise UserError(f"train has {count} images; batch_size is {params.batch_size}")
    state = state or {"finished": [], "epoch": 0, "history": []}
    finished, history = state["finished"], state["history"]
    where = run.device()
    for seed in params.seeds[len(finished) :]:
        network, optimiser = start(params, size, seed)
        shuffle = run.generator(seed, "shuffle")
        done, batch = state["epoch"], 0
        if done:
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            batch = state["batch"]
            training.set_streams(state["streams"], shuffle)
        for epoch in range(done, params.epochs):
            order = torch.randperm(count, generator=shuffle).to(where)
            total, wrong = torch.zeros(2, device=where)
            broken = torch.zeros(4, device=where)
            batches = count // params.batch_size
            for rows in order[: batches * params.batch_size].chunk(batches):
                for group in optimiser.param_groups:
                    group["lr"] = group["share"] * rate(params, epoch, batch)
                x = normalised(images[rows]).contiguous(memory_format=torch.channels_last)
                with torch.autocast(where.type, dtype=torch.bfloat16, enabled=params.bfloat16):
                    logits, thetas = network(x)
                value = loss(logits, labels[rows])
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                optimiser.step()
                batch += 1
                total += value.detach()
                wrong += (logits.argmax(dim=2) != labels[rows]).any(dim=1).float().mean()
                for index, theta in enumerate(thetas):
                    broken[index] += (~torch.isfinite(theta)).any()
            _check(seed, epoch + 1, float(total), broken.tolist(), history)
            training.check_parameters(network, f"in epoch {epoch + 1} of seed {seed}")
            row = {
                "seed": seed,
                "epoch": epoch + 1,
                "train/loss_nats": float(total) / batches,
                "train/error_percent": 100 * float(wrong) / batches,
            }
            history = [*history, row]
            kept = {name: value.detach().clone() for name, value in network.state_dict().items()}
            last = epoch + 1 == params.epochs
            finished = [*finished, kept] if last else finished
            yield {
                "finished": finished,
                "epoch": 0 if last else epoch + 1,
                "batch": batch,
                "network": kept,
                "optimiser": optimiser.state_dict(),
                "streams": training.streams(shuffle),
                "history": history,
            }
        state = {"epoch": 0}


def _check(
    seed: int, epoch: int, total: float, broken: list[float], history: list[dict[str, Any]]
) -> None:
    last = f"{history[-1]['train/loss_nats']:.4g}" if history else "none"
    place = f"in epoch {epoch} of seed {seed} (loss before: {last})"
    for index, count in enumerate(broken):
        if count:
            raise UserError(
                f"transformer {index + 1} has parameters that are no numbers {place}; lower "
                "localisation_rate or learning_rate and run again"
            )
    if not math.isfinite(total):
        raise UserError(f"the loss is not finite {place}; lower learning_rate and run again")


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    training.deterministic()
    split = sequences.load(paths["train"])
    images, labels = split.images.to(run.device()), split.labels.to(run.device())
    fingerprint = address.digest(
        job.command, address.source_digest(job.module), job.provenance()["inputs"]
    )
    checkpoint = paths["model"].with_name("resume.pt")
    before = run.load_state(checkpoint, fingerprint)
    done = len(before["history"]) if before else 0
    rows = len(params.seeds) * params.epochs
    state = before  # with all seeds finished, should the model not have been written
    for state in progress.follow(train(params, images, labels, before), rows, describe, done):
        run.save_state(checkpoint, state, fingerprint)
    joined = {
        name: torch.stack([one[name] for one in state["finished"]]) for name in state["finished"][0]
    }
    said = architecture_of(params, images.shape[-1])._asdict() | {"seeds": list(params.seeds)}
    # One text only: safetensors writes several in an order that changes from run to run.
    run.write_tensors(paths["model"], joined, {"model": json.dumps(said, sort_keys=True)})
    said = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], said)
    checkpoint.unlink(missing_ok=True)


def describe(state: dict[str, Any]) -> str:
    """Say the last row of the history in a line.

    Examples
    --------
    >>> row = {"seed": 0, "epoch": 2, "train/loss_nats": 1.5, "train/error_percent": 50.0}
    >>> describe({"history": [row]})
    'seed 0 epoch 2  loss 1.500 nats  error 50.0 %'
    """
    row = state["history"][-1]
    return (
        f"seed {row['seed']} epoch {row['epoch']}  loss {row['train/loss_nats']:.3f} nats  "
        f"error {row['train/error_percent']:.1f} %"
    )


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
