"""Published archives of photographs, read from start to end."""

import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from pr12.workflow.errors import UserError

REMEDY = "delete it and run again, and it is fetched anew"


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a .tar.gz archive to be read from its start to its end.

    Parameters
    ----------
    path : Path
        The archive.

    Raises
    ------
    UserError
        If it cannot be read or is damaged, also while it is read.

    Examples
    --------
    >>> with opened(Path("/dev/null")) as archive:
    ...     pass
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: /dev/null is not a whole .tar.gz archive (not a gzip file); \
delete it and run again, and it is fetched anew
    """
    try:
        with tarfile.open(path, mode="r|gz") as archive:
            yield archive
    # What a broken head holds may be no number, no text or beyond all bounds
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise UserError(f"{path} is not a whole .tar.gz archive ({error}); {REMEDY}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {REMEDY}") from error


def content(archive: tarfile.TarFile, member: tarfile.TarInfo, largest: int, path: Path) -> bytes:
    """Return the bytes of a member.

    Parameters
    ----------
    archive : TarFile
        As of `opened`, at this member.
    member : TarInfo
        Which.
    largest : int
        Bytes that it may have.
    path : Path
        Of the archive, for messages.

    Raises
    ------
    UserError
        If it is no file, or larger.
    """
    if not member.isreg():
        raise UserError(f"{member.name} of {path} is a link or no file; {REMEDY}")
    if member.size > largest:
        raise UserError(
            f"{member.name} of {path} has {member.size} bytes and at most {largest} are read; "
            f"{REMEDY}"
        )
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def photograph(packed: bytes, kind: str, where: str) -> Image.Image:
    """Return a photograph as RGB.

    Parameters
    ----------
    packed : bytes
        Of a file.
    kind : str
        ``PNG`` or ``JPEG``; no other is read.
    where : str
        What to call it in messages.

    Raises
    ------
    UserError
        If it is no whole file of this kind.

    Examples
    --------
    >>> photograph(b"<html>", "PNG", "1.png of train.tar.gz")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: 1.png of train.tar.gz is not a whole PNG file; delete it and \
run again, and it is fetched anew
    """
    try:
        return Image.open(io.BytesIO(packed), formats=[kind]).convert("RGB")
    except Exception as error:  # a broken file raises whatever Pillow comes upon first
        raise UserError(f"{where} is not a whole {kind} file; {REMEDY}") from error


def check_all_read(rows: Mapping[str, int], path: Path) -> None:
    """Refuse an archive in which members that were to be read are missing."""
    if rows:
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        raise UserError(f"{path} lacks {next(iter(rows))}{more}; {REMEDY}")
