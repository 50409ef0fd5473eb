"""Distances between two samples: of codes from a prior, of drawn images from real ones."""

import torch
from torch import Tensor

ROWS = 64  # of the matrix of kernel values at a time: few enough to stay in the cache


def mmd(a: Tensor, b: Tensor, scale: float) -> float:
    """Estimate the squared maximum mean discrepancy without bias (Gretton et al. 2012, Eq. 3).

    With the inverse multiquadric kernel c / (c + |x - y|^2), whose long tails also see codes far
    from the prior (Tolstikhin et al. 2018, Sec. 4). Where both samples have one distribution the
    expectation is 0, and an estimate may be below it.

    Parameters
    ----------
    a, b : Tensor
        Samples, shapes (N, Z) and (M, Z), at least two of each.
    scale : float
        c, in units of a squared distance: 2 Z for codes with the prior N(0, I), the mean squared
        distance of two of its draws.

    Examples
    --------
    >>> a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
    >>> round(mmd(a, b, 1.0), 6)  # 1/2 + 1/10 - (1 + 1/10 + 1/2 + 1/5) / 2
    -0.3
    """
    a, b = a.double(), b.double()
    n, m = len(a), len(b)
    # A point's kernel with itself is 1
    within_a = (_kernel_sum(a, a, scale) - n) / (n * (n - 1))
    within_b = (_kernel_sum(b, b, scale) - m) / (m * (m - 1))
    between = _kernel_sum(a, b, scale) / (n * m)
    return within_a + within_b - 2 * between


def _kernel_sum(a: Tensor, b: Tensor, scale: float) -> float:
    """Add the kernel's values over all pairs; products give |x - y|^2 five times faster."""
    total, squares = 0.0, (b * b).sum(dim=1)
    for part in a.split(ROWS):
        lengths = (part * part).sum(dim=1, keepdim=True)
        apart = torch.addmm(squares, part, b.T, alpha=-2).add_(lengths).clamp_(min=0)
        total += (scale * apart.add_(scale).reciprocal_()).sum().item()
    return total


def frechet(a: Tensor, b: Tensor) -> float:
    """Return the Fréchet distance of Gaussians fitted to two samples (Heusel et al. 2017, Eq. 6).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)) with covariances A and B. The trace of the last
    term is that of (A^(1/2) B A^(1/2))^(1/2), which is symmetric: real however nearly singular A
    and B are. It is biased upwards, the more the smaller the samples: compare equal sizes only.

    Parameters
    ----------
    a, b : Tensor
        Features, shapes (N, F) and (M, F), at least two of each.

    Examples
    --------
    >>> a = torch.tensor([[-1.0], [1.0]])
    >>> round(frechet(a, 3 * a + 5), 6)  # 5^2 + (3 - 1)^2 x the variance 2
    33.0
    """
    a, b = a.double(), b.double()
    shift = a.mean(dim=0) - b.mean(dim=0)
    covariance_a, covariance_b = covariance(a), covariance(b)
    root = symmetric_root(covariance_a)
    squares = torch.linalg.eigvalsh(root @ covariance_b @ root)
    cross = squares.clamp(min=0).sqrt().sum()
    return (shift @ shift + covariance_a.trace() + covariance_b.trace() - 2 * cross).item()


def covariance(x: Tensor) -> Tensor:
    """Return the unbiased covariance of rows.

    Parameters
    ----------
    x : Tensor
        Shape (N, F).

    Returns
    -------
    Tensor
        Shape (F, F).

    Examples
    --------
    >>> covariance(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
    tensor([[2., 4.],
            [4., 8.]])
    """
    return torch.cov(x.T, correction=1).reshape(x.shape[1], x.shape[1])


def symmetric_root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a covariance; eigenvalues below 0 are rounding, and 0.

    Parameters
    ----------
    matrix : Tensor
        Symmetric, shape (F, F).

    Returns
    -------
    Tensor
        Shape (F, F).

    Examples
    --------
    >>> symmetric_root(torch.tensor([[4.0, 0.0], [0.0, 9.0]]))
    tensor([[2., 0.],
            [0., 3.]])
    """
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
