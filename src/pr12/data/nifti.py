"""Read a NIfTI volume that may be damaged.

SimpleITK gives zeros, without a word, for what is missing in a file that ends too early, and for
voxels that are NaN or infinite; and it does not look at the check sum of a packed file. So a file
is unpacked and looked at first.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

FLOATS = {"16": "f4", "64": "f8"}  # code in the head -> type of voxels that may be NaN


class Volume(NamedTuple):
    """A volume and the geometry that its header gives it."""

    voxels: np.ndarray  # (z, y, x), of the file's own type
    spacing: tuple[float, ...]  # mm along x, y, z
    direction: tuple[float, ...]  # of the axes x, y, z: nine cosines, row by row


def read_volume(path: Path | str, largest: int) -> Volume:
    """Read a NIfTI file, ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    path : Path or str
        The file.
    largest : int
        Bytes that the file may have when it is unpacked: no small file can fill the memory.

    Raises
    ------
    ValueError
        If it is not a whole NIfTI file with one finite number per voxel of three dimensions; the
        message is what follows the file's name in a sentence, as in the example.

    Examples
    --------
    >>> read_volume("/dev/null", 1000)
    Traceback (most recent call last):
    ...
    ValueError: is not a file
    """
    # Here and not above: it costs a third of a second, and `fetch` seldom needs it.
    import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

    content = _unpacked(Path(path), largest)
    if content[344:348] != b"n+1\0" and content[4:8] != b"n+2\0":
        raise ValueError("is not a NIfTI file")  # SimpleITK might take it for another format
    sitk.ProcessObject.GlobalWarningDisplayOff()  # what goes wrong is told below
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
            raise ValueError("does not have one number per voxel of three dimensions")
        count, bits = math.prod(reader.GetSize()), int(reader.GetMetaData("bitpix"))
        # The offset is a float and may be anything, also NaN: then it is taken for 0.
        offset = max(0.0, float(reader.GetMetaData("vox_offset")))
        if len(content) < offset + count * bits / 8:
            raise ValueError("ends before its last voxel")
        if kind := FLOATS.get(reader.GetMetaData("datatype")):
            order = "<" if content[0] else ">"  # the first of four bytes of the number 348
            if not np.isfinite(np.frombuffer(content, order + kind, count, int(offset))).all():
                raise ValueError("has voxels that are NaN or infinite")
        image = reader.Execute()
    except RuntimeError:
        raise ValueError("is not a NIfTI file") from None
    return Volume(sitk.GetArrayFromImage(image), image.GetSpacing(), image.GetDirection())


def _unpacked(path: Path, largest: int) -> bytes:
    if not path.is_file():
        raise ValueError("is not a file" if path.exists() else "is missing")
    try:
        with open(path, "rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            source = gzip.GzipFile(fileobj=stream) if packed else stream
            content = source.read(largest + 1)  # to the end: the check sum stands there
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ValueError("is not a whole .gz file") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if len(content) > largest:
        raise ValueError(f"has more than {largest} bytes")
    return content
