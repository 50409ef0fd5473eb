"""The two formats of files of `torch.save`: where the tensors are, and how to fetch their numbers.

Since torch 1.6 a zip archive of ``data.pkl`` and one record per storage; before, five
pickles in a row (magic number, version, machine, the state dict, the list of storages) and behind
them each storage's number of numbers and its numbers. VGG-19's weights of torchvision are of the
old format. Source: torch/serialization.py.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from pr12.photostyle.plain_pickle import show, walk
from pr12.photostyle.stored_tensors import Storage, StoredTensor

MAGIC_NUMBER, VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the old format
LARGEST_PICKLE = 4 * 2**20  # bytes; a tensor's place takes about 100

Fetch = Callable[[Storage, int, int], np.ndarray]


class UnfitError(Exception):
    """What is wrong with a file that is not damaged, and what to do."""


def _check_state(state: object) -> dict[str, StoredTensor]:
    if not isinstance(state, dict):
        raise UnfitError("holds no state dict; write it with torch.save(model.state_dict(), path)")
    storages: dict[str, Storage] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, StoredTensor):
            raise UnfitError(
                f"holds more than a state dict: {show(str(name))} is not a tensor; "
                "write it with torch.save(model.state_dict(), path)"
            )
        if type(name) is not str or not name.isprintable() or not name:
            raise ValueError(f"a tensor is called {show(str(name))}")
        known = storages.setdefault(tensor.storage.key, tensor.storage)
        if (known.dtype, known.size) != (tensor.storage.dtype, tensor.storage.size):
            raise ValueError("a storage has two types or sizes")
    return state


def open_old(stream: BinaryIO) -> tuple[dict[str, StoredTensor], Fetch]:
    """Find the tensors in a file of five pickles and storages.

    Parameters
    ----------
    stream : binary file
        A file of the disk, open as long as numbers are fetched.

    Returns
    -------
    dict of str to StoredTensor
        Name -> where its numbers are.
    callable
        (storage, low, high) -> the numbers `low` to `high` of a storage, type `Storage.item`.

    Raises
    ------
    UnfitError, RefusedError, ValueError
        If it is none, wants to call something, or is damaged.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryFile() as stream:
    ...     torch.save({"a": torch.ones(2)}, stream, _use_new_zipfile_serialization=False)
    ...     state, fetch = open_old(stream)
    ...     fetch(state["a"].storage, 0, 2)
    array([1., 1.], dtype=float32)
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    pickles = io.BytesIO(stream.read(LARGEST_PICKLE))
    magic_number, version, machine = walk(pickles), None, None
    if type(magic_number) is int and magic_number == MAGIC_NUMBER:
        version, machine = walk(pickles), walk(pickles)
    if type(version) is not int or version != VERSION:
        raise UnfitError("is a pickle, but not one of torch.save")
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise UnfitError("was written by a machine of another byte order; it is not read")
    state, keys = _check_state(walk(pickles)), walk(pickles)
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise ValueError("the list of storages is none")
    storages = {tensor.storage.key: tensor.storage for tensor in state.values()}
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise ValueError("the list of storages is not that of the tensors")
    position, positions = pickles.tell(), {}
    for key in keys:
        stream.seek(position)
        length = int.from_bytes(stream.read(8), "little", signed=True)
        if length != storages[key].size:
            raise ValueError("a storage has another size than its tensors say")
        positions[key] = position + 8
        position += 8 + length * storages[key].item.itemsize
        if position > size:
            raise ValueError(f"it ends at byte {size}, inside of a storage")

    def fetch(storage: Storage, low: int, high: int) -> np.ndarray:
        stream.seek(positions[storage.key] + low * storage.item.itemsize)
        return np.fromfile(stream, storage.item, high - low)

    return state, fetch


def open_zip(stream: BinaryIO) -> tuple[dict[str, StoredTensor], Fetch]:
    """Find the tensors in a zip archive.

    Parameters
    ----------
    stream : binary file
        Open as long as numbers are fetched.

    Returns
    -------
    dict of str to StoredTensor
        Name -> where its numbers are.
    callable
        (storage, low, high) -> the numbers `low` to `high` of a storage, type `Storage.item`.

    Raises
    ------
    UnfitError, RefusedError, ValueError
        If it is none, wants to call something, or is damaged; also what `zipfile` raises.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryFile() as stream:
    ...     torch.save({"a": torch.ones(2)}, stream, _use_new_zipfile_serialization=True)
    ...     state, fetch = open_zip(stream)
    ...     fetch(state["a"].storage, 0, 2)
    array([1., 1.], dtype=float32)
    """
    archive = zipfile.ZipFile(stream)
    records = {record.filename: record for record in archive.infolist()}
    if len(records) != len(archive.infolist()):
        raise ValueError("a record is there twice")
    size = stream.seek(0, io.SEEK_END)
    for name, record in records.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise UnfitError(f"has a record outside of itself, {show(name)}; it is not read")
        # torch packs nothing, so no record can be larger than the file
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise UnfitError(f"has a packed record, {show(name)}; torch.save packs none")
        if record.file_size > size:
            raise ValueError(f"the record {show(name)} is larger than the file")
    pickles = [name for name in records if PurePosixPath(name).parts[1:] == ("data.pkl",)]
    if len(pickles) != 1:
        raise UnfitError("is a zip archive, but not one of torch.save: it lacks data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in records and archive.read(f"{root}byteorder") != b"little":
        raise UnfitError("was written by a machine of another byte order; it is not read")
    if records[pickles[0]].file_size > LARGEST_PICKLE:
        raise ValueError(f"its data.pkl has more than {LARGEST_PICKLE} bytes")
    state = _check_state(walk(io.BytesIO(archive.read(pickles[0]))))
    for storage in (tensor.storage for tensor in state.values()):
        record = records.get(f"{root}data/{storage.key}")
        if record is None or record.file_size != storage.size * storage.item.itemsize:
            raise ValueError("a storage is missing or has another size than its tensors say")

    def fetch(storage: Storage, low: int, high: int) -> np.ndarray:
        # all of it, so that its checksum is looked at
        return np.frombuffer(archive.read(f"{root}data/{storage.key}"), storage.item)[low:high]

    return state, fetch
