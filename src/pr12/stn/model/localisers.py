"""The transformers that find a digit: built, trained, applied and judged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pr12.core import checkpoints, determinism, uncompiled
from pr12.stn.data.canvases import Canvases
from pr12.stn.model import colocalisation, embedding
from pr12.stn.model.transformer import SpatialTransformer
from pr12.stn.params import Colocalise
from pr12.workflow.errors import UserError

ROWS = 20  # of the history of one class; each is a point from which a killed training goes on
SHOWN = 3  # images per class in the picture
DRAWS = 20  # random windows per image


def windows_of(net: SpatialTransformer, canvases: Tensor) -> Tensor:
    """Return the windows that a transformer chooses, (N, 1, 84, 84) -> (N, 3)."""
    with torch.no_grad():
        return torch.cat([net.theta(net.localisation(part)) for part in canvases.split(100)])


def seeded(
    canvases: Tensor, digit: int, seed: int, stride: int, scale_rate: float
) -> SpatialTransformer:
    """Build the transformer of one class with the initial parameters of one seed."""
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global stream only
        torch.manual_seed(determinism.generator(seed, f"init localiser {digit}").initial_seed())
        return colocalisation.localiser(canvases, stride, scale_rate)


def rounded(windows: Tensor) -> list:
    """Return the boxes of windows in pixels, to a tenth."""
    return colocalisation.boxes(windows).double().round(decimals=1).tolist()


def train(
    params: Colocalise, e: embedding.Embedding, canvases: Tensor, digit: int, seed: int,
    state: dict[str, Any] | None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Train the transformer of one class; now and then yield its whole state.

    Parameters
    ----------
    params : Colocalise
        The step's.
    e : Embedding
        What crops are compared by.
    canvases : Tensor
        Shape (images, 1, 84, 84).
    digit, seed : int
        Which of them, for the random streams and for messages.
    state : dict or None
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``net``, ``optimiser``, ``stream``, ``steps`` done and ``history``.

    Raises
    ------
    UserError
        If the loss, a window or the net's parameters are not finite.
    """
    where = canvases.device
    net = seeded(canvases, digit, seed, params.stride, params.scale_rate)
    net = net.to(where, memory_format=torch.channels_last)
    optimiser = uncompiled.Adam(net.parameters(), lr=params.learning_rate, fused=True)
    stream = determinism.generator(seed, f"co-localise {digit}", where)
    since, history = 0, []
    if state:
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        stream.set_state(state["stream"].cpu())
        since, history = state["steps"], state["history"]
    marks = {max(1, round(params.iterations * row / ROWS)) for row in range(1, ROWS + 1)}
    total = torch.zeros((), device=where)
    for number in range(since + 1, params.iterations + 1):
        _learn(params, e, canvases, net, optimiser, stream, number, total)
        if number not in marks:
            continue
        mean = float(total) / (number - since)
        place = f"digit {digit}, seed {seed}, iteration {number}"
        _check(mean, place, history)
        checkpoints.check_parameters(net, f"at {place}")
        shown = rounded(windows_of(net, canvases[:SHOWN]))
        history = [*history, {"iteration": number, "train/hinge": mean, "boxes": shown}]
        total, since = torch.zeros_like(total), number
        yield {
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "stream": stream.get_state(),
            "steps": number,
            "history": history,
        }


def _check(mean: float, place: str, history: list[dict[str, Any]]) -> None:
    """Raise `UserError` for a training that is lost."""
    if mean != mean or mean == float("inf"):
        last = history[-1]["train/hinge"] if history else "none"
        raise UserError(
            f"the hinge or the windows are not finite at {place} (before: {last}); "
            "lower learning_rate and run again"
        )


def _learn(
    params: Colocalise,
    e: embedding.Embedding,
    canvases: Tensor,
    net: SpatialTransformer,
    optimiser: torch.optim.Optimizer,
    stream: torch.Generator,
    number: int,
    total: Tensor,
) -> None:
    """Learn from a batch, the iteration `number` from 1; the `total` of hinges changes in place."""
    where = canvases.device
    for group in optimiser.param_groups:
        group["lr"] = params.learning_rate * (1 - (number - 1) / params.iterations)
    order = torch.randperm(len(canvases), generator=stream, device=where)
    images = canvases[order[: params.batch_size]]
    images = colocalisation.jittered(images, params.jitter, stream)
    with torch.autocast(where.type, dtype=torch.bfloat16, enabled=params.bfloat16):
        crops, theta = net(images)
    with torch.no_grad():
        random = colocalisation.random_windows(len(images), stream)
        elsewhere = e(colocalisation.crops(images, random))
    loss = colocalisation.triplet_hinge(e(crops), elsewhere, params.margin)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    # Where a window that is no number samples nothing, the loss stays finite
    total += loss.detach() + 0 * theta.detach().sum()


def overlaps_of(net: SpatialTransformer, canvases: Canvases) -> list[float]:
    """Return each window's intersection over union with the digit's box."""
    windows = colocalisation.boxes(windows_of(net, canvases.images))
    return colocalisation.overlap(windows, colocalisation.digit_boxes(canvases.corners)).tolist()


def judged(
    net: SpatialTransformer,
    seen: Canvases,
    new: Canvases,
    history: Sequence[Mapping[str, Any]],
    stream: torch.Generator,
) -> dict[str, Any]:
    """Judge one transformer on what it saw and on new images, beside windows at random.

    Parameters
    ----------
    net : SpatialTransformer
        Of the class, after training.
    seen, new : Canvases
        Of the class.
    history : sequence of mapping
        Of the training.
    stream : torch.Generator
        Of the random windows.

    Returns
    -------
    dict
        Intersections over union (``images``, ``new``, ``random``), the last ``hinge``, and what is
        ``shown`` of the first images.
    """
    true = colocalisation.digit_boxes(seen.corners)
    random = colocalisation.boxes(colocalisation.random_windows(DRAWS * len(true), stream))
    return {
        "images": overlaps_of(net, seen),
        "new": overlaps_of(net, new),
        "random": colocalisation.overlap(random, true.repeat(DRAWS, 1)).tolist(),
        "hinge": history[-1]["train/hinge"],
        "shown": {
            "canvases": (255 * seen.images[:SHOWN, 0]).round().int().tolist(),
            "true": true[:SHOWN].tolist(),
            "history": history,
        },
    }


def metrics(
    seeds: Sequence[int],
    digits: Sequence[int],
    finished: Mapping[str, Any],
    accuracies: Mapping[str, float],
) -> dict[str, list[float]]:
    """Return all metrics, one value per seed.

    Examples
    --------
    >>> result = {"images": [0.6, 0.4], "new": [0.0, 0.1], "random": [0.0], "hinge": 0.5}
    >>> values = metrics((0,), (3,), {"0/3": result}, {"0": 99.0})
    >>> values["images/correct_digit3_percent"], values["images/iou_all"]
    ([50.0], [0.5])
    """
    values = {"embedding/accuracy_percent": [accuracies[str(seed)] for seed in seeds]}

    def overlaps(kind: str, seed: int, classes: Sequence[int]) -> Tensor:
        return torch.tensor(
            [o for d in classes for o in finished[f"{seed}/{d}"][kind]], dtype=torch.float64
        )

    for kind in ("images", "new", "random"):
        groups = {"all": digits} | {f"digit{digit}": (digit,) for digit in digits}
        for group, classes in groups.items():
            each = [overlaps(kind, seed, classes) for seed in seeds]
            values[f"{kind}/correct_{group}_percent"] = [
                colocalisation.correct_percent(one) for one in each
            ]
            values[f"{kind}/iou_{group}"] = [float(one.mean()) for one in each]
    hinges = [[finished[f"{s}/{d}"]["hinge"] for d in digits] for s in seeds]
    values["images/hinge_all"] = [sum(one) / len(one) for one in hinges]
    return values
