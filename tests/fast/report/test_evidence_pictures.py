"""Pictures in evidence: what comes back is what went in, and small."""

import base64
import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import evidence_cases
from pr12.report.stored import pictures
from pr12.workflow.errors import UserError


def back(picture, folder):
    """Pack a picture into files and give what is read from them."""
    folder.mkdir(exist_ok=True)
    for name, content in evidence_cases.packed(picture, folder / "scratch").items():
        (folder / name).write_bytes(content)
    return pictures.unpacked(folder)


def kinds(value):
    """Return a value with its types in place of its numbers."""
    if isinstance(value, dict):
        return {key: kinds(part) for key, part in value.items()}
    return [kinds(part) for part in value] if isinstance(value, list) else type(value)


EXACT = {
    "ragged": [[1, 2, 3], [4], []] * 8,
    "ragged floats": [[0.5], [0.25, 0.125]] * 10,
    "whole numbers": [list(range(20)), list(range(300, 320))],
    "negative": [-5] * 20,
    "large": [2**40, -(2**40)] * 10,
    "larger than any": [2**70] * 20,
    "whole floats": [0.0, 1.0] * 10,
    "scores": [[0.7, 0.6999, 0.1234, 1.0] * 5],
    "scores with null": [0.7, None, -0.0001, 29.9999] * 5,
    "whole floats with null": [None, 255.0, 0.0] * 8,
    "null alone": [None] * 20,
    "integers with null": [1, None] * 10,
    "true and false": [True, False] * 10,
    "mixed numbers": [1, 0.5] * 10,
    "texts": ["noise", "rotation"] * 10,
    "codes": [[0.125 * i, -0.5, i % 10] for i in range(20)],
    "codes with texts": [[0.5, "a"], [None, "b"]] * 10,
    "rows": [{"kind": "noise", "true": 0.25 * i, "seed": i, "none": None} for i in range(20)],
    "rows of lists": [{"png": "AAAA", "thetas": [[0.5] * 6] * n} for n in range(20)],
    "unlike rows": [{"a": 1}, {"b": 2}] * 10,
    "base64": base64.b64encode(bytes(range(256))).decode(),
    "almost base64": "AAAA" * 100 + "=",
    "loose base64": "A" * 298 + "B=",  # its last bits are no part of a byte
    "long text": "a text of many words, " * 20,
    "short": {"extent": [-3, 3.5], "title": "é", "nothing": None, "empty": []},
}


@pytest.mark.parametrize("name", EXACT)
def test_json_comes_back_with_its_values_and_types(tmp_path, name):
    for picture in (EXACT[name], {"inner": {"most": [EXACT[name]]}}):
        result = back(picture, tmp_path)
        assert result == picture
        assert kinds(result) == kinds(picture)


def test_shares_of_255_come_back_as_near_as_no_figure_shows(tmp_path):
    grey = [[i / 255 for i in range(256)]]
    assert np.allclose(back({"image": grey}, tmp_path)["image"], grey, rtol=0, atol=1e-6)
    files = evidence_cases.packed({"image": grey}, tmp_path)
    assert len(files[pictures.ARRAYS]) < 500


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e4, 1e9])
def test_other_numbers_keep_three_digits_whatever_their_size(tmp_path, scale):
    numbers = (scale * np.random.default_rng(0).standard_normal((10, 50))).tolist()
    result = np.array(back(numbers, tmp_path))
    assert np.allclose(result, numbers, rtol=1e-3, atol=1e-4 * np.abs(numbers).max())
    with_null = [None, *numbers[0]]
    result = back(with_null, tmp_path)
    assert result[0] is None
    assert np.allclose(result[1:], numbers[0], rtol=1e-3, atol=1e-4 * np.abs(numbers).max())


def smooth(height, width):
    """Make a photograph without noise."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x // width, 255 * y // height, 128 + 0 * x], axis=-1).astype(np.uint8)


def test_photographs_above_700_pixels_become_smaller_and_stay_alike(tmp_path):
    result = back({"large": smooth(600, 1400), "small": smooth(40, 60)}, tmp_path)
    assert result["large"].shape == (300, 700, 3)
    assert result["large"].dtype == np.uint8
    assert np.abs(result["large"].astype(int) - smooth(300, 700)).mean() < 2
    assert result["small"].shape == (40, 60, 3)
    assert np.abs(result["small"].astype(int) - smooth(40, 60)).mean() < 2


@pytest.mark.parametrize("shape", [(8, 12), (900, 1500)])
def test_masks_keep_their_labels(tmp_path, shape):
    mask = np.random.default_rng(0).integers(0, 7, shape) * 30
    result = back({"mask": mask}, tmp_path)["mask"]
    assert result.ndim == 2
    assert max(result.shape) == min(700, max(shape))
    assert set(np.unique(result)) == set(np.unique(mask))
    if shape == (8, 12):
        assert (result == mask).all()


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    for picture in (EXACT, {"photo": smooth(40, 60), "mask": np.eye(9, dtype=int)}):
        packed = [evidence_cases.packed(picture, tmp_path / name) for name in ("one", "two")]
        assert packed[0] == packed[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("picture.json", b"{"),
        ("picture.json", b"\xff\xff"),
        ("picture.json", b'{"a": NaN}'),
        ("picture.json", b'{"a": 1e999}'),
        ("picture.json", json.dumps([0.5] * 20).replace("0.5]", "1e999]").encode()),
        ("picture.safetensors", b"no tensors"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is no picture \(.*\); delete it and run"):
        pictures.packed(tmp_path / name)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.full((4, 4), 256),
        np.full((4, 4), -1),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_that_are_neither_photograph_nor_mask_are_refused(tmp_path, array):
    path = tmp_path / "pair3_picture.safetensors"
    save_file({"neural": array}, path)
    message = re.escape(str(path)) + r" is no picture \(neural (is neither|has numbers above)"
    with pytest.raises(UserError, match=message):
        pictures.packed(path)
