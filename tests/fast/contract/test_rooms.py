"""Rooms are contracts: what import-linter cannot say of folders stands here."""

import ast
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[3] / "src"
PACKAGES = [path for path in sorted((SRC / "pr12").rglob("*")) if any(path.glob("*.py"))]
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SRC / "pr12").rglob("*.py"))
}


def is_command(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
    return "__name__ == '__main__'" in tests


COMMANDS = {name for name, path in MODULES.items() if is_command(path)}


@cache
def imports(path):
    """Return all project modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & MODULES.keys()


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_folder_is_crowded(folder):
    assert len(list(folder.glob("*.py"))) <= 20 + 1  # and __init__.py


def test_a_papers_folder_lists_what_can_be_run():
    for graph in sorted((SRC / "pr12").glob("*/graph.py")):
        package = f"pr12.{graph.parent.name}"
        if package in ("pr12.workflow", "pr12.data"):
            continue
        modules = {
            name for name in MODULES if name.rpartition(".")[0] == package and not is_room(name)
        }
        assert modules - COMMANDS == {f"{package}.graph", f"{package}.params"}
    assert len(COMMANDS) > 50


def is_room(name):
    return MODULES[name].name == "__init__.py"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_nothing_imports_a_command(name):
    """An edit of a command, such as a plot's, would re-address what another one made."""
    importers = [other for other, path in MODULES.items() if name in imports(path)]
    assert not [
        other for other in importers if other.split(".")[1] not in ("report", "cluster", "cli")
    ]
