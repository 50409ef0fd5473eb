"""What the figures read: metrics as intervals, the paper's numbers, and the steps' pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pr12.report import stats
from pr12.report.stats import Interval
from pr12.workflow.errors import UserError

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed
Numbers = Mapping[str, Mapping[str, float]]  # case -> key -> the paper's number
Pictures = Mapping[str, Any]  # such as ``fcn_picture`` -> what a step wrote

SEEDS = "mean over seeds and its 95 % t-interval"
FAMILIES = {"fcn": "FCN", "cnn": "CNN", "st_fcn": "ST-FCN", "st_cnn": "ST-CNN"}
TRANSFORMS = {"affine": "Aff", "projective": "Proj", "tps": "TPS"}  # as Table 1 writes them
ROWS = [  # of Table 1, in its order
    *("fcn", "cnn"),
    *(f"{family}_{transform}" for family in ("st_fcn", "st_cnn") for transform in TRANSFORMS),
]
DISTORTIONS = {
    "R": "rotation",
    "RTS": "rotation, translation, scale",
    "P": "projective",
    "E": "elastic",
    "TC": "translated, cluttered",
    "addition": "sum of two digits",
}
TABLE = ("R", "RTS", "P", "E")  # the columns of Table 1


def family(case: str) -> str:
    """Return the family of a row of Table 1.

    Examples
    --------
    >>> family("st_cnn_tps"), family("cnn")
    ('st_cnn', 'cnn')
    """
    return "_".join(case.split("_")[:2]) if case.startswith("st_") else case


def net(case: str) -> str:
    """Name the net of a case as the paper does.

    Examples
    --------
    >>> net("fcn"), net("st_cnn_affine"), net("st_fcn_tps_2"), net("cnn_average")
    ('FCN', 'ST-CNN Aff', '2 × ST-FCN TPS', 'CNN, average pooling')
    """
    if case == "cnn_average":
        return "CNN, average pooling"
    if case == "deformable":
        return "deformable CNN"
    parts = case.removeprefix(family(case)).strip("_").split("_")
    times = "2 × " if parts[-1] == "2" else ""
    name = f"{times}{FAMILIES.get(family(case), case)}"
    return f"{name} {TRANSFORMS[parts[0]]}" if parts[0] in TRANSFORMS else name


def error_key(distortion: str) -> str:
    """Return the metric of the test errors on a distortion."""
    return f"test/error_{distortion}_percent"


def measured(metrics: Metrics, case: str, key: str) -> Interval | None:
    """Return a metric's mean over seeds and interval, if the case has it.

    Examples
    --------
    >>> measured({"fcn": {"test/error_R_percent": [2.0, 2.0]}}, "fcn", "test/error_R_percent").mean
    2.0
    """
    values = metrics.get(case, {}).get(key)
    return stats.mean(values) if values else None


def errors(metrics: Metrics, cases: Iterable[str], distortion: str) -> dict[str, Interval]:
    """Return the test errors of cases on a distortion, of those that have them.

    Examples
    --------
    >>> list(errors({"fcn": {"test/error_R_percent": [2.0]}}, ["fcn", "cnn"], "R"))
    ['fcn']
    """
    intervals = {case: measured(metrics, case, error_key(distortion)) for case in cases}
    return {case: interval for case, interval in intervals.items() if interval}


def written(interval: Interval) -> str:
    """Write a mean with its interval."""
    return stats.written(asdict(interval))


def summary(labels: Mapping[str, Interval | None]) -> str:
    """List intervals by their labels, those that there are.

    Examples
    --------
    >>> summary({"CNN": stats.mean([0.25]), "FCN": None, "ST-CNN": stats.mean([1])})
    'CNN 0.25, ST-CNN 1'
    """
    return ", ".join(f"{label} {written(i)}" for label, i in labels.items() if i)


def of_paper(run: str) -> str:
    """Say of what the paper's numbers are, beside a run's own."""
    if run == "full":
        return "The paper's numbers are beside ours. "
    return (
        "The paper's numbers are of MNIST and far longer trainings, ours are of other digits: "
        "the order can be compared, the size cannot. "
    )


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


def array(values: Any, shape: Sequence[int | None], where: str, name: str) -> np.ndarray:
    """Return nested lists as an array of finite numbers.

    Parameters
    ----------
    values : Any
        The lists.
    shape : sequence of int or None
        That they must have; None stands for any length but 0.
    where : str
        Which they are, for the message.
    name : str
        Of the picture.

    Raises
    ------
    UserError
        If they are not such lists.

    Examples
    --------
    >>> array([[1, 2]], (None, 2), "places", "parts_picture")
    array([[1., 2.]])
    >>> array([1, 2], (3,), "places", "parts_picture")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: parts_picture has places that are no numbers of shape (3); \
delete it and run its step again
    """
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    good = numbers.ndim == len(shape) and numbers.size and np.isfinite(numbers).all()
    if not good or any(w not in (None, n) for w, n in zip(shape, numbers.shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise broken(name, f"has {where} that are no numbers of shape ({wanted})")
    return numbers


def sizes(metrics: Metrics, cases: Iterable[str], distortions: Iterable[str]) -> str:
    """Say how many parameters nets have, nothing if that is not known.

    Examples
    --------
    >>> known = {"fcn": {"test/parameters_R": [400.0]}, "cnn": {"test/parameters_R": [390.0]}}
    >>> sizes(known, ["fcn", "cnn"], ["R"])
    'The nets have 390 to 400 parameters. '
    """
    keys = [f"test/parameters_{distortion}" for distortion in distortions]
    counts = {n for case in cases for key in keys for n in metrics.get(case, {}).get(key, [])}
    ends = [stats.number(end) for end in (min(counts), max(counts))] if counts else []
    return f"The nets have {' to '.join(dict.fromkeys(ends))} parameters. " if counts else ""


def percent_axis(axes: Any, dimension: str = "x") -> None:
    """Keep an axis of percentages within 0 to 100: intervals of two seeds go far beyond."""
    low, high = getattr(axes, f"get_{dimension}lim")()
    getattr(axes, f"set_{dimension}lim")(max(low, 0), min(high, 100))
