import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
)
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.metrics import f1_score, jaccard_score

from pr12.rca.model import measures

SHAPES = [(17, 23), (9, 12, 10)]
SPACINGS = {2: [(1.0, 1.0), (0.5, 3.0)], 3: [(1.0, 1.0, 1.0), (2.5, 0.7, 1.3)]}


def blobs(seed, shape):
    """Give two overlapping random regions with ragged borders, which may touch the image's."""
    stream = np.random.default_rng(seed)
    smooth = gaussian_filter(stream.normal(size=(3, *shape)), sigma=(0, *[1.5] * len(shape)))
    level = stream.uniform(0.4, 0.9)
    return tuple(
        smooth[0] + 0.7 * ours > np.quantile(smooth[0] + 0.7 * ours, level) for ours in smooth[1:]
    )


def pairs():
    return [
        pytest.param(*blobs(seed, shape), id=f"{len(shape)}d-{seed}")
        for shape in SHAPES
        for seed in range(8)
    ]


def as_monai(region):
    return torch.from_numpy(region)[None, None].float()


# --- oracles ---


@pytest.mark.parametrize(("first", "second"), pairs())
def test_overlaps_are_those_of_scikit_learn_and_monai(first, second):
    dice, jaccard = measures.overlaps(first, second)
    assert dice == pytest.approx(f1_score(first.ravel(), second.ravel()), abs=1e-12)
    assert jaccard == pytest.approx(jaccard_score(first.ravel(), second.ravel()), abs=1e-12)
    both = as_monai(first), as_monai(second)
    assert dice == pytest.approx(compute_dice(*both).item(), abs=1e-6)
    assert jaccard == pytest.approx(compute_iou(*both).item(), abs=1e-6)
    assert 0 < jaccard < dice < 1  # the blobs are a real case


@pytest.mark.parametrize("anisotropic", [0, 1])
@pytest.mark.parametrize(("first", "second"), pairs())
def test_distances_are_those_of_monai_in_mm(first, second, anisotropic):
    spacing = SPACINGS[first.ndim][anisotropic]
    mean, greatest = measures.distances(first, second, spacing)
    both = as_monai(first), as_monai(second)
    hausdorff = compute_hausdorff_distance(
        *both, include_background=True, percentile=None, directed=False, spacing=spacing
    )
    average = compute_average_surface_distance(
        *both, include_background=True, symmetric=True, spacing=spacing
    )
    assert greatest == pytest.approx(hausdorff.item(), abs=1e-5)
    assert mean == pytest.approx(average.item(), abs=1e-5)
    assert 0 < mean < greatest


@pytest.mark.parametrize(("first", "second"), pairs()[::3])
def test_distances_are_those_of_every_surface_voxel_to_every_other(first, second):
    spacing = SPACINGS[first.ndim][1]
    points = [np.argwhere(measures.surface(ours)) * spacing for ours in (first, second)]
    between = cdist(*points)
    every = np.concatenate([between.min(axis=0), between.min(axis=1)])
    actual = measures.distances(first, second, spacing)
    assert actual == pytest.approx((every.mean(), every.max()), abs=1e-9)


# --- hand-worked ---


def test_of_a_solid_cube_all_but_the_inner_voxels_are_surface():
    cube = np.zeros((7, 7, 7), bool)
    cube[1:6, 1:6, 1:6] = True
    edge = measures.surface(cube)
    assert edge.sum() == 5**3 - 3**3
    assert not edge[2:5, 2:5, 2:5].any()
    assert not (edge & ~cube).any()


def test_the_border_of_the_image_is_surface_but_a_diagonal_hole_makes_none():
    full = np.ones((4, 5), bool)
    assert measures.surface(full).sum() == 2 * 4 + 2 * 5 - 4
    holed = np.ones((5, 5), bool)
    holed[2, 2] = False
    assert measures.surface(holed)[1:4, 1:4].tolist() == [
        [False, True, False],
        [True, False, True],
        [False, True, False],
    ]


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [((1, 1, 1), 5.0), ((2, 1, 1), 5.0), ((1, 2, 2), 10.0), ((1, 1, 2), 8.54400)],
)
def test_two_single_voxels_are_as_far_apart_as_they_lie(spacing, expected):
    first, second = np.zeros((3, 9, 9), bool), np.zeros((3, 9, 9), bool)
    first[1, 1, 2] = second[1, 4, 6] = True  # 0, 3 and 4 voxels apart
    assert measures.overlaps(first, second) == (0.0, 0.0)
    assert measures.distances(first, second, spacing) == pytest.approx((expected, expected))
    assert measures.overlaps(first, first) == (1.0, 1.0)
    assert measures.distances(first, first, spacing) == (0.0, 0.0)


def test_the_average_is_over_surface_voxels_of_both_and_not_of_two_means():
    first, second = np.zeros((1, 12), bool), np.zeros((1, 12), bool)
    first[0, 0] = True
    second[0, [0, 3, 6]] = True  # distances 0 there; 0, 3, 6 back
    assert measures.distances(first, second, (1.0, 1.0)) == (9 / 4, 6.0)
    assert measures.distances(first, second, (1.0, 10.0)) == (90 / 4, 60.0)


# --- empty sets ---


def test_nothing_agrees_with_nothing_and_with_nothing_else():
    nothing, something = np.zeros((3, 4), bool), np.eye(3, 4, dtype=bool)
    assert measures.overlaps(nothing, nothing) == (1.0, 1.0)
    for pair in ((nothing, something), (something, nothing)):
        assert measures.overlaps(*pair) == (0.0, 0.0)
    for pair in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert np.isnan(measures.distances(*pair, (1.0, 1.0))).all()


def test_a_structure_that_is_absent_from_both_scores_1_and_has_no_distance():
    maps = np.zeros((1, 3, 3), np.uint8)
    maps[0, 1, 1] = 1
    actual = measures.agreement(maps, maps[0], 2)
    assert actual[0, 0].tolist() == [1, 1, 0, 0]
    assert actual[0, 1, :2].tolist() == [1, 1]
    assert np.isnan(actual[0, 1, 2:]).all()


# --- invariants ---

regions = arrays.arrays(bool, st.sampled_from([(5, 6), (3, 4, 3)]))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_both_directions_and_both_ends_of_the_axes_give_the_same(data):
    first = data.draw(regions)
    second = data.draw(arrays.arrays(bool, first.shape))
    spacing = SPACINGS[first.ndim][1]
    assert measures.overlaps(first, second) == measures.overlaps(second, first)
    actual = measures.distances(first, second, spacing)
    np.testing.assert_allclose(actual, measures.distances(second, first, spacing))
    flipped = (np.flip(ours) for ours in (first, second))
    np.testing.assert_allclose(actual, measures.distances(*flipped, spacing))
    dice, jaccard = measures.overlaps(first, second)
    assert dice == pytest.approx(2 * jaccard / (1 + jaccard))
    assert 0 <= jaccard <= dice <= 1
    if first.any() and second.any():
        assert 0 <= actual[0] <= actual[1]
        assert actual[1] == 0 or dice < 1  # a ring and its disc have one surface: not the reverse


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.uint8, (2, 5, 6), elements=st.integers(0, 2)), st.integers(1, 4))
def test_background_around_the_image_changes_nothing(maps, width):
    padded = np.pad(maps, ((0, 0), (width, 0), (1, width)))
    actual = measures.agreement(maps[:1], maps[1], 2, (1.5, 0.5))
    np.testing.assert_array_equal(actual, measures.agreement(padded[:1], padded[1], 2, (1.5, 0.5)))


@pytest.mark.parametrize("shape", SHAPES)
def test_agreement_is_each_measure_of_each_structure_of_each_map(shape):
    stream = np.random.default_rng(0)
    maps = stream.integers(0, 4, (3, *shape), np.uint8)
    truths = stream.integers(0, 4, (3, *shape), np.uint8)
    spacing = SPACINGS[len(shape)][1]
    actual = measures.agreement(maps, truths, 3, spacing)
    assert actual.shape == (3, 3, len(measures.MEASURES))
    assert actual.dtype == np.float32
    for k in range(3):
        for structure in (1, 2, 3):
            pair = maps[k] == structure, truths[k] == structure
            expected = (*measures.overlaps(*pair), *measures.distances(*pair, spacing))
            np.testing.assert_allclose(actual[k, structure - 1], expected, rtol=1e-6)
    one = measures.agreement(maps, truths[0], 3, spacing)  # one truth for all
    np.testing.assert_array_equal(one[0], actual[0])
    np.testing.assert_array_equal(one[1], measures.agreement(maps[1:2], truths[0], 3, spacing)[0])
    plain = measures.agreement(maps, truths, 3)  # 1 mm if nothing is said
    expected = measures.agreement(maps, truths, 3, (1.0,) * len(shape))
    np.testing.assert_array_equal(plain, expected)


def test_a_map_of_another_shape_than_its_truth_is_not_scored():
    with pytest.raises(ValueError, match="broadcast"):
        measures.agreement(np.zeros((1, 4, 4), np.uint8), np.zeros((4, 5), np.uint8), 1)
