"""Distorted MNIST, drawn anew for every batch on the device (Jaderberg et al. Sec. 4.1, App. A.4).

Every function takes a whole batch; no image is handled by itself. Digits are 28 x 28 and a
distortion says where in the digit every pixel of its canvas is sampled from, as a spatial
transformer does.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pr12.stn.model import grids, transformer
from pr12.workflow.errors import UserError

SIDE = 28  # pixels of a digit's image
BOX = 20  # pixels of the box that a digit of MNIST fills
PIXEL = 2 / SIDE  # a pixel of a digit's image in normalised coordinates
CANVAS = 42  # of RTS and addition
CLUTTERED = 60  # of TC
PATCHES, PATCH = 6, 6  # of TC: pieces of other digits, and their side


def framed(images: Tensor) -> Tensor:
    """Return digits as MNIST has them: in a box of 20 x 20 amid 28 x 28.

    Parameters
    ----------
    images : Tensor
        Shape (N, 28, 28), returned as they are, or smaller ones that fill their frame, such as
        scikit-learn's of 8 x 8.

    Returns
    -------
    Tensor
        Shape (N, 28, 28).

    Raises
    ------
    UserError
        If an image is not square or larger than 28 x 28.

    Examples
    --------
    >>> framed(torch.ones(2, 8, 8)).sum(dim=(1, 2)).tolist()
    [400.0, 400.0]
    """
    height, width = images.shape[1:]
    if height != width or height > SIDE:
        raise UserError(
            f"digits are {height} x {width} pixels; {SIDE} x {SIDE} or smaller squares are needed"
        )
    if height == SIDE:
        return images
    larger = functional.interpolate(
        images[:, None], (BOX, BOX), mode="bilinear", align_corners=False, antialias=False
    )
    return functional.pad(larger[:, 0], [(SIDE - BOX) // 2] * 4)


def uniform(count: int, low: float, high: float, stream: torch.Generator) -> Tensor:
    """Draw numbers uniformly on the stream's device.

    Parameters
    ----------
    count : int
        How many.
    low, high : float
        Between which they lie.
    stream : torch.Generator
        Where they are drawn from.

    Returns
    -------
    Tensor
        Shape (count,).

    Examples
    --------
    >>> bool((uniform(9, 2, 3, torch.Generator()) >= 2).all())
    True
    """
    return low + (high - low) * torch.rand(count, generator=stream, device=stream.device)


def moved(
    images: Tensor, angle: Tensor, scale: Tensor, shift: Tensor, canvas: int = SIDE
) -> Tensor:
    """Turn, scale and shift every digit by its own amount.

    Parameters
    ----------
    images : Tensor
        Shape (N, 28, 28).
    angle : Tensor
        Degrees, counter-clockwise as seen, shape (N,).
    scale : Tensor
        Above 1 enlarges, shape (N,).
    shift : Tensor
        Pixels right and down, shape (N, 2).
    canvas : int
        Side of the result, whose middle is the digit's before the shift.

    Returns
    -------
    Tensor
        Shape (N, canvas, canvas).

    Examples
    --------
    >>> image = torch.zeros(1, 28, 28)
    >>> image[0, 3, 5] = 1
    >>> still, one = torch.zeros(1), torch.ones(1)
    >>> round(float(moved(image, still, one, torch.tensor([[2.0, 1.0]]))[0, 4, 7]), 4)
    1.0
    """
    turn = torch.deg2rad(angle)
    cos, sin = torch.cos(turn) / scale, torch.sin(turn) / scale
    x, y = shift.unbind(dim=1)
    # The way back: from the canvas to the digit, so shift first, then turn and scale by inverses
    wide = canvas / SIDE
    theta = torch.stack(
        [
            *(cos * wide, -sin * wide, -(cos * x - sin * y) * PIXEL),
            *(sin * wide, cos * wide, -(sin * x + cos * y) * PIXEL),
        ],
        dim=1,
    )
    grid = grids.affine_grid(theta, (canvas, canvas))
    return transformer.sample(images[:, None], grid)[:, 0]


def rotated(images: Tensor, stream: torch.Generator) -> Tensor:
    """R: turn every digit by -90 to 90 degrees (Sec. 4.1).

    Parameters
    ----------
    images : Tensor
        Shape (N, 28, 28).
    stream : torch.Generator
        Of their device; where the angles are drawn from.

    Returns
    -------
    Tensor
        Shape (N, 28, 28).

    Examples
    --------
    >>> rotated(torch.rand(2, 28, 28), torch.Generator()).shape
    torch.Size([2, 28, 28])
    """
    count = len(images)
    angle = uniform(count, -90, 90, stream)
    return moved(images, angle, torch.ones_like(angle), angle.new_zeros(count, 2))


def rotated_scaled_translated(images: Tensor, stream: torch.Generator) -> Tensor:
    """RTS: turn by -45 to 45 degrees, scale by 0.7 to 1.2, put at a random place (Sec. 4.1).

    The place is such that the scaled image, as it was before the turn, lies within the canvas.

    Parameters
    ----------
    images : Tensor
        Shape (N, 28, 28).
    stream : torch.Generator
        Of their device; where scales, places and angles are drawn from.

    Returns
    -------
    Tensor
        Shape (N, 42, 42).

    Examples
    --------
    >>> rotated_scaled_translated(torch.rand(2, 28, 28), torch.Generator()).shape
    torch.Size([2, 42, 42])
    """
    count = len(images)
    scale = uniform(count, 0.7, 1.2, stream)
    room = ((CANVAS - SIDE * scale) / 2)[:, None]
    shift = room * uniform(2 * count, -1, 1, stream).reshape(count, 2)
    return moved(images, uniform(count, -45, 45, stream), scale, shift, CANVAS)


def projected(images: Tensor, stream: torch.Generator) -> Tensor:
    """P: scale by 0.75 to 1 and move each corner by N(0, 5 pixels); the corners sampled move.

    About once in a thousand images the corners move so far that they are no longer those of a
    convex figure; the image then holds a horizon, at which it is 0.

    Parameters
    ----------
    images : Tensor
        Shape (N, 28, 28).
    stream : torch.Generator
        Of their device; where scales and noise are drawn from.

    Returns
    -------
    Tensor
        Shape (N, 28, 28).

    Examples
    --------
    >>> projected(torch.rand(2, 28, 28), torch.Generator()).shape
    torch.Size([2, 28, 28])
    """
    count = len(images)
    scale = uniform(count, 0.75, 1, stream)[:, None, None]
    noise = torch.randn(count, 4, 2, generator=stream, device=stream.device)
    square = noise.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    theta = homography(square / scale + 5 * PIXEL * noise)
    return transformer.sample(images[:, None], grids.projective_grid(theta, (SIDE, SIDE)))[:, 0]


def homography(corners: Tensor) -> Tensor:
    """Return the projective map that takes the square from -1 to 1 to four corners.

    Parameters
    ----------
    corners : Tensor
        Shape (N, 4, 2): where the upper left, upper right, lower right and lower left corners go.

    Returns
    -------
    Tensor
        Shape (N, 8), as `grids.projective_grid` takes them. Heckbert (1989), Sec. 2.2.3.

    Examples
    --------
    >>> same = torch.tensor([[[-1.0, -1], [1, -1], [1, 1], [-1, 1]]])
    >>> (homography(same) + 0.0).tolist()  # no -0.0
    [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]
    """
    p0, p1, p2, p3 = corners.unbind(dim=1)
    a, b, total = p1 - p2, p3 - p2, p0 - p1 + p2 - p3

    def cross(u: Tensor, v: Tensor) -> Tensor:
        return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])[:, None]

    g, h = cross(total, b) / cross(a, b), cross(a, total) / cross(a, b)
    u, v = p1 - p0 + g * p1, p3 - p0 + h * p3  # the map of the square from 0 to 1
    middle = (g + h) / 2 + 1  # its depth at the centre, to be 1
    u, v, shift = u / 2 / middle, v / 2 / middle, ((u + v) / 2 + p0) / middle
    rows = torch.stack([u, v, shift], dim=2).flatten(1)
    return torch.cat([rows, g / 2 / middle, h / 2 / middle], dim=1)


def elastic(images: Tensor, stream: torch.Generator) -> Tensor:
    """E: scale by 0.75 to 1, move 16 control points of a thin-plate spline by N(0, 1.5 pixels).

    Parameters
    ----------
    images : Tensor
        Shape (N, 28, 28).
    stream : torch.Generator
        Of their device; where scales and noise are drawn from.

    Returns
    -------
    Tensor
        Shape (N, 28, 28).

    Examples
    --------
    >>> elastic(torch.rand(2, 28, 28), torch.Generator()).shape
    torch.Size([2, 28, 28])
    """
    count = len(images)
    scale = uniform(count, 0.75, 1, stream)[:, None, None]
    noise = torch.randn(count, 16, 2, generator=stream, device=stream.device)
    points = grids.control_points(4).to(noise) / scale + 1.5 * PIXEL * noise
    grid = grids.thin_plate_spline_grid(points.flatten(1), (SIDE, SIDE))
    return transformer.sample(images[:, None], grid)[:, 0]


def placed(images: Tensor, canvas: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """Put every digit at a random place, by whole pixels.

    Parameters
    ----------
    images : Tensor
        Shape (N, 28, 28).
    canvas : int
        Side of the result.
    stream : torch.Generator
        Where the places are drawn from.

    Returns
    -------
    canvases : Tensor
        Shape (N, canvas, canvas).
    corners : Tensor
        int64, shape (N, 2): top and left of each digit's image.

    Examples
    --------
    >>> placed(torch.ones(3, 28, 28), 60, torch.Generator())[0].sum(dim=(1, 2)).tolist()
    [784.0, 784.0, 784.0]
    """
    count = len(images)
    where = stream.device
    corners = torch.randint(canvas - SIDE + 1, (count, 2), generator=stream, device=where)
    index = _window(corners, SIDE, canvas)
    field = images.new_zeros(count, canvas * canvas).scatter_(1, index, images.flatten(1))
    return field.unflatten(1, (canvas, canvas)), corners


def _window(corners: Tensor, side: int, width: int) -> Tensor:
    """Positions in flattened images of the pixels of square windows, (N, side * side)."""
    steps = torch.arange(side, device=corners.device)
    rows = (corners[:, :1] + steps) * width
    columns = corners[:, 1:] + steps
    return (rows[:, :, None] + columns[:, None, :]).flatten(1)


def cluttered(canvases: Tensor, digits: Tensor, patches: int, stream: torch.Generator) -> Tensor:
    """Paste random 6 x 6 pieces of random digits at random places; the brighter pixel shows.

    Parameters
    ----------
    canvases : Tensor
        Shape (N, S, S).
    digits : Tensor
        Of which pieces are cut, shape (M, 28, 28).
    patches : int
        Pieces on each canvas.
    stream : torch.Generator
        Where pieces and places are drawn from.

    Returns
    -------
    Tensor
        Shape (N, S, S).

    Examples
    --------
    >>> float(cluttered(torch.zeros(1, 60, 60), torch.ones(1, 28, 28), 1, torch.Generator()).sum())
    36.0
    """
    count, side = len(canvases), canvases.shape[-1]
    where = {"generator": stream, "device": stream.device}
    flat, cut_from = canvases.flatten(1), digits.flatten(1)
    for _ in range(patches):  # one after the other, for they may overlap
        chosen = torch.randint(len(digits), (count, 1), **where)
        cut = torch.randint(SIDE - PATCH + 1, (count, 2), **where)
        piece = cut_from[chosen, _window(cut, PATCH, SIDE)]
        place = _window(torch.randint(side - PATCH + 1, (count, 2), **where), PATCH, side)
        flat = flat.scatter(1, place, torch.maximum(piece, flat.gather(1, place)))
    return flat.unflatten(1, (side, side))


class Distortion(NamedTuple):
    """What a net sees: (N, channels, side, side) of so many classes."""

    side: int
    channels: int
    classes: int
    draw: Callable[[Tensor, torch.Generator], Tensor] | None = None


DISTORTIONS = {
    "U": Distortion(SIDE, 1, 10, lambda images, stream: images),  # upright, as they are
    "R": Distortion(SIDE, 1, 10, rotated),
    "RTS": Distortion(CANVAS, 1, 10, rotated_scaled_translated),
    "P": Distortion(SIDE, 1, 10, projected),
    "E": Distortion(SIDE, 1, 10, elastic),
    "TC": Distortion(CLUTTERED, 1, 10),
    "addition": Distortion(CANVAS, 2, 19),
}


def batch(
    name: str, images: Tensor, labels: Tensor, rows: Tensor, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw one batch of a distortion.

    Parameters
    ----------
    name : str
        A name in `DISTORTIONS`.
    images, labels : Tensor
        All digits that may appear, (M, 28, 28) and (M,); clutter and second digits of addition
        are drawn from them too.
    rows : Tensor
        The batch's digits, (N,).
    stream : torch.Generator
        Of their device; where the distortions are drawn from.

    Returns
    -------
    inputs : Tensor
        Shape (N, channels, side, side).
    targets : Tensor
        int64, shape (N,): the digit, or the sum of both.

    Examples
    --------
    >>> digits, labels = torch.rand(5, 28, 28), torch.arange(5)
    >>> inputs, targets = batch("addition", digits, labels, torch.tensor([4]), torch.Generator())
    >>> inputs.shape, 4 <= int(targets) <= 8
    (torch.Size([1, 2, 42, 42]), True)
    """
    if name == "TC":
        canvases, _ = placed(images[rows], CLUTTERED, stream)
        return cluttered(canvases, images, PATCHES, stream)[:, None], labels[rows]
    if name == "addition":
        count = len(rows)
        others = torch.randint(len(images), (count,), generator=stream, device=stream.device)
        both = torch.cat([rows, others])
        drawn = rotated_scaled_translated(images[both], stream)
        return drawn.unflatten(0, (2, count)).transpose(0, 1), labels[both].view(2, -1).sum(dim=0)
    return DISTORTIONS[name].draw(images[rows], stream)[:, None], labels[rows]
