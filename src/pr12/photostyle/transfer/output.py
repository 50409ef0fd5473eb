"""Where a result of a person's photograph lies: whole or not at all, with what its format keeps.

Pillow writes 8 bits; 16 are written by tifffile and, as PNG, here.
"""

import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import tifffile
from PIL import Image

from pr12.photostyle.data import common_classes
from pr12.photostyle.model import local_affine
from pr12.photostyle.transfer import images
from pr12.photostyle.transfer.images import Photograph
from pr12.photostyle.transfer.inputs import Inputs
from pr12.workflow import files
from pr12.workflow.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
OPTIONS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
LONGEST_JPEG = 65_500  # pixels of a side
BESIDE = 25  # bytes that the names of temporary files and checkpoints are longer than the output's
LONGEST_PATH = 4095  # bytes, on Linux
# Of the local affine maps that carry a result to full size: small windows, so that little is lost
CARRIED = {"radius": 4, "epsilon": 1e-4}


class Wishes(Protocol):
    """The params of smoothing (see `pr12.photostyle.transfer.Settings`)."""

    smoothing_radius: int
    smoothing_epsilon: float


def check_output(path: Path, inputs: Sequence[Path]) -> None:
    """Refuse a place where no photograph can be written, before anything is computed.

    Parameters
    ----------
    path : Path
        Where the result shall lie; its folder must exist.
    inputs : sequence of Path
        Files that must not be overwritten.

    Raises
    ------
    UserError
        If the format is unknown, the folder does not exist or cannot be written to, the path is a
        folder or an input, or its name is too long.

    Examples
    --------
    >>> check_output(Path("/nowhere/a.png"), [])
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: the folder of output=/nowhere/a.png does not exist; \
make it first
    """
    folder = os.path.abspath(path.parent)
    if os.path.isdir(path):
        raise UserError(f"output={path} is a folder; give the name of an image in it")
    if path.suffix.lower() not in KINDS:
        raise UserError(f"output={path} is of no known format; end it with {', '.join(KINDS)}")
    if len(os.fsencode(folder)) + len(os.fsencode(path.name)) + BESIDE > LONGEST_PATH:
        raise UserError(
            f"the path of output={str(path)[:40]}... is too long; write into another folder"
        )
    if not os.path.isdir(folder):
        raise UserError(f"the folder of output={path} does not exist; make it first")
    size, most = len(os.fsencode(path.name)), os.pathconf(folder, "PC_NAME_MAX") - BESIDE
    if size > most:
        raise UserError(
            f"the name of output={path.name[:40]}... has {size} bytes; give one of at most {most}"
        )
    if os.path.realpath(path) in map(os.path.realpath, inputs):
        raise UserError(f"output={path} is also an input; give it another name")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write into the folder of output={path}: {error.strerror}; choose another"
        ) from None


def lost(path: Path, photograph: Photograph) -> list[str]:
    """Return what a format cannot keep of a photograph.

    Parameters
    ----------
    path : Path
        Where it shall lie.
    photograph : Photograph
        What is written.

    Raises
    ------
    UserError
        If the format cannot hold a photograph of that size.

    Examples
    --------
    >>> seen = Photograph(np.zeros((1, 1, 3), np.float32), None, 16, False, None)
    >>> lost(Path("a.jpg"), seen), lost(Path("a.tif"), seen)
    (['JPEG keeps 8 of the 16 bits of each colour; PNG and TIFF keep all'], [])
    """
    if KINDS[path.suffix.lower()] != "JPEG":
        return []
    height, width = photograph.pixels.shape[:2]
    if max(height, width) > LONGEST_JPEG:
        raise UserError(
            f"output={path} would have {width} x {height} pixels, and JPEG holds {LONGEST_JPEG} at "
            "a side; give the output the ending .png or .tif"
        )
    losses = []
    if photograph.alpha is not None:
        losses.append("JPEG cannot be transparent; PNG and TIFF can")
    if photograph.bits == 16:
        losses.append("JPEG keeps 8 of the 16 bits of each colour; PNG and TIFF keep all")
    return losses


def write_result(path: Path, image: "Tensor", inputs: Inputs, wishes: Wishes) -> None:
    """Smooth a result, carry it to the size of the content, and write it.

    Parameters
    ----------
    path : Path
        As for `write_photograph`.
    image : Tensor
        From 0 to 1, shape (1, 3, h, w), at working size.
    inputs : Inputs
        With the content at both sizes.
    wishes : Wishes
        The params.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    pixels = image[0].detach().cpu().permute(1, 2, 0).numpy()
    pixels = images.extended(pixels, inputs.content_labels != common_classes.UNUSED)
    whole = inputs.whole.pixels
    window = CARRIED
    if wishes.smoothing_radius:
        # A window larger than the image sees no more than all of it
        radius = min(wishes.smoothing_radius, max(pixels.shape))
        window = {"radius": radius, "epsilon": wishes.smoothing_epsilon}
    if wishes.smoothing_radius or whole.shape != pixels.shape:
        maps = local_affine.coefficients(inputs.content, pixels, **window)
        pixels = local_affine.carried(maps, whole)
    write_photograph(path, inputs.whole._replace(pixels=pixels))


def write_photograph(path: Path | str, photograph: Photograph) -> None:
    """Write a photograph, whole or not at all.

    Parameters
    ----------
    path : Path or str
        PNG, JPEG or TIFF, by its suffix.
    photograph : Photograph
        Written with its alpha, bits and profile where the format can hold them.

    Raises
    ------
    UserError
        If it cannot be written.

    Examples
    --------
    >>> from pr12.photostyle.transfer import images as user_images
    >>> path = Path(tempfile.mkdtemp()) / "a.png"
    >>> alpha = np.ones((1, 1), np.float32)
    >>> write_photograph(path, Photograph(np.zeros((1, 1, 3), np.float32), alpha, 16, False, None))
    >>> again = user_images.read_photograph(path)
    >>> again.bits, again.alpha.tolist(), again.pixels.tolist()
    (16, [[1.0]], [[[0.0, 0.0, 0.0]]])
    """
    path = Path(path)
    kind = KINDS[path.suffix.lower()]
    values = photograph.pixels
    if photograph.alpha is not None and kind != "JPEG":
        values = np.concatenate([values, photograph.alpha[..., None]], axis=2)
    deep = photograph.bits == 16 and kind != "JPEG"
    numbers = np.rint(np.clip(values, 0, 1) * (65535 if deep else 255))
    numbers = numbers.astype(np.uint16 if deep else np.uint8)
    profile = {"icc_profile": photograph.profile} if photograph.profile else {}
    with files.atomic(path) as temporary:
        if not deep:
            Image.fromarray(numbers).save(temporary, format=kind, **OPTIONS[kind], **profile)
        elif kind == "TIFF":
            tifffile.imwrite(
                temporary,
                numbers,
                photometric="rgb",
                extrasamples=["unassalpha"] if numbers.shape[2] == 4 else None,
                compression="zlib",
                predictor=False,
                iccprofile=photograph.profile,
                metadata=None,
            )
        else:
            temporary.write_bytes(_deep_png(numbers, photograph.profile))


def _deep_png(numbers: np.ndarray, profile: bytes | None) -> bytes:
    """Return a PNG of 16 bits, which Pillow does not write: four chunks (ISO 15948)."""
    height, width, channels = numbers.shape
    colour = {3: 2, 4: 6}[channels]
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([16, colour, 0, 0, 0])
    values = numbers.astype(">u2").reshape(height, -1)
    # Each byte as its difference from the row above (filter 2), which packs better
    rows = values.view(np.uint8).reshape(height, -1)
    changes = np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]), np.uint8))
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), changes], axis=1)
    chunks = [(b"IHDR", header)]
    if profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)
        for name, data in chunks
    )
