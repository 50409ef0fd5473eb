"""Draw the figures of the report from the cases' metrics and the steps' pictures.

Whatever is there is drawn; a figure without anything to show is left out. Every number in a caption
is computed. The figure ``training`` has an animation beside its pictures.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pr12.shared import files, plots, step
from pr12.shared.plots import Plot
from pr12.shared.report import path_names
from pr12.stn import (
    animation,
    figure_values,
    figures_of_bars,
    figures_of_boxes,
    figures_of_colocalisation,
    figures_of_errors,
    figures_of_grids,
    figures_of_invariance,
    figures_of_parts,
    figures_of_sequences,
    figures_of_training,
)
from pr12.stn.figure_values import Metrics, Pictures

SAME_ROW = {"cnn_clutter": "cnn", "st_cnn_clutter": "st_cnn_affine"}  # with another step size


@dataclass(frozen=True)
class Params:
    """Params of the figures."""

    run: str  # the full run alone is of the paper's data
    published: dict  # case -> metric key -> the paper's number


def check_params(params: Params) -> None:
    """Raise `UserError` for the first published number that is none."""
    like = "{'test/error_R_percent': 2.1}"
    figure_values.check_numbers(params.published, "--params.published", like)


def joined(found: Mapping[str, Any], ending: str) -> dict[str, Any]:
    """Put what was trained by a case of its own into the row of Table 1 that it belongs to.

    Parameters
    ----------
    found : mapping
        Case with `ending` -> mapping by metric or distortion.
    ending : str
        Of the names.

    Examples
    --------
    >>> joined({"cnn": {"R": 1}, "cnn_clutter": {"TC": 2}}, "")
    {'cnn': {'R': 1, 'TC': 2}}
    """
    whole = dict(found)
    for case, row in SAME_ROW.items():
        own = whole.pop(case + ending, None)
        if isinstance(own, Mapping):
            whole[row + ending] = {**whole.get(row + ending, {}), **own}
    return whole


def drawn(params: Params, metrics: Metrics, pictures: Pictures) -> list[Plot]:
    """Draw all figures that have something to show, in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.
    metrics : mapping
        Case -> metric key -> one value per seed.
    pictures : mapping
        Such as ``fcn_picture``, those that there are -> what the step wrote.

    Raises
    ------
    UserError
        If a picture or a value in a mapping of the params is not what it should be.

    Examples
    --------
    >>> drawn(Params("full", {}), {}, {})
    []
    """
    check_params(params)
    metrics, pictures = joined(metrics, ""), joined(pictures, "_picture")
    paper = joined(params.published, "")
    found = [
        figures_of_errors.table(metrics, paper, params.run),
        figures_of_errors.order(metrics, paper, params.run),
        figures_of_grids.transformed(pictures),
        figures_of_training.training(figures_of_training.tracks(pictures)),
        figures_of_invariance.invariance(metrics, "U"),
        figures_of_invariance.invariance(metrics, "RTS"),
        figures_of_bars.addition(metrics, paper, params.run),
        figures_of_boxes.pairs(pictures),
        figures_of_sequences.errors(metrics, paper),
        figures_of_sequences.house_numbers(pictures),
        figures_of_parts.windows(pictures),
        figures_of_colocalisation.colocalised(pictures),
        figures_of_bars.deformable(metrics),
    ]
    return [plot for plot in found if plot]


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = path_names(arguments, besides=("out",))
    shown = [name for name in names if name.endswith("_picture")]
    with step.start(Params, optional=names, writes=["out"], arguments=arguments) as job:
        metrics = {case: plots.read_metrics(job.paths[case]) for case in names if case not in shown}
        pictures = {name: files.read_json(job.paths[name]) for name in shown}
        with plots.style():
            found = drawn(job.params, metrics, pictures)
            tracks = figures_of_training.tracks(pictures)
            if tracks:
                with files.atomic(job.paths["out"] / "training.gif") as temporary:
                    temporary.write_bytes(animation.animated(tracks))
            plots.write(job.paths["out"], found)  # last: its list says that all is there


if __name__ == "__main__":
    main(sys.argv[1:])
