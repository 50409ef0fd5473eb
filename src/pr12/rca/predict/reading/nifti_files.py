"""A user's NIfTI files: the header by `pr12.data.nifti`, the voxels by NumPy.

No library opens the file by its name, which need not be UTF-8. Voxels are unpacked straight into
their array, so that no second copy of them is in memory. Where qform and sform disagree the sform
counts, as for nibabel and most viewers, and a note says so.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pr12.data import nifti
from pr12.rca.predict.reading.picture import Picture, first_of, refuse_channels, refuse_huge
from pr12.workflow.errors import UserError

# Datatype in the header -> NumPy's
KINDS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 256: "i1", 512: "u2", 768: "u4",
    1024: "i8", 1280: "u8", 1792: "c16",
}  # fmt: skip
COLOURS = (128, 2304)  # RGB and RGBA
HEAD = 540  # bytes of the longer header
APART = 0.1  # voxels by which the two forms may differ without a word
PADDING = 2**20  # bytes that a file may have beside header and voxels: extensions
CHUNK = 2**22


def read(path: Path, as_labels: bool) -> Picture:
    """Read a NIfTI file, version 1 or 2, as it is stored; scale and offset are applied.

    Parameters
    ----------
    path : Path
        A file named .nii or .nii.gz.
    as_labels : bool
        Whether it is a label map, which has one channel; of an image the first is taken.

    Returns
    -------
    Picture
        Axes (z, y, x), also of one slice.

    Raises
    ------
    UserError
        If the file is not whole, is in colour, or its header tells no grid.
    OSError
        If it cannot be opened.
    """
    header, lengths_of_voxels = _header(path)
    lengths, count = header.shape[:3], math.prod(header.shape[3:])
    if header.datatype in COLOURS:
        channels = 3 + (header.datatype == COLOURS[1])
        raise UserError(f"{path} has {channels} channels of colour; save one channel per file")
    if as_labels:
        refuse_channels(path, count)
    refuse_huge(path, lengths[::-1])
    array = _voxels(path, header, math.prod(lengths)).reshape(lengths[::-1])
    array = array.reshape((*(1,) * (3 - array.ndim), *array.shape))
    form = nifti.form(header)
    notes = first_of(count)
    if form is None:
        return Picture(array, lengths_of_voxels[::-1], None, None, notes)
    try:
        spacing, origin, direction = nifti.grid(form)
    except ValueError:
        raise UserError(
            f"the header of {path} tells no grid (it has NaN, infinity or an axis without length); "
            "write the file anew"
        ) from None
    return Picture(
        array, spacing[::-1], origin, direction, (*notes, *_disagreement(header, min(spacing)))
    )


def _header(path: Path) -> tuple[nifti.Header, tuple[float, ...]]:
    """Return the header, and the lengths of a voxel along x, y, z, which count without a form."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            content = (gzip.GzipFile(fileobj=stream) if packed else stream).read(HEAD)
        header = nifti.read_header(content)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError):
        raise _damaged(path) from None
    kind, where, count = nifti.FIELDS[header.version]["pixdim"]
    lengths = np.frombuffer(content, header.order + kind, count, where)[1:4].tolist()
    return header, tuple(step if 0 < step < math.inf else 1.0 for step in lengths)


def _voxels(path: Path, header: nifti.Header, count: int) -> np.ndarray:
    """Return the first voxels in the file's order, scaled."""
    if header.datatype not in KINDS:
        raise UserError(
            f"{path} has voxels of NIfTI's datatype {header.datatype}, which is not read; "
            "save it as whole numbers or single precision"
        )
    kind = np.dtype(header.order + KINDS[header.datatype])
    if not 0 <= header.offset <= PADDING:
        raise _damaged(path)
    start = max(int(header.offset), 348 if header.version == 1 else HEAD)
    values = np.empty(count, kind)
    rest = kind.itemsize * (math.prod(header.shape) - count)
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            _unpack(gzip.GzipFile(fileobj=stream) if packed else stream, start, values, rest)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise _damaged(path) from None
    values = values.astype(kind.newbyteorder("="), copy=False)
    if header.slope in (0.0, 1.0) and (header.slope == 0 or header.intercept == 0):
        return values
    if kind.kind == "c" or not math.isfinite(header.slope * header.intercept):
        return values  # as nibabel and SimpleITK do; complex numbers are refused by their type
    scaled = values.astype(np.float32 if kind.itemsize <= 2 else np.float64, copy=False)
    scaled *= header.slope
    scaled += header.intercept
    return scaled


def _unpack(stream: BinaryIO, start: int, values: np.ndarray, rest: int) -> None:
    """Fill an array with voxels, and read the others to the end, where the check sum stands."""
    if len(stream.read(start)) < start:
        raise EOFError
    target, place = memoryview(values.view(np.uint8)), 0
    while place < len(target):
        count = stream.readinto(target[place : place + CHUNK])
        if not count:
            raise EOFError
        place += count
    left = rest + PADDING
    while (count := len(stream.read(CHUNK))) and left >= 0:
        left -= count
        rest -= count
    if rest > 0 or left < 0:
        raise EOFError


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is not a whole NIfTI file; write or copy it anew")


def _disagreement(header: nifti.Header, smallest: float) -> list[str]:
    apart = nifti.disagreement(header)
    if apart <= APART * smallest:
        return []
    return [f"its qform and sform put voxels up to {apart:.4g} mm apart; the sform was taken"]
