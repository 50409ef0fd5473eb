"""Parallel transformers before one network each, for fine-grained classes (Sec. 4.3).

One localisation net looks at the whole image, made smaller, and places every window; a window has
half the image's side and is sampled from the image itself. Every transformer has a network of its
own, their descriptors are joined, and one softmax layer classifies.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pr12.core import vision
from pr12.stn.model import transformer
from pr12.workflow.errors import UserError

LOCALISED = 128  # channels, then units, of the localisation net after its backbone
WINDOW = 0.5  # a window's side, in sides of the image
SMALLEST = {"small": 8, "googlenet": 32}  # pixels that a backbone needs along a side
DESCRIPTOR = 1024  # channels that GoogLeNet gives
HEAD = ("fc.", "aux1.", "aux2.")  # of a whole GoogLeNet: layers that are not used here


class Architecture(NamedTuple):
    """What the shapes of a network's parameters depend on."""

    transformers: int  # 0: one network looks at the whole image
    backbone: str  # ``small`` or ``googlenet``
    width: int  # channels of the small backbone's first layer
    output_size: int  # side of what each backbone sees, in pixels
    classes: int
    dropout: float  # before the softmax; paper: 0.7


def tiled(transformers: int) -> list[tuple[float, float]]:
    """Return the centres from which windows start: they tile the image (Sec. 4.3).

    Parameters
    ----------
    transformers : int
        How many, at least 1.

    Examples
    --------
    >>> tiled(1), tiled(2)
    ([(0.0, 0.0)], [(-0.5, 0.0), (0.5, 0.0)])
    >>> tiled(4)
    [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]
    """
    if transformers < 1:
        raise UserError(f"transformers is {transformers}; windows tile an image from 1 on")
    columns = math.ceil(math.sqrt(transformers))
    rows = math.ceil(transformers / columns)
    return [
        ((2 * (i % columns) + 1) / columns - 1, (2 * (i // columns) + 1) / rows - 1)
        for i in range(transformers)
    ]


def convolution(channels: int, width: int, side: int = 3, pool: bool = False) -> list[nn.Module]:
    """Return a convolution, batch normalisation, perhaps a 2 x 2 maximum, and a rectifier.

    A maximum before the rectifier is the same as after it, and faster.
    """
    layers = [nn.Conv2d(channels, width, side, padding=side // 2, bias=False)]
    layers += [nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)]
    return [*layers, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU()]


def backbone(name: str, width: int) -> tuple[nn.Module, int]:
    """Return a network without its last pooling, and how many channels it gives.

    Parameters
    ----------
    name : str
        ``small``: four 3 x 3 convolutions; ``googlenet``: torchvision's, which is Inception with
        batch normalisation.
    width : int
        Channels of the small network's first layer.

    Examples
    --------
    >>> net, channels = backbone("small", 4)
    >>> net(torch.zeros(1, 3, 24, 24)).shape, channels
    (torch.Size([1, 16, 3, 3]), 16)
    """
    if name not in SMALLEST or width < 1:
        raise UserError(
            f"backbone is {name!r} of width {width}; allowed: {', '.join(SMALLEST)}, of 1 or more"
        )
    if name == "small":
        layers = convolution(3, width, pool=True) + convolution(width, 2 * width, pool=True)
        layers += convolution(2 * width, 4 * width, pool=True)
        layers += convolution(4 * width, 4 * width)
        return nn.Sequential(*layers), 4 * width
    models = vision.import_torchvision().models
    # transform_input is for another normalisation than `normalised` gives
    whole = models.GoogLeNet(
        num_classes=2, aux_logits=False, transform_input=False, init_weights=True, dropout=0.0
    )
    unused = ("avgpool", "dropout", "fc", "aux1", "aux2")
    parts = [(key, part) for key, part in whole.named_children() if key not in unused]
    return nn.Sequential(OrderedDict(parts)), DESCRIPTOR


def cells(name: str, side: int) -> int:
    """Count the places of the features that a backbone gives of an image.

    Parameters
    ----------
    name : str
        As of `backbone`.
    side : int
        Of the image, in pixels.

    Examples
    --------
    >>> cells("googlenet", 224), cells("small", 20)
    (49, 4)
    """
    if name == "small":  # three poolings; torch's shapes without numbers would import a compiler
        return (side // 8) ** 2
    with torch.device("meta"):  # shapes without memory or random numbers
        features = backbone(name, 1)[0].eval()(torch.empty(1, 3, side, side))
    return features.shape[2] * features.shape[3]


class PartNetwork(nn.Module):
    """Windows on parts, a backbone for each, one softmax layer.

    Parameters
    ----------
    architecture : Architecture
        The network's.

    Raises
    ------
    UserError
        If a number of the architecture makes no sense, there is no such backbone, or the windows
        are too small for it.

    Examples
    --------
    >>> net = PartNetwork(Architecture(2, "small", 4, 24, 16, 0.0)).eval()
    >>> logits, theta = net(torch.zeros(1, 3, 48, 48))
    >>> logits.shape, theta.tolist()
    (torch.Size([1, 16]), [[[-0.5, 0.0], [0.5, 0.0]]])
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.count, name, width, side, classes, dropout = architecture
        if self.count < 0 or classes < 2 or not 0 <= dropout < 1:
            raise UserError(
                f"transformers is {self.count}, classes {classes} and dropout {dropout}; give 0 "
                "transformers or more, 2 classes or more and a dropout from 0 to below 1"
            )
        if side < SMALLEST.get(name, side):
            raise UserError(
                f"output_size is {side}; the {name} backbone needs {SMALLEST[name]} pixels or more"
            )
        self.side = side
        backbones = [backbone(name, width) for _ in range(max(1, self.count))]
        channels = backbones[0][1]
        self.backbones = nn.ModuleList(net for net, _ in backbones)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels * len(backbones), classes)
        if self.count:
            # The paper does not say what stands between its layers. Normalised features make the
            # last layer, which starts at zero, learn at once where to look; rectified units that
            # are not normalised die when it does.
            self.localisation = nn.Sequential(
                backbone(name, width)[0],
                *convolution(channels, LOCALISED, side=1),
                nn.Flatten(),
                nn.Linear(LOCALISED * cells(name, side), LOCALISED, bias=False),
                nn.BatchNorm1d(LOCALISED, eps=1e-5, momentum=0.1),
                nn.Tanh(),
            )
            self.theta = nn.Linear(LOCALISED, 2 * self.count)
            nn.init.zeros_(self.theta.weight)
            with torch.no_grad():
                self.theta.bias.copy_(torch.tensor(tiled(self.count)).flatten())

    def windows(self, images: Tensor, smaller: Tensor) -> Tensor:
        """Return the windows' centres (x, y), shape (N, T, 2), from the images made smaller."""
        if not self.count:
            return images.new_zeros(len(images), 0, 2)
        features = self.localisation(smaller).to(self.theta.weight.dtype)
        # A coordinate needs more than the eight bits of bfloat16
        with torch.autocast(images.device.type, enabled=False):
            return self.theta(features).unflatten(1, (self.count, 2))

    def crops(self, images: Tensor, theta: Tensor) -> list[Tensor]:
        """Return what each transformer passes on, (N, 3, output, output)."""
        grids = [
            transformer.TRANSFORMS["crop"].grid(centre, (self.side, self.side))
            for centre in theta.unbind(dim=1)
        ]
        sampled = [transformer.sample(images, grid) for grid in grids]
        return [crop.contiguous(memory_format=torch.channels_last) for crop in sampled]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and windows' centres (x, y), shape (N, T, 2), of images (N, 3, S, S)."""
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise UserError(
                f"the images have the shape {tuple(images.shape)}; this net reads squares of three "
                "channels, (images, 3, side, side)"
            )
        smaller = shrunk(images, self.side)
        theta = self.windows(images, smaller)
        seen = self.crops(images, theta) if self.count else [smaller]
        pairs = zip(self.backbones, seen, strict=True)
        described = torch.cat([net(view).mean(dim=(2, 3)) for net, view in pairs], dim=1)
        return self.classifier(self.dropout(described)), theta


def shrunk(images: Tensor, side: int) -> Tensor:
    """Return images at another resolution, without aliasing.

    Parameters
    ----------
    images : Tensor
        Shape (N, 3, S, S).
    side : int
        Wanted, in pixels.

    Examples
    --------
    >>> shrunk(torch.ones(1, 3, 8, 8), 4).shape
    torch.Size([1, 3, 4, 4])
    """
    if images.shape[-1] != side:
        images = functional.interpolate(
            images, (side, side), mode="bilinear", align_corners=False, antialias=True
        )
    return images.contiguous(memory_format=torch.channels_last)


def normalised(images: Tensor) -> Tensor:
    """Return images as networks read them: from -1 to 1, as torchvision's GoogLeNet learnt them.

    Parameters
    ----------
    images : Tensor
        uint8.

    Examples
    --------
    >>> normalised(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    [-1.0, 1.0]
    """
    return images.float() / 127.5 - 1


def load_pretrained(net: PartNetwork, tensors: Mapping[str, Tensor], where: str) -> None:
    """Start all GoogLeNets of a network from one that was trained on ImageNet.

    Parameters
    ----------
    net : PartNetwork
        Of the backbone ``googlenet``; changed in place.
    tensors : mapping of str to Tensor
        Parameters by torchvision's names, such as ``conv1.conv.weight``; its softmax layers are
        not used.
    where : str
        What to call them in messages.

    Raises
    ------
    UserError
        If they are not those of torchvision's GoogLeNet, or not finite.

    Examples
    --------
    >>> load_pretrained(PartNetwork(Architecture(0, "googlenet", 1, 32, 2, 0.0)), {}, "a.st")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: a.st has not the parameters of torchvision's GoogLeNet \
(first of 285: conv1.conv.weight); give a file of its state_dict
    """
    nets = [*net.backbones, *([net.localisation[0]] if net.count else [])]
    expected = nets[0].state_dict()
    # Some converters leave out the count of batches, which nothing depends on
    needed = [key for key in expected if not key.endswith("num_batches_tracked")]
    weights = {key: value for key, value in tensors.items() if not key.startswith(HEAD)}
    wrong = [key for key in needed if key not in weights or not _fits(weights[key], expected[key])]
    wrong += [key for key in weights if key not in expected]
    if wrong:
        raise UserError(
            f"{where} has not the parameters of torchvision's GoogLeNet (first of {len(wrong)}: "
            f"{wrong[0]}); give a file of its state_dict"
        )
    lost = [key for key in needed if not bool(torch.isfinite(weights[key]).all())]
    if lost:
        raise UserError(
            f"{where} has numbers that are not finite (first of {len(lost)} tensors: {lost[0]}); "
            "download or copy it again"
        )
    for one in nets:
        one.load_state_dict({key: weights.get(key, expected[key]) for key in expected}, strict=True)


def _fits(given: Tensor, expected: Tensor) -> bool:
    """Tell whether a tensor has the shape and the kind of numbers of a parameter."""
    fractions = given.is_floating_point() == expected.is_floating_point()
    return fractions and given.shape == expected.shape
