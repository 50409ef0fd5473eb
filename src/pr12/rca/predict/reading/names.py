"""Names of structures: out of nnU-Net's dataset.json, and numbers brought together by them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pr12.rca.predict.reading.picture import NO_NAMES

FILE = "dataset.json"
IGNORED = "ignore"  # nnU-Net's label of voxels that nobody looked at


class DataSet(NamedTuple):
    """What a dataset.json says."""

    names: Mapping[int, str] = NO_NAMES  # of the structures, by number
    ending: str = ""  # of the files that count
    problem: str = ""  # a sentence, if the file cannot be read


def data_set(folders: Iterable[Path]) -> DataSet:
    """Read the first dataset.json that is there, of nnU-Net or of the Medical Decathlon.

    Parameters
    ----------
    folders : iterable of Path
        Where it is looked for.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> text = '{"labels": {"background": 0, "liver": 1}, "file_ending": ".nrrd"}'
    >>> (folder / FILE).write_text(text) > 0
    True
    >>> data_set([folder])
    DataSet(names={1: 'liver'}, ending='.nrrd', problem='')
    """
    path = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if path is None:
        return DataSet()
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        labels, ending = content.get("labels", {}), content.get("file_ending", "")
        pairs = [_pair(*item) for item in labels.items()]
    except (OSError, ValueError, AttributeError, RecursionError):
        problem = f"{path} is no JSON object with labels, so that structures have no names from it"
        return DataSet(problem=f"{problem}; write it anew")
    names = {number: " ".join(name.split()) for number, name in filter(None, pairs) if number > 0}
    return DataSet(names, ending if isinstance(ending, str) else "")


def _pair(key: str, value: object) -> tuple[int, str] | None:
    """Return number and name: nnU-Net writes name -> number, the Decathlon number -> name."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, key
    if isinstance(value, str) and key.isdecimal():
        return int(key), value
    return None  # a region of several labels


def plain(name: str) -> str:
    """Return a name as it is compared: letters of any case, and blanks of any kind.

    Parameters
    ----------
    name : str
        Of a structure.

    Examples
    --------
    >>> plain("Left kidney") == plain("left_kidney")
    True
    """
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def renumbering(
    present: Iterable[int], names: Mapping[int, str], common: Mapping[int, str]
) -> dict[int, int]:
    """Return which numbers of a label map become others, so that equal names have equal numbers.

    Parameters
    ----------
    present : iterable of int
        The structures of the map.
    names : mapping of int to str
        Their names, as far as they are known.
    common : mapping of int to str
        The numbers that structures have elsewhere, and their names; an empty one if none is known.

    Returns
    -------
    dict of int to int
        Number -> number, of all that are present. A structure of another name than the one that has
        its number gets a number that nothing has.

    Examples
    --------
    >>> renumbering([1, 2, 5], {1: "Liver", 2: "spleen"}, {1: "spleen", 2: "liver"})
    {1: 2, 2: 1, 5: 5}
    >>> renumbering([1], {1: "kidney"}, {1: "spleen"})
    {1: 2}
    """
    present = sorted(present)
    by_name = {plain(name): number for number, name in common.items() if name}
    called = {number: plain(names[number]) for number in present if number in names}
    taken = {by_name[name] for name in called.values() if name in by_name}
    free = max([*present, *names, *common], default=0) + 1
    table = {}
    for number in present:
        name = called.get(number)
        if name in by_name:
            table[number] = by_name[name]
        elif number in taken or (name is not None and number in common):
            table[number], free = free, free + 1
        else:
            table[number] = number
    return table
