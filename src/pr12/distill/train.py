"""Train the nets of one case, all seeds: teachers, hard students, distilled students.

A net learns from a weighted sum of three losses (true labels, softened targets, logits); what a
case does not use has weight 0. Students read the data and the file of soft labels, never the
teacher.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pr12.distill import batches, model
from pr12.shared import address, files, optimisers, progress, replicas, run, splits, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, Between, NotEmpty


@dataclass(frozen=True)
class Params:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], NotEmpty()]
    hidden: Annotated[tuple[int, ...], NotEmpty()]
    width_scale: Annotated[float, Above(0)]
    bottleneck: Annotated[int, AtLeast(0)]
    hard_weight: Annotated[float, AtLeast(0)]
    soft_weight: Annotated[float, AtLeast(0)]
    logit_weight: Annotated[float, AtLeast(0)]
    temperature: Annotated[float, Above(0)]
    mean: Literal["arithmetic", "geometric"]
    standardise_logits: bool
    noise_fraction: Annotated[float, Between(0, 1)]
    noise_sigma: Annotated[float, AtLeast(0)]
    transfer_classes: Annotated[tuple[int, ...], NotEmpty()]
    transfer_fraction: Annotated[float, Above(0), Between(0, 1)]
    dropout_input: Annotated[float, Between(0, 0.95)]
    dropout_hidden: Annotated[float, Between(0, 0.95)]
    max_norm: Annotated[float, Above(0)] | None
    jitter: Annotated[int, AtLeast(0)]
    batch_size: Annotated[int, AtLeast(1)]
    epochs: Annotated[int, AtLeast(1)]
    learning_rate: Annotated[float, Above(0)]
    early_stopping: bool
    matmul_precision: Literal["highest", "high", "medium"]


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
    where = run.device()
    return Streams(
        *([run.generator(s, purpose, where) for s in seeds] for purpose in Streams._fields)
    )


def batch_losses(
    params: Params,
    transfer: TransferSet,
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
        total = total + params.hard_weight * model.hard_loss(logits, transfer.labels[rows])
    if params.soft_weight:
        soft = model.soft_loss(logits, transfer.probabilities[rows], params.temperature)
        total = total + params.soft_weight * soft
    if params.logit_weight:
        targets = transfer.logits[rows]
        if params.noise_fraction:
            pairs = zip(targets, noise, strict=True)
            targets = torch.stack(
                [
                    model.noisy_logits(own, params.noise_fraction, params.noise_sigma, g)
                    for own, g in pairs
                ]
            )
        total = total + params.logit_weight * model.logit_loss(logits, targets)
    return total


def errors(module: torch.nn.Module, parameters: dict[str, Tensor], split: splits.Split) -> Tensor:
    """Count each replica's wrong answers on a split, shape (S,)."""
    logits = replicas.forward_shared(module, parameters, split.images.flatten(1))
    return (logits.argmax(dim=-1) != split.labels).sum(dim=-1)


def train(
    params: Params,
    seeds: tuple[int, ...],
    transfer: TransferSet,
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
    pixels = transfer.images[0].numel()
    classes = 1 + int(max(transfer.labels.max(), validation.labels.max()))
    hidden = model.scaled_widths(params.hidden, params.width_scale)
    bottleneck = (
        params.bottleneck and model.scaled_widths([params.bottleneck], params.width_scale)[0]
    )
    module, parameters = replicas.stack(
        lambda g: model.MLP(pixels, hidden, classes, bottleneck, g), seeds
    )
    optimiser = optimisers.Adam(parameters.values(), lr=params.learning_rate, fused=True)
    random = streams(seeds)
    indices = batches.transfer_indices(
        transfer.labels, params.transfer_classes, params.transfer_fraction, random.subset
    )
    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {}
    if state:
        for name, value in parameters.items():
            value.data.copy_(state["parameters"][name])
        optimiser.load_state_dict(state["optimiser"])
        for generators, saved in zip(random, state["streams"], strict=True):
            for generator, value in zip(generators, saved, strict=True):
                generator.set_state(value.cpu())
        history, best = state["history"], state["best"]

    padded = functional.pad(transfer.images, (params.jitter,) * 4)
    rates = [params.dropout_input] + [params.dropout_hidden] * len(hidden)
    steps = max(1, len(transfer.images) // params.batch_size)
    for epoch in range(len(history), params.epochs):
        optimiser.param_groups[0]["lr"] = params.learning_rate * (1 - epoch / params.epochs)
        order = batches.epoch_order(indices, len(transfer.images), random.shuffle)
        total = torch.zeros(len(seeds), device=order.device)
        for rows in order[:, : steps * params.batch_size].chunk(steps, dim=1):
            images = batches.jittered(padded, rows, params.jitter, random.jitter)
            masks = batches.dropout_masks((pixels, *hidden), rates, rows.shape[1], random.dropout)
            logits = replicas.forward(module, parameters, images, masks)
            losses = batch_losses(params, transfer, rows, logits, random.noise)
            optimiser.zero_grad(set_to_none=True)
            losses.sum().backward()  # the sum gives every replica the gradient of its own loss
            optimiser.step()
            if params.max_norm:
                for layer in range(len(hidden)):
                    batches.limit_norms(parameters[f"layers.{layer}.weight"], params.max_norm)
            total += losses.detach()
        row = {
            "epoch": epoch + 1,
            "train/loss": (total / steps).tolist(),
            "validation/errors": errors(module, parameters, validation).tolist(),
        }
        if not torch.isfinite(total).all():
            last = history[-1]["train/loss"] if history else "none"
            raise UserError(
                f"the loss is not finite in epoch {epoch + 1} (the epoch before: {last}); "
                "lower learning_rate and run again"
            )
        history = [*history, row]
        best = keep_best(best, parameters, row["validation/errors"])
        yield {
            "epoch": epoch + 1,
            "parameters": {name: value.detach().clone() for name, value in parameters.items()},
            "optimiser": optimiser.state_dict(),
            "streams": [[g.get_state() for g in generators] for generators in random],
            "history": history,
            "best": best if params.early_stopping else {},
        }


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


def transfer_set(
    params: Params, split: splits.Split, member_logits: Tensor | None
) -> tuple[TransferSet, tuple[Tensor, Tensor] | None]:
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
        return TransferSet(split.images, split.labels, None, None), None
    if member_logits is None:
        raise UserError("soft_weight or logit_weight is not 0: add soft_labels=PATH")
    if member_logits.shape[1] != len(split.labels):
        raise UserError(
            f"soft_labels has {member_logits.shape[1]} examples and train has "
            f"{len(split.labels)}; they must be made from the same split"
        )
    probabilities = model.ensemble_probabilities(member_logits, params.temperature, params.mean)
    logits = member_logits.mean(dim=0)
    scale = None
    if params.standardise_logits:
        deviation, mean = torch.std_mean(logits, dim=0, correction=0)
        logits, scale = (logits - mean) / deviation, (deviation, mean)
    return TransferSet(split.images, split.labels, probabilities, logits), scale


def to_device(split: splits.Split) -> splits.Split:
    """Move a split to the device that trains."""
    return splits.Split(*(tensor.to(run.device()) for tensor in split))


def main(job: step.Job) -> None:
    """Train all stacks of the case; a finished epoch survives a kill."""
    params, paths = job.params, job.paths
    run.deterministic()
    torch.set_float32_matmul_precision(params.matmul_precision)
    split, validation = (
        to_device(splits.load_split(paths[name])) for name in ("train", "validation")
    )
    member_logits = None
    if "soft_labels" in paths:
        member_logits = run.read_tensors(paths["soft_labels"])["member_logits"].to(run.device())
    transfer, scale = transfer_set(params, split, member_logits)
    inputs = job.provenance()["inputs"]
    fingerprint = address.digest(job.command, address.source_digest(job.module), inputs)
    widest = max(model.scaled_widths(params.hidden, params.width_scale))
    stacks, history, checkpoints = [], [], []
    for seeds in replicas.groups(params.seeds, widest):
        checkpoint = paths["model"].with_name(f"resume_{seeds[0]}.pt")
        checkpoints.append(checkpoint)
        state = run.load_state(checkpoint, fingerprint)
        done = state["epoch"] if state else 0
        for state in progress.follow(
            train(params, seeds, transfer, validation, state),
            params.epochs,
            lambda state, seeds=seeds: f"seeds {list(seeds)}  {describe(state['history'][-1])}",
            done,
        ):
            run.save_state(checkpoint, state, fingerprint)
        parameters = state["best"]["parameters"] if params.early_stopping else state["parameters"]
        stacks.append(model.fold_scale(parameters, *scale) if scale else parameters)
        history.append({"seeds": list(seeds), "epochs": state["history"]})
    joined = {name: torch.cat([stack[name] for stack in stacks]) for name in stacks[0]}
    run.write_tensors(paths["model"], joined)
    files.write_json(paths["history"], {"history": history, "provenance": job.provenance()})
    for checkpoint in checkpoints:
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
