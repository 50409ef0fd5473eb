"""A person's photographs and masks, read as they are meant to be seen.

Pillow reads all formats, but gives only 8 of 16 bits of a colour image; SimpleITK and tifffile give
them all.
"""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813
import tifffile
from PIL import Image, ImageOps
from scipy import ndimage

from pr12.workflow.errors import UserError

MOST_PIXELS = 100_000_000  # 1.2 GB as floats; more is a bomb or a panorama
ORIENTATION, BITS, PLANES = 0x0112, 258, 284  # tags of EXIF and TIFF
WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")
SEVERAL = ("GIF", "PNG", "TIFF", "WEBP")  # formats that may hold several images in a row
GREY = ("1", "L", "LA", "La", "I;16", "I;16B")


class Photograph(NamedTuple):
    """An image as it is seen, and what its file says of it."""

    pixels: np.ndarray  # float32 from 0 to 1, shape (H, W, 3): red, green and blue
    alpha: np.ndarray | None  # float32 from 0 (clear) to 1, shape (H, W)
    bits: int  # of a colour in the file: 8 or 16
    was_grey: bool
    profile: bytes | None  # ICC, which says what red, green and blue mean
    images: int = 1  # in the file, of which this is the first


def read_photograph(path: Path | str) -> Photograph:
    """Read a photograph.

    Parameters
    ----------
    path : Path or str
        A file of any format that Pillow knows; of several images the first is taken. Palettes and
        CMYK become RGB, grey becomes three equal colours, EXIF's orientation is applied.

    Raises
    ------
    UserError
        If it is no whole image, too large, of 32 bits a colour, or of colours such as Lab.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.png"
    >>> Image.new("LA", (3, 2), (255, 0)).save(path)
    >>> photograph = read_photograph(path)
    >>> photograph.pixels.shape, photograph.pixels.max(), photograph.alpha.max()
    ((2, 3, 3), np.float32(1.0), np.float32(0.0))
    """
    image, deep, count = _read(Path(path))
    grey = image.mode in GREY
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    if deep is not None:
        pixels, bits = deep.astype(np.float32) / 65535, 16
    else:
        pixels = np.asarray(_as_colours(Path(path), image), np.float32) / 255
        bits = 8
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    colours = pixels[..., : 1 if pixels.shape[2] < 3 else 3]
    colours = np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)))
    return Photograph(colours, alpha, bits, grey, profile, count)


def _as_colours(path: Path, image: Image.Image) -> Image.Image:
    """Return an image as red, green, blue and, where it may be clear, alpha."""
    clear = image.mode in WITH_ALPHA or "transparency" in image.info
    try:
        return image.convert("RGBA" if clear else "RGB")
    except ValueError:
        raise UserError(
            f"{path} has colours of the kind {image.mode}; save it as RGB or grey"
        ) from None


def without_hidden(photograph: Photograph, path: Path) -> Photograph:
    """Replace the colours that transparency hides by those of the nearest pixels that are seen.

    What a file holds where alpha is 0 nobody sees: often the colour that an editor erased. It must
    not become a style, nor shine through where an image is made smaller.

    Parameters
    ----------
    photograph : Photograph
        Returned as it is if nothing is hidden.
    path : Path
        Of its file, for the message.

    Raises
    ------
    UserError
        If all of it is hidden.

    Examples
    --------
    >>> pixels, alpha = np.float32([[[0.2] * 3, [0.9] * 3]]), np.float32([[1, 0]])
    >>> seen = without_hidden(Photograph(pixels, alpha, 8, False, None), Path("a.png"))
    >>> seen.pixels[0, :, 0].tolist() == [pixels[0, 0, 0]] * 2
    True
    """
    if photograph.alpha is None or photograph.alpha.all():
        return photograph
    if not photograph.alpha.any():
        raise UserError(f"{path} is transparent everywhere; give an image that can be seen")
    return photograph._replace(pixels=extended(photograph.pixels, photograph.alpha > 0))


def extended(pixels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return pixels in which those that are not seen have the values of the nearest seen ones.

    Parameters
    ----------
    pixels : ndarray
        Shape (H, W, C).
    seen : ndarray
        Boolean, shape (H, W); at least one pixel is seen.

    Examples
    --------
    >>> extended(np.array([[[1.0], [2.0], [3.0]]]), np.array([[False, True, True]])).tolist()
    [[[2.0], [2.0], [3.0]]]
    """
    if seen.all():
        return pixels
    rows, columns = ndimage.distance_transform_edt(
        ~seen, return_distances=False, return_indices=True
    )
    return pixels[rows, columns]


def read_mask(path: Path | str) -> np.ndarray:
    """Read a mask of flat colours.

    Parameters
    ----------
    path : Path or str
        As for `read_photograph`; all pixels of alpha 0 are one class, which is given as black. Of
        16 bits the upper 8 are kept, but numbers of labels below 256 stay as they are.

    Returns
    -------
    ndarray
        uint8, shape (H, W, 3).

    Raises
    ------
    UserError
        As `read_photograph`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.png"
    >>> Image.fromarray(np.array([[0, 2]], np.uint8)).save(path)
    >>> read_mask(path).tolist()
    [[[0, 0, 0], [2, 2, 2]]]
    """
    image, deep, _ = _read(Path(path))
    if deep is None:
        deep = np.asarray(_as_colours(Path(path), image)).astype(np.uint16)
    deep = deep.reshape(*deep.shape[:2], -1)
    colours = deep[..., : 1 if deep.shape[2] < 3 else 3]
    if deep.shape[2] in (2, 4):
        colours = np.where(deep[..., -1:] == 0, 0, colours)
    small = colours if colours.max() < 256 else np.rint(colours / 257)
    return np.ascontiguousarray(np.broadcast_to(small.astype(np.uint8), (*small.shape[:2], 3)))


def _read(path: Path) -> tuple[Image.Image, np.ndarray | None, int]:
    """Return the first image of a file, its colours if they have 16 bits, and how many it holds.

    The colours have the shape (H, W) or (H, W, C).
    """
    if not path.is_file():  # a pipe would be waited for
        raise UserError(f"{path} is not a file; give an image")
    try:
        with warnings.catch_warnings():
            # our own limit comes next, and damage in what is beside the pixels does not matter
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                orientation = image.getexif().get(ORIENTATION, 1)  # a TIFF loses it when loaded
                tags = dict(getattr(image, "tag_v2", {}))
                image.load()  # all of it, so that a truncated file is found here
                if image.mode in ("I", "F"):
                    raise UserError(f"{path} has 32 bits a colour; save it with 8 or 16")
                deep = _all_bits(path, image, tags, orientation)
                count = 1
                with suppress(Exception):  # damage behind the first image does not matter
                    count = image.n_frames if image.format in SEVERAL else 1
                    image.seek(0)
                return ImageOps.exif_transpose(image), deep, count
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(
            f"{path} has more than {MOST_PIXELS // 1_000_000} million pixels; make it smaller"
        ) from None
    except Exception:  # decoders answer a damaged file with errors of every kind
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty; copy or export the image again") from None
        raise UserError(
            f"{path} is not a whole image of a known format (PNG, JPEG, TIFF, WebP and others); "
            "copy or export it again"
        ) from None


def _all_bits(path: Path, image: Image.Image, tags: dict, orientation: int) -> np.ndarray | None:
    """Return the values of 16 bits that Pillow would cut to 8, as they are to be seen."""
    if image.format == "PNG":
        with path.open("rb") as stream:
            bits, colour = stream.read(26)[24:]
        if bits != 16 or colour == 4:  # SimpleITK does not read grey with alpha
            return None
    elif image.format != "TIFF" or 16 not in tags.get(BITS, ()):
        return None
    if image.format == "PNG" or (orientation == 1 and tags.get(PLANES, 1) == 1):
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        values = values[0] if len(tags) and values.shape[1:3] == image.size[::-1] else values
    else:  # SimpleITK would cut it to 8 bits
        values = tifffile.imread(path, key=0)
        planes = tags.get(PLANES, 1) == 2 and values.ndim == 3
        values = np.moveaxis(values, 0, -1) if planes else values
    if values.dtype != np.uint16:
        return None
    return _upright(values, orientation)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels as EXIF says, numbered 1 to 8."""
    turned = values.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else values
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return turned[::rows, ::columns]
