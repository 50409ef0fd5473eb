"""Train the nets of one case, all seeds: teachers, hard students, distilled students.

A net learns from a weighted sum of three losses (true labels, softened targets, logits); what a
case does not use has weight 0. Students read the data and the file of soft labels, never the
teacher.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import checkpoints, determinism, replicas, tensor_files, uncompiled
from pr12.data import splits
from pr12.distill.data import digits
from pr12.distill.model import batches, mlp, training
from pr12.distill.params import Train as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


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
        total = learn(params, transfer, padded, parameters, optimiser, rows, random)
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
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    order: Sequence[Tensor],
    random: training.Streams,
) -> Tensor:
    """Learn from batches of rows, each (S, B); return the sums of their losses, (S,)."""
    hidden = mlp.scaled_widths(params.hidden, params.width_scale)
    widths = (transfer.images[0].numel(), *hidden)
    rates = [params.dropout_input] + [params.dropout_hidden] * len(hidden)
    total = torch.zeros(len(order[0]), device=order[0].device)
    for rows in order:
        images = batches.jittered(padded, rows, params.jitter, random.jitter)
        masks = batches.dropout_masks(widths, rates, rows.shape[1], random.dropout)
        logits = mlp.forward(parameters, images, masks)
        each = training.batch_losses(params, transfer, rows, logits, random.noise)
        optimiser.zero_grad(set_to_none=True)
        each.sum().backward()  # the sum gives every replica the gradient of its own loss
        optimiser.step()
        if params.max_norm:
            for layer in range(len(hidden)):
                batches.limit_norms(parameters[f"layers.{layer}.weight"], params.max_norm)
        total += each.detach()
    return total


def read(
    params: Params, paths: Mapping[str, Path]
) -> tuple[splits.Split, splits.Split, Tensor | None]:
    """Return training data, validation data and soft labels, if there are any, on the device.

    Raises
    ------
    UserError
        If a file is not what it should be, they do not fit each other, or images are too small
        for the jitter.
    """
    split, validation = digits.load_alike(paths["train"], paths["validation"])
    smallest = min(split.images.shape[1:])
    if params.jitter >= smallest:
        raise UserError(
            f"--params.jitter is {params.jitter} pixels and the images of train have {smallest}; "
            "lower it, or nothing is left of a shifted image"
        )
    member_logits = None
    if "soft_labels" in paths:
        classes = 1 + int(max(split.labels.max(), validation.labels.max()))
        member_logits = digits.soft_labels(paths["soft_labels"], split.labels, classes)
        member_logits = member_logits.to(determinism.device())
    return training.to_device(split), training.to_device(validation), member_logits


def main(job: step.Job) -> None:
    """Train all stacks of the case; a finished epoch survives a kill."""
    params, paths = job.params, job.paths
    training.check(params)
    determinism.deterministic()
    torch.set_float32_matmul_precision(params.matmul_precision)
    split, validation, member_logits = read(params, paths)
    transfer, scale = training.transfer_set(params, split, member_logits)
    widest = max(mlp.scaled_widths(params.hidden, params.width_scale))
    stacks, history = [], []
    for seeds in replicas.groups(params.seeds, widest):
        state = checkpoints.resumed(
            job,
            lambda state, seeds=seeds: train(params, seeds, transfer, validation, state),
            total=params.epochs,
            describe=lambda state, seeds=seeds: f"seeds {list(seeds)}  {describe(state)}",
            done=lambda state: state["epoch"],
            name=f"resume_{seeds[0]}.pt",
        )
        parameters = state["best"]["parameters"] if params.early_stopping else state["parameters"]
        stacks.append(mlp.fold_scale(parameters, *scale) if scale else parameters)
        history.append({"seeds": list(seeds), "epochs": state["history"]})
    joined = {name: torch.cat([stack[name] for stack in stacks]) for name in stacks[0]}
    tensor_files.write_tensors(paths["model"], joined)
    files.write_json(paths["history"], {"history": history, "provenance": job.provenance()})


def describe(state: dict[str, Any]) -> str:
    """Return the last epoch in a line: mean loss and validation errors over the replicas."""
    row = state["history"][-1]
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
