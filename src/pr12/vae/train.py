"""Train the nets of one case, all seeds: AEVB, wake-sleep, IWAE, plain and linear autoencoders.

The systems share networks, initial parameters, optimiser and data, and differ in the objective
alone, as the paper's comparison asks (Sec. 5). The parameters are kept at several moments, so that
an evaluation can draw the bound against the number of samples seen (Fig. 2).
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pr12.shared import address, files, progress, replicas, run, splits, step
from pr12.shared.errors import UserError
from pr12.vae import model, objectives, optimisers
from pr12.vae.params import Train as Params

OBJECTIVES = {
    "sgvb_a": objectives.sgvb_a,
    "sgvb_b": objectives.sgvb_b,
    "importance": objectives.importance,
    "wake_sleep": objectives.wake_sleep,
    "autoencoder": objectives.autoencoder,
}
ROWS = 50  # of the history; each is a point from which a killed training goes on


def checked_images(params: Params, images: Tensor) -> Tensor:
    """Give the first `train_examples` images as rows of pixels, if the case can learn from them.

    Parameters
    ----------
    params : Params
        The case's.
    images : Tensor
        Shape (N, H, W).

    Returns
    -------
    Tensor
        Shape (N', H * W).

    Raises
    ------
    UserError
        If a pixel is not a number, or outside [0, 1] where it must be a probability, or there are
        fewer images than the case asks for or than a batch has.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> wanted = SimpleNamespace(train_examples=2, batch_size=1, likelihood="bernoulli")
    >>> checked_images(wanted, torch.zeros(3, 4, 5)).shape
    torch.Size([2, 20])
    """
    x = images.flatten(1)
    if not torch.isfinite(x).all():
        where = int((~torch.isfinite(x)).any(dim=1).nonzero()[0])
        raise UserError(f"image {where} of train has pixels that are no numbers; make it anew")
    low, high = float(x.min()), float(x.max())
    if params.likelihood != "linear" and (low < 0 or high > 1):
        raise UserError(
            f"the images of train have values from {low:g} to {high:g}; "
            f"a {params.likelihood} decoder needs them in [0, 1]"
        )
    if params.train_examples is not None and params.train_examples > len(x):
        raise UserError(f"train has {len(x)} images; train_examples asks {params.train_examples}")
    x = x[: params.train_examples]
    if len(x) < params.batch_size:
        raise UserError(f"train has {len(x)} images; batch_size is {params.batch_size}")
    return x


def epochs_seen(params: Params, examples: int) -> list[int]:
    """Give the numbers of epochs after which parameters are kept, ascending.

    Parameters
    ----------
    params : Params
        Whose `snapshots` are in training samples seen.
    examples : int
        N; an epoch has all whole batches of them.

    Raises
    ------
    UserError
        If two snapshots fall into one epoch or they do not ascend.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> epochs_seen(SimpleNamespace(batch_size=100, snapshots=(1000, 2500)), 1050)
    [1, 3]
    """
    size = examples // params.batch_size * params.batch_size
    epochs = [max(1, -(-moment // size)) for moment in params.snapshots]
    if any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
        raise UserError(
            f"snapshots {list(params.snapshots)} must ascend by at least an epoch of {size} samples"
        )
    return epochs


def row_epochs(moments: list[int]) -> int:
    """Give after how many epochs each a row is added to the history.

    Parameters
    ----------
    moments : list of int
        As `epochs_seen` gives them.

    Examples
    --------
    >>> row_epochs([20, 200])
    4
    """
    return max(1, moments[-1] // ROWS)


def learning_rate(params: Params, epoch: int, epochs: int) -> float:
    """Give the step size of an epoch, counted from 0.

    Parameters
    ----------
    params : Params
        With the first step size and the schedule: constant; falling linearly to 0; or in stages
        (Burda et al. 2015: 3^i epochs at 10^(-i/7) of it, i = 0, 1, ...).
    epoch, epochs : int
        Which of how many.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> stages = SimpleNamespace(schedule="stages", learning_rate=1.0)
    >>> [round(learning_rate(stages, epoch, 13), 2) for epoch in (0, 1, 3, 4, 12)]
    [1.0, 0.72, 0.72, 0.52, 0.52]
    """
    if params.schedule == "linear":
        return params.learning_rate * (1 - epoch / epochs)
    if params.schedule == "stages":
        stage = 0
        while epoch >= (3 ** (stage + 1) - 1) // 2:
            stage += 1
        return params.learning_rate * 10 ** (-stage / 7)
    return params.learning_rate


def train(
    params: Params, images: Tensor, state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train all replicas; now and then yield the whole state.

    Parameters
    ----------
    params : Params
        The case's params.
    images : Tensor
        Pixels, shape (N, D), as `checked_images` gives them.
    state : dict, optional
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``epoch``, ``parameters``, ``kept`` (those of the snapshots so far), ``samples_seen``,
        ``optimiser``, ``streams``, ``history``.

    Raises
    ------
    UserError
        If the objective is not finite.
    """
    examples, pixels = images.shape
    objective = OBJECTIVES[params.objective]
    moments = epochs_seen(params, examples)
    batches = examples // params.batch_size
    architecture = architecture_of(params, pixels)
    parameters = model.initial(architecture, params.seeds, params.init, params.init_std)
    optimiser = optimisers.start(parameters, params.optimiser)
    where = run.device()
    shuffle, noise, binary = (
        [run.generator(seed, purpose, where) for seed in params.seeds]
        for purpose in ("shuffle", "noise", "binarise")
    )
    done, kept, samples_seen, history = 0, [], [], []
    if state:
        done, optimiser = state["epoch"], state["optimiser"]
        # Copies, for the tensors of a state may be those of its last snapshot
        parameters = {name: value.clone() for name, value in state["parameters"].items()}
        kept, samples_seen, history = state["kept"], state["samples_seen"], state["history"]
        for generator, saved in zip([*shuffle, *noise, *binary], state["streams"], strict=True):
            generator.set_state(saved.cpu())
    for value in parameters.values():
        value.requires_grad_()

    every = row_epochs(moments)
    decay = 1 / examples if params.weight_prior else 0.0
    total = torch.zeros(len(params.seeds), device=where)
    since = done
    for epoch in range(done, moments[-1]):
        rate = learning_rate(params, epoch, moments[-1])
        order = replicas.permutations(shuffle, examples)
        for rows in order[:, : batches * params.batch_size].chunk(batches, dim=1):
            x = images[rows]
            if params.binarise:
                x = binarised(x, binary)
            reached = objective(parameters, x, params.samples, noise).mean(dim=1)
            # The sum over replicas has, for each of them, the gradient of its own objective
            gradients = torch.autograd.grad(
                -reached.sum(), list(parameters.values()), allow_unused=True, materialize_grads=True
            )
            betas = (params.adam_beta1, 0.999)
            optimisers.descend(
                parameters, gradients, optimiser, rate, decay, betas, params.adam_epsilon
            )
            total += reached.detach()
        if (epoch + 1) % every and epoch + 1 not in moments:
            continue
        seen = (epoch + 1) * batches * params.batch_size
        mean = total / ((epoch + 1 - since) * batches)
        if not torch.isfinite(mean).all():
            last = history[-1]["train/objective_nats"] if history else "none"
            raise UserError(
                f"the objective is not finite after {seen} samples (before: {last}); "
                "lower learning_rate and run again"
            )
        history = [*history, {"samples_seen": seen, "train/objective_nats": mean.tolist()}]
        total, since = torch.zeros_like(total), epoch + 1
        current = {name: value.detach().clone() for name, value in parameters.items()}
        if epoch + 1 in moments:
            kept, samples_seen = [*kept, current], [*samples_seen, seen]
        yield {
            "epoch": epoch + 1,
            "parameters": current,
            "kept": kept,
            "samples_seen": samples_seen,
            "optimiser": optimiser,
            "streams": [g.get_state() for g in (*shuffle, *noise, *binary)],
            "history": history,
        }


def architecture_of(params: Params, pixels: int) -> model.Architecture:
    """Give the case's architecture, its widths scaled to the run.

    Parameters
    ----------
    params : Params
        The case's.
    pixels : int
        D.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> sizes = SimpleNamespace(hidden=(500,), width_scale=0.2, latent_dim=3, likelihood="gaussian")
    >>> architecture_of(sizes, 64).hidden
    (100,)
    """
    hidden = tuple(max(1, round(width * params.width_scale)) for width in params.hidden)
    return model.Architecture(pixels, hidden, params.latent_dim, params.likelihood)


def binarised(x: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw binary images with the pixels as probabilities, anew at every use (Burda et al. 2015).

    Parameters
    ----------
    x : Tensor
        Shape (S, B, D), in [0, 1].
    generators : list of torch.Generator
        One per replica.

    Examples
    --------
    >>> binarised(torch.tensor([[[0.0, 1.0]]]), [run.generator(0, "binarise")])
    tensor([[[0., 1.]]])
    """
    uniform = [torch.rand(x.shape[1:], generator=g, device=g.device) for g in generators]
    return (torch.stack(uniform) < x).to(x.dtype)


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    run.deterministic()
    torch.set_float32_matmul_precision(params.matmul_precision)
    images = checked_images(params, splits.load_split(paths["train"]).images).to(run.device())
    moments = epochs_seen(params, len(images))
    every = row_epochs(moments)
    rows = len({*range(every, moments[-1] + 1, every), *moments})
    inputs = job.provenance()["inputs"]
    fingerprint = address.digest(job.command, address.source_digest(job.module), inputs)
    checkpoint = paths["model"].with_name("resume.pt")
    state = run.load_state(checkpoint, fingerprint)
    done = len(state["history"]) if state else 0
    for state in progress.follow(
        train(params, images, state), rows, lambda state: describe(state["history"][-1]), done
    ):
        run.save_state(checkpoint, state, fingerprint)
    kept = state["kept"]
    joined = {name: torch.stack([moment[name] for moment in kept]) for name in kept[0]}
    architecture = architecture_of(params, images.shape[1])
    saved = model.Saved(architecture, params.objective, tuple(state["samples_seen"]), joined)
    model.save(paths["model"], saved)
    said = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], said)
    checkpoint.unlink(missing_ok=True)


def describe(row: dict[str, Any]) -> str:
    """Say one row of the history in a line: the objective's mean over the replicas."""
    reached = row["train/objective_nats"]
    return f"{row['samples_seen']} samples  objective {sum(reached) / len(reached):.2f} nats"


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
