"""The checkpoint of a transfer: it lies beside the output, and warns where a step would stop."""

import dataclasses
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pr12.core import checkpoints
from pr12.workflow import step
from pr12.workflow.errors import UserError


class Checkpoint(NamedTuple):
    """Where a checkpoint lies, and the digest of all that its transfer depends on."""

    path: Path
    fingerprint: str


def beside(output: Path, job: step.Job, weights: Path | None) -> Checkpoint:
    """Return the checkpoint of an output: no two outputs of one folder share it.

    Parameters
    ----------
    output : Path
        The photograph that shall be written.
    job : Job
        Params and inputs; whether it resumes does not count.
    weights : Path, optional
        Those that are used, be they given or fetched.

    Raises
    ------
    UserError
        If an input cannot be read.
    """
    paths = job.paths | ({"weights": weights} if weights else {})
    alike = dataclasses.replace(
        job,
        params=dataclasses.replace(job.params, resume=False),
        paths=paths,
        reads=tuple(sorted(set(paths) - {"output"})),
    )
    try:
        fingerprint = checkpoints.fingerprint(alike)
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename}: {error.strerror}; give a file that can be read"
        ) from None
    return Checkpoint(output.with_name(f".{output.name}.resume.pt"), fingerprint)


def read(checkpoint: Checkpoint) -> Mapping[str, Any] | None:
    """Return the state that a run before has reached, or None, with a warning, if there is none.

    Raises
    ------
    UserError
        If the checkpoint is damaged or belongs to another transfer.
    """
    path = checkpoint.path
    if not path.is_file():
        warn(f"there is no checkpoint {path} to go on from; starting afresh")
        return None
    remedy = "leave out --resume to start afresh"
    if _damaged(path):
        raise UserError(f"the checkpoint {path} is damaged (cut off or changed); {remedy}")
    state = checkpoints.load_state(path, checkpoint.fingerprint)
    if state is None:
        raise UserError(
            f"the checkpoint {path} belongs to other images, masks, weights, params or source "
            f"code; give those again, or {remedy}"
        )
    return state


def save(checkpoint: Checkpoint, state: Mapping[str, Any]) -> bool:
    """Write a state and tell whether that went well; a failure is a warning and stops nothing."""
    try:
        checkpoints.save_state(checkpoint.path, state, checkpoint.fingerprint)
    except UserError:
        warn(
            f"the checkpoint {checkpoint.path} cannot be written; the transfer goes on, but free "
            f"some space (df -h {checkpoint.path.parent}) so that it could be resumed"
        )
        return False
    return True


def warn(text: str) -> None:
    """Print a warning on standard error."""
    print(f"warning: {text}", file=sys.stderr)


def _damaged(path: Path) -> bool:
    """Tell whether a file of torch.save, a zip archive, is cut off or has other bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is not None
    except (zipfile.BadZipFile, OSError, EOFError):
        return True
