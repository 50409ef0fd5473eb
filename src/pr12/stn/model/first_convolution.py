"""A net's first convolution behind a transformer: the same numbers, a fast gradient for its input.

A plain CNN never needs that gradient; a transformer in front does. oneDNN takes four times as long
for it as for all the rest of the layer where the input has one channel. It is a product with the
kernel and a sum over the taps, as done here; `benchmarks/stn_step.py` measures both.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return functional.conv2d(images, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        images, weight = ctx.saved_tensors
        _, for_weight, for_bias = torch.ops.aten.convolution_backward(
            *(gradient, images, weight, [len(weight)]),
            stride=[1, 1],
            padding=[0, 0],
            dilation=[1, 1],
            transposed=False,
            output_padding=[0, 0],
            groups=1,
            output_mask=[False, True, True],
        )
        for_images = input_gradient(gradient, weight) if ctx.needs_input_grad[0] else None
        return for_images, for_weight, for_bias


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient for a convolution's input (stride 1, no padding).

    Parameters
    ----------
    gradient : Tensor
        The gradient for its output, shape (N, F, H', W').
    weight : Tensor
        Shape (F, C, h, w).

    Returns
    -------
    Tensor
        Shape (N, C, H' + h - 1, W' + w - 1).

    Examples
    --------
    >>> input_gradient(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2)).tolist()
    [[[[1.0, 2.0, 1.0]]]]
    """
    count, filters, rows, columns = gradient.shape
    _, channels, height, width = weight.shape
    pixels = gradient.permute(0, 2, 3, 1).reshape(-1, filters)
    taps = (weight.reshape(filters, -1).T @ pixels.T).view(
        channels, height, width, count, rows, columns
    )
    kind = torch.promote_types(gradient.dtype, torch.float32)  # 81 terms of bfloat16 are coarse
    sums = gradient.new_zeros(channels, count, rows + height - 1, columns + width - 1, dtype=kind)
    for i in range(height):
        for j in range(width):
            sums[..., i : i + rows, j : j + columns] += taps[:, i, j]
    return sums.transpose(0, 1).to(gradient.dtype)


class FirstConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` of stride 1 without padding, whose input's gradient is fast.

    Parameters
    ----------
    channels, filters : int
        Of input and output.
    kernel : int
        Its side.

    Examples
    --------
    >>> FirstConv2d(1, 8, 9)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 8, 20, 20])
    """

    def __init__(self, channels: int, filters: int, kernel: int) -> None:
        super().__init__(channels, filters, kernel)

    def forward(self, images: Tensor) -> Tensor:
        """Return the convolution, (N, C, H, W) -> (N, F, H', W')."""
        device = images.device.type
        kind = images.dtype
        if torch.is_autocast_enabled(device):
            kind = torch.get_autocast_dtype(device)
        return _Convolve.apply(images.to(kind), self.weight.to(kind), self.bias.to(kind))
