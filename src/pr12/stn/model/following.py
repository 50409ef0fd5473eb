"""The few digits of every training whose sampling grids are kept, and these grids."""

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.data import splits
from pr12.stn.model import digit_networks, distortions

FOLLOWED = 3  # digits whose grid is kept at every row, or as many as there are
LINES = 8  # of such a grid along each axis


def followed_digits(distortion: str, digits: splits.Split) -> Tensor:
    """Return the few distorted training digits whose grids are kept.

    Parameters
    ----------
    distortion : str
        A name in `distortions.DISTORTIONS`.
    digits : Split
        Training digits, 28 x 28.

    Returns
    -------
    Tensor
        Shape (FOLLOWED, C, S, S), the same for every seed; fewer if there are fewer digits.

    Examples
    --------
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> followed_digits("TC", digits).shape
    torch.Size([3, 1, 60, 60])
    """
    stream = determinism.generator(0, f"followed {distortion}", digits.images.device)
    rows = torch.arange(min(FOLLOWED, len(digits.images)), device=digits.images.device)
    return distortions.batch(distortion, digits.images, digits.labels, rows, stream)[0]


def grids(net: digit_networks.Network, images: Tensor) -> list | None:
    """Return the net's sampling grids on a few images, rounded.

    Parameters
    ----------
    net : Network
        The net.
    images : Tensor
        Shape (N, C, S, S).

    Returns
    -------
    list or None
        Nested lists of shape (N, transformers, LINES, LINES, 2); None for a net without any.

    Examples
    --------
    >>> net = digit_networks.build("fcn", "affine", 1, "max", "R", 60_000)
    >>> grids(net, torch.rand(1, 1, 28, 28))[0][0][0][:2]
    [[-0.875, -0.875], [-0.625, -0.875]]
    """
    if net.transformers is None:
        return None
    with torch.no_grad():
        _, theta = net.transformers(images)
    return grids_of(net, theta)


def grids_of(net: digit_networks.Network, theta: Tensor) -> list:
    """Return the sampling grids that transformers' parameters stand for, rounded.

    Parameters
    ----------
    net : Network
        With transformers.
    theta : Tensor
        Shape (N, transformers, parameters).

    Returns
    -------
    list
        As of `grids`.

    Examples
    --------
    >>> net = digit_networks.build("fcn", "affine", 1, "max", "R", 60_000)
    >>> grids_of(net, torch.tensor([[[0.5, 0.0, 0.0, 0.0, 0.5, 0.0]]]))[0][0][0][0]
    [-0.438, -0.438]
    """
    size = (LINES, LINES)
    with torch.no_grad():
        sampled = [t.grid(theta[:, i], size) for i, t in enumerate(net.transformers.transformers)]
    return torch.stack(sampled, dim=1).double().round(decimals=3).tolist()
