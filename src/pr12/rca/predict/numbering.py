"""Which numbers label maps use: one in other numbers than the references' is not judged."""

from collections.abc import Iterable

import numpy as np

from pr12.rca.predict.reading import blocks
from pr12.workflow.errors import UserError

WHITE = (255, 65535)  # of a mask of black and white
MOST_LISTED = 8


def numbers(labels: np.ndarray) -> set[int]:
    """Return the structures of a label map.

    Parameters
    ----------
    labels : ndarray
        Whole numbers, 0 is background.

    Examples
    --------
    >>> numbers(np.array([0, 7, 7, 2])) == {2, 7}
    True
    """
    return set(blocks.values(labels).tolist())


def listed(values: Iterable[int | str]) -> str:
    """Write numbers, and names of structures, for a sentence.

    Parameters
    ----------
    values : iterable of int or str
        Any; names come behind numbers.

    Examples
    --------
    >>> listed({3, "spleen", 1}), listed(range(99))
    ('1, 3, spleen', '0, 1, 2, 3, 4, 5, 6, 7 and 91 more')
    """
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    shown = ", ".join(map(str, ordered[:MOST_LISTED]))
    rest = len(ordered) - MOST_LISTED
    return f"{shown} and {rest} more" if rest > 0 else shown


def exchanged(
    present: set[int], trusted: set[int], asked: set[int], what: str, whose: str
) -> dict[int, int]:
    """Return which numbers of a label map stand for others: white for the only structure there is.

    Parameters
    ----------
    present : set of int
        The structures of the map.
    trusted : set of int
        Those of the maps beside it.
    asked : set of int
        Which of them are asked for.
    what, whose : str
        What the map and the others are called in messages.

    Returns
    -------
    dict of int to int
        Number -> number, empty where the map has a number of the others.

    Raises
    ------
    UserError
        If the map has structures, and none has a number of the others.

    Examples
    --------
    >>> exchanged({255}, {3}, {3}, "a.png", "references")
    {255: 3}
    >>> exchanged({1001}, {1, 2}, {1, 2}, "a.nii", "references")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: a.nii has the structures 1001 and the references have 1, 2: no \
number is in both, so nothing is predicted; give both the same numbers
    """
    if not present or present & trusted:
        return {}
    mask = len(present) == 1 and present <= {1, *WHITE}
    if mask and len(asked) == 1 and (present <= set(WHITE) or asked <= set(WHITE)):
        return {next(iter(present)): next(iter(asked))}
    raise UserError(
        f"{what} has the structures {listed(present)} and the {whose} have {listed(trusted)}: no "
        "number is in both, so nothing is predicted; give both the same numbers"
    )


def replaced(labels: np.ndarray, table: dict[int, int]) -> np.ndarray:
    """Return a label map with some numbers exchanged.

    Parameters
    ----------
    labels : ndarray
        Whole numbers.
    table : dict of int to int
        Number -> number.

    Examples
    --------
    >>> replaced(np.array([0, 255]), {255: 1}).tolist()
    [0, 1]
    """
    table = {number: other for number, other in table.items() if number != other}
    if not table:
        return labels
    kind = np.result_type(labels, np.min_scalar_type(max(table.values())))
    result = labels.astype(kind)  # a copy: numbers may be exchanged with each other
    for number, other in table.items():
        result[labels == number] = other
    return result
