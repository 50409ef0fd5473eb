"""The list of a paper's figures, figures.json: what each shows, and what it was drawn from."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pr12.workflow import files
from pr12.workflow.errors import UserError

LIST = "figures.json"
READ = "read.json"  # what evidence they were drawn from, by what code; it stays in build/
TEXTS = ("file", "title", "caption", "alt")
BESIDE = {"page": ".html", "animation": ".gif"}  # what a figure may have beside its pictures


def names(entry: Mapping[str, Any]) -> list[str]:
    """Return the names of the files of one figure.

    Parameters
    ----------
    entry : mapping
        Of figures.json.

    Examples
    --------
    >>> names({"file": "training", "animation": "training.gif"})
    ['training.svg', 'training.png', 'training.gif']
    """
    beside = [entry[key] for key in BESIDE if key in entry]
    return [entry["file"] + ".svg", entry["file"] + ".png", *beside]


def check(listed: Any, folder: Path) -> list[dict[str, Any]]:
    """Check a list of figures: keys, plain names, all files there.

    Parameters
    ----------
    listed : Any
        Content of figures.json.
    folder : Path
        Where it lies.

    Raises
    ------
    UserError
        If it is no such list, or a file is missing.

    Examples
    --------
    >>> check([], Path("figures"))
    []
    """
    where = folder / LIST
    again = _again(folder)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UserError(f"{where} is not a list of figures; {again}")
    for index, entry in enumerate(listed):
        for key in (*TEXTS, "cases", "pictures"):
            if key not in entry:
                raise UserError(f"{where}[{index}].{key} is missing; {again}")
        plain = [key for key in (*TEXTS, *BESIDE) if type(entry.get(key, "")) is not str]
        plain += [key for key in ("cases", "pictures") if not _names(entry[key])]
        if plain:
            raise UserError(f"{where}[{index}].{plain[0]} is {entry[plain[0]]!r}; {again}")
        for name in names(entry):
            if not re.fullmatch(r"[\w-]+\.\w+", name, flags=re.ASCII):
                raise UserError(
                    f"{where} names {name!r}; only letters, digits, _ and -, a dot and a suffix "
                    f"are allowed; {again}"
                )
            if not (folder / name).is_file():
                raise UserError(f"{where} names {name}, which is not there; {again}")
    return listed


def _again(folder: Path) -> str:
    return f"git checkout -- {folder} brings back what was committed"


def _names(value: Any) -> bool:
    """Tell whether a value is a list of names."""
    return isinstance(value, list) and all(type(name) is str for name in value)


def read(folder: Path) -> list[dict[str, Any]]:
    """Read and check the list of figures in a folder; none if there is no list.

    Parameters
    ----------
    folder : Path
        Such as ``reports/full/vae/figures``.

    Raises
    ------
    UserError
        See `check`.

    Examples
    --------
    >>> read(Path("/nowhere"))
    []
    """
    if not (folder / LIST).exists():
        return []
    try:
        listed = files.read_json(folder / LIST)
    except UserError as error:
        raise UserError(f"{error}; {_again(folder)}") from None
    except RecursionError:
        raise UserError(f"{folder / LIST} cannot be read; {_again(folder)}") from None
    return check(listed, folder)


def copy(folder: Path, out: Path, entry: Mapping[str, Any]) -> None:
    """Copy the files of one figure.

    Parameters
    ----------
    folder, out : Path
        From where and to where.
    entry : mapping
        Of figures.json.
    """
    for name in names(entry):
        with files.atomic(out / name) as temporary:
            shutil.copyfile(folder / name, temporary)
