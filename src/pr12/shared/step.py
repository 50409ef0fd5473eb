"""The command line of a step: ``python -m pr12.<paper>.<step> --params '{json}' name=path ...``.

A step takes a frozen dataclass out of its package's params.py (no defaults: every value stands
in params.yaml) and declares the names of the files it reads and writes. This module turns the
command line into both, answers every mistake with one sentence and exit code 2, and collects the
provenance of what is written.
"""

import dataclasses
import importlib.metadata
import json
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pr12.shared import address, files
from pr12.shared.errors import UserError
from pr12.workflow.params import make, step_of

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "scikit-image", "safetensors")


@dataclass(frozen=True)
class Job:
    """One run of a step: its params, its paths, and where its numbers come from."""

    params: Any
    paths: dict[str, Path]
    reads: tuple[str, ...]
    module: str
    command: str
    started: float

    def provenance(self) -> dict[str, Any]:
        """Give all that made the results: command, params, inputs, source, machine, cost.

        Examples
        --------
        >>> job = Job(None, {}, (), "pr12.shared.files", "python -m pr12.shared.files", 0.0)
        >>> sorted(job.provenance())[:4]
        ['command', 'cpu_seconds', 'device', 'inputs']
        """
        torch = sys.modules.get("torch")  # steps without torch must not pay for it here
        cuda = torch is not None and torch.cuda.is_available()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "command": self.command,
            "params": dataclasses.asdict(self.params) if self.params is not None else {},
            "inputs": {
                name: {"path": str(self.paths[name]), "sha256": files.sha256(self.paths[name])}
                for name in self.reads
            },
            "source": address.source_digest(self.module),
            "packages": {name: _version(name) for name in PACKAGES},
            "python": ".".join(map(str, sys.version_info[:3])),
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "threads": torch.get_num_threads() if torch else 1,
            "machine": platform.node(),
            "seconds": round(time.time() - self.started, 3),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_memory_bytes": usage.ru_maxrss * 1024,  # Linux counts in KiB
        }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextmanager
def start(
    params_class: type,
    *,
    reads: Sequence[str] = (),
    optional: Sequence[str] = (),
    writes: Sequence[str] = (),
    arguments: Sequence[str] | None = None,
) -> Iterator[Job]:
    """Parse the command line, log the command that reruns it, and answer mistakes.

    Parameters
    ----------
    params_class : type
        The step's frozen dataclass, as `pr12.workflow.params.make` reads it.
    reads, optional, writes : sequence of str
        Names of the input files, of inputs that may be absent, and of the output files.
    arguments : sequence of str, optional
        The command line without the program; by default that of the process.

    Yields
    ------
    Job
        Params and paths.

    Raises
    ------
    SystemExit
        With code 2 after a mistake of the user, told in one sentence on standard error.

    Examples
    --------
    >>> import pydantic.dataclasses
    >>> from pr12.workflow.params import STRICT
    >>> @pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
    ... class Params:
    ...     epochs: int
    >>> with start(Params, writes=["model"],
    ...            arguments=["--params", '{"epochs": 3}', "model=m.safetensors"]) as job:
    ...     job.params.epochs, job.paths["model"].name
    (3, 'm.safetensors')
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name = step_of(params_class)
    if name == "__main__":
        name = getattr(sys.modules[name].__spec__, "name", None) or name
    command = shlex.join(["python", "-m", name, *arguments])
    print(f"PYTHONPATH=src {command}", file=sys.stderr, flush=True)
    try:
        values, paths = _parse(arguments)
        params = make(params_class, values, where="--params")
        _check_paths(paths, reads, optional, writes)
        given = tuple(key for key in (*reads, *optional) if key in paths)
        yield Job(params, paths, given, name, command, time.time())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None


def _parse(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Path]]:
    rest = list(arguments)
    values: Any = {}
    if "--params" in rest:
        at = rest.index("--params")
        if at + 1 == len(rest):
            raise UserError("--params needs a JSON object after it")
        try:
            values = json.loads(rest[at + 1])
        except (ValueError, RecursionError) as error:
            raise UserError(f"--params is not JSON ({error})") from None
        if not isinstance(values, dict):
            raise UserError("--params must be a JSON object such as '{\"epochs\": 3}'")
        del rest[at : at + 2]
    paths = {}
    for argument in rest:
        name, equals, path = argument.partition("=")
        if not equals or not name or not path:
            raise UserError(f"{argument!r} is not of the form name=path")
        if name in paths:
            raise UserError(f"the path {name} is given twice")
        paths[name] = Path(path)
    return values, paths


def _check_paths(
    paths: Mapping[str, Path],
    reads: Sequence[str],
    optional: Sequence[str],
    writes: Sequence[str],
) -> None:
    known = [*reads, *optional, *writes]
    for name in paths:
        if name not in known:
            raise UserError(f"unknown path {name}; this step knows {', '.join(known)}")
    for name in (*reads, *writes):
        if name not in paths:
            raise UserError(f"the path {name} is missing; add {name}=PATH")
    for name in (*reads, *optional):
        if name in paths and not paths[name].exists():
            raise UserError(f"the input {name}={paths[name]} does not exist")
