"""Give evidence the addresses of today's code, where that was proven to leave bytes as they were.

The proof is the smoke run: each step's small output and every metric of it equal those that were
noted before the change (see `pr12.shared.golden`), to the bit, on a processor of the same
capability. Rows of the state "earlier source" whose changed steps are all covered then take today's
chain; what was replaced is added to a table of old and new folders, which is committed.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pr12.report import chain as chains
from pr12.report import evidence, rows
from pr12.report.chain import Node
from pr12.shared import files, golden, settings, step
from pr12.shared.errors import UserError

COLUMNS = ("case", "step", "old", "new")


@dataclass(frozen=True)
class Params:
    """Nothing is to be chosen."""


def proven(noted: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the steps, such as ``vae/train``, whose bytes today's code leaves as they were.

    Parameters
    ----------
    noted, now : mapping
        What `pr12.shared.golden.collect` returned before and after the change, with ``capability``.

    Raises
    ------
    UserError
        If the processors differ in capability, or any value or digest does.

    Examples
    --------
    >>> noted = {"capability": "AVX2", "metrics": {}, "digests": {"vae/train": {"case": "z2"}}}
    >>> proven(noted, noted)
    {'vae/train'}
    """
    if noted["capability"] != now["capability"]:
        raise UserError(
            f"the golden values are of {noted['capability']}, this processor is "
            f"{now['capability']}: bytes can be compared on the same only; note them here with the "
            "code before the change (make golden)"
        )
    lines = golden.differences(noted, now)
    if lines:
        raise UserError(f"the change moves results, so nothing is stamped: {lines[0]}")
    return set(noted["digests"])


def replaced(chain: Sequence[Node], today: Sequence[Node]) -> dict[str, str]:
    """Return old folder -> new folder of the nodes that differ, by their place.

    Parameters
    ----------
    chain, today : sequence of Node
        Of the evidence and of today's graph, with the same params and raw files.

    Examples
    --------
    >>> replaced([{"folder": "a/train.1"}], [{"folder": "a/train.2"}])
    {'a/train.1': 'a/train.2'}
    """
    now = {node["folder"].rpartition(".")[0]: node["folder"] for node in today}
    pairs = {node["folder"]: now[node["folder"].rpartition(".")[0]] for node in chain}
    return {old: new for old, new in pairs.items() if old != new}


def _covered(chain: Sequence[Node], today: Sequence[Node], steps: set[str], case: str) -> None:
    """Refuse a case one of whose changed steps the smoke run does not show."""
    sources = {node["folder"].rpartition(".")[0]: node["source"] for node in today}
    for node in chain:
        _, _, paper, *_, name = Path(node["folder"]).parts
        place, _, _ = node["folder"].rpartition(".")
        key = f"{paper}/{name.partition('.')[0]}"
        if sources[place] != node["source"] and key not in steps:
            raise UserError(f"{case}: the smoke run has no result of {key}, so nothing is proven")


def _renamed(value: Any, folders: Mapping[str, str]) -> Any:
    """Write new folders for old ones, wherever they stand in a text."""
    if isinstance(value, str):
        for old, new in folders.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, Mapping):
        return {key: _renamed(part, folders) for key, part in value.items()}
    return [_renamed(part, folders) for part in value] if isinstance(value, list) else value


def main(job: step.Job) -> None:
    """Stamp one paper's evidence in one run, and note what was replaced."""
    today, folder = chains.read(job.paths["chains"]), job.paths["report"]
    now = {"capability": golden.capability()} | golden.collect(job.paths["build"])
    steps = proven(files.read_json(job.paths["golden"]), now)
    withdrawn = settings.withdrawn(job.paths["texts"])
    lines = []
    for case, row in rows.read(folder / "evidence", today, withdrawn).items():
        if row.standing.state != "earlier source":
            continue
        made_now = chains.collect(today["nodes"], today["results"][case])
        _covered(row.evidence.chain, made_now, steps, case)
        folders = replaced(row.evidence.chain, made_now)
        old = row.evidence
        content = {
            "schema": evidence.SCHEMA,
            "case": case,
            "metrics": old.metrics,
            "ratios": old.ratios,
            "provenance": _renamed(old.provenance, folders),
            "chain": made_now,
        }
        pictures = {name: (old.folder / name).read_bytes() for name in old.files}
        evidence.write(old.folder, content, pictures)
        lines += [(case, Path(a).name.partition(".")[0], a, b) for a, b in folders.items()]
    table = folder / "stamps.csv"
    known = table.read_text(encoding="utf-8") if table.exists() else ",".join(COLUMNS) + "\n"
    stream = io.StringIO(known)
    stream.seek(0, io.SEEK_END)
    csv.writer(stream, lineterminator="\n").writerows(lines)
    with files.atomic(table) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8")
    print(f"{len({line[0] for line in lines})} cases have today's addresses; see {table}")


if __name__ == "__main__":
    inputs = ["report", "chains", "texts", "golden", "build"]
    with step.start(Params, reads=inputs) as job:
        main(job)
