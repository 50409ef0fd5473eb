"""Copies of trained nets under lasting names: ``python -m pr12.report.lookup.nets PAPER FOLDER``.

A net lies in a folder whose name changes with params and code; `dvc artifacts get` needs a name
that stays. ``papers/<paper>/nets.yaml`` lists the nets that people may want.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pr12.workflow import files, results, settings, yaml_files
from pr12.workflow.errors import UserError
from pr12.workflow.graph import Job, reachable
from pr12.workflow.papers import Graphs

KEYS = ("name", "trained", "file", "about")


@dataclass(frozen=True)
class Net:
    """A net that people may want: its name, and the job that trains it."""

    name: str
    about: str
    job: Job
    output: str

    @property
    def path(self) -> Path:
        """Where its file lies after the run."""
        return Path(self.job[self.output].path)


def listed(root: Path, paper: str, run: str | None = None) -> list[Net]:
    """Return the nets of a paper; without a nets.yaml it has none.

    Parameters
    ----------
    root : Path
        The repository.
    paper : str
        Such as ``stn``.
    run : str, optional
        By default that of params.yaml.

    Raises
    ------
    UserError
        For an entry whose case has no such step, or a name that is given twice. One of a case that
        params.yaml has no more is left out, with a word.
    """
    config = yaml_files.load_mapping(root / "params.yaml") | ({"run": run} if run else {})
    if paper not in config["papers"]:
        raise UserError(f"{paper!r} is no paper; choose from {', '.join(config['papers'])}")
    graphs = Graphs(settings.resolve(config), config["papers"])
    place = root / "papers" / paper / "nets.yaml"
    jobs = {
        f"{Path(job.folder).parent.name}/{job.step.name}": job
        for job in reachable(graphs.results[paper].values()).values()
    }
    nets: dict[str, Net] = {}
    for index, entry in enumerate(yaml_files.load(place) if place.exists() else []):
        where = f"papers/{paper}/nets.yaml[{index}]"
        if not isinstance(entry, dict) or set(entry) != set(KEYS):
            raise UserError(f"{where} must be a mapping with the keys {', '.join(KEYS)}")
        case = str(entry["trained"]).partition("/")[0]
        if not any(place.startswith(f"{case}/") for place in jobs):
            print(f"{where}: the run {graphs.run} has no {case}", file=sys.stderr)
            continue
        job = jobs.get(entry["trained"])
        if job is None or entry["file"] not in job.outputs:
            raise UserError(
                f"{where} names {entry['trained']!r} and {entry['file']!r}, which no job of the "
                f"run {graphs.run} makes; write <case>/<step> and an output of the step"
            )
        if entry["name"] in nets:
            raise UserError(f"{where} has the name {entry['name']!r} of another net; change it")
        nets[entry["name"]] = Net(entry["name"], entry["about"], job, entry["file"])
    return list(nets.values())


def copy(nets: Sequence[Net], folder: Path) -> None:
    """Copy the nets as ``<name>.safetensors``, and remove what else lies in the folder.

    Parameters
    ----------
    nets : sequence of Net
        What `listed` returned.
    folder : Path
        Made if it is missing.

    Raises
    ------
    UserError
        If a net is not there or is damaged, with what to do.
    """
    for net in nets:
        if not net.path.exists():
            raise UserError(f"{net.path} is missing; run `snakemake --cores all` first")
    for error in (error for net in nets for error in results.damaged(net.path.parent)):
        raise UserError(error)
    folder.mkdir(parents=True, exist_ok=True)
    for net in nets:
        with files.atomic(folder / f"{net.name}.safetensors") as temporary:
            shutil.copyfile(net.path, temporary)
    for path in folder.iterdir():
        if path.name not in [f"{net.name}.safetensors" for net in nets]:
            path.unlink()


def main(arguments: Sequence[str]) -> int:
    """Copy a paper's nets of params.yaml's run; return the exit code."""
    try:
        if len(arguments) != 2:
            raise UserError("write a paper and a folder, such as stn build/embedded/nets/stn")
        copy(listed(Path(), arguments[0]), Path(arguments[1]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
