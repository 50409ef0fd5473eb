import itertools
import math

import pytest
import torch
from sklearn.metrics import log_loss

from pr12.distill import ensemble
from pr12.distill.model import losses


@pytest.mark.parametrize("members", [1, 2, 3, 5, 10])
def test_every_member_is_used_equally_often_and_once_in_an_ensemble(members):
    for k in range(1, members + 1):
        chosen = ensemble.ensembles(members, k)
        assert all(len(set(ours)) == len(ours) == k for ours in chosen)
        counts = [sum(member in ours for ours in chosen) for member in range(members)]
        assert len(set(counts)) == 1
        assert len(chosen) == (1 if k == members else members)
        assert len({frozenset(ours) for ours in chosen}) == len(chosen)


def test_metrics_against_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits, labels = 2 * torch.randn(3, 30, 4, generator=generator), torch.arange(30) % 4
    actual = ensemble.metrics(logits, labels, "test")
    p = torch.softmax(logits.double(), dim=-1)
    for k in (1, 2, 3):
        for index, chosen in enumerate(ensemble.ensembles(3, k)):
            arithmetic = p[chosen].mean(dim=0)
            product = p[chosen].prod(dim=0) ** (1 / k)
            geometric = product / product.sum(dim=-1, keepdim=True)
            for suffix, mean in (("", arithmetic), ("_geometric", geometric)):
                nll = log_loss(labels, mean.numpy(), normalize=True, labels=range(4))
                wrong = (mean.argmax(-1) != labels).sum().item()
                assert actual[f"test/nll_ensemble{suffix}_k{k}_nats"][index] == pytest.approx(nll)
                assert actual[f"test/errors_ensemble{suffix}_k{k}"][index] == wrong


def test_ensembles_of_one_are_the_members_and_of_all_the_headline():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(4, 30, 3, generator=generator), torch.arange(30) % 3
    actual = ensemble.metrics(logits, labels, "validation")
    assert len(actual["validation/errors_single"]) == 4
    for suffix, kind in itertools.product(("", "_geometric"), ("errors", "nll")):
        unit = "_nats" if kind == "nll" else ""
        whole = actual[f"validation/{kind}_ensemble{suffix}{unit}"]
        assert whole == actual[f"validation/{kind}_ensemble{suffix}_k4{unit}"]
        assert len(whole) == 1
        assert len(actual[f"validation/{kind}_ensemble{suffix}_k3{unit}"]) == 4
    assert actual["validation/errors_ensemble_k1"] == actual["validation/errors_single"]
    assert actual["validation/errors_ensemble_geometric_k1"] == actual["validation/errors_single"]
    assert actual["validation/nll_ensemble_k1_nats"] == pytest.approx(
        [losses.hard_loss(ours.double(), labels).item() for ours in logits]
    )


def test_the_two_means_disagree_by_hand():
    # Class 0 has 0.8, 0.8 and 0.0001: arithmetic 0.533; geometric odds (4 * 4 / 9999)^(1/3).
    p = torch.tensor([0.8, 0.8, 0.0001], dtype=torch.float64)
    logits = torch.stack([torch.logit(p), torch.zeros(3)], dim=-1)[:, None]
    actual = ensemble.metrics(logits, torch.tensor([0]), "test")
    assert actual["test/errors_single"] == [0, 0, 1]
    assert actual["test/errors_ensemble"] == [0]
    assert actual["test/errors_ensemble_geometric"] == [1]
    assert actual["test/nll_ensemble_nats"] == [pytest.approx(-math.log(1.6001 / 3))]
    odds = (16 / 9999) ** (1 / 3)
    expected = -math.log(odds / (1 + odds))
    assert actual["test/nll_ensemble_geometric_nats"] == [pytest.approx(expected)]
