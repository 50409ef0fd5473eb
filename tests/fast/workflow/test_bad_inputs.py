"""What users write wrongly in params.yaml, in other YAML files and on command lines.

Each row says what is wrong and the words that its message must hold: subject, value, remedy.
"""

import copy
import math
from functools import cache
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic.dataclasses import dataclass

import bad_inputs
from pr12.workflow import address, papers, prune, results, schema, settings, step, yaml_files
from pr12.workflow.params import STRICT

ROOT = address.SRC.parent


@dataclass(frozen=True, config=STRICT)
class Params:
    """What the step of the command lines takes."""

    epochs: Annotated[int, Ge(1)]
    rate: Annotated[float, Gt(0)]
    stride: Literal[1, 2, 4]
    seeds: Annotated[tuple[int, ...], MinLen(1)]
    known: dict


@cache
def committed():
    """Return params.yaml with one paper."""
    params = yaml_files.load(ROOT / "params.yaml")
    return {key: params[key] for key in ("run", "data", "distill")} | {"papers": ["distill"]}


def planned(config):
    """Plan all jobs of a params.yaml."""
    params = settings.resolve(config)
    jobs = papers.Graphs(params, config["papers"]).jobs
    assert jobs
    return jobs


def put(path, value, run="embedded"):
    """Set a value of params.yaml and plan its jobs."""

    def act(folder):
        config = copy.deepcopy(committed()) | {"run": run}
        *parents, last = path.split(".")
        section = config
        for key in parents:
            section = section[key]
        section[last] = value
        planned(config)

    return act


def add(path, key, value):
    """Set a value under a key that is no text, and plan the jobs."""

    def act(folder):
        config = copy.deepcopy(committed())
        section = config
        for name in filter(None, path.split(".")):
            section = section[name]
        section[key] = value
        planned(config)

    return act


def remove(*paths):
    """Remove keys of params.yaml and plan its jobs."""

    def act(folder):
        config = copy.deepcopy(committed())
        for path in paths:
            *parents, last = path.split(".")
            section = config
            for key in parents:
                section = section[key]
            del section[last]
        planned(config)

    return act


def instead(value):
    """Plan the jobs of something else than a mapping."""
    return lambda folder: planned(value)


def text(content, name="params.yaml", read=yaml_files.load_mapping):
    """Write a file and read it."""

    def act(folder):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        read(folder / name)

    return act


def context(content):
    """Write the context.yaml of a paper and read all of its texts."""

    def act(folder):
        for path in (ROOT / "papers/rca").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "context.yaml").write_text(content)
        settings.paper(folder)

    return act


GOOD = '"epochs": 1, "rate": 0.1, "stride": 1, "seeds": [0], "known": {}'


def given(values="", *more, good=GOOD):
    """Start a step with params of which some are replaced."""

    def act(folder):
        (folder / "train").write_text("data")
        arguments = [
            "--params",
            f"{{{good}{values}}}",
            f"train={folder}/train",
            f"model={folder}/m",
        ]
        names = {"reads": ["train"], "optional": ["other"], "writes": ["model", "history"]}
        if "history" not in "".join(more):
            arguments.append(f"history={folder}/h")
        arguments += [each.replace("{0}", str(folder)) for each in more]
        with step.start(Params, **names, arguments=arguments):
            pass

    return act


def value(key, written):
    """Start a step with one param replaced."""
    parts = dict(each.split(": ", 1) for each in GOOD.split(', "') for each in [each.strip('"')])
    parts = {name.strip('"'): content for name, content in parts.items()} | {key: written}
    return given(good=", ".join(f'"{name}": {content}' for name, content in parts.items()))


def line(*arguments):
    """Start a step with a command line."""

    def act(folder):
        with step.start(Params, reads=["train"], writes=["model"], arguments=arguments):
            pass

    return act


def pruned(folder):
    """Prune without naming a folder."""
    with step.start(prune.Params, reads=["folder"], arguments=["--params", '{"keep": []}']) as job:
        prune.main(job)


def drawn(*arguments):
    """Write a schema from the command line."""

    def act(folder):
        raise SystemExit(schema.main(arguments))

    return act


def summed(content, file="a"):
    """Ask a table of raw data for the checksum of a file."""

    def act(folder):
        (folder / "sources.csv").write_bytes(content)
        assert address.checksums(folder / "sources.csv")["mnist"][file]

    return act


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


STUDENTS = "distill.figures.student_cases"
HARD = "distill.cases.hard_800"
TRAIN = "distill.train"
NEEDED = ("distill.runs.smoke.dataset", "distill.runs.full.dataset", "distill.dataset")

BAD_INPUTS = [  # what is wrong, how it is made, words of its message
    # A case, a step, a paper
    (
        "case read by others",
        remove("distill.cases.soft_300_T8"),
        (STUDENTS, "soft_300_T8", "allowed"),
    ),
    (
        "teacher removed",
        put("distill.cases", {"soft": {"soft_weight": 1.0}}, "embedded"),
        ("distill.cases.teacher is", "missing", "bring it back"),
    ),
    ("student of no case", put(STUDENTS, {"a": "nobody"}), (f"{STUDENTS}.a", "nobody", "allowed")),
    ("student named teacher", put(STUDENTS, {"teacher": "hard_800"}), ("teacher", "another name")),
    ("student named test", put(STUDENTS, {"test": "hard_800"}), ("test", "another name")),
    ("student of another step", put(STUDENTS, {"a": "library"}), ("library", "allowed: teacher")),
    ("students are a list", put(STUDENTS, ["hard_800"]), (STUDENTS, "hard_800", "a mapping")),
    ("student is a list", put(STUDENTS, {"a": ["hard_800"]}), (STUDENTS, "hard_800", "allowed")),
    ("no dataset", remove(*NEEDED[:1], NEEDED[2]), ("dataset", "missing", "bring it back")),
    ("unknown dataset", put("distill.dataset", "cifar"), ("distill.dataset", "cifar", "mnist")),
    ("step of evaluation", put(HARD, {"step": "evaluate"}), ("step", "evaluate", "allowed: train")),
    ("step of figures", put(HARD, {"step": "figures"}), ("step", "figures", "allowed: train")),
    ("step of all cases", put(HARD, {"step": "soft_labels"}), ("step", "soft_labels", "allowed")),
    ("step is null", put(HARD, {"step": None}), ("step", "None", "allowed: train")),
    ("step is a list", put(HARD, {"step": ["train"]}), ("step", "['train']", "allowed: train")),
    ("paper of nobody", put("papers", ["nobody"]), ("papers", "nobody", "allowed: distill")),
    ("paper without code", put("papers", ["core"]), ("papers", "core", "allowed: distill")),
    ("paper twice", put("papers", ["distill", "distill"]), ("papers", "distill", "remove one")),
    ("papers are a text", put("papers", "distill"), ("papers", "'distill'", "a list of names")),
    ("no papers", put("papers", []), ("papers", "[]", "at least one of distill")),
    ("paper left out", put("papers", ["vae"]), ("distill", "not in papers", "add it there")),
    ("params twice", given("", "--params"), ("--params", "twice", "keep one")),
    ("case is a number", add("distill.cases", 5, {}), ("distill.cases", "5", "in quotes")),
    ("case is a path", put("distill.cases", {"a/b": {}}), ("distill.cases.a/b", "letters")),
    (
        "case name too long",
        add("distill.cases", "a" * 300, {}),
        ("cases.aaa", "300", "at most 100"),
    ),
    ("data set is a path", add("data", "..", {}), ("data...", "use letters")),
    # Blocks of another shape
    ("params.yaml is a list", instead([]), ("params.yaml", "[]", "a mapping")),
    ("params.yaml is a number", instead(5), ("params.yaml", "5", "a mapping")),
    ("nothing", instead({}), ("run", "missing", "add it")),
    ("no section", remove("distill"), ("distill", "no section", "add one")),
    ("section is a list", put("distill", [1]), ("distill is", "[1]", "a mapping")),
    ("block is a list", put(TRAIN, [1]), ("distill.train", "[1]", "a mapping")),
    (
        "block is an empty list",
        put("distill.ensemble", []),
        ("distill.ensemble", "[]", "a mapping"),
    ),
    ("runs are a list", put("distill.runs", []), ("distill.runs", "[]", "a mapping")),
    ("no block", remove("distill.temperature"), ("distill", "temperature", "allowed")),
    ("figures are a list", put("distill.figures", [1]), ("distill.figures", "[1]", "a mapping")),
    ("figures are null", put("distill.figures", None), ("figures.student_cases", "missing", "add")),
    ("no figures", remove("distill.figures"), ("distill.figures.student_cases", "missing", "add")),
    ("unknown of figures", put("distill.figures.x", 1), ("figures.x", "unknown", "student_cases")),
    ("key is a number", add(TRAIN, 5, 1), ("distill.train", "the key 5", "'5' in quotes")),
    ("key is infinite", add(TRAIN, math.inf, 1), ("distill.train", "inf", "in quotes")),
    ("key is null", add("", None, 1), ("params.yaml", "None", "in quotes")),
    ("deep lists", put(f"{TRAIN}.hidden", nested(3000)), ("train.hidden", "50 levels", "flatten")),
    # Values
    (
        "seed below 0",
        put("distill.seeds", [-1]),
        ("distill.seeds[0]", "-1", "from 0 to 4294967295"),
    ),
    ("seed too large", put("distill.seeds", [2**70]), ("seeds[0]", str(2**70), "to 4294967295")),
    ("seed twice", put("distill.seeds", [1, 1]), ("distill.seeds", "[1, 1]", "each seed once")),
    ("no seeds", put("distill.seeds", []), ("distill.seeds", "[]", "at least one element")),
    (
        "infinite rate",
        put(f"{TRAIN}.learning_rate", math.inf),
        ("rate", "Infinity", "finite number"),
    ),
    ("rate is a text", put(f"{TRAIN}.learning_rate", "1e-3"), ("learning_rate", "1e-3", "1.0e-3")),
    ("4.0 epochs", put(f"{TRAIN}.epochs", 4.0), ("distill.train.epochs", "4.0", "write 4")),
    ("4.5 epochs", put(f"{TRAIN}.epochs", 4.5), ("distill.train.epochs", "4.5", "a whole number")),
    ("true epochs", put(f"{TRAIN}.epochs", True), ("distill.train.epochs", "true", "whole number")),
    ("huge size", put(f"{TRAIN}.batch_size", 10**30), ("batch_size", "1000", "up to 92233")),
    ("null mean", put(f"{TRAIN}.mean", None), ("distill.train.mean", "null", "one of arithmetic")),
    # YAML files
    ("empty file", text(""), ("params.yaml", "empty", "from git")),
    ("only comments", text("# run: smoke\n"), ("params.yaml", "empty", "from git")),
    ("list in a file", text("- run\n"), ("params.yaml", "list", "a mapping")),
    ("word in a file", text("run\n"), ("params.yaml", "str", "a mapping")),
    ("tabs", text("a:\n\tb: 1\n"), ("params.yaml, line 2", "tab", "spaces")),
    ("Latin-1", text(b"a: M\xfcller\n"), ("params.yaml", "utf-8", "mend the file")),
    ("UTF-16", text("a: 1\n".encode("utf-16")), ("params.yaml", "utf-8", "mend the file")),
    ("key twice", text("a: 1\nb: 2\na: 3\n"), ("the key a", "lines 1 and 3", "remove one")),
    ("exponent", text("a: 1e-3\n"), ("params.yaml: a", "1e-3 in line 1", "write 1.0e-3")),
    ("two documents", text("a: 1\n---\nb: 1\n"), ("params.yaml", "line 2", "check")),
    ("open bracket", text("a: [1\n"), ("params.yaml", "no YAML", "check")),
    ("file deep", text("[" * 5000), ("params.yaml", "no YAML", "check")),
    ("context key", context("5: [1, 2]\n"), ("context.yaml", "5", "in quotes")),
    ("context infinite", context("a: [.inf]\n"), ("context.yaml.a[0]", "Infinity", "finite")),
    ("context list", context("- a\n"), ("context.yaml", "['a']", "a mapping")),
    # The table of raw data
    ("header of sources", summed(b"nome,file\nmnist,a\n"), ("sources.csv", "name", "from git")),
    ("row of sources", summed(b"name,file,checksum\nmnist,a,md5:0\n", "b"), ("mnist", "b", "git")),
    (
        "bytes of sources",
        summed(b"name,file,checksum\n\xff,a,b\n"),
        ("sources.csv", "utf-8", "mend"),
    ),
    # Command lines
    ("key twice in JSON", given(', "epochs": 2'), ("--params", "epochs twice", "remove one")),
    ("1e309", value("rate", "1e309"), ("--params.rate", "Infinity", "a finite number")),
    ("NaN", value("rate", "NaN"), ("--params.rate", "NaN", "a finite number")),
    (
        "infinite in a mapping",
        value("known", '{"a": 1e309}'),
        ("params.known.a", "Infinity", "finite"),
    ),
    ("true of 1, 2, 4", value("stride", "true"), ("--params.stride", "true", "one of 1, 2, 4")),
    ("4.0 of 1, 2, 4", value("stride", "4.0"), ("--params.stride", "4.0", "write 4")),
    ("4.0 for 4", value("epochs", "4.0"), ("--params.epochs", "4.0", "write 4")),
    ("seed of a step", value("seeds", "[-1]"), ("--params.seeds[0]", "-1", "from 0")),
    ("seed of a step twice", value("seeds", "[3, 3]"), ("--params.seeds", "[3, 3]", "once")),
    ("deep params", value("epochs", "[" * 900 + "]" * 900), ("--params.epochs", "whole number")),
    ("deeper params", line("--params", "[" * 9**5), ("--params", "JSON", "check")),
    (
        "deep objects",
        value("known", '{"a": ' * 150 + "1" + "}" * 150),
        ("known.a", "50", "flatten"),
    ),
    ("no params", line("--params"), ("--params", "JSON object", "needs")),
    ("empty params", line("--params", ""), ("--params", "not JSON", "check")),
    ("empty argument", given("", ""), ("''", "name=path")),
    ("empty path", given("", "other="), ("'other='", "name=path")),
    ("path twice", given("", "train=x"), ("train", "given twice")),
    ("unknown path", given("", "tran=x"), ("tran", "unknown", "train, other, model")),
    ("no output", line("--params", f"{{{GOOD}}}", "train=/dev/null"), ("model", "missing", "add")),
    (
        "no input",
        line("--params", f"{{{GOOD}}}", "model=x"),
        ("train", "missing", "add train=PATH"),
    ),
    (
        "two outputs, one file",
        given("", "history={0}/m"),
        ("model and history", "/m", "of its own"),
    ),
    ("two spellings", given("", "history={0}/x/../m"), ("model and history", "/m", "of its own")),
    ("output is an input", given("", "history={0}/train"), ("train and history", "/train", "own")),
    ("over-long name", given("", f"other=/tmp/{'a' * 300}"), ("other", "too long", "another path")),
    ("over-long path", given("", f"other=/{'a/' * 5000}b"), ("other", "too long", "another path")),
    ("prune nothing", pruned, ("folder", "missing", "add folder=")),
    ("schema of nothing", drawn(), ("0 paths", "python -m pr12.workflow.schema params.yaml")),
    ("schema of three", drawn("a", "b", "c"), ("3 paths", "python -m pr12.workflow.schema")),
    ("schema of no file", drawn("/no.yaml", "x"), ("/no.yaml", "missing", "write it")),
    (
        "report of half a run",
        lambda folder: results.check_complete(["build/a"]),
        ("build/a", "run"),
    ),
]


@bad_inputs.each(BAD_INPUTS)
def test_a_bad_input_is_one_sentence_with_subject_value_and_remedy(row, tmp_path, capsys):
    (make,) = row.given
    bad_inputs.answered(lambda: make(tmp_path), row.words, capsys)


def test_good_inputs_are_taken(tmp_path, capsys):
    jobs = planned(copy.deepcopy(committed())).values()
    assert {"train", "evaluate", "cost"} <= {job.step.name for job in jobs}
    for make in (given(), value("stride", "4")):
        make(tmp_path)
        assert "error:" not in capsys.readouterr().err
