import base64
import copy
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from pr12.core import checkpoints, determinism, tensor_files
from pr12.stn import evaluate_parts, train_parts
from pr12.stn.data import generated_parts, part_files
from pr12.stn.model import digit_networks, epochs, part_networks, part_training, part_windows
from pr12.stn.model.part_networks import Architecture, PartNetwork
from pr12.workflow import files, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

PARAMS = {
    "seeds": [0, 1],
    "transformers": 2,
    "backbone": "small",
    "width": 2,
    "input_size": 16,
    "output_size": 8,
    "flips": True,
    "dropout": 0.2,
    "epochs": 2,
    "batch_size": 8,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "schedule": "stages",
    "warmup_batches": 2,
    "weight_decay": 0.00001,
    "localisation_rate": 0.1,
    "bfloat16": False,
}
JUDGED = {"batch": 5, "shown": 3, "bfloat16": False}


def params(**changes):
    return make(train_parts.Params, PARAMS | changes, "stn")


def flat(count, size=18):
    """Give images whose class is their grey value, with a place for each of two parts."""
    labels = torch.arange(count) % 2
    images = (255 * labels.to(torch.uint8))[:, None, None, None].expand(-1, 3, size, size)
    places = torch.tensor([[-0.5, 0.0], [0.5, 0.0]]).expand(count, 2, 2)
    return part_files.Examples(images.contiguous(), labels, places.contiguous(), 2)


@pytest.fixture
def folder(tmp_path):
    for name, count in (("train", 24), ("validation", 10), ("test", 12)):
        part_files.write(tmp_path / f"{name}.safetensors", flat(count))
    return tmp_path


def train_step(folder, made, given=None, **changes):
    paths = {"model": made / "model.safetensors", "history": made / "history.json"}
    every = {"train": folder / "train.safetensors", **(given or {}), **paths}
    line = ["--params", json.dumps(PARAMS | changes), *(f"{k}={v}" for k, v in every.items())]
    with step.start(
        train_parts.Params, reads=["train"], optional=["weights", "verified"],
        writes=list(paths),
        arguments=line,
    ) as job:  # fmt: skip
        train_parts.main(job)
    return paths


def evaluate_step(folder, made, model, **changes):
    paths = {"metrics": made / "metrics.json", "picture": made / "picture.json"}
    reads = {"model": model}
    reads |= {name: folder / f"{name}.safetensors" for name in ("validation", "test")}
    named = [f"{key}={path}" for key, path in (reads | paths).items()]
    line = ["--params", json.dumps(JUDGED | changes), *named]
    with step.start(
        evaluate_parts.Params, reads=list(reads), writes=list(paths), arguments=line
    ) as job:
        evaluate_parts.main(job)
    return [json.loads(path.read_text()) for path in paths.values()]


# --- rates and squares ---


def test_the_papers_stages_are_a_tenth_at_three_moments():
    wanted = params(warmup_batches=0, learning_rate=0.1)
    rates = [
        part_training.rate(
            wanted.learning_rate, wanted.schedule, wanted.warmup_batches, batch, 30_000
        )
        for batch in range(30_000)
    ]
    changes = [i for i in range(1, 30_000) if rates[i] != rates[i - 1]]
    assert changes == [10_000, 20_000, 25_000]
    assert [rates[i] for i in (0, *changes)] == pytest.approx([0.1, 0.01, 0.001, 0.0001])


def test_half_a_cosine_falls_from_the_rate_to_nothing():
    wanted = params(schedule="cosine", warmup_batches=0, learning_rate=2.0)
    rates = [
        part_training.rate(wanted.learning_rate, wanted.schedule, wanted.warmup_batches, batch, 100)
        for batch in range(101)
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 2.0
    assert rates[50] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.0)


def test_squares_are_parts_of_their_own_image_at_every_place():
    images = torch.arange(2 * 3 * 6 * 6).reshape(2, 3, 6, 6)
    rows = torch.tensor([1, 0] * 100)
    cut = part_training.varied(images, rows, 4, False, torch.Generator().manual_seed(0))
    corners = {(int(ours[0, 0, 0]) % 36) for ours in cut}
    assert corners == {6 * y + x for y in range(3) for x in range(3)}
    for row, ours in zip(rows.tolist(), cut, strict=True):
        top, left = divmod(int(ours[0, 0, 0]) % 36, 6)
        assert torch.equal(ours, images[row, :, top : top + 4, left : left + 4])


def test_about_half_of_the_images_are_mirrored():
    image = torch.arange(8).expand(1, 3, 8, 8)
    seen = part_training.varied(
        image, torch.zeros(400).long(), 8, True, torch.Generator().manual_seed(0)
    )
    first = seen[:, 0, 0, 0]
    assert set(first.tolist()) == {0, 7}
    assert 150 < (first == 7).sum() < 250


# --- training ---


def states(data, **changes):
    wanted = params(**changes)
    made = epochs.train(train_parts.task(wanted, data), wanted.seeds)
    return [copy.deepcopy(state) for state in made]  # the optimiser's tensors go on changing


def test_a_training_is_the_same_each_time_and_seeds_differ():
    one, again = states(flat(24)), states(flat(24))
    assert one[-1]["history"] == again[-1]["history"]
    first, second = one[-1]["finished"]
    assert all(torch.equal(first[key], again[-1]["finished"][0][key]) for key in first)
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])


def test_a_training_goes_on_from_any_of_its_states_as_if_it_had_not_stopped():
    whole = states(flat(24))
    for reached in whole[:-1]:
        *_, last = epochs.train(train_parts.task(params(), flat(24)), (0, 1), reached)
        assert last["history"] == whole[-1]["history"]
        for mine, theirs in zip(last["finished"], whole[-1]["finished"], strict=True):
            assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_training_learns():
    rows = states(flat(48), seeds=[0], epochs=8, learning_rate=0.05, dropout=0.0)[-1]["history"]
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["train/loss_nats"] < rows[0]["train/loss_nats"] / 2
    assert rows[-1]["train/error_percent"] < 5


def test_windows_stay_where_they_start_at_a_localisation_rate_of_0():
    noisy = flat(24)._replace(images=torch.randint(256, (24, 3, 18, 18)).byte())
    moved = states(noisy, seeds=[0], weight_decay=0.0)[-1]["finished"][0]
    still = states(noisy, seeds=[0], weight_decay=0.0, localisation_rate=0.0)[-1]["finished"][0]
    assert still["theta.bias"].tolist() == [-0.5, 0.0, 0.5, 0.0]
    assert not torch.equal(moved["theta.bias"], still["theta.bias"])


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_localisation_has_its_own_rate(optimiser):
    wanted = params(optimiser=optimiser, localisation_rate=0.25)
    net, made = train_parts.start(wanted, 2, 0, None)
    shares = {id(value): g["share"] for g in made.param_groups for value in g["params"]}
    assert len(shares) == len(list(net.parameters()))
    for name, value in net.named_parameters():
        slow = name.startswith(("localisation.", "theta."))
        assert shares[id(value)] == (0.25 if slow else 1.0), name


def test_windows_that_are_lost_stop_the_training_with_place_and_cause():
    message = r"theta that are not finite in epoch 1 of seed 0 \(loss before: none\); lower"
    with pytest.raises(UserError, match=message):
        states(flat(24), learning_rate=1e30, warmup_batches=0, localisation_rate=1e8)


def test_a_loss_that_is_not_finite_stops_the_training():
    message = r"the loss is not finite in epoch 1 of seed 0 \(loss before: none\); lower"
    with pytest.raises(UserError, match=message):
        states(flat(24), transformers=0, learning_rate=1e30, warmup_batches=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 25}, "train has 24 images and batch_size is 25; lower batch_size"),
        (
            {"input_size": 19},
            "images of 18 pixels and input_size is 19; lower",
        ),
        ({"output_size": 7}, "output_size is 7; it must be at least 8, which backbone small needs"),
        ({"transformers": -1}, "transformers is -1; it must be a number from 0 to 16"),
        ({"backbone": "vgg"}, 'backbone is "vgg"; it must be one of small, googlenet'),
        ({"localisation_rate": -0.1}, "localisation_rate is -0.1; it must be"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_model(folder, capsys, changes, message):
    with pytest.raises(SystemExit, match="2"):
        train_step(folder, folder / "made", **changes)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (folder / "made" / "model.safetensors").exists()


def test_weights_are_for_googlenet_only(folder, capsys):
    path = folder / "weights.pth"
    torch.save({"x": torch.zeros(1)}, path)
    with pytest.raises(SystemExit, match="2"):
        train_step(folder, folder / "made", {"weights": path})
    assert "weights are those of GoogLeNet" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit, match="2"):
        train_step(folder, folder / "made", {"weights": path}, backbone="googlenet", output_size=32)
    assert "has not the parameters of torchvision's GoogLeNet" in capsys.readouterr().err


def test_fetched_weights_that_were_exchanged_since_are_refused(folder, capsys):
    path, verified = folder / "googlenet-1378be20.pth", folder / "verified.json"
    torch.save({"x": torch.zeros(1)}, path)
    files.write_json(verified, {path.name: "sha256-prefix:1378be20"})
    given = {"weights": path, "verified": verified}
    with pytest.raises(SystemExit, match="2"):
        train_step(folder, folder / "made", given, backbone="googlenet", output_size=32)
    assert "expected sha256-prefix:1378be20" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_of_googlenet_is_read_and_trained_on(folder, zipped):
    net, _ = part_networks.backbone("googlenet", 1)
    tensors = net.state_dict() | {"fc.bias": torch.zeros(1000), "aux1.fc1.bias": torch.zeros(1024)}
    path, verified = folder / "googlenet-1378be20.pth", folder / "verified.json"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    files.write_json(verified, {path.name: f"sha256-prefix:{files.sha256(path)[:8]}"})
    given = {"weights": path, "verified": verified}
    still = {"transformers": 0, "epochs": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    paths = train_step(
        folder, folder / "made", given, backbone="googlenet", output_size=32, **still
    )
    model = tensor_files.read_tensors(paths["model"])
    ours = [model[key] for key in model if key.endswith("conv1.conv.weight") and "incep" not in key]
    assert torch.equal(ours[0][0], tensors["conv1.conv.weight"])


def test_every_seed_starts_from_the_given_googlenet():
    given, _ = part_networks.backbone("googlenet", 1)
    for seed in (0, 1):
        wanted = params(backbone="googlenet", output_size=32, transformers=2)
        net, _ = train_parts.start(wanted, 2, seed, given.state_dict())
        for ours in [*net.backbones, net.localisation[0]]:
            assert torch.equal(ours.conv1.conv.weight.cpu(), given.conv1.conv.weight)


def test_a_killed_training_ends_with_the_same_bytes(folder, monkeypatch):
    whole = train_step(folder, folder / "whole")
    saved, count = checkpoints.save_state, []

    def killed(*given):
        saved(*given)
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_state", killed)
        with pytest.raises(SystemExit, match="130"):
            train_step(folder, folder / "killed")
    assert (folder / "killed" / "resume.pt").exists()
    monkeypatch.setattr(checkpoints, "save_state", lambda *given: (saved(*given), count.append(1)))
    killed_paths = train_step(folder, folder / "killed")
    assert len(count) == 4  # of 4 epochs in all, one was left
    assert killed_paths["model"].read_bytes() == whole["model"].read_bytes()
    rows = [json.loads(path["history"].read_text())["history"] for path in (whole, killed_paths)]
    assert rows[0] == rows[1]
    assert not (folder / "killed" / "resume.pt").exists()


def test_a_training_killed_before_its_model_was_written_is_finished(folder, monkeypatch):
    whole = train_step(folder, folder / "whole")

    def killed(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tensor_files, "write_tensors", killed)
        with pytest.raises(SystemExit, match="130"):
            train_step(folder, folder / "killed")
    finished = train_step(folder, folder / "killed")
    assert finished["model"].read_bytes() == whole["model"].read_bytes()


# --- evaluation ---


def test_cutting_the_middle_out_moves_places_with_it():
    # A white pixel at row 5, column 9 of 18; whatever is cut out, its place leads to it
    images = torch.zeros(1, 3, 18, 18, dtype=torch.uint8)
    images[0, :, 5, 9] = 255
    place = torch.tensor([[[(9.5 * 2 / 18) - 1, (5.5 * 2 / 18) - 1]]])
    data = part_files.Examples(images, torch.tensor([0]), place, 2)
    for side in (18, 17, 16, 11):
        cut = evaluate_parts.cut(data, side)
        assert cut.images.shape == (1, 3, side, side)
        x, y = ((cut.places[0, 0] + 1) * side / 2 - 0.5).tolist()
        assert cut.images[0, 0, round(y), round(x)] == 255
        assert (x, y) == pytest.approx((round(x), round(y)), abs=1e-4)
    with pytest.raises(UserError, match="the images have 18 pixels and the networks read 19"):
        evaluate_parts.cut(data, 19)


def test_a_window_holds_a_part_if_no_pixel_of_it_is_cut_off():
    radius = 0.2
    theta = torch.zeros(1, 1, 2)
    for place, inside in [((0.29, 0.0), 1), ((0.31, 0.0), 0), ((0, -0.29), 1), ((0, -0.31), 0)]:
        actual = part_windows.held(theta, torch.tensor([[place]]), radius)
        assert bool(actual) == bool(inside)


def test_found_parts_are_counted_for_any_window_and_each():
    theta = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]]).repeat(2, 1, 1)
    places = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]], [[0.5, 0.1], [0.5, 0.9]]])
    assert part_windows.found_metrics(theta, places, 0.2) == {
        "test/found_both_percent": 50.0,
        "test/found_part_a_percent": 100.0,
        "test/found_part_a_transformer_1_percent": 50.0,
        "test/found_part_a_transformer_2_percent": 50.0,
        "test/found_part_b_percent": 50.0,
        "test/found_part_b_transformer_1_percent": 0.0,
        "test/found_part_b_transformer_2_percent": 50.0,
    }


def test_what_was_trained_is_judged(folder):
    learnt = {"epochs": 8, "learning_rate": 0.05, "dropout": 0.0}
    trained = train_step(folder, folder / "made", **learnt)
    result, picture = evaluate_step(folder, folder / "judged", trained["model"])
    metrics = result["metrics"]
    for name in ("validation", "test"):
        assert len(metrics[f"{name}/error_percent"]) == 2
        sums = zip(
            metrics[f"{name}/error_percent"], metrics[f"{name}/accuracy_percent"], strict=True
        )
        assert [a + b for a, b in sums] == [100, 100]
    net = PartNetwork(Architecture(2, "small", 2, 8, 2, 0.0))
    assert metrics["test/parameters"] == [digit_networks.count(net)] * 2
    assert "test/found_part_a_transformer_2_percent" in metrics
    assert (picture["size"], picture["output_size"], picture["window"]) == (16, 8, 0.5)
    assert len(picture["images"]) == 3
    test = flat(12)
    for row, shown in enumerate(picture["images"]):
        image = Image.open(io.BytesIO(base64.b64decode(shown["png"])))
        assert np.array_equal(np.asarray(image), test.images[row, :, 1:17, 1:17].permute(1, 2, 0))
        assert shown["true"] == test.labels[row]
        assert np.shape(shown["thetas"]) == (2, 2)
        assert np.allclose(shown["places"], test.places[row].numpy() * 18 / 16)


def test_metrics_are_those_of_each_seeds_own_predictions(folder):
    trained = train_step(folder, folder / "made")
    result, picture = evaluate_step(folder, folder / "judged", trained["model"], batch=12)
    _, side, networks = evaluate_parts.load(trained["model"])
    data = evaluate_parts.cut(flat(12), side)
    x = part_networks.normalised(data.images)
    with torch.inference_mode():
        outputs = [net(x.to(determinism.device())) for net in networks]
    errors = [
        100 * (logits.argmax(dim=1).cpu() != data.labels).double().mean().item()
        for logits, _ in outputs
    ]
    assert result["metrics"]["test/error_percent"] == pytest.approx(errors)
    first = [shown["thetas"] for shown in picture["images"]]
    assert np.allclose(first, outputs[0][1][:3].cpu().numpy(), atol=1e-3)


def test_a_base_network_has_no_windows_to_judge(folder):
    trained = train_step(folder, folder / "made", transformers=0)
    result, picture = evaluate_step(folder, folder / "judged", trained["model"])
    assert not any("found" in key for key in result["metrics"])
    assert [shown["thetas"] for shown in picture["images"]] == [[], [], []]


def test_birds_have_no_places_to_judge(folder):
    for name in ("train", "validation", "test"):
        path = folder / f"{name}.safetensors"
        whole = part_files.load(path)
        part_files.write(path, whole._replace(places=torch.zeros(len(whole.images), 0, 2)))
    trained = train_step(folder, folder / "made")
    result, _ = evaluate_step(folder, folder / "judged", trained["model"])
    assert not any("found" in key for key in result["metrics"])


def test_images_of_another_case_are_refused(folder, capsys):
    trained = train_step(folder, folder / "made")
    for made, message in (
        (flat(12)._replace(classes=3), "has 3 classes and the model 2; give it the images of its"),
        (flat(12, size=15), "the images have 15 pixels and the networks read 16; give the images"),
    ):
        part_files.write(folder / "test.safetensors", made)
        with pytest.raises(SystemExit, match="2"):
            evaluate_step(folder, folder / "judged", trained["model"])
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (folder / "judged").exists()


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"model": "{"},
        {"model": "[]"},
        {"model": json.dumps({"seeds": [0]})},
        {"model": json.dumps(Architecture(2, "small", 2, 8, 2, 0.0)._asdict() | {"seeds": [0]})},
    ],
)
def test_a_file_that_holds_no_networks_is_refused(tmp_path, metadata):
    path = tmp_path / "model.safetensors"
    tensor_files.write_tensors(path, {"x": torch.zeros(1)}, metadata)
    with pytest.raises(
        UserError, match=r"holds no nets of stn\.train_parts; give a file that it wrote"
    ):
        evaluate_parts.load(path)


def test_windows_of_generated_objects_are_judged_by_the_parts_own_radius():
    # At the start, the left window holds the part just above its lower edge
    made = generated_parts.draw(1, 64, torch.Generator().manual_seed(0))
    edge = part_networks.WINDOW - generated_parts.radius(64)
    places = torch.tensor([[[-0.5, edge - 0.01], [0.5, edge + 0.01]]])
    theta = torch.tensor([part_networks.tiled(2)])
    actual = part_windows.found_metrics(theta, places, generated_parts.radius(64))
    assert made.images.shape[-1] == 64
    assert actual["test/found_part_a_percent"] == 100
    assert actual["test/found_part_b_percent"] == 0
