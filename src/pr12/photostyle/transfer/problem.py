"""What both stages of a transfer share: the network, what is wanted, and where they start."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import determinism
from pr12.photostyle.data import common_classes
from pr12.photostyle.data.weights_file import read_weights
from pr12.photostyle.model import backbones, deep_photo_style, network_weights, optimise
from pr12.photostyle.model.backbones import Features
from pr12.photostyle.model.deep_photo_style import Wanted, Weights
from pr12.photostyle.transfer import closed_form, images, matched_start
from pr12.photostyle.transfer.inputs import Inputs
from pr12.workflow import address
from pr12.workflow.errors import UserError

FETCHED = Path("data/raw/weights/squeezenet1_0_deep_compression.safetensors")
# Style layers and content layer, where a user names none
LAYERS = {
    "squeezenet1_0": (("conv1", "fire3", "fire5", "fire7", "fire8"), ("fire7",)),
    "vgg19": (("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"), ("conv4_2",)),
}
LEAST_SIDE = 3  # of the windows of the matting Laplacian


class Wishes(Protocol):
    """The params that the stages use (see `pr12.photostyle.transfer.Settings`)."""

    architecture: str
    pooling: str
    normalise: str
    bfloat16: bool
    style_layers: tuple[str, ...] | None
    content_layers: tuple[str, ...] | None
    content_weight: float
    style_weight: float
    photorealism: float
    iterations: int
    photorealistic_iterations: int
    history: int
    start: str
    seed: int


class Problem(NamedTuple):
    """What both stages share."""

    features: Features
    target: Wanted
    weights: Weights
    start: Tensor  # from 0 to 1, shape (1, 3, h, w)


def problem(inputs: Inputs, wishes: Wishes, weights: Path | None) -> Problem:
    """Prepare the network and what is wanted of the result.

    Parameters
    ----------
    inputs : Inputs
        Photographs and labels.
    wishes : Wishes
        The params.
    weights : Path, optional
        Of the network, as `read_weights` reads them; without, they are drawn.

    Raises
    ------
    UserError
        If there is no such network or layer, the weights are not its own, or an image is too small.
    """
    style_layers, content_layers = layers(wishes)
    every = list(dict.fromkeys((*style_layers, *content_layers)))
    network = backbones.cut(wishes.architecture, every, wishes.pooling)
    values = None if weights is None else read_weights(weights, backbones.shapes(network))
    content, style = (_as_image(pixels) for pixels in (inputs.content, inputs.style))
    _check_sizes(wishes, every, inputs)
    # Mean activations are those of both, for which the style takes the content's size
    alike = functional.interpolate(
        style, content.shape[2:], mode="bilinear", align_corners=False, antialias=True
    )
    features = network_weights.prepared(
        network,
        torch.cat([content, alike]),
        values,
        wishes.seed,
        wishes.normalise,
        wishes.bfloat16,
    )
    target = deep_photo_style.wanted(
        features,
        content.to(determinism.device()),
        style.to(determinism.device()),
        *(masks.to(determinism.device()) for masks in _masks(inputs)),
    )
    chosen = Weights(content_layers, style_layers, wishes.content_weight, wishes.style_weight)
    start = _start(inputs, wishes).to(determinism.device())
    return Problem(features, target, chosen, start)


def _start(inputs: Inputs, wishes: Wishes) -> Tensor:
    """Return the image from which the first stage starts."""
    if wishes.start == "noise":
        return optimise.noise(*inputs.content.shape[:2], wishes.seed)
    if wishes.start == "content":
        return _as_image(inputs.content)
    labels = inputs.content_labels, inputs.style_labels
    moved = closed_form.transported if wishes.start == "closed_form" else matched_start.matched
    start = moved(inputs.content, inputs.style, *labels)
    return _as_image(images.extended(start, labels[0] != common_classes.UNUSED))


def layers(wishes: Wishes) -> tuple[Sequence[str], Sequence[str]]:
    """Return the style layers and content layers: those of the user, or `LAYERS`.

    Raises
    ------
    UserError
        If a network of another kind is given without layers.
    """
    style, content = LAYERS.get(wishes.architecture, (None, None))
    style, content = wishes.style_layers or style, wishes.content_layers or content
    if style is None or content is None:
        raise UserError(
            f"--params.architecture is {wishes.architecture}, whose layers have no default; give "
            "style_layers and content_layers, too, by the names of torchvision's network"
        )
    return style, content


def _as_image(pixels: np.ndarray) -> Tensor:
    """Keep what 16 bits hold, unlike `deep_photo_style.as_image`."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float()


def _masks(inputs: Inputs) -> list[Tensor]:
    """Return the masks of both images; pixels of no class have none."""
    both = (inputs.content_labels, inputs.style_labels)
    count = int(both[0][both[0] != common_classes.UNUSED].max()) + 1
    return [deep_photo_style.as_masks(labels, count) for labels in both]


def _check_sizes(wishes: Wishes, every: Sequence[str], inputs: Inputs) -> None:
    """Refuse images on which the network has no position left, and say what would help."""
    least = max(LEAST_SIDE, least_side(wishes.architecture, every, wishes.pooling))
    for name, pixels in (("content", inputs.content), ("style", inputs.style)):
        height, width = pixels.shape[:2]
        if min(height, width) >= least:
            _check_size(wishes, every, name, height, width)
            continue
        longest, shortest = max(inputs.sizes[name]), min(inputs.sizes[name])
        if shortest < least:
            remedy = f"its file has {shortest} pixels at the shorter side; give a larger image"
        else:
            remedy = f"give --params.size {math.ceil(least * longest / shortest)} or more"
        raise UserError(
            f"the {name} is optimised at {width} x {height} pixels, and {wishes.architecture} "
            f"up to {every[-1]} needs at least {least} x {least}; {remedy}"
        )


def _check_size(wishes: Wishes, every: Sequence[str], name: str, height: int, width: int) -> None:
    """Refuse a network that takes images of some sizes only, such as one that looks in windows."""
    network = backbones.cut(wishes.architecture, every, wishes.pooling)
    try:
        network.forward(torch.zeros(1, 3, height, width, device="meta"))
    except RuntimeError:
        raise UserError(
            f"{wishes.architecture} does not take images of {width} x {height} pixels, the size of "
            f"the {name}; choose a convolutional network, such as squeezenet1_0 or vgg19"
        ) from None


def least_side(architecture: str, layers: Sequence[str], pooling: str) -> int:
    """Return the side of the smallest square image that a cut network can take.

    Parameters
    ----------
    architecture, layers, pooling
        As for `backbones.cut`.

    Examples
    --------
    >>> least_side("vgg19", ["conv5_1"], "average"), least_side("squeezenet1_0", ["conv1"], "max")
    (16, 7)
    """
    network = backbones.cut(architecture, layers, pooling)  # on no device: shapes alone
    side = 1
    while True:
        try:
            network.forward(torch.zeros(1, 3, side, side, device="meta"))  # a call prints failures
        except AssertionError:  # of a transformer, which traces to one size
            raise UserError(
                f"{architecture} takes images of one size only; choose a convolutional network, "
                "such as squeezenet1_0, vgg19 or resnet18"
            ) from None
        except RuntimeError:
            side += 1
            if side > 512:
                raise UserError(f"{architecture} cannot be applied to images") from None
        else:
            return side


def weights_file(architecture: str, given: Path | None) -> Path | None:
    """Return the file of weights: that given, else the fetched one; warn if there is none.

    Parameters
    ----------
    architecture : str
        Of torchvision.
    given : Path, optional
        By the user.
    """
    fetched = address.SRC.parent / FETCHED
    if given is None and architecture == "squeezenet1_0" and fetched.is_file():
        given = fetched
    if given is None:
        print(
            f"warning: there are no weights of {architecture}, so it stays untrained, which gives "
            "a weaker style; give weights=FILE (see docs/style.md)",
            file=sys.stderr,
        )
    return given
