"""The formats a user's pictures come in: NIfTI, NRRD, MetaImage, PNG, NumPy, and DICOM by folder.

Each reader returns the array as it is stored and what its header says of the grid; what the values
may be is decided in `pr12.rca.predict.reading.files`. What a library does not tell is looked at
first: Pillow cuts colours of 16 bit to 8.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from pr12.rca.predict.reading import dicom, nifti_files, sitk_files
from pr12.rca.predict.reading.picture import Picture, refuse_flat, refuse_huge, without_header
from pr12.workflow.errors import UserError

SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".mhd", ".png", ".npy")


def suffix(path: Path) -> str:
    """Return the suffix that tells a file's format, in lower case, or "" for no known format.

    Parameters
    ----------
    path : Path
        A file name.

    Examples
    --------
    >>> suffix(Path("a.b.NII.GZ")), suffix(Path("a.seg.nrrd")), suffix(Path("a.jpg"))
    ('.nii.gz', '.seg.nrrd', '')
    """
    return next((known for known in SUFFIXES if path.name.lower().endswith(known)), "")


def listed() -> str:
    """Return the suffixes for a sentence.

    Examples
    --------
    >>> listed()
    '.nii.gz, .nii, .nrrd, .mha, .mhd, .png, .npy'
    """
    return ", ".join(known for known in SUFFIXES if known.count(".") == 1 or known == ".nii.gz")


def parts(path: Path) -> list[Path]:
    """Return all files whose bytes make a picture.

    Parameters
    ----------
    path : Path
        A file or a folder, which need not be there.
    """
    if path.is_dir():
        return sorted(part for part in path.rglob("*") if part.is_file())
    where = None
    if suffix(path) == ".mhd" and path.is_file():
        where = sitk_files.voxels(path)
    return [path, where.path] if where and where.path != path else [path]


def read(path: Path, as_labels: bool) -> Picture:
    """Read a picture of one channel, 2-D or 3-D, as it is stored.

    A 3-D file with one slice is 2-D: the axis of length one is dropped, and so is its place.

    Parameters
    ----------
    path : Path
        A file with one of `SUFFIXES`, or a folder with a DICOM series.
    as_labels : bool
        Whether it is a label map: a PNG with a palette of colours holds the numbers of the colours,
        and there is one channel. Of an image with several the first is taken, with a note.

    Returns
    -------
    Picture
        Of any type of number.

    Raises
    ------
    UserError
        If the file cannot be read, is not whole, holds no numbers, or is neither 2-D nor 3-D.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.zeros((1, 4, 5)))
    >>> read(path, as_labels=False).array.shape
    (4, 5)
    """
    try:
        picture = _read(path, as_labels)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError:
        raise UserError(
            f"{path} does not fit into the memory that is free; cut it to the part that is "
            "segmented, or run with OMP_NUM_THREADS=1 before the command"
        ) from None
    array = picture.array
    if array.dtype.kind not in "biuf":
        raise UserError(f"{path} holds values of type {array.dtype}; they must be real numbers")
    if array.ndim not in (2, 3):
        raise UserError(f"{path} is {array.ndim}-D; save one 2-D or 3-D picture of one channel")
    refuse_flat(path, picture)
    picture = _without_single_slice(picture)
    if min(picture.array.shape) < 2:
        raise UserError(f"{path} has the shape {array.shape}; a picture has two long axes at least")
    return picture


def _read(path: Path, as_labels: bool) -> Picture:
    if path.is_dir():
        return dicom.read(path)
    kind = suffix(path)
    if not kind:
        raise UserError(f"{path} is none of {listed()}; save it as one of them")
    with path.open("rb") as stream:
        if not stream.read(1):
            raise UserError(f"{path} is empty (0 bytes); write it anew")
    if kind == ".png":
        return _read_png(path, as_labels)
    if kind == ".npy":
        return _read_numpy(path)
    return (nifti_files if ".nii" in kind else sitk_files).read(path, as_labels)


def _without_single_slice(picture: Picture) -> Picture:
    array, spacing, origin, direction = picture[:4]
    if array.ndim == 2 or 1 not in array.shape:
        return picture
    axis = array.shape.index(1)
    array = array.squeeze(axis)
    spacing = tuple(np.delete(spacing, axis).tolist())
    if direction is None:
        return picture._replace(array=array, spacing=spacing)
    # Seen along the physical axis that is nearest to the normal of the slice
    matrix = np.delete(np.reshape(direction, (3, 3)), 2 - axis, axis=1)
    normal = np.reshape(direction, (3, 3))[:, 2 - axis]
    seen = np.argmax(np.abs(normal))
    matrix = np.delete(matrix, seen, axis=0)
    origin = np.delete(origin, seen)
    return picture._replace(
        array=array,
        spacing=spacing,
        origin=tuple(origin.tolist()),
        direction=tuple(matrix.ravel().tolist()),
    )


def _read_png(path: Path, as_labels: bool) -> Picture:
    try:
        with path.open("rb") as stream:
            depth, colours = stream.read(26)[24:26]  # bit depth and colour type, PNG sec. 11.2.2
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
    except Image.DecompressionBombError:
        raise UserError(
            f"{path} has too many pixels; cut it to the part that is segmented"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, PermissionError | FileNotFoundError):
            raise
        raise UserError(f"{path} is not a whole PNG file; write or copy it anew") from None
    if colours and depth == 16:
        raise UserError(f"{path} is a PNG of 16 bit with more than one channel; save it as grey")
    if picture.mode == "P":
        palette = np.reshape(picture.getpalette("RGB"), (-1, 3))
        if as_labels and (palette != palette[:, :1]).any():
            return without_header(np.asarray(picture))
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
    return without_header(pixels)


def _read_numpy(path: Path) -> Picture:
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise UserError(
                f"{path} is not a NumPy array (archives and pickles are not opened); "
                "save one array with numpy.save"
            )
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)  # looks at the length first
        refuse_huge(path, stored.shape)
        return without_header(np.array(stored))
    except (OSError, MemoryError, UserError):
        raise
    except Exception as error:  # its parser of damaged headers raises errors of many types
        if "object" in str(error).lower():
            raise UserError(
                f"{path} holds pickled objects, which are not opened; "
                "save a plain array of numbers with numpy.save"
            ) from None
        raise UserError(f"{path} is not a whole NumPy file; write or copy it anew") from None
