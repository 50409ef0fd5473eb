"""A copy of the repository in a temporary folder, and the tools as a user calls them there."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import yaml

from pr12.workflow import warm

UP_TO_DATE = "Data and pipelines are up to date."  # what DVC says
REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# Of every kind of step one case, so that a complete run takes seconds.
CASES = ("teacher", "hard_800", "soft_800_T20", "soft_labels", "library", "compress_munge")
CLAIMS = ("teacher_beats_hard", "distilled_beats_hard", "gap_closed", "entropy_rises")
CLAIMS_FILE = "papers/distill/claims.yaml"
COMPRESSION = {
    "library": {
        "problems": ["breast_cancer"],
        "sizes": [60, 120],
        "validation": 40,
        "generators": ["munge"],
        "trees": 2,
        "network_iterations": 5,
        "selection_rounds": 3,
    },
    "compress": {"sizes": [60, 120], "seeds": [0, 1], "updates": 20, "evaluations": 2},
}
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "PR12_"))},
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "CORES": "2",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
# What the run under test sets for itself, or must not be told by it.
for name in ("PYTHONPATH", "SNAKEMAKE_PROFILE", "MAKEFLAGS", "GIT_DIR", "GIT_INDEX_FILE"):
    ENVIRONMENT.pop(name, None)


warm_start = cache(warm.start)  # one server for all runs of a process of the tests


def copy_repository(root):
    """Copy what git tracks (and would track: new files that are not ignored)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if name.startswith("reports/smoke/"):  # of a smoke run by hand; never committed
            continue
        if (REPOSITORY / name).is_file():  # not: removed, and the removal not committed yet
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, root / name)
    return Checkout(root)


def trimmed(params, cases=CASES):
    """Return params.yaml with few cases and little to compute in every run."""
    params = copy.deepcopy(params)
    section = params["distill"]
    section["cases"] = {case: section["cases"][case] for case in cases}
    section["figures"] |= {"student_cases": {}}
    small = section["runs"]["smoke"] | COMPRESSION
    section["runs"] = {
        "embedded": small,
        "smoke": small,
        "full": small | {"dataset": "mnist"},
    }
    params["run"], params["papers"] = "smoke", ["distill"]
    # Other papers have tests of their own
    keep = {"run", "papers", "data", "distill"}
    return {key: value for key, value in params.items() if key in keep}


class Checkout:
    """One copy of the repository."""

    def __init__(self, root):
        self.root = Path(root)

    def __truediv__(self, name):
        return self.root / name

    def copy(self, root):
        """Copy all of it, results, records and caches too."""
        shutil.copytree(self.root, root, symlinks=True)
        return Checkout(root)

    def environment(self, **more):
        """Return the environment of every command; DVC's site-wide folder lies beside the copy."""
        beside = {"DVC_SITE_CACHE_DIR": f"{self.root}.site", "PR12_WARM": str(warm_start())}
        return ENVIRONMENT | beside | more

    def start(self, *command, **more):
        """Start a command in a process group of its own; what it prints goes to a file."""
        with open(f"{self.root}.{time.monotonic_ns()}.log", "w+") as log:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.log = Path(log.name)
        return process

    def finish(self, process, code=0, timeout=2400):
        """Wait for a started command, check its exit code, and give what it printed."""
        try:
            process.wait(timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        text = process.log.read_text(encoding="utf-8", errors="replace")
        assert process.returncode == code, f"{process.args} -> {process.returncode}\n{text}"
        return text

    def run(self, *command, code=0, **more):
        """Run a command, check its exit code, and give what it printed."""
        return self.finish(self.start(*command, **more), code)

    def snakemake(self, *arguments, code=0, **more):
        """Run Snakemake on two cores."""
        return self.run("snakemake", "--cores", "2", *arguments, code=code, **more)

    def jobs(self, *arguments):
        """Say, by a dry run, how many jobs of each rule would run."""
        text = self.snakemake("--dry-run", *arguments)
        if "Nothing to be done" in text:
            return {}
        return job_table(text)

    def git(self, *arguments):
        return self.run("git", *arguments)

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def dvc(self, *arguments, code=0):
        return self.run("dvc", *arguments, code=code)

    def params(self):
        params = yaml.safe_load((self / "params.yaml").read_text(encoding="utf-8"))
        return json.loads(json.dumps(params))  # what YAML aliases share must not change together

    def write_params(self, params):
        text = yaml.safe_dump(params, sort_keys=False, allow_unicode=True)
        (self / "params.yaml").write_text(text, encoding="utf-8")

    def claims(self):
        return yaml.safe_load((self / CLAIMS_FILE).read_text(encoding="utf-8"))

    def write_claims(self, claims):
        text = yaml.safe_dump(claims, sort_keys=False, allow_unicode=True)
        (self / CLAIMS_FILE).write_text(text, encoding="utf-8")

    def trim(self, cases=CASES, claims=CLAIMS):
        """Leave few cases, and what is written of them."""
        self.write_params(trimmed(self.params(), cases))
        self.write_claims([claim for claim in self.claims() if claim["id"] in claims])
        (self / "papers/distill/tables.yaml").write_text("[]\n")

    def set(self, path, value):
        """Set one value of params.yaml, named by its dotted path."""
        params = self.params()
        *parents, last = path.split(".")
        place = params
        for key in parents:
            place = place[key]
        place[last] = value
        self.write_params(params)

    def append(self, name, text):
        """Add lines to the end of a file."""
        with open(self / name, "a", encoding="utf-8") as stream:
            stream.write(text)

    def folder(self, case, step, run="smoke"):
        """Find the one folder of a step's results."""
        (result,) = (self / f"build/{run}/distill/{case}").glob(f"{step}.*")
        return result

    def bytes(self, *patterns):
        """Return path -> content of all files that match."""
        result = (path for pattern in patterns for path in self.root.glob(pattern))
        return {str(p.relative_to(self.root)): p.read_bytes() for p in result if p.is_file()}

    def results(self):
        """Return all that must be the same after every way to make it."""
        # Copies of nets, which DVC alone makes, are one folder less deep
        return self.bytes("build/smoke/*/*/*/*.safetensors", "reports/smoke/distill/**/*")

    def processes(self, log=None):
        """List the processes that work in this folder, by the kernel's word, or write to a log.

        A step that was forked for a run writes to its log before it works in its folder.
        """
        result = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                here = Path(os.readlink(entry / "cwd")).is_relative_to(self.root)
                if here or (log and any(_is(path, log) for path in (entry / "fd").iterdir())):
                    result.append(int(entry.name))
            except OSError:  # it ended meanwhile, or is not ours
                continue
        return result


def _is(descriptor, path):
    """Tell whether a file descriptor in /proc is of a file; it may be closed meanwhile."""
    try:
        return os.readlink(descriptor) == str(path)
    except OSError:
        return False


def job_table(text):
    """Read Snakemake's table of jobs: rule -> count."""
    rows = text.partition("Job stats:")[2].partition("\ntotal")[0].splitlines()
    matches = (re.fullmatch(r"(\w+) +(\d+)", row.strip()) for row in rows)
    return {match[1]: int(match[2]) for match in matches if match}


def wait_for(condition, process, seconds=600):
    """Wait until something is so while a process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.log.read_text(encoding="utf-8")
        assert time.monotonic() < end, process.log.read_text(encoding="utf-8")
        time.sleep(0.02)
