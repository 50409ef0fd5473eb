# What every rules file uses: checked params and texts, and addresses of results.
import fcntl
import json
import os
import shutil
import sys
from functools import cache
from pathlib import Path

SRC = Path(workflow.basedir, "src")
sys.path.insert(0, str(SRC))
# The code beside this Snakefile runs, whatever pr12 is installed (DVC runs copies of the tree).
os.environ.update(PYTHONPATH=str(SRC))

from pr12.report import chain as result_chain  # Snakemake has a global `chain`
from pr12.shared import address as addresses
from pr12.shared import files, settings, yaml_files
from pr12.shared.errors import UserError


def stop(error):
    """End with one sentence; Snakemake would wrap any exception in its own words and exit with 1."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(2)


# Snakemake's own reader takes the last of two equal keys without a word.
try:
    for path in ("params.yaml", *map(str, workflow.overwrite_configfiles)):
        yaml_files.load(path)
except UserError as error:
    stop(error)


configfile: "params.yaml"


try:
    P = settings.resolve(config)
    ABOUT = {
        p: settings.paper(Path(workflow.basedir, "papers", p)) for p in config["papers"]
    }
    for paper, texts in ABOUT.items():
        settings.check_texts(paper, P[paper], texts)
except UserError as error:
    stop(error)

PAPERS = config["papers"]
RUN = P["run"]
BUILD = f"build/{RUN}"
# A training asks for a GPU where there is one (PR12_GPU=1 says so of a cluster's nodes).
GPU = int(os.environ.get("PR12_GPU", bool(shutil.which("nvidia-smi"))))
CURRENT = set()  # every folder that today's params and source address
NODES = {}  # folder -> how it is made: see pr12.report.chain
RESULTS = {}  # paper -> case -> the folder of its metrics.json
PICTURES = {}  # paper -> further files that its figures show


@cache
def source_digest(module):
    return addresses.source_digest(module, SRC)


def address(module, place, params, *upstream):
    """Folder of a step's outputs; its name ends with the digest of all that determines them."""
    source = source_digest(module)
    folder = f"{BUILD}/{place}.{addresses.digest(source, params, upstream)}"
    CURRENT.add(folder)
    NODES[folder] = result_chain.node(folder, module, source, params, upstream)
    return folder


def made(folder, name):
    """A file of an addressed folder; its date says nothing, its being there everything."""
    return ancient(f"{folder}/{name}")


def as_json(params):
    """Params as a command line takes them."""
    return json.dumps(params, ensure_ascii=False)


def paths(files):
    """Named files as a command line takes them: name=path name=path."""
    return " ".join(f"{name}={path}" for name, path in files.items())


# Snakemake's own lock has a fault: a second, refused start can delete the first one's lock. The
# kernel releases this one, so that nothing is left behind after a crash.
LOCK = None


onstart:
    global LOCK  # a local file would be closed, and the lock gone, as soon as this block ends
    LOCK = open(".snakemake/pr12.lock", "w")
    try:
        fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = (
            "error: another snakemake is running in this folder; wait for it to end"
        )
        print(message, file=sys.stderr, flush=True)
        os._exit(2)
    except OSError:  # a file system without such locks: Snakemake's own is left
        pass
    probe_nodes()
