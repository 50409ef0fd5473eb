"""One paper's report: evidence of its cases joined with its claims; nothing is decided here.

Reads the paper's evidence, its texts, its figures and the lock file. Writes README.md, claims.json,
metrics.json and figures/ to the folder `public` (committed: no times, dates or host names, so that
a rerun gives the same bytes), and to the folder `out` what the page over all papers needs besides.
A figure NAME with a page NAME.html or an animation NAME.gif beside its pictures takes it along.
"""

import csv
import io
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pr12.report import chain, figure_list, freshness
from pr12.report import rows as evidence_rows
from pr12.report.rows import Row
from pr12.shared import claims, files, settings, stats, step
from pr12.shared.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"
SYMBOLS = {"reproduced": "✔", "differs": "✘", "inconclusive": "◐", "not run": "○"}
PUBLISHED = ("metrics", "claims")  # of what is compiled, what is in git


@dataclass(frozen=True)
class Params:
    """Params of the report."""

    run: str
    paper: str
    fixed: str  # digest of code, params and texts, for the stamp


def _table(
    spec: Mapping[str, Any],
    cases: Sequence[str],
    metrics: Mapping[str, Mapping[str, Sequence[float]]],
    where: str,
) -> dict[str, Any]:
    """Fill one table of tables.yaml with measured numbers."""
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
    texts: Mapping[str, Any],
    cases: Sequence[str],
    rows: Mapping[str, Row],
    drawn: Sequence[Mapping[str, Any]],
    lock: str | None,
) -> dict[str, Any]:
    """Return the contents of the report's JSON files, by name.

    Parameters
    ----------
    params : Params
        The step's.
    texts : mapping
        What `pr12.shared.settings.paper` returned.
    cases : sequence of str
        All of the paper, also those without evidence.
    rows : mapping
        Case -> evidence and its standing.
    drawn : sequence of mapping
        Content of figures.json.
    lock : str, optional
        Text of requirements.lock.

    Raises
    ------
    UserError
        For a mistake in the claims or tables.
    """
    claims.check(texts["claims"], cases, f"papers/{params.paper}/claims.yaml")
    counting = {case: row for case, row in rows.items() if row.standing.counts}
    metrics = {case: row.evidence.metrics for case, row in counting.items()}
    provenance = {case: row.evidence.provenance for case, row in counting.items()}
    where = f"papers/{params.paper}/tables.yaml"
    return {
        # Numbers apart from their provenance: `dvc metrics` lists every value it finds
        "metrics": {case: summaries(values) for case, values in metrics.items()},
        "claims": [claims.judge(claim, rows, params.run) for claim in texts["claims"]],
        "provenance": provenance,
        "report": {
            "run": params.run,
            "paper": params.paper,
            "title": texts["title"],
            "citation": texts["citation"],
            "tables": [
                _table(spec, cases, metrics, f"{where}[{index}]")
                for index, spec in enumerate(texts["tables"])
            ],
            "figures": list(drawn),
            "deviations": list(texts["deviations"]),
            "not_run": [case for case in cases if case not in counting],
            "standing": [
                {"case": case, "state": row.standing.state, "note": row.standing.note}
                for case, row in rows.items()
                if row.standing.state != "current"
            ],
            "versions": None if lock is None else _other_versions(provenance, lock),
        },
    }


def summaries(metrics: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return the mean of every metric with its interval and its values.

    Parameters
    ----------
    metrics : mapping
        Key -> one value per seed.

    Examples
    --------
    >>> summaries({"test/errors": [74, 74]})["test/errors"]["mean"]
    74.0
    """
    return {key: asdict(stats.mean(v)) | {"values": list(v)} for key, v in sorted(metrics.items())}


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


def claims_table(records: Sequence[Mapping[str, Any]]) -> str:
    r"""Return the measured claims as CSV, which ``dvc plots diff`` lays over another revision's.

    Parameters
    ----------
    records : sequence of mapping
        What `claims.judge` returned.

    Examples
    --------
    >>> claims_table([])
    'claim,measured,low,high,published,verdict\n'
    """
    stream = io.StringIO()
    keys = ("claim", "measured", "low", "high", "published", "verdict")
    table = csv.DictWriter(stream, keys, lineterminator="\n")
    table.writeheader()
    for record in records:
        measured = record["measured"]
        if measured:
            numbers = {
                "measured": measured["mean"],
                "low": measured["low"],
                "high": measured["high"],
            }
            texts = {key: record[key] for key in ("published", "verdict")}
            table.writerow({"claim": record["id"], **numbers, **texts})
    return stream.getvalue()


def publish(out: Path, public: Path) -> None:
    """Copy what was written to the folder in git, evidence untouched; remove figures of before.

    Parameters
    ----------
    out, public : Path
        Folders with README.md, the JSON files and figures/.
    """
    listed = figure_list.check(files.read_json(out / "figures" / figure_list.LIST), out / "figures")
    pictures = [name for entry in listed for name in figure_list.names(entry)]
    pictures.append(figure_list.LIST)  # last: a list in git never names what is not there
    names = ["README.md", "claims.csv", *(f"{name}.json" for name in PUBLISHED)]
    for name in [*(f"figures/{picture}" for picture in pictures), *names]:
        with files.atomic(public / name) as temporary:
            shutil.copyfile(out / name, temporary)
    for path in (public / "figures").iterdir():
        if path.name not in pictures:
            path.unlink()


def main(job: step.Job) -> None:
    """Write one paper's report."""
    params, out, public = job.params, job.paths["out"], job.paths["public"]
    today = chain.read(job.paths["chains"])
    texts = settings.paper(job.paths["texts"])
    withdrawn = settings.withdrawn(job.paths["texts"])
    rows = evidence_rows.read(job.paths["evidence"], today, withdrawn)
    folder = job.paths["figures"]
    drawn = figure_list.check(files.read_json(folder / figure_list.LIST), folder)
    lock = job.paths["lock"].read_text(encoding="utf-8") if "lock" in job.paths else None
    contents = compiled(params, texts, today["cases"], rows, drawn, lock)
    for name, value in contents.items():
        files.write_json(out / f"{name}.json", value)
    texts = {"README.md": markdown(contents), "claims.csv": claims_table(contents["claims"])}
    for name, text in texts.items():
        with files.atomic(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    publish(out, public)
    freshness.write(out / "stamp.json", params.fixed, public)


if __name__ == "__main__":
    inputs = ["evidence", "chains", "texts", "figures"]
    with step.start(Params, reads=inputs, optional=["lock"], writes=["out", "public"]) as job:
        main(job)
