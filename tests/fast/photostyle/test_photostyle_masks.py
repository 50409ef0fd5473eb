import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from skimage import data

from pr12.photostyle.data import automatic_masks, common_classes, masks, package_photographs
from pr12.workflow.errors import UserError

COFFEE = data.coffee()[::4, ::4]
BLACK, WHITE, GREY = [0, 0, 0], [255, 255, 255], [128, 128, 128]
RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]


def regions(height, width, count, seed):
    """Give smooth random regions."""
    draws = np.random.default_rng(seed).normal(size=(count, height, width))
    return ndimage.gaussian_filter(draws, (0, 40, 40)).argmax(axis=0)


def compressed(pixels, quality, subsampling):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(stream))


def by_colour(labels, actual, painted):
    """Number labels of found colours as the painted colours."""
    distances = np.linalg.norm(actual[:, None] - painted[None].astype(float), axis=2)
    assert distances.min(axis=1).max() < 10
    assert len(set(distances.argmin(axis=1).tolist())) == len(actual)
    return distances.argmin(axis=1)[labels]


def near_borders(labels, distance=3):
    border = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    return ndimage.maximum_filter(border, 2 * distance - 1)


# --- flat colours ---


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize(
    "painted",
    [[BLACK, WHITE], [BLACK, GREY, WHITE], [RED, GREEN, BLUE], [BLACK, [80, 160, 30], WHITE, RED]],
)
def test_labels_come_back_from_jpeg(painted, subsampling):
    painted = np.uint8(painted)
    truth = regions(400, 420, len(painted), 1), regions(400, 300, len(painted), 2)
    given = [compressed(painted[labels], 60, subsampling) for labels in truth]
    assert len(np.unique(given[0].reshape(-1, 3), axis=0)) > 16
    *actual, colours = masks.flat_labels(*given)
    assert len(colours) == len(painted)
    for labels, true in zip(actual, truth, strict=True):
        wrong = by_colour(labels, colours, painted) != true
        assert wrong[near_borders(true)].mean() < 0.01
        assert wrong[~near_borders(true)].mean() < 1e-4


def test_fringes_between_blue_and_black_are_no_third_class():
    painted = np.uint8([BLUE, BLACK])
    labels = regions(300, 300, 2, 3)
    actual, _, colours = masks.flat_labels(*2 * [compressed(painted[labels], 60, 2)])
    assert len(colours) == 2
    wrong = by_colour(actual, colours, painted) != labels
    assert wrong[near_borders(labels)].mean() < 0.02  # halved colour leaves a brightness of 29


@pytest.mark.parametrize("sigma", [0.5, 1, 2, 4])
def test_smooth_edges_of_black_and_white_do_not_become_the_class_of_grey(sigma):
    truth = np.zeros((200, 300), int)
    truth[:, 100:] = 1
    truth[150:, 200:] = 2
    painted = np.uint8([BLACK, WHITE, GREY])
    pixels = ndimage.gaussian_filter(painted[truth].astype(float), (sigma, sigma, 0))
    labels, _, colours = masks.flat_labels(*2 * [np.rint(pixels).astype(np.uint8)])
    assert len(colours) == 3
    labels = by_colour(labels, colours, painted)
    assert not (labels[:, :180] == 2).any()
    assert (labels != truth).mean() < 1e-3


def test_a_thin_line_at_a_border_joins_its_sides():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = WHITE
    pixels[:, 29] = RED
    labels, _, colours = masks.flat_labels(pixels, pixels)
    assert colours.tolist() == [WHITE, BLACK]
    assert (labels[:, 30:] == 0).all()
    assert (labels[:, :29] == 1).all()


def test_exact_colours_may_be_neighbours():
    numbers = np.repeat(np.repeat(np.arange(4, dtype=np.uint8), 10)[None], 20, axis=0)
    pixels = np.repeat(numbers[..., None], 3, axis=2)
    content, style, colours = masks.flat_labels(pixels, pixels[:, ::-1])
    assert np.array_equal(colours[content], pixels)
    assert np.array_equal(colours[style], pixels[:, ::-1])


def test_the_palette_is_shared_and_in_the_order_of_area():
    content = np.full((20, 30, 3), 255, np.uint8)
    content[:5] = [0, 255, 0]
    style = np.full((20, 30, 3), 255, np.uint8)
    style[:10] = [0, 255, 1]  # the same green to the eye
    style[10:14] = 0
    content_labels, style_labels, colours = masks.flat_labels(content, style)
    assert colours.tolist() == [WHITE, [0, 255, 0], BLACK]
    assert content_labels[:, 0].tolist() == [1] * 5 + [0] * 15
    assert set(style_labels[:9].ravel()) == {1}
    assert content_labels.dtype == style_labels.dtype == np.uint8


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (50, 40)])
def test_one_colour_is_one_class(shape):
    mask = np.full((*shape, 3), 77, np.uint8)
    content, style, colours = masks.flat_labels(mask, mask)
    assert colours.tolist() == [[77, 77, 77]]
    assert content.shape == style.shape == shape
    assert not content.any()
    assert common_classes.merged(content, style, colours)[2] == []


def test_two_pixels_can_be_two_classes():
    mask = np.uint8([[BLACK, WHITE]])
    labels, _, colours = masks.flat_labels(mask, mask)
    assert colours[labels].tolist() == mask.tolist()


@pytest.mark.parametrize("image", ["noise", "photograph"])
def test_a_photograph_is_no_mask(image):
    if image == "noise":
        mask = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    else:
        mask = data.astronaut()
    with pytest.raises(UserError, match=r"flat colour.*check that no mask is a photograph"):
        masks.flat_labels(mask, mask)


@pytest.mark.parametrize("quality", [30, 60, 95])
@pytest.mark.parametrize("sigma", [0, 4])
def test_painted_masks_are_taken(quality, sigma):
    painted = np.uint8([BLACK, WHITE, RED, BLUE])[regions(200, 220, 4, 1)]
    smooth = ndimage.gaussian_filter(painted.astype(float), (sigma, sigma, 0))
    masks.check_painted(compressed(np.rint(smooth).astype(np.uint8), quality, 2))


@pytest.mark.parametrize("name", ["china", "rocket", "flower", "retina", "astronaut", "moon"])
@pytest.mark.parametrize("size", [200, 512])
def test_photographs_are_not_taken_as_painted(name, size):
    image = package_photographs.shrunk(package_photographs.named(name), size)
    with pytest.raises(UserError, match=r"photograph and no mask.*colours.*% of what lies flat"):
        masks.check_painted(image)


# --- classes in common ---


COLOURS = np.uint8([BLACK, RED, GREEN, BLUE])


def test_nothing_is_merged_where_all_is_in_common():
    labels = np.uint8([[0, 2, 2, 3]])
    content, style, output = common_classes.merged(labels, labels[:, ::-1], COLOURS)
    assert content.tolist() == [[0, 1, 1, 2]]  # renumbered: red is in neither
    assert style.tolist() == [[2, 1, 1, 0]]
    assert output == []


def test_a_class_that_the_style_lacks_joins_the_longest_border_and_not_the_largest_class():
    content = np.zeros((10, 10), np.uint8)  # black is the largest
    content[8:] = 2
    content[6:8, 2:] = 1  # red: 8 pixels along green, 8 + 2 along black
    content[5, 2:] = 2  # now 16 along green and 2 along black
    style = np.repeat(np.uint8([[0, 2]]), 10, axis=1)
    merged, _, output = common_classes.merged(content, style, COLOURS)
    assert (merged[6:8, 2:] == 1).all()
    assert output == ["the style has no #ff0000: the content's (16.0 % of it) joins #00ff00"]


def test_a_class_inside_a_missing_class_follows_it():
    content = np.full((9, 9), 2, np.uint8)
    content[1:8, 1:8] = 1
    content[4, 4] = 3
    merged, _, output = common_classes.merged(content, np.uint8([[0, 2]]), COLOURS)
    assert not merged.any()
    assert len(output) == 3  # red and blue join green, the style's black is not used


def test_a_class_without_a_border_to_a_common_one_joins_the_largest():
    content = np.uint8([[1, 1]])
    content = np.concatenate([np.full((5, 2), 3, np.uint8), content])
    content[0] = 0
    style = np.uint8([[0, 3]])
    merged, _, _ = common_classes.merged(content, style, COLOURS)
    assert merged.tolist() == [[0, 0]] + [[1, 1]] * 5


def test_a_trace_in_the_style_counts_as_missing():
    style = np.zeros((100, 100), np.uint8)
    style[0, :9] = 1  # 0.09 %
    content, reduced, output = common_classes.merged(np.uint8([[0, 1]]), style, COLOURS)
    assert content.tolist() == [[0, 0]]
    assert set(reduced[0, :9].tolist()) == {common_classes.UNUSED}
    assert output == [
        "the style has only 0.09 % of #ff0000: the content's (50.0 % of it) joins #000000"
    ]
    style[0, :10] = 1
    assert common_classes.merged(np.uint8([[0, 1]]), style, COLOURS)[2] == []


def test_no_class_in_common_makes_one_class_of_everything():
    content, style, output = common_classes.merged(
        np.uint8([[0, 1]]), np.uint8([[2], [3]]), COLOURS
    )
    assert content.tolist() == [[0, 0]]
    assert style.tolist() == [[0], [0]]
    assert len(output) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1), st.lists(st.integers(0, 3), min_size=1))
def test_merged_labels_are_all_in_both_images(content, style):
    given = np.uint8([content]), np.uint8([style])
    *labels, _ = common_classes.merged(*given, COLOURS)
    count = labels[0].max() + 1
    assert np.unique(labels[0]).tolist() == list(range(count))
    assert set(np.unique(labels[1])) - {common_classes.UNUSED} == set(range(count))
    kept = common_classes.common_colours(given[1], labels[1], COLOURS)
    assert kept.shape == (count, 3)
    common = set(content) & set(style)
    if common:
        assert kept.tolist() == COLOURS[sorted(common)].tolist()


# --- sizes ---


def test_a_mask_of_its_images_size_is_left_alone():
    labels = regions(30, 40, 3, 0)
    assert np.array_equal(masks.resized(labels, 30, 40), labels)


@pytest.mark.parametrize("shape", [(466, 700), (467, 699), (468, 701), (469, 702)])
def test_a_mask_may_be_some_pixels_off(shape):
    mask = np.zeros((467, 700), np.uint8)
    mask[:, 350:] = 1
    fitted = masks.resized(mask, *shape)
    assert fitted.shape == shape
    assert abs(np.flatnonzero(np.diff(fitted[0].astype(int)))[0] + 1 - shape[1] / 2) <= 1


@pytest.mark.parametrize("shape", [(100, 106), (106, 100), (50, 53)])
def test_a_mask_of_another_shape_is_refused_with_both_sizes(shape):
    message = f"the mask has 100 x 100 pixels and its image {shape[1]} x {shape[0]}, another shape"
    with pytest.raises(UserError, match=message):
        masks.resized(np.zeros((100, 100), np.uint8), *shape)


def test_resampling_takes_the_nearest_centre():
    labels = np.arange(6, dtype=np.uint8)[None]
    assert masks.nearest(labels, 2, 2).tolist() == [[1, 4], [1, 4]]
    assert masks.nearest(labels, 1, 12).tolist() == [np.repeat(np.arange(6), 2).tolist()]


# --- automatic masks ---


def landscape(sky, ground, height=120, width=160, seed=0):
    """Give a smooth sky over a rough ground."""
    noise = np.random.default_rng(seed).normal(0, 18, (height, width, 1))
    pixels = np.full((height, width, 3), sky, float)
    pixels[height // 2 :] = ground + noise[height // 2 :]
    return pixels.clip(0, 255).astype(np.uint8)


def test_sky_is_matched_to_sky_at_day_and_night():
    day, night = landscape([150, 200, 250], [90, 80, 60]), landscape([15, 20, 60], [100, 90, 40])
    content, style = automatic_masks.automatic(day, night, 2)
    for labels in (content, style):
        assert labels.dtype == np.uint8
        assert labels.shape == (120, 160)
        assert (labels[:57] == 0).mean() > 0.99
        assert (labels[63:] == 1).mean() > 0.99


def test_the_photographs_skies_are_found():
    rocket = data.rocket()
    content, style = automatic_masks.automatic(rocket, rocket[:, ::-1], 2)
    assert (content[20:60, 150:500] == 0).all()
    assert (content[300:400, 260:285] == 1).any()  # the rocket
    assert 0.6 < (content == 0).mean() < 0.9
    assert (style[:, ::-1] == content).mean() > 0.95
    patches, count = ndimage.label(content == 1)
    assert np.bincount(patches.ravel())[1 : count + 1].min() > 0.005 * content.size  # no salt


@pytest.mark.slow
def test_automatic_masks_are_the_same_each_time():
    given = data.coffee()[::3, ::3], data.chelsea()[::2, ::2]
    one, other = automatic_masks.automatic(*given, 3), automatic_masks.automatic(*given, 3)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 2, 3, 8])
def test_all_classes_are_in_both_images(classes):
    content, style = automatic_masks.automatic(data.coffee(), data.rocket(), classes)
    assert np.unique(content).tolist() == np.unique(style).tolist()
    assert np.unique(content).tolist() == list(range(content.max() + 1))
    assert content.max() < classes


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 5), (8, 8), (9, 500), (16, 16), (20, 30)])
def test_tiny_images_need_no_care(shape):
    tiny = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in ((tiny, tiny), (tiny, COFFEE), (COFFEE, tiny)):
            labels = automatic_masks.automatic(*pair, 3)
            for image, ours in zip(pair, labels, strict=True):
                assert ours.shape == image.shape[:2]
            assert np.unique(labels[0]).tolist() == np.unique(labels[1]).tolist()
            if min(shape) < 8:
                assert not labels[0].any()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_of_one_colour_is_one_class(value):
    flat = np.full((40, 50, 3), value, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = automatic_masks.automatic(flat, flat, 3)
        beside = automatic_masks.automatic(flat, COFFEE, 3)
    assert not any(one.any() for one in (*labels, *beside))
