"""Folders of files, from an archive or from a folder: the right ones, and whole or absent."""

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pr12.workflow.errors import UserError

LARGEST = 1_000_000  # bytes of one file; ten times as many as the largest has


class UnusableError(Exception):
    """Why one place cannot give the file; the next place is tried."""


def read_folder(folder: Path, names: Set[str]) -> dict[str, bytes]:
    """Read the files of some names from a folder that may hold more.

    Parameters
    ----------
    folder : Path
        Where they lie, such as a folder of a mirror.
    names : set of str
        Such as ``{"hippocampus_001.nii.gz"}``.

    Returns
    -------
    dict of str to bytes
        File -> content, of those that there are.

    Raises
    ------
    UnusableError
        If it cannot be read or a file is far too large.

    Examples
    --------
    >>> read_folder(Path("/nowhere"), {"a"})
    Traceback (most recent call last):
    ...
    pr12.data.archive.UnusableError: cannot be read (No such file or directory)
    """
    contents = {}
    try:
        present = set(os.listdir(folder))
        for name in sorted(present & names):
            if not (folder / name).is_file():
                raise UnusableError(f"holds {name}, which is not a file")
            with open(folder / name, "rb") as stream:
                contents[name] = stream.read(LARGEST + 1)
    except OSError as error:
        raise UnusableError(f"cannot be read ({error.strerror})") from error
    for name, content in contents.items():
        if len(content) > LARGEST:
            raise UnusableError(f"holds {name}, which has more than {LARGEST} bytes")
    return contents


def read_tar(content: bytes, folder: str, names: Set[str]) -> dict[str, bytes]:
    """Read the files of some names from an archive, from the folder of one name in it.

    Parameters
    ----------
    content : bytes
        A tar archive that is not packed.
    folder : str
        Such as ``imagesTr``: ``<anything>/imagesTr/<name>`` is read.
    names : set of str
        As for `read_folder`.

    Returns
    -------
    dict of str to bytes
        File -> content, of those that there are.

    Raises
    ------
    UnusableError
        If it is not a whole archive, or such a file is a link, is there twice, has an absolute
        path or one with "..", or is far too large.

    Examples
    --------
    >>> read_tar(b"<html>Please log in</html>", "imagesTr", {"a"})
    Traceback (most recent call last):
    ...
    pr12.data.archive.UnusableError: is not a whole .tar file
    """
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                if member.size < 0:  # the way to the next member would lead back: for ever
                    raise tarfile.ReadError
                *above, name = PurePosixPath(member.name).parts or ("",)
                if above[-1:] != [folder] or name not in names:
                    continue  # also `._<name>`, which macOS puts beside each file
                _check_member(member, above)
                if name in contents:
                    raise UnusableError(f"holds {folder}/{name} twice")
                contents[name] = archive.extractfile(member).read()
    # What a broken head holds may be no number, no text or beyond all bounds.
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError):
        raise UnusableError("is not a whole .tar file") from None
    return contents


def _check_member(member: tarfile.TarInfo, above: Iterable[str]) -> None:
    # Only its own name is used below, so that nothing could be written elsewhere; but an archive
    # that tries is not the one that is looked for.
    if member.name.startswith("/") or ".." in above:
        raise UnusableError(f"holds {member.name!r}, which leads out of its folder")
    if not member.isreg():
        raise UnusableError(f"holds {member.name!r}, which is a link or no file")
    if member.size > LARGEST:
        raise UnusableError(f"holds {member.name!r}, which has more than {LARGEST} bytes")


def put_folder(folder: Path, contents: Mapping[str, bytes], check: Callable[[Path], None]) -> None:
    """Put files where a folder shall lie, if they are the right ones: all of them or none.

    They are written into a folder beside it, which takes its name and place once it is checked.

    Parameters
    ----------
    folder : Path
        What lies there is removed at the end.
    contents : mapping of str to bytes
        File -> content, as `read_folder` and `read_tar` give them.
    check : callable
        Raises an error if a folder is not right.

    Raises
    ------
    UserError
        If the place cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "made"
    >>> put_folder(folder, {"a.txt": b"1"}, check=print)  # doctest: +ELLIPSIS
    /.../.made...part
    >>> [path.name for path in folder.parent.rglob("*")]
    ['made', 'a.txt']
    """
    part, old = (
        folder.with_name(f".{folder.name}.{os.getpid()}.{state}") for state in ("part", "old")
    )
    try:
        _remove(part)  # a killed process may have had the same number
        part.mkdir(parents=True)
        for name, content in contents.items():
            (part / name).write_bytes(content)
        check(part)
        if os.path.lexists(folder):
            folder.replace(old)  # a folder that holds files cannot be replaced in one step
        part.replace(folder)
    except OSError as error:
        raise UserError(
            f"cannot write {folder}: {error.strerror or error}; "
            "free or unlock the place (df -h, ls -ld) and run the same command again"
        ) from error
    finally:
        with suppress(OSError):
            if not os.path.lexists(folder):  # interrupted between the two
                old.replace(folder)
        _remove(part)
        _remove(old)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)  # a file, or a link
