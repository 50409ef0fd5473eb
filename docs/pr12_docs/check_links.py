"""Check that all that the built pages lead to or load is there: ``python check_links.py FOLDER``.

Nothing may come from a network; links to other sites are only counted, for nobody is asked here.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element's anchors and targets."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if LOADS.get(tag) in values:
            self.loads.append(values[LOADS[tag]])


def read(folder: Path) -> dict[Path, Page]:
    """Return file -> page of all HTML below a folder."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        pages[path.resolve()] = page = Page()
        page.feed(path.read_text(encoding="utf-8"))
    return pages


def broken(folder: Path) -> Iterator[str]:
    """Yield one sentence for each thing that is not there, or would be fetched.

    Parameters
    ----------
    folder : Path
        The built site.
    """
    pages = read(folder)

    def has(file: Path, anchor: str) -> bool:
        return file not in pages or anchor in pages[file].anchors

    for path, page in pages.items():
        where = path.relative_to(folder.resolve())
        for target in page.loads:
            if urlsplit(target).scheme not in ("", "data") or target.startswith("//"):
                yield f"{where} loads {target} from the network"
        for target in (*page.links, *page.loads):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file():
                yield f"{where} leads to {target}, and there is no such file"
            elif parts.fragment and not has(file, unquote(parts.fragment)):
                yield f"{where} leads to {target}, and there is no such place in the page"


def main(arguments: list[str]) -> int:
    """Print what is broken; return 1 if anything is."""
    folder = Path(arguments[0])
    sentences = sorted(set(broken(folder)))
    print(*sentences, sep="\n", end="\n" if sentences else "")
    pages = read(folder)
    count = sum(len(page.links) + len(page.loads) for page in pages.values())
    print(f"{len(pages)} pages, {count} links and loads, {len(sentences)} broken")
    return 1 if sentences or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
