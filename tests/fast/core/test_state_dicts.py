import io
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.serialization import MAGIC_NUMBER

from pr12.core import state_dicts, tensor_files
from pr12.workflow.errors import UserError

FORMATS = pytest.mark.parametrize("zipped", [False, True], ids=["old", "zip"])


def network():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3))
    classifier = nn.Sequential(nn.Linear(5, 7))
    return nn.ModuleDict({"features": features, "classifier": classifier})


def shared_views():
    base = torch.arange(24.0)
    return {
        "base": base,
        "transposed": base.view(4, 6).T,
        "part": base[3:11],
        "steps": base[1::5],
        "number": base[7],
        "repeated": base[:2].view(2, 1).expand(2, 3),
        "empty": base[4:4],
        "again": base,
    }


STATES = {
    "network": lambda: network().state_dict(),
    "parameters": lambda: network().state_dict(keep_vars=True),
    "plain dict": lambda: dict(network().state_dict()),
    "views": shared_views,
    "types": lambda: {str(k): torch.arange(-3, 9).to(k).view(3, 4).T for k in state_dicts.DTYPES},
    "many": lambda: {f"layer{i}": torch.full((2,), float(i)) for i in range(300)},
}


def save(state, path, zipped, **more):
    torch.save(state, path, _use_new_zipfile_serialization=zipped, **more)
    return path


def assert_same(tensors, expected):
    assert list(tensors) == list(expected)
    for name, value in expected.items():
        wide = value.detach().float() if value.is_floating_point() else value.detach()
        assert tensors[name].dtype == wide.dtype
        assert torch.equal(tensors[name], wide)
        assert tensors[name].is_contiguous()
        assert not tensors[name].requires_grad


@FORMATS
@pytest.mark.parametrize("make", STATES.values(), ids=STATES.keys())
def test_a_state_dict_is_read_and_can_be_written_as_safetensors(tmp_path, make, zipped):
    tensors = state_dicts.read(save(make(), tmp_path / "a.pth", zipped))
    assert_same(tensors, make())
    tensor_files.write_tensors(
        tmp_path / "a.safetensors", tensors
    )  # refuses tensors that share memory
    again = state_dicts.read(tmp_path / "a.safetensors")
    assert_same({name: again[name] for name in tensors}, make())


@FORMATS
def test_only_names_under_the_prefix_are_given(tmp_path, zipped):
    state = network().state_dict()
    path = save(state, tmp_path / "a.pth", zipped)
    chosen = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    assert 0 < len(chosen) < len(state)
    assert_same(state_dicts.read(path, "features."), chosen)


def test_a_prefix_without_names_tells_the_names(tmp_path):
    tensor_files.write_tensors(tmp_path / "a.safetensors", network().state_dict())
    for path in (
        save(network().state_dict(), tmp_path / "a.pth", True),
        tmp_path / "a.safetensors",
    ):
        message = "no tensor under 'feat/'; its first names are classifier.0.bias, "
        with pytest.raises(UserError, match=message):
            state_dicts.read(path, "feat/")


# --- files that want to run something ---


class Attack:
    def __init__(self, marker):
        self.command = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.command,)


class Called:
    def __init__(self, function, *arguments):
        self.pair = (function, arguments)

    def __reduce__(self):
        return self.pair


@FORMATS
@pytest.mark.parametrize(
    "place",
    [
        lambda attack: attack,
        lambda attack: {"features.0.weight": attack},
        lambda attack: {"features.0.weight": torch.ones(2), attack: 1},
        lambda attack: {"a": Called(torch._utils._rebuild_tensor, attack, 0, (2,), (1,))},
        lambda attack: {"a": Called(nn.Parameter, [attack])},
    ],
    ids=["alone", "value", "key", "storage", "parameter"],
)
def test_an_attack_is_refused_and_does_not_run(tmp_path, zipped, place):
    marker = tmp_path / "marker"
    path = save(place(Attack(marker)), tmp_path / "evil.pth", zipped)
    with pytest.raises(UserError) as refused:
        state_dicts.read(path)
    assert str(refused.value) == f"{path} wants to call posix.system; only plain weights are read"
    assert not marker.exists()


@FORMATS
def test_the_attack_would_run_if_it_were_unpickled(tmp_path, zipped):
    path = save({"a": Attack(tmp_path / "marker")}, tmp_path / "evil.pth", zipped)
    torch.load(path, weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("function", [eval, getattr, torch.load, torch.hub.load, pickle.loads])
def test_an_attack_in_place_of_the_magic_number_is_refused(tmp_path, function):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Called(function, "1"), protocol=2))
    with pytest.raises(UserError, match=rf"wants to call (.*\.)?{function.__name__};"):
        state_dicts.read(tmp_path / "evil.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02ctorch FloatStorage\nevil\n)R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # a known name, but not one to be called
        b"\x80\x02(X\x02\x00\x00\x00lsicommands\ngetoutput\n.",
        b"\x80\x02\x82\x01.",  # a class by its number
        b"\x80\x05\x97.",  # a buffer from outside
        b"\x80\x02X" + b"\xff\xff\xff\x7f" + b"a.",  # a text of 2 GB
        b"\x80\x02h\x05.",
        b"\x80\x02R.",
        b"\x80\x02.",
        b"\x80\x02](K\x01u.",
        b"\x80\x02Nb.",
    ],
)
def test_opcodes_of_no_state_dict_are_one_sentence(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth (is damaged or not a file of|wants to call)"):
        state_dicts.read(tmp_path / "a.pth")


# --- files that hold something else than weights ---


@FORMATS
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: [torch.ones(1)], "holds no state dict; write it with torch.save(model.state_d"),
        (lambda: torch.ones(1), "holds no state dict"),
        (lambda: {"state_dict": {}, "epoch": 3}, "more than a state dict: state_dict is not a p"),
        (lambda: {3: torch.ones(1)}, "holds more than a state dict: 3 is not a plain tensor"),
        (lambda: {"a\x1b": torch.ones(1)}, r"holds more than a state dict: a\x1b is not"),
        (lambda: {"a": torch.ones(1, dtype=torch.complex64)}, "a is not a plain tensor; write it"),
        (lambda: {"a": torch.ones(1, device="meta")}, "a is not a plain tensor"),
        (lambda: {"a": torch.eye(2).to_sparse()}, "a is not a plain tensor"),
        (dict, "has no tensor under ''; its first names are none"),
        (network, "wants to call torch.nn.modules.container.ModuleDict; only plain weights"),
        (lambda: {"a": np.ones(1)}, "wants to call numpy"),
    ],
)
def test_what_is_no_state_dict_is_told(tmp_path, zipped, state, message):
    path = save(state(), tmp_path / "a.pth", zipped)
    with pytest.raises(UserError) as refused:
        state_dicts.read(path)
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


class OldPickler(pickle.Pickler):
    def persistent_id(self, item):
        return item if type(item) is tuple and item[:1] == ("storage",) else None


def old_file(path, size, *place, numbers=6):
    """Write a file of one tensor as torch did before 1.6."""
    stream = io.BytesIO()
    storage = ("storage", torch.FloatStorage, "7", "cpu", size, None)
    tensor = Called(torch._utils._rebuild_tensor_v2, storage, *place, False, OrderedDict())
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    for value in (MAGIC_NUMBER, 1001, machine, {"a": tensor}, ["7"]):
        OldPickler(stream, protocol=2).dump(value)
    stream.write(struct.pack("<q", size) + np.arange(numbers, dtype="<f4").tobytes())
    path.write_bytes(stream.getvalue())
    return path


def test_an_old_file_made_by_hand_is_read(tmp_path):
    tensors = state_dicts.read(old_file(tmp_path / "a.pth", 6, 1, (2, 2), (1, 3)))
    assert tensors["a"].tolist() == [[1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((6, 0, (7,), (1,)), "is damaged"),
        ((6, 5, (2,), (1,)), "is damaged"),
        ((6, -1, (2,), (1,)), "is damaged"),
        ((6, 0, (-2,), (1,)), "is damaged"),
        ((6, 4, (2,), (-1,)), "is damaged"),
        ((6, 0, (2.5,), (1,)), "is damaged"),
        ((7, 0, (2,), (1,)), "is damaged"),
        ((2**44, 0, (2,), (1,)), "is damaged"),
        ((6, 0, (2**39, 2), (0, 1)), "has .* bytes and would fill up to .* it is not read"),
    ],
)
def test_a_tensor_beyond_its_file_is_refused(tmp_path, place, message):
    with pytest.raises(UserError, match=message):
        state_dicts.read(old_file(tmp_path / "a.pth", *place))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(save({"a": torch.ones(5)}, tmp_path / "whole.pth", True)) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content * 10**6 if name.endswith("data/0") else content)
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="would fill up to"):
        state_dicts.read(path)


# --- files that are none ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is neither a whole safetensors file nor a file of torch.save; give weights"),
        (b"<!DOCTYPE html><html>Please log in", "is neither a whole safetensors file"),
        (bytes(1000), "is neither a whole safetensors file"),
        (b"\x80", "is neither a whole safetensors file"),
        (b"PK", "is damaged or not a file of torch.save; download or copy it again, or write"),
        (b"PK\x03\x04" + bytes(100), "is damaged"),
        (b"PK\x05\x06" + bytes(18), "is damaged"),
        (b"\x80\x02", "is damaged"),
        (pickle.dumps({"a": 1}, protocol=2), "is damaged"),
        (pickle.dumps({"a": 1}, protocol=5), "is damaged"),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path, content, message, recwarn):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=message):
        state_dicts.read(tmp_path / "a.pth")
    assert list(recwarn) == []


def test_a_file_that_is_missing_or_a_folder_is_told(tmp_path):
    for path, message in ((tmp_path / "b.pth", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=f"cannot read {path}: {message}"):
            state_dicts.read(path)


@FORMATS
def test_a_file_cut_off_anywhere_is_refused(tmp_path, zipped):
    content = save(network().state_dict(), tmp_path / "whole.pth", zipped).read_bytes()
    path = tmp_path / "a.pth"
    cuts = {*np.linspace(0, len(content) - 1, 200, dtype=int).tolist(), len(content) - 1}
    for cut in cuts:
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match=r"a\.pth"):
            state_dicts.read(path)


@FORMATS
def test_a_changed_byte_gives_tensors_or_one_sentence(tmp_path, zipped):
    content = save(network().state_dict(), tmp_path / "whole.pth", zipped).read_bytes()
    path = tmp_path / "a.pth"
    end = len(content) if zipped else content.index(b"_metadata") + 300
    draw = random.Random(0)
    refused = []
    for _ in range(600):
        changed = bytearray(content)
        changed[draw.randrange(end)] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            tensors = state_dicts.read(path)
        except UserError as error:
            refused.append(str(error))
        else:
            assert sum(tensor.nbytes for tensor in tensors.values()) < 16 * len(content)
    assert 50 < len(refused) < 600
    assert all(text.startswith(str(path)) and text.isprintable() for text in refused)


def test_what_is_of_torch_is_told_by_content(tmp_path):
    path = tmp_path / "a.safetensors"
    for zipped in (False, True):
        assert state_dicts.is_torch_file(save({"a": torch.ones(1)}, path, zipped))
    for content in (b"", b"P", b"\x80", b"<html>", (640).to_bytes(8, "little") + b'{"a"'):
        path.write_bytes(content)
        assert not state_dicts.is_torch_file(path)
