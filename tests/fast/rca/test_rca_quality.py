import json

import numpy as np
import pytest

import rca_chain
from pr12.rca import quality
from pr12.rca.data import scan_files, score_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import measures
from pr12.workflow import files

DICE = measures.MEASURES.index("dice")


# --- a summary of one seed ---


def test_a_summary_by_hand():
    real = np.zeros((2, 3, 1, 4))
    real[:, 0, 0, DICE] = 0.2, 0.4
    real[:, 1, 0, DICE] = 0.7, 0.9
    real[:, 2, 0, DICE] = 0.6, 1.0
    actual = quality.summary(real, ("forest_5", "forest_16", "unet_150"))
    assert actual == pytest.approx(
        {
            "pooled/dice": 3.8 / 6,
            "pooled/dice_percentile_10": 0.3,
            "pooled/dice_percentile_90": 0.95,
            "pooled/failures": 0.5,  # 0.7 has not failed
            "forest_1/dice": 0.3,
            "forest_2/dice": 0.8,
            "unet_1/dice": 0.8,
        }
    )


def test_segmenters_are_numbered_by_rank_within_their_kind():
    real = np.zeros((1, 6, 1, 4))
    real[0, :, 0, DICE] = np.arange(6) / 10
    actual = quality.summary(real, rca_chain.SEGMENTERS)
    assert {key: value for key, value in actual.items() if not key.startswith("pooled")} == {
        "forest_1/dice": 0.0,
        "forest_2/dice": 0.1,
        "unet_1/dice": 0.2,
        "unet_2/dice": pytest.approx(0.3),
        "atlases_1/dice": 0.4,
        "atlases_2/dice": 0.5,
    }


# --- what the figures show ---


def test_the_slice_of_a_volume_with_most_labels_is_shown():
    truth = np.zeros((4, 3, 5), np.uint8)
    truth[1, 0, 0], truth[2, :, 1:3] = 1, 2
    image = np.linspace(0, 1, truth.size, dtype=np.float32).reshape(truth.shape)
    maps = np.random.default_rng(0).integers(0, 3, (2, *truth.shape), np.uint8)
    shown = quality.example(Scan("a", image, truth), maps)
    assert shown["truth"] == truth[2].tolist()
    assert shown["segmentations"] == maps[:, 2].tolist()
    assert shown["image"] == np.rint(255 * image[2].astype(float)).astype(int).tolist()


def test_a_slice_is_shown_as_it_is_from_0_to_255():
    image = np.array([[0, 0.5, 1], [0.1, 0.998, 0.001]], np.float32)
    shown = quality.example(Scan("a", image, np.ones((2, 3), np.uint8)), np.ones((1, 2, 3)))
    assert shown["image"] == [[0, 128, 255], [26, 254, 0]]
    json.dumps(quality.example(Scan("a", image, np.ones((2, 3), np.uint8)), np.ones((1, 2, 3))))


def test_dice_is_listed_by_segmenter():
    dice = np.arange(12).reshape(2, 3, 2) / 12
    shown = quality.picture(dice, [], [])
    assert shown["examples"] == []
    for segmenter, values in enumerate(shown["dice"]):
        np.testing.assert_allclose(values, dice[:, segmenter].ravel(), atol=5.1e-5)


# --- the step ---


def given(to, **change):
    folder = rca_chain.chain()
    return {
        **rca_chain.splits(folder, "calibration", "test"),
        "segmentations": folder / "segmentations",
        **rca_chain.scored(to),
    } | {name: folder / file for name, file in change.items()}


def test_each_segmentation_is_compared_with_its_own_truth():
    folder = rca_chain.chain()
    actual, said = score_files.read_scores(folder / "real_scores")
    names = score_files.read_names(said)
    assert names["structures"] == ["liver", "spleen", "kidneys"]
    assert tuple(names["segmenters"]) == rca_chain.SEGMENTERS
    segmentations, _ = scan_files.read_segmentations(folder / "segmentations")
    for split in ("calibration", "test"):
        by_seed = scan_files.read_scans(rca_chain.splits(folder)[split]).by_seed
        for seed, scans in by_seed.items():
            ours = actual[seed, split]
            assert ours.shape == (len(scans), len(rca_chain.SEGMENTERS), 3, 4)
            assert sorted(names[f"{seed}/{split}"]) == sorted(scan.name for scan in scans)
            by_name = {scan.name: scan for scan in scans}
            for index, name in enumerate(names[f"{seed}/{split}"]):
                scan = by_name[name]
                maps = segmentations[seed, split, scan.name]
                expected = measures.agreement(maps, scan.labels, 3)
                np.testing.assert_array_equal(ours[index], expected)


def test_metrics_are_of_test_subjects_one_value_per_seed():
    folder = rca_chain.chain()
    actual, _ = score_files.read_scores(folder / "real_scores")
    metrics = files.read_json(folder / "quality.json")["metrics"]
    for index, seed in enumerate((0, 3)):
        expected = quality.summary(actual[seed, "test"], rca_chain.SEGMENTERS)
        assert {key: values[index] for key, values in metrics.items()} == expected
    for kind in ("forest", "unet", "atlases"):
        weak, strong = (np.mean(metrics[f"{kind}_{rank}/dice"]) for rank in (1, 2))
        assert weak < strong


def test_the_picture_shows_the_first_test_scans_and_every_dice():
    folder = rca_chain.chain()
    shown = files.read_json(folder / "quality_picture.json")
    assert shown["structures"] == ["liver", "spleen", "kidneys"]
    assert tuple(shown["segmenters"]) == rca_chain.SEGMENTERS
    assert [len(values) for values in shown["dice"]] == [2 * 3 * 3] * 6
    scans = scan_files.read_scans(folder / "test.safetensors").by_seed[0]
    segmentations, _ = scan_files.read_segmentations(folder / "segmentations")
    scans.sort(key=lambda scan: scan.name)
    assert len(shown["examples"]) == min(quality.EXAMPLES, len(scans)) == 3
    for scan, ours in zip(scans, shown["examples"], strict=True):
        assert ours["truth"] == scan.labels.tolist()
        assert ours["segmentations"] == segmentations[0, "test", scan.name].tolist()


def test_the_same_bytes_each_time(tmp_path):
    rca_chain.run("quality", {}, **given(tmp_path))
    first, again = rca_chain.scored(rca_chain.chain()), rca_chain.scored(tmp_path)
    for name in ("scores", "picture"):
        assert first[name].read_bytes() == again[name].read_bytes()
    both = (files.read_json(paths["metrics"]) for paths in (first, again))
    assert next(both)["metrics"] == next(both)["metrics"]


@pytest.mark.parametrize(
    ("params", "change", "message"),
    [
        ({"threshold": 0.7}, {}, "threshold is unknown"),
        ({}, {"segmentations": "test.safetensors"}, "holds no segmentations; delete it"),
        ({}, {"test": "segmentations"}, "segmentations holds no scans; delete it"),
        ({}, {"calibration": "quality.json"}, "quality.json is not a safetensors file"),
        ({}, {"calibration": "gone"}, "gone does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, params, change, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("quality", params, **given(tmp_path, **change))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []
