import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude
from sklearn.ensemble import ExtraTreesClassifier

from pr12.rca.data import scan_files
from pr12.rca.model import features, forest


def voxels(seed=0, n=400, labels=(0, 1, 2, 3)):
    stream = np.random.default_rng(seed)
    x = stream.normal(size=(n, 5)).astype(np.float32)
    score = x[:, 0] + 0.5 * np.abs(x[:, 1]) + 0.2 * stream.normal(size=n)
    places = np.searchsorted(np.quantile(score, np.linspace(0, 1, len(labels) + 1)[1:-1]), score)
    return x, np.array(labels, np.uint8)[places]


def expected(grown, x, classes):
    """Give scikit-learn's own probabilities, with zeros for labels that it never saw."""
    actual = np.zeros((len(x), classes))
    actual[:, grown.classes_] = grown.predict_proba(x)
    return actual


# --- the oracle ---


@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (0, 3), (1, 2), (0,), (3,)])
@pytest.mark.parametrize(("trees", "depth"), [(1, 1), (1, 30), (7, 4), (10, 20)])
def test_probabilities_are_those_of_scikit_learn(labels, trees, depth):
    x, y = voxels(labels=labels)
    grown = forest.grow(x, y, trees, depth, seed=3)
    arrays = forest.to_arrays(grown, 4)
    new = voxels(seed=1, n=1000)[0]
    actual = forest.probabilities(arrays, new)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected(grown, new, 4), atol=1e-6)
    np.testing.assert_allclose(actual.sum(axis=1), 1, atol=1e-6)
    decided = np.diff(np.sort(actual, axis=1)[:, -2:]).ravel() > 1e-5
    assert decided.any()
    assert (actual.argmax(axis=1)[decided] == grown.predict(new)[decided]).all()


def test_a_voxel_on_a_threshold_goes_where_scikit_learn_sends_it():
    stream = np.random.default_rng(0)
    x = stream.integers(0, 4, (300, 3)).astype(np.float32)
    y = (x.sum(axis=1) > 4).astype(np.uint8)
    grown = forest.grow(x, y, 5, 6, seed=0)
    arrays = forest.to_arrays(grown, 2)
    cuts = np.unique(arrays["threshold"])
    on = np.stack([np.nextafter(np.float32(cuts), np.float32(end)) for end in (-9, 9)])
    on = np.concatenate([cuts.astype(np.float32)[None], on]).ravel()
    near = np.stack([np.full_like(on, 1.0)] * 3, axis=1)
    for column in range(3):
        probe = near.copy()
        probe[:, column] = on
        np.testing.assert_allclose(
            forest.probabilities(arrays, probe), expected(grown, probe, 2), atol=1e-6
        )


def test_a_whole_number_threshold_counts_as_not_above():
    arrays = {
        "left": np.array([1, 1, 2], np.int32),
        "right": np.array([2, 1, 2], np.int32),
        "feature": np.zeros(3, np.int32),
        "threshold": np.array([2.0, 0.0, 0.0]),
        "value": np.array([[0.5, 0.5], [1, 0], [0, 1]], np.float32),
        "roots": np.array([0], np.int32),
    }
    x = np.array([[1.0], [2.0], [np.nextafter(np.float32(2), np.float32(3))]], np.float32)
    assert forest.probabilities(arrays, x).argmax(axis=1).tolist() == [0, 0, 1]


def test_a_tree_of_one_node_says_what_it_was_grown_on():
    x = np.zeros((10, 2), np.float32)  # nothing to ask
    y = np.array([0] * 6 + [2] * 4, np.uint8)
    arrays = forest.to_arrays(forest.grow(x, y, 3, 5, seed=0), 3)
    assert [len(arrays[name]) for name in ("left", "roots")] == [3, 3]
    actual = forest.probabilities(arrays, np.ones((4, 2), np.float32))
    np.testing.assert_allclose(actual, np.tile([0.6, 0, 0.4], (4, 1)), atol=1e-7)


# --- bytes, shapes, options ---


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    x, y = voxels()

    def grown(seed):
        arrays = forest.to_arrays(forest.grow(x, y, 4, 6, seed), 4)
        return {name: ours.tobytes() for name, ours in arrays.items()}

    assert grown(5) == grown(5)
    assert grown(5) != grown(6)


def test_arrays_through_a_file_give_the_same_probabilities(tmp_path):
    x, y = voxels()
    arrays = forest.to_arrays(forest.grow(x, y, 4, 6, seed=0), 4)
    scan_files.write_arrays(tmp_path / "forest", arrays)
    again, _ = scan_files.read_arrays(tmp_path / "forest")
    assert sorted(again) == sorted(forest.ARRAYS)
    assert (forest.probabilities(again, x) == forest.probabilities(arrays, x)).all()


def test_arrays_hold_all_nodes_and_children_stay_in_their_tree():
    x, y = voxels()
    grown = forest.grow(x, y, 4, 6, seed=0)
    arrays = forest.to_arrays(grown, 4)
    counts = [tree.tree_.node_count for tree in grown.estimators_]
    assert arrays["roots"].tolist() == [0, *np.cumsum(counts)[:-1]]
    assert {len(arrays[name]) for name in forest.ARRAYS if name != "roots"} == {sum(counts)}
    tree_of = np.repeat(np.arange(4), counts)
    ours = np.arange(sum(counts))
    for side in ("left", "right"):
        assert (tree_of[arrays[side]] == tree_of).all()
        assert (arrays[side] >= ours).all()  # down, or a leaf that stays
    leaf = arrays["left"] == ours
    assert ((arrays["right"] == ours) == leaf).all()
    assert leaf.sum() == sum(tree.get_n_leaves() for tree in grown.estimators_)


def test_the_depth_is_the_limit_and_leaves_of_many_voxels_hold_two():
    x, y = voxels(n=300)
    grown = forest.grow(x, y, 5, 3, seed=0)
    assert isinstance(grown, ExtraTreesClassifier)
    assert [tree.get_depth() for tree in grown.estimators_] == [3] * 5
    for n, least in ((100, 1), (101, 2)):
        deep = forest.grow(*voxels(n=n), 5, 50, seed=0)
        smallest = min(tree.tree_.n_node_samples.min() for tree in deep.estimators_)
        assert smallest == least


def test_a_deeper_forest_knows_its_voxels_better():
    x, y = voxels()

    def accuracy(depth):
        arrays = forest.to_arrays(forest.grow(x, y, 10, depth, seed=0), 4)
        return (forest.probabilities(arrays, x).argmax(axis=1) == y).mean()

    actual = [accuracy(depth) for depth in (1, 3, 12)]
    assert actual == sorted(actual)
    assert actual[2] > 0.95 > 0.7 > actual[0]


# --- features ---


def image(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("shape", [(9, 7), (6, 8, 5)])
def test_features_are_these_columns(shape):
    ours = image(*shape)
    actual = features.voxel_features(ours)
    assert actual.dtype == np.float32
    columns = [ours]
    columns += [gaussian_filter(ours, sigma, mode="nearest") for sigma in (1.0, 2.0, 4.0)]
    columns += [gaussian_gradient_magnitude(ours, 1.0, mode="nearest")]
    padded = np.pad(columns[2], features.OFFSET, mode="edge")
    for axis in range(ours.ndim):
        for start in (0, 2 * features.OFFSET):
            place = [slice(features.OFFSET, features.OFFSET + side) for side in shape]
            place[axis] = slice(start, start + shape[axis])
            columns.append(padded[tuple(place)])
    columns += list(np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij"))
    assert actual.shape == (ours.size, 5 + 3 * ours.ndim) == (ours.size, len(columns))
    for column, wanted in zip(actual.T, columns, strict=True):
        np.testing.assert_allclose(column, wanted.ravel(), atol=1e-6)


def test_an_axis_of_one_voxel_is_no_obstacle():
    actual = features.voxel_features(image(1, 6))
    assert np.isfinite(actual).all()


def test_brightness_reaches_intensities_and_not_places():
    ours = image(8, 8)
    plain, brighter = features.voxel_features(ours), features.voxel_features(ours / 2 + 0.25)
    np.testing.assert_allclose(brighter[:, :4], plain[:, :4] / 2 + 0.25, atol=1e-6)
    np.testing.assert_allclose(brighter[:, 4], plain[:, 4] / 2, atol=1e-6)
    assert (brighter[:, -2:] == plain[:, -2:]).all()


@pytest.mark.parametrize("offset", [-9, -2, 0, 1, 9])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_border_repeats(offset, axis):
    ours = np.arange(20).reshape(4, 5)
    actual = features.shifted(ours, offset, axis)
    for (row, column), value in np.ndenumerate(actual):
        place = [row, column]
        place[axis] = min(max(place[axis] + offset, 0), ours.shape[axis] - 1)
        assert value == ours[tuple(place)]
