"""What a run leaves in git of a case: its metrics, where they come from, what its figures draw.

``reports/<run>/<paper>/evidence/<case>/`` holds evidence.json and the files of a picture (see
`pr12.report.stored.pictures`). Figures, claims, tables and pages read these and nothing else. Run
as a step, this module copies one case's result there; evidence.json is written last and holds the
digests of all the rest, so that a damaged or edited file is known.
"""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic.dataclasses

from pr12.report import chain as chains
from pr12.report.chain import Node
from pr12.workflow import address, files, step, timings
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

SCHEMA = 3
NAME = "evidence.json"
KEYS = ("schema", "case", "metrics", "ratios", "provenance", "chain", "files", "digest")
# What a provenance says that is the same when the command runs again.
MACHINE = ("device", "threads")
LASTING = ("command", "inputs", "packages", "python", *MACHINE)
TIMED_RUNS = ("full",)  # whose ratios of times, measured once, stand in evidence

Metrics = Mapping[str, Sequence[float]]


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Params:
    """Params of the copying."""

    run: str
    paper: str
    case: str


@dataclass(frozen=True)
class Evidence:
    """One case's evidence, checked."""

    case: str
    folder: Path
    metrics: dict[str, list[float]]
    ratios: dict[str, list[float]]
    provenance: dict[str, Any]
    chain: list[Node]
    files: dict[str, str]

    @property
    def pictured(self) -> bool:
        """Whether figures can draw its picture."""
        return bool(self.files)


def _damaged(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} {what}; git checkout -- {path.parent} brings back what was committed, and "
        "snakemake makes the case again"
    )


def check_metrics(metrics: Any, where: str) -> None:
    """Check that metrics are lists of finite numbers, one per seed.

    Parameters
    ----------
    metrics : Any
        Key -> list of numbers.
    where : str
        The file, for the message.

    Raises
    ------
    UserError
        For the first that is something else.

    Examples
    --------
    >>> check_metrics({"test/errors": [74, 76]}, "metrics.json")
    """
    again = "delete the file and run its step again"
    if not isinstance(metrics, Mapping):
        raise UserError(f"{where} has no metrics: {again}")
    for key, values in metrics.items():
        good = isinstance(values, list) and len(values) > 0
        if not good or not all(type(v) in (int, float) and math.isfinite(v) for v in values):
            wanted = "a list of finite numbers, one per seed"
            raise UserError(f"{where}: {key} is {values!r}; it must be {wanted}: {again}")


def read(folder: Path) -> Evidence:
    """Read and check one case's evidence.

    Parameters
    ----------
    folder : Path
        Such as ``reports/full/vae/evidence/aevb_z10``.

    Raises
    ------
    UserError
        If it is of another schema, or a file of it is missing, damaged or was edited.
    """
    path = folder / NAME
    content = load(path)
    if content["schema"] != SCHEMA:
        raise UserError(
            f"{path} is of schema {content['schema']}, this code reads {SCHEMA}; run: "
            f"python -m pr12.report.migrate report={folder.parent.parent}"
        )
    if set(content) != set(KEYS):
        raise _damaged(path, "is not as it was written")
    check_files(folder, content)
    if content["case"] != folder.name:
        raise _damaged(path, f"is evidence of {content['case']}")
    return Evidence(
        folder=folder, **{key: content[key] for key in KEYS if key not in ("schema", "digest")}
    )


def load(path: Path) -> dict[str, Any]:
    """Read an evidence.json of any schema; nothing but that it has one is checked.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    UserError
        If it cannot be read, is not JSON or has no schema.
    """
    try:
        content = files.read_json(path)
    except (UserError, RecursionError) as error:
        raise _damaged(path, f"cannot be read ({error})") from None
    if not isinstance(content, dict) or type(content.get("schema")) is not int:
        raise _damaged(path, "is no evidence")
    return content


def check_files(folder: Path, content: Mapping[str, Any]) -> None:
    """Check that evidence and its files are as they were written.

    Parameters
    ----------
    folder : Path
        The case's.
    content : mapping
        What its evidence.json holds.

    Raises
    ------
    UserError
        For the first file that is missing, damaged or was edited.
    """
    if content.get("digest") != _digest(content):
        raise _damaged(folder / NAME, "is not as it was written")
    for name, digest in content["files"].items():
        if not re.fullmatch(r"[\w-]+\.\w+", name, flags=re.ASCII):
            raise _damaged(folder / NAME, f"names the file {name!r}")
        try:
            whole = files.sha256(folder / name) == digest
        except OSError:
            whole = False
        if not whole:
            raise _damaged(folder / name, "is missing or not as it was written")


def read_all(folder: Path, cases: Sequence[str]) -> dict[str, Evidence]:
    """Read a paper's evidence in a run: case -> evidence, of those that there is evidence of.

    Parameters
    ----------
    folder : Path
        Such as ``reports/full/vae/evidence``; it may be missing.
    cases : sequence of str
        The paper's; evidence of others, which params no longer name, is left alone.

    Raises
    ------
    UserError
        See `read`.

    Examples
    --------
    >>> read_all(Path("/nowhere"), ["z2"])
    {}
    """
    return {case: read(folder / case) for case in cases if (folder / case).is_dir()}


def content_of(
    case: str, result: Mapping[str, Any], chain: Sequence[Node], ratios: Metrics, root: Path
) -> dict[str, Any]:
    """Return what evidence.json holds of a result, without its files and its digest.

    Parameters
    ----------
    case : str
        Name.
    result : mapping
        The metrics file of its last step: ``metrics``, ``provenance``.
    chain : sequence of Node
        The steps that made it.
    ratios : mapping
        Of times.
    root : Path
        The repository: paths below it are written relative to it, of others only the name.
    """
    provenance = result["provenance"]
    lasting = {key: provenance[key] for key in LASTING if key in provenance}
    words = (re.fullmatch(r"([\w.-]+=)?(.*)", w, re.S) for w in shlex.split(lasting["command"]))
    lasting["command"] = shlex.join((w[1] or "") + _relative(w[2], root) for w in words)
    lasting["inputs"] = {
        name: source | {"path": _relative(source["path"], root)}
        for name, source in provenance.get("inputs", {}).items()
    }
    return {
        "schema": SCHEMA,
        "case": case,
        "metrics": dict(result["metrics"]),
        "ratios": dict(ratios),
        "provenance": lasting,
        "chain": list(chain),
    }


def _relative(path: str, root: Path) -> str:
    if not path.startswith("/"):
        return path
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else Path(path).name


def ratios(timings: Metrics) -> dict[str, list[float]]:
    """Return times as numbers that are no property of one machine: milliseconds over the first.

    Parameters
    ----------
    timings : mapping
        Key -> values; keys with ``milliseconds`` are divided by the mean of the first of them,
        the others are ratios already.

    Examples
    --------
    >>> ratios({"a/milliseconds": [2.0, 2.0], "b/milliseconds": [6.0], "b/times_faster": [0.3]})
    {'a/milliseconds': [1.0, 1.0], 'b/milliseconds': [3.0], 'b/times_faster': [0.3]}
    """
    absolute = sorted(key for key in timings if "milliseconds" in key)
    first = timings[absolute[0]] if absolute else [1.0]
    unit = sum(first) / len(first)
    return {
        key: [value / unit for value in timings[key]] if key in absolute else list(timings[key])
        for key in sorted(timings)
    }


def _digest(content: Mapping[str, Any]) -> str:
    return address.digest({key: value for key, value in content.items() if key != "digest"})


def write(folder: Path, content: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Write one case's evidence in place of what was there.

    Parameters
    ----------
    folder : Path
        The case's.
    content : mapping
        What `content_of` returned.
    pictures : mapping
        File name -> bytes.
    """
    for name, data in pictures.items():
        with files.atomic(folder / name) as temporary:
            temporary.write_bytes(data)
    whole = {**content, "files": {name: files.sha256(folder / name) for name in sorted(pictures)}}
    files.write_json(folder / NAME, whole | {"digest": _digest(whole)})
    for path in folder.iterdir():  # of an earlier picture
        if path.is_file() and path.name not in (NAME, *pictures):
            path.unlink()


def mark_of(folder: Path, result: Sequence[Path]) -> dict[str, str]:
    """Return what a mark beside a result holds: of what, by what and as what evidence was taken.

    Parameters
    ----------
    folder : Path
        The case's evidence, in reports/.
    result : sequence of Path
        The files that evidence was taken from.
    """
    digests = {path.name: files.sha256(path) for path in (*result, folder / NAME)}
    return digests | {"source": address.source_digest("pr12.report.evidence", address.SRC)}


def published(mark: Path, folder: Path, result: Sequence[Path]) -> bool:
    """Tell whether a folder holds, whole, the evidence of a result as it is now.

    Parameters
    ----------
    mark : Path
        Beside the result, what `mark_of` returned when its evidence was written.
    folder : Path
        Of the case, in reports/.
    result : sequence of Path
        The files that evidence is taken from.

    Examples
    --------
    >>> published(Path("/nowhere/evidence.json"), Path("/nowhere"), [])
    False
    """
    try:
        if files.read_json(mark) != mark_of(folder, result):
            return False
        read(folder)
    except (OSError, UserError, RecursionError):
        return False
    return True


def _check_chain(provenance: Mapping[str, Any], nodes: Sequence[Node], where: str) -> None:
    """Refuse a result that another source, params or inputs made than its folder says."""
    node, folders = nodes[-1], {node["folder"] for node in nodes}
    again = "delete the folder and run snakemake again"
    for key in ("source", "params"):
        if address.digest(provenance.get(key)) != address.digest(node[key]):
            raise UserError(
                f"{where} was made by another {key} ({provenance.get(key)}) than its folder says "
                f"({node[key]}); {again}"
            )
    for name, source in provenance.get("inputs", {}).items():
        folder = Path(source["path"]).parent.as_posix()
        if folder.startswith("build/") and folder not in folders:
            raise UserError(
                f"{where} read {name} from {folder}, which its folder does not; {again}"
            )


def main(job: step.Job) -> None:
    """Copy one case's result into evidence, and what its machine measured beside the pages."""
    params, result = job.params, files.read_json(job.paths["metrics"])
    where = str(job.paths["metrics"])
    provenance = result.get("provenance") if isinstance(result, dict) else None
    if not isinstance(provenance, dict) or not isinstance(provenance.get("command"), str):
        again = "delete the file and run its step again"
        raise UserError(f"{where} has no metrics, or no provenance with a command: {again}")
    took = timings.read(job.paths["metrics"].parent)
    check_metrics(result.get("metrics"), where)
    today = chains.read(job.paths["chains"])
    folder = job.paths["metrics"].parent.as_posix()
    if folder not in today["nodes"]:
        raise UserError(f"{folder} is no result of today's graph; run snakemake again")
    made_by = chains.collect(today["nodes"], folder)
    _check_chain(provenance, made_by, where)
    times = ratios(took["times"]) if params.run in TIMED_RUNS else {}
    result["provenance"] = provenance | {key: took[key] for key in MACHINE if key in took}
    content = content_of(params.case, result, made_by, times, Path.cwd())
    pictures = {}
    if "picture" in job.paths:
        from pr12.report.stored import (
            pictures as stored_pictures,  # half a second, which most cases need not pay
        )

        pictures = stored_pictures.packed(job.paths["picture"])
    write(job.paths["out"], content, pictures)
    of_step = {f"step/{key}": [took[key]] for key in timings.FIGURES}
    files.write_json(job.paths["timings"], {"folder": folder, "times": of_step | took["times"]})
    taken = [job.paths[name] for name in ("metrics", "picture") if name in job.paths]
    files.write_json(job.paths["mark"], mark_of(job.paths["out"], taken))


if __name__ == "__main__":
    outputs = ["out", "timings", "mark"]
    with step.start(
        Params,
        reads=["metrics", "chains"],
        optional=["picture"],
        writes=outputs,
        addressed=False,  # the mark lies beside the result of another step
    ) as job:
        main(job)
