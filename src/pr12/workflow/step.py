"""The command line of a step: ``python -m pr12.<paper>.<step> --params '{json}' name=path ...``.

A step takes a frozen dataclass out of its package's params.py (no defaults: every value stands
in params.yaml) and declares the names of the files it reads and writes. This module turns the
command line into both, answers every mistake with one sentence and exit code 2, and collects the
provenance of what is written.

A result's folder is checked before a step writes into it (is its address still that of this code?)
and before a step reads from it (are its files as they were written?).
"""

import dataclasses
import errno
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pr12.workflow import address, files, results, timings
from pr12.workflow.errors import UserError
from pr12.workflow.params import make, step_of

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "safetensors",
    "monai",
    "SimpleITK",
)
# What the machine refuses: no fault of the code
MACHINE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "ENAMETOOLONG", "EMFILE")
} | {errno.EIO, errno.ENOMEM, errno.EISDIR, errno.ENOTDIR}
FREE = "free or unlock the place (df -h, ls -ld, ulimit -a) and run the same command again"
NO_MEMORY = "can't allocate memory"  # torch's words


@dataclass(frozen=True)
class Job:
    """One run of a step: its params, its paths, and where its numbers come from.

    What a step measures of its machine goes into `times`, key -> values; never into an output.
    """

    params: Any
    paths: dict[str, Path]
    reads: tuple[str, ...]
    module: str
    command: str
    source: str = ""  # that of the module when the step began; empty: as it is now
    digests: dict[Path, str] = field(default_factory=dict)  # of inputs, each computed once
    times: dict[str, list[float]] = field(default_factory=dict)
    checkpoints: list[Path] = field(default_factory=list)  # removed when the step has ended well

    def provenance(self) -> dict[str, Any]:
        """Return what made the results, the same after every run of the same code on a machine.

        Examples
        --------
        >>> job = Job(None, {}, (), "pr12.workflow.files", "python -m pr12.workflow.files")
        >>> sorted(job.provenance())
        ['command', 'inputs', 'packages', 'params', 'python', 'source']
        """
        return {
            "command": self.command,
            "params": dataclasses.asdict(self.params) if self.params is not None else {},
            "inputs": {
                name: {"path": str(self.paths[name]), "sha256": self._sha256(self.paths[name])}
                for name in self.reads
            },
            "source": self.source or address.source_digest(self.module),
            "packages": {name: _version(name) for name in PACKAGES},
            "python": ".".join(map(str, sys.version_info[:3])),
        }

    def _sha256(self, path: Path) -> str:
        if path not in self.digests:
            self.digests[path] = files.sha256(path)
        return self.digests[path]


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
    addressed: bool = True,
    arguments: Sequence[str] | None = None,
) -> Iterator[Job]:
    """Parse the command line, log the command that reruns it, and answer mistakes.

    Inputs from results are checked; a result is written into its own address only (`_outputs`).

    Parameters
    ----------
    params_class : type
        The step's frozen dataclass, as `pr12.workflow.params.make` reads it.
    reads, optional, writes : sequence of str
        Names of the input files, of inputs that may be absent, and of the output files.
    addressed : bool
        Whether outputs make a result; else an output may lie beside the result of another step.
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
    >>> from pr12.data.params import Fetch
    >>> with start(Fetch, writes=["model"],
    ...            arguments=["--params", '{"name": "a"}', "model=m.safetensors"]) as job:
    ...     job.params.name, job.paths["model"].name
    ('a', 'm.safetensors')
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name = _module(params_class)
    command = shlex.join(["python", "-m", name.removesuffix(".__main__"), *arguments])
    print(f"PYTHONPATH=src {command}", file=sys.stderr, flush=True)
    with _answered():
        values, paths = _parse(arguments)
        params = make(params_class, values, where="--params")
        _check_paths(paths, reads, optional, writes)
        outputs = _outputs(name, values, paths, writes) if addressed else {}
        given = tuple(key for key in (*reads, *optional) if key in paths)
        checked = _checked([paths[key] for key in given])
        source = address.source_digest(name) if outputs else ""
        job = Job(params, paths, given, name, command, source, checked)
        yield job
        if outputs:  # workers read code from disk later than this process
            _outputs(name, values, paths, writes)
        _finish(job, outputs)


def _module(params_class: type) -> str:
    """Return what runs, also where it declares its params itself and runs as ``__main__``."""
    name = step_of(params_class)
    if name == "__main__":
        name = getattr(sys.modules[name].__spec__, "name", None) or name
    return name


@contextmanager
def _answered() -> Iterator[None]:
    """Answer a mistake, a full or locked disk and too little memory with one sentence and code 2.

    An interrupt gives code 130.
    """
    try:
        yield
    except UserError as error:
        message = str(error)
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        place = f"{_short(Path(os.fsdecode(error.filename)))}: " if error.filename else ""
        folder = error.errno in (errno.EISDIR, errno.ENOTDIR)
        remedy = "give the path of a file" if folder else FREE
        message = f"{place}{error.strerror}; {remedy}"
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and NO_MEMORY not in str(error):
            raise
        message = "the machine has too little memory for this; free some (free -h) or take another"
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def _checked(inputs: Iterable[Path]) -> dict[Path, str]:
    """Return the digests of inputs that are files of results, as they were written."""
    return {path: results.checked(path) for path in inputs if results.address(path.parent)}


def _parse(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Path]]:
    rest = list(arguments)
    values: Any = {}
    if "--params" in rest:
        at = rest.index("--params")
        if at + 1 == len(rest):
            raise UserError("--params needs a JSON object after it")
        try:
            values = json.loads(rest[at + 1], object_pairs_hook=once)
        except (ValueError, RecursionError) as error:
            raise UserError(f"--params is not JSON ({error}); check quotes and brackets") from None
        if not isinstance(values, dict):
            raise UserError("--params must be a JSON object such as '{\"epochs\": 3}'")
        del rest[at : at + 2]
    if "--params" in rest:
        raise UserError("--params is given twice; keep one")
    paths = {}
    for argument in rest:
        name, equals, path = argument.partition("=")
        if not equals or not name or not path:
            raise UserError(f"{argument!r} is not of the form name=path; write it so")
        if name in paths:
            raise UserError(f"the path {name} is given twice; keep one")
        paths[name] = Path(path)
    return values, paths


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the dict of a JSON object whose keys stand once.

    Raises
    ------
    UserError
        If one stands twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"--params has the key {twice} twice; remove one")
    return values


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
        if name in paths and not _exists(name, paths[name]) and not _incomplete(paths[name]):
            raise UserError(f"the input {name}={paths[name]} does not exist")
    names: dict[str, str] = {}  # real path -> name
    for name in (*reads, *optional, *writes):
        real = os.path.realpath(paths[name]) if name in paths else name
        if name in writes and real in names:
            raise UserError(
                f"{names[real]} and {name} are one path, {paths[name]}; give each one of its own"
            )
        names[real] = name


def _exists(name: str, path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name longer than file systems take
        raise UserError(f"{name}={_short(path)}: {error.strerror}; give another path") from None


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 100 else f"{text[:60]}...{text[-30:]}"


def _incomplete(path: Path) -> bool:
    """Tell whether a file is missing in a result that is there; `results.checked` removes it."""
    return results.address(path.parent) is not None and path.parent.exists()


def _outputs(
    module: str, values: Mapping[str, Any], paths: Mapping[str, Path], writes: Sequence[str]
) -> dict[str, Path]:
    """Return the outputs in an addressed folder, if it is the folder of this command.

    Raises
    ------
    UserError
        If code, params or inputs are no longer those that the folder was named by: a job that
        waited in a queue while the source was edited.
    """
    folders = [paths[key].parent for key in writes if results.address(paths[key].parent)]
    if not folders:
        return {}
    folder = folders[0]
    outputs = {key: paths[key] for key in writes if paths[key].parent == folder}
    inputs = {key: results.relative(path) for key, path in paths.items() if key not in outputs}
    names = {key: path.name for key, path in outputs.items()}
    if address.of(module, values, names, inputs) != results.address(folder):
        raise UserError(
            f"the code or the inputs of {folder} changed since this job was planned; "
            "run snakemake again"
        )
    return outputs


def _finish(job: Job, outputs: Mapping[str, Path]) -> None:
    """Write timings, then what vouches for the outputs; then no checkpoint is needed any more."""
    folders = {path.parent for path in outputs.values()}
    if job.times and not folders:
        folders = {job.paths[key].parent for key in job.paths if key not in job.reads}
    for folder in folders:
        files.write_json(folder / timings.NAME, timings.measured() | {"times": job.times})
    for folder in folders if outputs else ():
        results.write(folder, outputs.values())
    for path in job.checkpoints:
        path.unlink(missing_ok=True)
