import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.ndimage import center_of_mass
from scipy.sparse import csc_array

from pr12.core import tensor_files
from pr12.data import splits
from pr12.vae import faces
from pr12.vae.data import face_images
from pr12.workflow import address, step
from pr12.workflow.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (560, 1965), np.uint8)
SIZES = {"train": 1500, "validation": 100, "test": 365}
PARAMS = {"source": "frey", **SIZES, "split_seed": 0}


def mat(variables, **options):
    stream = io.BytesIO()
    savemat(stream, variables, **options)
    return stream.getvalue()


def record(pixels=PIXELS):
    digest = hashlib.sha256(pixels.tobytes(order="C")).hexdigest()
    return {"frey_rawface.mat": f"pixels-sha256:{digest}"}


@pytest.fixture(scope="module")
def content():
    return mat({"ff": PIXELS})


@pytest.fixture
def folder(tmp_path, content):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "frey_rawface.mat").write_bytes(content)
    (tmp_path / "verified.json").write_text(json.dumps(record()))
    return tmp_path


def arguments(made, params, **paths):
    outputs = {name: made / f"{name}.safetensors" for name in SIZES}
    named = [f"{name}={path}" for name, path in {**outputs, **paths}.items()]
    return ["--params", json.dumps(params), *named], outputs


def run_step(made, params, **paths):
    line, outputs = arguments(made, params, **paths)
    with step.start(
        faces.Params, optional=["verified", "folder"], writes=list(outputs), arguments=line
    ) as job:
        faces.main(job)
    return outputs


# --- splits ---


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 655), st.integers(1, 655), st.integers(1, 655), st.integers(0, 2**32 - 1))
def test_no_frame_is_dealt_out_twice(train, validation, test, seed):
    rows = faces.split_rows(train, validation, test, seed)
    assert {name: len(part) for name, part in rows.items()} == {
        "train": train,
        "validation": validation,
        "test": test,
    }
    everything = torch.cat(list(rows.values()))
    assert len(everything.unique()) == train + validation + test
    assert everything.min() >= 0
    assert everything.max() < 1965


def test_all_frames_can_be_used_and_no_more():
    rows = faces.split_rows(1600, 1, 364, 0)
    assert sorted(torch.cat(list(rows.values())).tolist()) == list(range(1965))
    with pytest.raises(UserError, match="1965 faces; train, validation and test ask 1966"):
        faces.split_rows(1600, 1, 365, 0)


def test_the_test_set_depends_on_its_size_and_the_seed_only():
    one = faces.split_rows(1500, 100, 365, 0)["test"]
    assert torch.equal(one, faces.split_rows(10, 5, 365, 0)["test"])
    assert not torch.equal(one, faces.split_rows(1500, 100, 365, 1)["test"])


def test_frames_are_taken_from_the_whole_film():
    for part in faces.split_rows(1500, 100, 365, 0).values():
        assert (part < 1965 // 2).float().mean() == pytest.approx(0.5, abs=0.15)


# --- Frey Face ---


@pytest.mark.parametrize("compressed", [False, True])
def test_a_column_is_a_frame_and_its_pixels_run_along_rows(tmp_path, compressed):
    numbers = np.arange(560 * 1965).reshape(560, 1965)
    pixels = (numbers % 251).astype(np.uint8)
    path = tmp_path / "frey_rawface.mat"
    path.write_bytes(mat({"ff": pixels}, do_compression=compressed))
    frames = face_images.read_frey(path, record(pixels))
    assert frames.shape == (1965, 28, 20)
    assert frames.dtype == torch.uint8
    for frame, row, column in ((0, 0, 1), (7, 1, 0), (1964, 27, 19)):
        assert frames[frame, row, column] == pixels[20 * row + column, frame]


def with_unknown_type(content):
    """Give the pixels a type that there is not: SciPy's reader dies of it."""
    place = content.index(struct.pack("<II", 2, PIXELS.size))
    return content[:place] + bytes([20]) + content[place + 1 :]


MISSING = np.full((560, 1965), np.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "is not a whole MATLAB file"),
        (lambda content: b"<html>Please log in</html>", "is not a whole MATLAB file"),
        (lambda content: content[:-1000], "is not a whole MATLAB file"),
        (with_unknown_type, "is not a whole MATLAB file"),
        (lambda content: content[:128], "has no variable ff"),
        (lambda content: mat({"faces": PIXELS}), "has no variable ff"),
        (lambda content: mat({"ff": PIXELS.T}), "(1965, 560)) instead of an ndarray"),
        (lambda content: mat({"ff": PIXELS[:, :-1]}), "(560, 1964)) instead"),
        (lambda content: mat({"ff": PIXELS.ravel()}), "(1, 1100400)) instead"),
        (lambda content: mat({"ff": {"a": 1}}), "(1, 1)) instead"),
        (lambda content: mat({"ff": PIXELS / 255}), "has as ff ('ndarray', 'float64', "),
        (lambda content: mat({"ff": MISSING}), "has as ff ('ndarray', 'float64', "),
        (lambda content: mat({"ff": PIXELS.astype(np.int16)}), "has as ff ('ndarray', 'int16', "),
        (lambda content: mat({"ff": PIXELS > 9}), "has the wrong checksum"),
        (lambda content: mat({"ff": csc_array((560, 1965))}), "has as ff ('csc_matrix', 'float64'"),
        (lambda content: mat({"ff": PIXELS ^ 1}), "has the wrong checksum"),
    ],
)
def test_a_bad_file_is_one_sentence(folder, content, capsys, change, message):
    path = folder / "raw" / "frey_rawface.mat"
    path.write_bytes(change(content))
    with pytest.raises(UserError, match=rf"frey_rawface\.mat .* it .*{re.escape(message)}.*anew$"):
        face_images.read_frey(path, record())
    assert capsys.readouterr() == ("", "")


def test_a_record_of_other_pixels_is_refused(folder):
    path = folder / "raw" / "frey_rawface.mat"
    with pytest.raises(UserError, match="is not what was fetched: it has the wrong checksum"):
        face_images.read_frey(path, {"frey_rawface.mat": "sha256:" + "0" * 64})


# --- the face that moves ---


def spot(row, column):
    """Give a photograph with a bright spot, that many pixels of a face from the face's middle."""
    picture = np.zeros((512, 512))
    middle_column, middle_row = face_images.FACE
    y, x = np.mgrid[:512, :512]
    distance = (x - middle_column - 4 * column) ** 2 + (y - middle_row - 4 * row) ** 2
    return picture + np.exp(-distance / (2 * 6.0**2))


@pytest.mark.parametrize(
    ("at", "change", "expected"),
    [
        ((0, 0), (0, 1, 0, 1), (13.5, 9.5)),
        ((5, -3), (0, 1, 0, 1), (18.5, 6.5)),
        ((5, -3), (2, 1, 0, 1), (18.5, 8.5)),  # to the right
        ((4, -2), (0, 1.5, 0, 1), (19.5, 6.5)),  # away from the middle
        ((-4, 0), (0, 1, np.pi / 2, 1), (13.5, 13.5)),  # what was above is to the right: clockwise
        ((-4, 0), (-2, 1.5, np.pi / 2, 1), (13.5, 13.5)),
    ],
)
def test_a_spot_moves_where_it_should(at, change, expected):
    face = face_images.moved_face(spot(*at), *change)
    assert center_of_mass(face.astype(float)) == pytest.approx(expected, abs=0.1)


def test_brightness_multiplies_and_nothing_is_cut_off():
    white = np.ones((512, 512))
    assert np.unique(face_images.moved_face(white, 2, 0.85, 0.2, 1.0)).tolist() == [255]
    assert np.unique(face_images.moved_face(white, 2, 0.85, 0.2, 0.6)).tolist() == [153]


def test_faces_lie_inside_the_photograph():
    picture = face_images.photograph()
    assert picture.min() >= 0
    assert picture.max() <= 1
    for shift, turn in ((2, 0.2), (2, -0.2), (-2, 0.2), (-2, -0.2)):
        # blackening what is far from the face changes nothing
        framed = np.pad(picture[20:240, 120:330], ((20, 272), (120, 182)))
        moved = (shift, 0.85, turn, 1.0)
        assert np.array_equal(
            face_images.moved_face(framed, *moved), face_images.moved_face(picture, *moved)
        )


def test_faces_are_drawn_by_the_seed_and_vary():
    drawn = face_images.moving_faces(40, 3)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (40, 28, 20)
    assert torch.equal(drawn[:5], face_images.moving_faces(5, 3))
    assert not torch.equal(drawn[:5], face_images.moving_faces(5, 4))
    assert len(drawn.flatten(1).unique(dim=0)) == 40
    assert drawn.float().std(dim=0).min() > 5  # every pixel changes


# --- the step ---


@pytest.mark.slow
def test_frey_from_the_command_line_is_the_same_bytes_each_time(folder):
    given = {"verified": folder / "verified.json", "folder": folder / "raw"}
    line, outputs = arguments(folder / "made", PARAMS, **given)
    done = subprocess.run(
        [sys.executable, "-m", "pr12.vae.faces", *line],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 0, done.stderr
    again = run_step(folder / "again", PARAMS, **given)
    assert [path.read_bytes() for path in outputs.values()] == [
        path.read_bytes() for path in again.values()
    ]
    rows = faces.split_rows(**SIZES, split_seed=0)
    for name, size in SIZES.items():
        split = splits.load_split(outputs[name])
        frames = torch.from_numpy(PIXELS.T[rows[name]]).reshape(size, 28, 20)
        assert torch.equal(split.images, frames / 256)
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == [0] * size


def test_moving_needs_no_file(tmp_path):
    params = {"source": "moving", "train": 30, "validation": 10, "test": 20, "split_seed": 1}
    made = run_step(tmp_path / "made", params)
    parts = [splits.load_split(path).images for path in made.values()]
    assert [tuple(part.shape) for part in parts] == [(30, 28, 20), (10, 28, 20), (20, 28, 20)]
    assert len(torch.cat(parts).flatten(1).unique(dim=0)) == 60  # no face in two splits
    assert tensor_files.read_metadata(made["train"]) == {"maximum": "255"}
    assert 0.5 < torch.cat(parts).max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "frey is read from a file: add verified=PATH and folder=PATH"),
        ({"source": "olivetti"}, 'source is "olivetti"; it must be one of frey, moving'),
        ({"train": 0}, "train is 0; it must be a number of at least 1"),
        (
            {"test": 366},
            "train is 1500; it must be at most 1499, what the others leave of 1965 faces",
        ),
        ({"source": "moving", "test": 366}, "leave of 1965 faces"),
        ({"split_seed": -1}, "split_seed is -1"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path, PARAMS | change)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["[]", "7", "null", "{}", "{", "", '{"frey_rawface.mat": 7}'])
def test_a_record_that_is_none_is_refused(folder, capsys, text):
    (folder / "verified.json").write_text(text)
    given = {"verified": folder / "verified.json", "folder": folder / "raw"}
    with pytest.raises(SystemExit, match="2"):
        run_step(folder / "made", PARAMS, **given)
    assert "verified.json" in capsys.readouterr().err.splitlines()[-1]
    assert not (folder / "made").exists()


def test_a_file_that_is_gone_is_told(folder, capsys):
    (folder / "raw" / "frey_rawface.mat").unlink()
    given = {"verified": folder / "verified.json", "folder": folder / "raw"}
    with pytest.raises(SystemExit, match="2"):
        run_step(folder / "made", PARAMS, **given)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: cannot read ")
    assert "frey_rawface.mat (No such file or directory); delete verified.json" in last
