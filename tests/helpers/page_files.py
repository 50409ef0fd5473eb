"""The files that a page of the docs shows: what a reader would type is what a test runs."""

import re

# **`name`**, where it goes: words, then a fence
SHOWN = re.compile(
    r"^\*\*`([^`\n]+)`\*\*([^`]*?(?:`[^`\n]+`[^`]*?)*)\n\n```\w+\n(.*?)^```$", re.M | re.S
)
AT_END, IN_LIST = ", at its end", ", in the list `papers`"


def shown(page):
    """Return (file, where, content) of every file that a page shows, in its order."""
    return [(name, where, content) for name, where, content in SHOWN.findall(page)]


def write(page, root):
    """Write all files of a page below a folder; return their names."""
    for name, where, content in shown(page):
        path = root / name
        if where.startswith(AT_END):
            path.write_text(path.read_text(encoding="utf-8") + content, encoding="utf-8")
        elif where.startswith(IN_LIST):
            before = path.read_text(encoding="utf-8")
            after = before.replace("\npapers:\n", f"\npapers:\n{content}", 1)
            assert after != before
            path.write_text(after, encoding="utf-8")
        else:
            assert not path.exists(), name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return [name for name, _, _ in shown(page)]
