"""Give evidence the addresses of today's code, where that was proven to leave bytes as they were.

The proof is a smoke run of today's code: each step's small output and every metric equal those that
were noted (see `pr12.shared.golden`) of the source that made the evidence, to the bit, on a
processor of the same capability. Rows of the state "earlier source" then take today's chain; what
was replaced is added to a table of old and new folders, which is committed. What a smoke run does
not reach, such as readers of data that only the full run has, is not proven by it: say so there.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.dataclasses import dataclass

from pr12.report import chain as chains
from pr12.report import evidence, rows
from pr12.report.chain import Node
from pr12.shared import address, files, golden, settings, step
from pr12.shared.errors import UserError
from pr12.workflow.params import STRICT

COLUMNS = ("case", "step", "old", "new")


@dataclass(frozen=True, config=STRICT)
class Params:
    """Nothing is to be chosen."""


def proven(noted: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return step, such as ``vae/train`` -> the source whose bytes today's code gives again.

    Parameters
    ----------
    noted, now : mapping
        Golden values before and after the change, with ``capability`` and ``sources``.

    Raises
    ------
    UserError
        If the processors differ in capability, or any value or digest does.

    Examples
    --------
    >>> noted = {"capability": "AVX2", "metrics": {}, "digests": {}, "sources": {"vae/train": "1"}}
    >>> proven(noted, noted)
    {'vae/train': '1'}
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
    return dict(noted["sources"])


def of_today(made_by: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a smoke run that another source made than lies here.

    Parameters
    ----------
    made_by : mapping
        What `pr12.shared.golden.sources` returned.

    Examples
    --------
    >>> of_today({})
    """
    for name, node in made_by.items():
        if address.source_digest(node["step"]) != node["source"]:
            raise UserError(
                f"the smoke run has a result of {name} by another source than today's; run: "
                "snakemake --cores all --config run=smoke"
            )


def replaced(
    chain: Sequence[Node], today: Sequence[Node], steps: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Return step, old and new folder of the nodes that differ.

    Parameters
    ----------
    chain, today : sequence of Node
        Of the evidence and of today's graph, with the same params and raw files.
    steps : mapping
        What `proven` returned.

    Raises
    ------
    UserError
        If a step has moved, or what made the evidence was not what the golden values were noted of.

    Examples
    --------
    >>> old = {"folder": "build/full/vae/z2/train.1", "source": "1"}
    >>> new = {"folder": "build/full/vae/z2/train.2", "source": "2"}
    >>> replaced([old], [new], {"vae/train": "1"})
    [('train', 'build/full/vae/z2/train.1', 'build/full/vae/z2/train.2')]
    """
    now = {node["folder"].rpartition(".")[0]: node for node in today}
    lines = []
    for node in chain:
        place = node["folder"].rpartition(".")[0]
        name = place.rpartition("/")[2]
        key = f"{node['folder'].split('/')[2]}/{name}"
        if place not in now:
            raise UserError(
                f"{node['folder']}: today's graph has no {place}; it is not the same step"
            )
        if now[place]["source"] != node["source"] and steps.get(key) != node["source"]:
            raise UserError(
                f"{node['folder']} was made by the source {node['source']}, the golden values of "
                f"{key} by {steps.get(key)}: nothing is proven of it"
            )
        if now[place]["folder"] != node["folder"]:
            lines.append((name, node["folder"], now[place]["folder"]))
    return lines


def main(job: step.Job) -> None:
    """Stamp one paper's evidence in one run: note first what is replaced, then replace it."""
    today, folder, build = chains.read(job.paths["chains"]), job.paths["report"], job.paths["build"]
    made_by = golden.sources(build)
    of_today(made_by)
    now = {"capability": golden.capability()} | golden.collect(build)
    steps = proven(files.read_json(job.paths["golden"]), now)
    withdrawn = settings.withdrawn(job.paths["texts"])
    stamped, lines = {}, []
    for case, row in rows.read(folder / "evidence", today, withdrawn).items():
        if row.standing.state == "earlier source":
            stamped[case] = chains.collect(today["nodes"], today["results"][case])
            found = replaced(row.evidence.chain, stamped[case], steps)
            lines += [(case, *line) for line in found]
    table = folder / "stamps.csv"
    if stamped:
        known = table.read_text(encoding="utf-8") if table.exists() else ",".join(COLUMNS) + "\n"
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(lines)
        with files.atomic(table) as temporary:
            temporary.write_text(known + stream.getvalue(), encoding="utf-8")
    for case, chain in stamped.items():
        path = folder / "evidence" / case
        # What made it stays as it was: command, inputs and their checksums
        content = files.read_json(path / evidence.NAME) | {"chain": chain}
        kept = ("files", "digest")
        pictures = {name: (path / name).read_bytes() for name in content["files"]}
        body = {key: value for key, value in content.items() if key not in kept}
        evidence.write(path, body, pictures)
    print(f"{len(stamped)} cases have today's addresses now; see {table}")


if __name__ == "__main__":
    inputs = ["report", "chains", "texts", "golden", "build"]
    with step.start(Params, reads=inputs) as job:
        main(job)
