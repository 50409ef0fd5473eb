"""A fine-grained task made by rule: objects that differ only in two small parts at random places.

Every image shows one object, a grey bar with a part at either end, before a blurred, noisy
background with distractors. The left part is red, the right one blue; each lies anywhere in its
half. A part is a disc whose upper half is striped along or across, and its lower half too: four
kinds, sixteen classes in all. Distractors look like parts of other colours.

Stripes repeat every 3.2 pixels. At half the resolution 1.6 are left, fewer than the two that it
takes to show them, and of their contrast a sixth or less: a look at the whole image loses most of
what a window of half its side (Jaderberg et al. Sec. 4.3) keeps. A window that cuts a part in two
loses half of its kind, so that it matters where it lies, and one window cannot hold both parts
unless they are near the middle.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pr12.workflow.errors import UserError

PARTS = ("a", "b")  # left and right
KINDS = 4  # of each part: two halves, two directions of stripes
CLASSES = KINDS * KINDS
RADIUS = 4  # of a part, in pixels
PERIOD = 3.2  # pixels from stripe to stripe
HEIGHTS = 0.65  # how far above or below the middle a part's centre may lie
ACROSS = (0.2, 0.8)  # how far beside the middle
CONTRAST = 0.2  # of stripes; images go from 0 to 1
NOISE = 0.08  # standard deviation of the pixels' noise
DISTRACTORS = 3
RED, BLUE = (0.85, 0.3, 0.25), (0.25, 0.35, 0.85)
OTHERS = ((0.3, 0.7, 0.3), (0.8, 0.75, 0.3), (0.7, 0.35, 0.75))  # colours of distractors
SMALLEST = 32  # pixels; below, parts would reach out of the image or into each other
AT_ONCE = 250  # images, which bounds the memory


class Objects(NamedTuple):
    """Images, uint8 (N, 3, S, S), classes, int64 (N,), and the parts' centres, (N, 2, 2), x y."""

    images: Tensor
    labels: Tensor
    places: Tensor  # -1 and 1 are the image's edges


def draw(count: int, size: int, stream: torch.Generator) -> Objects:
    """Draw images of objects.

    Parameters
    ----------
    count : int
        How many.
    size : int
        Side in pixels.
    stream : torch.Generator
        On the CPU.

    Returns
    -------
    Objects
        Class 4 a + b for the kinds a and b of the left and the right part.

    Raises
    ------
    UserError
        If the images are too small for stripes.

    Examples
    --------
    >>> parts = draw(2, 40, torch.Generator().manual_seed(0))
    >>> parts.images.shape, parts.places.shape
    (torch.Size([2, 3, 40, 40]), torch.Size([2, 2, 2]))
    """
    if size < SMALLEST:
        raise UserError(f"size is {size}; objects need images of {SMALLEST} pixels or more")
    numbers = [min(AT_ONCE, count - done) for done in range(0, count, AT_ONCE)]
    parts = [_draw(number, size, stream) for number in numbers]
    return Objects(*(torch.cat(each) for each in zip(*parts, strict=True)))


def radius(size: int) -> float:
    """Return the radius of a part in halves of the image's side.

    Parameters
    ----------
    size : int
        Side in pixels.

    Examples
    --------
    >>> radius(64)
    0.125
    """
    return 2 * RADIUS / size


def _draw(count: int, size: int, stream: torch.Generator) -> Objects:
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=stream)

    def integers(below: int, *shape: int) -> Tensor:
        return torch.randint(below, (count, *shape), generator=stream)

    coarse = 0.5 + 0.12 * torch.randn(count, 3, 5, 5, generator=stream)
    images = functional.interpolate(
        coarse, (size, size), mode="bicubic", align_corners=False, antialias=False
    )
    kinds = integers(KINDS, 2)
    x = torch.stack([uniform(-ACROSS[1], -ACROSS[0]), uniform(*ACROSS)], dim=1)
    places = torch.stack([x, uniform(-HEIGHTS, HEIGHTS, 2)], dim=2)
    images = bar(images, places, uniform(0.35, 0.65, 1).expand(count, 3))
    for _ in range(DISTRACTORS):
        colour = torch.tensor(OTHERS)[integers(len(OTHERS))]
        images = disc(images, uniform(-1, 1, 2), colour, integers(KINDS), uniform(0, 1))
    for part, shade in enumerate((RED, BLUE)):
        colour = torch.tensor(shade) + uniform(-0.05, 0.05, 3)
        images = disc(images, places[:, part], colour, kinds[:, part], uniform(0, 1))
    images = images + NOISE * torch.randn(images.shape, generator=stream)
    pixels = (255 * images.clamp(0, 1)).round().to(torch.uint8)
    return Objects(pixels, KINDS * kinds[:, 0] + kinds[:, 1], places)


def _covered(images: Tensor, distance: Tensor, radius: float) -> Tensor:
    """Return how much of each pixel a shape of a radius in pixels covers, (N, 1, S, S)."""
    return (radius + 0.5 - distance * images.shape[-1] / 2).clamp(0, 1)[:, None]


def _grid(size: int) -> tuple[Tensor, Tensor]:
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    return axis, axis[:, None]


def bar(images: Tensor, places: Tensor, colour: Tensor) -> Tensor:
    """Draw the body: a bar from one part to the other.

    Parameters
    ----------
    images : Tensor
        Shape (N, 3, S, S).
    places : Tensor
        Shape (N, 2, 2): centres of both ends.
    colour : Tensor
        Shape (N, 3).

    Examples
    --------
    >>> ends = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]])
    >>> bar(torch.zeros(1, 3, 8, 8), ends, torch.ones(1, 3))[0, 0, 0:4, 4].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    x, y = _grid(images.shape[-1])
    start, along = places[:, 0, :, None, None], (places[:, 1] - places[:, 0])[..., None, None]
    from_x, from_y = x - start[:, 0], y - start[:, 1]
    share = (from_x * along[:, 0] + from_y * along[:, 1]) / along.square().sum(dim=1)
    share = share.clamp(0, 1)
    distance = torch.hypot(from_x - share * along[:, 0], from_y - share * along[:, 1])
    covered = _covered(images, distance, RADIUS / 2)
    return images * (1 - covered) + covered * colour[..., None, None]


def disc(images: Tensor, place: Tensor, colour: Tensor, kind: Tensor, phase: Tensor) -> Tensor:
    """Draw a disc whose halves are striped.

    Parameters
    ----------
    images : Tensor
        Shape (N, 3, S, S).
    place : Tensor
        Shape (N, 2): centres.
    colour : Tensor
        Shape (N, 3); the lower half is of a paler shade.
    kind : Tensor
        int64, shape (N,): 2 u + l, where u and l are 1 if the stripes of the upper and the lower
        half lie across, 0 if they stand upright.
    phase : Tensor
        Shape (N,), from 0 to 1: where stripes begin.

    Examples
    --------
    >>> one, black = torch.zeros(1), torch.zeros(1, 3, 8, 8)
    >>> drawn = disc(black, torch.zeros(1, 2), torch.ones(1, 3), torch.tensor([2]), one)
    >>> bool((drawn[0, 0, 3, 3:5] == drawn[0, 0, 3, 3]).all())  # across above
    True
    """
    size = images.shape[-1]
    x, y = _grid(size)
    centre = place[..., None, None]
    covered = _covered(images, torch.hypot(x - centre[:, 0], y - centre[:, 1]), RADIUS)
    angle = 2 * math.pi * (torch.arange(size) / PERIOD + phase[:, None])
    upright = torch.sin(angle)[:, None, None, :].expand(-1, 1, size, size)
    across = upright.mT
    above = (y < centre[:, 1])[:, None]
    crosses = torch.where(above, (kind // 2)[:, None, None, None], (kind % 2)[:, None, None, None])
    stripes = CONTRAST * torch.where(crosses == 1, across, upright)
    colour = colour[..., None, None]
    filled = torch.where(above, colour, 0.3 + 0.4 * colour) + stripes
    return images * (1 - covered) + covered * filled
