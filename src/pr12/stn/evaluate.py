"""Judge the nets of one row on test digits: errors by distortion, accuracy by amount of movement.

The test set of a distortion is drawn once per seed, and is the same for every row.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pr12.shared import files, run, splits, step
from pr12.shared.errors import UserError
from pr12.stn import distortions, networks
from pr12.stn.params import Evaluate as Params

MOVED = {"U": distortions.SIDE, "RTS": distortions.CANVAS}  # whose nets also see known movements
EXAMPLES = 4  # test digits that are shown
LINES = 8  # of a grid that is shown, along each axis


def load_nets(path: Path | str) -> dict[tuple[str, int], networks.Network]:
    """Read the nets that `pr12.stn.train` wrote.

    Parameters
    ----------
    path : Path or str
        The safetensors file.

    Returns
    -------
    dict
        (distortion, seed) -> net.

    Raises
    ------
    UserError
        If the file holds no such nets.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> run.write_tensors(path, {"R/0/weight": torch.zeros(1)})
    >>> load_nets(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: ...model.safetensors holds no nets of pr12.stn.train; make it anew
    """
    tensors = run.read_tensors(path)
    try:
        built = json.loads(run.read_metadata(path)["built"])
        shape = [built[key] for key in ("network", "transform", "transformers", "pooling")]
        nets = {}
        for distortion in built["distortions"]:
            for seed in built["seeds"]:
                net = networks.build(*shape, distortion, built["parameters"])
                prefix = f"{distortion}/{seed}/"
                own = {
                    key.removeprefix(prefix): value
                    for key, value in tensors.items()
                    if key.startswith(prefix)
                }
                net.load_state_dict(own, strict=True)
                net = net.to(run.device(), memory_format=torch.channels_last)
                nets[distortion, seed] = net.eval()
    except (KeyError, TypeError, ValueError, RuntimeError, UserError):
        nets = {}
    if not nets:
        raise UserError(f"{path} holds no nets of pr12.stn.train; make it anew")
    return nets


def predicted(net: networks.Network, inputs: Tensor, params: Params) -> Tensor:
    """Give the class of every input, a batch at a time.

    Parameters
    ----------
    net : Network
        The net.
    inputs : Tensor
        Shape (N, C, S, S).
    params : Params
        The step's, for ``batch`` and ``bfloat16``.

    Returns
    -------
    Tensor
        int64, shape (N,).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> net = networks.build("fcn", "none", 1, "max", "U", 9000)
    >>> predicted(net, torch.rand(3, 1, 28, 28), SimpleNamespace(batch=2, bfloat16=False)).shape
    torch.Size([3])
    """
    where = inputs.device.type
    with (
        torch.inference_mode(),
        torch.autocast(where, dtype=torch.bfloat16, enabled=params.bfloat16),
    ):
        parts = inputs.contiguous(memory_format=torch.channels_last).split(params.batch)
        return torch.cat([net(part)[0].argmax(dim=1) for part in parts])


def distorted(distortion: str, digits: splits.Split, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the distorted test digits of one seed, a thousand at a time, the same for every row.

    Parameters
    ----------
    distortion : str
        A name in `distortions.DISTORTIONS`.
    digits : Split
        Test digits, 28 x 28.
    seed : int
        Of the distortions.

    Yields
    ------
    inputs : Tensor
        Shape (N, C, S, S).
    targets : Tensor
        int64, shape (N,).

    Examples
    --------
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> [inputs.shape for inputs, _ in distorted("TC", digits, 0)]
    [torch.Size([3, 1, 60, 60])]
    """
    stream = run.generator(seed, f"test {distortion}", digits.images.device)
    for rows in torch.arange(len(digits.images), device=digits.images.device).split(1000):
        yield distortions.batch(distortion, *digits, rows, stream)


def error(
    net: networks.Network, distortion: str, digits: splits.Split, seed: int, params: Params
) -> float:
    """Give the share of distorted test digits that a net gets wrong, in percent.

    Parameters
    ----------
    net : Network
        The net.
    distortion : str
        What it was trained on.
    digits : Split
        Test digits, 28 x 28.
    seed : int
        Of the test set.
    params : Params
        The step's, for ``batch`` and ``bfloat16``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.full((3,), 12))  # no such class
    >>> net = networks.build("fcn", "none", 1, "max", "U", 9000)
    >>> error(net, "U", digits, 0, SimpleNamespace(batch=2, bfloat16=False))
    100.0
    """
    wrong = sum(
        int((predicted(net, inputs, params) != targets).sum())
        for inputs, targets in distorted(distortion, digits, seed)
    )
    return 100 * wrong / len(digits.images)


def movements(params: Params) -> Iterator[tuple[str, float, float, float, float]]:
    """Give every known movement: its axis and amount, then angle, scale and shift.

    Parameters
    ----------
    params : Params
        The step's, for ``rotations`` (degrees), ``scales`` and ``shifts`` (pixels).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> amounts = SimpleNamespace(rotations=(30.0,), scales=(0.5,), shifts=(2.0,))
    >>> list(movements(amounts))[1]
    ('scale', 0.5, 0.0, 0.5, 0.0)
    """
    for angle in params.rotations:
        yield "rotation", angle, angle, 1.0, 0.0
    for scale in params.scales:
        yield "scale", scale, 0.0, scale, 0.0
    for shift in params.shifts:
        yield "shift", shift, 0.0, 1.0, shift


def moved_accuracy(
    net: networks.Network, canvas: int, digits: splits.Split, params: Params
) -> dict[str, float]:
    """Give a net's accuracy by rotation, scale and shift, one of them at a time.

    A quarter of the digits each is shifted right, down, left and up, as far as their box has room.

    Parameters
    ----------
    net : Network
        The net.
    canvas : int
        Side of the images that it reads.
    digits : Split
        Test digits.
    params : Params
        The step's.

    Returns
    -------
    dict of str to float
        Such as ``rotation/30`` -> percent.

    Examples
    --------
    >>> params = Params(None, None, (30.0,), (0.5,), (2.0,), 250, False)
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> net = networks.build("fcn", "none", 1, "max", "U", 9000)
    >>> list(moved_accuracy(net, 28, digits, params))
    ['rotation/30', 'scale/0.5', 'shift/2']
    """
    count = len(digits.images)
    where = digits.images.device
    quarters = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]], device=where)
    directions = quarters[torch.arange(count, device=where) % 4]
    found = {}
    for axis, amount, angle, scale, shift in movements(params):
        if shift > (canvas - distortions.BOX) / 2:  # a digit that is cut off is another question
            continue
        angles, scales = (torch.full((count,), value, device=where) for value in (angle, scale))
        images = distortions.moved(digits.images, angles, scales, shift * directions, canvas)
        right = predicted(net, images[:, None], params) == digits.labels
        found[f"{axis}/{amount:g}"] = 100 * float(right.double().mean())
    return found


def shown(
    net: networks.Network, distortion: str, digits: splits.Split, seed: int, params: Params
) -> dict[str, Any]:
    """Give the first few of a seed's test images as the net sees and transforms them.

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
        (N, transformers, LINES, LINES, 2), both None for a net without transformers; ``labels``
        and ``predicted``.

    Examples
    --------
    >>> params = Params(None, None, (30.0,), (0.5,), (2.0,), 250, False)
    >>> digits = splits.Split(torch.rand(3, 28, 28), torch.arange(3))
    >>> net = networks.build("fcn", "affine", 1, "max", "R", 60_000)
    >>> picture = shown(net, "R", digits, 0, params)
    >>> picture["labels"], picture["grids"][0][0][0][0]
    ([0, 1, 2], [-0.875, -0.875])
    """
    inputs, labels = next(distorted(distortion, digits, seed))
    inputs, labels = inputs[:EXAMPLES], labels[:EXAMPLES]
    outputs = grids = None
    if net.transformers is not None:
        transformers = net.transformers.transformers
        with torch.inference_mode():
            straightened, theta = net.transformers(inputs)
            outputs = levels(straightened)
            size = (LINES, LINES)
            found = [one.grid(theta[:, i], size) for i, one in enumerate(transformers)]
            grids = torch.stack(found, dim=1).double().round(decimals=3).tolist()
    return {
        "inputs": levels(inputs),
        "outputs": outputs,
        "grids": grids,
        "labels": labels.tolist(),
        "predicted": predicted(net, inputs, params).tolist(),
    }


def levels(images: Tensor) -> list:
    """Give pixels of 0 to 1 as whole numbers to 255, in nested lists of the same shape.

    Parameters
    ----------
    images : Tensor
        Any shape.

    Examples
    --------
    >>> levels(torch.tensor([0.0, 0.5, 1.0]))
    [0, 128, 255]
    """
    return (255 * images).round().int().tolist()


def first(split: splits.Split, count: int | None) -> splits.Split:
    """Give the first digits.

    Parameters
    ----------
    split : Split
        Test digits.
    count : int or None
        How many; None gives all.

    Raises
    ------
    UserError
        If there are fewer.

    Examples
    --------
    >>> len(first(splits.Split(torch.zeros(3, 28, 28), torch.arange(3)), 2).labels)
    2
    """
    if count is not None and count > len(split.labels):
        raise UserError(f"test has {len(split.labels)} digits; {count} are asked; ask fewer")
    return splits.Split(*(tensor[:count] for tensor in split))


def judged(
    nets: Mapping[tuple[str, int], networks.Network], digits: splits.Split, params: Params
) -> dict[str, list[float]]:
    """Give all metrics of the row, one value per seed.

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
    >>> net = networks.build("fcn", "none", 1, "max", "R", 60_000)
    >>> list(judged({("R", 0): net, ("R", 1): net}, digits, params))
    ['test/error_R_percent', 'test/parameters_R']
    """
    tests, moving = first(digits, params.examples), first(digits, params.moved_examples)
    metrics: dict[str, list[float]] = {}
    for (distortion, seed), net in nets.items():
        found = {
            f"test/error_{distortion}_percent": error(net, distortion, tests, seed, params),
            f"test/parameters_{distortion}": networks.count(net),
        }
        if distortion in MOVED:
            for place, accuracy in moved_accuracy(net, MOVED[distortion], moving, params).items():
                axis, amount = place.split("/")
                found[f"{axis}/accuracy_{distortion}_{amount}_percent"] = accuracy
            found |= lost(found, distortion)
        for key, value in found.items():
            metrics.setdefault(key, []).append(value)
    return metrics


def lost(found: Mapping[str, float], distortion: str) -> dict[str, float]:
    """Give what a net loses of its accuracy on unmoved digits, if that is among the movements.

    Parameters
    ----------
    found : mapping of str to float
        Its metrics.
    distortion : str
        What it was trained on.

    Examples
    --------
    >>> lost({"shift/accuracy_U_0_percent": 96.0, "shift/accuracy_U_2_percent": 95.0}, "U")
    {'shift/lost_U_2_points': 1.0}
    """
    losses = {}
    for axis, still in (("rotation", "0"), ("scale", "1"), ("shift", "0")):
        start = f"{axis}/accuracy_{distortion}_"
        moved = {key: value for key, value in found.items() if key.startswith(start)}
        unmoved = moved.pop(f"{start}{still}_percent", None)
        for key, value in moved.items() if unmoved is not None else ():
            amount = key.removeprefix(start).removesuffix("_percent")
            losses[f"{axis}/lost_{distortion}_{amount}_points"] = unmoved - value
    return losses


def checked_digits(split: splits.Split) -> splits.Split:
    """Give the digits framed as MNIST's.

    Parameters
    ----------
    split : Split
        Test digits, 28 x 28 or smaller squares.

    Raises
    ------
    UserError
        If a pixel is no number or outside [0, 1], or the images are no such squares.

    Examples
    --------
    >>> checked_digits(splits.Split(torch.rand(4, 8, 8), torch.arange(4))).images.shape
    torch.Size([4, 28, 28])
    """
    if not bool(((split.images >= 0) & (split.images <= 1)).all()):  # NaN is neither
        raise UserError("test has pixels outside 0 to 1 or that are no numbers; make it anew")
    return splits.Split(distortions.framed(split.images), split.labels)


def grids_in_training(history: Any, distortion: str, seed: int) -> dict[str, Any] | None:
    """Give what a training kept of a net's grids, for the animation.

    Parameters
    ----------
    history : Any
        What `pr12.stn.train` wrote beside the nets.
    distortion, seed : str, int
        Which net.

    Returns
    -------
    dict or None
        ``inputs`` (N, S, S), 0 to 255; ``images_seen`` and ``grids``, one for each row of the
        history. None for a net whose grids were not kept.

    Raises
    ------
    UserError
        If the history is that of another training.

    Examples
    --------
    >>> grids_in_training({"history": {"R/0": [{"images_seen": 16}]}, "followed": {}}, "R", 0)
    >>> grids_in_training({"history": {}}, "R", 0)
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: history says nothing of the net R/0; give the model's own
    """
    try:
        rows = history["history"][f"{distortion}/{seed}"]
        if not rows[0].get("grids"):
            return None
        return {
            "inputs": history["followed"][distortion],
            "images_seen": [row["images_seen"] for row in rows],
            "grids": [row["grids"] for row in rows],
        }
    except (KeyError, TypeError, IndexError, AttributeError):
        name = f"{distortion}/{seed}"
        raise UserError(f"history says nothing of the net {name}; give the model's own") from None


def pictures(
    nets: Mapping[tuple[str, int], networks.Network],
    digits: splits.Split,
    history: Any,
    params: Params,
) -> dict[str, dict[str, Any]]:
    """Give what the figures show of each distortion's net of the first seed.

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
    >>> net = networks.build("fcn", "none", 1, "max", "R", 60_000)
    >>> history = {"history": {"R/0": [{"images_seen": 16}]}}
    >>> list(pictures({("R", 0): net}, digits, history, params)["R"])
    ['inputs', 'outputs', 'grids', 'labels', 'predicted']
    """
    found: dict[str, dict[str, Any]] = {}
    tests = first(digits, params.examples)
    for (distortion, seed), net in nets.items():
        if distortion in found:  # of the first seed only
            continue
        training = grids_in_training(history, distortion, seed)
        found[distortion] = shown(net, distortion, tests, seed, params)
        if training:
            found[distortion]["training"] = training
    return found


def main(job: step.Job) -> None:
    """Judge all nets of the row."""
    params, paths = job.params, job.paths
    run.deterministic()
    digits = checked_digits(splits.load_split(paths["test"]))
    digits = splits.Split(*(tensor.to(run.device()) for tensor in digits))
    nets = load_nets(paths["model"])
    picture = pictures(nets, digits, files.read_json(paths["history"]), params)
    metrics = judged(nets, digits, params)
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    files.write_json(paths["picture"], picture)


if __name__ == "__main__":
    with step.start(
        Params, reads=["model", "history", "test"], writes=["metrics", "picture"]
    ) as job:
        main(job)
