import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import color

from pr12.photostyle.data.common_classes import UNUSED
from pr12.photostyle.data.package_photographs import named
from pr12.photostyle.model import measures
from pr12.photostyle.transfer import closed_form
from pr12.workflow import address

STREAM = np.random.default_rng(0)


def test_lab_is_scikit_images_and_comes_back():
    image = STREAM.random((20, 30, 3))
    image[0] = 0.0
    image[1] = 1.0
    expected = color.rgb2lab(image, illuminant="D65", observer="2", channel_axis=-1)
    assert closed_form.to_lab(image) == pytest.approx(expected, abs=2e-3)
    assert closed_form.from_lab(closed_form.to_lab(image)) == pytest.approx(image, abs=1e-4)
    outside = np.array([[50.0, 120.0, -120.0], [110.0, 0.0, 0.0], [-5.0, 0.0, 0.0]])
    ours = closed_form.from_lab(outside)
    assert np.isfinite(ours).all()
    assert ours[1] == pytest.approx(np.ones(3), abs=1e-6)


def test_a_map_gives_the_targets_mean_and_covariance_and_is_the_nearest_one():
    factors = STREAM.normal(size=(2, 3, 3))
    source, target = (STREAM.normal(size=(4000, 3)) @ f.T + 3 * i for i, f in enumerate(factors))
    target = 0.5 * target  # within the gain
    matrix, shift = closed_form.transport(source, target)
    assert matrix == pytest.approx(matrix.T)  # of all linear maps only the symmetric one is optimal
    gained = np.linalg.eigvalsh(matrix).max() >= closed_form.GAIN - 1e-9
    moved = source @ matrix.T + shift
    assert moved.mean(axis=0) == pytest.approx(target.mean(axis=0))
    if not gained:
        assert np.cov(moved.T) == pytest.approx(np.cov(target.T), abs=0.05)
    other = np.linalg.cholesky(np.cov(target.T)) @ np.linalg.inv(
        np.linalg.cholesky(np.cov(source.T))
    )
    turned = (source - source.mean(axis=0)) @ other.T + target.mean(axis=0)
    cost, rival = (np.mean((each - source) ** 2) for each in (moved, turned))
    assert cost <= rival + 1e-9


def test_flat_colours_are_moved_and_not_blown_up():
    flat = np.full((100, 3), 50.0) + STREAM.normal(0, 0.01, (100, 3))
    wild = STREAM.normal(20, 30, (100, 3))
    matrix, shift = closed_form.transport(flat, wild)
    assert np.linalg.eigvalsh(matrix).max() <= closed_form.GAIN + 1e-9
    assert (flat @ matrix.T + shift).mean(axis=0) == pytest.approx(wild.mean(axis=0), abs=1e-6)


def pair():
    return (named(name)[::4, ::4] / 255 for name in ("china", "flower"))


def test_colours_come_nearer_to_the_style_than_by_histograms_and_edges_stay():
    content, style = pair()
    labels = [np.zeros(each.shape[:2], np.uint8) for each in (content, style)]
    for each in labels:
        each[len(each) // 2 :] = 1
    ours = closed_form.transported(content, style, *labels)
    before, after = (
        measures.colour_distance(each.astype(float), style, *labels) for each in (content, ours)
    )
    assert after < 0.3 * before
    by_histogram = measures.histogram_matched_by_class(content, style, *labels)
    assert after < measures.colour_distance(by_histogram, style, *labels)
    assert measures.edge_similarity(ours.astype(float), content) > 0.6


def test_pixels_of_no_class_keep_their_colours():
    content, style = pair()
    labels = np.zeros(content.shape[:2], np.uint8)
    labels[:10] = UNUSED
    ours = closed_form.transported(content, style, labels, np.zeros(style.shape[:2], np.uint8))
    assert ours[:10] == pytest.approx(content[:10])
    assert np.abs(ours[20:] - content[20:]).mean() > 0.02


def test_strips_and_threads_change_nothing(monkeypatch):
    content, style = pair()
    labels = [np.zeros(each.shape[:2], np.uint8) for each in (content, style)]
    by_class = closed_form.maps(content, style, *labels)
    shares = closed_form.weights(content, labels[0], list(by_class))
    whole = closed_form.applied(content, by_class, shares)
    monkeypatch.setattr(closed_form, "STRIP", 7)
    assert np.array_equal(closed_form.applied(content, by_class, shares, threads=2), whole)


def test_masks_follow_the_edges_of_the_content():
    content = np.zeros((40, 40, 3))
    content[:, 20:] = 1.0
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 17:] = 1  # drawn three pixels off
    soft = closed_form.weights(content, labels, [0, 1])
    assert soft.sum(axis=0) == pytest.approx(np.ones((40, 40)), abs=1e-5)
    assert abs(float(soft[1, 20, 19]) - float(soft[1, 20, 20])) > 0.3  # a step where the image has


def test_the_command_needs_no_torch_and_refuses_what_it_would_not_use(tmp_path):
    for name, picture in (("c", named("china")), ("s", named("flower"))):
        Image.fromarray(picture[::4, ::4]).save(tmp_path / f"{name}.png")
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "runpy.run_module('pr12.photostyle.transfer', run_name='__main__', alter_sys=True)"
    )

    def run(params, *more):
        line = [f"{n}={tmp_path / f}.png" for n, f in (("content", "c"), ("style", "s"))]
        line += [f"output={tmp_path / 'o.png'}", *more, "--params", json.dumps(params)]
        return subprocess.run(
            [sys.executable, "-c", code, *line],
            capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(address.SRC)},
        )  # fmt: skip

    done = run({"fast": True})
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].startswith("wrote ")
    assert done.stdout == "False\n"
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.size == (160, 107)
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"")
    refused = run({"fast": True}, f"weights={weights}")
    assert refused.returncode == 2
    assert "fast takes no network and no time; leave weights and resume out" in refused.stderr
