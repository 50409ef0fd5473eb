"""Evaluate the networks that read house numbers: errors, size, and where transformers look."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.stn.data import pictures, saved_nets, sequence_files
from pr12.stn.data.composed import BLANK
from pr12.stn.model import digit_networks
from pr12.stn.model.sequence_networks import Architecture, Network, normalised
from pr12.stn.params import EvaluateSequences as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def load(path: Path) -> tuple[Architecture, list[Network]]:
    """Read the networks of all seeds, on the device that computes.

    Parameters
    ----------
    path : Path
        As `pr12.stn.train_sequences` wrote it.

    Raises
    ------
    UserError
        If it is missing or holds no such networks.

    Examples
    --------
    >>> load(Path("/nowhere/model.safetensors"))
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/model.safetensors: no such file
    """
    description, networks = saved_nets.load_replicas(
        path, "stn.train_sequences", lambda description: Network(architecture_of(description))
    )
    return architecture_of(description), networks


def architecture_of(description: dict[str, Any]) -> Architecture:
    """Return a model's architecture."""
    return Architecture(**{key: value for key, value in description.items() if key != "seeds"})


def predictions(network: Network, images: Tensor, batch: int) -> tuple[Tensor, list[Tensor]]:
    """Read images.

    Parameters
    ----------
    network : Network
        One seed's.
    images : Tensor
        uint8, shape (N, 3, S, S).
    batch : int
        Images at a time, which bounds the memory.

    Returns
    -------
    classes : Tensor
        int64, shape (N, 5).
    thetas : list of Tensor
        Of each transformer, (N, 6).

    Examples
    --------
    >>> network = Network(Architecture("single", 32, 0.1, 1, 0.0)).eval()
    >>> classes, thetas = predictions(network, torch.zeros(3, 3, 32, 32).byte(), 2)
    >>> classes.shape, thetas[0].shape
    (torch.Size([3, 5]), torch.Size([3, 6]))
    """
    classes, parameters = [], []
    where = next(network.parameters()).device
    with torch.inference_mode():
        for part in images.split(batch):
            x = normalised(part.to(where)).contiguous(memory_format=torch.channels_last)
            logits, thetas = network(x)
            classes.append(logits.argmax(dim=2).cpu())
            parameters.append([theta.cpu() for theta in thetas])
    return torch.cat(classes), [torch.cat(each) for each in zip(*parameters, strict=True)]


def errors(classes: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the share of sequences and of digits that are read wrongly, in percent.

    A sequence is right if all five places are; of digits, the places that hold one are counted.

    Parameters
    ----------
    classes, labels : Tensor
        int64, shape (N, 5).

    Examples
    --------
    >>> labels = torch.tensor([[1, 2, 10, 10, 10], [3, 10, 10, 10, 10]])
    >>> classes = torch.tensor([[1, 7, 10, 10, 10], [3, 10, 10, 10, 10]])
    >>> [round(value, 1) for value in errors(classes, labels)]
    [50.0, 33.3]
    """
    wrong = classes != labels
    digits = wrong[labels != BLANK]
    single = digits.double().mean() if len(digits) else torch.zeros(())
    return 100 * float(wrong.any(dim=1).double().mean()), 100 * float(single)


def picture(images: Tensor, classes: Tensor, labels: Tensor, thetas: list[Tensor]) -> dict:
    """Return what a figure shows of some images.

    Parameters
    ----------
    images : Tensor
        uint8, shape (N, 3, S, S).
    classes, labels : Tensor
        int64, shape (N, 5).
    thetas : list of Tensor
        Of each transformer, (N, 6).

    Returns
    -------
    dict
        ``size``; and of each image ``png`` (base64), ``predicted`` and ``true`` digits (10 is
        blank) and ``thetas``, the rows of the matrix of each transformer from the first.

    Examples
    --------
    >>> image, digits = torch.zeros(1, 3, 8, 8).byte(), torch.full((1, 5), 10)
    >>> shown = picture(image, digits, digits, [torch.tensor([[1.0, 0, 0, 0, 1, 0]])])
    >>> shown["size"], shown["images"][0]["thetas"]
    (8, [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    """
    shown = [
        {
            "png": pictures.png(image),
            "predicted": classes[row].tolist(),
            "true": labels[row].tolist(),
            "thetas": [pictures.rounded(theta[row : row + 1])[0] for theta in thetas],
        }
        for row, image in enumerate(images)
    ]
    return {"size": images.shape[-1], "images": shown}


def main(job: step.Job) -> None:
    """Evaluate all seeds; the first one's readings make the picture."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    architecture, networks = load(paths["model"])
    metrics: dict[str, list[float]] = {}
    for name in ("validation", "test"):
        split = sequence_files.load(paths[name])
        if split.images.shape[-1] != architecture.size:
            raise UserError(
                f"{paths[name]} has images of {split.images.shape[-1]} pixels and the model reads "
                f"{architecture.size}; give it the images of its own case"
            )
        readings = [predictions(network, split.images, params.batch) for network in networks]
        for classes, _ in readings:
            both = errors(classes, split.labels)
            for key, value in zip(("error_percent", "error_digit_percent"), both, strict=True):
                metrics.setdefault(f"{name}/{key}", []).append(value)
    classes, thetas = readings[0]
    few = slice(params.shown)
    shown = picture(
        split.images[few], classes[few], split.labels[few], [theta[few] for theta in thetas]
    )
    shown["network"] = architecture.network
    metrics["test/parameters"] = [float(digit_networks.count(network)) for network in networks]
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    files.write_json(paths["picture"], shown)


if __name__ == "__main__":
    with step.start(
        Params, reads=["model", "validation", "test"], writes=["metrics", "picture"]
    ) as job:
        main(job)
