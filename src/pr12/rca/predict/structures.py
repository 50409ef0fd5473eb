"""Which structures a user's label maps have, and their numbers 1 to S for `pr12.rca.predict`."""

from collections.abc import Mapping, Sequence

import numpy as np

from pr12.rca.predict.cases import Case
from pr12.workflow.errors import UserError

WHITE = (255, 65535)  # a mask of one such value is read as structure 1 (`user_files.read_labels`)


def numbered(labels: np.ndarray, structures: tuple[int, ...]) -> np.ndarray:
    """Give the structures the numbers 1 to S in their order, and all others 0.

    Parameters
    ----------
    labels : ndarray
        Whole numbers.
    structures : tuple of int
        Rising.

    Returns
    -------
    ndarray
        uint8, or uint16 for more than 255 structures.

    Examples
    --------
    >>> numbered(np.array([0, 500, 7, 9]), (7, 500)).tolist()
    [0, 2, 1, 0]
    """
    values = np.array(structures)
    place = np.searchsorted(values, labels)
    known = values[np.minimum(place, len(values) - 1)] == labels
    kind = np.uint8 if len(values) <= np.iinfo(np.uint8).max else np.uint16
    return np.where(known, place + 1, 0).astype(kind)


def numbered_alike(
    cases: Mapping[str, Sequence[Case]], wanted: tuple[int, ...] | None
) -> tuple[dict[str, list[Case]], tuple[int, ...]]:
    """Give the structures of all label maps the same numbers, from 1 to S.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Of each folder, with the numbers of their files.
    wanted : tuple of int or None
        The structures asked for; None: all of the references and of the cases.

    Returns
    -------
    cases : dict of str to list of Case
        Renumbered.
    structures : tuple of int
        S numbers of the files, rising.

    Raises
    ------
    UserError
        If no reference has any of them.
    """
    white = _white([case.labels for own in cases.values() for case in own])
    whitened = {kind: [_whitened(case, white) for case in own] for kind, own in cases.items()}
    there = {kind: set() for kind in cases}
    for kind, own in whitened.items():
        there[kind].update(*(np.unique(case.labels).tolist() for case in own))
    structures = set(wanted or there["reference"] | there["case"]) - {0}
    if not structures & there["reference"]:
        has, asked = (
            ", ".join(map(str, sorted(own - {0}))) for own in (there["reference"], structures)
        )
        raise UserError(
            f"no reference has one of the structures {asked} (they have {has}); "
            "give references with the labels of the segmentations"
        )
    ordered = tuple(sorted(structures))
    return {
        kind: [_renumbered(case, ordered) for case in own] for kind, own in whitened.items()
    }, ordered


def _white(maps: Sequence[np.ndarray]) -> int | None:
    """Give the number of white where maps of several structures use it, and 1 is in none of them.

    A map of 0 and 255 alone is read as structure 1. Beside maps of 0, 128 and 255 it is one that
    lost its structure 128.
    """
    values = [np.unique(own[own > 0]).tolist() for own in maps]
    several = {value for own in values if len(own) > 1 for value in own}
    return None if 1 in several else next((white for white in WHITE if white in several), None)


def _whitened(case: Case, white: int | None) -> Case:
    if white is None or np.unique(case.labels[case.labels > 0]).tolist() != [1]:
        return case
    return case._replace(
        labels=case.labels * white,
        view=case.view._replace(labels=case.view.labels * white),
        real={white if value == 1 else value: dice for value, dice in case.real.items()},
    )


def _renumbered(case: Case, structures: tuple[int, ...]) -> Case:
    return case._replace(
        labels=numbered(case.labels, structures),
        view=case.view._replace(labels=numbered(case.view.labels, structures)),
        real={
            structures.index(value) + 1: dice
            for value, dice in case.real.items()
            if value in structures
        },
    )


def numbers(cases: Sequence[Case]) -> set[int]:
    """Give the structures that cases have, as numbers from 1 to S.

    Parameters
    ----------
    cases : sequence of Case
        Renumbered.
    """
    return set().union(*(np.unique(case.labels).tolist() for case in cases)) - {0}
