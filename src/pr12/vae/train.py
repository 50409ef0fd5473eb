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
from pr12.vae.data import images
from pr12.vae.model import networks, objectives, optimisers, saved_nets, training
from pr12.vae.model.networks import Parameters
from pr12.vae.params import Train as Params
from pr12.workflow import files, step

OBJECTIVES = {
    "sgvb_a": objectives.sgvb_a,
    "sgvb_b": objectives.sgvb_b,
    "importance": objectives.importance,
    "wake_sleep": objectives.wake_sleep,
    "autoencoder": objectives.autoencoder,
}
PURPOSES = ("shuffle", "noise", "binarise")  # of random numbers


def train(
    params: Params, x: Tensor, state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train all replicas; now and then yield the whole state.

    Parameters
    ----------
    params : Params
        The case's params.
    x : Tensor
        Pixels, shape (N, D), as `images.learnt` gives them.
    state : dict, optional
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``epoch``, ``parameters``, ``snapshots`` (parameters of the moments so far),
        ``samples_seen``, ``optimiser``, ``streams``, ``history``.

    Raises
    ------
    UserError
        If the objective is not finite.
    """
    moments = training.epochs_seen(params.snapshots, params.batch_size, len(x))
    every, batches = training.row_every(moments), len(x) // params.batch_size
    streams = {purpose: training.streams(params.seeds, purpose) for purpose in PURPOSES}
    generators = list(itertools.chain(*streams.values()))
    if state is None:
        architecture = networks.of_case(params, x.shape[1])
        parameters = networks.initial(architecture, params.seeds, params.init, params.init_std)
        state = training.begin(parameters, params.optimiser) | {"epoch": 0}
    training.restore(generators, state["streams"])
    # Copies, for the tensors of a state may be those of its last snapshot
    parameters = {n: v.detach().clone().requires_grad_() for n, v in state["parameters"].items()}
    total, since = torch.zeros(len(params.seeds), device=determinism.device()), state["epoch"]
    for epoch in range(since, moments[-1]):
        rate = optimisers.rate(params.schedule, params.learning_rate, epoch, moments[-1])
        _learn(params, x, parameters, state["optimiser"], rate, streams, total)
        if (epoch + 1) % every and epoch + 1 not in moments:
            continue
        seen = (epoch + 1) * batches * params.batch_size
        means = (total / ((epoch + 1 - since) * batches)).tolist()
        row = training.row(seen, means, state["history"], "objective")
        total, since = torch.zeros_like(total), epoch + 1
        state = training.advanced(state, parameters, generators, row, since in moments)
        state["epoch"] = since
        yield dict(state)


def _learn(
    params: Params,
    x: Tensor,
    parameters: Parameters,
    optimiser: dict[str, Any],
    rate: float,
    streams: Mapping[str, list[torch.Generator]],
    total: Tensor,
) -> None:
    """Learn for an epoch of x (N, D); parameters, optimiser and total (S,) change in place."""
    objective, batches = OBJECTIVES[params.objective], len(x) // params.batch_size
    decay = 1 / len(x) if params.weight_prior else 0.0
    betas = (params.adam_beta1, 0.999)
    order = replicas.permutations(streams["shuffle"], len(x))
    for rows in order[:, : batches * params.batch_size].chunk(batches, dim=1):
        batch = x[rows]
        if params.binarise:
            batch = images.binarised(batch, streams["binarise"])
        reached = objective(parameters, batch, params.samples, streams["noise"]).mean(dim=1)
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
    x = images.load_learnt(paths["train"], params)
    moments = training.epochs_seen(params.snapshots, params.batch_size, len(x))
    state = checkpoints.resumed(
        job,
        lambda state: train(params, x, state),
        total=training.rows(moments),
        describe=training.describe,
        done=lambda state: len(state["history"]),
    )
    architecture = networks.of_case(params, x.shape[1])
    saved = saved_nets.of_state(state, architecture, params.objective)
    saved_nets.save(paths["model"], saved)
    history = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], history)


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
