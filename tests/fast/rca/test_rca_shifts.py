from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from pr12.rca.data import shifts

X = np.random.default_rng(0).standard_normal((40, 7))
FILL = np.arange(7.0)
DIGIT = np.zeros((8, 8))
DIGIT[1:7, 3] = 1.0
SHIFTS = {
    "noise": lambda strength, seed: shifts.noise(X, strength, seed),
    "rotation": lambda strength, seed: shifts.feature_rotation(X, 90 * strength, seed),
    "missing": lambda strength, seed: shifts.missing(X, strength, FILL, seed),
}


@given(st.integers(1, 50))
def test_grades_rise_evenly_to_1(count):
    actual = shifts.grades(count)
    assert len(actual) == count
    assert actual[-1] == 1.0
    assert np.allclose(np.diff([0.0, *actual]), 1 / count)


def test_every_kind_is_tested():
    assert set(SHIFTS) == set(shifts.KINDS)


@pytest.mark.parametrize("kind", SHIFTS)
def test_strength_0_changes_nothing(kind):
    assert np.allclose(SHIFTS[kind](0.0, 3), X)


@pytest.mark.parametrize("kind", SHIFTS)
def test_the_seed_decides(kind):
    shift = SHIFTS[kind]
    assert np.array_equal(shift(0.5, 3), shift(0.5, 3))
    assert not np.allclose(shift(0.5, 3), shift(0.5, 4))
    assert not np.allclose(shift(0.5, [3, 0]), shift(0.5, [3, 1]))


@pytest.mark.parametrize("kind", SHIFTS)
def test_a_stronger_shift_is_further_from_the_start(kind):
    away = [np.linalg.norm(SHIFTS[kind](s, 0) - X) for s in (0.0, 0.3, 0.6, 1.0)]
    assert away == sorted(away)
    assert len(set(away)) == 4


@pytest.mark.parametrize("kind", SHIFTS)
def test_what_is_shifted_is_left_as_it_was(kind):
    before = X.copy()
    SHIFTS[kind](0.7, 0)
    assert np.array_equal(X, before)


def test_noise_has_its_scale_and_no_mean():
    added = shifts.noise(np.zeros((2000, 50)), 3.0, 0)
    assert added.std() == pytest.approx(3.0, rel=0.01)
    assert added.mean() == pytest.approx(0.0, abs=0.03)


def test_the_planes_are_orthonormal_and_not_always_the_same():
    basis = shifts.planes(7, 0)
    assert np.allclose(basis.T @ basis, np.eye(7))
    assert not np.allclose(basis, shifts.planes(7, 1))


@given(st.integers(1, 8), st.floats(-360, 360), st.integers(0, 1000))
def test_a_rotation_of_features_keeps_distances_and_lengths(dimensions, degrees, seed):
    x = X[:, :dimensions] if dimensions < 8 else np.hstack([X, X[:, :1]])
    turned = shifts.feature_rotation(x, degrees, seed)
    assert np.allclose(pdist(turned), pdist(x))
    assert np.allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(x, axis=1))


def test_every_vector_turns_by_the_angle_if_the_number_of_features_is_even():
    x = X[:, :6]
    turned = shifts.feature_rotation(x, 60, 0)
    cosines = (x * turned).sum(axis=1) / (x**2).sum(axis=1)
    assert np.allclose(cosines, 0.5)


def test_one_direction_stays_if_the_number_of_features_is_odd():
    last = shifts.planes(7, 0)[:, -1]
    assert np.allclose(shifts.feature_rotation(last[None], 90, 0), last)


def test_rotations_in_the_same_planes_add_up():
    once = shifts.feature_rotation(shifts.feature_rotation(X, 25, 5), 35, 5)
    assert np.allclose(once, shifts.feature_rotation(X, 60, 5))


@pytest.mark.parametrize("quarters", [1, 2, 3, 4])
def test_a_quarter_turn_of_an_image_is_numpys_counter_clockwise(quarters):
    images = np.random.default_rng(1).random((3, 8, 8))
    turned = shifts.image_rotation(images.reshape(3, 64), 90 * quarters, (8, 8))
    assert np.allclose(turned.reshape(3, 8, 8), np.rot90(images, quarters, axes=(1, 2)))


def test_each_image_is_turned_by_itself():
    images = np.random.default_rng(1).random((3, 64))
    together = shifts.image_rotation(images, 33, (8, 8))
    alone = [shifts.image_rotation(images[i : i + 1], 33, (8, 8))[0] for i in range(3)]
    assert np.allclose(together, alone)


def test_an_upright_stroke_leans_to_the_left_when_turned_a_little():
    turned = shifts.image_rotation(DIGIT.reshape(1, 64), 20, (8, 8)).reshape(8, 8)
    columns = np.arange(8)
    top, bottom = turned[1] @ columns / turned[1].sum(), turned[6] @ columns / turned[6].sum()
    assert top < bottom - 1


def test_there_is_no_ink_where_there_was_no_image():
    corner = shifts.image_rotation(np.ones((1, 64)), 45, (8, 8)).reshape(8, 8)[0, 0]
    assert corner == 0.0


def test_missing_features_have_their_fill_in_every_row_and_others_stay():
    changed = shifts.missing(X, 3 / 7, FILL, 0)
    lost = (changed != X).all(axis=0)
    assert lost.sum() == 3
    assert (changed[:, lost] == FILL[lost]).all()
    assert np.array_equal(changed[:, ~lost], X[:, ~lost])


def test_what_is_lost_stays_lost_as_the_share_grows():
    gone = [set(np.flatnonzero((shifts.missing(X, k / 7, FILL, 2) != X)[0])) for k in range(8)]
    assert [len(features) for features in gone] == list(range(8))
    assert all(few <= more for few, more in pairwise(gone))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_more_than_all_is_refused(share):
    with pytest.raises(ValueError, match=r"share of missing features is .* from 0 to 1"):
        shifts.missing(X, share, FILL, 0)


@pytest.mark.parametrize("scale", [-1, float("nan")])
def test_noise_of_a_negative_scale_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale of the noise is .* must be at least 0"):
        shifts.noise(X, scale, 0)
