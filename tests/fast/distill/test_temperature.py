import json

import numpy as np
import pytest
import scipy.stats
import torch

from pr12.core import tensor_files
from pr12.distill import temperature
from pr12.distill.model import losses
from pr12.workflow import step


def test_entropy_against_scipy():
    p = torch.softmax(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double(), -1)
    expected = scipy.stats.entropy(p.numpy(), base=None, axis=-1)
    assert temperature.entropy(p).numpy() == pytest.approx(expected)
    assert temperature.entropy(torch.eye(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("digits", [1, 3, 10])
def test_ambiguous_digits_against_a_search(digits):
    generator = torch.Generator().manual_seed(1)
    p = torch.softmax(2 * torch.randn(80, 4, generator=generator).double(), dim=-1)
    labels = torch.arange(80) % 4
    doubt = scipy.stats.entropy(p.numpy(), base=None, axis=-1)
    best = {}
    for i in range(80):
        c = int(labels[i])
        if p[i].argmax() == c and (c not in best or doubt[i] > doubt[best[c]]):
            best[c] = i
    expected = sorted(best.values(), key=lambda i: -doubt[i])[:digits]
    assert temperature.ambiguous(p, labels, digits).tolist() == expected


def test_the_step_writes_what_a_temperature_does(tmp_path):
    generator = torch.Generator().manual_seed(2)
    members = 4 * torch.randn(3, 20, 4, generator=generator)
    labels = members.mean(dim=0).argmax(-1)
    images = torch.randint(17, (20, 2, 2), generator=generator).byte()
    tensor_files.write_tensors(tmp_path / "soft_labels", {"member_logits": members})
    tensors = {"images": images, "labels": labels}
    tensor_files.write_tensors(tmp_path / "train", tensors, {"maximum": "16"})
    reads = ("train", "soft_labels")
    paths = {name: tmp_path / name for name in (*reads, "metrics", "picture")}
    params = temperature.Params(temperatures=(0.5, 1.0, 20.0), digits=2)
    temperature.main(step.Job(params, paths, reads, "pr12.distill.temperature", "command"))
    actual = json.loads((tmp_path / "metrics").read_text())["metrics"]
    values = [actual[f"train/entropy_T{t}_nats"][0] for t in ("0.5", "1", "20")]
    expected = [
        scipy.stats.entropy(losses.soften(members.double().mean(0), t).numpy(), axis=-1).mean()
        for t in (0.5, 1.0, 20.0)
    ]
    assert values == pytest.approx(expected)
    assert values == sorted(values)
    assert values[-1] < np.log(4)
    picture = json.loads((tmp_path / "picture").read_text())
    assert picture["temperatures"] == [0.5, 1.0, 20.0]
    sharp = losses.soften(members.double().mean(0), 1.0)
    chosen = temperature.ambiguous(sharp, labels, 2)
    assert picture["labels"] == labels[chosen].tolist()
    assert np.array(picture["images"]) == pytest.approx(images[chosen].numpy() / 16)
    assert np.array(picture["probabilities"][1]) == pytest.approx(sharp[chosen].numpy())
    assert np.shape(picture["entropy_nats"]) == (3, 2)
