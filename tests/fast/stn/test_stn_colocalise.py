import dataclasses
import json

import pytest
import torch

from pr12.core import checkpoints, tensor_files
from pr12.stn import colocalise
from pr12.workflow import files, progress, step

PARAMS = {
    "seeds": [0],
    "digits": [1, 3],
    "images": 4,
    "patches": 0,
    "iterations": 4,
    "batch_size": 4,
    "learning_rate": 0.001,
    "scale_rate": 0.02,
    "jitter": 2,
    "stride": 4,
    "margin": 1.0,
    "embedding_length": 3.0,
    "embedding_width": 4,
    "embedding_steps": 3,
    "embedding_batch_size": 8,
    "embedding_learning_rate": 0.002,
    "bfloat16": False,
}


def write_split(path, count=40, seed=0, value=None):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 17, (count, 8, 8), generator=draw).byte()
    if value is not None:
        images[0] = value
    labels = torch.arange(count) % 4
    tensor_files.write_tensors(path, {"images": images, "labels": labels}, {"maximum": "16"})


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path / "train.safetensors")
    write_split(tmp_path / "test.safetensors", seed=1)
    return tmp_path


def run_step(folder, name="made", **changes):
    made = folder / name
    paths = {part: folder / f"{part}.safetensors" for part in ("train", "test")}
    paths |= {part: made / f"{part}.json" for part in ("metrics", "picture")}
    line = [
        *("--params", json.dumps(PARAMS | changes)),
        *(f"{key}={path}" for key, path in paths.items()),
    ]
    with step.start(
        colocalise.Params, reads=["train", "test"], writes=["metrics", "picture"], arguments=line
    ) as job:
        colocalise.main(job)
    return files.read_json(paths["metrics"]), files.read_json(paths["picture"])


def test_metrics_have_a_value_per_seed_and_the_picture_all_digits(folder):
    written, picture = run_step(folder, seeds=[0, 1])
    actual = written["metrics"]
    for kind in ("images", "new", "random"):
        for group in ("all", "digit1", "digit3"):
            assert len(actual[f"{kind}/correct_{group}_percent"]) == 2
            assert len(actual[f"{kind}/iou_{group}"]) == 2
        both = [actual[f"{kind}/iou_digit{digit}"] for digit in (1, 3)]
        mean = [sum(pair) / 2 for pair in zip(*both, strict=True)]
        assert actual[f"{kind}/iou_all"] == pytest.approx(mean)
    assert len(actual["images/hinge_all"]) == len(actual["embedding/accuracy_percent"]) == 2
    assert written["provenance"]["params"]["iterations"] == 4
    assert sorted(picture["digits"]) == ["1", "3"]
    shown = picture["digits"]["3"]
    assert torch.tensor(shown["canvases"]).shape == (3, 84, 84)
    assert [row["iteration"] for row in shown["history"]] == [1, 2, 3, 4]
    assert torch.tensor(shown["history"][-1]["boxes"]).shape == torch.tensor(shown["true"]).shape
    assert not (folder / "made" / "resume.pt").exists()


def test_the_true_box_holds_all_ink_of_a_canvas_without_clutter(folder):
    _, picture = run_step(folder)
    shown = picture["digits"]["1"]
    for canvas, (left, top, right, bottom) in zip(shown["canvases"], shown["true"], strict=True):
        pixels = torch.tensor(canvas)
        inside = pixels[int(top) : int(bottom), int(left) : int(right)]
        assert inside.shape == (28, 28)
        assert inside.sum() == pixels.sum() > 0


def test_clutter_adds_ink_and_moves_no_digit(folder):
    _, plain = run_step(folder)
    _, cluttered = run_step(folder, "cluttered", patches=16)
    one, two = (picture["digits"]["1"] for picture in (plain, cluttered))
    assert one["true"] == two["true"]
    difference = torch.tensor(two["canvases"]) - torch.tensor(one["canvases"])
    assert difference.min() == 0
    assert difference.max() > 0


def test_the_same_params_give_the_same_numbers(folder):
    assert run_step(folder)[0]["metrics"] == run_step(folder, "again")[0]["metrics"]


def test_a_class_learns_the_same_alone(folder):
    both = run_step(folder)[0]["metrics"]
    alone = run_step(folder, "alone", digits=[3])[0]["metrics"]
    for key in ("images/iou_digit3", "new/iou_digit3", "random/iou_digit3"):
        assert both[key] == alone[key]


@pytest.mark.parametrize("rows", [1, 4, 5, 8, 11, 15])  # in, between and after classes and seeds
@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_numbers(folder, monkeypatch, rows):
    whole = run_step(folder, seeds=[0, 1])[0]["metrics"]
    save, count = checkpoints.save_state, 0

    def killed(path, state, fingerprint):
        nonlocal count
        save(path, state, fingerprint)
        count += 1
        if count == rows:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_state", killed)
    with pytest.raises(SystemExit, match="130"):
        run_step(folder, "killed", seeds=[0, 1])
    monkeypatch.setattr(checkpoints, "save_state", save)
    assert not (folder / "killed" / "metrics.json").exists()
    done = []
    follow = progress.follow
    monkeypatch.setattr(progress, "follow", lambda *a: follow(*a[:3], done.append(a[3]) or a[3]))
    assert run_step(folder, "killed", seeds=[0, 1])[0]["metrics"] == whole
    assert done == [rows]


def test_all_new_images_are_judged_where_there_are_fewer(folder):
    write_split(folder / "test.safetensors", count=8)  # two of each class
    actual = run_step(folder, digits=[1])[0]["metrics"]
    assert actual["new/correct_all_percent"][0] in (0.0, 50.0, 100.0)


# --- bad input ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 11}, "there are 10 images of the digit 1, 11 are needed"),
        ({"digits": [7]}, "train has no image of the digit 7; leave it out of digits"),
        ({"batch_size": 5}, "batch_size is 5; it must be at most images, 4"),
        ({"digits": [1, 1]}, "holds 1 twice; name it once"),
        ({"seeds": [2, 2]}, "seeds is [2, 2]; name each seed once"),
        ({"digits": []}, "at least one element"),
        ({"digits": [10]}, "from 0 to 9"),
        ({"stride": 3}, "must be one of 1, 2, 4"),
        ({"scale_rate": -0.1}, "at least 0"),
        ({"jitter": -1}, "from 0 to 84"),
    ],
)
def test_bad_params_are_told_in_a_sentence(folder, capsys, changes, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(folder, **changes)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert not (folder / "made" / "metrics.json").exists()


@pytest.mark.parametrize("name", ["train", "test"])
def test_pixels_brighter_than_ink_are_refused(folder, capsys, name):
    write_split(folder / f"{name}.safetensors", value=17)
    with pytest.raises(SystemExit, match="2"):
        run_step(folder)
    assert f"error: {name} has pixels outside 0 to 1" in capsys.readouterr().err


def test_a_file_that_is_no_split_is_refused(folder, capsys):
    (folder / "test.safetensors").write_bytes(b"no split")
    with pytest.raises(SystemExit, match="2"):
        run_step(folder)
    assert "test.safetensors is not a safetensors file" in capsys.readouterr().err


def test_params_have_no_defaults():
    fields = dataclasses.fields(colocalise.Params)
    assert all(field.default is dataclasses.MISSING for field in fields)
    assert {field.name for field in fields} == PARAMS.keys()


def test_a_training_that_leaves_the_numbers_is_told(folder, capsys):
    with pytest.raises(SystemExit) as caught:
        run_step(folder, learning_rate=1e38)
    assert caught.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "not finite at digit 1, seed 0, iteration " in said
    assert said.endswith("lower learning_rate and run again")
    assert not (folder / "made" / "metrics.json").exists()
