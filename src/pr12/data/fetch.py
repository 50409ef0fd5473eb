"""Fetch raw files, from a mirror or their official source: checked, and whole or absent.

data/sources.csv says which files make a data set, where they are published and what their
checksums are. The environment variable PR12_MIRROR names a folder or a web address that is asked
first; it holds the files as they are kept here, ``<mirror>/<name>/<file>``. A folder of volumes
(``volumes-sha256:``) is published in an archive: on the web a mirror holds that archive,
``<mirror>/<name>/<archive>``.
"""

import csv
import functools
import gzip
import hashlib
import io
import os
import re
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote, urlsplit

import pooch
import requests
import urllib3

from pr12.data import archive, fetched, volumes
from pr12.data.archive import UnusableError
from pr12.data.params import Fetch as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

MIRROR = "PR12_MIRROR"
TIMEOUT = 30.0  # seconds without an answer or without a byte
PAUSES = (1.0, 2.0, 4.0)  # seconds before each new attempt at a busy server
BUSY = (429, 500, 502, 503, 504)  # statuses that may be gone at the next attempt
CHUNK = 1 << 16  # bytes
LARGEST = 100_000_000  # bytes that a file may have whose size is not listed

PART = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"  # no leading dot, hence no '..'
URL = r"https?://[^\s/]+/\S+"
CELLS = {  # column -> what its cells must match, in words
    "name": (r"[a-z0-9][a-z0-9_-]*", "a word of a-z, 0-9, _ and -"),
    "file": (rf"{PART}(/{PART})*", "a path inside its folder, of letters, digits, _ . + and -"),
    "urls": (rf"{URL}( {URL})*", "http or https addresses with one space between them"),
    "bytes": (r"([1-9][0-9]{0,14})?", "a whole number above 0, or empty if it is not known"),
    "checksum": (
        fetched.CHECKSUM,
        "md5:, sha256: or pixels-sha256: and lower-case digits, sha256-prefix: and the first of "
        "them (8 or more), or volumes-sha256: for a folder",
    ),
    "licence": (r".+", "not empty"),
    "used_by": (r".+", "not empty"),
}


class Source(NamedTuple):
    """One raw file, or one folder of volumes: a row of data/sources.csv."""

    name: str  # the data set, and the folder it is kept in
    file: str
    # Tried in this order; may be packed (.gz) where the file is not. For a folder, of an archive
    # that holds it, perhaps with "#md5=..." of that archive.
    urls: tuple[str, ...]
    bytes: int | None  # of the file as it is kept; None: not known, the checksum alone decides
    # of the file as it is kept, "md5:..." or "sha256:..."; "sha256-prefix:..." where only the first
    # digits are published, as in torchvision's names of files; where the same pixels are published
    # in several containers, "pixels-sha256:..." of the variable ff of a MATLAB file; of a folder,
    # "volumes-sha256:..." as `volumes.folder_checksum` gives it
    checksum: str
    licence: str
    used_by: str


def read_sources(text: str) -> list[Source]:
    r"""Read the list of raw files.

    Parameters
    ----------
    text : str
        CSV with the columns of `Source`.

    Raises
    ------
    UserError
        For the first cell that is not as it must be, with its line.

    Examples
    --------
    >>> read_sources("name,file\n")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: sources.csv line 1 must be name,file,urls,bytes,checksum,...
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    sources: dict[tuple[str, str], Source] = {}
    try:
        if next(reader, None) != list(CELLS):
            raise UserError(f"sources.csv line 1 must be {','.join(CELLS)}")
        for row in reader:
            source = _source(row, f"sources.csv line {reader.line_num}")
            if (source.name, source.file) in sources:
                where = f"sources.csv line {reader.line_num}"
                raise UserError(f"{where}: {source.name}/{source.file} is listed twice")
            sources[source.name, source.file] = source
    except csv.Error as error:
        raise UserError(f"sources.csv line {reader.line_num} is not CSV: {error}") from None
    return list(sources.values())


def _source(row: list[str], where: str) -> Source:
    if len(row) != len(CELLS):
        raise UserError(f"{where} has {len(row)} cells; it must have {len(CELLS)}")
    for (column, (pattern, words)), cell in zip(CELLS.items(), row, strict=True):
        if not re.fullmatch(pattern, cell):
            raise UserError(f"{where}: {column} is {cell!r}; it must be {words}")
    name, file, urls, size, checksum, licence, used_by = row
    if size and checksum.startswith(volumes.PREFIX):
        raise UserError(f"{where}: bytes is {size!r}; it must be empty for a folder of volumes")
    known = int(size) if size else None
    return Source(name, file, tuple(urls.split(" ")), known, checksum, licence, used_by)


def fetch(
    source: Source,
    folder: Path,
    mirror: str | None = None,
    timeout: float = TIMEOUT,
    pauses: Sequence[float] = PAUSES,
) -> str:
    r"""Put one row's file into its folder, unless it lies there already with the right checksum.

    Parameters
    ----------
    source : Source
        The file.
    folder : Path
        Where it shall lie.
    mirror : str, optional
        A folder or web address that is asked before the official ones.
    timeout : float
        Seconds without an answer or without a byte after which a server is given up.
    pauses : sequence of float
        Seconds to wait before each new attempt at a busy server.

    Returns
    -------
    str
        Where it came from.

    Raises
    ------
    UserError
        If no place gives the file, with the reason of each, or if it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> checksum = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    >>> source = Source("toy", "a.txt", ("http://localhost/a",), 6, checksum, "CC0", "nothing")
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("hello\n")
    >>> fetch(source, folder)
    'was there already'
    """
    target = folder / source.file
    if _is_right(target, source):
        return "was there already"
    tried = []
    for place in _places(source, mirror):
        try:
            _put(place, target, source, timeout, pauses)
            return _shown(place)
        except UnusableError as error:
            tried.append(f"{_shown(place)} {error}")
            print(f"{source.name}/{source.file}: {tried[-1]}", file=sys.stderr, flush=True)
    raise UserError(
        f"cannot fetch {source.name}/{source.file}: {'; '.join(tried)}; {_remedy(source, target)}"
    )


def _put(place: str, target: Path, source: Source, timeout: float, pauses: Sequence[float]) -> None:
    """Put what one place gives at its target once it is checked; raise `UnusableError` if not."""
    if _is_folder(source):
        contents = _contents(place, source, timeout, pauses)
        archive.put_folder(target, contents, functools.partial(_check, source=source))
        return
    with files.atomic(target) as temporary:
        if _is_url(place):
            _download(place, temporary, source, timeout, pauses)
        else:
            _copy(place, temporary, source)
        _check(temporary, source)


def _remedy(source: Source, target: Path) -> str:
    """Say where a file or folder may be had that no place gave."""
    place = f"a folder or web address that holds {source.name}/{source.file}"
    if _is_folder(source):
        published = f"{source.name}/{_name_on_the_web(source)}"
        place = f"a folder that holds {source.name}/{source.file} or a web address with {published}"
    kind = "folder" if _is_folder(source) else "file"
    return f"set {MIRROR} to {place}, or put the {kind} at {target}"


def _places(source: Source, mirror: str | None) -> Iterator[str]:
    if mirror and _is_url(mirror):
        yield f"{mirror.rstrip('/')}/{source.name}/{_name_on_the_web(source)}"
    elif mirror and "://" in mirror:
        raise UserError(
            f"{MIRROR} is {_shown(mirror)!r}; it must be a folder, or begin with http:// or https://"
        )
    elif mirror:
        yield str(Path(mirror).expanduser() / source.name / source.file)
    yield from source.urls


def _is_folder(source: Source) -> bool:
    return source.checksum.startswith(volumes.PREFIX)


def _name_on_the_web(source: Source) -> str:
    if _is_folder(source):
        return urlsplit(source.urls[0]).path.rpartition("/")[2]  # of the archive
    return quote(source.file)


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _shown(place: str) -> str:
    """Return a place without the password or the checksum that an address may hold."""
    return re.sub(r"//[^/@]*@", "//", place).partition("#md5=")[0]


def _is_right(path: Path, source: Source) -> bool:
    try:
        _check(path, source)
    except FileNotFoundError:
        return False
    except (OSError, UnusableError) as error:
        print(f"{path} {error}; it is fetched anew", file=sys.stderr, flush=True)
        return False
    return True


def _check(path: Path, source: Source) -> None:
    if source.bytes is not None and (size := path.stat().st_size) != source.bytes:
        raise UnusableError(f"has {size} bytes instead of {source.bytes}")
    fetched.compare(path, source.checksum)


def _copy(place: str, target: Path, source: Source) -> None:
    try:
        _check(Path(place), source)
    except OSError as error:
        raise UnusableError(f"cannot be read ({error.strerror})") from error
    shutil.copyfile(place, target)


def _download(
    url: str, target: Path, source: Source, timeout: float, pauses: Sequence[float]
) -> None:
    """Download a file, and unpack it where the address ends in .gz and the file does not."""
    packed = urlsplit(url).path.endswith(".gz") and not source.file.endswith(".gz")
    # What cannot be packed well still grows by less than this.
    size = source.bytes or LARGEST
    limit = size + (size // 1000 + 4096 if packed else 0)
    with open(target, "wb") as stream:
        _receive(url, stream, limit, timeout, pauses)
    if packed:
        _unpack(target, source)


def _receive(
    url: str, stream: IO[bytes], limit: int, timeout: float, pauses: Sequence[float]
) -> None:
    """Write what an address gives, and start again where a server was busy or broke off."""
    downloader = pooch.HTTPDownloader(
        chunk_size=CHUNK, timeout=timeout, headers={"Accept-Encoding": "identity"}
    )
    for pause in (*pauses, None):
        try:
            downloader(url, Bounded(stream, limit), None)
            return
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", None)
            broken_off = isinstance(error, requests.exceptions.ChunkedEncodingError)
            if pause is None or not (status in BUSY or broken_off):
                raise UnusableError(_reason(error, url, timeout)) from error
            time.sleep(pause)
            stream.seek(0)
            stream.truncate()


def _contents(
    place: str, source: Source, timeout: float, pauses: Sequence[float]
) -> dict[str, bytes]:
    """Return the files of a folder, from a folder or from an archive on the web."""
    names = volumes.file_names()
    if not _is_url(place):
        return archive.read_folder(Path(place), names)
    return archive.read_tar(_archive(place, timeout, tuple(pauses)), source.file, names)


@functools.lru_cache(maxsize=1)  # one archive holds several folders
def _archive(url: str, timeout: float, pauses: tuple[float, ...]) -> bytes:
    """Download an archive, and check it if its address ends in #md5= and that checksum."""
    address, _, expected = url.partition("#md5=")
    stream = io.BytesIO()
    _receive(address, stream, LARGEST, timeout, pauses)
    measured = hashlib.md5(stream.getbuffer(), usedforsecurity=False).hexdigest()
    if expected not in ("", measured):
        raise UnusableError(
            f"has the wrong checksum (expected md5:{expected}, found md5:{measured})"
        )
    return stream.getvalue()


class Bounded:
    """A stream for writing that takes no more than `limit` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream, self.left = stream, limit

    def write(self, chunk: bytes) -> None:
        """Write a chunk or raise `UnusableError`."""
        self.left -= len(chunk)
        if self.left < 0:
            raise UnusableError("sends more bytes than the file may have")
        self.stream.write(chunk)

    def flush(self) -> None:
        """Flush the stream (pooch does so after each chunk)."""
        self.stream.flush()


def _unpack(path: Path, source: Source) -> None:
    """Unpack a file in place, up to its size: no small file can fill the disk."""
    with open(path, "rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return  # some servers unpack while they send; the checksum decides
        stream.seek(0)
        try:
            content = gzip.GzipFile(fileobj=stream).read((source.bytes or LARGEST) + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnusableError(f"is not a whole .gz file ({error})") from error
    path.write_bytes(content)


def _reason(error: requests.RequestException, url: str, timeout: float) -> str:
    host = urlsplit(url).hostname
    cause = error.args[0] if error.args else None
    if error.response is not None:
        return f"answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ReadTimeout) or isinstance(
        cause, urllib3.exceptions.ReadTimeoutError
    ):
        return f"sends nothing for {timeout:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "breaks off before the end: the file is truncated"
    if isinstance(error, requests.ConnectionError):
        return f"is out of reach (no connection to host {host})"
    return f"cannot be read ({type(error).__name__})"


def _size(path: Path) -> int:
    """Count the bytes of a file or of the files in a folder."""
    return sum(part.stat().st_size for part in ([path] if path.is_file() else path.iterdir()))


def main(job: step.Job) -> None:
    """Fetch all files of one data set, then write down what was verified."""
    path = job.paths["sources"]
    try:
        sources = read_sources(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    chosen = [source for source in sources if source.name == job.params.name]
    if not chosen:
        names = ", ".join(sorted({source.name for source in sources}))
        raise UserError(f"{path} has no data set {job.params.name}; it has {names}")
    for source in chosen:
        start = time.monotonic()
        place = fetch(source, job.paths["folder"], os.environ.get(MIRROR))
        seconds = time.monotonic() - start
        size = _size(job.paths["folder"] / source.file)
        print(
            f"{source.name}/{source.file}: {size} bytes, {source.checksum}, "
            f"{place}, {seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    files.write_json(job.paths["verified"], {source.file: source.checksum for source in chosen})


if __name__ == "__main__":
    with step.start(Params, reads=["sources"], writes=["folder", "verified"]) as job:
        main(job)
