"""How a result stands to today's code: the steps that made it, beside those that would make it now.

A chain is a list of nodes, those that are read before those that read them, the result's last. A
node is one addressed folder::

    {"folder": "build/full/vae/z2/train.0123456789", "step": "pr12.vae.train", "params": {...},
     "source": "abcdef0123", "reads": [folders], "raw": {file: checksum}}

The Snakefile writes today's nodes to ``build/<run>/report/<paper>/chains.<digest>/``; evidence
holds the nodes of the result that it was taken from.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pr12.workflow import address, files
from pr12.workflow.errors import UserError

Node = Mapping[str, Any]
STATES = ("current", "earlier source", "other params", "withdrawn")


class Standing(NamedTuple):
    """How a result stands to today's code, and what there is to say of it."""

    state: str  # one of `STATES`
    note: str | None

    @property
    def counts(self) -> bool:
        """Whether the numbers of the result may be judged."""
        return self.state in ("current", "earlier source")


def node(
    folder: str,
    module: str,
    source: str,
    params: Mapping[str, Any],
    inputs: Mapping[str, str | Mapping[str, str]],
) -> dict[str, Any]:
    """Return the node of a folder.

    Parameters
    ----------
    folder : str
        With its digest.
    module, source : str
        The step, and the digest of its source.
    params : mapping
        The step's.
    inputs : mapping
        What its address knows of what is read, by name on the command line: the path of a result's
        file, or the checksums of raw data by file.

    Examples
    --------
    >>> inputs = {"x": "build/full/b.2/x", "y": "build/full/b.2/y", "raw": {"t.csv": "sha256:9"}}
    >>> train = node("build/full/a.1", "pr12.a", "5", {}, inputs)
    >>> train["reads"], train["raw"]
    (['build/full/b.2'], {'t.csv': 'sha256:9'})
    """
    files_read = [read for read in inputs.values() if isinstance(read, str)]
    checksums = [read for read in inputs.values() if not isinstance(read, str)]
    return {
        "folder": folder,
        "step": module,
        "source": source,
        "params": dict(params),
        "reads": list(dict.fromkeys(path.rpartition("/")[0] for path in files_read)),
        "raw": {file: sums[file] for sums in checksums for file in sums},
    }


def collect(nodes: Mapping[str, Node], folder: str) -> list[Node]:
    """Return the chain of a folder out of all nodes of a run.

    Parameters
    ----------
    nodes : mapping
        Folder -> node.
    folder : str
        Where the chain ends.

    Examples
    --------
    >>> nodes = {"a": {"folder": "a", "reads": []}, "b": {"folder": "b", "reads": ["a"]}}
    >>> [node["folder"] for node in collect(nodes, "b")]
    ['a', 'b']
    """
    chain: dict[str, Node] = {}

    def visit(name: str) -> None:
        if name in chain:
            return
        for upstream in nodes[name]["reads"]:
            visit(upstream)
        chain[name] = nodes[name]

    visit(folder)
    return list(chain.values())


def read(path: Path) -> dict[str, Any]:
    """Read what the Snakefile wrote of a paper's graph today.

    That is ``cases`` in their order, ``nodes`` by folder, ``results``: case -> its folder or null
    where a raw file that its address needs is not there, and ``before`` (see `meaning`).

    Parameters
    ----------
    path : Path
        ``build/<run>/report/<paper>/chains.<digest>/chains.json``.

    Raises
    ------
    UserError
        If it is missing, damaged or something else.
    """
    found = files.read_json(path)
    parts = {"cases": list, "nodes": dict, "results": dict, "before": dict}
    if not isinstance(found, dict) or any(type(found.get(k)) is not v for k, v in parts.items()):
        raise UserError(f"{path} is no list of chains; delete it and run snakemake again")
    digest = re.fullmatch(r"chains\.([0-9a-f]{10})", path.parent.name)
    if digest and digest[1] != address.digest(found):
        raise UserError(f"{path} is not as it was written; delete it and run snakemake again")
    return found


def meaning(chain: Sequence[Node], before: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a digest of all that determines a result but the source of its steps.

    Parameters
    ----------
    chain : sequence of Node
        The result's last.
    before : mapping
        Step -> field -> the value that stands for what the step did before it had the field.

    Examples
    --------
    >>> old = {"folder": "a.1", "step": "s", "params": {"x": 1}, "source": "1", "reads": [],
    ...        "raw": {}}
    >>> new = old | {"folder": "a.2", "params": {"x": 1, "y": 0}, "source": "2"}
    >>> meaning([old], {"s": {"y": 0}}) == meaning([new], {"s": {"y": 0}})
    True
    >>> meaning([old], {}) == meaning([new], {})
    False
    """
    digests: dict[str, str] = {}
    for node in chain:
        params = {**before.get(node["step"], {}), **node["params"]}
        reads = sorted({digests[name] for name in node["reads"]})  # in whatever order
        digests[node["folder"]] = address.digest(node["step"], params, reads, node["raw"])
    return digests[chain[-1]["folder"]]


def standing(
    chain: Sequence[Node],
    today: Sequence[Node],
    before: Mapping[str, Mapping[str, Any]],
    withdrawn: str | None = None,
) -> Standing:
    """Compare the chain of a result with today's.

    Parameters
    ----------
    chain, today : sequence of Node
        Of the result, and as today's graph has it.
    before : mapping
        See `meaning`.
    withdrawn : str, optional
        Why the result counts no more.

    Examples
    --------
    >>> old = {"folder": "a.1", "step": "pr12.vae.train", "params": {"x": 1}, "source": "1",
    ...        "reads": [], "raw": {}}
    >>> standing([old], [old], {}).state
    'current'
    >>> standing([old], [old | {"folder": "a.2", "source": "2"}], {}).note
    'made by an earlier source of train (1)'
    >>> standing([old], [old | {"folder": "a.2", "params": {"x": 2}}], {}).note
    'train.x was 1, now 2'
    """
    if withdrawn is not None:
        return Standing("withdrawn", withdrawn)
    if chain[-1]["folder"] == today[-1]["folder"]:
        return Standing("current", None)
    if meaning(chain, before) != meaning(today, before):
        return Standing("other params", "; ".join(_differences(chain, today, before)))
    sources = {node["step"]: node["source"] for node in today}
    if all(node["source"] == sources[node["step"]] for node in chain):
        # A graph that exchanges inputs or outputs is no earlier source
        return Standing("other params", "its steps read or write other files now")
    earlier = {n["step"]: n["source"] for n in chain if n["source"] != sources[n["step"]]}
    steps = " and ".join(f"{_short(name)} ({source})" for name, source in sorted(earlier.items()))
    return Standing("earlier source", f"made by an earlier source of {steps}")


def _short(step: str) -> str:
    return step.rpartition(".")[2]


def _by_place(chain: Sequence[Node]) -> dict[str, Node]:
    """Key nodes by their folder without its digest."""
    return {node["folder"].rpartition(".")[0]: node for node in chain}


def _differences(
    chain: Sequence[Node], today: Sequence[Node], before: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what differs, one phrase each."""
    then, now = _by_place(chain), _by_place(today)
    alike = True
    for place in sorted(then.keys() & now.keys()):
        old, new = then[place], now[place]
        defaults = before.get(new["step"], {})
        params = [{**defaults, **node["params"]} for node in (old, new)]
        for key in sorted(params[0].keys() | params[1].keys()):
            values = [p.get(key, "absent") for p in params]
            if repr(values[0]) != repr(values[1]):  # 1, 1.0 and True are equal in Python
                alike = False
                yield f"{_short(new['step'])}.{key} was {values[0]}, now {values[1]}"
        if old["raw"] != new["raw"]:
            alike = False
            yield f"{_short(new['step'])} read other raw files"
    if alike:
        yield "other steps make it now"
