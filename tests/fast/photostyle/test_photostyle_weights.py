import os
import random
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from pr12.photostyle import weights, weights_file
from pr12.shared import address, files, run, state_dicts, step
from pr12.shared.errors import UserError


def state_dict():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    return nn.ModuleDict({"features": features, "classifier": nn.Linear(4, 7)}).state_dict()


SHAPES = {
    name: tuple(tensor.shape)
    for name, tensor in state_dict().items()
    if name.startswith("features.")
}


def write(path, **changes):
    run.write_tensors(path, state_dict() | changes)
    return path


def convert(raw, made, prefix):
    arguments = ["--params", f'{{"prefix": "{prefix}"}}', f"raw={raw}", f"weights={made}"]
    run_step(arguments)


def run_step(arguments):
    with step.start(
        weights.Params,
        reads=["raw"],
        optional=["verified"],
        writes=["weights"],
        arguments=arguments,
    ) as job:
        weights.main(job)


def assert_equal(made, expected):
    assert list(made) == list(expected)
    for name, tensor in expected.items():
        assert made[name].dtype == tensor.dtype
        assert torch.equal(made[name], tensor)


# --- reading weights for a network ---


def test_the_named_tensors_are_read_and_others_are_not(tmp_path):
    path = write(tmp_path / "a.safetensors")
    shapes = dict(reversed(SHAPES.items()))
    expected = {name: state_dict()[name] for name in shapes}
    assert_equal(weights_file.read_weights(path, shapes), expected)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_float32(tmp_path, kind):
    path = tmp_path / "a.safetensors"
    run.write_tensors(path, {"a": torch.tensor([1.5, -3.0]).to(kind), "n": torch.tensor(3)})
    made = weights_file.read_weights(path, {"a": (2,), "n": ()})
    assert_equal(made, {"a": torch.tensor([1.5, -3.0]), "n": torch.tensor(3)})


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net"])
def test_a_file_of_torch_is_read_whatever_it_is_called(tmp_path, name, zipped):
    path = tmp_path / name
    torch.save(state_dict(), path, _use_new_zipfile_serialization=zipped)
    shapes = dict(reversed(SHAPES.items()))
    assert_equal(
        weights_file.read_weights(path, shapes), {name: state_dict()[name] for name in shapes}
    )


def test_a_header_that_looks_like_a_pickle_is_none(tmp_path):
    path = tmp_path / "a.safetensors"
    for length in range(400, 700):
        run.write_tensors(path, {"a": torch.ones(2)}, {"text": "x" * length})
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert weights_file.read_weights(path, {"a": (2,)})["a"].tolist() == [1, 1]


FORMS = pytest.mark.parametrize("form", ["old", "zip", "safetensors"])


def write_as(form, path, **changes):
    if form == "safetensors":
        return write(path, **changes)
    torch.save(state_dict() | changes, path, _use_new_zipfile_serialization=form == "zip")
    return path


@FORMS
def test_weights_of_another_architecture_are_refused(tmp_path, form):
    path = write_as(form, tmp_path / "a.safetensors")
    wrong = {"features.0.weight": (64, 3, 3, 3), "features.9.bias": (4,)}
    with pytest.raises(UserError) as refused:
        weights_file.read_weights(path, SHAPES | wrong)
    assert (
        f"{path} holds weights of another architecture: 2 of 8 tensors do not fit, the first is "
        "features.0.weight, which has the shape (4, 3, 3, 3) and should have (64, 3, 3, 3); "
    ) in str(refused.value)
    with pytest.raises(UserError, match=r"1 of 1 .* x, which is missing and should have \(4,\)"):
        weights_file.read_weights(path, {"x": (4,)})


@FORMS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value, form):
    bias = torch.tensor([0, 1, 2, value], dtype=torch.float16)
    path = write_as(form, tmp_path / "a.safetensors", **{"features.0.bias": bias})
    with pytest.raises(UserError, match=r"not finite, in features\.0\.bias; use other weights"):
        weights_file.read_weights(path, SHAPES)


def test_a_number_too_large_for_float32_is_not_finite(tmp_path):
    path = tmp_path / "a.safetensors"
    run.write_tensors(path, {"a": torch.tensor([1e300], dtype=torch.float64)})
    with pytest.raises(UserError, match="not finite"):
        weights_file.read_weights(path, {"a": (1,)})


def test_numbers_of_a_classifier_are_not_looked_at(tmp_path):
    path = write(tmp_path / "a.safetensors", **{"classifier.bias": torch.full((7,), torch.nan)})
    assert list(weights_file.read_weights(path, SHAPES)) == list(SHAPES)


NO_FILES = [b"", b"a", b"<!DOCTYPE html><html>Please log in</html>", b"\xff" * 100, bytes(100)]


@pytest.mark.parametrize("content", NO_FILES)
def test_what_is_no_weights_file_is_told_without_a_word_of_deleting(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for read in (
        lambda: weights_file.read_weights(path, SHAPES),
        lambda: state_dicts.read(path),
    ):
        with pytest.raises(UserError, match="is neither a whole safetensors file nor") as refused:
            read()
        assert "delete" not in str(refused.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    for path, message in ((tmp_path / "b.safetensors", "No such file"), (tmp_path, "Is a direc")):
        with pytest.raises(UserError, match=f"cannot read {path}: {message}"):
            weights_file.read_weights(path, SHAPES)


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    content = write(tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "a.safetensors"
    for cut in np.linspace(0, len(content) - 1, 100, dtype=int).tolist():
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match="is neither a whole safetensors file nor"):
            weights_file.read_weights(path, SHAPES)


def test_a_changed_byte_gives_tensors_or_one_sentence(tmp_path):
    content = write(tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "a.safetensors"
    end = 8 + int.from_bytes(content[:8], "little")
    draw = random.Random(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(content)
        changed[draw.randrange(end)] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            made = weights_file.read_weights(path, SHAPES)
        except UserError:
            refused += 1
        else:
            assert {name: tuple(tensor.shape) for name, tensor in made.items()} == SHAPES
    assert 100 < refused < 300


# --- the step ---


@FORMS
@pytest.mark.parametrize("prefix", ["features.", "", "classifier.weight"])
def test_the_tensors_under_the_prefix_are_written(tmp_path, form, prefix):
    raw, made = tmp_path / "raw", tmp_path / "made.safetensors"
    write_as(form, raw)
    convert(raw, made, prefix)
    expected = {name: tensor for name, tensor in state_dict().items() if name.startswith(prefix)}
    assert made.read_bytes() == safetensors.torch.save(expected, {})


def test_halves_are_written_as_float32(tmp_path):
    halves = {"a": torch.tensor([0.1]).half(), "b": torch.tensor([0.1]).bfloat16()}
    for raw in (tmp_path / "a.pth", tmp_path / "a.safetensors"):
        torch.save(halves, raw) if raw.suffix == ".pth" else run.write_tensors(raw, halves)
        convert(raw, tmp_path / "made.safetensors", "")
        made = safetensors.torch.load_file(tmp_path / "made.safetensors")
        assert_equal(made, {name: tensor.float() for name, tensor in halves.items()})


def test_the_step_runs_from_the_command_line(tmp_path):
    torch.save(state_dict(), tmp_path / "a.pth")
    given = [f"raw={tmp_path / 'a.pth'}", f"weights={tmp_path / 'made.safetensors'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pr12.photostyle.weights", "--params", '{"prefix": ""}', *given],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 0, done.stderr
    assert len(run.read_tensors(tmp_path / "made.safetensors")) == len(state_dict())


def test_the_step_reads_what_was_fetched_only(tmp_path, capsys):
    raw, made, verified = (tmp_path / name for name in ("a.pth", "made", "verified.json"))
    torch.save(state_dict(), raw)
    line = ["--params", '{"prefix": ""}', f"raw={raw}", f"verified={verified}", f"weights={made}"]
    files.write_json(verified, {raw.name: f"sha256:{'0' * 64}"})
    with pytest.raises(SystemExit, match="2"):
        run_step(line)
    assert "is not what was fetched" in capsys.readouterr().err.splitlines()[-1]
    assert not made.exists()
    files.write_json(verified, {raw.name: f"sha256:{files.sha256(raw)}"})
    run_step(line)
    assert made.exists()


class Attack:
    def __init__(self, marker):
        self.command = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_attack_is_one_sentence_and_leaves_no_file(tmp_path, capsys, zipped):
    raw, made, marker = tmp_path / "raw.pth", tmp_path / "made.safetensors", tmp_path / "marker"
    torch.save({"a": Attack(marker)}, raw, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SystemExit, match="2"):
        convert(raw, made, "")
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {raw} wants to call posix.system; only plain weights are read"
    )
    assert os.listdir(tmp_path) == ["raw.pth"]


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_a_prefix_without_names_is_one_sentence_and_leaves_no_file(tmp_path, capsys, form):
    raw = tmp_path / f"raw.{form}"
    torch.save(state_dict(), raw) if form == "pth" else write(raw)
    with pytest.raises(SystemExit, match="2"):
        convert(raw, tmp_path / "made.safetensors", "feat/")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {raw} has no tensor under 'feat/'; its first names are ")
    assert os.listdir(tmp_path) == [raw.name]


def test_vgg_names_are_those_of_torchvision():
    from pr12.shared.vision import import_torchvision

    with torch.device("meta"):
        net = import_torchvision().models.vgg19(weights=None)
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    kept = [np.prod(shape) for name, shape in shapes.items() if name.startswith("features.")]
    assert len(kept) == 32
    assert 4 * sum(kept) == 80_097_536  # bytes, as the module says: 80 of 575 MB
