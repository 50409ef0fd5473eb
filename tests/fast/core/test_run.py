import os
import stat

import pytest
import torch

from pr12.core import checkpoints, determinism, tensor_files
from pr12.workflow.errors import UserError


def test_determinism_is_switched_on():
    determinism.deterministic()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert torch.get_float32_matmul_precision() == "highest"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


def test_streams_belong_to_seed_and_purpose_and_nothing_else():
    def draw(seed, purpose):
        return torch.rand(4, generator=determinism.generator(seed, purpose)).tolist()

    purposes = ("init", "subset", "shuffle", "dropout", "jitter", "noise")
    seen = [draw(seed, purpose) for seed in (0, 1, 11) for purpose in purposes]
    assert len({tuple(values) for values in seen}) == len(seen)
    torch.manual_seed(1)
    first = draw(3, "shuffle")
    torch.manual_seed(2)
    assert draw(3, "shuffle") == first
    assert draw(1, "1/x") != draw(11, "/x")


def test_tensors_come_back_as_they_were(tmp_path):
    tensors = {
        "bytes": torch.arange(6, dtype=torch.uint8).reshape(2, 3),
        "turned": torch.rand(3, 4).T,  # not contiguous
        "grown": torch.rand(2, requires_grad=True),
        "none": torch.empty(0, 5, dtype=torch.int64),
    }
    tensor_files.write_tensors(tmp_path / "a", tensors, {"maximum": "16"})
    result = tensor_files.read_tensors(tmp_path / "a")
    assert result.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(result[name], value.detach())
        assert result[name].dtype == value.dtype
    assert tensor_files.read_metadata(tmp_path / "a") == {"maximum": "16"}


def test_equal_tensors_are_equal_bytes_whatever_their_order(tmp_path):
    a, b = torch.ones(3), torch.zeros(2)
    tensor_files.write_tensors(tmp_path / "1", {"a": a, "b": b})
    tensor_files.write_tensors(tmp_path / "2", {"b": b, "a": a})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert tensor_files.read_metadata(tmp_path / "1") == {}


def test_a_groups_members_may_read_what_one_wrote(tmp_path):
    tensor_files.write_tensors(tmp_path / "a", {"x": torch.ones(1)})
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_tensors_that_are_no_tensors_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nothing: no such file"):
        tensor_files.read_tensors(tmp_path / "nothing")
    tensor_files.write_tensors(tmp_path / "a", {"x": torch.ones(100)})
    whole = (tmp_path / "a").read_bytes()
    for name, content in (("cut", whole[:-7]), ("text", b"hello"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} is not a safetensors file; delete it"):
            tensor_files.read_tensors(tmp_path / name)
    with pytest.raises(UserError, match="is not a safetensors file"):
        tensor_files.read_tensors(tmp_path)


def test_a_state_comes_back_whole_with_its_streams(tmp_path):
    generator = determinism.generator(0, "shuffle")
    weight = torch.rand(3, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.1)
    weight.sum().backward()
    optimiser.step()
    state = {
        "epoch": 3,
        "history": [{"loss": [0.5, 0.25]}],
        "streams": [[generator.get_state()]],
        "optimiser": optimiser.state_dict(),
        "best": {},
    }
    checkpoints.save_state(tmp_path / "resume.pt", state, "abc")
    expected = torch.rand(3, generator=generator)
    result = checkpoints.load_state(tmp_path / "resume.pt", "abc")
    assert (result["epoch"], result["history"], result["best"]) == (3, state["history"], {})
    generator.set_state(result["streams"][0][0])
    assert torch.equal(torch.rand(3, generator=generator), expected)
    moments = result["optimiser"]["state"][0]
    assert torch.equal(moments["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])


def test_a_state_of_other_code_or_none_or_broken_is_no_state(tmp_path):
    path = tmp_path / "resume.pt"
    assert checkpoints.load_state(path, "abc") is None
    checkpoints.save_state(path, {"epoch": 1}, "abc")
    assert checkpoints.load_state(path, "abc") == {"epoch": 1}
    assert checkpoints.load_state(path, "abd") is None
    whole = path.read_bytes()
    for content in (whole[:-30], b"", b"no archive"):
        path.write_bytes(content)
        assert checkpoints.load_state(path, "abc") is None
    torch.save([1, 2], path)
    assert checkpoints.load_state(path, "abc") is None


class Dangerous:
    def __reduce__(self):
        return os.mkdir, (os.environ["PR12_TEST_FOLDER"],)


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.setenv("PR12_TEST_FOLDER", str(tmp_path / "made"))
    torch.save({"fingerprint": "abc", "state": Dangerous()}, tmp_path / "resume.pt")
    assert checkpoints.load_state(tmp_path / "resume.pt", "abc") is None
    assert not (tmp_path / "made").exists()
