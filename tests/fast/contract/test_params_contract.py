"""params.yaml, the steps, the claims and what is committed under reports/ agree."""

import ast
import dataclasses
import importlib
import json
import re

import pytest

from pr12.report import claims, readme
from pr12.workflow import address, params, settings, yaml_files

ROOT = address.SRC.parent
PARAMS = yaml_files.load(ROOT / "params.yaml")
RUNS = settings.RUNS
PAPERS = PARAMS["papers"]
TEXTS = {paper: settings.paper(ROOT / "papers" / paper) for paper in PAPERS}
FIGURES = {"run", "published"}  # what the workflow adds to the block of the figures


def resolved(run, paper):
    return settings.resolve(PARAMS | {"run": run})[paper]


def steps(package):
    """Return the names of a package's modules that take params of its params.py."""
    folder = address.SRC / "pr12" / package
    modules = {path.stem: path for path in folder.glob("*.py")}
    modules |= {path.parent.name: path for path in folder.glob("*/__main__.py")}
    line = rf"^from pr12\.{package}\.params import (\w+) as Params$"
    taken = {name: re.findall(line, path.read_text(), re.M) for name, path in modules.items()}
    for name, classes in taken.items():  # a module takes what is named after it
        assert classes in ([], ["".join(part.capitalize() for part in name.split("_"))]), name
    return {name for name, classes in taken.items() if classes}


def fields(paper, name):
    return {field.name for field in dataclasses.fields(params.of_step(f"pr12.{paper}.{name}"))}


PACKAGES = sorted(path.parent.name for path in (address.SRC / "pr12").glob("[!w]*/params.py"))
ALLOWED = {
    "typing": {"Annotated", "Literal", "Self", "get_args"},
    "annotated_types": {"Ge", "Gt", "Interval", "Len", "MinLen"},
    "pydantic": {"model_validator"},
    "pydantic.dataclasses": {"dataclass"},
    "pr12.workflow.params": {"STRICT", "Distinct", "Rising", "WrongError"},
}
CALLED = ALLOWED["annotated_types"] | {"dataclass", "Distinct", "Rising"}
# What a check may do: look, and raise. It returns the params as they are.
CHECKS = {"get_args", "len", "max", "min", "sum", "WrongError"}
METHODS = {"get", "items", "join", "startswith", "values"}
LOOKS = ast.If, ast.For, ast.Raise, ast.Assign


def faults_of_fields(source):
    """List what a params.py holds besides fields, types and checks: it stands in no address."""
    docstring, *statements = ast.parse(source).body
    result = [] if isinstance(docstring, ast.Expr) else ["no docstring"]
    for node in statements:
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names if alias.asname is None}
            right = names <= ALLOWED.get(node.module, set()) and len(names) == len(node.names)
        elif isinstance(node, ast.ClassDef):
            described, *fields = node.body
            check = fields.pop() if fields and isinstance(fields[-1], ast.FunctionDef) else None
            right = isinstance(described, ast.Expr) and not node.bases
            right &= list(map(ast.unparse, node.decorator_list)) == [
                "dataclass(frozen=True, config=STRICT)"
            ]
            right &= all(isinstance(f, ast.AnnAssign) and f.value is None for f in fields)
            right &= called(fields) <= CALLED
            right &= check is None or only_looks(check, "check", ['model_validator(mode="after")'])
        elif isinstance(node, ast.Assign):  # the name of a type
            right = ast.unparse(node.value).startswith("Literal[") and not called([node])
        elif isinstance(node, ast.FunctionDef):
            right = only_looks(node, node.name, [])
        else:
            right = False
        result += [] if right else [f"line {node.lineno}: {ast.unparse(node)}"]
    return result


def called(nodes):
    """Return what some statements call."""
    calls = [call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call)]
    return {ast.unparse(call.func) for call in calls}


def only_looks(function, name, decorators):
    """Tell whether a function changes nothing: it looks, raises, and may return itself."""
    described, *body = function.body
    end = ast.unparse(body.pop()) if decorators else "return self"
    right = end == "return self" and "check" in name
    right &= function.name == name and isinstance(described, ast.Expr)
    right &= [ast.unparse(d).replace("'", '"') for d in function.decorator_list] == decorators
    statements = [n for each in body for n in ast.walk(each) if isinstance(n, ast.stmt)]
    calls = called(body)
    for node in statements:
        if isinstance(node, ast.Assign):
            right &= all(isinstance(target, ast.Name) for target in node.targets)
        elif isinstance(node, ast.Expr):
            right &= isinstance(node.value, ast.Call) and called([node]) == {"_check_layers"}
        else:
            right &= isinstance(node, LOOKS)
    known = CHECKS | {"_check_layers"}
    return right and all(c in known or c.rpartition(".")[2] in METHODS for c in calls)


@pytest.mark.parametrize("package", PACKAGES)
def test_params_are_fields_only(package):
    path = address.SRC / "pr12" / package / "params.py"
    assert faults_of_fields(path.read_text(encoding="utf-8")) == []
    assert set(params.steps(f"pr12.{package}")) == steps(package)


FIELDS = '''"""What steps take."""
from typing import Literal
@dataclass(frozen=True, config=STRICT)
class Train:
    """Params."""
    epochs: int
    @model_validator(mode="after")
    def check(self):
        """Refuse."""
        if self.epochs < 1:
            raise WrongError("epochs", "at least 1")
        return self
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("int\n", "int = 3\n"),
        ("int\n", "int\n    def twice(self): return 2 * self.epochs\n"),
        ("            raise WrongError(", "            open("),
        ("            raise WrongError(", "            self.epochs = ("),
        ("            raise WrongError(", "            object.__setattr__(self, "),
        ("return self", "return None"),
        ('"after"', '"before"'),
        ("int\n", "Annotated[int, AfterValidator(abs)]\n"),
        ("import Literal", "import Literal as Gt"),
        ("from typing", "from torch"),
        ('"""What steps take."""\n', "EPOCHS = 3\n"),
        ("class Train:", "class Train(Base):"),
        ("frozen=True, ", ""),
        ("import Literal\n", "import Literal\nEPOCHS = 3\n"),
    ],
)
def test_more_than_fields_is_seen(old, new):
    assert faults_of_fields(FIELDS) == []
    assert faults_of_fields(FIELDS.replace(old, new)) != []


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("paper", PAPERS)
def test_every_step_gets_all_its_params_and_no_other(paper, run):
    section = resolved(run, paper)
    blocks = set(section) - set(settings.NOT_STEPS)
    assert blocks == steps(paper)
    case_of = {settings.case_step(section, case): case for case in section["cases"]}
    for name in blocks - {"figures"}:
        given = settings.step_params(paper, section, name, case_of.get(name))
        assert set(given) == fields(paper, name)
    context = {"context"} & set(filter(TEXTS[paper].get, TEXTS[paper]))
    assert set(section["figures"] or {}) | FIGURES | context == fields(paper, "figures")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("paper", PAPERS)
def test_claims_are_well_formed_and_of_known_runs(paper, run):
    section = resolved(run, paper)
    settings.check_texts(paper, section, TEXTS[paper])
    claims.check(TEXTS[paper]["claims"], list(section["cases"]), f"{paper}.claims")
    for claim in TEXTS[paper]["claims"]:
        assert set(claim.get("runs", RUNS)) <= set(RUNS), claim["id"]
    assert any(claim.get("headline") for claim in TEXTS[paper]["claims"])


def shown_patterns(paper):
    """Return the patterns of the cases that a paper's figures name."""
    module = importlib.import_module(f"pr12.{paper}.figures.__main__")
    shown = dict(resolved("full", paper)["figures"] or {})
    if TEXTS[paper]["context"]:
        shown["context"] = TEXTS[paper]["context"]
    listed = module.figures(module.Params(run="full", published={}, **shown))
    return {pattern for figure in listed for pattern in (figure.cases, figure.pictures) if pattern}


@pytest.mark.parametrize("paper", PAPERS)
def test_every_case_is_used_by_a_claim_a_table_or_a_figure(paper):
    section, texts = PARAMS[paper], TEXTS[paper]
    used = {case for claim in texts["claims"] for case in settings.claim_cases(claim)}
    used |= {row["case"] for table in texts["tables"] for row in table["rows"]}
    patterns = shown_patterns(paper)
    unused = [
        case
        for case in section["cases"]
        if case not in used and not any(re.fullmatch(pattern, case) for pattern in patterns)
    ]
    assert unused == []
    assert not any(re.fullmatch(pattern, "no_such_case") for pattern in patterns)


def depth(value):
    """Count the nested mappings."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return max(map(depth, value), default=0)
    return 0


@pytest.mark.parametrize("paper", PAPERS)
def test_params_are_not_nested_deeper_than_four(paper):
    section = dict(PARAMS[paper])
    runs = section.pop("runs")
    assert depth(section) <= 4
    assert all(depth(overrides) <= 4 for overrides in runs.values())


def test_the_runs_differ_in_scale_only():
    # The science is in the cases: a run adds no case and takes none away
    for paper in PAPERS:
        cases = {run: list(resolved(run, paper)["cases"]) for run in RUNS}
        assert all(names == list(PARAMS[paper]["cases"]) for names in cases.values())


def inconsistencies(run, paper, folder):
    """List what is wrong with a committed report, by params.yaml and papers/."""
    section = resolved(run, paper)
    metrics, records = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("metrics", "claims")
    )
    page = (folder / "README.md").read_text(encoding="utf-8")
    (not_run,) = re.findall(r"^Cases without result in this run: (.*)\.$", page, re.M) or [""]
    missing = re.findall(r"`(\w+)`", not_run)
    result = [f"{case} has a result and is no case" for case in metrics.keys() - section["cases"]]
    result += [
        f"{case} has neither a result nor is it listed as not run"
        for case in section["cases"]
        if case not in metrics and case not in missing
    ]
    result += [
        f"{case} has a result and is listed as not run" for case in missing if case in metrics
    ]
    listed = [claim["id"] for claim in TEXTS[paper]["claims"]]
    if [record["id"] for record in records] != listed:
        result.append(f"the claims are not those of papers/{paper}/claims.yaml")
    # A key that a finished case lacks is misspelt, unless it only lies beyond the run's budget
    for record in records:
        case, _, key = (record["note"] or "").removeprefix("the case ").partition(" has no ")
        alike = {re.sub(r"\d+", "#", known) for known in metrics.get(case, {})}
        # Of a time there may be no ratio yet, and an earlier source may not have measured it
        earlier = any(s["state"] == "earlier source" for s in record.get("standing", ()))
        excused = record.get("timing") or earlier
        if key and not excused and re.sub(r"\d+", "#", key) not in alike:
            result.append(f"{record['id']}: {record['note']}")
    return result


def test_committed_reports_are_those_of_params():
    for run in ("embedded", "full"):
        for folder in sorted((ROOT / "reports" / run).glob("*/")):
            assert folder.name in PAPERS
            assert inconsistencies(run, folder.name, folder) == [], folder


def test_a_report_of_other_params_is_told(tmp_path):
    # The check above has nothing to look at before a report is committed: it can fail all the same
    cases = list(PARAMS["distill"]["cases"])
    for name, value in {
        "metrics": {case: {"test/elbo_100_nats": {}} for case in (*cases[2:], "gone")},
        "claims": [
            {"id": "x", "note": "the case y has no test/errors"},
            {"id": "long", "note": f"the case {cases[2]} has no test/elbo_900_nats"},
        ],
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    page = f"Cases without result in this run: `{cases[0]}`.\n"
    (tmp_path / "README.md").write_text(page, encoding="utf-8")
    assert inconsistencies("embedded", "distill", tmp_path) == [
        "gone has a result and is no case",
        f"{cases[1]} has neither a result nor is it listed as not run",
        "the claims are not those of papers/distill/claims.yaml",
        "x: the case y has no test/errors",
    ]


def test_the_tables_of_what_came_out_are_those_of_the_reports():
    claims = readme.committed(ROOT / "reports")
    about = {p: yaml_files.load(ROOT / "papers" / p / "paper.yaml") for p in claims}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert all(about[paper]["cited_for"] in claims[paper] for paper in claims)
    assert readme.replace_table(text, readme.summary(claims, about)) == text
    every = (ROOT / "reports/README.md").read_text(encoding="utf-8")
    assert readme.replace_table(every, readme.table(claims)) == every
