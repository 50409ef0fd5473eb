"""The figures of the report: which cases each draws, and how.

Every number in a caption is computed.
"""

import math

from pr12.rca.figures import decisions, estimates, predictions, segmentations, tables
from pr12.rca.figures.values import REVERSE
from pr12.rca.params import Figures as Params
from pr12.report import figures as report_figures
from pr12.report.figures import Figure, one_of
from pr12.workflow.errors import UserError


def check_params(params: Params) -> None:
    """Raise `UserError` for the first data set's pair that is none."""
    for name, pair in params.context.items():
        good = isinstance(pair, list | tuple) and len(pair) == 2
        good = good and all(type(v) in (int, float) and math.isfinite(v) for v in pair)
        if not good or not (-1 <= pair[0] <= 1 and 0 <= pair[1] <= 1):
            raise UserError(
                f"--params.context.{name} is {pair!r}; it must be a correlation and a mean "
                "absolute error, such as [0.95, 0.07]"
            )


def figures(params: Params) -> list[Figure]:
    """Return all figures in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.

    Raises
    ------
    UserError
        If a value in a mapping of the params is not what it should be.

    Examples
    --------
    >>> [figure.file for figure in figures(Params("full", {}, {}))][:2]
    ['examples', 'quality']
    """
    check_params(params)
    reverse, data = one_of(*REVERSE), one_of(*tables.DATA)
    return [
        Figure(
            "examples",
            lambda _, pictures: segmentations.examples(pictures),
            pictures=one_of("segmenters", "atlas"),
        ),
        Figure("quality", segmentations.quality, one_of("segmenters"), one_of("segmenters")),
        Figure("scatter", predictions.scatter, reverse, reverse),
        Figure("by_segmenter", predictions.by_segmenter, one_of("atlas"), one_of("atlas")),
        Figure("measures", predictions.measures, one_of("atlas"), one_of("atlas")),
        Figure("structures", lambda metrics, _: estimates.structures(metrics), reverse),
        Figure(
            "estimators",
            lambda metrics, _: estimates.estimators(metrics),
            one_of(*estimates.ESTIMATORS),
        ),
        Figure(
            "references",
            lambda metrics, _: estimates.references(metrics),
            one_of("atlas", "atlas_mean"),
        ),
        Figure("failures", decisions.failures, reverse, reverse),
        Figure("calibration", decisions.calibration, one_of("calibrated"), one_of("calibrated")),
        Figure("context", lambda metrics, _: estimates.context(metrics, params.context), reverse),
        Figure("tabular", tables.tabular, data, data),
        Figure("tabular_errors", lambda metrics, _: tables.tabular_errors(metrics), data),
    ]


if __name__ == "__main__":
    report_figures.start(Params, figures)
