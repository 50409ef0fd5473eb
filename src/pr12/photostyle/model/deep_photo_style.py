"""Deep Photo Style Transfer as losses: what is wanted of an image, and how far it is from that.

    sum_l alpha_l L_content + Gamma sum_l beta_l L_style+ + lambda L_photo    (Luan et al. 2017)

In a first stage without the last term, from noise; in a second with it, from the first's result.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pr12.photostyle.model import carried_masks, losses, matting
from pr12.photostyle.model.backbones import Features
from pr12.photostyle.model.losses import Layers
from pr12.photostyle.model.optimise import Objective


class Wanted(NamedTuple):
    """What the features of the result are compared with."""

    content: Layers  # layer -> features of the content
    masks: Layers  # layer -> masks of the content's classes
    grams: Layers  # layer -> Gram matrix of each class of the style
    plain_grams: Layers  # layer -> Gram matrix of the style, without masks


class Weights(NamedTuple):
    """How much the parts of the loss count, and where they are measured."""

    content_layers: Sequence[str]
    style_layers: Sequence[str]
    content: float  # alpha
    style: float  # Gamma


def as_image(pixels: np.ndarray) -> Tensor:
    """Return pixels to the network: uint8 (H, W, 3) -> float32 from 0 to 1, (1, 3, H, W).

    Examples
    --------
    >>> as_image(np.full((2, 3, 3), 255, np.uint8)).shape
    torch.Size([1, 3, 2, 3])
    """
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return torch.from_numpy(planes)[None].float() / 255


def as_pixels(image: Tensor) -> np.ndarray:
    """Return an image as pixels: from 0 to 1, (1, 3, H, W) -> uint8 (H, W, 3).

    Examples
    --------
    >>> as_pixels(torch.full((1, 3, 1, 1), 0.5)).tolist()
    [[[128, 128, 128]]]
    """
    planes = (image[0].detach().cpu().clamp(min=0, max=1) * 255).round().to(torch.uint8)
    return planes.permute(1, 2, 0).numpy()


def as_masks(labels: np.ndarray, classes: int) -> Tensor:
    """Return a map of labels as one mask per class: (H, W) -> float32 (K, H, W).

    Examples
    --------
    >>> as_masks(np.array([[0, 1]]), 2).tolist()
    [[[1.0, 0.0]], [[0.0, 1.0]]]
    """
    return torch.stack([torch.from_numpy(labels == number).float() for number in range(classes)])


@torch.no_grad()
def wanted(
    features: Features, content: Tensor, style: Tensor, content_masks: Tensor, style_masks: Tensor
) -> Wanted:
    """Return what is wanted of a result.

    Parameters
    ----------
    features : Features
        With all layers that count.
    content, style : Tensor
        From 0 to 1, shape (1, 3, H, W); they may differ in size.
    content_masks, style_masks : Tensor
        Shape (K, H, W): the same classes in the same order, every class in the style too.

    Examples
    --------
    >>> content, one = torch.rand(1, 3, 16, 16), torch.ones(1, 16, 16)
    >>> from pr12.photostyle.model.backbones import cut
    >>> network = cut("vgg19", ["conv1_1"], "average")
    >>> from pr12.photostyle.model import network_weights
    >>> features = network_weights.prepared(network, content, None, 0, "layer", False)
    >>> sorted(wanted(features, content, content, one, one).grams)
    ['conv1_1']
    """
    activations = features(style)
    masks = carried_masks.carried(features, style_masks)
    return Wanted(
        content=features(content),
        masks=carried_masks.carried(features, content_masks),
        grams={name: losses.masked_grams(activations[name], masks[name]) for name in activations},
        plain_grams={name: losses.gram(activations[name]) for name in activations},
    )


def objective(
    features: Features,
    target: Wanted,
    weights: Weights,
    photorealism: float = 0.0,
    matrix: Tensor | None = None,
    masked: bool = True,
) -> Objective:
    """Return the loss of either stage.

    Parameters
    ----------
    features : Features
        The network.
    target : Wanted
        As `wanted` gives it.
    weights : Weights
        Of content and style.
    photorealism : float
        lambda; 0 in the first stage.
    matrix : Tensor, optional
        Matting Laplacian of the content, needed where lambda is not 0.
    masked : bool
        Style class by class; else as in neural style, of the whole image.

    Returns
    -------
    callable
        Image -> ``loss`` and its parts before weighting: ``content`` (divided by the number of
        features), ``style`` and, in the second stage, ``photorealism``.
    """

    def loss(image: Tensor) -> dict[str, Tensor]:
        activations = features(image)
        parts = {"content": content_error(activations, target, weights)}
        parts["style"] = style_error(activations, target, weights, masked)
        total = weights.content * parts["content"] + weights.style * parts["style"]
        if photorealism:
            parts["photorealism"] = matting.photorealism(image, matrix)
            total = total + photorealism * parts["photorealism"]
        return {"loss": total, **parts}

    return loss


def content_error(activations: Layers, target: Wanted, weights: Weights) -> Tensor:
    """Return the content loss divided by the number of features: (1 / 2 N_l D_l) sum of squares."""
    parts = [
        losses.content_loss(activations, target.content, [name]) / activations[name].numel()
        for name in weights.content_layers
    ]
    return torch.stack(parts).mean()


def style_error(activations: Layers, target: Wanted, weights: Weights, masked: bool) -> Tensor:
    """Return the style loss, class by class or of the whole image."""
    if masked:
        return losses.masked_style_loss(
            activations, target.masks, target.grams, weights.style_layers
        )
    return losses.style_loss(activations, target.plain_grams, weights.style_layers)
