"""Tell whether two revisions have the same jobs: ``python -m pr12.workflow.same OLD NEW``.

Commands, threads, resources, groups, priorities and files of all jobs of every run, on one machine
and with the profile for Slurm, as dry runs of both print them. Digests in paths are left out: they
differ with every edit. Exit code 1 if anything else differs.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pr12.workflow.errors import UserError

RUNS = ("smoke", "embedded", "full")
PROFILES = {  # name -> options, environment; jobs ask for a GPU in one of them
    "local": (("--cores", "2"), {"PR12_GPU": "0"}),
    "slurm": (("--profile", "profiles/slurm", "--cores", "8"), {"PR12_GPU": "1"}),
}
NEEDED = (
    "Snakefile",
    "rules",
    "src",
    "data/sources.csv",
    "profiles",
    "benchmarks",
    "params.yaml",
    "papers",
    "requirements.lock",
)
RULE = re.compile(r"^(?P<indent> *)(?P<local>local)?rule (?P<name>\w+):$")
GROUP = re.compile(r"Group job (\w+) \(")
FIELD = re.compile(r"^ +(input|output|threads|resources|priority): (.*)$")
SHELL = re.compile(r"^ *Shell command: (.*)$")
DIGEST = re.compile(r'(?<=[."])[0-9a-f]{10}(?=[/"\s,]|$)')
LEFT_OUT = ("tmpdir", "mem", "mem_mib")  # of resources: the machine's, and mem_mb again


class Job(NamedTuple):
    """One job of a dry run; of two jobs with the same place, such as data of two params, both."""

    place: str  # its rule and outputs
    fields: tuple[tuple[str, str], ...]  # what is compared, by name


def parse(text: str) -> list[Job]:
    """Read the jobs of a dry run.

    Parameters
    ----------
    text : str
        What ``snakemake --dry-run --printshellcmds`` printed.

    Examples
    --------
    >>> job, = parse('''[..] Group job vae_nets_0 (jobs in lexicogr. order):
    ...
    ...     rule vae_train:
    ...         input: build/full/data/mnist/data.0123456789/train.safetensors
    ...         output: build/full/vae/z2/train.0123456789/model.safetensors
    ...         threads: 2
    ...         resources: tmpdir=/tmp, mem_mb=900, mem=900 MB, runtime=12
    ... Shell command: python -m pr12.vae.train
    ... ''')
    >>> job.place
    'vae_train build/full/vae/z2/train.#/model.safetensors'
    >>> dict(job.fields)["group"], dict(job.fields)["threads"], dict(job.fields)["mem_mb"]
    ('vae_nets_0', '2', '900')
    """
    jobs: list[Job] = []
    group, fields = "", {}

    def end() -> None:
        if "output" in fields:
            jobs.append(_job(fields))

    for line in DIGEST.sub("#", text).splitlines():
        if match := GROUP.search(line):
            end()
            group, fields = match[1], {}
        elif match := RULE.match(line):
            end()
            group = group if match["indent"] else ""
            where = "submitting host" if match["local"] else "job"
            fields = {"rule": match["name"], "group": group, "runs": where}
        elif fields and (match := FIELD.match(line)):
            fields[match[1]] = match[2]
        elif fields and (match := SHELL.match(line)):
            fields["command"] = " ".join(match[1].split())
    end()
    return jobs


def _job(fields: Mapping[str, str]) -> Job:
    outputs = ", ".join(sorted(fields["output"].split(", ")))
    compared = {"threads": "1", "priority": "0"} | dict(fields)
    for name in ("rule", "output", "resources"):
        compared.pop(name, None)
    compared["input"] = ", ".join(sorted(set(fields.get("input", "").split(", "))))
    asked = dict(re.findall(r"(\w+)=([^,]+)", fields.get("resources", "")))
    compared |= {name: value for name, value in asked.items() if name not in LEFT_OUT}
    return Job(f"{fields['rule']} {outputs}", tuple(sorted(compared.items())))


def differences(old: list[Job], new: list[Job]) -> Iterator[str]:
    """Yield what differs, one line each.

    Parameters
    ----------
    old, new : list of Job
        Of two dry runs.

    Examples
    --------
    >>> train = Job("vae_train m", (("threads", "1"),))
    >>> list(differences([train], [train._replace(fields=(("threads", "2"),))]))
    ["vae_train m: threads was '1', now '2'"]
    >>> list(differences([train], [train, train]))
    ['vae_train m: 1 more']
    """
    before, after = _by_place(old), _by_place(new)
    for place in dict.fromkeys([*before, *after]):
        gone = Counter(before.get(place, ())) - Counter(after.get(place, ()))
        come = Counter(after.get(place, ())) - Counter(before.get(place, ()))
        pairs = zip(gone.elements(), come.elements(), strict=False)
        for then, now in pairs:
            values = [dict(fields) for fields in (then, now)]
            for name in sorted(values[0].keys() | values[1].keys()):
                first, second = (each.get(name, "nothing") for each in values)
                if first != second:
                    first, second = _unlike(first, second)
                    yield f"{place}: {name} was {first!r}, now {second!r}"
        more = come.total() - gone.total()
        if more:
            yield f"{place}: {abs(more)} {'more' if more > 0 else 'fewer'}"


def _unlike(first: str, second: str) -> tuple[str, str]:
    """Return the words that only one of two texts has; all of them where only the order differs.

    Examples
    --------
    >>> _unlike("python -m pr12.a x=1 y=2", "python -m pr12.a x=1 y=3")
    ('y=2', 'y=3')
    """
    words = [Counter(text.split()) for text in (first, second)]
    only = [" ".join((words[i] - words[1 - i]).elements()) for i in (0, 1)]
    return (only[0], only[1]) if any(only) else (first, second)


def _by_place(jobs: list[Job]) -> dict[str, list[tuple[tuple[str, str], ...]]]:
    places = defaultdict(list)
    for job in jobs:
        places[job.place].append(job.fields)
    return places


def check_out(revision: str, folder: Path) -> None:
    """Copy what a dry run needs from a folder, or from a revision of this repository.

    Parameters
    ----------
    revision : str
        A folder with a Snakefile, or what git takes for a commit.
    folder : Path
        Where to.

    Raises
    ------
    UserError
        If it is neither.
    """
    if Path(revision, "Snakefile").is_file():
        for name in NEEDED:
            source, target = Path(revision, name), folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, target)
        return
    archive = subprocess.run(
        ["git", "archive", revision, "--", *NEEDED], capture_output=True, check=False
    )
    if archive.returncode:
        reason = archive.stderr.decode(errors="replace").strip().splitlines()[0]
        raise UserError(
            f"{revision} is neither a folder with a Snakefile nor a revision ({reason})"
        )
    folder.mkdir(parents=True)
    subprocess.run(["tar", "--extract"], input=archive.stdout, cwd=folder, check=True)


def dry_run(folder: Path, run: str, profile: str) -> list[Job]:
    """Return the jobs of a run from nothing.

    Parameters
    ----------
    folder : Path
        What `check_out` filled.
    run, profile : str
        Out of `RUNS` and `PROFILES`.

    Raises
    ------
    UserError
        If Snakemake refuses, with the last line that it printed.
    """
    options, environment = PROFILES[profile]
    command = ["snakemake", *options, "--dry-run", "--printshellcmds", "--forceall"]
    done = subprocess.run(
        [*command, "--config", f"run={run}"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        raise UserError(
            f"snakemake --dry-run fails in {folder}: {lines[-1] if lines else 'silent'}"
        )
    return parse(done.stdout + done.stderr)


def compare(old: str, new: str, runs: list[str], profiles: list[str]) -> dict[str, list[str]]:
    """Return difference -> the runs and profiles that show it.

    Parameters
    ----------
    old, new : str
        Revisions or folders.
    runs, profiles : list of str
        Out of `RUNS` and `PROFILES`.
    """
    shown: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch, name) for name in ("old", "new")]
        for revision, folder in zip((old, new), folders, strict=True):
            check_out(revision, folder)
        for run in runs:
            for profile in profiles:
                jobs = [dry_run(folder, run, profile) for folder in folders]
                setting = f"{run} {profile}"
                print(f"{setting}: {len(jobs[0])} and {len(jobs[1])} jobs", file=sys.stderr)
                for line in differences(*jobs):
                    shown.setdefault(line.replace(f"build/{run}/", ""), []).append(setting)
    return shown


def main(arguments: list[str] | None = None) -> int:
    """Print every difference and where it shows; return 1 if there is any."""
    parser = argparse.ArgumentParser(prog="python -m pr12.workflow.same", description=__doc__)
    parser.add_argument("old", help="a revision, or a folder with a Snakefile")
    parser.add_argument("new", help="likewise")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    given = parser.parse_args(arguments)
    try:
        shown = compare(given.old, given.new, given.runs, given.profiles)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line, settings in shown.items():
        print(f"{line} ({', '.join(settings)})")
    return int(bool(shown))


if __name__ == "__main__":
    sys.exit(main())
