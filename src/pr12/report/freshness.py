"""Whether pages still show what they were written from: a stamp holds the digests of all of it."""

from collections.abc import Iterator
from pathlib import Path

from pr12.workflow import address, files
from pr12.workflow.errors import UserError


def listing(*paths: Path) -> dict[str, str]:
    """Return path -> SHA-256 of files and of all files in folders; what is not there is left out.

    Parameters
    ----------
    *paths : Path
        Files or folders.

    Examples
    --------
    >>> listing(Path("/nowhere"), Path("/dev/null"))
    {}
    """
    return {str(path): files.sha256(path) for path in sorted(set(_files(paths)))}


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from (inner for inner in path.rglob("*") if inner.is_file())


def digest(*paths: Path) -> str:
    """Return one digest of the names and contents of files.

    Parameters
    ----------
    *paths : Path
        Files or folders.

    Examples
    --------
    >>> digest(Path("/nowhere")) == digest()
    True
    """
    return address.digest(listing(*paths))


def known(stamp: Path, fixed: str, *paths: Path) -> bool:
    """Tell whether files are those of a stamp, written by the same code.

    Parameters
    ----------
    stamp : Path
        What `write` wrote; it may be missing.
    fixed : str
        Digest of code, params and texts.
    *paths : Path
        Files or folders that were read and written.

    Examples
    --------
    >>> known(Path("/nowhere/stamp.json"), "0123456789")
    False
    """
    try:
        return files.read_json(stamp) == {"fixed": fixed, "files": listing(*paths)}
    except UserError:
        return False


def write(stamp: Path, fixed: str, *paths: Path) -> None:
    """Write a stamp of files, the last act of whoever wrote them.

    Parameters
    ----------
    stamp : Path
        Where.
    fixed : str
        Digest of code, params and texts.
    *paths : Path
        Files or folders that were read and written.
    """
    files.write_json(stamp, {"fixed": fixed, "files": listing(*paths)})
