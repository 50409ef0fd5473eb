"""The three formats a user's pictures come in: NIfTI, PNG and NumPy.

Each reader gives the array as it is stored and what its header says of the grid; what the values
may be is decided in `pr12.rca.predict.files`. What a library does not tell is looked at first:
SimpleITK fills a NIfTI file that was cut off with zeros and sets NaN to zero, and Pillow cuts
colours of 16 bit to 8.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from PIL import Image

from pr12.rca.data.intensity import refuse_not_finite
from pr12.workflow.errors import UserError

SUFFIXES = (".nii.gz", ".nii", ".png", ".npy")
FLOATS = {16: "f4", 64: "f8"}  # NIfTI's datatype -> NumPy's
sitk.ProcessObject.GlobalWarningDisplayOff()  # what goes wrong is answered below


class Picture(NamedTuple):
    """An image or a label map, and the grid its header tells.

    `array` has the axes (z, y, x) or (y, x). `spacing` is in mm along each of them, 1.0 where there
    is no header. `origin` and `direction` are SimpleITK's: the place of the first voxel along x, y
    (and z), in mm, and the matrix whose columns are the directions of the axes x, y (and z), row by
    row; both are None for PNG and NumPy.
    """

    array: np.ndarray
    spacing: tuple[float, ...]
    origin: tuple[float, ...] | None
    direction: tuple[float, ...] | None


def suffix(path: Path) -> str:
    """Give the suffix by which a file's format is known, in lower case, or "" for no known format.

    Parameters
    ----------
    path : Path
        A file name.

    Examples
    --------
    >>> suffix(Path("a.b.NII.GZ")), suffix(Path("a.png")), suffix(Path("a.jpg"))
    ('.nii.gz', '.png', '')
    """
    return next((known for known in SUFFIXES if path.name.lower().endswith(known)), "")


def read(path: Path, colours_are_labels: bool) -> Picture:
    """Read a picture of one channel, 2-D or 3-D, as it is stored.

    A 3-D file with one slice is 2-D: the axis of length one is dropped, and so is its place.

    Parameters
    ----------
    path : Path
        A file named .nii, .nii.gz, .png or .npy.
    colours_are_labels : bool
        Whether a PNG with a palette of colours holds labels: the numbers of the colours.

    Returns
    -------
    Picture
        Of any type of number.

    Raises
    ------
    UserError
        If the file cannot be read, is not whole, holds no numbers, has several channels or is
        neither 2-D nor 3-D.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.zeros((1, 4, 5)))
    >>> read(path, colours_are_labels=False).array.shape
    (4, 5)
    """
    kind = suffix(path)
    if not kind:
        raise UserError(f"{path} is none of {', '.join(SUFFIXES)}; save it as one of them")
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise UserError(f"{path} is empty (0 bytes); write it anew")
        if kind == ".png":
            picture = _read_png(path, colours_are_labels)
        else:
            picture = _read_numpy(path) if kind == ".npy" else _read_nifti(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    array = picture.array
    if array.dtype.kind not in "biuf":
        raise UserError(f"{path} holds values of type {array.dtype}; they must be real numbers")
    if array.ndim not in (2, 3):
        raise UserError(f"{path} is {array.ndim}-D; save one 2-D or 3-D picture of one channel")
    picture = _without_single_slice(picture)
    if min(picture.array.shape) < 2:
        raise UserError(f"{path} has the shape {array.shape}; a picture has two long axes at least")
    return picture


def _without_single_slice(picture: Picture) -> Picture:
    array, spacing, origin, direction = picture
    if array.ndim == 2 or 1 not in array.shape:
        return picture
    axis = array.shape.index(1)
    array = array.squeeze(axis)
    spacing = tuple(np.delete(spacing, axis).tolist())
    if direction is None:
        return Picture(array, spacing, None, None)
    # Seen along the physical axis that is nearest to the normal of the slice
    matrix = np.delete(np.reshape(direction, (3, 3)), 2 - axis, axis=1)
    normal = np.reshape(direction, (3, 3))[:, 2 - axis]
    seen = np.argmax(np.abs(normal))
    matrix = np.delete(matrix, seen, axis=0)
    origin = np.delete(origin, seen)
    return Picture(array, spacing, tuple(origin.tolist()), tuple(matrix.ravel().tolist()))


def _refuse_damage(path: Path) -> None:
    """Refuse a NIfTI file that SimpleITK would repair without a word (fields of nifti1.h)."""
    damaged = UserError(f"{path} is not a whole NIfTI file; write or copy it anew")
    content = path.read_bytes()
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)  # compares its checksum, too
        if content[:4] in (struct.pack("<i", 540), struct.pack(">i", 540)):
            raise UserError(
                f"{path} is NIfTI-2, which SimpleITK cannot read; convert it to NIfTI-1"
            )
        order = "<" if content[:4] == struct.pack("<i", 348) else ">"
        rank, *shape = struct.unpack_from(f"{order}8h", content, 40)
        kind, bits = struct.unpack_from(f"{order}2h", content, 70)
        (start,) = struct.unpack_from(f"{order}f", content, 108)
        count = math.prod(shape[:rank])
        if not 1 <= rank <= 7 or min(shape[:rank]) < 1:
            raise damaged
        if not 0 <= start <= start + count * bits / 8 <= len(content):
            raise damaged
        values = np.frombuffer(content, order + FLOATS.get(kind, "u1"), count, int(start))
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error, ValueError):
        raise damaged from None
    refuse_not_finite(values, str(path))


def _read_nifti(path: Path) -> Picture:
    _refuse_damage(path)
    try:
        image = sitk.ReadImage(str(path), imageIO="NiftiImageIO")
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise UserError(
                f"the axes in the header of {path} are not at right angles; "
                "resample it to a grid with right angles"
            ) from None
        raise UserError(
            f"SimpleITK cannot read {path} as NIfTI; convert it anew "
            "(a gzipped file must be named .nii.gz)"
        ) from None
    if image.GetNumberOfComponentsPerPixel() > 1:
        channels = image.GetNumberOfComponentsPerPixel()
        raise UserError(f"{path} has {channels} channels; save one channel per file")
    grid = (image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection())
    if not all(np.isfinite(numbers).all() for numbers in grid):
        raise UserError(f"the header of {path} tells no grid (it has NaN); write the file anew")
    return Picture(sitk.GetArrayFromImage(image), *grid)


def _read_png(path: Path, colours_are_labels: bool) -> Picture:
    try:
        with path.open("rb") as stream:
            depth, colours = stream.read(26)[24:26]  # bit depth and colour type, PNG sec. 11.2.2
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, PermissionError | FileNotFoundError):
            raise
        raise UserError(f"{path} is not a whole PNG file; write or copy it anew") from None
    if colours and depth == 16:
        raise UserError(f"{path} is a PNG of 16 bit with more than one channel; save it as grey")
    if picture.mode == "P":
        palette = np.reshape(picture.getpalette("RGB"), (-1, 3))
        if colours_are_labels and (palette != palette[:, :1]).any():
            return _without_header(np.asarray(picture))
        picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    if picture.mode in ("LA", "RGBA"):
        if (pixels[..., -1] < 255).any():
            raise UserError(f"{path} is transparent in places; save it as grey without alpha")
        pixels = pixels[..., :-1]
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise UserError(f"{path} is a colour picture; save it as grey, with one channel")
        pixels = pixels[..., 0]
    return _without_header(pixels)


def _read_numpy(path: Path) -> Picture:
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise UserError(
                f"{path} is not a NumPy array (archives and pickles are not opened); "
                "save one array with numpy.save"
            )
    try:
        return _without_header(np.load(path, mmap_mode=None, allow_pickle=False))
    except OSError:
        raise
    except Exception as error:  # its parser of damaged headers raises errors of many types
        if "Object arrays" in str(error):
            raise UserError(
                f"{path} holds pickled objects, which are not opened; "
                "save a plain array of numbers with numpy.save"
            ) from None
        raise UserError(f"{path} is not a whole NumPy file; write or copy it anew") from None


def _without_header(array: np.ndarray) -> Picture:
    return Picture(array, (1.0,) * array.ndim, None, None)
