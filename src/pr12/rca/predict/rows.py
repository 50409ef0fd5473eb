"""The table of `pr12.rca.predict`: one row per case and structure, worst case first."""

import csv
import math
from collections.abc import Container, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict.calibration import Calibration
from pr12.rca.predict.cases import Case, Unused
from pr12.workflow import files


class Row(NamedTuple):
    """A line of predictions.csv; what is None there is left empty."""

    case: str
    structure: int | None = None
    predicted_dice: float | None = None
    raw_score: float | None = None
    low: float | None = None
    high: float | None = None
    flagged: bool | None = None
    references_used: int | None = None
    notes: tuple[str, ...] = ()


def rows_of(
    case: Case,
    scores: np.ndarray,
    structures: Sequence[int],
    known: Container[int],
    calibrations: Sequence[Calibration | None],
    estimator: str,
    threshold: float,
) -> list[Row]:
    """Give the rows of one case: the references' structures, and those that it has besides.

    Parameters
    ----------
    case : Case
        Its labels 1 to S.
    scores : ndarray
        Of the references, shape (R, S); NaN where one did not judge.
    structures : sequence of int
        The S numbers in the files.
    known : container of int
        Which of 1 to S a reference has.
    calibrations : sequence of Calibration or None
        By structure.
    estimator : str
        As `pr12.rca.model.estimates.estimate` knows it.
    threshold : float
        What is predicted to be lower is flagged.
    """
    present = set(np.unique(case.labels).tolist())
    raw = predict_scores.estimated(scores[None], estimator)[0].tolist()
    used = (~np.isnan(scores)).sum(axis=0).tolist()
    rows = []
    for index, structure in enumerate(structures):
        if index + 1 in present or index + 1 in known:
            notes = () if index + 1 in present else ("the segmentation has no voxel of it",)
            if index + 1 not in known:
                notes += ("no reference has it, so it cannot be predicted",)
            elif math.isnan(raw[index]):
                notes += ("no reference could judge it",)
            row = Row(case.name, structure, references_used=used[index])
            row = row._replace(notes=(*notes, *case.notes))
            if not math.isnan(raw[index]):
                row = _predicted(row, raw[index], calibrations[index], threshold)
            rows.append(row)
    return rows


def _predicted(row: Row, raw: float, own: Calibration | None, threshold: float) -> Row:
    if own is None:
        notes = ("not calibrated: this is the raw score", *row.notes)
        return row._replace(predicted_dice=raw, raw_score=raw, flagged=raw < threshold, notes=notes)
    predicted = float(own.steps(np.array([raw]))[0])
    notes = row.notes
    if 0 < raw < own.lowest:
        notes = ("its score is below all of the calibration: the interval may not hold", *notes)
    return row._replace(
        predicted_dice=predicted,
        raw_score=raw,
        low=max(predicted - own.half, 0.0),
        high=min(predicted + own.half, 1.0),
        flagged=predicted < threshold,
        notes=notes,
    )


def worst_first(by_case: Sequence[list[Row]]) -> list[list[Row]]:
    """Sort cases by their worst structure, then by the next; cases without prediction come last.

    Parameters
    ----------
    by_case : sequence of list of Row
        Rows of each case.

    Examples
    --------
    >>> found = worst_first([[Row("a", 1, 0.9)], [Row("c")], [Row("b", 1, 0.8), Row("b", 2, 0.1)]])
    >>> [own[0].case for own in found]
    ['b', 'a', 'c']
    """

    def place(rows: list[Row]) -> tuple[bool, list[float], str]:
        predicted = sorted(row.predicted_dice for row in rows if row.predicted_dice is not None)
        return not predicted, predicted, rows[0].case

    return sorted(by_case, key=place)


def write(path: Path, by_case: Sequence[list[Row]], unused: Sequence[Unused]) -> None:
    """Write predictions.csv: cases as they are given, then what could not be used.

    Parameters
    ----------
    path : Path
        The file.
    by_case : sequence of list of Row
        Rows of each case.
    unused : sequence of Unused
        They have a note and no number.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> row = Row("a", 1, 2 / 3, 0.5, 0.4, 0.9, True, 7, ("odd, but",))
    >>> write(path, [[row]], [Unused("b", "no")])
    >>> print(path.read_text())
    case,structure,predicted_dice,raw_score,low,high,flagged,references_used,note
    a,1,0.6667,0.5000,0.4000,0.9000,true,7,"odd, but"
    b,,,,,,,,no
    <BLANKLINE>
    """
    lines = [row for own in by_case for row in own]
    lines += [Row(own.case, notes=(own.note,)) for own in unused]
    with (
        files.atomic(path) as temporary,
        # Names of files need not be Unicode
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*Row._fields[:-1], "note"])
        writer.writerows([_cell(value) for value in row] for row in lines)


def _cell(value: str | float | bool | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return "; ".join(value)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4f}" if isinstance(value, float) else str(value)
