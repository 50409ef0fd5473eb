"""Trainings of a stack of replicas: what they learn from, their streams, their best epoch."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pr12.core import determinism, replicas
from pr12.data import splits
from pr12.workflow.errors import UserError


class TransferSet(NamedTuple):
    """What a net learns from; N examples of H x W pixels and C classes."""

    images: Tensor  # (N, H, W), 0 to 1
    labels: Tensor  # (N,)
    probabilities: Tensor | None  # (N, C), soft targets at the case's temperature
    logits: Tensor | None  # (N, C), the ensemble's mean logits, standardised if the case says so


class Streams(NamedTuple):
    """Random streams of the replicas of a stack, one generator per replica in each."""

    subset: list[torch.Generator]
    shuffle: list[torch.Generator]
    dropout: list[torch.Generator]
    jitter: list[torch.Generator]
    noise: list[torch.Generator]


def streams(seeds: tuple[int, ...]) -> Streams:
    """Open the random streams of every seed, on the device that trains."""
    where = determinism.device()
    return Streams(
        *([determinism.generator(s, purpose, where) for s in seeds] for purpose in Streams._fields)
    )


def errors(module: torch.nn.Module, parameters: dict[str, Tensor], split: splits.Split) -> Tensor:
    """Count each replica's wrong answers on a split, shape (S,)."""
    logits = replicas.forward_shared(module, parameters, split.images.flatten(1))
    return (logits.argmax(dim=-1) != split.labels).sum(dim=-1)


def restored(
    state: dict[str, Any],
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    random: Streams,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Put a training back to where a state left it, and return its history and its best."""
    for name, value in parameters.items():
        value.data.copy_(state["parameters"][name])
    optimiser.load_state_dict(state["optimiser"])
    for generators, saved in zip(random, state["streams"], strict=True):
        for generator, value in zip(generators, saved, strict=True):
            generator.set_state(value.cpu())
    return state["history"], state["best"]


def row_of(
    epoch: int, loss: Tensor, wrong: list[int], history: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the row of an epoch; raise `UserError` if a replica's loss (S,) is not finite."""
    if not torch.isfinite(loss).all():
        last = history[-1]["train/loss"] if history else "none"
        raise UserError(
            f"the loss is not finite in epoch {epoch} (the epoch before: {last}); "
            "lower learning_rate and run again"
        )
    return {"epoch": epoch, "train/loss": loss.tolist(), "validation/errors": wrong}


def keep_best(
    best: dict[str, Any], parameters: dict[str, Tensor], validation_errors: list[int]
) -> dict[str, Any]:
    """Keep, for each replica, the parameters of the epoch with fewest validation errors so far."""
    if not best:
        kept = {name: value.detach().clone() for name, value in parameters.items()}
        return {"errors": list(validation_errors), "parameters": kept}
    for replica, count in enumerate(validation_errors):
        if count < best["errors"][replica]:
            best["errors"][replica] = count
            for name, value in parameters.items():
                best["parameters"][name][replica] = value.detach()[replica]
    return best


def to_device(split: splits.Split) -> splits.Split:
    """Move a split to the device that trains."""
    return splits.Split(*(tensor.to(determinism.device()) for tensor in split))
