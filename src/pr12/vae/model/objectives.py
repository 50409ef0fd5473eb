"""What a training maximises, per data point: two estimators of the bound, and the baselines.

All have the form ``objective(parameters, x, samples, generators) -> (S, B)``, with data x of shape
(S, B, D), L or k samples of z per data point and one random stream per replica.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pr12.vae.model import densities, networks
from pr12.vae.model.networks import Normal, Parameters

Generators = Sequence[torch.Generator]


def _codes(
    parameters: Parameters, x: Tensor, samples: int, generators: Generators
) -> tuple[Normal, Tensor]:
    """Encode, and draw codes of shape (S, B, L, Z)."""
    q = networks.encode(parameters, x)
    batch, latent_dim = q.mean.shape[1:]
    return q, networks.draw(q, networks.normals(generators, batch, samples, latent_dim))


def sgvb_a(parameters: Parameters, x: Tensor, samples: int, generators: Generators) -> Tensor:
    """Estimate the bound by samples alone: log p(x, z) - log q(z|x) (Sec. 2.3, Eq. 6)."""
    return log_weights(parameters, x, *_codes(parameters, x, samples, generators)).mean(dim=2)


def sgvb_b(parameters: Parameters, x: Tensor, samples: int, generators: Generators) -> Tensor:
    """Estimate the bound with the KL term in closed form (Sec. 2.3, Eq. 7)."""
    q, z = _codes(parameters, x, samples, generators)
    return densities.log_likelihood(parameters, x, z).mean(dim=2) - densities.kl(q)


def importance(parameters: Parameters, x: Tensor, samples: int, generators: Generators) -> Tensor:
    """Estimate the tighter bound of k importance weights (Burda et al. 2015, Eq. 8)."""
    weights = log_weights(parameters, x, *_codes(parameters, x, samples, generators))
    return torch.logsumexp(weights, dim=2) - math.log(samples)


def wake_sleep(parameters: Parameters, x: Tensor, samples: int, generators: Generators) -> Tensor:
    """Return the two objectives of the wake-sleep algorithm (Hinton et al. 1995), added.

    Wake: the decoder learns log p(x|z) at codes of the recognition net. Sleep: the encoder learns
    log q(z|x) of dreams, x and z drawn from the model. No gradient passes through a draw, and the
    two terms share no parameter, so that the gradient of their sum is that of each.
    """
    with torch.no_grad():
        _, z = _codes(parameters, x, samples, generators)
        dreamt = networks.normals(generators, *x.shape[1:-1], z.shape[-1])
        dream = networks.sample_pixels(parameters, dreamt, generators)
    wake = densities.log_likelihood(parameters, x, z).mean(dim=2)
    return wake + densities.log_normal(dreamt, networks.encode(parameters, dream))


def autoencoder(parameters: Parameters, x: Tensor, samples: int, generators: Generators) -> Tensor:
    """Return a plain autoencoder's log p(x|z) at the encoder's mean: no noise and no prior."""
    return densities.log_likelihood(parameters, x, networks.encode(parameters, x).mean)


def log_weights(parameters: Parameters, x: Tensor, q: Normal, z: Tensor) -> Tensor:
    """Return log p(x, z) - log q(z|x) at given codes.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `networks.initial` makes them.
    x : Tensor
        Data, shape (S, B, D) or (B, D).
    q : Normal
        The encoder's, shape (S, B, Z).
    z : Tensor
        Codes, shape (S, B, K, Z).

    Returns
    -------
    Tensor
        In nats, shape (S, B, K).

    Examples
    --------
    >>> architecture = networks.Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = networks.initial(architecture, [0], "normal", 0.0)
    >>> x, z = torch.ones(1, 1, 4), torch.zeros(1, 1, 1, 2)
    >>> log_weights(parameters, x, networks.encode(parameters, x), z)  # q is the prior: 4 log 1/2
    tensor([[[-2.7726]]])
    """
    wide = Normal(q.mean.unsqueeze(2), q.log_variance.unsqueeze(2))
    likelihood = densities.log_likelihood(parameters, x, z)
    return likelihood + densities.log_prior(z) - densities.log_normal(z, wide)
