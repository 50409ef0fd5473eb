import dataclasses
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from pr12.stn import evaluate_parts, parts, train_parts
from pr12.stn.data import cub, generated_parts, part_files
from pr12.stn.model import digit_networks, part_networks, part_windows
from pr12.workflow import files
from pr12.workflow.errors import UserError

NAMES = ["001.Auk/a.jpg", "001.Auk/b.jpg", "002.Crow/c.jpg", "002.Crow/d.jpg"]
GENERATED = parts.Params("generated", 40, 48, 20, 20, 0)
TRAIN = train_parts.Params(
    seeds=(0,),
    transformers=2,
    backbone="small",
    width=4,
    input_size=40,
    output_size=20,
    flips=False,
    dropout=0.0,
    epochs=2,
    batch_size=16,
    optimiser="adam",
    learning_rate=0.01,
    momentum=0.9,
    schedule="cosine",
    warmup_batches=0,
    weight_decay=0.0,
    localisation_rate=0.1,
    bfloat16=False,
)


def photograph(colour, size=(30, 20)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def lists():
    return {
        "images.txt": "".join(f"{i} {name}\n" for i, name in enumerate(NAMES, 1)),
        "image_class_labels.txt": "1 1\n2 1\n3 2\n4 2\n",
        "train_test_split.txt": "1 1\n2 0\n3 1\n4 0\n",
        "classes.txt": "1 001.Auk\n2 002.Crow\n",
    }


def archive(folder, texts=None, pictures=None):
    """Make an archive of the format of CUB_200_2011.tgz."""
    path = folder / cub.ARCHIVE
    members = {f"CUB_200_2011/{k}": v.encode() for k, v in (texts or lists()).items()}
    for number, name in enumerate(NAMES):
        members[f"CUB_200_2011/images/{name}"] = photograph((60 * number, 10, 200))
    members |= pictures or {}
    with tarfile.open(path, "w:gz") as stream:
        for name, content in members.items():
            if content is None:
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            stream.addfile(entry, io.BytesIO(content))
    return path


def test_birds_are_read_with_their_classes_and_split(tmp_path):
    birds = cub.read_lists(archive(tmp_path))
    assert [name.removeprefix("images/") for name in birds.names] == NAMES
    assert birds.labels.tolist() == [0, 0, 1, 1]
    assert birds.training.tolist() == [True, False, True, False]
    assert len(birds.classes) == 2


def test_photographs_come_in_the_order_asked_square_and_of_the_right_colour(tmp_path):
    path = archive(tmp_path)
    birds = cub.read_lists(path)
    images = cub.read_photographs(path, [birds.names[2], birds.names[0]], 16)
    assert images.shape == (2, 3, 16, 16)
    assert images.dtype == torch.uint8
    assert images[:, 0].float().mean(dim=(1, 2)).tolist() == pytest.approx([120, 0], abs=4)


@pytest.mark.parametrize("missing", sorted(lists()))
def test_a_missing_list_is_named(tmp_path, missing):
    texts = {name: text for name, text in lists().items() if name != missing}
    with pytest.raises(UserError, match=missing):
        cub.read_lists(archive(tmp_path, texts))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n"),
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n4 9\n"),
        ("train_test_split.txt", "1 1\n2 0\n3 1\n4 5\n"),
        ("images.txt", "one name\n"),
        ("images.txt", ""),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path, file, text):
    with pytest.raises(UserError):
        cub.read_lists(archive(tmp_path, lists() | {file: text}))


def test_a_photograph_that_the_archive_lacks_is_named(tmp_path):
    path = archive(tmp_path, pictures={f"CUB_200_2011/images/{NAMES[1]}": None})
    birds = cub.read_lists(path)
    with pytest.raises(UserError, match=r"b\.jpg"):
        cub.read_photographs(path, birds.names, 16)


def test_a_broken_photograph_is_named(tmp_path):
    path = archive(tmp_path, pictures={f"CUB_200_2011/images/{NAMES[1]}": b"no JPEG"})
    with pytest.raises(UserError, match=r"b\.jpg"):
        cub.read_photographs(path, cub.read_lists(path).names, 16)


def test_what_is_no_archive_or_is_cut_off_is_refused(tmp_path):
    path = archive(tmp_path)
    content = path.read_bytes()
    for broken in (b"not an archive", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"CUB_200_2011\.tgz is not a whole \.tar\.gz archive"):
            cub.read_photographs(path, NAMES, 16)  # the lists come first here, and may be whole


def test_the_splits_of_birds_keep_test_birds_apart(tmp_path):
    path = archive(tmp_path)
    files.write_json(tmp_path / "record", {cub.ARCHIVE: "sha256:" + files.sha256(path)})
    params = parts.Params("cub", 16, 1, 1, 2, 0)
    made = dict(parts.cub_splits(tmp_path, tmp_path / "record", params))
    assert {name: len(ours.labels) for name, ours in made.items()} == {
        "train": 1,
        "validation": 1,
        "test": 2,
    }
    assert sorted(made["test"].labels.tolist()) == [0, 1]


def test_another_archive_than_the_verified_one_is_refused(tmp_path):
    archive(tmp_path)
    files.write_json(tmp_path / "record", {cub.ARCHIVE: "sha256:" + "0" * 64})
    with pytest.raises(UserError, match="fetched"):
        dict(parts.cub_splits(tmp_path, tmp_path / "record", GENERATED))


def test_generated_objects_are_the_same_for_a_seed_and_differ_between_splits():
    first, again = (parts.generated_split("train", GENERATED) for _ in "ab")
    other = parts.generated_split("test", GENERATED)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images[:20], other.images)
    assert first.images.shape == (48, 3, 40, 40)
    assert first.places.shape == (48, 2, 2)
    assert first.labels.min() >= 0
    assert first.labels.max() < first.classes
    assert first.places.abs().max() <= 1


def test_images_too_small_for_parts_are_refused():
    with pytest.raises(UserError, match="size is 8"):
        generated_parts.draw(2, 8, torch.Generator())


def test_a_split_comes_back_as_it_was_written(tmp_path):
    made = parts.generated_split("test", GENERATED)
    part_files.write(tmp_path / "test.safetensors", made)
    again = part_files.load(tmp_path / "test.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(made[:3], again[:3], strict=True))
    assert again.classes == made.classes


def net(transformers):
    return part_networks.PartNetwork(
        part_networks.Architecture(transformers, "small", 4, 20, 9, 0.0)
    )


@pytest.mark.parametrize("transformers", [0, 1, 2, 4])
def test_windows_start_where_they_tile_the_image(transformers):
    logits, theta = net(transformers).eval()(torch.rand(3, 3, 40, 40))
    assert logits.shape == (3, 9)
    if transformers:
        start = torch.tensor(part_networks.tiled(transformers))
        assert torch.allclose(theta, start.expand(3, -1, -1))


def test_more_transformers_are_more_networks_with_one_localisation():
    sizes = [digit_networks.count(net(count)) for count in (0, 2, 4)]
    assert sizes[0] < sizes[1] < sizes[2] < 5 * sizes[0] + sizes[1]


def test_wrong_channels_and_too_small_outputs_are_refused():
    with pytest.raises(UserError, match="channels"):
        net(2)(torch.rand(1, 1, 40, 40))
    with pytest.raises(UserError):
        part_networks.PartNetwork(part_networks.Architecture(2, "small", 4, 4, 9, 0.0))


def run_step(module, params, arguments):
    from pr12.workflow import step

    names = {
        train_parts: (["train"], ["weights"], ["model", "history"]),
        evaluate_parts: (["model", "validation", "test"], [], ["metrics", "picture"]),
    }[module]
    command = ["--params", json.dumps(params), *(f"{k}={v}" for k, v in arguments.items())]
    with step.start(
        module.Params, reads=names[0], optional=names[1], writes=names[2], arguments=command
    ) as job:
        module.main(job)


@pytest.fixture
def splits(tmp_path):
    for name in ("train", "validation", "test"):
        part_files.write(tmp_path / f"{name}.safetensors", parts.generated_split(name, GENERATED))
    return tmp_path


def trained(folder, **changes):
    params = dataclasses.asdict(TRAIN) | changes
    run_step(
        train_parts,
        params,
        {
            "train": folder / "train.safetensors",
            "model": folder / "model.safetensors",
            "history": folder / "history.json",
        },
    )
    return folder / "model.safetensors"


def test_the_same_training_gives_the_same_bytes_and_is_judged(splits):
    first = trained(splits).read_bytes()
    assert trained(splits).read_bytes() == first
    run_step(
        evaluate_parts,
        {"batch": 10, "shown": 2, "bfloat16": False},
        {
            "model": splits / "model.safetensors",
            "validation": splits / "validation.safetensors",
            "test": splits / "test.safetensors",
            "metrics": splits / "metrics.json",
            "picture": splits / "picture.json",
        },
    )
    metrics = files.read_json(splits / "metrics.json")["metrics"]
    assert metrics["test/error_percent"][0] + metrics["test/accuracy_percent"][0] == 100
    assert 0 <= metrics["test/found_part_a_percent"][0] <= 100


def test_a_training_that_is_lost_or_has_too_few_images_says_so(splits, capsys):
    for changes, said in (
        ({"learning_rate": 1e30}, "theta that are not finite"),
        ({"batch_size": 100}, "48 images"),
    ):
        with pytest.raises(SystemExit) as left:
            trained(splits, **changes)
        assert left.value.code == 2
        assert said in capsys.readouterr().err


def test_windows_hold_a_part_only_if_it_lies_wholly_inside():
    theta = torch.tensor([[[0.0, 0.0]]])
    places = torch.tensor([[[0.2, 0.0], [0.45, 0.0]]])
    assert part_windows.held(theta, places, 0.1).flatten().tolist() == [True, False]


def test_other_files_are_no_models(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(np.arange(3).tobytes())
    with pytest.raises(UserError):
        evaluate_parts.load(path)
