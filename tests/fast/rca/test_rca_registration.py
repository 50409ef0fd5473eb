import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

from pr12.rca.data import phantom
from pr12.rca.model.registration import Effort, correspondence, propagate
from pr12.workflow import address

NOTHING = Effort(0, (1,), 0, 1.0)  # only the centres are aligned
AFFINE = Effort(60, (2, 1), 0, 1.0)
DEFORMABLE = Effort(40, (2, 1), 25, 1.0)
SLICE, ORGANS = phantom.slice_of((0, 0), 80, 1.0)


def blobs(shape):
    """Give an image of overlapping blobs of several greys with a texture, and where they are."""
    stream = np.random.default_rng(1)
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    image = np.zeros(shape)
    for _ in range(7):
        centre, axes = stream.uniform(-0.5, 0.5, len(shape)), stream.uniform(0.15, 0.4, len(shape))
        offset = (places - centre.reshape(-1, 1, 1, 1)) / axes.reshape(-1, 1, 1, 1)
        image += stream.uniform(0.3, 1) * (np.hypot.reduce(offset) < 1)
    image = gaussian_filter(image / image.max(), 0.8)
    texture = gaussian_filter(stream.normal(size=shape), 1.5)
    return np.clip(0.1 + 0.8 * image + 0.8 * texture, 0, 1).astype(np.float32), image > 0.1


VOLUME, BLOBS = blobs((24, 28, 26))
IMAGES = {"slice": (SLICE, ORGANS > 0), "volume": (VOLUME, BLOBS)}


def moved(image, inside, shift, turn, scale):
    """Move an image; give it, where its foreground lies and where each voxel of it comes from."""
    matrix = np.eye(image.ndim) / scale
    cosine, sine = np.cos(turn), np.sin(turn)
    matrix[-2:, -2:] = np.array([[cosine, -sine], [sine, cosine]]) / scale
    middle = (np.array(image.shape) - 1) / 2
    offset = middle + np.array(shift[-image.ndim :]) - matrix @ middle
    places = np.stack(np.indices(image.shape)).reshape(image.ndim, -1)
    true = (matrix @ places + offset[:, None]).reshape(image.ndim, *image.shape)
    foreground = affine_transform(inside.astype(float), matrix, offset, order=0) > 0
    fixed = affine_transform(image, matrix, offset, order=1, mode="nearest")
    return fixed, foreground, true


def places(actual, shape):
    """Give the place in the moving image that lies on each voxel; NaN where none does."""
    inside = np.maximum(actual.astype(np.int64) - 1, 0)
    return np.where(actual > 0, np.stack(np.unravel_index(inside, shape)), np.nan)


def smooth(actual, foreground, shape):
    """Fit an affine map to the places found: it has no rounding to whole voxels in it."""
    ends = places(actual, shape)[:, foreground].T
    starts = np.concatenate([np.argwhere(foreground), np.ones((foreground.sum(), 1))], axis=1)
    kept = ~np.isnan(ends).any(axis=1)
    solved, *_ = np.linalg.lstsq(starts[kept], ends[kept], rcond=None)
    return (starts @ solved).T


def errors(actual, foreground, true, shape):
    return np.linalg.norm(smooth(actual, foreground, shape) - true[:, foreground], axis=0)


# --- what was moved is found ---


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("effort", [AFFINE, DEFORMABLE], ids=["affine", "deformable"])
@pytest.mark.parametrize(
    ("shift", "turn", "scale"),
    [
        ((1, 3, -2), 0.0, 1.0),
        ((0, 0, 0), 0.15, 1.0),
        ((0, 0, 0), -0.1, 1.0),
        ((0, 0, 0), 0.0, 1.1),
        ((0, 0, 0), 0.0, 0.93),
        ((1.2, 2.2, -1.7), 0.1, 1.08),
    ],
)
def test_a_known_move_is_recovered_within_half_a_voxel(kind, effort, shift, turn, scale):
    image, inside = IMAGES[kind]
    fixed, foreground, true = moved(image, inside, shift, turn, scale)
    start = np.linalg.norm(np.argwhere(foreground).T - true[:, foreground], axis=0)
    assert np.percentile(start, 95) > 0.65  # there is something to find
    actual = correspondence(fixed, image, effort)
    assert (actual[foreground] > 0).all()
    off = errors(actual, foreground, true, image.shape)
    assert np.percentile(off, 50) < 0.5
    assert np.percentile(off, 95) < 0.5
    # voxel by voxel the error of rounding is on top of it, at most half a voxel along each axis
    raw = np.abs(places(actual, image.shape) - true)[:, foreground].max(axis=0)
    assert np.percentile(raw, 50) < 0.5
    assert np.percentile(raw, 95) < 1.0


@pytest.mark.parametrize("kind", IMAGES)
def test_a_shift_by_whole_voxels_is_exact(kind):
    image, inside = IMAGES[kind]
    fixed, foreground, true = moved(image, inside, (2, -3, 2), 0.0, 1.0)
    actual = correspondence(fixed, image, AFFINE)
    np.testing.assert_array_equal(places(actual, image.shape)[:, foreground], true[:, foreground])


@pytest.mark.parametrize("kind", IMAGES)
def test_equal_images_lie_on_each_other(kind):
    image, inside = IMAGES[kind]
    ours = np.stack(np.indices(image.shape))
    affine = places(correspondence(image, image, AFFINE), image.shape)
    np.testing.assert_array_equal(affine, ours)
    off = np.abs(places(correspondence(image, image, DEFORMABLE), image.shape) - ours)
    assert (off[:, inside].max(axis=0) == 0).mean() > 0.98


def test_a_local_wave_is_found_by_the_deformable_search_alone():
    line = np.linspace(0, 2 * np.pi, 80)
    wave = 3 * np.stack(
        [np.sin(line)[:, None] * np.cos(line), np.cos(line)[:, None] * np.sin(line)]
    )
    true = np.stack(np.indices(SLICE.shape)) + wave
    fixed = map_coordinates(SLICE, true, order=1, mode="nearest")
    foreground = map_coordinates(ORGANS, true, order=0) > 0

    def median(effort):
        off = places(correspondence(fixed, SLICE, effort), SLICE.shape) - true
        return np.nanmedian(np.linalg.norm(off, axis=0)[foreground])

    assert median(AFFINE) > 1.2
    assert median(DEFORMABLE) < 0.7  # 0.4 is rounding's


def test_contrast_that_differs_between_scans_is_no_obstacle_to_the_affine_search():
    fixed, foreground, true = moved(SLICE, ORGANS > 0, (0, 3, -2), 0.05, 1.0)
    for changed in (0.9 * fixed**1.5 + 0.05, 1 - fixed):
        actual = correspondence(changed.astype(np.float32), SLICE, Effort(60, (4, 2), 0, 1.0))
        assert np.percentile(errors(actual, foreground, true, SLICE.shape), 95) < 0.5


# --- geometry and types ---


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((254, 258), np.uint16), ((255, 257), np.uint32), ((256, 256), np.uint32)],
)
def test_the_last_voxel_has_a_number_that_fits(shape, kind):
    image = np.zeros(shape, np.float32)
    actual = correspondence(image, image, NOTHING)
    assert actual.dtype == kind
    np.testing.assert_array_equal(actual.ravel(), np.arange(1, image.size + 1))


def test_shapes_may_differ_and_what_lies_outside_is_0():
    fixed, moving = np.zeros((7, 5), np.float32), np.zeros((3, 5), np.float32)
    actual = correspondence(fixed, moving, NOTHING)
    assert actual.shape == fixed.shape
    assert actual[2:5].tolist() == np.arange(1, 16).reshape(3, 5).tolist()
    assert not actual[:2].any()
    assert not actual[5:].any()


def test_spacing_counts_along_array_axes_of_each_image():
    fixed, moving = np.zeros((5, 9, 3), np.float32), np.zeros((9, 9, 5), np.float32)
    actual = correspondence(fixed, moving, NOTHING, ((2.0, 1.0, 4.0), (1.0, 1.0, 2.0)))
    z, y, x = places(actual, moving.shape)  # both are 8 mm long from first to last voxel
    np.testing.assert_array_equal(z, np.broadcast_to(2 * np.arange(5)[:, None, None], z.shape))
    np.testing.assert_array_equal(y, np.broadcast_to(np.arange(9)[:, None], y.shape))
    np.testing.assert_array_equal(x, np.broadcast_to(2 * np.arange(3), x.shape))


@pytest.mark.parametrize("effort", [AFFINE, DEFORMABLE], ids=["affine", "deformable"])
def test_a_scan_of_thicker_slices_is_registered_in_mm(effort):
    fixed, foreground, true = moved(SLICE, ORGANS > 0, (0, 2, -2), 0.0, 1.0)
    thick = slice(None, None, 2)
    actual = correspondence(fixed[thick], SLICE, effort, ((2.0, 1.0), (1.0, 1.0)))
    off = errors(actual, foreground[thick], true[:, thick], SLICE.shape)
    assert np.percentile(off, 95) < 0.5


def test_the_second_call_gives_the_same_bytes_and_so_does_another_process():
    fixed, moving = phantom.slice_of((0, 1), 48, 1.0)[0], phantom.slice_of((0, 2), 48, 1.0)[0]
    actual = correspondence(fixed, moving, DEFORMABLE)
    np.testing.assert_array_equal(actual, correspondence(fixed, moving, DEFORMABLE))
    code = (
        "import sys; from pr12.rca.data import phantom;"
        "from pr12.rca.model import registration as r;"
        "a, b = (phantom.slice_of((0, i), 48, 1.0)[0] for i in (1, 2));"
        "found = r.correspondence(a, b, r.Effort(40, (2, 1), 25, 1.0));"
        "sys.stdout.buffer.write(found.tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(address.SRC)},
    )
    assert done.stdout == actual.tobytes()


def test_one_registration_takes_one_thread():
    """They run in parallel over pairs."""
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 1


# --- what cannot be registered stays aligned by the centres ---


def spot(*corner):
    image = np.zeros((32, 32), np.float32)
    image[corner[0] : corner[0] + 4, corner[1] : corner[1] + 4] = 1
    return image


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (np.zeros((16, 16), np.float32), np.zeros((16, 16), np.float32)),
        (np.ones((16, 16), np.float32), np.ones((16, 16), np.float32)),
        (np.zeros((16, 16), np.float32), SLICE),
        (np.ones((5, 6, 7), np.float32), VOLUME),
        (np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)),
        (np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)),
        (SLICE[None], SLICE[None]),  # one slice, given as a volume
    ],
    ids=["black", "white", "fixed", "volume", "small", "one", "slice"],
)
@pytest.mark.parametrize("effort", [AFFINE, DEFORMABLE], ids=["affine", "deformable"])
def test_images_without_contrast_or_room_keep_their_centres_aligned(fixed, moving, effort):
    actual = correspondence(fixed, moving, effort)
    np.testing.assert_array_equal(actual, correspondence(fixed, moving, NOTHING))


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (spot(2, 2), spot(26, 26)),
        (SLICE, np.zeros((16, 16), np.float32)),
        (SLICE, np.full((16, 16), np.nan, np.float32)),
        (SLICE, SLICE[:20, :20]),
        (SLICE, np.random.default_rng(0).random((80, 80), np.float32)),
    ],
    ids=["apart", "constant", "not numbers", "a corner", "noise"],
)
@pytest.mark.parametrize("effort", [AFFINE, DEFORMABLE], ids=["affine", "deformable"])
def test_images_of_different_things_give_numbers_of_voxels_and_no_error(fixed, moving, effort):
    actual = correspondence(fixed, moving, effort)
    assert actual.shape == fixed.shape
    assert actual.max() <= moving.size
    np.testing.assert_array_equal(actual, correspondence(fixed, moving, effort))


def test_efforts_differ_only_in_what_they_say():
    weak = Effort(1, (2,), 0, 1.0)
    fixed, foreground, true = moved(SLICE, ORGANS > 0, (0, 6, 5), 0.0, 1.0)
    ends = [
        errors(correspondence(fixed, SLICE, e), foreground, true, SLICE.shape)
        for e in (NOTHING, weak, AFFINE)
    ]
    assert np.median(ends[0]) == pytest.approx(np.hypot(6, 5), abs=0.1)
    assert np.median(ends[0]) > np.median(ends[1]) > np.median(ends[2])


# --- labels ---


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.uint8, st.sampled_from([(2, 3, 4), (1, 2, 3, 2), (3, 1, 1)])),
    st.sampled_from([np.uint16, np.uint32]),
    st.integers(0, 2**32 - 1),
)
def test_labels_are_looked_up_one_by_one(labels, kind, seed):
    actual = np.random.default_rng(seed).integers(0, labels[0].size + 1, (4, 5)).astype(kind)
    carried = propagate(labels, actual)
    assert carried.dtype == np.uint8
    assert carried.shape == (len(labels), 4, 5)
    for ours, was in zip(carried, labels, strict=True):
        for place, number in np.ndenumerate(actual):
            assert ours[place] == (was.flat[int(number) - 1] if number else 0)


def test_labels_move_with_their_image_and_no_new_label_appears():
    fixed, _, true = moved(SLICE, ORGANS > 0, (0, 3, -2), 0.0, 1.0)
    carried = propagate(ORGANS[None], correspondence(fixed, SLICE, AFFINE))[0]
    expected = map_coordinates(ORGANS, true, order=0)
    np.testing.assert_array_equal(carried, expected)
    assert set(np.unique(carried)) <= set(np.unique(ORGANS))


def test_scans_of_different_subjects_are_aligned_better_the_more_is_tried():
    scans = [phantom.slice_of((0, 1, index), 64, 1.0) for index in range(4)]
    efforts = NOTHING, Effort(40, (2,), 0, 1.0), Effort(40, (2,), 25, 1.0)
    overlap = np.zeros((3, 4, 4))
    for number, effort in enumerate(efforts):
        for i, (fixed, truth) in enumerate(scans):
            for j, (moving, labels) in enumerate(scans):
                carried = propagate(labels[None], correspondence(fixed, moving, effort))[0]
                agree = (carried == truth) & (truth > 0)
                overlap[number, i, j] = 2 * agree.sum() / ((carried > 0).sum() + (truth > 0).sum())
    others = overlap[:, ~np.eye(4, dtype=bool)]
    nothing, affine, deformable = others.mean(axis=1)
    assert nothing + 0.03 < affine
    assert affine + 0.03 < deformable
    assert others[2].min() > 0.6
    assert overlap[2][np.eye(4, dtype=bool)].min() > 0.98  # each on itself
