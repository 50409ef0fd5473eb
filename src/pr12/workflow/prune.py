"""Remove the results that no current case addresses, so that DVC tracks what params.yaml says."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from pydantic.dataclasses import dataclass

from pr12.workflow import step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class Params:
    """Params of the pruning."""

    keep: tuple[str, ...]


def stale(folder: Path, keep: Iterable[str]) -> list[Path]:
    """Return the addressed folders below `folder` that are not to be kept.

    Parameters
    ----------
    folder : Path
        A run's folder, such as ``build/embedded``.
    keep : iterable of str
        Folders that current params and source address.

    Examples
    --------
    >>> import tempfile
    >>> run = Path(tempfile.mkdtemp())
    >>> for name in ("vae/z2/train.0123456789", "vae/z2/train.abcdef0123"):
    ...     (run / name).mkdir(parents=True)
    >>> [path.name for path in stale(run, [str(run / "vae/z2/train.abcdef0123")])]
    ['train.0123456789']
    """
    current = set(keep)
    addressed = (
        path
        for path in folder.rglob("*.*")
        if path.is_dir()
        and len(path.suffix) == 11
        and set(path.suffix[1:]) <= set("0123456789abcdef")
    )
    return sorted(path for path in addressed if str(path) not in current)


def main(job: step.Job) -> None:
    """Remove what is stale, and say so."""
    folder = job.paths["folder"]
    if folder.parts[:1] != ("build",) or ".." in folder.parts:
        raise UserError(f"folder={folder} is not below build/; nothing else is ever removed")
    for path in stale(folder, job.params.keep):
        print(f"removed {path}", file=sys.stderr)
        shutil.rmtree(path)


if __name__ == "__main__":
    with step.start(Params, reads=["folder"]) as job:
        main(job)
