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
        If the generator is missing there, or the sizes do not increase or are out of range.
    """
    sets = []
    for problem in sorted({name.split("/")[0] for name in tensors}):
        parts = ("train", generator)
        if f"{problem}/{generator}/inputs" not in tensors:
            raise UserError(
                f"transfer holds no points of {generator} for {problem}; name it in the "
                "generators of the step library"
            )
        inputs = torch.cat([tensors[f"{problem}/{part}/inputs"] for part in parts])
        probabilities = torch.cat([tensors[f"{problem}/{part}/probabilities"] for part in parts])
        least = len(tensors[f"{problem}/train/inputs"])
        if any(a >= b for a, b in pairwise(sizes)) or sizes[0] < least or sizes[-1] > len(inputs):
            raise UserError(
                f"--params.sizes is {list(sizes)}; it must increase and lie between {least}, the "
                f"training set of {problem}, and {len(inputs)}, all points of {generator}"
            )
        validation = (
            tensors[f"{problem}/validation/{what}"] for what in ("inputs", "probabilities")
        )
        moved = (tensor.to(determinism.device()) for tensor in (inputs, probabilities, *validation))
        sets.append(Transfer(problem, *moved))
    return sets


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


def restore(
    state: dict[str, Any],
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    streams: list[torch.Generator],
) -> None:
    """Put parameters, optimiser and streams back, in place, to a state yielded by `train`."""
    for name, value in parameters.items():
        value.data.copy_(state["parameters"][name])
    optimiser.load_state_dict(state["optimiser"])
    for stream, saved in zip(streams, state["streams"], strict=True):
        stream.set_state(saved.cpu())


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
