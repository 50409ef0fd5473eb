"""A user's NRRD and MetaImage files (.nrrd, .seg.nrrd, .mha, .mhd), by SimpleITK.

SimpleITK says on the terminal what it thinks of a file that ends too early, and does not look at
check sums, so that damaged voxels would pass: both are looked at first.
"""

import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from pr12.rca.predict.reading.picture import Picture, first_of, refuse_channels, refuse_huge
from pr12.workflow.errors import UserError

READERS = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
HEAD = 2**16  # bytes in which a header ends
CHUNK = 2**20
VECTORS = (b"dimsize", b"elementspacing", b"elementsize", b"offset", b"position", b"origin",
           b"centerofrotation")  # fmt: skip
MATRICES = (b"transformmatrix", b"rotation", b"orientation")
PACKED = {b"gzip": zlib.MAX_WBITS | 16, b"gz": zlib.MAX_WBITS | 16, b"true": zlib.MAX_WBITS}


class Voxels(NamedTuple):
    """Where a header says that the voxels lie, and how they are packed."""

    path: Path
    start: int
    packing: bytes  # as in the header, in lower case


def voxels(path: Path) -> Voxels | None:
    """Return where a file's voxels lie, or None where they are not simply bytes of one file.

    Parameters
    ----------
    path : Path
        A file named .nrrd, .mha or .mhd.

    Raises
    ------
    UserError
        If it is a MetaImage whose header is damaged: the library would write beyond its arrays.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    return _of_nrrd(path, head) if path.suffix.lower() == ".nrrd" else _of_metaimage(path, head)


def _of_nrrd(path: Path, head: bytes) -> Voxels | None:
    gap = b"\r\n\r\n" if b"\r\n\r\n" in head else b"\n\n"
    end = head.find(gap) + len(gap) if gap in head else 0
    fields = _fields(head[:end], b":")
    packing = fields.get(b"encoding", b"").lower()
    known = packing in (*PACKED, b"raw") and b"data file" not in fields
    return Voxels(path, end, packing) if known else None


def _of_metaimage(path: Path, head: bytes) -> Voxels | None:
    place = head.find(b"ElementDataFile")
    end = head.find(b"\n", place) + 1 if place >= 0 else 0
    fields = _fields(head[:end], b"=")
    axes = fields.get(b"ndims", b"")
    counts = [(name, 1) for name in VECTORS] + [(name, 2) for name in MATRICES]
    if axes not in (b"2", b"3", b"4") or any(
        len(fields[name].split()) != int(axes) ** power for name, power in counts if name in fields
    ):
        raise _damaged(path)
    name = fields.get(b"elementdatafile", b"").decode(errors="surrogateescape")
    packed = fields.get(b"compresseddata", b"")[:1].lower() in (b"t", b"1")
    packing = b"true" if packed else b"false"
    if name.upper() == "LOCAL":
        return Voxels(path, end, packing)
    skipped = fields.get(b"headersize", b"0")
    if not name or name.upper().startswith("LIST") or "%" in name or skipped != b"0":
        return None
    return Voxels(path.parent / name, 0, packing)


def _damaged(path: Path, reason: str = "") -> UserError:
    kind = "NRRD" if path.suffix.lower() == ".nrrd" else "MetaImage"
    return UserError(f"{path} is not a whole {kind} file{reason}; write or copy it anew")


def _fields(head: bytes, sign: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(sign) for line in head.splitlines())
    return {key.strip().lower(): value.strip() for key, separator, value in pairs if separator}


def read(path: Path, as_labels: bool) -> Picture:
    """Read an NRRD or MetaImage file as it is stored.

    Parameters
    ----------
    path : Path
        A file named .nrrd, .mha or .mhd.
    as_labels : bool
        Whether it is a label map, which has one channel; of an image the first is taken.

    Returns
    -------
    Picture
        Axes (z, y, x) or (y, x), with the names of segments that Slicer writes.

    Raises
    ------
    UserError
        If the file is not whole.
    OSError
        If it cannot be opened.
    """
    where = voxels(path)
    if not is_unicode(path):
        raise UserError(f"the name of {path} is not UTF-8, which its format needs; rename it")
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[path.suffix.lower()])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        shape = reader.GetSize()[::-1]
        refuse_huge(path, shape)
        if where and not _is_whole(where, _bytes(reader)):
            raise RuntimeError
        image = reader.Execute()
    except RuntimeError:
        missing = where and not where.path.is_file()
        raise _damaged(path, f"; {where.path} is missing" if missing else "") from None
    return _picture(path, image, as_labels)


def is_unicode(path: Path) -> bool:
    r"""Tell whether a name is one that SimpleITK can open: it would end the process otherwise.

    Parameters
    ----------
    path : Path
        Of a file or folder.

    Examples
    --------
    >>> is_unicode(Path("a")), is_unicode(Path("\udcff"))
    (True, False)
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes(reader: sitk.ImageFileReader) -> int:
    count = reader.GetNumberOfComponents()
    pixel = sitk.Image([1, 1], reader.GetPixelID(), count)
    return math.prod(reader.GetSize()) * count * pixel.GetSizeOfPixelComponent()


def _is_whole(where: Voxels, expected: int) -> bool:
    """Tell whether all bytes are there, and their check sum is right."""
    if not where.path.is_file():
        return False
    if where.packing not in PACKED:
        return where.path.stat().st_size - where.start >= expected
    unpack = zlib.decompressobj(PACKED[where.packing])
    count = 0
    with where.path.open("rb") as stream:
        stream.seek(where.start)
        try:
            while not unpack.eof and (chunk := stream.read(CHUNK)):
                count += len(unpack.decompress(chunk))
        except zlib.error:
            return False
    return unpack.eof and count >= expected


def _picture(path: Path, image: sitk.Image, as_labels: bool) -> Picture:
    placed = path.suffix.lower() != ".nrrd" or image.HasMetaDataKey("NRRD_space")
    names = _segments(image) if as_labels else {}
    count = image.GetNumberOfComponentsPerPixel()
    lengths = image.GetSize()
    if image.GetDimension() == 4:
        count *= lengths[3]
    if as_labels:
        refuse_channels(path, count)
    if image.GetDimension() == 4:
        image = image[..., 0]
    if image.GetNumberOfComponentsPerPixel() > 1:
        image = sitk.VectorIndexSelectionCast(image, 0)
    spacing, origin, direction = image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    array = sitk.GetArrayFromImage(image)
    if array.ndim not in (2, 3):
        return Picture(array, (1.0,) * array.ndim, None, None)  # refused by its number of axes
    if not placed:
        return Picture(array, spacing[::-1], None, None, first_of(count), names)
    numbers = np.array([*spacing, *origin, *direction])
    matrix = np.reshape(direction, (array.ndim, array.ndim)) * spacing
    lengths = np.sqrt((matrix**2).sum(axis=0))
    if not np.isfinite(numbers).all() or not lengths.all():
        raise UserError(f"the header of {path} tells no grid; write the file anew")
    direction = tuple((matrix / lengths).ravel().tolist())
    return Picture(
        array, tuple(lengths[::-1].tolist()), origin, direction, first_of(count), names
    )  # fmt: skip


def _segments(image: sitk.Image) -> dict[int, str]:
    """Return the names of Slicer's segments by the number in the voxels."""
    names, index = {}, 0
    while image.HasMetaDataKey(f"Segment{index}_LabelValue"):
        number = image.GetMetaData(f"Segment{index}_LabelValue").strip()
        name = f"Segment{index}_Name"
        if number.isdecimal() and image.HasMetaDataKey(name):
            names[int(number)] = image.GetMetaData(name)
        index += 1
    return names
