"""Kills at random moments: whatever is started again ends in the bytes of an undisturbed run."""

import shlex

import numpy as np
import pytest
from PIL import Image

import kills
from pr12.rca.data import phantom

PHOTOGRAPHS = (
    "python -m pr12.photostyle.transfer content=a.png style=b.png output=out.png --resume --params "
    """'{"size": 96, "iterations": 25, "photorealistic_iterations": 25}'"""
)
SEGMENTATIONS = (
    "python -m pr12.rca.predict images=images segmentations=segmentations reference=reference "
    """out=out --params '{"coverage": 0.5}'"""
)


@pytest.mark.slow
def test_a_run_that_is_killed_three_times_ends_in_the_same_bytes(tmp_path):
    assert kills.kill_run(tmp_path, [], kills=3, seed=1, trim=lambda copy: copy.trim()) == []


@pytest.mark.slow
def test_a_photograph_whose_transfer_is_killed_has_the_same_bytes(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / name)
    assert kills.kill_tool(tmp_path, shlex.split(PHOTOGRAPHS), ["out.png"], kills=3, seed=2) == []


@pytest.mark.slow
def test_predictions_of_segmentations_that_are_killed_have_the_same_bytes(tmp_path):
    for number in range(7):
        folder = tmp_path if number > 3 else tmp_path / "reference"
        image, labels = phantom.slice_of((7, number), 48, 1.0)
        write(folder / f"images/{number}.png", np.rint(255 * image).astype(np.uint8))
        kind = "segmentations" if number > 3 else "labels"
        write(folder / kind / f"{number}.png", np.roll(labels, 2 * (number > 3), axis=(0, 1)))
    assert kills.kill_tool(tmp_path, shlex.split(SEGMENTATIONS), ["out"], kills=3, seed=2) == []


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
