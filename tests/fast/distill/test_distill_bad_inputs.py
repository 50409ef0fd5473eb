"""What people give the steps of distill by mistake: one sentence, exit code 2, nothing written."""

import dataclasses
import json
import runpy
import sys

import pytest
import torch

import bad_inputs
from pr12.core import tensor_files
from pr12.distill import compress, train
from pr12.distill.model import mlp

TRAIN = dataclasses.asdict(
    train.Params(
        seeds=(0, 1), hidden=(6,), width_scale=1.0, bottleneck=0, hard_weight=1.0, soft_weight=0.0,
        logit_weight=0.0, temperature=1.0, mean="geometric", standardise_logits=False,
        noise_fraction=0.0, noise_sigma=0.0, transfer_classes=(0, 1, 2), transfer_fraction=1.0,
        dropout_input=0.0, dropout_hidden=0.0, max_norm=None, jitter=0, batch_size=10, epochs=2,
        learning_rate=0.01, early_stopping=False, matmul_precision="highest",
    )
)  # fmt: skip
SOFT = TRAIN | {"hard_weight": 0.0, "soft_weight": 1.0}
LOGITS = TRAIN | {"hard_weight": 0.0, "logit_weight": 1.0}
COMPRESS = dataclasses.asdict(
    compress.Params(
        generator="munge", sizes=(20, 60), seeds=(0, 1), hidden=4, updates=20, evaluations=2,
        batch_size=10, learning_rate=0.02,
    )
)  # fmt: skip
LIBRARY = {
    "problems": ["breast_cancer"], "generators": ["munge"], "sizes": [60, 90], "validation": 40,
    "seed": 0, "swap_probability": 0.5, "local_variance": 1.0, "nbe_components": [1, 2],
    "trees": 2, "network_iterations": 5, "selection_rounds": 5,
}  # fmt: skip
READS = {
    "train": ("train", "validation", "soft_labels"),
    "soft_labels": ("model", "train"),
    "ensemble": ("model", "validation", "test"),
    "evaluate": ("model", "validation", "test"),
    "temperature": ("train", "soft_labels"),
    "gradient_limit": ("model", "train", "soft_labels"),
    "library": (),
    "compress": ("transfer",),
    "evaluate_compression": ("mimics", "compression_test"),
}
WRITES = {
    "train": ("model", "history"),
    "soft_labels": ("soft_labels",),
    "temperature": ("metrics", "picture"),
    "library": ("transfer", "test", "metrics"),
    "compress": ("model", "history"),
}
NAMES = {"mimics": "model", "compression_test": "test"}  # of files, on the command line


def split(count=30, side=4, classes=3, **changed):
    """Return the tensors of a split whose classes are bright lines."""
    labels = torch.arange(count) % classes
    images = torch.zeros(count, side, side, dtype=torch.uint8)
    images[torch.arange(count), labels % side] = 255
    return {"images": images, "labels": labels} | changed


def logits(count=30, classes=3):
    generator = torch.Generator().manual_seed(0)
    right = 4 * torch.nn.functional.one_hot(torch.arange(count) % classes, classes)
    return right + torch.randn(2, count, classes, generator=generator)


def nets(pixels=16, classes=3):
    states = [
        mlp.MLP(pixels, (5,), classes, 0, torch.Generator().manual_seed(seed)).state_dict()
        for seed in (0, 1)
    ]
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def transfer():
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for part, count in (("train", 20), ("validation", 30), ("munge", 40)):
        inputs = torch.rand(count, 3, generator=generator)
        tensors[f"a/{part}/inputs"] = inputs
        tensors[f"a/{part}/probabilities"] = torch.sigmoid(4 * inputs.sum(1) - 6)
    return tensors


def mimics(width=3):
    shapes = {"w1": (2, 1, width, 4), "b1": (2, 1, 4), "w2": (2, 1, 4, 1), "b2": (2, 1, 1)}
    tensors = {f"a/{name}": torch.zeros(shape) for name, shape in shapes.items()}
    return tensors | {"sizes": torch.tensor([20, 60])}


def compression_test():
    tensors = {f"a/{name}": torch.full((5,), 0.4) for name in ("ensemble", "best_net")}
    return tensors | {
        "a/best_single": torch.full((5,), 0.3),
        "a/inputs": torch.zeros(5, 3),
        "a/targets": torch.zeros(5, dtype=torch.int64),
    }


def constant_logit():
    values = logits()
    values[:, :, 1] = 0.1
    return {"member_logits": values}


def write(folder, changed):
    """Write all files, those in `changed` as it says: tensors, or text."""
    contents = {
        "train": split(),
        "validation": split(12),
        "test": split(12),
        "soft_labels": {"member_logits": logits()},
        "model": nets(),
        "transfer": transfer(),
        "mimics": mimics(),
        "compression_test": compression_test(),
    } | changed
    for name, content in contents.items():
        if isinstance(content, str):
            (folder / name).write_text(content)
            continue
        maximum = {} if name in ("model", "soft_labels") else {"maximum": "255"}
        tensors = {key: value for key, value in content.items() if key != "metadata"}
        tensor_files.write_tensors(folder / name, tensors, content.get("metadata", maximum))


def run(name, params, folder, changed, monkeypatch):
    write(folder, changed)
    (folder / "out").mkdir()
    paths = [f"{NAMES.get(file, file)}={folder / file}" for file in READS[name]]
    paths += [f"{file}={folder / 'out' / file}" for file in WRITES.get(name, ("metrics",))]
    monkeypatch.setattr(sys, "argv", [name, "--params", json.dumps(params), *paths])
    monkeypatch.delitem(sys.modules, f"pr12.distill.{name}", raising=False)
    runpy.run_module(f"pr12.distill.{name}", run_name="__main__", alter_sys=True)


LIMIT = {"temperatures": [1.0, 2.0], "examples": 20}
BIAS = {"bias_classes": []}
PICTURE = {"temperatures": [1.0, 5.0], "digits": 2}
EMPTY = {"images": torch.zeros(0, 4, 4, dtype=torch.uint8), "labels": torch.zeros(0).long()}
WIDE = split(images=torch.zeros(30, 1, 16, dtype=torch.uint8))  # as many pixels, another size

# id, step, its params, files that are other than they should be, words that the message holds
BAD_INPUTS = [
    ("width of 0", "train", TRAIN | {"hidden": [0]}, {}, ["hidden[0] is 0", "from 1 to 100000"]),
    ("negative width", "train", TRAIN | {"hidden": [8, -8]}, {}, ["hidden[1] is -8", "from 1"]),
    ("no layer", "train", TRAIN | {"hidden": []}, {}, ["hidden is []", "at least one"]),
    ("enormous layer", "train", TRAIN | {"hidden": [10**9]}, {}, ["hidden[0]", "100000"]),
    ("temperature of 0", "train", SOFT | {"temperature": 0}, {}, ["temperature is 0", "above 0"]),
    ("negative temperature", "train", SOFT | {"temperature": -2}, {}, ["temperature is -2"]),
    (
        "temperature beyond float32", "train", SOFT | {"temperature": 1e30}, {},
        ["temperature is 1e+30", "at most 10000"],
    ),
    (
        "temperature that overflows", "train", SOFT | {"temperature": 1e-42}, {},
        ["soft labels are no numbers", "temperature 1e-42", "raise"],
    ),
    ("seed twice", "train", TRAIN | {"seeds": [0, 1, 0]}, {}, ["seeds is [0, 1, 0]", "once"]),
    ("class 88", "train", TRAIN | {"transfer_classes": [1, 88]}, {}, ["[1] is 88", "from 0 to 9"]),
    (
        "class twice", "train", TRAIN | {"transfer_classes": [1, 2, 1]}, {},
        ["transfer_classes", "1 twice", "once"],
    ),
    (
        "class that train lacks", "train", TRAIN | {"transfer_classes": [1, 7]}, {},
        ["transfer_classes names 7", "train has no example", "leave it out"],
    ),
    (
        "fraction that leaves nothing", "train", TRAIN | {"transfer_fraction": 0.01}, {},
        ["transfer_fraction 0.01", "leave nothing of 30", "widen"],
    ),
    ("fraction above 1", "train", TRAIN | {"transfer_fraction": 1.5}, {}, ["is 1.5", "at most 1"]),
    ("dropout of all", "train", TRAIN | {"dropout_input": 1.0}, {}, ["dropout_input", "0.95"]),
    ("negative epochs", "train", TRAIN | {"epochs": -3}, {}, ["epochs is -3", "at least 1"]),
    ("jitter wider than the image", "train", TRAIN | {"jitter": 4}, {}, ["jitter is 4", "lower"]),
    (
        "nothing to learn from", "train", TRAIN | {"hard_weight": 0.0}, {},
        ["hard_weight is 0.0", "above 0 where soft_weight and logit_weight are 0"],
    ),
    (
        "noise of no logits", "train", TRAIN | {"noise_fraction": 0.5}, {},
        ["noise_fraction is 0.5", "0 where logit_weight is 0"],
    ),
    (
        "standardised logits beside labels", "train",
        TRAIN | {"logit_weight": 1.0, "standardise_logits": True}, {},
        ["standardise_logits is true", "false where hard_weight"],
    ),
    (
        "constant logit", "train", LOGITS | {"standardise_logits": True},
        {"soft_labels": constant_logit()}, ["class 1 in soft_labels", "standardise_logits"],
    ),
    ("empty train", "train", TRAIN, {"train": EMPTY}, ["train has no images", "(0, 4, 4)"]),
    ("empty validation", "train", TRAIN, {"validation": EMPTY}, ["validation has no images"]),
    (
        "validation of another width", "train", TRAIN, {"validation": split(side=5)},
        ["4 x 4 and 5 x 5", "one data set"],
    ),
    ("train of another form", "train", TRAIN, {"train": WIDE}, ["1 x 16 and 4 x 4"]),
    (
        "labels that are no digits", "train", TRAIN,
        {"train": split(labels=torch.arange(30) - 1)}, ["labels from -1 to 28", "from 0 to 9"],
    ),
    (
        "labels that are no whole numbers", "train", TRAIN,
        {"train": split(labels=torch.rand(30))}, ["labels of type torch.float32", "int64"],
    ),
    (
        "fewer labels than images", "train", TRAIN,
        {"train": split(labels=torch.zeros(29).long())}, ["(30, 4, 4)", "(29,)", "make it anew"],
    ),
    (
        "pixels that are no numbers", "train", TRAIN,
        {"train": split(images=torch.full((30, 4, 4), float("nan")))}, ["from nan", "[0, 1]"],
    ),
    (
        "pixels beyond the largest", "train", TRAIN, {"train": split(metadata={"maximum": "16"})},
        ["pixels from 0 to 15.9", "[0, 1]"],
    ),
    (
        "largest pixel that is no number", "train", TRAIN,
        {"train": split(metadata={"maximum": "white"})}, ["maximum 'white'", "make it anew"],
    ),
    ("model given as split", "train", TRAIN, {"train": nets()}, ["is not a split"]),
    ("text given as split", "train", TRAIN, {"train": "hello"}, ["is not a safetensors file"]),
    (
        "soft labels of fewer examples", "train", SOFT,
        {"soft_labels": {"member_logits": logits(29)}},
        ["has 29 examples and train has 30", "same split"],
    ),
    (
        "soft labels of more classes", "train", SOFT,
        {"soft_labels": {"member_logits": logits(30, 5)}},
        ["5 classes and the digits have 3", "same data set"],
    ),
    ("split given as soft labels", "train", SOFT, {"soft_labels": split()}, ["no member_logits"]),
    (
        "soft labels of a diverged teacher", "train", SOFT,
        {"soft_labels": {"member_logits": logits() * float("inf")}}, ["no finite numbers", "anew"],
    ),
    ("split given as model", "evaluate", BIAS, {"model": split()}, ["holds no nets", "wrote"]),
    ("mimic nets given as model", "ensemble", {}, {"model": mimics()}, ["holds no nets"]),
    (
        "nets of other images", "soft_labels", {}, {"model": nets(pixels=64)},
        ["images of 64 pixels and the data have 16", "its own case"],
    ),
    (
        "nets of fewer classes", "evaluate", BIAS, {"model": nets(classes=2)},
        ["knows 2 classes and the data have 3"],
    ),
    (
        "nets that diverged", "evaluate", BIAS,
        {"model": {name: value * float("nan") for name, value in nets().items()}},
        ["no finite numbers", "train it anew"],
    ),
    ("empty test", "evaluate", BIAS, {"test": EMPTY}, ["test has no images"]),
    (
        "bias of a class that is not there", "evaluate", {"bias_classes": [7]}, {},
        ["bias_classes names 7", "validation has no example", "leave it out"],
    ),
    (
        "bias of a class twice", "evaluate", {"bias_classes": [1, 1]}, {},
        ["bias_classes", "1 twice", "once"],
    ),
    (
        "temperature twice", "gradient_limit", LIMIT | {"temperatures": [2.0, 2.0]}, {},
        ["temperatures", "2 twice", "once"],
    ),
    (
        "students of other classes than the teacher", "gradient_limit", LIMIT,
        {"model": nets(classes=4)}, ["3 classes and the digits have 4"],
    ),
    ("eleven digits", "temperature", PICTURE | {"digits": 11}, {}, ["digits is 11", "1 to 10"]),
    (
        "teacher that is never right", "temperature", PICTURE,
        {"soft_labels": {"member_logits": -logits()}}, ["right on no example", "train longer"],
    ),
    (
        "sizes that fall", "library", LIBRARY | {"sizes": [90, 60]}, {},
        ["sizes is [90, 60]", "a list of rising numbers"],
    ),
    ("component of 0", "library", LIBRARY | {"nbe_components": [0]}, {}, ["components[0] is 0"]),
    ("seed beyond 32 bits", "library", LIBRARY | {"seed": 2**32}, {}, ["seed is 4294967296"]),
    (
        "more evaluations than updates", "compress", COMPRESS | {"evaluations": 21}, {},
        ["evaluations is 21", "at most updates, 20"],
    ),
    ("mimics' seed twice", "compress", COMPRESS | {"seeds": [1, 1]}, {}, ["is [1, 1]", "once"]),
    ("size of 0", "compress", COMPRESS | {"sizes": [0, 20]}, {}, ["sizes[0] is 0", "at least 1"]),
    (
        "split given as transfer", "compress", COMPRESS, {"transfer": split()},
        ["no examples of problems", "distill.library"],
    ),
    (
        "transfer of two widths", "compress", COMPRESS,
        {"transfer": transfer() | {"a/munge/inputs": torch.zeros(40, 4)}},
        ["a/munge/inputs of shape (40, 4)", "anew"],
    ),
    (
        "transfer that is no probability", "compress", COMPRESS,
        {"transfer": transfer() | {"a/train/probabilities": torch.full((20,), 1.5)}},
        ["a/train/probabilities", "no probabilities", "anew"],
    ),
    (
        "transfer without validation", "compress", COMPRESS,
        {"transfer": {n: v for n, v in transfer().items() if "validation" not in n}},
        ["a/validation/inputs", "anew"],
    ),
    (
        "nets of train given as mimics", "evaluate_compression", {}, {"mimics": nets()},
        ["model is of layers.0.bias", "test of a", "one run"],
    ),
    (
        "transfer given as test", "evaluate_compression", {}, {"compression_test": transfer()},
        ["test has no a/inputs", "test of distill.library"],
    ),
    (
        "mimics of other inputs", "evaluate_compression", {}, {"mimics": mimics(width=7)},
        ["take 7 inputs", "of 3", "one run"],
    ),
]  # fmt: skip


@bad_inputs.each(BAD_INPUTS)
def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, row):
    name, params, changed = row.given
    bad_inputs.answered(
        lambda: run(name, params, tmp_path, changed, monkeypatch), row.words, capsys
    )
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", READS)
def test_without_a_mistake_the_step_works(tmp_path, monkeypatch, capsys, name):
    params = {
        "train": SOFT, "evaluate": BIAS, "gradient_limit": LIMIT, "temperature": PICTURE,
        "library": LIBRARY, "compress": COMPRESS,
    }  # fmt: skip
    run(name, params.get(name, {}), tmp_path, {}, monkeypatch)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == set(WRITES.get(name, ("metrics",)))
    assert "warning" not in capsys.readouterr().err


def test_soft_labels_in_another_order_are_warned_of(tmp_path, monkeypatch, capsys):
    shuffled = logits()[:, torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    changed = {"soft_labels": {"member_logits": shuffled}}
    run("train", SOFT, tmp_path, changed, monkeypatch)
    assert "of 30 examples, which chance explains" in capsys.readouterr().err
