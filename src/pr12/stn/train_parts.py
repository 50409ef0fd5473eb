"""Train the networks that look at parts, all seeds of the case one after the other (Sec. 4.3).

The paper: Inception with batch normalisation that was trained on ImageNet, stochastic gradient
descent at a rate of 0.1, a tenth of it after 10,000, 20,000 and 25,000 batches, localisation nets
at 0.0001 of the rate, weight decay 0.00001, dropout 0.7 before the softmax, crops of 224 from 256
pixels and mirrored images. It does not say the momentum.

That small rate is for a net that knows images already. Small nets that start from nothing learn
where to look at a twentieth of the rate, by validation error; at 0.03 their windows hardly move,
at 0.3 they leave the image before the networks behind them can read what they show.
"""

import sys
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import checkpoints, determinism, state_dicts
from pr12.data import fetched
from pr12.stn.data import digit_splits, part_files, saved_nets
from pr12.stn.model import epochs, part_networks, part_training
from pr12.stn.model.part_networks import Architecture, PartNetwork
from pr12.stn.params import TrainParts as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def architecture_of(params: Params, classes: int) -> Architecture:
    """Return the case's architecture."""
    return Architecture(
        params.transformers,
        params.backbone,
        params.width,
        params.output_size,
        classes,
        params.dropout,
    )


def start(
    params: Params, classes: int, seed: int, weights: Mapping[str, Tensor] | None = None
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
    weights : mapping of str to Tensor, optional
        Of a GoogLeNet to start from.

    Raises
    ------
    UserError
        If the weights are those of another network.
    """
    torch.manual_seed(determinism.generator(seed, "parts").initial_seed())
    net = PartNetwork(architecture_of(params, classes))
    if weights is not None:
        part_networks.load_pretrained(net, weights, "weights")
    net = net.to(determinism.device(), memory_format=torch.channels_last)
    optimiser = epochs.optimiser_of(
        net, ("localisation.", "theta."), params.optimiser, params.learning_rate,
        params.localisation_rate, params.momentum, params.weight_decay,
    )  # fmt: skip
    return net, optimiser


def task(
    params: Params, data: part_files.Examples, weights: Mapping[str, Tensor] | None = None
) -> epochs.Task:
    """Return what the case learns, for `epochs.train`.

    Parameters
    ----------
    params : Params
        The case's.
    data : Examples
        On the device that computes.
    weights : mapping of str to Tensor, optional
        Of a GoogLeNet to start from.
    """
    batches = params.epochs * (len(data.images) // params.batch_size)

    def inputs(rows: Tensor, stream: torch.Generator) -> Tensor:
        squares = part_training.varied(data.images, rows, params.input_size, params.flips, stream)
        return part_networks.normalised(squares)

    def rate(epoch: int, batch: int) -> float:
        schedule = params.learning_rate, params.schedule, params.warmup_batches
        return part_training.rate(*schedule, batch, batches)

    return epochs.Task(
        data.labels,
        params.batch_size,
        params.epochs,
        lambda seed: start(params, data.classes, seed, weights),
        inputs,
        rate,
        partial(functional.cross_entropy, reduction="mean"),
        params.bfloat16,
    )


def check(params: Params, data: part_files.Examples, weights: bool) -> None:
    """Check that params and data fit.

    Raises
    ------
    UserError
        If images are smaller than what is cut out, or weights are given to another backbone than
        GoogLeNet.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> data = part_files.Examples(torch.zeros(4, 3, 8, 8), torch.zeros(4), torch.zeros(4, 0, 2), 2)
    >>> check(SimpleNamespace(input_size=9), data, False)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: train has images of 8 pixels and input_size is 9; lower \
input_size
    """
    side = data.images.shape[-1]
    if side < params.input_size:
        raise UserError(
            f"train has images of {side} pixels and input_size is {params.input_size}; "
            "lower input_size"
        )
    if weights and params.backbone != "googlenet":
        raise UserError("weights are those of GoogLeNet; set backbone to googlenet or leave them")


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic(but_sampling=True)
    digit_splits.check_distinct(params, "seeds")
    loaded = part_files.load(paths["train"])
    check(params, loaded, "weights" in paths)
    weights = None
    if "weights" in paths:
        if "verified" in paths:
            file = paths["weights"]
            fetched.check_all(paths["verified"], file.parent, [file.name])
        weights = state_dicts.read(paths["weights"])
    if params.backbone == "googlenet" and weights is None:
        print("no weights=PATH is given: GoogLeNet starts from random numbers", file=sys.stderr)
    where = determinism.device()
    data = loaded._replace(images=loaded.images.to(where), labels=loaded.labels.to(where))
    learnt = task(params, data, weights)
    state = checkpoints.resumed(
        job,
        lambda state: epochs.train(learnt, params.seeds, state),
        total=len(params.seeds) * params.epochs,
        describe=epochs.describe,
        done=lambda state: len(state["history"]),
    )
    description = architecture_of(params, data.classes)._asdict()
    description |= {"seeds": list(params.seeds), "input_size": params.input_size}
    saved_nets.write_replicas(paths["model"], state["finished"], description)
    written = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], written)


if __name__ == "__main__":
    with step.start(
        Params, reads=["train"], optional=["weights", "verified"], writes=["model", "history"]
    ) as job:
        main(job)
