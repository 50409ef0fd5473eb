"""What the figures read from metrics: intervals, numbered keys, and how they are written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pr12.report import stats
from pr12.report.stats import Interval

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed
Published = Mapping[str, Mapping[str, float]]  # case -> key -> the paper's number

NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
SEEDS = "mean over seeds and its 95 % t-interval"
SCALED = "Nets are named by the paper's widths, all of which a run may scale (train.width_scale)."


def measured(metrics: Metrics, case: str, key: str = "test/errors") -> Interval | None:
    """Return a metric's mean over seeds and interval, if the case has it.

    Examples
    --------
    >>> measured({"hard_30": {"test/errors": [4, 4]}}, "hard_30").mean
    4.0
    """
    values = metrics.get(case, {}).get(key)
    return stats.mean(values) if values else None


def numbered(metrics: Mapping[str, Any], pattern: str) -> dict[float, str]:
    r"""Find the names that match a pattern with one number, in the order of the numbers.

    Parameters
    ----------
    metrics : mapping
        Its keys are searched.
    pattern : str
        With one group, the number; in names of cases ``_`` is the decimal point.

    Examples
    --------
    >>> numbered({"soft_30_T20": {}, "soft_30_T2_5": {}}, r"soft_30_T(\d+(?:_\d+)?)")
    {2.5: 'soft_30_T2_5', 20.0: 'soft_30_T20'}
    """
    matches = ((re.fullmatch(pattern, name), name) for name in metrics)
    return dict(sorted((float(m[1].replace("_", ".")), name) for m, name in matches if m))


def soft_students(metrics: Metrics, width: int) -> dict[float, str]:
    """Return temperature -> case of the students of one width."""
    cases = numbered(metrics, rf"soft_{width}_T(\d+(?:_\d+)?)")
    return {t: case for t, case in cases.items() if measured(metrics, case)}


def written(interval: Interval) -> str:
    """Write a mean with its interval."""
    return stats.written(asdict(interval))


def errors_label(metrics: Metrics) -> str:
    r"""Name an axis of errors, with the number of test examples where the metrics tell it.

    Examples
    --------
    >>> errors_label({"hard_30": {"test/errors": [0, 5], "test/error_percent": [0.0, 0.5]}})
    'test errors of 1\u202f000'
    """
    for values in metrics.values():
        pairs = zip(
            values.get("test/errors", []), values.get("test/error_percent", []), strict=False
        )
        for count, percent in pairs:
            if percent > 0:
                return f"test errors of {stats.number(round(100 * count / percent))}"
    return "test errors"
