"""Train a decoder by Monte Carlo EM, all seeds of a case: no encoder (Sec. 5, App. E).

For every minibatch, one transition of Hamiltonian Monte Carlo moves the code that each of its data
points has kept since its last visit towards the posterior (10 leapfrog steps in the paper, with a
step size that `hmc.tuned` brings to the paper's 90 % acceptance), and then the decoder learns from
these codes (5 weight updates). The codes of all data are kept, so that this cannot run online.

A training sample counts as evaluated whenever the decoder and its gradient are computed for it:
once before the leapfrog steps, once in each of them, and once in every weight update.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pr12.shared import address, files, progress, replicas, run, splits, step
from pr12.shared.errors import UserError
from pr12.vae import hmc, model, optimisers
from pr12.vae.params import Mcem as Params
from pr12.vae.train import architecture_of, checked_images, describe, row_epochs

STEP_SIZE = 0.1  # before any tuning


def minibatches_seen(params: Params) -> list[int]:
    """Give the numbers of minibatches after which parameters are kept, ascending.

    Parameters
    ----------
    params : Params
        Whose `snapshots` are in training samples evaluated.

    Raises
    ------
    UserError
        If two snapshots fall into one minibatch or they do not ascend.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> costs = {"batch_size": 100, "leapfrog_steps": 10, "weight_updates": 5}
    >>> minibatches_seen(SimpleNamespace(snapshots=(1600, 10000), **costs))
    [1, 7]
    """
    size = _evaluations(params)
    moments = [max(1, -(-moment // size)) for moment in params.snapshots]
    if any(later <= earlier for earlier, later in pairwise(moments)):
        raise UserError(
            f"snapshots {list(params.snapshots)} must ascend by at least a minibatch, which "
            f"evaluates {size} samples"
        )
    return moments


def _evaluations(params: Params) -> int:
    return params.batch_size * (1 + params.leapfrog_steps + params.weight_updates)


def train(
    params: Params, images: Tensor, state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train the decoders of all replicas; now and then yield the whole state.

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
        ``minibatch``, ``parameters``, ``kept`` (those of the snapshots so far), ``samples_seen``,
        ``optimiser``, ``order`` (of the epoch), ``codes`` (S, N, Z), ``step_size`` (S, 1),
        ``streams``, ``history``.

    Raises
    ------
    UserError
        If the likelihood is not finite.
    """
    moments, batches = minibatches_seen(params), len(images) // params.batch_size
    every, betas = row_epochs(moments), (params.adam_beta1, 0.999)
    decay = 1 / len(images) if params.weight_prior else 0.0
    shuffle, momentum = _streams(params, "shuffle"), _streams(params, "momentum")
    state = dict(state or _begin(params, *images.shape))
    for generator, saved in zip([*shuffle, *momentum], state.get("streams", []), strict=False):
        generator.set_state(saved.cpu())
    codes, step_size = state["codes"].clone(), state["step_size"]
    # Copies, for the tensors of a state may be those of its last snapshot
    parameters = {n: v.detach().clone().requires_grad_() for n, v in state["parameters"].items()}
    fixed = {name: value.detach() for name, value in parameters.items()}  # the same memory
    replica = torch.arange(len(codes), device=codes.device).unsqueeze(1)
    sums, since = torch.zeros(2, len(codes), device=codes.device), state["minibatch"]
    for minibatch in range(since, moments[-1]):
        if minibatch % batches == 0:
            state["order"] = replicas.permutations(shuffle, len(images))
        rows = state["order"][:, minibatch % batches * params.batch_size :][:, : params.batch_size]
        x = images[rows]

        def log_joint(z: Tensor, x: Tensor = x) -> Tensor:
            return model.log_likelihood(fixed, x, z) + model.log_prior(z)

        point = hmc.evaluate(log_joint, codes[replica, rows])
        point, accepted = hmc.transition(
            log_joint, point, step_size, params.leapfrog_steps, momentum
        )
        codes[replica, rows], step_size = point.position, hmc.tuned(step_size, accepted)
        sums[1] += accepted.float().mean(dim=1)
        for _ in range(params.weight_updates):
            reached = model.log_likelihood(parameters, x, point.position).mean(dim=1)
            gradients = torch.autograd.grad(-reached.sum(), list(parameters.values()))
            optimisers.descend(
                parameters, list(gradients), state["optimiser"], params.learning_rate, decay,
                betas, params.adam_epsilon,
            )  # fmt: skip
            sums[0] += reached.detach() / params.weight_updates
        if (minibatch + 1) % every and minibatch + 1 not in moments:
            continue
        row = {"samples_seen": (minibatch + 1) * _evaluations(params)}
        means = (sums / (minibatch + 1 - since)).tolist()
        row["train/objective_nats"], row["train/acceptance"] = means
        if not all(map(math.isfinite, means[0])):
            before = state["history"][-1]["train/objective_nats"] if state["history"] else "none"
            raise UserError(
                f"the likelihood is not finite after {row['samples_seen']} samples (before: "
                f"{before}); lower learning_rate and run again"
            )
        sums, since = torch.zeros_like(sums), minibatch + 1
        current = {name: value.detach().clone() for name, value in parameters.items()}
        state |= {
            "minibatch": since,
            "parameters": current,
            "codes": codes.clone(),
            "step_size": step_size,
            "streams": [generator.get_state() for generator in (*shuffle, *momentum)],
            "history": [*state["history"], row],
        }
        if since in moments:
            state["kept"] = [*state["kept"], current]
            state["samples_seen"] = [*state["samples_seen"], row["samples_seen"]]
        yield dict(state)


def _streams(params: Params, purpose: str) -> list[torch.Generator]:
    return [run.generator(seed, purpose, run.device()) for seed in params.seeds]


def _begin(params: Params, examples: int, pixels: int) -> dict[str, Any]:
    """Give the state before the first minibatch: codes from the prior (App. E)."""
    architecture = architecture_of(params, pixels)
    both = model.initial(architecture, params.seeds, params.init, params.init_std)
    parameters = {name: value for name, value in both.items() if name.startswith("decoder")}
    return {
        "minibatch": 0,
        "parameters": parameters,
        "kept": [],
        "samples_seen": [],
        "optimiser": optimisers.start(parameters, params.optimiser),
        "codes": model.normals(_streams(params, "prior"), examples, params.latent_dim),
        "step_size": torch.full((len(params.seeds), 1), STEP_SIZE, device=run.device()),
        "history": [],
    }


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    run.deterministic()
    torch.set_float32_matmul_precision(params.matmul_precision)
    images = checked_images(params, splits.load_split(paths["train"]).images).to(run.device())
    moments = minibatches_seen(params)
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
    saved = model.Saved(architecture, "mcem", tuple(state["samples_seen"]), joined)
    model.save(paths["model"], saved)
    said = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], said)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
