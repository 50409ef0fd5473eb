"""Bring evidence of an earlier schema to today's: one function a step, applied in order.

Schema 0 is what the first edition left of a paper in a run: metrics.json (with the values of every
seed) and provenance.json. A case becomes evidence if the folder that its command wrote to is the
one that today's graph gives it: only then are the steps behind it known.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from pr12.report import chain as chains
from pr12.report import evidence
from pr12.shared import files, step
from pr12.shared.errors import UserError
from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class Params:
    """Nothing is to be chosen."""


# From schema -> what makes the content of evidence.json one of the next schema.
STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def first_edition(folder: Path, today: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return case -> content of evidence.json from a report of the first edition.

    Parameters
    ----------
    folder : Path
        Such as ``reports/full/vae``, with metrics.json and provenance.json. A case that has
        evidence already is left out.
    today : dict
        What `pr12.report.chain.read` returned.

    Raises
    ------
    UserError
        If a case was made by other steps than today's: then nothing is migrated.
    """
    metrics = files.read_json(folder / "metrics.json")
    contents = {}
    for case, provenance in files.read_json(folder / "provenance.json").items():
        if (folder / "evidence" / case / evidence.NAME).exists():
            continue  # nothing but the case's new result ever replaces evidence
        where = f"{folder}/provenance.json: {case}"
        place = re.search(r"metrics=(\S+)/metrics\.json", provenance.get("command", ""))
        result = today["results"].get(case)
        if place is None or result != place[1]:
            raise UserError(
                f"{where} was written to {place and place[1]}, today's graph has {result}; migrate "
                "with the code that made it"
            )
        made_by = chains.collect(today["nodes"], result)
        if made_by[-1]["source"] != provenance.get("source"):
            raise UserError(
                f"{where} was made by the source {provenance.get('source')}, today's is "
                f"{made_by[-1]['source']}; migrate with the code that made it"
            )
        if case not in metrics:
            raise UserError(f"{where} has no numbers in metrics.json; bring both back from git")
        values = {key: summary["values"] for key, summary in metrics[case].items()}
        found = {"metrics": values, "provenance": provenance}
        contents[case] = evidence.content(case, found, made_by, {}, Path.cwd())
    return contents


def migrated(found: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the content of an evidence.json as one of today's schema.

    Parameters
    ----------
    found : dict
        The content.
    where : str
        Its file, for the message.

    Raises
    ------
    UserError
        If it has no schema, or no step leads from that to today's.

    Examples
    --------
    >>> migrated({"schema": evidence.SCHEMA}, "evidence.json") == {"schema": evidence.SCHEMA}
    True
    """
    if not isinstance(found, dict) or type(found.get("schema")) is not int:
        raise UserError(f"{where} is no evidence; bring it back from git")
    while found["schema"] != evidence.SCHEMA:
        if found["schema"] not in STEPS:
            raise UserError(
                f"{where} is of schema {found['schema']}, from which nothing leads to "
                f"{evidence.SCHEMA}; a newer version of this repository reads it"
            )
        found = STEPS[found["schema"]](found)
    return found


def main(job: step.Job) -> None:
    """Migrate one paper's evidence in one run."""
    folder = job.paths["report"]
    if (folder / "provenance.json").exists():
        if "chains" not in job.paths:
            raise UserError(f"{folder} is of the first edition: add chains=PATH (see build/)")
        contents = first_edition(folder, chains.read(job.paths["chains"]))
        for case, content in contents.items():
            evidence.write(folder / "evidence" / case, content, {})
        (folder / "provenance.json").unlink()
    for path in sorted(folder.glob(f"evidence/*/{evidence.NAME}")):
        found = files.read_json(path)
        content = migrated(found, str(path))
        if content["schema"] != found["schema"]:
            evidence.check_files(path.parent, found)  # a new digest must not hide damage
            pictures = {name: (path.parent / name).read_bytes() for name in found["files"]}
            evidence.write(path.parent, content, pictures)


if __name__ == "__main__":
    with step.start(Params, reads=["report"], optional=["chains"]) as job:
        main(job)
