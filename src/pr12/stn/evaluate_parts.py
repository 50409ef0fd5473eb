"""Evaluate the networks that look at parts: errors, size, and whether windows hold the parts."""

from pathlib import Path
from typing import Any

from torch import Tensor

from pr12.core import determinism
from pr12.stn.data import generated_parts, part_files, pictures, saved_nets
from pr12.stn.model import digit_networks, part_networks, part_windows
from pr12.stn.model.part_networks import Architecture, PartNetwork
from pr12.stn.params import EvaluateParts as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


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

    def build(description: dict[str, Any]) -> PartNetwork:
        architecture, _ = architecture_of(description)
        return PartNetwork(architecture)

    description, networks = saved_nets.load_replicas(path, "stn.train_parts", build)
    return *architecture_of(description), networks


def architecture_of(description: dict[str, Any]) -> tuple[Architecture, int]:
    """Return a model's architecture, and the side of the images that it reads."""
    rest = {key: value for key, value in description.items() if key != "seeds"}
    side = int(rest.pop("input_size"))
    return Architecture(**rest), side


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
    >>> import torch
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
    """Return what a figure shows of some images.

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
    >>> import torch
    >>> image, none = torch.zeros(1, 3, 8, 8).byte(), torch.zeros(1, 0, 2)
    >>> data = part_files.Examples(image, torch.tensor([3]), none, 16)
    >>> shown = picture(data, torch.tensor([5]), torch.tensor([[[-0.5, 0.0]]]), 4)
    >>> shown["images"][0]["true"], shown["images"][0]["thetas"]
    (3, [[-0.5, 0.0]])
    """
    shown = [
        {
            "png": pictures.png(image),
            "true": int(data.labels[row]),
            "predicted": int(classes[row]),
            "thetas": pictures.rounded(theta[row]),
            "places": pictures.rounded(data.places[row]),
        }
        for row, image in enumerate(data.images)
    ]
    return {
        "size": data.images.shape[-1],
        "output_size": output_size,
        "window": part_networks.WINDOW,
        "images": shown,
    }


def judged(
    name: str,
    net: PartNetwork,
    architecture: Architecture,
    data: part_files.Examples,
    params: Params,
) -> tuple[dict[str, float], Tensor, Tensor]:
    """Return one net's metrics on a split, its classes and its windows."""
    classes, theta = part_windows.predictions(net, data.images, params.batch, params.bfloat16)
    wrong = 100 * float((classes != data.labels).double().mean())
    metrics = {f"{name}/error_percent": wrong, f"{name}/accuracy_percent": 100 - wrong}
    if name == "test":
        metrics["test/parameters"] = float(digit_networks.count(net))
        if architecture.transformers and data.places.shape[1]:
            radius = generated_parts.radius(data.images.shape[-1])
            metrics |= part_windows.found_metrics(theta, data.places, radius)
    return metrics, classes, theta


def main(job: step.Job) -> None:
    """Evaluate all seeds; the first one's test images make the picture."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    architecture, side, networks = load(paths["model"])
    metrics: dict[str, list[float]] = {}
    for name in ("validation", "test"):
        whole = part_files.load(paths[name])
        if whole.classes != architecture.classes:
            raise UserError(
                f"{paths[name]} has {whole.classes} classes and the model {architecture.classes}; "
                "give it the images of its own case"
            )
        data = cut(whole, side)
        results = [judged(name, net, architecture, data, params) for net in networks]
        for values, _, _ in results:
            for key, value in values.items():
                metrics.setdefault(key, []).append(value)
    _, classes, theta = results[0]
    few = slice(params.shown)
    first = part_files.Examples(data.images[few], data.labels[few], data.places[few], data.classes)
    shown = picture(first, classes[few], theta[few], architecture.output_size)
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    files.write_json(paths["picture"], shown)


if __name__ == "__main__":
    with step.start(
        Params, reads=["model", "validation", "test"], writes=["metrics", "picture"]
    ) as job:
        main(job)
