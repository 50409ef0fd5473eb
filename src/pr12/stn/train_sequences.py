"""Train the networks that read house numbers, all seeds of the case one after the other (Sec. 4.2).

The paper: stochastic gradient descent for 400,000 batches of 128, a rate of 0.01, a tenth of it
every 80,000, weight decay 0.0005, localisation nets at a tenth of the rate. The loss is the sum of
five cross-entropies.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pr12.core import checkpoints, determinism, tensor_files
from pr12.stn.data import sequence_files
from pr12.stn.model import epochs, optimisers, sequence_training
from pr12.stn.model.sequence_networks import Architecture, Network, normalised
from pr12.stn.params import TrainSequences as Params
from pr12.workflow import address, files, progress, step
from pr12.workflow.errors import UserError


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
    torch.manual_seed(determinism.generator(seed, "sequences").initial_seed())
    network = Network(architecture_of(params, size)).to(determinism.device())
    network = network.to(memory_format=torch.channels_last)
    optimiser = optimisers.start(
        network, ("transformers.",), params.optimiser, params.learning_rate,
        params.localisation_rate, params.momentum, params.weight_decay,
    )  # fmt: skip
    return network, optimiser


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
        Yielded before.

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
    batches = len(images) // params.batch_size
    if not batches:
        raise UserError(f"train has {len(images)} images; batch_size is {params.batch_size}")
    state = state or {"finished": [], "epoch": 0, "history": []}
    finished, history = state["finished"], state["history"]
    for seed in params.seeds[len(finished) :]:
        network, optimiser = start(params, images.shape[-1], seed)
        shuffle = determinism.generator(seed, "shuffle")
        done, batch = state["epoch"], 0
        if done:
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            batch = state["batch"]
            checkpoints.set_streams(state["streams"], shuffle)
        for epoch in range(done, params.epochs):
            total, wrong, *broken = _learn(
                params, images, labels, network, optimiser, shuffle, epoch, batch
            )
            batch += batches
            _check(seed, epoch + 1, total, broken, history)
            checkpoints.check_parameters(network, f"in epoch {epoch + 1} of seed {seed}")
            history = [*history, epochs.row(seed, epoch + 1, total, wrong, batches)]
            kept = {name: value.detach().clone() for name, value in network.state_dict().items()}
            last = epoch + 1 == params.epochs
            finished = [*finished, kept] if last else finished
            yield {
                "finished": finished,
                "epoch": 0 if last else epoch + 1,
                "batch": batch,
                "network": kept,
                "optimiser": optimiser.state_dict(),
                "streams": checkpoints.streams(shuffle),
                "history": history,
            }
        state = {"epoch": 0}


def _learn(
    params: Params,
    images: Tensor,
    labels: Tensor,
    network: Network,
    optimiser: torch.optim.Optimizer,
    shuffle: torch.Generator,
    epoch: int,
    batch: int,
) -> list[float]:
    """Learn for an epoch whose first batch is `batch`; return sums over batches.

    Of the loss, of the error and, for each transformer, of batches whose theta is not finite.
    """
    where, batches = determinism.device(), len(images) // params.batch_size
    order = torch.randperm(len(images), generator=shuffle).to(where)
    total, wrong = torch.zeros(2, device=where)
    broken = torch.zeros(4, device=where)
    for number, rows in enumerate(order[: batches * params.batch_size].chunk(batches), start=batch):
        step_size = sequence_training.rate(
            params.learning_rate, params.warmup_batches, params.decay_epochs, epoch, number
        )
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * step_size
        x = normalised(images[rows]).contiguous(memory_format=torch.channels_last)
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=params.bfloat16):
            logits, thetas = network(x)
        value = sequence_training.loss(logits, labels[rows])
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        total += value.detach()
        wrong += (logits.argmax(dim=2) != labels[rows]).any(dim=1).float().mean()
        for index, theta in enumerate(thetas):
            broken[index] += (~torch.isfinite(theta)).any()
    return [float(total), float(wrong), *broken.tolist()]


def _check(
    seed: int, epoch: int, total: float, broken: list[float], history: list[dict[str, Any]]
) -> None:
    """Raise `UserError` for an epoch that is lost."""
    place = epochs.place(seed, epoch, history)
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
    determinism.deterministic(but_sampling=True)
    split = sequence_files.load(paths["train"])
    images, labels = split.images.to(determinism.device()), split.labels.to(determinism.device())
    fingerprint = address.digest(
        job.command, address.source_digest(job.module), job.provenance()["inputs"]
    )
    checkpoint = paths["model"].with_name("resume.pt")
    before = checkpoints.load_state(checkpoint, fingerprint)
    done = len(before["history"]) if before else 0
    rows = len(params.seeds) * params.epochs
    state = before  # with all seeds finished, should the model not have been written
    for state in progress.follow(
        train(params, images, labels, before), rows, epochs.describe, done
    ):
        checkpoints.save_state(checkpoint, state, fingerprint)
    joined = {
        name: torch.stack([one[name] for one in state["finished"]]) for name in state["finished"][0]
    }
    said = architecture_of(params, images.shape[-1])._asdict() | {"seeds": list(params.seeds)}
    # One text only: safetensors writes several in an order that changes from run to run.
    tensor_files.write_tensors(paths["model"], joined, {"model": json.dumps(said, sort_keys=True)})
    said = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], said)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
