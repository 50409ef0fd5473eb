import numpy as np
import pytest
import scipy.sparse
import torch

from pr12.photostyle.model import matting
from pr12.workflow.errors import UserError


def random(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3))


def grey(height, width, tint=(1.0, 1.0, 1.0)):
    return random(height, width)[..., :1] * np.array(tint)


def levins_formula(content, epsilon=1e-7):
    height, width, _ = content.shape
    matrix = np.zeros((height * width, height * width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            window = [(y + j) * width + x + i for j in (-1, 0, 1) for i in (-1, 0, 1)]
            colours = content.reshape(-1, 3)[window]
            from_mean = colours - colours.mean(axis=0)
            covariance = from_mean.T @ from_mean / 9 + epsilon / 9 * np.eye(3)
            for a, i in enumerate(window):
                for b, j in enumerate(window):
                    across = from_mean[a] @ np.linalg.solve(covariance, from_mean[b])
                    matrix[i, j] += (i == j) - (1 + across) / 9
    return matrix


def as_batch(content):
    return torch.from_numpy(np.ascontiguousarray(content.transpose(2, 0, 1)))[None]


def energy(values, matrix):
    flat = values.reshape(len(matrix), -1)
    return np.einsum("ic,ij,jc->", flat, matrix, flat) / len(matrix)


def test_laplacian_is_levins_formula_with_a_ninth_of_epsilon_in_the_covariance():
    content = random(5, 6)
    actual = matting.laplacian(content).toarray()
    np.testing.assert_allclose(actual, levins_formula(content), atol=1e-12)
    far = np.abs(actual - levins_formula(content, epsilon=9e-7)).max()
    assert far > 1e-6  # so that the first line tells epsilon / 9 from epsilon


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.0, 0.8, 0.6)])
def test_laplacian_is_levins_formula_also_where_all_colours_lie_on_one_line(tint):
    # a grey or toned photograph: the covariance is then almost singular
    content = grey(8, 9, tint)
    actual = matting.laplacian(content).toarray()
    np.testing.assert_allclose(actual, levins_formula(content), atol=1e-5)


CONTENTS = {
    "random": random(6, 7),
    "flat": np.full((6, 7, 3), 0.5),
    "grey": grey(6, 7),
    "toned": grey(6, 7, (1.0, 0.8, 0.6)),
    "one_colour": grey(6, 7, (1.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_laplacian_is_symmetric_positive_semi_definite_and_its_rows_sum_to_0(name):
    matrix = matting.laplacian(CONTENTS[name]).toarray()
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=1), 0, atol=1e-8)
    assert np.linalg.eigvalsh((matrix + matrix.T) / 2).min() > -1e-8


def test_pixels_that_share_no_window_are_not_joined():
    matrix = matting.laplacian(random(6, 7)).toarray()
    rows, columns = np.nonzero(np.abs(matrix) > 1e-12)
    assert np.abs(rows // 7 - columns // 7).max() == 2
    assert np.abs(rows % 7 - columns % 7).max() == 2


@pytest.mark.parametrize("name", CONTENTS)
def test_constant_and_affine_images_cost_nothing(name):
    content, matrix = CONTENTS[name], matting.laplacian(CONTENTS[name]).toarray()
    mixing = np.random.default_rng(1).random((3, 3))
    assert abs(energy(np.full((6, 7, 3), 0.7), matrix)) < 1e-10
    assert abs(energy(content @ mixing + 0.1, matrix)) < 1e-5
    assert energy(random(6, 7, seed=5), matrix) > 1e-3


def test_a_content_costs_as_much_as_epsilon_lets_it():
    content = random(8, 8)
    cost = energy(content, matting.laplacian(content).toarray())
    # a window's cost is at most epsilon times the square of the affine map, which is the identity
    assert 0 < cost <= 3 * matting.EPSILON


def test_the_term_is_the_quadratic_form_over_pixels_and_its_gradient_the_papers():
    content, values = random(5, 6), random(5, 6, seed=1)
    dense = matting.laplacian(content).toarray()
    matrix = matting.as_tensor(matting.laplacian(content), torch.float64)
    image = as_batch(values).requires_grad_(True)
    actual = matting.photorealism(image, matrix)
    actual.backward()
    assert actual.item() == pytest.approx(energy(values, dense), rel=1e-10)
    expected = (2 * dense @ values.reshape(30, 3) / 30).reshape(5, 6, 3)
    np.testing.assert_allclose(image.grad, as_batch(expected), atol=1e-12)
    for place in ((0, 0, 0), (2, 3, 1), (4, 5, 2)):  # and the finite difference
        shift = np.zeros_like(values)
        shift[place] = 1e-4
        slope = (energy(values + shift, dense) - energy(values - shift, dense)) / 2e-4
        assert slope == pytest.approx(expected[place], abs=1e-9)


def test_gradient_is_that_of_finite_differences():
    matrix = matting.as_tensor(matting.laplacian(random(4, 5)), torch.float64)
    image = as_batch(random(4, 5, seed=1)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda ours: matting.photorealism(ours, matrix), image)
    assert torch.autograd.gradcheck(lambda ours: 3 * matting.photorealism(ours, matrix) ** 2, image)


def test_the_term_in_float32_is_that_in_float64():
    content, values = random(8, 9), random(8, 9, seed=1)
    single = matting.as_tensor(matting.laplacian(content))
    double = matting.as_tensor(matting.laplacian(content), torch.float64)
    expected = matting.photorealism(as_batch(values), double).item()
    actual = matting.photorealism(as_batch(values).float(), single).item()
    assert actual == pytest.approx(expected, rel=1e-5)


def test_as_tensor_keeps_the_matrix():
    matrix = matting.laplacian(random(4, 5))
    actual = matting.as_tensor(matrix, torch.float64)
    assert actual.shape == (20, 20)
    assert actual.col_indices().dtype == torch.int32
    np.testing.assert_array_equal(actual.to_dense().numpy(), matrix.toarray())
    one = scipy.sparse.csr_matrix(np.array([[0.0, 2.0], [0.0, 0.0]]))
    assert matting.as_tensor(one).to_dense().tolist() == [[0, 2], [0, 0]]


def test_the_smallest_photograph_has_one_window():
    matrix = matting.laplacian(random(3, 3)).toarray()
    assert np.linalg.matrix_rank(matrix, tol=1e-4) == 9 - 4  # 4: an affine function of 3 colours


@pytest.mark.parametrize("size", [(2, 5), (5, 2), (1, 1)])
def test_a_photograph_without_a_window_is_refused(size):
    with pytest.raises(UserError, match="3 x 3"):
        matting.laplacian(random(*size))


def test_windows_with_a_pixel_that_is_not_seen_do_not_count():
    content = np.random.default_rng(0).random((5, 9, 3))
    seen = np.ones((5, 9), bool)
    seen[:, 5:] = False
    matrix = matting.laplacian(content, seen).toarray().reshape(5, 9, 5, 9)
    alone = matting.laplacian(content[:, :5]).toarray().reshape(5, 5, 5, 5)
    np.testing.assert_array_equal(matrix[:, :5, :, :5], alone)
    assert not matrix[:, 5:].any()
