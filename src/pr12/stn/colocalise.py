"""Learn to find the digit in canvases of one class, without labels or boxes (App. A.2).

One transformer per class and seed. As in the paper, it is judged on the very images it learned
from, where no box was used; and on new images of the class besides. Windows at random are the
floor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor

from pr12.shared import address, files, optimisers, progress, run, splits, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, Between, NotEmpty
from pr12.stn import colocalisation, distortions, embedding, training
from pr12.stn.transformer import SpatialTransformer

ROWS = 20  # of the history of one class; each is a point from which a killed training goes on
SHOWN = 3  # images per class in the picture
DRAWS = 20  # random windows per image


@dataclass(frozen=True)
class Params:
    """Params of the co-localisation."""

    seeds: Annotated[tuple[int, ...], NotEmpty()]
    digits: Annotated[tuple[Annotated[int, Between(0, 9)], ...], NotEmpty()]
    images: Annotated[int, AtLeast(2)]  # per class; new ones: as many, or all there are
    patches: Annotated[int, AtLeast(0)]  # of clutter; 0: T, 16: TC
    iterations: Annotated[int, AtLeast(1)]
    batch_size: Annotated[int, AtLeast(2)]
    learning_rate: Annotated[float, Above(0)]
    scale_rate: Annotated[float, AtLeast(0)]
    jitter: Annotated[int, AtLeast(0)]  # pixels by which canvases shift anew at each iteration
    stride: Literal[1, 2, 4]
    margin: Annotated[float, Above(0)]
    embedding_length: Annotated[float, Above(0)]
    embedding_width: Annotated[int, AtLeast(1)]
    embedding_steps: Annotated[int, AtLeast(1)]
    embedding_batch_size: Annotated[int, AtLeast(1)]
    embedding_learning_rate: Annotated[float, Above(0)]
    bfloat16: bool  # products of 8 bits, sums and parameters of float32


class Canvases(NamedTuple):
    """Canvases, (N, 1, 84, 84), and the digits' top and left, (N, 2), for judging alone."""

    images: Tensor
    corners: Tensor


def canvases_of(
    params: Params, split: splits.Split, least: int, digit: int, stream: torch.Generator
) -> Canvases:
    """Draw the canvases of one class, `params.images` of them or as many as there are.

    Parameters
    ----------
    params : Params
        The step's.
    split : Split
        Digits, 28 x 28; clutter is cut from all of them.
    least : int
        Images of the class that there must be.
    digit : int
        The class.
    stream : torch.Generator
        Of the places and the clutter.

    Raises
    ------
    UserError
        If there are fewer images of the class.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> few = splits.Split(torch.rand(4, 28, 28), torch.tensor([3, 3, 1, 3]))
    >>> canvases_of(SimpleNamespace(images=3, patches=0), few, 3, 3, torch.Generator()).images.shape
    torch.Size([3, 1, 84, 84])
    """
    own = split.images[split.labels == digit]
    if len(own) < least:
        raise UserError(
            f"there are {len(own)} images of the digit {digit}, {least} are needed; "
            "lower images, or leave the digit out"
        )
    placed, corners = distortions.placed(own[: params.images], colocalisation.CANVAS, stream)
    images = distortions.cluttered(placed, split.images, params.patches, stream)[:, None]
    return Canvases(images, corners)


def windows_of(net: SpatialTransformer, canvases: Tensor) -> Tensor:
    """Give the windows that a transformer chooses, (N, 1, 84, 84) -> (N, 3)."""
    with torch.no_grad():
        return torch.cat([net.theta(net.localisation(part)) for part in canvases.split(100)])


def train(
    params: Params, e: embedding.Embedding, canvases: Tensor, digit: int, seed: int,
    state: dict[str, Any] | None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Train the transformer of one class; now and then yield its whole state.

    Parameters
    ----------
    params : Params
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
    net = seeded(params, canvases, digit, seed).to(where, memory_format=torch.channels_last)
    optimiser = optimisers.Adam(net.parameters(), lr=params.learning_rate, fused=True)
    stream = run.generator(seed, f"co-localise {digit}", where)
    done, history = 0, []
    if state:
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        stream.set_state(state["stream"].cpu())
        done, history = state["steps"], state["history"]
    marks = {max(1, round(params.iterations * row / ROWS)) for row in range(1, ROWS + 1)}
    total, since = torch.zeros((), device=where), done
    for number in range(done + 1, params.iterations + 1):
        for group in optimiser.param_groups:
            group["lr"] = params.learning_rate * (1 - (number - 1) / params.iterations)
        order = torch.randperm(len(canvases), generator=stream, device=where)
        images = canvases[order[: params.batch_size]]
        images = colocalisation.jittered(images, params.jitter, stream)
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=params.bfloat16):
            found, theta = net(images)
        with torch.no_grad():
            random = colocalisation.random_windows(len(images), stream)
            elsewhere = e(colocalisation.crops(images, random))
        loss = colocalisation.triplet_hinge(e(found), elsewhere, params.margin)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        # Where a window that is no number samples nothing, the loss stays finite
        total += loss.detach() + 0 * theta.detach().sum()
        if number not in marks:
            continue
        mean = float(total) / (number - since)
        if mean != mean or mean == float("inf"):
            last = history[-1]["train/hinge"] if history else "none"
            raise UserError(
                f"the hinge or the windows are not finite at digit {digit}, seed {seed}, iteration "
                f"{number} (before: {last}); lower learning_rate and run again"
            )
        training.check_parameters(net, f"at digit {digit}, seed {seed}, iteration {number}")
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


def seeded(params: Params, canvases: Tensor, digit: int, seed: int) -> SpatialTransformer:
    """Build the transformer of one class with the initial parameters of one seed."""
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global stream only
        torch.manual_seed(run.generator(seed, f"init localiser {digit}").initial_seed())
        return colocalisation.localiser(canvases, params.stride, params.scale_rate)


def rounded(windows: Tensor) -> list:
    """Give the boxes of windows in pixels, to a tenth."""
    return colocalisation.boxes(windows).double().round(decimals=1).tolist()


def overlaps_of(net: SpatialTransformer, canvases: Canvases) -> list[float]:
    """Give each window's intersection over union with the digit's box."""
    found = colocalisation.boxes(windows_of(net, canvases.images))
    return colocalisation.overlap(found, colocalisation.digit_boxes(canvases.corners)).tolist()


def colocalise(
    params: Params, train_split: splits.Split, test_split: splits.Split, state: dict | None
) -> Iterator[dict[str, Any]]:
    """Train and judge the transformers, one after the other; now and then yield the state of all.

    Parameters
    ----------
    params : Params
        The step's.
    train_split, test_split : Split
        Digits, 28 x 28, on the device. The embedding learns from the first, with labels; new
        images come from the second.
    state : dict or None
        A state yielded before.

    Yields
    ------
    dict
        ``finished`` (name -> result), ``accuracies`` of the embeddings by seed, ``current`` (the
        state of the transformer in training) and its ``name``.
    """
    finished, accuracies, current = {}, {}, None
    if state:
        finished, accuracies, current = state["finished"], state["accuracies"], state["current"]
    for seed in params.seeds:
        rest = [digit for digit in params.digits if f"{seed}/{digit}" not in finished]
        if not rest:
            continue
        e = embedded(params, train_split, seed)  # seconds; a killed training makes it again
        accuracies = accuracies | {str(seed): embedding.accuracy(e.net, *test_split)}
        for digit in rest:
            name = f"{seed}/{digit}"
            stream = run.generator(seed, f"canvases {digit}", train_split.images.device)
            seen = canvases_of(params, train_split, params.images, digit, stream)
            new = canvases_of(params, test_split, 1, digit, stream)
            for reached in train(params, e, seen.images, digit, seed, current):
                current = reached
                yield {
                    "finished": finished,
                    "accuracies": accuracies,
                    "current": current,
                    "name": name,
                }
            finished = finished | {name: judged(params, seen, new, digit, seed, current, stream)}
            current = None
    yield {"finished": finished, "accuracies": accuracies, "current": None, "name": ""}


def judged(
    params: Params, seen: Canvases, new: Canvases, digit: int, seed: int, state: dict[str, Any],
    stream: torch.Generator,
) -> dict[str, Any]:  # fmt: skip
    """Judge one transformer on what it saw and on new images, beside windows at random.

    Parameters
    ----------
    params : Params
        The step's.
    seen, new : Canvases
        Of the class.
    digit, seed : int
        Which.
    state : dict
        The training's last.
    stream : torch.Generator
        Of the random windows.

    Returns
    -------
    dict
        Intersections over union (``images``, ``new``, ``random``), the last ``hinge``, and what is
        ``shown`` of the first images.
    """
    net = seeded(params, seen.images, digit, seed).to(seen.images.device)
    net.load_state_dict(state["net"])
    true = colocalisation.digit_boxes(seen.corners)
    random = colocalisation.boxes(colocalisation.random_windows(DRAWS * len(true), stream))
    return {
        "images": overlaps_of(net, seen),
        "new": overlaps_of(net, new),
        "random": colocalisation.overlap(random, true.repeat(DRAWS, 1)).tolist(),
        "hinge": state["history"][-1]["train/hinge"],
        "shown": {
            "canvases": (255 * seen.images[:SHOWN, 0]).round().int().tolist(),
            "true": true[:SHOWN].tolist(),
            "history": state["history"],
        },
    }


def embedded(params: Params, split: splits.Split, seed: int) -> embedding.Embedding:
    """Train the embedding of one seed."""
    net = embedding.train_classifier(
        *split, seed, params.embedding_width, params.embedding_steps,
        params.embedding_batch_size, params.embedding_learning_rate, params.bfloat16,
    )  # fmt: skip
    return embedding.measured(net, split.images, params.embedding_length, params.bfloat16)


def metrics(params: Params, finished: dict[str, Any], accuracies: dict[str, float]) -> dict:
    """Give all metrics, one value per seed.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> result = {"images": [0.6, 0.4], "new": [0.0, 0.1], "random": [0.0], "hinge": 0.5}
    >>> found = metrics(SimpleNamespace(seeds=(0,), digits=(3,)), {"0/3": result}, {"0": 99.0})
    >>> found["images/correct_digit3_percent"], found["images/iou_all"]
    ([50.0], [0.5])
    """
    found = {"embedding/accuracy_percent": [accuracies[str(seed)] for seed in params.seeds]}

    def overlaps(kind: str, seed: int, digits: tuple[int, ...]) -> Tensor:
        return torch.tensor(
            [o for d in digits for o in finished[f"{seed}/{d}"][kind]], dtype=torch.float64
        )

    for kind in ("images", "new", "random"):
        groups = {"all": params.digits} | {f"digit{digit}": (digit,) for digit in params.digits}
        for group, digits in groups.items():
            each = [overlaps(kind, seed, digits) for seed in params.seeds]
            found[f"{kind}/correct_{group}_percent"] = [
                colocalisation.correct_percent(one) for one in each
            ]
            found[f"{kind}/iou_{group}"] = [float(one.mean()) for one in each]
    hinges = [[finished[f"{s}/{d}"]["hinge"] for d in params.digits] for s in params.seeds]
    found["images/hinge_all"] = [sum(one) / len(one) for one in hinges]
    return found


def checked(params: Params, split: splits.Split, name: str) -> splits.Split:
    """Give a split framed as MNIST's and on the device, if its pixels are fit.

    Raises
    ------
    UserError
        If a pixel is no number or outside [0, 1], a label is no digit, or a class has no image.
    """
    if not bool(((split.images >= 0) & (split.images <= 1)).all()):  # NaN is neither
        raise UserError(f"{name} has pixels outside 0 to 1 or that are no numbers; make it anew")
    framed = distortions.framed(split.images)
    if not bool(((split.labels >= 0) & (split.labels <= 9)).all()):
        raise UserError(f"{name} has labels that are no digits from 0 to 9; make it anew")
    missing = [digit for digit in params.digits if not bool((split.labels == digit).any())]
    if missing:
        raise UserError(f"{name} has no image of the digit {missing[0]}; leave it out of digits")
    where = run.device()
    return splits.Split(framed.to(where), split.labels.to(where))


def main(job: step.Job) -> None:
    """Train and judge all classes and seeds; what was reached survives a kill."""
    params, paths = job.params, job.paths
    training.deterministic()
    if params.batch_size > params.images:
        raise UserError(
            f"batch_size is {params.batch_size} and images {params.images}; "
            "a batch has each image once at most: lower batch_size"
        )
    for key in ("seeds", "digits"):
        if len(set(getattr(params, key))) < len(getattr(params, key)):
            raise UserError(f"{key} names one twice; name each once")
    both = [checked(params, splits.load_split(paths[name]), name) for name in ("train", "test")]
    fingerprint = address.digest(
        job.command, address.source_digest(job.module), job.provenance()["inputs"]
    )
    checkpoint = paths["metrics"].with_name("resume.pt")
    state = run.load_state(checkpoint, fingerprint)
    each = min(ROWS, params.iterations)
    rows = each * len(params.seeds) * len(params.digits) + 1  # and the end
    done = 0
    if state:
        done = each * len(state["finished"]) + len((state["current"] or {}).get("history", ()))
    for reached in progress.follow(colocalise(params, *both, state), rows, describe, done):
        state = reached
        run.save_state(checkpoint, state, fingerprint)
    found = metrics(params, state["finished"], state["accuracies"])
    files.write_json(paths["metrics"], {"metrics": found, "provenance": job.provenance()})
    first = params.seeds[0]
    shown = {str(d): state["finished"][f"{first}/{d}"]["shown"] for d in params.digits}
    files.write_json(paths["picture"], {"digits": shown})
    checkpoint.unlink(missing_ok=True)


def describe(state: dict[str, Any]) -> str:
    """Say how far the current class is, in a line."""
    if state["current"] is None:
        return "judged"
    last = state["current"]["history"][-1]
    return f"{state['name']}  iteration {last['iteration']}  hinge {last['train/hinge']:.4f}"


if __name__ == "__main__":
    with step.start(Params, reads=["train", "test"], writes=["metrics", "picture"]) as job:
        main(job)
