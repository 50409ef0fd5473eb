"""Draw the figures of the report from the cases' metrics.

Whatever cases are there are drawn; a figure without any is left out. Every number in a caption is
computed.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pr12.distill import figures_of_students, figures_of_targets
from pr12.distill.figure_values import Metrics
from pr12.shared import files, plots, step
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot
from pr12.shared.report import path_names


@dataclass(frozen=True)
class Params:
    """Params of the figures."""

    run: str  # published numbers are of MNIST and drawn in the full run only
    published: dict  # case -> metric key -> number
    student_cases: dict  # system in the case cost -> case whose errors are its errors


def check_params(params: Params) -> None:
    """Raise `UserError` for the first published number or student's case that is none."""
    for case, numbers in params.published.items():
        good = isinstance(numbers, Mapping)
        if not good or any(type(value) not in (int, float) for value in numbers.values()):
            raise UserError(
                f"--params.published.{case} is {numbers!r}; it must be a mapping of metric keys "
                "to numbers, such as {'test/errors': 74}"
            )
    for system, case in params.student_cases.items():
        if not isinstance(case, str):
            raise UserError(f"--params.student_cases.{system} is {case!r}; it must name a case")


def drawn(params: Params, metrics: Metrics, picture: Any | None) -> list[Plot]:
    """Draw all figures that have something to show, in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.
    metrics : mapping
        Case -> metric key -> one value per seed.
    picture : Any, optional
        What the step ``temperature`` wrote as picture.

    Raises
    ------
    UserError
        If the picture or a value in a mapping of the params is not what it should be.

    Examples
    --------
    >>> drawn(Params("full", {}, {}), {}, None)
    []
    """
    check_params(params)
    published = params.published if params.run == "full" else {}
    found = [
        figures_of_students.systems(metrics, published),
        figures_of_students.temperature(metrics, published),
        figures_of_students.ensemble_size(metrics),
        figures_of_students.missing_classes(metrics),
        figures_of_students.low_data(metrics),
        figures_of_targets.gradient_limit(metrics),
        figures_of_targets.noise(metrics),
        figures_of_targets.compression(metrics),
        None if picture is None else figures_of_targets.soft_labels(picture),
        figures_of_targets.size_accuracy(metrics, params.student_cases),
    ]
    return [plot for plot in found if plot]


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = path_names(arguments, besides=("out", "picture"))
    optional = [*names, "picture"]
    with step.start(Params, optional=optional, writes=["out"], arguments=arguments) as job:
        metrics = {case: plots.read_metrics(job.paths[case]) for case in names}
        picture = files.read_json(job.paths["picture"]) if "picture" in job.paths else None
        with plots.style():
            plots.write(job.paths["out"], drawn(job.params, metrics, picture))


if __name__ == "__main__":
    main(sys.argv[1:])
