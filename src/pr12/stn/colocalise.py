"""Learn to find the digit in canvases of one class, without labels or boxes (App. A.2).

One transformer per class and seed. As in the paper, it is judged on the very images it learned
from, where no box was used; and on new images of the class besides. Windows at random are the
floor.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pr12.core import checkpoints, determinism, uncompiled
from pr12.data import splits
from pr12.stn.data import digit_splits
from pr12.stn.data.canvases import of_class
from pr12.stn.model import colocalisation, embedding, localisers
from pr12.stn.model.transformer import SpatialTransformer
from pr12.stn.params import Colocalise as Params
from pr12.workflow import address, files, progress, step
from pr12.workflow.errors import UserError

ROWS = 20  # of the history of one class; each is a point from which a killed training goes on


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
    net = localisers.seeded(canvases, digit, seed, params.stride, params.scale_rate)
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
        shown = localisers.rounded(localisers.windows_of(net, canvases[: localisers.SHOWN]))
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
    params: Params,
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
            stream = determinism.generator(seed, f"canvases {digit}", train_split.images.device)
            seen = of_class(
                train_split, digit, params.images, params.images, params.patches, stream
            )
            new = of_class(test_split, digit, 1, params.images, params.patches, stream)
            for reached in train(params, e, seen.images, digit, seed, current):
                current = reached
                yield {
                    "finished": finished,
                    "accuracies": accuracies,
                    "current": current,
                    "name": name,
                }
            shape = params.stride, params.scale_rate
            net = localisers.seeded(seen.images, digit, seed, *shape).to(seen.images.device)
            net.load_state_dict(current["net"])
            judged = localisers.judged(net, seen, new, current["history"], stream)
            finished = finished | {name: judged}
            current = None
    yield {"finished": finished, "accuracies": accuracies, "current": None, "name": ""}


def embedded(params: Params, split: splits.Split, seed: int) -> embedding.Embedding:
    """Train the embedding of one seed."""
    net = embedding.train_classifier(
        *split, seed, params.embedding_width, params.embedding_steps,
        params.embedding_batch_size, params.embedding_learning_rate, params.bfloat16,
    )  # fmt: skip
    return embedding.measured(net, split.images, params.embedding_length, params.bfloat16)


def checked(params: Params, split: splits.Split, name: str) -> splits.Split:
    """Return a split framed as MNIST's and on the device, if it has all classes.

    Raises
    ------
    UserError
        If it holds no digits, or a class has no image.
    """
    digits = digit_splits.checked(split, name)
    missing = [digit for digit in params.digits if not bool((split.labels == digit).any())]
    if missing:
        raise UserError(f"{name} has no image of the digit {missing[0]}; leave it out of digits")
    where = determinism.device()
    return splits.Split(*(tensor.to(where) for tensor in digits))


def main(job: step.Job) -> None:
    """Train and judge all classes and seeds; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic(but_sampling=True)
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
    state = checkpoints.load_state(checkpoint, fingerprint)
    each = min(ROWS, params.iterations)
    rows = each * len(params.seeds) * len(params.digits) + 1  # and the end
    done = 0
    if state:
        done = each * len(state["finished"]) + len((state["current"] or {}).get("history", ()))
    for reached in progress.follow(colocalise(params, *both, state), rows, describe, done):
        state = reached
        checkpoints.save_state(checkpoint, state, fingerprint)
    found = localisers.metrics(params.seeds, params.digits, state["finished"], state["accuracies"])
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
