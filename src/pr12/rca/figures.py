"""Draw the figures of the report from the cases' metrics and the steps' pictures.

Whatever is there is drawn; a figure without anything to show is left out. Every number in a caption
is computed.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pr12.rca import (
    figures_of_decisions,
    figures_of_estimates,
    figures_of_predictions,
    figures_of_segmentations,
    figures_of_tables,
)
from pr12.rca.figure_values import Metrics, Pictures
from pr12.shared import files, plots, step
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot
from pr12.shared.report import path_names


@dataclass(frozen=True)
class Params:
    """Params of the figures."""

    run: str  # as every paper's figures get it
    published: dict  # case -> metric key -> number; the claims' table shows them, no figure does
    context: dict  # other data set -> [correlation, mean absolute error] of Dice


def check_params(params: Params) -> None:
    """Raise `UserError` for the first published number or data set's pair that is none."""
    for case, numbers in params.published.items():
        good = isinstance(numbers, Mapping)
        if not good or any(type(value) not in (int, float) for value in numbers.values()):
            raise UserError(
                f"--params.published.{case} is {numbers!r}; it must be a mapping of metric keys "
                "to numbers, such as {'pooled/correlation_dice': 0.95}"
            )
    for name, pair in params.context.items():
        good = isinstance(pair, list | tuple) and len(pair) == 2
        good = good and all(type(v) in (int, float) and math.isfinite(v) for v in pair)
        if not good or not (-1 <= pair[0] <= 1 and 0 <= pair[1] <= 1):
            raise UserError(
                f"--params.context.{name} is {pair!r}; it must be a correlation and a mean "
                "absolute error, such as [0.95, 0.07]"
            )


def drawn(params: Params, metrics: Metrics, pictures: Pictures) -> list[Plot]:
    """Draw all figures that have something to show, in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.
    metrics : mapping
        Case -> metric key -> one value per seed.
    pictures : mapping
        Such as ``atlas_picture``, those that there are -> what the step wrote.

    Raises
    ------
    UserError
        If a picture or a value in a mapping of the params is not what it should be.

    Examples
    --------
    >>> drawn(Params("full", {}, {}), {}, {})
    []
    """
    check_params(params)
    found = [
        figures_of_segmentations.examples(pictures),
        figures_of_segmentations.quality(metrics, pictures),
        figures_of_predictions.scatter(metrics, pictures),
        figures_of_predictions.measures(metrics, pictures),
        figures_of_estimates.structures(metrics),
        figures_of_estimates.estimators(metrics),
        figures_of_estimates.references(metrics),
        figures_of_decisions.failures(metrics, pictures),
        figures_of_decisions.calibration(metrics, pictures),
        figures_of_estimates.context(metrics, params.context),
        figures_of_tables.tabular(metrics, pictures),
        figures_of_tables.tabular_errors(metrics),
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
            plots.write(job.paths["out"], drawn(job.params, metrics, pictures))


if __name__ == "__main__":
    main(sys.argv[1:])
