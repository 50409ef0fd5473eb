import hashlib
import json
import os

import pytest

from pr12.workflow import address

BASE = '''"""What it is for."""

import json
from toy.shared.tools import scale


def loss(x, power=2):
    """Return a loss."""
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
        ('    """Return a loss."""\n', ""),
        ('"""Return a loss."""', '"""Give a loss.\n\n    >>> 1\n    1\n    """'),
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
    result = address.source("toy.paper.train", tree)
    assert sorted(result) == [
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
    result = address.source("pr12.distill.train")
    assert {"pr12.distill.model.mlp", "pr12.distill.model.batches", "pr12.core.replicas"} <= set(
        result
    )
    assert not {"pr12.distill.evaluate", "pr12.distill.figures", "pr12.report.paper"} & set(result)


# --- the address of a command line: what re-addresses, and what does not ---

TRAIN = '''"""Training."""

from pr12.core import run
from pr12.workflow.errors import UserError
from pr12.vae import model
from pr12.vae.params import Train as Params
from pr12.workflow import files, step


def train(params, rows):
    """Return a net."""
    if not rows:  # nothing to learn from
        raise UserError(f"train has {len(rows)} rows of {params.width:>4d}; add " "some")
    return model.net(params.width, "relu") + run.K


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        files.write_json(job.paths["history"], train(job.params, "mean"))
'''

PROJECT = {
    "src/pr12/__init__.py": "",
    "src/pr12/workflow/__init__.py": '"""How steps run."""\n',
    "src/pr12/workflow/step.py": "def start():\n    return 1\n",
    "src/pr12/workflow/words/__init__.py": "HELP = 'help'\n",
    "src/pr12/core/__init__.py": "",
    "src/pr12/workflow/errors.py": "class UserError(Exception):\n    pass\n",
    "src/pr12/workflow/files.py": "from pr12.core import only\nINDENT = 1\n",
    "src/pr12/core/only.py": "X = 1\n",
    "src/pr12/core/run.py": "from pr12.workflow import files\nK = 3\n",
    "src/pr12/vae/__init__.py": "",
    "src/pr12/vae/graph.py": "from pr12.vae.params import Train\nPRIORITY = 1\n",
    "src/pr12/vae/params.py": "class Train:\n    width: int\n",
    "src/pr12/vae/model.py": "def net(width, kind):\n    return width + len(kind)\n",
    "src/pr12/vae/plots.py": "COLOUR = 'red'\n",
    "src/pr12/vae/train.py": TRAIN,
    "data/sources.csv": (
        "name,file,bytes,checksum\n"
        "mnist,images,10,md5:aa\n"
        "mnist,labels,5,md5:bb\n"
        "svhn,train.tar.gz,7,sha256:cc\n"
    ),
}
COMMAND = {
    "module": "pr12.vae.train",
    "params": {"width": 3, "seeds": [0, 1]},
    "outputs": {"model": "model.safetensors", "history": "history.json"},
    "inputs": {
        "train": "build/full/data/digits/data.0123456789/train.safetensors",
        "verified": "build/full/data/mnist/fetch.aaaaaaaaaa/verified.json",
        "folder": "data/raw/mnist",
        "test": "data/raw/svhn/train.tar.gz",
    },
}


@pytest.fixture
def project(tmp_path):
    for name, text in PROJECT.items():
        write(tmp_path, name, text)
    return tmp_path


def of(project, **changes):
    return address.of(**COMMAND | changes, src=project / "src")


TRAINING, TABLE = "src/pr12/vae/train.py", "data/sources.csv"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (TRAINING, '"relu"', '"tanh"'),
        (TRAINING, "not rows", "rows"),
        (TRAINING, "+ run.K", "- run.K"),
        (TRAINING, '"mean"', '"sum"'),
        (TRAINING, "raise UserError(", "print("),
        (TRAINING, "raise UserError(", "raise ValueError("),
        (TRAINING, "{len(rows)}", "{rows.pop()}"),  # has an effect
        (TRAINING, "params.width:>4d", "params.depth:>4d"),
        ("src/pr12/vae/model.py", "width + len", "width - len"),
        ("src/pr12/core/run.py", "K = 3", "K = 4"),
        ("src/pr12/vae/__init__.py", "", "K = 4"),
        (TABLE, "md5:bb", "md5:bd"),
        (TABLE, "mnist,labels", "mnist,names"),
        (TABLE, "sha256:cc", "sha256:cd"),
    ],
)
def test_edits_that_re_address(project, path, old, new):
    before = of(project)
    assert old in PROJECT[path]
    write(project, path, PROJECT[path].replace(old, new))
    assert of(project) != before


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (TRAINING, "# nothing to learn from", "# an empty file"),
        (TRAINING, "Return a net", "Give a net"),
        (TRAINING, "train has", "the training set has"),
        (TRAINING, "; add ", ""),
        (TRAINING, '" "some', ""),
        (TRAINING, ":>4d", ""),
        (TRAINING, "{params.width:>4d}", "{params.width!r}"),
        ("src/pr12/workflow/step.py", "return 1", "return 2"),
        ("src/pr12/workflow/step.py", "def start", "import json\ndef start"),
        ("src/pr12/workflow/words/__init__.py", "help", "usage"),
        ("src/pr12/workflow/__init__.py", "How", "So"),
        ("src/pr12/workflow/errors.py", "pass", "code = 2"),
        ("src/pr12/workflow/files.py", "INDENT = 1", "INDENT = 2"),
        ("src/pr12/core/only.py", "X = 1", "X = 2"),  # only plumbing imports it
        ("src/pr12/vae/graph.py", "PRIORITY = 1", "PRIORITY = 2"),
        ("src/pr12/vae/params.py", "width: int", "width: int = 3"),
        ("src/pr12/vae/plots.py", "red", "blue"),
        (TABLE, "mnist,images,10", "mnist,images,11"),
        (TABLE, "svhn,train.tar.gz", "cub,a.tgz,1,md5:ee\nsvhn,train.tar.gz"),
    ],
)
def test_edits_that_do_not(project, path, old, new):
    before = of(project)
    assert old in PROJECT[path]
    write(project, path, PROJECT[path].replace(old, new))
    assert of(project) == before


INPUTS = COMMAND["inputs"]


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {"width": 4, "seeds": [0, 1]}},
        {"params": {"width": 3.0, "seeds": [0, 1]}},
        {"params": {"width": 3, "seeds": [1, 0]}},
        {"params": {"width": 3}},
        {"module": "pr12.vae.model"},
        {"outputs": {"model": "history.json", "history": "model.safetensors"}},
        {"outputs": {"history": "model.safetensors", "model": "history.json"}},
        {"outputs": {"model": "model.safetensors"}},
        {"inputs": INPUTS | {"train": "build/full/data/digits/data.0123456780/train.safetensors"}},
        {"inputs": INPUTS | {"train": "build/full/data/digits/data.0123456789/test.safetensors"}},
        {"inputs": INPUTS | {"folder": "data/raw/svhn"}},
        {"inputs": INPUTS | {"verified": "build/full/data/svhn/fetch.aaaaaaaaaa/verified.json"}},
        {"inputs": INPUTS | {"test": "data/raw/mnist/images"}},
        {"inputs": INPUTS | {"validation": INPUTS["train"]}},
        {"inputs": {k: v for k, v in INPUTS.items() if k != "test"}},
    ],
)
def test_command_lines_that_re_address(project, changes):
    assert of(project, **changes) != of(project)


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {"seeds": (0, 1), "width": 3}},
        {"outputs": dict(reversed(COMMAND["outputs"].items()))},
        {"inputs": dict(reversed(INPUTS.items()))},
        # However the raw files came here
        {"inputs": INPUTS | {"verified": "build/full/data/mnist/fetch.bbbbbbbbbb/verified.json"}},
        {"inputs": INPUTS | {"folder": "data/raw/mnist/"}},
    ],
)
def test_command_lines_that_do_not(project, changes):
    assert of(project, **changes) == of(project)


def test_files_that_no_table_knows_count_by_their_paths(project):
    one, other = ({"inputs": {"weights": f"data/raw/own/{name}.pth"}} for name in "ab")
    assert of(project, **one) != of(project, **other)
    (project / TABLE).unlink()
    assert of(project, **one) != of(project, **other)
