import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import bad_inputs
from pr12.core import tensor_files
from pr12.photostyle.data import common_classes, package_photographs
from pr12.photostyle.model import backbones, matting, optimise
from pr12.photostyle.transfer import __main__ as transfer
from pr12.photostyle.transfer import (
    checkpoint,
    images,
    inputs,
    matched_start,
    optimised,
    problem,
    stages,
)
from pr12.workflow import address, progress, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

HEIGHT, WIDTH = 24, 32
QUICK = {
    "iterations": 3,
    "photorealistic_iterations": 3,
    "style_layers": ["conv1"],
    "content_layers": ["conv1"],
    "bfloat16": False,
}
RED, BLUE = [255, 0, 0], [0, 0, 255]
PATHS = {
    "reads": ["content", "style"],
    "optional": ["content_mask", "style_mask", "weights"],
    "writes": ["output"],
}


@pytest.fixture(autouse=True)
def no_fetched_weights(monkeypatch):
    monkeypatch.setattr(problem, "FETCHED", Path("nowhere"))


def photograph(seed, height=HEIGHT, width=WIDTH):
    """Sky above ground, with some detail."""
    pixels = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    pixels[: height // 2] += (60, 90, 160) if seed == 0 else (150, 90, 30)
    return pixels.astype(np.uint8)


def halves(upper, lower, height=HEIGHT, width=WIDTH):
    pixels = np.tile(np.uint8(lower), (height, width, 1))
    pixels[: height // 2] = upper
    return pixels


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def pair(tmp_path):
    """Give the paths of a content and a style, with masks of the same two classes."""
    return {
        "content": save(tmp_path / "content.png", photograph(0)),
        "style": save(tmp_path / "style.png", photograph(1)),
        "content_mask": save(tmp_path / "content_mask.png", halves(RED, BLUE)),
        "style_mask": save(tmp_path / "style_mask.png", halves(RED, BLUE)),
        "output": tmp_path / "out.png",
    }


def conv1_weights(path):
    drawn = torch.Generator().manual_seed(0)
    shapes = backbones.shapes(backbones.cut("squeezenet1_0", ["conv1"], "max"))
    weights = {name: torch.randn(ours, generator=drawn) / 10 for name, ours in shapes.items()}
    tensor_files.write_tensors(path, weights)
    return path


def line(paths, resume=False, **params):
    given = [f"{name}={path}" for name, path in paths.items()]
    return ["--params", json.dumps(QUICK | params), *given, *["--resume"] * resume]


def transferred(paths, **params):
    arguments = transfer.with_defaults(line(paths, **params))
    with step.start(transfer.Settings, **PATHS, arguments=arguments) as job:
        transfer.main(job)
    return images.read_photograph(paths["output"])


def refused(capsys, paths, **params):
    """Give the one sentence that answers a mistake."""
    folder = paths["output"].parent
    fixed = os.path.isdir(folder) and folder != Path("/proc")
    before = set(folder.iterdir()) if fixed else set()
    with pytest.raises(SystemExit) as ended:
        transferred(paths, **params)
    assert ended.value.code == 2
    if before:
        assert set(folder.iterdir()) == before
    message = capsys.readouterr().err.splitlines()
    errors = [one for one in message if one.startswith("error: ")]
    assert len(errors) == 1
    assert message[-1] == errors[0]
    return errors[0]


# --- what it gives ---


def test_the_result_has_the_contents_size_and_turns_to_the_styles_colours(pair, tmp_path):
    save(pair["style"], photograph(1, 20, 40))
    save(pair["style_mask"], halves(RED, BLUE, 20, 40))
    actual = transferred(pair, iterations=20, content_weight=1.0, photorealism=1.0).pixels
    assert actual.shape == (HEIGHT, WIDTH, 3)
    content, style = photograph(0) / 255, photograph(1) / 255
    top = slice(0, HEIGHT // 2 - 2)
    before = abs(content[top].mean(axis=(0, 1)) - style[top].mean(axis=(0, 1)))
    after = abs(actual[top].mean(axis=(0, 1)) - style[top].mean(axis=(0, 1)))
    assert after.sum() < 0.5 * before.sum()
    assert not list(tmp_path.glob(".*"))


def test_a_class_takes_its_colours_from_its_own_class_alone(pair):
    style = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    style[: HEIGHT // 2] = 230
    style[HEIGHT // 2 :] = 20
    save(pair["style"], style)
    settings = {"iterations": 40, "content_weight": 0.1, "photorealism": 0.0}
    alike = transferred(pair, **settings).pixels
    save(pair["style_mask"], halves(BLUE, RED))
    swapped = transferred(pair, **settings).pixels
    top = slice(0, HEIGHT // 2 - 3)
    assert alike[top].mean() > swapped[top].mean() + 0.2


def test_without_masks_they_are_made_and_a_warning_says_so(pair, capsys):
    del pair["content_mask"], pair["style_mask"]
    assert transferred(pair).pixels.shape == (HEIGHT, WIDTH, 3)
    assert "no masks are given" in capsys.readouterr().err


def test_a_larger_photograph_is_optimised_small_and_given_back_large(pair):
    content = photograph(0, 60, 90)
    content[::2] //= 2  # stripes that the small image cannot hold
    save(pair["content"], content)
    save(pair["content_mask"], halves(RED, BLUE, 60, 90))
    actual = transferred(pair, size=45).pixels
    assert actual.shape == (60, 90, 3)
    stripes = np.diff(actual.mean(axis=(1, 2)))
    assert (stripes[:20:2] > 0.02).all()
    assert (stripes[1:20:2] < -0.02).all()


def test_without_smoothing_an_image_of_the_working_size_is_given_as_it_is(pair, monkeypatch):
    wanted = torch.rand(1, 3, HEIGHT, WIDTH)
    kept = optimise.Step(1, {"loss": 1.0}, wanted, {"iteration": 1, "image": wanted})
    rows = [stages.Reached(2, kept, 3)]
    monkeypatch.setattr(stages, "steps", lambda *_: iter(rows))
    actual = transferred(pair, smoothing_radius=0).pixels
    np.testing.assert_allclose(actual, wanted[0].permute(1, 2, 0), atol=0.51 / 255)
    smooth = transferred(pair, smoothing_radius=5).pixels
    matrix = matting.laplacian(photograph(0) / 255)
    energy = [
        sum(ours @ (matrix @ ours) for ours in image.reshape(-1, 3).T.astype(float))
        for image in (actual, smooth)
    ]
    assert energy[1] < 0.5 * energy[0]


def test_the_same_command_gives_the_same_bytes(pair):
    transferred(pair, start="noise")
    first = pair["output"].read_bytes()
    transferred(pair, start="noise")
    assert pair["output"].read_bytes() == first
    transferred(pair, start="noise", seed=1)
    assert pair["output"].read_bytes() != first


def test_weights_given_or_fetched_are_used(pair, tmp_path, monkeypatch, capsys):
    transferred(pair)
    untrained = pair["output"].read_bytes()
    assert "stays untrained" in capsys.readouterr().err
    path = conv1_weights(tmp_path / "w.safetensors")
    transferred(pair | {"weights": path})
    given = pair["output"].read_bytes()
    assert given != untrained
    monkeypatch.setattr(problem, "FETCHED", path)
    transferred(pair)
    assert pair["output"].read_bytes() == given
    assert "untrained" not in capsys.readouterr().err


def test_exif_orientation_is_applied_and_not_written(pair):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(pair["content"], np.ascontiguousarray(np.rot90(photograph(0))), exif=exif)
    turned = transferred(pair).pixels
    assert turned.shape == (HEIGHT, WIDTH, 3)
    assert Image.open(pair["output"]).getexif().get(0x0112) is None
    save(pair["content"], photograph(0))
    np.testing.assert_array_equal(transferred(pair).pixels, turned)


def test_alpha_is_given_back(pair):
    alpha = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    save(pair["content"], np.concatenate([photograph(0), alpha], axis=2))
    actual = transferred(pair)
    np.testing.assert_array_equal(np.rint(255 * actual.alpha), alpha[..., 0])


def test_16_bits_give_16_bits(pair, tmp_path):
    numbers = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 3)) / 65535
    content = images.Photograph(numbers.astype(np.float32), None, 16, False, None)
    transfer.transfer_output.write_photograph(tmp_path / "deep.png", content)
    actual = transferred(pair | {"content": tmp_path / "deep.png"})
    assert actual.bits == 16
    assert len(np.unique(np.rint(65535 * actual.pixels))) > 256


def test_a_grey_content_takes_colours(pair):
    save(pair["content"], photograph(0)[..., 0])
    actual = transferred(pair, content_weight=1.0, iterations=10).pixels
    assert np.ptp(actual, axis=2).mean() > 0.02


def test_a_jpeg_of_a_transparent_content_warns(pair, tmp_path, capsys):
    save(pair["content"], np.dstack([photograph(0), photograph(1)[..., :1]]))
    transferred(pair | {"output": tmp_path / "out.jpg"})
    assert "warning: JPEG cannot be transparent" in capsys.readouterr().err


def test_hidden_colours_of_a_style_are_not_used(pair):
    """What lies under alpha 0 may be any colour: the output has the same bytes."""
    outputs = []
    for hidden in ((255, 0, 255), (0, 255, 0)):
        style = np.dstack([photograph(1), np.full((HEIGHT, WIDTH), 255, np.uint8)])
        style[:, WIDTH // 2 :] = (*hidden, 0)
        save(pair["style"], style)
        transferred(pair)
        outputs.append(pair["output"].read_bytes())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("size", [700, 12])
def test_hidden_colours_of_a_content_are_neither_used_nor_given_back(pair, size, capsys):
    outputs = []
    for hidden in ((255, 0, 255), (0, 255, 0)):
        content = np.dstack([photograph(0), np.full((HEIGHT, WIDTH), 255, np.uint8)])
        content[:, : WIDTH // 2] = (*hidden, 0)
        save(pair["content"], content)
        output = transferred(pair, size=size)
        outputs.append(pair["output"].read_bytes())
        np.testing.assert_array_equal(output.alpha, content[..., 3] / 255)
    assert outputs[0] == outputs[1]
    assert "50.0 % of" in capsys.readouterr().err


def test_a_class_that_a_style_only_hides_is_missing_there(pair, capsys):
    style = np.dstack([photograph(1), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    style[: HEIGHT // 2, :, 3] = 0
    save(pair["style"], style)
    transferred(pair)
    assert "the style has no #ff0000" in capsys.readouterr().err


def test_automatic_masks_of_a_transparent_style_are_of_what_is_seen(pair):
    del pair["content_mask"], pair["style_mask"]
    style = np.dstack([photograph(1), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    style[:12, :, 3] = 0
    save(pair["style"], style)
    read = inputs.read({name: pair[name] for name in ("content", "style")}, 700)
    assert (read.style_labels[:12] == common_classes.UNUSED).all()
    classes = np.unique(read.content_labels)
    assert np.isin(classes, read.style_labels).all()


def test_the_classes_are_told_with_their_shares(pair, capsys):
    transferred(pair)
    message = capsys.readouterr().err
    assert "#ff0000 is 50.0 % of the content and 50.0 % of the style" in message


def test_a_bright_sky_becomes_black_everywhere(pair, tmp_path):
    """From the content itself a pale cloud stays in it, since the optimiser does not get there."""
    day, night = photograph(0), photograph(1) // 8
    ramp = np.linspace(200, 250, WIDTH * HEIGHT // 2).reshape(HEIGHT // 2, WIDTH)
    day[: HEIGHT // 2] = ramp[..., None].astype(np.uint8)
    night[: HEIGHT // 2] = 8
    save(pair["content"], day)
    save(pair["style"], night)
    sky = {
        start: 255 * transferred(pair, start=start).pixels[: HEIGHT // 2 - 2]
        for start in ("matched", "content")
    }
    assert sky["matched"].max() < 60 < sky["content"].max()


def test_the_start_has_the_styles_mean_and_no_more_spread():
    content, style = photograph(0) / np.float32(255), photograph(1) / np.float32(255)
    labels = halves([0] * 3, [1] * 3)[..., 0]
    flat = content.copy()
    flat[: HEIGHT // 2] = flat[: HEIGHT // 2] / 4 + 0.3  # its spread is below the style's
    start = matched_start.matched(flat, style, labels, labels)
    for label in (0, 1):
        before, after, wanted = (
            image[labels == label].astype(float) for image in (flat, start, style)
        )
        np.testing.assert_allclose(after.mean(axis=0), wanted.mean(axis=0), atol=0.01)
        spread = np.minimum(before.std(axis=0), wanted.std(axis=0))
        np.testing.assert_allclose(after.std(axis=0), spread, rtol=0.05)
    labels[:, :4] = common_classes.UNUSED
    again = matched_start.matched(flat, style, labels, labels)
    np.testing.assert_array_equal(again[:, :4], flat[:, :4])


def test_a_style_that_is_the_content_changes_little(pair):
    pair["style"], pair["style_mask"] = pair["content"], pair["content_mask"]
    output = transferred(pair, smoothing_radius=0).pixels
    np.testing.assert_allclose(output, photograph(0) / 255, atol=0.02)


# --- masks that are not perfect ---


def test_a_style_without_a_class_of_the_content_warns(pair, capsys):
    save(pair["style_mask"], halves(RED, RED))
    transferred(pair)
    message = capsys.readouterr().err
    assert "warning: the style has no #0000ff" in message
    assert "one class only" in message


def test_a_style_with_a_class_more_leaves_it_out(pair, tmp_path, capsys):
    mask = halves(RED, BLUE)
    mask[:, :10] = (0, 255, 0)
    save(pair["style_mask"], mask)
    pair["weights"] = conv1_weights(tmp_path / "w.safetensors")
    transferred(pair, normalise="nothing")  # mean activations are those of the whole image
    first = pair["output"].read_bytes()
    assert "the content has no #00ff00" in capsys.readouterr().err
    style = photograph(1)
    style[:, :3] = 255  # what conv1 sees of the other classes begins 6 pixels from their border
    save(pair["style"], style)
    transferred(pair, normalise="nothing")
    assert pair["output"].read_bytes() == first
    style[:, 12:20] = 255
    save(pair["style"], style)
    transferred(pair, normalise="nothing")
    assert pair["output"].read_bytes() != first


def test_masks_of_one_class_are_one_class(pair, capsys):
    for name in ("content_mask", "style_mask"):
        save(pair[name], halves(RED, RED))
    transferred(pair)
    assert "one class only" in capsys.readouterr().err


def test_a_mask_of_another_size_but_the_same_shape_fits(pair):
    save(pair["content_mask"], halves(RED, BLUE, 2 * HEIGHT, 2 * WIDTH))
    first = transferred(pair).pixels
    save(pair["content_mask"], halves(RED, BLUE))
    np.testing.assert_array_equal(transferred(pair).pixels, first)


def test_masks_of_a_larger_photograph_are_brought_to_the_working_size(tmp_path, pair):
    save(pair["content"], photograph(0, 240, 320))
    save(pair["content_mask"], halves(RED, BLUE, 240, 320))
    del pair["output"]
    actual = inputs.read(pair, 32)
    assert actual.content.shape == (24, 32, 3)
    assert (actual.content_labels[:12] == actual.style_labels[0, 0]).all()
    assert (actual.content_labels[12:] == actual.style_labels[-1, 0]).all()


# --- what is refused ---


def damaged(name, how):
    """Return what spoils a file of the pair."""

    def change(pair):
        content = pair[name].read_bytes()
        spoilt = {"empty": b"", "truncated": content[:-30], "text": b"hello"}[how]
        pair[name].write_bytes(spoilt)
        return {}

    return change


def sized(name, height, width):
    """Return what makes an image and its mask of another size."""

    def change(pair):
        save(pair[name], photograph(0, height, width))
        save(pair[f"{name}_mask"], halves(RED, BLUE, height, width))
        return {}

    return change


def path(**names):
    """Return what gives other files: paths beside the pair's, or None to leave one out."""

    def change(pair):
        for name, other in names.items():
            if other is None:
                del pair[name]
            else:
                pair[name] = pair["content"].parent / other
        return {}

    return change


def params(**values):
    """Return what gives other params."""
    return lambda pair: values


def photograph_as_mask(quality=None):
    """Return what gives the photograph itself as its mask."""

    def change(pair):
        pair["style"] = save(pair["style"], package_photographs.named("coffee"))
        pair["style_mask"] = pair["style"].with_name("mask.jpg" if quality else "mask.png")
        options = {"quality": quality} if quality else {}
        save(pair["style_mask"], package_photographs.named("coffee"), **options)
        return {}

    return change


def exchanged(pair):
    """Exchange masks of unlike shapes."""
    sized("style", 24, 48)(pair)
    pair["content_mask"], pair["style_mask"] = pair["style_mask"], pair["content_mask"]
    return {}


def transparent(pair):
    save(pair["style"], np.dstack([photograph(1), np.zeros((HEIGHT, WIDTH), np.uint8)]))
    return {}


def premultiplied(pair):
    pair["content"] = pair["content"].with_suffix(".tif")
    pixels = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    tifffile.imwrite(pair["content"], pixels, photometric="minisblack", extrasamples=["assocalpha"])
    return {}


def deep(pair):
    pair["content"] = pair["content"].with_suffix(".tif")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)).save(pair["content"])
    return {}


def pipe(pair):
    pair["style"] = pair["style"].with_name("pipe.png")
    os.mkfifo(pair["style"])
    return {}


def windows(pair):
    sized("content", 230, 240)(pair)
    sized("style", 230, 240)(pair)
    return {
        "architecture": "maxvit_t",
        "style_layers": ["blocks.0"],
        "content_layers": ["blocks.0"],
    }


def output_over_a_link(pair):
    pair["output"].symlink_to(pair["style"])
    return {}


def output_is_a_folder(pair):
    pair["output"] = pair["output"].with_suffix("")
    pair["output"].mkdir()
    return {}


def weights(name, content):
    """Return what gives weights, made by a function of their path."""

    def change(pair):
        pair["weights"] = pair["content"].with_name(name)
        content(pair["weights"])
        return {}

    return change


def of_another_net(place):
    tensor_files.write_tensors(place, {"features.0.weight": torch.ones(64, 3, 3, 3)})


def not_finite(place):
    tensors = tensor_files.read_tensors(conv1_weights(place))
    tensors["features.0.bias"][3] = float("nan")
    tensor_files.write_tensors(place, tensors)


def truncated_weights(place):
    place.write_bytes(conv1_weights(place).read_bytes()[:-100])


# id, what spoils the pair (and gives params), words that the message must hold
BAD_INPUTS = [
    *[
        (f"{how}-{name}", damaged(name, how), [f"{name}.png", words])
        for name in ("content", "style", "content_mask", "style_mask")
        for how, words in (
            ("empty", "is empty"),
            ("truncated", "copy or export it again"),
            ("text", "known format"),
        )
    ],
    ("one-pixel-content", sized("content", 1, 1), ["content", "1 x 1", "7 x 7", "larger image"]),
    ("one-pixel-style", sized("style", 1, 1), ["style", "1 x 1", "7 x 7", "larger image"]),
    ("narrow-style", sized("style", 6, 40), ["40 x 6", "6 pixels at the shorter", "larger image"]),
    ("strip", sized("content", 5, 5000), ["700 x 1", "5 pixels at the shorter", "larger image"]),
    ("long", sized("content", 12, 2400), ["700 x 4", "--params.size 1400 or more"]),
    ("premultiplied-grey", premultiplied, ["content.tif", "La", "save it as RGB"]),
    ("32-bits", deep, ["content.tif", "32 bits", "8 or 16"]),
    ("transparent-style", transparent, ["style.png", "transparent everywhere", "give an image"]),
    ("folder-as-content", path(content="."), ["is not a file", "give an image"]),
    ("pipe-as-style", pipe, ["pipe.png", "not a file", "give an image"]),
    ("no-content", path(content="none.png"), ["content=", "none.png", "does not exist"]),
    ("one-mask", path(style_mask=None), ["content_mask", "without style_mask", "give both"]),
    ("photograph-as-mask", photograph_as_mask(), ["mask.png", "colours and", "one flat colour"]),
    ("jpeg-as-mask", photograph_as_mask(80), ["mask.jpg", "a photograph", "one flat colour"]),
    ("masks-exchanged", exchanged, ["style_mask.png", "48 x 24", "32 x 24", "exchange them"]),
    ("output-folder", output_is_a_folder, ["output=", "is a folder", "name of an image"]),
    ("output-format", path(output="out.gif"), ["out.gif", "no known format", ".png"]),
    ("output-no-folder", path(output="none/out.png"), ["none/out.png", "does not exist", "make"]),
    ("output-is-input", path(output="style.png"), ["style.png", "give"]),
    ("output-link-to-input", output_over_a_link, ["out.png", "give"]),
    ("output-read-only", path(output="/proc/out.png"), ["/proc/out.png", "choose another"]),
    ("output-long-name", path(output="o" * 240 + ".png"), ["244 bytes", "at most 230"]),
    ("output-long-path", path(output="d/" * 2100 + "o.png"), ["too long", "another folder"]),
    (
        "weights-other-net",
        weights("w.safetensors", of_another_net),
        ["w.safetensors", "another architecture", "(96, 3, 7, 7)", "choose"],
    ),
    ("weights-nan", weights("w.safetensors", not_finite), ["not finite", "features.0.bias"]),
    ("weights-cut", weights("w.safetensors", truncated_weights), ["safetensors", "again"]),
    ("weights-text", weights("w.pth", lambda place: place.write_text("a")), ["w.pth", "again"]),
    ("weights-folder", weights("w.pth", Path.mkdir), ["cannot read", "w.pth"]),
    ("weights-image", path(weights="content.png"), ["content.png", "neither", "give weights"]),
    (
        "network-unknown",
        params(architecture="squeezenet9"),
        ["'squeezenet9'", "choose", "squeezenet1_0"],
    ),
    (
        "network-without-layers",
        params(architecture="resnet18", style_layers=None),
        ["resnet18", "no default", "give style_layers"],
    ),
    (
        "network-of-one-size",
        params(architecture="vit_b_16", style_layers=["conv_proj"], content_layers=["conv_proj"]),
        ["vit_b_16", "one size", "choose"],
    ),
    ("network-of-windows", windows, ["maxvit_t", "240 x 230", "choose a convolutional network"]),
    ("layer-unknown", params(style_layers=["conv9_9"]), ["'conv9_9'", "it has conv1"]),
    ("layer-empty", params(content_layers=[""]), ["no layer ''", "it has conv1"]),
    ("layers-none", params(content_layers=[]), ["content_layers is []", "at least one element"]),
    (
        "layer-without-places",
        params(architecture="resnet18", style_layers=["fc"], content_layers=["layer1"]),
        ["layer", "earlier layer"],
    ),
    ("pooling", params(pooling="median"), ["pooling", "average, max"]),
    ("start", params(start="grey"), ["start", "matched, closed_form, content, noise"]),
    ("size-0", params(size=0), ["size", "at least 1"]),
    ("size-negative", params(size=-700), ["size", "at least 1"]),
    ("size-fraction", params(size=7.5), ["size", "whole number"]),
    ("size-5", params(size=5), ["5 x 4 pixels", "--params.size 10 or more"]),
    ("iterations-negative", params(iterations=-1), ["iterations", "at least 1"]),
    ("second-negative", params(photorealistic_iterations=-1), ["photorealistic", "at least 0"]),
    ("lambda-negative", params(photorealism=-1), ["photorealism", "at least 0"]),
    ("lambda-text", params(photorealism="1e4"), ["photorealism", "a number"]),
    ("smoothing-0", params(smoothing_epsilon=0), ["smoothing_epsilon", "above 0"]),
    ("param-unknown", params(colour=1), ["colour is unknown"]),
    ("style-weight-1e300", params(style_weight=1e300), ["not finite", "weights"]),
    ("style-weight-1e25", params(style_weight=1e25), ["nothing is done", "style_weight 1e+25"]),
    ("weights-0", params(style_weight=0, content_weight=0), ["style_weight", "both 0", "above 0"]),
    (
        "style-is-content",
        lambda pair: (
            path(style="content.png", style_mask="content_mask.png")(pair) | {"photorealism": 0}
        ),
        ["nothing is done", "style that is not the content"],
    ),
]


@bad_inputs.each(BAD_INPUTS)
def test_a_bad_input_is_refused_in_one_sentence(pair, capsys, row):
    (change,) = row.given
    bad_inputs.check(refused(capsys, pair, **change(pair)), row.words)


@pytest.mark.slow
def test_the_least_size_is_enough_for_every_layer(pair):
    style, content = problem.LAYERS["squeezenet1_0"]
    least = problem.least_side("squeezenet1_0", [*style, *content], "average")
    assert 7 < least < 24
    for name in ("content", "style"):
        save(pair[name], photograph(0, least, least))
        save(pair[f"{name}_mask"], halves(RED, BLUE, least, least))
    actual = transferred(pair, style_layers=None, content_layers=None).pixels
    assert actual.shape == (least, least, 3)


def test_an_output_that_cannot_be_is_refused_before_anything_is_read(pair, monkeypatch):
    monkeypatch.setattr(inputs, "read", None)
    with pytest.raises(SystemExit) as ended:
        transferred(pair | {"output": pair["content"]})
    assert ended.value.code == 2


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_weights_that_would_run_something_are_refused(pair, capsys, tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.safetensors"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Malicious(), protocol=2))
    else:
        torch.save({"features.0.weight": Malicious()}, path)
    message = "wants to call posix.mkdir; only plain weights are read"
    assert message in refused(capsys, pair | {"weights": path})
    assert not (tmp_path / "executed").exists()


def test_params_that_are_no_json_are_refused(capsys):
    with (
        pytest.raises(SystemExit),
        step.start(
            transfer.Settings, **PATHS, arguments=transfer.with_defaults(["--params", "{size: 3}"])
        ),
    ):
        pass
    assert "is not JSON" in capsys.readouterr().err


# --- going on ---


def stopped_after(monkeypatch, count):
    """Press Ctrl-C when some steps are done."""
    steps = stages.steps

    def short(*arguments):
        for number, reached in enumerate(steps(*arguments)):
            if number == count:
                raise KeyboardInterrupt
            yield reached

    monkeypatch.setattr(stages, "steps", short)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_resumed_run_gives_the_bytes_of_a_whole_one(pair, tmp_path, monkeypatch, count):
    transferred(pair)
    whole = pair["output"].read_bytes()
    pair["output"].unlink()
    with monkeypatch.context() as patch:
        stopped_after(patch, count)
        with pytest.raises(SystemExit) as ended:
            transferred(pair)
    assert ended.value.code == 130
    assert pair["output"].read_bytes() != whole
    assert (tmp_path / ".out.png.resume.pt").is_file()
    starts = []
    follow = progress.follow
    monkeypatch.setattr(
        progress, "follow", lambda *ours, done: starts.append(done) or follow(*ours, done=done)
    )
    transferred(pair, resume=True)
    assert starts == [count]
    assert pair["output"].read_bytes() == whole
    assert not (tmp_path / ".out.png.resume.pt").exists()


def test_a_checkpoint_is_ignored_without_resume(pair, monkeypatch):
    transferred(pair)
    whole = pair["output"].read_bytes()
    with monkeypatch.context() as patch:
        stopped_after(patch, 2)
        with pytest.raises(SystemExit):
            transferred(pair, content_weight=3.0)
    transferred(pair)
    assert pair["output"].read_bytes() == whole


def test_a_checkpoint_of_other_images_or_params_is_refused(pair, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stopped_after(patch, 2)
        with pytest.raises(SystemExit):
            transferred(pair)
    capsys.readouterr()
    assert "belongs to other images" in refused(capsys, pair, resume=True, seed=4)
    save(pair["style"], photograph(5))
    assert "belongs to other images" in refused(capsys, pair, resume=True)


def test_resume_without_a_checkpoint_starts_afresh(pair, capsys):
    transferred(pair, resume=True)
    assert "starting afresh" in capsys.readouterr().err


def test_checkpoints_are_written_now_and_then(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(optimised, "EVERY", 2)
    written = []
    save = checkpoint.save
    monkeypatch.setattr(
        checkpoint,
        "save",
        lambda place, state: written.append(state["stage"]) or save(place, state),
    )
    transferred(pair)
    assert written == [1, 2]


def test_two_outputs_of_one_stem_have_a_checkpoint_each(pair, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_after(patch, 2)
        for name in ("sh.png", "sh.jpg"):
            with pytest.raises(SystemExit):
                transferred(pair | {"output": tmp_path / name})
    checkpoints = {".sh.png.resume.pt", ".sh.jpg.resume.pt"}
    assert {path.name for path in tmp_path.glob(".sh*")} == checkpoints
    transferred(pair | {"output": tmp_path / "sh.jpg"}, resume=True)
    assert {path.name for path in tmp_path.glob(".sh*")} == {".sh.png.resume.pt"}


@pytest.mark.parametrize("how", ["cut", "one byte", "text"])
def test_a_damaged_checkpoint_is_said_to_be_damaged(pair, tmp_path, monkeypatch, capsys, how):
    with monkeypatch.context() as patch:
        stopped_after(patch, 2)
        with pytest.raises(SystemExit):
            transferred(pair)
    capsys.readouterr()
    path = tmp_path / ".out.png.resume.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt = {"cut": content[:-50], "one byte": content, "text": b"hello"}[how]
    path.write_bytes(spoilt)
    message = refused(capsys, pair, resume=True)
    assert str(path) in message
    assert "damaged" in message
    assert "leave out --resume" in message


def test_a_checkpoint_that_cannot_be_written_is_a_warning(pair, monkeypatch, capsys):
    monkeypatch.setattr(optimised, "EVERY", 2)
    transferred(pair)
    whole = pair["output"].read_bytes()

    def full(*_):
        raise UserError("the checkpoint cannot be written")

    monkeypatch.setattr(checkpoint.checkpoints, "save_state", full)
    transferred(pair)
    assert pair["output"].read_bytes() == whole
    message = capsys.readouterr().err
    assert ".out.png.resume.pt cannot be written; the transfer goes on" in message
    assert "free some space" in message


def broken_writing(patch, error):
    """Spoil the first writing of a result."""
    write, calls = transfer.transfer_output.write_result, []

    def broken(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise error
        write(*arguments)

    patch.setattr(transfer.transfer_output, "write_result", broken)


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (UserError("cannot write"), 2)]
)
def test_what_stops_the_writing_leaves_a_checkpoint(pair, monkeypatch, capsys, error, code):
    transferred(pair)
    whole = pair["output"].read_bytes()
    pair["output"].unlink()
    broken_writing(monkeypatch, error)
    with pytest.raises(SystemExit) as ended:
        transferred(pair)
    assert ended.value.code == code
    assert not pair["output"].exists()
    if code == 130:
        assert "--resume goes on" in capsys.readouterr().err
    transferred(pair, resume=True)
    assert pair["output"].read_bytes() == whole


def test_a_second_stage_that_does_nothing_is_told(pair, capsys):
    transferred(pair, photorealism=1e25)
    message = capsys.readouterr().err.splitlines()[-1]
    assert "stage 2 stopped after 0 of 3 iterations" in message
    assert "lower photorealism (1e+25)" in message


def started(paths, resume=False, **params):
    """Start the tool as a process that Ctrl-C can reach."""
    environment = os.environ | {"PYTHONPATH": str(address.SRC), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "pr12.photostyle.transfer", *line(paths, resume, **params)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def read_until(process, text):
    before = []
    for message in process.stderr:
        before.append(message)
        if text in message:
            return
    raise AssertionError(f"{text} did not come, but {''.join(before)}")


@pytest.mark.slow
def test_ctrl_c_writes_what_is_reached(pair, tmp_path):
    process = started(pair, iterations=100_000)
    read_until(process, "2/10")  # of 100,000; the path of the output may have "2/"
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "with --resume goes on" in message
    assert "Traceback" not in message
    assert images.read_photograph(pair["output"]).pixels.shape == (HEIGHT, WIDTH, 3)
    assert (tmp_path / ".out.png.resume.pt").is_file()


@pytest.mark.slow
def test_a_second_ctrl_c_writes_nothing(pair, tmp_path, monkeypatch):
    large = photograph(0, 3000, 4000)
    save(pair["content"], large, compress_level=1)
    save(pair["content_mask"], halves(RED, BLUE, 300, 400))
    process = started(pair, iterations=100_000, size=40)
    read_until(process, "2/10")  # of 100,000; the path of the output may have "2/"
    process.send_signal(signal.SIGINT)
    read_until(process, "Ctrl-C again")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in message
    assert not pair["output"].exists()
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.slow
def test_ctrl_c_during_the_writing_leaves_a_checkpoint(pair, tmp_path):
    save(pair["content"], photograph(0, 3000, 4000), compress_level=1)
    save(pair["content_mask"], halves(RED, BLUE, 300, 400))
    process = started(pair, size=40)
    read_until(process, "6/6")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert f"{pair['output']} is not written; the same command with --resume goes on" in message
    assert "Traceback" not in message
    assert not pair["output"].exists()
    assert (tmp_path / ".out.png.resume.pt").is_file()
    assert started(pair, size=40, resume=True).wait(timeout=120) == 0
    assert images.read_photograph(pair["output"]).pixels.shape == (3000, 4000, 3)


def test_ctrl_c_before_the_first_image_writes_nothing(pair, monkeypatch, capsys):
    stopped_after(monkeypatch, 0)
    with pytest.raises(SystemExit) as ended:
        transferred(pair)
    assert ended.value.code == 130
    assert "nothing is reached yet" in capsys.readouterr().err
    assert not pair["output"].exists()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.15, 0.6, 1.2])
def test_ctrl_c_while_it_is_imported_gives_no_traceback(pair, seconds):
    process = started(pair, iterations=100_000)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in message
    assert not pair["output"].exists()


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_it_ends_in_the_same_bytes(pair, tmp_path):
    """Kill -9 at ten moments, of which each goes on where the one before was killed."""
    length = {"iterations": 60, "photorealistic_iterations": 60}
    assert started(pair, **length).wait(timeout=120) == 0
    whole = pair["output"].read_bytes()
    pair["output"].unlink()
    random = np.random.default_rng(0)
    for _ in range(10):
        process = started(pair, resume=True, **length)
        stop = time.monotonic() + random.uniform(0.5, 6)
        while process.poll() is None and time.monotonic() < stop:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        if pair["output"].exists():
            assert pair["output"].read_bytes() == whole
    assert started(pair, resume=True, **length).wait(timeout=120) == 0
    assert pair["output"].read_bytes() == whole


def test_help_tells_the_defaults():
    message = subprocess.run(
        [sys.executable, "-m", "pr12.photostyle.transfer", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(address.SRC)},
    ).stdout
    assert '"size": 700' in message
    assert "content=a.jpg" in message


def test_defaults_are_allowed_values():
    assert make(transfer.Settings, transfer.DEFAULTS, "--params").size == 700


def test_layers_of_the_papers_networks_exist():
    for architecture, (style, content) in problem.LAYERS.items():
        assert problem.least_side(architecture, [*style, *content], "max") > 7
    with pytest.raises(UserError, match="no layer"):
        problem.least_side("vgg19", ["fire3"], "max")
