"""Train the networks that look at parts, all seeds of the case one after the other (Sec. 4.3).

The paper: Inception with batch normalisation that was trained on ImageNet, stochastic gradient
descent at a rate of 0.1, a tenth of it after 10,000, 20,000 and 25,000 batches, localisation nets
at 0.0001 of the rate, weight decay 0.00001, dropout 0.7 before the softmax, crops of 224 from 256
pixels and mirrored images. It does not say the momentum.

That small rate is for a net that knows images already. Small nets that start from nothing learn
where to look at a twentieth of the rate, by validation error; at 0.03 their windows hardly move,
at 0.3 they leave the image before the networks behind them can read what they show.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import checkpoints, determinism, state_dicts, tensor_files
from pr12.stn.data import part_files
from pr12.stn.model import epochs, optimisers, part_networks, part_training
from pr12.stn.model.part_networks import Architecture, PartNetwork
from pr12.stn.params import TrainParts as Params
from pr12.workflow import address, files, progress, step
from pr12.workflow.errors import UserError


def architecture_of(params: Params, classes: int) -> Architecture:
    """Give the case's architecture."""
    return Architecture(
        params.transformers,
        params.backbone,
        params.width,
        params.output_size,
        classes,
        params.dropout,
    )


def start(
    params: Params, classes: int, seed: int, weights: Mapping[str, Tensor] | None
) -> tuple[PartNetwork, torch.optim.Optimizer]:
    """Build one seed's network and its optimiser; the draws of dropout start here too.

    Parameters
    ----------
    params : Params
        The case's.
    classes : int
        Of the data.
    seed : int
        The replica's.
    weights : mapping of str to Tensor or None
        Of a GoogLeNet to start from.
    """
    torch.manual_seed(determinism.generator(seed, "parts").initial_seed())
    net = PartNetwork(architecture_of(params, classes))
    if weights is not None:
        part_networks.load_pretrained(net, weights, "weights")
    net = net.to(determinism.device(), memory_format=torch.channels_last)
    optimiser = optimisers.start(
        net, ("localisation.", "theta."), params.optimiser, params.learning_rate,
        params.localisation_rate, params.momentum, params.weight_decay,
    )  # fmt: skip
    return net, optimiser


def train(
    params: Params,
    data: part_files.Examples,
    weights: Mapping[str, Tensor] | None = None,
    state: dict[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Train one network per seed; after each epoch yield the whole state.

    Parameters
    ----------
    params : Params
        The case's.
    data : Examples
        On the device that computes.
    weights : mapping of str to Tensor, optional
        Of a GoogLeNet to start from.
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
        If a loss, the windows' places or the network's parameters are not finite.
    """
    state = state or {"finished": [], "epoch": 0, "history": []}
    finished, history = state["finished"], state["history"]
    batches = len(data.images) // params.batch_size
    for seed in params.seeds[len(finished) :]:
        net, optimiser = start(params, data.classes, seed, weights)
        stream = determinism.generator(seed, "shuffle")
        done = state["epoch"]
        if done:
            net.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            checkpoints.set_streams(state["streams"], stream)
        for epoch in range(done, params.epochs):
            total, wrong, broken = _learn(params, data, net, optimiser, stream, epoch)
            _check(seed, epoch + 1, total, broken, history)
            checkpoints.check_parameters(net, f"in epoch {epoch + 1} of seed {seed}")
            history = [*history, epochs.row(seed, epoch + 1, total, wrong, batches)]
            kept = {name: value.detach().clone() for name, value in net.state_dict().items()}
            last = epoch + 1 == params.epochs
            finished = [*finished, kept] if last else finished
            yield {
                "finished": finished,
                "epoch": 0 if last else epoch + 1,
                "network": kept,
                "optimiser": optimiser.state_dict(),
                "streams": checkpoints.streams(stream),
                "history": history,
            }
        state = {"epoch": 0}


def _learn(
    params: Params,
    data: part_files.Examples,
    net: PartNetwork,
    optimiser: torch.optim.Optimizer,
    stream: torch.Generator,
    epoch: int,
) -> list[float]:
    """Learn for an epoch; return sums over batches: loss, error, theta that is not finite."""
    where, batches = determinism.device(), len(data.images) // params.batch_size
    order = torch.randperm(len(data.images), generator=stream).to(where)
    total, wrong, broken = torch.zeros(3, device=where)
    for number, rows in enumerate(order[: batches * params.batch_size].chunk(batches)):
        step_size = part_training.rate(
            params.learning_rate, params.schedule, params.warmup_batches,
            epoch * batches + number, params.epochs * batches,
        )  # fmt: skip
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * step_size
        seen = part_training.varied(data.images, rows, params.input_size, params.flips, stream)
        x = part_networks.normalised(seen)
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=params.bfloat16):
            logits, theta = net(x)
        labels = data.labels[rows]
        loss = functional.cross_entropy(logits.float(), labels, reduction="mean")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.detach()
        wrong += (logits.argmax(dim=1) != labels).float().mean()
        broken += (~torch.isfinite(theta)).any()
    return [float(total), float(wrong), float(broken)]


def _check(
    seed: int, epoch: int, total: float, broken: float, history: list[dict[str, Any]]
) -> None:
    """Raise `UserError` for an epoch that is lost."""
    place = epochs.place(seed, epoch, history)
    if broken:
        raise UserError(
            f"the transformers' parameters theta are no numbers {place}; lower localisation_rate "
            "or learning_rate and run again"
        )
    if not math.isfinite(total):
        raise UserError(f"the loss is not finite {place}; lower learning_rate and run again")


def check(params: Params, data: part_files.Examples, weights: bool) -> None:
    """Check that params and data fit.

    Raises
    ------
    UserError
        If there are fewer images than a batch has, they are smaller than what is cut out, or
        weights are given to another backbone than GoogLeNet.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> data = part_files.Examples(torch.zeros(4, 3, 8, 8), torch.zeros(4), torch.zeros(4, 0, 2), 2)
    >>> check(SimpleNamespace(batch_size=8), data, False)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: train has 4 images; batch_size is 8
    """
    count, side = len(data.images), data.images.shape[-1]
    if count < params.batch_size:
        raise UserError(f"train has {count} images; batch_size is {params.batch_size}")
    if side < params.input_size:
        raise UserError(f"train has images of {side} pixels; input_size is {params.input_size}")
    if weights and params.backbone != "googlenet":
        raise UserError("weights are those of GoogLeNet; set backbone to googlenet or leave them")


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic(but_sampling=True)
    loaded = part_files.load(paths["train"])
    check(params, loaded, "weights" in paths)
    weights = None
    if "weights" in paths:
        weights = state_dicts.read(paths["weights"], verified=paths.get("verified"))
    if params.backbone == "googlenet" and weights is None:
        print("no weights=PATH is given: GoogLeNet starts from random numbers", file=sys.stderr)
    where = determinism.device()
    data = loaded._replace(images=loaded.images.to(where), labels=loaded.labels.to(where))
    fingerprint = address.digest(
        job.command, address.source_digest(job.module), job.provenance()["inputs"]
    )
    checkpoint = paths["model"].with_name("resume.pt")
    before = checkpoints.load_state(checkpoint, fingerprint)
    done = len(before["history"]) if before else 0
    rows = len(params.seeds) * params.epochs
    state = before  # with all seeds finished, should the model not have been written
    for state in progress.follow(train(params, data, weights, before), rows, epochs.describe, done):
        checkpoints.save_state(checkpoint, state, fingerprint)
    joined = {
        name: torch.stack([one[name] for one in state["finished"]]) for name in state["finished"][0]
    }
    said = architecture_of(params, data.classes)._asdict()
    said |= {"seeds": list(params.seeds), "input_size": params.input_size}
    # One text only: safetensors writes several in an order that changes from run to run.
    tensor_files.write_tensors(paths["model"], joined, {"model": json.dumps(said, sort_keys=True)})
    told = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], told)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    with step.start(
        Params, reads=["train"], optional=["weights", "verified"], writes=["model", "history"]
    ) as job:
        main(job)
