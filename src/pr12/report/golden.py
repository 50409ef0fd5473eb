"""The values of a smoke run, small enough for git, to tell whether a change moved numbers.

Golden are every case's metrics, and of each step the digest of one small file. On a processor of
the same capability a run gives them again to the bit. On another one, sums are added in another
order: the same metrics are there, counts of errors move by one at most, and other values stay
within a range. Addresses are left out: they change with the code, also where no number does.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from pr12.workflow import files, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

# Between processors of different capabilities, of the larger of two values: five of eight digits
# stay (AVX2 against AVX-512), but images of a few iterations in bfloat16 differ by up to 0.40.
RELATIVE = 0.1
RELATIVE_IN_BFLOAT16 = 0.6
ABSOLUTE = 0.02  # of values near 0, such as correlations and shares
ONE_EXAMPLE = 5.0  # per cent: the smallest test sets of the smoke run have twenty
# What people look at: an edited colour or word is no other number.
PAGES = ("chains",)
# What differs between two runs, or with the code's address.
UNSTEADY = re.compile(r"(metrics|evidence|files|timings)\.json|resume.*|\..*|.*\.log")
UNSTEADY_KEYS = {"provenance"}
ADDRESSED = re.compile(r"(\w+)\.[0-9a-f]{10}")


@dataclass(frozen=True, config=STRICT)
class Params:
    """Nothing is chosen: what is golden is the whole run."""


def results(build: Path) -> Iterator[tuple[str, str, str, Path]]:
    """Find the results of steps: paper, case, step and folder of each.

    Parameters
    ----------
    build : Path
        A run's folder, such as ``build/smoke``.

    Yields
    ------
    tuple
        In the order of their names; nothing of figures and pages.

    Raises
    ------
    UserError
        If a case has two results of one step, of which nothing says which is today's.

    Examples
    --------
    >>> import tempfile
    >>> build = Path(tempfile.mkdtemp())
    >>> for name in ("vae/z2/train.0123456789", "vae/report.0123456789"):
    ...     (build / name).mkdir(parents=True)
    >>> [result[:3] for result in results(build)]
    [('vae', 'z2', 'train')]
    """
    known = {}
    for folder in sorted(build.glob("*/*/*.*")):
        name = ADDRESSED.fullmatch(folder.name)
        if not (name and folder.is_dir()) or name[1] in PAGES:
            continue
        case, paper = folder.parent.name, folder.parent.parent.name
        if (paper, case, name[1]) in known:
            raise UserError(
                f"{folder} and {known[paper, case, name[1]]} are results of one step: "
                "remove the older one (snakemake --cores 1 prune) and run again"
            )
        known[paper, case, name[1]] = folder
        yield paper, case, name[1], folder


def smallest_steady_file(folder: Path) -> Path | None:
    """Return the smallest file of a result that is the same after every run, if there is one.

    Parameters
    ----------
    folder : Path
        An addressed folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> files.write_json(folder / "metrics.json", {"metrics": {}, "provenance": {}})
    >>> smallest_steady_file(folder) is None
    True
    >>> files.write_json(folder / "history.json", [0.5, 0.25])
    >>> smallest_steady_file(folder).name
    'history.json'
    """
    steady = []
    for path in folder.rglob("*"):
        if path.is_dir() or UNSTEADY.fullmatch(path.name):
            continue
        if path.suffix == ".json" and not UNSTEADY_KEYS.isdisjoint(_keys_below(path)):
            continue
        steady.append(path)
    return min(steady, key=lambda path: (path.stat().st_size, str(path)), default=None)


def _keys_below(path: Path) -> set[str]:
    """Collect the keys of a JSON file at every depth."""
    keys: set[str] = set()
    json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda p: keys.update(dict(p)))
    return keys


def metrics_of(folder: Path) -> dict[str, Any] | None:
    """Read the metrics of a result: key -> values per seed; None where it has none."""
    path = folder / "metrics.json"
    return files.read_json(path)["metrics"] if path.exists() else None


def collect(build: Path) -> dict[str, Any]:
    """Collect what is golden of a finished run.

    Parameters
    ----------
    build : Path
        A run's folder, such as ``build/smoke``.

    Returns
    -------
    dict
        ``metrics``: "paper/case/step" -> key -> values per seed. ``digests``: "paper/step" ->
        the case, the file and its SHA-256, of the smallest file of all cases; of a step that
        writes nothing but metrics, that of the metrics as JSON with sorted keys.

    Raises
    ------
    UserError
        If there is no result.

    Examples
    --------
    >>> import tempfile
    >>> build = Path(tempfile.mkdtemp())
    >>> folder = build / "vae/z2/evaluate.0123456789"
    >>> files.write_json(folder / "metrics.json", {"metrics": {"test/errors": [3, 4]}})
    >>> collect(build)["metrics"]
    {'vae/z2/evaluate': {'test/errors': [3, 4]}}
    >>> collect(build)["digests"]["vae/evaluate"]["case"]
    'z2'
    """
    metrics: dict[str, Any] = {}
    small: dict[str, tuple[int, str, str, str]] = {}
    for paper, case, name, folder in results(build):
        values = metrics_of(folder)
        if values is not None:
            metrics[f"{paper}/{case}/{name}"] = values
        path = smallest_steady_file(folder)
        if path is not None:
            candidate = (
                path.stat().st_size,
                case,
                str(path.relative_to(folder)),
                files.sha256(path),
            )
        elif values is not None:
            text = json.dumps(values, sort_keys=True).encode()
            candidate = (len(text), case, "metrics.json", hashlib.sha256(text).hexdigest())
        else:
            continue
        small[f"{paper}/{name}"] = min(small.get(f"{paper}/{name}", candidate), candidate)
    if not metrics:
        raise UserError(f"{build} has no metrics: make them first (snakemake --config run=smoke)")
    digests = {
        name: {"case": case, "file": file, "sha256": digest}
        for name, (_, case, file, digest) in small.items()
    }
    return {"metrics": metrics, "digests": digests}


def sources(build: Path) -> dict[str, dict[str, str]]:
    """Return the module and the source digest of each step that made a run.

    Parameters
    ----------
    build : Path
        A run's folder, such as ``build/smoke``.

    Returns
    -------
    dict
        "paper/step" -> ``step`` (a module) and ``source``.

    Raises
    ------
    UserError
        If a result is none of the graph that Snakemake last wrote there.
    """
    nodes = {}
    for path in sorted(build.glob("report/*/chains.*/chains.json")):
        nodes |= files.read_json(path)["nodes"]
    made_by = {}
    for paper, _, name, folder in results(build):
        node = nodes.get(f"build/{build.name}/{folder.relative_to(build)}")
        if node is None:
            raise UserError(
                f"{folder} is no result of today's code: snakemake --cores all --config "
                f"run={build.name}, then -- prune, and again"
            )
        made_by[f"{paper}/{name}"] = {key: node[key] for key in ("step", "source")}
    return made_by


def capability() -> dict[str, Any]:
    """Say with which kernels this processor computes: its maker, vectors, and kernels of BLAS."""
    import torch  # two seconds, which who reads or compares need not pay

    try:
        import threadpoolctl

        pools = threadpoolctl.threadpool_info()
    except ImportError:
        pools = []
    maker = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        makers = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
        maker = next(makers, maker)
    blas = {f"{pool['internal_api']} {pool.get('architecture')}" for pool in pools}
    return {
        "blas": sorted(name for name in blas if not name.endswith(" None")),
        "maker": maker,
        "vectors": torch.backends.cpu.get_cpu_capability(),
    }


def differences(golden: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between two runs, one line each.

    Parameters
    ----------
    golden, now : mapping
        What `collect` gives, with the ``capability`` of the processor.

    Returns
    -------
    list of str
        Empty if they agree: on the same capability to the bit; else the same keys and as many
        values, counts of errors within one, other values within `RELATIVE` of the larger one or
        `ABSOLUTE` (see there for images and per cent), and digests not compared.

    Examples
    --------
    >>> golden = {"capability": "AVX2", "digests": {}, "metrics": {"a": {"test/errors": [3, 4]}}}
    >>> differences(golden, golden | {"metrics": {"a": {"test/errors": [3, 5]}}})
    ['metrics of a, test/errors: [3, 4], now [3, 5]']
    >>> other = golden | {"capability": "AVX512"}
    >>> differences(golden, other | {"metrics": {"a": {"test/errors": [3, 5]}}})
    []
    >>> differences(golden, other | {"metrics": {"a": {"test/errors": [3, 6]}}})
    ['metrics of a, test/errors: [3, 4], now [3, 6]']
    """
    same = golden["capability"] == now["capability"]
    lines = list(_keys("metrics of ", golden["metrics"], now["metrics"]))
    for name in sorted(golden["metrics"].keys() & now["metrics"].keys()):
        old, new = golden["metrics"][name], now["metrics"][name]
        lines += _keys(f"metrics of {name}, ", old, new)
        for key in sorted(old.keys() & new.keys()):
            if not (old[key] == new[key] if same else _near(name, key, old[key], new[key])):
                lines.append(f"metrics of {name}, {key}: {old[key]}, now {new[key]}")
    lines += _keys("digest of ", golden["digests"], now["digests"])
    if same:
        for name in sorted(golden["digests"].keys() & now["digests"].keys()):
            old, new = golden["digests"][name], now["digests"][name]
            if old != new:
                lines.append(f"digest of {name}: {_digest(old)}, now {_digest(new)}")
    return lines


def _keys(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Name the keys that only one of two mappings has."""
    for name in sorted(old.keys() - new.keys()):
        yield f"{what}{name}: not there any more"
    for name in sorted(new.keys() - old.keys()):
        yield f"{what}{name}: new"


def _near(name: str, key: str, old: list[float], new: list[float]) -> bool:
    """Tell whether two lists of values may stem from different processors."""
    if len(old) != len(new):
        return False
    words = key.rpartition("/")[2].split("_")
    if "errors" in words:
        return all(abs(a - b) <= 1 for a, b in zip(old, new, strict=True))
    relative = RELATIVE_IN_BFLOAT16 if name.startswith("photostyle/") else RELATIVE
    absolute = ONE_EXAMPLE if words[-1] in ("percent", "points") else ABSOLUTE
    return all(
        math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
        for a, b in zip(old, new, strict=True)
    )


def _digest(row: Mapping[str, str]) -> str:
    """Say in short of which file a digest is."""
    return f"{row['sha256'][:10]} ({row['case']}, {row['file']})"


def main(job: step.Job) -> None:
    """Write what is golden of a run."""
    build = job.paths["build"]
    made_by = {key: node["source"] for key, node in sources(build).items()}
    golden = {"capability": capability(), "sources": made_by} | collect(build)
    files.write_json(job.paths["golden"], golden)


if __name__ == "__main__":
    with step.start(Params, reads=["build"], writes=["golden"]) as job:
        main(job)
