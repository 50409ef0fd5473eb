"""Read a NIfTI volume that may be damaged, and what its header tells of the grid.

SimpleITK gives zeros, without a word, for what is missing in a file that ends too early, and for
voxels that are NaN or infinite; it does not look at the check sum of a packed file, and where
qform and sform disagree it takes one of them without a word. So a file is unpacked and its header
read here first.
"""

import gzip
import itertools
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

FLOATS = {16: "f4", 64: "f8"}  # datatype in the header -> type of voxels that may be NaN
# Offsets of nifti1.h (348 bytes) and nifti2.h (540 bytes): name -> type, where, how many
FIELDS = {
    1: {
        "dim": ("i2", 40, 8),
        "datatype": ("i2", 70, 1),
        "bits": ("i2", 72, 1),
        "pixdim": ("f4", 76, 8),
        "offset": ("f4", 108, 1),
        "slope": ("f4", 112, 1),
        "intercept": ("f4", 116, 1),
        "units": ("i1", 123, 1),
        "codes": ("i2", 252, 2),
        "quatern": ("f4", 256, 3),
        "place": ("f4", 268, 3),
        "srow": ("f4", 280, 12),
    },
    2: {
        "dim": ("i8", 16, 8),
        "datatype": ("i2", 12, 1),
        "bits": ("i2", 14, 1),
        "pixdim": ("f8", 104, 8),
        "offset": ("i8", 168, 1),
        "slope": ("f8", 176, 1),
        "intercept": ("f8", 184, 1),
        "units": ("i4", 500, 1),
        "codes": ("i4", 344, 2),
        "quatern": ("f8", 352, 3),
        "place": ("f8", 376, 3),
        "srow": ("f8", 400, 12),
    },
}
SIZES = {348: 1, 540: 2}  # the first four bytes of a header -> its version
MAGIC = {1: (b"n+1\0", 344), 2: (b"n+2\0", 4)}  # of files that hold their own voxels, and where
ORDERS = {"<": "little", ">": "big"}
TO_MM = {1: 1e3, 3: 1e-3}  # units of length: metres and micrometres; all others count as mm


class Volume(NamedTuple):
    """A volume and the geometry that its header gives it."""

    voxels: np.ndarray  # (z, y, x), of the file's own type
    spacing: tuple[float, ...]  # mm along x, y, z
    direction: tuple[float, ...]  # of the axes x, y, z: nine cosines, row by row


class Header(NamedTuple):
    """What a header says of the voxels, and the two forms in which it may say where they lie.

    A form maps voxel indices (i, j, k, 1) along x, y, z to mm towards right, anterior and superior
    (RAS), shape (4, 4). It is None where its code is 0, which means that it is not given.
    """

    version: int  # 1 or 2
    order: str  # of bytes: "<" little endian, ">" big endian
    shape: tuple[int, ...]  # along x, y, z, ...
    datatype: int
    bits: int  # of a voxel
    offset: float  # bytes before the first voxel
    slope: float  # value = slope * stored + intercept; a slope of 0 means that nothing is scaled
    intercept: float
    qform: np.ndarray | None
    sform: np.ndarray | None


class Grid(NamedTuple):
    """A form in the words of SimpleITK, which counts towards left, posterior and superior (LPS)."""

    spacing: tuple[float, ...]  # mm along x, y, z
    origin: tuple[float, ...]  # mm, of the first voxel
    direction: tuple[float, ...]  # its columns are the axes x, y, z: nine numbers, row by row


def read_header(content: bytes) -> Header:
    """Read the header of an unpacked NIfTI file, version 1 or 2.

    Parameters
    ----------
    content : bytes
        The file, or its first 540 bytes.

    Raises
    ------
    ValueError
        If it is no header, or its number of axes or a length is not above 0; the message is what
        follows the file's name in a sentence.

    Examples
    --------
    >>> read_header(b"PNG")
    Traceback (most recent call last):
    ...
    ValueError: is not a NIfTI file
    """
    sizes = {order: int.from_bytes(content[:4], word) for order, word in ORDERS.items()}
    order = next((order for order, size in sizes.items() if size in SIZES), "")
    if not order or len(content) < sizes[order]:
        raise ValueError("is not a NIfTI file")
    version = SIZES[sizes[order]]
    magic, where = MAGIC[version]
    if content[where : where + 4] != magic:
        raise ValueError("is not a NIfTI file")  # SimpleITK might take it for another format
    fields = {
        name: np.frombuffer(content, order + kind, count, where).astype(kind[0] + "8")
        for name, (kind, where, count) in FIELDS[version].items()
    }
    rank, *lengths = fields["dim"].tolist()
    if not 1 <= rank <= 7 or min(lengths[:rank]) < 1:
        raise ValueError("has a header without a shape")
    one = {name: field.item() for name, field in fields.items() if len(field) == 1}
    to_mm = np.array([TO_MM.get(one.pop("units") & 7, 1.0)] * 3 + [1.0])[:, None]
    qform_code, sform_code = fields["codes"]
    return Header(
        version=version,
        order=order,
        shape=tuple(lengths[:rank]),
        qform=to_mm * _of_quaternion(fields) if qform_code else None,
        sform=to_mm * np.vstack([fields["srow"].reshape(3, 4), [0, 0, 0, 1]])
        if sform_code
        else None,
        **one,
    )


def _of_quaternion(fields: dict[str, np.ndarray]) -> np.ndarray:
    """Return the qform, as nifti1.h computes it (its method 2)."""
    b, c, d = fields["quatern"]
    with np.errstate(invalid="ignore", over="ignore"):
        a = 1 - (b * b + c * c + d * d)
        if a < 1e-7:  # a half turn: the three are a unit vector but for rounding
            b, c, d = fields["quatern"] / math.sqrt(1 - a)
            a = 0.0
        a = np.sqrt(a)
        turn = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
            ]
        )
        lengths = np.where(fields["pixdim"][1:4] > 0, fields["pixdim"][1:4], 1.0)
        lengths[2] *= -1 if fields["pixdim"][0] < 0 else 1
        form = np.eye(4)
        form[:3, :3], form[:3, 3] = turn * lengths, fields["place"]
    return form


def form(header: Header) -> np.ndarray | None:
    """Return the form that counts: the sform unless its code is 0, else the qform, else None.

    nibabel and most viewers do the same.

    Parameters
    ----------
    header : Header
        Of a volume.
    """
    return header.qform if header.sform is None else header.sform


def disagreement(header: Header) -> float:
    """Return how far qform and sform put the same voxel apart, at most, in mm.

    Parameters
    ----------
    header : Header
        Of a volume.

    Returns
    -------
    float
        The largest distance of a corner of the grid, which no other voxel exceeds; 0 if not both
        forms are given, infinity if either has a number that is NaN or infinite.
    """
    if header.qform is None or header.sform is None:
        return 0.0
    ends = [(0, length - 1) for length in (*header.shape, 1, 1)[:3]]
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)], float)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = corners @ (header.qform - header.sform)[:3].T
        farthest = float(np.sqrt((apart**2).sum(axis=1)).max())
    return farthest if math.isfinite(farthest) else math.inf


def grid(form: np.ndarray) -> Grid:
    """Return a form as SimpleITK's spacing, origin and direction.

    Parameters
    ----------
    form : ndarray
        As `Header` holds it, shape (4, 4).

    Raises
    ------
    ValueError
        If a number is NaN or infinite, or an axis has no length.

    Examples
    --------
    >>> grid(np.diag([2.0, 3.0, 4.0, 1.0]))
    Grid(spacing=(2.0, 3.0, 4.0), origin=(0.0, 0.0, 0.0), \
direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    """
    lps = np.array([[-1.0], [-1.0], [1.0]]) * form[:3]
    with np.errstate(over="ignore"):
        spacing = np.sqrt((lps[:, :3] ** 2).sum(axis=0))
    if not np.isfinite(lps).all() or not np.isfinite(spacing).all() or not spacing.all():
        raise ValueError("has a header that tells no grid")
    direction = lps[:, :3] / spacing + 0.0  # the sums make 0 of -0
    return Grid(
        tuple(spacing.tolist()),
        tuple((lps[:, 3] + 0.0).tolist()),
        tuple(direction.ravel().tolist()),
    )


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

    content = unpacked(Path(path), largest)
    header = read_header(content)
    sitk.ProcessObject.GlobalWarningDisplayOff()  # what goes wrong is told below
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
            raise ValueError("does not have one number per voxel of three dimensions")
        check_voxels(content, header)
        image = reader.Execute()
    except RuntimeError:
        raise ValueError("is not a NIfTI file") from None
    return Volume(sitk.GetArrayFromImage(image), image.GetSpacing(), image.GetDirection())


def check_voxels(content: bytes, header: Header) -> None:
    """Check that a file holds all voxels that its header announces, and that each is finite.

    Parameters
    ----------
    content : bytes
        The unpacked file.
    header : Header
        What `read_header` returned.

    Raises
    ------
    ValueError
        If it does not; the message is what follows the file's name in a sentence.
    """
    # The offset may be anything, also NaN: then it is taken for 0, as SimpleITK does
    offset = max(0.0, header.offset)
    count, kind = math.prod(header.shape), FLOATS.get(header.datatype)
    bits = 8 * np.dtype(kind).itemsize if kind else header.bits
    if len(content) < offset + count * bits / 8:
        raise ValueError("ends before its last voxel")
    if kind:
        voxels = np.frombuffer(content, header.order + kind, count, int(offset))
        if not np.isfinite(voxels).all():
            raise ValueError("has voxels that are NaN or infinite")


def unpacked(path: Path, largest: int) -> bytes:
    """Return the content of a file, unpacked if it is packed by gzip.

    Parameters
    ----------
    path : Path
        The file.
    largest : int
        Bytes that the content may have.

    Raises
    ------
    ValueError
        If it cannot be read or is larger; the message is what follows the file's name in a
        sentence.
    """
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
