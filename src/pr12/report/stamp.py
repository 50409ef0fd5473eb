"""Give evidence the addresses of today's code, where that was proven to leave bytes as they were.

The proof is two smoke runs on one machine, by the code before a change and by today's: every file
of a step's every result is the same to the bit, but for times and provenance. Rows of the state
"earlier source" whose steps are all proven then take today's chain; what was replaced is added to a
table of old and new folders, which is committed. What a smoke run does not reach, such as readers
of data that only the full run has, is not proven by it: say so there.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from pr12.report import chain as chains
from pr12.report import evidence, golden, migrate, rows
from pr12.report.chain import Node
from pr12.workflow import address, files, results, settings, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

COLUMNS = ("case", "step", "old", "new")
# Keys of JSON that differ between two runs of the same code, also of code before times stood apart
TIMES = {"provenance", "timings", "seconds", "cpu_seconds"}


@dataclass(frozen=True, config=STRICT)
class Params:
    """Nothing is to be chosen."""


def steady(content: Any) -> Any:
    """Return JSON content without what differs between two runs of the same code.

    Examples
    --------
    >>> steady({"loss": [1], "seconds": 2.5, "rows": [{"cpu_seconds": 1, "step": 3}]})
    {'loss': [1], 'rows': [{'step': 3}]}
    """
    if isinstance(content, dict):
        return {k: steady(v) for k, v in content.items() if k not in TIMES}
    return [steady(item) for item in content] if isinstance(content, list) else content


def difference(before: Path, after: Path) -> str | None:
    """Return in what two results of a step differ, None if in nothing but times.

    Parameters
    ----------
    before, after : Path
        Addressed folders.
    """
    names = {path.name for path in before.iterdir() if not golden.UNSTEADY.fullmatch(path.name)}
    names.discard("benchmark.txt")  # where times stood before timings.json
    if (before / "metrics.json").exists():
        names.add("metrics.json")
    if not names or not (after / results.NAME).exists():
        return f"{before} or {after} is not finished"
    for name in sorted(names):
        if not (after / name).exists():
            return f"{after} has no {name}"
        if not _same(before / name, after / name):
            return f"{after / name} differs from {before / name}"
    return None


def _same(before: Path, after: Path) -> bool:
    if before.suffix != ".json":
        return files.sha256(before) == files.sha256(after)
    one, two = (json.dumps(steady(files.read_json(path))) for path in (before, after))
    return one == two


def compare(before: Path, after: Path) -> Iterator[tuple[str, str | None]]:
    """Yield each step, such as ``vae/train``, and in what one of its results differs.

    Parameters
    ----------
    before, after : Path
        Folders of two runs, such as ``build/smoke``.
    """
    now = {(paper, case, name): folder for paper, case, name, folder in golden.results(after)}
    for paper, case, old_name, folder in golden.results(before):
        name = migrate.ARRAYS.get(old_name, old_name)
        if (paper, case, name) in now:
            yield f"{paper}/{name}", difference(folder, now[paper, case, name])
        else:
            yield f"{paper}/{name}", f"{after} has no {name} of {case}"


def proven(before: Path, after: Path) -> dict[str, str]:
    """Return step, such as ``vae/train`` -> the source whose bytes today's code gives again.

    Parameters
    ----------
    before, after : Path
        Folders of two runs, such as ``build/smoke``, made on one machine.
    """
    lines = list(compare(before, after))
    moved = {name for name, line in lines if line}
    for _, line in lines:
        if line:
            print(f"not proven: {line}", file=sys.stderr)
    sources = {}
    for key, node in golden.sources(before).items():
        paper, _, name = key.partition("/")
        sources[f"{paper}/{migrate.ARRAYS.get(name, name)}"] = node["source"]
    return {name: sources[name] for name, _ in lines if name not in moved}


def of_today(steps: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a smoke run that another source made than lies here.

    Parameters
    ----------
    steps : mapping
        What `pr12.report.golden.sources` returned.

    Examples
    --------
    >>> of_today({})
    """
    for name, node in steps.items():
        if address.source_digest(node["step"]) != node["source"]:
            raise UserError(
                f"the smoke run has a result of {name} by another source than today's; run: "
                "snakemake --cores all --config run=smoke"
            )


def replaced(
    chain: Sequence[Node], today: Sequence[Node], steps: Mapping[str, str]
) -> list[tuple[str, str, str]] | str:
    """Return step, old and new folder of the nodes that differ; a sentence if one is not proven.

    Parameters
    ----------
    chain, today : sequence of Node
        Of the evidence and of today's graph, with the same params and raw files.
    steps : mapping
        What `proven` returned.

    Examples
    --------
    >>> old = {"folder": "build/full/vae/z2/train.1", "source": "1", "params": {}, "raw": {}}
    >>> new = old | {"folder": "build/full/vae/z2/train.2", "source": "2"}
    >>> replaced([old], [new], {"vae/train": "1"})
    [('train', 'build/full/vae/z2/train.1', 'build/full/vae/z2/train.2')]
    >>> replaced([old], [new], {})
    'nothing is proven of vae/train (1)'
    """
    now = {chains.place(node): node for node in today}
    lines = []
    for node in chain:
        place = chains.place(node)
        name = place.rpartition("/")[2]
        key = f"{node['folder'].split('/')[2]}/{name}"
        if place not in now:
            return f"today's graph has no {place}"
        if now[place]["source"] != node["source"] and steps.get(key) != node["source"]:
            return f"nothing is proven of {key} ({node['source']})"
        if [now[place][k] for k in ("params", "raw")] != [node[k] for k in ("params", "raw")]:
            return f"{key} has other params or raw files"
        if now[place]["folder"] != node["folder"]:
            lines.append((name, node["folder"], now[place]["folder"]))
    return lines


def main(job: step.Job) -> None:
    """Stamp one paper's evidence in one run: note first what is replaced, then replace it."""
    today, folder, build = chains.read(job.paths["chains"]), job.paths["report"], job.paths["build"]
    of_today(golden.sources(build))
    steps = proven(job.paths["before"], build)
    withdrawn = settings.withdrawn(job.paths["texts"])
    stamped, lines = {}, []
    for case, row in rows.read(folder / "evidence", today, withdrawn).items():
        if row.standing.state != "earlier source":
            continue
        chain = chains.collect(today["nodes"], today["results"][case])
        answer = replaced(row.evidence.chain, chain, steps)
        if isinstance(answer, str):
            print(f"{case} stays of an earlier source: {answer}", file=sys.stderr)
        else:
            stamped[case] = chain
            lines += [(case, *line) for line in answer]
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
        pictures = {name: (path / name).read_bytes() for name in content["files"]}
        body = {key: content[key] for key in content if key not in ("files", "digest")}
        evidence.write(path, body, pictures)
    print(f"{len(stamped)} cases have today's addresses now; see {table}")


if __name__ == "__main__":
    with step.start(Params, reads=["report", "chains", "texts", "before", "build"]) as job:
        main(job)
