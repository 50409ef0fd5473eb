"""Data sets that come with scikit-learn, dealt into three parts, and parts under graded shifts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split

from pr12.rca.data import shifts
from pr12.workflow.errors import UserError

Array = NDArray[np.float64]
GREYS = 16  # values of a pixel of scikit-learn's digits go from 0 to 16
LOADERS = {
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}
LEAST = 15  # examples of a part: half of them must be enough for five neighbours


class Part(NamedTuple):
    """Examples with labels."""

    x: Array  # (N, D)
    y: NDArray[np.int64]  # (N,)


class Split(NamedTuple):
    """Three disjoint parts; `size` is the height and width of images, None of other data."""

    labelled: Part
    mapping: Part
    new: Part
    size: tuple[int, int] | None


class Strongest(NamedTuple):
    """What each kind of shift does at strength 1."""

    noise: float  # in standard deviations of the labelled data, all features together
    rotation: float  # degrees: of images, or in random planes of standardised features
    missing: float  # share of the features; the labelled data's means stand in their place


class Settings(NamedTuple):
    """One part under every shift."""

    kinds: list[str]  # (S,)
    strengths: list[float]  # (S,)
    x: list[Array]  # S times (N, D)
    y: NDArray[np.int64]  # (N,)


def split(data: str, examples: int, share: float, seed: int) -> Split:
    """Deal out a data set of scikit-learn, with the same shares of classes in each part.

    Digits are pixels from 0 to 1. Other features are standardised by the labelled part.

    Parameters
    ----------
    data : str
        Name of the data set.
    examples : int
        How many are used at most, drawn by the seed.
    share : float
        Share of the labelled part; the rest is halved.
    seed : int
        Seed of the deal.

    Raises
    ------
    UserError
        If a part is too small, or a class has a single labelled example.

    Examples
    --------
    >>> [part.x.shape for part in split("wine", 1000, 0.4, seed=0)[:3]]
    [(71, 13), (53, 13), (54, 13)]
    """
    x, y = LOADERS[data](return_X_y=True)
    count = min(examples, len(y))
    labelled = int(count * share)
    if min(labelled, (count - labelled) // 2) < max(LEAST, len(np.unique(y))):
        raise UserError(
            f"{count} examples of {data} with labelled {share:g} leave a part too small "
            f"(at least {LEAST}, and one of each class); raise examples or change labelled"
        )
    if count < len(y):
        x, _, y, _ = train_test_split(
            x, y, train_size=count, shuffle=True, stratify=y, random_state=seed
        )
    x, rest_x, y, rest_y = train_test_split(
        x, y, train_size=labelled, shuffle=True, stratify=y, random_state=seed
    )
    if np.unique(y, return_counts=True)[1].min() < 2:
        raise UserError(
            f"a class of {data} has a single example among {labelled} labelled ones; raise "
            "examples or labelled"
        )
    mapping_x, new_x, mapping_y, new_y = train_test_split(
        rest_x, rest_y, train_size=0.5, shuffle=True, stratify=rest_y, random_state=seed
    )
    digits = data == "digits"
    mean, scale = (0.0, GREYS) if digits else (x.mean(axis=0), x.std(axis=0))
    parts = (
        Part((a - mean) / scale, b) for a, b in ((x, y), (mapping_x, mapping_y), (new_x, new_y))
    )
    return Split(*parts, (8, 8) if digits else None)


def settings(
    part: Part, split: Split, strongest: Strongest, count: int, seed: int | Sequence[int]
) -> Settings:
    """Shift one part in every way.

    Parameters
    ----------
    part : Part
        One of the split.
    split : Split
        Its labelled part says how large noise is and what stands for missing features.
    strongest : Strongest
        What strength 1 means.
    count : int
        Strengths per kind.
    seed : int or sequence of int
        Seed of all draws.

    Examples
    --------
    >>> wine = split("wine", 1000, 0.4, seed=0)
    >>> shifted = settings(wine.new, wine, Strongest(4.0, 60.0, 1.0), count=2, seed=0)
    >>> list(zip(shifted.kinds, shifted.strengths))[:3]
    [('noise', 0.5), ('noise', 1.0), ('rotation', 0.5)]
    """
    fill, scale = split.labelled.x.mean(axis=0), split.labelled.x.std()
    series = Settings([], [], [], part.y)
    for kind in shifts.KINDS:
        for strength in shifts.grades(count):
            if kind == "noise":
                x = shifts.noise(part.x, strength * strongest.noise * scale, seed)
            elif kind == "missing":
                x = shifts.missing(part.x, strength * strongest.missing, fill, seed)
            elif split.size is None:
                x = shifts.feature_rotation(part.x, strength * strongest.rotation, seed)
            else:
                x = shifts.image_rotation(part.x, strength * strongest.rotation, split.size)
            series.kinds.append(kind)
            series.strengths.append(strength)
            series.x.append(x)
    return series
