"""What figures draw, made small enough for git: a step's picture as a few files of evidence.

A picture is JSON or safetensors. Lists of numbers become arrays (floats of 16 bits where these
keep three digits), photographs JPEG files of at most 700 pixels, masks PNG files.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from PIL import Image

from pr12.shared.errors import UserError

LONGEST = 700  # pixels of a photograph's longer side
FEWEST = 16  # numbers that are worth an array
TREE, ARRAYS = "picture.json", "picture.safetensors"


def packed(path: Path) -> dict[str, bytes]:
    """Return the files that stand for a step's picture in evidence.

    Parameters
    ----------
    path : Path
        What the step wrote, ``.json`` or ``.safetensors``.

    Returns
    -------
    dict of str to bytes
        File name -> content; the same for the same picture.

    Raises
    ------
    UserError
        If it is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return _photographs(safetensors.numpy.load_file(path))
        return _tree(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, OSError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{path} is no picture ({error}); delete it and run its step again"
        ) from None


def unpacked(folder: Path) -> Any:
    """Return the picture in a folder of evidence, shaped as its step wrote it; None without one.

    Parameters
    ----------
    folder : Path
        Evidence of a case, whose files were checked.

    Examples
    --------
    >>> unpacked(Path("/nowhere")) is None
    True
    """
    if not (folder / TREE).exists():
        return None
    tree = json.loads((folder / TREE).read_text(encoding="utf-8"))
    if isinstance(tree, Mapping) and "$images" in tree:
        return {name: _pixels(folder / file) for name, file in tree["$images"].items()}
    arrays = safetensors.numpy.load_file(folder / ARRAYS) if (folder / ARRAYS).exists() else {}
    return _grown(tree, arrays)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _photographs(images: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Encode photographs (H, W, 3) and masks (H, W)."""
    names, contents = {}, {}
    for index, (name, pixels) in enumerate(sorted(images.items())):
        mask = pixels.ndim == 2
        image = Image.fromarray(pixels.astype(np.uint8))
        share = LONGEST / max(image.size)
        if share < 1:
            size = tuple(max(1, round(side * share)) for side in image.size)
            filters = Image.Resampling
            image = image.resize(size, filters.NEAREST if mask else filters.LANCZOS)
        stream = io.BytesIO()
        if mask:
            image.save(stream, "PNG", optimize=True)
        else:
            image.save(stream, "JPEG", quality=88, subsampling=0, optimize=True)
        names[name] = f"{index:02}.{'png' if mask else 'jpg'}"
        contents[names[name]] = stream.getvalue()
    return {TREE: _text({"$images": names}), **contents}


def _tree(value: Any) -> dict[str, bytes]:
    """Part a JSON value into its small parts and its arrays."""
    arrays: dict[str, np.ndarray] = {}
    tree = _shrunk(value, arrays)
    contents = {TREE: _text(tree)}
    return contents | ({ARRAYS: safetensors.numpy.save(arrays)} if arrays else {})


def _text(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _shrunk(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        return {key: _shrunk(part, arrays) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    array = _array(value)
    if array is None:
        return [_shrunk(part, arrays) for part in value]
    name = f"{len(arrays):03}"
    arrays[name] = array
    return {"$array": name}


def _array(value: list) -> np.ndarray | None:
    """Return a list of numbers, nested evenly, as the smallest array that keeps three digits."""
    try:
        array = np.array(value)
    except ValueError:  # ragged
        return None
    if array.dtype.kind not in "if" or array.size < FEWEST:
        return None
    if array.dtype.kind == "i":
        kinds = (np.uint8, np.int16, np.int32, np.int64)
        return array.astype(next(k for k in kinds if (array.astype(k) == array).all()))
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    close = np.allclose(half.astype(np.float64), array, rtol=1e-3, atol=1e-4 * np.abs(array).max())
    return half if close else array.astype(np.float32)


def _grown(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(tree, list):
        return [_grown(part, arrays) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if set(tree) == {"$array"}:
        return arrays[tree["$array"]].tolist()
    return {key: _grown(part, arrays) for key, part in tree.items()}
