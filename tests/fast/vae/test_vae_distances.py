import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pr12.vae.model import distances


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normals(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def correlated(n, d, seed):
    """Correlated, with a mean other than 0."""
    mix = normals(d, d, seed + 1000)
    return normals(n, d, seed) @ mix + normals(1, d, seed + 2000)


def test_mmd_of_two_and_two_points_by_hand():
    a = torch.tensor([[0.0, 0.0], [3.0, 4.0]])  # 5 apart
    b = torch.tensor([[0.0, 1.0], [0.0, 3.0]])  # 2 apart; from a: 1, 3 and sqrt 18, sqrt 10
    c = 4.0
    within_a, within_b = c / (c + 25), c / (c + 4)
    between = (c / (c + 1) + c / (c + 9) + c / (c + 18) + c / (c + 10)) / 4
    expected = within_a + within_b - 2 * between
    assert distances.mmd(a, b, c) == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 100), n=st.integers(2, 9), m=st.integers(2, 9), d=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_mmd_is_the_u_statistic_over_all_pairs(seed, n, m, d):
    a, b, c = correlated(n, d, seed), correlated(m, d, seed + 1), 2.0 * d

    def kernel(x, y):
        return c / (c + float(((x - y) ** 2).sum()))

    within_a = sum(kernel(a[i], a[j]) for i in range(n) for j in range(n) if i != j)
    within_b = sum(kernel(b[i], b[j]) for i in range(m) for j in range(m) if i != j)
    between = sum(kernel(x, y) for x in a for y in b)
    expected = within_a / (n * n - n) + within_b / (m * m - m) - 2 * between / (n * m)
    assert distances.mmd(a, b, c) == pytest.approx(expected, abs=1e-12)


def test_mmd_of_equal_distributions_is_0_on_average_and_not_only_positive():
    actual = [
        distances.mmd(normals(60, 3, 2 * s), normals(40, 3, 2 * s + 1), 6.0) for s in range(80)
    ]
    mean, error = np.mean(actual), np.std(actual) / math.sqrt(len(actual))
    assert abs(mean) < 3 * error
    assert min(actual) < 0 < max(actual)  # a biased estimate is never below 0
    assert error < 0.002  # with the pairs of a point with itself, the mean would be above 0.015


def test_mmd_far_from_the_origin_keeps_its_digits():
    a, b = normals(20, 3, 0), normals(30, 3, 1)
    expected = distances.mmd(a, b, 6.0)
    assert distances.mmd(a + 1000, b + 1000, 6.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("moved", [lambda x: x + 0.5, lambda x: 1.6 * x, torch.abs])
def test_mmd_sees_a_shift_a_scale_and_a_shape(moved):
    a, b = normals(300, 2, 0), normals(300, 2, 1)
    assert distances.mmd(a, moved(b), 4.0) > 20 * abs(distances.mmd(a, b, 4.0))


def test_mmd_does_not_depend_on_how_many_rows_are_taken_at_a_time(monkeypatch):
    a, b = normals(50, 2, 0).float(), normals(37, 2, 1).float()
    whole = distances.mmd(a, b, 4.0)
    monkeypatch.setattr(distances, "ROWS", 7)
    assert distances.mmd(a, b, 4.0) == pytest.approx(whole, abs=1e-14)
    assert distances.mmd(b, a, 4.0) == pytest.approx(whole, abs=1e-14)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 60, 1), (200, 150, 5), (300, 300, 20)])
def test_frechet_against_scipys_matrix_square_root(n, m, d):
    a, b = correlated(n, d, 0), correlated(m, d, 1)
    first, second = (np.cov(x.numpy(), rowvar=False, ddof=1).reshape(d, d) for x in (a, b))
    root = scipy.linalg.sqrtm(first @ second).real
    shift = a.numpy().mean(axis=0) - b.numpy().mean(axis=0)
    expected = shift @ shift + np.trace(first + second - 2 * root)
    assert distances.frechet(a, b) == pytest.approx(expected, rel=1e-8)


def with_moments(mean, scales):
    """Points whose mean and standard deviations (correction 1) are exactly these."""
    n, d = 4 * len(scales), len(scales)
    points = torch.zeros(n, d, dtype=torch.float64)
    for axis, scale in enumerate(scales):
        size = scale * math.sqrt((n - 1) / 4)
        signs = torch.tensor([1, 1, -1, -1], dtype=torch.float64)
        points[4 * axis : 4 * axis + 4, axis] = size * signs
    return points + torch.tensor(mean, dtype=torch.float64)


def test_frechet_of_axis_aligned_gaussians_in_closed_form():
    # |mean difference|^2 + sum of (standard deviation difference)^2
    a, b = with_moments([0.0, 1.0], [1.0, 2.0]), with_moments([3.0, -3.0], [1.5, 5.0])
    assert distances.frechet(a, b) == pytest.approx(25 + 0.25 + 9, abs=1e-10)


def test_frechet_is_0_of_a_sample_and_itself_symmetric_and_blind_to_rotation():
    a, b = correlated(50, 4, 0), correlated(60, 4, 1)
    rotation = torch.linalg.qr(normals(4, 4, 2)).Q
    there = distances.frechet(a, b)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-8)
    assert distances.frechet(b, a) == pytest.approx(there, rel=1e-9)
    assert distances.frechet(a @ rotation + 7, b @ rotation + 7) == pytest.approx(there, rel=1e-9)
    assert distances.frechet(3 * a, 3 * b) == pytest.approx(9 * there, rel=1e-9)


def test_frechet_of_features_of_which_some_are_always_0():
    # Dead ReLUs make both covariances singular, and fewer images than features do too.
    a, b = correlated(30, 4, 0), correlated(30, 4, 1)
    dead = torch.zeros(30, 40, dtype=torch.float64)
    joined = distances.frechet(torch.cat([a, dead], dim=1), torch.cat([b, dead], dim=1))
    assert joined == pytest.approx(distances.frechet(a, b), rel=1e-6)
    assert math.isfinite(distances.frechet(normals(10, 64, 0), normals(10, 64, 1)))


def test_frechet_is_computed_in_double_precision():
    # In float32 the trace of the root would lose the difference beside the large variances.
    a = (1000 * with_moments([0.0, 0.0], [1.0, 1.0])).float()
    b = a + torch.tensor([0.25, 0.0])
    assert distances.frechet(a, b) == pytest.approx(0.0625, abs=1e-4)


def test_the_symmetric_root_squares_to_its_matrix():
    matrix = distances.covariance(correlated(30, 5, 3))
    root = distances.symmetric_root(matrix)
    np.testing.assert_allclose(root @ root, matrix, rtol=1e-9)
    np.testing.assert_allclose(root, root.T, atol=1e-12)
    assert (torch.linalg.eigvalsh(root) > 0).all()


@pytest.mark.parametrize("d", [1, 3])
def test_the_covariance_is_numpys(d):
    x = correlated(10, d, 0)
    expected = np.cov(x.numpy(), rowvar=False, ddof=1).reshape(d, d)
    np.testing.assert_allclose(distances.covariance(x), expected)
