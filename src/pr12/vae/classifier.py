"""Train the classifier whose features the Fréchet distance compares.

The usual features, Inception's, are of photographs; digits get a net as small as they are. It
takes seconds, so that a kill costs no more than them and no checkpoint is kept.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

from pr12.core import determinism, tensor_files
from pr12.data.splits import Split
from pr12.vae.data import images
from pr12.vae.model import features, optimisers
from pr12.vae.params import Classifier as Params
from pr12.workflow import files, progress, step
from pr12.workflow.errors import UserError


def train(params: Params, data: Split, held_out: Split) -> Iterator[dict[str, Any]]:
    """Minimise the cross entropy of the labels by Adam; yield the state after every epoch.

    Parameters
    ----------
    params : Params
        Of the training.
    data, held_out : Split
        What it learns from, and what its accuracy is measured on.

    Yields
    ------
    dict
        ``parameters`` and ``row`` of the history.

    Raises
    ------
    UserError
        If there is one class only, fewer images than a batch has, or the loss is not finite.

    Examples
    --------
    >>> data = Split(torch.eye(4).reshape(4, 2, 2), torch.tensor([0, 0, 1, 1]))
    >>> params = Params(0, (8, 4), 1.0, batch_size=2, epochs=50, learning_rate=0.01)
    >>> list(train(params, data, data))[-1]["row"]["validation/accuracy"]
    1.0
    """
    x, y = data.images.flatten(1), data.labels
    classes, batches = int(y.max()) + 1, len(x) // params.batch_size
    if classes < 2:
        raise UserError("train has images of one class only; give it data with several")
    if batches == 0:
        raise UserError(f"train has {len(x)} images; batch_size is {params.batch_size}")
    hidden = [max(1, round(width * params.width_scale)) for width in params.hidden]
    parameters = features.initial([x.shape[1], *hidden, classes], params.seed)
    for value in parameters.values():
        value.requires_grad_()
    optimiser = optimisers.start(parameters, "adam")
    shuffle = determinism.generator(params.seed, "shuffle")
    for epoch in range(1, params.epochs + 1):
        order, total = torch.randperm(len(x), generator=shuffle).to(x.device), 0.0
        for rows in order[: batches * params.batch_size].chunk(batches):
            logits = features.logits(parameters, x[rows])
            loss = functional.cross_entropy(logits, y[rows], reduction="mean")
            gradients = list(torch.autograd.grad(loss, list(parameters.values())))
            rate, betas = params.learning_rate, (0.9, 0.999)
            optimisers.descend(parameters, gradients, optimiser, rate, 0.0, betas, 1e-8)
            total += loss.item()
        if not math.isfinite(total):
            raise UserError(f"the loss is not finite in epoch {epoch}; lower learning_rate")
        with torch.inference_mode():
            answers = features.logits(parameters, held_out.images.flatten(1)).argmax(dim=-1)
        accuracy = (answers == held_out.labels).double().mean().item()
        row = {"train/loss_nats": total / batches, "validation/accuracy": accuracy}
        yield {"parameters": parameters, "row": {"epoch": epoch} | row}


def main(job: step.Job) -> None:
    """Train the classifier; its history has the accuracy on validation data."""
    determinism.deterministic()
    data, held_out = (images.load_labelled(job.paths[name]) for name in ("train", "validation"))
    if data.images.shape[1:] != held_out.images.shape[1:]:
        sizes = (" x ".join(map(str, each.images.shape[1:])) for each in (data, held_out))
        raise UserError(
            f"the images of train and validation are {' and '.join(sizes)} pixels; give two splits "
            "of one data set"
        )
    history = []
    states = train(job.params, data, held_out)
    for state in progress.follow(states, job.params.epochs, lambda state: describe(state["row"])):
        history.append(state["row"])
    tensor_files.write_tensors(job.paths["model"], state["parameters"])
    written = {"history": history, "provenance": job.provenance()}
    files.write_json(job.paths["history"], written)


def describe(row: dict[str, Any]) -> str:
    """Say one row of the history in a line."""
    return f"loss {row['train/loss_nats']:.3f} nats  accuracy {row['validation/accuracy']:.4f}"


if __name__ == "__main__":
    with step.start(Params, reads=["train", "validation"], writes=["model", "history"]) as job:
        main(job)
