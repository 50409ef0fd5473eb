"""The table of `pr12.rca.predict`: one row per case and structure, worst case first."""

import csv
import json
import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pr12.rca.predict import calibration as predict_calibration
from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict.calibration import Calibration
from pr12.rca.predict.cases import Case, Unused
from pr12.rca.predict.scores import Scored
from pr12.workflow import files

LEAST_SIMILAR = 0.3  # correlation of two images' intensities that a registration leaves at least


class Row(NamedTuple):
    """A line of predictions.csv; what is None there is left empty."""

    case: str
    structure: int | str | None = None  # its name, or its number where it has none
    predicted_dice: float | None = None
    raw_score: float | None = None
    low: float | None = None  # of the interval
    high: float | None = None
    at_least: float | None = None  # with the nominal probability
    rough_low: float | None = None  # where damaged references stand in for a calibration
    rough_high: float | None = None
    flagged: bool | None = None
    references_used: int | None = None
    disagreement: float | None = None  # of the references, over voxels that one labels so
    hd95_mm: float | None = None  # to the references' majority
    surface_mm: float | None = None
    notes: tuple[str, ...] = ()


class Reading(NamedTuple):
    """How the scores of all cases are read; structures count from 1 to S."""

    structures: tuple[int | str, ...]  # S names, or numbers in the files where there is none
    known: Set[int]  # those that a reference has
    asked: Set[int]  # those that were asked for by their numbers
    unsure: Set[int]  # those that may be there under another number
    calibrations: Sequence[Calibration | None]
    reasons: Mapping[int, str]  # index of a structure -> why it is not calibrated
    estimator: str
    threshold: float  # what is predicted to be lower is flagged
    coverage: float
    honest: bool  # calibrated by cases whose truth is known, not by damaged references


def rows_of(case: Case, scored: Scored, reading: Reading) -> list[Row]:
    """Return the rows of one case: the references' structures, and those that it has besides.

    Parameters
    ----------
    case : Case
        Its labels 1 to S.
    scored : Scored
        Of its one segmentation.
    reading : Reading
        Of all cases.
    """
    present = set(np.unique(case.labels).tolist())
    scores = scored.scores[0]
    raw = predict_scores.estimated(scored, reading.estimator)[0].tolist()
    used = (~np.isnan(scores)).sum(axis=0).tolist()
    of_case = (*_similarity(scored.similarity), *case.notes)
    rows = []
    for index, structure in enumerate(reading.structures):
        number = index + 1
        if not any(number in some for some in (present, reading.known, reading.asked)):
            continue
        notes = () if number in present else ("the segmentation has no voxel of it",)
        predictable = number in reading.known and not math.isnan(raw[index])
        if number not in reading.known:
            notes += ("no reference has it, so it cannot be predicted",)
        elif math.isnan(raw[index]):
            notes += ("no reference could judge it",)
        elif number in reading.unsure:
            predictable = False
            notes += (
                "it may be there under a number that no reference has, so it is not predicted",
            )
        row = Row(
            case.name,
            structure,
            references_used=used[index],
            notes=(*notes, *of_case),
            **_measured(scored, index),
        )
        rows.append(_predicted(row, raw[index], index, reading) if predictable else row)
    return rows


def _similarity(similarity: np.ndarray) -> tuple[str, ...]:
    best = np.max(similarity, initial=-1, where=~np.isnan(similarity))
    if best >= LEAST_SIMILAR or np.isnan(similarity).all():
        return ()
    return (
        f"no registration to a reference fits (correlation of intensities {best:.2f} at best): is "
        "the contrast another one, or the part of the body?",
    )


def _measured(scored: Scored, index: int) -> dict[str, float | None]:
    """Return how far the references' majority lies from a structure, where it is known."""
    values = scored.distances[index].tolist()
    names = ("disagreement", "hd95_mm", "surface_mm")
    return {
        name: None if math.isnan(value) else value
        for name, value in zip(names, values, strict=True)
    }


def _predicted(row: Row, raw: float, index: int, reading: Reading) -> Row:
    calibration = reading.calibrations[index]
    if calibration is None:
        reason = f" ({reading.reasons[index]})" if index in reading.reasons else ""
        return row._replace(
            predicted_dice=raw,
            raw_score=raw,
            flagged=raw < reading.threshold,
            notes=(f"not calibrated{reason}: this is the raw score", *row.notes),
        )
    score = np.array([raw])
    predicted = float(calibration.steps(score)[0])
    low, high, at_least = (
        float(end[0]) for end in predict_calibration.interval(calibration, score, reading.coverage)
    )
    row = row._replace(
        predicted_dice=predicted,
        raw_score=raw,
        # A failure that is calibrated too high must not pass
        flagged=predicted < reading.threshold
        or (reading.honest and calibration.cutoff is not None and raw <= calibration.cutoff),
    )
    if not reading.honest:
        return row._replace(rough_low=low, rough_high=high)
    row = row._replace(low=low, high=high, at_least=at_least)
    if 0 < raw < calibration.raw.min():
        note = "its score is below all of the calibration: the interval may not hold"
        row = row._replace(notes=(note, *row.notes))
    return row


def worst_first(by_case: Sequence[list[Row]]) -> list[list[Row]]:
    """Sort cases by their worst structure, then by the next; cases without prediction come last.

    Parameters
    ----------
    by_case : sequence of list of Row
        Rows of each case.

    Examples
    --------
    >>> rows = [[Row("a", 1, 0.9)], [Row("c")], [Row("b", 1, 0.8), Row("b", 2, 0.1)]]
    >>> [case[0].case for case in worst_first(rows)]
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
    >>> row = Row("a", 1, 2 / 3, 0.5, 0.4, 0.9, 0.5, flagged=True, notes=("odd, but",))
    >>> write(path, [[row]], [Unused("b", "no")])
    >>> for line in path.read_text().splitlines():
    ...     line.split(",")[:7], line.split(",")[9]
    (['case', 'structure', 'predicted_dice', 'raw_score', 'low', 'high', 'at_least'], 'flagged')
    (['a', '1', '0.6667', '0.5000', '0.4000', '0.9000', '0.5000'], 'true')
    (['b', '', '', '', '', '', ''], '')
    """
    lines = [row for rows in by_case for row in rows]
    lines += [Row(lost.case, notes=(lost.note,)) for lost in unused]
    with (
        files.atomic(path) as temporary,
        # Names of files need not be Unicode
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*Row._fields[:-1], "note"])
        writer.writerows([_cell(value) for value in row] for row in lines)


def write_json(
    path: Path, by_case: Sequence[list[Row]], unused: Sequence[Unused], about: Mapping[str, Any]
) -> None:
    """Write predictions.json: the same for a program, with what is said of all cases.

    Parameters
    ----------
    path : Path
        The file.
    by_case, unused
        As in `write`.
    about : mapping
        Of the run.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.json"
    >>> write_json(path, [[Row("a", "liver", 0.75, notes=("odd",))]], [], {"threshold": 0.7})
    >>> content = json.loads(path.read_text())
    >>> content["threshold"], content["cases"][0]["structures"][0]["predicted_dice"]
    (0.7, 0.75)
    """
    cases = [
        {
            "case": rows[0].case,
            "flagged": any(row.flagged for row in rows),
            "structures": [
                {name: value for name, value in row._asdict().items() if name != "case"}
                for row in rows
            ],
        }
        for rows in by_case
    ]
    lost = [{"case": each.case, "kind": each.kind, "note": each.note} for each in unused]
    content = {**about, "cases": cases, "unused": lost}
    text = json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False)
    with files.atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="ascii")


def cases_of(path: Path) -> set[str]:
    """Return the cases that an earlier run wrote, none if there was none.

    Parameters
    ----------
    path : Path
        Of its predictions.json.

    Examples
    --------
    >>> cases_of(Path("/nowhere"))
    set()
    """
    try:
        return {each["case"] for each in json.loads(path.read_text("ascii"))["cases"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _cell(value: str | float | bool | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return "; ".join(value)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4f}" if isinstance(value, float) else str(value)
