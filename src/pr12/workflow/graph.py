"""The step graph of a paper: what each step reads and makes, and what its jobs ask for.

A step is a function from a job to the files that the job reads. Nothing else is declared: address,
command, Snakemake's rules, groups of a cluster, plan and pruning follow from it. A paper is bound
to the params of one run at a time.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any, NamedTuple

from pr12.workflow import address, settings
from pr12.workflow.errors import UserError

DEFAULTS = {"threads": 1, "memory": 2000, "minutes": 10, "gpu": False, "priority": 0, "group": None}


class Group(NamedTuple):
    """Jobs that share jobs of a cluster, see `pr12.cluster.requests`.

    Of the kind "one" all jobs of a group do, of "cases" those of short cases, of "chain" all if the
    steps, whose cases wait for one another, are short together.
    """

    name: str
    kind: str = "one"
    apart: Mapping[str, str] = {}  # case -> the group that it is in instead


@dataclass(frozen=True)
class File:
    """One file that a job makes."""

    job: "Job"
    name: str

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{self.job.folder}/{self.name}"

    @property
    def waits_for(self) -> "File":
        """The file that must be there before it can be read: itself."""
        return self


@dataclass(frozen=True)
class Raw:
    """Published files, known by their checksums in data/sources.csv however they were fetched."""

    path: str
    checksums: Mapping[str, str] = field(default_factory=dict)  # by file
    waits_for: File | None = None  # the record of the job that fetches them


@dataclass(frozen=True, eq=False)
class Step:
    """A command of a paper, ``python -m pr12.<paper>.<name>``, and what its jobs ask for."""

    paper: "Paper"
    name: str
    makes: Mapping[str, str]  # name on the command line -> file
    reads: Callable[["Job"], Mapping[str, File | Raw]]
    rule: str  # its name in Snakemake
    place: str  # in place of a case, for a step that runs once for all cases
    params: Callable[["Job"], Mapping[str, Any]] | None  # in place of the case's
    adds: Callable[["Job"], Mapping[str, Any]] | None  # to the case's, from other steps'
    overrides_of: tuple[str, ...]  # steps of cases whose overrides are for this step too
    local: bool | None  # on the submitting host: always, never, or (None) where it is quick
    environment: str  # before the command
    asks: Mapping[str, Any]  # of `DEFAULTS`: a value, a pair (ordinary, full run), or of a job

    def __call__(self, case: str = "", params_of: str | None = None) -> "Job":
        """Return the job of a case; `params_of` is the case whose params apply, if another."""
        if self.place:
            return self.paper.job(self, self.place, None)
        return self.paper.job(self, case, params_of or case)

    @property
    def module(self) -> str:
        """What runs."""
        return f"pr12.{self.paper.home}.{self.name}"


@dataclass(frozen=True, eq=False)
class Job:
    """One step for one case, or once for all of them."""

    step: Step
    case: str
    params_of: str | None

    def __getitem__(self, name: str) -> File:
        return File(self, self.outputs[name])

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """Name on the command line -> file in the folder."""
        return {name: file.format(case=self.case) for name, file in self.step.makes.items()}

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """What the command line's ``--params`` holds."""
        if self.step.params:
            return self.step.params(self)
        params = self.step.paper.params(self.step.name, self.params_of)
        added = self.step.adds(self) if self.step.adds else {}
        for key in added:
            if params[key]:
                place = self.step.paper.place(self.step.name, key, self.params_of)
                raise UserError(
                    f"{place} is {params[key]!r}; leave it empty: the graph fills it in"
                )
        return {**params, **added}

    @cached_property
    def inputs(self) -> Mapping[str, File | Raw]:
        """What is read, by name on the command line."""
        return self.step.reads(self)

    @property
    def identities(self) -> dict[str, str | Mapping[str, str]]:
        """What the address knows of what is read: paths of results, checksums of raw data."""
        return {
            name: read.checksums if isinstance(read, Raw) else read.path
            for name, read in self.inputs.items()
        }

    @cached_property
    def waits_for(self) -> list[File]:
        """Files that must be there before."""
        return list(dict.fromkeys(i.waits_for for i in self.inputs.values() if i.waits_for))

    @cached_property
    def folder(self) -> str:
        """The address: it ends with the digest of all that determines the results."""
        paths = {name: read.path for name, read in self.inputs.items()}
        digest = address.of(self.step.module, self.params, self.outputs, paths)
        return f"{self.step.paper.build}/{self.case}/{self.step.name}.{digest}"

    @property
    def command(self) -> str:
        """What a shell runs."""
        paths = {name: read.path for name, read in self.inputs.items()}
        paths |= {name: f"{self.folder}/{file}" for name, file in self.outputs.items()}
        before = f"{self.step.environment} " if self.step.environment else ""
        return before + command(self.step.module, self.params, paths)

    def ask(self, name: str) -> Any:
        """Return what the job asks for, such as ``memory`` in MiB, ``minutes`` or ``priority``."""
        value = self.step.asks.get(name, DEFAULTS[name])
        if isinstance(value, tuple) and not isinstance(value, Group):
            return value[self.step.paper.run == "full"]
        return value(self) if callable(value) else value


@dataclass(eq=False)
class Paper:
    """All steps of a paper; `bind` gives it the params of a run."""

    name: str
    home: str = ""  # the package of its steps, if not of the same name
    section: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    steps: dict[str, Step] = field(default_factory=dict)
    _jobs: dict[tuple[Any, ...], Job] = field(default_factory=dict)
    _result: Callable[[str, str], Job] | None = None
    _can_run: Callable[[str], bool] | None = None
    _constraint: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.home = self.home or self.name

    @property
    def build(self) -> str:
        """Folder of all results."""
        return f"build/{self.run}/{self.name}"

    def bind(self, section: Mapping[str, Any], run: str) -> None:
        """Take the params of a run; jobs of an earlier run are forgotten."""
        self.section, self.run = section, run
        self._jobs.clear()

    def step(
        self,
        *,
        makes: Mapping[str, str],
        rule: str = "",
        place: str = "",
        params: Callable[[Job], Mapping[str, Any]] | None = None,
        adds: Callable[[Job], Mapping[str, Any]] | None = None,
        overrides_of: tuple[str, ...] = (),
        local: bool | None = False,
        environment: str = "",
        **asks: Any,
    ) -> Callable[[Callable[[Job], Mapping[str, File | Raw]]], Step]:
        """Declare a step: the function of that name returns what a job reads."""

        def declare(reads: Callable[[Job], Mapping[str, File | Raw]]) -> Step:
            name = reads.__name__
            self.steps[name] = Step(
                paper=self,
                name=name,
                makes=makes,
                reads=reads,
                rule=f"{self.name}_{rule or name}",
                place=place,
                params=params,
                adds=adds,
                overrides_of=overrides_of,
                local=local,
                environment=environment,
                asks=asks,
            )
            return self.steps[name]

        return declare

    def result(self, find: Callable[[str, str], Job]) -> Callable[[str, str], Job]:
        """Declare whose metrics are those of a case: the function is given case and step."""
        self._result = find
        return find

    def can_run(self, test: Callable[[str], bool]) -> Callable[[str], bool]:
        """Declare which cases can run in this run."""
        self._can_run = test
        return test

    def constraint(self, check: Callable[[], None]) -> Callable[[], None]:
        """Declare what refuses params of one step that those of another make impossible."""
        self._constraint = check
        return check

    def check(self) -> None:
        """Refuse params that contradict those of another step."""
        if self._constraint:
            self._constraint()

    def at_most(self, step: str, key: str, most: int, of: str, case: str | None = None) -> None:
        """Refuse a number above what another step makes; null asks for all of it."""
        value = self.params(step, case)[key]
        if value is not None and value > most:
            raise UserError(
                f"{self.place(step, key, case)} is {value}; it must be at most {most}, as many as "
                f"{of} has"
            )

    def place(self, step: str, key: str, case: str | None = None) -> str:
        """Return the path of a param in params.yaml."""
        overridden = case is not None and key in self.section["cases"][case]
        return f"{self.name}.cases.{case}.{key}" if overridden else f"{self.name}.{step}.{key}"

    def cases_of(self, *steps: str) -> list[str]:
        """Return the cases that name one of some steps."""
        cases = self.section["cases"]
        return [case for case in cases if settings.case_step(self.section, case) in steps]

    def job(self, step: Step, case: str, params_of: str | None) -> Job:
        """Return a job, the same object whenever it is asked for."""
        return self._jobs.setdefault((step, case, params_of), Job(step, case, params_of))

    def steps_of_case(self, step: str) -> list[str]:
        """Return the steps that overrides of a case are for: its step, and what follows that."""
        return [step, *(n for n, each in self.steps.items() if step in each.overrides_of)]

    def case_steps(self) -> list[str]:
        """Return the steps that a case may name: they run once a case, with its params."""
        return [
            name
            for name, step in self.steps.items()
            if not (
                step.overrides_of or step.params or (step.place and "metrics" not in step.makes)
            )
        ]

    def params(self, step: str, case: str | None = None) -> Mapping[str, Any]:
        """Return the params of a step, of a case or of the paper as a whole."""
        return settings.step_params(self.name, self.section, step, case)

    def case_params(self, case: str) -> Mapping[str, Any]:
        """Return the params of the step that a case names."""
        return self.params(settings.case_step(self.section, case), case)

    def results(self) -> dict[str, Job]:
        """Return case -> the job of its metrics, of all cases that can run in this run."""
        cases = [case for case in self.section["cases"] if not self._can_run or self._can_run(case)]
        jobs = {}
        for case in cases:
            step = settings.case_step(self.section, case)
            jobs[case] = self._result(case, step) if self._result else self.steps[step](case)
        return jobs


def command(module: str, params: Mapping[str, Any], paths: Mapping[str, str]) -> str:
    r"""Return what a shell runs for a step.

    Parameters
    ----------
    module : str
        What runs.
    params : mapping
        What ``--params`` holds.
    paths : mapping of str to str
        Name -> path.

    Examples
    --------
    >>> command("pr12.a", {"x": 2}, {"model": "m.json"})
    'python -m pr12.a --params \'{"x": 2}\' model=m.json'
    """
    values = shlex.quote(json.dumps(params, ensure_ascii=False))
    return " ".join(
        ["python -m", module, "--params", values]
        + [shlex.quote(f"{name}={path}") for name, path in paths.items()]
    )


def reachable(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return folder -> job of jobs and all that they wait for, what is read before who reads it."""
    known: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.folder not in known:
            for file in job.waits_for:
                visit(file.job)
            known[job.folder] = job

    for job in jobs:
        visit(job)
    return known


def look_up(jobs: Mapping[str, Job], folder: str) -> Job:
    """Return the job of a folder.

    Parameters
    ----------
    jobs : mapping
        What `reachable` returned.
    folder : str
        With its digest.

    Raises
    ------
    UserError
        If today's code and params make no such folder.

    Examples
    --------
    >>> look_up({}, "build/smoke/vae/z2/train.0123456789")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: build/smoke/vae/z2/train.0123456789 is not what today's code \
and params make; there is no train of z2
    """
    if folder in jobs:
        return jobs[folder]
    path = PurePath(folder)
    today = [name for name in jobs if name.rpartition(".")[0] == folder.rpartition(".")[0]]
    instead = f"that is {today[0]}" if today else f"there is no {path.stem} of {path.parent.name}"
    raise UserError(f"{folder} is not what today's code and params make; {instead}")
