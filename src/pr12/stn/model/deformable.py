"""Deformable convolution: every tap of the kernel reads at a learned place (Dai et al. 2017).

Where a spatial transformer moves the whole input by one transformation, a deformable convolution
moves every tap at every position by an offset of its own. In plain torch, because torchvision's
operator does not load everywhere.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pr12.workflow.errors import UserError

IMAGES_AT_ONCE = 16  # what so few read stays in the cache; a whole batch at once is slower


def deform_conv2d(
    images: Tensor,
    offsets: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
) -> Tensor:
    """Convolve with taps that are moved by offsets (Eq. 2); between pixels bilinearly (Eq. 3).

    The same as ``torchvision.ops.deform_conv2d`` without mask, groups and dilation. Outside the
    image is 0. At whole pixels the gradient for an offset is that to the right or below, so that
    offsets that start at 0 can learn.

    Parameters
    ----------
    images : Tensor
        Shape (N, C, H, W).
    offsets : Tensor
        Shape (N, 2 * h * w, H', W'), in pixels: (down, right) for every tap of the kernel, in rows.
    weight : Tensor
        Shape (K, C, h, w).
    bias : Tensor or None
        Shape (K,).
    stride, padding : int
        As of a convolution.

    Returns
    -------
    Tensor
        Shape (N, K, H', W'). Where an offset is not finite, neither is the result.

    Raises
    ------
    UserError
        If shapes do not fit, or the kernel is larger than the image.

    Examples
    --------
    >>> image = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    >>> right = torch.tensor([0.0, 0.5]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    >>> deform_conv2d(image, right, torch.ones(1, 1, 1, 1)).tolist()
    [[[[1.5, 3.0, 2.0]]]]
    """
    _check(images, offsets, weight, bias, stride, padding)
    rows = weight.permute(0, 2, 3, 1).flatten(1)  # channels last, as the pixels that are read
    # Under autocast images and offsets may be bfloat16; places in the image need more bits
    parts = zip(
        images.to(weight.dtype).split(IMAGES_AT_ONCE),
        offsets.to(weight.dtype).split(IMAGES_AT_ONCE),
        strict=True,
    )
    kernel = tuple(weight.shape[2:])
    outputs = [
        functional.linear(_read(some, where, kernel, stride, padding), rows, bias)
        for some, where in parts
    ]
    return torch.cat(outputs).permute(0, 3, 1, 2)


def _read(
    images: Tensor, offsets: Tensor, kernel: tuple[int, int], stride: int, padding: int
) -> Tensor:
    """Return what all taps read, shape (N, H', W', h * w * C)."""
    number, channels, height, width = images.shape
    moved = offsets.unflatten(1, (*kernel, 2)).permute(3, 0, 4, 5, 1, 2).contiguous()
    _, _, down, right, _, _ = moved.shape
    tops, lefts = (
        torch.arange(count, device=offsets.device)[:, None] * stride
        - padding
        + torch.arange(taps, device=offsets.device)
        for count, taps in ((down, kernel[0]), (right, kernel[1]))
    )
    y = moved[0] + tops[:, None, :, None]  # (N, H', W', h, w)
    x = moved[1] + lefts[:, None, :]
    above, left = y.detach().floor(), x.detach().floor()
    first = torch.arange(number, device=images.device).view(-1, 1, 1, 1, 1) * (height * width)
    pixels, weights = [], []
    for row, part_y in ((above, 1 - (y - above)), (above + 1, y - above)):
        for column, part_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            pixel = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            pixels.append(pixel.nan_to_num().long() + first)
            weights.append(part_x * part_y * inside)
    # A weighted sum of four rows of the table of pixels, without four copies of all that is read:
    # on CPU faster than `grid_sample`, gathering each, and a product with a matrix of weights
    read = functional.embedding_bag(
        torch.stack(pixels, dim=-1).view(-1, 4),
        images.permute(0, 2, 3, 1).reshape(-1, channels),
        mode="sum",
        per_sample_weights=torch.stack(weights, dim=-1).view(-1, 4),
    )
    return read.view(number, down, right, kernel[0] * kernel[1] * channels)


def _sides(images: Tensor, weight: Tensor, stride: int, padding: int) -> list[int]:
    """Return (H', W') of the output, having checked that there is one."""
    if images.ndim != 4 or weight.ndim != 4:
        raise UserError(
            "a deformable convolution needs images (N, C, H, W) and weights (K, C, h, w); it got "
            f"{tuple(images.shape)} and {tuple(weight.shape)}"
        )
    if images.shape[1] != weight.shape[1]:
        raise UserError(
            f"the images have {images.shape[1]} channels; the deformable convolution reads "
            f"{weight.shape[1]}"
        )
    if stride < 1 or padding < 0:
        raise UserError(
            f"a stride of {stride} with a padding of {padding} does not work; a deformable "
            "convolution needs a stride of 1 or more and a padding of 0 or more"
        )
    height, width = images.shape[2:]
    taps = weight.shape[2:]
    if height + 2 * padding < taps[0] or width + 2 * padding < taps[1]:
        raise UserError(
            f"images of {height} x {width} pixels with a padding of {padding} are smaller than the "
            f"kernel of {taps[0]} x {taps[1]} of the deformable convolution; give larger ones"
        )
    return [
        (side + 2 * padding - tap) // stride + 1
        for side, tap in zip((height, width), taps, strict=True)
    ]


def _check(images: Tensor, offsets: Tensor, weight: Tensor, bias: Tensor | None, *how: int) -> None:
    sides = _sides(images, weight, *how)
    expected = (len(images), 2 * weight.shape[2] * weight.shape[3], *sides)
    if tuple(offsets.shape) != expected:
        raise UserError(
            f"the offsets have the shape {tuple(offsets.shape)}; it must be {expected}, two for "
            "every tap at every position"
        )
    if bias is not None and tuple(bias.shape) != (len(weight),):
        raise UserError(
            f"the bias has the shape {tuple(bias.shape)}; it must be ({len(weight)},), one for "
            "every channel of the output"
        )


class DeformableConv2d(nn.Module):
    """A convolution whose offsets are read off its input by a small convolution (Fig. 2).

    The small one has 3 x 3 taps around the middle of each window and starts at 0; until it learns,
    the layer is an ordinary convolution.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Side of the kernel in pixels.
    stride, padding : int
        As of a convolution.

    Examples
    --------
    >>> layer = DeformableConv2d(3, 8, 5)
    >>> images = torch.rand(2, 3, 10, 10)
    >>> layer(images).shape
    torch.Size([2, 8, 6, 6])
    >>> torch.allclose(layer(images), layer.convolution(images), atol=1e-6)
    True
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        # Holds the weights, drawn as those of the convolution it is compared with
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding)
        self.offsets = nn.Conv2d(inputs, 2 * kernel * kernel, 3, stride=stride)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)
        self.stride, self.padding = stride, padding
        before = padding - (kernel - 3) // 2  # 3 x 3 in the middle of the kernel; below 0 it crops
        after = 2 * padding - (kernel - 3) - before
        self.margins = (before, after, before, after)

    def forward(self, images: Tensor) -> Tensor:
        """Return shape (N, outputs, H', W')."""
        weight, bias = self.convolution.weight, self.convolution.bias
        _sides(images, weight, self.stride, self.padding)
        around = functional.pad(images, self.margins, mode="constant", value=0.0)
        offsets = self.offsets(around)
        return deform_conv2d(images, offsets, weight, bias, self.stride, self.padding)
