"""params.yaml made ready for Snakemake: the run merged in, every key checked, cases resolved.

All mistakes are found here, before any job starts, and told with the key's full path.
"""

import ast
import copy
import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pr12.shared import address, step
from pr12.shared.errors import UserError

TOP = ("run", "papers", "runs", "data")
NOT_STEPS = ("title", "citation", "dataset", "seeds", "cases", "claims", "tables", "deviations")
params_class = cache(step.params_class)  # asked for hundreds of times


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the chosen run's overrides into every paper's section and check all of it.

    Parameters
    ----------
    config : mapping
        params.yaml, perhaps changed by ``--config``.

    Returns
    -------
    dict
        ``run`` and one section per paper.

    Raises
    ------
    UserError
        For the first mistake, with the key's full path and what is allowed.

    Examples
    --------
    >>> resolve({"run": "ful", "runs": {"full": {}}, "papers": [], "data": {}})
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: run is 'ful'; allowed: full
    """
    for key in TOP:
        if key not in config:
            raise UserError(f"{key} is missing in params.yaml")
    run, runs, papers = config["run"], _mapping(config["runs"], "runs"), config["papers"]
    if not isinstance(papers, list) or not all(isinstance(paper, str) for paper in papers):
        raise UserError(f"papers is {papers!r}; it must be a list of names")
    _mapping(config["data"], "data")
    if not isinstance(run, str) or run not in runs:
        raise UserError(f"run is {run!r}; allowed: {', '.join(runs)}")
    unknown = [key for key in config if key not in (*TOP, *papers)]
    if unknown:
        raise UserError(f"{unknown[0]} is unknown; allowed: {', '.join((*TOP, *papers))}")
    for name, overrides in runs.items():
        for paper, changes in _mapping(overrides or {}, f"runs.{name}").items():
            if paper not in papers:
                raise UserError(f"runs.{name}.{paper} is unknown; allowed: {', '.join(papers)}")
            _mapping(changes, f"runs.{name}.{paper}")
    resolved: dict[str, Any] = {"run": run, "data": _data(config["data"])}
    for paper in papers:
        if paper not in config:
            raise UserError(f"{paper} stands in papers but has no section of its own")
        _mapping(config[paper], paper)
        overrides = (runs[run] or {}).get(paper, {})
        section = _merged(config[paper], overrides, f"runs.{run}.{paper}")
        # A paper may read shared arrays; one with data of its own names none
        if "dataset" in section and section["dataset"] not in list(config["data"]):
            allowed = ", ".join(config["data"])
            raise UserError(f"{paper}.dataset is {section['dataset']!r}; allowed: {allowed}")
        _check(paper, section)
        resolved[paper] = section
    return resolved


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {value!r}; it must be a mapping")
    return value


def _data(section: Mapping[str, Any]) -> dict[str, Any]:
    """Check the params of every data set."""
    kind = params_class("pr12.shared.data")
    return {
        name: dataclasses.asdict(step.make(kind, _mapping(values, f"data.{name}"), f"data.{name}"))
        for name, values in section.items()
    }


def _merged(base: Mapping[str, Any], over: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Lay overrides over a section; a run may change what is there, never add a key."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        if key not in merged and not where.partition(".cases.")[2]:
            raise UserError(f"{where}.{key} is unknown; allowed: {', '.join(map(str, merged))}")
        if isinstance(merged.get(key), Mapping):
            value = _merged(merged[key], _mapping(value, f"{where}.{key}"), f"{where}.{key}")
        merged[key] = value
    return merged


def step_params(
    paper: str, section: Mapping[str, Any], name: str, case: str | None = None
) -> dict[str, Any]:
    """Give the params of a step, for one case or for the paper as a whole.

    The step's own block, the section's seeds if it has seeds, then those of the case's overrides
    that are the step's; all checked against the step's dataclass.

    Parameters
    ----------
    paper : str
        Short name, such as ``distill``.
    section : mapping
        The paper's resolved section.
    name : str
        The step, such as ``train``.
    case : str, optional
        Whose overrides apply.

    Raises
    ------
    UserError
        For a wrong key or value, with its full path.
    """
    fields = _fields(paper, name)
    values = dict(_mapping(section.get(name) or {}, f"{paper}.{name}"))
    origin = {}
    if "seeds" in fields and "seeds" not in values:
        if "seeds" not in section:
            raise UserError(f"{paper}.seeds is missing; add it to params.yaml")
        values["seeds"], origin["seeds"] = section["seeds"], paper
    overrides = section["cases"][case] if case else {}
    values |= {key: value for key, value in overrides.items() if key in fields}
    block = f"{paper}.{name}"
    for key in values:
        if key not in fields:
            raise UserError(f"{block}.{key} is unknown; allowed: {', '.join(sorted(fields))}")
    origin |= {key: f"{paper}.cases.{case}" for key in overrides if key in fields}
    checked = step.make(params_class(f"pr12.{paper}.{name}"), values, block, origin)
    found = dataclasses.asdict(checked)
    seeds = found.get("seeds", ())
    if len(set(seeds)) < len(seeds):
        raise UserError(
            f"{origin.get('seeds', block)}.seeds is {list(seeds)}; name each seed once, for the "
            "same seed again is no other replica"
        )
    return found


def case_step(section: Mapping[str, Any], case: str) -> str:
    """Give the step that a case overrides: ``train`` unless it names another.

    Parameters
    ----------
    section : mapping
        The paper's section.
    case : str
        Its name.

    Examples
    --------
    >>> case_step({"cases": {"a": {}, "b": {"step": "cost"}}}, "b")
    'cost'
    """
    return section["cases"][case].get("step", "train")


@cache
def _fields(paper: str, name: str) -> frozenset[str]:
    fields = dataclasses.fields(params_class(f"pr12.{paper}.{name}"))
    return frozenset(field.name for field in fields)


def _check(paper: str, section: Mapping[str, Any]) -> None:
    steps = [key for key in section if key not in NOT_STEPS]
    for name in steps:
        params_class(f"pr12.{paper}.{name}")  # an unknown step says so
    cases = _mapping(section.get("cases") or {}, f"{paper}.cases")
    if not cases:
        raise UserError(f"{paper}.cases is empty; name at least one case")
    for case, overrides in cases.items():
        _mapping(overrides, f"{paper}.cases.{case}")
        own = case_step(section, case)
        if own not in steps:
            allowed = ", ".join(steps)
            raise UserError(f"{paper}.cases.{case}.step is {own!r}; allowed: {allowed}")
        chain = [own]
        if own in ("train", "compress", "mcem"):  # whose nets an evaluation judges
            chain += [name for name in steps if name.startswith("evaluate")]
        if own.startswith("train_"):  # a task of its own: its data and its evaluation
            task = own.removeprefix("train_")
            chain += [name for name in steps if name in (task, f"evaluate_{task}")]
        known = {"step"}.union(*(_fields(paper, name) for name in chain))
        for key in overrides:
            if key not in known:
                allowed = ", ".join(sorted(known))
                raise UserError(f"{paper}.cases.{case}.{key} is unknown; allowed: {allowed}")
        for name in chain:
            step_params(paper, section, name, case)
    for key in ("claims", "tables", "deviations"):
        if not isinstance(section.get(key) or [], list):
            raise UserError(f"{paper}.{key} is {section[key]!r}; it must be a list")
    for index, table in enumerate(section.get("tables") or []):
        where = f"{paper}.tables[{index}]"
        for row in _mapping(table, where).get("rows") or []:
            if _mapping(row, f"{where}.rows").get("case") not in cases:
                named = row.get("case")
                raise UserError(f"{where} names the unknown case {named!r}; see {paper}.cases")
    for index, claim in enumerate(section.get("claims") or []):
        where = f"{paper}.claims[{index}]"
        for form in ("less", "gap", "ranked"):
            _mapping(_mapping(claim, where).get(form) or {}, f"{where}.{form}")
        for case in claim_cases(claim):
            if case not in cases:
                raise UserError(f"{where} names the unknown case {case!r}; see {paper}.cases")


def claim_cases(claim: Mapping[str, Any]) -> Iterable[str]:
    """Give the cases that a claim speaks of.

    Parameters
    ----------
    claim : mapping
        One entry of a section's claims.

    Examples
    --------
    >>> sorted(claim_cases({"less": {"case": "soft", "than": "hard"}, "metric": "test/errors"}))
    ['hard', 'soft']
    """
    found = {claim["case"]} if "case" in claim else set()
    for form in ("less", "gap"):
        found |= set((claim.get(form) or {}).values())
    found |= set(claim.get("ranked") or ())
    return (found | set(claim.get("best_inside") or ())) - {None}


def withdrawn(folder: Path) -> dict[str, str]:
    """Return case -> reason of evidence that a known fault spoilt, from withdrawn.yaml.

    Parameters
    ----------
    folder : Path
        Of the paper's texts, such as ``papers/vae``.
    """
    return {entry["case"]: entry["reason"] for entry in paper(folder)["withdrawn"]}


def before(module: str) -> dict[str, Any]:
    """Return what a step declares of fields that it did not always have.

    A step whose params gain a field may say ``BEFORE = {"momentum": 0.0}``: that value stands for
    what it did before, so that evidence without the field is of the same params.

    Parameters
    ----------
    module : str
        Dotted name of the step.

    Examples
    --------
    >>> before("pr12.vae.train")
    {}
    """
    path = address.SRC.joinpath(*module.split(".")).with_suffix(".py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["BEFORE"]:
            return dict(ast.literal_eval(node.value))
    return {}
