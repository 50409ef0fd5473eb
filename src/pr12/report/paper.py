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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pydantic.dataclasses import dataclass

from pr12.report import chain, claims, figure_list, freshness, stats, tables
from pr12.report import rows as evidence_rows
from pr12.report.page_templates import environment
from pr12.report.rows import Row
from pr12.workflow import address, files, settings, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

PUBLISHED = ("metrics", "claims")  # of what is compiled, what is in git


@dataclass(frozen=True, config=STRICT)
class Params:
    """Params of the report."""

    run: str
    paper: str
    planned: str  # digest of the figures' params and of today's graph, for the stamp


def _other_versions(provenance: Mapping[str, Mapping[str, Any]], lock: str) -> list[dict[str, Any]]:
    """List where the packages that made the results are not those of the lock file."""
    locked = dict(re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", lock))
    others: dict[tuple[str, str, str], list[str]] = {}
    for case, origin in provenance.items():
        for package, used in origin.get("packages", {}).items():
            wanted = locked.get(package)
            if used is None or wanted is None:
                continue
            # A build label (+cpu, +cu130) names the same release unless the lock names one too.
            if used != wanted and used.partition("+")[0] != wanted:
                others.setdefault((package, used, wanted), []).append(case)
    return [
        {"package": package, "used": used, "locked": wanted, "cases": cases}
        for (package, used, wanted), cases in sorted(others.items())
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
        What `pr12.workflow.settings.paper` returned.
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
        "claims": [
            claims.judge(claim, rows, params.run) | {"lead": lead}
            for claim, lead in zip(texts["claims"], claims.leads(texts["claims"]), strict=True)
        ],
        "provenance": provenance,
        "report": {
            "results": {case: row.evidence.chain[-1]["folder"] for case, row in rows.items()},
            "run": params.run,
            "paper": params.paper,
            "title": texts["title"],
            "citation": texts["citation"],
            "cited_for": texts.get("cited_for"),
            "card": texts.get("card"),
            "tables": tables.measured(
                tables.filled(spec, cases, metrics, f"{where}[{index}]")
                for index, spec in enumerate(texts["tables"])
            ),
            "figures": list(drawn),
            "deviations": list(texts["deviations"]),
            "not_run": [case for case in cases if case not in counting],
            "standing": _standings(rows),
            "versions": None if lock is None else _other_versions(provenance, lock),
        },
    }


def _standings(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    """List the cases that today's code did not make."""
    return [
        {"case": case, "state": row.standing.state, "note": row.standing.note}
        for case, row in rows.items()
        if row.standing.state != "current"
    ]


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
    return {
        key: asdict(stats.bounded(key, values)) | {"values": list(values)}
        for key, values in sorted(metrics.items())
    }


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


def claims_page(contents: Mapping[str, Any], paper: str, run: str) -> str:
    """Write the claims alone as a page, which Snakemake's own report shows beside the figures.

    Parameters
    ----------
    contents : mapping
        What `compiled` gave.
    paper, run : str
        Whose they are.
    """
    html = environment(markdown=False)
    style = Markup(html.get_template("index.css.j2").render())
    shown = dict(contents) | {"timings": {"claims": {}}}
    template = html.get_template("claims.html.j2")
    return template.render(c=shown, paper=paper, run=run, style=style).lstrip()


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
    drawn = (".svg", ".png", *figure_list.BESIDE.values())
    for path in (public / "figures").iterdir():
        if path.suffix in drawn and path.name not in pictures:
            path.unlink()


def main(job: step.Job) -> None:
    """Write one paper's report.

    Raises
    ------
    UserError
        If evidence, code or texts were changed after the figures were drawn.
    """
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
    texts = {
        "README.md": markdown(contents),
        "claims.csv": claims_table(contents["claims"]),
        "claims.html": claims_page(contents, params.paper, params.run),
    }
    for name, text in texts.items():
        with files.atomic(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    now = freshness.drawn_from(params.paper, job.paths["evidence"], job.paths["texts"])
    _refuse_changes(files.read_json(folder / figure_list.READ), now, job.paths)
    publish(out, public)
    stamp = address.digest(params.planned, now["made_by"], lock)
    freshness.write(out / "stamp.json", stamp, public)


def _refuse_changes(
    before: Mapping[str, Any], now: Mapping[str, Any], paths: Mapping[str, Path]
) -> None:
    """Refuse pages whose parts are not of the same evidence, code and texts."""
    changed = {
        "evidence": str(paths["evidence"]),
        "made_by": f"the code of the pages or {paths['texts']}",
    }
    for key, what in changed.items():
        if before.get(key) != now[key]:
            raise UserError(f"{what} was changed while its pages were written; run again")


if __name__ == "__main__":
    inputs = ["evidence", "chains", "texts", "figures"]
    with step.start(Params, reads=inputs, optional=["lock"], writes=["out", "public"]) as job:
        main(job)
