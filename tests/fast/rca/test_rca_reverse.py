import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import rca_chain
from pr12.rca import reverse_atlas, reverse_cnn, reverse_forest
from pr12.rca.data import phantom, scan_files, score_files
from pr12.rca.data.scan_files import Scan, Scans
from pr12.rca.model import estimates, measures, reverse
from pr12.rca.model.registration import Effort, correspondence, propagate

DICE = measures.MEASURES.index("dice")
EFFORT = Effort(40, (2,), 25, 1.0)
SHIFTS = (0, 2, 4, 8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- good segmentations score high and bad ones low ---


@pytest.fixture(scope="module")
def judged():
    """Scans, each with graded, empty and random segmentations; and references registered to it."""
    references = [Scan(f"r{i}", *phantom.slice_of((1, 1, i), 64, 1.0)) for i in range(4)]
    scans = [Scan(f"t{i}", *phantom.slice_of((1, 3, i), 64, 1.0)) for i in range(3)]
    cases = []
    for index, scan in enumerate(scans):
        graded = [np.roll(scan.labels, (shift, shift), axis=(0, 1)) for shift in SHIFTS]
        stream = np.random.default_rng(index)
        shuffled = stream.permutation(scan.labels.ravel()).reshape(scan.labels.shape)
        maps = np.stack([*graded, np.zeros_like(scan.labels), shuffled])
        there = [correspondence(r.image, scan.image, EFFORT) for r in references]
        back = [correspondence(scan.image, r.image, EFFORT) for r in references]
        cases.append((scan, maps, there, back))
    return references, cases


def predicted(scores):
    """Give the mean predicted Dice of each segmentation of a scan."""
    return estimates.estimate(scores[None], "max")[0][..., DICE].mean(axis=1)


@pytest.fixture(scope="module", params=["to_reference", "to_test"])
def predictions(request, judged):
    references, cases = judged
    if request.param == "to_reference":
        scores = [reverse_atlas.to_reference(m, references, there, 3) for _, m, there, _ in cases]
    else:
        scores = [reverse_atlas.to_test(m, references, back, 3) for _, m, _, back in cases]
    return np.array([predicted(ours) for ours in scores])


def test_the_estimate_ranks_a_graded_series_right(predictions):
    graded = predictions[:, : len(SHIFTS)]
    assert (np.diff(graded, axis=1) < -0.02).all()  # each voxel further is worse, in every scan


def test_an_empty_and_a_random_segmentation_score_low(predictions):
    perfect, empty, random = predictions[:, 0], predictions[:, 4], predictions[:, 5]
    assert (empty == 0).all()
    assert (random < 0.35).all()
    assert (perfect > 0.7).all()
    assert (perfect - random > 0.4).all()


def test_the_estimate_follows_the_real_score_over_all_segmentations(predictions, judged):
    real = [measures.agreement(maps, scan.labels, 3)[..., DICE] for scan, maps, _, _ in judged[1]]
    real = np.mean(real, axis=-1)
    assert spearmanr(real.ravel(), predictions.ravel()).statistic > 0.9
    assert np.corrcoef(real.ravel(), predictions.ravel())[0, 1] > 0.95


def test_a_forest_ranks_the_series_too_if_less_surely(judged):
    references, cases = judged
    params = reverse_forest.Params(5, 12, None)
    scores = [
        reverse_forest.scored(scan.image, maps, references[:2], 3, 0, params)
        for scan, maps, _, _ in cases
    ]
    *graded, empty, random = np.mean([predicted(ours) for ours in scores], axis=0)
    assert graded == sorted(graded, reverse=True)
    assert graded[0] > graded[-1] + 0.3
    assert random < 0.1
    assert empty == 0


def test_a_perfect_segmentation_scores_what_registration_allows(judged):
    """The ceiling is what true labels reach when they are carried to the references."""
    references, cases = judged
    for scan, maps, there, _ in cases:
        scores = reverse_atlas.to_reference(maps, references, there, 3)
        ceiling = np.empty((len(references), 3))
        for i, (reference, actual) in enumerate(zip(references, there, strict=True)):
            carried = propagate(scan.labels[None], actual)[0]
            for structure in (1, 2, 3):
                pair = carried == structure, reference.labels == structure
                ceiling[i, structure - 1] = measures.overlaps(*pair)[0]
        np.testing.assert_allclose(scores[0, ..., DICE], ceiling, atol=1e-6)
        best = estimates.estimate(scores[None], "max")[0, ..., DICE]
        np.testing.assert_allclose(best[0], ceiling.max(axis=0), atol=1e-6)
        assert best[0].mean() > 0.75
        # nearly perfect is nearly as good; nothing that is far worse beats it
        off = np.roll(scan.labels, 1, axis=0)
        near = reverse_atlas.to_reference(off[None], references, there, 3)
        assert abs(predicted(near)[0] - best[0].mean()) < 0.12


def test_one_wrong_structure_is_the_one_that_scores_low(judged):
    references, cases = judged
    for scan, _, there, _ in cases:
        without = np.where(scan.labels == phantom.SPLEEN, 0, scan.labels)
        both = np.stack([scan.labels, without])
        scores = reverse_atlas.to_reference(both, references, there, 3)
        perfect, partial = estimates.estimate(scores[None], "max")[0, ..., DICE]
        assert partial[phantom.SPLEEN - 1] == 0
        assert np.delete(partial, phantom.SPLEEN - 1).tolist() == (
            np.delete(perfect, phantom.SPLEEN - 1).tolist()
        )


# --- the two directions ---


def random_scans(count=3):
    stream = np.random.default_rng(0)
    shapes = [(5, 6), (4, 7), (6, 6)][:count]
    return [
        Scan(f"r{i}", stream.random(shape, np.float32), stream.integers(0, 3, shape, np.uint8))
        for i, shape in enumerate(shapes)
    ]


def test_each_direction_compares_where_the_labels_arrive():
    stream = np.random.default_rng(1)
    references, maps = random_scans(), stream.integers(0, 3, (2, 5, 5), np.uint8)
    there = [stream.integers(0, 26, r.labels.shape).astype(np.uint16) for r in references]
    back = [stream.integers(0, r.labels.size + 1, (5, 5)).astype(np.uint16) for r in references]
    actual = reverse_atlas.to_reference(maps, references, there, 2)
    other = reverse_atlas.to_test(maps, references, back, 2)
    assert actual.shape == other.shape == (2, 3, 2, 4)
    for k in range(2):
        for i, reference in enumerate(references):
            carried = propagate(maps, there[i])[k : k + 1]
            expected = measures.agreement(carried, reference.labels, 2)[0]
            np.testing.assert_array_equal(actual[k, i], expected)
            carried = propagate(reference.labels[None], back[i])[0]
            expected = measures.agreement(maps[k : k + 1], carried, 2)[0]
            np.testing.assert_array_equal(other[k, i], expected)


def test_references_are_found_by_direction_and_keep_their_order():
    references = Scans(("a",), {0: random_scans(), 1: random_scans(1)})
    actual = {
        (0, "reference", "r2"): {("test", "t", 0): "r2<t", ("test", "t", 1): "weak"},
        (0, "reference", "r0"): {("test", "t", 0): "r0<t", ("test", "u", 0): "r0<u"},
        (0, "test", "t"): {("reference", "r1", 0): "t<r1"},
        (1, "reference", "r0"): {("test", "t", 0): "another seed's"},
    }
    r0, r1, r2 = references.by_seed[0]

    def pairs(*scan, direction="to_reference"):
        return reverse_atlas.pairs_of(actual, references, *scan, direction)

    assert pairs(0, "test", "t") == ([r0, r2], ["r0<t", "r2<t"])
    assert pairs(0, "test", "u") == ([r0], ["r0<u"])
    assert pairs(0, "test", "t", direction="to_test") == ([r1], ["t<r1"])
    assert pairs(0, "calibration", "t") is None
    assert pairs(1, "test", "t")[1] == ["another seed's"]


# --- forests and nets that learn from one scan ---


def test_what_a_classifier_makes_of_a_reference_is_compared_with_that_reference():
    references = random_scans()
    stream = np.random.default_rng(2)
    maps = [stream.integers(0, 3, reference.labels.shape, np.uint8) for reference in references]
    actual = reverse.on_references(maps, references, 2)
    assert (actual.shape, actual.dtype) == ((3, 2, 4), np.float32)
    for ours, labels, reference in zip(actual, maps, references, strict=True):
        expected = measures.agreement(labels[None], reference.labels, 2)[0]
        np.testing.assert_array_equal(ours, expected)


def bright_square(corner, shape=(16, 16)):
    image = np.zeros(shape, np.float32)
    image[corner[0] : corner[0] + 7, corner[1] : corner[1] + 7] = 1.0
    return image


@pytest.mark.parametrize(
    ("module", "params"),
    [
        (reverse_forest, reverse_forest.Params(6, 8, None)),
        (reverse_cnn, reverse_cnn.Params((4, 8, 16), 60, 0.02, None)),
    ],
    ids=["forest", "cnn"],
)
def test_a_classifier_of_one_scan_knows_a_like_scan_if_its_labels_were_right(module, params):
    image, other = bright_square((4, 4)), bright_square((5, 3))
    reference = Scan("r", other, (other > 0).astype(np.uint8))
    right = (image > 0).astype(np.uint8)
    maps = np.stack([right, np.zeros_like(right), 1 - right])
    scores = module.scored(image, maps, [reference], 1, 0, params)
    assert (scores.shape, scores.dtype) == ((3, 1, 1, 4), np.float32)
    perfect, empty, inverted = scores[:, 0, 0]
    assert perfect[DICE] > 0.7
    assert empty[:2].tolist() == [0, 0]
    assert np.isnan(empty[2:]).all()
    assert inverted[DICE] < 0.15


@pytest.mark.parametrize(
    ("module", "params"),
    [
        (reverse_forest, reverse_forest.Params(2, 3, None)),
        (reverse_cnn, reverse_cnn.Params((4, 8, 16), 2, 0.02, None)),
    ],
    ids=["forest", "cnn"],
)
def test_segmentations_and_references_are_judged_one_by_one(module, params):
    """In company or alone, a segmentation gets the same score; so do the two calls."""
    scan, *references = (Scan(f"s{i}", *phantom.slice_of((2, i), 32, 0.5)) for i in range(3))
    maps = np.stack([scan.labels, np.roll(scan.labels, 5, axis=0)])
    both = module.scored(scan.image, maps, references, 3, 4, params)
    np.testing.assert_array_equal(both, module.scored(scan.image, maps, references, 3, 4, params))
    alone = module.scored(scan.image, maps[1:], references[1:], 3, 4, params)
    np.testing.assert_array_equal(both[1:, 1:], alone)
    other = module.scored(scan.image, maps, references, 3, 5, params)
    assert not np.array_equal(both, other, equal_nan=True)


def test_references_of_other_shapes_and_volumes_are_judged_too():
    stream = np.random.default_rng(0)
    scan, *references = (
        Scan(f"s{i}", stream.random(shape, np.float32), stream.integers(0, 2, shape, np.uint8))
        for i, shape in enumerate([(5, 9, 8), (6, 7, 9), (8, 8, 5)])
    )
    for module, params in (
        (reverse_forest, reverse_forest.Params(2, 3, None)),
        (reverse_cnn, reverse_cnn.Params((4, 8, 16), 1, 0.02, None)),
    ):
        scores = module.scored(scan.image, scan.labels[None], references, 1, 0, params)
        assert scores.shape == (1, 2, 1, 4)
        assert ((scores[..., :2] >= 0) & (scores[..., :2] <= 1)).all()


# --- the steps ---


def read(name):
    return score_files.read_scores(rca_chain.chain() / f"{name}_scores")[0]


@pytest.mark.parametrize(
    ("name", "splits", "subjects"),
    [
        ("atlas", ("calibration", "test"), {"calibration": 4, "test": 3}),
        ("atlas_to_test", ("test",), {"test": 3}),
        ("forest", ("test",), {"test": 2}),
        ("cnn", ("test",), {"test": 1}),
    ],
)
def test_scores_have_an_axis_each_for_subjects_segmenters_references_structures_measures(
    name, splits, subjects
):
    actual = read(name)
    assert sorted(actual) == sorted((seed, split) for seed in (0, 3) for split in splits)
    for (_, split), ours in actual.items():
        assert ours.shape == (subjects[split], len(rca_chain.SEGMENTERS), 3, 3, 4)
        overlaps, distances = ours[..., :2], ours[..., 2:]
        assert ((overlaps >= 0) & (overlaps <= 1)).all()
        empty = np.isnan(distances)
        assert (distances[~empty] >= 0).all()
        assert (overlaps[empty.any(axis=-1)] == 0).all()


def test_a_scan_is_scored_with_its_own_correspondences_and_references():
    folder, seed = rca_chain.chain(), 3
    segmentations, _ = scan_files.read_segmentations(folder / "segmentations")
    references = scan_files.read_scans(folder / "reference.safetensors").by_seed[seed]
    tests = scan_files.read_scans(folder / "test.safetensors").by_seed[seed]
    there = scan_files.read_correspondences(folder / "atlas" / "correspondences")
    back = scan_files.read_correspondences(folder / "atlas_to_test" / "correspondences")
    for index, scan in enumerate(tests):
        maps = segmentations[seed, "test", scan.name]
        ours = [there[seed, "reference", r.name]["test", scan.name, 0] for r in references]
        expected = reverse_atlas.to_reference(maps, references, ours, 3)
        np.testing.assert_array_equal(read("atlas")[seed, "test"][index], expected)
        ours = [back[seed, "test", scan.name]["reference", r.name, 0] for r in references]
        expected = reverse_atlas.to_test(maps, references, ours, 3)
        np.testing.assert_array_equal(read("atlas_to_test")[seed, "test"][index], expected)
    for name, module, values in (
        ("forest", reverse_forest, rca_chain.REVERSE_FOREST),
        ("cnn", reverse_cnn, rca_chain.REVERSE_CNN),
    ):
        params = module.Params(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        )
        for index, scan in enumerate(tests[: params.subjects]):
            maps = segmentations[seed, "test", scan.name]
            expected = module.scored(scan.image, maps, references, 3, seed, params)
            np.testing.assert_array_equal(read(name)[seed, "test"][index], expected)


def atlas_paths(to, **change):
    folder = rca_chain.chain()
    return {
        **rca_chain.splits(folder, "reference"),
        "correspondences": folder / "atlas" / "correspondences",
        "segmentations": folder / "segmentations",
        "scores": to / "scores",
    } | {name: folder / file for name, file in change.items()}


def one_paths(to, **change):
    folder = rca_chain.chain()
    return {
        **rca_chain.splits(folder, "reference", "test"),
        "segmentations": folder / "segmentations",
        "scores": to / "scores",
    } | {name: folder / file for name, file in change.items()}


def test_the_same_bytes_each_time(tmp_path):
    for name, step, params, paths in (
        ("atlas", "reverse_atlas", {"direction": "to_reference"}, atlas_paths(tmp_path)),
        ("forest", "reverse_forest", rca_chain.REVERSE_FOREST, one_paths(tmp_path)),
        ("cnn", "reverse_cnn", rca_chain.REVERSE_CNN, one_paths(tmp_path)),
    ):
        rca_chain.run(step, params, **paths)
        written = (rca_chain.chain() / f"{name}_scores").read_bytes()
        assert (tmp_path / "scores").read_bytes() == written


def test_null_subjects_are_all_and_more_than_there_are_are_all(tmp_path):
    for subjects in (None, 99):
        params = rca_chain.REVERSE_FOREST | {"subjects": subjects}
        rca_chain.run("reverse_forest", params, **one_paths(tmp_path))
        actual, _ = score_files.read_scores(tmp_path / "scores")
        assert {key: len(ours) for key, ours in actual.items()} == {(0, "test"): 3, (3, "test"): 3}
        np.testing.assert_array_equal(actual[3, "test"][:2], read("forest")[3, "test"])


@pytest.mark.parametrize(
    ("params", "change", "message"),
    [
        ({"direction": "back"}, {}, 'direction is "back"; it must be one of to_reference, to_test'),
        (
            {"direction": "to_test"},
            {},
            "correspondences does not join the scans of ",
        ),  # the other's file
        ({}, {"correspondences": "atlas_to_test/correspondences"}, "does not join the scans of "),
        ({}, {"correspondences": "segmentations"}, "segmentations holds no correspondences; "),
        ({}, {"segmentations": "unet_model"}, "unet_model holds no segmentations; delete it"),
        ({}, {"reference": "segmentations"}, "segmentations holds no scans; delete it"),
        ({}, {"reference": "gone"}, "gone does not exist"),
    ],
)
def test_a_mistake_about_atlases_is_one_sentence(tmp_path, capsys, params, change, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run(
            "reverse_atlas",
            {"direction": "to_reference"} | params,
            **atlas_paths(tmp_path, **change),
        )
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("step", "params", "message"),
    [
        ("reverse_forest", {"trees": 0}, "trees is 0; it must be a number of at least 1"),
        ("reverse_forest", {"depth": 0}, "depth is 0; it must be a number of at least 1"),
        ("reverse_forest", {"subjects": 0}, "subjects is 0; it must be a number of at least 1"),
        ("reverse_cnn", {"channels": []}, "channels is []; it must be a list of 3"),
        ("reverse_cnn", {"updates": 0}, "updates is 0; it must be a number of at least 1"),
        ("reverse_cnn", {"learning_rate": 0}, "learning_rate is 0; it must be a number above 0"),
    ],
)
def test_a_mistake_about_classifiers_is_one_sentence(tmp_path, capsys, step, params, message):
    values = {"reverse_forest": rca_chain.REVERSE_FOREST, "reverse_cnn": rca_chain.REVERSE_CNN}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run(step, values[step] | params, **one_paths(tmp_path))
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["reverse_forest", "reverse_cnn"])
def test_what_holds_no_segmentations_is_named(tmp_path, capsys, step):
    values = {"reverse_forest": rca_chain.REVERSE_FOREST, "reverse_cnn": rca_chain.REVERSE_CNN}
    paths = one_paths(tmp_path, segmentations="forest_model")
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run(step, values[step], **paths)
    assert "forest_model holds no segmentations" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("channels", [[4, 8], [4, 8, 16, 32]])
def test_a_net_of_other_than_three_levels_is_refused(tmp_path, channels):
    params = rca_chain.REVERSE_CNN | {"channels": channels}
    done = None
    try:
        rca_chain.run("reverse_cnn", params, **one_paths(tmp_path))
    except SystemExit as stopped:
        done = stopped.code
    assert done == 2


def test_a_loss_that_is_not_finite_is_refused(tmp_path):
    params = rca_chain.REVERSE_CNN | {"learning_rate": 1e30, "updates": 5}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("reverse_cnn", params, **one_paths(tmp_path))
