import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import evidence_cases
from pr12.photostyle.figures import __main__ as figures
from pr12.photostyle.figures import measures, photographs, sheets, slider_page
from pr12.report import index, plots
from pr12.workflow.errors import UserError

FILES = [
    "inversion",
    "inversion_errors",
    "textures",
    "texture_errors",
    "styles",
    "style_distances",
    "pairs",
    "pairs_of_authors",
    "lambda_strip",
    "measures",
    "cross_term",
    "inversion_vgg19",
    "measures_vgg19",
    "pairs_of_authors_vgg19",
]
PARAMS = figures.Params("embedded", {})
METHODS = ["content", *photographs.METHODS]
LAMBDAS = ["lambda1", "lambda100", "lambda10000", "lambda1e+06", "lambda1e+08"]


def image(seed=0, height=8, width=12):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def images(*names):
    return {name: image(number) for number, name in enumerate(names)}


def mask():
    return np.arange(96).reshape(8, 12) // 48


def label(layers=5, ratio=0.001, start="noise"):
    return f"content1_layers{layers}_ratio{ratio:g}_{start}"


LABELS = {
    "style_ratios": [label(ratio=ratio) for ratio in (0.1, 0.01, 0.001, 0.0001)],
    "style_content_start": [label(start="content")],
    "style_depths": [label(layers=depth) for depth in (1, 2, 3, 4, 5)],
    "style_shallow_content": [label()],
}


def all_pictures():
    ladder = ["photograph", *(f"depth{depth}" for depth in range(1, 6))]
    actual = {
        "inversion": images(*(f"{n}/{k}" for n in ("astronaut", "chelsea") for k in ladder)),
        "lambda_sweep": images("content", "style", "neural", "first", *LAMBDAS),
    }
    for texture in ("brick", "grass", "gravel"):
        actual[f"texture_{texture}"] = images("source", *(f"depth{depth}" for depth in range(1, 6)))
    for case, labels in LABELS.items():
        actual[case] = images("content", "style", *labels)
    for case in ("china_rocket", "flower_retina", "pair3", "pair14", "vgg19_pair3"):
        actual[case] = images(*METHODS, "style") | {"content_mask": mask(), "style_mask": mask()}
    actual["vgg19_inversion"] = actual["inversion"]
    return {f"{case}_picture": picture for case, picture in actual.items()}


def seeds(mean):
    return [mean, 1.1 * mean, 0.9 * mean]


def all_metrics():
    depths = range(1, 6)
    actual = {
        "inversion": {
            f"{k}/error_depth{d}": seeds(d / 9) for k in ("image", "features") for d in depths
        },
        "cross_term": {
            f"{key}_depth{d}": seeds(-d / 9)
            for keys in measures.PARTS.values()
            for key in keys
            for d in depths
        },
        "lambda_sweep": {
            f"{name}/{kind}": seeds(1 / (n + 1))
            for n, name in enumerate(LAMBDAS)
            for kind in ("matting_energy", "content_distance")
        },
    }
    actual["cross_term"] |= {f"masked/ratio_cross_depth{d}": [0.0] * 3 for d in depths}
    for texture in ("brick", "grass", "gravel"):
        names = ["noise", *(f"depth{d}" for d in depths)]
        kinds = ("texture_distance", "periodicity_error")
        actual[f"texture_{texture}"] = {f"{n}/{k}": seeds(0.5) for n in names for k in kinds}
    for case, labels in LABELS.items():
        ends = ("content_distance", "style_distance")
        actual[case] = {f"{n}/{end}": seeds(i + 1) for i, n in enumerate(labels) for end in ends}
    for case in ("china_rocket", "pair3", "vgg19_pair3"):
        actual[case] = {f"{m}/{k}": seeds(0.2) for m in METHODS for k in measures.MEASURES}
        actual[case]["content/matting_energy"] = [0.0] * 3
    return actual


def drawn(metrics, pictures):
    return [*evidence_cases.drawn(figures.figures(PARAMS), metrics, pictures).values()]


def command_line(folder, metrics, pictures, out):
    params = {"run": "embedded", "published": {}}
    return evidence_cases.command_line(folder, "photostyle", metrics, pictures, params, out)


@pytest.mark.slow
def test_every_figure_is_drawn_and_a_second_run_gives_equal_bytes(tmp_path):
    for out in ("one", "two"):
        arguments = command_line(tmp_path, all_metrics(), all_pictures(), out)
        evidence_cases.run("photostyle", arguments)
    made = sorted((tmp_path / "one").iterdir())
    names = {path.name for path in made}
    assert {f"{file}{end}" for file in FILES for end in (".svg", ".png")} <= names
    assert "lambda_strip.html" in names
    listed = json.loads((tmp_path / "one" / "figures.json").read_text(encoding="utf-8"))
    assert {entry["file"] for entry in listed} == set(FILES)
    assert all(entry["alt"] and entry["caption"] and entry["title"] for entry in listed)
    for path in made:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_without_input_there_is_no_figure_and_no_page(tmp_path):
    evidence_cases.run("photostyle", command_line(tmp_path, {}, {}, "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"figures.json", "read.json"}


@pytest.mark.parametrize("case", sorted(set(all_metrics()) - {"style_shallow_content"}))
def test_metrics_of_one_case_alone_are_drawn(case):
    (plot,) = drawn({case: all_metrics()[case]}, {})
    assert plot.figure.axes[0].has_data()


def test_distances_at_another_content_layer_are_not_compared():
    ours = all_metrics()["style_shallow_content"]
    assert drawn({"style_shallow_content": ours}, {}) == []


@pytest.mark.parametrize("name", sorted(all_pictures()))
def test_a_picture_alone_is_drawn(name):
    (plot,) = drawn({}, {name: all_pictures()[name]})
    assert plot.figure.axes[0].images


def test_metrics_without_the_keys_of_a_figure_give_none():
    assert drawn({case: {"other/key": [1.0]} for case in all_metrics()}, {}) == []


def test_captions_tell_the_numbers_of_the_metrics():
    (plot,) = drawn({"inversion": {"image/error_depth3": [0.125]}}, {})
    assert "pixels: layer 3 0.125" in plot.caption


def test_the_content_has_no_bar_of_matting_energy():
    (plot,) = drawn({"pair3": all_metrics()["pair3"]}, {})
    energy, colour = plot.figure.axes[:2]
    assert len(colour.containers) // 2 == len(energy.containers) // 2 + 1


def test_a_vanishing_cross_term_is_drawn_at_the_smallest_number():
    (plot,) = drawn({"cross_term": all_metrics()["cross_term"]}, {})
    heights = [line.get_ydata() for line in plot.figure.axes[1].lines]
    assert any(np.all(ours == measures.SMALLEST) for ours in heights if len(ours) == 5)


def test_masks_stand_in_the_corners_of_content_and_style():
    (plot,) = drawn({}, {"pair3_picture": all_pictures()["pair3_picture"]})
    count = len(METHODS) + 1
    assert len(plot.figure.axes[0].images) == count + 2
    assert len(plot.figure.axes[0].patches) == 2


def test_embedded_photographs_are_small(tmp_path):
    large = {name: image(n, 500, 700) for n, name in enumerate(["content", "style", *LAMBDAS])}
    (plot,) = drawn({}, {"lambda_sweep_picture": large})
    with plots.style():
        plots.save(tmp_path, plot)
    # Noise is the worst that a PNG can get
    assert (tmp_path / "lambda_strip.svg").stat().st_size < 2_000_000
    sides = [max(shown.get_array().shape) for shown in plot.figure.axes[0].images]
    assert max(sides) <= sheets.LONGEST


@pytest.mark.parametrize(
    "broken",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_photograph_is_refused(broken):
    picture = images(*METHODS, "style") | {"neural": broken}
    with pytest.raises(UserError, match="pair3_picture: neural is not a photograph"):
        drawn({}, {"pair3_picture": picture})


def test_a_picture_that_lacks_its_content_is_refused():
    with pytest.raises(UserError, match="content is not a photograph"):
        drawn({}, {"lambda_sweep_picture": images("style", *LAMBDAS)})


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), -1), image()])
def test_what_is_no_mask_is_refused(broken):
    picture = images(*METHODS, "style") | {"content_mask": broken}
    with pytest.raises(UserError, match="content_mask is not a mask"):
        drawn({}, {"pair3_picture": picture})


def test_texts_of_the_page_are_escaped():
    text = '"><script>alert(1)</script>'
    page = slider_page.page(text, [(text, image())], [(text, image())])
    assert "alert" in page
    assert '"><script>' not in page
    assert page.count("<script") == 1


def test_the_page_has_every_lambda_and_needs_no_network():
    page = figures.lambda_page({}, all_pictures())
    assert f'max="{len(LAMBDAS) - 1}"' in page
    assert page.count('class="result"') == len(LAMBDAS)
    assert all(f"lambda {v:g}" in page for v in (1.0, 1e2, 1e4, 1e6, 1e8))
    assert "http://" not in page
    assert "https://" not in page
    uris = re.findall(r'src="([^"]*)"', page)
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in uris)
    assert len(uris) == len(LAMBDAS) + 2


def test_large_noise_fits_into_the_page():
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    shown = base64.b64decode(slider_page.jpeg(noise).partition(",")[2])
    with Image.open(io.BytesIO(shown)) as actual:
        actual.load()
        assert actual.size == (900, 700)


def test_the_policy_of_the_page_allows_its_script():
    page = slider_page.page("t", [("1", image())], [])
    script = index.only_script(page, "lambda_strip.html")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page


def test_a_page_without_results_is_refused():
    with pytest.raises(UserError, match="no result"):
        slider_page.page("t", [], [])
    assert figures.lambda_page({}, {}) is None
