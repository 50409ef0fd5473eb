"""Estimates of log p(x) of a net on data, batch after batch: three estimators, mean over data."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.model import densities, likelihood, networks
from pr12.vae.model.networks import Parameters
from pr12.workflow.errors import UserError

STARTS = 1000  # draws from the prior, of which a chain starts at the most likely


def streams(replicas: int, purpose: str) -> list[torch.Generator]:
    """Open equal streams for all replicas and systems: differences are not of the draws."""
    return [determinism.generator(0, purpose, determinism.device()) for _ in range(replicas)]


def in_batches(x: Tensor, batch: int, estimate: Callable[[Tensor], Tensor]) -> Tensor:
    """Estimate batch after batch of data (N, D), and join the results (..., N) along the last."""
    return torch.cat([estimate(part) for part in x.split(batch)], dim=-1)


def start(
    parameters: Parameters, x: Tensor, draws: int, generators: Sequence[torch.Generator]
) -> Tensor:
    """Choose where each chain starts: the most likely of some draws from the prior.

    A sharp posterior has modes that a chain started anywhere never finds: it would stay in a poor
    one, and the estimate far below log p(x).

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's; the decoder's are enough.
    x : Tensor
        Data, shape (B, D).
    draws : int
        Candidates for each data point; they are looked at one after the other.
    generators : sequence of torch.Generator
        One per replica.

    Returns
    -------
    Tensor
        Shape (S, B, Z).

    Examples
    --------
    >>> architecture = networks.Architecture(4, (), 1, "bernoulli")
    >>> parameters = networks.initial(architecture, [0], "normal", 1e-9)
    >>> parameters["decoder.mean.weight"] += 1.0  # white pixels are likelier the larger z
    >>> bool(start(parameters, torch.ones(1, 4), 50, streams(1, "start")) > 1)
    True
    """
    replicas, latent_dim = _sizes(parameters)
    best = x.new_full((replicas, len(x)), -torch.inf)
    chosen = x.new_zeros(replicas, len(x), latent_dim)
    with torch.no_grad():
        for _ in range(draws):
            z = networks.normals(generators, len(x), latent_dim)
            reached = densities.log_likelihood(parameters, x, z)
            chosen = torch.where((reached > best).unsqueeze(2), z, chosen)
            best = torch.maximum(best, reached)
    return chosen


def posterior(
    parameters: Parameters,
    x: Tensor,
    batch: int,
    samples: int,
    burn_in: int,
    leapfrog: int,
    step_size: float,
) -> Tensor:
    """Estimate log p(x) from posterior samples (App. D).

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's; the decoder's are enough.
    x : Tensor
        Data, shape (N, D).
    batch : int
        Data points at a time, which bounds the memory.
    samples, burn_in : int
        Posterior samples of a chain, and those before them that are not used.
    leapfrog, step_size : int, float
        Of Hamiltonian Monte Carlo.

    Returns
    -------
    Tensor
        In nats, shape (S, N).

    Raises
    ------
    UserError
        If there are more than 5 latent dimensions.
    """
    generators = streams(_sizes(parameters)[0], "posterior")

    def estimate(part: Tensor) -> Tensor:
        return likelihood.reciprocal_importance(
            lambda z: densities.log_likelihood(parameters, part, z) + densities.log_prior(z),
            start(parameters, part, STARTS, generators),
            step_size,
            leapfrog,
            burn_in,
            samples,
            generators,
        )

    return in_batches(x, batch, estimate)


def importance(
    parameters: Parameters, x: Tensor, batch: int, samples: Sequence[int], chunk: int
) -> Tensor:
    """Estimate log p(x) with k samples of q(z|x), for every k that is asked for.

    Parameters
    ----------
    parameters, x, batch
        As in `posterior`, with an encoder.
    samples : sequence of int
        Every k, ascending.
    chunk : int
        Samples at a time.

    Returns
    -------
    Tensor
        In nats, shape (K, S, N), one row for each k.
    """
    generators = streams(_sizes(parameters)[0], "importance")

    def estimate(part: Tensor) -> Tensor:
        q = networks.encode(parameters, part)
        return likelihood.importance_at(
            lambda z: densities.log_likelihood(parameters, part, z) + densities.log_prior(z),
            q.mean,
            q.log_variance,
            samples,
            chunk,
            generators,
        )

    with torch.inference_mode():
        return in_batches(x, batch, estimate)


def annealed(
    parameters: Parameters,
    x: Tensor,
    batch: int,
    chains: int,
    temperatures: int,
    leapfrog: int,
    step_size: float,
) -> Tensor:
    """Estimate log p(x) by annealing from the prior (Neal 2001).

    Parameters
    ----------
    parameters, x, batch, leapfrog, step_size
        As in `posterior`.
    chains, temperatures : int
        Chains of a data point, and steps of each from the prior to the posterior.

    Returns
    -------
    Tensor
        In nats, shape (S, N).
    """
    replicas, latent_dim = _sizes(parameters)
    generators = streams(replicas, "annealed")

    def estimate(part: Tensor) -> Tensor:
        return likelihood.annealed(
            lambda z: densities.log_likelihood(parameters, part, z),
            len(part),
            latent_dim,
            chains,
            likelihood.sigmoidal_schedule(temperatures).to(x.device),
            step_size,
            leapfrog,
            generators,
        )

    return in_batches(x, batch, estimate)


def _sizes(parameters: Parameters) -> tuple[int, int]:
    first = "decoder.0.weight" if "decoder.0.weight" in parameters else "decoder.mean.weight"
    return tuple(parameters[first].shape[:2])


def mean(estimates: Tensor, where: str) -> list[float]:
    """Return each replica's mean over data points, (S, N) -> S numbers.

    Parameters
    ----------
    estimates : Tensor
        In nats.
    where : str
        What they are of, for the message.

    Raises
    ------
    UserError
        If one is not finite.

    Examples
    --------
    >>> mean(torch.tensor([[-1.0, -2.0]]), "test")
    [-1.5]
    """
    wrong = int((~torch.isfinite(estimates)).sum())
    if wrong:
        raise UserError(
            f"{wrong} of {estimates.numel()} estimates of {where} are not finite; "
            "raise burn_in or lower step_size"
        )
    return estimates.double().mean(dim=-1).tolist()
