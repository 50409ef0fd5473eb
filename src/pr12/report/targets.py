"""What Snakemake makes of results: evidence of today's cases, and pages of what evidence there is.

Nothing here runs anything: these are the paths and commands of rules/report.smk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pr12.report import chain, claims, evidence, figure_list, freshness, rows, tables
from pr12.workflow import address, files, results, settings
from pr12.workflow.errors import UserError
from pr12.workflow.graph import Job, command, reachable
from pr12.workflow.papers import Graphs


@dataclass(frozen=True, eq=False)
class Targets:
    """Evidence and pages of a run.

    Parameters
    ----------
    graphs : Graphs
        Bound to the run.
    params : mapping
        The run's params, as `pr12.workflow.settings.resolve` returned them.
    texts : mapping
        Paper -> what `pr12.workflow.settings.paper` returned.
    root : Path
        Where the code lies; results and reports lie below the working folder.
    """

    graphs: Graphs
    params: Mapping[str, Any]
    texts: Mapping[str, Mapping[str, Any]]
    root: Path

    def __post_init__(self) -> None:
        """Check claims and tables before a job starts, not after the last has ended."""
        for paper, texts in self.texts.items():
            cases = list(self.params[paper]["cases"])
            claims.check(texts["claims"], cases, f"papers/{paper}/claims.yaml")
            for index, table in enumerate(texts["tables"]):
                tables.check(table, cases, f"papers/{paper}/tables.yaml[{index}]")
            withdrawn = {entry["case"]: entry["reason"] for entry in texts["withdrawn"]}
            rows.check_withdrawn(withdrawn, cases)

    @property
    def build(self) -> str:
        """Folder of all results."""
        return f"build/{self.graphs.run}"

    def public(self, paper: str) -> str:
        """Return the folder in git of a paper's evidence and pages."""
        return f"reports/{self.graphs.run}/{paper}"

    # Evidence: one job a case, whose mark beside the result is a copy of evidence.json.

    @cached_property
    def cases(self) -> dict[str, tuple[str, str]]:
        """Folder of a result -> its paper and case; no two cases have the same."""
        known: dict[str, tuple[str, str]] = {}
        for paper, by_case in self.graphs.results.items():
            for case, job in by_case.items():
                if job.folder in known:
                    other = known[job.folder][1]
                    raise UserError(
                        f"{paper}: the cases {other} and {case} are one result; keep one"
                    )
                known[job.folder] = paper, case
        return known

    def evidence_files(self, folder: str) -> dict[str, str]:
        """Return what a case's evidence is made from: metrics, and the picture if there is one."""
        job = self.graphs.job(folder)
        return {name: job[name].path for name in ("metrics", "picture") if name in job.outputs}

    def evidence_command(self, folder: str) -> str:
        """Return what copies a case's evidence, and its times, which are this machine's."""
        paper, case = self._case(folder)
        paths = self.evidence_files(folder) | {
            "chains": self.chains(paper)[0],
            "out": f"{self.public(paper)}/evidence/{case}",
            "timings": f"{self.build}/timings/{paper}/{case}.json",
            "mark": f"{folder}/{evidence.NAME}",
        }
        params = {"run": self.graphs.run, "paper": paper, "case": case}
        return command("pr12.report.evidence", params, paths)

    def published(self, folder: str) -> bool:
        """Tell whether reports/ holds the evidence of a result."""
        paper, case = self._case(folder)
        read = [Path(file) for file in self.evidence_files(folder).values()]
        mark = Path(folder, evidence.NAME)
        return evidence.published(mark, Path(self.public(paper), "evidence", case), read)

    def folders(self, paper: str) -> list[str]:
        """Return the folders of a paper's results."""
        return [job.folder for job in self.graphs.results[paper].values()]

    def files(self, paper: str) -> list[str]:
        """Return all files behind a paper's results, also those of steps in between."""
        jobs = reachable(self.graphs.results[paper].values()).values()
        return [job[name].path for job in jobs for name in job.outputs]

    def _case(self, folder: str) -> tuple[str, str]:
        if folder not in self.cases:
            raise UserError(f"{folder} is no case's result, so it has no {evidence.NAME}")
        return self.cases[folder]

    # Chains: how today's graph makes each case, for whoever compares evidence with it.

    @cache  # noqa: B019 - there is one for as long as Snakemake runs
    def chains(self, paper: str) -> tuple[str, dict[str, Any]]:
        """Return the file of a paper's chains and its content."""
        results = self.graphs.results[paper]
        nodes = {job.folder: node_of(job) for job in reachable(results.values()).values()}
        today: dict[str, chain.Node] = {}
        for job in results.values():
            today |= {node["folder"]: node for node in chain.collect(nodes, job.folder)}
        steps = {node["step"] for node in today.values()}
        content = {
            # JSON is written with sorted keys: the order stands apart
            "cases": list(self.params[paper]["cases"]),
            "nodes": today,
            "results": {
                case: results[case].folder if case in results else None
                for case in self.params[paper]["cases"]
            },
            "before": {step: settings.before(step) for step in steps},
        }
        folder = f"{self.build}/report/{paper}/chains.{address.digest(content)}"
        return f"{folder}/chains.json", content

    @cached_property
    def current(self) -> list[str]:
        """Every folder that today's params and code address: what pruning leaves."""
        chains = [str(Path(self.chains(paper)[0]).parent) for paper in self.graphs.papers]
        return sorted([*self.graphs.jobs, *chains])

    @property
    def prune_command(self) -> str:
        """What removes all other results."""
        return command("pr12.workflow.prune", {"keep": self.current}, {"folder": self.build})

    # Pages: figures and report of a paper in one job, written again when what they show changed.

    def figures_params(self, paper: str) -> dict[str, Any]:
        """Return the paper's block, the run, and what others published: of claims, and context."""
        published: dict[str, dict[str, Any]] = {}
        for claim in self.texts[paper]["claims"]:
            if "published" in claim and "case" in claim:
                published.setdefault(claim["case"], {})[claim["metric"]] = claim["published"]
        block = dict(self.params[paper].get("figures") or {})
        context = self.texts[paper].get("context")
        block |= {"context": context} if context else {}
        return block | {"run": self.graphs.run, "published": published}

    @cache  # noqa: B019
    def planned(self, paper: str) -> str:
        """Return a digest of the params that pages show, and of today's graph."""
        return address.digest(self.figures_params(paper), self.chains(paper)[0])

    @cache  # noqa: B019
    def fixed(self, paper: str) -> str:
        """Return a digest of all that pages show but evidence, as the stamp of a page holds it."""
        lock = (self.root / "requirements.lock").read_text(encoding="utf-8")
        return address.digest(
            self.planned(paper), freshness.of_paper(paper, Path("papers", paper)), lock
        )

    def page_commands(self, paper: str) -> tuple[str, str, str]:
        """Return what draws a paper's figures, writes its report, and updates the README."""
        public, out = self.public(paper), f"{self.build}/report/{paper}"
        read = {
            "evidence": f"{public}/evidence",
            "chains": self.chains(paper)[0],
            "texts": f"papers/{paper}",
        }
        drawn = {"committed": f"{public}/figures", "out": f"{out}/figures"}
        written = {"figures": f"{out}/figures", "lock": "requirements.lock"}
        written |= {"out": out, "public": public}
        params = {"run": self.graphs.run, "paper": paper, "planned": self.planned(paper)}
        return (
            command(f"pr12.{paper}.figures", self.figures_params(paper), read | drawn),
            command("pr12.report.paper", params, read | written),
            "python -m pr12.report.readme reports=reports texts=papers readme=README.md",
        )

    @cache  # noqa: B019
    def awaited(self, paper: str, scope: str) -> bool:
        """Tell whether pages are still to be written: reports/ holds others.

        Their `scope` is "all" after evidence of all cases was made, "there" without making any.
        """
        stamp = Path(self.build, "report", paper, "stamp.json")
        known = freshness.known(stamp, self.fixed(paper), Path(self.public(paper)))
        return not known or (scope == "all" and self._to_come(paper))

    def written(self, paper: str) -> list[str]:
        """Return the mark of a paper's pages, for Snakemake's own ``--report``.

        Raises
        ------
        UserError
            If a run has not made all results, or this folder's Snakemake not the pages of them.
        """
        results.check_complete(self.files(paper))
        marks = [f"{self.build}/report/{paper}/{scope}.done" for scope in ("all", "there")]
        there = [mark for mark in marks if Path(mark).exists()]
        if not there or self.awaited(paper, "all"):
            raise UserError(
                "snakemake --report shows pages that Snakemake wrote in this folder, and it has "
                f"not written today's of {paper}; run `rm -f {self.build}/report/*/stamp.json` and "
                "`snakemake --cores all` first, which trains nothing where all results are there"
            )
        return there[:1]

    def shown(self, paper: str) -> dict[str, str]:
        """Return what Snakemake's own report shows of a paper: name -> what it says."""
        listed = Path(self.build, "report", paper, "figures", figure_list.LIST)
        figures = files.read_json(listed) if listed.exists() else []
        captions = {entry["file"]: f"{entry['title']}. {entry['caption']}" for entry in figures}
        return {"claims": "Each claim beside what this run measured, and its verdict."} | captions

    def _to_come(self, paper: str) -> bool:
        """Tell whether evidence of a paper is made by this run."""
        names = (evidence.NAME, "metrics.json")
        folders = self.folders(paper)
        return any(not Path(folder, name).exists() for folder in folders for name in names)

    @property
    def index_command(self) -> str:
        """What writes the page over all papers."""
        papers = list(self.graphs.papers)
        params = {"run": self.graphs.run, "papers": papers}
        paths = {paper: f"{self.build}/report/{paper}" for paper in papers} | {
            "timings": f"{self.build}/timings",
            "texts": "papers",
            "out": f"reports/{self.graphs.run}/index.html",
            "stamp": f"{self.build}/report/stamp.json",
        }
        return command("pr12.report.index", params, paths)

    def index_awaited(self, scope: str, missing: bool) -> bool:
        """Tell whether the page over all papers is to be written.

        It is in neither git nor DVC: that a clone lacks it is no reason to run, unless `missing`.
        """
        papers = list(self.graphs.papers)
        page = Path("reports", self.graphs.run, "index.html")
        if any(self.awaited(paper, scope) for paper in papers):
            return True
        if not page.exists() and not missing:
            return False
        stamps = [Path(self.build, "report", paper, "stamp.json") for paper in papers]
        shown = [page, *stamps, Path(self.build, "timings")]
        stamp = Path(self.build, "report", "stamp.json")
        return not freshness.known(stamp, freshness.of_index(papers), *shown)


def node_of(job: Job) -> dict[str, Any]:
    """Return the node of a job, see `pr12.report.chain`."""
    module = job.step.module
    source = address.source_digest(module, address.SRC)
    return chain.node(job.folder, module, source, job.params, job.identities)
