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
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pr12.shared import address, files, optimisers, progress, run, state_dicts, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, Between, NotEmpty
from pr12.stn import part_networks, parts, training
from pr12.stn.part_networks import Architecture, PartNetwork

# Of the whole training; the paper names the batches and not their number, read as 30,000
STAGES = (1 / 3, 2 / 3, 5 / 6)


@dataclass(frozen=True)
class Params:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], NotEmpty()]
    transformers: Annotated[int, Between(0, 16)]  # 0: one network on the whole image
    backbone: Literal["small", "googlenet"]
    width: Annotated[int, AtLeast(1)]  # of the small backbone
    input_size: Annotated[int, AtLeast(1)]  # side of what is cut at random out of an image
    output_size: Annotated[int, AtLeast(1)]  # side of what a backbone sees
    flips: bool
    dropout: Annotated[float, Between(0, 0.9)]
    epochs: Annotated[int, AtLeast(1)]
    batch_size: Annotated[int, AtLeast(2)]
    optimiser: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Above(0)]
    momentum: Annotated[float, Between(0, 0.999)]
    schedule: Literal["stages", "cosine"]
    warmup_batches: Annotated[int, AtLeast(0)]
    weight_decay: Annotated[float, AtLeast(0)]
    localisation_rate: Annotated[float, AtLeast(0)]  # times learning_rate; 0: windows stay put
    bfloat16: bool


def rate(params: Params, batch: int, batches: int) -> float:
    """Give the step size of a batch: a linear start, then stages or half a cosine.

    Parameters
    ----------
    params : Params
        The case's.
    batch, batches : int
        Which, from 0, of how many in all.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> params = SimpleNamespace(learning_rate=1.0, warmup_batches=2, schedule="stages")
    >>> [round(rate(params, batch, 30), 4) for batch in (0, 9, 10, 20, 25)]
    [0.5, 1.0, 0.1, 0.01, 0.001]
    """
    start = min(1.0, (batch + 1) / (params.warmup_batches or 1))
    if params.schedule == "cosine":
        return params.learning_rate * start * (1 + math.cos(math.pi * batch / batches)) / 2
    passed = sum(batch >= stage * batches for stage in STAGES)
    return params.learning_rate * start * 0.1**passed


def varied(images: Tensor, rows: Tensor, side: int, flips: bool, stream: torch.Generator) -> Tensor:
    """Cut squares at random places out of images, and mirror half of them.

    Parameters
    ----------
    images : Tensor
        Shape (N, 3, S, S).
    rows : Tensor
        int64, shape (B,): which.
    side : int
        Of the squares, at most S.
    flips : bool
        Whether to mirror.
    stream : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor
        Shape (B, 3, side, side).

    Examples
    --------
    >>> image = torch.arange(12).reshape(1, 3, 2, 2)
    >>> stream = torch.Generator().manual_seed(0)
    >>> varied(image, torch.tensor([0, 0]), 2, False, stream).equal(image[[0, 0]])
    True
    """
    free = images.shape[-1] - side + 1
    top, left = torch.randint(free, (2, len(rows)), generator=stream).to(images.device)
    cut = images.unfold(2, side, 1).unfold(3, side, 1)[rows, :, top, left]  # of a view: no copies
    if not flips:
        return cut
    mirrored = torch.rand(len(rows), generator=stream).to(images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], cut.flip(3), cut)


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
    torch.manual_seed(run.generator(seed, "parts").initial_seed())
    net = PartNetwork(architecture_of(params, classes))
    if weights is not None:
        part_networks.load_pretrained(net, weights, "weights")
    net = net.to(run.device(), memory_format=torch.channels_last)
    slow = ("localisation.", "theta.")
    groups = [{"params": [], "share": 1.0}, {"params": [], "share": params.localisation_rate}]
    for name, value in net.named_parameters():
        groups[name.startswith(slow)]["params"].append(value)
    groups = [group for group in groups if group["params"]]
    # Fused: the same steps in one pass
    shared = {"lr": params.learning_rate, "weight_decay": params.weight_decay, "fused": True}
    if params.optimiser == "adam":
        return net, optimisers.Adam(groups, betas=(params.momentum, 0.999), eps=1e-8, **shared)
    return net, optimisers.SGD(groups, momentum=params.momentum, nesterov=False, **shared)


def train(
    params: Params,
    data: parts.Examples,
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
        A state yielded before: training goes on from it.

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
    where = run.device()
    batches = len(data.images) // params.batch_size
    for seed in params.seeds[len(finished) :]:
        net, optimiser = start(params, data.classes, seed, weights)
        stream = run.generator(seed, "shuffle")
        done = state["epoch"]
        if done:
            net.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            training.set_streams(state["streams"], stream)
        for epoch in range(done, params.epochs):
            order = torch.randperm(len(data.images), generator=stream).to(where)
            total, wrong, broken = torch.zeros(3, device=where)
            for number, rows in enumerate(order[: batches * params.batch_size].chunk(batches)):
                for group in optimiser.param_groups:
                    step_size = rate(params, epoch * batches + number, params.epochs * batches)
                    group["lr"] = group["share"] * step_size
                seen = varied(data.images, rows, params.input_size, params.flips, stream)
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
            _check(seed, epoch + 1, float(total), float(broken), history)
            training.check_parameters(net, f"in epoch {epoch + 1} of seed {seed}")
            row = {
                "seed": seed,
                "epoch": epoch + 1,
                "train/loss_nats": float(total) / batches,
                "train/error_percent": 100 * float(wrong) / batches,
            }
            history = [*history, row]
            kept = {name: value.detach().clone() for name, value in net.state_dict().items()}
            last = epoch + 1 == params.epochs
            finished = [*finished, kept] if last else finished
            yield {
                "finished": finished,
                "epoch": 0 if last else epoch + 1,
                "network": kept,
                "optimiser": optimiser.state_dict(),
                "streams": training.streams(stream),
                "history": history,
            }
        state = {"epoch": 0}


def _check(
    seed: int, epoch: int, total: float, broken: float, history: list[dict[str, Any]]
) -> None:
    last = f"{history[-1]['train/loss_nats']:.4g}" if history else "none"
    place = f"in epoch {epoch} of seed {seed} (loss before: {last})"
    if broken:
        raise UserError(
            f"the transformers' parameters theta are no numbers {place}; lower localisation_rate "
            "or learning_rate and run again"
        )
    if not math.isfinite(total):
        raise UserError(f"the loss is not finite {place}; lower learning_rate and run again")


def check(params: Params, data: parts.Examples, weights: bool) -> None:
    """Check that params and data fit.

    Raises
    ------
    UserError
        If there are fewer images than a batch has, they are smaller than what is cut out, or
        weights are given to another backbone than GoogLeNet.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> data = parts.Examples(torch.zeros(4, 3, 8, 8), torch.zeros(4), torch.zeros(4, 0, 2), 2)
    >>> check(SimpleNamespace(batch_size=8), data, False)
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: train has 4 images; batch_size is 8
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
    training.deterministic()
    loaded = parts.load(paths["train"])
    check(params, loaded, "weights" in paths)
    weights = None
    if "weights" in paths:
        weights = state_dicts.read(paths["weights"], verified=paths.get("verified"))
    if params.backbone == "googlenet" and weights is None:
        print("no weights=PATH is given: GoogLeNet starts from random numbers", file=sys.stderr)
    where = run.device()
    data = loaded._replace(images=loaded.images.to(where), labels=loaded.labels.to(where))
    fingerprint = address.digest(
        job.command, address.source_digest(job.module), job.provenance()["inputs"]
    )
    checkpoint = paths["model"].with_name("resume.pt")
    before = run.load_state(checkpoint, fingerprint)
    done = len(before["history"]) if before else 0
    rows = len(params.seeds) * params.epochs
    state = before  # with all seeds finished, should the model not have been written
    for state in progress.follow(train(params, data, weights, before), rows, describe, done):
        run.save_state(checkpoint, state, fingerprint)
    joined = {
        name: torch.stack([one[name] for one in state["finished"]]) for name in state["finished"][0]
    }
    said = architecture_of(params, data.classes)._asdict()
    said |= {"seeds": list(params.seeds), "input_size": params.input_size}
    # One text only: safetensors writes several in an order that changes from run to run.
    run.write_tensors(paths["model"], joined, {"model": json.dumps(said, sort_keys=True)})
    told = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], told)
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
    with step.start(
        Params, reads=["train"], optional=["weights", "verified"], writes=["model", "history"]
    ) as job:
        main(job)
