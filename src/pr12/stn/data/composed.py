"""Compose house numbers: digits side by side on a part of a photograph.

They stand in where SVHN cannot be had. A sequence of one to five digits has one size, slope and
colour, and lies anywhere in the picture, so that a transformer has something to find. Photographs
are those inside the wheel of scikit-image; no photograph serves two splits.
"""

import math
from functools import cache

import torch
from skimage import data
from torch import Tensor
from torch.nn import functional

from pr12.workflow.errors import UserError

LONGEST = 5  # digits of a sequence, which is the number of the network's heads
BLANK = 10  # the class of a place without a digit
# Texts (page, text) are left out: they hold characters. All are in the wheel, none is downloaded.
PHOTOGRAPHS = {
    "train": ("astronaut", "brick", "camera", "coffee", "gravel", "rocket"),
    "validation": ("coins", "moon", "retina"),
    "test": ("chelsea", "grass", "hubble_deep_field", "stereo_motorcycle"),
}
FIELD = 2.5  # the short side of a photograph, in sides of a picture
ZOOM = 1.5  # the largest part of a photograph, in sides of a picture
SLOPE = math.radians(15)  # of the line that the digits stand on, at most
TURN = math.radians(8)  # of one digit against that line, at most
UNEVEN = 0.1  # by how much of its height one digit is larger, smaller, higher or lower, at most
CONTRAST = 0.35  # between digits and the mean of what is behind them, at least
INK = 0.25  # a pixel of so much belongs to its digit
CHUNK = 500  # sequences at a time, which bounds the memory


@cache
def photographs(split: str, size: int) -> list[Tensor]:
    """Return a split's photographs, shrunk so that a picture is a part of them.

    Parameters
    ----------
    split : str
        ``train``, ``validation`` or ``test``.
    size : int
        Side of the pictures in pixels.

    Returns
    -------
    list of Tensor
        Each (3, H, W), 0 to 1; the shorter side is `FIELD` times `size`.

    Examples
    --------
    >>> [tuple(photograph.shape) for photograph in photographs("train", 32)][:2]
    [(3, 80, 80), (3, 80, 80)]
    """
    images = []
    for name in PHOTOGRAPHS[split]:
        pixels = getattr(data, name)()
        if isinstance(pixels, tuple):
            pixels = pixels[0]  # the left one of a pair
        image = torch.from_numpy(pixels.copy()).float() / 255
        image = image.expand(3, -1, -1) if image.ndim == 2 else image[..., :3].permute(2, 0, 1)
        shorter = round(FIELD * size)
        sides = [max(shorter, round(shorter * n / min(image.shape[1:]))) for n in image.shape[1:]]
        images.append(
            functional.interpolate(
                image[None], sides, mode="bilinear", align_corners=False, antialias=True
            )[0].clamp(0, 1)
        )
    return images


def backgrounds(count: int, split: str, size: int, stream: torch.Generator) -> Tensor:
    """Cut squares out of photographs: anywhere, up to `ZOOM` times as large, half of them mirrored.

    Parameters
    ----------
    count : int
        Number of pictures.
    split : str
        Whose photographs.
    size : int
        Side of the pictures in pixels.
    stream : torch.Generator
        Where they are drawn from.

    Returns
    -------
    Tensor
        Shape (count, 3, size, size), 0 to 1.

    Examples
    --------
    >>> backgrounds(2, "test", 32, torch.Generator()).shape
    torch.Size([2, 3, 32, 32])
    """
    sources = photographs(split, size)
    which = torch.randint(len(sources), (count,), generator=stream)
    random = torch.rand(4, count, 1, 1, generator=stream)
    side = size * (1 + (ZOOM - 1) * random[0])  # pixels of the photograph
    steps = (torch.arange(size) + 0.5) / size
    mirrored = torch.where(random[3] < 0.5, steps, 1 - steps)
    pictures = torch.empty(count, 3, size, size)
    for number, source in enumerate(sources):
        chosen = which == number
        height, width = source.shape[1:]
        x = (random[1] * (width - side) + side * mirrored)[chosen] * (2 / width) - 1
        y = (random[2] * (height - side) + side * steps[:, None])[chosen] * (2 / height) - 1
        grid = torch.stack(torch.broadcast_tensors(x, y), dim=-1)  # (n, size, size, 2)
        # One tall picture: the photograph need not be copied for each
        cut = functional.grid_sample(
            source[None], grid.flatten(0, 1)[None], mode="bilinear", padding_mode="border",
            align_corners=False,
        )  # fmt: skip
        pictures[chosen] = cut[0].unflatten(1, (-1, size)).movedim(1, 0)
    return pictures


def ink_boxes(digits: Tensor) -> Tensor:
    """Return the box around the ink of each digit.

    Parameters
    ----------
    digits : Tensor
        Shape (N, h, w), 0 to 1.

    Returns
    -------
    Tensor
        Shape (N, 4): left, top, right, bottom in pixels, of edges.

    Raises
    ------
    UserError
        If a digit has no ink.

    Examples
    --------
    >>> digit = torch.zeros(1, 8, 8)
    >>> digit[0, 2:5, 3] = 1
    >>> ink_boxes(digit).tolist()
    [[3.0, 2.0, 4.0, 5.0]]
    """
    ink = digits >= INK
    columns, rows = ink.any(dim=1).int(), ink.any(dim=2).int()
    if not columns.any(dim=1).all():
        where = int((~columns.bool().any(dim=1)).nonzero()[0])
        raise UserError(
            f"digit {where} has no ink (no pixel of {INK} or more); make the split anew"
        )
    first = [axis.argmax(dim=1) for axis in (columns, rows)]
    last = [axis.shape[1] - axis.flip(1).argmax(dim=1) for axis in (columns, rows)]
    return torch.stack([*first, *last], dim=1).float()


def layout(
    widths: Tensor, used: Tensor, size: int, heights: tuple[float, ...], stream: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose where the digits of each sequence lie.

    Parameters
    ----------
    widths : Tensor
        Shape (N, L), widths of the digits for a height of 1.
    used : Tensor
        bool, shape (N, L); the others are blank.
    size : int
        Side of the pictures in pixels.
    heights : tuple of float
        Smallest and largest height in pixels; what does not fit is made smaller.
    stream : torch.Generator
        Where they are drawn from.

    Returns
    -------
    centres, height, angle : Tensor
        Shape (N, L, 2), (x, y) in pixels; (N, L) in pixels; (N, L) in radians, clockwise.

    Examples
    --------
    >>> widths, used = torch.ones(1, 2), torch.tensor([[True, False]])
    >>> centres, height, angle = layout(widths, used, 64, (20.0, 30.0), torch.Generator())
    >>> bool(((centres > 0) & (centres < 64)).all()), bool((height < 34).all())
    (True, True)
    """
    count, places = widths.shape
    random = torch.rand(count, 5 + 3 * places, generator=stream)
    low, high = heights
    gap = 0.05 + 0.2 * random[:, :1]  # between two digits, for a height of 1
    steps = torch.where(used, widths + gap, 0.0)
    length = steps.sum(dim=1, keepdim=True)
    along = steps.cumsum(dim=1) - steps / 2 - length / 2
    slope = SLOPE * (2 * random[:, 1:2] - 1)
    tall = 1 + 3 * UNEVEN  # a digit that is higher, larger and turned
    extent = torch.cat(
        [
            length * slope.cos() + tall * slope.sin().abs(),
            length * slope.sin().abs() + tall * slope.cos(),
        ],
        dim=1,
    )
    height = low + (high - low) * random[:, 2:3]
    height = torch.minimum(height, size / extent.amax(dim=1, keepdim=True))
    signed = 2 * random[:, 5:].unflatten(1, (3, places)) - 1
    room = size - extent * height
    middle = extent * height / 2 + room * random[:, 3:5]
    up = UNEVEN * signed[:, 0]
    x = along * slope.cos() - up * slope.sin()
    y = along * slope.sin() + up * slope.cos()
    centres = middle[:, None] + torch.stack([x, y], dim=2) * height[..., None]
    return centres, height * (1 + UNEVEN * signed[:, 1]), slope + TURN * signed[:, 2]


def masks(
    digits: Tensor, boxes: Tensor, centres: Tensor, height: Tensor, angle: Tensor, size: int
) -> Tensor:
    """Draw each digit at its place.

    Parameters
    ----------
    digits, boxes : Tensor
        Shape (N, h, w), 0 to 1, and (N, 4) as `ink_boxes` gives them.
    centres, height, angle : Tensor
        Shape (N, 2), (N,), (N,), of the ink, as `layout` gives them.
    size : int
        Side of the pictures in pixels.

    Returns
    -------
    Tensor
        Shape (N, size, size), 0 to 1.

    Examples
    --------
    >>> place = torch.tensor([[4.0, 4.0]]), torch.tensor([8.0]), torch.tensor([0.0])
    >>> drawn = masks(torch.ones(1, 4, 4), torch.tensor([[0.0, 0, 4, 4]]), *place, 8)
    >>> drawn[0, 3].tolist()  # all ink; the edge fades, for outside of the digit there is none
    [0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75]
    """
    rows, columns = digits.shape[1:]
    scale = (boxes[:, 3] - boxes[:, 1]) / height  # pixels of the digit in one of the picture
    cos, sin = scale * angle.cos(), scale * angle.sin()
    axis = torch.arange(size) + 0.5
    x, y = axis - centres[:, :1], axis - centres[:, 1:]  # (N, size) each
    # From a pixel of the picture to its place in the digit
    across = cos[:, None, None] * x[:, None] + (sin[:, None] * y)[..., None]
    down = -sin[:, None, None] * x[:, None] + (cos[:, None] * y)[..., None]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    grid = torch.stack(
        [
            (across + middle[:, :1, None]) * (2 / columns) - 1,
            (down + middle[:, 1:, None]) * (2 / rows) - 1,
        ],
        dim=-1,
    )
    return functional.grid_sample(
        digits[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )[:, 0]


def painted(behind: Tensor, mask: Tensor, stream: torch.Generator) -> Tensor:
    """Paint what a mask covers in one colour per picture, lighter or darker than what is behind.

    Parameters
    ----------
    behind : Tensor
        Shape (N, 3, S, S), 0 to 1.
    mask : Tensor
        Shape (N, S, S), 0 to 1.
    stream : torch.Generator
        Where colours are drawn from.

    Returns
    -------
    Tensor
        Shape (N, 3, S, S), 0 to 1.

    Examples
    --------
    >>> grey, all_of_it = torch.full((9, 3, 1, 1), 0.6), torch.ones(9, 1, 1)
    >>> bool((painted(grey, all_of_it, torch.Generator()).mean(dim=1) < 0.3).all())
    True
    """
    random = torch.rand(len(behind), 4, 1, 1, generator=stream)
    covered = mask[:, None]
    grey = behind.mean(dim=1, keepdim=True)
    mean = (grey * covered).sum(dim=(2, 3), keepdim=True)
    mean = mean / covered.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    side = torch.where(mean < 0.5, 1.0, -1.0)  # there is more room on this side
    room = torch.where(mean < 0.5, 1 - mean, mean)
    value = mean + side * (CONTRAST + (room - CONTRAST) * random[:, :1])
    tint = 0.3 * (random[:, 1:] - random[:, 1:].mean(dim=1, keepdim=True))
    colour = (value + tint).clamp(0, 1)
    return behind + covered * (colour - behind)


def compose(
    digits: Tensor,
    labels: Tensor,
    count: int,
    split: str,
    size: int,
    max_digits: int,
    heights: tuple[float, ...],
    stream: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Compose sequences; their lengths are equally likely.

    Parameters
    ----------
    digits, labels : Tensor
        Shape (N, h, w), 0 to 1, and int64 (N,), 0 to 9.
    count : int
        Number of sequences.
    split : str
        Whose photographs: ``train``, ``validation`` or ``test``.
    size : int
        Side of the pictures in pixels.
    max_digits : int
        1 to `LONGEST`.
    heights : tuple of float
        Smallest and largest height of a sequence's digits in pixels.
    stream : torch.Generator
        Where everything is drawn from.

    Returns
    -------
    images, sequences : Tensor
        uint8 (count, 3, size, size), and int64 (count, 5), `BLANK` after the last digit.

    Raises
    ------
    UserError
        If a digit has no ink.

    Examples
    --------
    >>> digit = torch.ones(1, 8, 8), torch.tensor([7])
    >>> images, sequences = compose(*digit, 3, "test", 32, 1, (8.0, 16.0), torch.Generator())
    >>> images.shape, sequences[0].tolist()
    (torch.Size([3, 3, 32, 32]), [7, 10, 10, 10, 10])
    """
    boxes = ink_boxes(digits)
    relative = (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    sequences = torch.full((count, LONGEST), BLANK)
    for rows in torch.arange(count).split(CHUNK):
        length = torch.randint(1, max_digits + 1, (len(rows), 1), generator=stream)
        used = torch.arange(max_digits) < length
        which = torch.randint(len(digits), used.shape, generator=stream)
        places = layout(relative[which], used, size, heights, stream)
        ink = _ink(digits, boxes, which, used, places, size)
        picture = painted(backgrounds(len(rows), split, size, stream), ink, stream)
        images[rows] = (picture * 255).round().to(torch.uint8)
        sequences[rows, :max_digits] = torch.where(used, labels[which], BLANK)
    return images, sequences


def _ink(
    digits: Tensor,
    boxes: Tensor,
    which: Tensor,
    used: Tensor,
    places: tuple[Tensor, Tensor, Tensor],
    size: int,
) -> Tensor:
    """Return the mask of each sequence, (N, size, size): its digits `which`, each at its place."""
    joined = torch.zeros(len(used), size, size)
    for column in range(used.shape[1]):
        rows = used[:, column]
        chosen = which[rows, column]
        centres, height, angle = (place[rows, column] for place in places)
        drawn = masks(digits[chosen], boxes[chosen], centres, height, angle, size)
        joined[rows] = torch.maximum(joined[rows], drawn)
    return joined
