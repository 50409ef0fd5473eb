"""Tables of a report: what tables.yaml asks for, filled with measured numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pr12.report import claims, stats
from pr12.workflow.errors import UserError


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
        For an unknown or missing key, and for an unknown case.

    Examples
    --------
    >>> spec = {"title": "Errors", "rows": [{"case": "soft", "label": "distilled"}],
    ...         "columns": [{"metric": "test/errors", "label": "errors"}]}
    >>> table = filled(spec, ["soft"], {"soft": {"test/errors": [74, 74]}}, "tables.yaml[0]")
    >>> table["rows"][0]["cells"][0]["measured"]["mean"]
    74.0
    """
    _check(spec, cases, where)
    rows = []
    for row in spec["rows"]:
        own = metrics.get(row["case"], {})
        cells = [
            {
                "measured": asdict(stats.mean(own[c["metric"]])) if c["metric"] in own else None,
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


def _check(spec: Mapping[str, Any], cases: Sequence[str], where: str) -> None:
    """Check the keys of a table and the cases that it names."""
    _check_keys(spec, ("title", "rows", "columns"), ("note",), where)
    for key in ("rows", "columns"):
        if not isinstance(spec[key], list | tuple):
            raise UserError(f"{where}.{key} is {spec[key]!r}; it must be a list")
    for index, row in enumerate(spec["rows"]):
        _check_keys(row, ("case", "label"), (), f"{where}.rows[{index}]")
    for index, column in enumerate(spec["columns"]):
        _check_keys(column, ("metric", "label"), ("published",), f"{where}.columns[{index}]")
    named = [row["case"] for row in spec["rows"]]
    named += [case for column in spec["columns"] for case in column.get("published", {})]
    for case in named:
        if case not in cases:
            raise UserError(f"{where} names the unknown case {case!r}; known: {', '.join(cases)}")


def _check_keys(value: Any, required: Sequence[str], optional: Sequence[str], where: str) -> None:
    allowed = ", ".join((*required, *optional))
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {value!r}; it must be a mapping with {allowed}")
    for key in value:
        if key not in (*required, *optional):
            raise UserError(f"{where}.{key} is unknown; allowed here: {allowed}")
    for key in required:
        if key not in value:
            raise UserError(f"{where}.{key} is missing; needed here: {', '.join(required)}")
