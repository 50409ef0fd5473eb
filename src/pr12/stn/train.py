"""Train the nets of one row of Table 1: one per distortion and seed (Sec. 4.1, App. A.4).

Every net sees fresh distortions of the training digits, drawn for each batch on the device.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pr12.shared import address, files, optimisers, progress, run, splits, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, NotEmpty
from pr12.stn import distortions, networks, training

ROWS = 20  # of the history of one net; each is a point from which a killed training goes on
FOLLOWED = 3  # digits whose grid is kept at every row
LINES = 8  # of such a grid along each axis


@dataclass(frozen=True)
class Params:
    """Params of one row's trainings."""

    seeds: Annotated[tuple[int, ...], NotEmpty()]
    network: Literal["fcn", "cnn", "deformable"]
    transform: Literal["none", "affine", "attention", "projective", "tps"]
    transformers: Annotated[int, AtLeast(1)]  # in parallel
    pooling: Literal["max", "average"]
    distortions: Annotated[
        tuple[Literal["U", "R", "RTS", "P", "E", "TC", "addition"], ...], NotEmpty()
    ]
    parameters: Annotated[int, AtLeast(1)]
    images: Annotated[int, AtLeast(1)]  # distorted images that a net learns from
    batch_size: Annotated[int, AtLeast(1)]
    optimiser: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Above(0)]
    schedule: Literal["thirds", "linear"]
    bfloat16: bool  # products of 8 bits, sums and parameters of float32


def seeded(params: Params, distortion: str, seed: int) -> networks.Network:
    """Build the net of one distortion with the initial parameters of one seed.

    Parameters
    ----------
    params : Params
        The row's.
    distortion : str
        A name in `distortions.DISTORTIONS`.
    seed : int
        Of the initial parameters; torch's global stream is left as it was.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(
    ...     network="fcn", transform="none", transformers=1, pooling="max", parameters=9000)
    >>> one, other = (seeded(row, "U", 0).classifier[1].bias for _ in "ab")
    >>> torch.equal(one, other)
    True
    """
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global stream only
        torch.manual_seed(run.generator(seed, f"init {distortion}").initial_seed())
        return networks.build(
            params.network,
            params.transform,
            params.transformers,
            params.pooling,
            distortion,
            params.parameters,
        )


def learning_rate(params: Params, done: float) -> float:
    """Give the step size after a share of the training.

    Parameters
    ----------
    params : Params
        With the first step size and the schedule: a tenth at each third (App. A.4), or falling
        linearly to 0.
    done : float
        From 0 to 1.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> thirds = SimpleNamespace(learning_rate=1.0, schedule="thirds")
    >>> [round(learning_rate(thirds, done), 4) for done in (0, 0.33, 0.34, 0.7)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if params.schedule == "linear":
        return params.learning_rate * (1 - done)
    return params.learning_rate * 0.1 ** int(3 * done)


def orders(examples: int, wanted: int, stream: torch.Generator) -> Tensor:
    """Give the digits in the order in which a net sees them, every one once per epoch.

    Parameters
    ----------
    examples, wanted : int
        Digits that there are, and images that the net learns from.
    stream : torch.Generator
        Of the shuffles.

    Returns
    -------
    Tensor
        int64, shape (wanted,).

    Examples
    --------
    >>> sorted(orders(2, 4, torch.Generator()).tolist())
    [0, 0, 1, 1]
    """
    epochs = -(-wanted // examples)
    where = stream.device
    shuffled = [torch.randperm(examples, generator=stream, device=where) for _ in range(epochs)]
    return torch.cat(shuffled)[:wanted]


def followed_digits(distortion: str, digits: splits.Split) -> Tensor:
    """Give the few distorted training digits whose grids are kept.

    Parameters
    ----------
    distortion : str
        A name in `distortions.DISTORTIONS`.
    digits : Split
        Training digits, 28 x 28, at least `FOLLOWED`.

    Returns
    -------
    Tensor
        Shape (FOLLOWED, C, S, S), the same for every seed.

    Examples
    --------
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> followed_digits("TC", digits).shape
    torch.Size([3, 1, 60, 60])
    """
    stream = run.generator(0, f"followed {distortion}", digits.images.device)
    rows = torch.arange(FOLLOWED, device=digits.images.device)
    return distortions.batch(distortion, digits.images, digits.labels, rows, stream)[0]


def grids(net: networks.Network, images: Tensor) -> list | None:
    """Give the net's sampling grids on a few images, rounded.

    Parameters
    ----------
    net : Network
        The net.
    images : Tensor
        Shape (N, C, S, S).

    Returns
    -------
    list or None
        Nested lists of shape (N, transformers, LINES, LINES, 2); None for a net without any.

    Examples
    --------
    >>> net = networks.build("fcn", "affine", 1, "max", "R", 60_000)
    >>> grids(net, torch.rand(1, 1, 28, 28))[0][0][0][:2]
    [[-0.875, -0.875], [-0.625, -0.875]]
    """
    if net.transformers is None:
        return None
    with torch.no_grad():
        _, theta = net.transformers(images)
    size = (LINES, LINES)
    found = [one.grid(theta[:, i], size) for i, one in enumerate(net.transformers.transformers)]
    return torch.stack(found, dim=1).double().round(decimals=3).tolist()


def train(
    params: Params, distortion: str, seed: int, digits: splits.Split, state: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """Train one net; `ROWS` times yield its whole state.

    Parameters
    ----------
    params : Params
        The row's.
    distortion : str
        What the net sees.
    seed : int
        Of its initial parameters, of the digits' order and of the distortions.
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
    net = seeded(params, distortion, seed).to(where, memory_format=torch.channels_last)
    shared = {"lr": params.learning_rate, "fused": True}  # the same steps in one pass
    if params.optimiser == "sgd":
        optimiser = optimisers.SGD(net.parameters(), momentum=0.0, **shared)
    else:
        optimiser = optimisers.Adam(net.parameters(), **shared)
    order = orders(len(digits.images), params.images, run.generator(seed, "shuffle", where))
    batches = order.split(params.batch_size)
    stream = run.generator(seed, f"distort {distortion}", where)
    shown = followed_digits(distortion, digits)
    done, history = 0, []
    if state:
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        stream.set_state(state["stream"].cpu())
        done, history = state["steps"], state["history"]
    total, finite = torch.zeros((), device=where), torch.ones((), dtype=torch.bool, device=where)
    marks = {max(1, round(len(batches) * row / ROWS)) for row in range(1, ROWS + 1)}
    since = done
    for number, rows in enumerate(batches[done:], start=done + 1):
        inputs, targets = distortions.batch(distortion, *digits, rows, stream)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(params, (number - 1) / len(batches))
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=params.bfloat16):
            logits, theta = net(inputs.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits.float(), targets, reduction="mean")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.detach()
        if theta is not None:  # the loss is lost with them, and would be taken for the cause
            finite &= torch.isfinite(theta.detach()).all()
        if number not in marks:
            continue
        seen = min(number * params.batch_size, params.images)
        place = f"{distortion}, seed {seed}, epoch {seen / len(digits.images):.2f}"
        loss_mean = float(total) / (number - since)
        check(loss_mean, bool(finite), place, history)
        training.check_parameters(net, f"at {place}")
        row = {"images_seen": seen, "train/loss_nats": loss_mean}
        if seed == params.seeds[0]:
            row["grids"] = grids(net, shown)
        history = [*history, row]
        total, since = torch.zeros_like(total), number
        yield {
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "stream": stream.get_state(),
            "steps": number,
            "history": history,
        }


def check(loss: float, finite: bool, where: str, history: list[dict[str, Any]]) -> None:
    """Stop a training that is lost.

    Raises
    ------
    UserError
        With the place and the cause: the transformers' parameters, or the loss.

    Examples
    --------
    >>> check(float("nan"), False, "R, seed 0, epoch 1.00", [{"train/loss_nats": 2.5}])
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: the transformers' parameters theta are not finite at R, seed 0, \
epoch 1.00 (loss before: 2.5); lower learning_rate and run again
    """
    last = history[-1]["train/loss_nats"] if history else "none"
    cause = None
    if not finite:
        cause = "the transformers' parameters theta are"
    elif loss != loss or loss in (float("inf"), float("-inf")):
        cause = "the loss is"
    if cause:
        raise UserError(
            f"{cause} not finite at {where} (loss before: {last}); "
            "lower learning_rate and run again"
        )


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


def checked_digits(params: Params, split: splits.Split) -> splits.Split:
    """Give the digits framed as MNIST's, if a net can learn from them.

    Raises
    ------
    UserError
        If a pixel is no number or outside [0, 1], a label is no digit, or there are fewer digits
        than a batch has.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> few = splits.Split(torch.rand(4, 8, 8), torch.arange(4))
    >>> checked_digits(SimpleNamespace(batch_size=4), few).images.shape
    torch.Size([4, 28, 28])
    """
    images = split.images
    if not bool(((images >= 0) & (images <= 1)).all()):  # NaN is neither
        raise UserError("train has pixels outside 0 to 1 or that are no numbers; make it anew")
    if len(images) < params.batch_size:
        raise UserError(f"train has {len(images)} images; batch_size is {params.batch_size}")
    framed = distortions.framed(images)
    if not bool(((split.labels >= 0) & (split.labels <= 9)).all()):
        raise UserError("train has labels that are no digits from 0 to 9; make it anew")
    return splits.Split(framed, split.labels)


def main(job: step.Job) -> None:
    """Train all nets of the row; what was reached survives a kill."""
    params, paths = job.params, job.paths
    training.deterministic()
    digits = checked_digits(params, splits.load_split(paths["train"]))
    digits = splits.Split(*(tensor.to(run.device()) for tensor in digits))
    fingerprint = address.digest(
        job.command, address.source_digest(job.module), job.provenance()["inputs"]
    )
    checkpoint = paths["model"].with_name("resume.pt")
    state = run.load_state(checkpoint, fingerprint)
    done = sum(map(len, state["histories"].values())) if state else 0
    rows = ROWS * len(params.distortions) * len(params.seeds) + 1  # and the end
    for reached in progress.follow(train_all(params, digits, state), rows, describe, done):
        state = reached
        run.save_state(checkpoint, state, fingerprint)
    tensors = {
        f"{name}/{key}": value
        for name, net in state["finished"].items()
        for key, value in net.items()
    }
    run.write_tensors(paths["model"], tensors, {"built": json.dumps(built(params))})
    shown = {name: followed_digits(name, digits)[:, 0] for name in params.distortions}
    written = {
        "history": state["histories"],
        "followed": {name: (255 * images).round().int().tolist() for name, images in shown.items()},
        "provenance": job.provenance(),
    }
    files.write_json(paths["history"], written)
    checkpoint.unlink(missing_ok=True)


def built(params: Params) -> dict[str, Any]:
    """Give what `networks.build` needs to build the row's nets again, and which there are.

    Parameters
    ----------
    params : Params
        The row's.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(network="fcn", transform="none", transformers=1, pooling="max",
    ...     parameters=9000, distortions=("R", "P"), seeds=(0,))
    >>> built(row)["distortions"], built(row)["seeds"]
    (['R', 'P'], [0])
    """
    keys = ("network", "transform", "transformers", "pooling", "parameters")
    found = {key: getattr(params, key) for key in keys}
    return found | {"distortions": list(params.distortions), "seeds": list(params.seeds)}


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
