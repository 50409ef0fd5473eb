"""What the figures read: metrics as intervals, and the pictures that the steps left."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from pr12.report import stats
from pr12.report.stats import Interval
from pr12.workflow.errors import UserError

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed
Pictures = Mapping[str, Any]  # such as ``atlas_picture`` -> what a step wrote

SEEDS = "mean over seeds and its 95 % t-interval"
REVERSE = {"atlas": "single atlas", "forest": "atlas forest", "cnn": "CNN"}  # case -> classifier
KINDS = {"forest": "forest", "unet": "U-Net", "atlases": "multi-atlas"}  # of segmenters
LOW = 0.7  # Dice below which a segmentation has failed (Robinson et al. 2019)


class Points(NamedTuple):
    """Segmented structures of the test scans, N in all: those of a segmentation in a row."""

    segmenters: list[str]
    structures: list[str]
    segmenter: np.ndarray  # number of each point's, (N,)
    real: dict[str, np.ndarray]  # measure -> (N,), NaN where a distance is not defined
    predicted: dict[str, np.ndarray]


def measured(metrics: Metrics, case: str, key: str) -> Interval | None:
    """Return a metric's mean over seeds and interval, if the case has it.

    Examples
    --------
    >>> measured({"atlas": {"pooled/mae_dice": [0.5, 0.5]}}, "atlas", "pooled/mae_dice").mean
    0.5
    """
    values = metrics.get(case, {}).get(key)
    return stats.bounded(key, values) if values else None


def written(interval: Interval) -> str:
    """Write a mean with its interval."""
    return stats.written(asdict(interval))


def listed(labels: Mapping[str, Interval | None]) -> str:
    """List intervals by their labels, those that there are.

    Examples
    --------
    >>> listed({"CNN": stats.mean([0.25]), "forest": None, "atlas": stats.mean([1])})
    'CNN 0.25, atlas 1'
    """
    return ", ".join(f"{label} {written(i)}" for label, i in labels.items() if i)


def segmenter(name: str) -> str:
    """Name a segmenter and its strength.

    Examples
    --------
    >>> segmenter("forest_5"), segmenter("unet_8"), segmenter("atlases_2_5"), segmenter("other")
    ('forest (depth 5)', 'U-Net (8 updates)', '5 atlases (effort 2)', 'other')
    """
    match name.split("_"):
        case ["forest", depth]:
            return f"forest (depth {depth})"
        case ["unet", updates]:
            return f"U-Net ({updates} updates)"
        case ["atlases", effort, number]:
            return f"{number} atlas{'' if number == '1' else 'es'} (effort {effort})"
    return name


def kind(name: str) -> str:
    """Name the kind of a segmenter.

    Examples
    --------
    >>> kind("unet_8"), kind("other_3")
    ('U-Net', 'other')
    """
    first = name.partition("_")[0]
    return KINDS.get(first, first)


def within(axes: Any, dimension: str, low: float, high: float) -> None:
    """Cut off an axis what its quantity cannot be: intervals of two seeds go far beyond it.

    Parameters
    ----------
    axes : Axes
        After all is drawn.
    dimension : str
        ``x`` or ``y``.
    low, high : float
        Furthest limits.
    """
    first, last = getattr(axes, f"get_{dimension}lim")()
    getattr(axes, f"set_{dimension}lim")(max(first, low), min(last, high))


def broken(name: str, what: str) -> UserError:
    """Say that a picture is not what its step writes."""
    return UserError(f"{name} {what}; delete it and run its step again")


def entry(picture: Any, key: str, name: str) -> Any:
    """Return one entry of a picture.

    Raises
    ------
    UserError
        If there is none.
    """
    if not isinstance(picture, Mapping) or key not in picture:
        raise broken(name, f"has no {key}")
    return picture[key]


def names(picture: Any, key: str, name: str) -> list[str]:
    """Return an entry that lists names.

    Raises
    ------
    UserError
        If it does not.
    """
    listed = entry(picture, key, name)
    if not isinstance(listed, list) or not listed or any(type(n) is not str for n in listed):
        raise broken(name, f"has {key} that are no list of names")
    return listed


def array(values: Any, dimensions: int, where: str, name: str) -> np.ndarray:
    """Return nested lists as an array of numbers; null is NaN.

    Parameters
    ----------
    values : Any
        The lists.
    dimensions : int
        How deep they are.
    where : str
        Which they are, for the message.
    name : str
        Of the picture.

    Raises
    ------
    UserError
        If they are not such lists, or empty.

    Examples
    --------
    >>> array([[1, None]], 2, "dice", "segmenters_picture")
    array([[ 1., nan]])
    """
    try:
        result = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        result = np.empty(0)
    if result.ndim != dimensions or not result.size:
        raise broken(name, f"has {where} that are no {dimensions}-fold list of numbers")
    return result


def points(picture: Any, name: str) -> Points:
    """Read what the step ``evaluate`` wrote of each test segmentation.

    Parameters
    ----------
    picture : Any
        As it was read.
    name : str
        Such as ``atlas_picture``.

    Raises
    ------
    UserError
        If it is something else.

    Examples
    --------
    >>> measure = {"dice": [0.5, 0.75], "surface": [1.0, None]}
    >>> said = {"segmenters": ["unet_8"], "structures": ["liver", "spleen"]}
    >>> said |= {"segmenter": [0, 0], "real": measure, "predicted": measure}
    >>> points(said, "atlas_picture").real["surface"]
    array([ 1., nan])
    """
    segmenters, structures = (names(picture, key, name) for key in ("segmenters", "structures"))
    number = array(entry(picture, "segmenter", name), 1, "segmenter", name)
    sides = []
    for side in ("real", "predicted"):
        entries = entry(picture, side, name)
        if not isinstance(entries, Mapping) or "dice" not in entries:
            raise broken(name, f"has no {side} dice")
        sides.append({m: array(v, 1, f"{side} {m}", name) for m, v in entries.items()})
        if any(len(values) != len(number) for values in sides[-1].values()):
            raise broken(name, f"has more or fewer {side} values than segmenters")
        if not np.isfinite(sides[-1]["dice"]).all():
            raise broken(name, f"has {side} dice that are no numbers")
    expected = np.repeat(np.arange(len(segmenters)), len(structures))
    if len(number) % len(expected) or (number.reshape(-1, len(expected)) != expected).any():
        raise broken(name, "does not hold every structure of every segmenter in turn")
    if sides[0].keys() != sides[1].keys():
        raise broken(name, "has real and predicted values of other measures")
    return Points(segmenters, structures, number.astype(int), *sides)


def cases(pictures: Pictures) -> dict[str, Points]:
    """Read the pictures of the three reverse classifiers, those that there are.

    Raises
    ------
    UserError
        If one is not what the step ``evaluate`` writes.
    """
    wanted = {case: f"{case}_picture" for case in REVERSE}
    return {case: points(pictures[n], n) for case, n in wanted.items() if n in pictures}
