"""From a claim back to its raw data, and the number once more.

A trace joins what is committed (the claim's record, evidence of its cases) with today's graph,
which knows the command of each step.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pr12.report import claim_forms, evidence
from pr12.report.lookup.judged import Judged
from pr12.workflow import files, settings, yaml_files
from pr12.workflow.errors import UserError
from pr12.workflow.graph import Job, reachable
from pr12.workflow.papers import Graphs

WRITTEN = ("build", "reports")  # by a run, beside downloads to data/raw; all else is only read


@dataclass(frozen=True)
class Trace:
    """A claim with all that its number comes from."""

    claim: Judged
    metrics: Mapping[str, Mapping[str, Sequence[float]]]  # case -> key -> a value for each seed
    jobs: tuple[Job, ...]  # those that are read before those that read them
    results: Mapping[str, Job]  # case -> the job of its metrics
    raw: Mapping[str, str]  # raw file -> checksum
    folders: frozenset[str]  # that the committed evidence was made in

    def current(self, job: Job) -> bool:
        """Return whether the committed evidence was made by this very step."""
        place = job.folder.rpartition(".")[0]
        there = [folder for folder in self.folders if folder.rpartition(".")[0] == place]
        return not there or job.folder in there  # chains begin with what was fetched


def trace(root: Path, claim: Judged) -> Trace:
    """Trace a claim.

    Parameters
    ----------
    root : Path
        The repository.
    claim : Judged
        As `pr12.report.lookup.judged.find` returned it.

    Raises
    ------
    UserError
        If params.yaml or the committed evidence is damaged.
    """
    config = yaml_files.load_mapping(root / "params.yaml") | {"run": claim.run}
    params = settings.resolve(config)
    graphs = Graphs(params, config["papers"])
    entries = settings.paper(root / "papers" / claim.paper)["claims"]
    entry = next((each for each in entries if each["id"] == claim.record["id"]), None)
    if entry is None or claim.paper not in params:
        raise UserError(
            f"{claim.name} is in the report, but no more in papers/{claim.paper}/claims.yaml and "
            "params.yaml; bring it back, or write the report anew: make report"
        )
    cases = [case for case in params[claim.paper]["cases"] if case in settings.claim_cases(entry)]
    public = root / "reports" / claim.run / claim.paper / "evidence"
    there = evidence.read_all(public, cases)
    results = {case: graphs.results[claim.paper][case] for case in cases
               if case in graphs.results[claim.paper]}  # fmt: skip
    judged_on = claim_forms.needs(entry)
    nodes = [node for each in there.values() for node in each.chain]
    return Trace(
        claim,
        {
            case: _values(each, entry, [key for name, key in judged_on if name == case])
            for case, each in there.items()
        },
        tuple(reachable(results.values()).values()),
        results,
        {file: checksum for node in nodes for file, checksum in node["raw"].items()},
        frozenset(node["folder"] for node in nodes),
    )


def _values(
    each: evidence.Evidence, claim: Mapping[str, Any], keys: Sequence[str]
) -> dict[str, Sequence[float]]:
    """Return what of a case's evidence a claim is judged on; of times only ratios are kept."""
    known = each.ratios if claim.get("timing") else each.metrics
    return {key: known[key] for key in dict.fromkeys(keys) if key in known}


def again(root: Path, traced: Trace, cores: str) -> dict[str, bool]:
    """Make the metrics of a claim's cases anew, in a folder of their own, and compare.

    Parameters
    ----------
    root : Path
        The repository.
    traced : Trace
        The claim.
    cores : str
        For Snakemake: a number or ``all``.

    Returns
    -------
    dict of str to bool
        Case -> whether all its metrics are what the evidence holds, to the bit.

    Raises
    ------
    UserError
        If a step fails; the folder stays for a look at its logs.
    """
    public = root / "reports" / traced.claim.run / traced.claim.paper / "evidence"
    before = evidence.read_all(public, list(traced.results))
    folder = Path(tempfile.mkdtemp(prefix="pr12-again-"))
    for path in root.resolve().iterdir():
        if path.name not in WRITTEN and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    targets = [f"{job.folder}/metrics.json" for job in traced.results.values()]
    beside = Path(sys.executable).with_name("snakemake")
    if not beside.exists():
        raise UserError(f"{beside} is missing; pip install -r requirements.lock")
    run = f"run={traced.claim.run}"
    command = [str(beside), "--cores", cores, "--config", run, "--", *targets]
    done = subprocess.run(command, cwd=folder, stdout=sys.stderr)
    if done.returncode:
        raise UserError(f"snakemake ended with {done.returncode}; its results are in {folder}")
    same = {}
    for case, job in traced.results.items():
        metrics = files.read_json(folder / job.folder / "metrics.json")["metrics"]
        same[case] = case in before and metrics == before[case].metrics
    shutil.rmtree(folder)
    return same
