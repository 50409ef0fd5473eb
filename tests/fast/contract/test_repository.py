"""Bounds of the workflow, the layers of the code, the lock file."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import snakemake.api  # noqa: F401  first, for the others import one another
import yaml
from snakemake.dag import DAG
from snakemake.jobs import GroupJob
from snakemake.scheduling.job_scheduler import JobScheduler

from pr12.cluster import jobs, measured, replay, requests
from pr12.workflow import same, settings
from pr12.workflow.papers import Graphs

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
RULES = sorted((ROOT / "rules").rglob("*.smk"))
PAPERS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["papers"]
SLURM = ("--profile", "profiles/slurm")
TEST_ARRAYS = re.compile(r"(?:^|[/_.])test(?:[/_.]|$)")


def code(path):
    """Return a file's lines without comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.lstrip().startswith("#")]


def rules(path):
    """Split a rules file: name of a rule -> its keywords."""
    result, name = {}, None
    for line in code(path):
        start = re.match(r"\s*rule(?: (\w+))?:", line)
        if start:
            name = start[1] or f"{path.stem}[{len(result)}]"
            result[name] = []
        elif name and (word := re.match(r"\s+([a-z]+):", line)):
            result[name].append(word[1])
        elif name and re.match(r"\S", line):
            name = None
    return result


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *RULES], ids=lambda path: path.name)
def test_rules_run_steps_by_shell_commands_and_log_them(path):
    assert not [line for line in code(path) if re.match(r"\s*(checkpoint\b.*|run|script):", line)]
    for name, words in rules(path).items():
        if "shell" in words:
            assert "log" in words, f"{path.name}: {name}"
        else:
            assert set(words) <= {"input", "name"} | {"default_target"}, f"{path.name}: {name}"


def test_the_rules_are_found():
    names = {name for path in RULES for name in rules(path)}
    assert {"steps[0]", "data", "evidence", "index", "report", "prune"} <= names


def test_rules_are_few():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in RULES) <= 400


@pytest.fixture(scope="module")
def all_plans(tmp_path_factory):
    """Return what Snakemake would do from nothing, by run and profile."""
    folder = tmp_path_factory.mktemp("plan")
    for name in (
        "Snakefile",
        "rules",
        "src",
        "data",
        "profiles",
        "benchmarks",
        "params.yaml",
        "papers",
        "requirements.lock",
    ):
        if name == "data":
            (folder / name).mkdir()
            name = "data/sources.csv"
        (folder / name).symlink_to(ROOT / name)
    starting = {
        (run, profile): subprocess.Popen(
            [BIN / "snakemake", *profile, "--dry-run", "--cores", "1", "--config", f"run={run}"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for run in ("embedded", "full")
        for profile in ((), SLURM)
    }
    texts = {run: process.communicate()[0] for run, process in starting.items()}
    assert all(process.returncode == 0 for process in starting.values()), texts
    return texts


@pytest.fixture(scope="module")
def plans(all_plans):
    """Return what Snakemake would do from nothing here, by run; jobs of groups without indent."""
    return {
        run: re.sub(r"^    (?=    |rule )", "", text, flags=re.M)
        for (run, profile), text in all_plans.items()
        if not profile
    }


@pytest.fixture(scope="module")
def steps():
    """Return what `make plan` takes for the jobs of a run on one core, by run."""
    config = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    planned = {}
    for run in ("embedded", "full"):
        table = measured.read(ROOT / f"benchmarks/measured/{run}.csv")
        graphs = Graphs(settings.resolve(config | {"run": run}), PAPERS)
        asked = requests.Requests(table, 1, requests.has_gpu())
        planned[run] = jobs.of_run(graphs, asked)
    return planned


@pytest.mark.parametrize("run", ["embedded", "full"])
def test_on_a_cluster_all_but_short_steps_are_jobs_of_a_group(steps, run):
    here = {each.rule for each in steps[run] if each.group is None}
    prepared = {"vae_faces", "rca_scans", "stn_sequences", "stn_parts"}
    prepared |= {"photostyle_photographs", "photostyle_weights"}
    shown = {"evidence", "index"} | {f"{paper}_pages" for paper in PAPERS}
    assert here <= prepared | shown | {"data_fetch", "data_arrays"}
    for each in steps[run]:  # the table of seconds finds a step by where its results lie
        assert each.rule in (f"{each.job.paper}_{each.job.step}", each.job.step, "data_arrays")


@pytest.mark.slow
@pytest.mark.parametrize("run", ["embedded", "full"])
def test_the_plan_has_the_jobs_groups_and_requests_of_snakemake(all_plans, steps, run):
    names = ("group", "threads", "mem_mb", "runtime", "priority")
    shown = Counter(
        (job.place.partition(" ")[0], *(dict(job.fields).get(name, "") for name in names))
        for job in same.parse(all_plans[run, SLURM])
    )
    planned = Counter(
        (s.rule, s.group or "", str(min(s.threads, 1)), *map(str, (s.memory_mb, s.minutes)), p)
        for s, p in ((each, str(each.priority)) for each in steps[run])
    )
    others = {"evidence", "index"} | {f"{paper}_pages" for paper in PAPERS}
    for table in (shown, planned):
        for each in [each for each in table if each[0] in others]:
            del table[each]
    assert shown == planned
    assert shown.total() > 250


def test_jobs_of_the_embedded_run_ask_for_what_they_took(steps):
    grouped = [s for s in steps["embedded"] if s.group]
    table = measured.read(ROOT / "benchmarks/measured/embedded.csv")
    known = [each for each in grouped if each.job in table]
    assert len(known) > 0.9 * len(grouped)  # a new case may come before its measurement
    for each in known:
        assert each.memory_mb == requests.memory_mb(table[each.job], 0)
        assert each.minutes == requests.minutes(table[each.job], 0)
    packed = replay.works(grouped)
    assert len(packed) < len(grouped) / 4


@pytest.mark.slow
@pytest.mark.parametrize("run", ["embedded", "full"])
def test_the_plan_keeps_its_bounds(plans, run):
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", plans[run], re.M)
    total = re.search(r"^total +(\d+)$", plans[run], re.M)[1]
    assert len(jobs) == int(total)
    assert len([rule for rule, _ in jobs if rule != "evidence"]) < 400  # which is one a case
    used = {
        pair.partition("=")[0]
        for _, lines in jobs
        for result in re.findall(r"^    wildcards: (.*)$", lines, re.M)
        for pair in result.split(", ")
    }
    assert used == {"case", "digest", "place", "scope"}


@pytest.mark.slow
@pytest.mark.parametrize("run", ["embedded", "full"])
def test_no_training_reads_test_data(plans, run):
    jobs = re.findall(r"^rule (\w+):\n((?:    .*\n)+)", plans[run], re.M)
    read = {"train": set(), "evaluate": set()}
    for rule, lines in jobs:
        kind = "evaluate" if "_evaluate" in rule else "train"
        if re.search(
            r"_(train|train_forest|mcem|classifier|compress|soft_labels|evaluate\w*)$", rule
        ):
            (inputs,) = re.findall(r"^    input: (.*)$", lines, re.M)
            read[kind] |= {Path(name).name for name in inputs.split(", ")}
    assert len(read["train"]) >= 3
    assert not [name for name in read["train"] if TEST_ARRAYS.search(name)]
    assert [name for name in read["evaluate"] if TEST_ARRAYS.search(name)]  # so it would be seen


HEAVY = {"torch", "sklearn", "skimage", "SimpleITK", "monai", "pandas", "h5py", "dvc"}


def test_reports_need_no_heavy_package():
    """Who only makes pages installs few packages."""
    modules = [f"pr12.report.{path.stem}" for path in sorted(ROOT.glob("src/pr12/report/*.py"))]
    modules += [
        f"pr12.workflow.{path.stem}" for path in sorted(ROOT.glob("src/pr12/workflow/*.py"))
    ]
    modules += [f"pr12.{paper}.figures.__main__" for paper in PAPERS]
    lines = [f"import {name.removesuffix('.__init__')}" for name in modules]
    lines += ["import sys", "print(*{name.partition('.')[0] for name in sys.modules})"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    imported = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {"numpy", "matplotlib", "jinja2"} <= set(imported)  # what is imported is seen
    assert not HEAVY & set(imported)


def test_snakemake_has_what_is_mended_in_it():
    """A new version may name it otherwise: then the mend does nothing, and is to be looked at."""
    names = {"check_output_mtime", "check_incomplete", "incomplete_files"}
    assert names <= set(vars(DAG))
    assert "_schedule_reevalutation" in vars(JobScheduler)
    assert "log_error" in vars(GroupJob)
    mends = [line for line in code(ROOT / "rules/cluster.smk") if "mended." in line]
    assert [re.search(r"mended\.(\w+)\((\w+)\)", line).groups() for line in mends] == [
        ("wake_once", "JobScheduler"),
        ("ignore_dates", "DAG"),
        ("forget_incomplete", "DAG"),
        ("hear_refusals", "GroupJob"),
    ]


def test_reports_of_two_runs_are_kept_in_git():
    """A smoke run made by hand is not: nobody could tell with which code."""
    listed = subprocess.run(
        ["git", "ls-files", "reports"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    places = {Path(name).parts[1] for name in listed}
    assert places == {"embedded", "full", "README.md"}


def test_tests_lie_where_make_looks_for_them():
    tests = ROOT / "tests"
    places = {str(path.parent.relative_to(tests)) for path in tests.rglob("test_*.py")}
    packages = {path.parent.name for path in ROOT.glob("src/pr12/*/__init__.py")}
    folders = packages | {"cli", "contract"}
    assert places - {"workflow", "servers"} <= {f"fast/{name}" for name in folders}


def test_imports_keep_to_the_layers():
    command = [BIN / "lint-imports", "--no-cache", "--config", "pyproject.toml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
