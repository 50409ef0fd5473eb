"""What a training leaves: parameters at several moments, and what they belong to, in one file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pr12.core import determinism, tensor_files
from pr12.vae.model.networks import Architecture, Parameters, initial
from pr12.workflow.errors import UserError


class Saved(NamedTuple):
    """What a training leaves: the parameters at P moments, and what they belong to."""

    architecture: Architecture
    objective: str
    samples_seen: tuple[int, ...]  # P moments, as numbers of training samples seen
    parameters: Parameters  # each (P, S, ...)


def save(path: Path | str, saved: Saved) -> None:
    """Write what a training leaves.

    Parameters
    ----------
    path : Path or str
        A safetensors file.
    saved : Saved
        Parameters, each (P, S, ...), and what they belong to.
    """
    description = saved.architecture._asdict() | {
        "objective": saved.objective,
        "samples_seen": list(saved.samples_seen),
    }
    # One text only: safetensors writes several in an order that changes from run to run.
    tensor_files.write_tensors(
        path, saved.parameters, {"model": json.dumps(description, sort_keys=True)}
    )


def of_state(state: Mapping[str, Any], architecture: Architecture, objective: str) -> Saved:
    """Return what the last state of a training leaves.

    Parameters
    ----------
    state : mapping
        As `training.advanced` gives it; its snapshots are joined.
    architecture : Architecture
        Of the nets.
    objective : str
        What they were trained by.
    """
    moments = state["snapshots"]
    joined = {name: torch.stack([moment[name] for moment in moments]) for name in moments[0]}
    return Saved(architecture, objective, tuple(state["samples_seen"]), joined)


def load(path: Path | str, pixels: int | None = None) -> Saved:
    """Read what a training left, on the device that computes.

    Parameters
    ----------
    path : Path or str
        As `save` wrote it.
    pixels : int, optional
        D of the data that shall be encoded.

    Raises
    ------
    UserError
        If the file is no model of this paper, its tensors are not those of its architecture, or
        it belongs to images of another size, or its training diverged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> architecture = Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = initial(architecture, [0], "normal", 0.1)
    >>> moments = {name: value[None] for name, value in parameters.items()}
    >>> save(path, Saved(architecture, "sgvb_b", (100,), moments))
    >>> load(path).samples_seen
    (100,)
    >>> load(path, pixels=9)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: ...model.safetensors was trained on images of 4 pixels and the \
data have 9; give it the data of its own case
    """
    tensors = tensor_files.read_tensors(path)
    try:
        description = json.loads(tensor_files.read_metadata(path)["model"])
        objective, samples_seen = description.pop("objective"), description.pop("samples_seen")
        moments = tuple(samples_seen)
        architecture = Architecture(**description)._replace(hidden=tuple(description["hidden"]))
        nets = initial(architecture, [0], "normal", 1.0)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, ZeroDivisionError):
        raise UserError(f"{path} is no model of vae; give a file that vae.train wrote") from None
    wanted = {name: value.shape[1:] for name, value in nets.items()}
    if objective == "mcem":  # it has no encoder
        wanted = {name: shape for name, shape in wanted.items() if name.startswith("decoder")}
    for name in sorted(wanted.keys() | tensors.keys()):
        shape = tensors[name].shape[2:] if name in tensors else None
        if shape is None or name not in wanted or shape != wanted[name]:
            raise UserError(
                f"{path} holds parameters of another architecture than it names (at {name}); "
                "delete it and run its training again"
            )
    if pixels is not None and pixels != architecture.pixels:
        raise UserError(
            f"{path} was trained on images of {architecture.pixels} pixels and the data have "
            f"{pixels}; give it the data of its own case"
        )
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise UserError(f"{path} has parameters that are no finite numbers; train it anew")
    moved = {name: value.to(determinism.device()) for name, value in tensors.items()}
    return Saved(architecture, objective, moments, moved)


def at(saved: Saved, moment: int) -> Parameters:
    """Return the parameters at one moment of the training.

    Parameters
    ----------
    saved : Saved
        What the training left.
    moment : int
        Index into ``samples_seen``; -1 for the end.

    Returns
    -------
    dict of str to Tensor
        Each (S, ...).

    Examples
    --------
    >>> saved = Saved(Architecture(4, (), 2, "linear"), "sgvb_b", (1, 2), {"a": torch.eye(2)})
    >>> at(saved, -1)
    {'a': tensor([0., 1.])}
    """
    return {name: value[moment] for name, value in saved.parameters.items()}
