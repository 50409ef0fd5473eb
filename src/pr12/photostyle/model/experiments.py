"""What the experiments share: photographs as tensors, a network, and optimisations in a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pr12.core import checkpoints, determinism
from pr12.photostyle.data import weights_file
from pr12.photostyle.model import backbones, network_weights, optimise
from pr12.photostyle.model.backbones import Features
from pr12.photostyle.model.deep_photo_style import as_image, as_pixels
from pr12.photostyle.model.optimise import Objective
from pr12.workflow import progress
from pr12.workflow.errors import UserError

OFTEN = 50  # iterations after which a state is written: a kill costs no more


class Task(NamedTuple):
    """One image to be made."""

    start: Callable[[Mapping[str, Tensor]], Tensor]  # from the images made before, by name
    objective: Objective
    iterations: int


class Made(NamedTuple):
    """An image that was made, and its loss with its parts."""

    image: Tensor
    parts: dict[str, float]


def picture(photographs: Mapping[str, Tensor], name: str) -> Tensor:
    """Give a photograph of the step ``photographs`` to the network, shape (1, 3, H, W).

    Raises
    ------
    UserError
        If there is none of that name.

    Examples
    --------
    >>> picture({"photograph/a": torch.zeros(2, 3, 3, dtype=torch.uint8)}, "photograph/a").shape
    torch.Size([1, 3, 2, 3])
    """
    if name not in photographs:
        raise UserError(f"there is no {name} among the photographs: {', '.join(photographs)}")
    return as_image(photographs[name].numpy()).to(determinism.device())


def calibration(photographs: Mapping[str, Tensor]) -> Tensor:
    """Give the photographs over which mean activations are taken, shape (N, 3, S, S)."""
    names = sorted(name for name in photographs if name.startswith("photograph/"))
    return torch.cat([picture(photographs, name) for name in names]).cpu()


def features_of(
    params: Any, layers: Sequence[str], photographs: Mapping[str, Tensor], weights: Path | None
) -> Features:
    """Give the network of an experiment.

    Parameters
    ----------
    params : Params
        Of a step with ``architecture``, ``trained``, ``pooling``, ``normalise``, ``weights_seed``
        and ``bfloat16``.
    layers : sequence of str
        All that are needed.
    photographs : mapping
        Of the step ``photographs``.
    weights : Path, optional
        Needed if ``trained``.

    Raises
    ------
    UserError
        If weights are missing or of another network.
    """
    network = backbones.cut(params.architecture, list(dict.fromkeys(layers)), params.pooling)
    if params.trained and weights is None:
        raise UserError("trained is true but no weights are given; add weights=PATH")
    read = weights_file.read_weights(weights, backbones.shapes(network)) if params.trained else None
    return network_weights.prepared(
        network,
        calibration(photographs),
        read,
        params.weights_seed,
        params.normalise,
        params.bfloat16,
    )


def completed(
    tasks: Mapping[str, Task], history: int, checkpoint: Path, fingerprint: str
) -> dict[str, Made]:
    """Make images one after another; after a kill, go on where it was.

    Parameters
    ----------
    tasks : mapping
        Name -> task.
    history : int
        Of L-BFGS.
    checkpoint : Path
        Where states are kept meanwhile; removed at the end.
    fingerprint : str
        Digest of params and code; another one's states are not used.

    Returns
    -------
    dict of str to Made
        By the tasks' names, in their order.
    """
    saved = checkpoints.load_state(checkpoint, fingerprint) or {
        "made": {},
        "task": "",
        "state": None,
    }
    made = {name: Made(own["image"], own["parts"]) for name, own in saved["made"].items()}

    def save(task: str, state: Mapping[str, Any] | None) -> None:
        kept = {name: own._asdict() for name, own in made.items()}
        checkpoints.save_state(
            checkpoint, {"made": kept, "task": task, "state": state}, fingerprint
        )

    def one_by_one() -> Iterator[tuple[str, Made]]:
        for name, task in tasks.items():
            if name in made:
                continue
            image = task.start({key: own.image for key, own in made.items()})
            state = saved["state"] if saved["task"] == name else None
            for step in optimise.minimise(image, task.objective, task.iterations, history, state):
                image, parts = step.image, step.parts
                if step.iteration % OFTEN == 0 and step.iteration < task.iterations:
                    save(name, step.state)
            with torch.no_grad():
                parts = {key: part.item() for key, part in task.objective(image).items()}
            made[name] = Made(image.clone(), parts)
            save("", None)
            yield name, made[name]

    text = lambda row: f"{row[0]}: loss {row[1].parts['loss']:.4g}"  # noqa: E731
    for _ in progress.follow(one_by_one(), len(tasks), text, done=len(made)):
        pass
    return {name: made[name] for name in tasks}


def pixels(image: Tensor) -> Tensor:
    """Give an image as it is kept for figures: uint8 (H, W, 3)."""
    return torch.from_numpy(as_pixels(image))


def as_array(image: Tensor) -> np.ndarray:
    """Give an image to the measures: float64 from 0 to 1, (H, W, 3)."""
    return image[0].detach().cpu().permute(1, 2, 0).double().numpy()
