"""Files that are whole or absent: temporary name first, rename last."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pr12.workflow.errors import UserError


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name if the block succeeds.

    Parameters
    ----------
    path : Path or str
        Where the finished file shall lie; its folder is made.

    Yields
    ------
    Path
        A name in the same folder (a rename across file systems would not be atomic), with the
        same suffix (writers that look at the suffix keep working); removed if the block fails.

    Raises
    ------
    UserError
        If the folder cannot be made or written to.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a" / "numbers.txt"
    >>> with atomic(target) as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('1 2 3', 1)
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; "
            "free or unlock the place (df -h, ls -ld) and run the same command again"
        ) from error
    finally:
        # A failed write may leave a part, or a folder that cannot even be looked into.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Refuse to work in a folder that cannot be written to, where even a dry run leaves notes.

    Parameters
    ----------
    folder : Path
        In which Snakemake runs.

    Examples
    --------
    >>> check_writable(Path("/proc/self"))
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: /proc/self cannot be written to, and Snakemake leaves notes \
there; unlock it (ls -ld, mount) or work in a copy
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        raise UserError(
            f"{folder} cannot be written to, and Snakemake leaves notes there; unlock it (ls -ld, "
            "mount) or work in a copy"
        ) from None


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values are equal bytes.

    Parameters
    ----------
    path : Path or str
        The file.
    value : Any
        What `json` can hold; NaN and infinity are refused (they are not JSON).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.json"
    >>> write_json(path, {"b": 1, "a": [0.5]})
    >>> read_json(path)
    {'a': [0.5], 'b': 1}
    """
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    UserError
        If it is missing or not JSON.

    Examples
    --------
    >>> read_json("/nowhere/a.json")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/a.json: No such file or directory
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); delete it and run again") from error


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Parameters
    ----------
    path : Path or str
        The file.

    Examples
    --------
    >>> sha256("/dev/null")[:8]
    'e3b0c442'
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
