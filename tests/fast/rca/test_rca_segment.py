import numpy as np
import pytest
import torch

import rca_chain
from pr12.core import tensor_files
from pr12.rca import segment, train_forest
from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import features, forest, unet, voting
from pr12.rca.model.registration import propagate
from pr12.workflow.errors import UserError


@pytest.fixture(scope="module")
def splits():
    return {
        name: scan_files.read_scans(path).by_seed
        for name, path in rca_chain.splits(rca_chain.chain()).items()
    }


def made():
    return scan_files.read_segmentations(rca_chain.chain() / "segmentations")


# --- by forest ---


@pytest.mark.slow
def test_a_forest_labels_each_voxel_as_scikit_learn_would(splits):
    x, y = train_forest.sampled(splits["train"][0], 400, seed=0)
    grown = forest.grow(x, y, 9, 6, seed=0)
    scan = splits["test"][0][0]
    actual = segment.by_forest(forest.to_arrays(grown, 4), scan)
    assert (actual.dtype, actual.shape) == (np.uint8, scan.image.shape)
    sure = np.sort(grown.predict_proba(features.voxel_features(scan.image)), axis=1)
    sure = (sure[:, -1] - sure[:, -2] > 1e-5).reshape(actual.shape)
    expected = grown.predict(features.voxel_features(scan.image)).reshape(actual.shape)
    np.testing.assert_array_equal(actual[sure], expected[sure])
    assert sure.mean() > 0.9


def test_labels_are_not_looked_at(splits):
    arrays, _ = scan_files.read_arrays(rca_chain.chain() / "forest_model")
    ours = {k.removeprefix("0/8/"): a for k, a in arrays.items() if k.startswith("0/8/")}
    scan = splits["test"][0][0]
    blind = scan._replace(labels=np.zeros_like(scan.labels))
    np.testing.assert_array_equal(segment.by_forest(ours, scan), segment.by_forest(ours, blind))


# --- by vote ---


def test_most_votes_win_and_the_smaller_label_wins_a_tie():
    votes = np.array(
        [
            [0, 1, 2, 3, 0, 0],
            [0, 1, 2, 1, 3, 1],
            [3, 2, 2, 2, 3, 2],
            [3, 2, 1, 0, 3, 3],
        ],
        np.uint8,
    )
    actual = voting.majority(votes, 3)
    assert actual.dtype == np.uint8
    assert actual.tolist() == [0, 1, 2, 0, 3, 0]


def test_votes_are_counted_voxel_by_voxel():
    votes = np.random.default_rng(0).integers(0, 4, (5, 3, 4, 2), np.uint8)
    actual = voting.majority(votes, 3)
    for place in np.ndindex(3, 4, 2):
        assert actual[place] == np.bincount(votes[(slice(None), *place)], minlength=4).argmax()


def test_one_atlas_votes_alone_and_order_does_not_count_for_all():
    votes = np.random.default_rng(0).integers(0, 3, (4, 6), np.uint8)
    np.testing.assert_array_equal(voting.majority(votes[:1], 2), votes[0])
    np.testing.assert_array_equal(voting.majority(votes, 2), voting.majority(votes[::-1], 2))


# --- by atlases ---


def atlases(count=4):
    stream = np.random.default_rng(0)
    scans = [
        Scan(f"a{i}", stream.random((3, 4), np.float32), stream.integers(0, 3, (3, 4), np.uint8))
        for i in range(count)
    ]
    actual = {
        ("train", scan.name, effort): stream.integers(0, 13, (5, 2)).astype(np.uint16)
        for scan in scans
        for effort in (0, 1)
    }
    return scans, actual


@pytest.mark.parametrize("effort", [0, 1])
@pytest.mark.parametrize("number", [1, 3, 4])
def test_the_first_atlases_of_an_effort_vote(number, effort):
    scans, actual = atlases()
    votes = [
        propagate(scan.labels[None], actual["train", scan.name, effort])[0]
        for scan in scans[:number]
    ]
    expected = voting.majority(np.stack(votes), 2)
    np.testing.assert_array_equal(segment.by_atlases(actual, scans, number, effort, 2), expected)
    assert expected.shape == (5, 2)


def test_atlases_that_were_not_registered_have_no_vote():
    scans, actual = atlases()
    del actual["train", "a0", 1]
    rest = segment.by_atlases(actual, scans[1:], 2, 1, 2)
    np.testing.assert_array_equal(segment.by_atlases(actual, scans, 2, 1, 2), rest)
    other = {("reference", *key[1:]): ours for key, ours in actual.items()}
    with pytest.raises(UserError, match="asks for 1 atlases with effort 0, and 0 were registered"):
        segment.by_atlases(other, scans, 1, 0, 2)


def test_more_atlases_than_were_registered_are_refused():
    scans, actual = atlases()
    with pytest.raises(UserError) as caught:
        segment.by_atlases(actual, scans, 5, 1, 2)
    assert str(caught.value) == (
        "rca.segment.atlases asks for 5 atlases with effort 1, and 4 were registered; lower it, "
        "raise rca.scans.train, or give rca.register as many efforts"
    )


# --- the step ---


def test_every_scan_of_both_splits_has_a_map_by_every_segmenter(splits):
    actual, names = made()
    assert names == rca_chain.SEGMENTERS
    assert sorted(actual) == sorted(
        (seed, split, scan.name)
        for split in ("calibration", "test")
        for seed, ours in splits[split].items()
        for scan in ours
    )
    for ours in actual.values():
        assert (ours.shape, ours.dtype) == ((len(names), 32, 32), np.uint8)
        assert ours.max() <= 3


def test_each_map_is_that_of_its_segmenter_and_seed(splits):
    actual, names = made()
    folder = rca_chain.chain()
    arrays, _ = scan_files.read_arrays(folder / "forest_model")
    tensors = tensor_files.read_tensors(folder / "unet_model")
    pairs = scan_files.read_correspondences(folder / "multi_atlas" / "correspondences")
    seed = 3
    for scan in splits["test"][seed]:
        ours = dict(zip(names, actual[seed, "test", scan.name], strict=True))
        for depth in (2, 8):
            start = f"{seed}/{depth}/"
            grown = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
            np.testing.assert_array_equal(ours[f"forest_{depth}"], segment.by_forest(grown, scan))
        for update in (1, 12):
            start = f"{seed}/{update}/"
            state = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
            (labels,) = unet.segment(unet.rebuilt(state), [scan.image], torch.device("cpu"))
            np.testing.assert_array_equal(ours[f"unet_{update}"], labels)
        for effort, number in ((0, 1), (1, 2)):
            labels = segment.by_atlases(
                pairs[seed, "test", scan.name], splits["train"][seed], number, effort, 3
            )
            np.testing.assert_array_equal(ours[f"atlases_{effort}_{number}"], labels)


def given(to, **change):
    folder = rca_chain.chain()
    return {
        **rca_chain.splits(folder, "train", "calibration", "test"),
        "forest": folder / "forest_model",
        "unet": folder / "unet_model",
        "correspondences": folder / "multi_atlas" / "correspondences",
        "segmentations": to / "segmentations",
        **change,
    }


def test_the_same_bytes_each_time(tmp_path):
    rca_chain.run("segment", rca_chain.SEGMENT, **given(tmp_path))
    written = (rca_chain.chain() / "segmentations").read_bytes()
    assert (tmp_path / "segmentations").read_bytes() == written


@pytest.mark.parametrize(
    ("params", "wrong", "message"),
    [
        ({"atlases": [1, 3]}, {}, "asks for 3 atlases with effort 1, and 2 were registered"),
        ({"atlases": [1, 1, 1]}, {}, "asks for 1 atlases with effort 2, and 0 were registered"),
        ({"atlases": []}, {}, "atlases is []; it must be a list with at least one element"),
        ({}, {"test": "segmentations"}, "segmentations holds no scans; delete it"),
        ({}, {"train": "history.json"}, "history.json is not a safetensors file; delete it"),
        ({}, {"unet": "history.json"}, "history.json is not a safetensors file; delete it"),
        ({}, {"forest": "history.json"}, "history.json is not a safetensors file; delete it"),
        ({}, {"correspondences": "forest_model"}, "forest_model holds no correspondences; "),
        ({}, {"forest": "gone"}, "gone does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, params, wrong, message):
    wrong = {name: rca_chain.chain() / file for name, file in wrong.items()}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("segment", rca_chain.SEGMENT | params, **given(tmp_path, **wrong))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []
