"""Whether raw files are those that data/sources.csv lists: asked by `fetch` and by whoever reads.

A checksum is ``md5:...`` or ``sha256:...`` of a file; ``sha256-prefix:...`` where only the first
digits are published; ``pixels-sha256:...`` of the variable ff of a MATLAB file, whose pixels are
published in several containers; ``volumes-sha256:...`` of a folder, see `pr12.data.volumes`.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pr12.data import volumes
from pr12.data.archive import UnusableError
from pr12.workflow import address, files
from pr12.workflow.errors import UserError

OF_FILE = r"md5:[0-9a-f]{32}|(pixels-)?sha256:[0-9a-f]{64}|sha256-prefix:[0-9a-f]{8,63}"
CHECKSUM = rf"{OF_FILE}|{volumes.PREFIX}[0-9a-f]{{64}}"
PIXELS = (560, 1965)  # of Frey Face, the one file known by its decoded pixels
# SciPy's reader does not check the types of what it reads (scipy/scipy#25349): some broken files
# end the whole process. A process of its own tries a file first.
TRIAL = "import sys, scipy.io; scipy.io.loadmat(sys.stdin.buffer, variable_names=['ff'])"


def compare(path: Path, checksum: str) -> None:
    """Compare a file or a folder with a checksum.

    Parameters
    ----------
    path : Path
        The file or the folder.
    checksum : str
        Of one of the kinds above.

    Raises
    ------
    UnusableError
        If it is another one; the message is what follows its name in a sentence.
    OSError
        If it is missing or cannot be read.

    Examples
    --------
    >>> compare(Path("/dev/null"), "md5:d41d8cd98f00b204e9800998ecf8427e")
    Traceback (most recent call last):
    ...
    pr12.data.archive.UnusableError: is not a file
    """
    if checksum.startswith(volumes.PREFIX):
        volumes.check_folder(path, checksum)
        return
    path.stat()
    if not path.is_file():
        raise UnusableError("is not a file")  # to read a pipe might never end
    kind, _, expected = checksum.partition(":")
    algorithm = kind.removesuffix("-prefix")
    with open(path, "rb") as stream:
        pixels = algorithm == "pixels-sha256"
        digest = _pixels(path) if pixels else hashlib.file_digest(stream, algorithm).hexdigest()
    if not (digest.startswith(expected) if kind.endswith("-prefix") else digest == expected):
        raise UnusableError(
            f"has the wrong checksum (expected {checksum}, found {algorithm}:{digest})"
        )


def _pixels(path: Path) -> str:
    """Return the SHA-256 of the pixels in the variable ff of a MATLAB file, row by row."""
    import scipy.io  # a third of a second that no other file needs

    with open(path, "rb") as stream:
        trial = subprocess.run(
            [sys.executable, "-c", TRIAL], stdin=stream, capture_output=True, check=False
        )
        if trial.returncode:
            raise UnusableError("is not a whole MATLAB file")
        stream.seek(0)
        pixels = scipy.io.loadmat(stream, variable_names=["ff"]).get("ff")
    if pixels is None:
        raise UnusableError("has no variable ff")
    kind = (type(pixels).__name__, str(pixels.dtype), pixels.shape)
    if kind != ("ndarray", "uint8", PIXELS):
        raise UnusableError(f"has as ff {kind} instead of an ndarray of uint8 {PIXELS}")
    return hashlib.sha256(pixels.tobytes(order="C")).hexdigest()


def check(path: Path, checksums: Mapping[str, str], name: str = "") -> None:
    """Check that a file or folder is still the one that was fetched.

    Parameters
    ----------
    path : Path
        The file or folder.
    checksums : mapping of str to str
        What `record` returned.
    name : str
        Under which it is listed; by default its own.

    Raises
    ------
    UserError
        If it is missing, not listed or another one.

    Examples
    --------
    >>> check(Path("/nowhere/train.tar.gz"), {})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: verified.json says nothing of train.tar.gz; delete \
verified.json and run again, and it is fetched anew
    """
    name = name or path.name
    remedy = "delete verified.json and run again, and it is fetched anew"
    if name not in checksums:
        raise UserError(f"verified.json says nothing of {name}; {remedy}")
    _refuse_another(path, checksums[name], remedy)


def _refuse_another(path: Path, checksum: str, remedy: str) -> None:
    try:
        compare(path, checksum)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); {remedy}") from error
    except UnusableError as error:
        raise UserError(f"{path} is not what was fetched: it {error}; {remedy}") from None


def record(path: Path) -> dict[str, str]:
    """Read what `pr12.data.fetch` wrote of the files that it verified.

    Parameters
    ----------
    path : Path
        A verified.json.

    Returns
    -------
    dict of str to str
        File -> checksum.

    Raises
    ------
    UserError
        If it is missing, is not JSON or lists anything else.
    """
    try:
        checksums = files.read_json(path)
    except RecursionError:
        checksums = None
    if not isinstance(checksums, dict):
        raise UserError(f"{path} is no list of checksums; delete it and run again")
    for name, checksum in checksums.items():
        if not isinstance(checksum, str) or not re.fullmatch(CHECKSUM, checksum):
            raise UserError(
                f"{path} has {checksum!r} for {name}, which is no checksum; delete it and run again"
            )
    return checksums


def check_all(verified: Path, folder: Path, names: Iterable[str]) -> None:
    """Check that files of a folder are still those that were fetched.

    Parameters
    ----------
    verified : Path
        The verified.json of the data set.
    folder : Path
        Where its files lie.
    names : iterable of str
        Those that are about to be read.

    Raises
    ------
    UserError
        For the first that is missing, not listed or another one.
    """
    checksums = record(verified)
    for name in names:
        check(folder / name, checksums, name)


def check_raw(path: Path) -> None:
    """Check what lies in data/raw by data/sources.csv; a path elsewhere is a user's and not known.

    Parameters
    ----------
    path : Path
        Such as ``data/raw/adult`` (all files of the data set) or one file of it.

    Raises
    ------
    UserError
        For the first file that is missing or another one.

    Examples
    --------
    >>> check_raw(Path("/home/me/adult"))
    """
    match = re.fullmatch(r"(?:.*/)?data/raw/([^/]+)(?:/(.+))?", path.as_posix())
    if not match:
        return
    listed = address.checksums(address.SRC.parent / "data/sources.csv").get(match[1], {})
    remedy = f"remove build/*/data/{match[1]}/fetch.* and run again, and it is fetched anew"
    for name, checksum in listed.items():
        if match[2] is None:
            _refuse_another(path / name, checksum, remedy)
        elif match[2] == name:
            _refuse_another(path, checksum, remedy)
