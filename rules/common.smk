# What every rules file uses: checked params and texts, and the graphs of all papers.
import os
import shutil
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

SRC = Path(workflow.basedir, "src")
sys.path.insert(0, str(SRC))
# The code beside this Snakefile runs, whatever pr12 is installed (DVC runs copies of the tree).
os.environ.update(PYTHONPATH=str(SRC))

from snakemake.exceptions import LockException

from pr12.cluster import measured
from pr12.cluster.requests import Requests, has_gpu
from pr12.report.targets import Targets
from pr12.workflow import address, files, lock, results, settings, warm, yaml_files
from pr12.workflow.errors import UserError
from pr12.workflow.papers import Graphs

# The source of a step is asked for by each of its jobs, and stays as it is while rules are read.
address.source_digest = cache(address.source_digest)


@contextmanager
def one_sentence():
    """End with the sentence of a mistake; Snakemake would wrap any exception in its own words."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(2)


if workflow.is_main_process:
    with one_sentence():
        files.check_writable(Path.cwd())

# Snakemake's own reader takes the last of two equal keys without a word.
with one_sentence():
    for path in ("params.yaml", *map(str, workflow.overwrite_configfiles)):
        yaml_files.load_mapping(path)


configfile: "params.yaml"


with one_sentence():
    P = settings.resolve(config)
    REPORT = any(word.partition("=")[0] == "--report" for word in sys.argv)
    PAPERS = config["papers"]
    RUN = P["run"]
    BUILD = f"build/{RUN}"
    HERE = Path(workflow.basedir)
    ABOUT = {paper: settings.paper(HERE / "papers" / paper) for paper in PAPERS}
    for paper, texts in ABOUT.items():
        settings.check_texts(paper, P[paper], texts)
    GRAPHS = Graphs(P, PAPERS)
    TARGETS = Targets(GRAPHS, P, ABOUT, HERE)
    TABLE = measured.read(HERE / f"benchmarks/measured/{RUN}.csv")
REQUESTS = Requests(TABLE, workflow.resource_settings.cores or 1, has_gpu())


wildcard_constraints:
    digest="[0-9a-f]{10}",
    scope="all|there",


def job_of(step):
    """The job of a rule's wildcards; an unknown digest is refused."""

    def job(w):
        case = step.place or w.case
        with one_sentence():
            return GRAPHS.job(f"{step.paper.build}/{case}/{step.name}.{w.digest}")

    return job


def waited_for(step):
    """Files that a job waits for; their dates say nothing, their being there everything."""
    job = job_of(step)
    return lambda w: [ancient(file.path) for file in job(w).waits_for]


def resources(step):
    """Memory (MiB), time (minutes) and GPUs of a step's jobs: as measured, else as declared."""
    job = job_of(step)
    asked = {
        "mem_mb": lambda wildcards, attempt: REQUESTS.memory_mb(
            job(wildcards), attempt
        ),
        "runtime": lambda wildcards, attempt: REQUESTS.minutes(job(wildcards), attempt),
    }
    gpu = {"gpu": int(REQUESTS.gpu)} if step.asks.get("gpu") else {}
    return asked | gpu


def shared(step):
    """The group of a job; a group is one job of the cluster, also where no job waits for another."""
    if REQUESTS.local(step):
        return None
    job = job_of(step)

    def group(wildcards):
        name = REQUESTS.group(job(wildcards))
        components = workflow.group_settings.group_components
        # Not in a dry run, which shows them one by one
        if isinstance(components, dict):
            components[name] = 1000
        return name

    return group


def untrue(mark):
    """A mark of what is so no longer, removed so that its job runs (a node may be at work)."""
    if workflow.is_main_process:
        Path(mark).unlink(missing_ok=True)
    return mark


def evidence_files(w):
    """What a case's evidence is made from."""
    with one_sentence():
        files = TARGETS.evidence_files(f"{BUILD}/{w.place}.{w.digest}")
    return {name: ancient(file) for name, file in files.items()}


@cache
def evidence_made(paper):
    """Results of all of a paper's cases that can run here, and the marks of their evidence."""
    with one_sentence():
        folders = TARGETS.folders(paper)
        public = [TARGETS.published(folder) for folder in folders]
    marks = [f"{folder}/evidence.json" for folder in folders]
    return [ancient(f"{folder}/metrics.json") for folder in folders] + [
        ancient(mark) if there else untrue(mark) for mark, there in zip(marks, public)
    ]


def pages(paper, scope):
    """The mark of pages that are still to be written, or that Snakemake's own report shows."""
    if REPORT:
        with one_sentence():
            return TARGETS.written(paper)
    mark = f"{BUILD}/report/{paper}/{scope}.done"
    return [untrue(mark)] if TARGETS.awaited(paper, scope) else []


def index(scope, missing):
    """The mark of the page over all papers, if it is to be written."""
    mark = f"{BUILD}/report/{scope}.done"
    awaited = not REPORT and TARGETS.index_awaited(scope, missing)
    return [untrue(mark)] if awaited else []


def refuse(self):
    """Say who holds Snakemake's own lock, and the command that helps, also where DVC calls."""
    with one_sentence():
        raise UserError(lock.refusal())


LockException.__init__ = refuse
LOCK = None


onstart:
    global LOCK  # a local file would be closed, and the lock gone, as soon as this block ends
    with one_sentence():
        LOCK = lock.take()
    probe_nodes()
    if not REMOTE:
        warm.enter()
