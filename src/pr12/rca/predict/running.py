"""What ``pr12 quality score`` and ``fit`` share: the output folder, processes, params."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from pr12.rca.model.registration import Effort
from pr12.rca.predict.cases import Case
from pr12.rca.predict.settings import DEFAULTS, Settings, in_words
from pr12.workflow import step
from pr12.workflow.errors import UserError

SHRINK = {2: (2,), 3: (4, 2)}  # by dimension
SCORES = ".scores"  # folder of what is scored already
LOCK = ".lock"


def with_defaults(arguments: Sequence[str], only: Sequence[str] = tuple(DEFAULTS)) -> list[str]:
    """Lay a user's params over `DEFAULTS`; what is no JSON object is left for `step.start`.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    only : sequence of str
        The params that the command takes.

    Raises
    ------
    UserError
        If a param is given that it does not take.

    Examples
    --------
    >>> line = with_defaults(["out=a", "--params", '{"threshold": 0.5}'])
    >>> json.loads(line[2]) == DEFAULTS | {"threshold": 0.5}
    True
    >>> json.loads(with_defaults(["out=a"])[1]) == DEFAULTS
    True
    """
    rest = list(arguments)
    if "--params" not in rest:
        return ["--params", json.dumps(DEFAULTS), *rest]
    place = rest.index("--params") + 1
    try:
        given = json.loads(rest[place], object_pairs_hook=step.once)
    except (IndexError, ValueError, RecursionError, UserError):
        return rest  # `step.start` says what is wrong
    if isinstance(given, dict):
        unused = [name for name in given if name in DEFAULTS and name not in only]
        if unused:
            raise UserError(f"--params.{unused[0]} is not asked for here; leave it out")
        rest[place] = json.dumps(DEFAULTS | in_words(given))
    return rest


def cores() -> int:
    """Return how many cores this process may use.

    Examples
    --------
    >>> cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):  # neither on Windows nor on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def processes(settings: Settings) -> Iterator[None]:
    """Grant as many processes as were asked for; what was granted before goes without asking.

    Parameters
    ----------
    settings : Settings
        The command's.

    Raises
    ------
    UserError
        If more processes are asked for than there are cores: each takes memory.
    """
    if settings.jobs and settings.jobs > cores():
        raise UserError(f"jobs is {settings.jobs}, and there are {cores()} cores; give no more")
    before = os.environ.get("OMP_NUM_THREADS")
    if settings.jobs or not before:
        os.environ["OMP_NUM_THREADS"] = str(settings.jobs or cores())
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextmanager
def alone(paths: Mapping[str, Path], other: str) -> Iterator[None]:
    """Keep other runs out of the output folder, which must be one that can be written to.

    Parameters
    ----------
    paths : mapping of str to Path
        Of the command; ``out`` is the folder.
    other : str
        File by which a folder of the other command is known, which must not be mixed with.

    Raises
    ------
    UserError
        If it lies in an input, is of another command, cannot be written to, or another run writes
        into it.
    """
    out = paths["out"]
    for name, path in paths.items():
        if name != "out" and path.resolve() in (out.resolve(), *out.resolve().parents):
            raise UserError(f"out={out} lies in {name}={path}; give a folder of its own")
    if (out / other).exists():
        raise UserError(f"out={out} holds {other} of another command; give a folder of its own")
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(
            f"cannot write into the folder out={out}: {error.strerror}; give another folder"
        ) from error
    try:
        with filelock.FileLock(out / LOCK, timeout=0):  # ends with the process, even if killed
            yield
    except filelock.Timeout:
        raise UserError(
            f"another run is writing into out={out}; wait for its end or give another folder"
        ) from None


def effort(settings: Settings, references: Sequence[Case]) -> Effort:
    """Return how long registrations search.

    Parameters
    ----------
    settings : Settings
        The command's.
    references : sequence of Case
        Of one dimension.
    """
    return Effort(
        settings.affine_iterations,
        settings.shrink or SHRINK[references[0].image.ndim],
        settings.deformable_iterations,
        settings.smoothing,
    )


def answer(run: Callable[[step.Job], int], help_text: str, shown: Mapping[str, Any], **paths: Any):
    """Run a command and exit with its code; without arguments say how it is used.

    Parameters
    ----------
    run : callable
        Takes the job, returns the exit code.
    help_text : str
        Of the module.
    shown : mapping
        Params and their defaults.
    **paths
        ``reads`` and ``optional`` of `pr12.workflow.step.start`.
    """
    arguments = sys.argv[1:]
    if arguments in ([], ["-h"], ["--help"]):
        print(help_text, "Params and their defaults:\n", json.dumps(shown, indent=1), sep="\n")
        raise SystemExit(0)
    try:
        arguments = with_defaults(arguments, tuple(shown))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    with step.start(Settings, writes=["out"], arguments=arguments, **paths) as job:
        try:
            code = run(job)
        except BrokenProcessPool:  # as joblib's, too
            raise UserError(
                "a process was killed, perhaps for want of memory; run the same command again "
                "with fewer processes (jobs)"
            ) from None
    raise SystemExit(code)
