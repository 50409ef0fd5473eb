import itertools
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from PIL import Image

import evidence_cases
from pr12.report import plots
from pr12.report.stored import pictures
from pr12.vae.data import packed_arrays
from pr12.vae.figures import __main__ as figures
from pr12.vae.figures import bounds as figures_of_bounds
from pr12.vae.figures import latent_page, spaces
from pr12.workflow import address
from pr12.workflow.errors import UserError

OF_METRICS = [
    "bound_digits",
    "bound_faces",
    "likelihood",
    "optimisers",
    "gradient_variance",
    "iwae",
]
OF_PICTURES = {
    "generation_picture": ["generation", "latent_scatter"],
    "latent_space_picture": ["manifold", "samples", "reconstructions", "walk", "latent_plane"],
}
STEMS = [*OF_METRICS, *itertools.chain(*OF_PICTURES.values())]
PUBLISHED = {
    "aevb_z3": {"test/elbo_1000000_nats": -152.9, "test/elbo_250000000_nats": -133.5},
    "wake_sleep_z3": {"test/elbo_1000000_nats": -155.1},
    "faces_z20": {"test/elbo_1000000_nats": 754},
    "fig3_small_mcem": {"test/likelihood_posterior_5000000_nats": -143.9},
    "vae_k1": {"test/nll_importance_nats": 86.76},
    "iwae_k50": {"test/nll_importance_nats": 84.78},
}
NETS = {"z2": 2, "z5": 5, "z10": 10, "z20": 20, "faces_z2": 2}


def seeds(mean, spread=0.1):
    return [mean - spread, mean, mean + spread]


def bounds(last, quantity="elbo", moments=(100_000, 300_000, 1_000_000), gap=1.0):
    actual = {}
    for split, shift in (("train", gap), ("test", 0.0)):
        for i, seen in enumerate(reversed(moments)):
            actual[f"{split}/{quantity}_{seen}_nats"] = seeds(last + shift - 12 * i)
        actual[f"{split}/{quantity}_nats"] = seeds(last + shift)
    return actual


def all_metrics():
    """Made-up results of every case that a figure shows, three seeds each."""
    metrics = {"latent_space": {f"{net}/reconstruction_mse": seeds(0.03, 0.001) for net in NETS}}
    for i, z in enumerate((3, 5, 10, 20, 200)):
        metrics[f"aevb_z{z}"] = bounds(-150.0 + 8 * i)
        metrics[f"wake_sleep_z{z}"] = bounds(-155.0 + 6 * i)
    for i, z in enumerate((2, 5, 10, 20)):
        metrics[f"faces_z{z}"] = bounds(700.0 + 90 * i, gap=15.0)
        metrics[f"faces_wake_sleep_z{z}"] = bounds(568.0)
    for i, size in enumerate(("small", "all")):
        for j, method in enumerate(("aevb", "wake_sleep", "mcem")):
            moments = (1_000_000, 5_000_000)
            ours = bounds(-140.0 - 4 * j + i, "likelihood_posterior", moments, 5.0)
            metrics[f"fig3_{size}_{method}"] = ours
    for i, case in enumerate(("adagrad_001_z10", "adagrad_01_z10", "adam_z10", "sgvb_a_z10")):
        metrics[case] = bounds(-131.0 - i)
    metrics["gradient_variance"] = {
        f"z{z}/gradient_variance_{name}_L{samples}": seeds(factor * z / samples, 0.1 * z / samples)
        for z in (3, 5, 10, 20, 200)
        for name, factor in (("a", 2), ("b", 1), ("score", 900))
        for samples in (1, 10)
    }
    for i, case in enumerate(("vae_k1", "vae_k5", "vae_k50", "iwae_k5", "iwae_k50")):
        metrics[case] = {"test/nll_importance_nats": seeds(87.0 - 0.4 * i)}
    metrics["generation"] = {
        "vae/frechet_distance": seeds(12.5),
        "autoencoder/frechet_distance": seeds(53.0, 3),
        "autoencoder_fitted/frechet_distance": seeds(3.8),
        "vae/frechet_distance_reconstructed": seeds(13.0),
        "autoencoder/frechet_distance_reconstructed": seeds(0.7),
        "test/frechet_distance_of_train": [0.9],
        "vae/mmd_distance": seeds(0.0005, 0.001),
        "autoencoder/mmd_distance": seeds(0.43, 0.01),
        "vae_2d/mmd_distance": seeds(0.001, 0.001),
        "autoencoder_2d/mmd_distance": seeds(0.5, 0.01),
    }
    for case, error in (("aevb_z2", 0.05), ("autoencoder_z2", 0.04), ("autoencoder_z10", 0.012)):
        metrics[case] = {"test/reconstruction_mse": seeds(error, 0.001)}
    metrics["aevb_z10"]["test/reconstruction_mse"] = seeds(0.03, 0.001)
    return metrics


def sheet(rows, columns, height=3, width=2, level=0.5):
    return packed_arrays.pack_images(np.full((rows, columns, height, width), level))


def plane(title="Latent plane of digits"):
    weights = {
        "decoder.0.weight": np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]]),
        "decoder.0.bias": np.array([[0.0, 0.5, 0.0]]),
        "decoder.mean.weight": np.arange(18.0).reshape(3, 6) / 10,
        "decoder.mean.bias": np.zeros((1, 6)),
    }
    return {
        "title": title,
        "height": 3,
        "width": 2,
        "likelihood": "bernoulli",
        "weights": {
            name: packed_arrays.pack_numbers(value, "float16") for name, value in weights.items()
        },
        "codes": [[0.3 * i - 1.5, math.sin(i), i % 10] for i in range(12)],
        "extent": [-4.0, 4.0, -4.0, 4.0],
    }


def all_pictures():
    names = ("test", "vae", "autoencoder", "autoencoder_fitted", "vae_2d")
    codes = [[math.cos(i), 0.01 * i, i % 10] for i in range(1000)]
    wide = [[9 * z1, 5 * z2, label] for z1, z2, label in codes]
    return {
        "generation_picture": {
            "samples": {name: sheet(8, 8) for name in names},
            "scatter": {"vae_2d": codes, "autoencoder_2d": wide},
        },
        "latent_space_picture": {
            "manifolds": {"digits": sheet(4, 4), "faces": sheet(4, 4)},
            "samples": {net: sheet(10, 10) for net in NETS if net != "faces_z2"},
            "reconstructions": {net: sheet(2, 8, level=0.1 * z) for net, z in NETS.items()},
            "walks": {"z20": sheet(4, 10)},
            "planes": [plane(), plane("Latent plane of faces")],
        },
    }


def command_line(folder, metrics, given, out):
    params = {"run": "full", "published": PUBLISHED}
    return evidence_cases.command_line(folder, "vae", metrics, given, params, out)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run the step on all cases, once for this module."""
    folder = tmp_path_factory.mktemp("figures")
    evidence_cases.run("vae", command_line(folder, all_metrics(), all_pictures(), "out"))
    return folder


def drawn(metrics=None, given=None, run="full"):
    """Draw as the step does, in the project's style: file -> plot."""
    return evidence_cases.drawn(
        figures.figures(figures.Params(run, PUBLISHED)), metrics or {}, given or {}
    )


def only(*cases):
    return {case: ours for case, ours in all_metrics().items() if case in cases}


def labels_of(plot):
    return {label for a in plot.figure.axes for label in a.get_legend_handles_labels()[1]}


@pytest.mark.slow
def test_all_figures_are_written_and_listed_in_order(written):
    listed = json.loads((written / "out" / "figures.json").read_text())
    assert [figure["file"] for figure in listed] == STEMS
    for figure in listed:
        assert all(figure[key] for key in ("title", "caption", "alt"))
        with Image.open(written / "out" / f"{figure['file']}.png") as image:
            assert 5.9 * 150 <= image.size[0] <= 9 * 150
    names = {path.name for path in (written / "out").iterdir()}
    pages = {"figures.json", "read.json", "latent_plane.html"}
    assert names == pages | {stem + suffix for stem in STEMS for suffix in (".svg", ".png")}
    page = (written / "out" / "latent_plane.html").read_text(encoding="utf-8")
    picture = pictures.unpacked(written / "evidence" / "latent_space")
    assert page == latent_page.page(picture["planes"])


@pytest.mark.slow
def test_a_rerun_elsewhere_gives_the_same_bytes_and_needs_no_torch(written):
    code = evidence_cases.CODE.format(paper="vae") + (
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


def test_nothing_gives_no_figure(tmp_path):
    evidence_cases.run("vae", command_line(tmp_path, {}, {}, "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"figures.json", "read.json"}
    assert json.loads((tmp_path / "out" / "figures.json").read_text()) == []


def shown_ticks(axis):
    """Give the labels of the ticks within the axis' limits: matplotlib draws no other."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def groups_of_texts(figure):
    """Give the texts of a figure, in groups whose members must not overlap."""
    for axes in figure.axes:
        if axes.axison:
            yield shown_ticks(axes.xaxis)
            yield shown_ticks(axes.yaxis)
        yield axes.texts
    for legend in figure.legends:
        yield legend.get_texts()
    yield [a.title for a in figure.axes] + [a.xaxis.label for a in figure.axes]
    yield [*figure.legends, *(a.xaxis.label for a in figure.axes)]


@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_text_is_cut_and_none_overlap(wide):
    metrics = all_metrics()
    if wide:  # two seeds far apart, as in a run of seconds
        metrics = {
            case: {key: [ours[0] * 0.7, ours[-1] * 1.3] for key, ours in metrics[case].items()}
            for case in metrics
        }
    for plot in drawn(metrics, all_pictures()).values():
        plot.figure.draw_without_rendering()
        page = plot.figure.bbox.padded(1)
        for group in groups_of_texts(plot.figure):
            shown = [
                artist
                for artist in group
                if artist.get_visible() and getattr(artist, "get_text", lambda: "legend")()
            ]
            boxes = [artist.get_window_extent() for artist in shown]
            for artist, box in zip(shown, boxes, strict=True):
                assert all(page.contains(*c) for c in box.corners()), (plot.file, artist)
            pairs = itertools.combinations(boxes, 2)
            assert not any(a.overlaps(b) for a, b in pairs), (plot.file, shown)


def test_bounds_are_drawn_by_latents_method_and_split():
    plot = drawn(only("aevb_z3", "wake_sleep_z3", "wake_sleep_z200"))["bound_digits"]
    three, many = plot.figure.axes
    assert [three.get_title(), many.get_title()] == ["3 latents", "200 latents"]
    assert three.get_ylim() == many.get_ylim()
    lines = [container[0] for container in three.containers]
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 2
    assert [line.get_marker() for line in lines] == ["o", "o", "s", "s"]
    assert lines[0].get_xdata().tolist() == [100_000, 300_000, 1_000_000]
    assert lines[0].get_ydata() == pytest.approx([-174, -162, -150])
    assert lines[1].get_ydata() == pytest.approx([-173, -161, -149])
    half = 4.302653 * 0.1 / math.sqrt(3)
    bar = three.containers[0][2][0].get_segments()[0]
    assert bar[:, 1] == pytest.approx([-174 - half, -174 + half])
    three = "AEVB −150.00 [−150.25, −149.75], wake-sleep −155.00 [−155.25, −154.75]"
    assert f"3 latents: {three} after 1\u202f000\u202f000; 200" in plot.caption


def test_published_numbers_are_hollow_and_of_the_full_run_only():
    plot = drawn(only("aevb_z3", "wake_sleep_z3", "vae_k1", "iwae_k50"))["bound_digits"]
    drawings = plot.figure.axes[0].collections
    hollow = [d for d in drawings if isinstance(d, PathCollection) and not len(d.get_facecolors())]
    places = [drawing.get_offsets().tolist() for drawing in hollow]
    assert [ours for ours in places if ours] == [[[1e6, -152.9], [2.5e8, -133.5]], [[1e6, -155.1]]]
    assert "published" in labels_of(plot)
    for plot in drawn(all_metrics(), run="embedded").values():
        assert "published" not in labels_of(plot)
        assert "paper's" not in plot.caption


def test_a_diverged_training_does_not_squash_the_others():
    metrics = only("adam_z10", "adagrad_01_z10")
    metrics["adagrad_01_z10"] |= {
        "test/elbo_300000_nats": [-9000.0],
        "test/elbo_1000000_nats": [-8000.0],
    }
    plot = drawn(metrics)["optimisers"]
    low, high = plot.figure.axes[0].get_ylim()
    assert -165 < low < -157  # the others begin at -157
    assert -133 < high < -127
    assert "Below the axis, with the value at its edge: Adagrad, 0.1." in plot.caption
    texts = [text.get_text() for text in plot.figure.axes[0].texts]
    assert texts == ["−9\u202f000", "−8\u202f000"]
    assert "Below" not in drawn(only("adam_z10"))["optimisers"].caption


def test_variances_are_drawn_by_latents_estimator_and_samples():
    one, ten = drawn(only("gradient_variance"))["gradient_variance"].figure.axes
    assert [one.get_title(), ten.get_title()] == ["1 sample per image", "10 samples per image"]
    b = next(c for c in ten.containers if c.get_label().startswith("estimator B"))
    assert b[0].get_xdata().tolist() == [3, 5, 10, 20, 200]
    assert b[0].get_ydata() == pytest.approx([0.3, 0.5, 1, 2, 20], rel=0.01)  # geometric means
    assert b[0].get_linestyle() == "None"
    lows = [segment[0][1] for segment in b[2][0].get_segments()]
    assert min(lows) > 0  # so that an interval has both ends on a logarithmic axis
    assert one.get_yscale() == ten.get_yscale() == "log"


def test_vae_with_one_sample_is_on_both_curves_of_importance_weights():
    axes = drawn(only("vae_k1", "vae_k5", "iwae_k50"))["iwae"].figure.axes[0]
    curves = {c.get_label(): c[0].get_xydata() for c in axes.containers}
    assert curves["VAE, k samples"][:, 1] == pytest.approx([87, 86.6])
    assert curves["IWAE, k weights"][:, 1] == pytest.approx([87, 85.4])
    assert curves["IWAE, k weights"][:, 0] == pytest.approx([1, 50], rel=0.05)


def test_bars_of_generation_are_the_metrics():
    plot = drawn(all_metrics(), all_pictures())["generation"]
    far = next(a for a in plot.figure.axes if a.get_xlabel().startswith("Fréchet"))
    names = [label.get_text() for label in far.get_yticklabels()]
    widths = dict(zip(names, [bar.get_width() for bar in far.patches], strict=True))
    assert widths["VAE"] == pytest.approx(12.5)
    assert widths["autoencoder, fitted Gaussian"] == pytest.approx(3.8)
    assert widths["training images"] == 0.9
    assert "autoencoder 0.0120 [" in plot.caption  # its reconstruction error
    assert {a.get_title() for a in plot.figure.axes if a.images} == {
        "VAE",
        "autoencoder",
        "autoencoder, fitted",
        "test images",
    }


def test_images_are_shown_pixel_by_pixel_on_one_scale_of_grey():
    for plot in drawn(all_metrics(), all_pictures()).values():
        for image in (image for axes in plot.figure.axes for image in axes.images):
            assert image.get_interpolation() == "none"
            assert image.get_clim() == (0, 255)


def test_images_of_a_sheet_keep_their_places():
    images = 17 * (np.arange(2 * 3 * 2 * 2, dtype=np.uint8) % 16).reshape(2, 3, 2, 2)
    picture = {"manifolds": {"digits": packed_arrays.pack_images(images / 255)}}
    with plots.style():
        shown = spaces.manifold(picture).figure.axes[0].images[0].get_array()
    assert shown.shape == (4, 6)
    for row, column in itertools.product(range(2), range(3)):
        ours = shown[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert ours.tolist() == images[row, column].tolist()


def test_reconstructions_stand_below_test_images_once():
    plot = drawn(all_metrics(), all_pictures())["reconstructions"]
    digits, faces = plot.figure.axes
    names = ["test images", "2 latents", "5 latents", "10 latents", "20 latents"]
    assert [text.get_text() for text in digits.texts] == names
    assert [text.get_text() for text in faces.texts] == names[:2]
    assert digits.images[0].get_array().shape == (5 * 3 + 4, 8 * 2 + 7)
    assert "faces, 2 latents: 0.0300 [" in plot.caption


def test_codes_are_drawn_as_their_labels_with_the_priors_circles():
    plot = drawn({}, all_pictures())["latent_scatter"]
    plain, vae = plot.figure.axes
    assert [plain.get_title(), vae.get_title()] == ["autoencoder", "VAE"]
    assert vae.get_aspect() == 1
    radii = [np.hypot(*line.get_data()) for line in vae.lines]
    assert [radius[0] for radius in radii] == pytest.approx([1, 2, 3])
    assert sum(len(drawing.get_offsets()) for drawing in vae.collections) == 600
    assert "Codes of 600 test digits" in plot.caption
    z = np.array(all_pictures()["generation_picture"]["scatter"]["vae_2d"])
    assert f"VAE {z[:, 0].std(ddof=1):.2f} and {z[:, 1].std(ddof=1):.2f}" in plot.caption


def test_the_plane_shows_what_its_decoder_gives_at_whole_numbers():
    _, right = drawn({}, all_pictures())["latent_plane"].figure.axes
    image = right.images[0]
    assert image.get_extent() == [-4.5, 4.5, -4.5, 4.5]
    shown = image.get_array()
    assert shown.shape == (9 * 3, 9 * 2)
    hidden = np.tanh([2.0, 0.5 - 2 * 3.0, -2.0])  # z = (2, -3): column 6 and row 7 of 0..8
    logits = hidden @ (np.arange(18.0).reshape(3, 6) / 10)
    expected = (255 / (1 + np.exp(-logits))).reshape(3, 2)
    # Greys are rounded to 16 levels, 17 apart
    np.testing.assert_allclose(shown[21:24, 12:14], expected, rtol=0, atol=9)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("generation_picture", {"samples": None}, "has no samples; delete it and run the step"),
        ("generation_picture", {"samples": {"vae": 1}}, "needs shape and pixels"),
        ("generation_picture", {"scatter": [1]}, "generation_picture has no scatter"),
        ("generation_picture", {"scatter": {"vae_2d": [[1, 2]]}}, "lists of z1, z2 and a label"),
        ("latent_space_picture", {"manifolds": 7}, "latent_space_picture has no manifolds"),
        ("latent_space_picture", {"walks": {"z20": {}}}, "needs shape and pixels"),
        ("latent_space_picture", {"planes": []}, "latent_space_picture has no planes"),
        ("latent_space_picture", {"planes": [1]}, "has a plane that is none"),
        ("latent_space_picture", {"planes": [{"title": "x"}]}, r"planes\[0\] has \['title'\]"),
        ("latent_space_picture", {"reconstructions": {"z2": sheet(1, 8)}}, "two rows of the same"),
    ],
)
def test_a_wrong_picture_is_refused(name, change, message):
    given = {name: all_pictures()[name] | change}
    with pytest.raises(UserError, match=message):
        drawn(all_metrics(), given)


@pytest.mark.parametrize("name", OF_PICTURES)
def test_what_is_no_picture_is_refused_before_the_list_is_written(tmp_path, capsys, name):
    with pytest.raises(SystemExit) as caught:
        evidence_cases.run("vae", command_line(tmp_path, only("aevb_z3"), {name: [1]}, "out"))
    assert caught.value.code == 2
    assert f"{name} has no" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out" / "figures.json").exists()


@pytest.mark.slow
def test_an_svg_holds_no_date_and_a_thousand_codes_do_not_swell_it(written):
    for stem in STEMS:
        path = written / "out" / f"{stem}.svg"
        assert path.stat().st_size < 300_000, stem
        assert not re.search(r"<dc:date|20\d\d-\d\d-\d\d|Matplotlib v", path.read_text())


def test_no_curve_is_drawn_of_a_case_without_its_metrics():
    assert figures_of_bounds.course({"aevb_z3": {"test/elbo_nats": [1.0]}}, "aevb_z3", "test") == {}
    assert drawn({"aevb_z3": {"test/kl_nats": [3.0]}}) == {}
