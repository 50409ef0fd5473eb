import torch

from pr12.core import tensor_files
from pr12.distill import soft_labels
from pr12.distill.model import mlp
from pr12.workflow import step


def test_soft_labels_are_each_members_logits_in_the_splits_order(tmp_path):
    nets = [mlp.MLP(6, (5,), 3, 2, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    states = [net.state_dict() for net in nets]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    images = torch.randint(17, (9, 2, 3), generator=torch.Generator().manual_seed(2)).byte()
    tensor_files.write_tensors(tmp_path / "model", stacked)
    tensors = {"images": images, "labels": torch.arange(9) % 3}
    tensor_files.write_tensors(tmp_path / "train", tensors, {"maximum": "16"})
    reads = ("model", "train")
    paths = {name: tmp_path / name for name in (*reads, "soft_labels")}
    params = soft_labels.Params()
    soft_labels.main(step.Job(params, paths, reads, "pr12.distill.soft_labels", "command"))
    actual = tensor_files.read_tensors(tmp_path / "soft_labels")
    assert list(actual) == ["member_logits"]
    expected = torch.stack([net(images.flatten(1) / 16) for net in nets])
    torch.testing.assert_close(actual["member_logits"], expected)
