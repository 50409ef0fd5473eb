"""How a result stands to today's code: the steps that made it, beside those that would make it now.

A chain is a list of nodes, those that are read before those that read them, the result's last. A
node is one addressed folder::

    {"folder": "build/full/vae/z2/train.0123456789", "step": "pr12.vae.train", "params": {...},
     "source": "abcdef0123", "reads": {name: [folder, file]}, "raw": {file: checksum}}

``reads`` is by name on the command line. Evidence that was taken before names were noted (schema 2)
has a list of folders instead: of such a step it is not known which input was which.

The Snakefile writes today's nodes to ``build/<run>/report/<paper>/chains.<digest>/``; evidence
holds the nodes of the result that it was taken from.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
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
    ({'x': ['build/full/b.2', 'x'], 'y': ['build/full/b.2', 'y']}, {'t.csv': 'sha256:9'})
    """
    paths = {name: read for name, read in inputs.items() if isinstance(read, str)}
    checksums = [read for read in inputs.values() if not isinstance(read, str)]
    return {
        "folder": folder,
        "step": module,
        "source": source,
        "params": dict(params),
        "reads": {name: path.rsplit("/", 1) for name, path in paths.items()},
        "raw": {file: sums[file] for sums in checksums for file in sums},
    }


def folders_read(node: Node) -> list[str]:
    """Return the folders that a node reads from, each once.

    Parameters
    ----------
    node : Node
        Of today's graph or of evidence.

    Examples
    --------
    >>> folders_read({"reads": {"x": ["b.2", "x"], "y": ["b.2", "y"]}}), folders_read({"reads": []})
    (['b.2'], [])
    """
    reads = node["reads"]
    folders = [folder for folder, _ in reads.values()] if isinstance(reads, Mapping) else reads
    return list(dict.fromkeys(folders))


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
    >>> nodes = {"b": {"folder": "b", "reads": {"x": ["a", "x"]}}}
    >>> nodes["a"] = {"folder": "a", "reads": {}}
    >>> [node["folder"] for node in collect(nodes, "b")]
    ['a', 'b']
    """
    chain: dict[str, Node] = {}

    def visit(name: str) -> None:
        if name in chain:
            return
        for upstream in folders_read(nodes[name]):
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
    try:
        content = files.read_json(path)
    except RecursionError:
        content = None
    parts = {"cases": list, "nodes": dict, "results": dict, "before": dict}
    if not isinstance(content, dict) or any(
        type(content.get(k)) is not v for k, v in parts.items()
    ):
        raise UserError(f"{path} is no list of chains; delete it and run snakemake again")
    digest = re.fullmatch(r"chains\.([0-9a-f]{10})", path.parent.name)
    if digest and digest[1] != address.digest(content):
        raise UserError(f"{path} is not as it was written; delete it and run snakemake again")
    return content


def meaning(
    chain: Sequence[Node],
    before: Mapping[str, Mapping[str, Any]],
    unnamed: Container[str] = (),
) -> str:
    """Return a digest of all that determines a result but the source of its steps.

    Parameters
    ----------
    chain : sequence of Node
        The result's last.
    before : mapping
        Step -> field -> the value that stands for what the step did before it had the field.
    unnamed : container of str
        Folders without digests of steps of which only the folders that they read are compared.

    Examples
    --------
    >>> old = {"folder": "a.1", "step": "s", "params": {"x": 1}, "source": "1", "reads": {},
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
        reads: Any = node["reads"]
        if isinstance(reads, Mapping) and place(node) not in unnamed:
            reads = {name: [digests[folder], file] for name, (folder, file) in reads.items()}
        else:
            reads = sorted({digests[folder] for folder in folders_read(node)})  # in whatever order
        digests[node["folder"]] = address.digest(node["step"], params, reads, node["raw"])
    return digests[chain[-1]["folder"]]


def place(node: Node) -> str:
    """Return the folder of a node without its digest."""
    return node["folder"].rpartition(".")[0]


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
    ...        "reads": {}, "raw": {}}
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
    unnamed = {place(node) for node in (*chain, *today) if not isinstance(node["reads"], Mapping)}
    if meaning(chain, before, unnamed) != meaning(today, before, unnamed):
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
    return {place(node): node for node in chain}


def _differences(
    chain: Sequence[Node], today: Sequence[Node], before: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return what differs, one phrase each."""
    then, now = _by_place(chain), _by_place(today)
    phrases: list[str] = []
    for name in sorted(then.keys() & now.keys()):
        old, new = then[name], now[name]
        defaults = before.get(new["step"], {})
        params = [{**defaults, **node["params"]} for node in (old, new)]
        for key, values in _unequal(*params, "absent"):
            phrases.append(f"{_short(new['step'])}.{key} was {values[0]}, now {values[1]}")
        if old["raw"] != new["raw"]:
            phrases.append(f"{_short(new['step'])} read other raw files")
        reads = [_files(node) for node in (old, new) if isinstance(node["reads"], Mapping)]
        for key, (one, other) in _unequal(*reads, "nothing") if len(reads) == 2 else ():
            phrases.append(f"{_short(new['step'])} read {one} as {key}, now {other}")
    return phrases or ["other steps make it now"]


def _unequal(
    old: Mapping[str, Any], new: Mapping[str, Any], absent: str
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield each key of unlike values, and both of them."""
    for key in sorted(old.keys() | new.keys()):
        values = old.get(key, absent), new.get(key, absent)
        if repr(values[0]) != repr(values[1]):  # 1, 1.0 and True are equal in Python
            yield key, values


def _files(node: Node) -> dict[str, str]:
    """Return name -> which file of which case and step was read, such as ``z2/train/model.pt``."""
    return {
        name: "/".join([*folder.rpartition(".")[0].split("/")[-2:], file])
        for name, (folder, file) in node["reads"].items()
    }
