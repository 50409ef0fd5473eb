"""Weights of a cut network, of a file or drawn, and features divided by their mean activation."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from pr12.core import determinism
from pr12.photostyle.model.backbones import MEAN, STD, Features
from pr12.workflow.errors import UserError

LEAST = 0.01  # a filter's mean activation counts as at least this share of its layer's


def trained(network: fx.GraphModule, weights: Mapping[str, Tensor]) -> fx.GraphModule:
    """Return a cut network the weights of a file.

    Parameters
    ----------
    network : GraphModule
        As `cut` gives it.
    weights : mapping of str to Tensor
        By torchvision's names, of the shapes that `shapes` gives.
    """
    network.load_state_dict(dict(weights), strict=False, assign=True)
    return network


def untrained(network: fx.GraphModule, images: Tensor, seed: int) -> fx.GraphModule:
    """Return a cut network random weights, each layer scaled to a mean activation of 1.

    Such features serve for texture and inversion (Ustyuzhaninov et al. 2016, He et al. 2016).

    Parameters
    ----------
    network : GraphModule
        As `cut` gives it.
    images : Tensor
        From 0 to 1, shape (N, 3, H, W): over these is the mean.
    seed : int
        Of the weights, normal of mean 0, without biases.

    Examples
    --------
    >>> images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> from pr12.photostyle.model.backbones import cut
    >>> network = untrained(cut("vgg19", ["conv1_2"], "average"), images, seed=0)
    >>> round(Features(network)(images)["conv1_2"].mean().item(), 4)
    1.0
    """
    network = network.to_empty(device="cpu")
    stream = determinism.generator(seed, "untrained weights")
    hooks = []
    drawn = (nn.Conv2d, nn.BatchNorm2d)
    for name, module in network.named_modules():
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if tensors and not isinstance(module, drawn):
            raise UserError(f"the layer {name} cannot have random weights; choose an earlier layer")
        if isinstance(module, nn.Conv2d):
            fan_in = math.prod(module.weight.shape[1:])
            module.weight.data.normal_(std=(2 / fan_in) ** 0.5, generator=stream)
            if module.bias is not None:
                module.bias.data.zero_()
            hooks.append(module.register_forward_hook(_scale))
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    with torch.no_grad():
        network((images - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1))
    for hook in hooks:
        hook.remove()
    return network


def _scale(module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Scale a convolution's weights so that behind its rectifier the mean is 1."""
    mean = output.clamp(min=0).mean()
    module.weight.data /= mean
    return output / mean


@torch.no_grad()
def normalise(features: Features, images: Tensor, by: str) -> None:
    """Divide features by their mean activation over some images.

    For a network of rectifiers, ``filter`` is the normalised network of Gatys et al. (2015,
    Sec. 2), whose weights are scaled instead: both give the same features.

    Parameters
    ----------
    features : Features
        Changed in place.
    images : Tensor
        From 0 to 1, shape (N, 3, H, W).
    by : {"filter", "layer", "nothing"}
        Whose mean becomes 1. By filter, those that hardly ever answer become very loud; a filter's
        mean counts as at least a hundredth of its layer's.

    Examples
    --------
    >>> images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> from pr12.photostyle.model.backbones import cut
    >>> network = cut("vgg19", ["conv1_1"], "average")
    >>> features = Features(untrained(network, images, seed=0))
    >>> normalise(features, images, by="filter")
    >>> bool((features(images)["conv1_1"].mean(dim=(0, 2, 3)) < 1.001).all())
    True
    """
    features.means.clear()
    for name, values in {} if by == "nothing" else features(images).items():
        mean, filters = values.mean(), values.mean(dim=(0, 2, 3)).reshape(-1, 1, 1)
        features.means[name] = filters.clamp(min=LEAST * mean.item()) if by == "filter" else mean


def prepared(
    network: fx.GraphModule,
    images: Tensor,
    weights: Mapping[str, Tensor] | None,
    seed: int,
    by: str,
    bfloat16: bool,
) -> Features:
    """Make features ready for use.

    Parameters
    ----------
    network : GraphModule
        As `cut` gives it.
    images : Tensor
        Photographs for mean activations, from 0 to 1, shape (N, 3, H, W).
    weights : mapping of str to Tensor, optional
        Of a trained network; without, they are drawn.
    seed : int
        Of untrained weights.
    by, bfloat16
        As for `normalise` and `Features`.

    Examples
    --------
    >>> from pr12.photostyle.model.backbones import cut
    >>> network = cut("squeezenet1_0", ["conv1"], "max")
    >>> features = prepared(network, torch.rand(1, 3, 32, 32), None, 0, "layer", False)
    >>> round(features(torch.rand(1, 3, 32, 32))["conv1"].mean().item())
    1
    """
    filled = untrained(network, images, seed) if weights is None else trained(network, weights)
    features = Features(filled, bfloat16).to(determinism.device())
    normalise(features, images.to(determinism.device()), by)
    return features
