"""The transformers that find a digit: built, applied and judged."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.stn.data.canvases import Canvases
from pr12.stn.model import colocalisation
from pr12.stn.model.transformer import SpatialTransformer

SHOWN = 3  # images per class in the picture
DRAWS = 20  # random windows per image


def windows_of(net: SpatialTransformer, canvases: Tensor) -> Tensor:
    """Give the windows that a transformer chooses, (N, 1, 84, 84) -> (N, 3)."""
    with torch.no_grad():
        return torch.cat([net.theta(net.localisation(part)) for part in canvases.split(100)])


def seeded(
    canvases: Tensor, digit: int, seed: int, stride: int, scale_rate: float
) -> SpatialTransformer:
    """Build the transformer of one class with the initial parameters of one seed."""
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global stream only
        torch.manual_seed(determinism.generator(seed, f"init localiser {digit}").initial_seed())
        return colocalisation.localiser(canvases, stride, scale_rate)


def rounded(windows: Tensor) -> list:
    """Give the boxes of windows in pixels, to a tenth."""
    return colocalisation.boxes(windows).double().round(decimals=1).tolist()


def overlaps_of(net: SpatialTransformer, canvases: Canvases) -> list[float]:
    """Give each window's intersection over union with the digit's box."""
    found = colocalisation.boxes(windows_of(net, canvases.images))
    return colocalisation.overlap(found, colocalisation.digit_boxes(canvases.corners)).tolist()


def judged(
    net: SpatialTransformer,
    seen: Canvases,
    new: Canvases,
    history: Sequence[Mapping[str, Any]],
    stream: torch.Generator,
) -> dict[str, Any]:
    """Judge one transformer on what it saw and on new images, beside windows at random.

    Parameters
    ----------
    net : SpatialTransformer
        Of the class, after training.
    seen, new : Canvases
        Of the class.
    history : sequence of mapping
        Of the training.
    stream : torch.Generator
        Of the random windows.

    Returns
    -------
    dict
        Intersections over union (``images``, ``new``, ``random``), the last ``hinge``, and what is
        ``shown`` of the first images.
    """
    true = colocalisation.digit_boxes(seen.corners)
    random = colocalisation.boxes(colocalisation.random_windows(DRAWS * len(true), stream))
    return {
        "images": overlaps_of(net, seen),
        "new": overlaps_of(net, new),
        "random": colocalisation.overlap(random, true.repeat(DRAWS, 1)).tolist(),
        "hinge": history[-1]["train/hinge"],
        "shown": {
            "canvases": (255 * seen.images[:SHOWN, 0]).round().int().tolist(),
            "true": true[:SHOWN].tolist(),
            "history": history,
        },
    }


def metrics(
    seeds: Sequence[int],
    digits: Sequence[int],
    finished: Mapping[str, Any],
    accuracies: Mapping[str, float],
) -> dict[str, list[float]]:
    """Give all metrics, one value per seed.

    Examples
    --------
    >>> result = {"images": [0.6, 0.4], "new": [0.0, 0.1], "random": [0.0], "hinge": 0.5}
    >>> found = metrics((0,), (3,), {"0/3": result}, {"0": 99.0})
    >>> found["images/correct_digit3_percent"], found["images/iou_all"]
    ([50.0], [0.5])
    """
    found = {"embedding/accuracy_percent": [accuracies[str(seed)] for seed in seeds]}

    def overlaps(kind: str, seed: int, classes: Sequence[int]) -> Tensor:
        return torch.tensor(
            [o for d in classes for o in finished[f"{seed}/{d}"][kind]], dtype=torch.float64
        )

    for kind in ("images", "new", "random"):
        groups = {"all": digits} | {f"digit{digit}": (digit,) for digit in digits}
        for group, classes in groups.items():
            each = [overlaps(kind, seed, classes) for seed in seeds]
            found[f"{kind}/correct_{group}_percent"] = [
                colocalisation.correct_percent(one) for one in each
            ]
            found[f"{kind}/iou_{group}"] = [float(one.mean()) for one in each]
    hinges = [[finished[f"{s}/{d}"]["hinge"] for d in digits] for s in seeds]
    found["images/hinge_all"] = [sum(one) / len(one) for one in hinges]
    return found
