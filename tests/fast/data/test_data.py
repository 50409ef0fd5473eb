import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pooch import file_hash
from sklearn.datasets import load_digits

from pr12.data import arrays, splits
from pr12.workflow import address, step
from pr12.workflow.errors import UserError

FILES = [*arrays.MNIST_FILES["training"], *arrays.MNIST_FILES["test"]]


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """Write the IDX format by hand: two zeros, type, dimensions, big-endian sizes, values."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Small files in MNIST's format: 50,003 training and 4 test examples of 1 x 2 pixels."""
    generator = np.random.default_rng(0)
    for images, labels, n in (
        (*arrays.MNIST_FILES["training"], 50_003),
        (*arrays.MNIST_FILES["test"], 4),
    ):
        (tmp_path / images).write_bytes(idx(generator.integers(0, 256, (n, 1, 2), np.uint8)))
        (tmp_path / labels).write_bytes(idx(generator.integers(0, 10, n, np.uint8)))
    return tmp_path


def checksums(folder):
    return {name: f"md5:{file_hash(folder / name, alg='md5')}" for name in FILES}


def arguments(made, params, **paths):
    outputs = {name: made / f"{name}.safetensors" for name in ("train", "validation", "test")}
    named = [f"{name}={path}" for name, path in {**outputs, **paths}.items()]
    return ["--params", json.dumps(params), *named], outputs


def run_step(made, params, **paths):
    """Run the step in this process."""
    line, outputs = arguments(made, params, **paths)
    with step.start(
        arrays.Params, optional=["verified", "folder"], writes=list(outputs), arguments=line
    ) as job:
        arrays.main(job)
    return outputs


# --- digits ---


def test_digits_are_dealt_out_once_each_and_unchanged():
    parts = arrays.digits_splits(900, 397, 500, 3)
    everything = load_digits()
    expected = sorted(
        (int(label), image.astype(np.uint8).tobytes())
        for image, label in zip(everything.images, everything.target, strict=True)
    )
    result = sorted(
        (int(label), image.numpy().tobytes())
        for part in parts.values()
        for image, label in zip(*part, strict=True)
    )
    assert result == expected  # all 1,797, none twice
    assert {name: len(part.labels) for name, part in parts.items()} == {
        "train": 900,
        "validation": 397,
        "test": 500,
    }
    assert all(part.images.dtype == torch.uint8 for part in parts.values())
    assert all(part.labels.dtype == torch.int64 for part in parts.values())


@settings(max_examples=15, deadline=None)
@given(st.integers(10, 500), st.integers(10, 500), st.integers(10, 797), st.integers(0, 2**32 - 1))
def test_each_class_of_digits_has_its_share(train, validation, test, seed):
    shares = torch.bincount(torch.from_numpy(load_digits().target)) / 1797
    for part in arrays.digits_splits(train, validation, test, seed).values():
        counts = torch.bincount(part.labels, minlength=10)
        # rounding can move a class by one at each of the two divisions
        assert (counts - shares * len(part.labels)).abs().max() <= 2


def test_digits_test_set_does_not_depend_on_the_other_sizes():
    one = arrays.digits_splits(700, 297, 800, 0)["test"]
    other = arrays.digits_splits(100, 50, 800, 0)["test"]
    assert torch.equal(one.images, other.images)
    assert not torch.equal(one.images, arrays.digits_splits(700, 297, 800, 1)["test"].images)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1000, 500, 298), "digits has 1797 examples; train, validation and test ask 1798"),
        ((5, 100, 100), "at least ten examples each"),
        ((100, 9, 100), "at least ten examples each"),
        ((100, 100, 1), "at least ten examples each"),
    ],
)
def test_sizes_that_digits_cannot_give(sizes, message):
    with pytest.raises(UserError, match=message):
        arrays.digits_splits(*sizes, split_seed=0)


# --- places on a larger canvas ---


def test_every_image_is_somewhere_on_its_canvas_unchanged():
    images = torch.arange(1, 601).reshape(100, 2, 3).to(torch.uint8)
    placed = arrays.place(images, 2, torch.Generator().manual_seed(0))
    assert placed.shape == (100, 6, 7)
    assert placed.dtype == torch.uint8
    result = set()
    for image, canvas in zip(images, placed, strict=True):
        (place,) = (
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(canvas[top : top + 2, left : left + 3], image)
        )
        assert canvas.sum() == image.sum()  # and nothing beside it
        result.add(place)
    assert len(result) > 20  # of 25
    assert torch.equal(placed, arrays.place(images, 2, torch.Generator().manual_seed(0)))
    assert not torch.equal(placed, arrays.place(images, 2, torch.Generator().manual_seed(1)))


def test_without_margin_images_stay_as_they_are():
    images = torch.arange(60).reshape(10, 2, 3).to(torch.uint8)
    assert torch.equal(arrays.place(images, 0, torch.Generator().manual_seed(0)), images)


# --- MNIST ---


def test_mnist_is_split_by_position(folder):
    training = arrays.read_idx(folder, *arrays.MNIST_FILES["training"])
    testing = arrays.read_idx(folder, *arrays.MNIST_FILES["test"])
    parts = arrays.mnist_splits(training, testing, 50_000, 2, 3)
    assert torch.equal(parts["train"].images, training.images[:50_000])
    assert torch.equal(parts["validation"].labels, training.labels[50_000:50_002])
    assert torch.equal(parts["test"].images, testing.images[:3])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((50_001, 1, 1), "mnist has 50000 examples for train; it asks 50001"),
        ((1, 4, 1), "mnist has 3 examples for validation; it asks 4"),
        ((1, 1, 5), "mnist has 4 examples for test; it asks 5"),
    ],
)
def test_sizes_that_mnist_cannot_give(folder, sizes, message):
    training = arrays.read_idx(folder, *arrays.MNIST_FILES["training"])
    testing = arrays.read_idx(folder, *arrays.MNIST_FILES["test"])
    with pytest.raises(UserError, match=message):
        arrays.mnist_splits(training, testing, *sizes)


def test_an_idx_file_is_read_value_by_value(tmp_path):
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    (tmp_path / "images").write_bytes(idx(images))
    (tmp_path / "labels").write_bytes(idx(np.array([9, 0], np.uint8)))
    examples = arrays.read_idx(tmp_path, "images", "labels")
    assert examples.images.tolist() == images.tolist()
    assert examples.labels.tolist() == [9, 0]
    assert (examples.images.dtype, examples.labels.dtype) == (torch.uint8, torch.int64)


IMAGES = idx(np.zeros((2, 2, 2), np.uint8))
LABELS = idx(np.zeros(2, np.uint8))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", LABELS, "images is not a whole IDX file of images"),
        (IMAGES[:3], LABELS, "images is not a whole IDX file of images"),
        (IMAGES[:16], LABELS, "images is not a whole IDX file of images"),
        (IMAGES[:-1], LABELS, "images is not a whole IDX file of images"),
        (IMAGES + b"\0", LABELS, "images is not a whole IDX file of images"),
        (b"\x1f\x8b" + IMAGES, LABELS, "images is not a whole IDX file of images"),
        (b"<html>Please log in</html>", LABELS, "images is not a whole IDX file of images"),
        (LABELS, LABELS, "images is not a whole IDX file of images"),
        (idx(np.zeros((2, 2, 2), ">f4"), 13), LABELS, "images is not a whole IDX file of images"),
        (idx(np.zeros((2, 2, 2), ">u1"), 10), LABELS, "images is not a whole IDX file of images"),
        (IMAGES, IMAGES, "labels is not a whole IDX file of labels"),
        (IMAGES, LABELS[:-1], "labels is not a whole IDX file of labels"),
        (IMAGES, idx(np.zeros(3, np.uint8)), "has 2 images and .*labels has 3 labels"),
        (IMAGES, idx(np.array([0, 10], np.uint8)), "labels has labels above 9"),
    ],
)
def test_a_bad_idx_file_is_one_sentence(tmp_path, images, labels, message):
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises(UserError, match=message):
        arrays.read_idx(tmp_path, "images", "labels")


# --- the step ---


COMMON = {"margin": 0, "split_seed": 0}
MNIST_PARAMS = {"dataset": "mnist", "train": 20, "validation": 3, "test": 4, **COMMON}
DIGITS_PARAMS = {"dataset": "digits", "train": 20, "validation": 10, "test": 30, **COMMON}


@pytest.mark.slow
def test_mnist_from_the_command_line_is_the_same_bytes_each_time(folder, tmp_path):
    verified = tmp_path / "verified.json"
    verified.write_text(json.dumps(checksums(folder)))
    line, outputs = arguments(tmp_path, MNIST_PARAMS, verified=verified, folder=folder)
    done = subprocess.run(
        [sys.executable, "-m", "pr12.data.arrays", *line],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 0, done.stderr
    made = [path.read_bytes() for path in outputs.values()]
    for _ in range(5):
        again = run_step(tmp_path / "again", MNIST_PARAMS, verified=verified, folder=folder)
        assert [path.read_bytes() for path in again.values()] == made
    raw = (folder / FILES[2]).read_bytes()[16:]  # 1 x 2 pixels each
    split = splits.load_split(outputs["test"])
    assert split.images.dtype == torch.float32
    assert split.images.flatten().tolist() == pytest.approx([value / 255 for value in raw])


@pytest.mark.parametrize("margin", [0, 1])
def test_digits_need_no_file(tmp_path, margin):
    made = run_step(tmp_path, DIGITS_PARAMS | {"margin": margin})
    split = splits.load_split(made["train"])
    assert split.images.shape == (20, 8 + 2 * margin, 8 + 2 * margin)
    assert split.images.max() == 1
    assert torch.equal(split.images * 16, (split.images * 16).round())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "mnist"}, "mnist is read from files: add verified=PATH and folder=PATH"),
        ({"dataset": "letters"}, 'dataset is "letters"; it must be one of digits, mnist'),
        ({"train": 0}, "train is 0; it must be a number of at least 1"),
        ({"test": 5000}, "test is 5000; it must be at most "),
        ({"split_seed": 2**32}, "split_seed is 4294967296"),
        ({"margin": -1}, "margin is -1; it must be a number of at least 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path, DIGITS_PARAMS | change)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("record", ["[]", "7", "null", "{}", "{", ""])
def test_a_record_that_is_none_is_refused(folder, tmp_path, capsys, record):
    verified = tmp_path / "verified.json"
    verified.write_text(record)
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path / "made", MNIST_PARAMS, verified=verified, folder=folder)
    assert "verified.json" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_exchanged_is_refused(folder, tmp_path, capsys, name):
    verified = tmp_path / "verified.json"
    verified.write_text(json.dumps(checksums(folder)))
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path / "made", MNIST_PARAMS, verified=verified, folder=folder)
    last = capsys.readouterr().err.splitlines()[-1]
    for words in (f"{name} is not what was fetched", checksums(folder)[name], "fetched anew"):
        assert words in last
    assert not (tmp_path / "made").exists()
