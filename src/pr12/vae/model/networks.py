"""The networks of Auto-Encoding Variational Bayes (Kingma & Welling 2013).

Functions of a dictionary of parameters. Every parameter has a leading replica dimension S (one
replica per seed), so that all seeds of a case are computed by the same batched products::

    q(z|x)  encoder: tanh layers, then mean and log-variance of a diagonal Gaussian (App. C.2)
    p(z)    N(0, I)
    p(x|z)  decoder: tanh layers, then
            bernoulli  logits of the pixels (App. C.1)
            gaussian   means squashed to (0, 1) by a sigmoid, and a log-variance per pixel (Sec. 5)
            linear     means without squashing and one log-variance for all pixels: with no hidden
                       layer this is probabilistic PCA (Tipping & Bishop 1999)
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.params import Mcem, Train

Parameters = dict[str, Tensor]
LOG_2PI = math.log(2 * math.pi)


class Architecture(NamedTuple):
    """What a checkpoint must say before its parameters mean anything."""

    pixels: int  # D
    hidden: tuple[int, ...]  # units of the encoder's tanh layers; the decoder's are reversed
    latent_dim: int  # Z
    likelihood: Literal["bernoulli", "gaussian", "linear"]


class Normal(NamedTuple):
    """A diagonal Gaussian; both tensors have the same shape (..., Z)."""

    mean: Tensor
    log_variance: Tensor


def scaled(
    pixels: int,
    hidden: Sequence[int],
    width_scale: float,
    latent_dim: int,
    likelihood: Literal["bernoulli", "gaussian", "linear"],
) -> Architecture:
    """Return an architecture whose widths are scaled to the run.

    Parameters
    ----------
    pixels : int
        D.
    hidden : sequence of int
        Units of the encoder's tanh layers before they are scaled.
    width_scale : float
        What they are multiplied by; one unit is left at least.
    latent_dim : int
        Z.
    likelihood : {"bernoulli", "gaussian", "linear"}
        The decoder's.

    Examples
    --------
    >>> scaled(64, (500,), 0.2, 3, "gaussian").hidden
    (100,)
    """
    widths = tuple(max(1, round(width * width_scale)) for width in hidden)
    return Architecture(pixels, widths, latent_dim, likelihood)


def of_case(params: Train | Mcem, pixels: int) -> Architecture:
    """Return the architecture of a case's nets on images of so many pixels."""
    sizes = params.hidden, params.width_scale, params.latent_dim
    return scaled(pixels, *sizes, params.likelihood)


def layers(architecture: Architecture) -> dict[str, tuple[int, int]]:
    """Return every affine layer's name with its numbers of inputs and outputs.

    Parameters
    ----------
    architecture : Architecture
        Sizes.

    Examples
    --------
    >>> layers(Architecture(784, (500,), 20, "bernoulli"))["decoder.mean"]
    (500, 784)
    """
    pixels, hidden, latent_dim, likelihood = architecture
    sizes_by_layer = {}
    for side, widths, outputs in (
        ("encoder", (pixels, *hidden), latent_dim),
        ("decoder", (latent_dim, *reversed(hidden)), pixels),
    ):
        for index, sizes in enumerate(itertools.pairwise(widths)):
            sizes_by_layer[f"{side}.{index}"] = sizes
        sizes_by_layer[f"{side}.mean"] = (widths[-1], outputs)
        if side == "encoder" or likelihood == "gaussian":
            sizes_by_layer[f"{side}.log_variance"] = (widths[-1], outputs)
    return sizes_by_layer


def initial(
    architecture: Architecture,
    seeds: Sequence[int],
    init: Literal["normal", "glorot"],
    init_std: float,
) -> Parameters:
    """Draw the initial parameters of every replica.

    Parameters
    ----------
    architecture : Architecture
        Sizes.
    seeds : sequence of int
        One per replica, S in all.
    init : {"normal", "glorot"}
        All parameters from N(0, init_std^2) (Sec. 5), or Glorot-uniform weights and zero biases
        (Burda et al. 2015).
    init_std : float
        Standard deviation for ``normal``.

    Returns
    -------
    dict of str to Tensor
        ``<layer>.weight`` (S, inputs, outputs) and ``<layer>.bias`` (S, 1, outputs); for the
        linear likelihood also ``decoder.log_variance`` (S, 1, 1).

    Examples
    --------
    >>> parameters = initial(Architecture(784, (500,), 20, "bernoulli"), [0, 1], "normal", 0.1)
    >>> parameters["encoder.mean.weight"].shape
    torch.Size([2, 500, 20])
    >>> sum(value[0].numel() for value in parameters.values())
    815824
    """
    generators = [determinism.generator(seed, "init") for seed in seeds]

    def draw(shape: tuple[int, ...], bound: float | None) -> Tensor:
        values = [torch.empty(shape) for _ in seeds]
        for value, generator in zip(values, generators, strict=True):
            if bound is None:
                value.normal_(0.0, init_std, generator=generator)
            else:
                value.uniform_(-bound, bound, generator=generator)
        return torch.stack(values)

    parameters = {}
    for name, (inputs, outputs) in layers(architecture).items():
        bound = None if init == "normal" else math.sqrt(6 / (inputs + outputs))
        parameters[f"{name}.weight"] = draw((inputs, outputs), bound)
        bias = draw((1, outputs), bound)
        parameters[f"{name}.bias"] = bias if init == "normal" else torch.zeros_like(bias)
    if architecture.likelihood == "linear":
        parameters["decoder.log_variance"] = torch.zeros(len(seeds), 1, 1)
    return {name: value.to(determinism.device()) for name, value in parameters.items()}


class _RoundedProduct(torch.autograd.Function):
    """x W with factors and result in bfloat16, also in the gradients; sums inside are float32.

    More than `torch.set_float32_matmul_precision("medium")` allows, which keeps the result in
    float32; for batches of 100, torch spends what that saves on reordering the weights anew for
    each of the three products.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        """Return x W, shapes (S, B, I) and (S, I, O)."""
        factors = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(*factors)
        return torch.bmm(*factors).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of x and of W, of those that are asked for."""
        x, weight = ctx.saved_tensors
        rounded = gradient.bfloat16()
        wanted = ctx.needs_input_grad
        return (
            torch.bmm(rounded, weight.transpose(1, 2)).float() if wanted[0] else None,
            torch.bmm(x.transpose(1, 2), rounded).float() if wanted[1] else None,
        )


def _affine(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    bias, weight = parameters[f"{name}.bias"], parameters[f"{name}.weight"]
    if torch.get_float32_matmul_precision() == "medium":
        return _RoundedProduct.apply(x, weight) + bias
    return torch.baddbmm(bias, x, weight)


def _hidden(parameters: Parameters, side: str, x: Tensor) -> Tensor:
    index = 0
    while f"{side}.{index}.weight" in parameters:
        x = torch.tanh(_affine(parameters, f"{side}.{index}", x))
        index += 1
    return x


def encode(parameters: Parameters, x: Tensor) -> Normal:
    """Return q(z|x) (Sec. 3, App. C.2).

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `initial` makes them.
    x : Tensor
        Data, shape (S, B, D), or (B, D) for all replicas.

    Returns
    -------
    Normal
        Mean and log-variance, each (S, B, Z).

    Examples
    --------
    >>> parameters = initial(Architecture(4, (3,), 2, "bernoulli"), [0], "normal", 0.1)
    >>> encode(parameters, torch.zeros(5, 4)).mean.shape
    torch.Size([1, 5, 2])
    """
    replicas = len(parameters["encoder.mean.weight"])
    x = x.expand(replicas, *x.shape[-2:])
    h = _hidden(parameters, "encoder", x)
    return Normal(
        _affine(parameters, "encoder.mean", h), _affine(parameters, "encoder.log_variance", h)
    )


def draw(normal: Normal, noise: Tensor) -> Tensor:
    """Reparameterise: z = mean + standard deviation x noise (Sec. 2.4, Eq. 4).

    Parameters
    ----------
    normal : Normal
        Shape (S, B, Z).
    noise : Tensor
        Standard normal, shape (S, B, K, Z).

    Returns
    -------
    Tensor
        Samples, shape (S, B, K, Z).

    Examples
    --------
    >>> normal = Normal(torch.ones(1, 1, 1), torch.full((1, 1, 1), math.log(4.0)))
    >>> draw(normal, torch.tensor([[[[0.5]]]]))
    tensor([[[[2.]]]])
    """
    return normal.mean.unsqueeze(2) + torch.exp(0.5 * normal.log_variance).unsqueeze(2) * noise


def outputs(parameters: Parameters, z: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the decoder's means (logits before any sigmoid) and log-variances, if it has any.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `initial` makes them.
    z : Tensor
        Codes, shape (S, ..., Z).

    Returns
    -------
    mean : Tensor
        Shape (S, ..., D).
    log_variance : Tensor or None
        Shape (S, ..., D); None of a Bernoulli decoder.
    """
    h = _hidden(parameters, "decoder", z.flatten(1, -2))
    shape = (*z.shape[:-1], parameters["decoder.mean.weight"].shape[-1])
    mean = _affine(parameters, "decoder.mean", h).view(shape)
    if "decoder.log_variance.weight" in parameters:
        return mean, _affine(parameters, "decoder.log_variance", h).view(shape)
    if "decoder.log_variance" in parameters:
        one = parameters["decoder.log_variance"]
        return mean, one.view(-1, *[1] * (mean.dim() - 1)).expand_as(mean)
    return mean, None


def decode(parameters: Parameters, z: Tensor) -> Tensor:
    """Return the mean of p(x|z).

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `initial` makes them.
    z : Tensor
        Codes, shape (S, ..., Z).

    Returns
    -------
    Tensor
        Shape (S, ..., D).

    Examples
    --------
    >>> parameters = initial(Architecture(4, (3,), 2, "gaussian"), [0], "normal", 0.1)
    >>> decode(parameters, torch.zeros(1, 7, 2)).shape
    torch.Size([1, 7, 4])
    """
    mean, _ = outputs(parameters, z)
    squashed = "decoder.log_variance" not in parameters
    return torch.sigmoid(mean) if squashed else mean


def sample_pixels(
    parameters: Parameters, z: Tensor, generators: Sequence[torch.Generator]
) -> Tensor:
    """Draw x from p(x|z), each replica from its own stream.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `initial` makes them.
    z : Tensor
        Codes, shape (S, B, Z).
    generators : sequence of torch.Generator
        One per replica.

    Returns
    -------
    Tensor
        Shape (S, B, D).

    Examples
    --------
    >>> parameters = initial(Architecture(4, (3,), 2, "bernoulli"), [0], "normal", 0.1)
    >>> x = sample_pixels(parameters, torch.zeros(1, 7, 2), [determinism.generator(0, "dream")])
    >>> bool(((x == 0) | (x == 1)).all())
    True
    """
    mean, log_variance = outputs(parameters, z)
    if log_variance is None:
        uniform = torch.stack(
            [torch.rand(mean.shape[1:], generator=g, device=g.device) for g in generators]
        )
        return (uniform < torch.sigmoid(mean)).to(mean.dtype)
    if "decoder.log_variance" not in parameters:
        mean = torch.sigmoid(mean)
    return mean + torch.exp(0.5 * log_variance) * normals(generators, *mean.shape[1:])


def normals(generators: Sequence[torch.Generator], *shape: int) -> Tensor:
    """Draw standard normal numbers, each replica from its own stream.

    Parameters
    ----------
    generators : sequence of torch.Generator
        One per replica, S in all.
    *shape : int
        Of one replica's numbers.

    Examples
    --------
    >>> normals([determinism.generator(0, "noise"), determinism.generator(1, "noise")], 3, 2).shape
    torch.Size([2, 3, 2])
    """
    return torch.stack([torch.randn(shape, generator=g, device=g.device) for g in generators])
