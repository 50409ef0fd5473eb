"""The digests of a result's files, written with it and checked by whoever reads it.

A result is the files in an addressed folder, ``build/<run>/<paper>/<case>/<step>.<digest>/``. Its
``files.json`` (file -> SHA-256) is written last: what it does not vouch for is no result, and is
removed so that Snakemake makes it again.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pr12.workflow import files
from pr12.workflow.errors import UserError

NAME = "files.json"
# chains.<digest> lies in build/<run>/report/: the Snakefile writes it anew whenever it is read
_ADDRESSED = re.compile(r"(?!chains\.)\w+\.([0-9a-f]{10})")
# What a job that did not end leaves: logs, checkpoints, files without their last name
_UNFINISHED = re.compile(r".*\.log|resume.*|\..*")
PATIENCE = 3.0  # seconds: another node's file may be seen late on a network file system


def relative(path: Path | str) -> str:
    """Return a path as the Snakefile writes it, relative to the folder in which steps run.

    Examples
    --------
    >>> relative(Path.cwd() / "build/a"), relative("build/a"), relative("/elsewhere/a")
    ('build/a', 'build/a', '/elsewhere/a')
    """
    path = Path(path)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def address(folder: Path | str) -> str | None:
    """Return the digest in the name of an addressed folder; of another folder, None.

    Only folders below build/ are addressed: whatever a user calls his own, it is never removed.

    Examples
    --------
    >>> address("build/full/vae/z2/train.0123456789")
    '0123456789'
    >>> address("/home/me/photographs.0123456789") is None
    True
    """
    parts = Path(relative(folder)).parts
    match = _ADDRESSED.fullmatch(parts[-1]) if parts[:1] == ("build",) else None
    return match[1] if match and ".." not in parts else None


def write(folder: Path, paths: Iterable[Path]) -> None:
    """Write the digests of a result's files, when all of them are there.

    Parameters
    ----------
    folder : Path
        The addressed folder.
    paths : iterable of Path
        The step's outputs in it.
    """
    files.write_json(folder / NAME, {path.name: files.sha256(path) for path in paths})


def checked(path: Path) -> str:
    """Return the SHA-256 of a file of a result that is as its step wrote it.

    Parameters
    ----------
    path : Path
        The file, in an addressed folder.

    Raises
    ------
    UserError
        If it, or what vouches for it, is missing or damaged. The folder is removed.
    """
    wanted = _digests(path.parent).get(path.name)
    digest = _digest(path)
    if digest is None or digest != wanted:
        raise _removed(path)
    return digest


def check_complete(paths: Iterable[str]) -> None:
    """Refuse Snakemake's own ``--report`` of a run that has not made all files.

    Parameters
    ----------
    paths : iterable of str
        All files behind the results of today's params and code.

    Raises
    ------
    UserError
        If some are missing, with the commands that help.

    Examples
    --------
    >>> check_complete([])
    """
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise UserError(
            f"snakemake --report needs a finished run, and {len(missing)} files are missing, such "
            f"as {missing[0]}; run `snakemake --cores all` first, or write the pages of the "
            "evidence that there is by `snakemake --cores 1 report`"
        )


def damaged(root: Path) -> Iterator[UserError]:
    """Check every result below a folder; remove what is damaged, and yield why.

    Parameters
    ----------
    root : Path
        Such as ``build/full/vae``.

    Yields
    ------
    UserError
        One a folder.
    """
    folders = [root, *sorted(path for path in root.rglob("*.*") if path.is_dir())]
    for folder in filter(address, folders):
        if all(_UNFINISHED.fullmatch(path.name) for path in folder.iterdir()):
            continue  # no result yet: a killed training goes on from its checkpoint
        try:
            for name, wanted in _digests(folder).items():
                if _digest(folder / name) != wanted:
                    raise _removed(folder / name)
        except UserError as error:
            yield error


def _digests(folder: Path) -> dict[str, str]:
    """Read what a result vouches for."""
    if not (folder / NAME).exists():
        time.sleep(PATIENCE)  # hours of work must not be removed in haste
    try:
        digests = files.read_json(folder / NAME)
    except (UserError, RecursionError):
        digests = None
    if not isinstance(digests, dict) or not digests:
        raise _removed(folder / NAME)
    return digests


def _digest(path: Path) -> str | None:
    try:
        return files.sha256(path)
    except OSError:
        return None


def _removed(path: Path) -> UserError:
    """Remove a file's folder; return the sentence that says so."""
    folder = path.parent
    done = f"{folder} was removed" if _remove(folder) else f"remove {folder}"
    return UserError(
        f"{path} is missing or not as its step wrote it; {done}, snakemake makes it again"
    )


def _remove(folder: Path) -> bool:
    """Remove a folder, but the log that this process writes to, which says why; tell if it worked.

    The evidence of a case is made with a log beside the result that it reads.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not _is_open_log(path):
                path.unlink()
        folder.rmdir()
    return not folder.exists() or all(map(_is_open_log, folder.iterdir()))


def _is_open_log(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(2))
    except OSError:  # a link to nothing
        return False
