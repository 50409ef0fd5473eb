"""What `pr12.rca.predict` has found, as its plot and its page tell it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pr12.rca.predict import calibration as predict_calibration
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict.cases import Case, Unused, View
from pr12.rca.predict.rows import Row

# Of Okabe and Ito, those that are seen on black images and on white paper
COLOURS = ("#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#0072B2")


class Told(NamedTuple):
    """All that the page says."""

    by_case: Sequence[list[Row]]  # worst first
    views: Mapping[str, View]  # by case
    structures: tuple[int, ...]
    unused: Sequence[Unused]
    threshold: float
    coverage: float
    warnings: Sequence[str]
    calibration: str
    method: str


def colour(index: int) -> str:
    """Give the colour of a structure.

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


def summary(told: Told) -> str:
    """Say how many predictions are flagged.

    Parameters
    ----------
    told : Told
        All that is known.
    """
    rows = [row for own in told.by_case for row in own if row.predicted_dice is not None]
    cases = sum(any(row.flagged for row in own) for own in told.by_case)
    return (
        f"{sum(row.flagged for row in rows)} of {len(rows)} predictions are below "
        f"{told.threshold:g}, in {cases} of {len(told.by_case)} cases."
    )


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
    return any(row.low is not None for own in by_case for row in own)


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


def texts(
    cases: Mapping[str, Sequence[Case]],
    source: str,
    structures: Sequence[int],
    known: set[int],
    bare: set[int],
    coverage: float,
    estimator: str,
) -> dict[str, str | list[str]]:
    """Say how predictions were made and what they lack: `Told.warnings` and the texts after it.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Of each folder.
    source : str
        Which of them calibrate, ``calibration`` or ``reference``.
    structures : sequence of int
        The S numbers in the files.
    known : set of int
        Which of 1 to S are in references.
    bare : set of int
        Which of them are not calibrated.
    coverage : float
        Nominal, of the intervals.
    estimator : str
        As `pr12.rca.model.estimates.estimate` knows it.
    """

    def listed(numbers: set[int]) -> str:
        return ", ".join(str(structures[number - 1]) for number in sorted(numbers))

    count, warnings = len(cases[source]), []
    missing = known - predict_structures.numbers(cases["case"])
    kind = "calibration cases" if source == "calibration" else "references"
    if bare:
        least = predict_calibration.needed(coverage)
        warnings.append(
            f"predictions of structure {listed(bare)} are raw scores without interval: intervals "
            f"of {100 * coverage:g} % coverage need at least {least} {kind} that have the "
            f"structure, and there are {count} in all"
        )
    if missing:
        warnings.append(
            f"no segmentation has structure {listed(missing)}, which is predicted to be missed; if "
            "it is not meant to be segmented, list those that are in the param structures"
        )
    on = {
        "calibration": f"Calibrated on {count} cases whose truth is known.",
        "reference": f"Calibrated on {count} references with damaged labels: the intervals hold "
        "for errors of that kind. Give cases of your own segmenter as calibration=DIR where their "
        "truth is known.",
    }
    over = {"max": "its best Dice", "mean": "its mean Dice", "top3": "the mean of its best three"}
    return {
        "warnings": warnings,
        "calibration": "" if bare == known else on[source],
        "method": f"The raw score of a segmentation is {over[estimator]} on "
        f"{len(cases['reference'])} references, to which it was carried by registration (reverse "
        "classification accuracy, Valindria et al. 2017).",
    }
