"""What people give the steps of vae by mistake: one sentence, exit code 2, nothing written."""

import dataclasses
import json
import runpy
import sys

import pytest
import torch

import bad_inputs
from pr12.core import tensor_files
from pr12.vae import mcem, train
from pr12.vae.model import features, networks, saved_nets

TRAIN = dataclasses.asdict(
    train.Params(
        seeds=(0, 1), images="digits", objective="sgvb_b", samples=1, hidden=(6,), width_scale=1.0,
        latent_dim=2, likelihood="bernoulli", binarise=False, train_examples=None, batch_size=10,
        snapshots=(30,), init="normal", init_std=0.1, weight_prior=True, optimiser="adam",
        learning_rate=0.01, schedule="linear", adam_beta1=0.9, adam_epsilon=1e-8,
        matmul_precision="highest",
    )
)  # fmt: skip
MCEM = dataclasses.asdict(
    mcem.Params(
        seeds=(0, 1), images="digits", hidden=(6,), width_scale=1.0, latent_dim=2,
        likelihood="bernoulli", train_examples=None, batch_size=10, snapshots=(60,), init="normal",
        init_std=0.1, weight_prior=True, optimiser="adam", learning_rate=0.01, adam_beta1=0.9,
        adam_epsilon=1e-8, matmul_precision="highest", leapfrog_steps=3, weight_updates=2,
    )
)  # fmt: skip
EVALUATE = {"bound_samples": 1, "bound_examples": 10, "train_examples": None, "batch": 10}
LIKELIHOOD = {
    "estimators": ["importance"], "points": 10, "train_examples": None, "binarise": False,
    "batch": 10, "posterior_samples": 5, "leapfrog": 2, "burn_in": 2, "step_size": 0.2,
    "importance_samples": [1, 5], "chunk": 5, "temperatures": 3, "chains": 2,
}  # fmt: skip
VARIANCE = {"moment": -1, "draws": 5, "samples": [1], "examples": 10}
CLASSIFIER = {
    "seed": 0, "hidden": [6, 5], "width_scale": 1.0, "batch_size": 10, "epochs": 2,
    "learning_rate": 0.01,
}  # fmt: skip
FACES = {"source": "moving", "train": 20, "validation": 10, "test": 10, "split_seed": 0}
PARAMS = {
    "train": TRAIN, "mcem": MCEM, "evaluate": EVALUATE, "evaluate_likelihood": LIKELIHOOD,
    "gradient_variance": VARIANCE, "classifier": CLASSIFIER, "latent_space": {"grid": 3},
    "faces": FACES,
}  # fmt: skip
READS = {
    "train": ("train",),
    "mcem": ("train",),
    "evaluate": ("model", "train", "test"),
    "evaluate_likelihood": ("model", "train", "test"),
    "evaluate_linear": ("model", "train", "test"),
    "gradient_variance": ("train", "z3"),
    "classifier": ("train", "validation"),
    "generation": ("classifier", "train", "test", "vae", "autoencoder"),
    "latent_space": ("digits_test", "faces_test", "z2", "faces_z2"),
    "faces": (),
}
WRITES = {
    "train": ("model", "history"),
    "mcem": ("model", "history"),
    "classifier": ("model", "history"),
    "generation": ("metrics", "picture"),
    "latent_space": ("metrics", "picture"),
    "faces": ("train", "validation", "test"),
}


def split(count=30, height=4, width=4, **changed):
    """Return the tensors of a split."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, height, width), generator=generator).byte()
    return {"images": images, "labels": torch.arange(count) % 3} | changed


def net(objective="sgvb_b", **changed):
    sizes = {"pixels": 16, "hidden": (6,), "latent_dim": 2, "likelihood": "bernoulli"} | changed
    architecture = networks.Architecture(**sizes)
    parameters = networks.initial(architecture, (0, 1), "normal", 0.1)
    if objective == "mcem":
        parameters = {n: value for n, value in parameters.items() if n.startswith("decoder")}
    moments = {name: value[None] for name, value in parameters.items()}
    return saved_nets.Saved(architecture, objective, (1,), moments)


def diverged():
    saved = net()
    return saved._replace(parameters={n: v * float("nan") for n, v in saved.parameters.items()})


def broken():
    saved = net()
    return saved._replace(architecture=saved.architecture._replace(hidden=(7,)))


def write(folder, name, changed):
    """Write all files of a step, those in `changed` as it says: a net, tensors, or text."""
    nets = {
        "evaluate_linear": net(hidden=(), likelihood="linear"),
        "latent_space": net(pixels=20),
    }
    contents = {
        "train": split(),
        "validation": split(12),
        "test": split(12),
        "digits_test": split(12),
        "faces_test": split(12, width=5),
        "model": nets.get(name, net()),
        "z2": net(),
        "z3": net(latent_dim=3),
        "faces_z2": net(pixels=20),
        "vae": net(),
        "autoencoder": net("autoencoder"),
        "classifier": features.initial([16, 6, 5, 3], seed=0),
    } | changed
    for file in READS[name]:
        content = contents[file]
        if isinstance(content, str):
            (folder / file).write_text(content)
        elif isinstance(content, saved_nets.Saved):
            saved_nets.save(folder / file, content)
        else:
            tensors = {key: value for key, value in content.items() if key != "metadata"}
            metadata = content.get("metadata", {"maximum": "255"} if "images" in content else {})
            tensor_files.write_tensors(folder / file, tensors, metadata)


def run(name, params, folder, changed, monkeypatch):
    write(folder, name, changed)
    (folder / "out").mkdir()
    paths = [f"{file}={folder / file}" for file in READS[name]]
    paths += [f"{file}={folder / 'out' / file}" for file in WRITES.get(name, ("metrics",))]
    monkeypatch.setattr(sys, "argv", [name, "--params", json.dumps(params), *paths])
    monkeypatch.delitem(sys.modules, f"pr12.vae.{name}", raising=False)
    runpy.run_module(f"pr12.vae.{name}", run_name="__main__", alter_sys=True)


EMPTY = {"images": torch.zeros(0, 4, 4, dtype=torch.uint8), "labels": torch.zeros(0).long()}
NO_WIDTH = split(images=torch.zeros(30, 4, 0, dtype=torch.uint8))
FLAT = {"images": torch.zeros(30, 16, dtype=torch.uint8), "labels": torch.zeros(30).long()}
NAN = split(images=torch.full((30, 4, 4), float("nan")))

# id, step, params that are other than they should be, files likewise, words of the message
BAD_INPUTS = [
    ("moment of 0", "train", {"snapshots": [0]}, {}, ["snapshots[0] is 0", "at least 1"]),
    ("negative moment", "mcem", {"snapshots": [-5, 60]}, {}, ["snapshots[0] is -5"]),
    ("moments that fall", "train", {"snapshots": [60, 30]}, {}, ["[60, 30]", "rising numbers"]),
    ("width of 0", "mcem", {"hidden": [0]}, {}, ["hidden[0] is 0", "from 1 to 100000"]),
    ("negative width", "train", {"hidden": [-6]}, {}, ["hidden[0] is -6", "from 1"]),
    ("enormous latent space", "train", {"latent_dim": 10**9}, {}, ["latent_dim", "100000"]),
    ("negative scale", "train", {"width_scale": -1.0}, {}, ["width_scale is -1.0", "above 0"]),
    ("seed twice", "train", {"seeds": [3, 3]}, {}, ["seeds is [3, 3]", "name each seed once"]),
    ("mcem's seed twice", "mcem", {"seeds": [0, 1, 0]}, {}, ["seeds is [0, 1, 0]", "once"]),
    ("no step size", "mcem", {"learning_rate": 0}, {}, ["learning_rate is 0", "above 0"]),
    ("momentum of 1", "train", {"adam_beta1": 1.0}, {}, ["adam_beta1 is 1.0", "0.999"]),
    ("more images than there are", "train", {"train_examples": 31}, {}, ["has 30 images", "31"]),
    ("batch of more than all", "mcem", {"batch_size": 31}, {}, ["has 30 images", "is 31"]),
    ("step that diverges", "train", {"learning_rate": 1e30}, {}, ["not finite", "learning_rate"]),
    ("empty train", "train", {}, {"train": EMPTY}, ["train has no images", "(0, 4, 4)", "anew"]),
    ("empty train of mcem", "mcem", {}, {"train": EMPTY}, ["train has no images"]),
    ("images without width", "train", {}, {"train": NO_WIDTH}, ["(30, 4, 0)", "make it anew"]),
    ("images in rows", "train", {}, {"train": FLAT}, ["shape (30, 16)", "make it anew"]),
    (
        "fewer labels than images", "train", {}, {"train": split(labels=torch.zeros(7).long())},
        ["(7,)", "make it anew"],
    ),
    (
        "largest pixel that is no number", "train", {},
        {"train": split(metadata={"maximum": "white"})}, ["maximum 'white'", "make it anew"],
    ),
    (
        "largest pixel of 0", "train", {}, {"train": split(metadata={"maximum": "0"})},
        ["maximum '0'", "make it anew"],
    ),
    (
        "pixels beyond the largest", "mcem", {}, {"train": split(metadata={"maximum": "16"})},
        ["pixels from 0 to 15.9", "bernoulli", "[0, 1]"],
    ),
    ("pixels that are no numbers", "mcem", {}, {"train": NAN}, ["image 0 of train", "anew"]),
    ("model given as split", "train", {}, {"train": net()}, ["train", "is not a split"]),
    ("text given as split", "mcem", {}, {"train": "hello"}, ["is not a safetensors file"]),
    ("empty test", "evaluate", {}, {"test": EMPTY}, ["test has no images"]),
    ("empty train of an evaluation", "evaluate_linear", {}, {"train": EMPTY}, ["train has no"]),
    (
        "test of another width", "evaluate", {}, {"test": split(width=5)},
        ["16 pixels", "20", "one data set"],
    ),
    (
        "test of another width, likelihood", "evaluate_likelihood", {}, {"test": split(width=5)},
        ["16 pixels", "20", "one data set"],
    ),
    (
        "test of another width, linear", "evaluate_linear", {}, {"test": split(width=5)},
        ["16 pixels", "20", "one data set"],
    ),
    (
        "net of other images", "evaluate", {}, {"model": net(pixels=20)},
        ["trained on images of 20 pixels and the data have 16", "its own case"],
    ),
    (
        "net of another architecture than it says", "evaluate", {}, {"model": broken()},
        ["another architecture", "training again"],
    ),
    ("net that diverged", "evaluate", {}, {"model": diverged()}, ["no finite numbers", "anew"]),
    ("split given as model", "evaluate", {}, {"model": split()}, ["is no model of vae", "train"]),
    ("text given as model", "evaluate_likelihood", {}, {"model": "?"}, ["not a safetensors file"]),
    (
        "net that is not linear", "evaluate_linear", {}, {"model": net()},
        ["not a linear encoder and decoder", "hidden []"],
    ),
    ("bound of mcem", "evaluate", {}, {"model": net("mcem")}, ["no encoder", "likelihood"]),
    (
        "likelihood of an autoencoder", "evaluate_likelihood", {}, {"model": net("autoencoder")},
        ["autoencoder has no prior"],
    ),
    (
        "importance samples that fall", "evaluate_likelihood", {"importance_samples": [5, 1]}, {},
        ["importance_samples is [5, 1]", "rising numbers"],
    ),
    (
        "posterior in many dimensions", "evaluate_likelihood", {"estimators": ["posterior"]},
        {"model": net(latent_dim=6)}, ["at most 5 latent dimensions, not 6", "importance"],
    ),
    ("moment that is not there", "gradient_variance", {"moment": 4}, {}, ["moment is 4", "0 to 0"]),
    ("samples twice", "gradient_variance", {"samples": [2, 2]}, {}, ["samples", "2 twice"]),
    (
        "net of other latents", "gradient_variance", {}, {"z3": net(latent_dim=5)},
        ["z3 is a model with 5 latent variables", "give one with 3"],
    ),
    (
        "labels that are no digits", "classifier", {}, {"train": split(labels=torch.arange(30))},
        ["labels from 0 to 29", "from 0 to 9"],
    ),
    (
        "negative labels", "classifier", {}, {"validation": split(labels=torch.arange(30) - 30)},
        ["validation", "from -30 to -1"],
    ),
    (
        "labels that are no whole numbers", "classifier", {},
        {"train": split(labels=torch.rand(30))}, ["type torch.float32", "int64"],
    ),
    ("empty validation", "classifier", {}, {"validation": EMPTY}, ["validation has no images"]),
    (
        "validation of another width", "classifier", {}, {"validation": split(width=5)},
        ["4 x 4 and 4 x 5", "one data set"],
    ),
    (
        "classifier of other images", "generation", {},
        {"classifier": features.initial([20, 6, 5, 3], seed=0)},
        ["images of 20 pixels and the data have 16"],
    ),
    (
        "classifier of layers that do not fit", "generation", {},
        {"classifier": features.initial([16, 6, 5], 0) | {
            f"1.{part}": value[..., :2]
            for part, value in (("weight", torch.zeros(5, 3)), ("bias", torch.zeros(3)))
        }},
        ["do not follow each other", "anew"],
    ),
    ("net given as classifier", "generation", {}, {"classifier": net()}, ["is no classifier"]),
    (
        "pair of other widths", "generation", {}, {"autoencoder": net("autoencoder", hidden=(9,))},
        ["different networks", "objective only"],
    ),
    (
        "systems exchanged", "generation", {}, {"vae": net("autoencoder")},
        ["vae was trained with the objective autoencoder"],
    ),
    (
        "page of a linear decoder", "latent_space", {}, {"z2": net(likelihood="linear")},
        ["z2 has the likelihood linear", "bernoulli or gaussian"],
    ),
    (
        "page of three dimensions", "latent_space", {}, {"z2": net(latent_dim=3)},
        ["z2 has 3 latent variables", "with 2"],
    ),
    (
        "page of digits for faces", "latent_space", {}, {"faces_z2": net()},
        ["images of 16 pixels and the data have 20"],
    ),
    ("page of few images", "latent_space", {}, {"digits_test": split(7)}, ["has 7 images", "8"]),
    ("grid of 1", "latent_space", {"grid": 1}, {}, ["grid is 1", "from 2 to 1000"]),
    ("more faces than there are", "faces", {"train": 2000}, {}, ["train is 2000", "at most 1945"]),
    ("faces of a file that is not given", "faces", {"source": "frey"}, {}, ["verified=PATH"]),
]  # fmt: skip


@bad_inputs.each(BAD_INPUTS)
def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, row):
    name, params, changed = row.given
    bad_inputs.answered(
        lambda: run(name, PARAMS.get(name, {}) | params, tmp_path, changed, monkeypatch),
        row.words,
        capsys,
    )
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", READS)
def test_without_a_mistake_the_step_works(tmp_path, monkeypatch, name):
    run(name, PARAMS.get(name, {}), tmp_path, {}, monkeypatch)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == set(WRITES.get(name, ("metrics",)))


@pytest.mark.parametrize("hidden", [(), (5, 3)], ids=str)
@pytest.mark.parametrize("name", ["evaluate", "evaluate_likelihood", "latent_space"])
def test_nets_of_other_depths_are_judged_and_shown_too(tmp_path, monkeypatch, name, hidden):
    file = "z2" if name == "latent_space" else "model"
    run(name, PARAMS[name], tmp_path, {file: net(hidden=hidden)}, monkeypatch)
    assert (tmp_path / "out" / "metrics").is_file()
