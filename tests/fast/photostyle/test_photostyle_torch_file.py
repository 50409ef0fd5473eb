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

from pr12.photostyle import plain_pickle, torch_containers, torch_file
from pr12.shared.errors import UserError

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


TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32)
STATES = {
    "network": lambda: network().state_dict(),
    "parameters": lambda: network().state_dict(keep_vars=True),
    "plain dict": lambda: dict(network().state_dict()),
    "views": shared_views,
    "types": lambda: {str(kind): torch.arange(-3, 9).to(kind).view(3, 4) for kind in TYPES},
    "types, transposed": lambda: {str(kind): torch.ones(2, 5, dtype=kind).T for kind in TYPES},
    "many": lambda: {f"layer{i}": torch.full((2,), float(i)) for i in range(300)},
}


def save(state, path, zipped, **more):
    torch.save(state, path, _use_new_zipfile_serialization=zipped, **more)
    return path


def assert_same(arrays, tensors):
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        wide = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        assert arrays[name].dtype == wide.numpy().dtype
        assert arrays[name].shape == tuple(tensor.shape)
        assert np.array_equal(arrays[name], wide.numpy())
        assert arrays[name].flags["C_CONTIGUOUS"]
        assert arrays[name].flags["WRITEABLE"]


@FORMATS
@pytest.mark.parametrize("make", STATES.values(), ids=STATES.keys())
def test_a_state_dict_is_what_torch_loads(tmp_path, make, zipped):
    path = save(make(), tmp_path / "a.pth", zipped)
    assert_same(torch_file.read(path), torch.load(path, weights_only=True))


@FORMATS
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_newer_pickles_are_read_too(tmp_path, zipped, protocol):
    state = network().state_dict()
    path = save(state, tmp_path / "a.pth", zipped, pickle_protocol=protocol)
    assert_same(torch_file.read(path), state)


@FORMATS
def test_only_names_under_the_prefix_are_read(tmp_path, zipped, monkeypatch):
    state = network().state_dict()
    path = save(state, tmp_path / "a.pth", zipped)
    kept = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    assert 0 < len(kept) < len(state)
    read = []
    inner = torch_file._read_tensors
    monkeypatch.setattr(
        torch_file,
        "_read_tensors",
        lambda tensors, fetch: read.extend(tensors) or inner(tensors, fetch),
    )
    assert_same(torch_file.read(path, "features."), kept)
    assert read == list(kept)


def test_of_an_old_file_only_what_is_needed_is_read(tmp_path, monkeypatch):
    state = {"features.a": torch.arange(1e6)[500:510], "classifier.b": torch.zeros(10**6)}
    path = save(state, tmp_path / "a.pth", False)
    counts = []
    inner = np.fromfile
    monkeypatch.setattr(np, "fromfile", lambda *given: counts.append(given[2]) or inner(*given))
    assert_same(torch_file.read(path, "features."), {"features.a": state["features.a"].clone()})
    assert counts == [10]


def test_tensors_that_shared_memory_do_so_no_more(tmp_path):
    arrays = torch_file.read(save(shared_views(), tmp_path / "a.pth", True))
    arrays["base"][:] = -1
    assert arrays["again"][5] == 5
    assert arrays["part"][0] == 3


def test_a_prefix_without_names_tells_the_names(tmp_path):
    path = save(network().state_dict(), tmp_path / "a.pth", True)
    with pytest.raises(UserError, match=r"no tensor under 'feat/'; its first names are features.0"):
        torch_file.read(path, "feat/")


# --- files of older versions of torch, made by hand ---


class Stored:
    def __init__(self, *place):
        self.place = place


class Called:
    def __init__(self, function, *arguments):
        self.pair = (function, arguments)

    def __reduce__(self):
        return self.pair


class OldPickler(pickle.Pickler):
    def persistent_id(self, item):
        return item.place if isinstance(item, Stored) else None


MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}


def old_file(path, state, keys, storages, machine=MACHINE, magic=torch_containers.MAGIC_NUMBER):
    stream = io.BytesIO()
    for value in (magic, 1001, machine, state, keys):
        OldPickler(stream, protocol=2).dump(value)
    for numbers in storages:
        stream.write(struct.pack("<q", len(numbers)) + np.asarray(numbers, "<f4").tobytes())
    path.write_bytes(stream.getvalue())
    return path


def stored(key="7", size=6, part=None, kind=torch.FloatStorage):
    return Stored("storage", kind, key, "cpu", size, part)


def tensor_v1(storage, *place):
    return Called(torch._utils._rebuild_tensor, storage, *place)


def test_tensors_and_parameters_of_2017_are_read(tmp_path):
    plain = tensor_v1(stored(), 1, (2, 2), (1, 3))
    parameter = Called(nn.Parameter, tensor_v1(stored("8", 2), 0, (2,), (1,)), True)
    path = old_file(
        tmp_path / "a.pth",
        Called(OrderedDict, [["a.weight", plain], ["a.bias", parameter]]),  # as Python 2 wrote it
        ["8", "7"],
        [[8, 9], [0, 1, 2, 3, 4, 5]],
    )
    arrays = torch_file.read(path)
    assert_same(arrays, torch.load(path, weights_only=True))
    assert arrays["a.weight"].tolist() == [[1, 4], [2, 5]]
    assert arrays["a.bias"].tolist() == [8, 9]


def test_a_part_of_a_storage_begins_where_it_says(tmp_path):
    part = tensor_v1(stored(part=("70", 2, 3)), 1, (2,), (1,))
    path = old_file(tmp_path / "a.pth", {"a": part}, ["7"], [[0, 1, 2, 3, 4, 5]])
    arrays = torch_file.read(path)
    assert_same(arrays, torch.load(path, weights_only=True))
    assert arrays["a"].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((0, (7,), (1,)), "reaches beyond its storage"),
        ((5, (2,), (1,)), "reaches beyond its storage"),
        ((0, (2, 2), (1, 5)), "reaches beyond its storage"),
        ((6, (), ()), "reaches beyond its storage"),
        ((-1, (2,), (1,)), "lacks a tensor's place"),
        ((0, (-2,), (1,)), "lacks sizes"),
        ((4, (2,), (-1,)), "lacks sizes"),
        ((0, (2,), (2**70,)), "lacks sizes"),
        ((0, (2.0,), (1,)), "lacks sizes"),
        ((0, [2], [1]), "lacks sizes"),
        ((0, (2,), (1, 1)), "lacks a stride"),
        ((0, (1,) * 33, (1,) * 33), "lacks a stride"),
        ((0, (2**39, 2), (0, 1)), "would fill"),
        ((0, (0, 2**39, 2**39), (1, 1, 1)), "would fill"),
    ],
)
def test_a_tensor_that_is_none_is_refused(tmp_path, place, message):
    path = old_file(tmp_path / "a.pth", {"a": tensor_v1(stored(), *place)}, ["7"], [range(6)])
    with pytest.raises(UserError, match=message):
        torch_file.read(path)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (stored(size=5), "another size than its tensors say"),
        (stored(size=-6), "lacks a storage's key and size"),
        (stored(key=7), "lacks a storage's key and size"),
        (stored(key="8"), "not that of the tensors"),
        (stored(part=("70", 4, 3)), "lacks room"),
        (
            stored(kind=torch.ComplexFloatStorage),
            "has numbers of the type torch.ComplexFloatStorage",
        ),
        (stored(kind=torch.DoubleStorage), "inside of a storage"),
        (stored(kind=OrderedDict), "lacks a storage's type"),
        (Stored("module", nn.ReLU, "relu.py", "source"), "wants to call torch.nn"),
        (Stored("module", 1, "2", "3", "4"), "lacks a storage"),
    ],
)
def test_a_storage_that_is_none_is_refused(tmp_path, storage, message):
    state = {"a": tensor_v1(storage, 0, (2,), (1,))}
    path = old_file(tmp_path / "a.pth", state, ["7"], [range(6)])
    with pytest.raises(UserError, match=message):
        torch_file.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": ["7", "7"]}, "not that of the tensors"),
        ({"keys": []}, "not that of the tensors"),
        ({"keys": [[]]}, "the list of storages is none"),
        ({"keys": "7"}, "the list of storages is none"),
        ({"storages": []}, "another size"),
        ({"machine": {"little_endian": False}}, "another byte order"),
        ({"machine": 5}, "another byte order"),
        ({"magic": 5}, "is a pickle, but not one of torch.save"),
        ({"state": {3: tensor_v1(stored(), 0, (2,), (1,))}}, "a tensor is called 3"),
        ({"state": {"a\x1b": tensor_v1(stored(), 0, (2,), (1,))}}, r"a tensor is called a.*x1b"),
        ({"state": {(1,): 2}}, "lacks a text as key"),
        ({"state": [1]}, "holds no state dict; write it with"),
        ({"state": {"state_dict": {}, "epoch": 3}}, "state_dict is not a tensor; write it with"),
        ({"state": {}, "keys": [], "storages": []}, "its first names are none"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, change, message):
    given = {
        "state": {"a": tensor_v1(stored(), 0, (2,), (1,))},
        "keys": ["7"],
        "storages": [range(6)],
    }
    with pytest.raises(UserError, match=message):
        torch_file.read(old_file(tmp_path / "a.pth", **(given | change)))


def test_one_storage_of_two_types_is_refused(tmp_path):
    state = {
        "a": tensor_v1(stored(), 0, (2,), (1,)),
        "b": tensor_v1(stored(kind=torch.IntStorage), 0, (2,), (1,)),
    }
    with pytest.raises(UserError, match="two types or sizes"):
        torch_file.read(old_file(tmp_path / "a.pth", state, ["7"], [range(6)]))


# --- files that want to run something ---


class Attack:
    def __init__(self, marker):
        self.command = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.command,)


@FORMATS
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "place",
    [
        lambda attack: attack,
        lambda attack: {"features.0.weight": attack},
        lambda attack: {"features.0.weight": torch.ones(2), attack: 1},
        lambda attack: {"a": Called(torch._utils._rebuild_tensor, attack, 0, (2,), (1,))},
        lambda attack: {"a": Called(torch._utils._rebuild_tensor, 1, 0, (attack,), (1,))},
        lambda attack: {"a": Called(nn.Parameter, [attack])},
    ],
    ids=["alone", "value", "key", "storage", "size", "parameter"],
)
def test_an_attack_is_refused_and_does_not_run(tmp_path, zipped, place, protocol):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    save(place(Attack(marker)), path, zipped, pickle_protocol=protocol)
    assert not marker.exists()
    with pytest.raises(UserError) as refused:
        torch_file.read(path)
    assert str(refused.value) == f"{path} wants to call posix.system; only plain weights are read"
    assert not marker.exists()


def test_the_attack_would_run_if_it_were_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "marker"), protocol=2))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("function", [eval, getattr, torch.load, torch.hub.load, pickle.loads])
def test_an_attack_in_place_of_the_magic_number_is_refused(tmp_path, function):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Called(function, "1"), protocol=2))
    with pytest.raises(UserError, match=rf"wants to call .*\.{function.__name__};"):
        torch_file.read(tmp_path / "evil.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02ctorch FloatStorage\nevil\n)R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # a known name, but not one to be called
        b"\x80\x02cposix\nsystem\n(X\x02\x00\x00\x00lsltR.",
        b"\x80\x02(X\x02\x00\x00\x00lsicommands\ngetoutput\n.",
        b"\x80\x02\x82\x01.",  # a class by its number
        b"\x80\x02X\x01\x00\x00\x00aPb\n.",
        b"\x80\x05\x97.",  # a buffer from outside
        b"\x80\x02X" + b"\xff\xff\xff\x7f" + b"a.",  # a text of 2 GB
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",  # a whole number of 2 GB
        b"\x80\x02h\x05.",
        b"\x80\x02((((.",
        b"\x80\x02R.",
        b"\x80\x02.",
        b"\x80\x02(u.",
        b"\x80\x02](K\x01u.",
        b"\x80\x02Na.",
        b"\x80\x02Nb.",
        b"\x80\x02K\x01\x93.",
        b"\x80\x02}K\x01K\x02K\x03e.",
    ],
)
def test_opcodes_of_no_state_dict_are_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(
        UserError, match=r"a\.pth (is damaged|wants to call|has a pickle with|is a p)"
    ):
        torch_file.read(tmp_path / "a.pth")


def test_a_deep_tuple_costs_no_time():
    deep = b"\x80\x02)" + b"q\x00h\x00\x86" * 200  # 2 ** 200 leaves
    assert len(plain_pickle.walk(io.BytesIO(deep + b"."))) == 2
    with pytest.raises(ValueError, match="a text as key"):
        plain_pickle.walk(io.BytesIO(deep + b"q\x00}h\x00K\x01s."))


# --- zip archives ---


def zip_records(path):
    with zipfile.ZipFile(path) as archive:
        return {record.filename: archive.read(record) for record in archive.infolist()}


def write_zip(path, records, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in records:
            archive.writestr(name, content)
    return path


@pytest.fixture
def records(tmp_path):
    return zip_records(save({"a": torch.arange(5.0)}, tmp_path / "whole.pth", True))


def test_the_archive_may_be_written_by_another_library(tmp_path, records):
    path = write_zip(tmp_path / "a.pth", records.items())
    assert torch_file.read(path)["a"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"../evil": b"1"}, r"record outside of itself, \.\./evil"),
        ({"whole/../../evil": b"1"}, "record outside of itself"),
        ({"/etc/evil": b"1"}, "record outside of itself"),
        ({"whole/byteorder": b"big"}, "another byte order"),
        ({"whole/data/0": b"1234"}, "missing or has another size"),
        ({"whole/data/0": None}, "missing or has another size"),
        ({"whole/data.pkl": None}, "it lacks data.pkl"),
        ({"other/data.pkl": b""}, "it lacks data.pkl"),
        ({"whole/data.pkl": b""}, "is damaged"),
        ({"whole/data.pkl": bytes(5 * 2**20)}, "data.pkl has more than"),
    ],
)
def test_an_archive_that_is_none_is_refused(tmp_path, records, change, message):
    kept = {name: content for name, content in (records | change).items() if content is not None}
    with pytest.raises(UserError, match=message):
        torch_file.read(write_zip(tmp_path / "a.pth", kept.items()))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, records):
    packed = records | {"whole/data/0": bytes(10**7)}
    path = write_zip(tmp_path / "a.pth", packed.items(), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match="has a packed record"):
        torch_file.read(path)


def test_a_record_that_claims_more_than_the_file_has_is_refused(tmp_path, records):
    path = write_zip(tmp_path / "a.pth", records.items())
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<II", 10**9, 10**9)
    path.write_bytes(content)
    with pytest.raises(UserError, match="larger than the file"):
        torch_file.read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_record_that_is_there_twice_is_refused(tmp_path, records):
    twice = [*records.items(), ("whole/data/0", bytes(20))]
    with pytest.raises(UserError, match="a record is there twice"):
        torch_file.read(write_zip(tmp_path / "a.pth", twice))


def test_a_changed_number_of_an_archive_is_found(tmp_path):
    path = save({"a": torch.full((100,), 3.0)}, tmp_path / "a.pth", True)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<f", 3.0) * 3) + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        torch_file.read(path)


# --- files that are none ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Please log in", "not a file of torch.save: it begins with .*<!DOC"),
        (b"PK", "is damaged"),
        (b"PK\x03\x04" + bytes(100), "is damaged"),
        (b"PK\x05\x06" + bytes(18), "lacks data.pkl"),
        (b"\x80", "is damaged"),
        (b"\x80\x02", "is damaged"),
        (bytes(1000), "not a file of torch.save"),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path, content, message):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=message):
        torch_file.read(tmp_path / "a.pth")


def test_a_file_that_is_missing_or_a_folder_is_told(tmp_path):
    for path, message in ((tmp_path / "b.pth", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=f"cannot read {path}: {message}"):
            torch_file.read(path)
        with pytest.raises(UserError, match=f"cannot read {path}: {message}"):
            torch_file.is_pickled(path)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = save({"a": torch.ones(100)}, tmp_path / "a.pth", False)
    inner = np.fromfile
    monkeypatch.setattr(np, "fromfile", lambda *given: inner(*given)[:-1])
    with pytest.raises(UserError, match="became shorter"):
        torch_file.read(path)


@FORMATS
def test_a_file_cut_off_anywhere_is_refused(tmp_path, zipped):
    content = save(network().state_dict(), tmp_path / "whole.pth", zipped).read_bytes()
    path = tmp_path / "a.pth"
    cuts = {*np.linspace(0, len(content) - 1, 200, dtype=int).tolist(), len(content) - 1}
    for cut in cuts:
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match=r"a\.pth"):
            torch_file.read(path)


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
            arrays = torch_file.read(path)
        except UserError as error:
            refused.append(str(error))
        else:
            assert sum(array.nbytes for array in arrays.values()) < 16 * len(content)
    assert 100 < len(refused) < 600
    assert all(text.startswith(str(path)) and text.isprintable() for text in refused)


def test_what_is_pickled_is_told_by_content(tmp_path):
    path = tmp_path / "a.safetensors"
    for zipped in (False, True):
        assert torch_file.is_pickled(save({"a": torch.ones(1)}, path, zipped))
    for content in (b"", b"P", b"\x80", b"<html>", (640).to_bytes(8, "little") + b'{"a"'):
        path.write_bytes(content)
        assert not torch_file.is_pickled(path)
