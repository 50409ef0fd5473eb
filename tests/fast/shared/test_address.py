import hashlib
import json
import os

import pytest

from pr12.shared import address

BASE = '''"""What it is for."""

import json
from toy.shared.tools import scale


def loss(x, power=2):
    """Give a loss."""
    # the paper's
    return scale(x) ** power + len("text")
'''

FILES = {
    "toy/__init__.py": "",
    "toy/shared/__init__.py": "",
    "toy/shared/tools.py": "from . import deep\n\n\ndef scale(x):\n    return deep.K * x\n",
    "toy/shared/deep.py": "K = 3\n",
    "toy/shared/other.py": "X = 1\n",
    "toy/paper/__init__.py": "",
    "toy/paper/train.py": BASE,
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        write(tmp_path, name, text)
    return tmp_path


def write(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    write.clock += 1_000_000_000  # edits within one tick of the file system's clock are edits too
    os.utime(path, ns=(write.clock, write.clock))


write.clock = 1_600_000_000_000_000_000


def digest(tree):
    return address.source_digest("toy.paper.train", tree)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# the paper's", "# Hinton's, Sec. 3"),
        ("    # the paper's\n", ""),
        ('"""What it is for."""', '"""Something else."""'),
        ('    """Give a loss."""\n', ""),
        ('"""Give a loss."""', '"""Give a loss.\n\n    >>> 1\n    1\n    """'),
        ("\n\n\ndef", "\n\n\n\n\n\ndef"),
        ("x, power=2", "x,\n    power=2,\n"),
        ("scale(x) ** power", "(scale(x))**power"),
        ('"text"', "'text'"),
        ("    return", "    return\\\n       "),
    ],
)
def test_prose_and_layout_do_not_retrain(tree, old, new):
    before = digest(tree)
    assert old in BASE
    write(tree, "toy/paper/train.py", BASE.replace(old, new))
    assert digest(tree) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("power=2", "power=3"),
        ("power=2", "power=2.0"),
        ("power=2", "power=True"),
        ("power=2", "power=None"),
        ("power=2", "power"),
        ("power=2", "*, power=2"),
        ("x, power", "y, power"),
        ("** power", "* power"),
        ("+ len", "- len"),
        ('"text"', '"Text"'),
        ('"text"', 'b"text"'),
        ("def loss", "async def loss"),
        ("def loss", "@print\ndef loss"),
        ("(x) ** power", "(x ** power)"),
        ("import json\n", ""),
        ("import scale", "import scale as scale, deep"),
    ],
)
def test_what_a_program_does_retrains(tree, old, new):
    before = digest(tree)
    assert old in BASE
    write(tree, "toy/paper/train.py", BASE.replace(old, new))
    assert digest(tree) != before


def test_order_of_statements_and_of_arguments_counts(tree):
    seen = set()
    for body in ("a = 1\nb = 2\n", "b = 2\na = 1\n", "a = f(1, 2)\n", "a = f(2, 1)\n", "a = -1\n"):
        write(tree, "toy/paper/train.py", body)
        seen.add(digest(tree))
    for body in ("a = [1, 2]\n", "a = (1, 2)\n", "a = {1, 2}\n", "a = {1: 2}\n", "a = []\n"):
        write(tree, "toy/paper/train.py", body)
        seen.add(digest(tree))
    assert len(seen) == 10


@pytest.mark.parametrize(
    "statement",
    [
        "import toy.shared.deep",
        "import toy.shared.deep as d",
        "from toy.shared import deep",
        "from toy.shared import deep as d",
        "from toy.shared.deep import K",
        "from toy.shared.deep import *",
        "from ..shared import deep",
        "from ..shared.deep import K",
        "from .. import shared\nfrom ..shared import deep",
        "import os, toy.shared.deep",
        "def late():\n    from toy.shared import deep",
        "try:\n    import toy.shared.deep\nexcept ImportError:\n    pass",
        "from .near import K",
        "from . import near",
        "from toy.shared.tools import scale",  # which imports it, relatively
    ],
)
def test_every_form_of_import_is_followed(tree, statement):
    write(tree, "toy/paper/near.py", "from toy.shared.deep import K\n")
    write(tree, "toy/paper/train.py", statement + "\n")
    before = digest(tree)
    assert "toy.shared.deep" in address.source("toy.paper.train", tree)
    write(tree, "toy/shared/other.py", "X = 2\n")  # nobody imports it
    assert digest(tree) == before
    write(tree, "toy/shared/deep.py", "K = 3  # a comment\n")
    assert digest(tree) == before
    write(tree, "toy/shared/deep.py", "K = 4\n")
    assert digest(tree) != before


def test_packages_along_the_way_count_and_their_imports_too(tree):
    before = digest(tree)
    write(tree, "toy/shared/__init__.py", "from .other import X\n")
    after = digest(tree)
    assert after != before
    write(tree, "toy/shared/other.py", "X = 2\n")
    assert digest(tree) != after


def test_a_module_that_moves_is_another_and_circles_end(tree):
    write(tree, "toy/shared/deep.py", "from toy.shared import tools\nK = 3\n")
    found = address.source("toy.paper.train", tree)
    assert sorted(found) == [
        "toy",
        "toy.paper",
        "toy.paper.train",
        "toy.shared",
        "toy.shared.deep",
        "toy.shared.tools",
    ]
    with pytest.raises(FileNotFoundError, match=r"no module toy\.paper\.nothing"):
        address.source_digest("toy.paper.nothing", tree)


def test_a_change_set_back_finds_the_old_address(tree):
    before = digest(tree)
    write(tree, "toy/shared/deep.py", "K = 4\n")
    assert digest(tree) != before
    write(tree, "toy/shared/deep.py", "K = 3\n")
    assert digest(tree) == before


def test_digest_is_that_of_sorted_json():
    parts = ({"b": [1, 2.5], "a": None}, "upstream")
    text = json.dumps(list(parts), sort_keys=True)
    assert address.digest(*parts) == hashlib.sha256(text.encode()).hexdigest()[:10]
    assert address.digest({"a": 1}) != address.digest({"a": 1.0})
    assert address.digest("a", "b") != address.digest("b", "a")
    assert address.digest(["a", "b"]) != address.digest("a", "b")


def test_the_training_depends_on_its_nets_and_not_on_its_report():
    found = address.source("pr12.distill.train")
    assert {"pr12.distill.mlp", "pr12.distill.batches", "pr12.shared.replicas"} <= set(found)
    assert not {"pr12.distill.evaluate", "pr12.distill.figures", "pr12.shared.report"} & set(found)
