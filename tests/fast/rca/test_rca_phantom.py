import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, center_of_mass, label

from pr12.rca.data import phantom
from pr12.rca.data.phantom import KIDNEYS, LIVER, SPLEEN

SIZE = 64


def slices(count, variation, size=SIZE, start=0):
    return [phantom.slice_of((7, index), size, variation) for index in range(start, start + count)]


def dice(first, second, organ):
    first, second = first == organ, second == organ
    return 2 * (first & second).sum() / (first.sum() + second.sum())


# --- what a slice is ---


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(0, 2**31), st.integers(0, 3)), st.integers(16, 70), st.floats(0.0, 1.5)
)
def test_every_slice_is_an_image_from_0_to_1_with_known_labels(seed, size, variation):
    image, labels = phantom.slice_of(seed, size, variation)
    assert (image.shape, labels.shape) == ((size, size), (size, size))
    assert (image.dtype, labels.dtype) == (np.float32, np.uint8)
    assert (image.min(), image.max()) == (0, 1)
    assert labels.max() <= len(phantom.STRUCTURES)


@pytest.mark.parametrize("size", [32, 64])
def test_every_subject_has_every_organ_inside_the_image(size):
    for _, labels in slices(40, 1.0, size):
        counts = np.bincount(labels.ravel(), minlength=4)
        assert counts[LIVER] > counts[KIDNEYS] > 0
        assert counts[1:].min() >= 0.008 * size**2
        assert not labels[[0, -1]].any()
        assert not labels[:, [0, -1]].any()


def test_organs_lie_where_anatomy_has_them():
    for _, labels in slices(40, 1.0):
        places = {organ: center_of_mass(labels == organ) for organ in (LIVER, SPLEEN, KIDNEYS)}
        assert places[LIVER][1] < SIZE / 2 < places[SPLEEN][1]  # the patient's right is left
        assert places[KIDNEYS][0] > max(places[LIVER][0], places[SPLEEN][0])
        parts, number = label(labels == KIDNEYS)
        sizes = np.sort(np.bincount(parts.ravel())[1:])
        assert number >= 2
        assert sizes[-2] > 0.25 * sizes[-1]  # two kidneys
        left, right = ((labels == KIDNEYS)[:, half] for half in (slice(0, 32), slice(32, None)))
        assert left.any()
        assert right.any()


def test_unlabelled_organs_look_like_labelled_ones():
    for image, labels in slices(10, 0.0):
        liver = binary_erosion(labels == LIVER, iterations=2)
        stomach = np.zeros_like(liver)
        stomach[22:27, 42:47] = True  # the ellipse's middle is at (-0.22, 0.28)
        assert not labels[stomach].any()
        near = abs(image[stomach].mean() - image[liver].mean())
        assert near < 0.35
        spine = slice(42, 47), slice(30, 34)
        assert not labels[spine].any()


# --- seeds and variation ---


def test_equal_seeds_are_equal_bytes_and_others_are_other_subjects():
    (image, labels), again = slices(1, 1.0)[0], slices(1, 1.0)[0]
    assert image.tobytes() == again[0].tobytes()
    assert labels.tobytes() == again[1].tobytes()
    made = {ours[0].tobytes() for ours in slices(30, 1.0)}
    made |= {phantom.slice_of(seed, SIZE, 1.0)[0].tobytes() for seed in ((7, 0, 1), (8, 0), (0, 7))}
    assert len(made) == 33


def test_without_variation_subjects_differ_in_contrast_alone():
    images, labels = zip(*slices(6, 0.0), strict=True)
    assert all(np.array_equal(ours, labels[0]) for ours in labels)
    means = np.array([[im[labels[0] == organ].mean() for organ in range(4)] for im in images])
    assert means.std(axis=0).min() > 0.01
    assert all(not np.array_equal(ours, images[0]) for ours in images[1:])


def test_anatomies_drift_apart_as_the_variation_grows():
    def overlap(variation):
        maps = [labels for _, labels in slices(8, variation)]
        return np.mean([[dice(maps[0], other, organ) for organ in (1, 2, 3)] for other in maps[1:]])

    actual = [overlap(variation) for variation in (0.0, 0.3, 1.0, 2.0)]
    assert actual[0] == 1
    assert actual == sorted(actual, reverse=True)
    assert 0.35 < actual[2] < 0.85  # as far apart as subjects are before registration


def test_the_order_of_greys_changes_between_subjects():
    def greys(image, labels):
        return tuple(np.argsort([image[labels == organ].mean() for organ in (1, 2, 3)]))

    assert len({greys(*ours) for ours in slices(30, 1.0)}) > 1


def test_organs_can_be_told_from_what_surrounds_them():
    """Within an image an organ is more alike than the whole is."""
    for image, labels in slices(20, 1.0):
        inside = [image[labels == organ].std() for organ in (1, 2, 3)]
        assert max(inside) < image.std()


def test_noise_is_there_and_an_organ_is_not_flat():
    for image, labels in slices(5, 1.0):
        liver = binary_erosion(labels == LIVER, iterations=2)
        assert 0.01 < image[liver].std() < 0.2


def test_organs_are_painted_one_over_the_other_and_unlabelled_ones_hide_labels():
    line = np.linspace(-1, 1, SIZE)
    y, x = np.meshgrid(line, line, indexing="ij")
    expected, hidden = np.zeros((SIZE, SIZE), int), 0
    for _, number, centre, axes, turn, _ in phantom.ORGANS:
        ours = phantom.ellipse(y, x, np.array(centre), np.array(axes), turn) < 1
        hidden += (expected[ours] > 0).sum() * (number == 0)
        expected[ours] = number
    np.testing.assert_array_equal(phantom.slice_of((7, 0), SIZE, 0.0)[1], expected)
    assert hidden > 0


# --- its parts ---


def test_an_ellipse_by_hand():
    y, x = np.array([0.0, 2.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.0])
    zero, axes = np.zeros(2), np.array([2.0, 1.0])
    np.testing.assert_allclose(phantom.ellipse(y, x, zero, axes, 0.0), [0, 1, 1, 0.5])
    turned = phantom.ellipse(y, x, zero, axes, np.pi / 2)  # the long axis now lies along x
    np.testing.assert_allclose(turned, [0, 2, 0.5, 1], atol=1e-12)
    moved = phantom.ellipse(y + 3, x - 1, np.array([3.0, -1.0]), axes, 0.0)
    np.testing.assert_allclose(moved, [0, 1, 1, 0.5])
    # a turn by 45 degrees goes from y towards x: the end of the long axis is at equal y and x
    end = np.sqrt(2.0)
    actual = phantom.ellipse(np.array([end]), np.array([end]), zero, axes, np.pi / 4)
    np.testing.assert_allclose(actual, [1])


def test_the_grid_is_whole_without_variation_and_bent_smoothly_with_it():
    y, x = phantom.deformed_grid(np.random.default_rng(0), 33, 0.0)
    line = np.linspace(-1, 1, 33)
    np.testing.assert_allclose(y, np.broadcast_to(line[:, None], y.shape), atol=1e-12)
    np.testing.assert_allclose(x, np.broadcast_to(line, x.shape), atol=1e-12)
    for seed in range(20):
        y, x = phantom.deformed_grid(np.random.default_rng(seed), 33, 1.0)
        steps = np.gradient(y), np.gradient(x)
        volume = (steps[0][0] * steps[1][1] - steps[0][1] * steps[1][0]) * 16**2
        assert volume.min() > 0.2  # nothing is folded
        assert 0.005 < np.abs(y - line[:, None]).mean() < 0.3


def test_the_bias_field_is_smooth_and_positive_and_1_in_the_middle():
    for seed in range(20):
        field = phantom.bias_field(np.random.default_rng(seed), 33)
        assert field.min() > 0.3
        assert field.max() < 3
        assert field[16, 16] == 1
        assert max(np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1)) < 0.1
        assert field.std() > 0.01


def test_organs_are_listed_once_with_a_grey_each_and_known_labels():
    names = [organ[0] for organ in phantom.ORGANS]
    assert len(set(names)) == len(names)
    assert {organ[1] for organ in phantom.ORGANS} == {0, LIVER, SPLEEN, KIDNEYS}
    assert tuple(phantom.STRUCTURES.index(name) + 1 for name in ("liver", "spleen", "kidneys")) == (
        LIVER,
        SPLEEN,
        KIDNEYS,
    )
