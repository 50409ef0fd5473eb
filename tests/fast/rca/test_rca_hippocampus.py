import gzip
import itertools
import os
import re

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from pr12.rca.data import hippocampus, intensity
from pr12.workflow.errors import UserError

NAMES = ["hippocampus_001", "hippocampus_003", "hippocampus_020"]
RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)  # as all files of the set have it


def write(path, array, spacing=(1.0, 1.0, 1.0), direction=RAS):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path))


def voxels(index):
    """Give an image and labels of a small subject; intensities differ by powers of ten."""
    stream = np.random.default_rng(index)
    image = stream.uniform(0, 100 * 10.0**index, (4 + index, 5, 6)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[1:3, 1:4, 1:3], labels[1:3, 1:4, 3:5] = 1, 2
    return image, labels


@pytest.fixture
def folder(tmp_path):
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
    for index, name in enumerate(NAMES):
        image, labels = voxels(index)
        write(tmp_path / "imagesTr" / f"{name}.nii.gz", image)
        write(tmp_path / "labelsTr" / f"{name}.nii.gz", labels)
    return tmp_path


# --- reading ---


def test_all_subjects_are_read_by_name_in_the_order_of_axes_z_y_x(folder):
    read = hippocampus.read_hippocampus(folder)
    assert [name for name, _, _ in read] == NAMES
    for index, (_, image, labels) in enumerate(read):
        assert image.dtype == np.float32
        assert labels.dtype == np.uint8
        assert image.shape == labels.shape == (4 + index, 5, 6)
        np.testing.assert_array_equal(labels, voxels(index)[1])


def test_images_are_scaled_each_by_itself(folder):
    for index, (_, image, _) in enumerate(hippocampus.read_hippocampus(folder)):
        values = np.sort(voxels(index)[0].astype(np.float64), axis=None)
        # NumPy's percentile by hand: linear between the two nearest of n sorted values
        low, high = (
            np.interp(part * (values.size - 1), np.arange(values.size), values)
            for part in (0.01, 0.99)
        )
        expected = np.clip((voxels(index)[0] - low) / (high - low), 0, 1)
        np.testing.assert_allclose(image, expected, atol=1e-6)
        assert (image.min(), image.max()) == (0, 1)


def test_only_the_subjects_that_are_asked_for_are_read(folder):
    (folder / "imagesTr" / f"{NAMES[0]}.nii.gz").write_bytes(b"damaged, and not asked for")
    read = hippocampus.read_hippocampus(str(folder), [NAMES[2], NAMES[1]])
    assert [name for name, _, _ in read] == NAMES[1:]


def test_labels_may_be_stored_as_floats(folder):
    write(folder / "labelsTr" / f"{NAMES[0]}.nii.gz", voxels(0)[1].astype(np.float32))
    (_, _, labels), *_ = hippocampus.read_hippocampus(folder)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, voxels(0)[1])


def test_hidden_files_and_others_are_left_out(folder):
    for part in ("imagesTr", "labelsTr"):
        (folder / part / f"._{NAMES[0]}.nii.gz").write_bytes(b"\0\5\x16\7 macOS")
        (folder / part / ".DS_Store").write_bytes(b"")
        (folder / part / "notes.txt").write_text("mine")
    assert [name for name, _, _ in hippocampus.read_hippocampus(folder)] == NAMES


def test_the_structures_are_the_labels_one_and_two():
    assert hippocampus.STRUCTURES == ("anterior", "posterior")


IMAGE, LABELS = voxels(1)
BAD = {  # what is written over the second subject's image or labels -> the end of the sentence
    "shape": ("labelsTr", LABELS[:-1], {}, "the shape (4, 5, 6) and {image} (5, 5, 6); they must"),
    "transposed": ("labelsTr", LABELS.T.copy(), {}, "the shape (6, 5, 5) and {image} (5, 5, 6)"),
    "spacing": (
        "labelsTr",
        LABELS,
        {"spacing": (1.0, 1.0, 1.2)},
        "the spacing (1, 1, 1.2) and {image} (1, 1, 1); they must be the same",
    ),
    "direction": (
        "labelsTr",
        LABELS,
        {"direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)},
        "the direction (1, 0, 0, 0, 1, 0, 0, 0, 1) and {image} (-1, 0, 0, 0, -1, 0, 0, 0, 1)",
    ),
    "NaN": ("imagesTr", np.where(LABELS == 1, np.nan, IMAGE), {}, "voxels that are NaN or infin"),
    "infinite": ("imagesTr", np.where(LABELS == 1, np.inf, IMAGE), {}, "voxels that are NaN or i"),
    "constant": ("imagesTr", np.full_like(IMAGE, 7), {}, "the value 7 in all voxels"),
    "one bright voxel": (
        "imagesTr",
        np.where(np.arange(IMAGE.size).reshape(IMAGE.shape) == 0, 5, 0).astype(np.float32),
        {},
        "the value 0 in nearly all voxels",
    ),
    "no labels": ("labelsTr", np.zeros_like(LABELS), {}, "no voxel of anterior (label 1)"),
    "only anterior": ("labelsTr", (LABELS == 1).astype(np.uint8), {}, "no voxel of posterior (lab"),
    "no background": (
        "labelsTr",
        np.maximum(LABELS, 1),
        {},
        "no voxel of background (label 0)",
    ),
    "another label": ("labelsTr", LABELS + (LABELS == 2), {}, "the label 3; it must be 0, 1 or 2"),
    "negative": ("labelsTr", -LABELS.astype(np.int16), {}, "the label -2; it must be 0, 1 or 2"),
    "between labels": ("labelsTr", LABELS / np.float32(2), {}, "the label 0.5; it must be 0, 1"),
    "NaN label": (
        "labelsTr",
        np.where(LABELS == 1, np.float32("nan"), LABELS).astype(np.float32),
        {},
        "voxels that are NaN or infinite",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_volume_is_told_with_its_file(folder, case):
    part, array, geometry, message = BAD[case]
    path = folder / part / f"{NAMES[1]}.nii.gz"
    write(path, array, **geometry)
    with pytest.raises(UserError) as caught:
        hippocampus.read_hippocampus(folder)
    expected = message.format(image=folder / "imagesTr" / f"{NAMES[1]}.nii.gz")
    assert str(caught.value).startswith(f"{path} has {expected}")
    assert ("anew" in str(caught.value)) != ("contrast" in str(caught.value))
    assert "\n" not in str(caught.value)
    # the others can still be read
    assert len(hippocampus.read_hippocampus(folder, [NAMES[0], NAMES[2]])) == 2


def test_voxels_of_another_size_are_refused(folder):
    for part, array in (("imagesTr", IMAGE), ("labelsTr", LABELS)):
        write(folder / part / f"{NAMES[1]}.nii.gz", array, spacing=(1.0, 1.0, 2.0))
    with pytest.raises(UserError, match=r"hippocampus_003\.nii\.gz has the spacing \(1, 1, 2\) mm"):
        hippocampus.read_hippocampus(folder)


@pytest.mark.parametrize("part", ["imagesTr", "labelsTr"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "is not a whole .gz file"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1]), "ends before its last voxe"),
        (lambda content: gzip.compress(bytes(20_000_000)), "has more than 10000000 bytes"),
        (lambda content: b"<html>Please log in</html>", "is not a NIfTI file"),
        (lambda content: b"", "is not a NIfTI file"),
    ],
    ids=["truncated", "one byte short", "a bomb", "a page", "empty"],
)
def test_an_unreadable_file_is_named(folder, part, damage, message):
    path = folder / part / f"{NAMES[1]}.nii.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"^{re.escape(f'{path} {message}')}"):
        hippocampus.read_hippocampus(folder)


@pytest.mark.parametrize("part", ["imagesTr", "labelsTr"])
def test_a_missing_partner_is_named(folder, part):
    (folder / part / f"{NAMES[1]}.nii.gz").unlink()
    with pytest.raises(UserError, match=f"{part} has no {NAMES[1]}.nii.gz; fetch it anew"):
        hippocampus.read_hippocampus(folder)


@pytest.mark.parametrize("name", ["hippocampus_999", "../imagesTr/hippocampus_001", ""])
def test_a_subject_that_is_not_there_is_named(folder, name):
    with pytest.raises(UserError, match=re.escape(f"imagesTr has no {name}.nii.gz")):
        hippocampus.read_hippocampus(folder, [name])


def test_a_pipe_is_not_read_for_ever(folder):
    path = folder / "imagesTr" / f"{NAMES[1]}.nii.gz"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=f"{NAMES[1]}.nii.gz is not a file"):
        hippocampus.read_hippocampus(folder)


def test_a_folder_without_subjects_is_told(tmp_path):
    for part in ("imagesTr", "labelsTr"):
        with pytest.raises(UserError, match=f"cannot read {tmp_path}/{part}: No such file"):
            hippocampus.read_hippocampus(tmp_path)
        (tmp_path / part).mkdir()
    with pytest.raises(UserError, match=f"{tmp_path} holds no subject; fetch it anew"):
        hippocampus.read_hippocampus(tmp_path)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(-1e3, 1e3), st.integers(0, 2**32 - 1))
def test_a_normalised_image_does_not_depend_on_scale_and_offset(scale, offset, seed):
    image = np.random.default_rng(seed).normal(size=(5, 6, 7))
    ours = intensity.normalised(image, "a")
    other = intensity.normalised(scale * image + offset, "a")
    np.testing.assert_allclose(other, ours, atol=1e-5)
    assert (ours.min(), ours.max()) == (0, 1)


# --- dealing ---


SUBJECTS = [f"hippocampus_{number:03}" for number in range(1, 261)]
EXPECTED = {
    "train": ["hippocampus_030", "hippocampus_082", "hippocampus_011"],
    "reference": ["hippocampus_048", "hippocampus_064", "hippocampus_024"],
    "calibration": ["hippocampus_154", "hippocampus_150", "hippocampus_216"],
    "test": ["hippocampus_089", "hippocampus_118", "hippocampus_077"],
}
SIZES = {"train": 100, "reference": 20, "calibration": 60, "test": 80}


def test_test_sets_of_seeds_are_disjoint_as_long_as_there_are_subjects():
    dealt = [hippocampus.deal(SUBJECTS, **SIZES, seed=seed) for seed in range(3)]  # 240 of 260
    for one, other in itertools.combinations(dealt, 2):
        assert not set(one["test"]) & set(other["test"])
    with pytest.raises(UserError) as caught:
        hippocampus.deal(SUBJECTS, **SIZES, seed=3)
    assert str(caught.value) == (
        "there are 260 subjects, enough for test sets of 80 of the seeds 0 to 2; seed 3 has none"
    )


def test_test_sets_of_all_seeds_make_up_the_whole_where_they_divide_it():
    sizes = {"train": 10, "reference": 5, "calibration": 5, "test": 26}
    tests = [hippocampus.deal(SUBJECTS, **sizes, seed=seed)["test"] for seed in range(10)]
    assert sorted(itertools.chain(*tests)) == SUBJECTS


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_splits_share_no_subject_and_have_the_sizes_that_were_asked(data):
    count = data.draw(st.integers(1, 40))
    names = [f"s{index}" for index in range(count)]
    test = data.draw(st.integers(1, count))
    seed = data.draw(st.integers(0, count // test - 1))
    train = data.draw(st.integers(0, count - test))
    reference = data.draw(st.integers(0, count - test - train))
    calibration = count - test - train - reference
    dealt = hippocampus.deal(names, train, reference, calibration, test, seed)
    assert {split: len(ours) for split, ours in dealt.items()} == {
        "train": train,
        "reference": reference,
        "calibration": calibration,
        "test": test,
    }
    assert sorted(itertools.chain(*dealt.values())) == sorted(names)


def test_what_is_dealt_does_not_depend_on_the_order_of_names():
    shuffled = np.random.default_rng(1).permutation(SUBJECTS).tolist()
    dealt = hippocampus.deal(SUBJECTS, **SIZES, seed=1)
    assert hippocampus.deal(shuffled, **SIZES, seed=1) == dealt
    assert all(type(name) is str for ours in dealt.values() for name in ours)


def test_seeds_differ_in_all_splits_and_the_order_is_none():
    first, second = (hippocampus.deal(SUBJECTS, **SIZES, seed=seed) for seed in (0, 1))
    for split, ours in first.items():
        assert ours != second[split]
        assert ours != sorted(ours)


def test_train_does_not_depend_on_the_sizes_of_reference_and_calibration():
    other = SIZES | {"reference": 1, "calibration": 0}
    dealt, again = (hippocampus.deal(SUBJECTS, **sizes, seed=2) for sizes in (SIZES, other))
    assert dealt["train"] == again["train"]
    assert dealt["test"] == again["test"]
    assert dealt["reference"][:1] == again["reference"]


def test_the_first_subjects_stay_what_they_are():
    # Written down when the function was made: another version of NumPy must not deal anew.
    dealt = hippocampus.deal(SUBJECTS, **SIZES, seed=0)
    assert {split: ours[:3] for split, ours in dealt.items()} == EXPECTED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 101}, "there are 260 subjects; train, reference, calibration and test ask 261"),
        ({"test": 0}, "must be at least 0, and test at least 1"),
        ({"train": -1}, "must be at least 0, and test at least 1"),
        ({"seed": -1}, "seed -1 has none"),
        ({"seed": 3}, "seed 3 has none"),
        ({"names": [*SUBJECTS, SUBJECTS[7]]}, "the subject hippocampus_008 is listed twice"),
        ({"names": []}, "there are 0 subjects; train, reference, calibration and test ask 260"),
    ],
)
def test_what_cannot_be_dealt_is_told(change, message):
    with pytest.raises(UserError, match=re.escape(message)):
        hippocampus.deal(**({"names": SUBJECTS, **SIZES, "seed": 0} | change))
