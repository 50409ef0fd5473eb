import json

import numpy as np
import pytest
import torch

from pr12.core import tensor_files
from pr12.distill import gradient_limit
from pr12.distill.model import mlp
from pr12.workflow import step


def setting(hidden=(6,)):
    generator = torch.Generator().manual_seed(0)
    net = mlp.MLP(5, hidden, 4, 0, generator).double()
    images = torch.rand(8, 5, generator=generator, dtype=torch.float64)
    teacher = 3 * torch.randn(8, 4, generator=generator, dtype=torch.float64) + 7  # not zero-mean
    return net, dict(net.state_dict()), images, teacher


def test_zero_mean_takes_each_cases_own_mean():
    actual = gradient_limit.zero_mean(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))
    assert actual.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_cosine_and_ratio_by_hand():
    # (3, 4) and (4, 3), in two parts: cosine 24 / 25, ratio 1; scaled by 2, ratio 2
    first, second = [torch.tensor([6.0]), torch.tensor([[8.0]])], [torch.tensor([4.0, 3.0])]
    assert gradient_limit.compare(first, second) == (pytest.approx(0.96), pytest.approx(2.0))
    assert gradient_limit.compare([torch.tensor([-1.0])], [torch.tensor([2.0])]) == (-1.0, 0.5)


def test_gradients_of_one_layer_by_hand():
    net, parameters, images, v = setting(hidden=())
    z = images @ parameters["layers.0.weight"] + parameters["layers.0.bias"]
    z, v0 = (a - a.mean(dim=-1, keepdim=True) for a in (z, v))
    for temperature in (None, 1.0, 5.0):
        if temperature is None:
            slope = (z - v0) / (4 * 8)
        else:
            p, q = (torch.softmax(a / temperature, dim=-1) for a in (v0, z))
            slope = temperature * (q - p) / 8
        weight, bias = gradient_limit.gradients(net, parameters, images, v, temperature)
        torch.testing.assert_close(weight, images.T @ slope)  # slopes sum to 0 over classes
        torch.testing.assert_close(bias, slope.sum(dim=0))


def test_the_limit_of_section_2_1_in_the_parameters():
    net, parameters, images, v = setting()
    matching = gradient_limit.gradients(net, parameters, images, v, None)
    soft = [gradient_limit.gradients(net, parameters, images, v, t) for t in (1, 10, 100, 1000)]
    cosines, ratios = np.array([gradient_limit.compare(ours, matching) for ours in soft]).T
    assert (np.diff(cosines) > 0).all()
    assert (np.diff(np.abs(ratios - 1)) < 0).all()
    assert cosines[0] < 0.999
    assert cosines[-1] == pytest.approx(1, abs=1e-5)
    assert ratios[-1] == pytest.approx(1, abs=0.01)


def test_the_step_compares_every_student_at_every_temperature(tmp_path):
    net, _, _, v = setting()
    stacked = {n: torch.stack([x, x * 2]).float() for n, x in net.state_dict().items()}
    tensor_files.write_tensors(tmp_path / "model", stacked)
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(17, (8, 1, 5), generator=generator).byte()
    tensors = {"images": pixels, "labels": torch.arange(8) % 4}
    tensor_files.write_tensors(tmp_path / "train", tensors, {"maximum": "16"})
    members = torch.stack([v - 1, v + 1]).float()  # whose mean are the teacher's logits
    tensor_files.write_tensors(tmp_path / "soft_labels", {"member_logits": members})
    reads = ("model", "train", "soft_labels")
    paths = {name: tmp_path / name for name in (*reads, "metrics")}
    params = gradient_limit.Params(temperatures=(1.0, 2.5), examples=6)
    module = "pr12.distill.gradient_limit"
    gradient_limit.main(step.Job(params, paths, reads, module, "command"))
    actual = json.loads((tmp_path / "metrics").read_text())["metrics"]
    assert sorted(actual) == [
        "train/cosine_T1",
        "train/cosine_T2.5",
        "train/ratio_T1",
        "train/ratio_T2.5",
    ]
    ours = {n: x[1].double() for n, x in stacked.items()}
    images = pixels[:6].flatten(1).double() / 16
    pair = [gradient_limit.gradients(net, ours, images, v[:6], t) for t in (2.5, None)]
    cosine, ratio = gradient_limit.compare(*pair)
    assert actual["train/cosine_T2.5"][1] == pytest.approx(cosine, rel=1e-5)
    assert actual["train/ratio_T2.5"][1] == pytest.approx(ratio, rel=1e-5)
