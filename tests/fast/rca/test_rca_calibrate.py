import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

import rca_chain
from pr12.rca import calibrate
from pr12.rca.data import score_files, segmenter_names
from pr12.rca.model import conformal, intervals
from pr12.rca.model.measures import MEASURES
from pr12.workflow import files
from pr12.workflow.errors import UserError

PARAMS = calibrate.Params("atlas", "max", (0.5, 0.8, 0.9), (40.0, 95.0), 0.7, 0.1, 1)
DICE = MEASURES.index("dice")

RANKED = ("unet_1", "unet_2")


def change(**values):
    return dataclasses.replace(PARAMS, **values)


def simulated(stream, subjects, segmenters=2, structures=2, references=6):
    """Give real Dice and scores on references that are lower, the more so the better it is."""
    real = stream.random((subjects, segmenters, structures))
    noise = 0.05 * stream.normal(size=(subjects, segmenters, references, structures))
    return real, np.clip(0.8 * real[:, :, None] ** 1.5 + noise, 0, 1)


@pytest.fixture(scope="module")
def groups():
    stream = np.random.default_rng(0)
    return [simulated(stream, subjects) for subjects in (12, 13, 15)]


# --- one seed ---


@pytest.mark.parametrize("estimator", ["max", "mean"])
def test_maps_learn_from_the_first_group_and_widths_from_the_second(groups, estimator):
    (fit, fit_scores), (hold, hold_scores), (test, test_scores) = groups
    metrics, shown = intervals.calibrated(*groups, change(estimator=estimator), RANKED)
    raw = [getattr(ours, estimator)(axis=2) for ours in (fit_scores, hold_scores, test_scores)]
    assert metrics["test/mae_raw"] == pytest.approx(np.abs(raw[2] - test).mean())
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    fitted.fit(raw[0].ravel(), fit.ravel())
    predicted = fitted.predict(raw[2].ravel()).reshape(test.shape)
    assert metrics["test/mae_isotonic"] == pytest.approx(np.abs(predicted - test).mean())
    residuals = np.abs(fitted.predict(raw[1].ravel()) - hold.ravel())
    for coverage, rank in ((0.5, 27), (0.8, 43), (0.9, 48)):  # of 53 and one: 52 residuals
        half = np.sort(residuals)[rank - 1]
        assert half == conformal.half_width(residuals, coverage)
        inside = np.abs(predicted - test) <= half
        assert metrics[f"test/coverage_isotonic_{100 * coverage:g}"] == pytest.approx(inside.mean())
        ends = np.clip(predicted - half, 0, 1), np.clip(predicted + half, 0, 1)
        width = (ends[1] - ends[0]).mean()
        assert metrics[f"test/width_isotonic_{100 * coverage:g}"] == pytest.approx(width)
        if coverage == 0.8:  # the middle one is shown
            for name, values in (
                ("raw", raw[2]),
                ("real", test),
                ("predicted", predicted),
                ("low", ends[0]),
                ("high", ends[1]),
            ):
                np.testing.assert_allclose(shown[name], values.ravel(), atol=5.1e-5)
    line = np.polynomial.Polynomial.fit(raw[0].ravel(), fit.ravel(), 1)
    error = np.abs(np.clip(line(raw[2]), 0, 1) - test).mean()
    assert metrics["test/mae_linear"] == pytest.approx(error)


def test_a_map_lowers_the_error_of_a_score_that_is_too_low(groups):
    metrics, _ = intervals.calibrated(*groups, PARAMS, RANKED)
    assert metrics["test/mae_linear"] < metrics["test/mae_raw"] / 1.5
    assert metrics["test/mae_isotonic"] < metrics["test/mae_raw"] / 1.5


def test_more_coverage_is_wider_and_covers_more(groups):
    metrics, _ = intervals.calibrated(*groups, PARAMS, RANKED)
    for kind in ("linear", "isotonic", "percentiles"):
        for quantity in ("coverage", "width"):
            values = [metrics[f"test/{quantity}_{kind}_{level}"] for level in (50, 80, 90)]
            assert values == sorted(values)
            assert values[0] > 0
            assert values[2] <= 1


def test_the_test_subjects_set_neither_map_nor_width(groups):
    fit, hold, (test, scores) = groups
    one, shown = intervals.calibrated(fit, hold, (test, scores), PARAMS, RANKED)
    part, fewer = intervals.calibrated(fit, hold, (test[:4], scores[:4]), PARAMS, RANKED)
    for name, values in fewer.items():
        assert values == shown[name][: len(values)]
    other, _ = intervals.calibrated(fit, hold, (1 - test, scores), PARAMS, RANKED)
    for level in (50, 80, 90):
        key = f"test/width_linear_{level}"
        assert one[key] == other[key]
    assert {key for key in set(part) ^ set(one) if not key.startswith("raw_")} == set()


def test_failures_are_flagged_by_the_isotonic_map(groups):
    metrics, shown = intervals.calibrated(*groups, PARAMS, RANKED)
    failed = np.array(shown["real"]) < 0.7
    flagged = np.array(shown["predicted"]) < 0.7
    assert metrics["flagged/true_positives"] == (failed & flagged).sum()
    assert metrics["flagged/false_positives"] == (~failed & flagged).sum()
    assert metrics["flagged/accuracy"] == pytest.approx((failed == flagged).mean())
    assert not [key for key in metrics if key.startswith("failure/")]


def test_the_band_of_references_is_widened_by_residuals_of_both_groups(groups):
    fit, hold, test = groups
    metrics = intervals.by_percentiles(fit, hold, test, PARAMS)
    real, scores = (np.concatenate([fit[part], hold[part]]) for part in (0, 1))
    low, high = np.percentile(scores, (40, 95), axis=2)
    residuals = np.maximum(low - real, real - high)
    low, high = np.percentile(test[1], (40, 95), axis=2)
    for level in (50, 80, 90):
        half = conformal.half_width(residuals, level / 100)
        inside = (low - half <= test[0]) & (test[0] <= high + half)
        assert metrics[f"test/coverage_percentiles_{level}"] == pytest.approx(inside.mean())


def test_a_band_that_is_too_wide_is_narrowed_and_its_ends_do_not_cross():
    stream = np.random.default_rng(0)
    real = stream.uniform(0.4, 0.6, (20, 1, 1))
    spread = np.linspace(-0.4, 0.4, 9)
    scores = real[:, :, None] + spread[None, None, :, None]
    group = real, scores
    metrics = intervals.by_percentiles(group, group, group, change(band=(0.0, 100.0)))
    # the real score is in the middle of every band: the narrowed one is that point
    assert metrics["test/width_percentiles_50"] == pytest.approx(0, abs=1e-12)
    assert metrics["test/width_percentiles_90"] >= 0
    stretched = real, 0.5 + 0.1 * (scores - real[:, :, None])
    mixed = intervals.by_percentiles(group, group, stretched, change(band=(0.0, 100.0)))
    for level in (50, 80, 90):
        assert mixed[f"test/width_percentiles_{level}"] >= 0


def test_intervals_cover_new_subjects_as_promised():
    """Fit, hold and test drawn anew, one segmentation per subject: binomial around the nominal."""
    trials, params = 250, change(coverages=(0.8,))
    inside = {"linear": 0.0, "isotonic": 0.0, "percentiles": 0.0}
    stream = np.random.default_rng(4)
    for _ in range(trials):
        parts = [simulated(stream, subjects, 1, 1) for subjects in (20, 19, 1)]
        metrics, _ = intervals.calibrated(*parts, params, RANKED[:1])
        for kind in inside:
            inside[kind] += metrics[f"test/coverage_{kind}_80"]
    for kind, count in inside.items():
        # k / (n + 1) of n residuals: 16 / 20 of the held-out ones, 32 / 40 of both groups
        low, high = stats.binom.interval(0.9999, trials, 0.8)
        assert low <= count <= high, kind


def test_too_few_subjects_for_a_coverage_are_told(groups):
    with pytest.raises(UserError, match="52 calibration cases are too few for intervals of 99 %"):
        intervals.calibrated(*groups, change(coverages=(0.5, 0.99)), RANKED)


def test_a_segmenter_that_is_left_out_is_covered_as_by_a_calibration_without_it(groups):
    metrics, _ = intervals.calibrated(*groups, PARAMS, RANKED)
    for index, name in enumerate(RANKED):
        others = [tuple(np.delete(part, index, axis=1) for part in group) for group in groups[:2]]
        alone = tuple(part[:, [index]] for part in groups[2])
        expected, _ = intervals.calibrated(*others, alone, PARAMS, [name])
        middle = sorted(PARAMS.coverages)[1]
        key = f"{name}/coverage_left_out_{100 * middle:g}"
        assert metrics[key] == expected[f"test/coverage_isotonic_{100 * middle:g}"]


def test_widths_that_follow_the_spread_cover_where_errors_do(groups):
    stream = np.random.default_rng(5)

    def varied(subjects):
        real = stream.random((subjects, 2, 2))
        spread = stream.uniform(0.02, 0.3, real.shape)
        noise = stream.normal(size=(*real.shape[:2], 6, 2)) * spread[:, :, None]
        return real, np.clip(real[:, :, None] + noise, 0, 1)

    params = change(estimator="mean")
    metrics, _ = intervals.calibrated(varied(60), varied(60), varied(200), params, RANKED)
    for coverage in params.coverages:
        name = f"{100 * coverage:g}"
        assert metrics[f"test/coverage_normalised_{name}"] == pytest.approx(coverage, abs=0.08)


def whole(groups):
    """Give calibration and test subjects of three groups."""
    fit, hold, test = groups
    return tuple(np.concatenate(pair) for pair in zip(fit, hold, strict=True)), test


def plain(key):
    """Give the key in one deal's metrics that a mean, percentile or first value comes from."""
    split, _, rest = key.partition("/")
    name = {"first": "test", "deals": "test"}.get(split, split)
    return f"{name}/{rest.partition('_percentile_')[0] if split == 'deals' else rest}"


def test_one_deal_takes_the_subjects_as_they_stand(groups):
    calibration, test = whole(groups)
    half = len(calibration[0]) // 2
    split = [tuple(ours[rows] for ours in calibration) for rows in (slice(half), slice(half, None))]
    metrics, shown = calibrate.dealt(calibration, test, PARAMS, 0, RANKED)
    expected, picture = intervals.calibrated(*split, test, PARAMS, RANKED)
    for key, value in metrics.items():  # means, percentiles and the first of one value are it
        assert value == expected[plain(key)], key
    assert set(expected) <= set(metrics)
    assert shown == picture


def test_metrics_are_means_over_deals_and_the_picture_is_of_the_first(groups):
    calibration, test = whole(groups)
    one, first = calibrate.dealt(calibration, test, PARAMS, 0, RANKED)
    many, shown = calibrate.dealt(calibration, test, change(deals=5), 0, RANKED)
    other, _ = calibrate.dealt(calibration, test, change(deals=5), 1, RANKED)
    assert shown == first
    assert many != one
    assert many != other
    assert calibrate.dealt(calibration, test, change(deals=5), 0, RANKED)[0] == many


def test_each_deal_gives_every_subject_one_place_and_keeps_the_sizes(groups, monkeypatch):
    calibration, test = whole(groups)
    seen, real = [], intervals.calibrated
    monkeypatch.setattr(
        intervals, "calibrated", lambda *parts: (seen.append(parts), real(*parts))[1]
    )
    metrics, _ = calibrate.dealt(calibration, test, change(deals=4), 0, RANKED)
    every = np.sort(np.concatenate([calibration[0], test[0]]), axis=None)
    judged = [real(*parts)[0] for parts in seen]
    for fit, hold, rest, *_ in seen:
        assert [len(ours[0]) for ours in (fit, hold, rest)] == [12, 13, 15]
        together = np.concatenate([fit[0], hold[0], rest[0]])
        np.testing.assert_array_equal(np.sort(together, axis=None), every)
        for ours, scores in (fit, hold, rest):  # real and predicted are still of one subject
            assert np.abs(0.8 * ours**1.5 - scores.mean(axis=2)).max() < 0.15
    for key, value in metrics.items():
        ours = [actual[plain(key)] for actual in judged if plain(key) in actual]
        if key.startswith("first/"):  # of the subjects as they stand
            assert value == ours[0]
        elif key.startswith("deals/"):
            assert value == pytest.approx(np.percentile(ours, int(key.rpartition("_")[2])))
        else:
            assert value == pytest.approx(np.mean(ours))
    assert sum(key.startswith("deals/") for key in metrics) == 2 * 4 * len(PARAMS.coverages)
    assert {key for key in metrics if key.startswith("first/")} == {
        key.replace("test/", "first/") for key in judged[0] if key.startswith("test/")
    }


def test_a_deal_needs_two_calibration_subjects(groups):
    calibration, test = whole(groups)
    alone = tuple(ours[:1] for ours in calibration)
    with pytest.raises(UserError, match="one calibration subject cannot be halved"):
        calibrate.dealt(alone, test, PARAMS, 0, RANKED)


# --- the step ---


def test_metrics_have_one_finite_value_per_seed():
    folder = rca_chain.chain()
    metrics = files.read_json(folder / "calibrated" / "metrics.json")["metrics"]
    assert {len(values) for values in metrics.values()} == {2}
    assert np.isfinite([value for values in metrics.values() for value in values]).all()
    for kind in ("linear", "isotonic", "percentiles"):
        for level in (50, 80):
            assert all(0 <= v <= 1 for v in metrics[f"test/coverage_{kind}_{level}"])
    shown = files.read_json(folder / "calibrated" / "picture.json")
    count = 2 * 3 * len(rca_chain.SEGMENTERS) * 3
    assert {len(values) for values in shown.values()} == {count}


def test_the_first_half_of_the_calibration_subjects_fits_and_the_second_is_held_out():
    folder = rca_chain.chain()
    real, _ = score_files.read_scores(folder / "real_scores")
    scores, _ = score_files.read_scores(folder / "atlas_scores")
    metrics = files.read_json(folder / "calibrated" / "metrics.json")["metrics"]
    params = change(coverages=(0.5, 0.8))
    ranked = segmenter_names.ranked(rca_chain.SEGMENTERS)
    for index, seed in enumerate((0, 3)):
        parts = [
            (real[seed, split][ours][..., DICE], scores[seed, split][ours][..., DICE])
            for split, ours in (
                ("calibration", slice(0, 2)),
                ("calibration", slice(2, 4)),
                ("test", slice(None)),
            )
        ]
        expected, _ = intervals.calibrated(*parts, params, ranked)
        for key, values in metrics.items():
            assert values[index] == pytest.approx(expected[plain(key)])


def test_the_same_numbers_and_picture_each_time(tmp_path):
    again = rca_chain.calibrate(rca_chain.chain(), rca_chain.CALIBRATE, "atlas_scores", tmp_path)
    first = rca_chain.chain() / "calibrated"
    assert again["picture"].read_bytes() == (first / "picture.json").read_bytes()
    both = (files.read_json(path) for path in (again["metrics"], first / "metrics.json"))
    assert next(both)["metrics"] == next(both)["metrics"]


@pytest.mark.parametrize(
    ("params", "scores", "message"),
    [
        (
            {"band": [95, 40]},
            "atlas_scores",
            "band is [95, 40]; it must be a list of rising",
        ),
        ({"band": [50, 50]}, "atlas_scores", "it must be a list of rising numbers"),
        ({"band": [40]}, "atlas_scores", "band is [40]; it must be a list of 2 elements"),
        ({"band": [1, 40, 95]}, "atlas_scores", "it must be a list of 2 elements"),
        ({"band": [-1, 95]}, "atlas_scores", "band[0] is -1; it must be a number from 0 to 100"),
        ({"band": [40, 101]}, "atlas_scores", "band[1] is 101; it must be a number from 0"),
        ({"band": []}, "atlas_scores", "band is []; it must be a list of 2 elements"),
        ({"coverages": []}, "atlas_scores", "coverages is []; it must be a list with at least"),
        ({"coverages": [0.5, 0.99]}, "atlas_scores", "36 calibration cases are too few for inte"),
        ({"estimator": "min"}, "atlas_scores", "must be one of max, mean, top3"),
        ({"reverse": "cnn"}, "cnn_scores", 'reverse is "cnn"; it must be one of atlas'),
        ({"threshold": 2}, "atlas_scores", "threshold is 2; it must be a number from 0 to 1"),
        ({}, "test.safetensors", "test.safetensors holds no scores; delete it and run again"),
        ({}, "gone", "gone does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, params, scores, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.calibrate(
            rca_chain.chain(), rca_chain.CALIBRATE | params, scores, tmp_path / "made"
        )
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


def few_subjects(folder, count):
    stream = np.random.default_rng(0)
    sizes = {"calibration": count, "test": 2}
    real = {(0, s): stream.random((n, 2, 2, 4)).astype(np.float32) for s, n in sizes.items()}
    scores = {key: np.stack([ours] * 3, axis=2) for key, ours in real.items()}
    names = {key: [f"s{i}" for i in range(len(ours))] for key, ours in real.items()}
    output = score_files.metadata(names, structures="ab", segmenters=["c_1", "c_2"])
    score_files.write_scores(folder / "real_scores", real, output)
    score_files.write_scores(folder / "scores", scores, output)


def test_one_calibration_subject_cannot_be_halved(tmp_path, capsys):
    few_subjects(tmp_path, 1)
    with pytest.raises(SystemExit, match="2"):
        rca_chain.calibrate(tmp_path, rca_chain.CALIBRATE, "scores", tmp_path / "made")
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: one calibration subject cannot be halved; raise rca.scans.calibration"
    )
    assert not (tmp_path / "made").exists()
    few_subjects(tmp_path, 3)  # one to fit, two held out: 8 residuals
    made = rca_chain.calibrate(tmp_path, rca_chain.CALIBRATE, "scores", tmp_path / "made")
    assert files.read_json(made["metrics"])["metrics"]["test/mae_raw"] == [0.0]


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5])
def test_a_coverage_is_a_share_below_1(tmp_path, capsys, coverage):
    params = rca_chain.CALIBRATE | {"coverages": [coverage]}
    code = None
    try:
        rca_chain.calibrate(rca_chain.chain(), params, "atlas_scores", tmp_path)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert "coverages" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("scores", ["forest_scores", "atlas_to_test_scores"])
def test_scores_without_calibration_subjects_are_told(tmp_path, capsys, scores):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.calibrate(rca_chain.chain(), rca_chain.CALIBRATE, scores, tmp_path / "made")
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: real and reverse scores of seed 0 are not of the same calibration subjects "
        "(none is named); make both again"
    )
    assert list(tmp_path.iterdir()) == []


def test_calibration_subjects_are_paired_by_name(tmp_path):
    few_subjects(tmp_path, 6)
    wanted = rca_chain.calibrate(tmp_path, rca_chain.CALIBRATE, "scores", tmp_path / "made")
    real, said = score_files.read_scores(tmp_path / "real_scores")
    turned = {key: ours[::-1] for key, ours in real.items()}
    names = {key: [f"s{i}" for i in range(len(ours))][::-1] for key, ours in real.items()}
    turned_names = score_files.metadata(names, structures="ab", segmenters=["c_1", "c_2"])
    score_files.write_scores(tmp_path / "real_scores", turned, said | turned_names)
    actual = rca_chain.calibrate(tmp_path, rca_chain.CALIBRATE, "scores", tmp_path / "again")
    assert actual["picture"].read_bytes() == wanted["picture"].read_bytes()
