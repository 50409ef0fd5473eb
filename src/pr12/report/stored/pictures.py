"""What figures draw, made small enough for git: a step's picture as a few files of evidence.

A picture is JSON or safetensors. Photographs become JPEG files of at most 700 pixels, masks PNG
files. Of JSON, picture.json keeps the shape and all that is short; what is long lies in one
file of arrays:

- numbers, nested evenly: whole ones as the smallest integers; those of at most four decimals, and
  shares of 255, as integers too (exact, or to a millionth); others as floats of 16 bits where
  these keep three digits, else of 32; null is the smallest integer or NaN
- lists of mappings with the same keys, and of short lists of mixed kinds: by column
- base64: its bytes
"""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from PIL import Image

from pr12.report.stored import arrays as stored_arrays
from pr12.workflow.errors import UserError

LONGEST = 700  # pixels of a photograph's longer side
FEWEST = 16  # rows that are worth columns
TREE, ARRAYS = "picture.json", "picture.safetensors"


def packed(path: Path) -> dict[str, bytes]:
    r"""Return the files that stand for a step's picture in evidence.

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

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "z2_picture.json"
    >>> _ = path.write_text('{"title": "codes", "extent": [-3, 3]}')
    >>> packed(path)
    {'picture.json': b'{"extent": [-3, 3], "title": "codes"}\n'}
    """
    try:
        if path.suffix == ".safetensors":
            return _photographs(safetensors.numpy.load_file(path))
        text = path.read_text(encoding="utf-8")
        return _tree(json.loads(text, parse_constant=_refuse))
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
        images = tree["$images"].items()
        return {name: _pixels(folder / Path(file).name) for name, file in images}
    arrays = {}
    if (folder / ARRAYS).exists():
        arrays = safetensors.numpy.load_file(folder / ARRAYS)
    return _grown(tree, arrays)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path, formats=["JPEG", "PNG"]) as image:
        return np.asarray(image)


def _photographs(images: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Encode photographs (H, W, 3) and masks (H, W)."""
    names, contents = {}, {}
    for index, (name, pixels) in enumerate(sorted(images.items())):
        mask = pixels.ndim == 2
        whole = pixels.dtype.kind in "uib" and pixels.size > 0
        if not (whole and (mask or pixels.shape[2:] == (3,)) and pixels.min() >= 0):
            raise ValueError(f"{name} is neither a photograph (H, W, 3) nor a mask (H, W)")
        if pixels.max() > 255:
            raise ValueError(f"{name} has numbers above 255")
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
    """Part a JSON value into its short parts and its arrays."""
    arrays: dict[str, np.ndarray] = {}
    tree = _shrunk(value, arrays)
    contents = {TREE: _text(tree)}
    if arrays:
        contents[ARRAYS] = safetensors.numpy.save(arrays)  # git compresses; a library's bytes vary
    return contents


def _text(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _shrunk(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Move what is long into arrays; a mapping with one key that begins with $ stands for it."""

    def stored(array: np.ndarray) -> str:
        name = f"{len(arrays):03}"
        arrays[name] = np.ascontiguousarray(array)
        return name

    if isinstance(value, dict):
        return {key: _shrunk(part, arrays) for key, part in value.items()}
    if isinstance(value, str):
        content = stored_arrays.of_base64(value)
        return value if content is None else {"$base64": stored(content)}
    if not isinstance(value, list):
        return value
    array, over = stored_arrays.packed(value)
    if array is not None:
        return {"$array": stored(array)} | ({"over": over} if over else {})
    rows = len(value) >= FEWEST
    if rows and all(isinstance(row, dict) and row.keys() == value[0].keys() for row in value):
        return {"$rows": {key: _shrunk([row[key] for row in value], arrays) for key in value[0]}}
    if rows and _short(value[0]) and all(_short(row, len(value[0])) for row in value):
        return {"$columns": [_shrunk([*column], arrays) for column in zip(*value, strict=True)]}
    return [_shrunk(part, arrays) for part in value]


def _short(row: Any, length: int | None = None) -> bool:
    """Tell whether a row is a list of several numbers and texts, perhaps of a length."""
    plain = isinstance(row, list) and not any(isinstance(item, list | dict) for item in row)
    return plain and len(row) > 1 and length in (None, len(row))


def _grown(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo `_shrunk`."""
    if isinstance(tree, list):
        return [_grown(part, arrays) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if "$array" in tree:
        return stored_arrays.unpacked(arrays[tree["$array"]], tree.get("over"))
    if "$base64" in tree:
        return base64.b64encode(arrays[tree["$base64"]].tobytes()).decode("ascii")
    if "$columns" in tree:
        columns = [_grown(column, arrays) for column in tree["$columns"]]
        return [list(row) for row in zip(*columns, strict=True)]
    if "$rows" in tree:
        columns = {key: _grown(column, arrays) for key, column in tree["$rows"].items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {key: _grown(part, arrays) for key, part in tree.items()}
