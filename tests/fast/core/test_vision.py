import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[3] / "src"


def python(code: str) -> str:
    """Run code in a fresh interpreter: an import cannot be undone in this one."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Says whether torchvision::nms exists, and whether it can compute.
NMS = """
def nms():
    import torch
    try:
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
        kept = torch.ops.torchvision.nms(boxes, torch.tensor([0.5, 0.9]), 0.5)
        return str(kept.tolist())
    except AttributeError:
        return "undeclared"
    except NotImplementedError:
        return "declared"
"""

PLAIN = """
try:
    import torchvision
    print("works")
except RuntimeError as error:
    print(error)
"""


USED = """
import warnings
warnings.simplefilter("error")
from pr12.core import vision
first = vision.import_torchvision()
assert vision.import_torchvision() is first
import torch, torchvision
assert torchvision is first
from torchvision.models import vgg19
from torchvision.transforms import functional
from torchvision.datasets import mnist
small = functional.resize(torch.zeros(3, 8, 8), [4, 4], antialias=True)
print(tuple(small.shape), vgg19.__name__, mnist.read_image_file.__name__, nms())
"""


@pytest.mark.slow
def test_all_that_the_project_uses_works_whatever_a_plain_import_does():
    fresh = python(NMS + USED)
    plain, later = python(NMS + PLAIN + USED).splitlines()
    # Either torchvision's own operators work, and they still do, or they were missing, and now
    # they are there by name only.
    expected = {"works": "[1]", "operator torchvision::nms does not exist": "declared"}
    assert fresh == f"(3, 4, 4) vgg19 read_image_file {expected[plain]}"
    assert later == fresh


def fake_torchvision(folder: Path, source: str) -> str:
    """Put a package in the place of torchvision; give the code that finds it first."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(source)
    return f"import sys; sys.path.insert(0, {str(folder)!r})"


def test_a_torchvision_that_imports_is_left_alone(tmp_path):
    printed = python(f"""
{NMS}
{fake_torchvision(tmp_path, "name = 'whole'")}
from pr12.core import vision
print(vision.import_torchvision().name, nms())
""")
    assert printed == "whole undeclared"


def test_any_other_failure_is_told_as_it_is(tmp_path):
    printed = python(f"""
{NMS}
{fake_torchvision(tmp_path, "raise RuntimeError('CUDA versions differ')")}
from pr12.core import vision
try:
    vision.import_torchvision()
except RuntimeError as error:
    print(error, nms(), "torchvision" in sys.modules)
""")
    assert printed == "CUDA versions differ undeclared False"
