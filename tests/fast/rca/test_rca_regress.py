import dataclasses

import numpy as np
import pytest
import torch

import rca_chain
from pr12.rca import regress
from pr12.rca.data import score_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import measures, regressor
from pr12.workflow import files
from pr12.workflow.errors import UserError

PARAMS = regress.Params(
    channels=(4, 8), examples=60, updates=150, batch_size=10, learning_rate=0.01
)
CPU = torch.device("cpu")
DICE = measures.MEASURES.index("dice")


def disc(number, size=24):
    stream = np.random.default_rng(number)
    centre, radius = size / 2 + stream.normal(0, 1, 2), stream.uniform(5, 7)
    away = np.linalg.norm(np.moveaxis(np.indices((size, size)), 0, -1) - centre, axis=-1)
    image = (away < radius) + 0.05 * stream.normal(size=(size, size))
    return Scan(str(number), image.astype(np.float32), (away < radius).astype(np.uint8))


def test_examples_are_damaged_labels_with_their_dice():
    scans = [disc(0), disc(1)]
    owners, maps, dice = regressor.examples(scans, 1, 30, 0)
    assert owners == [0, 1] * 15
    for owner, labels, value in zip(owners, maps, dice, strict=True):
        expected = measures.agreement(labels[None], scans[owner].labels, 1)[0, 0, DICE]
        assert value[0] == pytest.approx(expected)
    assert dice.min() < 0.5 < dice.max()
    np.testing.assert_array_equal(dice, regressor.examples(scans, 1, 30, 0)[2])


def test_a_net_that_learnt_on_references_ranks_damage_of_other_scans():
    net = regress.trained([disc(number) for number in range(6)], 1, 0, PARAMS, CPU)
    tests = [disc(100 + number) for number in range(10)]
    owners, maps, dice = regressor.examples(tests, 1, 60, 7)
    predicted = [
        regress.predicted(net, tests[owner].image, labels[None], 1, CPU)[0, 0, 0, DICE]
        for owner, labels in zip(owners, maps, strict=True)
    ]
    assert np.corrcoef(predicted, dice[:, 0])[0, 1] > 0.6


def test_a_loss_that_is_no_number_names_the_rate():
    params = dataclasses.replace(PARAMS, learning_rate=1e30)
    with pytest.raises(UserError, match=r"the loss of seed 0 is .*; lower rca.regress.learning_r"):
        regress.trained([disc(0)], 1, 0, params, CPU)


def test_the_step_scores_every_test_segmentation_by_dice_alone(tmp_path):
    folder = rca_chain.chain()
    params = dataclasses.asdict(dataclasses.replace(PARAMS, examples=4, updates=2))
    paths = rca_chain.splits(folder, "reference", "test")
    paths |= {"segmentations": folder / "segmentations"}
    rca_chain.run("regress", params, scores=tmp_path / "one", **paths)
    rca_chain.run("regress", params, scores=tmp_path / "two", **paths)
    assert files.sha256(tmp_path / "one") == files.sha256(tmp_path / "two")
    scores, texts = score_files.read_scores(tmp_path / "one")
    real, known = score_files.read_scores(folder / "real_scores")
    for key, values in scores.items():
        assert values.shape == (*real[key].shape[:2], 1, *real[key].shape[2:])
        assert np.isfinite(values[..., DICE]).all()
        assert np.isnan(np.delete(values, DICE, axis=-1)).all()
        name = f"{key[0]}/test"
        assert score_files.read_names(texts)[name] == score_files.read_names(known)[name]
