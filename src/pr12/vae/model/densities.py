"""The densities of Auto-Encoding Variational Bayes in nats: p(x|z), p(z), q(z|x), KL(q || p)."""

import torch
from torch import Tensor
from torch.nn import functional

from pr12.vae.model.networks import LOG_2PI, Normal, Parameters, outputs


def log_likelihood(parameters: Parameters, x: Tensor, z: Tensor) -> Tensor:
    """Return log p(x|z) in nats (App. C), summed over pixels.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `networks.initial` makes them.
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
    >>> from pr12.vae.model.networks import Architecture, initial
    >>> parameters = initial(Architecture(4, (3,), 2, "bernoulli"), [0], "normal", 0.0)
    >>> log_likelihood(parameters, torch.ones(1, 1, 4), torch.zeros(1, 1, 2))  # 4 log 1/2
    tensor([[-2.7726]])
    """
    mean, log_variance = outputs(parameters, z)
    if z.dim() == 4:
        x = x.unsqueeze(-2)
    if log_variance is None:
        return (x * mean).sum(dim=-1) - functional.softplus(mean).sum(dim=-1)
    if "decoder.log_variance" not in parameters:
        mean = torch.sigmoid(mean)
    squares = (x - mean) ** 2 * torch.exp(-log_variance)
    return -0.5 * (squares + log_variance + LOG_2PI).sum(dim=-1)


def log_prior(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) in nats, summed over Z.

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
    """Return log N(z; mean, variance) in nats, summed over Z.

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
    """Return KL(q || N(0, I)) in nats, in closed form (App. B), summed over Z.

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
