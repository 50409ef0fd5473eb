"""The two stages of a transfer as one row of steps, and its checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pr12.photostyle import backbones, deep_photo_style, matting, network_weights, optimise
from pr12.photostyle.backbones import Features
from pr12.photostyle.deep_photo_style import Wanted, Weights
from pr12.photostyle.optimise import Step
from pr12.photostyle.transfer_inputs import Inputs
from pr12.photostyle.weights_file import read_weights
from pr12.shared import run
from pr12.shared.errors import UserError

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


class Reached(NamedTuple):
    """How far a transfer is."""

    stage: int  # 1 or 2
    step: Step


class Problem(NamedTuple):
    """What both stages share."""

    features: Features
    target: Wanted
    weights: Weights
    content: Tensor  # from 0 to 1, shape (1, 3, h, w)


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
    _check_sizes(wishes, every, {"content": content, "style": style})
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
        content.to(run.device()),
        style.to(run.device()),
        *(own.to(run.device()) for own in _masks(inputs)),
    )
    chosen = Weights(content_layers, style_layers, wishes.content_weight, wishes.style_weight)
    return Problem(features, target, chosen, content.to(run.device()))


def layers(wishes: Wishes) -> tuple[Sequence[str], Sequence[str]]:
    """Give the style layers and content layers: those of the user, or `LAYERS`.

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
    """Give the masks of both images; pixels of the style that are not used have none."""
    count = int(inputs.content_labels.max()) + 1
    both = (inputs.content_labels, inputs.style_labels)
    return [deep_photo_style.as_masks(labels, count) for labels in both]


def _check_sizes(wishes: Wishes, every: Sequence[str], images: Mapping[str, Tensor]) -> None:
    """Refuse images on which the network has no position left, telling what it needs."""
    least = max(LEAST_SIDE, least_side(wishes.architecture, every, wishes.pooling))
    for name, image in images.items():
        height, width = image.shape[2:]
        if min(height, width) < least:
            raise UserError(
                f"the {name} is optimised at {width} x {height} pixels, and {wishes.architecture} "
                f"up to {every[-1]} needs at least {least} x {least}; give a larger image (or a "
                "larger --params.size)"
            )


def least_side(architecture: str, layers: Sequence[str], pooling: str) -> int:
    """Give the side of the smallest square image that a cut network can take.

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
            network(torch.zeros(1, 3, side, side, device="meta"))
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


def steps(
    prepared: Problem, wishes: Wishes, content: np.ndarray, state: Mapping[str, Any] | None
) -> Iterator[Reached]:
    """Go through both stages.

    Parameters
    ----------
    prepared : Problem
        As `problem` gives it.
    wishes : Wishes
        The params.
    content : ndarray
        The content as it is optimised, for the matting Laplacian.
    state : mapping, optional
        As `state_of` gives it, to go on from.

    Yields
    ------
    Reached
        After every iteration.
    """
    stage = state["stage"] if state else 1
    where = state["step"] if state else None
    features, target, weights, image = prepared
    if stage == 1:
        if wishes.start == "noise":
            image = optimise.noise(*image.shape[2:], wishes.seed).to(image.device)
        image = where["image"] if where else image
        loss = deep_photo_style.objective(features, target, weights)
        for step in optimise.minimise(image, loss, wishes.iterations, wishes.history, where):
            yield Reached(1, step)
            image = step.image
        where = None
    else:
        image = where["image"]
    if not wishes.photorealism or not wishes.photorealistic_iterations:
        return
    matrix = matting.as_tensor(matting.laplacian(content)).to(image.device)
    loss = deep_photo_style.objective(features, target, weights, wishes.photorealism, matrix)
    count = wishes.photorealistic_iterations
    for step in optimise.minimise(image, loss, count, wishes.history, where):
        yield Reached(2, step)


def state_of(reached: Reached) -> dict[str, Any]:
    """Give all that is needed to go on.

    Parameters
    ----------
    reached : Reached
        The last step.
    """
    return {"stage": reached.stage, "step": reached.step.state}
