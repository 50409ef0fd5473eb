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
import torch
from PIL import Image

from pr12.core import checkpoints, tensor_files
from pr12.photostyle.model import backbones, matting, optimise
from pr12.photostyle.transfer import __main__ as transfer
from pr12.photostyle.transfer import images, inputs, stages
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
    monkeypatch.setattr(transfer, "FETCHED", Path("nowhere"))


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
    weights = {name: torch.randn(own, generator=drawn) / 10 for name, own in shapes.items()}
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
    before = set(paths["output"].parent.iterdir()) if paths["output"].parent.is_dir() else set()
    with pytest.raises(SystemExit) as ended:
        transferred(paths, **params)
    assert ended.value.code == 2
    if before:
        assert set(paths["output"].parent.iterdir()) == before
    told = capsys.readouterr().err.splitlines()
    errors = [one for one in told if one.startswith("error: ")]
    assert len(errors) == 1
    assert told[-1] == errors[0]
    return errors[0]


# --- what it gives ---


def test_the_result_has_the_contents_size_and_turns_to_the_styles_colours(pair, tmp_path):
    save(pair["style"], photograph(1, 20, 40))
    save(pair["style_mask"], halves(RED, BLUE, 20, 40))
    found = transferred(pair, iterations=20, content_weight=1.0, photorealism=1.0).pixels
    assert found.shape == (HEIGHT, WIDTH, 3)
    content, style = photograph(0) / 255, photograph(1) / 255
    top = slice(0, HEIGHT // 2 - 2)
    before = abs(content[top].mean(axis=(0, 1)) - style[top].mean(axis=(0, 1)))
    after = abs(found[top].mean(axis=(0, 1)) - style[top].mean(axis=(0, 1)))
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
    found = transferred(pair, size=45).pixels
    assert found.shape == (60, 90, 3)
    stripes = np.diff(found.mean(axis=(1, 2)))
    assert (stripes[:20:2] > 0.02).all()
    assert (stripes[1:20:2] < -0.02).all()


def test_without_smoothing_an_image_of_the_working_size_is_given_as_it_is(pair, monkeypatch):
    wanted = torch.rand(1, 3, HEIGHT, WIDTH)
    kept = optimise.Step(1, {"loss": 1.0}, wanted, {"iteration": 1, "image": wanted})
    rows = [stages.Reached(2, kept)]
    monkeypatch.setattr(stages, "steps", lambda *_: iter(rows))
    found = transferred(pair, smoothing_radius=0).pixels
    np.testing.assert_allclose(found, wanted[0].permute(1, 2, 0), atol=0.51 / 255)
    smooth = transferred(pair, smoothing_radius=5).pixels
    matrix = matting.laplacian(photograph(0) / 255)
    energy = [
        sum(own @ (matrix @ own) for own in image.reshape(-1, 3).T.astype(float))
        for image in (found, smooth)
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
    monkeypatch.setattr(transfer, "FETCHED", path)
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
    found = transferred(pair)
    np.testing.assert_array_equal(np.rint(255 * found.alpha), alpha[..., 0])


def test_16_bits_give_16_bits(pair, tmp_path):
    numbers = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 3)) / 65535
    content = images.Photograph(numbers.astype(np.float32), None, 16, False, None)
    transfer.transfer_output.write_photograph(tmp_path / "deep.png", content)
    found = transferred(pair | {"content": tmp_path / "deep.png"})
    assert found.bits == 16
    assert len(np.unique(np.rint(65535 * found.pixels))) > 256


def test_a_grey_content_takes_colours(pair):
    save(pair["content"], photograph(0)[..., 0])
    found = transferred(pair, content_weight=1.0, iterations=10).pixels
    assert np.ptp(found, axis=2).mean() > 0.02


def test_a_jpeg_of_a_transparent_content_warns(pair, tmp_path, capsys):
    save(pair["content"], np.dstack([photograph(0), photograph(1)[..., :1]]))
    transferred(pair | {"output": tmp_path / "out.jpg"})
    assert "warning: JPEG cannot be transparent" in capsys.readouterr().err


def test_a_style_that_is_the_content_changes_little(pair):
    pair["style"], pair["style_mask"] = pair["content"], pair["content_mask"]
    found = transferred(pair, smoothing_radius=0).pixels
    np.testing.assert_allclose(found, photograph(0) / 255, atol=0.02)


# --- masks that are not perfect ---


def test_a_style_without_a_class_of_the_content_warns(pair, capsys):
    save(pair["style_mask"], halves(RED, RED))
    transferred(pair)
    told = capsys.readouterr().err
    assert "warning: the style has no #0000ff" in told
    assert "one class only" in told


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
    found = inputs.read(pair, 32)
    assert found.content.shape == (24, 32, 3)
    assert (found.content_labels[:12] == found.style_labels[0, 0]).all()
    assert (found.content_labels[12:] == found.style_labels[-1, 0]).all()


# --- what is refused ---


def test_a_mask_of_another_shape_is_refused(pair, capsys):
    save(pair["style_mask"], halves(RED, BLUE, WIDTH, HEIGHT))
    told = refused(capsys, pair)
    assert str(pair["style_mask"]) in told
    assert "24 x 32" in told
    assert "32 x 24" in told


@pytest.mark.parametrize("name", ["content", "style", "content_mask", "style_mask"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "text"])
def test_a_damaged_image_is_refused(pair, capsys, name, damage):
    content = pair[name].read_bytes()
    broken = {"empty": b"", "truncated": content[: len(content) - 30], "text": b"hello"}[damage]
    pair[name].write_bytes(broken)
    assert str(pair[name]) in refused(capsys, pair)


@pytest.mark.parametrize("name", ["content", "style"])
@pytest.mark.parametrize("shape", [(1, 1), (6, 40)])
def test_an_image_smaller_than_the_network_needs_is_refused(pair, capsys, name, shape):
    save(pair[name], photograph(0, *shape))
    save(pair[f"{name}_mask"], halves(RED, BLUE, *shape))
    told = refused(capsys, pair)
    assert f"the {name} is optimised at {shape[1]} x {shape[0]} pixels" in told
    assert "at least 7 x 7" in told


@pytest.mark.slow
def test_the_least_size_is_enough_for_every_layer(pair):
    style, content = stages.LAYERS["squeezenet1_0"]
    least = stages.least_side("squeezenet1_0", [*style, *content], "average")
    assert 7 < least < 24
    for name in ("content", "style"):
        save(pair[name], photograph(0, least, least))
        save(pair[f"{name}_mask"], halves(RED, BLUE, least, least))
    found = transferred(pair, style_layers=None, content_layers=None).pixels
    assert found.shape == (least, least, 3)


def test_a_network_of_one_size_is_refused(pair, capsys):
    layers = {"style_layers": ["encoder.layers.encoder_layer_0"], "content_layers": ["conv_proj"]}
    told = refused(capsys, pair, architecture="vit_b_16", **layers)
    assert "vit_b_16 takes images of one size only" in told


def test_one_mask_without_the_other_is_refused(pair, capsys):
    del pair["style_mask"]
    assert "content_mask is given without style_mask" in refused(capsys, pair)


def test_an_output_that_cannot_be_is_refused_before_anything_is_read(pair, capsys, monkeypatch):
    monkeypatch.setattr(inputs, "read", None)
    for path, text in (
        (pair["output"].parent / "none" / "out.png", "does not exist"),
        (pair["output"].with_suffix(".gif"), "no known format"),
        (pair["output"].parent / "none.png" / "..", "no known format"),
        (pair["content"], "is also an input"),
        (Path("/proc/out.png"), "cannot write into the folder"),
    ):
        with pytest.raises(SystemExit) as ended:
            transferred(pair | {"output": path})
        assert ended.value.code == 2
        assert text in capsys.readouterr().err.splitlines()[-1]
    assert not (pair["output"].parent / "none").exists()


def test_weights_of_another_architecture_are_refused(pair, capsys, tmp_path):
    tensor_files.write_tensors(
        tmp_path / "w.safetensors", {"features.0.weight": torch.ones(64, 3, 3, 3)}
    )
    told = refused(capsys, pair | {"weights": tmp_path / "w.safetensors"})
    assert "another architecture" in told


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
    told = "wants to call posix.mkdir; only plain weights are read"
    assert told in refused(capsys, pair | {"weights": path})
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"architecture": "squeezenet9"}, "no network 'squeezenet9'"),
        ({"architecture": "resnet18", "style_layers": None}, "layers have no default"),
        ({"style_layers": ["conv9_9"]}, "no layer 'conv9_9'"),
        ({"pooling": "median"}, "must be one of average, max"),
        ({"size": 0}, "at least 1"),
        ({"photorealism": -1}, "at least 0"),
        ({"colour": 1}, "colour is unknown"),
        ({"size": 5}, "5 x 4 pixels"),
    ],
)
def test_params_that_cannot_be_are_refused(pair, capsys, params, text):
    assert text in refused(capsys, pair, **params)


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
    assert (tmp_path / ".out.resume.pt").is_file()
    starts = []
    follow = progress.follow
    monkeypatch.setattr(
        progress, "follow", lambda *own, done: starts.append(done) or follow(*own, done=done)
    )
    transferred(pair, resume=True)
    assert starts == [count]
    assert pair["output"].read_bytes() == whole
    assert not (tmp_path / ".out.resume.pt").exists()


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
    monkeypatch.setattr(transfer, "EVERY", 2)
    written = []
    save_state = checkpoints.save_state
    monkeypatch.setattr(
        checkpoints, "save_state", lambda *own: written.append(own[1]["stage"]) or save_state(*own)
    )
    transferred(pair)
    assert written == [1, 2]


def started(paths, **params):
    """Start the tool as a process that Ctrl-C can reach."""
    environment = os.environ | {"PYTHONPATH": str(address.SRC), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "pr12.photostyle.transfer", *line(paths, **params)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def read_until(process, text):
    before = []
    for told in process.stderr:
        before.append(told)
        if text in told:
            return
    raise AssertionError(f"{text} was never told, but {''.join(before)}")


@pytest.mark.slow
def test_ctrl_c_writes_what_is_reached(pair, tmp_path):
    process = started(pair, iterations=100_000)
    read_until(process, "2/10")  # of 100,000; the path of the output may have "2/"
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "with --resume goes on" in told
    assert "Traceback" not in told
    assert images.read_photograph(pair["output"]).pixels.shape == (HEIGHT, WIDTH, 3)
    assert (tmp_path / ".out.resume.pt").is_file()


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
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in told
    assert not pair["output"].exists()
    assert not list(tmp_path.glob("*.part*"))


def test_ctrl_c_before_the_first_image_writes_nothing(pair, monkeypatch, capsys):
    stopped_after(monkeypatch, 0)
    with pytest.raises(SystemExit) as ended:
        transferred(pair)
    assert ended.value.code == 130
    assert "nothing is reached yet" in capsys.readouterr().err
    assert not pair["output"].exists()


def test_help_tells_the_defaults():
    told = subprocess.run(
        [sys.executable, "-m", "pr12.photostyle.transfer", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(address.SRC)},
    ).stdout
    assert '"size": 700' in told
    assert "content=a.jpg" in told


def test_a_loss_that_is_not_finite_is_told(pair, capsys):
    assert "not finite" in refused(capsys, pair, style_weight=1e300)


def test_defaults_are_allowed_values():
    assert make(transfer.Settings, transfer.DEFAULTS, "--params").size == 700


def test_layers_of_the_papers_networks_exist():
    for architecture, (style, content) in stages.LAYERS.items():
        assert stages.least_side(architecture, [*style, *content], "max") > 7
    with pytest.raises(UserError, match="no layer"):
        stages.least_side("vgg19", ["fire3"], "max")
