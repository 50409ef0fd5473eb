"""How good nets are on data: the bound (Eq. 7), and reconstructions."""

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.model import densities, networks, objectives
from pr12.vae.model.networks import Parameters


def elbo(
    parameters: Parameters, x: Tensor, samples: int, batch: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate the bound with its KL term in closed form (Eq. 7), averaged over data.

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's, each (S, ...).
    x : Tensor
        Data, shape (N, D).
    samples : int
        Codes drawn per data point.
    batch : int
        Data points at a time, which bounds the memory.

    Returns
    -------
    bound, divergence, variances : Tensor
        Mean bound and mean KL(q || p) in nats, each (S,), and the variance over data of each
        code's mean, (S, Z).

    Examples
    --------
    >>> architecture = networks.Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = networks.initial(architecture, [0], "normal", 1e-9)
    >>> bound, divergence, _ = elbo(parameters, torch.ones(2, 4), samples=1, batch=1)
    >>> bound, divergence  # 4 log 1/2; the code is the prior
    (tensor([-2.7726]), tensor([0.]))
    """
    replicas = len(parameters["decoder.mean.weight"])
    # One stream for all systems and moments: their differences are not of the draws
    noise = [determinism.generator(0, "evaluate", x.device) for _ in range(replicas)]
    bounds, divergences, means = [], [], []
    with torch.inference_mode():
        for part in x.split(batch):
            q = networks.encode(parameters, part)
            z = networks.draw(q, networks.normals(noise, len(part), samples, q.mean.shape[-1]))
            divergences.append(densities.kl(q))
            likelihood = densities.log_likelihood(parameters, part, z).mean(dim=2)
            bounds.append(likelihood - divergences[-1])
            means.append(q.mean)
    bound, divergence = (
        torch.cat(each, dim=1).double().mean(dim=1) for each in (bounds, divergences)
    )
    return bound.float(), divergence.float(), torch.cat(means, dim=1).var(dim=1, correction=1)


def reconstruction(parameters: Parameters, x: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return log p(x|z) in nats at the encoder's mean, and the mean squared error, each (S,).

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's, each (S, ...).
    x : Tensor
        Data, shape (N, D).
    batch : int
        Data points at a time.

    Examples
    --------
    >>> architecture = networks.Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = networks.initial(architecture, [0], "normal", 1e-9)
    >>> reconstruction(parameters, torch.ones(2, 4), batch=1)
    (tensor([-2.7726]), tensor([0.2500]))
    """
    likelihoods, errors = [], []
    with torch.inference_mode():
        for part in x.split(batch):
            z = networks.encode(parameters, part).mean
            likelihoods.append(objectives.autoencoder(parameters, part, 1, []))
            errors.append(((networks.decode(parameters, z) - part) ** 2).mean(dim=-1))
    return torch.cat(likelihoods, dim=1).mean(dim=1), torch.cat(errors, dim=1).mean(dim=1)
