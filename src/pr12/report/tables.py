"""Tables of a report: what tables.yaml asks for, filled with measured numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pr12.report import claims, stats
from pr12.workflow.errors import UserError

TEXTS = ("title", "note", "case", "label", "metric")


def filled(
    spec: Mapping[str, Any],
    cases: Sequence[str],
    metrics: Mapping[str, Mapping[str, Sequence[float]]],
    where: str,
) -> dict[str, Any]:
    """Return one table of tables.yaml, filled with measured numbers.

    Parameters
    ----------
    spec : mapping
        An entry of tables.yaml.
    cases : sequence of str
        All of the paper, also those without results.
    metrics : mapping
        Case -> metric key -> one value per seed, of results that count.
    where : str
        Path of the entry, for messages.

    Raises
    ------
    UserError
        For an unknown, missing or ill-typed key, an unknown case, a case or metric that stands
        twice, and a published number of no row.

    Examples
    --------
    >>> spec = {"title": "Errors", "rows": [{"case": "soft", "label": "distilled"}],
    ...         "columns": [{"metric": "test/errors", "label": "errors"}]}
    >>> table = filled(spec, ["soft"], {"soft": {"test/errors": [74, 74]}}, "tables.yaml[0]")
    >>> table["rows"][0]["cells"][0]["measured"]["mean"]
    74.0
    """
    check(spec, cases, where)
    rows = []
    for row in spec["rows"]:
        measured = metrics.get(row["case"], {})
        cells = [
            {
                "measured": asdict(stats.bounded(c["metric"], measured[c["metric"]]))
                if c["metric"] in measured
                else None,
                "published": c.get("published", {}).get(row["case"]),
            }
            for c in spec["columns"]
        ]
        rows.append({"case": row["case"], "label": row["label"], "cells": cells})
    columns = [
        {
            "metric": column["metric"],
            "label": column["label"],
            "better": claims.direction(column["metric"]),
            "published": bool(column.get("published")),
        }
        for column in spec["columns"]
    ]
    return {"title": spec["title"], "note": spec.get("note"), "columns": columns, "rows": rows}


def measured(tables: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tables without what was not measured: rows, columns, and whole tables.

    Parameters
    ----------
    tables : iterable of mapping
        What `filled` returned.

    Returns
    -------
    list of dict
        As given, with ``left_out``: the labels of rows in which nothing was measured.

    Examples
    --------
    >>> cell = {"measured": None, "published": 74}
    >>> rows = [{"case": "soft", "label": "distilled", "cells": [cell]}]
    >>> measured([{"title": "Errors", "note": None, "columns": [{}], "rows": rows}])
    []
    """
    shown = []
    for table in tables:
        rows = [row for row in table["rows"] if any(cell["measured"] for cell in row["cells"])]
        kept = [
            index
            for index in range(len(table["columns"]))
            if any(row["cells"][index]["measured"] for row in rows)
        ]
        if rows:
            shown.append(
                {
                    **table,
                    "columns": [table["columns"][index] for index in kept],
                    "rows": [row | {"cells": [row["cells"][i] for i in kept]} for row in rows],
                    "left_out": [row["label"] for row in table["rows"] if row not in rows],
                }
            )
    return shown


def check(spec: Mapping[str, Any], cases: Sequence[str], where: str) -> None:
    """Check the keys and values of a table and the cases that it names.

    Parameters
    ----------
    spec, cases, where
        As of `filled`.

    Raises
    ------
    UserError
        See `filled`.
    """
    _check_keys(spec, ("title", "rows", "columns"), ("note",), where)
    for key in ("rows", "columns"):
        if not isinstance(spec[key], list | tuple) or not spec[key]:
            raise UserError(
                f"{where}.{key} is {claims.shown(spec[key])}; it must be a list with at least one "
                "element"
            )
    for index, row in enumerate(spec["rows"]):
        _check_keys(row, ("case", "label"), (), f"{where}.rows[{index}]")
    for index, column in enumerate(spec["columns"]):
        _check_keys(column, ("metric", "label"), ("published",), f"{where}.columns[{index}]")
    rows = [row["case"] for row in spec["rows"]]
    _check_once(rows, f"{where}.rows", "case")
    _check_once([column["metric"] for column in spec["columns"]], f"{where}.columns", "metric")
    for case in rows:
        if case not in cases:
            raise UserError(f"{where} names the unknown case {case!r}; known: {', '.join(cases)}")
    for index, column in enumerate(spec["columns"]):
        _check_published(column.get("published", {}), rows, f"{where}.columns[{index}].published")


def _check_once(names: Sequence[str], where: str, what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where} has the {what} {name!r} twice; keep one")


def _check_published(published: Any, rows: Sequence[str], where: str) -> None:
    """Check that published numbers are numbers, each of a case that has a row to show it."""
    if not isinstance(published, Mapping):
        raise UserError(f"{where} is {claims.shown(published)}; it must map cases to numbers")
    for case, number in published.items():
        if case not in rows:
            raise UserError(f"{where} names {case!r}, which is no row; known: {', '.join(rows)}")
        if not claims.is_number(number):
            raise UserError(f"{where}.{case} is {claims.shown(number)}; it must be a finite number")


def _check_keys(value: Any, required: Sequence[str], optional: Sequence[str], where: str) -> None:
    allowed = ", ".join((*required, *optional))
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {claims.shown(value)}; it must be a mapping with {allowed}")
    for key, entry in value.items():
        if key not in (*required, *optional):
            raise UserError(f"{where}.{key} is unknown; allowed here: {allowed}")
        if key in TEXTS and not claims.is_text(entry):
            raise UserError(f"{where}.{key} is {claims.shown(entry)}; it must be a text")
    for key in required:
        if key not in value:
            raise UserError(f"{where}.{key} is missing; needed here: {', '.join(required)}")
