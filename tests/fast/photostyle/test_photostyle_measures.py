import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatting import cf_laplacian
from skimage import color, data, filters, transform

from pr12.photostyle.model import matting, measures
from pr12.workflow.errors import UserError


def noise(seed, height=12, width=17):
    return np.random.default_rng(seed).random((height, width, 3))


def photograph(height=60, width=80):
    return transform.resize(data.coffee() / 255, (height, width), anti_aliasing=True)


def mixed(content, seed=0):
    """Give an affine function of the content's colours."""
    return content @ np.random.default_rng(seed).uniform(-0.5, 0.5, (3, 3)) + 0.3


def two_classes(height, width, column):
    labels = np.zeros((height, width), np.uint8)
    labels[:, column:] = 1
    return labels


# --- matting energy ---


def test_matting_energy_is_the_quadratic_form_over_the_number_of_pixels():
    result = noise(1, 3, 4)
    root = np.random.default_rng(2).normal(size=(12, 12))
    dense = root @ root.T
    expected = sum(result[:, :, c].ravel() @ dense @ result[:, :, c].ravel() for c in range(3)) / 12
    assert measures.matting_energy(result, scipy.sparse.csr_matrix(dense)) == pytest.approx(
        expected
    )


def test_matting_energy_is_zero_for_an_affine_function_of_the_content_only():
    content = noise(0)
    laplacian = cf_laplacian(content, epsilon=1e-12, radius=1)
    assert abs(measures.matting_energy(mixed(content), laplacian)) < 1e-10
    assert measures.matting_energy(noise(3), laplacian) > 0.1
    assert measures.matting_energy(content[::-1], laplacian) > 0.1


def test_matting_energy_is_zero_where_the_function_differs_from_region_to_region():
    content = np.full((10, 14, 3), 0.5)
    content[:, :5] = noise(0, 10, 5)
    content[:, 9:] = noise(1, 10, 5)  # four flat columns between two regions
    result = content.copy()
    result[:, :5] = 0.2 * (content[:, :5, ::-1] - 0.5) + 0.5
    # A window across a region's border sees the flat colour, which both functions keep
    laplacian = cf_laplacian(content, epsilon=1e-12, radius=1)
    assert abs(measures.matting_energy(result, laplacian)) < 1e-9


def test_our_laplacian_is_pymattings():
    content = photograph()  # of colours: on grey ones pymatting's inverse is not exact
    other = cf_laplacian(content.astype(np.float64), epsilon=matting.EPSILON, radius=1)
    assert abs(matting.laplacian(content) - other).max() < 1e-5


def test_matting_energy_grows_with_the_square_of_what_is_added():
    content = noise(0)
    laplacian = cf_laplacian(content, epsilon=1e-12, radius=1)
    once, twice = (
        measures.matting_energy(content + k * (noise(4) - 0.5), laplacian) for k in (1, 2)
    )
    assert twice == pytest.approx(4 * once, rel=1e-6)


def test_matting_energy_wants_a_laplacian_of_the_same_pixels():
    with pytest.raises(UserError, match=r"result has 17 x 12 pixels.*9 x 9, not 204 x 204"):
        measures.matting_energy(noise(0), scipy.sparse.eye_array(9))


# --- local affine fit ---


def residual_by_lstsq(result, content, radius):
    side, actual = 2 * radius + 1, []
    for y in range(content.shape[0] - side + 1):
        for x in range(content.shape[1] - side + 1):
            window = np.s_[y : y + side, x : x + side]
            inputs = np.column_stack([content[window].reshape(-1, 3), np.ones(side * side)])
            outputs = result[window].reshape(-1, 3)
            fit = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
            actual.append(np.mean((inputs @ fit - outputs) ** 2))
    return np.mean(actual)


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_affine_residual_is_that_of_least_squares_in_every_window(radius):
    result, content = noise(5), noise(6)
    assert measures.affine_residual(result, content, radius) == pytest.approx(
        residual_by_lstsq(result, content, radius), rel=1e-6
    )


def test_affine_residual_of_a_photograph_is_that_of_least_squares():
    content = photograph(30, 40)
    result = filters.gaussian(content, sigma=1.0, channel_axis=-1)
    assert measures.affine_residual(result, content, 2) == pytest.approx(
        residual_by_lstsq(result, content, 2), rel=0.02
    )


def test_affine_residual_with_radius_1_is_the_matting_energy_over_27_and_the_windows_per_pixel():
    content, result = noise(0, 20, 31), noise(1, 20, 31)
    energy = measures.matting_energy(result, cf_laplacian(content, epsilon=1e-12, radius=1))
    windows_per_pixel = 18 * 29 / (20 * 31)
    residual = measures.affine_residual(result, content, 1)
    assert energy == pytest.approx(27 * windows_per_pixel * residual, rel=1e-5)


def test_affine_residual_over_flat_content_is_the_result_s_variance():
    result = np.zeros((3, 3, 3))
    result[1, 1, 0] = 0.9  # variance 0.81 (1/9) (8/9) of one channel in three
    expected = 0.81 * 8 / 81 / 3
    assert measures.affine_residual(result, np.full((3, 3, 3), 0.4), 1) == pytest.approx(expected)


@pytest.mark.parametrize("radius", [1, 3])
def test_affine_residual_of_an_affine_function_is_zero(radius):
    assert measures.affine_residual(mixed(noise(0)), noise(0), radius) < 1e-12


def test_affine_residual_grows_with_noise():
    content = photograph()
    actual = [
        measures.affine_residual(content + s * (noise(1, 60, 80) - 0.5), content, 3)
        for s in (0, 0.01, 0.1)
    ]
    assert actual[0] < 1e-7 < actual[1] < actual[2] / 50


@pytest.mark.parametrize("radius", [0, -1, 6])
def test_affine_residual_wants_a_window_inside_the_image(radius):
    with pytest.raises(UserError, match=f"content has 17 x 12 pixels.*radius {radius} "):
        measures.affine_residual(noise(0), noise(0), radius)


# --- edges ---


def test_edge_similarity_is_the_structural_similarity_of_edge_maps_of_unit_mean_square():
    first, second = noise(1, 7, 7), noise(2, 7, 7)
    maps = []
    for image in (first, second):
        edges = filters.sobel(color.rgb2gray(image))
        maps.append((edges / np.sqrt((edges**2).mean())).ravel())
    (mean_a, mean_b), joint = np.mean(maps, axis=1), np.cov(maps)
    c1, c2 = (0.01 * measures.EDGE_RANGE) ** 2, (0.03 * measures.EDGE_RANGE) ** 2
    expected = (2 * mean_a * mean_b + c1) * (2 * joint[0, 1] + c2)
    expected /= (mean_a**2 + mean_b**2 + c1) * (joint[0, 0] + joint[1, 1] + c2)
    assert measures.edge_similarity(first, second) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("gain", [1.0, 0.3, -0.5])
def test_edge_similarity_does_not_see_contrast_or_brightness_of_the_whole_image(gain):
    content = photograph()
    result = gain * (content - 0.5) + 0.5
    assert measures.edge_similarity(result, content) == pytest.approx(1.0, abs=1e-9)


def test_edge_similarity_falls_with_blur_and_more_for_another_photograph():
    content = photograph()
    other = transform.resize(data.astronaut() / 255, (60, 80), anti_aliasing=True)
    blurs = [filters.gaussian(content, sigma=s, channel_axis=-1) for s in (0.5, 2)]
    little, much = (measures.edge_similarity(blur, content) for blur in blurs)
    assert 1 > little > much > measures.edge_similarity(other, content)
    assert measures.edge_similarity(other, content) < 0.2


def test_edge_similarity_of_flat_images_does_not_magnify_rounding():
    flat, other = np.full((9, 9, 3), 0.1), np.full((9, 9, 3), 0.7)
    other += 1e-15 * noise(0, 9, 9)
    assert measures.edge_similarity(other, flat) == pytest.approx(1.0, abs=1e-6)
    assert measures.edge_similarity(flat, noise(0, 9, 9)) < 0.1


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 1)])
def test_edge_similarity_wants_a_window_inside_the_image(shape):
    image = noise(0, *shape)
    with pytest.raises(UserError, match=f"{shape[1]} x {shape[0]} pixels.*7 x 7"):
        measures.edge_similarity(image, image)


# --- colours ---


def test_gaussian_distance_is_the_closed_form_by_matrix_roots():
    stream = np.random.default_rng(0)
    first = stream.normal(size=(50, 3)) @ stream.normal(size=(3, 3))
    second = stream.normal(size=(70, 3)) @ stream.normal(size=(3, 3)) + 1
    a, b = (np.cov(each.T, bias=True) for each in (first, second))
    root = scipy.linalg.sqrtm(a)
    squared = ((first.mean(0) - second.mean(0)) ** 2).sum()
    squared += np.trace(a + b - 2 * scipy.linalg.sqrtm(root @ b @ root)).real
    assert measures.gaussian_distance(first, second) ** 2 == pytest.approx(squared, rel=1e-9)
    assert measures.gaussian_distance(second, first) ** 2 == pytest.approx(squared, rel=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_gaussian_distance_keeps_the_triangle_inequality_in_samples_that_may_be_singular(
    seed, n, m, k
):
    stream = np.random.default_rng(seed)
    a, b, c = (stream.normal(size=(rows, 3)) for rows in (n, m, k))
    there = measures.gaussian_distance(a, b) + measures.gaussian_distance(b, c)
    assert measures.gaussian_distance(a, c) <= there + 1e-9


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_colour_distance_does_not_see_where_a_class_s_pixels_are(seed):
    stream = np.random.default_rng(seed)
    result, style = noise(1), noise(2, 9, 5)
    labels, style_labels = two_classes(12, 17, 6), two_classes(9, 5, 2)
    order = stream.permutation(12 * 17)
    moved = result.reshape(-1, 3)[order].reshape(result.shape)
    expected = measures.colour_distance(result, style, labels, style_labels)
    moved_labels = labels.ravel()[order].reshape(labels.shape)
    actual = measures.colour_distance(moved, style, moved_labels, style_labels)
    assert actual == pytest.approx(expected, rel=1e-9)


def test_colour_distance_of_an_image_from_itself_and_its_mirror_is_zero():
    image, labels = photograph(), two_classes(60, 80, 30)
    assert measures.colour_distance(image, image, labels, labels) < 1e-9
    assert measures.colour_distance(image[::-1], image, labels[::-1], labels) < 1e-9


def test_colour_distance_weights_classes_by_their_area_in_the_result():
    # Greys of lightness 0 and 100 against a style of black alone, in 3 and 1 of 4 columns
    result, style = np.zeros((2, 4, 3)), np.zeros((5, 2, 3))
    result[:, 3] = 1
    actual = measures.colour_distance(result, style, two_classes(2, 4, 3), two_classes(5, 2, 1))
    assert actual == pytest.approx(25, abs=1e-6)


def test_colour_distance_leaves_out_a_class_that_one_has_not():
    result, style = noise(1), noise(2)
    labels = two_classes(12, 17, 6)
    only = measures.colour_distance(
        result[:, :6], style, np.zeros((12, 6), np.uint8), np.zeros((12, 17), np.uint8)
    )
    lacking = measures.colour_distance(result, style, labels, np.zeros((12, 17), np.uint8))
    assert lacking == pytest.approx(only, rel=1e-12)


def test_colour_distance_sees_classes_that_changed_their_colours():
    style = np.zeros((6, 6, 3))
    style[:, 3:] = 1
    labels = two_classes(6, 6, 3)
    whole = np.zeros((6, 6), np.uint8)
    assert measures.colour_distance(1 - style, style, whole, whole) < 1e-9
    assert measures.colour_distance(1 - style, style, labels, labels) == pytest.approx(100, abs=0.1)


def test_colour_distance_of_single_pixels_is_that_of_their_colours():
    one, other = np.full((1, 1, 3), 0.2), np.full((1, 1, 3), 0.6)
    label = np.zeros((1, 1), np.uint8)
    expected = np.linalg.norm(color.rgb2lab(one) - color.rgb2lab(other))
    assert measures.colour_distance(one, other, label, label) == pytest.approx(expected)


def test_colour_distance_wants_a_class_in_common():
    labels = np.zeros((12, 17), np.uint8)
    with pytest.raises(UserError, match=r"classes \[0\] and the style's \[3\]"):
        measures.colour_distance(noise(0), noise(1), labels, labels + 3)


@pytest.mark.parametrize("whose", ["the result", "the style"])
def test_colour_distance_wants_labels_of_the_image_s_size(whose):
    labels = [np.zeros((12, 17), np.uint8)] * 2
    labels[whose == "the style"] = np.zeros((17, 12), np.uint8)
    with pytest.raises(UserError, match=rf"{whose} has 17 x 12 pixels.*\(17, 12\)"):
        measures.colour_distance(noise(0), noise(1), *labels)


# --- colour transfer ---


def test_histogram_matched_has_the_style_s_values_in_the_content_s_order():
    content, style = noise(0), noise(1)
    actual = measures.histogram_matched(content, style)
    for c in range(3):
        np.testing.assert_allclose(
            np.sort(actual[:, :, c].ravel()), np.sort(style[:, :, c].ravel())
        )
        assert (actual[:, :, c].ravel().argsort() == content[:, :, c].ravel().argsort()).all()


def test_histogram_matched_by_class_takes_each_class_s_own_histogram():
    content, style = noise(0), noise(1)
    labels, style_labels = two_classes(12, 17, 6), 1 - two_classes(12, 17, 11)
    actual = measures.histogram_matched_by_class(content, style, labels, style_labels)
    for label in (0, 1):
        for c in range(3):
            ours = np.sort(actual[labels == label][:, c])
            np.testing.assert_allclose(ours, np.sort(style[style_labels == label][:, c]))


def test_histogram_matched_by_class_brings_class_wise_colours_nearer_than_the_global_one():
    content, style = photograph(), transform.resize(data.astronaut() / 255, (50, 50))
    labels, style_labels = two_classes(60, 80, 30), two_classes(50, 50, 25)

    def distance(result):
        return measures.colour_distance(result, style, labels, style_labels)

    by_class = measures.histogram_matched_by_class(content, style, labels, style_labels)
    actual = [distance(by_class), distance(measures.histogram_matched(content, style))]
    assert actual[0] < actual[1] < distance(content)


def test_histogram_matched_by_class_gives_a_class_the_style_lacks_the_whole_style():
    content, style = noise(0), noise(1)
    labels = np.full((12, 17), 7, np.uint8)
    actual = measures.histogram_matched_by_class(content, style, labels, two_classes(12, 17, 6))
    np.testing.assert_array_equal(actual, measures.histogram_matched(content, style))


def test_histogram_matched_by_class_wants_labels_of_the_image_s_size():
    labels = np.zeros((12, 17), np.uint8)
    with pytest.raises(UserError, match=r"the content has 17 x 12 pixels.*\(3, 3\)"):
        measures.histogram_matched_by_class(noise(0), noise(1), labels[:3, :3], labels)
    with pytest.raises(UserError, match=r"the style has 17 x 12 pixels.*\(3, 3\)"):
        measures.histogram_matched_by_class(noise(0), noise(1), labels, labels[:3, :3])


# --- bad images ---

LABELS = np.zeros((12, 17), np.uint8)
OF_TWO = {
    "affine_residual": lambda a, b: measures.affine_residual(a, b, 1),
    "edge_similarity": measures.edge_similarity,
    "colour_distance": lambda a, b: measures.colour_distance(a, b, LABELS, LABELS),
    "histogram_matched": measures.histogram_matched,
    "by_class": lambda a, b: measures.histogram_matched_by_class(a, b, LABELS, LABELS),
}
BAD = {
    "nan": (np.where(noise(0) < 0.01, np.nan, noise(0)), "NaN or infinite"),
    "infinite": (np.where(noise(0) < 0.01, np.inf, noise(0)), "NaN or infinite"),
    "grey": (noise(0)[:, :, 0], r"shape \(12, 17\)"),
    "alpha": (np.ones((12, 17, 4)), r"shape \(12, 17, 4\)"),
    "empty": (np.ones((0, 17, 3)), r"shape \(0, 17, 3\)"),
    "bytes": (np.ones((12, 17, 3), np.uint8), "uint8; it must be float"),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", OF_TWO)
def test_an_array_that_is_no_image_is_refused(name, bad, first):
    image, message = BAD[bad]
    with pytest.raises(UserError, match=message):
        OF_TWO[name](*((image, noise(0)) if first else (noise(0), image)))


@pytest.mark.parametrize("bad", BAD)
def test_matting_energy_refuses_an_array_that_is_no_image(bad):
    image, message = BAD[bad]
    with pytest.raises(UserError, match=message):
        measures.matting_energy(image, scipy.sparse.eye_array(204))


@pytest.mark.parametrize("name", ["affine_residual", "edge_similarity"])
def test_images_of_two_sizes_are_refused_with_both_sizes(name):
    with pytest.raises(UserError, match=r"result has 17 x 12 pixels, the content 12 x 17 pixels"):
        OF_TWO[name](noise(0), noise(0, 17, 12))


def test_single_precision_is_taken():
    result, content = noise(0).astype(np.float32), noise(1).astype(np.float32)
    expected = measures.edge_similarity(result.astype(np.float64), content.astype(np.float64))
    assert measures.edge_similarity(result, content) == expected


def test_images_are_not_changed():
    result, content = noise(0), noise(1)
    for function in OF_TWO.values():
        function(result, content)
    np.testing.assert_array_equal(result, noise(0))
    np.testing.assert_array_equal(content, noise(1))
