import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr12.rca.data import scan_files, score_files
from pr12.rca.data.scan_files import Scan, Scans
from pr12.workflow import files
from pr12.workflow.errors import UserError

READERS = {
    "scans": scan_files.read_scans,
    "segmentations": scan_files.read_segmentations,
    "correspondences": scan_files.read_correspondences,
    "scores": score_files.read_scores,
}


def scan(name="a", shape=(4, 5), seed=0):
    stream = np.random.default_rng(seed)
    return Scan(name, stream.random(shape, np.float32), stream.integers(0, 3, shape, np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One file of each kind, and some that are none."""
    folder = tmp_path_factory.mktemp("files")
    labels = np.zeros((2, 4, 5), np.uint8)
    said = {"structures": "liver spleen", "segmenters": "forest_5 unet_9"}
    scan_files.write_scans(folder / "scans", Scans(("liver", "spleen"), {0: [scan()]}))
    scan_files.write_segmentations(
        folder / "segmentations", {(0, "test", "a"): labels}, ("forest_5", "unet_9")
    )
    scan_files.write_segmentations(
        folder / "volumes", {(0, "test", "a"): labels[None]}, ("forest_5",)
    )
    scan_files.write_arrays(
        folder / "correspondences", {"0/test/a/train/b/1": np.zeros((4, 5), np.uint16)}
    )
    scores = {(0, "test"): np.zeros((1, 2, 2, 4), np.float32)}
    score_files.write_scores(folder / "scores", scores, said)
    reverse = {(0, "test"): np.zeros((1, 2, 3, 2, 4), np.float32)}
    score_files.write_scores(folder / "reverse scores", reverse)
    scan_files.write_arrays(folder / "forest", {"0/5/left": np.zeros(3, np.int32)})
    scan_files.write_arrays(folder / "nothing", {})
    whole = (folder / "scans").read_bytes()
    (folder / "half").write_bytes(whole[: len(whole) // 2])
    (folder / "head").write_bytes(b"\xff" * 8 + whole[8:])
    (folder / "text").write_text("not a safetensors file, but a text")
    (folder / "empty").write_bytes(b"")
    (folder / "folder").mkdir()
    return folder


# --- there and back ---


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_scans_come_back_in_order_with_all_their_voxels(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("scans") / "train.safetensors"
    names = data.draw(st.permutations([f"s-{index}" for index in range(12)]))
    seeds = data.draw(st.lists(st.integers(0, 2**31), min_size=1, max_size=3, unique=True))
    shape = data.draw(st.sampled_from([(4, 5), (3, 2, 4)]))
    written = {seed: [scan(name, shape, i) for i, name in enumerate(names)] for seed in seeds}
    scan_files.write_scans(path, Scans(("liver", "spleen"), written))
    structures, by_seed = scan_files.read_scans(path)
    assert structures == ("liver", "spleen")
    assert sorted(by_seed) == sorted(seeds)
    for seed, ours in by_seed.items():
        assert [each.name for each in ours] == names
        for actual, wanted in zip(ours, written[seed], strict=True):
            assert (actual.image.dtype, actual.labels.dtype) == (np.float32, np.uint8)
            np.testing.assert_array_equal(actual.labels, wanted.labels)
            assert np.abs(actual.image - wanted.image).max() <= 1 / 4096


def test_images_are_kept_in_two_bytes_a_voxel(tmp_path):
    scan_files.write_scans(tmp_path / "a", Scans(("liver",), {0: [scan()]}))
    arrays, _ = scan_files.read_arrays(tmp_path / "a")
    kinds = {key.rsplit("/", 1)[1]: ours.dtype for key, ours in arrays.items()}
    assert kinds == {"image": np.float16, "labels": np.uint8}


def test_subjects_of_one_name_but_other_seeds_are_kept_apart(tmp_path):
    written = {0: [scan("a", seed=0)], 10: [scan("a", seed=1)], 2: [scan("a", seed=2)]}
    scan_files.write_scans(tmp_path / "a", Scans(("liver", "spleen"), written))
    actual = scan_files.read_scans(tmp_path / "a").by_seed
    assert list(actual) == [0, 2, 10]
    for seed, ours in actual.items():
        np.testing.assert_array_equal(ours[0].labels, written[seed][0].labels)


def test_volumes_of_other_shapes_lie_in_one_file(tmp_path):
    written = {0: [scan("a", (3, 4, 5)), scan("b", (6, 4, 2))]}
    scan_files.write_scans(tmp_path / "a", Scans(("head", "tail"), written))
    actual = scan_files.read_scans(tmp_path / "a").by_seed[0]
    assert [ours.image.shape for ours in actual] == [(3, 4, 5), (6, 4, 2)]


def test_segmentations_come_back_by_seed_split_and_subject(tmp_path):
    written = {
        (seed, split, name): np.random.default_rng(seed).integers(0, 4, (2, 3, 4), np.uint8)
        for seed in (0, 3)
        for split in ("calibration", "test")
        for name in ("b", "a")
    }
    scan_files.write_segmentations(tmp_path / "a", written, ("forest_5", "unet_150"))
    actual, names = scan_files.read_segmentations(tmp_path / "a")
    assert names == ("forest_5", "unet_150")
    assert set(actual) == set(written)
    for key, ours in actual.items():
        np.testing.assert_array_equal(ours, written[key])


def test_correspondences_come_back_by_pair_and_effort(tmp_path):
    pairs = [("test/a", "train/b", 0), ("test/a", "train/b", 1), ("test/c", "train/b", 0)]
    arrays = {
        f"3/{fixed}/{moving}/{effort}": np.full((2, 3), index + 1, np.uint16)
        for index, (fixed, moving, effort) in enumerate(pairs)
    }
    scan_files.write_arrays(tmp_path / "a", arrays)
    actual = scan_files.read_correspondences(tmp_path / "a")
    assert {key: sorted(ours) for key, ours in actual.items()} == {
        (3, "test", "a"): [("train", "b", 0), ("train", "b", 1)],
        (3, "test", "c"): [("train", "b", 0)],
    }
    assert actual[3, "test", "a"]["train", "b", 1].tolist() == [[2] * 3] * 2


def test_scores_come_back_sorted_by_seed_with_nan_and_names(tmp_path):
    written = {
        (seed, split): np.random.default_rng(seed).random((2, 1, 3, 4), np.float32)
        for seed in (10, 2)
        for split in ("test", "calibration")
    }
    written[2, "test"][0, 0, 0, 3] = np.nan
    score_files.write_scores(tmp_path / "a", written, {"structures": "liver spleen"})
    actual, said = score_files.read_scores(tmp_path / "a")
    assert said == {"structures": "liver spleen"}
    assert list(actual) == [(2, "calibration"), (2, "test"), (10, "calibration"), (10, "test")]
    for key, ours in actual.items():
        np.testing.assert_array_equal(ours, written[key])


def test_arrays_keep_types_and_shapes_also_of_views(tmp_path):
    array = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    written = {"turned": array.T, "stepped": array[:, ::2], "none": np.zeros((0, 3), np.float64)}
    scan_files.write_arrays(tmp_path / "a", written)
    actual, said = scan_files.read_arrays(tmp_path / "a")
    assert said == {}
    for name, ours in written.items():
        assert actual[name].dtype == ours.dtype
        np.testing.assert_array_equal(actual[name], ours)


def test_equal_values_are_equal_bytes_whatever_the_order(tmp_path):
    parts = {f"{index}": np.full(3, index, np.float32) for index in range(12)}
    scan_files.write_arrays(tmp_path / "a", parts, {"unit": "mm"})
    scan_files.write_arrays(tmp_path / "b", dict(reversed(parts.items())), {"unit": "mm"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_can_be_read_by_a_group_and_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch):
    scan_files.write_arrays(tmp_path / "a", {"x": np.ones(2)})
    before = os.umask(0o022)
    os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~before

    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scan_files.safetensors.numpy, "save", broken)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
        scan_files.write_arrays(tmp_path / "a", {"x": np.zeros(9)})
    monkeypatch.undo()
    assert scan_files.read_arrays(tmp_path / "a")[0]["x"].tolist() == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert len(files.sha256(tmp_path / "a")) == 64


# --- files of another kind, or of none ---

OWN = {
    "scans": {"scans"},
    "segmentations": {"segmentations", "volumes"},
    "correspondences": {"correspondences"},
    "scores": {"scores", "reverse scores"},
}
KINDS = sorted({name for ours in OWN.values() for name in ours} | {"forest"})


@pytest.mark.parametrize(
    ("reader", "kind"),
    [(reader, kind) for reader in READERS for kind in KINDS if kind not in OWN[reader]],
)
def test_a_file_of_another_kind_is_named(folder, reader, kind):
    with pytest.raises(UserError) as caught:
        READERS[reader](folder / kind)
    assert str(caught.value) == f"{folder / kind} holds no {reader}; delete it and run again"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["half", "head", "text", "empty", "folder", "nothing"])
def test_a_file_that_is_not_whole_is_named(folder, reader, kind):
    with pytest.raises(UserError) as caught:
        READERS[reader](folder / kind)
    assert str(caught.value) == (
        f"{folder / kind} is not a safetensors file; delete it and run again"
    )


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_gone_is_named(folder, reader):
    with pytest.raises(UserError, match=r"^cannot read .*/gone: no such file$"):
        READERS[reader](folder / "gone")
