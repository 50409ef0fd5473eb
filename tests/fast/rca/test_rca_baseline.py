import numpy as np
import pytest

import rca_chain
from pr12.rca import baseline, reverse_atlas
from pr12.rca.data import scan_files, score_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import measures
from pr12.workflow.errors import UserError


@pytest.fixture(scope="module")
def folder():
    return rca_chain.chain()


def made(folder, tmp_path, kind, **paths):
    rca_chain.run("baseline", {"kind": kind}, scores=tmp_path / "scores", **paths)
    scores, texts = score_files.read_scores(tmp_path / "scores")
    return scores, score_files.read_names(texts)


def test_a_known_segmenter_is_worth_its_mean_on_calibration_scans(folder, tmp_path):
    scores, names = made(folder, tmp_path, "known_segmenter", real=folder / "real_scores")
    real, texts = score_files.read_scores(folder / "real_scores")
    known = score_files.read_names(texts)
    assert {seed for seed, _ in scores} == {seed for seed, split in real if split == "test"}
    for (seed, split), values in scores.items():
        assert split == "test"
        assert names[f"{seed}/test"] == known[f"{seed}/test"]
        expected = real[seed, "calibration"][..., 0].mean(axis=0)
        np.testing.assert_allclose(values[:, :, 0, :, 0], expected[None].repeat(len(values), 0))


def test_distances_that_are_not_defined_do_not_spoil_the_mean():
    real = np.array([[1.0, np.nan], [3.0, np.nan]]).reshape(2, 1, 1, 2)
    assert baseline.known(real, 1).ravel().tolist() == pytest.approx([2, np.nan], nan_ok=True)


def test_agreement_is_with_the_other_nets_alone(folder, tmp_path):
    scores, _ = made(
        folder,
        tmp_path,
        "agreement",
        test=folder / "test.safetensors",
        segmentations=folder / "segmentations",
    )
    maps, segmenters = scan_files.read_segmentations(folder / "segmentations")
    tests = scan_files.read_scans(folder / "test.safetensors")
    nets = [name for name in segmenters if name.startswith("unet_")]
    for seed, scans in tests.by_seed.items():
        for scan, values in zip(scans, scores[seed, "test"], strict=True):
            for row, name in enumerate(segmenters):
                for column, net in enumerate(nets):
                    ours = maps[seed, "test", scan.name]
                    pair = ours[[row]], ours[segmenters.index(net)]
                    expected = measures.agreement(*pair, len(tests.structures))[0]
                    expected = np.full_like(expected, np.nan) if name == net else expected
                    np.testing.assert_array_equal(values[row, column], expected)


def test_real_scores_without_calibration_are_one_sentence(folder, tmp_path):
    scores, texts = score_files.read_scores(folder / "real_scores")
    tests = {key: values for key, values in scores.items() if key[1] == "test"}
    score_files.write_scores(tmp_path / "real", tests, texts)
    with pytest.raises(UserError, match="real has no calibration scores of seed 0; make it again"):
        baseline.by_segmenter({"real": tmp_path / "real"})


def test_a_consensus_is_what_most_references_carry():
    def scan(labels):
        return Scan("a", np.zeros((1, 4), np.float32), np.array([labels], np.uint8))

    references = [scan([0, 1, 1, 0]), scan([0, 1, 0, 0]), scan([1, 1, 1, 0])]
    same = [np.array([[1, 2, 3, 4]], np.uint16)] * 3
    ours = np.array([[[0, 1, 1, 0]], [[0, 0, 0, 1]]], np.uint8)
    scores = reverse_atlas.consensus(ours, references, same, 1)
    assert scores.shape == (2, 1, 1, len(measures.MEASURES))
    assert scores[:, 0, 0, 0].tolist() == [1, 0]  # the vote is 0 1 1 0
