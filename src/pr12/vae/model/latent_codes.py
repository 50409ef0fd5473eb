"""Codes in latent spaces: the grid of Fig. 4, and straight walks between codes."""

import torch
from torch import Tensor


def plane_codes(grid: int) -> Tensor:
    """Return the codes of Fig. 4: a grid of the unit square through the inverse Gaussian CDF.

    Parameters
    ----------
    grid : int
        Rows and columns.

    Returns
    -------
    Tensor
        Shape (grid, grid, 2); the first code grows to the right, the second upwards.

    Examples
    --------
    >>> plane_codes(2)
    tensor([[[-0.6745,  0.6745],
             [ 0.6745,  0.6745]],
    <BLANKLINE>
            [[-0.6745, -0.6745],
             [ 0.6745, -0.6745]]])
    """
    places = torch.special.ndtri((torch.arange(grid, dtype=torch.float64) + 0.5) / grid)
    up, right = torch.meshgrid(places.flip(0), places, indexing="ij")
    return torch.stack([right, up], dim=-1).float()


def walk(starts: Tensor, ends: Tensor, steps: int) -> Tensor:
    """Return the codes on straight lines from starts to ends, both included.

    Parameters
    ----------
    starts, ends : Tensor
        Shape (rows, Z).
    steps : int
        Codes on each line.

    Returns
    -------
    Tensor
        Shape (rows, steps, Z).

    Examples
    --------
    >>> walk(torch.zeros(1, 1), torch.ones(1, 1), 3).squeeze()
    tensor([0.0000, 0.5000, 1.0000])
    """
    shares = torch.linspace(0, 1, steps, device=starts.device)[:, None]
    return starts[:, None] + shares * (ends - starts)[:, None]
