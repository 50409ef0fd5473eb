"""What `pr12.rca.predict` predicts, as its plot, its page and the terminal say it."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from pr12.rca.predict import calibration as predict_calibration
from pr12.rca.predict import folders, numbering
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict.cases import QUIET, Case, Unused, View
from pr12.rca.predict.rows import Reading, Row

NAMES = {"case": "case", "reference": "reference", "calibration": "calibration case"}
MOST_NOTES = 5  # of one kind of files

# Of Okabe and Ito, those that are seen on black images and on white paper
COLOURS = ("#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#0072B2")


class Summary(NamedTuple):
    """All that the page says."""

    by_case: Sequence[list[Row]]  # worst first
    views: Mapping[str, View]  # by case
    structures: tuple[int | str, ...]
    unused: Sequence[Unused]
    threshold: float
    coverage: float
    warnings: Sequence[str]
    calibration: str
    method: str


def colour(index: int) -> str:
    """Return the colour of a structure.

    Parameters
    ----------
    index : int
        From 0; colours repeat after six structures.

    Examples
    --------
    >>> colour(7) == colour(1)
    True
    """
    return COLOURS[index % len(COLOURS)]


def headline(summary: Summary) -> str:
    """Say how many predictions are flagged, and what could not be used.

    Parameters
    ----------
    summary : Summary
        All that is known.
    """
    rows = [row for case in summary.by_case for row in case if row.predicted_dice is not None]
    cases = sum(any(row.flagged for row in case) for case in summary.by_case)
    lost = Counter(unused.kind for unused in summary.unused if unused.kind)
    text = (
        f"{sum(row.flagged for row in rows)} of {len(rows)} predictions are below "
        f"{summary.threshold:g}, in {cases} of {len(summary.by_case)} cases."
    )
    counts = [
        f"{count} {NAMES[kind] if count == 1 else folders.KINDS[kind]}"
        for kind, count in sorted(lost.items())
    ]
    return f"{text} Not used: {', '.join(counts)}." if counts else text


def missing(summary: Summary, expected: Container[int]) -> list[str]:
    """Return a line for all that was asked for and is not in the result.

    Parameters
    ----------
    summary : Summary
        All that is known.
    expected : container of int
        The structures, as numbers in the files, that each case should have a prediction of.
    """
    lines = [
        f"not used: {unused.case}: {unused.note}" if unused.case else f"not used: {unused.note}"
        for unused in summary.unused
        if unused.kind
    ]
    for case in summary.by_case:
        if not any(row.predicted_dice is not None for row in case):
            lines.append(f"not predicted: {case[0].case}: {'; '.join(case[0].notes)}")
        else:
            lines += [
                f"not predicted: {row.case}, structure {row.structure}: {'; '.join(row.notes)}"
                for row in case
                if row.predicted_dice is None and row.structure in expected
            ]
    return lines


def has_intervals(by_case: Sequence[Sequence[Row]]) -> bool:
    """Tell whether any prediction has an interval.

    Parameters
    ----------
    by_case : sequence of sequence of Row
        Rows of each case.

    Examples
    --------
    >>> has_intervals([[Row("a", 1, 0.9)]])
    False
    """
    return any(row.low is not None for rows in by_case for row in rows)


def printable(text: str) -> str:
    r"""Write bytes of files' names that are no Unicode as numbers.

    Parameters
    ----------
    text : str
        Any.

    Examples
    --------
    >>> print(printable("a\udcff"))
    a\udcff
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def warnings(
    by_case: Sequence[Sequence[Row]],
    cases: Mapping[str, Sequence[Case]],
    source: str,
    reading: Reading,
    coverage: float,
) -> list[str]:
    """Say what predictions lack, in sentences without a full stop.

    Parameters
    ----------
    by_case : sequence of sequence of Row
        Rows of each case.
    cases : mapping of str to sequence of Case
        Of each folder.
    source : str
        Which of them calibrate, ``calibration`` or ``reference``.
    reading : Reading
        How scores were read.
    coverage : float
        Nominal, of the intervals.
    """
    sentences = _uncalibrated(reading, folders.KINDS[source], len(cases[source]), coverage)
    absent = reading.known - predict_structures.numbers(cases["case"]) - reading.unsure
    if absent:
        sentences.append(
            f"no segmentation has structure {_listed(absent, reading)}, which is predicted to be "
            "missed; if it is not meant to be segmented, list those that are in the param "
            "structures"
        )
    if reading.unsure:
        foreign = {number for case in cases["case"] for number in case.foreign}
        sentences.append(
            f"no segmentation has structure {_listed(reading.unsure, reading)}, and there are "
            f"{numbering.listed(foreign)}, which no reference has: if they are numbered "
            "otherwise, give them the references' numbers"
        )
    sentences += _notes(cases)
    failed = sum(any("no registration" in note for note in rows[0].notes) for rows in by_case)
    if failed:
        sentences.append(
            f"the registrations of {failed} of {len(by_case)} cases to all references fail, so "
            "that their predictions mean nothing: give references of the same contrast and part "
            "of the body"
        )
    return sentences


def _listed(numbers: Iterable[int], reading: Reading) -> str:
    return numbering.listed(reading.structures[number - 1] for number in numbers)


def _uncalibrated(reading: Reading, kind: str, count: int, coverage: float) -> list[str]:
    """Say which structures have no interval, and why."""
    bare = {number for number in reading.known if reading.calibrations[number - 1] is None}
    few = {number for number in bare if number - 1 not in reading.reasons}
    sentences = [
        f"predictions of structure {_listed(few, reading)} are raw scores without interval: "
        f"intervals of {100 * coverage:g} % coverage need at least "
        f"{predict_calibration.needed(coverage)} {kind} that have the structure, and there are "
        f"{count} in all"
    ]
    return (sentences if few else []) + [
        f"predictions of structure {reading.structures[index]} are raw scores without interval, "
        f"for the {kind} cannot be right: {reason}"
        for index, reason in reading.reasons.items()
    ]


def _notes(cases: Mapping[str, Sequence[Case]]) -> list[str]:
    """Return what is to be said of files that have no row, and of forms that disagree."""
    sentences = []
    for kind in [kind for kind in cases if kind != "case"]:
        notes = [
            f"{NAMES[kind]} {case.name}: {note}"
            for case in cases[kind]
            for note in case.notes
            if not note.startswith(QUIET)
        ]
        sentences += notes[:MOST_NOTES]
        if len(notes) > MOST_NOTES:
            sentences.append(
                f"{len(notes) - MOST_NOTES} more of the {folders.KINDS[kind]}'s files are alike"
            )
    forms = [note for case in cases["case"] for note in case.notes if "qform and sform" in note]
    if forms:
        sentences.append(f"in {len(forms)} of the cases' files the two forms disagree: {forms[0]}")
    return sentences


def texts(cases: Mapping[str, Sequence[Case]], source: str, reading: Reading) -> dict[str, str]:
    """Say how predictions were made: `Summary.calibration` and `Summary.method`.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Of each folder.
    source : str
        Which of them calibrate, ``calibration`` or ``reference``.
    reading : Reading
        How scores were read.
    """
    count = len(cases[source])
    on = {
        "calibration": f"Calibrated on {count} cases whose truth is known.",
        "reference": f"Calibrated on {count} references with damaged labels: the intervals hold "
        "for errors of that kind. Give cases of your own segmenter as calibration=DIR where their "
        "truth is known.",
    }
    over = {"max": "its best Dice", "mean": "its mean Dice", "top3": "the mean of its best three"}
    calibrated = any(reading.calibrations[number - 1] for number in reading.known)
    return {
        "calibration": on[source] if calibrated else "",
        "method": f"The raw score of a segmentation is {over[reading.estimator]} on "
        f"{len(cases['reference'])} references, to which it was carried by registration (reverse "
        "classification accuracy, Valindria et al. 2017). A raw score is no Dice yet: it is too "
        "low where little is wrong, and may be too high where much is.",
    }
