"""Trainings of a stack of replicas: what they learn from, their streams, their best epoch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pr12.core import determinism, replicas
from pr12.data import splits
from pr12.distill.model import losses
from pr12.distill.params import Train
from pr12.workflow.errors import UserError

LEAST_DEVIATION = 1e-6  # of a logit as a share of its size: below, float32 has rounding only


class TransferSet(NamedTuple):
    """What a net learns from; N examples of H x W pixels and C classes."""

    images: Tensor  # (N, H, W), 0 to 1
    labels: Tensor  # (N,)
    probabilities: Tensor | None  # (N, C), soft targets at the case's temperature
    logits: Tensor | None  # (N, C), the ensemble's mean logits, standardised if the case says so


def check(params: Train) -> None:
    """Refuse params of a training that contradict each other.

    Raises
    ------
    UserError
        If nothing is learnt from, or a param acts on a loss that the case leaves out.
    """
    if params.hard_weight == params.soft_weight == params.logit_weight == 0:
        raise UserError(
            "hard_weight, soft_weight and logit_weight are all 0, so that nothing is learnt; "
            "raise one of them"
        )
    if params.standardise_logits and (params.hard_weight or params.soft_weight):
        raise UserError(
            "standardise_logits changes the net's logits after training, so that hard_weight "
            f"{params.hard_weight:g} and soft_weight {params.soft_weight:g} would be of others; "
            "set both to 0, or standardise_logits to false"
        )
    if params.noise_fraction and not params.logit_weight:
        raise UserError(
            f"noise_fraction is {params.noise_fraction:g} and logit_weight is 0, so that no logit "
            "is perturbed; set noise_fraction to 0 or raise logit_weight"
        )


def transfer_set(
    params: Train, split: splits.Split, member_logits: Tensor | None
) -> tuple[TransferSet, tuple[Tensor, Tensor] | None]:
    """Join the training data with the soft targets that the case asks for.

    Parameters
    ----------
    params : Train
        The case's.
    split : Split
        Training data.
    member_logits : Tensor or None
        The teachers' logits on them, shape (M, N, C).

    Returns
    -------
    transfer : TransferSet
        What the net learns from.
    scale : tuple of Tensor or None
        Standard deviation and mean of each class's logit, to be folded into the trained net, if
        the case standardises them.

    Raises
    ------
    UserError
        If the case learns from a teacher and no soft labels are given, they are no numbers at the
        temperature, or a logit that is to be standardised is constant.
    """
    if params.soft_weight == params.logit_weight == 0:
        return TransferSet(split.images, split.labels, None, None), None
    if member_logits is None:
        raise UserError("soft_weight or logit_weight is not 0: add soft_labels=PATH")
    probabilities = losses.ensemble_probabilities(member_logits, params.temperature, params.mean)
    if not torch.isfinite(probabilities).all():
        raise UserError(
            f"the soft labels are no numbers at --params.temperature {params.temperature:g}; "
            "raise it"
        )
    logits = member_logits.mean(dim=0)
    scale = None
    if params.standardise_logits:
        deviation, mean = torch.std_mean(logits, dim=0, correction=0)
        constant = (deviation <= LEAST_DEVIATION * logits.abs().amax(dim=0)).nonzero().flatten()
        if len(constant):
            raise UserError(
                f"the logit of class {int(constant[0])} in soft_labels is the same for all "
                "examples and cannot be standardised; set standardise_logits to false"
            )
        logits, scale = (logits - mean) / deviation, (deviation, mean)
    return TransferSet(split.images, split.labels, probabilities, logits), scale


def batch_losses(
    params: Train,
    transfer: TransferSet,
    rows: Tensor,
    logits: Tensor,
    noise: Sequence[torch.Generator],
) -> Tensor:
    """Return each replica's loss on its batch: the weighted sum of the case's losses.

    Parameters
    ----------
    params : Train
        The case's.
    transfer : TransferSet
        What it learns from.
    rows : Tensor
        Which examples, int64, shape (S, B).
    logits : Tensor
        The students' logits on them, shape (S, B, C).
    noise : sequence of torch.Generator
        One per replica, for perturbed logits.

    Returns
    -------
    Tensor
        Shape (S,).
    """
    total = logits.new_zeros(len(logits))
    if params.hard_weight:
        total = total + params.hard_weight * losses.hard_loss(logits, transfer.labels[rows])
    if params.soft_weight:
        soft = losses.soft_loss(logits, transfer.probabilities[rows], params.temperature)
        total = total + params.soft_weight * soft
    if params.logit_weight:
        targets = transfer.logits[rows]
        if params.noise_fraction:
            pairs = zip(targets, noise, strict=True)
            noisy = [
                losses.noisy_logits(v, params.noise_fraction, params.noise_sigma, g)
                for v, g in pairs
            ]
            targets = torch.stack(noisy)
        total = total + params.logit_weight * losses.logit_loss(logits, targets)
    return total


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
        copies = {name: value.detach().clone() for name, value in parameters.items()}
        return {"errors": list(validation_errors), "parameters": copies}
    for replica, count in enumerate(validation_errors):
        if count < best["errors"][replica]:
            best["errors"][replica] = count
            for name, value in parameters.items():
                best["parameters"][name][replica] = value.detach()[replica]
    return best


def to_device(split: splits.Split) -> splits.Split:
    """Move a split to the device that trains."""
    return splits.Split(*(tensor.to(determinism.device()) for tensor in split))
