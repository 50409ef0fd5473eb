"""Tables of bad inputs: what is wrong, how it is made, and what the message must hold.

Each row gives parts of its message: the subject, the value and the remedy, or as many of them as
the mistake has. The message itself is free: one sentence, told by exit code 2 or by `UserError`.
"""

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pr12.workflow.errors import UserError

LONGEST = 1500  # characters of a message
# How a message says what to do: after a semicolon or a colon, or by what is allowed
REMEDY = re.compile(
    r"; |: |\bmust\b|\ballowed\b|\bgive\b|\badd\b|\bneeds?\b|\bonce\b|\banew\b|\bat (least|most)\b"
)


class Row(NamedTuple):
    """One bad input."""

    name: str  # what is wrong
    given: tuple[Any, ...]  # how it is made, for the test of the table
    words: Sequence[str]  # parts of the message


def rows(table):
    """Return the rows of a table of tuples (what is wrong, ..., parts of the message)."""
    listed = [Row(name, tuple(given), words) for name, *given, words in table]
    names = [row.name for row in listed]
    assert len(set(names)) == len(names), "two rows have one name"
    assert all(row.words and not isinstance(row.words, str) for row in listed)
    return listed


def each(table):
    """Return a decorator that runs a test with each `row` of a table."""
    listed = rows(table)
    return pytest.mark.parametrize("row", listed, ids=[row.name for row in listed])


def answered(act, words, capsys=None):
    """Do what must be refused, and return the message: one sentence that holds some words.

    Parameters
    ----------
    act : callable
        Raises `UserError`, or ends with code 2 after a message on standard error.
    words : sequence of str
        Parts of the message, upper or lower case.
    capsys : fixture, optional
        Where the message is read if the process would end.
    """
    with pytest.raises((UserError, SystemExit)) as caught:
        act()
    if isinstance(caught.value, UserError):
        return check(str(caught.value), words)
    assert caught.value.code == 2
    log = capsys.readouterr().err
    assert "Traceback" not in log
    (line,) = [line for line in log.splitlines() if line.startswith("error: ")]
    return check(line.removeprefix("error: "), words)


def check(message, words):
    """Check that a message is one sentence with these words and a remedy, and return it."""
    assert "\n" not in message
    assert "Traceback" not in message
    assert len(message) < LONGEST
    assert [word for word in words if word.lower() not in message.lower()] == []
    assert REMEDY.search(message), f"no remedy: {message}"
    return message


def counted(folder):
    """Return file -> number of rows of the tables named BAD_... in a folder of tests."""
    numbers = {}
    for path in sorted(Path(folder).rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if named and node.targets[0].id.startswith("BAD"):
                value = node.value
                rows_of = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [])
                numbers[path.name] = numbers.get(path.name, 0) + len(rows_of)
    return numbers
