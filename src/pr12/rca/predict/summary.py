"""What `pr12.rca.predict` predicts, as its plot, its page and the terminal say it."""

import colorsys
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pr12.rca.predict import calibration as predict_calibration
from pr12.rca.predict import folders, numbering
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict.calibration import Points
from pr12.rca.predict.cases import QUIET, Case, Unused, View
from pr12.rca.predict.models import Past
from pr12.rca.predict.rows import Reading, Row

NAMES = {"case": "case", "reference": "reference", "calibration": "calibration case"}
MOST_NOTES = 5  # of one kind of files

# Of Okabe and Ito, those that are seen on black images and on white paper
COLOURS = ("#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#0072B2")
GOLDEN = 0.618034  # of a turn: hues that stay apart whatever their number


class Disputed(NamedTuple):
    """Where references disagree with a segmentation, on the grid that is registered."""

    view: View
    share: np.ndarray  # uint8, 255 where all differ


class Summary(NamedTuple):
    """All that the page says."""

    by_case: Sequence[list[Row]]  # worst first
    views: Mapping[str, tuple[View, ...]]  # by case
    disputed: Mapping[str, Disputed]
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
        From 0; beyond the first six each has a hue of its own.

    Examples
    --------
    >>> colour(0), len({colour(index) for index in range(40)})
    ('#D55E00', 40)
    """
    if index < len(COLOURS):
        return COLOURS[index]
    light = (0.95, 0.75, 0.6)[index % 3]
    shares = colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.75, light)
    return "#" + "".join(f"{round(255 * share):02X}" for share in shares)


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
        f"{sum(row.flagged for row in rows)} of {len(rows)} predictions are flagged, in {cases} of "
        f"{len(summary.by_case)} cases (a Dice below {summary.threshold:g} is a failure)."
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
    """Tell whether any prediction has an interval, or a rough range.

    Parameters
    ----------
    by_case : sequence of sequence of Row
        Rows of each case.

    Examples
    --------
    >>> has_intervals([[Row("a", 1, 0.9)]])
    False
    """
    return any(
        None not in (row.low, row.high) or None not in (row.rough_low, row.rough_high)
        for rows in by_case
        for row in rows
    )


def ends(row: Row) -> tuple[float, float] | None:
    """Return the ends of a row's interval, or of its rough range.

    Parameters
    ----------
    row : Row
        Of a case.

    Examples
    --------
    >>> ends(Row("a", 1, 0.9, rough_low=0.5, rough_high=1.0)), ends(Row("a"))
    ((0.5, 1.0), None)
    """
    for low, high in ((row.low, row.high), (row.rough_low, row.rough_high)):
        if low is not None and high is not None:
            return low, high
    return None


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
    past: Past,
    reading: Reading,
) -> list[str]:
    """Say what predictions lack, in sentences without a full stop.

    Parameters
    ----------
    by_case : sequence of sequence of Row
        Rows of each case.
    cases : mapping of str to sequence of Case
        Of each folder.
    past : Past
        What calibrates.
    reading : Reading
        How scores were read.
    """
    sentences = _uncalibrated(reading, past)
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


def _uncalibrated(reading: Reading, past: Past) -> list[str]:
    """Say which structures are not calibrated, and why."""
    bare = {number for number in reading.known if reading.calibrations[number - 1] is None}
    few = {number for number in bare if number - 1 not in reading.reasons}
    kind = folders.KINDS[past.source]
    what = "intervals" if reading.honest else "rough ranges"
    sentences = [
        f"predictions of structure {_listed(few, reading)} are raw scores without "
        f"{what[:-1]}: {what} of {100 * reading.coverage:g} % coverage need at least "
        f"{predict_calibration.needed(reading.coverage)} {kind} that have the structure, and there "
        f"are {past.count} in all" + ("; their flags promise nothing" if reading.honest else "")
    ]
    return (sentences if few else []) + [
        f"predictions of structure {reading.structures[index]} are raw scores without "
        f"{what[:-1]}, for the {kind} cannot be right: {reason}"
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


def calibrated(past: Past, reading: Reading, missed: float, points: Sequence[Points]) -> str:
    """Say what predictions were calibrated on, and how far that holds.

    Parameters
    ----------
    past : Past
        What calibrates.
    reading : Reading
        How scores were read.
    missed : float
        Share of failures that may pass without a flag.
    points : sequence of Points
        Of each structure.
    """
    used = {
        number: reading.calibrations[number - 1]
        for number in sorted(reading.known)
        if reading.calibrations[number - 1]
    }
    if not used:
        return ""
    if not reading.honest:
        return _rough(past, reading, [points[number - 1] for number in used])
    fewest = min(each.patients for each in used.values())
    low, high = predict_calibration.realised(fewest, reading.coverage)
    sentences = [
        f"Calibrated on {past.count} cases of {len({*past.patients})} patients whose truth is "
        f"known. Of new cases like them, intervals of nominally {100 * reading.coverage:g} % hold "
        f"for {100 * low:.0f} to {100 * high:.0f} % of each structure (90 % confidence, by the "
        "number of patients); that all structures of a case hold at once is rarer."
    ]
    sure = {number: each for number, each in used.items() if each.cutoff is not None}
    if sure:
        alarms = ", ".join(
            f"{100 * each.alarms:.0f} % ({reading.structures[number - 1]})"
            for number, each in list(sure.items())[:MOST_NOTES]
        )
        sentences.append(
            f"Flags let at most {100 * missed:g} % of failures (Dice below {reading.threshold:g}) "
            f"pass, of new patients like these; of good calibration cases they mark {alarms}."
        )
    if unsure := used.keys() - sure.keys():
        most = max(used[number].failures for number in unsure)
        sentences.append(
            f"Of structure {_listed(unsure, reading)} the calibration has too few failures for "
            f"such a promise ({most} at most, and {predict_calibration.needed(1 - missed)} are "
            "needed): what is predicted below the threshold is flagged, and failures may pass."
        )
    return " ".join(sentences)


def _rough(past: Past, reading: Reading, points: Sequence[Points]) -> str:
    """Say how often ranges held that were made from other kinds of damage."""
    inside: dict[str, list[np.ndarray]] = {}
    for each in points:
        for kind, held in predict_calibration.by_kind(each, reading.coverage).items():
            inside.setdefault(kind, []).append(held)
    shares = {kind: float(np.concatenate(held).mean()) for kind, held in inside.items()}
    text = (
        f"No calibration cases: {past.count} references with damaged labels give a ranking and "
        "rough ranges, no intervals."
    )
    if shares:
        worst, best = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        text += (
            f" Measured on a kind of damage that they were not made from, ranges of nominally "
            f"{100 * reading.coverage:g} % held for {100 * shares[worst]:.0f} % ({worst}) to "
            f"{100 * shares[best]:.0f} % ({best}); your segmenter's errors may be of another kind "
            "still. Cases of it whose truth is known (calibration) give intervals."
        )
    return text


def method(references: int, estimator: str) -> str:
    """Say how scores were made.

    Parameters
    ----------
    references : int
        How many.
    estimator : str
        Over them.
    """
    over = {
        "max": "its best Dice with",
        "mean": "its mean Dice with",
        "top3": "the mean of its best three Dice with",
        "vote": "its Dice with the majority of",
    }
    return (
        f"The raw score of a segmentation is {over[estimator]} the labels of {references} "
        "references, which were carried to it by registration (reverse classification accuracy: "
        "Valindria et al. 2017, in the direction of Robinson et al. 2019). A raw score is no Dice "
        "yet: it is too low where little is wrong, and may be too high where much is. Distances "
        "are those to the references' majority, as it lies on the grid that is registered, and "
        "are not calibrated."
    )
