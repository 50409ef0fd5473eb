"""Train the U-Net under test; its parameters are kept early (it segments badly) and late."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pr12.core import checkpoints, determinism, tensor_files, uncompiled
from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import unet
from pr12.rca.params import Train as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def training(
    scans: list[Scan], structures: int, params: Params, seed: int, device: torch.device
) -> Iterator[tuple[int, float, dict[str, Tensor]]]:
    """Train one net from its seed.

    Parameters
    ----------
    scans : list of Scan
        Of the training split.
    structures : int
        S.
    params : Params
        The step's.
    seed : int
        Of the initial parameters and of the order of the scans.
    device : torch.device
        Where to compute.

    Yields
    ------
    tuple of (int, float, dict of str to Tensor)
        At each snapshot the updates made, the mean loss since the last, and the parameters.

    Raises
    ------
    UserError
        If the loss is not finite, with the update and the last good value.
    """
    net = unet.network(scans[0].image.ndim, structures, params.channels, seed).to(device)
    optimiser = uncompiled.Adam(net.parameters(), lr=params.learning_rate)
    criterion = unet.loss()
    stream = np.random.default_rng(seed)
    order: list[int] = []
    losses: list[float] = []
    for update in range(1, max(params.snapshots) + 1):
        while len(order) < params.batch_size:
            order += stream.permutation(len(scans)).tolist()
        chosen, order = order[: params.batch_size], order[params.batch_size :]
        images = unet.batched([scans[index].image for index in chosen], device)
        labels = unet.batched([scans[index].labels for index in chosen], device)
        value = criterion(net(images), labels)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        losses.append(value.item())
        if not np.isfinite(losses[-1]):
            good = losses[-2] if len(losses) > 1 else None
            raise UserError(
                f"the loss of seed {seed} is {losses[-1]} at update {update} (before: {good}); "
                "lower rca.train.learning_rate"
            )
        if update in params.snapshots:
            state = {name: value.detach().clone() for name, value in net.state_dict().items()}
            yield update, float(np.mean(losses)), state
            losses = []


def main(job: step.Job) -> None:
    """Train the nets of all seeds; finished seeds of a killed run are kept."""
    determinism.deterministic()
    params, device = job.params, determinism.device()
    if len(params.channels) != len(unet.STEPS) + 1:
        raise UserError(f"rca.train.channels has {len(params.channels)} levels; give 3")
    structures, by_seed = scan_files.read_scans(job.paths["train"])
    state = checkpoints.resumed(
        job,
        lambda last: trainings(by_seed, len(structures), params, device, last),
        total=len(by_seed),
        describe=describe,
        done=lambda state: len({row["seed"] for row in state["history"]}),
    )
    tensor_files.write_tensors(job.paths["model"], state["tensors"])
    files.write_json(job.paths["history"], state["history"])


def trainings(
    by_seed: Mapping[int, list[Scan]],
    structures: int,
    params: Params,
    device: torch.device,
    last: dict[str, Any] | None,
) -> Iterator[dict[str, Any]]:
    """Train the nets of all seeds; yield all snapshots and losses so far after each seed."""
    tensors, history = (last["tensors"], last["history"]) if last else ({}, [])
    done = {row["seed"] for row in history}
    for seed in [seed for seed in by_seed if seed not in done]:
        for update, value, parameters in training(by_seed[seed], structures, params, seed, device):
            tensors |= {f"{seed}/{update}/{name}": t.cpu() for name, t in parameters.items()}
            history = [*history, {"seed": seed, "update": update, "loss": value}]
        yield {"tensors": tensors, "history": history}


def describe(state: dict[str, Any]) -> str:
    """Return the last snapshot in a line."""
    row = state["history"][-1]
    return f"seed {row['seed']}, update {row['update']}: loss {row['loss']:.3f}"


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
