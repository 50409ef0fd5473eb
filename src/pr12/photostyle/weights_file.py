"""Weights of a network from a safetensors file, which holds numbers only."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from pr12.photostyle import torch_file
from pr12.shared.errors import UserError


def read_weights(path: Path | str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read the named tensors from a user's safetensors file and check them.

    Parameters
    ----------
    path : Path or str
        The file. Tensors with other names, such as those of a classifier, are not read.
    shapes : mapping of str to tuple of int
        The architecture: name -> shape.

    Returns
    -------
    dict of str to Tensor
        In the order of `shapes`, on the CPU; numbers with a fraction are float32.

    Raises
    ------
    UserError
        If the file cannot be read, is a pickle, is not safetensors, belongs to another architecture
        or holds numbers that are not finite.

    Examples
    --------
    >>> import tempfile
    >>> from pr12.shared import tensor_files
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> tensors = {"conv.bias": torch.ones(2).half(), "fc.bias": torch.ones(5)}
    >>> tensor_files.write_tensors(path, tensors)
    >>> read_weights(path, {"conv.bias": (2,)})
    {'conv.bias': tensor([1., 1.])}
    """
    path = Path(path)
    if torch_file.is_pickled(path):
        raise UserError(
            f"{path} is pickled, and a pickle can run any program; "
            f"turn it into safetensors with {_conversion(path)}"
        )
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as stream:
            names = set(stream.keys())
            found = {
                name: tuple(stream.get_slice(name).get_shape()) for name in shapes if name in names
            }
            _check_shapes(path, found, shapes)
            weights = {name: _as_float32(stream.get_tensor(name)) for name in shapes}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _not_safetensors(path) from error
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path} has numbers that are not finite, in {name}; use other weights")
    return weights


def read_state(path: Path | str, prefix: str) -> dict[str, Tensor]:
    """Read the tensors whose names begin with `prefix` from a file of torch or safetensors.

    Parameters
    ----------
    path : Path or str
        A file of `torch.save`, of which nothing is executed, or a safetensors file.
    prefix : str
        Such as ``features.``; "" for all.

    Returns
    -------
    dict of str to Tensor
        Name (with the prefix) -> tensor; numbers with a fraction are float32.

    Raises
    ------
    UserError
        If the file cannot be read, holds more than plain tensors, or has nothing under the prefix.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.pth"
    >>> torch.save({"features.0.bias": torch.ones(2), "classifier.bias": torch.zeros(3)}, path)
    >>> read_state(path, "features.")
    {'features.0.bias': tensor([1., 1.])}
    """
    path = Path(path)
    if torch_file.is_pickled(path):
        arrays = torch_file.read(path, prefix)
        return {name: _as_float32(torch.from_numpy(array)) for name, array in arrays.items()}
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as stream:
            names = list(stream.keys())
            kept = [name for name in names if name.startswith(prefix)]
            tensors = {name: _as_float32(stream.get_tensor(name)) for name in kept}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _not_safetensors(path) from error
    if not tensors:
        first = ", ".join(sorted(names)[:3]) or "none"
        raise UserError(f"{path} has no tensor under {prefix!r}; its first names are {first}")
    return tensors


def _check_shapes(
    path: Path, found: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    wrong = [name for name, shape in shapes.items() if found.get(name) != tuple(shape)]
    if wrong:
        name = wrong[0]
        has = f"has the shape {found[name]}" if name in found else "is missing"
        raise UserError(
            f"{path} holds weights of another architecture: {len(wrong)} of {len(shapes)} tensors "
            f"do not fit, the first is {name}, which {has} and should have {tuple(shapes[name])}; "
            "give the weights of this backbone or choose the backbone of these weights"
        )


def _as_float32(tensor: Tensor) -> Tensor:
    # the count of batches that batch normalisation has seen stays a whole number
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def _not_safetensors(path: Path) -> UserError:
    return UserError(
        f"{path} is not a whole safetensors file; give weights written by safetensors, "
        "or download or copy them again"
    )


def _conversion(path: Path) -> str:
    made = path.with_suffix(".safetensors")
    made = made.with_stem(f"{path.stem}_plain") if made == path else made
    words = ["python", "-m", "pr12.photostyle.weights", "--params", json.dumps({"prefix": ""})]
    return shlex.join([*words, f"raw={path}", f"weights={made}"])
