"""Train the nets of one case, all seeds: teachers, hard students, distilled students.

A net learns from a weighted sum of three losses (true labels, softened targets, logits); what a
case does not use has weight 0. Students read the data and the file of soft labels, never the
teacher.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import checkpoints, determinism, replicas, tensor_files, uncompiled
from pr12.data import splits
from pr12.distill.model import batches, losses, mlp, training
from pr12.distill.params import Train as Params
from pr12.workflow import address, files, progress, step
from pr12.workflow.errors import UserError


def batch_losses(
    params: Params,
    transfer: training.TransferSet,
    rows: Tensor,
    logits: Tensor,
    noise: list[torch.Generator],
) -> Tensor:
    """Give each replica's loss on its batch: the weighted sum of the case's losses.

    Parameters
    ----------
    rows : Tensor
        Which examples, int64, shape (S, B).
    logits : Tensor
        The students' logits on them, shape (S, B, C).

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
            targets = torch.stack(
                [
                    losses.noisy_logits(own, params.noise_fraction, params.noise_sigma, g)
                    for own, g in pairs
                ]
            )
        total = total + params.logit_weight * losses.logit_loss(logits, targets)
    return total


def train(
    params: Params,
    seeds: tuple[int, ...],
    transfer: training.TransferSet,
    validation: splits.Split,
    state: dict[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Train one stack of replicas; after each epoch yield the whole state.

    Parameters
    ----------
    params : Params
        The case's params.
    seeds : tuple of int
        The replicas of this stack.
    transfer : TransferSet
        What they learn from.
    validation : splits.Split
        What chooses the epoch if the case stops early; only watched otherwise.
    state : dict, optional
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``epoch``, ``parameters``, ``optimiser``, ``streams``, ``history``, ``best``.

    Raises
    ------
    UserError
        If a loss is not finite.
    """
    module, parameters = stacked(params, seeds, transfer, validation)
    optimiser = uncompiled.Adam(parameters.values(), lr=params.learning_rate, fused=True)
    random = training.streams(seeds)
    indices = batches.transfer_indices(
        transfer.labels, params.transfer_classes, params.transfer_fraction, random.subset
    )
    history, best = training.restored(state, parameters, optimiser, random) if state else ([], {})
    padded = functional.pad(transfer.images, (params.jitter,) * 4)
    steps = max(1, len(transfer.images) // params.batch_size)
    for epoch in range(len(history), params.epochs):
        optimiser.param_groups[0]["lr"] = params.learning_rate * (1 - epoch / params.epochs)
        order = batches.epoch_order(indices, len(transfer.images), random.shuffle)
        rows = order[:, : steps * params.batch_size].chunk(steps, dim=1)
        total = learn(params, transfer, padded, module, parameters, optimiser, rows, random)
        wrong = training.errors(module, parameters, validation).tolist()
        history = [*history, training.row_of(epoch + 1, total / steps, wrong, history)]
        best = training.keep_best(best, parameters, wrong)
        yield {
            "epoch": epoch + 1,
            "parameters": {name: value.detach().clone() for name, value in parameters.items()},
            "optimiser": optimiser.state_dict(),
            "streams": [[g.get_state() for g in generators] for generators in random],
            "history": history,
            "best": best if params.early_stopping else {},
        }


def stacked(
    params: Params, seeds: tuple[int, ...], transfer: training.TransferSet, validation: splits.Split
) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """Return the net of the case, and the initial parameters of all replicas."""
    pixels = transfer.images[0].numel()
    classes = 1 + int(max(transfer.labels.max(), validation.labels.max()))
    hidden = mlp.scaled_widths(params.hidden, params.width_scale)
    bottleneck = params.bottleneck and mlp.scaled_widths([params.bottleneck], params.width_scale)[0]
    return replicas.stack(lambda g: mlp.MLP(pixels, hidden, classes, bottleneck, g), seeds)


def learn(
    params: Params,
    transfer: training.TransferSet,
    padded: Tensor,
    module: torch.nn.Module,
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    order: Sequence[Tensor],
    random: training.Streams,
) -> Tensor:
    """Learn from batches of rows, each (S, B); return the sums of their losses, (S,)."""
    pixels, hidden = (
        transfer.images[0].numel(),
        mlp.scaled_widths(params.hidden, params.width_scale),
    )
    rates = [params.dropout_input] + [params.dropout_hidden] * len(hidden)
    total = torch.zeros(len(order[0]), device=order[0].device)
    for rows in order:
        images = batches.jittered(padded, rows, params.jitter, random.jitter)
        masks = batches.dropout_masks((pixels, *hidden), rates, rows.shape[1], random.dropout)
        logits = replicas.forward(module, parameters, images, masks)
        each = batch_losses(params, transfer, rows, logits, random.noise)
        optimiser.zero_grad(set_to_none=True)
        each.sum().backward()  # the sum gives every replica the gradient of its own loss
        optimiser.step()
        if params.max_norm:
            for layer in range(len(hidden)):
                batches.limit_norms(parameters[f"layers.{layer}.weight"], params.max_norm)
        total += each.detach()
    return total


def transfer_set(
    params: Params, split: splits.Split, member_logits: Tensor | None
) -> tuple[training.TransferSet, tuple[Tensor, Tensor] | None]:
    """Join the training data with the soft targets that the case asks for.

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
        If the case learns from a teacher and no soft labels are given, or they are of other data.
    """
    if params.soft_weight == params.logit_weight == 0:
        return training.TransferSet(split.images, split.labels, None, None), None
    if member_logits is None:
        raise UserError("soft_weight or logit_weight is not 0: add soft_labels=PATH")
    if member_logits.shape[1] != len(split.labels):
        raise UserError(
            f"soft_labels has {member_logits.shape[1]} examples and train has "
            f"{len(split.labels)}; they must be made from the same split"
        )
    probabilities = losses.ensemble_probabilities(member_logits, params.temperature, params.mean)
    logits = member_logits.mean(dim=0)
    scale = None
    if params.standardise_logits:
        deviation, mean = torch.std_mean(logits, dim=0, correction=0)
        logits, scale = (logits - mean) / deviation, (deviation, mean)
    return training.TransferSet(split.images, split.labels, probabilities, logits), scale


def main(job: step.Job) -> None:
    """Train all stacks of the case; a finished epoch survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    torch.set_float32_matmul_precision(params.matmul_precision)
    split, validation = (
        training.to_device(splits.load_split(paths[name])) for name in ("train", "validation")
    )
    member_logits = None
    if "soft_labels" in paths:
        member_logits = tensor_files.read_tensors(paths["soft_labels"])["member_logits"].to(
            determinism.device()
        )
    transfer, scale = transfer_set(params, split, member_logits)
    inputs = job.provenance()["inputs"]
    fingerprint = address.digest(job.command, address.source_digest(job.module), inputs)
    widest = max(mlp.scaled_widths(params.hidden, params.width_scale))
    stacks, history, resume_files = [], [], []
    for seeds in replicas.groups(params.seeds, widest):
        checkpoint = paths["model"].with_name(f"resume_{seeds[0]}.pt")
        resume_files.append(checkpoint)
        state = checkpoints.load_state(checkpoint, fingerprint)
        done = state["epoch"] if state else 0
        for state in progress.follow(
            train(params, seeds, transfer, validation, state),
            params.epochs,
            lambda state, seeds=seeds: f"seeds {list(seeds)}  {describe(state['history'][-1])}",
            done,
        ):
            checkpoints.save_state(checkpoint, state, fingerprint)
        parameters = state["best"]["parameters"] if params.early_stopping else state["parameters"]
        stacks.append(mlp.fold_scale(parameters, *scale) if scale else parameters)
        history.append({"seeds": list(seeds), "epochs": state["history"]})
    joined = {name: torch.cat([stack[name] for stack in stacks]) for name in stacks[0]}
    tensor_files.write_tensors(paths["model"], joined)
    files.write_json(paths["history"], {"history": history, "provenance": job.provenance()})
    for checkpoint in resume_files:
        checkpoint.unlink(missing_ok=True)


def describe(row: dict[str, Any]) -> str:
    """Say one epoch in a line: mean loss and validation errors over the replicas."""
    loss, wrong = row["train/loss"], row["validation/errors"]
    return f"loss {sum(loss) / len(loss):.4f}  validation errors {sum(wrong) / len(wrong):.1f}"


if __name__ == "__main__":
    with step.start(
        Params,
        reads=["train", "validation"],
        optional=["soft_labels"],
        writes=["model", "history"],
    ) as job:
        main(job)
