"""One paper's report: its cases' metrics joined with its claims; nothing is decided here.

Reads one metrics file per case, the figures and the lock file. Writes, to the folder `out`:
metrics.json, claims.json, README.md and figures/ (committed: no times, dates or host names, so
that a rerun gives the same bytes), timings.json (the machine's part) and report.json (tables,
captions and lists, for the page over all papers). A figure NAME with a page NAME.html beside its
pictures is interactive; the page goes with it, and so does an animation NAME.gif.
"""

import math
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import jinja2
from markupsafe import Markup

from pr12.shared import claims, files, stats, step
from pr12.shared.errors import UserError
from pr12.shared.step import NotEmpty

OTHER_PATHS = ("figures", "lock")  # every other input is a case
BESIDE = {"page": ".html", "animation": ".gif"}  # what a figure may have beside its pictures
TEMPLATES = Path(__file__).parent / "templates"
SYMBOLS = {"reproduced": "✔", "differs": "✘", "inconclusive": "◐", "not run": "○"}
TIMES = ("seconds", "cpu_seconds", "peak_memory_bytes")
PUBLIC = ("command", "params", "inputs", "source", "packages", "python", "device", "threads")


@dataclass(frozen=True)
class Params:
    """Params of the report (source of each value: the paper's section of params.yaml)."""

    run: str
    paper: str
    title: str
    citation: str
    cases: Annotated[tuple[str, ...], NotEmpty()]  # all of them, also those without result
    claims: tuple[dict, ...]
    tables: tuple[dict, ...]
    deviations: tuple[str, ...]


def path_names(arguments: Sequence[str], besides: Sequence[str]) -> list[str]:
    """Give the names of the name=path on a command line.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    besides : sequence of str
        Names that are not wanted.

    Examples
    --------
    >>> path_names(["--params", '{"a": "b=c"}', "out=o", "soft=m.json"], besides=["out"])
    ['soft']
    """
    names = [
        argument.partition("=")[0]
        for argument, previous in zip(arguments, ["", *arguments], strict=False)
        if "=" in argument and previous != "--params"
    ]
    return [name for name in names if name not in besides]


def _check_result(result: Any, where: str) -> None:
    """Check that a metrics file holds finite numbers per seed and a provenance.

    It is ``{"metrics": {key: [numbers]}, "provenance": {...}}``, perhaps with ``"timings"``,
    shaped as metrics: numbers that are properties of a machine.
    """
    again = "delete the file and run its step again"
    shaped = isinstance(result, dict) and isinstance(result.get("metrics"), dict)
    provenance = result.get("provenance") if shaped else None
    if not isinstance(provenance, dict) or not isinstance(provenance.get("command"), str):
        raise UserError(f"{where} has no metrics, or no provenance with a command: {again}")
    if not isinstance(result.get("timings", {}), dict):
        raise UserError(f"{where} has timings that are no mapping: {again}")
    for key, values in (result["metrics"] | result.get("timings", {})).items():
        good = isinstance(values, list) and len(values) > 0
        good = good and all(type(v) in (int, float) and math.isfinite(v) for v in values)
        if not good:
            wanted = "a list of finite numbers, one per seed"
            raise UserError(f"{where}: {key} is {values!r}; it must be {wanted}: {again}")


def _public_provenance(provenance: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Give the part of a provenance that is the same on a rerun, with paths relative to `root`.

    Of a path outside `root` only the name is kept.
    """
    kept = {key: provenance[key] for key in PUBLIC if key in provenance}
    words = (re.fullmatch(r"([\w.-]+=)?(.*)", w, re.S) for w in shlex.split(kept["command"]))
    kept["command"] = shlex.join((w[1] or "") + _relative(w[2], root) for w in words)
    if "inputs" in kept:
        kept["inputs"] = {
            name: source | {"path": _relative(source["path"], root)}
            for name, source in kept["inputs"].items()
        }
    return kept


def _relative(path: str, root: Path) -> str:
    if not path.startswith("/"):
        return path
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else Path(path).name


def _table(
    spec: Mapping[str, Any],
    cases: Sequence[str],
    metrics: Mapping[str, Mapping[str, Sequence[float]]],
    where: str,
) -> dict[str, Any]:
    """Fill one table of params.yaml with measured numbers."""
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


def _other_versions(provenance: Mapping[str, Mapping[str, Any]], lock: str) -> list[dict[str, Any]]:
    """List where the packages that made the results are not those of the lock file."""
    locked = dict(re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", lock))
    found: dict[tuple[str, str, str], list[str]] = {}
    for case, made in provenance.items():
        for package, used in made.get("packages", {}).items():
            wanted = locked.get(package)
            if used is None or wanted is None:
                continue
            # A build label (+cpu, +cu130) names the same release unless the lock names one too.
            if used != wanted and used.partition("+")[0] != wanted:
                found.setdefault((package, used, wanted), []).append(case)
    return [
        {"package": package, "used": used, "locked": wanted, "cases": cases}
        for (package, used, wanted), cases in sorted(found.items())
    ]


def compiled(
    params: Params,
    results: Mapping[str, Mapping[str, Any]],
    figures: Sequence[Mapping[str, str]],
    lock: str | None,
) -> dict[str, Any]:
    """Give the contents of the report's JSON files, by name.

    Parameters
    ----------
    params : Params
        Texts, claims and tables.
    results : mapping
        Case -> its metrics file, with a public provenance and its ``times``.
    figures : sequence of mapping
        ``file``, ``title``, ``caption`` and ``alt`` of each figure; ``page`` and ``animation`` if
        it has one.
    lock : str, optional
        Text of requirements.lock.

    Raises
    ------
    UserError
        For a mistake in the claims or tables.
    """
    claims.check(params.claims, params.cases, f"{params.paper}.claims")
    metrics = {case: result["metrics"] for case, result in results.items()}
    provenance = {case: result["provenance"] for case, result in results.items()}
    timings = {case: _timings(result) for case, result in results.items()}
    records = [claims.judge(c, metrics, params.run, timings, provenance) for c in params.claims]
    records, on_machine = _without_times(records)
    return {
        # Numbers apart from their provenance: `dvc metrics` lists every value it finds
        "metrics": {case: _summaries(metrics[case]) for case in results},
        "provenance": provenance,
        "claims": records,
        "timings": {
            "machine": platform.node(),
            "cpus": os.cpu_count(),
            "cases": {case: _summaries(values) for case, values in timings.items()},
            "claims": on_machine,
        },
        "report": {
            "run": params.run,
            "paper": params.paper,
            "title": params.title,
            "citation": params.citation,
            "tables": [
                _table(spec, params.cases, metrics, f"{params.paper}.tables[{index}]")
                for index, spec in enumerate(params.tables)
            ],
            "figures": list(figures),
            "deviations": list(params.deviations),
            "not_run": [case for case in params.cases if case not in results],
            "versions": None if lock is None else _other_versions(provenance, lock),
        },
    }


def _timings(result: Mapping[str, Any]) -> dict[str, Any]:
    step_times = {f"step/{key}": [value] for key, value in result["times"].items()}
    return step_times | result.get("timings", {})


def _without_times(records: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict]:
    """Part the claims from what a machine measured: bound and verdict stay with the claim."""
    kept, on_machine = [], {}
    for record in records:
        if record["timing"] and record["measured"]:
            on_machine[record["id"]] = {key: record[key] for key in ("measured", "note")}
            record = record | {"measured": None, "note": "a time: its value is in index.html"}
        kept.append(record)
    return kept, on_machine


def _summaries(metrics: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {key: asdict(stats.mean(v)) | {"values": list(v)} for key, v in sorted(metrics.items())}


def _check_figures(listed: Any, folder: Path) -> list[dict[str, str]]:
    """Check a list of figures: keys, plain names, both files there."""
    where = str(folder / "figures.json")
    if not isinstance(listed, list):
        raise UserError(f"{where} is not a list; run the figures step again")
    for index, figure in enumerate(listed):
        _check_keys(figure, ("file", "title", "caption", "alt"), (), f"{where}[{index}]")
        if not re.fullmatch(r"[\w-]+", str(figure["file"]), flags=re.ASCII):
            name = figure["file"]
            raise UserError(f"{where}[{index}].file is {name!r}; only letters, digits, _ and -")
        for suffix in (".svg", ".png"):
            if not (folder / (figure["file"] + suffix)).is_file():
                raise UserError(f"{where} names {figure['file']}{suffix}, which is not there")
    return listed


def _beside(folder: Path, file: str) -> dict[str, str]:
    named = {key: file + suffix for key, suffix in BESIDE.items()}
    return {key: name for key, name in named.items() if (folder / name).is_file()}


def bound_text(bound: Mapping[str, Any]) -> str:
    """Write a bound in words.

    Parameters
    ----------
    bound : mapping
        As `claims.bound` gives it.

    Examples
    --------
    >>> bound_text({"low": 68.0, "high": 80.0, "strict": False})
    'from 68 to 80'
    >>> bound_text({"low": 0, "high": None, "strict": True})
    'above 0'
    """
    if bound["low"] is None:
        return f"at most {stats.number(bound['high'])}"
    low = stats.number(bound["low"])
    if bound["high"] is None:
        return f"above {low}" if bound["strict"] else f"at least {low}"
    return f"from {low} to {stats.number(bound['high'])}"


def counts(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the verdicts.

    Parameters
    ----------
    records : sequence of mapping
        What `claims.judge` gave.

    Examples
    --------
    >>> counts([{"verdict": "differs"}])
    {'reproduced': 0, 'differs': 1, 'inconclusive': 0, 'not run': 0}
    """
    return {name: sum(r["verdict"] == name for r in records) for name in claims.VERDICTS}


def escape_markdown(value: Any) -> str:
    r"""Write a text so that GitHub's Markdown shows it as it is, on one line.

    Parameters
    ----------
    value : Any
        The text; `Markup` passes unchanged.

    Examples
    --------
    >>> print(escape_markdown("a|b <i> x_1"))
    a\|b \<i\> x\_1
    """
    if isinstance(value, Markup):
        return value
    line = re.sub(r"\s*[\r\n]\s*", " ", str(value))
    return re.sub(r"([\\`*_\[\]<>|$~#&])", r"\\\1", line)


def environment(markdown: bool) -> jinja2.Environment:
    """Give the templates' environment: every text is escaped unless a filter made it safe.

    Parameters
    ----------
    markdown : bool
        Escape for GitHub's Markdown instead of HTML.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=not markdown,
        finalize=escape_markdown if markdown else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "number": stats.number,
        "written": stats.written,
        "bound": bound_text,
        "code": lambda text: Markup("`" + str(text).replace("`", "'").replace("|", "\\|") + "`"),
        "fenced": lambda text: Markup(str(text)),  # in a code block, where nothing is markup
        "verdict": lambda name: f"{SYMBOLS[name]} {name}",
    }
    made.globals |= {"counts": counts, "SYMBOLS": SYMBOLS}
    return made


def markdown(contents: Mapping[str, Any]) -> str:
    """Write a report as GitHub renders it.

    Parameters
    ----------
    contents : mapping
        What `compiled` gave.
    """
    template = environment(markdown=True).get_template("report.md.j2")
    shown = ("report", "claims", "metrics", "provenance")
    return template.render(**{key: contents[key] for key in shown})


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = path_names(arguments, besides=("out", *OTHER_PATHS))
    optional = [*names, *OTHER_PATHS]
    with step.start(Params, optional=optional, writes=["out"], arguments=arguments) as job:
        results = {}
        for case in names:
            if case not in job.params.cases:
                allowed = ", ".join((*job.params.cases, *OTHER_PATHS, "out"))
                raise UserError(f"{case} is not a case of {job.params.paper}; known: {allowed}")
            result = files.read_json(job.paths[case])
            _check_result(result, str(job.paths[case]))
            made = result["provenance"]
            times = {key: made[key] for key in TIMES if key in made}
            public = _public_provenance(made, Path.cwd())
            results[case] = result | {"provenance": public, "times": times}
        figures, folder, out = [], job.paths.get("figures"), job.paths["out"]
        if folder:
            figures = _check_figures(files.read_json(folder / "figures.json"), folder)
            figures = [f | _beside(folder, f["file"]) for f in figures]
        lock = job.paths["lock"].read_text(encoding="utf-8") if "lock" in job.paths else None
        contents = compiled(job.params, results, figures, lock)
        for figure in figures:
            names = [figure["file"] + suffix for suffix in (".svg", ".png")]
            for name in [*names, *(figure[key] for key in BESIDE if key in figure)]:
                with files.atomic(out / "figures" / name) as temporary:
                    shutil.copyfile(folder / name, temporary)
        for name, value in contents.items():
            files.write_json(out / f"{name}.json", value)
        with files.atomic(out / "README.md") as temporary:
            temporary.write_text(markdown(contents), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
