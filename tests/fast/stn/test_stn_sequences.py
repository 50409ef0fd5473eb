import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch

from pr12.core import tensor_files
from pr12.data import splits
from pr12.stn import sequences
from pr12.stn.data import composed, sequence_files
from pr12.workflow import address, step
from pr12.workflow.errors import UserError
from svhn_archives import ONE, SIX, TWO, members, pack, png

PARAMS = {
    "source": "composed",
    "size": 32,
    "train": 30,
    "validation": 10,
    "test": 12,
    "max_digits": 3,
    "heights": [10, 14],
    "extra": True,
    "split_seed": 0,
}
SVHN = PARAMS | {"source": "svhn", "size": 64, "train": None, "validation": 2, "test": None}


def arguments(made, params, **given):
    outputs = {name: made / f"{name}.safetensors" for name in sequences.SPLITS}
    named = [f"{name}={path}" for name, path in {**outputs, **given}.items()]
    return ["--params", json.dumps(params), *named], outputs


def run_step(made, params, **given):
    line, outputs = arguments(made, params, **given)
    with step.start(
        sequences.Params,
        optional=[*(f"digits_{name}" for name in sequences.SPLITS), "verified", "folder"],
        writes=sequences.SPLITS,
        arguments=line,
    ) as job:
        sequences.main(job)
    return {name: sequence_files.load(path) for name, path in outputs.items()}


def fails(capsys, made, params, **given):
    with pytest.raises(SystemExit, match="2"):
        run_step(made, params, **given)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.fixture
def digits(tmp_path):
    """Splits of digits whose labels tell them apart: 0 to 3, 4 to 6 and 7 to 9."""
    actual = {}
    for name, labels in {
        "train": range(4),
        "validation": range(4, 7),
        "test": range(7, 10),
    }.items():
        actual[f"digits_{name}"] = tmp_path / f"digits_{name}.safetensors"
        tensors = {
            "images": torch.full((len(labels), 8, 8), 16, dtype=torch.uint8),
            "labels": torch.tensor(list(labels)),
        }
        tensor_files.write_tensors(actual[f"digits_{name}"], tensors, {"maximum": "16"})
    return actual


def numbered(first, count, colour):
    """Give members of an archive: `count` pictures with one to five digits each."""
    houses = [
        (f"{number}.png", [(4.0 * i, 4.0, 4.0, 9.0, 1.0 + i) for i in range(1 + number % 5)])
        for number in range(first, first + count)
    ]
    return members(houses) | {name: png(colour=colour) for name, _ in houses}


@pytest.fixture
def archives(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    contents = {
        "train": numbered(1, 6, (255, 0, 0)),
        "extra": numbered(1, 8, (0, 255, 0)),
        "test": members([ONE, TWO, SIX]),
    }
    checksums = {}
    for name, content in contents.items():
        path = pack(folder / f"{name}.tar.gz", name, content)
        checksums[path.name] = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    verified = tmp_path / "verified.json"
    verified.write_text(json.dumps(checksums))
    return {"folder": folder, "verified": verified}


# --- composed ---


def test_no_split_has_digits_of_another(tmp_path, digits):
    made = run_step(tmp_path / "made", PARAMS, **digits)
    assert [len(made[name].labels) for name in sequences.SPLITS] == [30, 10, 12]
    seen = {name: set(made[name].labels.unique().tolist()) - {10} for name in sequences.SPLITS}
    assert seen == {"train": {0, 1, 2, 3}, "validation": {4, 5, 6}, "test": {7, 8, 9}}


@pytest.mark.slow
def test_composed_splits_are_the_same_bytes_each_time(tmp_path, digits):
    line, outputs = arguments(tmp_path / "made", PARAMS, **digits)
    done = subprocess.run(
        [sys.executable, "-m", "pr12.stn.sequences", *line],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 0, done.stderr
    assert "train: 30 sequences, of the lengths 0 to 5 [0, " in done.stderr
    run_step(tmp_path / "again", PARAMS, **digits)
    for path in outputs.values():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": None}, "train is null"),
        ({"heights": [14, 10]}, "heights is [14, 10]; it must be the lowest and"),
        ({"heights": [10]}, "heights is [10]; it must be a list of 2"),
        ({"heights": [10, 500]}, "heights is [10, 500]; it must be the lowest"),
        ({"test": None}, "test is null"),
        ({"heights": [0, 10]}, "heights[0] is 0; it must be a number of at least 1"),
        ({"max_digits": 6}, "max_digits is 6; it must be a number from 1 to 5"),
        ({"size": 48}, "size is 48; it must be one of 32, 64, 128"),
    ],
)
def test_senseless_params_are_one_sentence(tmp_path, digits, capsys, change, message):
    assert message in fails(capsys, tmp_path / "made", PARAMS | change, **digits)


def test_a_label_that_is_no_digit_is_told_before_a_file_is_written(tmp_path, digits, capsys):
    split = splits.load_split(digits["digits_test"])
    tensors = {"images": (split.images * 255).byte(), "labels": split.labels + 1}
    tensor_files.write_tensors(digits["digits_test"], tensors, {"maximum": "255"})
    said = fails(capsys, tmp_path / "made", PARAMS, **digits)
    assert "digits_test has labels that are no digits from 0 to 9" in said
    assert not list((tmp_path / "made").glob("*"))


def test_inputs_that_are_missing_are_named(tmp_path, digits, capsys):
    del digits["digits_test"]
    assert "add digits_test=PATH" in fails(capsys, tmp_path / "made", PARAMS, **digits)
    assert "add verified=PATH and folder=PATH" in fails(capsys, tmp_path / "made", SVHN)


# --- SVHN ---


def test_train_and_extra_are_dealt_out_and_test_is_apart(tmp_path, archives):
    made = run_step(tmp_path / "made", SVHN, **archives)
    assert [len(made[name].labels) for name in sequences.SPLITS] == [12, 2, 2]
    assert made["test"].left_out == 1  # the picture with six digits
    assert made["test"].labels.tolist() == [[0, *[10] * 4], [1, 9, *[10] * 3]]
    learnt = torch.cat([made["train"].images, made["validation"].images])[:, :, 32, 40]
    assert sorted(learnt.tolist()) == [[0, 255, 0]] * 8 + [[255, 0, 0]] * 6
    assert made["test"].images[:, :, 32, 40].unique(dim=0).tolist() == [[200, 100, 50]]


def test_pictures_and_labels_stay_together(tmp_path, archives):
    content = numbered(1, 10, (0, 0, 0))
    for number in range(1, 11):  # the picture says its number of digits
        content[f"{number}.png"] = png(colour=(40 * (1 + number % 5), 7, 7))
    path = pack(archives["folder"] / "train.tar.gz", "train", content)
    checksums = json.loads(archives["verified"].read_text())
    checksums["train.tar.gz"] = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    archives["verified"].write_text(json.dumps(checksums))
    made = run_step(tmp_path / "made", SVHN | {"extra": False}, **archives)
    for split in ("train", "validation"):
        lengths = (made[split].labels != composed.BLANK).sum(dim=1)
        red = made[split].images[:, 0].flatten(1).amax(dim=1)
        assert torch.equal(red.long(), 40 * lengths)
    assert len(made["train"].labels) == 8


def test_extra_is_not_read_unless_it_is_asked(tmp_path, archives):
    (archives["folder"] / "extra.tar.gz").unlink()
    made = run_step(tmp_path / "made", SVHN | {"extra": False}, **archives)
    assert len(made["train"].labels) == 4


def test_the_seed_deals_out_the_validation_pictures(tmp_path, archives):
    made = [
        run_step(tmp_path / f"made{seed}", SVHN | {"split_seed": seed, "validation": 5}, **archives)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(made[0]["validation"].images, made[1]["validation"].images)
    assert not torch.equal(made[0]["validation"].labels, made[2]["validation"].labels)
    assert torch.equal(made[0]["test"].images, made[2]["test"].images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 13}, "svhn has 14 pictures to learn from and 2 to test with; train asks 13"),
        ({"validation": 14}, "train asks 0, validation 14"),
        ({"test": 3}, "and test 3"),
    ],
)
def test_more_pictures_than_there_are_is_one_sentence(tmp_path, archives, capsys, change, message):
    assert message in fails(capsys, tmp_path / "made", SVHN | change, **archives)
    assert not (tmp_path / "made").exists()


def test_an_archive_that_changed_is_told_before_it_is_read(tmp_path, archives, capsys):
    with open(archives["folder"] / "extra.tar.gz", "ab") as stream:
        stream.write(b"x")
    said = fails(capsys, tmp_path / "made", SVHN, **archives)
    assert "extra.tar.gz is not what was fetched" in said
    archives["verified"].write_text("[]")
    assert "is no list of checksums" in fails(capsys, tmp_path / "made", SVHN, **archives)


# --- files ---

GOOD = {
    "images": torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
    "labels": torch.full((2, 5), 10),
}
SAID = {"sequences": '{"left_out": 0}'}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"images": GOOD["images"]}, SAID),
        (GOOD, {}),
        (GOOD, {"sequences": "[]"}),
        (GOOD, {"sequences": "x"}),
        (GOOD | {"images": GOOD["images"].float()}, SAID),
        (GOOD | {"images": GOOD["images"][:, :1].contiguous()}, SAID),
        (GOOD | {"images": GOOD["images"][..., :16].contiguous()}, SAID),
        (GOOD | {"images": GOOD["images"][:1]}, SAID),
        (GOOD | {"labels": GOOD["labels"][:, :4].contiguous()}, SAID),
        (GOOD | {"labels": GOOD["labels"].int()}, SAID),
        (GOOD | {"labels": GOOD["labels"] + 1}, SAID),
        (GOOD | {"labels": GOOD["labels"] - 11}, SAID),
        ({name: value[:0] for name, value in GOOD.items()}, SAID),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, tensors, said):
    path = tmp_path / "train.safetensors"
    tensor_files.write_tensors(path, GOOD, SAID)
    sequence_files.load(path)
    tensor_files.write_tensors(path, tensors, said)
    with pytest.raises(UserError, match=r"holds no split of stn\.sequences; give"):
        sequence_files.load(path)
