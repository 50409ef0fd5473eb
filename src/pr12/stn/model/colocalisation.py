"""Co-localisation: find what is common to images, without labels or boxes (App. A.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pr12.stn.model import distortions, grids, transformer

CANVAS = 84  # pixels
# Side of a random crop, and of the window before it learns, as shares of the canvas: a crop of
# 28 x 28 pixels of the canvas, which the embedding reads as it is
CROP = distortions.SIDE / CANVAS
UNITS = 8
CORRECT = 0.5  # intersection over union above which a window is right (App. A.2)


class Standardise(nn.Module):
    """Shift and scale canvases, which are nearly all dark, to mean 0 and deviation 1.

    Parameters
    ----------
    canvases : Tensor
        Of whose pixels mean and deviation are taken.

    Examples
    --------
    >>> Standardise(torch.tensor([0.0, 2.0]))(torch.tensor([3.0])).round(decimals=3)
    tensor([1.4140])
    """

    def __init__(self, canvases: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", canvases.mean())
        self.register_buffer("deviation", canvases.std(correction=1).clamp(min=1e-6))

    def forward(self, images: Tensor) -> Tensor:
        """Return the standardised images."""
        return (images - self.mean) / self.deviation


class Window(nn.Linear):
    """The last layer of a localisation net: scale and shift of a window, in the middle at first.

    Of the size that they start with, windows stay on the canvas: beyond it all is dark, and so all
    crops are alike. The scale learns at a rate of its own, since the hinge says where windows
    should be but little of their size: zoomed to a stroke of a class, crops are alike too.

    Parameters
    ----------
    features : int
        Of the layer before.
    start : float
        The first scale.
    scale_rate : float
        How fast the scale moves, as a share of the shifts' rate; 0 keeps it.

    Examples
    --------
    >>> Window(2, 0.5, 0.1)(torch.ones(1, 2)).tolist()
    [[0.5, 0.0, 0.0]]
    """

    def __init__(self, features: int, start: float, scale_rate: float) -> None:
        super().__init__(features, 3)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        self.start, self.rate = start, scale_rate

    def forward(self, features: Tensor) -> Tensor:
        """Return (scale, x, y), (N, features) -> (N, 3)."""
        free = super().forward(features)
        shift = (1 - self.start) * torch.tanh(free[:, 1:])
        return torch.cat([self.start + self.rate * free[:, :1], shift], dim=1)


def localiser(canvases: Tensor, stride: int, scale_rate: float) -> transformer.SpatialTransformer:
    """Build the transformer: 8 filters of 9 x 9, pooling by 2, 8 units, 8 units, scale and shift.

    Our source gives the convolution a stride of 4 and the net about 100,000 parameters. Both cannot
    be: stride 4 makes 5,947, stride 1 makes 93,179. Which one is meant is open; stride 1 is the
    reading that fits the number.

    Parameters
    ----------
    canvases : Tensor
        Shape (N, 1, 84, 84); what it will see.
    stride : int
        Of the convolution.
    scale_rate : float
        As of `Window`.

    Examples
    --------
    >>> net = localiser(torch.rand(2, 1, 84, 84), 1, 0.02)
    >>> sum(parameter.numel() for parameter in net.parameters())
    93179
    >>> crops, theta = net(torch.rand(2, 1, 84, 84))
    >>> crops.shape, theta.shape
    (torch.Size([2, 1, 28, 28]), torch.Size([2, 3]))
    """
    side = ((CANVAS - 9) // stride + 1) // 2
    net = nn.Sequential(
        Standardise(canvases),
        nn.Conv2d(1, 8, 9, stride=stride),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * side * side, UNITS),
        nn.ReLU(),
        nn.Linear(UNITS, UNITS),
        nn.ReLU(),
    )
    size = (distortions.SIDE, distortions.SIDE)
    built = transformer.SpatialTransformer(net, UNITS, "attention", size)
    built.theta = Window(UNITS, CROP, scale_rate)
    return built


def jittered(canvases: Tensor, most: int, stream: torch.Generator) -> Tensor:
    """Shift every canvas by its own whole number of pixels; what comes in is dark.

    The paper does not shift. A hundred images in clutter are learnt by heart before all of their
    digits are found; a digit that is never twice at a place must be found by its looks.

    Parameters
    ----------
    canvases : Tensor
        Shape (N, 1, S, S).
    most : int
        Pixels along each axis.
    stream : torch.Generator
        Where the shifts are drawn from.

    Returns
    -------
    Tensor
        Shape (N, 1, S, S).

    Examples
    --------
    >>> jittered(torch.ones(1, 1, 2, 2), 0, torch.Generator()).shape
    torch.Size([1, 1, 2, 2])
    """
    if most == 0:
        return canvases
    count, _, side, _ = canvases.shape
    shift = torch.randint(2 * most + 1, (count, 2), generator=stream, device=stream.device)
    wide = functional.pad(canvases[:, 0], [most] * 4)
    views = wide.unfold(1, side, 1).unfold(2, side, 1)  # every shift of every canvas; no copies
    rows = torch.arange(count, device=stream.device)
    return views[rows, shift[:, 0], shift[:, 1]][:, None]


def random_windows(count: int, stream: torch.Generator) -> Tensor:
    """Draw windows of 28 x 28 pixels anywhere on the canvas: (scale, x, y), shape (N, 3).

    Examples
    --------
    >>> random_windows(5, torch.Generator()).shape
    torch.Size([5, 3])
    """
    shift = 2 * torch.rand(count, 2, generator=stream, device=stream.device) - 1
    return torch.cat([torch.full_like(shift[:, :1], CROP), (1 - CROP) * shift], dim=1)


def crops(canvases: Tensor, windows: Tensor) -> Tensor:
    """Cut windows out, (N, 1, 84, 84) and (N, 3) -> (N, 1, 28, 28).

    Examples
    --------
    >>> crops(torch.ones(1, 1, 84, 84), torch.tensor([[0.25, 0.0, 0.0]])).mean().item()
    1.0
    """
    size = (distortions.SIDE, distortions.SIDE)
    return transformer.sample(canvases, grids.attention_grid(windows, size))


def triplet_hinge(chosen: Tensor, elsewhere: Tensor, margin: float) -> Tensor:
    """Return the mean hinge over all ordered pairs of images (App. A.2).

    For images n and m: max(0, |e(I_n^T) - e(I_m^T)|^2 - |e(I_n^T) - e(I_n^rand)|^2 + margin).
    The gradient goes into the window of I_n alone; that of I_m is its target. Through both, the
    windows' first and fastest gain is to have nothing in them: empty crops are alike, and there no
    gradient leads back. The value is the paper's.

    Parameters
    ----------
    chosen : Tensor
        Embedded crops of N images by the transformer, (N, D).
    elsewhere : Tensor
        Embedded random crops of the same images, (N, D).
    margin : float
        The paper's is 1.

    Returns
    -------
    Tensor
        Of no dimension.

    Examples
    --------
    >>> chosen, elsewhere = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0]])
    >>> float(triplet_hinge(chosen, elsewhere, 1.0))  # 1 - 1 + 1 and 1 - 4 + 1
    0.5
    """
    count = len(chosen)
    target = chosen.detach()
    lengths = chosen.square().sum(dim=1)[:, None] + target.square().sum(dim=1)
    apart = lengths - 2 * chosen @ target.T
    away = (chosen - elsewhere).square().sum(dim=1)
    hinge = (apart - away[:, None] + margin).clamp(min=0)
    others = ~torch.eye(count, dtype=torch.bool, device=chosen.device)
    return hinge[others].mean()


def boxes(windows: Tensor) -> Tensor:
    """Return the pixels that windows cover: left, top, right, bottom, shape (N, 4).

    Examples
    --------
    >>> boxes(torch.tensor([[0.5, 0.0, 1.0]])).tolist()
    [[21.0, 63.0, 63.0, 105.0]]
    """
    centre = (windows[:, 1:] + 1) * (CANVAS / 2)
    half = windows[:, :1].abs() * (CANVAS / 2)  # a mirrored window covers what its mirror does
    return torch.cat([centre - half, centre + half], dim=1)


def digit_boxes(corners: Tensor) -> Tensor:
    """Return the boxes of 28 x 28 pixels of digits whose top and left are known, (N, 2) -> (N, 4).

    Examples
    --------
    >>> digit_boxes(torch.tensor([[10, 0]])).tolist()
    [[0.0, 10.0, 28.0, 38.0]]
    """
    first = corners.flip(1).float()
    return torch.cat([first, first + distortions.SIDE], dim=1)


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Return the intersection over union of boxes, pair by pair, shape (N,).

    Parameters
    ----------
    one, other : Tensor
        Left, top, right, bottom, shape (N, 4).

    Examples
    --------
    >>> overlap(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]])).tolist()
    [0.3333333432674408]
    """
    first = torch.maximum(one[:, :2], other[:, :2])
    last = torch.minimum(one[:, 2:], other[:, 2:])
    shared = (last - first).clamp(min=0).prod(dim=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(dim=1) for box in (one, other)]
    return shared / (areas[0] + areas[1] - shared)


def correct_percent(overlaps: Tensor) -> float:
    """Return the share of windows that are right, in percent.

    Examples
    --------
    >>> correct_percent(torch.tensor([0.4, 0.5, 0.6, 0.9]))
    50.0
    """
    return 100 * float((overlaps > CORRECT).double().mean())
