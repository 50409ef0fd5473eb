"""Read a network's state dict from a file of torch or safetensors; nothing in it is executed.

`torch.load(weights_only=True)` knows the few classes that tensors are made of and refuses every
other name in a pickle. Who reads a file that was fetched asks `pr12.data.fetched` before.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pr12.workflow.errors import UserError

# Tensors may share numbers and records may be packed: a small file can ask for any memory.
LARGEST_GROWTH = 16
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32)
SHOWN = 80  # characters of a text from the file that a message repeats
WRITE = "write it with torch.save(model.state_dict(), path)"


def read(path: Path | str, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix.

    Parameters
    ----------
    path : Path or str
        A file of `torch.save`, or a safetensors file.
    prefix : str
        Such as ``features.``; "" for all.

    Returns
    -------
    dict of str to Tensor
        Name (with the prefix) -> tensor of its own memory; numbers with a fraction are float32.

    Raises
    ------
    UserError
        If the file cannot be read, holds more than plain tensors, would fill far more memory than
        it is large, or has nothing under the prefix.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.pth"
    >>> torch.save({"features.0.bias": torch.ones(2), "classifier.bias": torch.zeros(3)}, path)
    >>> read(path, "features.")
    {'features.0.bias': tensor([1., 1.])}
    """
    path = Path(path)
    tensors = load(path) if is_torch_file(path) else _load_safetensors(path)
    chosen = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not chosen:
        first = ", ".join(_shown(name) for name in sorted(tensors)[:3]) or "none"
        raise UserError(f"{path} has no tensor under {prefix!r}; its first names are {first}")
    _check_growth(path, sum(8 * tensor.numel() for tensor in chosen.values()))
    return {name: as_float32(tensor) for name, tensor in chosen.items()}


def is_torch_file(path: Path) -> bool:
    """Tell by its first bytes, not by its name, whether a file is a pickle or a zip archive.

    Raises
    ------
    UserError
        If it cannot be read.

    Examples
    --------
    >>> is_torch_file(Path("/dev/null"))
    False
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(9)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    # A safetensors file begins with the length of its header, which may look like a pickle's
    # beginning (640 does), and with the header's brace.
    pickle = head[:1] == b"\x80" and b"\x01" <= head[1:2] <= b"\x05"
    return head[8:] != b"{" and (pickle or head[:2] == b"PK")


def load(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a file of `torch.save`, as they are stored: several may share memory.

    Parameters
    ----------
    path : Path
        Of either format: a zip archive, or pickles in a row.

    Raises
    ------
    UserError
        If the file is damaged or cut off, wants to call anything, or holds more than plain tensors.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.pth"
    >>> torch.save({"a": torch.ones(2, dtype=torch.int64)}, path)
    >>> load(path)
    {'a': tensor([1, 1])}
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_growth(path, sum(record.file_size for record in archive.infolist()))
        # Not by its path: torch goes by the name where it ends in .safetensors
        with open(path, "rb") as stream, warnings.catch_warnings(action="ignore"):
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a broken file raises whatever it meets first
        name = re.search(r"GLOBAL (\S+)", str(error))
        if name:
            wish = f"{path} wants to call {_shown(name[1])}"
            raise UserError(f"{wish}; only plain weights are read") from None
        raise UserError(
            f"{path} is damaged or not a file of torch.save; download or copy it again, or {WRITE}"
        ) from error
    if not isinstance(state, Mapping):
        raise UserError(f"{path} holds no state dict; {WRITE}")
    for name, value in state.items():
        if not (isinstance(name, str) and name.isprintable() and _is_plain(value)):
            shown = _shown(str(name))
            raise UserError(
                f"{path} holds more than a state dict: {shown} is not a plain tensor; {WRITE}"
            )
    return {name: value.detach() for name, value in state.items()}


def _is_plain(value: object) -> bool:
    return (
        type(value) in (Tensor, torch.nn.Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in DTYPES
    )


def _check_growth(path: Path, asked: int) -> None:
    size = path.stat().st_size
    if asked > LARGEST_GROWTH * size:
        raise UserError(
            f"{path} has {size} bytes and would fill up to {asked} bytes of memory; it is not read"
        )


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise not_weights(path) from error


def as_float32(tensor: Tensor) -> Tensor:
    """Return a copy in rows; numbers with a fraction become float32.

    The count of batches that batch normalisation has seen stays a whole number.

    Examples
    --------
    >>> as_float32(torch.ones(1).half()), as_float32(torch.tensor(3))
    (tensor([1.]), tensor(3))
    """
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.to(dtype, memory_format=torch.contiguous_format, copy=True)


def not_weights(path: Path) -> UserError:
    """Return what to say of a file that is neither of torch nor whole safetensors."""
    return UserError(
        f"{path} is neither a whole safetensors file nor a file of torch.save; give weights "
        "written by one of them, or download or copy them again"
    )


def _shown(text: str) -> str:
    """Return a text from a file fit for a message: short, and without control characters."""
    return ascii(text[:SHOWN])[1:-1]
