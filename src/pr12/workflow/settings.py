"""params.yaml made ready for Snakemake: the run merged in, every key checked, cases resolved.

All mistakes are found here, before any job starts, and told with the key's full path. What is said
of a paper (title, claims, tables, deviations) is read from ``papers/<paper>/``.
"""

import ast
import copy
import dataclasses
import importlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pr12.workflow import address, params, yaml_files
from pr12.workflow.errors import UserError

TOP = ("run", "papers", "data")
RUNS = ("embedded", "full", "smoke")
NOT_STEPS = ("dataset", "seeds", "cases", "runs")
ELSEWHERE = {"run": "", "published": {}, "context": {}}  # added to the block of a paper's figures
LONGEST = 100  # characters of a name that becomes a folder; a file system takes 255 in all
TEXTS = ("title", "citation", "links", "claims", "tables", "deviations", "withdrawn")


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the chosen run's overrides into every paper's section and check all of it.

    Parameters
    ----------
    config : mapping
        params.yaml, perhaps changed by ``--config``.

    Returns
    -------
    dict
        ``run``, ``data`` and one section per paper, without its ``runs``.

    Raises
    ------
    UserError
        For the first mistake, with the key's full path and what is allowed.

    Examples
    --------
    >>> resolve({"run": "ful", "papers": [], "data": {}})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: run is 'ful'; allowed: embedded, full, smoke
    """
    for key in TOP:
        if key not in _mapping(config, "params.yaml"):
            raise UserError(f"{key} is missing in params.yaml; add it")
    params.check_tree(config, "")
    run, papers = config["run"], config["papers"]
    check_papers(papers)
    if not isinstance(run, str) or run not in RUNS:
        raise UserError(f"run is {run!r}; allowed: {', '.join(RUNS)}")
    if not papers:
        raise UserError(f"papers is []; name at least one of {', '.join(available())}")
    for key in config:
        if key in available() and key not in papers:
            raise UserError(
                f"{key} has a section but is not in papers; add it there, or remove the section"
            )
        if key not in (*TOP, *papers):
            raise UserError(f"{key} is unknown; allowed: {', '.join((*TOP, *papers))}")
    yaml_files.check_numbers(config)
    resolved: dict[str, Any] = {"run": run, "data": _data(_mapping(config["data"], "data"))}
    for paper in papers:
        if paper not in config:
            raise UserError(f"{paper} is in papers but has no section; add one, or remove the name")
        section = _with_run(_mapping(config[paper], paper), paper, run)
        # A paper may read shared arrays; one with data of its own names none
        if "dataset" in section and section["dataset"] not in list(config["data"]):
            allowed = ", ".join(config["data"])
            raise UserError(f"{paper}.dataset is {section['dataset']!r}; allowed: {allowed}")
        _check(paper, section)
        resolved[paper] = _Section(paper, section)
    return resolved


class _Section(dict):
    """A mapping of params.yaml that tells which key is missing; graphs read keys by name."""

    def __init__(self, place: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.place = place
        if isinstance(self.get("cases"), Mapping):
            self["cases"] = _Section(f"{place}.cases", values["cases"])

    def __missing__(self, key: str) -> Any:
        raise UserError(
            f"{self.place}.{key} is missing, and other cases or steps read it; bring it back, or "
            "remove what reads it"
        )


@cache
def available() -> list[str]:
    """Return the names of all papers that there are: folders with a graph.

    Examples
    --------
    >>> available()
    ['distill', 'photostyle', 'rca', 'stn', 'vae']
    """
    graphs = address.SRC.glob("pr12/*/graph.py")
    return sorted({path.parent.name for path in graphs} - {"data", "workflow"})


def check_papers(papers: Any) -> None:
    """Refuse what is no list of names of papers, each once.

    Parameters
    ----------
    papers : object
        Of params.yaml.

    Examples
    --------
    >>> check_papers(["nobody"])
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: papers names 'nobody'; allowed: distill, photostyle, rca, \
stn, vae
    """
    if not isinstance(papers, list) or not all(isinstance(paper, str) for paper in papers):
        raise UserError(f"papers is {papers!r}; it must be a list of names")
    for paper in papers:
        if paper not in available():
            raise UserError(f"papers names {paper!r}; allowed: {', '.join(available())}")
        if papers.count(paper) > 1:
            raise UserError(f"papers names {paper} twice; remove one")


def _with_run(section: Mapping[str, Any], paper: str, run: str) -> dict[str, Any]:
    """Lay the overrides of a run over a paper's section."""
    for key in TEXTS:
        if key in section:
            raise UserError(f"{paper}.{key} is no param; move it to papers/{paper}/")
    runs = _optional(section.get("runs"), f"{paper}.runs")
    for name, overrides in runs.items():
        if name not in RUNS:
            raise UserError(f"{paper}.runs.{name} is unknown; allowed: {', '.join(RUNS)}")
        _optional(overrides, f"{paper}.runs.{name}")
    base = {key: value for key, value in section.items() if key != "runs"}
    return _merged(base, runs.get(run) or {}, f"{paper}.runs.{run}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {value!r}; it must be a mapping")
    return value


def _optional(value: Any, where: str) -> Mapping[str, Any]:
    """Return a mapping; nothing at all, as YAML reads a key without a value, is an empty one."""
    return {} if value is None else _mapping(value, where)


def _check_name(name: Any, where: str) -> None:
    """Refuse a name that cannot be a folder's."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name, flags=re.ASCII):
        raise UserError(
            f"{where}.{name} is no name; use letters, digits, - and _, for it becomes a folder"
        )
    if len(name) > LONGEST:
        raise UserError(
            f"{where}.{name[:20]}... has {len(name)} characters; use at most {LONGEST}, for it "
            "becomes a folder"
        )


def _data(section: Mapping[str, Any]) -> dict[str, Any]:
    """Check the params of every data set."""
    kind = params.of_step("pr12.data.arrays")
    for name in section:
        _check_name(name, "data")
    return {
        name: dataclasses.asdict(
            params.make(kind, _mapping(values, f"data.{name}"), f"data.{name}")
        )
        for name, values in section.items()
    }


def _merged(base: Mapping[str, Any], over: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Lay overrides over a section; a run may change what is there, never add a key."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        if key not in merged and not where.partition(".cases.")[2]:
            always = re.sub(r"\.runs\.\w+", "", where)
            raise UserError(
                f"{where}.{key} is unknown; allowed: {', '.join(map(str, merged))}; a run only "
                f"changes what stands in {always}"
            )
        if isinstance(merged.get(key), Mapping):
            value = _merged(merged[key], _mapping(value, f"{where}.{key}"), f"{where}.{key}")
        merged[key] = value
    return merged


def step_params(
    paper: str, section: Mapping[str, Any], name: str, case: str | None = None
) -> dict[str, Any]:
    """Return the params of a step, for one case or for the paper as a whole.

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
    values = dict(_optional(section.get(name), f"{paper}.{name}"))
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
    checked = params.make(params.of_step(f"pr12.{paper}.{name}"), values, block, origin)
    return dataclasses.asdict(checked)


def case_step(section: Mapping[str, Any], case: str) -> str:
    """Return the step that a case overrides: ``train`` unless it names another.

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
    fields = dataclasses.fields(params.of_step(f"pr12.{paper}.{name}"))
    return frozenset(field.name for field in fields)


def _check(paper: str, section: Mapping[str, Any]) -> None:
    steps = [key for key in section if key not in NOT_STEPS]
    for name in steps:
        params.of_step(f"pr12.{paper}.{name}")  # an unknown step says so
    graph = getattr(importlib.import_module(f"pr12.{paper}.graph"), paper)
    _check_figures(paper, section)
    cases = _optional(section.get("cases"), f"{paper}.cases")
    if not cases:
        raise UserError(f"{paper}.cases is empty; name at least one case")
    allowed_steps = [name for name in graph.case_steps() if name in steps]
    checked = {"figures"}
    for case, overrides in cases.items():
        _check_name(case, f"{paper}.cases")
        _mapping(overrides, f"{paper}.cases.{case}")
        step = case_step(section, case)
        if step not in allowed_steps:
            allowed = ", ".join(allowed_steps)
            raise UserError(f"{paper}.cases.{case}.step is {step!r}; allowed: {allowed}")
        chain = [name for name in graph.steps_of_case(step) if name in steps]
        known = {"step"}.union(*(_fields(paper, name) for name in chain))
        for key in overrides:
            if key not in known:
                allowed = ", ".join(sorted(known))
                raise UserError(f"{paper}.cases.{case}.{key} is unknown; allowed: {allowed}")
        for name in chain:
            step_params(paper, section, name, case)
        checked.update(chain)
    for name in steps:
        if name not in checked:  # a step that no case changes
            step_params(paper, section, name)


def _check_figures(paper: str, section: Mapping[str, Any]) -> None:
    """Check the block of a paper's figures; the workflow adds what does not stand there."""
    kind = params.of_step(f"pr12.{paper}.figures")
    block = _optional(section.get("figures"), f"{paper}.figures")
    fields = {field.name for field in dataclasses.fields(kind)}
    for key in block:
        if key not in fields - set(ELSEWHERE):
            allowed = ", ".join(sorted(fields - set(ELSEWHERE))) or "nothing"
            raise UserError(f"{paper}.figures.{key} is unknown; allowed: {allowed}")
    added = {key: value for key, value in ELSEWHERE.items() if key in fields}
    params.make(kind, {**block, **added}, f"{paper}.figures")


def paper(folder: Path) -> dict[str, Any]:
    """Read what is said of a paper and of its results.

    Parameters
    ----------
    folder : Path
        ``papers/<paper>``.

    Returns
    -------
    dict
        ``title``, ``citation``, ``links`` (dicts of name and url), ``cited_for`` (the claim that
        stands for the paper) and ``card`` (the figure that does), both perhaps None, ``claims``,
        ``tables``, ``deviations`` (texts), ``withdrawn`` (dicts of case and reason), and
        ``context``, what figures show of others' work, empty
        without context.yaml.

    Raises
    ------
    UserError
        For a file that is missing or of another shape, with its name and what it must be.

    Examples
    --------
    >>> paper(Path("papers/nobody"))
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: papers/nobody/paper.yaml is missing; write it, or bring it \
back from git
    """
    about = yaml_files.load(folder / "paper.yaml")
    name = yaml_files.display_name(folder / "paper.yaml")
    keys = ("title", "citation", "links")
    if not isinstance(about, Mapping) or set(about) - {"cited_for", "card"} != set(keys):
        raise UserError(
            f"{name} must be a mapping with the keys {', '.join(keys)}, perhaps cited_for and "
            "card, and no other"
        )
    for key in {"title", "citation", "cited_for", "card"} & set(about):
        if not isinstance(about[key], str) or not about[key].strip():
            raise UserError(f"{name}: {key} is {about[key]!r}; it must be a text")
    _check_records(about["links"], f"{name}: links", ("name", "url"))
    texts = {key: about.get(key) for key in (*keys, "cited_for", "card")}
    for key in ("claims", "tables", "withdrawn"):
        place = folder / f"{key}.yaml"
        texts[key] = yaml_files.load(place)
        fields = ("case", "reason") if key == "withdrawn" else None
        _check_records(texts[key], yaml_files.display_name(place), fields)
    texts["deviations"] = _deviations(folder / "deviations.md")
    place = folder / "context.yaml"
    context = yaml_files.load(place) if place.exists() else {}
    name = yaml_files.display_name(place)
    params.check_tree(_mapping(context, name), name)
    return {**texts, "context": context}


def _check_records(values: Any, place: str, fields: tuple[str, ...] | None) -> None:
    """Refuse what is no list of mappings; with `fields`, of exactly these texts."""
    if not isinstance(values, list):
        raise UserError(f"{place} is {values!r}; it must be a list, [] if it is empty")
    for index, value in enumerate(values):
        if not isinstance(value, Mapping):
            raise UserError(f"{place}[{index}] is {value!r}; it must be a mapping")
        if fields and not (
            set(value) == set(fields) and all(isinstance(each, str) for each in value.values())
        ):
            raise UserError(
                f"{place}[{index}] is {dict(value)}; it must have the texts {' and '.join(fields)}"
            )
        if "case" in (fields or ()) and value["case"] in [v["case"] for v in values[:index]]:
            raise UserError(
                f"{place}[{index}] names the case {value['case']!r} again; join the reasons"
            )


def _deviations(path: Path) -> list[str]:
    """Read the items of a Markdown list; lines of an item are joined by spaces."""
    name = yaml_files.display_name(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{name} is missing; write it, empty if there is none") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name} cannot be read ({error}); mend the file") from None
    items: list[list[str]] = []
    for number, line in enumerate(lines, start=1):
        if line.startswith("- "):
            items.append([line[2:].strip()])
        elif line.startswith("  ") and line.strip() and items:
            items[-1].append(line.strip())
        elif line.strip():
            raise UserError(
                f"{name}, line {number}, belongs to no item; begin an item with '- ' and indent "
                "its other lines by two spaces"
            )
    return [" ".join(item) for item in items]


def check_texts(paper: str, section: Mapping[str, Any], texts: Mapping[str, Any]) -> None:
    """Check that claims, tables and withdrawn evidence name cases that there are.

    Parameters
    ----------
    paper : str
        Short name, such as ``distill``.
    section : mapping
        The paper's resolved section of params.yaml.
    texts : mapping
        What `paper` gives.

    Raises
    ------
    UserError
        For the first unknown case, with the file and the entry that names it.

    Examples
    --------
    >>> texts = {"claims": [{"id": "x", "case": "b"}], "tables": [], "withdrawn": []}
    >>> check_texts("distill", {"cases": {"a": {}}}, texts)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: papers/distill/claims.yaml[0] (x) names the unknown case 'b'; \
see distill.cases
    """
    named = []  # (place, case)
    for index, claim in enumerate(texts["claims"]):
        place = f"papers/{paper}/claims.yaml[{index}]"
        for form in ("less", "ratio", "gap", "ranked"):
            _mapping(claim.get(form) or {}, f"{place}.{form}")
        place += f" ({claim['id']})" if "id" in claim else ""
        try:
            named += [(place, case) for case in sorted(claim_cases(claim), key=str)]
        except TypeError:
            continue  # no name where one must be: pr12.report.claims says what it is
    for index, table in enumerate(texts["tables"]):
        place = f"papers/{paper}/tables.yaml[{index}]"
        listed = table.get("rows")
        for row in listed if isinstance(listed, list) else []:
            named.append((place, _mapping(row, f"{place}.rows").get("case")))
    for index, record in enumerate(texts["withdrawn"]):
        named.append((f"papers/{paper}/withdrawn.yaml[{index}]", record["case"]))
    for place, case in named:
        if isinstance(case, str) and case not in section["cases"]:
            raise UserError(f"{place} names the unknown case {case!r}; see {paper}.cases")


def claim_cases(claim: Mapping[str, Any]) -> Iterable[str]:
    """Return the cases that a claim speaks of.

    Parameters
    ----------
    claim : mapping
        One entry of a section's claims.

    Examples
    --------
    >>> sorted(claim_cases({"less": {"case": "soft", "than": "hard"}, "metric": "test/errors"}))
    ['hard', 'soft']
    """
    cases = {claim["case"]} if "case" in claim else set()
    for form in ("less", "ratio", "gap"):
        cases |= set((claim.get(form) or {}).values())
    cases |= set(claim.get("ranked") or ())
    return (cases | set(claim.get("best_inside") or ())) - {None}


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

    Raises
    ------
    UserError
        If that is no plain mapping, or names a field that the step has not.

    Examples
    --------
    >>> before("pr12.vae.train")
    {}
    """
    path = address.SRC.joinpath(*module.split(".")).with_suffix(".py")
    value = None
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if [ast.unparse(target) for target in targets if target] == ["BEFORE"]:
            value = node.value
    if value is None:
        return {}
    try:
        declared = ast.literal_eval(value)
    except (ValueError, TypeError):
        declared = None
    fields = [field.name for field in dataclasses.fields(params.of_step(module))]
    if not isinstance(declared, Mapping) or not set(declared) <= set(fields):
        raise UserError(
            f"{module}: BEFORE is {ast.unparse(value)}; it must be a plain mapping with keys out "
            f"of {', '.join(fields)}"
        )
    return dict(declared)
