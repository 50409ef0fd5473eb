import dataclasses
import itertools
import json

import numpy as np
import pytest

import rca_chain
from pr12.rca import evaluate
from pr12.rca.data import phantom, scan_files, score_files
from pr12.rca.data.scan_files import Scan, Scans
from pr12.rca.model import estimates, parts
from pr12.rca.model.measures import MEASURES
from pr12.workflow import files
from pr12.workflow.errors import UserError

SEGMENTERS = ("unet_8", "unet_30", "unet_150")
PARAMS = evaluate.Params("atlas", "max", None, None, 0.7, 0.1)
NAMES = ("liver", "spleen")
DICE = MEASURES.index("dice")


def change(**values):
    return dataclasses.replace(PARAMS, **values)


def simulated(seed=0, subjects=6, references=5):
    """Give real scores and, on references, what is a little lower and noisy."""
    stream = np.random.default_rng(seed)
    real = stream.random((subjects, 3, 2, 4)).astype(np.float32)
    noise = 0.2 * stream.random((subjects, 3, references, 2, 4))
    return real, (real[:, :, None] - noise).astype(np.float32)


# --- one seed ---


def test_every_structure_and_all_together_are_judged_by_the_estimate():
    real, scores = simulated()
    for estimator in ("max", "mean", "top3"):
        actual = evaluate.judged(real, scores, change(estimator=estimator), NAMES, SEGMENTERS)
        predicted = estimates.estimate(scores, estimator)
        expected = estimates.agreement_metrics(predicted, real, "pooled")
        for index, name in enumerate(NAMES):
            ours = predicted[:, :, index], real[:, :, index]
            expected |= estimates.agreement_metrics(*ours, name)
        expected |= estimates.failure_metrics(predicted[..., DICE], real[..., DICE], 0.7, 0.1)
        for index, name in enumerate(("unet_1", "unet_2", "unet_3")):
            ours = predicted[:, index, :, DICE], real[:, index, :, DICE]
            expected |= estimates.dice_metrics(*ours, name)
        ours = predicted[:, 1:, :, DICE], real[:, 1:, :, DICE]
        expected |= estimates.dice_metrics(*ours, "usable")
        failures = estimates.failure_metrics(*ours, 0.7, 0.1)
        expected |= {key.replace("failure", "usable"): value for key, value in failures.items()}
        rest = {key: value for key, value in actual.items() if not key.startswith("references_")}
        assert rest == expected


def test_within_a_segmenter_nothing_is_known_of_the_others():
    real, scores = simulated()
    real[:, 0] /= 10  # one that is much worse: all pooled correlate more than any alone
    scores[:, 0] = real[:, 0, None] + 0.01
    scores[:, 1:] = 0.5 + 0.1 * np.random.default_rng(1).random(scores[:, 1:].shape)
    actual = evaluate.judged(real, scores, PARAMS, NAMES, SEGMENTERS)
    assert actual["pooled/correlation_dice"] > 0.5
    assert abs(actual["unet_3/correlation_dice"]) < 0.5
    assert actual["unet_1/correlation_dice"] == pytest.approx(1, abs=1e-6)


def test_what_needs_no_references_is_not_judged_by_their_number():
    real, scores = simulated()
    scores[:, 1, 0] = np.nan  # a U-Net is not compared with itself
    actual = evaluate.judged(real, scores, change(reverse="agreement"), NAMES, SEGMENTERS)
    assert not [key for key in actual if key.startswith("references_")]
    assert np.isfinite(list(actual.values())).all()


def test_structures_are_not_mixed_up():
    real, scores = simulated()
    scores[:, :, :, 1] = real[:, :, None, 1]  # the spleen is predicted without error
    actual = evaluate.judged(real, scores, PARAMS, NAMES, SEGMENTERS)
    assert actual["spleen/mae_dice"] == 0
    assert actual["spleen/correlation_dice"] == 1
    assert actual["liver/mae_dice"] > 0.01
    between = (actual["liver/mae_dice"] + actual["spleen/mae_dice"]) / 2
    assert actual["pooled/mae_dice"] == pytest.approx(between)


@pytest.mark.parametrize(
    ("references", "numbers"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5]), (8, [1, 2, 4, 8])]
)
def test_dice_is_judged_by_the_number_of_references_on_average_over_subsets(references, numbers):
    real, scores = simulated(references=references)
    actual = evaluate.judged(real, scores, PARAMS, NAMES, SEGMENTERS)
    dice = real[..., DICE]
    assert sorted(key for key in actual if key.startswith("references_")) == sorted(
        f"references_{number}/{metric}" for number in numbers for metric in
        ("mae_dice", "bias_dice", "correlation_dice", "correlation_rank_dice")
    )  # fmt: skip
    for number in numbers:
        every = [
            scores[..., DICE][:, :, list(subset)].max(axis=2)
            for subset in itertools.combinations(range(references), number)
        ]
        error = np.mean([np.abs(fewer - dice).mean() for fewer in every])
        assert actual[f"references_{number}/mae_dice"] == pytest.approx(error, abs=1e-6)
        bias = np.mean([(fewer - dice).mean() for fewer in every])
        assert actual[f"references_{number}/bias_dice"] == pytest.approx(bias, abs=1e-6)
        pearson = np.mean([np.corrcoef(fewer.ravel(), dice.ravel())[0, 1] for fewer in every])
        assert actual[f"references_{number}/correlation_dice"] == pytest.approx(pearson, abs=1e-6)


def test_many_subsets_are_a_sample_that_is_the_same_each_time():
    chosen = parts.subsets(12, 4)
    assert len(chosen) == 100
    assert all(len(set(subset)) == 4 for subset in chosen)
    assert chosen == parts.subsets(12, 4)
    assert {reference for subset in chosen for reference in subset} == set(range(12))


def test_a_perfect_prediction_and_one_that_tells_nothing():
    real, _ = simulated()
    actual = evaluate.judged(real, real[:, :, None], PARAMS, NAMES, SEGMENTERS)
    assert actual["pooled/mae_dice"] == 0
    assert actual["pooled/correlation_dice"] == actual["failure/auc"] == 1
    assert actual["failure/sensitivity"] == actual["failure/sensitivity_at_rate"] == 1
    flat = np.full_like(real[:, :, None], 0.5)
    actual = evaluate.judged(real, flat, PARAMS, NAMES, SEGMENTERS)
    assert actual["pooled/correlation_dice"] == 0
    assert actual["failure/auc"] == 0.5
    assert actual["failure/false_positive_rate"] == 1


def test_distances_of_nothing_are_left_out_and_counted():
    real, scores = simulated()
    real[0, 0, 0, 2:] = scores[1, 1, :, 0, 2:] = np.nan
    scores[2, 2, :2, 0, 2:] = np.nan  # some references still have one
    actual = evaluate.judged(real, scores, PARAMS, NAMES, SEGMENTERS)
    assert actual["liver/undefined_surface"] == pytest.approx(2 / 18)
    assert actual["pooled/undefined_hausdorff"] == pytest.approx(2 / 36)
    assert actual["spleen/undefined_surface"] == 0
    assert all(np.isfinite(value) for value in actual.values())


# --- the points of the scatter plots ---


def test_every_point_is_shown_with_its_segmenter_and_structure():
    real, scores = simulated(subjects=2)
    predicted = estimates.estimate(scores, "max")
    predicted[1, 2, 0, 3] = np.nan
    shown = evaluate.picture(real, predicted)
    points = list(np.ndindex(2, 3, 2))
    assert shown["segmenter"] == [point[1] for point in points]
    assert shown["structure"] == [point[2] for point in points]
    for index, measure in enumerate(MEASURES):
        for name, values in (("real", real), ("predicted", predicted)):
            for value, point in zip(shown[name][measure], points, strict=True):
                if np.isnan(values[(*point, index)]):
                    assert value is None
                else:
                    assert value == pytest.approx(values[(*point, index)], abs=5.1e-5)
    assert shown["predicted"]["hausdorff"].count(None) == 1
    json.dumps(shown, allow_nan=False)


# --- pairs of real scores and those on references ---


def by_seed(seeds=(0, 3), split="test", **sizes):
    """Give real scores, scores on references and the names of the rows of both."""
    pairs = {seed: simulated(seed, **sizes) for seed in seeds}
    real = {(seed, split): ours[0] for seed, ours in pairs.items()}
    scores = {(seed, split): ours[1] for seed, ours in pairs.items()}
    names = {
        f"{seed}/{split}": [f"s{index}" for index in range(len(ours))]
        for (seed, _), ours in real.items()
    }
    return real, scores, (names, dict(names))


def written(folder, real, scores):
    """Write both; give the arguments that `rca_chain.evaluate` wants."""
    rows = {key: [f"s{index}" for index in range(len(ours))] for key, ours in real.items()}
    said = score_files.metadata(rows, structures=NAMES, segmenters="abc")
    score_files.write_scores(folder / "real_scores", real, said)
    score_files.write_scores(folder / "scores", scores, score_files.metadata(rows))
    return folder, rca_chain.EVALUATE, "scores", folder / "made"


def test_seeds_are_paired_and_other_splits_left_out():
    real, scores, said = by_seed((3, 0))
    extra = {(0, "calibration"): np.zeros((1, 3, 2, 4))}
    (first, second) = evaluate.paired(real | extra, scores | extra, said, PARAMS)
    for seed, (ours, on_references) in ((0, first), (3, second)):
        np.testing.assert_array_equal(ours, real[seed, "test"])
        np.testing.assert_array_equal(on_references, scores[seed, "test"])


def test_the_first_references_and_subjects_are_taken():
    real, scores, said = by_seed()
    pairs = evaluate.paired(real, scores, said, change(references=2, subjects=4))
    for seed, (ours, on_references) in zip((0, 3), pairs, strict=True):
        np.testing.assert_array_equal(ours, real[seed, "test"][:4])
        np.testing.assert_array_equal(on_references, scores[seed, "test"][:4, :, :2])


@pytest.mark.parametrize("count", [None, 2])
def test_rows_are_paired_by_name_and_not_by_place(count):
    """Fewer may have been scored than segmented, and in another order."""
    real, scores, (said, _) = by_seed()
    order = [4, 1, 5]
    whose = {f"{seed}/test": [f"s{i}" for i in order] for seed in (0, 3)}
    scores = {key: ours[order] for key, ours in scores.items()}
    pairs = evaluate.paired(real, scores, (said, whose), change(subjects=count))
    for seed, (ours, on_references) in zip((0, 3), pairs, strict=True):
        np.testing.assert_array_equal(ours, real[seed, "test"][order[:count]])
        np.testing.assert_array_equal(on_references, scores[seed, "test"][:count])


@pytest.mark.parametrize(
    ("names", "message"),
    [(["s0", "x", "y"], "x, y"), ([], "none is named"), (list("abcd"), "a, b, c")],
)
def test_subjects_without_a_real_score_are_told(names, message):
    real, scores, (said, whose) = by_seed()
    whose["3/test"] = names
    with pytest.raises(UserError) as caught:
        evaluate.paired(real, scores, (said, whose), PARAMS)
    assert str(caught.value) == (
        f"real and reverse scores of seed 3 are not of the same test subjects ({message}); "
        "make both again"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"references": 6}, "0 subjects and 6 references are asked, 6 and 5 were scored; lower"),
        ({"subjects": 7}, "7 subjects and 0 references are asked, 6 and 5 were scored; lower"),
    ],
)
def test_more_than_was_scored_cannot_be_asked_for(values, message):
    with pytest.raises(UserError, match=message):
        evaluate.paired(*by_seed(), change(**values))
    same = {"references": 5, "subjects": 6}
    assert len(evaluate.paired(*by_seed(), change(**same))) == 2


def test_scores_of_other_seeds_are_refused():
    real, scores, said = by_seed()
    for other in (by_seed((0,))[1], by_seed((0, 4))[1], by_seed(split="calibration")[1]):
        with pytest.raises(UserError, match="real and reverse scores are of other seeds; make b"):
            evaluate.paired(real, other, said, PARAMS)
    with pytest.raises(UserError, match="other seeds"):
        evaluate.paired(by_seed((0,))[0], scores, said, PARAMS)


def test_names_come_back_as_they_were_told_in_one_text_whatever_they_hold():
    rows = {(3, "test"): ["b", "a b"], (0, "calibration"): []}
    written = score_files.metadata(rows, structures=("left kidney", "größe"))
    assert list(written) == ["names"]  # several would be written in any order
    assert score_files.read_names(written) == {
        "3/test": ["b", "a b"],
        "0/calibration": [],
        "structures": ["left kidney", "größe"],
    }
    assert (
        score_files.metadata(dict(reversed(rows.items())), structures=("left kidney", "größe"))
        == written
    )


@pytest.mark.parametrize("metadata", [{}, {"structures": "liver"}, {"names": "{"}])
def test_scores_that_do_not_say_whose_they_are_are_refused(tmp_path, capsys, metadata):
    with pytest.raises(UserError) as caught:
        score_files.read_names(metadata)
    assert str(caught.value) == "the scores do not say whose they are; make them again"
    real, scores, _ = by_seed()
    line = written(tmp_path, real, scores)
    score_files.write_scores(tmp_path / "scores", scores, metadata)
    with pytest.raises(SystemExit, match="2"):
        rca_chain.evaluate(*line)
    assert "error: the scores do not say whose they are" in capsys.readouterr().err


# --- the step ---


def test_metrics_have_one_finite_value_per_seed_and_the_picture_every_point():
    folder = rca_chain.chain()
    real, _ = score_files.read_scores(folder / "real_scores")
    for name, count in (("atlas", 3), ("atlas_to_test", 3), ("forest", 2), ("cnn", 1)):
        metrics = files.read_json(folder / name / "metrics.json")["metrics"]
        assert {len(values) for values in metrics.values()} == {2}
        assert np.isfinite([value for values in metrics.values() for value in values]).all()
        scores, _ = score_files.read_scores(folder / f"{name}_scores")
        for index, seed in enumerate((0, 3)):
            expected = evaluate.judged(
                real[seed, "test"][:count],
                scores[seed, "test"],
                change(reverse=name),
                ("liver", "spleen", "kidneys"),
                rca_chain.SEGMENTERS,
            )
            for key, values in metrics.items():
                assert values[index] == pytest.approx(expected[key])
        shown = files.read_json(folder / name / "picture.json")
        assert shown["structures"] == ["liver", "spleen", "kidneys"]
        assert tuple(shown["segmenters"]) == rca_chain.SEGMENTERS
        points = 2 * count * len(rca_chain.SEGMENTERS) * 3
        assert {len(shown[key]) for key in ("segmenter", "structure")} == {points}
        lists = [ours for key in ("real", "predicted") for ours in shown[key].values()]
        assert {len(ours) for ours in lists} == {points}


def test_the_provenance_names_inputs_and_libraries():
    folder = rca_chain.chain()
    provenance = files.read_json(folder / "atlas" / "metrics.json")["provenance"]
    assert set(provenance["inputs"]) == {"real", "scores"}
    for name, file in (("real", "real_scores"), ("scores", "atlas_scores")):
        assert provenance["inputs"][name]["sha256"] == files.sha256(folder / file)
    assert provenance["params"] == rca_chain.EVALUATE
    assert {"monai", "SimpleITK", "numpy"} <= set(provenance["packages"])


def test_the_same_numbers_and_picture_each_time(tmp_path):
    again = rca_chain.evaluate(rca_chain.chain(), rca_chain.EVALUATE, "atlas_scores", tmp_path)
    first = rca_chain.chain() / "atlas"
    assert again["picture"].read_bytes() == (first / "picture.json").read_bytes()
    both = (files.read_json(path) for path in (again["metrics"], first / "metrics.json"))
    assert next(both)["metrics"] == next(both)["metrics"]


def test_a_metric_that_one_seed_lacks_is_left_out(tmp_path):
    real, scores, _ = by_seed()
    real[0, "test"][..., DICE] = 0.9  # nothing has failed there
    made = rca_chain.evaluate(*written(tmp_path, real, scores))
    metrics = files.read_json(made["metrics"])["metrics"]
    assert metrics["failure/share"][0] == 0
    assert "failure/auc" not in metrics
    assert len(metrics["failure/accuracy"]) == 2


def test_subjects_are_paired_with_themselves_whatever_their_names(tmp_path):
    """One subject is segmented well and one badly; the one that is drawn first is named last."""

    def scans(number, names):
        return [Scan(n, *phantom.slice_of((9, number, i), 32, 0.5)) for i, n in enumerate(names)]

    splits = {
        "train": scans(0, ["a"]),
        "reference": scans(1, ["a", "b"]),
        "calibration": scans(2, ["a"]),
        "test": scans(3, ["test-2", "test-10"]),
    }
    for name, ours in splits.items():
        written = Scans(phantom.STRUCTURES, {0: ours})
        scan_files.write_scans(rca_chain.splits(tmp_path)[name], written)
    good, bad = splits["test"]
    maps = {
        (0, "test", good.name): good.labels[None],
        (0, "test", bad.name): np.zeros_like(bad.labels)[None],
        (0, "calibration", "a"): splits["calibration"][0].labels[None],
    }
    scan_files.write_segmentations(tmp_path / "segmentations", maps, ["one"])
    made = {"segmentations": tmp_path / "segmentations"}
    judged = rca_chain.splits(tmp_path, "calibration", "test")
    rca_chain.run("quality", {}, **judged, **made, **rca_chain.scored(tmp_path))
    rca_chain.run(
        "reverse_forest",
        {"trees": 3, "depth": 8, "subjects": None},
        **rca_chain.splits(tmp_path, "test", "reference"),
        **made,
        scores=tmp_path / "forest_scores",
    )
    params = rca_chain.EVALUATE | {"reverse": "forest"}
    actual = rca_chain.evaluate(tmp_path, params, "forest_scores", tmp_path / "judged")
    metrics = files.read_json(actual["metrics"])["metrics"]
    assert metrics["pooled/correlation_dice"][0] > 0.5
    assert metrics["failure/auc"] == [1.0]


@pytest.mark.parametrize(
    ("params", "scores", "message"),
    [
        ({"references": 4}, "atlas_scores", "0 subjects and 4 references are asked, 3 and 3 were "),
        ({"subjects": 2}, "cnn_scores", "2 subjects and 0 references are asked, 1 and 3 were "),
        ({"reverse": "net"}, "atlas_scores", "must be one of atlas, atlas_to_test, forest, cnn"),
        ({"estimator": "min"}, "atlas_scores", "must be one of max, mean, top3"),
        ({"references": 0}, "atlas_scores", "references is 0; it must be a number of at least 1"),
        ({"subjects": 0}, "atlas_scores", "subjects is 0; it must be a number of at least 1"),
        ({"threshold": 1.1}, "atlas_scores", "threshold is 1.1; it must be a number from 0 to 1"),
        ({"false_positive_rate": -0.1}, "atlas_scores", "it must be a number from 0 to 1"),
        ({}, "test.safetensors", "test.safetensors holds no scores; delete it and run again"),
        ({}, "atlas/metrics.json", "metrics.json is not a safetensors file; delete it and run"),
        ({}, "gone", "gone does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, params, scores, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.evaluate(
            rca_chain.chain(), rca_chain.EVALUATE | params, scores, tmp_path / "made"
        )
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


def test_a_score_of_nothing_in_all_seeds_is_still_a_file(tmp_path):
    """Every segmentation empty: no distance is defined, and JSON holds no NaN."""
    real, scores, _ = by_seed()
    for ours in (*real.values(), *scores.values()):
        ours[..., :2], ours[..., 2:] = 0, np.nan
    made = rca_chain.evaluate(*written(tmp_path, real, scores))
    metrics = files.read_json(made["metrics"])["metrics"]
    assert metrics["failure/share"] == [1, 1]
    assert metrics["pooled/undefined_hausdorff"] == [1, 1]
    assert set(files.read_json(made["picture"])["real"]["hausdorff"]) == {None}
