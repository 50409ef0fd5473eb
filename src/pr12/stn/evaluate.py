"""Judge the nets of one row on test digits: errors by distortion, accuracy by amount of movement.

The test set of a distortion is drawn once per seed, and is the same for every row.
"""

from collections.abc import Mapping
from typing import Any

import torch

from pr12.core import determinism
from pr12.data import splits
from pr12.stn.data import digit_splits, pictures, saved_nets
from pr12.stn.model import accuracy, digit_networks, distortions, following
from pr12.stn.params import Evaluate as Params
from pr12.workflow import files, step

MOVED = {"U": distortions.SIDE, "RTS": distortions.CANVAS}  # whose nets also see known movements
EXAMPLES = 4  # test digits that are shown


def shown(
    net: digit_networks.Network, distortion: str, digits: splits.Split, seed: int, params: Params
) -> dict[str, Any]:
    """Return the first few of a seed's test images as the net sees and transforms them.

    Parameters
    ----------
    net : Network
        The net.
    distortion : str
        What it was trained on.
    digits : Split
        Test digits, 28 x 28, those of `error`.
    seed : int
        Of the test set.
    params : Params
        The step's, for ``batch`` and ``bfloat16``.

    Returns
    -------
    dict
        ``inputs`` (N, S, S) and ``outputs`` (N, channels, S', S'), 0 to 255; ``grids``
        (N, transformers, lines, lines, 2), both None for a net without transformers; ``labels``
        and ``predicted``.

    Examples
    --------
    >>> params = Params(None, None, (30.0,), (0.5,), (2.0,), 250, False)
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> net = digit_networks.build("fcn", "affine", 1, "max", "R", 60_000)
    >>> picture = shown(net, "R", digits, 0, params)
    >>> picture["labels"], picture["grids"][0][0][0][0]
    ([0, 1, 2], [-0.875, -0.875])
    """
    inputs, labels = next(accuracy.distorted(distortion, digits, seed))
    inputs, labels = inputs[:EXAMPLES], labels[:EXAMPLES]
    outputs = grids = None
    if net.transformers is not None:
        with torch.inference_mode():
            straightened, theta = net.transformers(inputs)
        outputs = pictures.levels(straightened)
        grids = following.grids_of(net, theta)
    return {
        "inputs": pictures.levels(inputs),
        "outputs": outputs,
        "grids": grids,
        "labels": labels.tolist(),
        "predicted": accuracy.predicted(net, inputs, params.batch, params.bfloat16).tolist(),
    }


def judged(
    nets: Mapping[tuple[str, int], digit_networks.Network], digits: splits.Split, params: Params
) -> dict[str, list[float]]:
    """Return all metrics of the row, one value per seed.

    Parameters
    ----------
    nets : mapping
        (distortion, seed) -> net.
    digits : Split
        Test digits, 28 x 28.
    params : Params
        The step's.

    Examples
    --------
    >>> params = Params(None, None, (30.0,), (0.5,), (2.0,), 250, False)
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> net = digit_networks.build("fcn", "none", 1, "max", "R", 60_000)
    >>> list(judged({("R", 0): net, ("R", 1): net}, digits, params))
    ['test/error_R_percent', 'test/parameters_R']
    """
    tests, moving = (
        digit_splits.first(digits, params.examples),
        digit_splits.first(digits, params.moved_examples),
    )
    metrics: dict[str, list[float]] = {}
    for (distortion, seed), net in nets.items():
        values = {
            f"test/error_{distortion}_percent": accuracy.error(
                net, distortion, tests, seed, params.batch, params.bfloat16
            ),
            f"test/parameters_{distortion}": digit_networks.count(net),
        }
        if distortion in MOVED:
            amounts = accuracy.movements(params.rotations, params.scales, params.shifts)
            moved = accuracy.moved_accuracy(
                net, MOVED[distortion], moving, amounts, params.batch, params.bfloat16
            )
            for place, value in moved.items():
                axis, amount = place.split("/")
                values[f"{axis}/accuracy_{distortion}_{amount}_percent"] = value
            values |= accuracy.lost(values, distortion)
        for key, value in values.items():
            metrics.setdefault(key, []).append(value)
    return metrics


def shown_by_distortion(
    nets: Mapping[tuple[str, int], digit_networks.Network],
    digits: splits.Split,
    history: Any,
    params: Params,
) -> dict[str, dict[str, Any]]:
    """Return what the figures show of each distortion's net of the first seed.

    Parameters
    ----------
    nets : mapping
        (distortion, seed) -> net.
    digits : Split
        Test digits, 28 x 28.
    history : Any
        What `pr12.stn.train` wrote beside the nets.
    params : Params
        The step's.

    Returns
    -------
    dict
        Distortion -> as `shown`, and ``training`` as `grids_in_training` where there is any.

    Raises
    ------
    UserError
        If the history is that of another training.

    Examples
    --------
    >>> params = Params(None, None, (30.0,), (0.5,), (2.0,), 250, False)
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> net = digit_networks.build("fcn", "none", 1, "max", "R", 60_000)
    >>> history = {"history": {"R/0": [{"images_seen": 16}]}}
    >>> list(shown_by_distortion({("R", 0): net}, digits, history, params)["R"])
    ['inputs', 'outputs', 'grids', 'labels', 'predicted']
    """
    pictured: dict[str, dict[str, Any]] = {}
    tests = digit_splits.first(digits, params.examples)
    for (distortion, seed), net in nets.items():
        if distortion in pictured:  # of the first seed only
            continue
        training = pictures.grids_in_training(history, distortion, seed)
        pictured[distortion] = shown(net, distortion, tests, seed, params)
        if training:
            pictured[distortion]["training"] = training
    return pictured


def main(job: step.Job) -> None:
    """Judge all nets of the row."""
    params, paths = job.params, job.paths
    determinism.deterministic()
    digits = digit_splits.checked(splits.load_split(paths["test"]), "test")
    nets = saved_nets.load(paths["model"])
    picture = shown_by_distortion(nets, digits, files.read_json(paths["history"]), params)
    metrics = judged(nets, digits, params)
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    files.write_json(paths["picture"], picture)


if __name__ == "__main__":
    with step.start(
        Params, reads=["model", "history", "test"], writes=["metrics", "picture"]
    ) as job:
        main(job)
