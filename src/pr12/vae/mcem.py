"""Train a decoder by Monte Carlo EM, all seeds of a case: no encoder (Sec. 5, App. E).

For every minibatch, one transition of Hamiltonian Monte Carlo moves the code that each of its data
points has kept since its last visit towards the posterior (10 leapfrog steps in the paper, with a
step size that `hmc.tuned` brings to the paper's 90 % acceptance), and then the decoder learns from
these codes (5 weight updates). The codes of all data are kept, so that this cannot run online.

A training sample counts as evaluated whenever the decoder and its gradient are computed for it:
once before the leapfrog steps, once in each of them, and once in every weight update.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pr12.core import checkpoints, determinism, replicas
from pr12.vae.data import images
from pr12.vae.model import densities, hmc, networks, optimisers, saved_nets, training
from pr12.vae.model.networks import Parameters
from pr12.vae.params import Mcem as Params
from pr12.workflow import files, step

STEP_SIZE = 0.1  # before any tuning


def train(
    params: Params, data: Tensor, state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train the decoders of all replicas; now and then yield the whole state.

    Parameters
    ----------
    params : Params
        The case's params.
    data : Tensor
        Pixels, shape (N, D), as `images.learnt` gives them.
    state : dict, optional
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``minibatch``, ``parameters``, ``snapshots`` (parameters of the moments so far),
        ``samples_seen``, ``optimiser``, ``order`` (of the epoch), ``codes`` (S, N, Z),
        ``step_size`` (S, 1), ``streams``, ``history``.

    Raises
    ------
    UserError
        If the likelihood is not finite.
    """
    moments = training.minibatches_seen(params.snapshots, _evaluations(params))
    every, batches = training.row_every(moments), len(data) // params.batch_size
    decay = 1 / len(data) if params.weight_prior else 0.0
    shuffle, momentum = (training.streams(params.seeds, name) for name in ("shuffle", "momentum"))
    streams = [*shuffle, *momentum]
    state = dict(state or _begin(params, *data.shape))
    training.restore(streams, state["streams"])
    state["codes"] = state["codes"].clone()
    # Copies, for the tensors of a state may be those of its last snapshot
    parameters = {n: v.detach().clone().requires_grad_() for n, v in state["parameters"].items()}
    sums = torch.zeros(2, len(params.seeds), device=determinism.device())
    since = state["minibatch"]
    for minibatch in range(since, moments[-1]):
        if minibatch % batches == 0:
            state["order"] = replicas.permutations(shuffle, len(data))
        rows = state["order"][:, minibatch % batches * params.batch_size :][:, : params.batch_size]
        x = data[rows]
        z = _move(params, x, rows, parameters, state, momentum, sums)
        _learn(params, x, z, parameters, state, decay, sums)
        if (minibatch + 1) % every and minibatch + 1 not in moments:
            continue
        seen = (minibatch + 1) * _evaluations(params)
        objective, acceptance = (sums / (minibatch + 1 - since)).tolist()
        row = training.row(seen, objective, state["history"], "likelihood")
        row["train/acceptance"] = acceptance
        sums, since = torch.zeros_like(sums), minibatch + 1
        state = training.advanced(state, parameters, streams, row, since in moments)
        state["minibatch"] = since
        yield state | {"codes": state["codes"].clone()}


def _evaluations(params: Params) -> int:
    """Return the number of samples that are evaluated for a minibatch."""
    return params.batch_size * (1 + params.leapfrog_steps + params.weight_updates)


def _begin(params: Params, examples: int, pixels: int) -> dict[str, Any]:
    """Return the state before the first minibatch: codes from the prior (App. E)."""
    architecture = networks.of_case(params, pixels)
    both = networks.initial(architecture, params.seeds, params.init, params.init_std)
    parameters = {name: value for name, value in both.items() if name.startswith("decoder")}
    prior = training.streams(params.seeds, "prior")
    return training.begin(parameters, params.optimiser) | {
        "minibatch": 0,
        "codes": networks.normals(prior, examples, params.latent_dim),
        "step_size": torch.full((len(params.seeds), 1), STEP_SIZE, device=determinism.device()),
    }


def _move(
    params: Params,
    x: Tensor,
    rows: Tensor,
    parameters: Parameters,
    state: dict[str, Any],
    momentum: list[torch.Generator],
    sums: Tensor,
) -> Tensor:
    """Move the codes of a minibatch (S, B, D) by one transition, and return them (S, B, Z).

    ``codes`` and ``step_size`` of the state and `sums` change in place.
    """
    fixed = {name: value.detach() for name, value in parameters.items()}  # the same memory
    codes = state["codes"]
    replica = torch.arange(len(codes), device=codes.device).unsqueeze(1)

    def log_joint(z: Tensor) -> Tensor:
        return densities.log_likelihood(fixed, x, z) + densities.log_prior(z)

    point = hmc.evaluate(log_joint, codes[replica, rows])
    point, accepted = hmc.transition(
        log_joint, point, state["step_size"], params.leapfrog_steps, momentum
    )
    codes[replica, rows] = point.position
    state["step_size"] = hmc.tuned(state["step_size"], accepted)
    sums[1] += accepted.float().mean(dim=1)
    return point.position


def _learn(
    params: Params,
    x: Tensor,
    z: Tensor,
    parameters: Parameters,
    state: dict[str, Any],
    decay: float,
    sums: Tensor,
) -> None:
    """Let the decoder learn from a minibatch and its codes; parameters and `sums` in place."""
    for _ in range(params.weight_updates):
        reached = densities.log_likelihood(parameters, x, z).mean(dim=1)
        gradients = torch.autograd.grad(-reached.sum(), list(parameters.values()))
        optimisers.descend(
            parameters, list(gradients), state["optimiser"], params.learning_rate, decay,
            (params.adam_beta1, 0.999), params.adam_epsilon,
        )  # fmt: skip
        sums[0] += reached.detach() / params.weight_updates


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    torch.set_float32_matmul_precision(params.matmul_precision)
    x = images.load_learnt(paths["train"], params)
    moments = training.minibatches_seen(params.snapshots, _evaluations(params))
    state = checkpoints.resumed(
        job,
        lambda state: train(params, x, state),
        total=training.rows(moments),
        describe=training.describe,
        done=lambda state: len(state["history"]),
    )
    saved = saved_nets.of_state(state, networks.of_case(params, x.shape[1]), "mcem")
    saved_nets.save(paths["model"], saved)
    history = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], history)


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
