"""Sampling grids: parameters -> places to sample from (Jaderberg et al. Sec. 3.2).

Coordinates are those of `pr12.stn.model.transformer`.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from pr12.workflow.errors import UserError


def _check(parameters: Tensor, count: int, size: Sequence[int], axes: int) -> None:
    """Refuse parameters that are not `count` an image, and a size without `axes` numbers."""
    if parameters.ndim != 2 or parameters.shape[1] != count:
        raise UserError(
            f"the parameters have the shape {tuple(parameters.shape)}; this grid needs "
            f"(images, {count})"
        )
    if len(size) != axes or min(size) < 1:
        raise UserError(f"size is {tuple(size)}; this grid needs {axes} whole numbers of 1 or more")


def pixel_centres(size: Sequence[int], like: Tensor) -> list[Tensor]:
    """Return the coordinates of pixel centres along each axis.

    Parameters
    ----------
    size : sequence of int
        (H, W) or (D, H, W).
    like : Tensor
        Whose type and device the result has.

    Returns
    -------
    list of Tensor
        One per axis, of its length.

    Examples
    --------
    >>> [axis.tolist() for axis in pixel_centres((1, 2), torch.zeros(1))]
    [[0.0], [-0.5, 0.5]]
    """
    ones = {"dtype": like.dtype, "device": like.device}
    # Whole numbers until the division: one rounding, not three
    return [(2 * torch.arange(n, **ones) + 1 - n) / n for n in size]


def affine_grid(theta: Tensor, size: Sequence[int]) -> Tensor:
    """Return the grid of an affine transformation (Eq. 1).

    Parameters
    ----------
    theta : Tensor
        Shape (N, 6): the rows of the matrices A of shape 2 x 3.
    size : sequence of int
        (H, W) of the output.

    Returns
    -------
    Tensor
        Shape (N, H, W, 2).

    Examples
    --------
    >>> affine_grid(torch.tensor([[1.0, 0, 0.5, 0, 1, 0]]), (1, 2)).tolist()
    [[[[0.0, 0.0], [1.0, 0.0]]]]
    """
    _check(theta, 6, size, 2)
    y, x = pixel_centres(size, theta)
    a = theta.unflatten(1, (2, 3)).movedim(0, -1)[..., None, None]  # (2, 3, N, 1, 1)
    # Sums of rows and columns: three times faster than a product with (x, y, 1) at every pixel
    source = [row[0] * x + (row[1] * y[:, None] + row[2]) for row in a]
    return torch.stack(source, dim=-1)


def attention_grid(parameters: Tensor, size: Sequence[int]) -> Tensor:
    """Return the grid of isotropic scaling and translation, an attention window (Eq. 2).

    Parameters
    ----------
    parameters : Tensor
        Shape (N, 3): scale, shift along x, along y.
    size : sequence of int
        (H, W) of the output.

    Returns
    -------
    Tensor
        Shape (N, H, W, 2).

    Examples
    --------
    >>> attention_grid(torch.tensor([[0.5, 0, 0]]), (1, 2)).tolist()
    [[[[-0.25, 0.0], [0.25, 0.0]]]]
    """
    _check(parameters, 3, size, 2)
    scale, x, y = parameters.unbind(dim=1)
    none = torch.zeros_like(scale)
    return affine_grid(torch.stack([scale, none, x, none, scale, y], dim=1), size)


def crop_grid(parameters: Tensor, size: Sequence[int]) -> Tensor:
    """Return the grid of a window of half the input's side at a free place (Sec. 4.3).

    Parameters
    ----------
    parameters : Tensor
        Shape (N, 2): the window's centre, x and y.
    size : sequence of int
        (H, W) of the output.

    Returns
    -------
    Tensor
        Shape (N, H, W, 2).

    Examples
    --------
    >>> crop_grid(torch.tensor([[0.5, 0]]), (1, 2)).tolist()
    [[[[0.25, 0.0], [0.75, 0.0]]]]
    """
    _check(parameters, 2, size, 2)
    half = torch.full_like(parameters[:, :1], 0.5)
    return attention_grid(torch.cat([half, parameters], dim=1), size)


def projective_grid(theta: Tensor, size: Sequence[int]) -> Tensor:
    """Return the grid of a plane projective transformation, eight parameters (Sec. 3.2).

    Parameters
    ----------
    theta : Tensor
        Shape (N, 8): the rows of the 3 x 3 matrices without the last entry, which is 1.
    size : sequence of int
        (H, W) of the output.

    Returns
    -------
    Tensor
        Shape (N, H, W, 2).

    Examples
    --------
    >>> projective_grid(torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]]), (1, 2)).tolist()
    [[[[-0.5, 0.0], [0.5, 0.0]]]]
    """
    _check(theta, 8, size, 2)
    y, x = pixel_centres(size, theta)
    y = y[:, None]
    a = theta.t()[..., None, None]  # (8, N, 1, 1)
    depth = a[6] * x + (a[7] * y + 1)
    # A point of depth 0 lies at infinity; a small depth of its sign keeps it there, not NaN
    depth = torch.where(depth < 0, depth.clamp(max=-1e-3), depth.clamp(min=1e-3))
    source = [(a[i] * x + (a[i + 1] * y + a[i + 2])) / depth for i in (0, 3)]
    return torch.stack(source, dim=-1)


def control_points(side: int) -> Tensor:
    """Return a regular grid of control points, from edge to edge.

    Parameters
    ----------
    side : int
        Points along each axis; the paper has 4, so 16 in all.

    Returns
    -------
    Tensor
        float64, shape (side * side, 2), in rows from above.

    Examples
    --------
    >>> control_points(2).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def thin_plate_spline_matrix(points: Tensor, size: Sequence[int]) -> Tensor:
    """Return the matrix that turns destinations of control points into a sampling grid.

    A thin-plate spline is linear in where its control points go, so that with fixed control points
    a grid costs one product.

    Parameters
    ----------
    points : Tensor
        float64, shape (K, 2), control points in the output.
    size : sequence of int
        (H, W) of the output.

    Returns
    -------
    Tensor
        float64, shape (H * W, K).

    Raises
    ------
    UserError
        If fewer than three points are given, two coincide or all lie on a line.

    Examples
    --------
    >>> thin_plate_spline_matrix(control_points(4), (28, 28)).shape
    torch.Size([784, 16])
    """
    count = len(points)
    away = torch.cdist(points, points)
    if count < 3 or away.add(torch.eye(count, dtype=points.dtype) * 9).min() < 1e-6:
        raise UserError("a thin-plate spline needs three or more control points, no two at a place")
    centred = torch.linalg.svdvals(points - points.mean(dim=0))
    if centred[1] < 1e-6 * centred[0]:
        raise UserError(
            "the control points of the thin-plate spline lie on a line; move one off it"
        )
    y, x = pixel_centres(size, points)
    pixels = torch.cartesian_prod(y, x).flip(1)
    left = torch.zeros(count + 3, count + 3, dtype=points.dtype)
    left[:count, :count] = _radial(away)
    left[:count, count:] = _linear(points)
    left[count:, :count] = _linear(points).T
    right = torch.cat([_radial(torch.cdist(pixels, points)), _linear(pixels)], dim=1)
    return torch.linalg.solve(left, right.T).T[:, :count].contiguous()  # left is symmetric


def _radial(distance: Tensor) -> Tensor:
    """U(r) = r^2 log r^2, the spline's kernel."""
    square = distance.square()
    return torch.xlogy(square, square)


def _linear(points: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(points[:, :1]), points], dim=1)


@cache
def _regular_matrix(size: tuple[int, int]) -> Tensor:
    with torch.inference_mode(False):  # whoever asks first, a training may use it later
        return thin_plate_spline_matrix(control_points(4), size)


def thin_plate_spline_grid(parameters: Tensor, size: Sequence[int]) -> Tensor:
    """Return the grid of a thin-plate spline with 16 control points (Sec. 4.1).

    Parameters
    ----------
    parameters : Tensor
        Shape (N, 32): (x, y) in the input of every control point of `control_points(4)`.
    size : sequence of int
        (H, W) of the output.

    Returns
    -------
    Tensor
        Shape (N, H, W, 2).

    Examples
    --------
    >>> same = control_points(4).float().reshape(1, 32)
    >>> torch.allclose(thin_plate_spline_grid(same, (3, 5)), affine_grid(torch.eye(2, 3).reshape(
    ...     1, 6), (3, 5)), atol=1e-6)
    True
    """
    _check(parameters, 32, size, 2)
    matrix = _regular_matrix(tuple(size)).to(parameters)
    points = parameters.unflatten(1, (16, 2))
    # One product for all images, (H W, 16) times (16, 2 N), is faster than one per image
    grid = matrix @ points.permute(1, 0, 2).flatten(1)
    return grid.unflatten(1, (-1, 2)).movedim(1, 0).unflatten(1, tuple(size)).contiguous()


def affine_grid_3d(theta: Tensor, size: Sequence[int]) -> Tensor:
    """Return the grid of an affine transformation of volumes (App. A.3).

    Parameters
    ----------
    theta : Tensor
        Shape (N, 12): the rows of the matrices of shape 3 x 4, for (x, y, z, 1).
    size : sequence of int
        (D, H, W) of the output.

    Returns
    -------
    Tensor
        Shape (N, D, H, W, 3).

    Examples
    --------
    >>> same = torch.tensor([[1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]])
    >>> affine_grid_3d(same, (1, 1, 2)).tolist()
    [[[[[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]]]]
    """
    _check(theta, 12, size, 3)
    z, y, x = pixel_centres(size, theta)
    a = theta.unflatten(1, (3, 4)).movedim(0, -1)[..., None, None, None]  # (3, 4, N, 1, 1, 1)
    source = [
        row[0] * x + (row[1] * y[:, None] + (row[2] * z[:, None, None] + row[3])) for row in a
    ]
    return torch.stack(source, dim=-1)
