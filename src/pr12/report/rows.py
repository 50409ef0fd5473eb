"""The rows of a report: a paper's evidence in a run, each with how it stands to today's code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pr12.report import chain as chains
from pr12.report import evidence
from pr12.report.chain import Standing
from pr12.report.evidence import Evidence
from pr12.workflow.errors import UserError


class Row(NamedTuple):
    """One case's evidence and its standing."""

    evidence: Evidence
    standing: Standing


def read(folder: Path, today: Mapping[str, Any], withdrawn: Mapping[str, str]) -> dict[str, Row]:
    """Read the rows of a paper, in the order of its cases; a case without evidence has none.

    Parameters
    ----------
    folder : Path
        The paper's evidence, such as ``reports/full/vae/evidence``.
    today : mapping
        What `pr12.report.chain.read` returned.
    withdrawn : mapping
        Case -> why its evidence counts no more.

    Raises
    ------
    UserError
        If a file of the evidence is damaged, or a withdrawn case is unknown or has no reason.

    Examples
    --------
    >>> today = {"cases": ["z2"], "nodes": {}, "results": {"z2": "a.1"}, "before": {}}
    >>> read(Path("/nowhere"), today, {})
    {}
    """
    check_withdrawn(withdrawn, today["cases"])
    there = evidence.read_all(folder, today["cases"])
    before = today["before"]
    rows = {}
    for case in there:
        result = today["results"][case]
        if case in withdrawn:
            standing = Standing("withdrawn", withdrawn[case])
        elif result is None:  # such as data that only the full run has
            standing = Standing("other params", "this run does not make it")
        else:
            made_now = chains.collect(today["nodes"], result)
            standing = chains.standing(there[case].chain, made_now, before)
        rows[case] = Row(there[case], standing)
    return rows


def check_withdrawn(withdrawn: Mapping[str, str], cases: Sequence[str]) -> None:
    """Check that what is withdrawn is a case of the paper, for a reason that says something.

    Parameters
    ----------
    withdrawn : mapping
        Case -> reason, as withdrawn.yaml says.
    cases : sequence of str
        The paper's.

    Raises
    ------
    UserError
        For the first that is not.
    """
    for case, reason in withdrawn.items():
        if case not in cases:
            raise UserError(
                f"withdrawn.yaml names the unknown case {case!r}; known: {', '.join(cases)}"
            )
        if not reason.strip():
            raise UserError(f"withdrawn.yaml: the reason of {case} is empty; say what spoilt it")
