import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss

from pr12.core import tensor_files
from pr12.distill import evaluate
from pr12.distill.model import biases, losses, mlp
from pr12.workflow import step


def logits_of(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_errors_and_likelihood_against_scikit_learn():
    logits, labels = logits_of(2, 40, 4), torch.arange(40) % 4
    actual = evaluate.metrics(logits, labels, logits, labels, [])
    for replica in range(2):
        predicted = logits[replica].argmax(-1)
        wrong = 40 - accuracy_score(labels, predicted, normalize=False)
        p = losses.soften(logits[replica].double(), 1.0).numpy()
        nll = log_loss(labels, p, normalize=True, labels=range(4))
        assert actual["test/errors"][replica] == wrong
        assert actual["test/error_percent"][replica] == pytest.approx(2.5 * wrong)
        assert actual["test/nll_nats"][replica] == pytest.approx(nll)
        assert actual["validation/nll_nats"][replica] == pytest.approx(nll)
    assert not any("bias" in key or "class" in key or "shift" in key for key in actual)


@given(seed=st.integers(0, 1000), classes=st.sets(st.integers(0, 3), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_best_shift_is_that_of_brute_force(seed, classes):
    logits, labels = logits_of(25, 4, seed=seed), torch.arange(25) % 4
    raised = np.isin(np.arange(4), list(classes))
    errors = {}
    for tenth in range(-200, 201):
        scores = logits.numpy() + np.float32(tenth / 10) * raised
        errors[tenth] = int((scores.argmax(axis=1) != labels.numpy()).sum())
    fewest = min(errors.values())
    smallest = min(abs(tenth) for tenth, count in errors.items() if count == fewest)
    actual = biases.best_shift(logits, labels, sorted(classes))
    assert errors[round(10 * actual)] == fewest
    assert abs(round(10 * actual)) == smallest


def omitted_class():
    """Ten examples; class 2 was never seen, its logit is 3.0 too low.

    Threes of Hinton Sec. 3 in small: the two examples of class 2 miss by 1.5 and 2.95; the
    others win over class 2 by 3.45 or more, but for one that wins by 2.0.
    """
    margins = [(0, 5.0)] * 4 + [(1, 3.45)] * 3 + [(1, 2.0)] + [(2, -1.5), (2, -2.95)]
    logits = torch.full((10, 3), -50.0)
    for row, (label, margin) in enumerate(margins):
        best = label if label != 2 else 0
        logits[row, best] = 0.0
        logits[row, 2] = -margin if label != 2 else margin
    return logits, torch.tensor([label for label, _ in margins])


def test_hintons_omitted_class_by_hand():
    logits, labels = omitted_class()
    actual = evaluate.metrics(logits[None], labels, logits[None], labels, [2])
    assert actual["test/errors"] == [2]
    assert actual["test/errors_class2"] == [2]
    # From 1.6 on one of class 2 is right; from 3.0 both are, but that of margin 2.0 is lost: one
    # error either way, and the smaller shift of equals is taken.
    assert actual["test/shift"] == [pytest.approx(1.6)]
    assert actual["test/errors_bias_test"] == [1]
    assert actual["test/errors_class2_bias_test"] == [1]
    assert actual["test/error_bias_test_percent"] == [pytest.approx(10.0)]
    three = biases.shifted(logits, [2], 3.0)
    assert biases.count_errors(three, labels).item() == 1
    assert biases.count_errors(three[labels == 2], labels[labels == 2]).item() == 0


def test_the_shift_is_chosen_on_each_split_and_used_on_the_test_set():
    logits, labels = omitted_class()
    validation = logits.clone()
    validation[8:, 2] = torch.tensor([-2.2, -2.95])  # without row 7, 3.0 rights both
    rows = [i for i in range(10) if i != 7]
    actual = evaluate.metrics(validation[None][:, rows], labels[rows], logits[None], labels, [2])
    assert actual["validation/shift"] == [pytest.approx(3.0)]
    assert actual["test/shift"] == [pytest.approx(1.6)]
    assert actual["validation/errors"] == [2]
    assert actual["test/errors_class2_bias_validation"] == [0]
    assert actual["test/errors_bias_validation"] == [1]


def test_every_replica_has_its_own_shift():
    logits, labels = omitted_class()
    second = logits.clone()
    second[8:, 2] = -0.05
    both = torch.stack([logits, second])
    actual = evaluate.metrics(both, labels, both, labels, [2])
    assert actual["validation/shift"] == [pytest.approx(1.6), pytest.approx(0.1)]
    assert actual["test/errors_bias_validation"] == [1, 0]


def test_lowering_two_biases_by_hand():
    # Only classes 1 and 2 were seen: they win by 7.55 where class 0 is right, by 9 elsewhere.
    logits = torch.tensor([[0.0, 7.55, 1.0], [0.0, 1.0, 7.55], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    labels = torch.tensor([0, 0, 1, 2])
    assert biases.best_shift(logits, labels, [1, 2]) == pytest.approx(-7.6)
    assert biases.count_errors(biases.shifted(logits, [1, 2], -7.6), labels).item() == 0


def test_the_step_evaluates_the_model_on_both_splits(tmp_path):
    net = mlp.MLP(6, (5,), 3, 0, torch.Generator().manual_seed(0))
    stacked = {name: torch.stack([v, -v]) for name, v in net.state_dict().items()}
    tensor_files.write_tensors(tmp_path / "model", stacked)
    images, labels = {}, {}
    for index, (name, n) in enumerate((("validation", 12), ("test", 15))):
        generator = torch.Generator().manual_seed(index)
        images[name] = torch.randint(17, (n, 2, 3), generator=generator).byte()
        labels[name] = torch.arange(n) % 3
        tensors = {"images": images[name], "labels": labels[name]}
        tensor_files.write_tensors(tmp_path / name, tensors, {"maximum": "16"})
    reads = ("model", "validation", "test")
    paths = {name: tmp_path / name for name in (*reads, "metrics")}
    params = evaluate.Params(bias_classes=())
    evaluate.main(step.Job(params, paths, reads, "pr12.distill.evaluate", "command"))
    actual = json.loads((tmp_path / "metrics").read_text())
    assert set(actual) == {"metrics", "provenance"}
    for name in images:
        answers = net(images[name].flatten(1) / 16).argmax(-1)
        errors = actual["metrics"][f"{name}/errors"]
        assert errors[0] == (answers != labels[name]).sum().item()
        assert len(errors) == 2
