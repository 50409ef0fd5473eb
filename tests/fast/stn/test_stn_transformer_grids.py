import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kornia.geometry import transform as kornia
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates
from torch.nn import functional

from pr12.stn.model import grids
from pr12.stn.model.grids import (
    affine_grid,
    affine_grid_3d,
    attention_grid,
    control_points,
    crop_grid,
    pixel_centres,
    projective_grid,
    thin_plate_spline_grid,
    thin_plate_spline_matrix,
)
from pr12.stn.model.transformer import TRANSFORMS, sample
from pr12.workflow.errors import UserError

SIZES = [(4, 4), (5, 5), (6, 3), (3, 8), (1, 7)]
PLANE = [name for name in TRANSFORMS if name != "affine_3d"]
ALIKE = [name for name in TRANSFORMS if name != "crop"]  # a crop has no identity
COLUMNS = torch.tensor([[[[10.0, 20.0, 30.0, 40.0]]]])


def size_for(name, size):
    return (*size, size[0] + 1) if name == "affine_3d" else size


def identity(name, number=1):
    return torch.tensor(TRANSFORMS[name].identity, dtype=torch.float64).repeat(number, 1)


def random_parameters(name, number, spread=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    start = identity(name, number)
    return start + spread * torch.randn(start.shape, generator=generator, dtype=torch.float64)


def random_images(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


# --- coordinates ---


def test_minus_one_and_one_are_the_outer_edges_of_the_first_and_last_pixel():
    y, x = pixel_centres((2, 5), torch.zeros(1, dtype=torch.float64))
    assert y.tolist() == [-0.5, 0.5]
    assert x.tolist() == pytest.approx([-0.8, -0.4, 0, 0.4, 0.8])
    assert x.dtype == torch.float64


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ALIKE)
def test_the_identity_samples_every_pixel_at_its_own_place(name, size):
    size = size_for(name, size)
    grid = TRANSFORMS[name].grid(identity(name, 2), size)
    axes = torch.meshgrid(*pixel_centres(size, grid), indexing="ij")
    expected = torch.stack(axes[::-1], dim=-1)  # x comes first
    torch.testing.assert_close(grid, expected.expand_as(grid), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [*SIZES, (28, 28), (27, 42), (61, 60)])
@pytest.mark.parametrize("name", ALIKE)
def test_the_identity_returns_the_image(name, size):
    size = size_for(name, size)
    images = random_images(2, 3, *size)
    same = sample(images, TRANSFORMS[name].grid(identity(name, 2), size))
    assert (same - images).abs().max() < 1e-6
    # A float32 near 1 is 2^-23 apart, and a side has as many times that as pixels
    single = sample(images.float(), TRANSFORMS[name].grid(identity(name, 2).float(), size))
    assert (single - images).abs().max() < 4 * 2**-23 * max(8, *size)


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize(("size", "other"), [((8, 6), (4, 3)), ((9, 12), (4, 5)), ((5, 7), (5, 2))])
def test_the_identity_to_a_smaller_size_is_bilinear_interpolation(name, size, other):
    size, other = size_for(name, size), size_for(name, other)
    images = random_images(2, 2, *size)
    result = sample(images, TRANSFORMS[name].grid(identity(name, 2), other))
    mode = "trilinear" if name == "affine_3d" else "bilinear"
    expected = functional.interpolate(
        images, size=other, mode=mode, align_corners=False, antialias=False
    )
    torch.testing.assert_close(result, expected)


def test_the_identity_to_half_the_size_is_average_pooling():
    images = random_images(1, 2, 6, 10)
    result = sample(images, affine_grid(identity("affine"), (3, 5)))
    torch.testing.assert_close(result, functional.avg_pool2d(images, 2))


# --- worked by hand ---


def affine(a, b, tx, c, d, ty):
    return torch.tensor([[a, b, tx, c, d, ty]], dtype=torch.float32)


def test_theta_maps_output_to_input_so_a_shift_to_the_right_moves_the_image_left():
    # 4 columns are 2 wide, so 0.5 is one pixel
    moved = sample(COLUMNS, affine_grid(affine(1, 0, 0.5, 0, 1, 0), (1, 4)))
    assert moved.flatten().tolist() == [20, 30, 40, 0]
    moved = sample(COLUMNS, affine_grid(affine(1, 0, -1.0, 0, 1, 0), (1, 4)))
    assert moved.flatten().tolist() == [0, 0, 10, 20]


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, 2), (-3, 1), (2, -2)])
@pytest.mark.parametrize("name", PLANE)
def test_a_shift_by_whole_pixels(name, right, down):
    height, width = 8, 12
    shift = torch.tensor([2 * right / width, 2 * down / height], dtype=torch.float64)
    theta = identity(name)
    if name == "tps":
        theta += shift.repeat(16)  # every control point
    else:
        places = [2, 5] if name in ("affine", "projective") else [-2, -1]
        theta[0, places] += shift
    images = random_images(1, 2, height, width)
    # a crop is the middle 4 x 6, where it starts
    top, left, rows, columns = (2, 3, 4, 6) if name == "crop" else (0, 0, height, width)
    around = functional.pad(images, (9, 9, 9, 9))[:, :, 9 + top + down :, 9 + left + right :]
    result = sample(images, TRANSFORMS[name].grid(theta, (rows, columns)))
    torch.testing.assert_close(result, around[:, :, :rows, :columns])


def test_a_scale_of_two_zooms_out():
    # columns are read at -1.5, 0.5, 2.5 and 4.5
    result = sample(COLUMNS, affine_grid(affine(2, 0, 0, 0, 1, 0), (1, 4)))
    assert result.flatten().tolist() == [0, 15, 35, 0]


def test_a_scale_of_a_half_zooms_in():
    # columns are read at 0.75, 1.25, 1.75 and 2.25
    result = sample(COLUMNS, affine_grid(affine(0.5, 0, 0, 0, 1, 0), (1, 4)))
    assert result.flatten().tolist() == [17.5, 22.5, 27.5, 32.5]


def test_a_quarter_turn():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    # source x = -y, source y = x: the output's first row is the input's last column upwards
    turned = sample(image, affine_grid(affine(0, -1, 0, 1, 0, 0), (3, 3)))
    torch.testing.assert_close(turned, torch.rot90(image, 1, (2, 3)))
    assert turned[0, 0, 0].tolist() == pytest.approx([2, 5, 8])


def test_an_attention_window_by_hand():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    upper_right = torch.tensor([[0.5, 0.5, -0.5]])
    assert sample(image, attention_grid(upper_right, (2, 2)))[0, 0].tolist() == [[2, 3], [6, 7]]
    # a window twice as wide as the image, seen in its four quarters
    assert sample(image, attention_grid(torch.tensor([[2.0, 0, 0]]), (4, 4)))[0, 0].tolist() == [
        [0, 0, 0, 0],
        [0, 2.5, 4.5, 0],
        [0, 10.5, 12.5, 0],
        [0, 0, 0, 0],
    ]


def test_a_crop_by_hand():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    crop = {
        (0.0, 0.0): [[5, 6], [9, 10]],  # where it starts
        (-0.5, 0.5): [[8, 9], [12, 13]],
        (1.0, -0.5): [[3, 0], [7, 0]],
    }
    for centre, expected in crop.items():
        assert sample(image, crop_grid(torch.tensor([centre]), (2, 2)))[0, 0].tolist() == expected


def test_a_projective_transformation_by_hand():
    # depth 1 + x / 2 at x = -0.5 and 0.5 is 0.75 and 1.25
    grid = projective_grid(torch.tensor([[1.0, 0, 0, 0, 1, 0, 0.5, 0]]), (1, 2))
    assert grid[0, 0, :, 0].tolist() == pytest.approx([-0.5 / 0.75, 0.5 / 1.25])


def test_the_axes_of_a_volume():
    image = torch.arange(24.0).reshape(1, 1, 2, 3, 4)
    theta = torch.tensor(TRANSFORMS["affine_3d"].identity)[None]
    for entry, pixel, axis in ((3, 2 / 4, 4), (7, 2 / 3, 3), (11, 2 / 2, 2)):
        moved = theta.clone()
        moved[0, entry] = pixel
        result = sample(image, affine_grid_3d(moved, (2, 3, 4)))
        expected = torch.roll(image, -1, dims=axis)
        expected.select(axis, -1).zero_()
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_nearest_takes_the_pixel_whose_centre_is_nearest_and_has_no_gradient_for_theta():
    images = COLUMNS.clone().requires_grad_()
    for shift, expected in (
        (0.4, [10, 20, 30, 40]),
        (0.6, [20, 30, 40, 0]),
        (-1.4, [0, 10, 20, 30]),
    ):
        theta = affine(1, 0, shift / 2, 0, 1, 0).requires_grad_()
        result = sample(images, affine_grid(theta, (1, 4)), mode="nearest")
        assert result.flatten().tolist() == expected
        result.sum().backward()
        assert theta.grad.abs().max() == 0
    assert images.grad.flatten().tolist() == [2, 3, 3, 2]


def test_bilinear_outside_fades_to_zero_over_one_pixel():
    result = [
        sample(COLUMNS, affine_grid(affine(1, 0, shift / 2, 0, 1, 0), (1, 4)))[0, 0, 0, 3].item()
        for shift in (0.0, 0.25, 0.5, 1.0, 7.0)
    ]
    assert result == [40, 30, 20, 0, 0]


# --- gradients ---


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize(("size", "output"), [((4, 5), (4, 5)), ((5, 4), (3, 2))])
def test_gradients_for_parameters_and_image_are_those_of_finite_differences(name, size, output):
    size, output = size_for(name, size), size_for(name, output)
    parameters = random_parameters(name, 2, spread=0.15).requires_grad_()
    images = random_images(2, 2, *size).requires_grad_()
    grid = TRANSFORMS[name].grid(parameters, output).detach()
    pixels = (grid + 1) * torch.tensor(size[::-1]) / 2 - 0.5
    assert (pixels - pixels.round()).abs().min() > 1e-4  # away from the kinks at pixel centres
    assert torch.autograd.gradcheck(
        lambda theta, image: sample(image, TRANSFORMS[name].grid(theta, output)),
        (parameters, images),
        eps=1e-7,
        atol=1e-6,
    )


# --- against libraries ---


@pytest.mark.parametrize("size", SIZES)
def test_affine_grids_are_those_of_torch(size):
    theta = random_parameters("affine", 3)
    torch.testing.assert_close(
        affine_grid(theta, size),
        functional.affine_grid(theta.view(3, 2, 3), (3, 1, *size), align_corners=False),
    )


@pytest.mark.parametrize("size", [(2, 3, 4), (1, 5, 2)])
def test_affine_grids_of_volumes_are_those_of_torch(size):
    theta = random_parameters("affine_3d", 3)
    torch.testing.assert_close(
        affine_grid_3d(theta, size),
        functional.affine_grid(theta.view(3, 3, 4), (3, 1, *size), align_corners=False),
    )


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_sampling_is_scipys_interpolation_of_order_one_or_zero(name, mode):
    size, output = size_for(name, (6, 7)), size_for(name, (5, 4))
    images = random_images(2, 1, *size)
    grid = TRANSFORMS[name].grid(random_parameters(name, 2), output)
    pixels = (grid + 1) * torch.tensor(size[::-1]) / 2 - 0.5
    expected = [
        map_coordinates(
            image[0].numpy(), where.flip(-1).movedim(-1, 0).numpy(),
            order=int(mode == "bilinear"), mode="grid-constant", cval=0.0, prefilter=False,
        )
        for image, where in zip(images, pixels, strict=True)
    ]  # fmt: skip
    result = sample(images, grid, mode)
    torch.testing.assert_close(result[:, 0], torch.from_numpy(np.stack(expected)))


def matrices(number, seed=0):
    theta = random_parameters("projective", number, spread=0.15, seed=seed)
    return theta, torch.cat([theta, torch.ones_like(theta[:, :1])], dim=1).view(-1, 3, 3)


@pytest.mark.parametrize(("size", "output"), [((6, 9), (6, 9)), ((8, 5), (7, 10))])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_projective_transformation_is_kornias_homography(size, output, mode):
    theta, homography = matrices(4)
    images = random_images(4, 2, *size)
    expected = kornia.homography_warp(
        images, homography, output, mode=mode, padding_mode="zeros", align_corners=False,
        normalized_coordinates=True, normalized_homography=True,
    )  # fmt: skip
    torch.testing.assert_close(sample(images, projective_grid(theta, output), mode), expected)


def to_coordinates(size):
    """Give the matrix from pixels, whose centres are whole numbers, to -1 and 1 at the edges."""
    height, width = size
    return torch.tensor(
        [[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("corners", [False, True])  # where pixels are given, both mean the same
def test_in_pixels_it_is_kornias_perspective_warp_which_maps_input_to_output(corners):
    size, output = (7, 6), (5, 8)
    theta, homography = matrices(4)
    images = random_images(4, 2, *size)
    pixels = to_coordinates(size).inverse() @ homography @ to_coordinates(output)
    expected = kornia.warp_perspective(
        images, pixels.inverse(), output, mode="bilinear", padding_mode="zeros",
        align_corners=corners,
    )  # fmt: skip
    torch.testing.assert_close(sample(images, projective_grid(theta, output)), expected)


def test_a_projective_transformation_without_perspective_is_affine():
    theta = random_parameters("affine", 3)
    none = torch.zeros(3, 2, dtype=torch.float64)
    torch.testing.assert_close(
        projective_grid(torch.cat([theta, none], dim=1), (4, 5)), affine_grid(theta, (4, 5))
    )


# --- thin-plate spline ---


def spline(points, destinations):
    """Solve for the weights of the kernels r^2 log r and of 1, x, y; the textbook's system."""
    count = len(points)
    r = np.linalg.norm(points[:, None] - points[None], axis=-1)
    kernel = np.where(r > 0, r**2 * np.log(np.where(r > 0, r, 1)), 0)
    linear = np.hstack([np.ones((count, 1)), points])
    left = np.block([[kernel, linear], [linear.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(left, np.vstack([destinations, np.zeros((3, 2))]))
    return weights[:count], weights[count:]


def moved_points(number=3):
    parameters = random_parameters("tps", number, spread=0.15)
    return parameters, parameters.view(number, 16, 2).numpy()


@pytest.mark.parametrize("size", SIZES)
def test_a_spline_is_scipys(size):
    parameters, destinations = moved_points()
    grid = thin_plate_spline_grid(parameters, size)
    pixels = torch.stack(
        torch.meshgrid(*pixel_centres(size, parameters), indexing="ij")[::-1], dim=-1
    )
    for one, where in zip(destinations, grid, strict=True):
        expected = RBFInterpolator(
            control_points(4).numpy(), one, kernel="thin_plate_spline", degree=1, smoothing=0.0
        )(pixels.reshape(-1, 2).numpy())
        np.testing.assert_allclose(where.reshape(-1, 2), expected, atol=1e-9)


def test_a_spline_warps_as_kornia_evaluates_it():
    # kornia's own solver puts the kernels at the destinations, so that its splines are others:
    # the weights are solved for here
    parameters, destinations = moved_points()
    images = random_images(3, 2, 9, 7)
    points = control_points(4)
    kernels, linear = map(
        np.stack, zip(*(spline(points.numpy(), one) for one in destinations), strict=True)
    )
    expected = kornia.warp_image_tps(
        images, points.expand(3, -1, -1), torch.from_numpy(kernels), torch.from_numpy(linear),
        align_corners=False, padding_mode="zeros",
    )  # fmt: skip
    torch.testing.assert_close(
        sample(images, thin_plate_spline_grid(parameters, (9, 7))), expected, rtol=0, atol=1e-8
    )


def test_points_that_move_by_an_affine_map_give_that_map_and_kornias_spline():
    theta = random_parameters("affine", 3)
    points = control_points(4).expand(3, -1, -1)
    a = theta.view(3, 2, 3)
    moved = points @ a[:, :, :2].mT + a[:, None, :, 2]
    grid = thin_plate_spline_grid(moved.flatten(1), (5, 6))
    torch.testing.assert_close(grid, affine_grid(theta, (5, 6)), rtol=0, atol=1e-10)
    images = random_images(3, 1, 5, 6)
    kernels, linear = kornia.get_tps_transform(points, moved)
    warped = kornia.warp_image_tps(
        images, moved, kernels, linear, align_corners=False, padding_mode="zeros"
    )
    torch.testing.assert_close(sample(images, grid), warped, rtol=0, atol=1e-8)


def centres(size):
    y, x = pixel_centres(size, torch.zeros(1, dtype=torch.float64))
    return torch.cartesian_prod(y, x).flip(1)


def test_a_spline_passes_through_its_control_points():
    # control points at all pixel centres: each pixel goes where its point goes, no other matters
    matrix = thin_plate_spline_matrix(centres((4, 5)), (4, 5))
    torch.testing.assert_close(matrix, torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-10)
    # and at some of them, out of order
    some = torch.tensor([7, 0, 18, 11, 3])
    matrix = thin_plate_spline_matrix(centres((4, 5))[some], (4, 5))
    torch.testing.assert_close(matrix[some], torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 20), st.integers(0, 2**31), st.permutations(range(20)))
def test_any_spline_reproduces_affine_maps_and_knows_no_order_of_points(count, seed, order):
    generator = torch.Generator().manual_seed(seed)
    # every point in a field of its own of a 5 x 4 chessboard: neither near nor all on a line
    fields = torch.randperm(20, generator=generator)[:count]
    points = centres((4, 5))[fields]
    jitter = torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.5
    points = points + 0.3 * jitter
    spread = torch.linalg.svdvals(points - points.mean(dim=0))
    assume(spread[1] > 0.05 * spread[0])
    matrix = thin_plate_spline_matrix(points, (6, 7))
    torch.testing.assert_close(matrix @ points, centres((6, 7)), rtol=0, atol=1e-8)
    ones = torch.ones(42, dtype=torch.float64)
    torch.testing.assert_close(matrix.sum(dim=1), ones, rtol=0, atol=1e-8)
    shuffled = torch.tensor([i for i in order if i < count])
    torch.testing.assert_close(
        thin_plate_spline_matrix(points[shuffled], (6, 7)), matrix[:, shuffled], rtol=0, atol=1e-7
    )


def test_control_points_go_in_rows_from_edge_to_edge_x_first():
    points = control_points(4)
    assert points.shape == (16, 2)
    assert points[:4, 1].tolist() == [-1] * 4
    assert points[:4, 0].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert points[4].tolist() == pytest.approx([-1, -1 / 3])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "three or more control points"),
        ([[0, 0], [1, 1]], "three or more control points"),
        ([[0, 0], [1, 0], [0, 1], [1, 0]], "no two at a place"),
        ([[0, 0], [1, 0], [0, 1], [1, 1e-9]], "no two at a place"),
        ([[-1, 0], [0, 0], [1, 0]], "lie on a line; move one off it"),
        ([[0, 0], [0.3, 0.1], [0.6, 0.2], [-0.9, -0.3]], "lie on a line; move one off it"),
        ([[0.5, 1], [0.5, 0], [0.5, -1], [0.5, 0.1]], "lie on a line; move one off it"),
    ],
)
def test_control_points_that_make_no_spline_are_refused(points, message):
    points = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    with pytest.raises(UserError, match=message):
        thin_plate_spline_matrix(points, (3, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # one is a copy of what is kept
def test_a_spline_first_asked_for_in_inference_mode_can_be_trained_after(dtype):
    grids._regular_matrix.cache_clear()
    parameters = identity("tps").to(dtype)
    with torch.inference_mode():
        first = thin_plate_spline_grid(parameters, (11, 13))
    parameters.requires_grad_()
    second = thin_plate_spline_grid(parameters, (11, 13))
    assert torch.equal(first, second)
    second.square().sum().backward()
    assert parameters.grad.abs().max() > 0


# --- composition ---

ENTRY = st.floats(-1.5, 1.5, allow_nan=False, width=32)


def points_through(matrix, grid):
    """Map the points of a grid by a homogeneous matrix."""
    moved = torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1) @ matrix.T
    return moved[..., :-1] / moved[..., -1:]


@settings(max_examples=50, deadline=None)
@given(st.lists(ENTRY, min_size=12, max_size=12), st.integers(1, 6), st.integers(1, 6))
def test_two_affine_transformations_are_their_product(entries, height, width):
    last = torch.tensor([[0, 0, 1.0]], dtype=torch.float64)
    first, second = (
        torch.cat([one.view(2, 3), last])
        for one in torch.tensor(entries, dtype=torch.float64).split(6)
    )
    grid = affine_grid(second[:2].reshape(1, 6), (height, width))
    product = (first @ second)[:2].reshape(1, 6)
    torch.testing.assert_close(
        points_through(first, grid), affine_grid(product, (height, width)), rtol=0, atol=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6))
def test_a_projective_transformation_and_its_inverse_are_the_identity(seed, height, width):
    theta, matrix = matrices(1, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    perspective = torch.rand(2, generator=generator, dtype=torch.float64) * 0.6 - 0.3
    theta[0, 6:] = perspective  # depth from 0.4 to 1.6 over the image
    matrix[0, 2, :2] = perspective
    assume(torch.linalg.cond(matrix[0]) < 100)
    there = projective_grid(theta, (height, width))
    back = points_through(matrix[0].inverse(), there)
    same = affine_grid(identity("affine"), (height, width))
    torch.testing.assert_close(back, same, rtol=0, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, 1), st.floats(0.3, 2), st.floats(-1, 1), st.integers(1, 5), st.integers(1, 5))
def test_attention_and_crop_are_affine(x, scale, y, height, width):
    size = (height, width)
    for grid, wanted in (
        (attention_grid(torch.tensor([[scale, x, y]]), size), (scale, 0, x, 0, scale, y)),
        (crop_grid(torch.tensor([[x, y]]), size), (0.5, 0, x, 0, 0.5, y)),
    ):
        assert torch.equal(grid, affine_grid(affine(*wanted), size))


# --- what is not finite, nothing ---


@pytest.mark.parametrize(
    "perspective", [(2.0, 0.0), (0.0, 2.0), (4.0, -4.0), (1e30, 0), (-2.0, 2.0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_at_depth_zero_lie_far_away_but_are_finite(perspective, dtype):
    theta = identity("projective").to(dtype)
    theta[0, 6:] = torch.tensor(perspective)
    theta.requires_grad_()
    grid = projective_grid(theta, (4, 4))  # centres at -0.75, -0.25, ...: some depths are 0 or near
    images = random_images(1, 1, 4, 4).to(dtype).requires_grad_()
    result = sample(images, grid)
    result.sum().backward()
    assert all(t.isfinite().all() for t in (grid, result, theta.grad, images.grad))


def test_a_point_of_depth_zero_is_seen_as_outside():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 4.0, 0]])  # depth 1 + 4 x is 0 at the second column
    grid = projective_grid(theta, (1, 4))
    assert grid[0, 0, 1, 0] == pytest.approx(-250)
    assert sample(COLUMNS, grid)[0, 0, 0, 1] == 0


@pytest.mark.parametrize(("perspective", "x"), [(4.002, 250), (3.998, -250)])
def test_near_depth_zero_a_point_stays_on_its_side(perspective, x):
    # at -0.25 the depth is -0.0005 or 0.0005, which counts as -0.001 or 0.001
    grid = projective_grid(torch.tensor([[1.0, 0, 0, 0, 1, 0, perspective, 0]]), (1, 4))
    assert grid[0, 0, 1, 0] == pytest.approx(x)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_parameter_that_is_nan_shows_in_its_own_grid_only(name):
    size = size_for(name, (4, 4))
    parameters = random_parameters(name, 2)
    images = random_images(2, 1, *size)
    whole = sample(images, TRANSFORMS[name].grid(parameters, size))
    parameters[1, 0] = float("nan")
    grid = TRANSFORMS[name].grid(parameters, size)
    assert grid[1].isnan().flatten(0, -2).any(dim=-1).all()  # an axis of every point
    assert torch.equal(sample(images, grid)[0], whole[0])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_images_give_no_images(name):
    size = size_for(name, (3, 4))
    grid = TRANSFORMS[name].grid(identity(name, 0), size)
    assert grid.shape == (0, *size, len(size))
    assert sample(torch.zeros(0, 2, *size, dtype=torch.float64), grid).shape == (0, 2, *size)
