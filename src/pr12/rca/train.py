"""Train the U-Net under test; its parameters are kept early (it segments badly) and late."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from pr12.rca import scan_files, unet
from pr12.rca.scan_files import Scan
from pr12.shared import address, files, optimisers, progress, run, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, NotEmpty


@dataclass(frozen=True)
class Params:
    """Params of the training."""

    channels: Annotated[tuple[int, ...], NotEmpty()]  # of the U-Net's three levels
    learning_rate: Annotated[float, Above(0)]
    batch_size: Annotated[int, AtLeast(1)]
    snapshots: Annotated[tuple[int, ...], NotEmpty()]  # updates, weak to strong; the last ends it


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
    optimiser = optimisers.Adam(net.parameters(), lr=params.learning_rate)
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
    run.deterministic()
    params, device = job.params, run.device()
    if len(params.channels) != len(unet.STEPS) + 1:
        raise UserError(f"channels has {len(params.channels)} levels; it must have 3")
    structures, by_seed = scan_files.read_scans(job.paths["train"])
    resume = job.paths["model"].with_name("resume.pt")
    fingerprint = address.digest(
        address.source_digest(job.module), repr(params), files.sha256(job.paths["train"])
    )
    empty: dict[str, Any] = {"done": [], "tensors": {}, "history": []}
    state = run.load_state(resume, fingerprint) or empty
    rows = _rows(by_seed, len(structures), params, state["done"], device)
    total = len(by_seed) * len(set(params.snapshots))
    done = len(state["history"])
    for seed, update, value, tensors in progress.follow(rows, total, _told, done=done):
        state["tensors"] |= {f"{seed}/{update}/{name}": t.cpu() for name, t in tensors.items()}
        state["history"].append({"seed": seed, "update": update, "loss": value})
        if update == max(params.snapshots):
            state["done"].append(seed)
            run.save_state(resume, state, fingerprint)
    run.write_tensors(job.paths["model"], state["tensors"])
    files.write_json(job.paths["history"], state["history"])
    resume.unlink(missing_ok=True)


def _rows(by_seed, structures, params, done, device):
    for seed, scans in by_seed.items():
        if seed not in done:
            for row in training(scans, structures, params, seed, device):
                yield seed, *row


def _told(row: tuple[int, int, float, dict[str, Tensor]]) -> str:
    return f"seed {row[0]}, update {row[1]}: loss {row[2]:.3f}"


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
