"""Evaluate the networks that read house numbers: errors, size, and where transformers look."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.stn.data import sequence_files
from pr12.stn.data.composed import BLANK
from pr12.stn.model.sequence_networks import (
    Architecture,
    Network,
    built,
    normalised,
    parameter_count,
)
from pr12.stn.params import EvaluateSequences as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

DECIMALS = 4  # of parameters in the picture's file


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
    tensors = tensor_files.read_tensors(path)
    try:
        said = json.loads(tensor_files.read_metadata(path)["model"])
        seeds = len(said.pop("seeds"))
        architecture = Architecture(**said)
        replicas = [{name: value[i] for name, value in tensors.items()} for i in range(seeds)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} holds no networks; give a file that stn.train_sequences wrote"
        ) from None
    where = determinism.device()
    networks = [built(architecture, one).to(where) for one in replicas]
    return architecture, [one.to(memory_format=torch.channels_last) for one in networks]


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
    found, parameters = [], []
    where = next(network.parameters()).device
    with torch.inference_mode():
        for part in images.split(batch):
            x = normalised(part.to(where)).contiguous(memory_format=torch.channels_last)
            logits, thetas = network(x)
            found.append(logits.argmax(dim=2).cpu())
            parameters.append([theta.cpu() for theta in thetas])
    return torch.cat(found), [torch.cat(each) for each in zip(*parameters, strict=True)]


def errors(classes: Tensor, labels: Tensor) -> tuple[float, float]:
    """Give the share of sequences and of digits that are read wrongly, in percent.

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
    """Give what a figure shows of some images.

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
    >>> made = picture(image, digits, digits, [torch.tensor([[1.0, 0, 0, 0, 1, 0]])])
    >>> made["size"], made["images"][0]["thetas"]
    (8, [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    """
    shown: list[dict[str, Any]] = []
    for row, image in enumerate(images):
        stream = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, format="PNG")
        shown.append(
            {
                "png": base64.b64encode(stream.getvalue()).decode("ascii"),
                "predicted": classes[row].tolist(),
                "true": labels[row].tolist(),
                "thetas": [
                    [round(value, DECIMALS) for value in theta[row].tolist()] for theta in thetas
                ],
            }
        )
    return {"size": images.shape[-1], "images": shown}


def main(job: step.Job) -> None:
    """Evaluate all seeds; the first one's readings make the picture."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    architecture, networks = load(paths["model"])
    found: dict[str, list[float]] = {}
    made: dict[str, Any] = {}
    for name in ("validation", "test"):
        split = sequence_files.load(paths[name])
        if split.images.shape[-1] != architecture.size:
            raise UserError(
                f"{paths[name]} has images of {split.images.shape[-1]} pixels and the model reads "
                f"{architecture.size}; give it the images of its own case"
            )
        for network in networks:
            classes, thetas = predictions(network, split.images, params.batch)
            both = errors(classes, split.labels)
            for key, value in zip(("error_percent", "error_digit_percent"), both, strict=True):
                found.setdefault(f"{name}/{key}", []).append(value)
            if name == "test" and not made:
                few = slice(params.shown)
                made = picture(
                    split.images[few],
                    classes[few],
                    split.labels[few],
                    [theta[few] for theta in thetas],
                )
    found["test/parameters"] = [float(parameter_count(network)) for network in networks]
    made["network"] = architecture.network
    files.write_json(paths["metrics"], {"metrics": found, "provenance": job.provenance()})
    files.write_json(paths["picture"], made)


if __name__ == "__main__":
    with step.start(
        Params, reads=["model", "validation", "test"], writes=["metrics", "picture"]
    ) as job:
        main(job)
