import numpy as np
import pytest
import scipy.signal
from skimage import color, data, exposure, filters, transform

from pr12.photostyle.model import texture_measures as measures
from pr12.workflow.errors import UserError

SOURCES = ("brick", "grass", "gravel")


def texture(name, side):
    return transform.resize(getattr(data, name)() / 255, (side, side), anti_aliasing=True)


def white(seed, *shape):
    return np.random.default_rng(seed).random(shape)


def shuffled(source, seed=0):
    return np.random.default_rng(seed).permutation(source.ravel()).reshape(source.shape)


def phases_drawn(source, seed=0):
    """Give an image with the source's power spectrum and the phases of white noise."""
    phases = np.angle(np.fft.rfft2(white(seed, *source.shape) - 0.5))
    phases[0, 0] = 0
    return np.fft.irfft2(np.abs(np.fft.rfft2(source)) * np.exp(1j * phases), s=source.shape)


def grating(height, width, dy, dx):
    """Give a wave that repeats after (dy, dx), along that direction."""
    y, x = np.mgrid[:height, :width]
    return 0.5 + 0.5 * np.sin(2 * np.pi * (y * dy + x * dx) / (dy**2 + dx**2))


# --- texture distance ---


@pytest.mark.parametrize("name", SOURCES)
def test_distance_orders_a_moved_crop_then_drawn_phases_then_white_noise(name):
    whole = texture(name, 256)
    source, moved = whole[:208, :208], whole[48:, 48:]
    actual = [
        measures.texture_distance(result, source)
        for result in (moved, phases_drawn(source), shuffled(source))
    ]
    assert actual[0] < actual[1] / 1.5
    assert actual[1] < actual[2] / 2


def test_distance_of_brick_with_drawn_phases_is_far_above_that_of_a_moved_crop():
    # Grass and gravel are nearly Gaussian textures; brick has lines, which phases hold
    whole = texture("brick", 256)
    source, moved = whole[:208, :208], whole[48:, 48:]
    drawn = exposure.match_histograms(phases_drawn(source), source)
    near, far = (measures.texture_distance(result, source) for result in (moved, drawn))
    assert far > 3 * near
    assert near < 0.1


@pytest.mark.parametrize("name", SOURCES)
def test_distance_of_a_texture_from_itself_is_zero(name):
    source = texture(name, 64)
    assert measures.texture_distance(source, source) == 0


@pytest.mark.parametrize("name", SOURCES)
def test_distance_tells_textures_apart_more_than_parts_of_one(name):
    whole = texture(name, 192)
    within = measures.texture_distance(whole[:, 96:], whole[:, :96])
    others = [
        measures.texture_distance(texture(other, 192)[:, :96], whole[:, :96])
        for other in SOURCES
        if other != name
    ]
    assert within < min(others) / 1.5


def test_distance_sees_a_turned_texture():
    brick = texture("brick", 128)
    turned = measures.texture_distance(np.rot90(brick), brick)
    assert turned > 3 * measures.texture_distance(brick[::-1, ::-1], brick)


def test_distance_does_not_see_brightness_and_sees_contrast_in_the_gabor_part():
    source = np.rint(255 * (0.2 + 0.3 * texture("gravel", 96))) / 255
    # Equal neighbours that are interpolated may round to either side
    assert measures.texture_distance(source + 51 / 255, source) < 1e-3
    halved = measures.texture_distance(0.5 * source, source)
    # Half of the numbers gone: 1/2, and half of that; ties by rounding add patterns
    assert 0.25 <= halved < 0.4


def test_distance_of_a_flat_result_is_above_a_half():
    assert measures.texture_distance(np.full((64, 64), 0.5), texture("brick", 64)) > 0.5


def test_distance_takes_the_luminance_of_colours():
    colours, source = white(0, 40, 44, 3), white(1, 50, 40)
    assert measures.texture_distance(colours, source) == measures.texture_distance(
        color.rgb2gray(colours), source
    )


def test_pattern_histograms_see_an_edge_as_the_half_of_eight_neighbours():
    # A step edge: of the three columns (1, 1, 0) the middle has five neighbours at least as light
    step = np.zeros((20, 20))
    step[:, :10] = 1
    rows = measures.pattern_histograms(step)
    assert rows.shape == (3, measures.PATTERNS)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    # One column of 18, 2 of 16 and 4 of 12 have the edge within the radius; all others, also those
    # on the dark side, have no darker neighbour
    for row, expected in zip(rows, (1 / 18, 2 / 16, 4 / 12), strict=True):
        assert 1 - row.max() == pytest.approx(expected)


def test_gabor_statistics_find_frequency_and_orientation_of_a_wave():
    for i, frequency in enumerate(measures.FREQUENCIES):
        for k in range(measures.ORIENTATIONS):
            angle = k * np.pi / measures.ORIENTATIONS
            y, x = np.mgrid[:96, :96]
            wave = np.cos(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)))
            means = measures.gabor_statistics(wave)[::2]
            assert means.argmax() == i * measures.ORIENTATIONS + k


@pytest.mark.parametrize("shapes", [((31, 64), (64, 64)), ((64, 64), (64, 31)), ((1, 1), (64, 64))])
def test_distance_wants_textures_that_hold_its_longest_wave(shapes):
    with pytest.raises(UserError, match=r"(31|64|1) x (31|64|1) pixels.*from 32 x 32 on"):
        measures.texture_distance(white(0, *shapes[0]), white(1, *shapes[1]))


def test_distance_from_a_flat_source_is_refused():
    with pytest.raises(UserError, match="source is flat"):
        measures.texture_distance(white(0, 64, 64), np.full((64, 64), 0.3))


# --- autocorrelation ---


@pytest.mark.parametrize("shape", [(9, 12), (8, 7), (2, 2), (16, 5)])
def test_autocorrelation_is_the_sum_over_the_pixels_that_overlap(shape):
    image = white(0, *shape)
    actual, zero = measures.autocorrelation(image), image - image.mean()
    halves = shape[0] // 2, shape[1] // 2
    assert actual.shape == (2 * halves[0] + 1, 2 * halves[1] + 1)
    for dy in range(-halves[0], halves[0] + 1):
        for dx in range(-halves[1], halves[1] + 1):
            first = zero[max(0, dy) : shape[0] + min(0, dy), max(0, dx) : shape[1] + min(0, dx)]
            second = zero[max(0, -dy) : shape[0] + min(0, -dy), max(0, -dx) :][:, : first.shape[1]]
            expected = (first * second).mean() / (zero**2).mean()
            assert actual[halves[0] + dy, halves[1] + dx] == pytest.approx(expected, abs=1e-12)


def test_autocorrelation_is_that_of_scipy_over_the_overlap():
    image = texture("brick", 48)
    zero = image - image.mean()
    sums = scipy.signal.correlate(zero, zero, mode="full", method="direct")[23:72, 23:72]
    overlaps = 48 - np.abs(np.arange(-24, 25))
    expected = sums / np.outer(overlaps, overlaps)
    np.testing.assert_allclose(
        measures.autocorrelation(image), expected / expected[24, 24], atol=1e-12
    )


def test_autocorrelation_is_1_at_lag_0_even_and_free_of_brightness_and_contrast():
    image = texture("gravel", 65)
    actual = measures.autocorrelation(image)
    assert actual[32, 32] == pytest.approx(1)
    np.testing.assert_allclose(actual, actual[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(actual, measures.autocorrelation(0.3 - 0.1 * image), atol=1e-12)


def test_autocorrelation_does_not_take_the_image_for_periodic():
    ramp = np.arange(40) / 40 * np.ones((40, 1))
    assert measures.autocorrelation(ramp)[20, -1] < 0  # left and right halves differ


def test_autocorrelation_of_a_repetition_does_not_fall_with_the_lag():
    tile = white(0, 8, 8)
    actual = measures.autocorrelation(np.tile(tile, (8, 8)))
    for lag in (8, 16, 24, 32):
        assert actual[32 + lag, 32] == pytest.approx(1)
        assert actual[32 + lag, 32 + lag] == pytest.approx(1)


@pytest.mark.parametrize("image", [np.full((8, 8), 0.1), np.ones((1, 1)), white(0, 1, 9)])
def test_autocorrelation_of_a_flat_or_thin_image_is_refused(image):
    with pytest.raises(UserError, match=f"{image.shape[1]} x {image.shape[0]} pixels, from"):
        measures.autocorrelation(image)


# --- period ---


@pytest.mark.parametrize("length", [5, 8, 9.5, 12.3, 20, 31])
@pytest.mark.parametrize("across", [True, False])
def test_period_of_a_grating_is_found_within_a_pixel(length, across):
    image = grating(140, 150, *((0, length) if across else (length, 0)))
    (dy, dx), height = measures.period(image, 4, 60)
    along, other = (dx, dy) if across else (dy, dx)
    assert abs(along - length) <= 1
    assert other == 0
    assert height > 0.9


@pytest.mark.parametrize("wanted", [(6, 8), (12, 5), (9, -9)])
def test_period_of_an_oblique_grating_is_on_the_ridge_one_wave_over(wanted):
    # Along the stripes any lag repeats
    (dy, dx), height = measures.period(grating(128, 128, *wanted), 4, 50)
    length = np.hypot(*wanted)
    assert abs(dy * wanted[0] + dx * wanted[1]) / length == pytest.approx(length, abs=1)
    assert np.hypot(dy, dx) < 1.2 * length
    assert height > 0.9


def test_period_of_a_grating_in_noise_is_found():
    image = grating(128, 128, 0, 11) + 2 * white(0, 128, 128)
    (_, dx), height = measures.period(image, 4, 50)
    assert abs(dx) == pytest.approx(11, abs=1)
    # Variances 1/8 and 4/12
    assert height == pytest.approx((1 / 8) / (1 / 8 + 1 / 3), abs=0.05)


def test_period_of_tiles_is_the_tile_and_not_its_multiple():
    image = np.tile(white(0, 10, 14), (10, 8))
    assert measures.period(image, 4, 45)[0] == (10, 0)
    assert measures.period(image, 12, 45)[0] == (0, 14)


@pytest.mark.parametrize("side", [128, 256])
def test_period_of_brick_is_the_neighbour_half_a_brick_over_in_the_next_row(side):
    (dy, dx), height = measures.period(texture("brick", side), side // 20, side // 2 - 1)
    assert height > 0.25
    assert dy == pytest.approx(side / 18, abs=1.5)
    assert abs(dx) == pytest.approx(side / 14, abs=1.5)


@pytest.mark.parametrize("seed", range(5))
def test_period_of_white_noise_is_nowhere_above_a_fifth(seed):
    assert measures.period(white(seed, 128, 128), 4, 63)[1] < 0.2


def test_period_is_a_peak_and_not_the_shoulder_of_the_middle():
    # Smooth noise correlates by 0.8 at a lag of 4, more than at any peak
    image = filters.gaussian(white(0, 128, 128), sigma=4)
    middle = measures.autocorrelation(image)[64, 64:]
    (dy, dx), height = measures.period(image, 4, 60)
    assert middle[4] > 0.7
    assert height < 0.5
    assert np.hypot(dy, dx) > 8


def test_period_of_a_ramp_is_none():
    ramp = np.arange(40) / 40 * np.ones((40, 1))
    assert measures.period(ramp, 3, 19) == ((0, 0), 0.0)


@pytest.mark.parametrize("bounds", [(1, 10), (10, 9), (4, 32), (0, 0), (4, 100)])
def test_period_wants_bounds_that_the_image_holds(bounds):
    with pytest.raises(UserError, match=rf"{bounds[0]} to {bounds[1]} pixels.*\(64, 70\)"):
        measures.period(white(0, 64, 70), *bounds)


def test_period_of_one_pixel_is_refused():
    with pytest.raises(UserError, match=r"\(1, 1, 3\)"):
        measures.period(np.ones((1, 1, 3)), 2, 3)


# --- periodicity error ---


def test_periodicity_error_is_none_for_itself_small_for_a_crop_and_the_height_for_noise():
    brick = texture("brick", 128)
    height = measures.period(brick, 6, 40)[1]
    assert measures.periodicity_error(brick, brick, 6, 40) == 0
    assert measures.periodicity_error(brick[20:, 30:], brick, 6, 40) < 0.2 * height
    assert measures.periodicity_error(white(0, 128, 128), brick, 6, 40) == pytest.approx(
        height, abs=0.05
    )


def test_periodicity_error_is_the_height_lost_in_noise():
    source = grating(120, 120, 0, 10)
    noisy = source + white(0, 120, 120)
    lost = 1 - (1 / 8) / (1 / 8 + 1 / 12)
    assert measures.periodicity_error(noisy, source, 4, 30) == pytest.approx(lost, abs=0.05)


def test_periodicity_error_forgives_a_pixel_and_not_another_period():
    source = grating(120, 120, 0, 10)
    near = measures.periodicity_error(grating(120, 120, 0, 11), source, 4, 30)
    far = measures.periodicity_error(grating(120, 120, 0, 18), source, 4, 30)
    assert near < 0.05
    assert far > 1


def test_periodicity_error_is_none_where_the_source_has_no_peak_or_the_result_more():
    ramp = np.arange(64) / 64 * np.ones((64, 1))
    wave = grating(64, 64, 0, 10)
    assert measures.periodicity_error(white(0, 64, 64), ramp, 3, 25) == 0
    assert measures.periodicity_error(wave, wave + white(0, 64, 64), 4, 25) == 0


def test_periodicity_error_wants_bounds_that_both_hold():
    with pytest.raises(UserError, match=r"4 to 30 pixels.*\(40, 40\)"):
        measures.periodicity_error(white(0, 40, 40), white(1, 64, 64), 4, 30)


def test_periodicity_error_of_a_flat_result_is_refused():
    with pytest.raises(UserError, match=r"64 x 64 pixels, from 0\.5 to 0\.5"):
        measures.periodicity_error(np.full((64, 64), 0.5), white(1, 64, 64), 4, 30)


# --- bad images ---

OF_ONE = {
    "autocorrelation": measures.autocorrelation,
    "period": lambda image: measures.period(image, 4, 10),
    "result": lambda image: measures.texture_distance(image, white(0, 40, 40)),
    "source": lambda image: measures.texture_distance(white(0, 40, 40), image),
    "periodicity": lambda image: measures.periodicity_error(image, white(0, 40, 40), 4, 10),
}
BAD = {
    "nan": (np.where(white(0, 40, 40) < 0.01, np.nan, 0.5), "NaN or infinite"),
    "infinite": (np.where(white(0, 40, 40, 3) < 0.01, -np.inf, 0.5), "NaN or infinite"),
    "alpha": (np.ones((40, 40, 4)), r"shape \(40, 40, 4\)"),
    "bytes": (np.ones((40, 40), np.uint8), "uint8; it must be float"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", OF_ONE)
def test_an_array_that_is_no_image_is_refused(name, bad):
    image, message = BAD[bad]
    with pytest.raises(UserError, match=message):
        OF_ONE[name](image)


@pytest.mark.parametrize("image", [np.ones(7), np.ones((0, 7)), np.ones((2, 2, 2, 3))])
def test_an_array_of_other_dimensions_is_refused(image):
    with pytest.raises(UserError, match="the texture has the shape"):
        measures.autocorrelation(image)
