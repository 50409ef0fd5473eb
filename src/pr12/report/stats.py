"""Numbers over seeds: means, differences, their 95 % intervals, and how they are written.

All intervals are two-sided t-intervals over seeds (one value per seed), those of correlations and
shares on a scale that has no bounds. A sample of one value is a fixed number: its interval is the
value itself.
"""

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

CONFIDENCE = 0.95
LARGEST_N = 1_000_000  # more values than this are no way to decide anything


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds and the ends of its interval, all in the unit of the values."""

    mean: float
    low: float
    high: float
    n: int


def mean(values: Sequence[float]) -> Interval:
    """Return the mean over seeds and its t-interval.

    Parameters
    ----------
    values : sequence of float, shape (n,)
        One value per seed; n = 1 is a fixed number.

    Raises
    ------
    ValueError
        If there is no value.

    Examples
    --------
    >>> measured = mean([1.0, 2.0, 3.0])  # 2 -+ 4.3027 * 1 / sqrt(3)
    >>> measured.mean, round(measured.low, 4), round(measured.high, 4), measured.n
    (2.0, -0.4841, 4.4841, 3)
    >>> mean([67])
    Interval(mean=67.0, low=67.0, high=67.0, n=1)
    """
    return combination([(1.0, values)])


class Scale(NamedTuple):
    """On which a bounded quantity is as good as unbounded."""

    there: Callable[[float], float]
    back: Callable[[float], float]
    low: float  # the quantity's bounds
    high: float


FISHER = Scale(math.atanh, math.tanh, -1.0, 1.0)
LOGIT = Scale(
    lambda share: math.log(share / (1 - share)), lambda x: (1 + math.tanh(x / 2)) / 2, 0.0, 1.0
)
SCALES = {"correlation": FISHER, "auc": LOGIT, "sensitivity": LOGIT, "coverage": LOGIT}  # by word


def scale(metric: str) -> Scale | None:
    """Return the scale of a metric's interval: Fisher's z of correlations, the logit of shares.

    Parameters
    ----------
    metric : str
        Its key.

    Examples
    --------
    >>> scale("pooled/correlation_dice") is FISHER, scale("failure/auc") is LOGIT
    (True, True)
    >>> scale("test/errors")
    """
    words = re.split("[/_]", metric)
    return next((SCALES[word] for word in words if word in SCALES), None)


def bounded(metric: str, values: Sequence[float]) -> Interval:
    """Return the mean over seeds of a metric, and its t-interval on the metric's own scale.

    Parameters
    ----------
    metric : str
        Its key, which tells whether it is bounded.
    values : sequence of float, shape (n,)
        One value per seed.

    Returns
    -------
    Interval
        The mean of the values; its ends never lie beyond the metric's bounds. Where a value lies on
        a bound, which no such scale has, it is the plain interval cut off there.

    Examples
    --------
    >>> one = bounded("failure/auc", [0.95, 0.99, 0.97])
    >>> round(one.mean, 3), round(one.low, 3), round(one.high, 3)
    (0.97, 0.829, 0.997)
    >>> bounded("test/errors", [1.0, 1.0, 1.0]).high, bounded("a/sensitivity", [0.9, 1.0]).high
    (1.0, 1.0)
    """
    plain, on = mean(values), scale(metric)
    if on is None or plain.low == plain.high:
        return plain
    if not all(on.low < value < on.high for value in values):
        ends = max(plain.low, on.low), min(plain.high, on.high)
        return Interval(plain.mean, *ends, n=plain.n)
    there = mean([on.there(value) for value in values])
    ends = min(on.back(there.low), plain.mean), max(on.back(there.high), plain.mean)
    return Interval(plain.mean, *ends, n=plain.n)


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Return the mean of `first` - `second` and its interval, paired over seeds where it can be.

    Parameters
    ----------
    first, second : sequence of float
        One value per seed.

    Raises
    ------
    ValueError
        If one of them is empty.

    Examples
    --------
    >>> difference([10.0, 20.0, 30.0], [9.0, 19.0, 29.0])  # the same seeds: no spread is left
    Interval(mean=1.0, low=1.0, high=1.0, n=3)
    """
    return combination([(1.0, first), (-1.0, second)])


def combination(terms: Sequence[tuple[float, Sequence[float]]]) -> Interval:
    """Return the mean of a sum of coefficient x sample, and its interval over seeds.

    Samples of equal size are paired (the i-th values share their seed), and a sample of one value
    is a constant beside them; the interval is then Student's. Samples of different sizes are
    taken as independent: Welch's interval, with the degrees of freedom of Welch (1947),
    "The generalization of 'Student's' problem when several different population variances are
    involved".

    Parameters
    ----------
    terms : sequence of (float, sequence of float)
        Coefficient and values, one value per seed.

    Returns
    -------
    Interval
        Its `n` is the size of the smallest sample that is not a constant.

    Raises
    ------
    ValueError
        If there is no term or a sample is empty.

    Examples
    --------
    >>> combination([(0.5, [1.0, 3.0]), (0.5, [3.0, 1.0]), (1.0, [10.0])])
    Interval(mean=12.0, low=12.0, high=12.0, n=2)
    """
    samples = [(weight, [float(value) for value in values]) for weight, values in terms]
    if not samples or not all(values for _, values in samples):
        raise ValueError("a combination needs at least one term, and each at least one value")
    sizes = {len(values) for _, values in samples if len(values) > 1}
    n = min(sizes, default=1)
    if len(sizes) <= 1:
        columns = [
            [weight * value for value in (values * n if len(values) == 1 else values)]
            for weight, values in samples
        ]
        per_seed = [math.fsum(seed) for seed in zip(*columns, strict=True)]
        centre = statistics.mean(per_seed)  # exact: equal values have their value as mean
        variance = statistics.variance(per_seed) / n if n > 1 else 0.0  # divides by n - 1
        freedom = n - 1.0
    else:
        centre = math.fsum(weight * statistics.mean(values) for weight, values in samples)
        variance, freedom = _welch([sample for sample in samples if len(sample[1]) > 1])
    if variance == 0:
        return Interval(mean=centre, low=centre, high=centre, n=n)
    half = _quantile(freedom) * math.sqrt(variance)
    return Interval(mean=centre, low=centre - half, high=centre + half, n=n)


def deciding_n(measured: Interval, ends: Sequence[float]) -> int | None:
    """Return the least n at which an interval of this mean and spread holds none of some numbers.

    The spread is taken from the interval as Student's; where it is Welch's, n is an estimate.

    Parameters
    ----------
    measured : Interval
        It holds one of `ends`.
    ends : sequence of float
        The ends of a bound, at least one.

    Returns
    -------
    int or None
        None for an interval without width, or whose mean lies on an end as good as exactly.

    Examples
    --------
    >>> measured = mean([9.0, 10.0, 11.5, 10.5])
    >>> deciding_n(measured, [9.0]), deciding_n(measured, [measured.mean])
    (6, None)
    """
    distance = min(abs(measured.mean - end) for end in ends)
    width = measured.high - measured.low
    if distance == 0 or width == 0 or measured.n < 2:
        return None
    deviation = width / 2 * math.sqrt(measured.n) / _quantile(measured.n - 1)
    least = (_quantile(math.inf) * deviation / distance) ** 2
    if least > LARGEST_N:
        return None
    n = max(measured.n + 1, math.ceil(least))
    while _quantile(n - 1) * deviation / math.sqrt(n) >= distance:
        n += 1
    return n


def _quantile(freedom: float) -> float:
    """Return half the width of the interval, in standard errors of the mean."""
    from scipy import stats  # two seconds that who only checks claims need not pay

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, df=freedom))


def _welch(samples: Sequence[tuple[float, Sequence[float]]]) -> tuple[float, float]:
    """Return the variance of a weighted sum of independent means, and its degrees of freedom."""
    parts = [
        (weight**2 * statistics.variance(values) / len(values), len(values) - 1)
        for weight, values in samples
    ]
    variance = math.fsum(part for part, _ in parts)
    squares = math.fsum(part**2 / freedom for part, freedom in parts)
    return variance, (variance**2 / squares if squares > 0 else math.inf)


def number(value: float, spread: float = 0.0) -> str:
    """Write a number with the digits that its spread leaves meaningful.

    Parameters
    ----------
    value : float
        The number.
    spread : float
        Half the width of its interval, of which two digits are kept; 0 for a fixed number, of
        which four significant digits are kept (a whole number keeps all).

    Examples
    --------
    >>> number(74.3333, 4.321), number(146), number(0.0123456), number(-99.4)
    ('74.3', '146', '0.01235', '−99.4')
    >>> number(1.5e-7), number(-0.01, 3.0)
    ('1.5×10⁻⁷', '0.0')
    """
    scale = max(abs(value), spread)
    if scale > 0 and not 1e-4 <= scale < 1e9:
        digits, _, exponent = f"{value:.2e}".partition("e")
        raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{_shortest(digits)}×10{raised}".replace("-", "−")
    if spread > 0:
        text = f"{value:z,.{max(1 - math.floor(math.log10(spread)), 0)}f}"
    elif float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        text = _shortest(f"{value:,.{max(3 - math.floor(math.log10(scale)), 1)}f}")
    # U+202F is a narrow space at which no line breaks; U+2212 a true minus
    return text.replace(",", "\u202f").replace("-", "\u2212")


def _shortest(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def written(measured: Mapping[str, float]) -> str:
    """Write a mean with its interval, or a fixed number alone.

    Parameters
    ----------
    measured : mapping
        The fields of an `Interval`.

    Examples
    --------
    >>> written({"mean": 74.33, "low": 70.01, "high": 78.65, "n": 3})
    '74.3 [70.0, 78.7]'
    >>> written({"mean": 67.0, "low": 67.0, "high": 67.0, "n": 1})
    '67'
    """
    spread = (measured["high"] - measured["low"]) / 2
    mean, low, high = (number(measured[key], spread) for key in ("mean", "low", "high"))
    return mean if measured["n"] == 1 else f"{mean} [{low}, {high}]"
