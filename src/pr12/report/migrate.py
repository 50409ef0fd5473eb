"""Bring evidence of an earlier schema to today's: one function a step, applied in order."""

import sys
from collections.abc import Callable
from typing import Any

from pydantic.dataclasses import dataclass

from pr12.report import evidence
from pr12.report.chain import Node
from pr12.workflow import step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

# The step that makes arrays when rooms were made: its module and its folder, before and after
ARRAYS = {"pr12.shared.data": "pr12.data.arrays", "data": "arrays"}
# Steps that read arrays which their address did not know
READERS_OF_ARRAYS = ("pr12.distill.temperature", "pr12.distill.gradient_limit")


@dataclass(frozen=True, config=STRICT)
class Params:
    """Nothing is to be chosen."""


def rooms(content: dict[str, Any]) -> dict[str, Any]:
    """Return evidence of schema 1 as schema 2: modules moved, and two rules read more than said.

    Parameters
    ----------
    content : dict
        Of schema 1.

    Examples
    --------
    >>> node = {"folder": "build/full/data/mnist/data.1", "step": "pr12.shared.data", "reads": []}
    >>> rooms({"schema": 1, "chain": [node]})["chain"][0]["folder"]
    'build/full/data/mnist/arrays.1'
    """
    chain = [_moved(node) for node in content["chain"]]
    last = chain[-1]
    if last["step"] in READERS_OF_ARRAYS:
        arrays = [n["folder"] for n in chain if n["step"] == ARRAYS["pr12.shared.data"]]
        chain[-1] = last | {"reads": [*last["reads"], *arrays]}
    return content | {"schema": 2, "chain": chain}


def _moved(node: Node) -> dict[str, Any]:
    """Return a node with the names that its step and what it reads have now."""
    return {
        **node,
        "step": ARRAYS.get(node["step"], node["step"]),
        "folder": _renamed(node["folder"]),
        "reads": [_renamed(folder) for folder in node["reads"]],
    }


def _renamed(folder: str) -> str:
    place, _, name = folder.rpartition("/")
    step_name, dot, digest = name.partition(".")
    return f"{place}/{ARRAYS.get(step_name, step_name)}{dot}{digest}"


def names(content: dict[str, Any]) -> dict[str, Any]:
    """Return evidence of schema 2 as schema 3, which notes under which name a file was read.

    That was not noted before: the lists of folders stay, and `pr12.report.chain.standing` compares
    no more than folders where it finds one.

    Parameters
    ----------
    content : dict
        Of schema 2.

    Examples
    --------
    >>> names({"schema": 2, "chain": [{"reads": ["build/full/data/mnist/arrays.1"]}]})
    {'schema': 3, 'chain': [{'reads': ['build/full/data/mnist/arrays.1']}]}
    """
    return content | {"schema": 3}


# From schema -> what makes the content of evidence.json one of the next schema.
STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: rooms, 2: names}


def migrated(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the content of an evidence.json as one of today's schema.

    Parameters
    ----------
    content : dict
        What the file holds; it has a schema.
    where : str
        Its file, for the message.

    Raises
    ------
    UserError
        If no step leads from its schema to today's.

    Examples
    --------
    >>> migrated({"schema": evidence.SCHEMA}, "evidence.json") == {"schema": evidence.SCHEMA}
    True
    """
    while content["schema"] != evidence.SCHEMA:
        if content["schema"] not in STEPS:
            raise UserError(
                f"{where} is of schema {content['schema']}, from which nothing leads to "
                f"{evidence.SCHEMA}; a newer version of this repository reads it"
            )
        content = STEPS[content["schema"]](content)
    return content


def main(job: step.Job) -> None:
    """Migrate one paper's evidence in one run.

    Raises
    ------
    UserError
        If there is none, or a file of it is damaged: a new digest must not hide that.
    """
    folder = job.paths["report"]
    paths = sorted(folder.glob(f"evidence/*/{evidence.NAME}"))
    if not paths:
        raise UserError(
            f"{folder} has no evidence/<case>/{evidence.NAME}; give the folder of one paper in one "
            "run, such as report=reports/full/vae"
        )
    moved = 0
    for path in paths:
        before = evidence.load(path)
        if before["schema"] in STEPS:
            evidence.check_files(path.parent, before)
        content = migrated(before, str(path))
        if content["schema"] != before["schema"]:
            pictures = {name: (path.parent / name).read_bytes() for name in before["files"]}
            evidence.write(path.parent, content, pictures)
            moved += 1
    print(
        f"{folder}: {moved} of {len(paths)} cases were of an earlier schema, now all are of "
        f"{evidence.SCHEMA}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    with step.start(Params, reads=["report"]) as job:
        main(job)
