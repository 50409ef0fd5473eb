"""The figures of the fine-grained task and of co-localisation."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

import evidence_cases
from pr12.stn.figures import __main__ as figures
from pr12.workflow.errors import UserError

ACROSS = [0.0, 4.0, 28.0, 32.0]  # left, top, right, bottom


def drawn(pictures):
    return evidence_cases.drawn(figures.figures(figures.Params("full", {})), {}, pictures)


def parts(windows, right=(True, False)):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(stream, format="PNG")
    image = {"png": base64.b64encode(stream.getvalue()).decode(), "true": 3}
    image |= {"thetas": [[-0.5, 0.0], [0.5, 0.0]][:windows], "places": [[0.1, 0.2], [-0.5, 0.4]]}
    return {"window": 0.5, "images": [image | {"predicted": 3 if good else 5} for good in right]}


def colocalised(ends, true=ACROSS, rows=4):
    """Make a picture with one image per window in `ends`, all of digit 3."""
    start = [28.0, 28.0, 56.0, 56.0]
    history = [
        {"iteration": row + 1, "train/hinge": 1.0, "boxes": [start] * len(ends)}
        for row in range(rows - 1)
    ]
    history.append({"iteration": rows, "train/hinge": 0.1, "boxes": ends})
    canvases = np.zeros((len(ends), 84, 84), int).tolist()
    return {"digits": {"3": {"canvases": canvases, "true": [true] * len(ends), "history": history}}}


def test_windows_on_parts_are_drawn_for_every_net_that_has_some():
    pictures = {
        "parts_cnn_picture": parts(0),
        "parts_2st_picture": parts(2),
        "cub_2st_448_picture": parts(2, (True, True)),
    }
    plot = drawn(pictures)["part_windows"]
    assert plot.caption.endswith(
        "generated, 2 x ST-CNN 1 of 2, CUB, 2 x ST-CNN, 448 pixels 2 of 2."
    )
    (axes,) = plot.figure.axes
    said = [text.get_text() for text in axes.texts]
    assert said.count("class 3, told 5") == 1
    assert said.count("class 3") == 3
    assert len(axes.patches) == 2 * 4  # two windows on four images


def test_nets_without_windows_have_no_figure():
    assert "part_windows" not in drawn({"parts_cnn_picture": parts(0)})


def test_the_caption_counts_windows_that_overlap_by_more_than_half():
    half = [0.0, 4.0, 28.0, 18.0]  # exactly half of the box: not more
    beyond = [0.0, 4.0, 28.0, 19.0]
    pictures = {
        "colocalise_translated_picture": colocalised([ACROSS, beyond, half]),
        "colocalise_cluttered_picture": colocalised([[56.0, 56.0, 84.0, 84.0]]),
    }
    plot = drawn(pictures)["colocalisation"]
    assert plot.caption.endswith("shifted 2 of 3, amid clutter 0 of 1.")


def test_windows_are_drawn_where_they_were_early_halfway_and_at_the_end():
    plot = drawn({"colocalise_translated_picture": colocalised([ACROSS], rows=3)})["colocalisation"]
    (axes,) = plot.figure.axes
    _, box, *windows = [
        np.array([*patch.get_xy(), patch.get_width(), patch.get_height()])
        for patch in axes.patches  # the first is the canvas's frame
    ]
    cell = 0.92 / 84  # of one pixel
    np.testing.assert_allclose(box, np.array([0, 4, 28, 28]) * cell, atol=1e-9)
    np.testing.assert_allclose(windows[0], np.array([28, 28, 28, 28]) * cell, atol=1e-9)
    np.testing.assert_allclose(windows[1], windows[0], atol=1e-9)
    np.testing.assert_allclose(windows[2], box, atol=1e-9)


@pytest.mark.parametrize(
    "picture",
    [
        {},
        {"digits": []},
        {"digits": {"3": {"canvases": [[1, 2]], "true": [ACROSS], "history": []}}},
        {"digits": {"3": colocalised([ACROSS])["digits"]["3"] | {"history": []}}},
        {"digits": {"3": colocalised([ACROSS])["digits"]["3"] | {"true": [ACROSS, ACROSS]}}},
        {"digits": {"3": colocalised([ACROSS])["digits"]["3"] | {"history": [{"boxes": [1]}]}}},
    ],
    ids=str,
)
def test_a_broken_picture_of_co_localisation_is_told(picture):
    with pytest.raises(UserError, match="colocalise_translated_picture"):
        drawn({"colocalise_translated_picture": picture})
