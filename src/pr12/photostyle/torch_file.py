"""Read state dicts from files of `torch.save` without unpickling them."""

import errno
import io
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided

from pr12.photostyle.plain_pickle import RefusedError, show
from pr12.photostyle.stored_tensors import StoredTensor
from pr12.photostyle.torch_containers import Fetch, UnfitError, open_old, open_zip
from pr12.shared.errors import UserError

# Tensors may share numbers, so a small file can ask for any amount of memory.
LARGEST_GROWTH = 16
# What `zipfile` raises for archives that are none.
BROKEN_ZIP = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error)


def is_pickled(path: Path | str) -> bool:
    """Tell by its first bytes, not by its name, whether a file is a pickle or a zip archive.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    UserError
        If it cannot be read.

    Examples
    --------
    >>> is_pickled("/dev/null")
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


def read(path: Path | str, prefix: str = "") -> dict[str, np.ndarray]:
    """Read the tensors of a state dict; nothing in the file is executed.

    Parameters
    ----------
    path : Path or str
        A file of ``torch.save(model.state_dict(), path)``, of either format.
    prefix : str
        Only tensors whose names begin so are read; the others' numbers are passed over.

    Returns
    -------
    dict of str to ndarray
        Name (with the prefix) -> tensor, in the order of the file. bfloat16 becomes float32, other
        types stay. Each tensor has its own memory.

    Raises
    ------
    UserError
        If the file cannot be read, is damaged or cut off, wants to call anything, holds more than
        plain tensors, would fill far more memory than it is large, or has nothing under the prefix.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "a.pth"
    >>> torch.save({"features.0.bias": torch.ones(2), "classifier.bias": torch.zeros(3)}, path)
    >>> read(path, "features.")
    {'features.0.bias': array([1., 1.], dtype=float32)}
    """
    try:
        with open(path, "rb") as stream:
            return _read(stream, prefix)
    except RefusedError as error:
        raise UserError(f"{path} {error}; only plain weights are read") from None
    except UnfitError as error:
        raise UserError(f"{path} {error}") from None
    except (ValueError, *BROKEN_ZIP, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        # an invalid argument is a place before the file's beginning, where a broken archive points
        why = show(str(error)) or type(error).__name__
        raise UserError(f"{path} is damaged ({why}); download or copy it again") from None


def _read(stream: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise UnfitError("is empty; download or copy it again")
    if head[:2] == b"PK":
        state, fetch = open_zip(stream)
    elif head[:1] == b"\x80":
        state, fetch = open_old(stream)
    else:
        raise UnfitError(f"is not a file of torch.save: it begins with {show(repr(head))}")
    tensors = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    if not tensors:
        names = ", ".join(show(name) for name in list(state)[:3]) or "none"
        raise UnfitError(f"has no tensor under {prefix!r}; its first names are {names}")
    asked = sum(8 * math.prod(max(d, 1) for d in tensor.shape) for tensor in tensors.values())
    if asked > LARGEST_GROWTH * size:
        raise UnfitError(
            f"has {size} bytes and would fill up to {asked} bytes of memory; it is not read"
        )
    return _read_tensors(tensors, fetch)


def _read_tensors(tensors: Mapping[str, StoredTensor], fetch: Fetch) -> dict[str, np.ndarray]:
    """Read each storage once, and of it only the part that its tensors reach."""
    reach = {name: tensor.reach() for name, tensor in tensors.items()}
    groups: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(tensor.storage.key, []).append(name)
    arrays = {}
    for names in groups.values():
        low = min(reach[name][0] for name in names)
        high = max(reach[name][1] for name in names)
        numbers = fetch(tensors[names[0]].storage, low, high)
        if len(numbers) != high - low:  # as_strided would read beyond them
            raise ValueError("it became shorter while it was read")
        for name in names:
            tensor = tensors[name]
            first, end = reach[name]
            # the stride of a size of 1 means nothing and may be anything
            steps = [
                step * numbers.itemsize if size > 1 else 0
                for size, step in zip(tensor.shape, tensor.stride, strict=True)
            ]
            part = numbers[first - low : end - low]
            view = as_strided(part, tensor.shape, steps, writeable=False)
            arrays[name] = _as_float32(view) if tensor.storage.dtype == "bfloat16" else view.copy()
    return {name: arrays[name] for name in tensors}


def _as_float32(upper: np.ndarray) -> np.ndarray:
    return (upper.astype(np.uint32, order="C") << np.uint32(16)).view(np.float32)
