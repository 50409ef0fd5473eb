import itertools
import json
import math
import os
import re
import subprocess
import sys

import matplotlib
import pytest
from PIL import Image

import evidence_cases
from pr12.distill.figures import __main__ as figures
from pr12.distill.figures import targets
from pr12.report import plots, stats
from pr12.workflow import address
from pr12.workflow.errors import UserError

STEMS = [
    "systems",
    "temperature",
    "ensemble_size",
    "missing_classes",
    "low_data",
    "gradient_limit",
    "noise",
    "compression",
    "soft_labels",
    "size_accuracy",
]
PUBLISHED = {
    "teacher": {"test/errors_single": 67},
    "hard_800": {"test/errors": 146},
    "soft_800_T20": {"test/errors": 74},
}
STUDENTS = {"student_800": "soft_800_T20", "student_30": "soft_30_T2_5"}
PARAMS = {"run": "full", "published": PUBLISHED, "student_cases": STUDENTS}
TEMPERATURES = {"1": 1, "2": 2, "2_5": 2.5, "4": 4, "8": 8, "20": 20}


def student(errors, examples=10000):
    return {"test/errors": errors, "test/error_percent": [100 * e / examples for e in errors]}


def shifted(classes, before, after):
    metrics = {"validation/shift": [3.4, 3.5, 3.6]}
    for suffix, errors in (("", before), ("_bias_validation", after), ("_bias_test", after)):
        ours = [errors - 1, errors, errors + 1]
        metrics[f"test/errors{suffix}"] = ours
        metrics |= {f"test/errors_class{c}{suffix}": [e // 2 for e in ours] for c in classes}
    return metrics


def all_metrics():
    """Made-up results of every case, three seeds each."""
    metrics = {
        "hard_800": student([145, 146, 150]),
        "hard_300": student([160, 170, 180]),
        "hard_30": student([400, 420, 440]),
        "soft_800_T20_hard": student([75, 80, 82]),
        "soft_800_T20_arithmetic": student([80, 81, 85]),
        "logits_800": student([70, 80, 90]),
        "shallow_hard": student([160, 165, 170]),
        "shallow_logits": student([110, 112, 120]),
        "shallow_logits_bottleneck": student([118, 122, 119]),
        "low_data_hard": student([600, 620, 640]),
        "low_data_soft": student([390, 400, 410]),
        "omit_3": shifted([3], 206, 109),
        "only_78": shifted([7, 8], 4730, 1320),
        "gradient_limit": {},
        "cost": {
            "ensemble/parameters": [7184163],
            "teacher/parameters": [2394721],
            "student_800/parameters": [1276810],
            "student_30/parameters": [24790],
        },
        "library": {"test/rmse_adult": [0.3]},
    }
    for width, base in ((800, 80), (300, 95), (30, 330)):
        for name, t in TEMPERATURES.items():
            e = base + round(10 * abs(math.log(t / 4)))
            metrics[f"soft_{width}_T{name}"] = student([e - 3, e, e + 3])
    teacher = {"test/errors_single": [101, 97, 99]}
    for suffix in ("", "_geometric"):
        sizes = {1: [101, 97, 99], 2: [84, 80, 82], 3: [70]}
        teacher |= {f"test/errors_ensemble{suffix}_k{k}": ours for k, ours in sizes.items()}
        teacher[f"test/errors_ensemble{suffix}"] = sizes[3]
    metrics["teacher"] = teacher
    for t in ("1", "10", "1000", "1e+06"):
        far = 1 / float(t)
        metrics["gradient_limit"] |= {
            f"train/cosine_T{t}": [1 - 0.4 * far, 1 - 0.5 * far],
            f"train/ratio_T{t}": [1 + 2.0 * far, 1 + 2.2 * far],
        }
    for alpha, sigma in itertools.product((15, 50, 100), (20, 60, 100)):
        e = 80 + alpha * sigma // 500
        metrics[f"noisy_{alpha}_{sigma}"] = student([e - 9, e, e + 9])
    for name, slope in (("random", 0.002), ("nbe", -0.003), ("munge", -0.005)):
        ours = {"test/rmse_ensemble": [0.262], "test/rmse_best_net": [0.282]}
        for i, size in enumerate((4000, 10000, 25000, 50000, 100000, 200000, 400000)):
            ours[f"test/rmse_{size}"] = [0.3 + i * slope, 0.301 + i * slope]
            ours[f"test/rmse_letter_p1_{size}"] = [0.9, 0.9]
        metrics[f"compress_{name}"] = ours | {"test/rmse_best_single": [0.271]}
    return metrics


def picture():
    shares = [[0.9, 0.1, 0.0], [0.5, 0.3, 0.2]]
    return {
        "labels": [0, 2],
        "images": [[[0.0, 1.0], [1.0, 0.0]]] * 2,
        "temperatures": [1.0, 20.0],
        "probabilities": [[ours, ours[::-1]] for ours in shares],
        "entropy_nats": [[-sum(p * math.log(p) for p in ours if p)] * 2 for ours in shares],
    }


def command_line(folder, metrics, out, picture_too=True, **params):
    pictures = {"soft_labels_picture": picture()} if picture_too else {}
    return evidence_cases.command_line(folder, "distill", metrics, pictures, PARAMS | params, out)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run the step on all cases, once for this module."""
    folder = tmp_path_factory.mktemp("figures")
    evidence_cases.run("distill", command_line(folder, all_metrics(), "out"))
    return folder


@pytest.fixture
def draw():
    """Draw one figure as the step does, in the project's style."""

    def draw(stem, metrics, run="full", published=PUBLISHED):
        params = figures.Params(run, published, STUDENTS)
        return evidence_cases.drawn(figures.figures(params), metrics, {})[stem]

    return draw


def axes_of(plot):
    return plot.figure.axes[0]


def only(*cases):
    return {case: ours for case, ours in all_metrics().items() if case in cases}


@pytest.mark.slow
def test_all_figures_are_written_and_listed_in_order(written):
    listed = json.loads((written / "out" / "figures.json").read_text())
    assert [figure["file"] for figure in listed] == STEMS
    for figure in listed:
        assert all(figure[key] for key in ("title", "caption", "alt"))
        with Image.open(written / "out" / f"{figure['file']}.png") as image:
            assert max(image.size) <= 10 * 150
            assert round(image.info["dpi"][0]) == 150
    names = {path.name for path in (written / "out").iterdir()}
    assert names == {"figures.json", "read.json"} | {
        s + suffix for s in STEMS for suffix in (".svg", ".png")
    }


@pytest.mark.slow
def test_a_rerun_elsewhere_gives_the_same_bytes_and_needs_no_torch(written):
    """Another process, other hashes, and a reader's own matplotlibrc."""
    (written / "matplotlibrc").write_text(
        "font.size: 20\nlines.linewidth: 5\nxtick.direction: in\n"
    )
    code = evidence_cases.CODE.format(paper="distill") + (
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    arguments = command_line(written, all_metrics(), "again")
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        env=os.environ
        | {"PYTHONPATH": str(address.SRC), "PYTHONHASHSEED": "7"}
        | {"MATPLOTLIBRC": str(written / "matplotlibrc")},
    )
    for path in (written / "out").iterdir():
        assert path.read_bytes() == (written / "again" / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_no_date_and_no_version_are_in_the_files(written):
    for stem in STEMS:
        svg = (written / "out" / f"{stem}.svg").read_text()
        assert not re.search(r"<dc:date|20\d\d-\d\d-\d\d|matplotlib\.org|Matplotlib v", svg)
        assert b"Software" not in (written / "out" / f"{stem}.png").read_bytes()


def shown_ticks(axis):
    """Give the labels of the ticks within the axis' limits: matplotlib draws no other."""
    low, high = sorted(axis.get_view_interval())
    ticks = axis.get_major_ticks()
    return [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]


def groups_of_texts(figure):
    """Give the texts of a figure, in groups whose members must not overlap."""
    for axes in figure.axes:
        yield shown_ticks(axes.xaxis)
        yield shown_ticks(axes.yaxis)
        yield axes.texts
        yield [axes.title, axes.xaxis.label, axes.yaxis.label]
    for legend in figure.legends:
        yield legend.get_texts()
    yield [axes.title for axes in figure.axes]


@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_text_is_cut_and_none_overlap(wide):
    metrics = all_metrics()
    if wide:  # two seeds far apart, as in a run of seconds: intervals beyond all counts
        metrics = {
            case: {key: [abs(ours[0]) * 0.5, ours[-1] * 1.5] for key, ours in metrics[case].items()}
            for case in metrics
        }
    params = figures.Params("full", PUBLISHED, STUDENTS)
    pictures = {"soft_labels_picture": picture()}
    with plots.style():
        for plot in evidence_cases.drawn(figures.figures(params), metrics, pictures).values():
            plot.figure.draw_without_rendering()
            page = plot.figure.bbox.padded(1)
            for group in groups_of_texts(plot.figure):
                shown = [text for text in group if text.get_visible() and text.get_text()]
                boxes = [text.get_window_extent() for text in shown]
                for text, box in zip(shown, boxes, strict=True):
                    inside = [page.contains(*corner) for corner in box.corners()]
                    assert all(inside), (plot.file, text.get_text())
                pairs = itertools.combinations(boxes, 2)
                assert not any(a.overlaps(b) for a, b in pairs), (plot.file, shown)


def test_only_what_has_results_is_drawn(tmp_path):
    one, none = tmp_path / "one", tmp_path / "none"
    evidence_cases.run("distill", command_line(one, only("hard_800"), "out", picture_too=False))
    listed = json.loads((one / "out" / "figures.json").read_text())
    assert [figure["file"] for figure in listed] == ["systems"]
    evidence_cases.run("distill", command_line(none, {}, "out", picture_too=False))
    assert {path.name for path in (none / "out").iterdir()} == {"figures.json", "read.json"}


@pytest.mark.parametrize(
    ("stem", "cases"),
    [
        ("temperature", ["soft_30_T4"]),
        ("ensemble_size", ["teacher"]),
        ("missing_classes", ["only_78"]),
        ("low_data", ["low_data_soft"]),
        ("gradient_limit", ["gradient_limit"]),
        ("noise", ["noisy_50_60"]),
        ("compression", ["compress_nbe"]),
        ("size_accuracy", ["cost", "soft_30_T2_5"]),
    ],
)
def test_a_figure_is_drawn_from_the_least_that_it_needs(draw, stem, cases):
    assert draw(stem, only(*cases)).figure.axes


def test_systems_are_dots_at_their_means_in_a_fixed_order(draw):
    plot = draw("systems", only("logits_800", "hard_800", "soft_800_T2_5", "teacher"))
    axes = axes_of(plot)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    dots = [container[0].get_xydata().tolist() for container in axes.containers]
    assert dict(zip(labels, dots, strict=True)) == {
        "teachers, ensemble": [[70, 0]],
        "teachers, single": [[99, 1]],
        "hard labels": [[147, 2]],
        "soft, T = 2.5": [[85, 3]],
        "logits": [[80, 4]],
    }
    assert "80 [55, 105]" in [text.get_text() for text in axes.texts]  # 80 +- 4.3027 * 10 / 3**.5
    assert "Fewest: teachers, ensemble (70); most: hard labels" in plot.caption


def test_published_numbers_are_drawn_in_the_full_run_only(draw):
    stars = axes_of(draw("systems", only("teacher", "hard_800"))).collections[0]
    assert stars.get_offsets().tolist() == [[67, 1], [146, 2]]
    plot = draw("temperature", only("soft_800_T20", "hard_800"))
    labels = axes_of(plot).get_legend_handles_labels()[1]
    assert {"published", "published, hard labels"} <= set(labels)
    for stem in ("systems", "temperature"):
        plot = draw(stem, all_metrics(), run="embedded")
        labels = {label for a in plot.figure.axes for label in a.get_legend_handles_labels()[1]}
        assert not any("published" in label for label in labels)
        assert "paper's numbers" not in plot.caption


def test_errors_against_temperature_with_the_hard_student_as_a_band(draw):
    plot = draw("temperature", only("soft_800_T2_5", "soft_800_T20", "hard_800", "soft_30_T1"))
    wide, narrow = plot.figure.axes
    assert [wide.get_title(), narrow.get_title()] == ["net 800-800", "net 30-30"]
    (curve,) = wide.containers
    assert curve[0].get_xydata().tolist() == [[2.5, 85], [20, 96]]
    bars = curve[2][0].get_segments()
    half = 4.302653 * 3 / math.sqrt(3)
    assert bars[0][:, 1] == pytest.approx([85 - half, 85 + half])
    level = next(line for line in wide.lines if line.get_label() == "hard labels")
    assert set(level.get_ydata()) == {147}
    expected = stats.mean([145, 146, 150])
    (band,) = wide.patches
    assert sorted(
        {y for _, y in band.get_extents().transformed(wide.transData.inverted()).corners()}
    ) == pytest.approx([expected.low, expected.high])
    assert not narrow.patches  # there is no hard student of this width
    assert "800-800: 85.0 [77.5, 92.5] at T = 2.5 against 147.0 [140.4, 153.6]" in plot.caption


def test_mean_errors_by_size_of_the_ensemble(draw):
    plot = draw("ensemble_size", only("teacher"))
    arithmetic = axes_of(plot).lines[0]
    assert arithmetic.get_ydata().tolist() == [99, 82, 70]
    assert [round(x) for x in arithmetic.get_xdata()] == [1, 2, 3]
    assert "99.0 alone and 70.0 for all 3 (geometric mean)" in plot.caption


def test_bars_of_missing_classes_count_threes_only_where_threes_are_missing(draw):
    plot = draw("missing_classes", only("omit_3", "only_78"))
    heights = [[bar.get_height() for bar in axes.patches] for axes in plot.figure.axes]
    assert heights == [
        [206, 109, 109, pytest.approx(308 / 3), pytest.approx(163 / 3), pytest.approx(163 / 3)],
        [4730, 1320, 1320],
    ]
    shifts = "Shift chosen on validation data, with no 3 in the transfer set 3.50 [3.25, 3.75]"
    assert shifts in plot.caption


def test_cells_of_noise_hold_the_difference_to_exact_logits(draw):
    cases = ("noisy_15_20", "noisy_15_60", "noisy_50_20", "logits_800")
    axes = axes_of(draw("noise", only(*cases)))
    # (71, 80, 89) - (70, 80, 90) = (1, 0, -1)
    assert [text.get_text() for text in axes.texts] == [
        "80\n0.0 [−2.5, 2.5]",
        "81\n+1.0 [−1.5, 3.5]",
        "82\n+2.0 [−0.5, 4.5]",
        "not run",
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.2", "0.6"]


def test_curves_of_compression_are_means_over_problems(draw):
    plot = draw("compression", only("compress_munge"))
    (curve,) = axes_of(plot).containers
    x, y = curve[0].get_data()
    assert x == pytest.approx([4000, 10000, 25000, 50000, 100000, 200000, 400000], rel=0.03)
    assert y == pytest.approx([0.3005 - 0.005 * i for i in range(7)])
    levels = {line.get_label(): line.get_ydata()[0] for line in axes_of(plot).lines[1:]}
    levels = {label: y for label, y in levels.items() if not label.startswith("_")}
    assert levels == {"best single model": 0.271, "best net": 0.282, "ensemble": 0.262}


def test_temperatures_of_the_gradient_limit_are_read_from_the_keys(draw):
    cosine, ratio = draw("gradient_limit", only("gradient_limit")).figure.axes
    x, y = cosine.containers[0][0].get_data()
    assert x.tolist() == [1, 10, 1000, 1e6]
    assert y == pytest.approx([0.55, 0.955, 0.99955, 1 - 4.5e-7])
    assert ratio.containers[0][0].get_ydata()[0] == pytest.approx(3.1)


def test_size_against_errors_pairs_each_student_with_its_case(draw):
    plot = draw("size_accuracy", all_metrics())
    dots = axes_of(plot).containers
    assert {dot.get_label(): dot[0].get_xydata()[0].tolist() for dot in dots} == {
        "ensemble": [7184163, 70],
        "single teacher": [2394721, 99],
        "student 800": [1276810, 96],
        "student 30": [24790, 335],
    }


def test_soft_labels_show_each_digit_at_each_temperature():
    with plots.style():
        plot = targets.soft_labels(picture())
    panels = [axes for axes in plot.figure.axes if not axes.images]
    heights = [[bar.get_height() for bar in axes.patches] for axes in panels]
    assert heights == [[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.0, 0.1, 0.9], [0.2, 0.3, 0.5]]
    assert [bool(bar.get_hatch()) for bar in panels[2].patches] == [False, False, True]
    assert panels[1].get_title() == "T = 20: 1.03 nats"  # -sum p ln p of 0.5, 0.3, 0.2
    assert "a 2 from 0.33 to 1.03" in plot.caption


def test_at_most_four_temperatures_are_shown_the_lowest_and_highest_among_them():
    many = picture()
    for key in ("temperatures", "probabilities", "entropy_nats"):
        many[key] = [many[key][0]] * 6
    many["temperatures"] = [0.5, 1, 2, 5, 20, 100]
    with plots.style():
        titles = [axes.get_title() for axes in targets.soft_labels(many).figure.axes[1:5]]
    assert [title.split(":")[0] for title in titles] == ["T = 0.5", "T = 2", "T = 5", "T = 100"]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": [0]},
        {"labels": [0, 3]},
        {"images": [[0.0]] * 2},
        {"temperatures": [1.0]},
        {"entropy_nats": [[0.1], [0.1]]},
        {"probabilities": "none"},
    ],
)
def test_a_bad_picture_is_refused(change):
    with pytest.raises(UserError, match="run the step temperature again"):
        targets.soft_labels(picture() | change)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"published": {"hard_800": 146}}, "--params.published.hard_800 is 146; it must be"),
        ({"published": {"hard_800": {"test/errors": "146"}}}, "it must be a mapping of metric"),
        ({"student_cases": {"student_30": 30}}, "student_cases.student_30 is 30; it must name"),
        ({"published": None}, "--params.published is null; it must be a mapping"),
        ({"colour": "red"}, "--params.colour is unknown"),
    ],
)
def test_bad_params_are_refused(tmp_path, capsys, params, message):
    with pytest.raises(SystemExit) as caught:
        evidence_cases.run("distill", command_line(tmp_path, {}, "out", **params))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit) as caught:
        evidence_cases.run("distill", command_line(tmp_path, {}, "out", picture_too=False))
    assert caught.value.code == 2
    assert "cannot write" in capsys.readouterr().err.splitlines()[-1]


def test_series_differ_without_their_colours():
    looks = [plots.look(i) for i in range(8)]
    for key in ("color", "marker", "linestyle"):
        assert len({str(look[key]) for look in looks}) == 8
    assert len(set(plots.HATCHES)) == len(plots.HATCHES) == 6


def test_colours_stand_out_from_white():
    """Contrast by WCAG 2.1 of every colour but the last two: at least 3 : 1, grey text 7 : 1."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    contrasts = [1.05 / (luminance(plots.look(i)["color"]) + 0.05) for i in range(6)]
    assert min(contrasts) >= 3
    assert 1.05 / (luminance(plots.GREY) + 0.05) >= 7


def test_the_style_leaves_no_trace():
    before = dict(matplotlib.rcParams)
    with plots.style():
        assert matplotlib.rcParams["svg.fonttype"] == "path"
    assert dict(matplotlib.rcParams) == before


def test_axes_of_counts_do_not_go_below_zero():
    axes = plots.canvas(4, 4)[1][0, 0]
    plots.curve(axes, [1, 2], [stats.mean([1, 9]), stats.mean([5, 6])], 0, "errors")
    assert axes.get_ylim()[0] < 0
    plots.from_zero(axes)
    assert axes.get_ylim()[0] == 0
