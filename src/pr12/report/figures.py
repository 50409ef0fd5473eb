"""Draw a paper's figures from evidence, or leave them as they are committed.

A figure names the cases that it draws and gets no others. Once it is committed it is drawn again
only when evidence of all cases that it was drawn from is there: until then it stays as it is.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pr12.report import chain as chains
from pr12.report import figure_list, freshness, plots
from pr12.report import rows as evidence_rows
from pr12.report.figure_list import BESIDE, LIST, TEXTS
from pr12.report.plots import Plot
from pr12.report.rows import Row
from pr12.report.stored import pictures as stored_pictures
from pr12.workflow import files, settings, step
from pr12.workflow.errors import UserError

Metrics = Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> one value per seed
Pictures = Mapping[str, Any]  # such as fcn_picture -> what the step wrote


class Figure(NamedTuple):
    """One figure: what it draws, and how."""

    file: str  # name without folder and suffix, as its Plot has it
    draw: Callable[[Metrics, Pictures], Plot | None]
    cases: str = ""  # pattern of the cases whose metrics it draws
    pictures: str = ""  # pattern of the cases whose pictures it draws
    page: Callable[[Metrics, Pictures], str | None] | None = None  # HTML beside it
    animation: Callable[[Metrics, Pictures], bytes | None] | None = None  # GIF beside it


def one_of(*cases: str) -> str:
    """Return the pattern that matches these cases and no others.

    Parameters
    ----------
    *cases : str
        Names.

    Examples
    --------
    >>> one_of("teacher", "hard_800")
    'teacher|hard_800'
    """
    return "|".join(map(re.escape, dict.fromkeys(cases)))


def _matching(pattern: str, cases: Iterable[str]) -> list[str]:
    return [case for case in cases if re.fullmatch(pattern, case)] if pattern else []


def inputs(
    figure: Figure, metrics: Metrics, pictures: Mapping[str, Any]
) -> tuple[Metrics, Pictures]:
    """Return what a figure draws, out of what there is of all cases.

    Parameters
    ----------
    figure : Figure
        Its patterns choose.
    metrics : mapping
        Case -> metrics.
    pictures : mapping
        Case -> picture.

    Examples
    --------
    >>> figure = Figure("curve", lambda metrics, pictures: None, "z[0-9]+", "z2")
    >>> inputs(figure, {"z2": {}, "other": {}}, {"z2": [1], "z3": [2]})
    ({'z2': {}}, {'z2_picture': [1]})
    """
    return (
        {case: metrics[case] for case in _matching(figure.cases, metrics)},
        {f"{case}_picture": pictures[case] for case in _matching(figure.pictures, pictures)},
    )


def waits_for(
    figure: Figure, entry: Mapping[str, Any], rows: Mapping[str, Row], cases: Sequence[str]
) -> list[str]:
    """Return the cases of today's whose evidence a committed figure lacks to be drawn again.

    Parameters
    ----------
    figure : Figure
        What it draws today.
    entry : mapping
        Of figures.json: ``cases`` and ``pictures`` that it was drawn from.
    rows : mapping
        Case -> row that counts.
    cases : sequence of str
        All that the paper has today; who is not there any more is not waited for.

    Examples
    --------
    >>> figure = Figure("curve", lambda metrics, pictures: None, "a|b|c")
    >>> waits_for(figure, {"cases": ["a", "b"], "pictures": []}, {}, ["b", "c"])
    ['b']
    """
    drawn = _matching(figure.cases, [case for case in entry["cases"] if case in cases])
    shown = _matching(figure.pictures, [case for case in entry["pictures"] if case in cases])
    pictured = [case for case in rows if rows[case].evidence.pictured]
    missing = [case for case in drawn if case not in rows]
    return missing + [f"{case} (picture)" for case in shown if case not in pictured]


def draw(
    figures: Sequence[Figure],
    rows: Mapping[str, Row],
    cases: Sequence[str],
    committed: Path,
    out: Path,
) -> None:
    """Draw each figure or leave it as it is committed, and write the list of them last.

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
        If the committed list is damaged, or names a file that is not there.
    """
    before = {entry["file"]: entry for entry in figure_list.read(committed)}
    missing = {
        figure.file: waits_for(figure, before[figure.file], rows, cases)
        for figure in figures
        if figure.file in before
    }
    metrics = {case: row.evidence.metrics for case, row in rows.items()}
    pictured = [case for case, row in rows.items() if row.evidence.pictured]
    redrawn = [figure for figure in figures if not missing.get(figure.file)]
    shown = {case for figure in redrawn for case in _matching(figure.pictures, pictured)}
    pictures = {
        case: stored_pictures.unpacked(rows[case].evidence.folder)
        for case in pictured
        if case in shown
    }
    entries = []
    with plots.style():
        for figure in figures:
            if figure in redrawn:
                entry = _draw(figure, metrics, pictures, out)
            else:
                entry = before[figure.file] | {"waits_for": missing[figure.file]}
                figure_list.copy(committed, out, entry)
            if entry:
                entries.append(entry)
    files.write_json(out / LIST, entries)


def _draw(
    figure: Figure, metrics: Metrics, pictures: Mapping[str, Any], out: Path
) -> dict[str, Any] | None:
    """Draw one figure from what it names; None if that has nothing to show."""
    drawn, shown = inputs(figure, metrics, pictures)
    plot = figure.draw(drawn, shown) if drawn or shown else None
    if plot is None:
        return None
    if plot.file != figure.file:
        raise ValueError(f"the figure {figure.file} drew {plot.file}")
    plots.save(out, plot)
    entry = {key: getattr(plot, key) for key in TEXTS}
    entry |= {"cases": list(drawn), "pictures": [name.removesuffix("_picture") for name in shown]}
    for name, suffix in BESIDE.items():
        make = getattr(figure, name)
        beside = make(drawn, shown) if make else None
        if beside is not None:
            entry[name] = figure.file + suffix
            data = beside.encode() if isinstance(beside, str) else beside
            with files.atomic(out / entry[name]) as temporary:
                temporary.write_bytes(data)
    return entry


READS = ("evidence", "committed", "chains", "texts")


def start(params_class: type, figures: Callable[[Any], Sequence[Figure]]) -> None:
    """Run a paper's figures step: draw its figures from evidence.

    Parameters
    ----------
    params_class : type
        The step's params; they have ``published``.
    figures : callable
        Returns all figures in the order of the report, from the params.
    """
    with step.start(params_class, reads=READS, writes=["out"]) as job:
        check_published(job.params.published)
        main(job, figures(job.params))


def check_published(published: Mapping[str, Any], where: str = "--params.published") -> None:
    """Check that published numbers are numbers, by case and metric key.

    Parameters
    ----------
    published : mapping
        Case -> metric key -> number.
    where : str
        Of the mapping, for the message.

    Raises
    ------
    UserError
        For the first case whose entry is something else.

    Examples
    --------
    >>> check_published({"soft_800": {"test/errors": 74}})
    >>> check_published({"soft_800": 74})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: --params.published.soft_800 is 74; it must be a mapping of \
metric keys to finite numbers, such as {'test/errors': 74}
    """
    for case, numbers in published.items():
        good = isinstance(numbers, Mapping)
        if not good or any(
            type(number) not in (int, float) or not math.isfinite(number)
            for number in numbers.values()
        ):
            raise UserError(
                f"{where}.{case} is {numbers!r}; it must be a mapping of metric keys to finite "
                "numbers, such as {'test/errors': 74}"
            )


def main(job: step.Job, figures: Sequence[Figure]) -> None:
    """Draw a paper's figures.

    Parameters
    ----------
    job : Job
        With the paths `READS` and ``out``.
    figures : sequence of Figure
        In the order of the report.
    """
    paper = job.module.split(".")[1]
    read = freshness.drawn_from(paper, job.paths["evidence"], job.paths["texts"])
    today = chains.read(job.paths["chains"])
    withdrawn = settings.withdrawn(job.paths["texts"])
    rows = evidence_rows.read(job.paths["evidence"], today, withdrawn)
    counting = {case: row for case, row in rows.items() if row.standing.counts}
    cases = today["cases"]
    draw(figures, counting, cases, job.paths["committed"], job.paths["out"])
    files.write_json(job.paths["out"] / figure_list.READ, read)
