"""Train the nets of one case, all seeds: AEVB, wake-sleep, IWAE, plain and linear autoencoders.

The systems share networks, initial parameters, optimiser and data, and differ in the objective
alone, as the paper's comparison asks (Sec. 5). The parameters are kept at several moments, so that
an evaluation can draw the bound against the number of samples seen (Fig. 2).
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pr12.core import checkpoints, determinism, replicas
from pr12.data import splits
from pr12.vae.data.images import binarised, learnt
from pr12.vae.model import networks, objectives, optimisers, saved_nets, training
from pr12.vae.model.networks import Parameters
from pr12.vae.params import Train as Params
from pr12.workflow import address, files, progress, step

OBJECTIVES = {
    "sgvb_a": objectives.sgvb_a,
    "sgvb_b": objectives.sgvb_b,
    "importance": objectives.importance,
    "wake_sleep": objectives.wake_sleep,
    "autoencoder": objectives.autoencoder,
}
PURPOSES = ("shuffle", "noise", "binarise")  # of random numbers


def train(
    params: Params, images: Tensor, state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train all replicas; now and then yield the whole state.

    Parameters
    ----------
    params : Params
        The case's params.
    images : Tensor
        Pixels, shape (N, D), as `images.learnt` gives them.
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
    moments = training.epochs_seen(params.snapshots, params.batch_size, len(images))
    every, batches = training.row_every(moments), len(images) // params.batch_size
    streams = {purpose: training.streams(params.seeds, purpose) for purpose in PURPOSES}
    generators = list(itertools.chain(*streams.values()))
    state = dict(state or _begin(params, images.shape[1]))
    training.restore(generators, state["streams"])
    # Copies, for the tensors of a state may be those of its last snapshot
    parameters = {n: v.detach().clone().requires_grad_() for n, v in state["parameters"].items()}
    total, since = torch.zeros(len(params.seeds), device=determinism.device()), state["epoch"]
    for epoch in range(since, moments[-1]):
        rate = optimisers.rate(params.schedule, params.learning_rate, epoch, moments[-1])
        _learn(params, images, parameters, state["optimiser"], rate, streams, total)
        if (epoch + 1) % every and epoch + 1 not in moments:
            continue
        seen = (epoch + 1) * batches * params.batch_size
        means = (total / ((epoch + 1 - since) * batches)).tolist()
        row = training.row(seen, means, state["history"], "objective")
        total, since = torch.zeros_like(total), epoch + 1
        state |= {
            "epoch": since,
            "parameters": {name: value.detach().clone() for name, value in parameters.items()},
            "streams": [generator.get_state() for generator in generators],
            "history": [*state["history"], row],
        }
        if since in moments:
            state["kept"] = [*state["kept"], state["parameters"]]
            state["samples_seen"] = [*state["samples_seen"], seen]
        yield dict(state)


def _begin(params: Params, pixels: int) -> dict[str, Any]:
    """Return the state before the first epoch."""
    architecture = _architecture(params, pixels)
    parameters = networks.initial(architecture, params.seeds, params.init, params.init_std)
    return {
        "epoch": 0,
        "parameters": parameters,
        "kept": [],
        "samples_seen": [],
        "optimiser": optimisers.start(parameters, params.optimiser),
        "streams": [],
        "history": [],
    }


def _architecture(params: Params, pixels: int) -> networks.Architecture:
    """Return the case's architecture."""
    sizes = params.hidden, params.width_scale, params.latent_dim
    return networks.scaled(pixels, *sizes, params.likelihood)


def _learn(
    params: Params,
    images: Tensor,
    parameters: Parameters,
    optimiser: dict[str, Any],
    rate: float,
    streams: Mapping[str, list[torch.Generator]],
    total: Tensor,
) -> None:
    """Learn for an epoch of images (N, D); parameters, optimiser and total (S,) change in place."""
    objective, batches = OBJECTIVES[params.objective], len(images) // params.batch_size
    decay = 1 / len(images) if params.weight_prior else 0.0
    betas = (params.adam_beta1, 0.999)
    order = replicas.permutations(streams["shuffle"], len(images))
    for rows in order[:, : batches * params.batch_size].chunk(batches, dim=1):
        x = images[rows]
        if params.binarise:
            x = binarised(x, streams["binarise"])
        reached = objective(parameters, x, params.samples, streams["noise"]).mean(dim=1)
        # The sum over replicas has, for each of them, the gradient of its own objective
        gradients = torch.autograd.grad(
            -reached.sum(), list(parameters.values()), allow_unused=True, materialize_grads=True
        )
        optimisers.descend(
            parameters, gradients, optimiser, rate, decay, betas, params.adam_epsilon
        )
        total += reached.detach()


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    torch.set_float32_matmul_precision(params.matmul_precision)
    images = splits.load_split(paths["train"]).images
    images = learnt(images, params.train_examples, params.batch_size, params.likelihood)
    images = images.to(determinism.device())
    rows = training.rows(training.epochs_seen(params.snapshots, params.batch_size, len(images)))
    inputs = job.provenance()["inputs"]
    fingerprint = address.digest(job.command, address.source_digest(job.module), inputs)
    checkpoint = paths["model"].with_name("resume.pt")
    state = checkpoints.load_state(checkpoint, fingerprint)
    done = len(state["history"]) if state else 0
    for state in progress.follow(
        train(params, images, state),
        rows,
        lambda state: training.describe(state["history"][-1]),
        done,
    ):
        checkpoints.save_state(checkpoint, state, fingerprint)
    kept = state["kept"]
    joined = {name: torch.stack([moment[name] for moment in kept]) for name in kept[0]}
    architecture = _architecture(params, images.shape[1])
    saved = saved_nets.Saved(architecture, params.objective, tuple(state["samples_seen"]), joined)
    saved_nets.save(paths["model"], saved)
    said = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], said)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
