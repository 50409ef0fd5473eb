"""Trainings of mimic nets: what they learn from, their state, their best evaluation."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.workflow.errors import UserError


class Transfer(NamedTuple):
    """A problem's examples and the ensemble's probabilities on them."""

    problem: str
    inputs: Tensor  # (N, D): the training set, then the synthetic points
    probabilities: Tensor  # (N,)
    validation_inputs: Tensor  # (M, D)
    validation_probabilities: Tensor  # (M,)


def transfer_sets(
    generator: str, sizes: Sequence[int], tensors: Mapping[str, Tensor]
) -> list[Transfer]:
    """Append the generator's points to every problem's training set.

    Parameters
    ----------
    generator : str
        Whose points.
    sizes : sequence of int
        Of the transfer sets, training set included.
    tensors : mapping of str to Tensor
        What the step ``library`` wrote as ``transfer``.

    Raises
    ------
    UserError
        If something else is there, the generator is missing, shapes or values are not what they
        should be, or the sizes do not increase or are out of range.
    """
    problems = sorted({name.split("/")[0] for name in tensors})
    if any(f"{problem}/train/inputs" not in tensors for problem in problems) or not problems:
        raise UserError(
            "transfer holds no examples of problems; give the transfer that distill.library wrote"
        )
    return [_transfer_set(problem, generator, sizes, tensors) for problem in problems]


def _transfer_set(
    problem: str, generator: str, sizes: Sequence[int], tensors: Mapping[str, Tensor]
) -> Transfer:
    """Return one problem's training set with the generator's points behind it."""
    if f"{problem}/{generator}/inputs" not in tensors:
        raise UserError(
            f"transfer holds no points of {generator} for {problem}; name it in the "
            "generators of the step library"
        )
    parts = {part: _examples(problem, part, tensors) for part in ("train", generator, "validation")}
    inputs, probabilities = (
        torch.cat(pair) for pair in zip(parts["train"], parts[generator], strict=True)
    )
    least = len(parts["train"][0])
    if any(a >= b for a, b in pairwise(sizes)) or sizes[0] < least or sizes[-1] > len(inputs):
        raise UserError(
            f"--params.sizes is {list(sizes)}; it must increase and lie between {least}, the "
            f"training set of {problem}, and {len(inputs)}, all points of {generator}"
        )
    tensors_of_set = (inputs, probabilities, *parts["validation"])
    return Transfer(problem, *(tensor.to(determinism.device()) for tensor in tensors_of_set))


def _examples(problem: str, part: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the inputs (N, D) and probabilities (N,) of a part, checked."""
    names = [f"{problem}/{part}/{what}" for what in ("inputs", "probabilities")]
    inputs, probabilities = (tensors.get(name, torch.empty(0)) for name in names)
    width = tensors[f"{problem}/train/inputs"].shape[-1]
    if inputs.dim() != 2 or inputs.shape != (len(probabilities), width) or not inputs.numel():
        raise UserError(
            f"transfer has {names[0]} of shape {tuple(inputs.shape)} and {names[1]} of shape "
            f"{tuple(probabilities.shape)}; run the step library anew"
        )
    if not (torch.isfinite(inputs).all() and ((probabilities >= 0) & (probabilities <= 1)).all()):
        raise UserError(
            f"transfer has {names[0]} or {names[1]} that are no numbers, or no probabilities; run "
            "the step library anew"
        )
    return inputs, probabilities


def row_of(
    transfer: Transfer, updates: int, loss: Tensor, rmse: list[float], history: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the row of an evaluation; raise `UserError` if a net's loss is not finite."""
    if not torch.isfinite(loss).all():
        last = history[-1]["train/loss"] if history else "none"
        raise UserError(
            f"{transfer.problem}: the loss is not finite by update {updates} (at the "
            f"evaluation before: {last}); lower learning_rate and run again"
        )
    return {"updates": updates, "train/loss": loss.tolist(), "validation/rmse": rmse}


def detached(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy parameters as they are now."""
    return {name: value.detach().clone() for name, value in parameters.items()}


def streams(problem: str, nets: Sequence[tuple[int, int]]) -> list[torch.Generator]:
    """Return the stream of batches of every net (size, seed), on the device that trains."""
    where = determinism.device()
    return [determinism.generator(seed, f"shuffle {problem} {size}", where) for size, seed in nets]


def restored(
    state: dict[str, Any] | None,
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    shuffle: Sequence[torch.Generator],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Put a training back to where a state left it, if any; return its history and its best."""
    if state is None:
        return [], {"rmse": [float("inf")] * len(shuffle), "parameters": detached(parameters)}
    for name, value in parameters.items():
        value.data.copy_(state["parameters"][name])
    optimiser.load_state_dict(state["optimiser"])
    for stream, value in zip(shuffle, state["streams"], strict=True):
        stream.set_state(value.cpu())
    return state["history"], state["best"]


def keep_best(
    best: dict[str, Any], parameters: dict[str, Tensor], validation_rmse: list[float]
) -> dict[str, Any]:
    """Keep, for each net, the parameters of the evaluation with the least RMSE so far."""
    for net, value in enumerate(validation_rmse):
        if value < best["rmse"][net]:
            best["rmse"][net] = value
            for name, tensor in parameters.items():
                best["parameters"][name][net] = tensor.detach()[net]
    return best
