"""Whether pages still show what they were written from: a stamp holds the digests of all of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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


def templates() -> dict[str, str]:
    """Return the texts of the templates of pages, by name."""
    paths = sorted((address.SRC / "pr12/report/templates").glob("*.j2"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def of_paper(paper: str, texts: Path) -> str:
    """Return a digest of the code and the texts that a paper's pages are made by.

    Parameters
    ----------
    paper : str
        Short name.
    texts : Path
        Folder of what is said of it, such as ``papers/vae``.
    """
    steps = (f"pr12.{paper}.figures", "pr12.report.paper", "pr12.report.readme")
    sources = [address.source_digest(step, address.SRC) for step in steps]
    return address.digest(sources, templates(), digest(texts))


def drawn_from(paper: str, evidence: Path, texts: Path) -> dict[str, Any]:
    """Return what a paper's pages are made from and by, to be compared when they are finished.

    Parameters
    ----------
    paper : str
        Short name.
    evidence, texts : Path
        Folders of its evidence and of what is said of it.
    """
    return {"evidence": listing(evidence), "made_by": of_paper(paper, texts)}


def of_index(papers: Sequence[str]) -> str:
    """Return a digest of the code that the page over all papers is made by, and of their order.

    Parameters
    ----------
    papers : sequence of str
        Short names.
    """
    texts = {name: text for name, text in templates().items() if name.startswith("index")}
    source = address.source_digest("pr12.report.index", address.SRC)
    return address.digest(source, texts, list(papers))


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
    except (UserError, RecursionError):
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
