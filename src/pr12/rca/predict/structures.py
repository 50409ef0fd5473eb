"""Which structures a user's label maps have, and their numbers 1 to S for `pr12.rca.predict`."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pr12.rca.predict import numbering
from pr12.rca.predict.cases import Case, Unused
from pr12.rca.predict.reading import names
from pr12.workflow.errors import UserError


def numbered(labels: np.ndarray, structures: tuple[int, ...]) -> np.ndarray:
    """Return the structures the numbers 1 to S in their order, and all others 0.

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
    cases: Mapping[str, Sequence[Case]], wanted: tuple[str, ...] | None
) -> tuple[dict[str, list[Case]], tuple[int, ...], list[Unused]]:
    """Return the structures of all label maps the same numbers, from 1 to S.

    Structures of equal names are equal, whatever their numbers are; without names numbers count. A
    map of one white structure (255) has the references' only structure. Maps that have nothing in
    common with the references are left out: a Dice of 0 would be that of a structure that nobody
    segmented.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Of each folder, with the numbers of their files.
    wanted : tuple of str, or None
        The structures asked for, by name or number; None: all of the references and of the cases.

    Returns
    -------
    cases : dict of str to list of Case
        Renumbered; `names` of each are those of all structures.
    structures : tuple of int
        S numbers of the references' files, rising.
    unused : list of Unused
        Cases in other numbers.

    Raises
    ------
    UserError
        If no reference has any of them, or if every case has other numbers.
    """
    common: dict[int, str] = {}
    references = [_in_common(case, common) for case in cases["reference"]]
    references = references if common else _masks(references)
    trusted = set().union(*(numbering.numbers(case.labels) for case in references))
    others = {
        kind: [_in_common(case, common, trusted) for case in listed]
        for kind, listed in cases.items()
        if kind != "reference"
    }
    chosen = chosen_numbers(wanted, common)
    asked = trusted & chosen if wanted else trusted
    if not asked:
        raise UserError(
            f"no reference has one of the structures {numbering.listed(wanted or ())} (they have "
            f"{_shown(trusted, common)}); give references with the labels of the segmentations"
        )
    settled, unused = {"reference": references}, []
    for kind, listed in others.items():
        settled[kind] = []
        for case in listed:
            try:
                settled[kind].append(_settled(case, trusted, asked, common))
            except UserError as error:
                unused.append(
                    Unused(case.name if kind == "case" else f"{kind} {case.name}", str(error), kind)
                )
        if not settled[kind]:
            raise UserError(f"no {kind} can be judged: {unused[0].note}")
    present = set().union(*(numbering.numbers(case.labels) for case in settled.get("case", ())))
    ordered = tuple(sorted(chosen if wanted else trusted | present))
    renumbered = {
        kind: [_renumbered(case, ordered)._replace(names=common) for case in listed]
        for kind, listed in settled.items()
    }
    return renumbered, ordered, unused


def titles(structures: Sequence[int], known: Mapping[int, str]) -> tuple[int | str, ...]:
    """Return what structures are called: their names, or numbers where they have none.

    Parameters
    ----------
    structures : sequence of int
        Numbers.
    known : mapping of int to str
        Names, as `numbered_alike` gives them to each case.

    Examples
    --------
    >>> titles((1, 7), {7: "spleen"})
    (1, 'spleen')
    """
    return tuple(known.get(structure, structure) for structure in structures)


def chosen_numbers(wanted: Sequence[str] | None, common: Mapping[int, str]) -> set[int]:
    """Return the numbers of structures that are asked for by number or name.

    Parameters
    ----------
    wanted : sequence of str, or None
        Names, and numbers in digits.
    common : mapping of int to str
        The names that are known, by number.

    Raises
    ------
    UserError
        If no structure has a name, or a number is 0.

    Examples
    --------
    >>> chosen_numbers(["Spleen", "7"], {3: "spleen"}) == {3, 7}
    True
    """
    by_name = {names.plain(name): number for number, name in common.items()}
    numbers = set()
    for value in wanted or ():
        if names.plain(value) in by_name:
            numbers.add(by_name[names.plain(value)])
        elif value.isdecimal() and int(value):
            numbers.add(int(value))
        elif value.isdecimal():
            raise UserError(f"structures has {value}; a number of a structure is at least 1")
        else:
            have = f"names: {numbering.listed(common.values())}" if common else "none has a name"
            raise UserError(f"no structure is called {value} ({have}); give another, or a number")
    return numbers


def _shown(values: Iterable[int], common: Mapping[int, str]) -> str:
    return numbering.listed(titles(tuple(values), common))


def _in_common(case: Case, common: dict[int, str], trusted: set[int] | None = None) -> Case:
    """Return a case whose named structures have the common numbers; add new names to these.

    Of cases, the numbers without name that references have are known, too.
    """
    present = numbering.numbers(case.labels) | set(case.real)
    if case.named and trusted and not common and len(present) == len(trusted) == 1:
        table = dict.fromkeys(present, next(iter(trusted)))  # the only structure of both
    else:
        unnamed = dict.fromkeys(trusted or (), "") if case.named else {}
        table = names.renumbering(present, case.names, unnamed | common)
    for number, other in table.items():
        if number in case.names:
            common.setdefault(other, case.names[number])
    return _exchanged(case, {number: other for number, other in table.items() if number != other})


def _masks(references: Sequence[Case]) -> list[Case]:
    """Return references that are all masks of one structure, 1 or white, the number 1."""
    every = [numbering.numbers(case.labels) for case in references]
    if any(len(numbers) != 1 or not numbers <= {1, *numbering.WHITE} for numbers in every):
        return list(references)
    table = dict.fromkeys(numbering.WHITE, 1)
    return [_exchanged(case, table) for case in references]


def _settled(case: Case, trusted: set[int], asked: set[int], common: Mapping[int, str]) -> Case:
    """Return a case in the references' numbers, or refuse it."""
    present = numbering.numbers(case.labels) or set(case.real)
    what = f"the segmentation of {case.name}"
    if present and not present & trusted and present <= common.keys():
        raise UserError(
            f"{what} has the structures {_shown(present, common)} and the references have "
            f"{_shown(trusted, common)}: no name is in both, so nothing is predicted; give both "
            f"the same names (in nnU-Net's {names.FILE}, or of the organs' files)"
        )
    table = numbering.exchanged(present, trusted, asked, what, "references")
    case = _exchanged(case, table)
    foreign = {common.get(number, number) for number in numbering.numbers(case.labels) - trusted}
    notes = [
        f"its {number} is taken as {other}, the references' only structure"
        for number, other in table.items()
        if other not in (1, *numbering.WHITE)
    ]
    return case._replace(foreign=tuple(foreign), notes=(*notes, *case.notes))


def _exchanged(case: Case, table: dict[int, int]) -> Case:
    if not table:
        return case
    return case._replace(
        labels=numbering.replaced(case.labels, table),
        views=tuple(
            view._replace(labels=numbering.replaced(view.labels, table)) for view in case.views
        ),
        real={table.get(value, value): dice for value, dice in case.real.items()},
    )


def _renumbered(case: Case, structures: tuple[int, ...]) -> Case:
    return case._replace(
        labels=numbered(case.labels, structures),
        views=tuple(view._replace(labels=numbered(view.labels, structures)) for view in case.views),
        real={
            structures.index(value) + 1: dice
            for value, dice in case.real.items()
            if value in structures
        },
    )


def numbers(cases: Sequence[Case]) -> set[int]:
    """Return the structures that cases have, as numbers from 1 to S.

    Parameters
    ----------
    cases : sequence of Case
        Renumbered.
    """
    return set().union(*(numbering.numbers(case.labels) for case in cases))
