import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from pr12.photostyle import photographs
from pr12.photostyle.data import common_classes, package_photographs, pairs
from pr12.workflow import address, files, step
from pr12.workflow.errors import UserError

PARAMS = {
    "source": "packages",
    "size": 48,
    "published_size": 48,
    "texture_size": 32,
    "inversion_size": 24,
    "classes": 2,
}
PUBLISHED = PARAMS | {"source": "deep_photo_style"}


def arguments(made, params, **paths):
    output = made / "photographs.safetensors"
    named = [f"{name}={path}" for name, path in {"photographs": output, **paths}.items()]
    return ["--params", json.dumps(params), *named], output


def run_step(made, params, **paths):
    line, output = arguments(made, params, **paths)
    with step.start(
        photographs.Params,
        optional=["verified", "folder"],
        writes=["photographs"],
        arguments=line,
    ) as job:
        photographs.main(job)
    return output


def read(path):
    with safe_open(path, "numpy") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        return tensors, json.loads(stream.metadata()["info"])


def save(path, pixels):
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Give pairs as the authors': a mask a pixel smaller, a class that only the style has."""
    draws = np.random.default_rng(0)
    for pair in pairs.PUBLISHED_PAIRS:
        place = tmp_path / "raw" / pair
        place.mkdir(parents=True)
        for name, shape in (("content", (40, 60)), ("style", (50, 60))):
            save(place / f"{name}.png", draws.integers(0, 256, (*shape, 3), np.uint8))
        save(place / "published_result.png", draws.integers(0, 256, (40, 60, 3), np.uint8))
        mask = np.zeros((39, 60, 3), np.uint8)
        mask[20:] = 255
        save(place / "content_mask.png", mask)
        mask = np.zeros((50, 60, 3), np.uint8)
        mask[20:] = 255
        mask[40:] = 0, 255, 0
        save(place / "style_mask.png", mask)
    raw = tmp_path / "raw"
    record = {name: f"sha256:{files.sha256(raw / name)}" for name in pairs.FILES}
    files.write_json(tmp_path / "verified.json", record)
    return tmp_path


def given(folder):
    return {"verified": folder / "verified.json", "folder": folder / "raw"}


# --- images ---


def test_a_texture_is_cut_from_the_middle_and_averaged():
    pixels = np.zeros((100, 120, 3), np.uint8)
    pixels[18:82, 28:92] = 200  # 4 x 16 pixels
    assert (package_photographs.texture(pixels, 16) == 200).all()
    assert package_photographs.texture(pixels, 50).min() == 0  # all of the middle 100 x 100


def test_a_texture_keeps_several_bricks():
    brick = package_photographs.texture(package_photographs.named("brick"), 96)[..., 0].astype(
        float
    )
    brick -= brick.mean()
    correlation = np.fft.ifft2(np.abs(np.fft.fft2(brick)) ** 2).real[0]
    period = 5 + correlation[5:20].argmax()
    assert 8 <= period <= 12  # 38 pixels of the photograph, over 4: eight columns and more
    assert correlation[period] > 0


def test_nothing_is_enlarged_and_shapes_are_kept():
    pixels = np.zeros((300, 451, 3), np.uint8)
    assert package_photographs.shrunk(pixels, 451).shape == (300, 451, 3)
    assert package_photographs.shrunk(pixels, 1000).shape == (300, 451, 3)
    assert package_photographs.shrunk(pixels, 100).shape == (67, 100, 3)
    assert package_photographs.shrunk(np.zeros((500, 3, 3), np.uint8), 50).shape == (50, 1, 3)


# --- the step ---


def test_packages_need_no_file(tmp_path):
    tensors, info = read(run_step(tmp_path, PARAMS))
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.uint8)}
    assert set(info) == {"china_rocket", "rocket_china", "flower_retina"}
    for pair, ours in info.items():
        assert len(ours["palette"]) == 2
        for side in ("content", "style"):
            image, mask = tensors[f"{pair}/{side}"], tensors[f"{pair}/{side}_mask"]
            assert max(image.shape) == 48
            assert image.shape[:2] == mask.shape
            shares = [float((mask == k).mean()) for k in range(2)]
            assert ours[f"{side}_shares"] == shares
            assert sum(shares) == pytest.approx(1)
            assert min(shares) > 0.1
    assert np.array_equal(tensors["china_rocket/content"], tensors["rocket_china/style"])
    for name in photographs.TEXTURES:
        assert tensors[f"texture/{name}"].shape == (32, 32, 3)
        assert np.ptp(tensors[f"texture/{name}"], axis=2).max() == 0  # grey
    for name in photographs.SINGLE:
        assert tensors[f"photograph/{name}"].shape == (24, 24, 3)


@pytest.mark.slow
@pytest.mark.parametrize("size", [96, 256])
def test_skies_of_the_packages_pairs_are_the_same_class(size):
    tensors, _ = pairs.package_pairs(size, 2)
    for pair in ("china_rocket", "rocket_china"):
        for side in ("content", "style"):
            mask = tensors[f"{pair}/{side}_mask"]
            height, width = mask.shape
            assert (mask[: height // 12, width // 5 : 4 * width // 5] == 0).mean() > 0.9
            assert (mask[-height // 12 :, width // 4 : width // 2] == 1).mean() > 0.5
    sky = tensors["china_rocket/content_mask"] == 0
    height, width = sky.shape
    assert sky[: height // 4, 2 * width // 3 :].all()
    assert not sky[height // 4 : -5, 2 * width // 7 : 3 * width // 7].any()  # the tower


def test_published_pairs_keep_their_classes(folder, capsys):
    tensors, info = read(run_step(folder / "made", PUBLISHED, **given(folder)))
    assert set(info) == set(pairs.PUBLISHED_PAIRS)
    ours = info["pair3"]
    assert ours["palette"] == ["#000000", "#ffffff"]
    assert ours["content_shares"] == pytest.approx([0.5, 0.5], abs=0.05)
    assert ours["style_shares"] == pytest.approx([0.4, 0.4], abs=0.05)
    assert ours["warnings"] == [
        "the content has no #00ff00: the style's (20.0 % of it) is not used"
    ]
    assert f"pair3: {ours['warnings'][0]}" in capsys.readouterr().err
    assert tensors["pair3/content"].shape == tensors["pair3/published"].shape == (32, 48, 3)
    assert tensors["pair3/style_mask"].shape == (40, 48)
    assert set(np.unique(tensors["pair3/style_mask"])) == {0, 1, common_classes.UNUSED}
    assert "texture/brick" in tensors
    assert "photograph/chelsea" in tensors


@pytest.mark.slow
def test_a_rerun_from_the_command_line_is_the_same_bytes(tmp_path):
    line, output = arguments(tmp_path / "made", PARAMS)
    done = subprocess.run(
        [sys.executable, "-m", "pr12.photostyle.photographs", *line],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == run_step(tmp_path / "again", PARAMS).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "deep_photo_style"}, "read from files: add verified=PATH and folder=PATH"),
        ({"source": "flickr"}, "it must be one of packages, deep_photo_style"),
        ({"size": 15}, "size is 15; it must be a number of at least 16"),
        ({"classes": 9}, "classes is 9; it must be a number from 1 to 8"),
        ({"texture_size": 513}, "texture_size is 513; it must be a number from 16 to 512"),
        ({"inversion_size": 301}, "inversion_size is 301; it must be a number from 16 to 300"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path, PARAMS | change)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def missing(path):
    path.unlink()


def cut(length):
    return lambda path: path.write_bytes(path.read_bytes()[:length])


@pytest.mark.parametrize("name", ["content", "style_mask", "published_result"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing, "No such file or directory"),
        (cut(0), "is not a whole image; fetch it anew"),
        (cut(20), "is not a whole image; fetch it anew"),
        (cut(100), "is not a whole image; fetch it anew"),
        (lambda path: path.write_text("<html>"), "is not a whole image; fetch it anew"),
    ],
)
def test_a_broken_file_is_one_sentence(folder, name, damage, message):
    damage(folder / "raw" / "pair14" / f"{name}.png")
    with pytest.raises(UserError) as caught:
        pairs.published_pairs(folder / "raw", 48)
    assert f"pair14/{name}.png" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["content", "style_mask", "published_result"])
def test_an_image_that_was_exchanged_is_refused(folder, capsys, name):
    save(folder / "raw" / "pair14" / f"{name}.png", np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(SystemExit, match="2"):
        run_step(folder / "made", PUBLISHED, **given(folder))
    last = capsys.readouterr().err.splitlines()[-1]
    for words in (f"pair14/{name}.png is not what was fetched", "fetched anew"):
        assert words in last
    assert not (folder / "made").exists()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("content_mask", (60, 40), "pair14: the mask has 40 x 60 pixels and its image 60 x 40"),
        ("style_mask", (50, 70), "pair14: the mask has 70 x 50 pixels and its image 60 x 50"),
        ("published_result", (41, 60), "published_result.png is not of its content's size"),
    ],
)
def test_a_file_of_another_shape_is_refused(folder, name, shape, message):
    save(folder / "raw" / "pair14" / f"{name}.png", np.zeros((*shape, 3), np.uint8))
    with pytest.raises(UserError, match=message):
        pairs.published_pairs(folder / "raw", 48)


def test_a_photograph_instead_of_a_mask_is_refused(folder):
    place = folder / "raw" / "pair14"
    (place / "content_mask.png").write_bytes((place / "content.png").read_bytes())
    with pytest.raises(UserError, match=r"pair14: (the masks have|a mask has) .*flat colour"):
        pairs.published_pairs(folder / "raw", 48)
