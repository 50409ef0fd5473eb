import hashlib
import json

import pytest
import torch

from cub_archives import NAMES, jpeg, members, pack
from pr12.core import tensor_files
from pr12.stn import parts
from pr12.stn.data import cub, generated_parts, part_files
from pr12.stn.parts import SPLITS
from pr12.workflow import step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

GENERATED = {"source": "generated", "size": 32, "train": 5, "validation": 3, "test": 4}
GENERATED |= {"split_seed": 0}
BIRDS = {"source": "cub", "size": 16, "train": 1, "validation": 1, "test": 1, "split_seed": 0}


def run_step(made, params, **given):
    outputs = {name: made / f"{name}.safetensors" for name in SPLITS}
    named = [f"{name}={path}" for name, path in {**outputs, **given}.items()]
    line = ["--params", json.dumps(params), *named]
    optional = ["verified", "folder"]
    with step.start(parts.Params, optional=optional, writes=SPLITS, arguments=line) as job:
        parts.main(job)
    return outputs


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "raw").mkdir()
    archive = pack(tmp_path / "raw" / "CUB_200_2011.tgz", members())
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    (tmp_path / "verified.json").write_text(json.dumps({archive.name: f"md5:{digest}"}))
    return tmp_path


def given(folder):
    return {"verified": folder / "verified.json", "folder": folder / "raw"}


# --- generated ---


def test_generated_splits_are_the_same_bytes_each_time_and_share_no_image(tmp_path):
    one = run_step(tmp_path / "a", GENERATED)
    again = run_step(tmp_path / "b", GENERATED)
    for name in SPLITS:
        assert one[name].read_bytes() == again[name].read_bytes()
    splits = [part_files.load(path) for path in one.values()]
    assert [len(split.images) for split in splits] == [5, 3, 4]
    assert len(torch.cat([split.images for split in splits]).flatten(1).unique(dim=0)) == 12
    for split in splits:
        assert split.images.shape[1:] == (3, 32, 32)
        assert split.places.shape == (len(split.images), 2, 2)
        assert split.classes == generated_parts.CLASSES


# --- birds ---


def test_birds_come_with_their_species_and_tests_are_the_archives_own(folder):
    made = run_step(folder / "made", BIRDS, **given(folder))
    test = part_files.load(made["test"])
    assert test.labels.tolist() == [0]
    assert test.places.shape == (1, 0, 2)
    others = [part_files.load(made[name]).labels.item() for name in ("train", "validation")]
    assert sorted(others) == [0, 1]  # the archive's two training birds
    assert {part_files.load(path).classes for path in made.values()} == {2}


def test_images_stay_with_their_labels(folder):
    colours = {1: (250, 0, 0), 2: (0, 250, 0), 3: (0, 0, 250)}
    images = {f"CUB_200_2011/images/{NAMES[key]}": jpeg(ours) for key, ours in colours.items()}
    archive = pack(folder / "raw" / "CUB_200_2011.tgz", members() | images)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "verified.json").write_text(json.dumps({archive.name: f"sha256:{digest}"}))
    made = run_step(folder / "made", BIRDS, **given(folder))
    for name in ("train", "validation"):
        split = part_files.load(made[name])
        brightest = split.images.float().mean(dim=(0, 2, 3)).argmax().item()
        assert (brightest, split.labels.item()) in {(1, 0), (2, 1)}  # green and blue
    assert part_files.load(made["test"]).images.float().mean(dim=(0, 2, 3)).argmax() == 0


def bird_params(**changes):
    return make(parts.Params, BIRDS | changes, "--params")


def test_every_bird_can_be_used_and_none_twice():
    training = torch.arange(100) % 2 == 0
    rows = parts.dealt(training, bird_params(train=None, validation=10, test=None))
    assert [len(rows[name]) for name in SPLITS] == [40, 10, 50]
    assert torch.cat([rows[name] for name in SPLITS]).sort().values.equal(torch.arange(100))
    assert training[torch.cat([rows["train"], rows["validation"]])].all()
    assert not training[rows["test"]].any()


def test_the_deal_depends_on_the_seed_and_tests_not_on_other_sizes():
    training = torch.arange(100) % 2 == 0
    one = parts.dealt(training, bird_params(train=9, validation=10, test=20))
    same = parts.dealt(training, bird_params(train=1, validation=30, test=20))
    other = parts.dealt(training, bird_params(train=9, validation=10, test=20, split_seed=1))
    assert torch.equal(one["test"], same["test"])
    assert not torch.equal(one["test"], other["test"])


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (BIRDS, "cub is read from a file: add verified=PATH and folder=PATH"),
        (BIRDS | {"source": "dogs"}, 'source is "dogs"; it must be one of generated, cub'),
        (GENERATED | {"size": 31}, "size is 31; it must be at least 32"),
        (GENERATED | {"size": 4}, "size is 4; it must be a number from 8 to 2048"),
        (GENERATED | {"train": None}, "train is null; it must be a number"),
        (GENERATED | {"validation": 0}, "validation is 0; it must be a number of at least 1"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, params, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path / "made", params)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 2}, "there are 2 birds to train; train and validation ask 3 or more"),
        ({"train": None, "validation": 2}, "there are 2 birds to train; train and validation ask"),
        ({"test": 2}, "there are 1 birds to test; test asks 2"),
    ],
)
def test_more_birds_than_there_are_cannot_be_asked(folder, capsys, changes, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(folder / "made", BIRDS | changes, **given(folder))
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("text", ["[]", "7", "{}", "{", ""])
def test_a_record_that_is_none_is_refused(folder, capsys, text):
    (folder / "verified.json").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        run_step(folder / "made", BIRDS, **given(folder))
    assert "verified.json" in capsys.readouterr().err.splitlines()[-1]
    assert not (folder / "made").exists()


def test_an_archive_that_was_changed_since_is_refused(folder, capsys):
    path = folder / "raw" / cub.ARCHIVE
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SystemExit, match="2"):
        run_step(folder / "made", BIRDS, **given(folder))
    assert "is not what was fetched" in capsys.readouterr().err.splitlines()[-1]


IMAGES = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
WHOLE = {"images": IMAGES, "labels": torch.tensor([0, 1]), "places": torch.zeros(2, 0, 2)}


@pytest.mark.parametrize(
    "changes",
    [
        {"images": IMAGES.float()},
        {"images": IMAGES[:, :1]},
        {"images": IMAGES[..., :4]},
        {"images": IMAGES[0]},
        {"labels": torch.tensor([0, 2])},
        {"labels": torch.tensor([-1, 0])},
        {"labels": torch.tensor([0])},
        {"places": torch.zeros(2, 2, 3)},
        {"places": torch.zeros(2)},
        {"images": IMAGES[:0], "labels": torch.zeros(0).long(), "places": torch.zeros(0, 0, 2)},
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, changes):
    path = tmp_path / "train.safetensors"
    tensor_files.write_tensors(path, WHOLE | changes, {"parts": '{"classes": 2}'})
    with pytest.raises(UserError, match=r"holds no split of stn\.parts; give a file"):
        part_files.load(path)


@pytest.mark.parametrize("metadata", [{}, {"parts": "{"}, {"parts": "[]"}, {"parts": "{}"}])
def test_a_split_needs_its_number_of_classes(tmp_path, metadata):
    path = tmp_path / "train.safetensors"
    tensor_files.write_tensors(path, WHOLE, metadata)
    with pytest.raises(UserError, match=r"holds no split of stn\.parts"):
        part_files.load(path)
