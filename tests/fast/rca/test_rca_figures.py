import itertools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from matplotlib.collections import PathCollection
from matplotlib.text import Text
from PIL import Image
from sklearn.metrics import roc_auc_score, roc_curve

import evidence_cases
from pr12.rca.figures import __main__ as figures
from pr12.rca.figures import decisions, estimates, segmentations, values
from pr12.report import plots
from pr12.workflow import address
from pr12.workflow.errors import UserError

STEMS = [
    "examples",
    "quality",
    "scatter",
    "by_segmenter",
    "measures",
    "structures",
    "estimators",
    "references",
    "failures",
    "calibration",
    "context",
    "tabular",
    "tabular_errors",
]
SEGMENTERS = ["forest_5", "forest_16", "unet_8", "unet_150", "atlases_0_1", "atlases_2_5"]
STRUCTURES = ["liver", "spleen", "kidneys"]
REVERSE = {"atlas": 0.03, "forest": 0.1, "cnn": 0.15}  # case -> how far predictions are off
CONTEXT = {
    "HC18": [0.64, 0.17],
    "PSFHS PS": [0.95, 0.07],
    "PSFHS FH": [0.93, 0.07],
    "WBC CV nucleus": [0.96, 0.07],
    "NuCLS": [0.374, 0.241],
}
DATA = ("digits", "breast_cancer", "wine")
TABULAR = (*DATA, *(f"{name}_neighbours" for name in DATA))
SHIFTS = ("noise", "rotation", "missing")
MAE = {
    "raw": 0.07,
    "linear": 0.06,
    "isotonic": 0.05,
    "linear_unseen": 0.09,
    "isotonic_unseen": 0.1,
    "calibrated": 0.065,
    "cross_validation": 0.4,
    "confidence": 0.3,
}


def seeds(mean, spread=0.01):
    return [mean - spread, mean, mean + spread]


def all_metrics():
    """Made-up results of every case that a figure shows, three seeds each."""
    metrics = {"segmenters": {"pooled/failures": seeds(0.5)}}
    for kind, rank in itertools.product(("forest", "unet", "atlases"), (1, 2)):
        metrics["segmenters"][f"{kind}_{rank}/dice"] = seeds(0.4 * rank)
    cases = {**REVERSE, "atlas_mean": 0.04, "atlas_top3": 0.02, "atlas_to_test": 0.035}
    for case, error in cases.items():
        computed = metrics[case] = {}
        for i, name in enumerate(("pooled", *STRUCTURES)):
            computed[f"{name}/correlation_dice"] = seeds(0.97 - error - 0.02 * i)
            computed[f"{name}/mae_dice"] = seeds(error + 0.01 * i, 0.004)
            computed[f"{name}/bias_dice"] = seeds(0.5 * error, 0.004)
        for kind, rank in itertools.product(("forest", "unet", "atlases"), (1, 2)):
            computed[f"{kind}_{rank}/correlation_dice"] = seeds(0.8 - error)
        computed["pooled/correlation_jaccard"] = seeds(0.9 - error)
        computed["pooled/correlation_surface"] = seeds(0.6 - error)
        computed["pooled/correlation_hausdorff"] = seeds(0.5 - error)
        for number in (1, 2, 4, 8):
            computed[f"references_{number}/correlation_dice"] = seeds(0.9 + 0.005 * number)
            computed[f"references_{number}/mae_dice"] = seeds(0.09 - 0.005 * number)
    computed = metrics["calibrated"] = {
        f"test/mae_{kind}": seeds(0.05) for kind in ("raw", "isotonic")
    }
    for i, kind in enumerate(("linear", "isotonic", "percentiles")):
        for percent in (80, 90, 95):
            computed[f"test/coverage_{kind}_{percent}"] = seeds(percent / 100 + 0.01 * (i - 1))
            computed[f"test/width_{kind}_{percent}"] = seeds(percent / 300)
    for case in TABULAR:
        metrics[case] = {f"pooled/mae_{name}": seeds(mean) for name, mean in MAE.items()}
        metrics[case]["pooled/correlation"] = seeds(0.93)
    return metrics


def points(error, subjects=6, seed=0, structures=STRUCTURES):
    """Make what ``evaluate`` writes: Dice from bad to good, predictions off by about `error`."""
    stream = np.random.default_rng(seed)
    shape = (subjects, len(SEGMENTERS), len(structures))
    _, segmenter, structure = np.indices(shape)
    dice = np.clip(0.15 * segmenter + 0.2 * np.random.default_rng(7).random(shape), 0, 1)
    predicted = np.clip(dice + error * stream.standard_normal(shape), 0, 1)
    sides = {}
    for name, computed in (("real", dice), ("predicted", predicted)):
        rounded = computed.ravel().round(4)
        distance = [None if d < 0.05 else round(20 * (1 - d), 4) for d in rounded]
        sides[name] = {
            "dice": rounded.tolist(),
            "jaccard": (rounded / (2 - rounded)).round(4).tolist(),
            "surface": distance,
            "hausdorff": [None if d is None else 3 * d for d in distance],
        }
    return {
        "segmenters": SEGMENTERS,
        "structures": list(structures),
        "segmenter": segmenter.ravel().tolist(),
        "structure": structure.ravel().tolist(),
        **sides,
    }


def segmenters(shape=(30, 24), structures=STRUCTURES):
    """Make what ``quality`` writes, of the same Dice; the third segmenter scatters labels."""
    of_points = points(0, structures=structures)
    dice = np.reshape(of_points["real"]["dice"], (-1, len(SEGMENTERS), len(structures)))
    truth = np.zeros(shape, int)
    for label in range(1, len(structures) + 1):
        truth[8 * label - 6 : 8 * label - 1, 3:18] = label
    maps = np.stack([np.roll(truth, i, axis=0) for i in range(len(SEGMENTERS))])
    maps[0] = 0  # an empty segmentation
    maps[2] = np.indices(shape).sum(axis=0) % 2
    image = np.arange(truth.size).reshape(shape) % 256
    example = {"image": image.tolist(), "truth": truth.tolist(), "segmentations": maps.tolist()}
    return {
        "segmenters": SEGMENTERS,
        "structures": list(structures),
        "dice": dice.swapaxes(0, 1).reshape(len(SEGMENTERS), -1).tolist(),
        "examples": [example] * 4,
    }


def all_pictures():
    pictures = {f"{case}_picture": points(error) for case, error in REVERSE.items()}
    pictures["segmenters_picture"] = segmenters()
    raw = np.linspace(0, 1, 60)
    real = np.where(np.arange(60) % 10, raw, raw / 2).round(4)
    pictures["calibrated_picture"] = {
        "raw": raw.tolist(),
        "real": real.tolist(),
        "predicted": raw.tolist(),
        "low": np.clip(raw - 0.1, 0, 1).tolist(),
        "high": np.clip(raw + 0.1, 0, 1).tolist(),
    }
    for case in TABULAR:
        rows = [
            {"kind": kind, "true": i / 10, "raw": min(1, i / 10 + 0.02 * j)}
            for i in range(11)
            for j, kind in enumerate(SHIFTS)
        ]
        pictures[f"{case}_picture"] = {"points": rows}
    return pictures


def command_line(folder, metrics, pictures, out, context=CONTEXT):
    params = {"run": "embedded", "published": {}, "context": context}
    return evidence_cases.command_line(folder, "rca", metrics, pictures, params, out)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run the step on all cases, once for this module."""
    folder = tmp_path_factory.mktemp("figures")
    evidence_cases.run("rca", command_line(folder, all_metrics(), all_pictures(), "out"))
    return folder


def drawn(metrics=None, pictures=None, context=CONTEXT):
    """Draw as the step does, in the project's style: file -> plot."""
    params = figures.Params("embedded", {}, context)
    return evidence_cases.drawn(figures.figures(params), metrics or {}, pictures or {})


def only(*names):
    """Give metrics and pictures of some cases."""
    metrics = {case: computed for case, computed in all_metrics().items() if case in names}
    pictures = {n: p for n, p in all_pictures().items() if n.removesuffix("_picture") in names}
    return metrics, pictures


def places(axes):
    """Give the points of each scatter drawing that has some."""
    drawings = [d for d in axes.collections if isinstance(d, PathCollection)]
    return [np.asarray(d.get_offsets()) for d in drawings if len(d.get_offsets())]


@pytest.mark.slow
def test_all_figures_are_written_and_listed_in_order(written):
    listed = json.loads((written / "out" / "figures.json").read_text())
    assert [figure["file"] for figure in listed] == STEMS
    for figure in listed:
        assert all(figure[key] for key in ("title", "caption", "alt"))
        assert not re.search(r"nan|None|\{|\}", figure["caption"] + figure["alt"])
        with Image.open(written / "out" / f"{figure['file']}.png") as image:
            assert 6.9 * 150 <= image.size[0] <= 10 * 150
    names = {path.name for path in (written / "out").iterdir()}
    assert names == {"figures.json", "read.json"} | {
        s + suffix for s in STEMS for suffix in (".svg", ".png")
    }


@pytest.mark.slow
def test_a_rerun_elsewhere_gives_the_same_bytes_and_needs_no_heavy_library(written):
    code = evidence_cases.CODE.format(paper="rca") + (
        "heavy = {'torch', 'SimpleITK', 'sklearn', 'monai', 'matplotlib.pyplot'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    arguments = command_line(written, all_metrics(), all_pictures(), "again")
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        env=os.environ | {"PYTHONPATH": str(address.SRC), "PYTHONHASHSEED": "7"},
    )
    for path in (written / "out").iterdir():
        assert path.read_bytes() == (written / "again" / path.name).read_bytes(), path.name


def test_nothing_gives_no_figure(tmp_path):
    evidence_cases.run("rca", command_line(tmp_path, {}, {}, "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"figures.json", "read.json"}
    assert json.loads((tmp_path / "out" / "figures.json").read_text()) == []


@pytest.mark.slow
def test_thousands_of_points_do_not_swell_an_svg(written, tmp_path):
    many = {f"{case}_picture": points(error, subjects=180) for case, error in REVERSE.items()}
    with plots.style():
        for plot in drawn({}, many).values():
            plots.save(tmp_path, plot)
    assert len(many["atlas_picture"]["segmenter"]) == 3240
    swollen = [*tmp_path.glob("*.svg")]
    assert {path.stem for path in swollen} == {"by_segmenter", "failures", "measures", "scatter"}
    paths = [*swollen, *(written / "out").glob("*.svg")]
    assert len(paths) == 4 + len(STEMS)
    for path in paths:
        assert path.stat().st_size < 300_000, path
        assert not re.search(r"<dc:date|20\d\d-\d\d-\d\d|Matplotlib v", path.read_text())


def shown_ticks(axis):
    """Give the labels of the ticks within the axis' limits: matplotlib draws no other."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def groups_of_texts(figure):
    """Give the texts of a figure, in groups whose members must not overlap."""
    for axes in figure.axes:
        yield shown_ticks(axes.xaxis)
        yield shown_ticks(axes.yaxis)
        yield [*axes.texts, axes.title]
        if axes.get_legend():
            yield axes.get_legend().get_texts()
    for legend in figure.legends:
        yield legend.get_texts()
    yield [a.title for a in figure.axes] + [a.xaxis.label for a in figure.axes]
    yield [*figure.legends, *(a.xaxis.label for a in figure.axes)]
    yield list(itertools.chain(*(shown_ticks(a.xaxis) for a in figure.axes)))


def two_seeds_apart(metrics):
    return {
        case: {
            key: [computed[0] * 0.7, computed[-1] * 1.3] for key, computed in metrics[case].items()
        }
        for case in metrics
    }


def one_seed(metrics):
    return {
        case: {key: computed[:1] for key, computed in metrics[case].items()} for case in metrics
    }


@pytest.mark.parametrize(
    "change",
    [
        dict,
        pytest.param(two_seeds_apart, marks=pytest.mark.slow),
        pytest.param(one_seed, marks=pytest.mark.slow),
    ],
)
def test_no_text_is_cut_and_none_overlap(change):
    for plot in drawn(change(all_metrics()), all_pictures()).values():
        plot.figure.draw_without_rendering()
        page = plot.figure.bbox.padded(1)
        for group in groups_of_texts(plot.figure):
            shown = [
                artist
                for artist in group
                if artist.get_visible() and getattr(artist, "get_text", lambda: "legend")()
            ]
            # A text alone: the extent of an annotation also holds its line
            boxes = [
                Text.get_window_extent(artist)
                if isinstance(artist, Text)
                else artist.get_window_extent()
                for artist in shown
            ]
            for artist, box in zip(shown, boxes, strict=True):
                assert all(page.contains(*c) for c in box.corners()), (plot.file, artist)
            pairs = itertools.combinations(boxes, 2)
            assert not any(a.overlaps(b) for a, b in pairs), (plot.file, shown)


def test_examples_tell_real_and_predicted_dice_of_segmenters_from_bad_to_good():
    plot = drawn(*only("segmenters", "atlas"))["examples"]
    panels = np.reshape(plot.figure.axes, (2, 5))
    titles = ["truth", "forest (depth 5)", "U-Net (8 updates)"]
    titles += ["U-Net (150 updates)", "5 atlases (effort 2)"]
    assert [axes.get_title() for axes in panels[0]] == titles
    for scan, (column, index) in itertools.product(range(2), ((1, 0), (4, 5))):
        start = (scan * len(SEGMENTERS) + index) * 3
        of_atlas = all_pictures()["atlas_picture"]
        real, predicted = (
            np.mean(of_atlas[side]["dice"][start : start + 3]) for side in ("real", "predicted")
        )
        assert panels[scan, column].get_xlabel() == f"{real:.2f} → {predicted:.2f}"
    assert panels[0, 0].get_xlabel() == "Dice: real → predicted"
    assert {text.get_text() for text in plot.figure.legends[0].get_texts()} == set(STRUCTURES)


def test_borders_are_drawn_where_structures_end_and_scattered_labels_are_filled():
    truth, empty, scattered, rolled, _ = drawn(*only("segmenters"))["examples"].figure.axes[:5]
    corners = [drawing.get_paths()[0].get_extents().extents for drawing in truth.collections]
    np.testing.assert_allclose(corners[0], [2.5, 1.5, 17.5, 6.5])  # labelled rows 2-6, columns 3-17
    assert [len(a.collections) for a in (truth, empty, scattered, rolled)] == [3, 0, 0, 3]
    assert [len(a.images) for a in (truth, empty, scattered, rolled)] == [1, 1, 2, 1]
    filled = scattered.images[1].get_array()[..., 3] > 0
    assert filled.tolist() == (np.indices((30, 24)).sum(axis=0) % 2 == 1).tolist()
    styles = [drawing.get_linestyle() for drawing in truth.collections]
    assert len({str(style) for style in styles}) == 3


def test_examples_without_predictions_tell_the_real_dice_alone():
    plot = drawn(*only("segmenters"))["examples"]
    assert re.fullmatch(r"0\.\d\d", plot.figure.axes[1].get_xlabel())
    assert "→" not in plot.caption


def test_a_scan_that_was_not_judged_gets_no_prediction():
    pictures = only("segmenters")[1]
    pictures["atlas_picture"] = points(0.03, subjects=1)
    panels = drawn({}, pictures)["examples"].figure.axes
    assert "→" in panels[1].get_xlabel()
    assert "→" not in panels[6].get_xlabel()


def test_examples_of_three_structures_or_one_scan_and_few_segmenters():
    picture = segmenters(structures=["anterior", "posterior"])
    picture["examples"] = picture["examples"][:1]
    plot = drawn({}, {"segmenters_picture": picture})["examples"]
    assert len(plot.figure.axes) == 5
    assert "The first 1 test scan of" in plot.caption


def test_segmenters_stand_weak_to_strong_with_their_share_of_failures():
    plot = drawn(*only("segmenters"))["quality"]
    axes = plot.figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [values.segmenter(name) for name in SEGMENTERS]
    dice = np.array(segmenters()["dice"])
    shares = [f"{100 * (computed < 0.7).mean():.0f} %" for computed in dice]
    assert [text.get_text() for text in axes.texts][:-1] == shares
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
    assert "forest (depth 5) 0.400 [0.375, 0.425]" in plot.caption


def test_points_are_drawn_by_kind_of_segmenter_in_each_panel():
    plot = drawn(*only("atlas", "forest", "cnn"))["scatter"]
    assert len(plot.figure.axes) == 3
    axes = plot.figure.axes[1]
    computed = all_pictures()["forest_picture"]
    pairs = np.stack([computed["real"]["dice"], computed["predicted"]["dice"]], axis=1)
    kinds = np.array(computed["segmenter"]) // 2  # two strengths of each kind
    for kind, offsets in enumerate(places(axes)):
        np.testing.assert_allclose(offsets, pairs[kinds == kind])
    assert axes.get_title() == ("atlas forest\nr 0.870 [0.843, 0.893]\nMAE 0.1000 [0.0901, 0.1099]")
    identity = axes.lines[0]
    assert identity.get_xdata().tolist() == identity.get_ydata().tolist() == [0, 1]
    assert len({str(d.get_paths()[0].vertices) for d in axes.collections}) == 3  # marks
    assert len({str(d.get_facecolor()) for d in axes.collections}) == 3


def test_each_segmenter_has_a_panel_with_its_points_and_its_mean():
    plot = drawn(*only("atlas"))["by_segmenter"]
    computed = all_pictures()["atlas_picture"]
    real, predicted = (np.array(computed[side]["dice"]) for side in ("real", "predicted"))
    shown = [axes for axes in plot.figure.axes if axes.axison]
    assert len(shown) == len(SEGMENTERS)
    for index, axes in enumerate(shown):
        chosen = np.array(computed["segmenter"]) == index
        drawn_points = np.concatenate(places(axes))
        expected = np.stack([real[chosen], predicted[chosen]], axis=1)
        assert sorted(map(tuple, drawn_points)) == sorted(map(tuple, expected))
        assert axes.get_title().startswith(values.segmenter(SEGMENTERS[index]))
        assert axes.lines[1].get_ydata()[0] == pytest.approx(real[chosen].mean())


def test_distances_that_are_not_defined_are_left_out_and_counted():
    plot = drawn(*only("atlas"))["measures"]
    computed = all_pictures()["atlas_picture"]
    pairs = zip(computed["real"]["surface"], computed["predicted"]["surface"], strict=True)
    defined = sum(None not in pair for pair in pairs)
    total = len(computed["segmenter"])
    assert defined < total
    dice, jaccard, surface, hausdorff = plot.figure.axes
    assert [sum(map(len, places(a))) for a in (dice, jaccard)] == [total, total]
    assert [sum(map(len, places(a))) for a in (surface, hausdorff)] == [defined, defined]
    assert f"{total - defined} of {total} points have none" in plot.caption
    assert surface.get_xscale() == surface.get_yscale() == "symlog"
    assert surface.get_title() == "r 0.570 [0.545, 0.594]"


def test_bars_of_structures_are_the_metrics():
    left, right = drawn(*only("atlas", "cnn"))["structures"].figure.axes
    assert [t.get_text() for t in right.get_xticklabels()] == ["all", *STRUCTURES]
    heights = [bar.get_height() for bar in right.patches]
    assert heights == pytest.approx([0.03, 0.04, 0.05, 0.06, 0.15, 0.16, 0.17, 0.18])
    assert [bar.get_height() for bar in left.patches][:2] == pytest.approx([0.94, 0.92])


def test_estimators_are_drawn_with_their_intervals():
    plot = drawn(*only("atlas", "atlas_mean", "atlas_to_test"))["estimators"]
    correlation, mae, bias = plot.figure.axes
    assert [t.get_text() for t in correlation.get_yticklabels()][:2] == ["maximum", "mean"]
    assert [c[0].get_xdata()[0] for c in mae.containers] == pytest.approx([0.03, 0.04, 0.035])
    half = 4.302653 * 0.004 / np.sqrt(3)
    ends = bias.containers[1][2][0].get_segments()[0][:, 0]
    assert ends == pytest.approx([0.02 - half, 0.02 + half])
    assert [c[0].get_ydata()[0] for c in correlation.containers] == [0, 1, 2]


def test_errors_are_drawn_by_number_of_references():
    plot = drawn(*only("atlas", "atlas_mean"))["references"]
    correlation, mae = plot.figure.axes
    for container in mae.containers:
        assert container[0].get_xdata() == pytest.approx([1, 2, 4, 8], rel=0.03)
        assert container[0].get_ydata() == pytest.approx([0.085, 0.08, 0.07, 0.05])
    assert correlation.get_xscale() == "log"
    assert "maximum: 0.085 [0.060, 0.110] with 1" in plot.caption


def test_the_roc_curve_is_that_of_scikit_learn():
    stream = np.random.default_rng(0)
    predicted = stream.integers(0, 8, 60) / 8  # with ties
    failed = stream.random(60) < 0.4
    rates, sensitivities = decisions.roc(failed, predicted)
    expected = roc_curve(failed, -predicted, drop_intermediate=False)[:2]
    np.testing.assert_allclose([rates, sensitivities], expected)
    area = np.trapezoid(sensitivities, rates)
    assert area == pytest.approx(roc_auc_score(failed, -predicted))


def test_failures_are_counted_at_the_threshold():
    metrics, pictures = only("atlas")
    computed = pictures["atlas_picture"]
    computed["real"]["dice"] = [0.7, 0.69, 0.1] * 36
    computed["predicted"]["dice"] = [0.9, 0.7, 0.2] * 35 + [0.6, 0.1, 0.2]
    plot = drawn(metrics, pictures)["failures"]
    left, right = plot.figure.axes[:2]
    texts = [text.get_text() for text in right.texts]
    assert texts == ["37\n51.4 %", "35\n48.6 %", "1\n2.8 %", "35\n97.2 %"]
    work = next(line for line in left.lines if len(line.get_xdata()) == 1)
    assert [work.get_xdata()[0], work.get_ydata()[0]] == pytest.approx([1 / 36, 37 / 72])
    assert "single atlas 51.4 % and 2.8 %" in plot.caption
    assert "66.7 % of 108 (single atlas)" in plot.caption


def test_counts_are_those_of_the_metrics_where_rounding_alone_parts_them():
    metrics, pictures = only("atlas")
    computed = pictures["atlas_picture"]
    computed["real"]["dice"] = [0.9, 0.9, 0.1] * 36
    computed["predicted"]["dice"] = [0.9, 0.9, 0.2] * 34 + [0.7, 0.7, 0.7] * 2  # six may be less
    fates = decisions.FATES
    counts = {}
    for name, exact in {"near": (36, 0, 4, 68), "far": (30, 6, 12, 60)}.items():
        metrics["atlas"] |= {
            f"failure/{fate}": [1, n - 1] for fate, n in zip(fates, exact, strict=True)
        }
        right = drawn(metrics, pictures)["failures"].figure.axes[1]
        counts[name] = [int(text.get_text().partition("\n")[0]) for text in right.texts]
    assert counts == {"near": [36, 0, 4, 68], "far": [34, 2, 0, 72]}


def test_where_nothing_failed_there_is_no_curve():
    metrics, pictures = only("atlas", "cnn")
    pictures["atlas_picture"]["real"]["dice"] = [0.9] * 108
    left = drawn(metrics, pictures)["failures"].figure.axes[0]
    assert [t.get_text()[:3] for t in left.get_legend().get_texts()] == ["CNN"]
    assert "failures" not in drawn({}, {"atlas_picture": pictures["atlas_picture"]})


def test_the_threshold_of_the_figure_is_that_of_the_params():
    params = yaml.safe_load((address.SRC.parent / "params.yaml").read_text(encoding="utf-8"))
    evaluate = params["rca"]["evaluate"]
    assert values.LOW == evaluate["threshold"] == params["rca"]["calibrate"]["threshold"]
    assert evaluate["false_positive_rate"] == decisions.RATE


def test_what_lies_outside_its_interval_is_a_cross():
    plot = drawn(*only("calibrated"))["calibration"]
    left, right = plot.figure.axes
    computed = all_pictures()["calibrated_picture"]
    outside = [r < low for r, low in zip(computed["real"], computed["low"], strict=True)]
    inside, crosses = places(left)
    assert (len(inside), len(crosses)) == (60 - sum(outside), sum(outside))
    maps = [line for line in left.lines if len(line.get_xdata()) == 20]
    assert len(maps) == 3  # one per seed
    assert maps[1].get_xdata() == pytest.approx(np.linspace(0, 1, 60)[20:40])
    measured = {c.get_label(): c[0].get_ydata() for c in right.containers}
    assert measured["isotonic map"] == pytest.approx([80, 90, 95])
    assert measured["linear map"] == pytest.approx([79, 89, 94])
    assert "measured at nominal 90 %: linear map 89.0 [86.3, 91.3]" in plot.caption


def test_labels_keep_their_order_and_distance():
    stream = np.random.default_rng(1)
    for count in (1, 2, 9, 14):
        wanted = stream.random(count)
        actual = estimates.spread(wanted, 0.065)
        assert (np.argsort(actual) == np.argsort(wanted)).all()
        assert (np.diff(np.sort(actual)) >= 0.065 - 1e-9).all()
        assert actual.min() >= 0
        assert actual.max() <= 1 + 1e-9
    far = [0.1, 0.5, 0.9]
    assert estimates.spread(far, 0.2) == pytest.approx(far)
    crowded = estimates.spread([0.5] * 40, 0.065)  # more than fit
    assert sorted(crowded) == pytest.approx(np.linspace(0, 1, 40))


def test_other_data_sets_are_hollow_and_named():
    plot = drawn(*only("atlas", "cnn"))["context"]
    axes = plot.figure.axes[0]
    (hollow,) = [d for d in axes.collections if isinstance(d, PathCollection)]
    assert hollow.get_offsets().tolist() == list(CONTEXT.values())
    assert hollow.get_facecolor()[0].tolist() == [1, 1, 1, 1]
    assert {text.get_text() for text in axes.texts} == set(CONTEXT)
    for text in axes.texts:
        assert list(text.xy) == CONTEXT[text.get_text()]
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights["PSFHS FH"] > heights["PSFHS PS"] > heights["WBC CV nucleus"]  # left to right
    ours = [(c[0].get_xdata()[0], c[0].get_ydata()[0]) for c in axes.containers]
    assert np.ravel(ours) == pytest.approx([0.94, 0.03, 0.82, 0.15])
    assert "5 data sets, r 0.374 to 0.96, MAE 0.07 to 0.241" in plot.caption


def test_without_our_results_or_without_others_there_is_no_context():
    assert "context" not in drawn(*only("calibrated"))
    assert "context" not in drawn(*only("atlas"), context={})


def test_accuracies_are_drawn_by_kind_of_shift():
    plot = drawn(*only("digits", "wine"))["tabular"]
    digits, wine = plot.figure.axes
    assert digits.get_title() == "digits\nr 0.930 [0.901, 0.951]"
    noise, rotation, missing = places(digits)
    assert noise[:, 0] == pytest.approx(np.arange(11) / 10)
    assert missing[:-1, 1] - rotation[:-1, 1] == pytest.approx(0.02)
    assert wine.get_title().startswith("wine")
    assert "digits (33 points)" in plot.caption


def test_panels_of_tables_stand_in_rows_of_three_and_name_the_other_reverse_classifier():
    plots_of_six = drawn(*only(*TABULAR))
    for name in ("tabular", "tabular_errors"):
        titles = [a.get_title().partition("\n")[0] for a in plots_of_six[name].figure.axes]
        assert titles[:3] == ["digits", "breast cancer", "wine"]
        assert titles[3:] == [f"{title}, neighbours" for title in titles[:3]]
        tops = [a.get_position().y1 for a in plots_of_six[name].figure.axes]
        assert min(tops[:3]) > max(tops[3:])
        assert "reverse classifier is nearest neighbours" in plots_of_six[name].caption
    plot = drawn(*only(*TABULAR[:4]))["tabular"]
    assert [a.axison for a in plot.figure.axes] == [True] * 4 + [False] * 2
    assert "nearest neighbours" not in drawn(*only(*DATA))["tabular"].caption


def test_bars_of_tabular_errors_are_the_metrics():
    metrics = only("digits", "wine")[0]
    del metrics["wine"]["pooled/mae_confidence"]
    digits, wine = drawn(metrics)["tabular_errors"].figure.axes
    assert [bar.get_width() for bar in digits.patches] == pytest.approx(list(MAE.values()))
    assert len(wine.patches) == len(MAE) - 1
    assert [label.get_text() for label in digits.get_yticklabels()][-1] == "mean confidence"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("atlas", {"segmenters": None}, "atlas_picture has segmenters that are no list of names"),
        ("atlas", {"segmenter": [0, 1]}, "more or fewer real values than segmenters"),
        ("atlas", {"segmenter": [0] * 108}, "every structure of every segmenter in turn"),
        ("atlas", {"real": {}}, "atlas_picture has no real dice"),
        ("atlas", {"real": {"dice": ["x"] * 108}}, "real dice that are no 1-fold list of numbers"),
        ("atlas", {"real": {"dice": [None] * 108}}, "real dice that are no numbers"),
        ("atlas", {"real": {"dice": [0.5] * 108}}, "values of other measures"),
        ("segmenters", {"dice": [[0.5, 0.6]]}, "dice of other segmenters or structures"),
        ("segmenters", {"dice": [[None] * 3] * 6}, "dice that are no numbers"),
        ("segmenters", {"examples": [{"image": [[0]]}]}, "segmenters_picture has no truth"),
        ("segmenters", {"examples": 7}, "examples that are no list"),
        (
            "segmenters",
            {"examples": [{"image": [[0]], "truth": [[0, 1]], "segmentations": [[[0]]] * 6}]},
            "segmenters_picture has an example whose arrays are of no one size",
        ),
        ("calibrated", {"low": [0.5]}, "the same number of points for 3 seeds"),
        ("calibrated", {"low": None}, "low that are no 1-fold list"),
        ("digits", {"points": {}}, "digits_picture has points that are no list"),
        ("digits", {"points": [{"kind": "noise", "true": 1}]}, "digits_picture has no raw"),
        ("digits", {"points": [{"kind": 1, "true": 1, "raw": 1}]}, "kinds of shift that are no"),
        ("digits", {"points": [{"kind": "a", "true": None, "raw": 1}]}, "accuracies that are no"),
    ],
)
def test_a_wrong_picture_is_refused(name, change, message):
    metrics, pictures = only(name)
    pictures[f"{name}_picture"] |= change
    with pytest.raises(UserError, match=message + ".*delete it and run its step again"):
        drawn(metrics, pictures)


@pytest.mark.parametrize("name", ["atlas", "segmenters", "calibrated", "digits"])
def test_what_is_no_picture_is_refused_before_the_list_is_written(tmp_path, capsys, name):
    metrics = only(name)[0]
    with pytest.raises(SystemExit) as caught:
        evidence_cases.run("rca", command_line(tmp_path, metrics, {f"{name}_picture": [1]}, "out"))
    assert caught.value.code == 2
    assert f"{name}_picture has no" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out" / "figures.json").exists()


@pytest.mark.parametrize("pair", [0.5, [0.5], ["0.5", 0.1], [1.2, 0.1], [0.5, -0.1], [True, 0.1]])
def test_context_must_be_pairs_of_correlation_and_error(pair):
    message = r"--params.context.HC18 is .*; it must be a correlation and a mean absolute error"
    with pytest.raises(UserError, match=message):
        drawn(context={"HC18": pair})


def test_pictures_of_other_cases_are_not_looked_at():
    assert drawn({}, {"atlas_mean_picture": 7, "other_picture": None}) == {}


def test_segmenters_chosen_go_from_worst_to_best():
    dice = np.array([[0.5], [0.9], [0.1], [0.3], [0.7]])
    assert segmentations.chosen(dice, 3) == [2, 0, 1]
    assert segmentations.chosen(dice, 9) == [2, 3, 0, 4, 1]
    assert segmentations.chosen(dice[:1], 4) == [0]
