"""Nested lists of numbers, and base64, as small arrays for `pr12.report.stored.pictures`."""

import base64
import binascii

import numpy as np

FEWEST = 16  # numbers that are worth an array
LONG_TEXT = 256  # characters of base64 that are worth an array
SCALES = (1, 10, 100, 1000, 10000, 255)  # times which floats may be whole
INTEGERS = (np.uint8, np.int16, np.int32, np.int64)


def of_base64(text: str) -> np.ndarray | None:
    """Return the bytes of a long base64, None of any other text.

    Parameters
    ----------
    text : str
        Any.

    Examples
    --------
    >>> of_base64("AAECAw=="), of_base64("AAEC" * 64)[:4].tolist()
    (None, [0, 1, 2, 0])
    """
    if len(text) < LONG_TEXT:
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    same = base64.b64encode(content).decode("ascii") == text
    return np.frombuffer(content, np.uint8) if same else None


def packed(value: list) -> tuple[np.ndarray | None, int]:
    """Return nested lists of numbers as an array, and by what that is to be divided.

    Parameters
    ----------
    value : list
        Perhaps of numbers of one kind, nested evenly, perhaps with None among floats.

    Returns
    -------
    array : ndarray or None
        None of anything else, and of few numbers.
    over : int
        0 where nothing is to be divided.

    Examples
    --------
    >>> packed([0.25] * 15 + [None])[0][-2:].tolist(), packed([0.25] * 16)[1]
    ([25, -32768], 100)
    """
    kinds = _kinds(value)
    if not (kinds <= {int, type(None)} or kinds <= {float, type(None)}) or len(kinds) == 0:
        return None, 0
    try:
        array = np.array(value, dtype=float)
    except ValueError:  # ragged
        return None, 0
    if array.size < FEWEST or kinds == {type(None)} or kinds == {int, type(None)}:
        return None, 0
    if kinds == {int}:
        exact = np.array(value)  # float64 does not hold all integers
        return (_integers(exact, signed=False), 0) if exact.dtype.kind == "i" else (None, 0)
    none = np.isnan(array)
    numbers = array[~none]
    if not np.isfinite(numbers).all():
        raise ValueError("a number is infinite")
    for scale in SCALES:
        whole = np.rint(numbers * scale)
        near = 1e-6 * np.abs(numbers).max() if scale == 255 else 0.0
        if np.abs(whole).max() < 2**31 and (np.abs(whole / scale - numbers) <= near).all():
            filled = np.zeros(array.shape, np.int64)
            filled[~none] = whole
            return _integers(filled, signed=bool(none.any()), none=none), scale
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    near = {"rtol": 1e-3, "atol": 1e-4 * np.abs(numbers).max()}
    close = np.allclose(half.astype(np.float64), array, equal_nan=True, **near)
    return (half if close else array.astype(np.float32)), 0


def _kinds(value: list) -> set[type]:
    """Return the types of what is in nested lists."""
    kinds = {type(item) for item in value}
    if list in kinds:
        kinds.remove(list)
        kinds.update(*(_kinds(item) for item in value if isinstance(item, list)))
    return kinds


def _integers(array: np.ndarray, signed: bool, none: np.ndarray | None = None) -> np.ndarray:
    """Return integers in the smallest type; null is the type's smallest, which no number is."""
    for kind in INTEGERS:
        limits = np.iinfo(kind)
        least = limits.min + 1 if signed else limits.min
        if signed and limits.min == 0:
            continue
        if least <= array.min() and array.max() <= limits.max:
            break
    small = array.astype(kind)
    if signed:
        small[none] = limits.min
    return small


def unpacked(array: np.ndarray, over: int | None) -> list:
    """Return an array as nested lists, with None for what is none.

    Parameters
    ----------
    array : ndarray
        What `packed` returned.
    over : int, optional
        By what it is to be divided.

    Examples
    --------
    >>> unpacked(np.array([25, -32768], np.int16), 100)
    [0.25, None]
    """
    if array.dtype.kind in "iu" and over is None:
        return array.tolist()
    none = np.isnan(array)
    numbers = array.astype(float)
    if over is not None:
        if array.dtype.kind == "i":
            none = array == np.iinfo(array.dtype).min
        numbers /= over
    if not none.any():
        return numbers.tolist()
    numbers = numbers.astype(object)
    numbers[none] = None
    return numbers.tolist()
