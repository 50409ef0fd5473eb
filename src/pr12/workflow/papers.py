"""The graphs of all papers, bound to the params of one run."""

import importlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pr12.workflow import graph
from pr12.workflow.graph import Job, Paper, Step

DATA = "pr12.data.graph"


class Graphs:
    """Graphs of data and papers for one run; a process binds one run at a time.

    Parameters
    ----------
    params : mapping
        What `pr12.workflow.settings.resolve` returned.
    papers : sequence of str
        Short names; each has a module ``pr12.<paper>.graph`` with a `Paper` of that name.
    """

    def __init__(self, params: Mapping[str, Any], papers: Sequence[str]) -> None:
        self.run = params["run"]
        self._data = importlib.import_module(DATA)
        self._data.data_sets.bind(params["data"], self.run)
        self.papers: dict[str, Paper] = {}
        for name in papers:
            self.papers[name] = getattr(importlib.import_module(f"pr12.{name}.graph"), name)
            self.papers[name].bind(params[name], self.run)
        for paper in self.papers.values():
            paper.check()

    @cached_property
    def results(self) -> dict[str, dict[str, Job]]:
        """Paper -> case -> the job of its metrics."""
        return {name: paper.results() for name, paper in self.papers.items()}

    @cached_property
    def arrays(self) -> list[Job]:
        """The jobs that make the arrays of papers' data sets."""
        sections = [paper.section for paper in self.papers.values()]
        names = dict.fromkeys(s["dataset"] for s in sections if "dataset" in s)
        return [self._data.arrays(name) for name in names]

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """Folder -> job of all that this run makes."""
        results = [job for cases in self.results.values() for job in cases.values()]
        return graph.reachable([*self.arrays, *results])

    @property
    def steps(self) -> list[Step]:
        """All steps that there are."""
        papers = [self._data.data_sets, *self.papers.values()]
        return [step for paper in papers for step in paper.steps.values()]

    def job(self, folder: str) -> Job:
        """Return the job of a folder; an unknown one is refused."""
        return graph.look_up(self.jobs, folder)
