"""What transformers and deformable convolutions add to a CNN, counted per image.

A multiply-add is one multiplication with an addition; sampling one value between pixels costs four
for each channel, and four more for the weights, which channels share.
"""

import torch
from torch import Tensor, nn

from pr12.stn.model import deformable, digit_networks


def transformer_counts(net: digit_networks.Network, side: int) -> dict[str, int]:
    """Count what one affine transformer predicts and what its sampling costs, per image.

    Parameters
    ----------
    net : Network
        With one transformer.
    side : int
        Of its input and output.

    Returns
    -------
    dict of str to int
        ``predicted`` parameters, and multiply-adds of ``sampling`` and of ``prediction``.

    Examples
    --------
    >>> net = digit_networks.build("cnn", "affine", 1, "max", "R", 400_000)
    >>> transformer_counts(net, 28)["predicted"]
    6
    """
    one = net.transformers.transformers[0]
    pixels = side * side
    return {
        "predicted": one.theta.out_features,
        # two rows of theta times (x, y, 1), then four weights and four pixels of one channel
        "sampling_multiply_adds": pixels * (4 + 4 + 4 * net.shape[0]),
        "prediction_multiply_adds": multiply_adds(one.localisation, net.shape[0], side)
        + one.theta.in_features * one.theta.out_features,
    }


def deformable_counts(layer: deformable.DeformableConv2d, side: int) -> dict[str, int]:
    """Count the same for a deformable convolution, per image.

    Parameters
    ----------
    layer : DeformableConv2d
        Without stride and padding.
    side : int
        Of its input.

    Returns
    -------
    dict of str to int
        As `transformer_counts`.

    Examples
    --------
    >>> deformable_counts(deformable.DeformableConv2d(1, 1, 5), 10)["predicted"]
    1800
    """
    channels, kernel = layer.convolution.in_channels, layer.convolution.kernel_size[0]
    positions = (side - kernel + 1) ** 2
    taps = positions * kernel * kernel
    return {
        "predicted": 2 * taps,
        "sampling_multiply_adds": taps * (4 + 4 * channels),
        "prediction_multiply_adds": positions * 9 * channels * 2 * kernel * kernel,
    }


def multiply_adds(net: nn.Module, channels: int, side: int) -> int:
    """Count the multiply-adds of a net's convolutions and layers for one image.

    What a deformable convolution spends on sampling is not among them.

    Parameters
    ----------
    net : nn.Module
        The net.
    channels, side : int
        Of the image.

    Examples
    --------
    >>> multiply_adds(nn.Conv2d(1, 2, 3), 1, 5)
    162
    """
    total = 0

    def add(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, deformable.DeformableConv2d):  # it does not call its convolution
            total += output[0].numel() * module.convolution.weight[0].numel()
        elif isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    hooks = [module.register_forward_hook(add) for module in net.modules()]
    with torch.inference_mode():
        net(torch.zeros(1, channels, side, side))
    for hook in hooks:
        hook.remove()
    return total


def table_nets(parameters: int) -> dict[str, digit_networks.Network]:
    """Build CNN, ST-CNN and deformable CNN of one size.

    Parameters
    ----------
    parameters : int
        Of each.

    Examples
    --------
    >>> list(table_nets(60_000))
    ['cnn', 'st_cnn', 'deformable']
    """
    shapes = {
        "cnn": ("cnn", "none"),
        "st_cnn": ("cnn", "affine"),
        "deformable": ("deformable", "none"),
    }
    return {
        name: digit_networks.build(network, transform, 1, "max", "R", parameters).to(
            memory_format=torch.channels_last
        )
        for name, (network, transform) in shapes.items()
    }


def deformable_layer(net: digit_networks.Network) -> deformable.DeformableConv2d:
    """Return the first deformable convolution of a net.

    Parameters
    ----------
    net : Network
        The net.

    Examples
    --------
    >>> net = digit_networks.build("deformable", "none", 1, "max", "R", 60_000)
    >>> deformable_layer(net).convolution.kernel_size
    (5, 5)
    """
    return next(m for m in net.modules() if isinstance(m, deformable.DeformableConv2d))
