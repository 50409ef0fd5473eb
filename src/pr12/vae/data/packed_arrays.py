"""Arrays in JSON: images, codes in a plane, weights; written by steps, drawn by figures."""

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from pr12.workflow.errors import UserError


def pack_images(images: np.ndarray) -> dict[str, Any]:
    """Pack a sheet of images as 256 levels of grey.

    Parameters
    ----------
    images : ndarray
        Intensities, shape (rows, columns, H, W); those outside [0, 1] are cut to it.

    Returns
    -------
    dict
        ``shape`` and ``pixels``, the base64 of the bytes in C order.

    Raises
    ------
    UserError
        If it is no such sheet, is empty or holds a pixel that is no number.

    Examples
    --------
    >>> pack_images(np.array([[[[0.0, 1.0]]]]))
    {'shape': [1, 1, 1, 2], 'pixels': 'AP8='}
    """
    values = np.asarray(images)
    if values.ndim != 4 or values.size == 0:
        raise UserError(
            f"a sheet of images has the shape (rows, columns, H, W), not {values.shape}; "
            "reshape it before it is packed"
        )
    if not np.isfinite(values).all():
        raise UserError("a picture has pixels that are no numbers; train the model it shows anew")
    grey = np.rint(255 * values.clip(0, 1)).astype(np.uint8)
    return {"shape": list(grey.shape), "pixels": base64.b64encode(grey.tobytes()).decode()}


def unpack_images(sheet: Mapping[str, Any]) -> np.ndarray:
    """Return a packed sheet's levels of grey.

    Parameters
    ----------
    sheet : mapping
        As `pack_images` makes it.

    Returns
    -------
    ndarray
        uint8, shape (rows, columns, H, W).

    Raises
    ------
    UserError
        If it is no packed sheet, or has more or fewer bytes than its shape says.

    Examples
    --------
    >>> unpack_images({"shape": [1, 1, 1, 2], "pixels": "AP8="})
    array([[[[  0, 255]]]], dtype=uint8)
    """
    again = "delete the picture's file and run its step again"
    if not isinstance(sheet, Mapping) or not {"shape", "pixels"} <= sheet.keys():
        raise UserError(f"a sheet of images needs shape and pixels; {again}")
    shape = sheet["shape"]
    sizes = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
    if not sizes or len(shape) != 4:
        raise UserError(f"a sheet's shape is {shape!r}; it must be four positive sizes: {again}")
    try:
        pixels = base64.b64decode(sheet["pixels"], validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise UserError(f"a sheet's pixels are not base64; {again}") from None
    if len(pixels) != math.prod(shape):
        raise UserError(
            f"a sheet of shape {shape} has {len(pixels)} pixels, not {math.prod(shape)}; {again}"
        )
    return np.frombuffer(pixels, dtype=np.uint8).reshape(shape)


def pack_points(codes: np.ndarray, labels: np.ndarray) -> list[list[float]]:
    """Return codes in a plane with their labels, rounded to what a plot can show.

    Parameters
    ----------
    codes : ndarray
        Shape (N, 2).
    labels : ndarray
        Whole numbers, shape (N,).

    Examples
    --------
    >>> pack_points(np.array([[0.25, -1.00004]]), np.array([3]))
    [[0.25, -1.0, 3]]
    """
    pairs = zip(codes.tolist(), labels.tolist(), strict=True)
    return [[round(z1, 3), round(z2, 3), label] for (z1, z2), label in pairs]


def pack_numbers(array: np.ndarray, kind: Literal["float16", "float32"]) -> dict[str, Any]:
    """Write an array as JSON can hold it.

    Parameters
    ----------
    array : ndarray
        Real numbers, any shape.
    kind : {"float16", "float32"}
        What each number is rounded to.

    Returns
    -------
    dict
        ``shape``, ``type`` and ``data``: base64 of the little-endian numbers, last axis fastest.

    Raises
    ------
    UserError
        If a number is not finite after rounding (float16 ends at 65504).

    Examples
    --------
    >>> pack_numbers(np.array([[1.0, -2.0]]), "float16")
    {'shape': [1, 2], 'type': 'float16', 'data': 'ADwAwA=='}
    """
    with np.errstate(over="ignore"):  # a sentence below says so
        rounded = np.asarray(array).astype(np.dtype(kind).newbyteorder("<"))
    if not np.isfinite(rounded).all():
        raise UserError(
            f"an array of shape {rounded.shape} has numbers that no finite {kind} holds; "
            "look for a diverged training, or pack it as float32"
        )
    data = base64.b64encode(rounded.tobytes(order="C")).decode("ascii")
    return {"shape": list(rounded.shape), "type": kind, "data": data}


def unpack_numbers(packed: Mapping[str, Any]) -> np.ndarray:
    """Read what `pack_numbers` wrote.

    Parameters
    ----------
    packed : mapping
        ``shape``, ``type`` and ``data``.

    Raises
    ------
    UserError
        If the type is another, or the data are not the base64 of so many finite numbers.

    Examples
    --------
    >>> unpack_numbers({"shape": [1, 2], "type": "float16", "data": "ADwAwA=="})
    array([[ 1., -2.]], dtype=float16)
    """
    kind, shape = packed.get("type"), packed.get("shape")
    if kind not in ("float16", "float32"):
        raise UserError(f"packed numbers have type {kind!r}; it must be float16 or float32")
    try:
        data = base64.b64decode(packed["data"], validate=True)
        array = np.frombuffer(data, np.dtype(kind).newbyteorder("<")).reshape(shape)
    except (binascii.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(f"packed numbers do not fit shape {shape}: {error}; pack again") from error
    if not np.isfinite(array).all():
        raise UserError(f"packed numbers of shape {shape} are not all finite; pack others")
    return array.astype(kind)
