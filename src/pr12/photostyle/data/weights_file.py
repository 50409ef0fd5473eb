"""Weights of a network from a user's file."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from pr12.core import state_dicts
from pr12.data.fetched import check_raw
from pr12.workflow.errors import UserError


def read_weights(path: Path | str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read the named tensors from a user's file and check them.

    Parameters
    ----------
    path : Path or str
        A safetensors file, or one of `torch.save`, of which nothing is executed. Tensors with other
        names, such as those of a classifier, are not used.
    shapes : mapping of str to tuple of int
        The architecture: name -> shape.

    Returns
    -------
    dict of str to Tensor
        In the order of `shapes`, on the CPU; numbers with a fraction are float32.

    Raises
    ------
    UserError
        If the file cannot be read, is neither of torch nor safetensors, holds more than weights,
        belongs to another architecture or holds numbers that are not finite; below data/raw, if it
        is another one than data/sources.csv lists.

    Examples
    --------
    >>> import tempfile
    >>> from pr12.core import tensor_files
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> tensors = {"conv.bias": torch.ones(2).half(), "fc.bias": torch.ones(5)}
    >>> tensor_files.write_tensors(path, tensors)
    >>> read_weights(path, {"conv.bias": (2,)})
    {'conv.bias': tensor([1., 1.])}
    """
    path = Path(path)
    check_raw(path)
    if state_dicts.is_torch_file(path):
        tensors = state_dicts.load(path)
        _check_shapes(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, shapes)
        weights = {name: state_dicts.as_float32(tensors[name]) for name in shapes}
    else:
        weights = _read_safetensors(path, shapes)
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path} has numbers that are not finite, in {name}; use other weights")
    return weights


def _read_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return the named tensors; of others not even the numbers are read."""
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as stream:
            known = {
                name: tuple(stream.get_slice(name).get_shape())
                for name in shapes.keys() & {*stream.keys()}
            }
            _check_shapes(path, known, shapes)
            return {name: state_dicts.as_float32(stream.get_tensor(name)) for name in shapes}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise state_dicts.not_weights(path) from error


def _check_shapes(
    path: Path, known: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    wrong = [name for name, shape in shapes.items() if known.get(name) != tuple(shape)]
    if wrong:
        name = wrong[0]
        has = f"has the shape {known[name]}" if name in known else "is missing"
        raise UserError(
            f"{path} holds weights of another architecture: {len(wrong)} of {len(shapes)} tensors "
            f"do not fit, the first is {name}, which {has} and should have {tuple(shapes[name])}; "
            "give the weights of this backbone or choose the backbone of these weights"
        )
