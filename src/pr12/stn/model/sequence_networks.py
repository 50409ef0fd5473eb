"""The networks that read house numbers: CNN, ST-CNN Single and ST-CNN Multi (Sec. 4.2, App. A.5).

How many fully connected layers of 3072 units there are is not certain: notes on the paper list two;
with the eleven hidden layers of its text it would be three, for there are eight convolutions.
"""

import itertools
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from pr12.stn.data.composed import BLANK, LONGEST
from pr12.stn.model.transformer import SpatialTransformer
from pr12.workflow.errors import UserError

CLASSES = BLANK + 1
CHANNELS = 3
WIDTHS = (48, 64, 128, 160, 192, 192, 192, 192)  # of the convolutions, all 5 x 5
POOLED = (0, 2, 4, 6)  # the convolutions with a 2 x 2 maximum after them
LOCALISATION = 32  # filters of ST-CNN Single's localisation net, and units of all of them
FULLY_CONNECTED = 3072
TRANSFORMERS = {"cnn": 0, "single": 1, "multi": 4}  # before so many first convolutions


class Architecture(NamedTuple):
    """What the shapes of a network's parameters depend on."""

    network: str  # a key of `TRANSFORMERS`
    size: int  # of the images, in pixels
    width_scale: float  # what the widths of convolutions and layers are multiplied by; paper: 1
    fully_connected: int  # layers of 3072 units
    dropout: float  # paper: 0.5; not in the first convolution and in localisation nets


class Network(nn.Module):
    """Eight convolutions, fully connected layers and a softmax for each of five digits.

    Parameters
    ----------
    architecture : Architecture
        What to build. Convolutions and layers start with He et al.'s normal values (the paper does
        not say), transformers with the identity.

    Raises
    ------
    UserError
        If there is no such network, a number of it makes no sense, or the images are too small for
        four poolings.

    Examples
    --------
    >>> import torch
    >>> network = Network(Architecture("multi", 32, 0.125, 2, 0.5))
    >>> logits, thetas = network(torch.rand(2, 3, 32, 32))
    >>> logits.shape, len(thetas), thetas[0].shape
    (torch.Size([2, 5, 11]), 4, torch.Size([2, 6]))
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        network, size, scale, layers, dropout = architecture
        if network not in TRANSFORMERS:
            raise UserError(f"there is no network {network!r}; allowed: {', '.join(TRANSFORMERS)}")
        if not scale > 0 or layers < 1 or not 0 <= dropout < 1:
            raise UserError(
                f"width_scale is {scale}, fully_connected {layers} and dropout {dropout}; give a "
                "scale above 0, 1 layer or more and a dropout from 0 to below 1"
            )
        if size < 2 ** len(POOLED):
            raise UserError(
                f"images of {size} x {size} pixels are too small for {len(POOLED)} poolings by 2; "
                f"give {2 ** len(POOLED)} x {2 ** len(POOLED)} or more"
            )
        self.size, self.dropout = size, dropout
        channels = [CHANNELS, *(scaled(width, scale) for width in WIDTHS)]
        sides = [size]
        for index in range(len(WIDTHS)):
            sides.append(sides[-1] // 2 if index in POOLED else sides[-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 5, padding=2) for before, after in itertools.pairwise(channels)
        )
        units = [channels[-1] * sides[-1] ** 2, *[scaled(FULLY_CONNECTED, scale)] * layers]
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in itertools.pairwise(units)
        )
        self.heads = nn.Linear(units[-1], LONGEST * CLASSES)  # five softmaxes side by side
        _start(self)
        self.transformers = nn.ModuleList()
        for index in range(TRANSFORMERS[network]):
            localise = convolutional_localisation if network == "single" else localisation
            net = localise(channels[index], sides[index], scale)
            _start(net)
            self.transformers.append(SpatialTransformer(net, LOCALISATION, "affine"))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Read images.

        Parameters
        ----------
        images : Tensor
            Shape (N, 3, size, size), as `normalised` gives them.

        Returns
        -------
        logits : Tensor
            Shape (N, 5, 11).
        thetas : list of Tensor
            Parameters of each transformer, (N, 6).

        Raises
        ------
        UserError
            If the images have another size or number of channels.
        """
        if images.ndim != 4 or images.shape[1:] != (CHANNELS, self.size, self.size):
            raise UserError(
                f"the images have the shape {tuple(images.shape)}; this network reads "
                f"(images, {CHANNELS}, {self.size}, {self.size})"
            )
        x, thetas = images, []
        for index, convolution in enumerate(self.convolutions):
            if index < len(self.transformers):
                x, theta = self.transformers[index](x)
                thetas.append(theta)
            x = convolution(x)
            if index in POOLED:  # a maximum before the rectifier is the same as after it
                x = functional.max_pool2d(x, 2)
            x = functional.relu(x)
            if index:
                x = functional.dropout(x, self.dropout, self.training)
        x = x.flatten(1)
        for layer in self.layers:
            x = functional.dropout(functional.relu(layer(x)), self.dropout, self.training)
        return self.heads(x).unflatten(1, (LONGEST, CLASSES)).float(), thetas


def scaled(width: int, scale: float) -> int:
    """Return a width of the paper times `scale`, at least 4.

    Examples
    --------
    >>> scaled(48, 0.25), scaled(48, 0.01)
    (12, 4)
    """
    return max(4, round(width * scale))


def convolutional_localisation(channels: int, side: int, scale: float) -> nn.Sequential:
    """Return the localisation net of ST-CNN Single: two convolutions, two layers of 32 units.

    Parameters
    ----------
    channels, side : int
        Of what it looks at.
    scale : float
        What its filters are multiplied by, as those of the CNN.

    Examples
    --------
    >>> import torch
    >>> convolutional_localisation(3, 32, 1.0)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 32])
    """
    filters = scaled(LOCALISATION, scale)
    return nn.Sequential(
        nn.Conv2d(channels, filters, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(filters, filters, 5, padding=2),
        nn.ReLU(),
        *localisation(filters, side // 2, scale),
    )


def localisation(channels: int, side: int, scale: float) -> nn.Sequential:
    """Return a localisation net of ST-CNN Multi: two layers of 32 units, whatever the scale.

    Parameters
    ----------
    channels, side : int
        Of what it looks at.
    scale : float
        Not used.

    Examples
    --------
    >>> import torch
    >>> localisation(48, 8, 1.0)(torch.rand(2, 48, 8, 8)).shape
    torch.Size([2, 32])
    """
    del scale  # there is no filter
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * side * side, LOCALISATION),
        nn.ReLU(),
        nn.Linear(LOCALISATION, LOCALISATION),
        nn.ReLU(),
    )


def _start(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            nn.init.zeros_(module.bias)


def normalised(images: Tensor) -> Tensor:
    """Return images as networks read them: each minus its mean (Goodfellow et al. 2013).

    Outside of an image, where a transformer may look, is then its mean.

    Parameters
    ----------
    images : Tensor
        uint8, shape (N, 3, H, W).

    Examples
    --------
    >>> import torch
    >>> normalised(torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)).flatten().tolist()
    [-1.0, 1.0]
    """
    x = images.float() / 127.5
    return x - x.mean(dim=(1, 2, 3), keepdim=True)
