"""The figures of the report: which cases each draws, and how.

Every number in a caption is computed. The figure ``training`` has an animation beside its pictures.
"""

from collections.abc import Mapping
from typing import Any

from pr12.report import figures as report_figures
from pr12.report.figures import Figure, one_of
from pr12.report.plots import Plot
from pr12.stn.figures import (
    animation,
    bars,
    boxes,
    colocalisation,
    errors,
    grids,
    invariance,
    parts,
    sequences,
    values,
)
from pr12.stn.figures import training as figures_of_training
from pr12.stn.figures.values import ROWS, Metrics, Pictures
from pr12.stn.params import Figures as Params

SAME_ROW = {"cnn_clutter": "cnn", "st_cnn_clutter": "st_cnn_affine"}  # with another step size
SEQUENCES, PARTS = "(sequences|svhn)_.+", "(parts|cub)_.+"
TRANSFORMED = "(?!.*_cnn(_|$))"  # a plain CNN has no windows to show


def joined(cases: Mapping[str, Any], ending: str) -> dict[str, Any]:
    """Put what was trained by a case of its own into the row of Table 1 that it belongs to.

    Parameters
    ----------
    cases : mapping
        Case with `ending` -> mapping by metric or distortion.
    ending : str
        Of the names.

    Examples
    --------
    >>> joined({"cnn": {"R": 1}, "cnn_clutter": {"TC": 2}}, "")
    {'cnn': {'R': 1, 'TC': 2}}
    """
    whole = dict(cases)
    for case, row in SAME_ROW.items():
        other = whole.pop(case + ending, None)
        if isinstance(other, Mapping):
            whole[row + ending] = {**whole.get(row + ending, {}), **other}
    return whole


def rows_of(cases: list[str]) -> str:
    """Return the pattern of rows of Table 1 and of the cases that are joined to them."""
    return one_of(*cases, *(case for case, row in SAME_ROW.items() if row in cases))


def figures(params: Params) -> list[Figure]:
    """Return all figures in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.

    Examples
    --------
    >>> [figure.file for figure in figures(Params("full", {}))][:2]
    ['errors', 'order']
    """
    return [*of_digits(joined(params.published, ""), params.run), *of_windows(params.published)]


def of_digits(paper: values.Numbers, run: str) -> list[Figure]:
    """Return the figures of distorted digits; the paper's numbers are joined."""
    added = bars.ADDED
    pairs = [f"{case}_2" for case in added if case.startswith("st_")]
    tracked = [case for case, _ in figures_of_training.TRACKS]
    return [
        Figure(
            "errors",
            lambda metrics, _: errors.table(joined(metrics, ""), paper, run),
            rows_of(ROWS),
        ),
        Figure(
            "order",  # of columns that the joined cases have not
            lambda metrics, _: errors.order(metrics, paper, run),
            one_of(*ROWS),
        ),
        Figure(
            "transformed",
            lambda _, pictures: grids.transformed(joined(pictures, "_picture")),
            pictures=rows_of([*grids.NETS]),
        ),
        Figure("training", training, pictures=rows_of(tracked), animation=training_animation),
        Figure(
            "invariance_u",
            lambda metrics, _: invariance.invariance(metrics, "U"),
            one_of(*invariance.NETS["U"]),
        ),
        Figure(
            "invariance_rts",
            lambda metrics, _: invariance.invariance(metrics, "RTS"),
            one_of(*invariance.NETS["RTS"]),
        ),
        Figure(
            "addition",
            lambda metrics, _: bars.addition(joined(metrics, ""), paper, run),
            rows_of([*added, *pairs]),
        ),
        Figure(
            "addition_windows",
            lambda _, pictures: boxes.pairs(pictures),
            pictures=one_of(*boxes.PAIRS),
        ),
    ]


def of_windows(paper: values.Numbers) -> list[Figure]:
    """Return the figures of sequences, parts, co-localisation and deformable convolution."""
    return [
        Figure(
            "sequence_errors",
            lambda metrics, _: sequences.errors(metrics, paper),
            SEQUENCES,
        ),
        Figure(
            "house_numbers",
            lambda _, pictures: sequences.house_numbers(pictures),
            pictures=TRANSFORMED + SEQUENCES,
        ),
        Figure(
            "part_windows",
            lambda _, pictures: parts.windows(pictures),
            pictures=TRANSFORMED + PARTS,
        ),
        Figure(
            "colocalisation",
            lambda _, pictures: colocalisation.colocalised(pictures),
            pictures=one_of(*colocalisation.CASES),
        ),
        Figure(
            "deformable",
            lambda metrics, _: bars.deformable(metrics),
            one_of(*bars.DEFORMED, "cost"),
        ),
    ]


def tracks(pictures: Pictures) -> list[figures_of_training.Track]:
    """Return the trainings that were followed."""
    return figures_of_training.tracks(joined(pictures, "_picture"))


def training(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw grids at a few moments of the training."""
    return figures_of_training.training(tracks(pictures))


def training_animation(metrics: Metrics, pictures: Pictures) -> bytes | None:
    """Return grids at all moments of the training, as a GIF."""
    followed = tracks(pictures)
    return animation.animated(followed) if followed else None


if __name__ == "__main__":
    report_figures.start(Params, figures)
