"""The networks and densities of Auto-Encoding Variational Bayes (Kingma & Welling 2013).

Functions of a dictionary of parameters. Every parameter has a leading replica dimension S (one
replica per seed), so that all seeds of a case are computed by the same batched products.

q(z|x)  encoder: tanh layers, then mean and log-variance of a diagonal Gaussian (App. C.2)
p(z)    N(0, I)
p(x|z)  decoder: tanh layers, then
        bernoulli  logits of the pixels (App. C.1)
        gaussian   means squashed to (0, 1) by a sigmoid, and a log-variance per pixel (Sec. 5)
        linear     means without squashing and one log-variance for all pixels: with no hidden
                   layer this is probabilistic PCA (Tipping & Bishop 1999)
"""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pr12.shared import run
from pr12.shared.errors import UserError

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


class Saved(NamedTuple):
    """What a training leaves: the parameters at P moments, and what they belong to."""

    architecture: Architecture
    objective: str
    samples_seen: tuple[int, ...]  # P moments, as numbers of training samples seen
    parameters: Parameters  # each (P, S, ...)


def layers(architecture: Architecture) -> dict[str, tuple[int, int]]:
    """Give every affine layer's name with its numbers of inputs and outputs.

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
    found = {}
    for side, widths, outputs in (
        ("encoder", (pixels, *hidden), latent_dim),
        ("decoder", (latent_dim, *reversed(hidden)), pixels),
    ):
        for index, sizes in enumerate(itertools.pairwise(widths)):
            found[f"{side}.{index}"] = sizes
        found[f"{side}.mean"] = (widths[-1], outputs)
        if side == "encoder" or likelihood == "gaussian":
            found[f"{side}.log_variance"] = (widths[-1], outputs)
    return found


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
    generators = [run.generator(seed, "init") for seed in seeds]

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
    return {name: value.to(run.device()) for name, value in parameters.items()}


class _RoundedProduct(torch.autograd.Function):
    """x W with factors and result in bfloat16, also in the gradients; sums inside are float32.

    More than `torch.set_float32_matmul_precision("medium")` allows, which keeps the result in
    float32; for batches of 100, torch spends what that saves on reordering the weights anew for
    each of the three products.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        """Give x W, shapes (S, B, I) and (S, I, O)."""
        factors = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(*factors)
        return torch.bmm(*factors).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Give the gradients of x and of W, of those that are asked for."""
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
    """Give q(z|x) (Sec. 3, App. C.2).

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


def _outputs(parameters: Parameters, z: Tensor) -> tuple[Tensor, Tensor | None]:
    """Give the last layer's means (logits before any sigmoid) and log-variances, if it has any."""
    h = _hidden(parameters, "decoder", z.flatten(1, -2))
    shape = (*z.shape[:-1], parameters["decoder.mean.weight"].shape[-1])
    mean = _affine(parameters, "decoder.mean", h).view(shape)
    if "decoder.log_variance.weight" in parameters:
        return mean, _affine(parameters, "decoder.log_variance", h).view(shape)
    if "decoder.log_variance" in parameters:
        own = parameters["decoder.log_variance"]
        return mean, own.view(-1, *[1] * (mean.dim() - 1)).expand_as(mean)
    return mean, None


def decode(parameters: Parameters, z: Tensor) -> Tensor:
    """Give the mean of p(x|z).

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
    mean, _ = _outputs(parameters, z)
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
    >>> x = sample_pixels(parameters, torch.zeros(1, 7, 2), [run.generator(0, "dream")])
    >>> bool(((x == 0) | (x == 1)).all())
    True
    """
    mean, log_variance = _outputs(parameters, z)
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
    >>> normals([run.generator(0, "noise"), run.generator(1, "noise")], 3, 2).shape
    torch.Size([2, 3, 2])
    """
    return torch.stack([torch.randn(shape, generator=g, device=g.device) for g in generators])


def log_likelihood(parameters: Parameters, x: Tensor, z: Tensor) -> Tensor:
    """Give log p(x|z) in nats (App. C), summed over pixels.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `initial` makes them.
    x : Tensor
        Data, shape (S, B, D) or (B, D).
    z : Tensor
        Codes, shape (S, B, Z) or (S, B, K, Z).

    Returns
    -------
    Tensor
        Shape (S, B) or (S, B, K).

    Examples
    --------
    >>> parameters = initial(Architecture(4, (3,), 2, "bernoulli"), [0], "normal", 0.0)
    >>> log_likelihood(parameters, torch.ones(1, 1, 4), torch.zeros(1, 1, 2))  # 4 log 1/2
    tensor([[-2.7726]])
    """
    mean, log_variance = _outputs(parameters, z)
    if z.dim() == 4:
        x = x.unsqueeze(-2)
    if log_variance is None:
        return (x * mean).sum(dim=-1) - functional.softplus(mean).sum(dim=-1)
    if "decoder.log_variance" not in parameters:
        mean = torch.sigmoid(mean)
    squares = (x - mean) ** 2 * torch.exp(-log_variance)
    return -0.5 * (squares + log_variance + LOG_2PI).sum(dim=-1)


def log_prior(z: Tensor) -> Tensor:
    """Give log N(z; 0, I) in nats, summed over Z.

    Parameters
    ----------
    z : Tensor
        Shape (..., Z).

    Examples
    --------
    >>> log_prior(torch.zeros(1, 2))
    tensor([-1.8379])
    """
    return -0.5 * (z * z + LOG_2PI).sum(dim=-1)


def log_normal(z: Tensor, normal: Normal) -> Tensor:
    """Give log N(z; mean, variance) in nats, summed over Z.

    Parameters
    ----------
    z : Tensor
        Shape (..., Z).
    normal : Normal
        Shapes that broadcast with z.

    Examples
    --------
    >>> log_normal(torch.zeros(2), Normal(torch.zeros(2), torch.zeros(2)))
    tensor(-1.8379)
    """
    distance = z - normal.mean
    squares = distance * distance * torch.exp(-normal.log_variance)
    return -0.5 * (squares + normal.log_variance + LOG_2PI).sum(dim=-1)


def kl(normal: Normal) -> Tensor:
    """Give KL(q || N(0, I)) in nats, in closed form (App. B), summed over Z.

    Parameters
    ----------
    normal : Normal
        Shape (..., Z).

    Examples
    --------
    >>> kl(Normal(torch.tensor([1.0, 0.0]), torch.zeros(2)))
    tensor(0.5000)
    """
    mean, log_variance = normal
    return -0.5 * (1 + log_variance - mean * mean - log_variance.exp()).sum(dim=-1)


def save(path: Path | str, saved: Saved) -> None:
    """Write what a training leaves.

    Parameters
    ----------
    path : Path or str
        A safetensors file.
    saved : Saved
        Parameters, each (P, S, ...), and what they belong to.
    """
    said = saved.architecture._asdict() | {
        "objective": saved.objective,
        "samples_seen": list(saved.samples_seen),
    }
    # One text only: safetensors writes several in an order that changes from run to run.
    run.write_tensors(path, saved.parameters, {"model": json.dumps(said, sort_keys=True)})


def load(path: Path | str, pixels: int | None = None) -> Saved:
    """Read what a training left, on the device that computes.

    Parameters
    ----------
    path : Path or str
        As `save` wrote it.
    pixels : int, optional
        D of the data that shall be encoded.

    Raises
    ------
    UserError
        If the file is no model of this paper, its tensors are not those of its architecture, or
        it belongs to images of another size.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> architecture = Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = initial(architecture, [0], "normal", 0.1)
    >>> moments = {name: value[None] for name, value in parameters.items()}
    >>> save(path, Saved(architecture, "sgvb_b", (100,), moments))
    >>> load(path).samples_seen
    (100,)
    >>> load(path, pixels=9)
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: ...model.safetensors was trained on images of 4 pixels and the \
data have 9; give it the data of its own case
    """
    tensors = run.read_tensors(path)
    try:
        said = json.loads(run.read_metadata(path)["model"])
        objective, samples_seen = said.pop("objective"), tuple(said.pop("samples_seen"))
        architecture = Architecture(**said)._replace(hidden=tuple(said["hidden"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path} is no model of vae; give a file that vae.train wrote") from None
    wanted = {
        name: value.shape[1:] for name, value in initial(architecture, [0], "normal", 1.0).items()
    }
    if objective == "mcem":  # it has no encoder
        wanted = {name: shape for name, shape in wanted.items() if name.startswith("decoder")}
    for name in sorted(wanted.keys() | tensors.keys()):
        found = tensors[name].shape[2:] if name in tensors else None
        if found is None or name not in wanted or found != wanted[name]:
            raise UserError(
                f"{path} holds parameters of another architecture than it names (at {name}); "
                "delete it and run its training again"
            )
    if pixels is not None and pixels != architecture.pixels:
        raise UserError(
            f"{path} was trained on images of {architecture.pixels} pixels and the data have "
            f"{pixels}; give it the data of its own case"
        )
    moved = {name: value.to(run.device()) for name, value in tensors.items()}
    return Saved(architecture, objective, samples_seen, moved)


def at(saved: Saved, moment: int) -> Parameters:
    """Give the parameters at one moment of the training.

    Parameters
    ----------
    saved : Saved
        What the training left.
    moment : int
        Index into ``samples_seen``; -1 for the end.

    Returns
    -------
    dict of str to Tensor
        Each (S, ...).

    Examples
    --------
    >>> saved = Saved(Architecture(4, (), 2, "linear"), "sgvb_b", (1, 2), {"a": torch.eye(2)})
    >>> at(saved, -1)
    {'a': tensor([0., 1.])}
    """
    return {name: value[moment] for name, value in saved.parameters.items()}
