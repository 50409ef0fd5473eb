import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold

from pr12.rca import tabular
from pr12.rca.data import shifts, tabular_data
from pr12.rca.model import tabular_estimates
from pr12.rca.model.estimator import ReverseClassificationAccuracy
from pr12.workflow import address, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

PARAMS = {
    "data": "wine",
    "seeds": [0, 1],
    "examples": 1000,
    "labelled": 0.4,
    "classifiers": ["naive_bayes", "nearest_neighbours"],
    "reverse_classifier": "same",
    "trees": 3,
    "strengths": 2,
    "noise": 4.0,
    "rotation": 60.0,
    "missing": 1.0,
    "calibration": "sigmoid",
    "folds": 2,
}
QUANTITIES = {
    "correlation",
    "correlation_rank",
    "correlation_calibrated",
    "correlation_confidence",
    "mae_raw",
    "mae_linear",
    "mae_isotonic",
    "mae_linear_unseen",
    "mae_isotonic_unseen",
    "mae_calibrated",
    "mae_cross_validation",
    "mae_confidence",
}
STRONGEST = tabular_data.Strongest(noise=4.0, rotation=60.0, missing=1.0)
DATA = ("digits", "breast_cancer", "wine")


def line(folder, params):
    paths = [f"{name}={folder / name}.json" for name in ("metrics", "picture")]
    return ["--params", json.dumps(params), *paths]


def run_step(folder, **changes):
    arguments = line(folder, PARAMS | changes)
    with step.start(tabular.Params, writes=["metrics", "picture"], arguments=arguments) as job:
        tabular.main(job)
    return [json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "picture")]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return run_step(tmp_path_factory.mktemp("written"))


@pytest.fixture(scope="module")
def wine():
    return tabular_data.split("wine", 1000, 0.4, 0)


# --- the parts ---


@pytest.mark.parametrize("data", DATA)
def test_parts_are_disjoint_and_share_the_classes(data):
    parts = tabular_data.split(data, 10**6, 0.4, 0)
    x, y = tabular_data.LOADERS[data](return_X_y=True)
    sizes = [len(part.y) for part in parts[:3]]
    assert sum(sizes) == len(y)
    assert sizes[0] == int(0.4 * len(y))
    assert abs(sizes[1] - sizes[2]) <= 1
    shares = np.bincount(y) / len(y)
    for part in parts[:3]:
        assert np.allclose(np.bincount(part.y) / len(part.y), shares, atol=1.5 / len(part.y))
    rows = np.concatenate([part.x for part in parts[:3]])
    assert len(np.unique(rows.round(9), axis=0)) == len(np.unique(x, axis=0))


@pytest.mark.parametrize("data", DATA)
def test_no_more_examples_are_used_than_asked_for(data):
    parts = tabular_data.split(data, 150, 0.4, 0)
    assert [len(part.y) for part in parts[:3]] == [60, 45, 45]


def test_the_seed_decides_the_deal(wine):
    again, other = (tabular_data.split("wine", 1000, 0.4, seed) for seed in (0, 1))
    assert np.array_equal(wine.new.x, again.new.x)
    assert not np.allclose(wine.new.x, other.new.x)


def test_features_are_standardised_by_the_labelled_part_alone(wine):
    assert np.allclose(wine.labelled.x.mean(axis=0), 0)
    assert np.allclose(wine.labelled.x.std(axis=0), 1)
    assert not np.allclose(wine.new.x.mean(axis=0), 0, atol=1e-3)
    assert wine.size is None


def test_digits_are_pixels_from_0_to_1():
    digits = tabular_data.split("digits", 500, 0.4, 0)
    assert digits.size == (8, 8)
    assert digits.labelled.x.min() == 0
    assert digits.labelled.x.max() == 1


@pytest.mark.parametrize(
    ("data", "examples", "share", "message"),
    [
        ("wine", 1000, 0.05, "178 examples of wine with labelled 0.05 leave a part too small"),
        ("wine", 1000, 0.9, "raise examples or change labelled"),
        ("breast_cancer", 30, 0.4, "30 examples of breast_cancer with labelled 0.4"),
        ("digits", 50, 0.3, "a class of digits has a single example among 15 labelled ones"),
    ],
)
def test_parts_that_are_too_small_are_refused(data, examples, share, message):
    with pytest.raises(UserError, match=message):
        tabular_data.split(data, examples, share, 0)


# --- the settings ---


def test_there_is_a_setting_for_each_kind_and_strength(wine):
    actual = tabular_data.settings(wine.new, wine, STRONGEST, 10, 0)
    assert len(actual.kinds) == len(actual.strengths) == len(actual.x) == 30
    assert [actual.kinds.count(kind) for kind in shifts.KINDS] == [10, 10, 10]
    assert actual.strengths == shifts.grades(10) * 3
    assert actual.y is wine.new.y


def test_a_setting_is_the_shift_it_is_called(wine):
    actual = tabular_data.settings(wine.new, wine, STRONGEST, 2, [3, 1])
    x, scale, fill = wine.new.x, wine.labelled.x.std(), wine.labelled.x.mean(axis=0)
    expected = [
        shifts.noise(x, 2 * scale, [3, 1]),
        shifts.noise(x, 4 * scale, [3, 1]),
        shifts.feature_rotation(x, 30, [3, 1]),
        shifts.feature_rotation(x, 60, [3, 1]),
        shifts.missing(x, 0.5, fill, [3, 1]),
        np.tile(fill, (len(x), 1)),
    ]
    for ours, wanted in zip(actual.x, expected, strict=True):
        assert np.allclose(ours, wanted)


def test_digits_are_rotated_as_images():
    digits = tabular_data.split("digits", 150, 0.4, 0)
    strongest = STRONGEST._replace(rotation=90.0)
    actual = tabular_data.settings(digits.new, digits, strongest, 1, 0)
    turned = np.rot90(digits.new.x.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)
    assert np.allclose(actual.x[1], turned)


# --- scores and maps ---


def test_scores_are_those_of_the_estimator(wine):
    rca = ReverseClassificationAccuracy(LogisticRegression()).fit(*wine.labelled)
    actual = tabular_data.settings(wine.new, wine, STRONGEST, 2, 0)
    reverse, true = tabular_estimates.scores(rca, actual)
    for row, x in enumerate(actual.x):
        assert reverse[row] == rca.reverse_score(x)
        assert true[row] == rca.score(x, actual.y)
    assert true[0] > true[1]  # more noise, more errors


def test_a_known_map_is_fitted_to_all_pairs_of_the_mapping_part(wine):
    rca = ReverseClassificationAccuracy(LogisticRegression(), score_calibration="linear")
    rca.fit(*wine.labelled)
    known = tabular_estimates.Scores(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.3, 0.4, 0.5, 0.6]))
    asked = np.array([0.5, 1.0])
    assert np.allclose(tabular_estimates.mapped(rca, known, asked), [0.45, 0.7])


def test_a_kind_of_shift_is_mapped_by_the_others_alone(wine):
    rca = ReverseClassificationAccuracy(LogisticRegression(), score_calibration="linear")
    rca.fit(*wine.labelled)
    kinds = ["noise", "noise", "rotation", "rotation"]
    # noise: true = reverse; rotation: true = reverse / 2
    known = tabular_estimates.Scores(np.array([0.2, 0.8, 0.2, 0.8]), np.array([0.2, 0.8, 0.1, 0.4]))
    asked = np.array([0.4, 0.6, 0.4, 0.6])
    actual = tabular_estimates.mapped_unseen(rca, known, asked, kinds)
    assert np.allclose(actual, [0.2, 0.3, 0.4, 0.6])


@pytest.mark.slow
def test_columns_of_a_classifier_are_what_they_are_called(wine):
    base = LogisticRegression(max_iter=1000)
    mapping, new = (
        tabular_data.settings(part, wine, STRONGEST, 3, place)
        for place, part in enumerate((wine.mapping, wine.new))
    )
    columns = tabular_estimates.judge(base, None, wine.labelled, mapping, new, "sigmoid", 3)
    assert {len(column) for column in columns.values()} == {9}
    plain = ReverseClassificationAccuracy(base).fit(*wine.labelled)
    assert columns["raw"].tolist() == [plain.reverse_score(x) for x in new.x]
    accuracies = []
    for learnt, left in StratifiedKFold(3).split(*wine.labelled):
        model = clone(base).fit(wine.labelled.x[learnt], wine.labelled.y[learnt])
        accuracies.append(
            accuracy_score(wine.labelled.y[left], model.predict(wine.labelled.x[left]))
        )
    assert np.allclose(columns["cross_validation"], np.mean(accuracies))
    known = tabular_estimates.scores(plain, mapping)
    slope, offset = np.polyfit(known.reverse, known.true, 1)
    assert np.allclose(columns["linear"], np.clip(slope * columns["raw"] + offset, 0, 1))
    calibrated = ReverseClassificationAccuracy(base, calibration="sigmoid", calibration_folds=3)
    calibrated.fit(*wine.labelled)
    assert columns["calibrated"].tolist() == [calibrated.reverse_score(x) for x in new.x]
    assert columns["true_calibrated"].tolist() == [calibrated.score(x, new.y) for x in new.x]
    assert np.allclose(
        columns["confidence"], [calibrated.predict_proba(x).max(axis=1).mean() for x in new.x]
    )


@pytest.mark.slow
def test_labels_of_new_data_change_the_true_accuracies_only(wine):
    base = LogisticRegression(max_iter=1000)
    mapping, new = (
        tabular_data.settings(part, wine, STRONGEST, 2, place)
        for place, part in enumerate((wine.mapping, wine.new))
    )
    wrong = new._replace(y=(new.y + 1) % 3)
    one, other = (
        tabular_estimates.judge(base, None, wine.labelled, mapping, ours, "sigmoid", 2)
        for ours in (new, wrong)
    )
    changed = {name for name in one if not np.array_equal(one[name], other[name])}
    assert changed == {"true", "true_calibrated"}


# --- metrics ---


def test_correlations_are_scipys_and_0_for_a_constant():
    rng = np.random.default_rng(0)
    a, b = rng.random(20), rng.random(20)
    assert tabular_estimates.correlation(a, b) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert tabular_estimates.correlation(a, b, ranks=True) == pytest.approx(
        stats.spearmanr(a, b).statistic
    )
    assert tabular_estimates.correlation(a, -2 * a) == -1.0
    assert (
        tabular_estimates.correlation(np.full(20, 0.3), b)
        == tabular_estimates.correlation(a, np.ones(20))
        == 0.0
    )


def test_errors_are_taken_from_the_accuracy_of_the_same_classifier():
    columns = {
        "true": np.array([0.5, 0.9]),
        "raw": np.array([0.6, 0.7]),
        "true_calibrated": np.array([0.4, 0.8]),
        "calibrated": np.array([0.4, 0.7]),
        "confidence": np.array([0.9, 0.9]),
    }
    actual = tabular_estimates.quantities(columns)
    assert {key for key in actual if key.startswith("mae")} == {
        "mae_raw",
        "mae_calibrated",
        "mae_confidence",
    }
    assert actual["mae_raw"] == pytest.approx(0.15)
    assert actual["mae_calibrated"] == pytest.approx(0.05)
    assert actual["mae_confidence"] == pytest.approx(0.3)
    assert actual["correlation"] == actual["correlation_calibrated"] == 1.0
    assert actual["correlation_confidence"] == 0.0


# --- the step ---


def test_there_is_a_number_per_seed_for_each_metric(written):
    metrics = written[0]["metrics"]
    splits = ("pooled", "naive_bayes", "nearest_neighbours")
    assert set(metrics) == {f"{split}/{name}" for split in splits for name in QUANTITIES}
    assert {len(values) for values in metrics.values()} == {2}
    for key, values in metrics.items():
        low = -1 if "correlation" in key else 0
        assert all(low <= value <= 1 for value in values), key


def test_metrics_can_be_computed_again_from_the_picture(written):
    metrics, points = written[0]["metrics"], written[1]["points"]
    assert len(points) == 2 * 2 * 6
    assert set(points[0]) == {"classifier", "seed", "kind", "strength", "true", "raw", "linear"}
    for row, seed in enumerate((0, 1)):
        for split in ("pooled", "naive_bayes"):
            ours = [p for p in points if p["seed"] == seed and split in ("pooled", p["classifier"])]
            true, raw, linear = (
                np.array([p[key] for p in ours]) for key in ("true", "raw", "linear")
            )
            assert metrics[f"{split}/mae_raw"][row] == pytest.approx(abs(true - raw).mean())
            assert metrics[f"{split}/mae_linear"][row] == pytest.approx(abs(true - linear).mean())
            oracle = stats.pearsonr(true, raw).statistic
            assert metrics[f"{split}/correlation"][row] == pytest.approx(oracle)


def test_provenance_names_the_source_and_the_params(written):
    provenance = written[0]["provenance"]
    assert provenance["source"] == address.source_digest("pr12.rca.tabular")
    assert provenance["params"]["data"] == "wine"


def test_the_same_params_give_the_same_numbers(written, tmp_path):
    metrics, picture = run_step(tmp_path)
    assert metrics["metrics"] == written[0]["metrics"]
    assert picture == written[1]


def test_a_seed_gives_the_same_numbers_whatever_stands_beside_it(written, tmp_path):
    metrics, _ = run_step(tmp_path, seeds=[1], classifiers=["nearest_neighbours"])
    for name in QUANTITIES:
        key = f"nearest_neighbours/{name}"
        assert metrics["metrics"][key] == written[0]["metrics"][key][1:]


@pytest.mark.slow
def test_a_local_reverse_classifier_sees_the_noise_that_a_linear_one_does_not(tmp_path):
    change = {"data": "breast_cancer", "classifiers": ["logistic_regression"], "strengths": 4}
    actual = {}
    for reverse in ("same", "nearest_neighbours"):
        metrics, _ = run_step(tmp_path, reverse_classifier=reverse, **change)
        actual[reverse] = metrics["metrics"]["logistic_regression/correlation"]
    assert all(a < b for a, b in zip(actual["same"], actual["nearest_neighbours"], strict=True))


@pytest.mark.parametrize("data", DATA)
def test_every_classifier_runs_on_every_data_set(tmp_path, data):
    kinds = ["logistic_regression", "random_forest", "support_vectors"]
    change = {"examples": 100, "seeds": [0], "strengths": 1, "classifiers": kinds}
    metrics, picture = run_step(tmp_path, data=data, **change)
    assert len(picture["points"]) == 9
    assert len(metrics["metrics"]) == 4 * len(QUANTITIES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [0, 0]}, r"--params.seeds is \[0, 0\]; name each seed once"),
        ({"classifiers": ["naive_bayes", "naive_bayes"]}, "naive_bayes twice; name it once"),
        ({"seeds": []}, "--params.seeds is .*; it must be a list with at least one element"),
        ({"classifiers": ["oracle"]}, "must be one of logistic_regression, random_forest"),
        ({"reverse_classifier": "oracle"}, "must be one of same, logistic_regression"),
        ({"data": "iris"}, "must be one of digits, breast_cancer, wine"),
        ({"strengths": 0}, "must be a number of at least 1"),
        ({"missing": 1.5}, "must be a number from 0 to 1"),
        ({"noise": 0}, "must be a number above 0"),
        ({"folds": 1}, "must be a number from 2 to 20"),
        ({"examples": 50}, "50 examples of wine with labelled 0.7 leave a part too small"),
    ],
)
def test_bad_params_are_one_sentence_and_leave_no_file(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path, **{"labelled": 0.7} | change)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert re.search(message, errors[0])
    assert list(tmp_path.iterdir()) == []


def test_params_can_be_read_without_importing_the_step():
    params = make(tabular.Params, PARAMS, "rca.tabular")
    assert params.seeds == (0, 1)
    assert replace(params, trees=5).trees == 5


def test_the_step_runs_by_hand_and_never_imports_torch(tmp_path):
    code = (
        "import runpy, sys\n"
        "runpy.run_module('pr12.rca.tabular', run_name='__main__', alter_sys=True)\n"
        "assert 'torch' not in sys.modules"
    )
    small = PARAMS | {"seeds": [0], "strengths": 1}
    done = subprocess.run(
        [sys.executable, "-c", code, *line(tmp_path, small)],
        env=os.environ | {"PYTHONPATH": str(address.SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "seed 0, nearest_neighbours: 3 settings" in done.stderr
    assert (tmp_path / "metrics.json").is_file()
