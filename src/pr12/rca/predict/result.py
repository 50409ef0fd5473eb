"""From scores to what `pr12.rca.predict` writes and prints."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pr12.rca.predict import calibration, page, plot, rows
from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict import summary as predict_summary
from pr12.rca.predict.cases import Case
from pr12.rca.predict.rows import Reading
from pr12.rca.predict.scores import Scored
from pr12.rca.predict.summary import Summary
from pr12.workflow import files
from pr12.workflow.errors import UserError

MOST_LINES = 20  # of what is missing, on the terminal


def reading(
    cases: Mapping[str, Sequence[Case]],
    scored: Sequence[Scored],
    structures: tuple[int | str, ...],
    settings: Any,
    source: str,
) -> Reading:
    """Calibrate, and find out which structures can be predicted.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Of each folder, their labels 0 to S.
    scored : sequence of Scored
        Those that calibrate.
    structures : tuple of int or str
        The S structures, by name, or by number where they have none.
    settings : Settings
        The command's.
    source : str
        ``calibration`` or ``reference``.

    Raises
    ------
    UserError
        If the calibration cases cannot be right in any structure.
    """
    calibrations, reasons = calibration.calibrate(
        [predict_scores.estimated(subject.scores, settings.estimator) for subject in scored],
        [subject.real for subject in scored],
        len(structures),
        settings.coverage,
    )
    known = predict_structures.numbers(cases["reference"])
    if source == "calibration" and {number - 1 for number in known} <= reasons.keys():
        index, reason = next(iter(reasons.items()))
        raise UserError(
            f"the cases of calibration=DIR cannot calibrate: of structure {structures[index]} "
            f"{reason}; mend them, or leave calibration=DIR out"
        )
    foreign = any(case.foreign for case in cases["case"])
    unsure = known - predict_structures.numbers(cases["case"]) if foreign else set()
    asked = set(range(1, len(structures) + 1)) if settings.structures else set()
    return Reading(
        structures,
        known,
        asked,
        unsure,
        calibrations,
        reasons,
        settings.estimator,
        settings.threshold,
    )


def summary(
    cases: Mapping[str, Sequence[Case]],
    scored: Sequence[Scored],
    reading: Reading,
    settings: Any,
    source: str,
) -> Summary:
    """Predict all cases, worst first.

    Parameters
    ----------
    cases, settings, source
        As in `reading`.
    scored : sequence of Scored
        The cases'.
    reading : Reading
        How scores are read.

    Raises
    ------
    UserError
        If nothing can be predicted.
    """
    by_case = [
        rows.rows_of(case, result, reading)
        for case, result in zip(cases["case"], scored, strict=True)
    ]
    if all(row.predicted_dice is None for listed in by_case for row in listed):
        raise UserError(
            f"nothing could be predicted; the first case: {'; '.join(by_case[0][0].notes)}"
        )
    return Summary(
        by_case=rows.worst_first(by_case),
        views={case.name: case.view for case in cases["case"]},
        structures=reading.structures,
        unused=[],
        threshold=settings.threshold,
        coverage=settings.coverage,
        warnings=predict_summary.warnings(by_case, cases, source, reading, settings.coverage),
        **predict_summary.texts(cases, source, reading),
    )


def write(out: Path, summary: Summary) -> None:
    """Write table, plot and page.

    Parameters
    ----------
    out : Path
        The folder.
    summary : Summary
        All that is known.
    """
    picture = plot.plot(summary)
    rows.write(out / "predictions.csv", summary.by_case, summary.unused)
    for name, content in (
        ("predictions.png", picture),
        ("index.html", page.page(summary, picture).encode()),
    ):
        with files.atomic(out / name) as temporary:
            temporary.write_bytes(content)


def tell(out: Path, summary: Summary, reading: Reading) -> int:
    """Print warnings, what is missing, and the headline.

    Parameters
    ----------
    out : Path
        The folder of the page.
    summary : Summary
        All that is known.
    reading : Reading
        How scores were read.

    Returns
    -------
    int
        The exit code: 1 if something that was asked for is missing.
    """
    for text in summary.warnings:
        print(f"warning: {text}", file=sys.stderr)
    expected = [
        structure
        for number, structure in enumerate(reading.structures, start=1)
        if number in reading.known or number in reading.asked
    ]
    lines = predict_summary.missing(summary, expected)
    for line in lines[:MOST_LINES]:
        print(line, file=sys.stderr)
    if len(lines) > MOST_LINES:
        print(f"{len(lines) - MOST_LINES} more: see predictions.csv", file=sys.stderr)
    print(f"{predict_summary.headline(summary)} See {out / 'index.html'}", file=sys.stderr)
    return 1 if lines else 0
