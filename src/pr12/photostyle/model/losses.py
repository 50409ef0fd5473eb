"""Losses of images: content, texture and style, masked style, natural-image priors.

Features have the shape (1, N, h, w): N filters, M = h w positions. All are float32.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Layers = Mapping[str, Tensor]  # layer -> features, Grams or masks


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrix of features, divided by the number of positions.

    Parameters
    ----------
    features : Tensor
        Shape (1, N, h, w).

    Returns
    -------
    Tensor
        Shape (N, N): G_ij = sum_k F_ik F_jk / M (Gatys et al. 2015, eq. 1, which does not divide;
        divided, images of different sizes can be compared).

    Examples
    --------
    >>> gram(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])).tolist()
    [[2.5, 5.5], [5.5, 12.5]]
    """
    rows = _rows(features)
    return _Grams.apply(rows, rows.new_ones(1, len(rows)))[0] / len(rows)


def _rows(features: Tensor) -> Tensor:
    """Lay features out as positions times filters, as channels-last convolutions have them."""
    return features[0].permute(1, 2, 0).flatten(0, 1)


class _Grams(torch.autograd.Function):
    """F^T W^2 F for every diagonal W; its gradient W^2 F (G + G^T) takes one product, not two.

    Of a class that fills the sky, the rows of the sky alone are multiplied.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.places, ctx.shape = [], rows.shape
        weighed, grams = [], []
        for mask in weights:
            seen = mask.nonzero()
            place = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 0)
            ctx.places.append(place)
            weighed.append(rows[place] * mask[place].square()[:, None])
            grams.append(weighed[-1].T @ rows[place])
        ctx.save_for_backward(*weighed)
        return torch.stack(grams)

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None]:
        gradient = torch.zeros(ctx.shape, dtype=upstream.dtype, device=upstream.device)
        for weighed, place, slope in zip(ctx.saved_tensors, ctx.places, upstream, strict=True):
            gradient[place].addmm_(weighed, slope + slope.T)
        return gradient, None


def masked_grams(features: Tensor, masks: Tensor) -> Tensor:
    """Return the Gram matrix of every class, of features times its mask.

    Parameters
    ----------
    features : Tensor
        Shape (1, N, h, w).
    masks : Tensor
        From 0 to 1, shape (K, h, w).

    Returns
    -------
    Tensor
        Shape (K, N, N), each divided by its mask's sum (Luan et al. 2017, Sec. 3.2; the division
        as in the authors' code). A class without any pixel gives zeros.

    Examples
    --------
    >>> features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    >>> masked_grams(features, torch.tensor([[[0.0, 1.0]]])).tolist()
    [[[4.0, 8.0], [8.0, 16.0]]]
    """
    sums = masks.sum(dim=(1, 2)).clamp(min=1e-6)
    return _Grams.apply(_rows(features), masks.flatten(1)) / sums[:, None, None]


def content_loss(features: Layers, content: Layers, layers: Sequence[str]) -> Tensor:
    """Return the squared error of features, summed over filters and positions, halved.

    Parameters
    ----------
    features, content : mapping
        Layer -> features of the image and of the content.
    layers : sequence of str
        Those that count, each alike (Gatys et al. 2016, eq. 1).

    Examples
    --------
    >>> content_loss({"a": torch.ones(1, 1, 1, 3)}, {"a": torch.zeros(1, 1, 1, 3)}, ["a"]).item()
    1.5
    """
    parts = [0.5 * (features[name] - content[name]).square().sum() for name in layers]
    return torch.stack(parts).mean()


def style_loss(features: Layers, grams: Layers, layers: Sequence[str]) -> Tensor:
    """Return the squared error of Gram matrices, the mean over layers.

    Parameters
    ----------
    features : mapping
        Layer -> features of the image.
    grams : mapping
        Layer -> Gram matrix of the style.
    layers : sequence of str
        Those that count, with weights 1 / number of layers (Gatys et al. 2016, eqs. 4 and 5).

    Examples
    --------
    >>> features = {"a": torch.ones(1, 2, 1, 3)}
    >>> style_loss(features, {"a": torch.zeros(2, 2)}, ["a"]).item()
    0.25
    """
    parts = []
    for name in layers:
        count = features[name].shape[1]
        parts.append((gram(features[name]) - grams[name]).square().sum() / (4 * count**2))
    return torch.stack(parts).mean()


def masked_style_loss(
    features: Layers, masks: Layers, grams: Layers, layers: Sequence[str]
) -> Tensor:
    """Return the style loss class by class, so that sky learns from sky only.

    Parameters
    ----------
    features, masks : mapping
        Layer -> features of the image and its masks there, shape (K, h, w).
    grams : mapping
        Layer -> Gram matrices of the style's classes, shape (K, N, N).
    layers : sequence of str
        Those that count, each alike (Luan et al. 2017, eq. of L_s+). A class counts by its share
        of the image, as in the authors' code.

    Examples
    --------
    >>> features, masks = {"a": torch.ones(1, 2, 1, 4)}, {"a": torch.ones(1, 1, 4)}
    >>> masked_style_loss(features, masks, {"a": torch.zeros(1, 2, 2)}, ["a"]).item()
    0.5
    """
    parts = []
    for name in layers:
        count = features[name].shape[1]
        errors = (masked_grams(features[name], masks[name]) - grams[name]).square().sum(dim=(1, 2))
        parts.append((errors * masks[name].mean(dim=(1, 2))).sum() / (2 * count**2))
    return torch.stack(parts).mean()


def total_variation(image: Tensor, beta: float) -> Tensor:
    """Return the total variation of an image, summed over colours and places.

    Parameters
    ----------
    image : Tensor
        Shape (1, 3, H, W).
    beta : float
        Exponent (Mahendran & Vedaldi 2015, Sec. 2.1: finite differences to the right and below,
        squared, to the power beta / 2).

    Examples
    --------
    >>> total_variation(torch.tensor([[[[0.0, 3.0], [4.0, 0.0]]]]), beta=2.0).item()
    25.0
    """
    right = image[..., :-1, 1:] - image[..., :-1, :-1]
    below = image[..., 1:, :-1] - image[..., :-1, :-1]
    squared = right.square() + below.square()
    return (squared if beta == 2.0 else squared.clamp(min=1e-8) ** (beta / 2)).sum()


def alpha_norm(image: Tensor, alpha: float) -> Tensor:
    """Return the sum of pixels to the power alpha, which keeps them in their range.

    Parameters
    ----------
    image : Tensor
        Around 0.
    alpha : float
        6 in Mahendran & Vedaldi (2015), Sec. 2.1.

    Examples
    --------
    >>> alpha_norm(torch.tensor([-1.0, 2.0]), alpha=6.0).item()
    65.0
    """
    return image.abs().pow(alpha).sum()


def inversion_error(features: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance of features in units of the target's squared length.

    Parameters
    ----------
    features, target : Tensor
        Of one layer, equal shapes (Mahendran & Vedaldi 2015, eq. 2).

    Examples
    --------
    >>> inversion_error(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0])).item()
    0.25
    """
    return (features - target).square().sum() / target.square().sum()
