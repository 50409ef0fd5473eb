"""Train the nets of one row of Table 1: one per distortion and seed (Sec. 4.1, App. A.4).

Every net sees fresh distortions of the training digits, drawn for each batch on the device.
"""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from pr12.core import checkpoints, determinism, tensor_files
from pr12.data import splits
from pr12.stn.data import digit_splits, pictures
from pr12.stn.model import digit_training, following
from pr12.stn.params import Train as Params
from pr12.workflow import files, step


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
        for reached in digit_training.train(params, distortion, seed, digits, current):
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
    digit_splits.check_distinct(params, "distortions", "seeds")
    digits = digit_splits.checked(splits.load_split(paths["train"]), "train", params.batch_size)
    state = checkpoints.resumed(
        job,
        lambda state: train_all(params, digits, state),
        total=digit_training.ROWS * len(params.distortions) * len(params.seeds) + 1,  # and the end
        describe=describe,
        done=lambda state: sum(map(len, state["histories"].values())),
    )
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
