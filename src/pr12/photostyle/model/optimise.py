"""The one loop of all four papers: change the pixels of an image until a loss is small.

L-BFGS (Liu & Nocedal 1989) with pixels kept between 0 and 1, as Gatys et al. (2015) bound theirs:
pixels that sit on a bound and would leave it are held, steps are cut off at the bounds, and a step
that does not lower the loss enough is halved. Most iterations need one gradient.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.workflow.errors import UserError

Objective = Callable[[Tensor], Mapping[str, Tensor]]  # image -> the loss, and its parts

FIRST = 0.02  # root mean square of the first step, in pixels from 0 to 1
ENOUGH = 1e-4  # share of the fall that the slope promises (Armijo's condition)
HALVINGS = 12  # of a step, before what L-BFGS remembers is thrown away


class Step(NamedTuple):
    """Where an optimisation is after one iteration."""

    iteration: int  # how many are done
    parts: dict[str, float]  # "loss" and its parts, of this image
    image: Tensor  # from 0 to 1, shape (1, 3, H, W)
    state: dict[str, Any]  # all that is needed to go on from here


class Memory(NamedTuple):
    """What L-BFGS remembers, the oldest first."""

    steps: list[Tensor]  # shape (pixels,)
    changes: list[Tensor]  # of the gradient, shape (pixels,)
    products: list[float]  # of a step with its change


def noise(height: int, width: int, seed: int) -> Tensor:
    """Return white noise to start from, around the middle of the range, shape (1, 3, H, W).

    Examples
    --------
    >>> noise(4, 6, seed=0).shape
    torch.Size([1, 3, 4, 6])
    """
    drawn = torch.randn(1, 3, height, width, generator=determinism.generator(seed, "start"))
    return (0.5 + 0.01 * drawn).clamp(min=0.0, max=1.0)


def minimise(
    start: Tensor,
    objective: Objective,
    iterations: int,
    history: int,
    state: Mapping[str, Any] | None = None,
) -> Iterator[Step]:
    """Minimise a loss over the pixels of an image.

    Parameters
    ----------
    start : Tensor
        From 0 to 1, shape (1, 3, H, W).
    objective : callable
        Gives ``loss``, to be minimised, and further parts, to be printed.
    iterations : int
        How many in all, those of `state` included.
    history : int
        Pairs of steps and changes of the gradient that are remembered (20 in Gatys et al. 2015).
    state : mapping, optional
        Of a `Step`, to go on from.

    Yields
    ------
    Step
        After every iteration; no more where no step lowers the loss in this precision.

    Raises
    ------
    UserError
        If the loss is not finite; it names the iteration and the last finite loss.

    Examples
    --------
    >>> def far(image):
    ...     return {"loss": (image - 0.25).square().sum()}
    >>> *_, last = minimise(torch.zeros(1, 3, 2, 2), far, iterations=8, history=5)
    >>> round(last.image.mean().item(), 5), last.image.shape
    (0.25, torch.Size([1, 3, 2, 2]))
    """
    evaluate = partial(_evaluated, objective, start.shape)
    image = (state["image"] if state else start).flatten()
    memory = Memory(*(list(state[name]) if state else [] for name in Memory._fields))
    parts, gradient = evaluate(image)
    if not _finite(parts, gradient):
        raise UserError("the loss of the first image is not finite; look at the images and weights")
    for iteration in range(state["iteration"] if state else 0, iterations):
        held = ((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))
        slope = gradient.masked_fill(held, 0.0)
        moved, memory = _moved(image, slope, memory, held, parts["loss"], evaluate)
        if moved is None:
            return
        new_image, new_parts, new_gradient = moved
        if not _finite(new_parts, new_gradient):
            raise _not_finite(iteration + 1, parts["loss"])
        memory = _remembered(memory, new_image - image, new_gradient - gradient, history)
        image, parts, gradient = new_image, new_parts, new_gradient
        whole = image.reshape(start.shape)
        state = {"iteration": iteration + 1, "image": whole, **memory._asdict()}
        yield Step(iteration + 1, parts, whole, state)


def _not_finite(iteration: int, before: float) -> UserError:
    """Return what to say of a loss that has left the numbers."""
    return UserError(
        f"the loss is not finite at iteration {iteration} (before it was {before}); give the "
        "losses smaller or more equal weights"
    )


def _evaluated(objective: Objective, shape: torch.Size, flat: Tensor):
    leaf = flat.detach().reshape(shape).requires_grad_(True)
    parts = objective(leaf)
    (gradient,) = torch.autograd.grad(parts["loss"], leaf)
    return {name: part.item() for name, part in parts.items()}, gradient.flatten()


def _finite(parts: Mapping[str, float], gradient: Tensor) -> bool:
    return math.isfinite(parts["loss"]) and bool(torch.isfinite(gradient.sum()))


def _remembered(memory: Memory, step: Tensor, change: Tensor, history: int) -> Memory:
    """Add the last step, unless the loss bends downwards along it; forget the oldest."""
    product = (step @ change).item()
    if not product > 1e-10 * (change @ change).item():
        return memory
    added = (step, change, product)
    return Memory(*([*past, last][-history:] for past, last in zip(memory, added, strict=True)))


def _moved(image, slope, memory, held, loss, evaluate):
    """Search a step, and once more along the slope, without memory, if there is none."""
    moved = _searched(image, slope, memory, held, loss, evaluate)
    if memory.steps and (moved is None or not _finite(*moved[1:])):
        memory = Memory([], [], [])
        moved = _searched(image, slope, memory, held, loss, evaluate)
    return moved, memory


def _searched(image, slope, memory, held, loss, evaluate):
    """Go along the quasi-Newton direction, or half as far, ... until the loss falls enough."""
    direction = -_times_inverse_hessian(slope, memory).masked_fill(held, 0.0)
    if not memory.steps:
        length = direction.square().mean().sqrt()
        direction = direction * (FIRST / length) if length > 0 else direction
    if not direction @ slope < 0:
        return None
    last = None
    for halving in range(HALVINGS):
        moved = (image + direction * 0.5**halving).clamp(min=0.0, max=1.0)
        promised = (slope @ (moved - image)).item()
        if not promised < 0:  # cut off at the bounds, this step would stand still or climb
            continue
        parts, gradient = evaluate(moved)
        if parts["loss"] < loss and parts["loss"] <= loss + ENOUGH * promised:
            return moved, parts, gradient
        last = moved, parts, gradient
    return last if last and not _finite(*last[1:]) else None  # the caller tells of it


def _times_inverse_hessian(vector: Tensor, memory: Memory) -> Tensor:
    """Multiply by L-BFGS' inverse Hessian: the two-loop recursion (Nocedal & Wright, alg. 7.4)."""
    if not memory.steps:
        return vector
    pairs, shares = list(zip(*memory, strict=True)), []
    for step, change, product in reversed(pairs):
        shares.append(step @ vector / product)
        vector = torch.addcmul(vector, shares[-1], change, value=-1)
    last = memory.changes[-1]
    vector = vector * (memory.products[-1] / (last @ last))
    for (step, change, product), share in zip(pairs, reversed(shares), strict=True):
        vector = torch.addcmul(vector, share - change @ vector / product, step)
    return vector
