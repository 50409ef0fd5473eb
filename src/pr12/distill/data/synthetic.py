"""Generators of unlabelled points for model compression: MUNGE, NBE and RANDOM.

Bucila, Caruana & Niculescu-Mizil (2006), "Model Compression", Sec. 3. In all of them a row is an
example, continuous attributes are scaled to [0, 1], and nominal ones are whole codes 0, 1, ...;
the points get their labels from the ensemble afterwards.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def munge(
    examples: Array,
    nominal: Mask,
    size_multiplier: int,
    swap_probability: float,
    local_variance: float,
    rng: np.random.Generator,
) -> Array:
    """Make k altered copies of the training set (Algorithm 1, MUNGE).

    In each of the k passes T' starts as a copy of T. For every example e in order, e' is the
    nearest other example *of T' as it stands by then*, and with probability p each attribute of
    both is altered in place; so an example may be altered several times in a pass, and later
    searches see the altered points. That is how the algorithm is written; searching once per
    pass among the unaltered points would be another algorithm, in which a pair that has
    exchanged its attributes would be exchanged again by its second member.

    Parameters
    ----------
    examples : array (N, A)
        T, without labels; at least two examples.
    nominal : boolean array (A,)
        Which attributes are nominal.
    size_multiplier : int
        The paper's k.
    swap_probability : float
        The paper's p.
    local_variance : float
        The paper's s > 0; a larger s keeps e closer to e'.
    rng : numpy.random.Generator
        The stream.

    Returns
    -------
    array (k N, A)
        D, pass after pass, so that a smaller k gives a prefix.

    Raises
    ------
    ValueError
        If there are fewer than two examples.

    Examples
    --------
    >>> pair = np.array([[0.0], [1.0]])
    >>> munge(pair, np.array([False]), 2, 0.0, 1.0, np.random.default_rng(0)).ravel()
    array([0., 1., 0., 1.])
    """
    if len(examples) < 2:
        raise ValueError("MUNGE needs at least two examples")
    passes = [
        _munge_pass(examples, nominal, swap_probability, local_variance, rng)
        for _ in range(size_multiplier)
    ]
    return np.concatenate(passes)


def _munge_pass(
    examples: Array,
    nominal: Mask,
    swap_probability: float,
    local_variance: float,
    rng: np.random.Generator,
) -> Array:
    values, codes = examples[:, ~nominal], examples[:, nominal]  # T', in two copies
    squares = np.square(values).sum(axis=1)
    picked = rng.random(examples.shape) < swap_probability
    alter, swap = picked[:, ~nominal], picked[:, nominal]
    noise = rng.standard_normal((len(examples), 2, values.shape[1])) / local_variance
    for e in range(len(examples)):
        # |x - e|^2 less the constant |e|^2, plus one for each nominal attribute that differs.
        distances = squares - 2 * (values @ values[e])
        if codes.shape[1]:
            distances = distances + (codes != codes[e]).sum(axis=1)
        distances[e] = np.inf
        pair = [e, int(distances.argmin())]
        old = values[pair]
        others = old[::-1]
        new = others + np.abs(old - others) * noise[e]
        values[pair] = np.where(alter[e], new, old)
        squares[pair] = np.square(values[pair]).sum(axis=1)
        if codes.shape[1]:
            codes[pair] = np.where(swap[e], codes[pair][::-1], codes[pair])
    altered = np.empty_like(examples)
    altered[:, ~nominal], altered[:, nominal] = values, codes
    return altered


def random_marginals(examples: Array, count: int, rng: np.random.Generator) -> Array:
    """Draw each attribute by itself from its empirical marginal (the paper's RANDOM).

    "Random" means no uniform noise: every value occurs in the training set, but the attributes
    are independent.

    Parameters
    ----------
    examples : array (N, A)
        The training set, without labels.
    count : int
        Number of points.
    rng : numpy.random.Generator
        The stream.

    Returns
    -------
    array (count, A)
        Points.

    Examples
    --------
    >>> points = random_marginals(np.array([[0.0, 5.0], [1.0, 5.0]]), 4, np.random.default_rng(0))
    >>> points.shape, set(points[:, 1])
    ((4, 2), {np.float64(5.0)})
    """
    rows = rng.integers(len(examples), size=(count, examples.shape[1]))
    return np.take_along_axis(examples, rows, axis=0)


class NaiveBayesMixture(NamedTuple):
    """A mixture of products: within a component every attribute is independent of the others."""

    weights: Array  # (K,)
    means: Array  # (K, continuous attributes)
    deviations: Array  # (K, continuous attributes)
    tables: tuple[Array, ...]  # for each nominal attribute (K, codes): probabilities


# Added to the variance of a continuous attribute (range 1) within a component: without it an
# attribute that is constant there, such as an edge pixel, has infinite likelihood.
LEAST_VARIANCE = 1e-3


def fit_naive_bayes_mixture(
    examples: Array, nominal: Mask, components: int, random_state: int
) -> NaiveBayesMixture:
    """Fit a naive Bayes mixture by EM (NBE: Lowd & Domingos 2005).

    EM is scikit-learn's for Gaussians with diagonal covariance, with nominal attributes as
    indicators; each component's table of a nominal attribute then follows from the
    responsibilities, with one pseudo-count a code.

    Parameters
    ----------
    examples : array (N, A)
        The training set, without labels.
    nominal : boolean array (A,)
        Which attributes are nominal.
    components : int
        K, at most N.
    random_state : int
        Seed of the first responsibilities (k-means).

    Examples
    --------
    >>> twice = np.array([[0.0], [0.0], [1.0], [1.0]])
    >>> np.sort(fit_naive_bayes_mixture(twice, np.array([False]), 2, 0).means.ravel()).round(6)
    array([0., 1.])
    """
    values, codes = examples[:, ~nominal], examples[:, nominal].astype(int)
    indicators = [np.eye(column.max() + 1)[column] for column in codes.T]
    mixture = GaussianMixture(
        n_components=components,
        covariance_type="diag",
        reg_covar=LEAST_VARIANCE,
        tol=1e-3,
        max_iter=200,
        n_init=1,
        init_params="kmeans",
        random_state=random_state,
    ).fit(np.hstack([values, *indicators]))
    responsibilities = mixture.predict_proba(np.hstack([values, *indicators]))
    counts = [responsibilities.T @ indicator + 1 for indicator in indicators]
    width = values.shape[1]
    return NaiveBayesMixture(
        mixture.weights_,
        mixture.means_[:, :width],
        np.sqrt(mixture.covariances_[:, :width]),
        tuple(table / table.sum(axis=1, keepdims=True) for table in counts),
    )


def log_density(mixture: NaiveBayesMixture, examples: Array, nominal: Mask) -> Array:
    """Return the log density of each example under a naive Bayes mixture, in nats.

    Parameters
    ----------
    mixture : NaiveBayesMixture
        K components.
    examples : array (N, A)
        A code that training never showed has no table entry; its factor is left out, the same
        for every mixture.
    nominal : boolean array (A,)
        Which attributes are nominal.

    Returns
    -------
    array (N,)
        Log densities.

    Examples
    --------
    >>> one = NaiveBayesMixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)), ())
    >>> log_density(one, np.zeros((1, 1)), np.array([False])).round(4)  # -ln sqrt(2 pi)
    array([-0.9189])
    """
    values, codes = examples[:, None, ~nominal], examples[:, nominal].astype(int)
    logs = np.log(mixture.weights) + norm.logpdf(values, mixture.means, mixture.deviations).sum(
        axis=-1
    )
    for table, column in zip(mixture.tables, codes.T, strict=True):
        seen = column < table.shape[1]
        logs = logs + np.where(seen[:, None], np.log(table.T[column * seen]), 0)
    return logsumexp(logs, axis=1)


def naive_bayes_estimate(
    examples: Array,
    validation: Array,
    nominal: Mask,
    count: int,
    components: Sequence[int],
    rng: np.random.Generator,
) -> Array:
    """Sample from a naive Bayes mixture density fitted to the training set (the paper's NBE).

    Parameters
    ----------
    examples, validation : array (N, A), array (M, A)
        The density is fitted to the first; the number of components is the one that gives the
        second the greatest likelihood.
    nominal : boolean array (A,)
        Which attributes are nominal.
    count : int
        Number of points.
    components : sequence of int
        Numbers of components to try; those above N are left out.
    rng : numpy.random.Generator
        The stream.

    Returns
    -------
    array (count, A)
        Points; a continuous attribute may leave [0, 1].

    Raises
    ------
    ValueError
        If every number of components is above N.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> data = np.repeat([[0.0, 1.0], [1.0, 0.0]], 5, axis=0)
    >>> naive_bayes_estimate(data, data, np.array([False, True]), 3, [1, 2], rng).shape
    (3, 2)
    """
    fitting = [k for k in components if k <= len(examples)]
    if not fitting:
        raise ValueError(f"all of {list(components)} components are more than the examples")
    seed = int(rng.integers(2**31))
    fitted = [fit_naive_bayes_mixture(examples, nominal, k, seed) for k in fitting]
    scores = [log_density(mixture, validation, nominal).mean() for mixture in fitted]
    best = fitted[int(np.argmax(scores))]
    chosen = rng.choice(len(best.weights), size=count, p=best.weights)
    points = np.empty((count, examples.shape[1]))
    points[:, ~nominal] = rng.normal(best.means[chosen], best.deviations[chosen])
    for a, table in zip(np.flatnonzero(nominal), best.tables, strict=True):
        cumulative = table.cumsum(axis=1)[chosen]
        uniform = rng.random((count, 1)) * cumulative[:, -1:]  # the last one is 1 but for rounding
        points[:, a] = (uniform >= cumulative).sum(axis=1)
    return points
