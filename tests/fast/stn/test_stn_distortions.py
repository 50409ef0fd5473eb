import kornia
import numpy as np
import pytest
import torch
from scipy import ndimage

from pr12.stn.model import distortions, grids
from pr12.stn.model.distortions import PIXEL, SIDE
from pr12.workflow.errors import UserError

ROUND = ["R", "RTS", "P", "E"]
SQUARE = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=1):
    return torch.rand(*shape, generator=stream(seed))


def blob(side=SIDE):
    """Give a smooth picture without any symmetry."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    spots = [(5, -3, 1.0), (-4, 2, 0.6), (1, 6, 0.4)]
    return sum(a * np.exp(-((y - b) ** 2 + (x - c) ** 2) / 8) for b, c, a in spots)


def disc(radius):
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return torch.from_numpy(np.hypot(x, y) <= radius).float()


def moved(images, angle=0.0, scale=1.0, shift=(0.0, 0.0), canvas=SIDE):
    count = len(images)
    full = [torch.full((count,), value, dtype=images.dtype) for value in (angle, scale)]
    shifts = torch.tensor(shift, dtype=images.dtype).expand(count, 2)
    return distortions.moved(images, *full, shifts, canvas)


@pytest.fixture
def moves(monkeypatch):
    """Keep what is asked of `moved`."""
    actual = []

    def record(images, angle, scale, shift, canvas=SIDE):
        actual.append((angle, scale, shift, canvas))
        return torch.zeros(len(images), canvas, canvas)

    monkeypatch.setattr(distortions, "moved", record)
    return actual


@pytest.fixture
def no_noise(monkeypatch):
    """Draw nothing but the middle of each distribution."""
    monkeypatch.setattr(torch, "randn", lambda *shape, **where: torch.zeros(*shape))
    monkeypatch.setattr(torch, "rand", lambda *shape, **where: torch.full(shape, 0.5))


# --- known movements ---


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
def test_quarter_turns_are_those_of_rot90(quarters):
    images = noise(3, SIDE, SIDE)
    expected = torch.rot90(images, quarters, dims=(1, 2))
    torch.testing.assert_close(moved(images, 90.0 * quarters), expected, rtol=0, atol=1e-5)


def test_what_was_on_the_right_is_above_after_a_quarter_turn():
    image = torch.zeros(1, SIDE, SIDE)
    image[0, 14, 25] = 1
    assert moved(image, 90.0)[0].argmax() == 2 * SIDE + 14


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, 3), (-2, 5), (27, -27)])
def test_a_shift_by_whole_pixels_is_exact(shift):
    images = noise(2, SIDE, SIDE)
    x, y = shift
    expected = np.stack(
        [ndimage.shift(image, (y, x), order=1, mode="constant") for image in images.numpy()]
    )
    np.testing.assert_allclose(moved(images, shift=shift), expected, atol=1e-5)


def test_a_larger_canvas_has_the_digit_in_its_middle():
    images = noise(2, SIDE, SIDE)
    actual = moved(images, canvas=42)
    torch.testing.assert_close(actual[:, 7:35, 7:35], images, rtol=0, atol=1e-5)
    assert float(actual.sum()) == pytest.approx(float(images.sum()), rel=1e-4)


@pytest.mark.parametrize("angle", [0, 30, -75, 140])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.2])
@pytest.mark.parametrize(("shift", "canvas"), [((0, 0), 28), ((2.5, -1.0), 42)])
def test_it_turns_scales_and_shifts_as_scipy_does(angle, scale, shift, canvas):
    picture = blob()
    turn = np.deg2rad(angle)
    # From (row, column) of the canvas to those of the picture; rows go down
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    middle, there = (SIDE - 1) / 2, (canvas - 1) / 2 + np.array(shift[::-1])
    expected = ndimage.affine_transform(
        picture, back, middle - back @ there, output_shape=(canvas, canvas), order=1
    )
    actual = moved(torch.from_numpy(picture)[None], angle, scale, shift, canvas)[0]
    # SciPy makes 0 of what lies outside the outermost pixels' centres; there the picture is faint
    np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_every_image_moves_by_its_own_amount():
    images = noise(3, SIDE, SIDE)
    angle = torch.tensor([0.0, 40, -70])
    scale = torch.tensor([1.0, 0.7, 1.2])
    shift = torch.tensor([[0.0, 0], [3, -2], [-4, 1]])
    together = distortions.moved(images, angle, scale, shift, 42)
    for i in range(3):
        alone = moved(images[i : i + 1], float(angle[i]), float(scale[i]), shift[i].tolist(), 42)
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-5)


# --- what R and RTS draw ---


def test_uniform_numbers_fill_their_range_evenly():
    drawn = distortions.uniform(20_000, -3, 5, stream())
    assert drawn.shape == (20_000,)
    assert -3 <= drawn.min() < -2.99
    assert 4.99 < drawn.max() <= 5
    counts = torch.histc(drawn, bins=8, min=-3, max=5)
    assert (counts - 2500).abs().max() < 250  # five standard deviations


def test_r_turns_by_up_to_90_degrees_and_does_nothing_else(moves):
    distortions.rotated(torch.zeros(20_000, SIDE, SIDE), stream())
    ((angle, scale, shift, canvas),) = moves
    assert (float(angle.min()), float(angle.max())) == pytest.approx((-90, 90), abs=0.1)
    assert float(angle.std()) == pytest.approx(180 / 12**0.5, rel=0.02)
    assert (scale.unique().tolist(), shift.unique().tolist(), canvas) == ([1.0], [0.0], 28)


def test_rts_draws_angle_scale_and_place_independently_in_their_ranges(moves):
    distortions.rotated_scaled_translated(torch.zeros(20_000, SIDE, SIDE), stream())
    ((angle, scale, shift, canvas),) = moves
    assert canvas == 42
    assert (float(angle.min()), float(angle.max())) == pytest.approx((-45, 45), abs=0.1)
    assert (float(scale.min()), float(scale.max())) == pytest.approx((0.7, 1.2), abs=0.001)
    assert float(scale.mean()) == pytest.approx(0.95, abs=0.005)
    room = (42 - 28 * scale[:, None]) / 2
    share = shift / room
    assert float(share.abs().max()) <= 1 + 1e-6
    assert float(share.std()) == pytest.approx(2 / 12**0.5, rel=0.02)  # uniform over all the room
    together = torch.stack([angle, scale, *share.T])
    assert torch.corrcoef(together).fill_diagonal_(0).abs().max() < 0.04


def test_rts_never_leaves_the_canvas():
    # A disc stays one under a turn, so that what lies in the upright image's circle is all seen
    images = disc(13.0).expand(500, -1, -1)
    actual = distortions.rotated_scaled_translated(images, stream())
    areas = actual.sum(dim=(1, 2))
    drawn = distortions.uniform(500, 0.7, 1.2, stream())  # what RTS draws first
    torch.testing.assert_close(areas, float(disc(13.0).sum()) * drawn**2, rtol=0.01, atol=0)
    assert actual.shape == (500, 42, 42)


def test_rts_puts_digits_everywhere():
    actual = distortions.rotated_scaled_translated(disc(13.0).expand(500, -1, -1), stream())
    assert (actual.sum(dim=0)[1:41, 21] > 0).all()
    assert (actual.sum(dim=0)[21, 1:41] > 0).all()


# --- projective and elastic ---


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.35])
def test_a_homography_takes_the_square_to_its_four_corners(amount):
    corners = SQUARE.double() + amount * torch.randn(50, 4, 2, generator=stream()).double()
    theta = distortions.homography(corners)
    matrices = torch.cat([theta, torch.ones(50, 1)], dim=1).view(50, 3, 3)
    points = torch.cat([SQUARE, torch.ones(4, 1)], dim=1).double()
    reached = points @ matrices.transpose(1, 2)
    torch.testing.assert_close(reached[..., :2] / reached[..., 2:], corners, rtol=0, atol=1e-9)
    oracle = kornia.geometry.get_perspective_transform(SQUARE.double().expand(50, 4, 2), corners)
    torch.testing.assert_close(matrices, oracle, rtol=1e-7, atol=1e-9)


def test_a_homography_of_a_square_half_as_large_is_a_scaling():
    theta = distortions.homography(SQUARE[None] / 2)
    torch.testing.assert_close(theta, torch.tensor([[0.5, 0, 0, 0, 0.5, 0, 0, 0]]))


@pytest.mark.parametrize("name", ["projected", "elastic"])
def test_without_noise_p_and_e_only_scale(no_noise, name):
    images = noise(2, SIDE, SIDE)
    actual = getattr(distortions, name)(images, stream())
    torch.testing.assert_close(actual, moved(images, scale=0.875), rtol=0, atol=1e-4)


def grids_drawn(monkeypatch, name, grid, count):
    actual = []

    def record(parameters, size):
        actual.append(parameters)
        return torch.zeros(len(parameters), *size, 2)

    monkeypatch.setattr(grids, grid, record)
    getattr(distortions, name)(torch.zeros(count, SIDE, SIDE), stream())
    return actual[0]


def test_p_moves_corners_by_5_pixels_and_scales_by_three_quarters_to_1(monkeypatch):
    theta = grids_drawn(monkeypatch, "projected", "projective_grid", 20_000).double()
    matrices = torch.cat([theta, torch.ones(len(theta), 1)], dim=1).view(-1, 3, 3)
    points = torch.cat([SQUARE, torch.ones(4, 1)], dim=1).double()
    reached = points @ matrices.transpose(1, 2)
    corners = reached[..., :2] / reached[..., 2:]
    inverse = 1 / distortions.uniform(20_000, 0.75, 1, stream())  # what is drawn first
    away = (corners - SQUARE * inverse[:, None, None]) / PIXEL
    assert float(away.mean()) == pytest.approx(0, abs=0.1)
    assert away.std(dim=0).flatten().tolist() == pytest.approx([5.0] * 8, rel=0.03)
    assert torch.corrcoef(away.flatten(1).T).fill_diagonal_(0).abs().max() < 0.04


def test_e_moves_16_points_by_one_and_a_half_pixels(monkeypatch):
    points = grids_drawn(monkeypatch, "elastic", "thin_plate_spline_grid", 20_000).view(-1, 16, 2)
    inverse = 1 / distortions.uniform(20_000, 0.75, 1, stream())
    regular = grids.control_points(4).float()
    away = (points - regular * inverse[:, None, None]) / PIXEL
    assert away.std(dim=0).flatten().tolist() == pytest.approx([1.5] * 32, rel=0.03)
    assert torch.corrcoef(away.flatten(1).T).fill_diagonal_(0).abs().max() < 0.05


def test_p_and_e_are_finite_for_a_thousand_images():
    images = noise(1000, SIDE, SIDE)
    for name in ("P", "E"):
        actual = distortions.DISTORTIONS[name].draw(images, stream(3))
        assert actual.isfinite().all()
        assert actual.min() >= 0
        assert actual.max() <= 1 + 1e-5
        assert (actual.sum(dim=(1, 2)) > 0).all()


# --- placed and cluttered ---


def test_placed_digits_are_there_pixel_by_pixel_and_nothing_else_is():
    images = noise(40, SIDE, SIDE)
    actual, corners = distortions.placed(images, 60, stream())
    for image, field, (top, left) in zip(images, actual, corners.tolist(), strict=True):
        assert torch.equal(field[top : top + SIDE, left : left + SIDE], image)
        field[top : top + SIDE, left : left + SIDE] = 0
        assert not field.any()


def test_digits_are_placed_in_every_corner_and_nowhere_outside():
    _, corners = distortions.placed(torch.zeros(20_000, SIDE, SIDE), 60, stream())
    for axis in corners.T:
        assert torch.equal(axis.unique(), torch.arange(60 - SIDE + 1))
        assert (torch.bincount(axis) - 20_000 / 33).abs().max() < 150  # six standard deviations


def test_a_digit_as_large_as_the_canvas_stays_where_it_is():
    images = noise(2, SIDE, SIDE)
    actual, corners = distortions.placed(images, SIDE, stream())
    assert torch.equal(actual, images)
    assert not corners.any()


def numbered_digits(count):
    """Give digits whose pixels all differ, so that a piece tells where it was cut."""
    return torch.arange(1.0, 1 + count * SIDE * SIDE).view(count, SIDE, SIDE)


def test_a_patch_is_a_6_by_6_piece_of_a_digit():
    digits = numbered_digits(3)
    actual = distortions.cluttered(torch.zeros(300, 60, 60), digits, 1, stream())
    cut_from, tops, lefts = set(), set(), set()
    for field in actual:
        rows, columns = field.nonzero().aminmax(dim=0)
        assert (columns - rows).tolist() == [5, 5]  # largest less smallest: a window of 6 by 6
        piece = field[rows[0] : rows[0] + 6, rows[1] : rows[1] + 6]
        number = int(piece[0, 0]) - 1
        digit, place = divmod(number, SIDE * SIDE)
        top, left = divmod(place, SIDE)
        assert torch.equal(piece, digits[digit, top : top + 6, left : left + 6])
        cut_from.add(digit)
        tops.add(top)
        lefts.add(left)
    assert cut_from == {0, 1, 2}
    for places in (tops, lefts):
        assert (min(places), max(places)) == (0, SIDE - 6)


def test_patches_lie_everywhere_and_are_as_many_as_asked():
    digits = torch.ones(1, SIDE, SIDE)
    actual = distortions.cluttered(torch.zeros(3000, 60, 60), digits, 6, stream())
    areas = actual.sum(dim=(1, 2))
    assert areas.max() == 6 * 36  # six that do not overlap
    assert areas.min() > 36
    assert actual.any(dim=0).all()


def test_the_brighter_pixel_shows_and_the_canvas_given_stays():
    canvases = torch.full((20, 60, 60), 0.5)
    dark = distortions.cluttered(canvases, torch.full((1, SIDE, SIDE), 0.2), 6, stream())
    bright = distortions.cluttered(canvases, torch.full((1, SIDE, SIDE), 0.9), 6, stream())
    assert torch.equal(dark, canvases)
    assert bright.unique().tolist() == pytest.approx([0.5, 0.9])
    assert canvases.unique().tolist() == [0.5]


# --- batches ---


def digits(count=12):
    return noise(count, SIDE, SIDE, seed=5), torch.arange(count) % 10


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_a_batch_has_the_shape_that_its_task_says(name):
    task = distortions.DISTORTIONS[name]
    images, labels = digits()
    rows = torch.tensor([4, 4, 11])
    inputs, targets = distortions.batch(name, images, labels, rows, stream())
    assert inputs.shape == (3, task.channels, task.side, task.side)
    assert inputs.dtype == torch.float32
    assert inputs.isfinite().all()
    assert targets.dtype == torch.int64
    assert targets.max() < task.classes
    if name != "addition":
        assert torch.equal(targets, labels[rows])


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_a_stream_decides_all_and_another_gives_other_images(name):
    images, labels = digits()
    rows = torch.arange(12)
    torch.manual_seed(0)
    one = distortions.batch(name, images, labels, rows, stream(7))
    torch.manual_seed(1)  # the global stream is not asked
    again = distortions.batch(name, images, labels, rows, stream(7))
    other = distortions.batch(name, images, labels, rows, stream(8))
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert torch.equal(one[0], other[0]) == (name == "U")


@pytest.mark.parametrize("name", [*ROUND, "TC", "addition"])
def test_a_digit_drawn_twice_is_distorted_twice(name):
    images, labels = digits()
    inputs, _ = distortions.batch(name, images, labels, torch.zeros(9, dtype=int), stream())
    assert len(inputs.flatten(1).unique(dim=0)) == 9


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_the_digits_given_are_not_changed(name):
    images, labels = digits()
    before = images.clone()
    distortions.batch(name, images, labels, torch.arange(12), stream())
    assert torch.equal(images, before)


def test_upright_digits_are_as_they_are():
    images, labels = digits()
    rows = torch.tensor([3, 0])
    inputs, targets = distortions.batch("U", images, labels, rows, stream())
    assert torch.equal(inputs[:, 0], images[rows])
    assert torch.equal(targets, labels[rows])


def test_addition_has_a_digit_in_each_channel_and_their_sum_as_target():
    # Each digit is a disc of a brightness of its own, which a turn and a scaling leave alone
    brightness = 0.1 * torch.arange(1, 11)
    images = disc(13.0) * brightness[:, None, None]
    labels = torch.arange(10)
    rows = torch.arange(10).repeat(30)
    inputs, targets = distortions.batch("addition", images, labels, rows, stream())
    seen = (10 * inputs.amax(dim=(2, 3))).round().long() - 1
    assert torch.equal(seen[:, 0], labels[rows])
    assert torch.equal(seen.sum(dim=1), targets)
    assert seen[:, 1].unique().tolist() == list(range(10))
    assert torch.corrcoef(seen.T.float())[0, 1].abs() < 0.2  # the second is any digit
    areas = (inputs > 0.5 * inputs.amax(dim=(2, 3), keepdim=True)).sum(dim=(2, 3)).float()
    assert torch.corrcoef(areas.T)[0, 1].abs() < 0.2  # and moves by itself


def test_clutter_is_cut_from_all_digits_and_the_digit_lies_below_it():
    images = 0.1 * torch.ones(5, SIDE, SIDE)
    images[3] = 0.9  # not of the batch
    inputs, _ = distortions.batch(
        "TC", images, torch.arange(5), torch.zeros(60, dtype=int), stream()
    )
    assert inputs.unique().tolist() == pytest.approx([0, 0.1, 0.9])
    assert (inputs > 0).sum(dim=(1, 2, 3)).min() >= SIDE * SIDE


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_no_operation_is_repeated_for_every_image(name):
    calls = []

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            calls.append(function)
            return function(*arguments, **(keywords or {}))

    images, labels = digits()
    counts = []
    for size in (2, 12):
        calls.clear()
        with Count():
            distortions.batch(name, images, labels, torch.arange(size), stream())
        counts.append(len(calls))
    assert counts[0] == counts[1]


# --- frames ---


def test_digits_of_28_pixels_are_left_alone():
    images = noise(2, SIDE, SIDE)
    assert distortions.framed(images) is images


@pytest.mark.parametrize("side", [1, 8, 20, 27])
def test_smaller_digits_fill_a_box_of_20_in_the_middle(side):
    images = noise(3, side, side)
    actual = distortions.framed(images)
    assert actual.shape == (3, SIDE, SIDE)
    inside = actual[:, 4:24, 4:24].clone()
    actual[:, 4:24, 4:24] = 0
    assert not actual.any()
    zoom = ndimage.zoom(
        images.double().numpy(), (1, 20 / side, 20 / side), order=1, mode="nearest", grid_mode=True
    )
    np.testing.assert_allclose(inside, zoom, atol=1e-5)


def test_a_frame_of_8_by_8_is_interpolated_between_pixel_centres():
    images = torch.arange(8.0).expand(1, 8, 8)
    row = distortions.framed(images)[0, 14, 4:24]
    centres = (torch.arange(20) + 0.5) * 8 / 20 - 0.5
    torch.testing.assert_close(row, centres.clamp(0, 7), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 29, 29), (2, 8, 9), (2, 28, 20)])
def test_digits_of_another_shape_are_refused(shape):
    _, height, width = shape
    with pytest.raises(UserError, match=f"digits are {height} x {width} pixels; 28 x 28 or small"):
        distortions.framed(torch.zeros(shape))
