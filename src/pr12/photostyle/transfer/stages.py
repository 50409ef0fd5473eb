"""The two stages of a transfer as one row of steps, and the state from which they go on."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pr12.photostyle.data import common_classes
from pr12.photostyle.model import deep_photo_style, matting, optimise
from pr12.photostyle.model.optimise import Step
from pr12.photostyle.transfer.inputs import Inputs
from pr12.photostyle.transfer.problem import Problem, Wishes

State = Mapping[str, Any]  # as `state_of` gives it


class Reached(NamedTuple):
    """How far a transfer is."""

    stage: int  # 1 or 2
    step: Step
    first: int  # iterations of the first stage, done


def steps(
    prepared: Problem, wishes: Wishes, inputs: Inputs, state: State | None
) -> Iterator[Reached]:
    """Go through both stages.

    Parameters
    ----------
    prepared : Problem
        As `problem` gives it.
    wishes : Wishes
        The params.
    inputs : Inputs
        Of which the content as it is optimised has the matting Laplacian.
    state : mapping, optional
        As `state_of` gives it, to go on from.

    Yields
    ------
    Reached
        After every iteration.
    """
    stage = state["stage"] if state else 1
    before = state["step"] if state else None
    first = state["first"] if state else 0
    features, target, weights, image = prepared
    image = before["image"] if before else image
    if stage == 1:
        loss = deep_photo_style.objective(features, target, weights)
        for step in optimise.minimise(image, loss, wishes.iterations, wishes.history, before):
            first = step.iteration
            yield Reached(1, step, first)
            image = step.image
        before = None
    if not wishes.photorealism or not wishes.photorealistic_iterations:
        return
    seen = inputs.content_labels != common_classes.UNUSED
    matrix = matting.as_tensor(matting.laplacian(inputs.content, seen)).to(image.device)
    loss = deep_photo_style.objective(features, target, weights, wishes.photorealism, matrix)
    count = wishes.photorealistic_iterations
    for step in optimise.minimise(image, loss, count, wishes.history, before):
        yield Reached(2, step, first)


def state_of(reached: Reached) -> dict[str, Any]:
    """Return all that is needed to go on.

    Parameters
    ----------
    reached : Reached
        The last step.
    """
    return {"stage": reached.stage, "step": reached.step.state, "first": reached.first}


def describe(reached: Reached) -> str:
    """Return a step in a line."""
    return f"stage {reached.stage}  loss {reached.step.parts['loss']:.2f}"


def total(wishes: Wishes) -> int:
    """Return the number of iterations of both stages."""
    return wishes.iterations + wishes.photorealistic_iterations * (wishes.photorealism > 0)


def done(state: State | None) -> int:
    """Return how many iterations a state has behind it.

    Examples
    --------
    >>> done(None), done({"stage": 2, "first": 60, "step": {"iteration": 5}})
    (0, 65)
    """
    return sum(_by_stage(state)) if state else 0


def _by_stage(state: State) -> tuple[int, int]:
    """Return the iterations of each stage."""
    return state["first"], state["step"]["iteration"] if state["stage"] == 2 else 0


def stopped(state: State, wishes: Wishes) -> str:
    """Return what to say of stages that stopped before their end, since no step lowered the loss.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> wishes = SimpleNamespace(iterations=60, photorealistic_iterations=60, photorealism=1e25)
    >>> stopped({"stage": 1, "first": 60, "step": {"iteration": 60}}, wishes)
    '; stage 2 stopped after 0 of 60 iterations, since no step lowered its loss: lower \
photorealism (1e+25) or style_weight'
    """
    wanted = wishes.iterations, total(wishes) - wishes.iterations
    remedies = "", f": lower photorealism ({wishes.photorealism:g}) or style_weight"
    return "".join(
        f"; stage {stage} stopped after {count} of {most} iterations, since no step lowered its "
        f"loss{'' if count else remedy}"
        for stage, (count, most, remedy) in enumerate(
            zip(_by_stage(state), wanted, remedies, strict=True), start=1
        )
        if count < most
    )
