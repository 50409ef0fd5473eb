"""Train the nets of one row of Table 1: one per distortion and seed (Sec. 4.1, App. A.4).

Every net sees fresh distortions of the training digits, drawn for each batch on the device.
"""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import checkpoints, determinism, tensor_files, uncompiled
from pr12.data import splits
from pr12.stn.data import digit_splits, pictures
from pr12.stn.model import digit_networks, digit_training, distortions, following
from pr12.stn.params import Train as Params
from pr12.workflow import address, files, progress, step

ROWS = 20  # of the history of one net; each is a point from which a killed training goes on


def train(
    params: Params, distortion: str, seed: int, digits: splits.Split, state: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """Train one net; `ROWS` times yield its whole state.

    Parameters
    ----------
    params : Params
        The row's.
    distortion, seed : str, int
        What the net sees; of its initial parameters, the digits' order and the distortions.
    digits : Split
        Training digits, 28 x 28, on the device.
    state : dict or None
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``net``, ``optimiser``, ``stream``, ``steps`` done and ``history``.

    Raises
    ------
    UserError
        If the loss, a transformer's theta or the net's parameters are not finite.
    """
    where = digits.images.device
    net, optimiser, since, history = _begin(params, distortion, seed, where, state)
    shuffle = determinism.generator(seed, "shuffle", where)
    batches = digit_training.orders(len(digits.images), params.images, shuffle).split(
        params.batch_size
    )
    stream = determinism.generator(seed, f"distort {distortion}", where)
    shown = following.followed_digits(distortion, digits)
    if state:
        stream.set_state(state["stream"].cpu())
    total, finite = torch.zeros((), device=where), torch.ones((), dtype=torch.bool, device=where)
    marks = {max(1, round(len(batches) * row / ROWS)) for row in range(1, ROWS + 1)}
    for number, rows in enumerate(batches[since:], start=since + 1):
        data = distortions.batch(distortion, *digits, rows, stream)
        _learn(params, net, optimiser, (number - 1) / len(batches), data, total, finite)
        if number not in marks:
            continue
        seen = min(number * params.batch_size, params.images)
        place = f"{distortion}, seed {seed}, epoch {seen / len(digits.images):.2f}"
        loss_mean = float(total) / (number - since)
        digit_training.check(loss_mean, bool(finite), place, history)
        checkpoints.check_parameters(net, f"at {place}")
        row = {"images_seen": seen, "train/loss_nats": loss_mean}
        if seed == params.seeds[0]:
            row["grids"] = following.grids(net, shown)
        history = [*history, row]
        total, since = torch.zeros_like(total), number
        yield {
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "stream": stream.get_state(),
            "steps": number,
            "history": history,
        }


def _begin(
    params: Params, distortion: str, seed: int, where: torch.device, state: dict[str, Any] | None
) -> tuple[digit_networks.Network, torch.optim.Optimizer, int, list[dict[str, Any]]]:
    """Return the net, its optimiser, the batches done and the history, as the state left them."""
    shape = params.network, params.transform, params.transformers, params.pooling
    net = digit_networks.seeded(seed, *shape, distortion, params.parameters)
    net = net.to(where, memory_format=torch.channels_last)
    shared = {"lr": params.learning_rate, "fused": True}  # the same steps in one pass
    if params.optimiser == "sgd":
        optimiser = uncompiled.SGD(net.parameters(), momentum=0.0, **shared)
    else:
        optimiser = uncompiled.Adam(net.parameters(), **shared)
    if not state:
        return net, optimiser, 0, []
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    return net, optimiser, state["steps"], state["history"]


def _learn(
    params: Params,
    net: digit_networks.Network,
    optimiser: torch.optim.Optimizer,
    done: float,
    data: tuple[Tensor, Tensor],
    total: Tensor,
    finite: Tensor,
) -> None:
    """Learn from a batch; the `total` of the loss and whether all is `finite` change in place."""
    inputs, targets = data
    for group in optimiser.param_groups:
        group["lr"] = digit_training.learning_rate(params.learning_rate, params.schedule, done)
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=params.bfloat16):
        logits, theta = net(inputs.contiguous(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits.float(), targets, reduction="mean")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    total += loss.detach()
    if theta is not None:  # the loss is lost with them, and would be taken for the cause
        finite &= torch.isfinite(theta.detach()).all()


def train_all(
    params: Params, digits: splits.Split, state: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """Train the row's nets, one after the other; now and then yield the state of all.

    Parameters
    ----------
    params : Params
        The row's.
    digits : Split
        Training digits, 28 x 28, on the device.
    state : dict or None
        A state yielded before.

    Yields
    ------
    dict
        ``finished`` (name -> parameters), ``histories`` (name -> rows) and ``current``, the state
        of the net in training, whose name is ``name``.
    """
    finished, histories, current = {}, {}, None
    if state:
        finished, histories, current = state["finished"], state["histories"], state["current"]
    for distortion, seed in itertools.product(params.distortions, params.seeds):
        name = f"{distortion}/{seed}"
        if name in finished:
            continue
        for reached in train(params, distortion, seed, digits, current):
            current = reached
            histories = histories | {name: current["history"]}
            yield {
                "finished": finished,
                "histories": histories,
                "current": current,
                "name": name,
            }
        # Copies: the state's tensors are the net's own
        finished = finished | {name: {k: v.clone() for k, v in current["net"].items()}}
        current = None
    yield {"finished": finished, "histories": histories, "current": None, "name": name}


def main(job: step.Job) -> None:
    """Train all nets of the row; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic(but_sampling=True)
    digits = splits.load_split(paths["train"])
    digits = digit_splits.checked(digits, "train", params.batch_size)
    digits = splits.Split(*(tensor.to(determinism.device()) for tensor in digits))
    fingerprint = address.digest(
        job.command, address.source_digest(job.module), job.provenance()["inputs"]
    )
    checkpoint = paths["model"].with_name("resume.pt")
    state = checkpoints.load_state(checkpoint, fingerprint)
    done = sum(map(len, state["histories"].values())) if state else 0
    rows = ROWS * len(params.distortions) * len(params.seeds) + 1  # and the end
    for reached in progress.follow(train_all(params, digits, state), rows, describe, done):
        state = reached
        checkpoints.save_state(checkpoint, state, fingerprint)
    tensors = {
        f"{name}/{key}": value
        for name, net in state["finished"].items()
        for key, value in net.items()
    }
    tensor_files.write_tensors(paths["model"], tensors, {"built": json.dumps(_built(params))})
    shown = {name: following.followed_digits(name, digits)[:, 0] for name in params.distortions}
    written = {
        "history": state["histories"],
        "followed": {name: pictures.levels(images) for name, images in shown.items()},
        "provenance": job.provenance(),
    }
    files.write_json(paths["history"], written)
    checkpoint.unlink(missing_ok=True)


def _built(params: Params) -> dict[str, Any]:
    """Return what `networks.build` needs to build the row's nets again, and which there are."""
    keys = ("network", "transform", "transformers", "pooling", "parameters")
    shape = {key: getattr(params, key) for key in keys}
    return shape | {"distortions": list(params.distortions), "seeds": list(params.seeds)}


def describe(state: dict[str, Any]) -> str:
    """Say how far the current net is, in a line.

    Parameters
    ----------
    state : dict
        As `train_all` yields it.

    Examples
    --------
    >>> row = {"images_seen": 64, "train/loss_nats": 2.25}
    >>> describe({"name": "R/0", "histories": {"R/0": [row]}})
    'R/0  64 images  loss 2.2500 nats'
    """
    last = state["histories"][state["name"]][-1]
    return f"{state['name']}  {last['images_seen']} images  loss {last['train/loss_nats']:.4f} nats"


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
