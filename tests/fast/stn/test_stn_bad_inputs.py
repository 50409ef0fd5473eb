"""Bad inputs of stn: what a library function or a step answers in one sentence."""

import hashlib
import json
import runpy
import sys

import pytest
import torch
from torch import nn

import bad_inputs
import cub_archives
import svhn_archives
from pr12.core import tensor_files
from pr12.stn.data import archives, cub, generated_parts, part_files, sequence_files, svhn
from pr12.stn.model import digit_networks, grids, part_networks, sequence_networks
from pr12.stn.model.transformer import ParallelTransformers, SpatialTransformer, sample
from pr12.workflow import address, yaml_files
from pr12.workflow.errors import UserError

SMALL = {
    "train": {"images": 8, "batch_size": 4, "parameters": 40_000, "distortions": ["R"]},
    "evaluate": {},
    "train_sequences": {"width_scale": 0.1, "epochs": 1, "batch_size": 8},
    "evaluate_sequences": {},
    "train_parts": {
        "transformers": 1, "width": 2, "input_size": 16, "output_size": 8, "epochs": 1,
        "batch_size": 8,
    },
    "evaluate_parts": {},
    "colocalise": {
        "digits": [3], "images": 4, "batch_size": 4, "iterations": 2, "embedding_steps": 2,
    },
    "sequences": {"train": 8, "validation": 4, "test": 4},
    "parts": {"train": 8, "validation": 4, "test": 4},
    "cost": {},
}  # fmt: skip
WRITES = {
    "train": ("model", "history"),
    "evaluate": ("metrics", "picture"),
    "sequences": ("train", "validation", "test"),
    "cost": ("metrics",),
}
WRITES |= {"train_sequences": WRITES["train"], "train_parts": WRITES["train"]}
WRITES |= {"parts": WRITES["sequences"]}
WRITES |= dict.fromkeys(("evaluate_sequences", "evaluate_parts"), WRITES["evaluate"])
WRITES |= {"colocalise": WRITES["evaluate"]}
PARAMS = yaml_files.load(address.SRC.parent / "params.yaml")["stn"]


def run(name, out, given, **changes):
    """Run a step as the command line does, in this process."""
    values = PARAMS[name] | SMALL[name] | changes
    if "train" in name or name == "colocalise":
        values = {"seeds": [0]} | values
    paths = given | {output: out / output for output in WRITES[name]}
    line = ["--params", json.dumps(values), *(f"{key}={path}" for key, path in paths.items())]
    before, sys.argv = sys.argv, [name, *line]
    try:
        runpy.run_module(f"pr12.stn.{name}", run_name="__main__")
    finally:
        sys.argv = before


def digits(path, images=None, labels=None):
    """Write a split of digits, perhaps of others than 20 bars."""
    labels = torch.arange(20) % 10 if labels is None else labels
    images = torch.zeros(len(labels), 28, 28).byte() if images is None else images
    images[..., 10:20, 10:14] = 255
    tensor_files.write_tensors(path, {"images": images, "labels": labels}, {"maximum": "255"})
    return path


def sequences(path, count=12, size=32):
    images, labels = torch.zeros(count, 3, size, size).byte(), torch.full((count, 5), 10)
    sequence_files.write(path, sequence_files.Sequences(images, labels, 0), "composed")
    return path


def parts(path, count=12, size=16, classes=2):
    images, none = torch.zeros(count, 3, size, size).byte(), torch.zeros(count, 0, 2)
    images += (torch.arange(count) % 2 * 99).byte()[:, None, None, None]
    part_files.write(path, part_files.Examples(images, torch.arange(count) % 2, none, classes))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return paths of good inputs: splits of three kinds, and nets of three kinds."""
    folder = tmp_path_factory.mktemp("good")
    paths = {
        "digits": digits(folder / "digits"),
        "sequences": sequences(folder / "sequences"),
        "parts": parts(folder / "parts"),
        "text": folder / "text",
        "record": folder / "record",
        "folder": folder,
    }
    paths["text"].write_text("no tensors")
    paths["record"].write_text(json.dumps({"another.tgz": "md5:" + "0" * 32}))
    kinds = {"train": "digits", "train_sequences": "sequences", "train_parts": "parts"}
    for name, kind in kinds.items():
        run(name, folder / name, {"train": paths[kind]})
        paths[f"model_{kind}"] = folder / name / "model"
        paths[f"history_{kind}"] = folder / name / "history"
    return paths


# --- how bad inputs are made ---


def call(function, *given, **named):
    """Return a maker that calls a function of the library."""
    return lambda inputs, folder: function(*given, **named)


def lazily(function):
    """Return a maker that needs no files."""
    return lambda inputs, folder: function()


def step(name, given, **changes):
    """Return a maker that runs a step on good inputs, or on those that a function makes."""

    def make(inputs, folder):
        paths = {
            key: inputs[value] if isinstance(value, str) else value(folder)
            for key, value in given.items()
        }
        run(name, folder / "out", paths, **changes)

    return make


def transformer(*given, side=28, **named):
    """Return a transformer whose localisation net reads squares of `side` pixels."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(side * side, 9))
    return SpatialTransformer(net, *(given or (9, "affine")), **named)


def architecture(**changes):
    return sequence_networks.Network(
        sequence_networks.Architecture("cnn", 32, 0.1, 1, 0.0)._replace(**changes)
    )


def part_network(**changes):
    return part_networks.PartNetwork(
        part_networks.Architecture(1, "small", 2, 8, 2, 0.0)._replace(**changes)
    )


def googlenet(change):
    """Return a maker of a file of GoogLeNet's weights after a change."""

    def make(folder):
        tensors = part_networks.backbone("googlenet", 1)[0].state_dict()
        change(tensors)
        torch.save(tensors, folder / "weights.pth")
        return folder / "weights.pth"

    return make


def infinite(tensors):
    tensors["conv1.conv.weight"][0, 0, 0, 0] = float("inf")


def whole_numbers(tensors):
    tensors["conv1.conv.weight"] = tensors["conv1.conv.weight"].long()


def another_net(tensors):
    tensors.clear()
    tensors["features.0.weight"] = torch.zeros(64, 3, 11, 11)


def record_of(folder, archive):
    """Write the record of an archive, and return it."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "verified").write_text(json.dumps({archive.name: f"sha256:{digest}"}))


def birds(change, **changes):
    """Return a maker that runs `parts` on an archive of birds after a change."""

    def make(inputs, folder):
        archive = cub_archives.pack(folder / cub.ARCHIVE, cub_archives.members(**changes))
        change(archive)
        record_of(folder, archive)
        given = {"verified": folder / "verified", "folder": folder}
        ask = {"source": "cub", "size": 16, "train": 1, "validation": 1, "test": 1}
        run("parts", folder / "out", given, **ask)

    return make


def houses(change, **changes):
    """Return a maker that runs `sequences` on archives of house numbers after a change."""

    def make(inputs, folder):
        record = {}
        for name in ("train", "test"):
            path = folder / svhn.ARCHIVES[name]
            listed = [svhn_archives.ONE, svhn_archives.TWO]
            svhn_archives.pack(path, name, svhn_archives.members(listed) | changes)
            if name == "train":
                change(path)
            record[path.name] = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "verified").write_text(json.dumps(record))
        given = {"verified": folder / "verified", "folder": folder}
        ask = {"source": "svhn", "size": 32, "train": 1, "validation": 1, "test": 1}
        run("sequences", folder / "out", given, **ask)

    return make


def nothing(path):
    """Leave an archive as it is."""


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def page(path):
    path.write_bytes(b"<html>Please log in</html>")


def composed(**changes):
    """Return a maker that composes sequences of digits."""
    names = ("train", "validation", "test")
    return lambda **given: step(
        "sequences", {f"digits_{name}": "digits" for name in names} | given, **changes
    )


DIGITS = {"train": "digits"}
NETS = {"model": "model_digits", "history": "history_digits", "test": "digits"}
SEQUENCES = {"model": "model_sequences", "validation": "sequences", "test": "sequences"}
PARTS = {"model": "model_parts", "validation": "parts", "test": "parts"}
BOTH = {"train": "digits", "test": "digits"}
CELL = ("fcn", "none", 1, "max", "R", 9000)
GOOGLENET = {"backbone": "googlenet", "output_size": 32, "transformers": 0}


def build(**changes):
    names = ("network", "transform", "transformers", "pooling", "distortion", "parameters")
    return call(digit_networks.build, **(dict(zip(names, CELL, strict=True)) | changes))


def no_images(folder):
    return digits(folder / "empty", torch.zeros(0, 28, 28).byte(), torch.zeros(0).long())


def flat_images(folder):
    return digits(folder / "flat", torch.zeros(20, 784).byte()[:, None].squeeze(1))


def float_labels(folder):
    return digits(folder / "floats", labels=torch.zeros(20))


def fewer_labels(folder):
    return digits(folder / "fewer", torch.zeros(20, 28, 28).byte(), torch.zeros(19).long())


def without_three(folder):
    return digits(folder / "without", labels=torch.zeros(20).long())


def scalar_sequences(folder):
    tensors = {"images": torch.zeros(()).byte(), "labels": torch.zeros(()).long()}
    tensor_files.write_tensors(folder / "scalar", tensors, {"sequences": '{"left_out": 0}'})
    return folder / "scalar"


def half_classes(folder):
    return parts(folder / "half", classes=2.5)


# Name of the case, how it is made, and what the one sentence must hold: subject, value, remedy
BAD_INPUTS = [
    # The library
    ("size of one number", lazily(lambda: transformer(size=(28,))),
     ["size is (28,)", "affine needs (height, width)"]),
    ("size that is a number", lazily(lambda: transformer(size=28)),
     ["size is 28", "affine needs (height, width)"]),
    ("size of text", lazily(lambda: transformer(size="28")), ["size is '28'", "(height, width)"]),
    ("size with a zero", lazily(lambda: transformer(size=(0, 28))),
     ["size is (0, 28)", "whole numbers of 1 or more"]),
    ("negative size", lazily(lambda: transformer(size=(28, -1))),
     ["size is (28, -1)", "1 or more"]),
    ("size with a fraction", lazily(lambda: transformer(size=(28, 1.5))),
     ["size is (28, 1.5)", "whole numbers"]),
    ("pair for volumes", lazily(lambda: transformer(9, "affine_3d", size=(8, 8))),
     ["size is (8, 8)", "affine_3d needs (depth, height, width)"]),
    ("unknown transform", lazily(lambda: transformer(9, "rigid")),
     ["no transform 'rigid'", "allowed: affine"]),
    ("unknown mode", lazily(lambda: transformer(mode="cubic")),
     ["no sampling mode 'cubic'", "allowed: bilinear, nearest"]),
    ("no features", lazily(lambda: transformer(0, "affine")), ["features is 0", "1 or more"]),
    ("no parallel transformers", call(ParallelTransformers, []), ["are none", "give one or more"]),
    ("unlike transforms",
     lazily(lambda: ParallelTransformers([transformer(), transformer(9, "tps")])),
     ["affine of size None, tps of size None", "all of one transform and one size"]),
    ("unlike sizes",
     lazily(lambda: ParallelTransformers([transformer(size=(8, 8)), transformer(size=[9, 9])])),
     ["affine of size (8, 8), affine of size (9, 9)", "one size"]),
    ("image without a batch", lazily(lambda: transformer()(torch.zeros(1, 28, 28))),
     ["the shape (1, 28, 28)", "affine transforms (images, channels, height, width)"]),
    ("volume for an image", lazily(lambda: transformer()(torch.zeros(1, 1, 8, 28, 28))),
     ["the shape (1, 1, 8, 28, 28)", "(images, channels, height, width)"]),
    ("bytes for floats", lazily(lambda: transformer()(torch.zeros(1, 1, 28, 28).byte())),
     ["torch.uint8", "of floats"]),
    ("image of another width", lazily(lambda: transformer()(torch.zeros(1, 1, 28, 30))),
     ["does not read images of the shape (1, 1, 28, 30)", "that it was built for"]),
    ("features of another width",
     lazily(lambda: SpatialTransformer(nn.Flatten(), 9, "affine")(torch.zeros(2, 1, 4, 4))),
     ["shape (2, 16)", "must have the shape (2, 9)", "set features"]),
    ("grid of other images", call(sample, torch.zeros(2, 1, 4, 4), torch.zeros(1, 4, 4, 2)),
     ["(2, 1, 4, 4)", "(1, 4, 4, 2)", "give images (N, C, H, W) with a grid"]),
    ("grid of volumes for images", call(sample, torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, 3)),
     ["(2, 4, 4, 3)", "(N, H', W', 2)"]),
    ("five parameters of an affine map", call(grids.affine_grid, torch.zeros(2, 5), (4, 4)),
     ["the shape (2, 5)", "needs (images, 6)"]),
    ("grid of one side", call(grids.projective_grid, torch.zeros(2, 8), (4,)),
     ["size is (4,)", "needs 2 whole numbers"]),
    ("unknown network", build(network="rnn"), ["no network 'rnn'", "allowed: fcn, cnn"]),
    ("unknown pooling", build(pooling="median"), ["no pooling 'median'", "allowed: max, average"]),
    ("unknown distortion", build(distortion="Q"), ["no distortion 'Q'", "allowed: U, R, RTS"]),
    ("transform of volumes", build(transform="affine_3d"),
     ["no transform 'affine_3d'", "allowed: none, affine"]),
    ("two transformers of none", build(transformers=2),
     ["transform is none and transformers is 2", "set transformers to 1"]),
    ("no transformers", build(transform="affine", transformers=0),
     ["transformers is 0", "set transformers to 1"]),
    ("images of another size",
     lazily(lambda: digit_networks.build(*CELL)(torch.zeros(1, 1, 27, 28))),
     ["the shape (1, 1, 27, 28)", "reads (images, 1, 28, 28)"]),
    ("negative layers", lazily(lambda: architecture(fully_connected=-1)),
     ["fully_connected -1", "1 layer or more"]),
    ("negative width", lazily(lambda: architecture(width_scale=-1.0)),
     ["width_scale is -1.0", "above 0"]),
    ("dropout above 1", lazily(lambda: architecture(dropout=1.5)), ["dropout 1.5", "below 1"]),
    ("unknown net of sequences", lazily(lambda: architecture(network="rnn")),
     ["no network 'rnn'", "allowed: cnn, single, multi"]),
    ("negative number of windows", lazily(lambda: part_network(transformers=-1)),
     ["transformers is -1", "0 transformers or more"]),
    ("unknown backbone", lazily(lambda: part_network(backbone="vgg")),
     ["backbone is 'vgg'", "allowed: small, googlenet"]),
    ("width of zero", lazily(lambda: part_network(width=0)), ["of width 0", "of 1 or more"]),
    ("an image that is no square", lazily(lambda: part_network()(torch.zeros(1, 3, 8, 9))),
     ["the shape (1, 3, 8, 9)", "squares of three channels"]),
    ("windows that tile nothing", call(part_networks.tiled, 0), ["transformers is 0", "from 1 on"]),
    ("objects too small", call(generated_parts.draw, 1, 8, torch.Generator()),
     ["size is 8", "32 pixels or more"]),
    # Digits
    ("train two transformers of none", step("train", DIGITS, transformers=2),
     ["transformers is 2", "1 where transform is none"]),
    ("train a seed twice", step("train", DIGITS, seeds=[0, 0]),
     ["seeds is [0, 0]", "name each seed once"]),
    ("train a distortion twice", step("train", DIGITS, distortions=["R", "U", "R"]),
     ['distortions is ["R", "U", "R"]', "holds R twice", "name it once"]),
    ("train on nothing", step("train", {"train": no_images}), ["train has no images", "give"]),
    ("train on rows", step("train", {"train": flat_images}), ["shape (20, 784)", "make it anew"]),
    ("train with labels of floats", step("train", {"train": float_labels}),
     ["torch.float32", "(N,) of int64"]),
    ("train with fewer labels", step("train", {"train": fewer_labels}),
     ["(20, 28, 28)", "(19,)", "make it anew"]),
    ("train on sequences", step("train", {"train": "sequences"}), ["sequences", "make it anew"]),
    ("train on a text", step("train", {"train": "text"}), ["text is not a safetensors file"]),
    ("train on a folder", step("train", {"train": "folder"}), ["is not a safetensors file"]),
    ("negative images", step("train", DIGITS, images=-1), ["images is -1", "at least 1"]),
    ("negative rate", step("train", DIGITS, learning_rate=-0.1),
     ["learning_rate is -0.1", "above 0"]),
    ("parameters that fill no memory", step("train", DIGITS, network="cnn", parameters=10**9),
     ["no cnn for R comes near 1000000000 parameters", "ask for fewer"]),
    ("negative parameters", step("train", DIGITS, parameters=-5),
     ["parameters is -5", "from 1 to"]),
    ("evaluate nets of sequences", step("evaluate", NETS | {"model": "model_sequences"}),
     ["holds no nets of stn.train", "give a file that it wrote"]),
    ("evaluate a split as nets", step("evaluate", NETS | {"model": "digits"}),
     ["digits holds no nets of stn.train", "give"]),
    ("evaluate with another history", step("evaluate", NETS | {"history": "history_parts"}),
     ["history does not list the net R/0", "of the same model"]),
    ("evaluate on nothing", step("evaluate", NETS | {"test": no_images}), ["test has no images"]),
    ("evaluate more digits than there are", step("evaluate", NETS, examples=21),
     ["test has 20 digits", "21 are asked"]),
    # Sequences
    ("train sequences on digits", step("train_sequences", {"train": "digits"}),
     ["digits holds no split of stn.sequences", "give a file that it wrote"]),
    ("train sequences on parts", step("train_sequences", {"train": "parts"}),
     ["parts holds no split of stn.sequences", "give"]),
    ("train sequences on numbers", step("train_sequences", {"train": scalar_sequences}),
     ["scalar holds no split of stn.sequences", "give"]),
    ("train sequences with large batches",
     step("train_sequences", {"train": "sequences"}, batch_size=13),
     ["train has 12 images and batch_size is 13", "lower batch_size"]),
    ("train a seed of sequences twice",
     step("train_sequences", {"train": "sequences"}, seeds=[1, 1]), ["seeds is [1, 1]", "once"]),
    ("negative scale", step("train_sequences", {"train": "sequences"}, width_scale=-1.0),
     ["width_scale is -1.0", "above 0 and at most 16"]),
    ("evaluate parts as sequences",
     step("evaluate_sequences", SEQUENCES | {"model": "model_parts"}),
     ["holds no nets of stn.train_sequences", "give a file"]),
    ("evaluate larger sequences",
     step("evaluate_sequences", SEQUENCES | {"test": lambda f: sequences(f / "test", size=64)}),
     ["has images of 64 pixels and the model reads 32", "its own case"]),
    ("heights that are none", composed(heights=[40.0, 50.0])(),
     ["heights is [40.0, 50.0]", "from 1 to size, 32"]),
    ("one height", composed(heights=[20.0])(), ["heights is [20.0]", "a list of 2 elements"]),
    ("sequences without end", composed(train=None)(), ["train is null", "a number, for sequences"]),
    ("sequences of no digits", composed()(digits_test=no_images),
     ["digits_test has no images", "give"]),
    ("sequences of rows", composed()(digits_test=flat_images), ["flat has images", "(20, 784)"]),
    ("sequences of digits left out", step("sequences", {"digits_train": "digits"}),
     ["add digits_validation=PATH"]),
    ("house numbers without files", step("sequences", {}, source="svhn"),
     ["add verified=PATH and folder=PATH"]),
    ("house numbers cut off", houses(cut_off),
     ["train.tar.gz is not a whole .tar.gz archive", "delete it and run again"]),
    ("house numbers that are a page", houses(page), ["train.tar.gz is not a whole", "delete it"]),
    ("house numbers without boxes", houses(nothing, **{"digitStruct.mat": b"MATLAB"}),
     ["digitStruct.mat", "is not a whole MATLAB 7.3", "delete it"]),
    ("a house that is no picture", houses(nothing, **{"2.png": b"<html>", "1.png": b"<html>"}),
     ["png of", "is not a whole PNG file", "delete it"]),
    # Parts
    ("train parts on sequences", step("train_parts", {"train": "sequences"}),
     ["sequences holds no split of stn.parts", "give a file that it wrote"]),
    ("train parts of half a class", step("train_parts", {"train": half_classes}),
     ["half holds no split of stn.parts", "give"]),
    ("train parts cut too large", step("train_parts", {"train": "parts"}, input_size=17),
     ["train has images of 16 pixels and input_size is 17", "lower input_size"]),
    ("train parts of no width", step("train_parts", {"train": "parts"}, width=-2),
     ["width is -2", "from 1 to 4096"]),
    ("train a seed of parts twice", step("train_parts", {"train": "parts"}, seeds=[2, 2]),
     ["seeds is [2, 2]", "once"]),
    ("weights of another net",
     step("train_parts", {"train": "parts", "weights": googlenet(another_net)}, **GOOGLENET),
     ["weights has not the parameters of torchvision's GoogLeNet", "give a file"]),
    ("weights of whole numbers",
     step("train_parts", {"train": "parts", "weights": googlenet(whole_numbers)}, **GOOGLENET),
     ["first of 1: conv1.conv.weight", "give a file"]),
    ("weights that are not finite",
     step("train_parts", {"train": "parts", "weights": googlenet(infinite)}, **GOOGLENET),
     ["not finite", "conv1.conv.weight", "download or copy it again"]),
    ("weights that are a text",
     step("train_parts", {"train": "parts", "weights": "text"}, **GOOGLENET),
     ["text is neither", "download or copy them again"]),
    ("evaluate sequences as parts", step("evaluate_parts", PARTS | {"model": "model_sequences"}),
     ["holds no nets of stn.train_parts", "give a file"]),
    ("evaluate parts of other classes",
     step("evaluate_parts", PARTS | {"test": lambda f: parts(f / "test", classes=3)}),
     ["has 3 classes and the model 2", "its own case"]),
    ("evaluate smaller parts",
     step("evaluate_parts", PARTS | {"test": lambda f: parts(f / "test", size=15)}),
     ["the images have 15 pixels and the networks read 16", "their own case"]),
    ("parts without end", step("parts", {}, test=None), ["test is null", "a number, for objects"]),
    ("birds without files", step("parts", {}, source="cub"), ["add verified=PATH and folder=PATH"]),
    ("birds cut off", birds(cut_off), ["CUB_200_2011.tgz is not a whole", "delete it and run"]),
    ("birds that are a page", birds(page), ["CUB_200_2011.tgz is not a whole", "delete it"]),
    ("birds without a list", birds(nothing, classes__txt=None),
     ["has no CUB_200_2011/classes.txt", "delete it"]),
    ("birds of another record",
     step("parts", {"verified": "record", "folder": "folder"}, source="cub"),
     ["verified.json says nothing of CUB_200_2011.tgz", "run again"]),
    # Co-localisation and cost
    ("batch larger than the class", step("colocalise", BOTH, batch_size=5),
     ["batch_size is 5", "at most images, 4"]),
    ("a digit twice", step("colocalise", BOTH, digits=[3, 3]), ["digits is [3, 3]", "once"]),
    ("a digit that is not there", step("colocalise", BOTH | {"test": without_three}),
     ["test has no image of the digit 3", "leave it out of digits"]),
    ("no digits to find", step("colocalise", BOTH | {"train": no_images}), ["train has no images"]),
    ("too few of a class", step("colocalise", BOTH),
     ["there are 2 images of the digit 3, 4 are needed", "lower images"]),
    ("negative iterations", step("colocalise", BOTH, iterations=-3),
     ["iterations is -3", "at least 1"]),
    ("negative jitter", step("colocalise", BOTH, jitter=-1), ["jitter is -1", "from 0 to 84"]),
    ("cost of tiny images", step("cost", {}, sequence_size=8), ["sequence_size is 8", "from 16"]),
    ("cost without repeats", step("cost", {}, repeats=-1), ["repeats is -1", "at least 3"]),
]  # fmt: skip


@bad_inputs.each(BAD_INPUTS)
def test_a_bad_input_is_one_sentence(inputs, tmp_path, capsys, row):
    (make,) = row.given
    bad_inputs.answered(lambda: make(inputs, tmp_path), row.words, capsys)
    written = {path.name for path in (tmp_path / "out").glob("*")}
    assert not written - {"resume.pt"}


# --- what is no mistake ---


def test_two_digits_are_enough_to_train_on(inputs, tmp_path):
    few = digits(tmp_path / "few", labels=torch.tensor([3, 7]))
    run("train", tmp_path / "out", {"train": few}, batch_size=2, transform="affine")
    history = json.loads((tmp_path / "out/history").read_text())
    assert len(history["followed"]["R"]) == 2
    assert len(history["history"]["R/0"][0]["grids"]) == 2


# --- damage anywhere in an archive ---


def answer(read):
    """Return the sentence with which a reader refuses, empty if it does not."""
    try:
        read()
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_in_an_archive_is_one_sentence_or_no_harm(tmp_path, seed):
    """Bytes are changed, or the file is cut, at random places of both archives."""
    stream = torch.Generator().manual_seed(seed)
    listed = [svhn_archives.ONE, svhn_archives.TWO]
    paths = [
        svhn_archives.pack(tmp_path / "train.tar.gz", "train", svhn_archives.members(listed)),
        cub_archives.pack(tmp_path / cub.ARCHIVE, cub_archives.members()),
    ]
    for path in paths:
        content = bytearray(path.read_bytes())
        for place in torch.randint(len(content), (1 + seed % 3,), generator=stream).tolist():
            content[place] ^= 1 << seed % 8
        path.write_bytes(content[: len(content) - (seed % 4) * len(content) // 5])

    def read_houses():
        houses = svhn.read_houses(svhn.read_boxes(paths[0], "train"), "boxes")
        svhn.read_crops(paths[0], "train", houses, 32, torch.zeros(9, 3, 32, 32).byte())

    def read_birds():
        cub.read_photographs(paths[1], cub.read_lists(paths[1]).names, 8)

    for read in (read_houses, read_birds):
        message = answer(read)
        assert not message or archives.REMEDY in message
        assert "\n" not in message


def test_damage_anywhere_in_digit_struct_is_one_sentence_or_no_harm():
    whole = svhn_archives.mat([svhn_archives.ONE, svhn_archives.TWO, svhn_archives.SIX])
    stream = torch.Generator().manual_seed(0)
    for place in torch.randint(512, len(whole), (150,), generator=stream).tolist():
        content = bytearray(whole)
        content[place] ^= 0xFF
        message = answer(lambda content=content: svhn.read_houses(bytes(content), "boxes"))
        assert not message or "boxes" in message


def test_settings_know_no_other_steps():
    """Every step of the paper has rows above, but those that read evidence only."""
    steps = {key for key, value in PARAMS.items() if isinstance(value, dict)}
    assert steps - {"cases", "runs", "figures"} == set(SMALL)
