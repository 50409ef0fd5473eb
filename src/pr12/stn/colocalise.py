"""Learn to find the digit in canvases of one class, without labels or boxes (App. A.2).

One transformer per class and seed. As in the paper, it is judged on the very images it learned
from, where no box was used; and on new images of the class besides. Windows at random are the
floor.
"""

from collections.abc import Iterator
from typing import Any

from pr12.core import checkpoints, determinism
from pr12.data import splits
from pr12.stn.data import digit_splits
from pr12.stn.data.canvases import of_class
from pr12.stn.model import embedding, localisers
from pr12.stn.params import Colocalise as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


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
            for reached in localisers.train(params, e, seen.images, digit, seed, current):
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
    missing = [digit for digit in params.digits if not bool((digits.labels == digit).any())]
    if missing:
        raise UserError(f"{name} has no image of the digit {missing[0]}; leave it out of digits")
    return digits


def main(job: step.Job) -> None:
    """Train and judge all classes and seeds; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic(but_sampling=True)
    if params.batch_size > params.images:
        raise UserError(
            f"batch_size is {params.batch_size} and images {params.images}; "
            "a batch has each image once at most: lower batch_size"
        )
    digit_splits.check_distinct(params, "seeds", "digits")
    both = [checked(params, splits.load_split(paths[name]), name) for name in ("train", "test")]
    rows = min(localisers.ROWS, params.iterations)  # of the history of one class
    state = checkpoints.resumed(
        job,
        lambda state: colocalise(params, *both, state),
        total=rows * len(params.seeds) * len(params.digits) + 1,  # and the end
        describe=describe,
        done=lambda state: (
            rows * len(state["finished"]) + len((state["current"] or {}).get("history", ()))
        ),
    )
    metrics = localisers.metrics(
        params.seeds, params.digits, state["finished"], state["accuracies"]
    )
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    first = params.seeds[0]
    shown = {str(d): state["finished"][f"{first}/{d}"]["shown"] for d in params.digits}
    files.write_json(paths["picture"], {"digits": shown})


def describe(state: dict[str, Any]) -> str:
    """Say how far the current class is, in a line."""
    if state["current"] is None:
        return "judged"
    last = state["current"]["history"][-1]
    return f"{state['name']}  iteration {last['iteration']}  hinge {last['train/hinge']:.4f}"


if __name__ == "__main__":
    with step.start(Params, reads=["train", "test"], writes=["metrics", "picture"]) as job:
        main(job)
