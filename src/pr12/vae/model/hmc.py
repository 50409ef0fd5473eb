"""Hamiltonian Monte Carlo for many independent chains at once (Neal 2011, arXiv 1206.1901).

Chains share nothing but the call: each has its own momentum, its own Metropolis test and, if
wanted, its own step size. Chains stand in the leading dimensions (S, ...), and every replica
draws from its own stream, so that it goes the same way alone as in a stack.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pr12.vae.model import networks

LogDensity = Callable[[Tensor], Tensor]

GROWTH = 1.02  # of the step size after an acceptance
TARGET = 0.9  # share of accepted proposals, arXiv 1312.6114, App. E
JITTER = 0.2  # share of the step size; without it trajectories of one period go nowhere


class Point(NamedTuple):
    """Where the chains are, with what was computed there: log density (...) in float64."""

    position: Tensor
    log_density: Tensor
    gradient: Tensor


class Chain(NamedTuple):
    """Kept states (T, ..., Z), their log densities (T, ...), shares accepted (...), step size."""

    positions: Tensor
    log_densities: Tensor
    acceptance: Tensor
    step_size: Tensor


def evaluate(log_density: LogDensity, position: Tensor) -> Point:
    """Compute the log density and its gradient, one forward and one backward pass.

    Parameters
    ----------
    log_density : callable
        Positions (..., Z) to log densities (...) in nats, up to a constant; what it closes over
        should ask for no gradients, and not stem from `torch.inference_mode`.
    position : Tensor
        Shape (..., Z).

    Examples
    --------
    >>> evaluate(lambda z: -0.5 * (z * z).sum(dim=-1), torch.tensor([[3.0, 4.0]])).gradient
    tensor([[-3., -4.]])
    """
    with torch.enable_grad():
        position = position.detach().requires_grad_(True)
        value = log_density(position)
        (gradient,) = torch.autograd.grad(value.sum(), position)
    return Point(position.detach(), value.detach().double(), gradient)


def leapfrog(
    log_density: LogDensity, point: Point, momentum: Tensor, step_size: Tensor, steps: int
) -> tuple[Point, Tensor]:
    """Follow Hamilton's equations with unit masses (Neal 2011, Sec. 2.3).

    Parameters
    ----------
    log_density : callable
        As in `evaluate`; called `steps` times.
    point : Point
        Where the trajectories start.
    momentum : Tensor
        Shape (..., Z).
    step_size : Tensor
        Broadcasts against the chains (...).
    steps : int
        At least 1.

    Returns
    -------
    Point, Tensor
        Where they end, and the momentum there.

    Examples
    --------
    >>> def log_density(z):
    ...     return -0.5 * (z * z).sum(dim=-1)
    >>> start = evaluate(log_density, torch.tensor([1.0]))
    >>> end, momentum = leapfrog(log_density, start, torch.zeros(1), torch.tensor(1.0), 1)
    >>> end.position, momentum
    (tensor([0.5000]), tensor([-0.7500]))
    """
    step = step_size[..., None]
    momentum = momentum + 0.5 * step * point.gradient
    for index in range(steps):
        point = evaluate(log_density, point.position + step * momentum)
        momentum = momentum + (1.0 if index < steps - 1 else 0.5) * step * point.gradient
    return point, momentum


def transition(
    log_density: LogDensity,
    point: Point,
    step_size: Tensor,
    leapfrog_steps: int,
    generators: Sequence[torch.Generator],
) -> tuple[Point, Tensor]:
    """Make one transition: fresh momentum, a trajectory, a Metropolis test per chain.

    Each trajectory has a step size of its own, up to a fifth above or below the one that is given
    (Neal 2011, Sec. 3.2): where all are as long as the density's period, a chain hardly moves. A
    proposal whose energy is not finite is rejected. The new point brings its gradient, so that
    the next transition costs no evaluation at its start; a caller that changed the density in
    between, as Monte Carlo EM does, calls `evaluate` first.

    Parameters
    ----------
    log_density : callable
        As in `evaluate`; called `leapfrog_steps` times.
    point : Point
        The chains' state, positions of shape (S, ..., Z).
    step_size : Tensor
        Broadcasts against (S, ...).
    leapfrog_steps : int
        Of each trajectory.
    generators : sequence of torch.Generator
        One per replica.

    Returns
    -------
    Point, Tensor
        The new state, and which chains accepted, bool, shape (S, ...).

    Examples
    --------
    >>> start = evaluate(lambda z: -z.abs().sum(dim=-1), torch.ones(1, 5, 2))
    >>> _, accepted = transition(
    ...     lambda z: z.sum(dim=-1) / 0.0, start, torch.tensor(0.1), 3, [torch.Generator()]
    ... )
    >>> accepted
    tensor([[False, False, False, False, False]])
    """
    momentum = networks.normals(generators, *point.position.shape[1:])
    chains = point.position.shape[1:-1]
    draws = [torch.rand(2, *chains, generator=g, device=g.device) for g in generators]
    jitter, uniform = torch.stack(draws).unbind(dim=1)
    own_step_size = step_size * (1 - JITTER + 2 * JITTER * jitter)
    proposal, end_momentum = leapfrog(log_density, point, momentum, own_step_size, leapfrog_steps)
    before = _energy(point, momentum).nan_to_num(nan=torch.inf, posinf=torch.inf)
    after = _energy(proposal, end_momentum)
    accepted = after.isfinite() & (uniform.double().log() < before - after)
    moved = accepted[..., None]
    return Point(
        torch.where(moved, proposal.position, point.position),
        torch.where(accepted, proposal.log_density, point.log_density),
        torch.where(moved, proposal.gradient, point.gradient),
    ), accepted


def _energy(point: Point, momentum: Tensor) -> Tensor:
    return 0.5 * (momentum.double() * momentum.double()).sum(dim=-1) - point.log_density


def tuned(step_size: Tensor, accepted: Tensor) -> Tensor:
    """Bring the step size nearer to 90 % acceptance: up by 2 % if accepted, down by 16 % if not.

    The logarithm of the step size stands still on average where 9 of 10 are accepted. Chains that
    share a step size count by the share of them that accepted.

    Parameters
    ----------
    step_size : Tensor
        Shape (S, ...), with 1 in the dimensions of chains that share it; () if all do.
    accepted : Tensor
        bool, shape (S, ...).

    Examples
    --------
    >>> tuned(torch.tensor([[1.0], [1.0]]), torch.tensor([[True] * 10, [True] * 9 + [False]]))
    tensor([[1.0200],
            [1.0000]])
    """
    sharing = accepted.numel() / step_size.numel()
    share = accepted.to(step_size.dtype).sum_to_size(step_size.shape) / sharing
    return step_size * GROWTH ** ((share - TARGET) / (1 - TARGET))


def burn_in(
    log_density: LogDensity,
    start: Tensor,
    step_size: Tensor,
    leapfrog_steps: int,
    transitions: int,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Bring chains to where the density is high while tuning their step size.

    Parameters
    ----------
    log_density, start, step_size, leapfrog_steps, transitions, generators
        As in `sample`; the shape of `step_size` says which chains share one.

    Returns
    -------
    Tensor, Tensor
        Last positions, shape (S, ..., Z), and the tuned step size, shape as given.

    Examples
    --------
    >>> start, step_size = torch.zeros(1, 4, 2), torch.full((1, 1), 0.1)
    >>> position, step_size = burn_in(
    ...     lambda z: -z.abs().sum(dim=-1), start, step_size, 3, 5, [torch.Generator()]
    ... )
    >>> position.shape, step_size.shape
    (torch.Size([1, 4, 2]), torch.Size([1, 1]))
    """
    point = evaluate(log_density, start)
    for _ in range(transitions):
        point, accepted = transition(log_density, point, step_size, leapfrog_steps, generators)
        step_size = tuned(step_size, accepted)
    return point.position, step_size


def sample(
    log_density: LogDensity,
    start: Tensor,
    step_size: Tensor,
    leapfrog_steps: int,
    transitions: int,
    generators: Sequence[torch.Generator],
) -> Chain:
    """Sample with a step size that stays as it is, so that the density is left invariant.

    Parameters
    ----------
    log_density : callable
        As in `evaluate`; called `1 + transitions * leapfrog_steps` times.
    start : Tensor
        float32, shape (S, ..., Z).
    step_size : Tensor
        Broadcasts against the chains (S, ...).
    leapfrog_steps : int
        Of each trajectory.
    transitions : int
        T; each is kept.
    generators : sequence of torch.Generator
        One per replica, on the device of `start`.

    Examples
    --------
    >>> chain = sample(
    ...     lambda z: -z.abs().sum(dim=-1), torch.zeros(1, 4, 2), torch.tensor(0.1), 3, 5,
    ...     [torch.Generator()],
    ... )
    >>> chain.positions.shape, chain.log_densities.shape, chain.acceptance.shape
    (torch.Size([5, 1, 4, 2]), torch.Size([5, 1, 4]), torch.Size([1, 4]))
    """
    point = evaluate(log_density, start)
    points, outcomes = [], []
    for _ in range(transitions):
        point, accepted = transition(log_density, point, step_size, leapfrog_steps, generators)
        points.append(point)
        outcomes.append(accepted)
    positions = torch.stack([each.position for each in points])
    log_densities = torch.stack([each.log_density for each in points])
    acceptance = torch.stack(outcomes).double().mean(dim=0)
    return Chain(positions, log_densities, acceptance, step_size)
