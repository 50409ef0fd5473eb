import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from pr12.core import checkpoints, tensor_files
from pr12.stn import evaluate_sequences, train_sequences
from pr12.stn.data import sequence_files
from pr12.stn.model import digit_networks, epochs, sequence_training
from pr12.stn.model.sequence_networks import Architecture, Network, normalised
from pr12.workflow import files, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

PARAMS = {
    "seeds": [0, 1],
    "network": "single",
    "width_scale": 0.1,
    "fully_connected": 1,
    "dropout": 0.2,
    "epochs": 2,
    "batch_size": 8,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "warmup_batches": 0,
    "decay_epochs": 9,
    "weight_decay": 0.0005,
    "localisation_rate": 0.1,
    "bfloat16": False,
}


def params(**changes):
    return make(train_sequences.Params, PARAMS | changes, "stn")


def pictures(count, classes=10):
    """Give flat pictures whose brightness is their only digit."""
    digits = torch.arange(count) % classes * (9 // (classes - 1))
    images = torch.zeros(count, 3, 16, 16, dtype=torch.uint8)
    images[:, :, 4:12, 4:12] = (25 * (1 + digits)).to(torch.uint8)[:, None, None, None]
    labels = torch.full((count, 5), 10)
    labels[:, 0] = digits
    return images, labels


@pytest.fixture
def folder(tmp_path):
    for name, count in (("train", 24), ("validation", 10), ("test", 12)):
        made = sequence_files.Sequences(*pictures(count), 0)
        sequence_files.write(tmp_path / f"{name}.safetensors", made, "composed")
    return tmp_path


def train_step(folder, made, **changes):
    paths = {name: made / name for name in ("model.safetensors", "history.json")}
    line = [
        "--params", json.dumps(PARAMS | changes), f"train={folder / 'train.safetensors'}",
        f"model={paths['model.safetensors']}", f"history={paths['history.json']}",
    ]  # fmt: skip
    with step.start(
        train_sequences.Params, reads=["train"], writes=["model", "history"], arguments=line
    ) as job:
        train_sequences.main(job)
    return paths["model.safetensors"], files.read_json(paths["history.json"])["history"]


def evaluate_step(folder, model, made, **changes):
    line = ["--params", json.dumps({"batch": 5, "shown": 3} | changes), f"model={model}"]
    line += [f"{name}={folder / f'{name}.safetensors'}" for name in ("validation", "test")]
    line += [f"metrics={made / 'metrics.json'}", f"picture={made / 'picture.json'}"]
    with step.start(
        evaluate_sequences.Params,
        reads=["model", "validation", "test"],
        writes=["metrics", "picture"],
        arguments=line,
    ) as job:
        evaluate_sequences.main(job)
    return [files.read_json(made / name) for name in ("metrics.json", "picture.json")]


# --- training ---


def train(wanted, images, labels, state=None):
    return epochs.train(train_sequences.task(wanted, images, labels), wanted.seeds, state)


@pytest.mark.parametrize(("optimiser", "bfloat16"), [("sgd", True), ("adam", False)])
@pytest.mark.slow
def test_a_network_learns(optimiser, bfloat16):
    images, labels = pictures(64, classes=2)
    wanted = params(
        network="multi", seeds=[3], epochs=20, decay_epochs=20, optimiser=optimiser, dropout=0.0,
        learning_rate=0.003, bfloat16=bfloat16,
    )  # fmt: skip
    *_, last = train(wanted, images, labels)
    losses = [row["train/loss_nats"] for row in last["history"]]
    assert losses[0] > 2
    assert losses[-1] < 0.3
    assert last["history"][-1]["train/error_percent"] < 10


def test_the_loss_is_the_sum_of_five_cross_entropies():
    logits, labels = torch.randn(3, 5, 11), torch.randint(11, (3, 5))
    by_hand = -logits.log_softmax(dim=2).gather(2, labels[..., None]).sum(dim=1).mean()
    assert float(sequence_training.loss(logits, labels)) == pytest.approx(float(by_hand), rel=1e-5)


def test_one_step_of_sgd_moves_localisation_nets_at_their_own_rate():
    images, labels = pictures(8)
    wanted = params(
        seeds=[0], epochs=1, momentum=0.0, weight_decay=0.0, dropout=0.0, localisation_rate=0.01
    )
    network, _ = train_sequences.start(wanted, 16, 0)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    logits, _ = network(normalised(images))
    sequence_training.loss(logits, labels).backward()
    gradients = {name: value.grad for name, value in network.named_parameters()}
    *_, last = train(wanted, images, labels)
    for name, value in last["finished"][0].items():
        rate = 0.01 * (0.01 if "transformers" in name else 1.0)
        moved = before[name] - rate * gradients[name]
        assert torch.allclose(value, moved, atol=1e-6), name
    assert gradients["transformers.0.theta.weight"].abs().max() > 0


def test_the_rate_warms_up_and_falls_to_a_tenth():
    wanted = params(learning_rate=1.0, warmup_batches=4, decay_epochs=3)
    batches = [(epoch, 2 * epoch + b) for epoch in range(7) for b in range(2)]
    actual = [
        sequence_training.rate(
            wanted.learning_rate, wanted.warmup_batches, wanted.decay_epochs, *place
        )
        for place in batches
    ]
    expected = [0.25, 0.5, 0.75, 1, 1, 1, *[0.1] * 6, *[0.01] * 2]
    assert actual == pytest.approx(expected)


def test_seeds_do_not_depend_on_each_other():
    images, labels = pictures(16)
    *_, both = train(params(seeds=[0, 1]), images, labels)
    *_, alone = train(params(seeds=[1]), images, labels)
    assert len(both["finished"]) == 2
    for name, value in alone["finished"][0].items():
        assert torch.equal(value, both["finished"][1][name]), name
    assert both["history"][2:] == alone["history"]
    assert [(row["seed"], row["epoch"]) for row in both["history"]] == [
        (0, 1), (0, 2), (1, 1), (1, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_killed_training_goes_on_to_the_same_numbers(tmp_path, stop, optimiser):
    images, labels = pictures(24)
    wanted = params(optimiser=optimiser)  # with dropout, which draws too
    states = list(train(wanted, images, labels))
    for count, state in enumerate(train(wanted, images, labels), start=1):
        if count == stop:
            checkpoints.save_state(tmp_path / "resume.pt", state, "x")
            break
    torch.manual_seed(99)  # another process
    saved = checkpoints.load_state(tmp_path / "resume.pt", "x")
    resumed = list(train(wanted, images, labels, saved))
    assert len(resumed) == len(states) - stop
    assert resumed[-1]["history"] == states[-1]["history"]
    for one, other in zip(resumed[-1]["finished"], states[-1]["finished"], strict=True):
        for name, value in one.items():
            assert torch.equal(value, other[name]), name


def test_a_loss_that_is_not_finite_stops_with_its_place():
    images, labels = pictures(16)
    wanted = params(network="cnn", learning_rate=1e18, seeds=[7])
    with pytest.raises(UserError, match=r"the loss is not finite in epoch 1 of seed 7 .*lower"):
        list(train(wanted, images, labels))


def test_a_theta_that_is_not_finite_stops_with_transformer_and_epoch(monkeypatch):
    images, labels = pictures(16)
    forward = Network.forward

    def broken(self, x):
        logits, thetas = forward(self, x)
        return logits, [thetas[0], thetas[1] * float("nan"), *thetas[2:]]

    monkeypatch.setattr(Network, "forward", broken)
    with pytest.raises(UserError, match=r"transformer 2 has .* not finite in epoch 1 of"):
        list(train(params(network="multi"), images, labels))


def test_fewer_images_than_a_batch_are_refused():
    with pytest.raises(UserError, match="train has 7 images and batch_size is 8; lower batch_size"):
        list(train(params(), *pictures(7)))


# --- the steps ---


def test_training_is_the_same_bytes_each_time_and_leaves_no_checkpoint(folder, tmp_path):
    one, history = train_step(folder, tmp_path / "one")
    two, _ = train_step(folder, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    assert [row["epoch"] for row in history] == [1, 2, 1, 2]
    assert sorted(path.name for path in one.parent.iterdir()) == [
        "history.json",
        "model.safetensors",
    ]
    said = json.loads(tensor_files.read_metadata(one)["model"])
    assert said["seeds"] == [0, 1]
    assert {value.shape[0] for value in tensor_files.read_tensors(one).values()} == {2}


@pytest.mark.parametrize("network", ["cnn", "single", "multi"])
def test_what_was_trained_is_evaluated(folder, tmp_path, network):
    model, _ = train_step(folder, tmp_path / "made", network=network)
    metrics, picture = evaluate_step(folder, model, tmp_path / "made")
    architecture, networks = evaluate_sequences.load(model)
    assert architecture.network == network
    actual = metrics["metrics"]
    assert actual["test/parameters"] == [digit_networks.count(one) for one in networks]
    test = sequence_files.load(folder / "test.safetensors")
    for seed, one in enumerate(networks):
        with torch.inference_mode():
            logits, thetas = one(normalised(test.images))
        wrong = (logits.argmax(dim=2) != test.labels).any(dim=1).double().mean()
        assert actual["test/error_percent"][seed] == pytest.approx(100 * float(wrong))
        if seed == 0:
            shown = picture["images"]
            assert [image["true"] for image in shown] == test.labels[:3].tolist()
            assert [image["predicted"] for image in shown] == logits.argmax(2)[:3].tolist()
            for row, image in enumerate(shown):
                for said, theta in zip(image["thetas"], thetas, strict=True):
                    assert said == pytest.approx(theta[row].tolist(), abs=1e-3)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["images"][1]["png"]))))
    assert np.array_equal(pixels, test.images[1].permute(1, 2, 0).numpy())
    assert (picture["size"], picture["network"]) == (16, network)
    assert set(actual) == {
        f"{split}/{key}"
        for split in ("validation", "test")
        for key in ("error_percent", "error_digit_percent")
    } | {"test/parameters"}


def test_a_training_killed_before_its_model_was_written_is_finished(folder, tmp_path, monkeypatch):
    whole, _ = train_step(folder, tmp_path / "whole")

    def killed(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tensor_files, "write_tensors", killed)
        with pytest.raises(SystemExit, match="130"):
            train_step(folder, tmp_path / "killed")
    model, _ = train_step(folder, tmp_path / "killed")
    assert model.read_bytes() == whole.read_bytes()


def test_errors_count_sequences_and_digits():
    labels = torch.tensor([[1, 2, 10, 10, 10], [3, 10, 10, 10, 10], [4, 5, 6, 7, 8]])
    classes = labels.clone()
    assert evaluate_sequences.errors(classes, labels) == (0.0, 0.0)
    classes[0, 4] = 1  # a digit too many is an error of the sequence, not of a digit
    assert evaluate_sequences.errors(classes, labels) == pytest.approx((100 / 3, 0.0))
    classes[2, 4] = 10
    assert evaluate_sequences.errors(classes, labels) == pytest.approx((200 / 3, 100 / 8))


def test_images_of_another_case_are_refused(folder, tmp_path, capsys):
    model, _ = train_step(folder, tmp_path / "made")
    images, labels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.full((2, 5), 10)
    made = sequence_files.Sequences(images, labels, 0)
    sequence_files.write(folder / "test.safetensors", made, "composed")
    with pytest.raises(SystemExit, match="2"):
        evaluate_step(folder, model, tmp_path / "out")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith("has images of 32 pixels and the model reads 16; give it the images of "
                         "its own case")  # fmt: skip
    assert not (tmp_path / "out").exists()


SAID = {**Architecture("cnn", 16, 0.1, 1, 0.0)._asdict(), "seeds": [0]}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"model": "x"},
        {"model": "[]"},
        {"model": json.dumps(SAID | {"network": "other"})},
        {"model": json.dumps(SAID | {"seeds": [0, 1]})},
        {"model": json.dumps(SAID | {"seeds": 3})},
        {"model": json.dumps(SAID | {"size": 64})},
        {"model": json.dumps(SAID | {"colour": 64})},
    ],
)
def test_a_file_without_networks_is_refused(tmp_path, metadata):
    path = tmp_path / "model.safetensors"
    network = Network(Architecture("cnn", 16, 0.1, 1, 0.0))
    tensors = {name: value[None] for name, value in network.state_dict().items()}
    tensor_files.write_tensors(path, tensors, {"model": json.dumps(SAID)})
    evaluate_sequences.load(path)
    tensor_files.write_tensors(path, tensors, metadata)
    with pytest.raises(UserError, match=r"holds no nets of stn\.train_sequences; give a file"):
        evaluate_sequences.load(path)
