"""Draw a paper's figures from evidence, or leave them as they are committed.

A figure names the cases that it draws and gets no others. Once it is committed it is drawn again
only when evidence of all cases that it was drawn from is there: until then it stays as it is.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pr12.report import chain as chains
from pr12.report import rows as evidence_rows
from pr12.report import stored_pictures
from pr12.report.rows import Row
from pr12.shared import files, plots, settings, step
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed
Pictures = Mapping[str, Any]  # such as fcn_picture -> what the step wrote
LIST = "figures.json"
TEXTS = ("file", "title", "caption", "alt")
BESIDE = {"page": ".html", "animation": ".gif"}  # what a figure may have beside its pictures


class Figure(NamedTuple):
    """One figure: what it draws, and how."""

    file: str  # name without folder and suffix, as its Plot has it
    draw: Callable[[Metrics, Pictures], Plot | None]
    cases: str = ""  # pattern of the cases whose metrics it draws
    pictures: str = ""  # pattern of the cases whose pictures it draws
    page: Callable[[Metrics, Pictures], str | None] | None = None  # HTML beside it
    animation: Callable[[Metrics, Pictures], bytes | None] | None = None  # GIF beside it


def _matching(pattern: str, names: Iterator[str]) -> list[str]:
    return [name for name in names if re.fullmatch(pattern, name)] if pattern else []


def waits_for(entry: Mapping[str, Any], rows: Mapping[str, Row], cases: Sequence[str]) -> list[str]:
    """Return the cases of today's whose evidence a committed figure lacks to be drawn again.

    Parameters
    ----------
    entry : mapping
        Of figures.json: ``cases`` and ``pictures`` that it was drawn from.
    rows : mapping
        Case -> row that counts.
    cases : sequence of str
        All that the paper has today; who is not there any more is not waited for.

    Examples
    --------
    >>> waits_for({"cases": ["a", "b"], "pictures": []}, {}, ["b", "c"])
    ['b']
    """
    missing = [case for case in entry["cases"] if case in cases and case not in rows]
    missing += [
        f"{case} (picture)"
        for case in entry["pictures"]
        if case in cases and not (case in rows and rows[case].evidence.pictured)
    ]
    return missing


def draw(
    figures: Sequence[Figure],
    rows: Mapping[str, Row],
    cases: Sequence[str],
    committed: Path,
    out: Path,
) -> None:
    """Draw or keep each figure, and write the list of them last.

    Parameters
    ----------
    figures : sequence of Figure
        In the order of the report.
    rows : mapping
        Case -> row that counts.
    cases : sequence of str
        All that the paper has today.
    committed : Path
        Folder of the figures in git; it may be empty.
    out : Path
        Folder to write to.

    Raises
    ------
    UserError
        If the committed list names a file that is not there.
    """
    before = {entry["file"]: entry for entry in _entries(committed)}
    pictures = {
        case: stored_pictures.unpacked(row.evidence.folder)
        for case, row in rows.items()
        if row.evidence.pictured
    }
    entries = []
    with plots.style():
        for figure in figures:
            entry = before.get(figure.file)
            missing = waits_for(entry, rows, cases) if entry else []
            if missing:
                _copy(committed, out, entry)
                entries.append(entry | {"waits_for": missing})
                continue
            entry = _draw(figure, rows, pictures, out)
            if entry:
                entries.append(entry)
    files.write_json(out / LIST, entries)


def _draw(
    figure: Figure, rows: Mapping[str, Row], pictures: Mapping[str, Any], out: Path
) -> dict[str, Any] | None:
    """Draw one figure from what it names; None if that has nothing to show."""
    drawn = _matching(figure.cases, iter(rows))
    seen = _matching(figure.pictures, iter(pictures))
    metrics = {case: rows[case].evidence.metrics for case in drawn}
    shown = {f"{case}_picture": pictures[case] for case in seen}
    plot = figure.draw(metrics, shown)
    if plot is None:
        return None
    if plot.file != figure.file:
        raise ValueError(f"the figure {figure.file} drew {plot.file}")
    plots.save(out, plot)
    entry = {key: getattr(plot, key) for key in TEXTS} | {"cases": drawn, "pictures": seen}
    for name, suffix in BESIDE.items():
        make = getattr(figure, name)
        beside = make(metrics, shown) if make else None
        if beside is not None:
            entry[name] = figure.file + suffix
            data = beside.encode() if isinstance(beside, str) else beside
            with files.atomic(out / entry[name]) as temporary:
                temporary.write_bytes(data)
    return entry


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


def _entries(folder: Path) -> list[dict[str, Any]]:
    return check(files.read_json(folder / LIST), folder) if (folder / LIST).exists() else []


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
    again = f"git checkout -- {folder} brings back what was committed"
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UserError(f"{where} is not a list of figures; {again}")
    for index, entry in enumerate(listed):
        for key in (*TEXTS, "cases", "pictures"):
            if key not in entry:
                raise UserError(f"{where}[{index}].{key} is missing; {again}")
        for name in (Path(entry["file"]).name, *names(entry)):
            if not re.fullmatch(r"[\w-]+(\.\w+)?", str(name), flags=re.ASCII):
                raise UserError(f"{where}[{index}] names {name!r}; only letters, digits, _ and -")
        for name in names(entry):
            if not (folder / name).is_file():
                raise UserError(f"{where} names {name}, which is not there; {again}")
    return listed


def _copy(folder: Path, out: Path, entry: Mapping[str, Any]) -> None:
    for name in names(entry):
        with files.atomic(out / name) as temporary:
            shutil.copyfile(folder / name, temporary)


READS = ("evidence", "committed", "chains", "texts")


def main(job: step.Job, paper: str, figures: Sequence[Figure]) -> None:
    """Draw a paper's figures: the body of every paper's figures step.

    Parameters
    ----------
    job : Job
        With the paths `READS` and ``out``.
    paper : str
        Short name.
    figures : sequence of Figure
        In the order of the report.
    """
    today = chains.read(job.paths["chains"])
    withdrawn = settings.withdrawn(job.paths["texts"])
    rows = evidence_rows.read(job.paths["evidence"], today, paper, withdrawn)
    counting = {case: row for case, row in rows.items() if row.standing.counts}
    cases = list(today["results"][paper])
    draw(figures, counting, cases, job.paths["committed"], job.paths["out"])
