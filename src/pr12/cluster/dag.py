"""The jobs of a run, read from what `snakemake --dry-run` prints."""

import re
from dataclasses import dataclass
from pathlib import PurePath

from pr12.cluster.measured import Job
from pr12.shared.errors import UserError

RULE = re.compile(r"^(?P<indent> *)(?:local)?rule (?P<name>\w+):$")
GROUP = re.compile(r"Group job (\w+) \(")
FIELD = re.compile(r"^ +(input|output|threads|resources|priority): (.*)$")


@dataclass(frozen=True)
class Step:
    """One job of the workflow; without a group it runs on the submitting host."""

    rule: str
    group: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    threads: int
    memory_mb: int
    minutes: int
    gpus: int
    priority: int

    @property
    def job(self) -> Job:
        """Where its first output lies below ``build/<run>``: paper, case, step.

        The mark of evidence lies beside the result that it is of, and pages have no case.
        """
        first = PurePath(self.outputs[0])
        folders = first.parent.parts[2:]
        if folders[0] == "report":
            return Job(folders[1], "", "pages") if folders[1:] else Job("", "", "index")
        paper, *case, step = folders
        evidence = first.name == "evidence.json"
        return Job(paper, "/".join(case), "evidence" if evidence else step.partition(".")[0])


def parse(text: str) -> list[Step]:
    """Read the jobs of a dry run with ``--profile profiles/slurm``.

    Parameters
    ----------
    text : str
        All that Snakemake printed.

    Raises
    ------
    UserError
        If there is no job in it.

    Examples
    --------
    >>> step, = parse('''[..] Group job vae_nets_0 (jobs in lexicogr. order):
    ...
    ...     rule vae_train:
    ...         input: build/full/data/mnist/data.01/train.safetensors
    ...         output: build/full/vae/z2/train.ab/m.safetensors, build/full/vae/z2/train.ab/h.json
    ...         threads: 2
    ...         resources: tmpdir=/tmp, mem_mb=900, mem=900 MB, runtime=12, gpu=1
    ... ''')
    >>> step.group, step.job, step.threads, step.memory_mb, step.gpus
    ('vae_nets_0', Job(paper='vae', case='z2', step='train'), 2, 900, 1)
    """
    steps, group, rule, fields = [], None, None, {}

    def end() -> None:
        if rule is not None and "output" in fields:
            steps.append(_step(rule[0], rule[1], fields))

    for line in text.splitlines():
        if found := GROUP.search(line):
            end()
            group, rule, fields = found[1], None, {}
        elif found := RULE.match(line):
            end()
            if not found["indent"]:
                group = None
            rule, fields = (found["name"], group), {}
        elif rule and (found := FIELD.match(line)):
            fields[found[1]] = found[2]
    end()
    if not steps:
        raise UserError("the dry run has no job; snakemake --dry-run says why")
    return steps


def _step(rule: str, group: str | None, fields: dict[str, str]) -> Step:
    asked = dict(re.findall(r"(\w+)=([^,]+)", fields.get("resources", "")))

    def files(name: str) -> tuple[str, ...]:
        return tuple(filter(None, re.split(r", ", fields.get(name, ""))))

    return Step(
        rule,
        group,
        files("input"),
        files("output"),
        int(fields.get("threads", 1)),
        int(asked.get("mem_mb", 0)),
        int(asked.get("runtime", 0)),
        int(asked.get("gpu", 0)),
        int(fields.get("priority", 0)),
    )
