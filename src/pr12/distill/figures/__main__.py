"""The figures of the report: which cases each draws, and how.

Every number in a caption is computed.
"""

from pr12.distill.figures import students, targets
from pr12.distill.params import Figures as Params
from pr12.report import figures as report_figures
from pr12.report.figures import Figure, one_of
from pr12.workflow.errors import UserError

WIDTHS = one_of(*map(str, students.WIDTHS))
TEMPERATURE = r"T\d+(_\d+)?"  # _ is the decimal point
COUNTED = "hard_800"  # its errors and their percentage say how many test examples there are


def check_params(params: Params) -> None:
    """Raise `UserError` for the first student's case that is none."""
    for system, case in params.student_cases.items():
        if not isinstance(case, str):
            raise UserError(f"--params.student_cases.{system} is {case!r}; it must name a case")


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
    ['systems', 'temperature']
    """
    check_params(params)
    published = params.published if params.run == "full" else {}
    return [*of_students(published), *of_targets(params.student_cases)]


def of_students(published: dict) -> list[Figure]:
    """Return the figures of students and of the ensembles that teach them."""
    systems = one_of(*(case for _, case, *_ in students.SYSTEMS))
    return [
        Figure(
            "systems",
            lambda metrics, _: students.systems(metrics, published),
            rf"{systems}|soft_{students.WIDTHS[0]}_{TEMPERATURE}",
        ),
        Figure(
            "temperature",
            lambda metrics, _: students.temperature(metrics, published),
            rf"hard_({WIDTHS})|soft_({WIDTHS})_{TEMPERATURE}",
        ),
        Figure(
            "ensemble_size",
            lambda metrics, _: students.ensemble_size(metrics),
            one_of("teacher", COUNTED),
        ),
        Figure(
            "missing_classes",
            lambda metrics, _: students.missing_classes(metrics, published),
            one_of("omit_3", "only_78", "soft_800_T20"),
        ),
        Figure(
            "low_data",
            lambda metrics, _: students.low_data(metrics),
            one_of("hard_800", "low_data_hard", "low_data_soft"),
        ),
    ]


def of_targets(student_cases: dict[str, str]) -> list[Figure]:
    """Return the figures of what is learned from: logits, soft labels, unlabelled examples."""
    noisy = rf"noisy_\d+_\d+|{one_of('logits_800')}"
    sized = one_of("cost", "teacher", *student_cases.values())
    return [
        Figure(
            "gradient_limit",
            lambda metrics, _: targets.gradient_limit(metrics),
            one_of("gradient_limit"),
        ),
        Figure("noise", lambda metrics, _: targets.noise(metrics), noisy),
        Figure(
            "compression",
            lambda metrics, _: targets.compression(metrics),
            one_of(*(f"compress_{name}" for name in targets.GENERATORS)),
        ),
        Figure(
            "soft_labels",
            lambda _, pictures: targets.soft_labels(pictures["soft_labels_picture"]),
            pictures=one_of("soft_labels"),
        ),
        Figure(
            "size_accuracy",
            lambda metrics, _: targets.size_accuracy(metrics, student_cases),
            sized,
        ),
    ]


if __name__ == "__main__":
    report_figures.start(Params, figures)
