"""What the experiments share: photographs as tensors, a network, and optimisations in a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pr12.core import checkpoints, determinism
from pr12.core.checkpoints import State
from pr12.photostyle.data import weights_file
from pr12.photostyle.model import backbones, network_weights, optimise
from pr12.photostyle.model.backbones import Features
from pr12.photostyle.model.deep_photo_style import as_image, as_pixels
from pr12.photostyle.model.optimise import Objective
from pr12.workflow import step
from pr12.workflow.errors import UserError

OFTEN = 50  # iterations after which a state is written: a kill costs no more


class Task(NamedTuple):
    """One image to be optimised."""

    start: Callable[[Mapping[str, Tensor]], Tensor]  # from the images of earlier tasks, by name
    objective: Objective
    iterations: int


class Result(NamedTuple):
    """The image of a task, and its loss with its parts."""

    image: Tensor
    parts: dict[str, float]


def picture(photographs: Mapping[str, Tensor], name: str) -> Tensor:
    """Return a photograph of the step ``photographs`` to the network, shape (1, 3, H, W).

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
    """Return the photographs over which mean activations are taken, shape (N, 3, S, S)."""
    names = sorted(name for name in photographs if name.startswith("photograph/"))
    return torch.cat([picture(photographs, name) for name in names]).cpu()


def features_of(
    params: Any, layers: Sequence[str], photographs: Mapping[str, Tensor], weights: Path | None
) -> Features:
    """Return the network of an experiment.

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


def check_distinct(params: Any) -> None:
    """Refuse a value that stands twice in a list: it would count as two seeds, settings or layers.

    Parameters
    ----------
    params : Params
        Of a step. Numbers are alike if they are to six digits, as names of results write them.

    Raises
    ------
    UserError
        If a list has a value twice; weights by layer (``total_variation``) may be equal.
    """
    for name, values in vars(params).items():
        if isinstance(values, tuple) and name != "total_variation":
            texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
            twice = [text for text in texts if texts.count(text) > 1]
            if twice:
                raise UserError(f"--params.{name} has {twice[0]} twice; remove one")


def completed(job: step.Job, tasks: Mapping[str, Task], history: int) -> dict[str, Result]:
    """Make images one after another; after a kill, go on where it was.

    Parameters
    ----------
    job : Job
        Of the step: beside its outputs lies the checkpoint, which knows source, params and inputs.
    tasks : mapping
        Name -> task.
    history : int
        Of L-BFGS.

    Returns
    -------
    dict of str to Result
        By the tasks' names, in their order.
    """
    lengths = {name: _count(task) for name, task in tasks.items()}
    state = checkpoints.resumed(
        job,
        lambda state: _states(tasks, history, state),
        total=sum(lengths.values()),
        describe=_describe,
        done=lambda state: _done(state, lengths),
    )
    return {name: Result(**state["results"][name]) for name in tasks}


def _states(tasks: Mapping[str, Task], history: int, state: State | None) -> Iterator[State]:
    """Yield a state now and then within each task, and when an image is ready."""
    results = dict(state["results"]) if state else {}
    for name, task in tasks.items():
        if name in results:
            continue
        image = task.start({key: result["image"] for key, result in results.items()})
        before = state["step"] if state and state["task"] == name else None
        for last in optimise.minimise(image, task.objective, task.iterations, history, before):
            image = last.image
            if last.iteration % OFTEN == 0 and last.iteration < task.iterations:
                yield {"results": results, "task": name, "step": last.state, "parts": last.parts}
        with torch.no_grad():
            parts = {key: part.item() for key, part in task.objective(image).items()}
        results = results | {name: {"image": image.clone(), "parts": parts}}
        yield {"results": results, "task": name, "step": None, "parts": parts}


def _count(task: Task) -> int:
    """Return how many states a task yields, unless no step lowers its loss before."""
    return 1 + (task.iterations - 1) // OFTEN


def _done(state: State, lengths: Mapping[str, int]) -> int:
    """Return how many states lie before one, itself included."""
    inside = state["step"]["iteration"] // OFTEN if state["step"] else 0
    return inside + sum(lengths[name] for name in state["results"])


def _describe(state: State) -> str:
    """Return a state in a line."""
    return f"{state['task']}: loss {state['parts']['loss']:.4g}"


def pixels(image: Tensor) -> Tensor:
    """Return an image as figures draw it: uint8 (H, W, 3)."""
    return torch.from_numpy(as_pixels(image))


def as_array(image: Tensor) -> np.ndarray:
    """Return an image to the measures: float64 from 0 to 1, (H, W, 3)."""
    return image[0].detach().cpu().permute(1, 2, 0).double().numpy()
