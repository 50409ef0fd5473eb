"""Texts that lie outside of docs/ as pages of the site, and links between all of them.

In git a link leads to the file, so that it works on GitHub; in the site to the page made of it.
"""

import posixpath
import re
from typing import Any

from pr12_docs.places import DOCS, GENERATED, ROOT, papers

LINK = re.compile(r"\]\((?!\w+:|#)([^()\s]+)\)")
FOLDER = re.compile(r"\[([^][]*)\]\((?!\w+:|#)([^()\s]+)\)")
METRICS = re.compile(r"^## All metrics$.*?(?=^## |^Evidence that|\Z)", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, str]:
    """Return file or folder of the repository -> the file of the page that stands for it."""
    texts = {"CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
    for paper in papers():
        for part in ("notes", "deviations"):
            texts[f"papers/{paper}/{part}.md"] = f"{part}_{paper}"
        texts[f"reports/full/{paper}/README.md"] = f"results_{paper}"
    result = {name: f"docs/generated/{page}.md" for name, page in texts.items()}
    others = {"README.md": "docs/index.md", "docs/examples": "docs/generated/examples/index.rst"}
    return result | others


def redirect(text: str, folder: str, page_folder: str, known: dict[str, str]) -> str:
    """Return Markdown whose links lead to pages of the site where there is one, or to the file.

    A link to a folder, or to a text outside of docs/ that is no page, becomes its name.

    Parameters
    ----------
    text : str
        Markdown.
    folder : str
        Where its links start from, such as ``papers/vae``.
    page_folder : str
        Where the page lies, such as ``docs/generated``.
    known : dict of str to str
        What `pages` returns.

    Examples
    --------
    >>> redirect("[a](../papers/vae/notes.md#b)", "docs", "docs", pages())
    '[a](generated/notes_vae.md#b)'
    >>> redirect("[a](stats.py)", "src", "docs/x", {})
    '[a](../../src/stats.py)'
    """

    def target(found: re.Match[str]) -> str:
        path, hash_sign, anchor = found[1].partition("#")
        file = posixpath.normpath(posixpath.join(folder, path))
        place = known.get(file, file)
        return f"]({posixpath.relpath(place, page_folder)}{hash_sign}{anchor})"

    def plain(found: re.Match[str]) -> str:
        file = posixpath.normpath(posixpath.join(folder, found[2]))
        page = file.partition("#")[0]
        shown = page in known or not ((ROOT / file).is_dir() or page.endswith(".md"))
        return found[0] if shown or page.startswith("docs/") else f"{found[1]} (`{page}`)"

    return LINK.sub(target, FOLDER.sub(plain, text))


def write_pages(app: Any, config: Any) -> None:
    """Copy the texts to where Sphinx reads, each if it changed."""
    GENERATED.mkdir(exist_ok=True)
    known = pages()
    for name, page in known.items():
        if not page.startswith("docs/generated/") or not page.endswith(".md"):
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        if not text.startswith("# "):
            text = f"# Deviations of {posixpath.basename(posixpath.dirname(name))}\n\n{text}"
        if name.startswith("reports/"):  # thousands of numbers, which metrics.json has too
            text = METRICS.sub("All metrics: [metrics.json](metrics.json).\n\n", text)
        text = redirect(text, posixpath.dirname(name), "docs/generated", known)
        path = ROOT / page
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def redirect_source(app: Any, name: str, source: list[str]) -> None:
    """Redirect the links of a page of docs/ as it is read."""
    if not name.startswith("generated/") and (DOCS / f"{name}.md").is_file():
        folder = posixpath.normpath(posixpath.join("docs", posixpath.dirname(name)))
        source[0] = redirect(source[0], folder, folder, pages())
