"""Trained nets in files: those of a row of Table 1, or the replicas of one architecture."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pr12.core import determinism, tensor_files
from pr12.stn.model import digit_networks
from pr12.workflow.errors import UserError

# What a file of another kind may lead to; torch raises RuntimeError
OTHER_KIND = (
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    RuntimeError,
    TypeError,
    UserError,
    ValueError,
)


def load(path: Path | str) -> dict[tuple[str, int], digit_networks.Network]:
    """Return the nets that `pr12.stn.train` wrote.

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
    >>> tensor_files.write_tensors(path, {"R/0/weight": torch.zeros(1)})
    >>> load(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: ...model.safetensors holds no nets of stn.train; \
give a file that it wrote
    """
    tensors = tensor_files.read_tensors(path)
    nets = {}
    try:
        built = json.loads(tensor_files.read_metadata(path)["built"])
        shape = [built[key] for key in ("network", "transform", "transformers", "pooling")]
        for distortion in built["distortions"]:
            for seed in built["seeds"]:
                net = digit_networks.build(*shape, distortion, built["parameters"])
                prefix = f"{distortion}/{seed}/"
                parameters = {
                    key.removeprefix(prefix): value
                    for key, value in tensors.items()
                    if key.startswith(prefix)
                }
                nets[distortion, seed] = _ready(net, parameters)
    except OTHER_KIND:
        raise _not_nets(path, "stn.train") from None
    if not nets:
        raise _not_nets(path, "stn.train")
    return nets


def write_replicas(
    path: Path | str, replicas: Sequence[Mapping[str, Tensor]], description: Mapping[str, Any]
) -> None:
    """Write the parameters of nets that differ in their seeds only, for `load_replicas`.

    Parameters
    ----------
    path : Path or str
        The safetensors file.
    replicas : sequence of mapping
        Name -> parameter, of each seed's net; all of the same shapes.
    description : mapping
        What building the nets again takes; its ``seeds`` are those of the nets.

    Examples
    --------
    See `load_replicas`.
    """
    stacked = {name: torch.stack([net[name] for net in replicas]) for name in replicas[0]}
    # One text only: safetensors writes several in an order that changes from run to run.
    tensor_files.write_tensors(path, stacked, {"model": json.dumps(description, sort_keys=True)})


def load_replicas(
    path: Path | str, step: str, build: Callable[[dict[str, Any]], nn.Module]
) -> tuple[dict[str, Any], list[nn.Module]]:
    """Return the nets of all seeds, to be evaluated, on the device that computes.

    Parameters
    ----------
    path : Path or str
        As `write_replicas` wrote it.
    step : str
        Which step did, for the message.
    build : callable
        Description -> net with any parameters; one that cannot be raises what it likes.

    Returns
    -------
    description : dict
        As given to `write_replicas`.
    nets : list of nn.Module
        One per seed.

    Raises
    ------
    UserError
        If the file is missing or holds no such nets.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write_replicas(path, [nn.Linear(2, 3).state_dict()], {"seeds": [7], "width": 2})
    >>> load_replicas(path, "stn.train_parts", lambda description: nn.Linear(2, 3))
    ({'seeds': [7], 'width': 2}, [Linear(in_features=2, out_features=3, bias=True)])
    """
    tensors = tensor_files.read_tensors(path)
    try:
        description = json.loads(tensor_files.read_metadata(path)["model"])
        nets = [
            _ready(build(description), {name: value[i] for name, value in tensors.items()})
            for i in range(len(description["seeds"]))
        ]
    except OTHER_KIND:
        raise _not_nets(path, step) from None
    if not nets:
        raise _not_nets(path, step)
    return description, nets


def _ready(net: nn.Module, parameters: Mapping[str, Tensor]) -> nn.Module:
    """Return a net with given parameters, on the device and ready to be evaluated."""
    net.load_state_dict(parameters, strict=True)
    return net.to(determinism.device(), memory_format=torch.channels_last).eval()


def _not_nets(path: Path | str, step: str) -> UserError:
    """Return what to say of a file that is not a step's."""
    return UserError(f"{path} holds no nets of {step}; give a file that it wrote")
