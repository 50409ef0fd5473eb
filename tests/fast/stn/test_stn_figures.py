import base64
import io
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from PIL import Image, ImageSequence

import evidence_cases
from pr12.report import plots
from pr12.stn.figures import __main__ as figures
from pr12.stn.figures import animation, errors, invariance, sheets, training, values
from pr12.stn.figures import boxes as figures_of_boxes
from pr12.workflow import address
from pr12.workflow.errors import UserError

STEMS = [
    "errors",
    "order",
    "transformed",
    "training",
    "invariance_u",
    "invariance_rts",
    "addition",
    "addition_windows",
    "sequence_errors",
    "house_numbers",
    "deformable",
]
ROWS = values.ROWS
PUBLISHED = {  # some cells of the paper's tables
    "fcn": {
        "test/error_R_percent": 2.1,
        "test/error_RTS_percent": 5.2,
        "test/error_E_percent": 3.2,
        "test/error_addition_percent": 47.7,
    },
    "cnn": {"test/error_R_percent": 1.2, "test/error_E_percent": 1.4},
    "st_fcn_affine": {"test/error_R_percent": 1.2, "test/error_addition_percent": 22.6},
    "st_fcn_affine_2": {"test/error_addition_percent": 9.0},
    "st_cnn_affine": {"test/error_R_percent": 0.7},
    "sequences_multi": {"test/error_percent": 3.6},
}
SIDES = {"R": 28, "RTS": 42, "P": 28, "E": 28, "TC": 60, "addition": 42}
MOVES = {"rotation": (0, 15, 45, 90, 180), "scale": (0.5, 0.8, 1, 1.4), "shift": (0, 1, 4, 8)}


def seeds(mean, spread=0.3):
    return [mean - spread, mean, mean + spread]


def error(case, distortion):
    """Make up an error: what the net cannot undo costs more."""
    base = {"fcn": 6.0, "cnn": 3.0, "st_fcn": 4.0, "st_cnn": 2.0}[values.family(case)]
    hard = {"R": 1.0, "RTS": 1.6, "P": 1.2, "E": 1.4, "TC": 3.0, "addition": 5.0}[distortion]
    better = {"affine": 1.0, "projective": 0.97, "tps": 0.9, "2": 0.5}
    return base * hard * math.prod(better.get(part, 1) for part in case.split("_"))


def all_metrics():
    """Made-up results of every case that a figure shows, three seeds each."""
    metrics = {case: {} for case in ROWS}
    for case in ROWS:
        for distortion in ("R", "RTS", "P", "E"):
            metrics[case][f"test/error_{distortion}_percent"] = seeds(error(case, distortion))
    for case in ("fcn", "cnn", "st_fcn_affine", "st_cnn_affine"):
        metrics[case]["test/error_TC_percent"] = seeds(error(case, "TC"))
    for case in ("fcn", "cnn", *(c for c in ROWS if c.startswith("st_fcn"))):
        metrics[case]["test/error_addition_percent"] = seeds(error(case, "addition"), 2)
        if case.startswith("st"):
            computed = {"test/error_addition_percent": seeds(error(f"{case}_2", "addition"), 2)}
            metrics[f"{case}_2"] = computed
    metrics["deformable"] = {f"test/error_{d}_percent": seeds(3.5) for d in ("R", "RTS", "E")}
    for rank, network in enumerate(("cnn", "single", "multi")):
        metrics[f"sequences_{network}"] = {"test/error_percent": seeds(9 - rank)}
    metrics["cnn_average"] = {"test/error_U_percent": seeds(1)}
    nets = {d: list(invariance.NETS[d]) for d in ("U", "RTS")}
    for distortion, cases in nets.items():
        for rank, case in enumerate(cases):
            for axis, amounts in MOVES.items():
                for amount in amounts:
                    far = invariance.distance(axis, amount)
                    worst = max(invariance.distance(axis, a) for a in amounts)
                    key = f"{axis}/accuracy_{distortion}_{amount:g}_percent"
                    metrics[case][key] = seeds(97 - (85 - 10 * rank) * far / worst, 1)
    return metrics


def digits(count, channels, side):
    """Make a bar and a block on each image, as far down as its number."""
    actual = np.zeros((count, channels, side, side), int)
    for number in range(count):
        actual[number, :, 4 + number : 16 + number, side // 3 : side // 3 + 3] = 255
        actual[number, :, 4 + number : 8 + number, side // 3 : side // 2] = 130
    return actual


def turned(angle, scale=0.8, lines=8):
    turn = math.radians(angle)
    matrix = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return sheets.identity(lines) @ matrix.T


def picture(distortions, transformers=1, rows=20):
    """Make what the step ``evaluate`` writes of a net with transformers."""
    actual = {}
    for distortion in distortions:
        channels, side = 2 if distortion == "addition" else 1, SIDES[distortion]
        inputs = digits(4, channels, side)
        windows = [[turned(20 * n + 70 * t) for t in range(transformers)] for n in range(4)]
        over_time = [
            [[turned(3 * row + 20 * t + n) for t in range(transformers)] for n in range(3)]
            for row in range(rows)
        ]
        actual[distortion] = {
            "inputs": inputs.tolist(),
            "outputs": np.tile(inputs, (1, transformers, 1, 1)).tolist(),
            "grids": np.round(windows, 3).tolist(),
            "labels": [3, 1, 4, 1],
            "predicted": [3, 1, 4, 7],
            "training": {
                "inputs": inputs[:3, 0].tolist(),
                "images_seen": [100 * (row + 1) for row in range(rows)],
                "grids": np.round(over_time, 3).tolist(),
            },
        }
    return actual


def house_numbers(thetas, right=(True, False)):
    """Make what the step ``evaluate_sequences`` writes."""
    stream = io.BytesIO()
    grey = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    Image.fromarray(grey).save(stream, format="PNG")
    number = [2, 0, 4, 10, 10]
    return {
        "size": 16,
        "network": "single",
        "images": [
            {
                "png": base64.b64encode(stream.getvalue()).decode(),
                "true": number,
                "predicted": number if good else [2, 7, 10, 10, 10],
                "thetas": thetas,
            }
            for good in right
        ],
    }


def all_pictures():
    pictures = {f"{case}_picture": picture(("R", "RTS", "P", "E")) for case in ROWS[2:]}
    for case in ("st_fcn_affine", "st_cnn_affine"):
        pictures[f"{case}_picture"] |= picture(("TC",))
    for transform in ("affine", "projective", "tps"):
        pictures[f"st_fcn_{transform}_2_picture"] = picture(("addition",), 2)
    half = [0.5, 0.0, 0.2, 0.0, 0.5, 0.0]
    for network, count in (("cnn", 0), ("single", 1), ("multi", 4)):
        pictures[f"sequences_{network}_picture"] = house_numbers([half] * count)
    plain = {"grids": None, "outputs": None, "labels": [1], "predicted": [1]}
    pictures["fcn_picture"] = {"R": plain | {"inputs": digits(1, 1, 28).tolist()}}
    return pictures


def command_line(folder, metrics, pictures, out, **params):
    params = {"run": "full", "published": PUBLISHED} | params
    return evidence_cases.command_line(folder, "stn", metrics, pictures, params, out)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run the step on all cases, once for this module."""
    folder = tmp_path_factory.mktemp("figures")
    evidence_cases.run("stn", command_line(folder, all_metrics(), all_pictures(), "out"))
    return folder


def drawn(metrics=None, pictures=None, run="full", published=PUBLISHED):
    """Draw as the step does, in the project's style: file -> plot."""
    params = figures.Params(run, published)
    return evidence_cases.drawn(figures.figures(params), metrics or {}, pictures or {})


def only(*cases):
    return {case: computed for case, computed in all_metrics().items() if case in cases}


def dots(axes):
    """Give the points of the drawings with intervals, by the row that they are in."""
    points = [container[0].get_xydata().tolist()[0] for container in axes.containers]
    return {round(y): x for x, y in points}


def stars(axes):
    drawings = [computed for computed in axes.collections if isinstance(computed, PathCollection)]
    return [tuple(xy) for computed in drawings for xy in computed.get_offsets()]


@pytest.mark.slow
def test_every_figure_is_written_with_its_text_and_training_has_an_animation(written):
    listed = json.loads((written / "out" / "figures.json").read_text())
    assert [figure["file"] for figure in listed] == STEMS
    files = {path.name for path in (written / "out").iterdir()}
    pictures = {f"{stem}{suffix}" for stem in STEMS for suffix in (".svg", ".png")}
    assert files == pictures | {"figures.json", "read.json", "training.gif"}
    for figure in listed:
        assert figure["title"]
        assert len(figure["caption"]) > 50
        assert len(figure["alt"]) > 20
        assert "nan" not in figure["caption"] + figure["alt"]
    for stem in STEMS:
        with Image.open(written / "out" / f"{stem}.png") as image:
            assert max(image.size) <= 1500
        assert (
            written / "out" / f"{stem}.svg"
        ).stat().st_size < 300_000  # else a page shows it not


@pytest.mark.slow
def test_a_rerun_elsewhere_gives_the_same_bytes_and_needs_no_torch(written):
    code = evidence_cases.CODE.format(paper="stn") + (
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    arguments = command_line(written, all_metrics(), all_pictures(), "again")
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        env=os.environ | {"PYTHONPATH": str(address.SRC), "PYTHONHASHSEED": "7"},
    )
    for path in (written / "out").iterdir():
        assert path.read_bytes() == (written / "again" / path.name).read_bytes(), path.name


def test_only_what_has_results_is_drawn(tmp_path):
    assert not drawn()
    assert list(drawn(only("cnn_average"))) == ["invariance_u"]
    assert list(drawn(only("fcn"))) == [
        "errors",
        "order",
        "invariance_u",
        "invariance_rts",
        "addition",
    ]
    assert list(drawn(pictures={"fcn_picture": all_pictures()["fcn_picture"]})) == []
    evidence_cases.run("stn", command_line(tmp_path, {}, {}, "empty"))
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {"figures.json", "read.json"}


@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_text_is_cut(wide):
    metrics = all_metrics()
    if wide:  # two seeds far apart, as in a run of seconds: intervals go beyond 0 and 100
        metrics = {
            case: {
                key: [min(computed[0] * 0.5, 99), min(computed[-1] * 1.5, 100)]
                for key, computed in m.items()
            }
            for case, m in metrics.items()
        }
    for plot in drawn(metrics, all_pictures()).values():
        plot.figure.draw_without_rendering()
        page = plot.figure.bbox.padded(1)
        texts = [text for axes in plot.figure.axes for text in axes.texts]
        titles = [t for a in plot.figure.axes for t in (a.title, a.xaxis.label, a.yaxis.label)]
        legends = [text for legend in plot.figure.legends for text in legend.get_texts()]
        for text in [*texts, *titles, *legends]:
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert all(page.contains(*c) for c in box.corners()), (plot.file, text.get_text())
        boxes = [text.get_window_extent() for text in texts]
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
        assert not any(a.overlaps(b) for a, b in pairs), plot.file


def test_errors_stand_in_the_rows_of_table_1_and_the_papers_beside_them():
    plot = drawn(all_metrics())["errors"]
    titles = [axes.get_title().partition(":")[0] for axes in plot.figure.axes]
    assert titles == ["R", "RTS", "P", "E", "TC", "addition"]
    rotation = plot.figure.axes[0]
    labels = [label.get_text() for label in rotation.get_yticklabels()]
    assert labels[:3] == ["FCN", "CNN", "ST-FCN Aff"]
    assert dots(rotation) == {i: pytest.approx(error(case, "R")) for i, case in enumerate(ROWS)}
    shown = {(x, round(y - errors.BESIDE)) for x, y in stars(rotation)}
    assert shown == {(2.1, 0), (1.2, 1), (1.2, 2), (0.7, 5)}
    assert "R: ST-CNN TPS 1.80 [1.05, 2.55], FCN 6.00 [5.25, 6.75]" in plot.caption


def test_the_embedded_run_says_that_the_papers_digits_are_others():
    for run, other in (("full", False), ("embedded", True)):
        for stem in ("errors", "order", "addition"):
            caption = drawn(all_metrics(), run=run)[stem].caption
            assert ("are of MNIST" in caption) == other
    assert "paper" not in drawn(all_metrics(), published={})["errors"].caption


def test_the_caption_gives_the_range_of_sizes():
    metrics = only("fcn", "cnn")
    assert "parameters" not in drawn(metrics)["errors"].caption
    metrics["fcn"]["test/parameters_R"] = [399_000.0] * 3
    metrics["cnn"]["test/parameters_E"] = [61_000.0] * 3
    assert "61\u202f000 to 399\u202f000 parameters" in drawn(metrics)["errors"].caption


def test_order_gives_the_rank_correlation_of_each_seed():
    key = "test/error_R_percent"
    ours = {"fcn": [4.0, 4.0], "cnn": [3.0, 1.0], "st_fcn_affine": [2.0, 2.0]}
    metrics = {case: {key: computed} for case, computed in ours.items()}
    paper = {"fcn": {key: 3.0}, "cnn": {key: 2.0}, "st_fcn_affine": {key: 1.0}}
    plot = drawn(metrics, published=paper)["order"]
    # ranks 3 2 1 and 3 1 2 against 3 2 1: 1 and 0.5; 0.75 -+ 12.7062 * 0.25
    assert "3 cells of Table 1: Spearman's rank correlation 0.8 [−2.4, 3.9]" in plot.caption
    (axes,) = plot.figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    points = [tuple(computed[0].get_xydata()[0].tolist()) for computed in axes.containers]
    assert points == [(3, 4), (2, 2), (1, 2)]
    assert "order" not in drawn(metrics, published={"fcn": paper["fcn"], "cnn": paper["cnn"]})


def test_cells_without_errors_count_in_the_order_but_have_no_place_on_it():
    key = "test/error_R_percent"
    cases = ("fcn", "cnn", "st_fcn_affine", "st_cnn_affine")
    metrics = {case: {key: [3.0 - i]} for i, case in enumerate(cases)}
    paper = {case: {key: 4.0 - i} for i, case in enumerate(cases)}
    plot = drawn(metrics, published=paper)["order"]
    assert len(plot.figure.axes[0].containers) == 3
    assert "4 cells of Table 1: Spearman's rank correlation 1 (" in plot.caption


def test_accuracy_by_movement_reads_amounts_from_the_keys():
    plot = drawn(only("fcn", "cnn_average"))["invariance_u"]
    rotation, scale, shift = plot.figure.axes
    assert rotation.containers[0][0].get_xdata().tolist() == [0, 15, 45, 90, 180]
    assert scale.containers[0][0].get_xdata().tolist() == [0.5, 0.8, 1, 1.4]
    assert shift.containers[0][0].get_xdata().tolist() == [0, 1, 4, 8]
    first, second = shift.containers
    assert first[0].get_ydata() == pytest.approx([97, 97 - 85 / 8, 97 - 85 / 2, 12])
    assert first[0].get_marker() != second[0].get_marker()
    assert "unmoved: FCN 97.0 [94.5, 99.5], CNN, average pooling" in plot.caption
    assert "shift 4 pixels: FCN 54.5 [52.0, 57.0]" in plot.caption
    assert shift.get_ylim() == (0, 102)


def test_what_was_seen_in_training_is_a_band_for_moved_digits_only():
    upright, moved = (drawn(all_metrics())[f"invariance_{d}"].figure.axes for d in ("u", "rts"))
    assert not any(axes.patches for axes in upright)
    bands = [sorted({x for x, _ in axes.patches[0].get_corners()}) for axes in moved]
    assert bands == [[-45, 45], pytest.approx([0.7, 1.2]), [0, 7]]
    low, high = moved[0].get_xlim()  # the axis shows what was measured
    assert low > -10
    assert high < 190


def test_two_transformers_stand_beside_one():
    plot = drawn(all_metrics())["addition"]
    (axes,) = plot.figure.axes
    heights = [round(bar.get_height(), 2) for bar in axes.patches]
    assert heights == [30, 15, 20, 19.4, 18, 10, 9.7, 9]
    places = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    assert places[2] < 2 < places[5]
    assert [label.get_text() for label in axes.get_xticklabels()][2:] == [
        "ST-FCN Aff",
        "ST-FCN Proj",
        "ST-FCN TPS",
    ]
    assert len({bar.get_hatch() for bar in axes.patches}) == 3
    assert "ST-FCN Aff 20 to 10, ST-FCN Proj 19.4 to 9.7, ST-FCN TPS 18 to 9." in plot.caption
    assert {y for _, y in stars(axes)} == {47.7, 22.6, 9.0}


def test_the_deformable_net_is_drawn_where_it_has_results():
    metrics = all_metrics()
    assert "deformable" not in drawn(only("cnn", "st_cnn_affine"))
    del metrics["deformable"]["test/error_RTS_percent"]
    metrics["cost"] = {
        "deformable/times_predicted": [47.0],
        "deformable/times_sampling_multiply_adds": [20.5],
    }
    plot = drawn(metrics)["deformable"]
    (axes,) = plot.figure.axes
    assert [label.get_text()[0] for label in axes.get_xticklabels()] == ["R", "E"]
    assert len(axes.patches) == 10
    assert "predicts 47 times as many parameters and samples with 20.5 times" in plot.caption


def test_grids_and_outputs_are_drawn_for_each_distortion_and_net():
    plot = drawn(pictures=all_pictures())["transformed"]
    (axes,) = plot.figure.axes
    cells = 4 * 2 * (1 + 4 * 2) + 2 * (1 + 2 * 2)  # TC has two nets
    assert len(axes.images) == cells
    texts = [text.get_text() for text in axes.texts]
    assert [t for t in texts if t.startswith("ST-")] == [
        "ST-FCN Aff",
        "ST-CNN Aff",
        "ST-CNN Proj",
        "ST-CNN TPS",
    ]
    assert texts.count("no result on TC") == 2
    assert "ST-FCN Aff 15 of 20, ST-CNN Aff 15 of 20, ST-CNN Proj 12 of 16" in plot.caption


def test_the_identity_is_drawn_on_pixel_centres_and_the_first_row_marked():
    with plots.style():
        _, axes = sheets.sheet(1, 1, 1.0)
        sheets.grid(axes, 0, 0, sheets.identity(4))
    lines, top = axes.collections
    scale = (1 - sheets.GAP) / sheets.VIEW
    start = (1 - sheets.GAP - scale) / 2  # of the image in its cell
    (first,) = top.get_segments()
    assert first == pytest.approx(
        np.stack([start + scale * np.array([1, 3, 5, 7]) / 8, [start + scale / 8] * 4], axis=1)
    )
    assert len(lines.get_segments()) == 3 + 4
    assert top.get_linewidth()[0] > lines.get_linewidth()[0]
    assert not np.array_equal(top.get_edgecolor(), lines.get_edgecolor())


def test_training_starts_from_the_identity_and_shows_few_moments():
    (first, *_) = actual = training.tracks(all_pictures())
    assert [computed.name for computed in actual] == [
        "ST-CNN Aff, R",
        "ST-CNN Aff, RTS",
        "ST-CNN Proj, P",
        "ST-CNN TPS, E",
        "ST-CNN Aff, TC",
    ]
    assert first.seen.tolist() == [0, *range(100, 2001, 100)]
    assert first.grids[0, 0] == pytest.approx(sheets.identity(8))
    assert first.grids[1, 0] == pytest.approx(turned(0), abs=1e-3)
    plot = drawn(pictures=all_pictures())["training"]
    (axes,) = plot.figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[:6] == ["start", "5 %", "15 %", "30 %", "60 %", "100 %"]
    assert len(axes.images) == 5 * 6
    assert "after 2\u202f000 images" in plot.caption


def test_a_training_followed_at_other_moments_is_left_out():
    pictures = all_pictures()
    pictures["st_cnn_tps_picture"] = picture(("E",), rows=7)
    names = [computed.name for computed in training.tracks(pictures)]
    assert names == ["ST-CNN Aff, R", "ST-CNN Aff, RTS", "ST-CNN Proj, P", "ST-CNN Aff, TC"]


def test_the_distance_that_a_grid_moved_is_measured():
    start = sheets.identity(8)
    grids = np.stack([start, start + np.array([0.3, 0.4])])[:, None]
    track = training.Track("x", np.zeros((1, 4, 4)), np.array([0, 9]), grids)
    assert training.shift(track) == pytest.approx(0.5)


@pytest.mark.slow
def test_the_animation_shows_every_moment_and_ends_on_the_last(written):
    path = written / "out" / "training.gif"
    assert path.stat().st_size < 300_000
    tracks = training.tracks(all_pictures())
    colours = animation.palette()
    with Image.open(path) as image:
        assert image.n_frames == 21
        assert image.info["loop"] == 0
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
        times = [f.info["duration"] for f in ImageSequence.Iterator(image)]
    assert times == [animation.FIRST, *[animation.NEXT] * 19, animation.LAST]
    with plots.style():
        for moment in (0, 1, 20):
            wanted = colours[animation.indexed(animation.frame(tracks, moment), colours)]
            assert np.array_equal(frames[moment], wanted)
    assert not np.array_equal(frames[0], frames[20])


def test_frames_that_hardly_differ_are_coded_by_their_differences():
    colours = np.array([[0, 0, 0], [255, 255, 255], [200, 0, 0]], dtype=np.uint8)
    stream = np.random.default_rng(0)
    still = stream.integers(0, 3, (60, 60)).astype(np.uint8)
    moved = still.copy()
    moved[5, 7] = (moved[5, 7] + 1) % 3
    alone = animation.encoded([still], colours, [100])
    coded = animation.encoded([still, moved, still], colours, [100, 200, 300])
    assert len(coded) < 1.2 * len(alone)
    with Image.open(io.BytesIO(coded)) as image:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    assert np.array_equal(frames[0], colours[still])
    assert np.array_equal(frames[1], colours[moved])
    assert np.array_equal(frames[2], colours[still])


def test_colours_of_the_animation_are_few_and_hold_the_grids():
    colours = animation.palette()
    assert len(colours) < 64
    assert len(np.unique(colours, axis=0)) == len(colours)
    for name in (sheets.LINE, sheets.FIRST):
        rgb = [int(name[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(colours.astype(int) - rgb).sum(axis=1) <= 1).any()


def test_an_outline_is_the_frame_of_the_output():
    frame = figures_of_boxes.outline(turned(30, 0.5, lines=8))
    corners = frame[::9]
    turn = math.radians(30)
    matrix = 0.5 * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    assert corners == pytest.approx(square @ matrix.T)


def test_windows_of_two_transformers_differ_in_colour_and_line():
    plot = drawn(pictures=all_pictures())["addition_windows"]
    (axes,) = plot.figure.axes
    assert len(axes.images) == 3 * 2 * 6
    windows = [patch for patch in axes.patches if type(patch).__name__ == "Polygon"]
    assert len(windows) == 3 * 2 * 2 * 2
    assert windows[0].get_edgecolor() != windows[1].get_edgecolor()
    assert windows[0].get_linestyle() != windows[1].get_linestyle()
    assert "2 × ST-FCN Aff 3 of 4" in plot.caption


def test_one_transformer_on_additions_has_no_windows_to_compare():
    pictures = {"st_fcn_affine_2_picture": picture(("addition",), 1)}
    assert "addition_windows" not in drawn(pictures=pictures)


def changed(**change):
    computed = picture(("R",))
    for key, value in change.items():
        if value is None:
            del computed["R"][key]
        else:
            computed["R"][key] = value
    return computed


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1], "is not ordered by distortion"),
        ({"R": 3}, "has R that is no mapping"),
        (changed(grids=None), "has no grids"),
        (changed(inputs=None), "has no inputs"),
        (changed(inputs=[[1]]), "has inputs that are no numbers"),
        (changed(grids=[[[[[0.0, 1.0]]]]]), "has grids that are no numbers of shape (4, any"),
        (changed(outputs=[[[["a"]]]]), "has outputs that are no numbers"),
        (changed(predicted=[1, 2]), "has predicted that are no numbers of shape (4)"),
        (changed(labels=[1, 2, 3, math.nan]), "has labels that are no numbers"),
        (changed(training={}), "has no inputs"),
        (changed(training={"inputs": [], "images_seen": [], "grids": []}), "has inputs that"),
    ],
)
def test_a_bad_picture_is_refused(bad, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        drawn(pictures={"st_cnn_affine_picture": bad})
    assert "st_cnn_affine_picture" in str(caught.value)
    assert "delete it and run its step again" in str(caught.value)


def test_windows_of_transformers_in_series_are_composed():
    plot = drawn(pictures=all_pictures())["house_numbers"]
    (axes,) = plot.figure.axes
    windows = [patch.get_xy()[:4] for patch in axes.patches]
    assert len(windows) == 2 * (1 + 4)  # two images each; the CNN has none
    sides = [window[1, 0] - window[0, 0] for window in windows]
    full = (1 - sheets.GAP) / sheets.VIEW
    assert sides[:2] == pytest.approx([full / 2] * 2)
    assert sides[2:6] == pytest.approx([full / 2, full / 4, full / 8, full / 16])
    middles = [window[:, 0].mean() - (1 - sheets.GAP) / 2 for window in windows]
    shift = np.array([0.2, 0.3, 0.35, 0.375])  # 0.2, 0.2 + 0.2 / 2 and so on, in half images
    assert middles[2:6] == pytest.approx(full / 2 * shift)
    assert len({patch.get_linestyle() for patch in axes.patches[2:6]}) == 4


def test_numbers_that_were_misread_are_told():
    plot = drawn(pictures=all_pictures())["house_numbers"]
    texts = [text.get_text() for text in plot.figure.axes[0].texts]
    assert texts == [
        "composed\nST-CNN Single",
        "204",
        "204, read 27",
        "composed\nST-CNN Multi",
        "204",
        "204, read 27",
    ]
    assert "composed, ST-CNN Single 1 of 2, composed, ST-CNN Multi 1 of 2" in plot.caption
    assert "white dash-dotted" in plot.caption
    single = {n: p for n, p in all_pictures().items() if n == "sequences_single_picture"}
    assert "yellow solid." in drawn(pictures=single)["house_numbers"].caption
    plain = {n: p for n, p in all_pictures().items() if n == "sequences_cnn_picture"}
    assert "house_numbers" not in drawn(pictures=plain)


def test_errors_of_house_numbers_are_bars_beside_the_papers():
    plot = drawn(all_metrics())["sequence_errors"]
    (axes,) = plot.figure.axes
    assert [bar.get_width() for bar in axes.patches] == [9, 8, 7]
    assert len({bar.get_hatch() for bar in axes.patches}) == 3
    assert stars(axes) == [(3.6, 2.2)]
    assert "composed, CNN 9.00 [8.25, 9.75]" in plot.caption


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "has no images"),
        ({"images": []}, "has images that are no list"),
        ({"images": [{}]}, "has no true"),
        (house_numbers([[1.0, 2.0]]), "has thetas that are no numbers of shape (any, 6)"),
        (house_numbers("x"), "has thetas that are no numbers"),
        (house_numbers(None), "has thetas that are no numbers"),
    ],
)
def test_bad_house_numbers_are_refused(bad, message):
    with pytest.raises(UserError, match=re.escape(message)):
        drawn(pictures={"svhn_single_64_picture": bad})


@pytest.mark.parametrize("png", ["?", "AAAA", None, base64.b64encode(b"GIF89a").decode()])
def test_what_is_no_png_is_refused(png):
    bad = house_numbers([])
    bad["images"][0]["png"] = png
    with pytest.raises(UserError, match="has an image that is no PNG in base64"):
        drawn(pictures={"sequences_multi_picture": bad})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"published": {"fcn": 2.1}}, "--params.published.fcn is 2.1; it must be a mapping"),
        ({"published": {"fcn": {"x": "2.1"}}}, "--params.published.fcn is {'x': '2.1'}"),
        ({"published": None}, "--params.published is null; it must be a mapping"),
        ({"colour": "red"}, "--params.colour is unknown"),
    ],
)
def test_bad_params_are_refused(tmp_path, capsys, params, message):
    with pytest.raises(SystemExit) as caught:
        evidence_cases.run("stn", command_line(tmp_path, {}, {}, "out", **params))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out" / "figures.json").exists()
