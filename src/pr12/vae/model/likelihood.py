"""Three estimators of the marginal likelihood log p(x), as functions of closures.

Closures take codes z (S, B, K, Z): of S replicas, K codes for each of B data points. Logarithms
are kept in float64.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pr12.vae.model import hmc, networks
from pr12.workflow.errors import UserError

MOST_LATENTS = 5  # the paper calls its estimator reliable below 5
RIDGE = 1e-3  # of the mean variance, added to a fitted covariance


def importance(
    log_joint: Callable[[Tensor], Tensor],
    proposal_mean: Tensor,
    proposal_log_variance: Tensor,
    samples: int,
    chunk: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Estimate log p(x) by importance sampling from q(z|x): the bound of arXiv 1509.00519, Eq. 8.

    Its expectation is a lower bound of log p(x) that rises with the samples.

    Parameters
    ----------
    log_joint : callable
        Codes (S, B, K, Z) to log p(x, z) in nats, shape (S, B, K).
    proposal_mean, proposal_log_variance : Tensor
        Of the diagonal Gaussian q(z|x), shape (S, B, Z).
    samples : int
        Codes drawn for each data point.
    chunk : int
        How many of them are in memory at once (the largest K); the result does not depend on it.
    generators : sequence of torch.Generator
        One per replica, on the device of the proposal.

    Returns
    -------
    Tensor
        In nats, float64, shape (S, B).

    Examples
    --------
    If q is the posterior, here that of p(z) = N(0, 1) and p(x) = 1, every weight is 1.

    >>> zeros = torch.zeros(1, 2, 1)
    >>> def log_joint(z):
    ...     return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=-1)
    >>> estimate = importance(log_joint, zeros, zeros, 50, 7, [torch.Generator()])
    >>> bool(estimate.abs().max() < 1e-6)
    True
    """
    return importance_at(
        log_joint, proposal_mean, proposal_log_variance, [samples], chunk, generators
    )[0]


@torch.inference_mode()
def importance_at(
    log_joint: Callable[[Tensor], Tensor],
    proposal_mean: Tensor,
    proposal_log_variance: Tensor,
    samples: Sequence[int],
    chunk: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Return `importance` at several numbers of samples in one pass.

    Parameters
    ----------
    log_joint, proposal_mean, proposal_log_variance, chunk, generators
        As in `importance`.
    samples : sequence of int
        Rising, such as 1, 50, 5000; each estimate uses the first so many codes.

    Returns
    -------
    Tensor
        In nats, float64, shape (len(samples), S, B).

    Examples
    --------
    >>> zeros = torch.zeros(2, 3, 1)
    >>> importance_at(
    ...     lambda z: z.sum(dim=-1), zeros, zeros, [1, 5], 2, [torch.Generator()] * 2
    ... ).shape
    torch.Size([2, 2, 3])
    """
    scale = (0.5 * proposal_log_variance).exp()
    log_normaliser = 0.5 * (networks.LOG_2PI + proposal_log_variance.double()).sum(dim=-1)
    total = torch.full_like(log_normaliser, -torch.inf)
    done, estimates = 0, []
    for count in samples:
        while done < count:
            size = min(chunk, count - done)
            # One draw a code: a generator's numbers depend on how many are drawn at once.
            draws = [networks.normals(generators, *proposal_mean.shape[1:]) for _ in range(size)]
            noise = torch.stack(draws, dim=2)
            z = proposal_mean[:, :, None] + scale[:, :, None] * noise
            squares = (noise.double() * noise.double()).sum(dim=-1)
            log_proposal = -0.5 * squares - log_normaliser[..., None]
            log_weights = log_joint(z).double() - log_proposal
            total = torch.logaddexp(total, log_weights.logsumexp(dim=-1))
            done += size
        estimates.append(total - math.log(count))
    return torch.stack(estimates)


def reciprocal_importance(
    log_joint: Callable[[Tensor], Tensor],
    start: Tensor,
    step_size: float,
    leapfrog_steps: int,
    burn_in: int,
    samples: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Estimate log p(x) from posterior samples (arXiv 1312.6114, App. D; Gelfand & Dey 1994).

    One chain of Hamiltonian Monte Carlo for each data point: burn-in that tunes its step size,
    `samples` states to which a density q(z) is fitted, and as many fresh ones for
    1 / p(x) = E[q(z) / p(x, z)] over the posterior. The paper names no density, and its first
    author's library used a kernel density estimate; here q is a Gaussian with full covariance,
    which has no bandwidth to choose.

    Parameters
    ----------
    log_joint : callable
        Codes (S, B, 1, Z) to log p(x, z) in nats, shape (S, B, 1).
    start : Tensor
        Where the chains start, float32, shape (S, B, Z).
    step_size, leapfrog_steps : float, int
        Of the first trajectory; each chain tunes its own step size, and 4 steps are the paper's.
    burn_in : int
        Transitions that are not kept.
    samples : int
        L, of each of the two sets; 50 in the paper.
    generators : sequence of torch.Generator
        One per replica, on the device of `start`.

    Returns
    -------
    Tensor
        In nats, float64, shape (S, B); NaN for a chain that stood still.

    Raises
    ------
    UserError
        If codes have more than 5 dimensions: no 50 samples tell what q is there.

    Examples
    --------
    >>> estimate = reciprocal_importance(
    ...     lambda z: torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=-1),
    ...     torch.zeros(1, 4, 1), 0.5, 4, 50, 50, [torch.Generator().manual_seed(0)]
    ... )
    >>> bool(estimate.abs().max() < 0.5)
    True
    """
    _check_latents(start.shape[-1])
    start = start[:, :, None]
    steps = torch.full(start.shape[:-1], step_size, device=start.device)
    start, steps = hmc.burn_in(log_joint, start, steps, leapfrog_steps, burn_in, generators)
    chain = hmc.sample(log_joint, start, steps, leapfrog_steps, 2 * samples, generators)
    log_fitted = _log_fitted_normal(chain.positions[:samples], chain.positions[samples:])
    log_ratios = log_fitted - chain.log_densities[samples:]
    return (math.log(samples) - log_ratios.logsumexp(dim=0)).squeeze(dim=-1)


def _check_latents(latent_dim: int) -> None:
    if latent_dim > MOST_LATENTS:
        raise UserError(
            f"the estimator of App. D is sound for at most {MOST_LATENTS} latent dimensions, not "
            f"{latent_dim}; estimate by importance sampling or annealing instead"
        )


def _log_fitted_normal(fit_to: Tensor, at: Tensor) -> Tensor:
    """Fit a Gaussian to the first samples (L, ..., Z) and give its log density at others."""
    fit_to, at = fit_to.double(), at.double()
    mean = fit_to.mean(dim=0)
    centred = fit_to - mean
    covariance = torch.einsum("l...i,l...j->...ij", centred, centred) / (len(fit_to) - 1)
    ridge = RIDGE * covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    identity = torch.eye(at.shape[-1], dtype=torch.float64, device=at.device)
    factor, failed = torch.linalg.cholesky_ex(covariance + ridge[..., None, None] * identity)
    whitened = torch.linalg.solve_triangular(factor, (at - mean)[..., None], upper=False)[..., 0]
    log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    log_norm = log_volume + 0.5 * at.shape[-1] * networks.LOG_2PI
    log_density = -0.5 * (whitened * whitened).sum(dim=-1) - log_norm
    return torch.where(failed == 0, log_density, torch.nan)


def sigmoidal_schedule(count: int) -> Tensor:
    """Return inverse temperatures from 0 to 1, dense at both ends (Wu et al., arXiv 1611.04273).

    Parameters
    ----------
    count : int
        How many follow the 0.

    Returns
    -------
    Tensor
        float64, shape (count + 1,).

    Examples
    --------
    >>> sigmoidal_schedule(4)
    tensor([0.0000, 0.1050, 0.5000, 0.8950, 1.0000], dtype=torch.float64)
    """
    curve = torch.linspace(-4.0, 4.0, count + 1, dtype=torch.float64).sigmoid()
    return (curve - curve[0]) / (curve[-1] - curve[0])


def annealed(
    log_likelihood: Callable[[Tensor], Tensor],
    points: int,
    latent_dim: int,
    chains: int,
    inverse_temperatures: Tensor,
    step_size: float,
    leapfrog_steps: int,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Estimate log p(x) by annealed importance sampling from the prior N(0, I) (Neal 2001).

    Each chain makes one transition of Hamiltonian Monte Carlo at every inverse temperature but the
    first. Step sizes, one for each data point and temperature, come from a pilot run of its own
    with a quarter of the chains: a step size tuned on the fly would bias the weights. The mean
    weight is then unbiased, and its logarithm a lower bound in expectation.

    Parameters
    ----------
    log_likelihood : callable
        Codes (S, B, K, Z) to log p(x|z) in nats, shape (S, B, K).
    points, latent_dim, chains : int
        B, Z, and K for each data point.
    inverse_temperatures : Tensor
        Rising from 0 to 1, such as `sigmoidal_schedule`.
    step_size : float
        Of the pilot run's first transition.
    leapfrog_steps : int
        Of a trajectory.
    generators : sequence of torch.Generator
        One per replica; they choose the device.

    Returns
    -------
    Tensor
        In nats, float64, shape (S, B).

    Examples
    --------
    A likelihood that does not depend on z has nothing to anneal.

    >>> estimate = annealed(
    ...     lambda z: 0.0 * z.sum(dim=-1) - 3.0, 2, 1, 4, sigmoidal_schedule(5), 0.5, 2,
    ...     [torch.Generator()]
    ... )
    >>> estimate.round(decimals=6)
    tensor([[-3., -3.]], dtype=torch.float64)
    """
    betas = inverse_temperatures.tolist()
    shape = (points, max(1, chains // 4), latent_dim)
    step_sizes = _pilot(log_likelihood, shape, betas[1:], step_size, leapfrog_steps, generators)
    shape = (points, chains, latent_dim)
    point = hmc.evaluate(log_likelihood, networks.normals(generators, *shape))
    log_weights = torch.zeros_like(point.log_density)
    for before, beta, steps in zip(betas, betas[1:], step_sizes, strict=False):
        log_weights += (beta - before) * point.log_density
        point, _ = _tempered_transition(
            log_likelihood, point, beta, steps, leapfrog_steps, generators
        )
    return log_weights.logsumexp(dim=-1) - math.log(chains)


def _pilot(
    log_likelihood: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    betas: Sequence[float],
    step_size: float,
    leapfrog_steps: int,
    generators: Sequence[torch.Generator],
) -> list[Tensor]:
    """Return step sizes (S, B, 1), one a temperature, found by chains of a shape (B, K, Z)."""
    point = hmc.evaluate(log_likelihood, networks.normals(generators, *shape))
    steps = torch.full((len(generators), shape[0], 1), step_size, device=point.position.device)
    step_sizes = []
    for beta in betas:
        step_sizes.append(steps)
        point, accepted = _tempered_transition(
            log_likelihood, point, beta, steps, leapfrog_steps, generators
        )
        steps = hmc.tuned(steps, accepted)
    return step_sizes


def _tempered_transition(
    log_likelihood: Callable[[Tensor], Tensor],
    point: hmc.Point,
    beta: float,
    step_size: Tensor,
    leapfrog_steps: int,
    generators: Sequence[torch.Generator],
) -> tuple[hmc.Point, Tensor]:
    """Make a transition for p(z) p(x|z)^beta; points hold the value and gradient of log p(x|z).

    They are turned into those of the tempered density and back, since computing them anew at
    every temperature would cost one more pass through the decoder. p(z) needs no constant.
    """

    def tempered(z: Tensor) -> Tensor:
        return -0.5 * (z.double() * z.double()).sum(dim=-1) + beta * log_likelihood(z).double()

    z, value, gradient = point
    value = -0.5 * (z.double() * z.double()).sum(dim=-1) + beta * value
    start = hmc.Point(z, value, beta * gradient - z)
    end, accepted = hmc.transition(tempered, start, step_size, leapfrog_steps, generators)
    z, value, gradient = end
    value = (value + 0.5 * (z.double() * z.double()).sum(dim=-1)) / beta
    return hmc.Point(z, value, (gradient + z) / beta), accepted
