"""Evaluate the networks that look at parts: errors, size, and whether windows hold the parts."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.stn.data import generated_parts, part_files
from pr12.stn.model import part_networks, part_windows
from pr12.stn.model.part_networks import Architecture, PartNetwork
from pr12.stn.params import EvaluateParts as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

DECIMALS = 4  # of places in the picture's file


def load(path: Path) -> tuple[Architecture, int, list[PartNetwork]]:
    """Read the networks of all seeds, on the device that computes.

    Parameters
    ----------
    path : Path
        As `pr12.stn.train_parts` wrote it.

    Returns
    -------
    architecture : Architecture
        Of all.
    input_size : int
        Side of the images that they read, in pixels.
    networks : list of PartNetwork
        One per seed.

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
    networks = []
    try:
        said = json.loads(tensor_files.read_metadata(path)["model"])
        seeds, input_size = len(said.pop("seeds")), said.pop("input_size")
        architecture = Architecture(**said)
        for i in range(seeds):
            net = PartNetwork(architecture)
            net.load_state_dict({key: value[i] for key, value in tensors.items()}, strict=True)
            net = net.to(determinism.device(), memory_format=torch.channels_last)
            networks.append(net.eval())
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        networks = []
    if not networks:
        raise UserError(f"{path} holds no networks of stn.train_parts; make it anew")
    return architecture, input_size, networks


def cut(data: part_files.Examples, side: int) -> part_files.Examples:
    """Cut the middle out of images, and say where parts are in it.

    Parameters
    ----------
    data : Examples
        With images of `side` pixels or more.
    side : int
        Wanted.

    Raises
    ------
    UserError
        If the images are smaller.

    Examples
    --------
    >>> image, place = torch.zeros(1, 3, 8, 8), torch.tensor([[[0.25, -0.5]]])
    >>> cut(part_files.Examples(image, torch.zeros(1), place, 2), 4).places.tolist()
    [[[0.5, -1.0]]]
    """
    whole = data.images.shape[-1]
    if whole < side:
        raise UserError(
            f"the images have {whole} pixels and the networks read {side}; give the images of "
            "their own case"
        )
    edge = (whole - side) // 2
    images = data.images[:, :, edge : edge + side, edge : edge + side]
    # The middle of the cut is half a pixel off where whole - side is odd
    off = (whole - side - 2 * edge) / side
    return data._replace(images=images, places=data.places * (whole / side) + off)


def picture(data: part_files.Examples, classes: Tensor, theta: Tensor, output_size: int) -> dict:
    """Give what a figure shows of some images.

    Parameters
    ----------
    data : Examples
        The images.
    classes : Tensor
        int64, shape (N,): what was predicted.
    theta : Tensor
        Shape (N, T, 2).
    output_size : int
        Side of what a backbone sees.

    Returns
    -------
    dict
        ``size``, ``output_size``, ``window`` (a window's side in sides of the image) and
        ``images``: of each ``png`` (base64), ``true`` and ``predicted`` class, ``thetas`` (x and y
        of each window's centre, -1 and 1 are edges) and ``places`` of the parts, if they are known.

    Examples
    --------
    >>> image, none = torch.zeros(1, 3, 8, 8).byte(), torch.zeros(1, 0, 2)
    >>> data = part_files.Examples(image, torch.tensor([3]), none, 16)
    >>> made = picture(data, torch.tensor([5]), torch.tensor([[[-0.5, 0.0]]]), 4)
    >>> made["images"][0]["true"], made["images"][0]["thetas"]
    (3, [[-0.5, 0.0]])
    """
    shown: list[dict[str, Any]] = []
    for row, image in enumerate(data.images):
        stream = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(stream, format="PNG")
        shown.append(
            {
                "png": base64.b64encode(stream.getvalue()).decode("ascii"),
                "true": int(data.labels[row]),
                "predicted": int(classes[row]),
                "thetas": _rounded(theta[row]),
                "places": _rounded(data.places[row]),
            }
        )
    return {
        "size": data.images.shape[-1],
        "output_size": output_size,
        "window": part_networks.WINDOW,
        "images": shown,
    }


def _rounded(points: Tensor) -> list[list[float]]:
    return [[round(value, DECIMALS) for value in point] for point in points.tolist()]


def main(job: step.Job) -> None:
    """Evaluate all seeds; the first one's test images make the picture."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    architecture, side, networks = load(paths["model"])
    found: dict[str, list[float]] = {}
    made: dict[str, Any] = {}
    for name in ("validation", "test"):
        whole = part_files.load(paths[name])
        if whole.classes != architecture.classes:
            raise UserError(
                f"{paths[name]} has {whole.classes} classes and the model {architecture.classes}; "
                "give it the images of its own case"
            )
        data = cut(whole, side)
        radius = generated_parts.radius(side)  # pixels are those of the whole image
        for net in networks:
            classes, theta = part_windows.predictions(
                net, data.images, params.batch, params.bfloat16
            )
            wrong = 100 * float((classes != data.labels).double().mean())
            own = {f"{name}/error_percent": wrong, f"{name}/accuracy_percent": 100 - wrong}
            if name == "test":
                own["test/parameters"] = float(part_networks.parameter_count(net))
                if architecture.transformers and data.places.shape[1]:
                    own |= part_windows.found_metrics(theta, data.places, radius)
                few = slice(params.shown)
                rest = data._replace(
                    images=data.images[few], labels=data.labels[few], places=data.places[few]
                )
                made = made or picture(rest, classes[few], theta[few], architecture.output_size)
            for key, value in own.items():
                found.setdefault(key, []).append(value)
    files.write_json(paths["metrics"], {"metrics": found, "provenance": job.provenance()})
    files.write_json(paths["picture"], made)


if __name__ == "__main__":
    with step.start(
        Params, reads=["model", "validation", "test"], writes=["metrics", "picture"]
    ) as job:
        main(job)
