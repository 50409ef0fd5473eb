import numpy as np
import pytest
import torch
from torch.nn import functional

from pr12.photostyle.model import local_affine

RANDOM = np.random.default_rng(0)


def naive(content, result, radius, epsilon):
    """Ridge regression in every window, and the mean over the windows that hold a pixel."""
    height, width = content.shape[:2]

    def window(row, column):
        rows = slice(max(row - radius, 0), row + radius + 1)
        return rows, slice(max(column - radius, 0), column + radius + 1)

    ours = np.empty((height, width, 3, 4))
    for row in range(height):
        for column in range(width):
            place = window(row, column)
            colours, wanted = content[place].reshape(-1, 3), result[place].reshape(-1, 3)
            count = len(colours)
            ridge = np.concatenate([np.sqrt(count * epsilon) * np.eye(3), np.zeros((3, 1))], 1)
            system = np.concatenate([np.c_[colours, np.ones(count)], ridge])
            actual = np.linalg.lstsq(system, np.concatenate([wanted, np.zeros((3, 3))]), rcond=None)
            ours[row, column] = actual[0].T
    means = np.empty_like(ours)
    for row in range(height):
        for column in range(width):
            means[row, column] = ours[window(row, column)].mean(axis=(0, 1))
    return means


@pytest.mark.parametrize("radius", [1, 2, 20])
def test_coefficients_are_those_of_a_ridge_regression_in_each_window(radius):
    content, result = RANDOM.random((2, 7, 9, 3))
    actual = local_affine.coefficients(content, result, radius, 1e-2)
    np.testing.assert_allclose(actual, naive(content, result, radius, 1e-2), atol=1e-9)


def test_an_affine_change_of_colours_is_found_and_left_as_it_is():
    content = RANDOM.random((20, 30, 3))
    matrix = np.array([[0.5, 0.2, 0.1], [0.0, 0.4, 0.3], [0.1, 0.1, 0.6]])
    result = content @ matrix.T + 0.1
    actual = local_affine.coefficients(content, result, 3, 1e-10)
    assert abs(actual[..., :3] - matrix).max() < 1e-6
    np.testing.assert_allclose(local_affine.smoothed(content, result, 3, 1e-10), result, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2)])
def test_images_smaller_than_a_window_work(shape):
    content = RANDOM.random((*shape, 3))
    smoothed = local_affine.smoothed(content, content, 5, 1e-9)
    np.testing.assert_allclose(smoothed, content, atol=1e-4)


def test_one_colour_becomes_the_mean_of_the_result():
    content = np.full((5, 5, 3), 0.3)
    result = RANDOM.random((5, 5, 3))
    smoothed = local_affine.smoothed(content, result, 10, 1e-4)
    expected = np.broadcast_to(result.mean(axis=(0, 1)), (5, 5, 3))
    np.testing.assert_allclose(smoothed, expected, atol=1e-9)


def test_the_larger_epsilon_the_farther_from_the_result():
    content, result = RANDOM.random((2, 16, 16, 3))
    distances = [
        np.square(local_affine.smoothed(content, result, 2, epsilon) - result).mean()
        for epsilon in (1e-6, 1e-3, 1e-1, 10.0)
    ]
    assert distances == sorted(distances)
    assert distances[-1] > distances[0]


def test_results_stay_between_0_and_1():
    content = RANDOM.random((6, 6, 3))
    coefficients = local_affine.coefficients(content, content, 2, 1e-9)
    coefficients[:3] *= 5
    coefficients[3:, ..., 3] -= 2
    changed = local_affine.applied(coefficients, content)
    assert changed.min() == 0
    assert changed.max() == 1


@pytest.mark.parametrize("size", [(5, 7), (8, 10), (13, 31), (3, 2)])
def test_upsampling_is_bilinear_between_centres(size):
    coefficients = RANDOM.random((5, 7, 3, 4))
    planes = torch.from_numpy(coefficients.reshape(5, 7, 12).transpose(2, 0, 1).copy())[None]
    expected = functional.interpolate(planes, size, mode="bilinear", align_corners=False)
    expected = expected[0].permute(1, 2, 0).reshape(*size, 3, 4).numpy()
    np.testing.assert_allclose(local_affine.upsampled(coefficients, *size), expected, atol=1e-12)


def test_carrying_in_strips_is_the_same_as_at_once():
    coefficients = RANDOM.random((9, 6, 3, 4)) / 4
    content = RANDOM.random((2 * local_affine.STRIP + 5, 40, 3))
    at_once = local_affine.applied(
        local_affine.upsampled(coefficients, *content.shape[:2]), content
    )
    np.testing.assert_allclose(local_affine.carried(coefficients, content), at_once, atol=1e-6)


def test_a_change_of_a_small_image_keeps_the_details_of_the_large_one():
    large = RANDOM.random((40, 60, 3))
    small = large.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3))
    coefficients = local_affine.coefficients(small, 0.5 * small + 0.25, 2, 1e-8)
    np.testing.assert_allclose(
        local_affine.carried(coefficients, large), 0.5 * large + 0.25, atol=1e-3
    )
