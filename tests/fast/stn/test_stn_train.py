import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from pr12.core import checkpoints, determinism, tensor_files, uncompiled
from pr12.data import splits
from pr12.stn import train
from pr12.stn.data import digit_splits
from pr12.stn.model import digit_networks, digit_training, distortions, following
from pr12.workflow import address, files, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

PARAMS = {
    "seeds": [0, 1],
    "network": "fcn",
    "transform": "none",
    "transformers": 1,
    "pooling": "max",
    "distortions": ["R", "U"],
    "parameters": 9000,
    "images": 96,
    "batch_size": 4,
    "optimiser": "adam",
    "learning_rate": 0.003,
    "schedule": "linear",
    "bfloat16": False,
}
ST = {"transform": "affine", "parameters": 40_000}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Nets as small as these only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def params(**changes):
    return make(train.Params, PARAMS | changes, "stn.train")


def seeded(wanted, distortion, seed):
    shape = wanted.network, wanted.transform, wanted.transformers, wanted.pooling
    return digit_networks.seeded(seed, *shape, distortion, wanted.parameters)


def digits(count=20):
    """Give digits of 28 x 28 that are easy to tell apart: a bar whose row is the label."""
    labels = torch.arange(count) % 10
    stream = torch.Generator().manual_seed(0)
    images = 0.1 * torch.rand(count, 28, 28, generator=stream)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[4 + 2 * label : 6 + 2 * label, 4:24] = 1
    return splits.Split(images, labels)


def trained(wanted, distortion="U", seed=0, data=None):
    *_, last = digit_training.train(wanted, distortion, seed, data or digits(), None)
    return last


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(other[k], v) for k, v in one.items())


# --- a training ---


@pytest.mark.parametrize(
    ("network", "transform", "bfloat16"),
    [
        ("fcn", "none", False),
        ("fcn", "tps", False),
        ("cnn", "none", True),
        ("cnn", "affine", True),
        ("deformable", "none", False),
    ],
)
def test_the_loss_falls_on_an_easy_task(network, transform, bfloat16):
    wanted = params(
        network=network, transform=transform, bfloat16=bfloat16, parameters=50_000,
        images=480, batch_size=8, learning_rate=0.002,
    )  # fmt: skip
    losses = [row["train/loss_nats"] for row in trained(wanted)["history"]]
    assert losses[0] == pytest.approx(2.3, abs=0.7)  # ten classes
    assert losses[-1] < 0.5 * losses[0]


def test_one_step_of_sgd_by_hand():
    wanted = params(optimiser="sgd", images=4, learning_rate=0.1)
    data = digits()
    net = seeded(wanted, "U", 0)
    rows = digit_training.orders(20, 4, determinism.generator(0, "shuffle"))
    loss = functional.cross_entropy(net(data.images[rows][:, None])[0], data.labels[rows])
    loss.backward()
    last = trained(wanted)
    for name, parameter in net.named_parameters():
        expected = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(last["net"][name], expected, rtol=0, atol=1e-6)
    assert last["history"][0]["train/loss_nats"] == pytest.approx(loss.item(), abs=1e-6)


def test_rows_hold_the_mean_loss_since_the_row_before():
    wanted = params(optimiser="sgd", images=100, batch_size=2, learning_rate=1e-30)  # stands still
    data = digits()
    net = seeded(wanted, "R", 1)
    stream = determinism.generator(1, "distort R")
    losses = []
    for rows in digit_training.orders(20, 100, determinism.generator(1, "shuffle")).split(2):
        inputs, targets = distortions.batch("R", *data, rows, stream)
        losses.append(functional.cross_entropy(net(inputs)[0], targets).item())
    history = trained(wanted, "R", 1)["history"]
    seen = [row["images_seen"] for row in history]
    assert len(history) == 20
    assert seen[-1] == 100
    start = 0
    for row in history:
        stop = row["images_seen"] // 2
        mean = sum(losses[start:stop]) / (stop - start)
        assert row["train/loss_nats"] == pytest.approx(mean, abs=1e-5)
        assert stop - start in (2, 3)
        start = stop


@pytest.mark.parametrize(
    ("images", "batch_size", "rows"), [(4, 4, 1), (12, 4, 3), (13, 4, 4), (3, 4, 1), (200, 4, 20)]
)
def test_a_short_training_has_a_row_for_every_batch(images, batch_size, rows):
    history = trained(params(images=images, batch_size=batch_size))["history"]
    assert len(history) == rows
    assert history[-1]["images_seen"] == images


@pytest.mark.parametrize(("schedule", "count"), [("thirds", 30), ("linear", 30), ("thirds", 3)])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_the_steps_have_the_sizes_of_the_schedule(monkeypatch, schedule, count, optimiser):
    rates = []
    kind = {"sgd": uncompiled.SGD, "adam": uncompiled.Adam}[optimiser]
    before = kind.step

    def recorded(self, *given):
        rates.append(self.param_groups[0]["lr"])
        return before(self, *given)

    monkeypatch.setattr(kind, "step", recorded)
    wanted = params(optimiser=optimiser, schedule=schedule, images=4 * count, learning_rate=0.009)
    trained(wanted)
    expected = [0.009 * (1 - i / count) for i in range(count)]
    if schedule == "thirds":
        expected = [0.009 * factor for factor in (1, 0.1, 0.01) for _ in range(count // 3)]
    assert rates == pytest.approx(expected)


def test_the_rate_falls_exactly_at_the_thirds_of_the_papers_schedule():
    wanted = params(schedule="thirds", learning_rate=0.01)
    actual = [
        digit_training.learning_rate(wanted.learning_rate, wanted.schedule, n / 150_000)
        for n in (0, 49_999, 50_000, 99_999, 100_000)
    ]
    assert actual == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


def test_every_digit_is_seen_once_per_epoch_in_another_order():
    actual = digit_training.orders(7, 24, torch.Generator().manual_seed(0))
    assert actual.shape == (24,)
    epochs = actual[:21].view(3, 7)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(7))
    assert not torch.equal(epochs[0], epochs[1])
    assert len(actual[21:].unique()) == 3
    other = digit_training.orders(7, 24, torch.Generator().manual_seed(1))
    assert not torch.equal(actual, other)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_parameters_stay_float32(bfloat16):
    last = trained(params(**ST, bfloat16=bfloat16, images=8), "R")
    assert {value.dtype for value in last["net"].values()} == {torch.float32}


# --- seeds and streams ---


def test_a_seed_decides_the_initial_net_and_leaves_the_global_stream_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = seeded(params(), "R", 0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert same(one, seeded(params(), "R", 0).state_dict())
    for other in (seeded(params(), "R", 1), seeded(params(), "U", 0)):
        assert not same(one, other.state_dict())


def test_rows_of_one_seed_see_the_same_digits_distorted_alike(monkeypatch):
    seen = []
    before = distortions.batch

    def recorded(*given):
        seen.append(before(*given))
        return seen[-1]

    monkeypatch.setattr(distortions, "batch", recorded)
    actual = []
    for changes in ({}, ST, {"optimiser": "sgd"}):
        seen.clear()
        trained(params(images=8, **changes), "R")
        actual.append([inputs for inputs, _ in seen])
    for other in actual[1:]:
        assert all(torch.equal(a, b) for a, b in zip(actual[0], other, strict=True))
    seen.clear()
    trained(params(images=8), "R", seed=1)
    assert not torch.equal(seen[-1][0], actual[0][-1])


def test_no_image_is_distorted_alike_twice(monkeypatch):
    seen = []
    before = distortions.batch

    def recorded(*given):
        seen.append(before(*given)[0])
        return before(*given)

    monkeypatch.setattr(distortions, "batch", recorded)
    trained(params(images=60, batch_size=20), "R")  # three epochs
    images = torch.cat(seen[1:]).flatten(1)  # the first are those whose grids are kept
    assert len(images) == 60
    assert len(images.unique(dim=0)) == 60


def test_seeds_and_distortions_do_not_depend_on_each_other():
    *_, whole = train.train_all(params(), digits(), None)
    assert list(whole["finished"]) == ["R/0", "R/1", "U/0", "U/1"]
    assert list(whole["histories"]) == ["R/0", "R/1", "U/0", "U/1"]
    *_, alone = train.train_all(params(seeds=[1], distortions=["U"]), digits(), None)
    assert same(whole["finished"]["U/1"], alone["finished"]["U/1"])
    nets = [value["classifier.1.weight"] for value in whole["finished"].values()]
    for i, one in enumerate(nets):
        assert not any(torch.equal(one, other) for other in nets[i + 1 :])


# --- grids ---


def test_grids_are_kept_for_the_first_seed_of_a_net_with_transformers():
    wanted = params(**ST, seeds=[4, 2], distortions=["R"], images=160)
    *_, state = train.train_all(wanted, digits(), None)
    rows = state["histories"]["R/4"]
    assert torch.tensor([row["grids"] for row in rows]).shape == (20, 3, 1, 8, 8, 2)
    assert rows[0]["grids"] != rows[-1]["grids"]
    assert not any("grids" in row for row in state["histories"]["R/2"])


def test_a_net_without_transformers_has_no_grids():
    assert trained(params(images=4))["history"][0]["grids"] is None


def test_grids_are_those_of_the_net():
    net = digit_networks.build("fcn", "affine", 2, "max", "addition", 400_000)
    for i, one in enumerate(net.transformers.transformers):
        one.theta.bias.data = torch.tensor([0.5, 0, 0.1 * i, 0, 0.25, 0])
    actual = torch.tensor(following.grids(net, torch.rand(2, 2, 42, 42)))
    assert actual.shape == (2, 2, 8, 8, 2)
    centres = (torch.arange(8) + 0.5) / 4 - 1
    for i in range(2):
        x, y = actual[0, i].unbind(dim=-1)
        torch.testing.assert_close(x, (0.5 * centres + 0.1 * i).expand(8, 8), rtol=0, atol=1e-3)
        torch.testing.assert_close(y.T, (0.25 * centres).expand(8, 8), rtol=0, atol=1e-3)


# --- a kill ---


@pytest.fixture(scope="module")
def whole():
    wanted = {"images": 40, "seeds": [0, 1], "distortions": ["R"]}
    actual = {}
    for optimiser in ("sgd", "adam"):
        states = train.train_all(params(**ST, **wanted, optimiser=optimiser), digits(), None)
        actual[optimiser] = [(state["name"], state) for state in states][-1][1]
    return wanted, actual


@pytest.mark.parametrize("stop", [1, 7, 10, 11, 20, 21])  # two nets of ten rows, and the end
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_killed_training_goes_on_to_the_same_numbers(tmp_path, whole, stop, optimiser):
    wanted, expected = whole
    wanted = params(**ST, **wanted, optimiser=optimiser)
    states = train.train_all(wanted, digits(), None)
    for _ in range(stop):
        checkpoints.save_state(tmp_path / "resume.pt", next(states), "x")
    torch.manual_seed(99)  # another process
    saved = checkpoints.load_state(tmp_path / "resume.pt", "x")
    resumed = list(train.train_all(wanted, digits(), saved))
    assert len(resumed) == max(1, 21 - stop)
    assert resumed[-1]["histories"] == expected[optimiser]["histories"]
    assert list(resumed[-1]["finished"]) == ["R/0", "R/1"]
    for name, net in resumed[-1]["finished"].items():
        assert same(net, expected[optimiser]["finished"][name])


def test_finished_nets_are_not_changed_by_the_next():
    wanted = params(seeds=[0, 1], distortions=["U"], images=8)
    kept = {}
    for state in train.train_all(wanted, digits(), None):
        for name, net in state["finished"].items():
            kept.setdefault(name, {key: value.clone() for key, value in net.items()})
    assert all(same(net, state["finished"][name]) for name, net in kept.items())


# --- trainings that are lost ---


def spoilt(monkeypatch, value, after):
    """Make the transformers' parameters `value` from the batch after `after` on."""
    forward = digit_networks.Network.forward
    calls = []

    def broken(self, images):
        calls.append(1)
        if len(calls) > after:
            self.transformers.transformers[0].theta.bias.data[3] = value
        return forward(self, images)

    monkeypatch.setattr(digit_networks.Network, "forward", broken)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("after", "epoch", "loss"), [(0, "0.40", "none"), (8, "2.00", r"\d\.\d+")])
def test_theta_that_is_not_finite_stops_with_epoch_and_cause(
    monkeypatch, value, after, epoch, loss
):
    spoilt(monkeypatch, value, after)
    wanted = params(**ST, images=200)
    sentence = (
        rf"^the transformers' parameters theta are not finite at R, seed 7, epoch {epoch} "
        rf"\(loss before: {loss}\); lower learning_rate and run again$"
    )
    states = digit_training.train(wanted, "R", 7, digits(), None)
    reached = []
    with pytest.raises(UserError, match=sentence):
        reached.extend(state["steps"] for state in states)
    assert reached == ([2, 5, 8] if after else [])  # a row is two or three batches of 4 digits


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_loss_that_is_not_finite_stops_with_epoch_and_cause(optimiser):
    wanted = params(optimiser=optimiser, learning_rate=1e30, images=80)
    with pytest.raises(UserError, match=r"^the loss is not finite at U, seed 3, epoch \d\.\d\d "):
        list(digit_training.train(wanted, "U", 3, digits(), None))


def test_a_last_step_that_leaves_the_numbers_is_told():
    wanted = params(optimiser="adam", learning_rate=3e38, images=4, batch_size=4)  # one step
    with pytest.raises(UserError, match=r"^the net's parameters are not finite at U, seed 3, "):
        list(digit_training.train(wanted, "U", 3, digits(), None))


def test_the_last_good_loss_is_told():
    history = [{"train/loss_nats": 9.0}, {"train/loss_nats": 2.25}]
    for lost in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(UserError, match=r"the loss is not finite at here \(loss before: 2.25"):
            digit_training.check(lost, True, "here", history)
    digit_training.check(1e30, True, "here", [])


# --- what a user can give ---


@pytest.mark.parametrize("value", [float("nan"), -0.01, 1.01, float("inf")])
def test_a_pixel_outside_0_to_1_is_refused(value):
    data = digits()
    data.images[3, 5, 7] = value
    with pytest.raises(UserError, match="train has pixels outside 0 to 1 or that are no numbers"):
        digit_splits.checked(data, "train")


def test_a_batch_larger_than_the_data_is_refused():
    assert len(digit_splits.checked(digits(), "train", 20).labels) == 20
    with pytest.raises(UserError, match="train has 20 images and batch_size is 21; lower"):
        digit_splits.checked(digits(), "train", 21)


def test_small_digits_are_framed():
    small = splits.Split(torch.rand(5, 8, 8), torch.arange(5))
    actual = digit_splits.checked(small, "train")
    assert torch.equal(actual.images, distortions.framed(small.images))
    assert torch.equal(actual.labels, small.labels)


# --- the step ---


def write(folder, wanted, data=None, **changes):
    """Write the digits, and give the step's command line."""
    images, labels = data or digits()
    folder.mkdir(exist_ok=True)
    pixels = (255 * images).round().byte()
    tensor_files.write_tensors(
        folder / "train", {"images": pixels, "labels": labels}, {"maximum": "255"}
    )
    given = [f"{name}={folder / name}" for name in ("train", "model", "history")]
    return ["--params", json.dumps(dataclasses.asdict(wanted) | changes), *given]


def step_in_process(arguments):
    with step.start(
        train.Params, reads=["train"], writes=["model", "history"], arguments=arguments
    ) as job:
        train.main(job)


def made(folder):
    actual = files.read_json(folder / "history")
    return (folder / "model").read_bytes(), actual["history"], actual["followed"]


def test_the_step_writes_the_nets_and_their_history(tmp_path, capsys):
    wanted = params(**ST | {"parameters": 150_000}, distortions=["R", "TC"], images=40)
    step_in_process(write(tmp_path / "one", wanted))
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"train", "model", "history"}
    data = splits.load_split(tmp_path / "one" / "train")
    *_, state = train.train_all(wanted, data, None)
    tensors = tensor_files.read_tensors(tmp_path / "one" / "model")
    expected = {
        f"{name}/{key}": value
        for name, net in state["finished"].items()
        for key, value in net.items()
    }
    assert same(tensors, expected)
    assert json.loads(tensor_files.read_metadata(tmp_path / "one" / "model")["built"]) == {
        "network": "fcn", "transform": "affine", "transformers": 1, "pooling": "max",
        "parameters": 150_000, "distortions": ["R", "TC"], "seeds": [0, 1],
    }  # fmt: skip
    history = files.read_json(tmp_path / "one" / "history")
    assert history["history"] == state["histories"]
    shapes = {name: torch.tensor(value).shape for name, value in history["followed"].items()}
    assert shapes == {"R": (3, 28, 28), "TC": (3, 60, 60)}
    assert torch.tensor(history["followed"]["TC"]).max() == 255
    provenance = history["provenance"]
    assert provenance["inputs"]["train"]["sha256"] == files.sha256(tmp_path / "one" / "train")
    rows = [line for line in capsys.readouterr().err.splitlines() if "/81  " in line]
    assert len(rows) == 41  # two nets of two distortions, ten rows each, and the end
    assert rows[0].startswith("1/81  R/0  4 images  loss ")


def test_the_same_command_gives_the_same_bytes(tmp_path):
    wanted = params(**ST, seeds=[3], distortions=["P", "E"], images=24)
    for name in ("one", "two"):
        torch.manual_seed(len(name) + (name == "two"))
        step_in_process(write(tmp_path / name, wanted))
    assert made(tmp_path / "one") == made(tmp_path / "two")


@pytest.mark.slow
def test_a_killed_step_goes_on_to_the_same_bytes(tmp_path, capsys):
    wanted = params(seeds=[0], distortions=["R"], images=6000)
    step_in_process(write(tmp_path / "whole", wanted))
    arguments = write(tmp_path / "killed", wanted)
    environment = os.environ | {"PYTHONPATH": str(address.SRC), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pr12.stn.train", *arguments]
    running = subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)
    for line in running.stderr:
        if line.startswith("3/"):
            running.kill()
    assert running.wait(timeout=60) == -signal.SIGKILL
    assert {p.name for p in (tmp_path / "killed").iterdir()} >= {"resume.pt", "train"}
    assert not (tmp_path / "killed" / "model").exists()
    capsys.readouterr()
    step_in_process(arguments)
    message = capsys.readouterr().err
    first = next(line for line in message.splitlines() if line[:1].isdigit())
    assert int(first.partition("/")[0]) >= 3  # it did not start afresh
    assert made(tmp_path / "killed") == made(tmp_path / "whole")
    assert not (tmp_path / "killed" / "resume.pt").exists()


@pytest.mark.parametrize("content", ["foreign", "damaged"])
def test_a_checkpoint_that_is_not_its_own_is_not_used(tmp_path, content):
    wanted = params(seeds=[0], distortions=["U"], images=8)
    step_in_process(write(tmp_path / "clean", wanted))
    arguments = write(tmp_path / "left", wanted)
    state = next(train.train_all(params(seeds=[9], distortions=["U"], images=8), digits(), None))
    checkpoints.save_state(tmp_path / "left" / "resume.pt", state, "of other params")
    if content == "damaged":
        os.truncate(tmp_path / "left" / "resume.pt", 1000)
    step_in_process(arguments)
    assert made(tmp_path / "left") == made(tmp_path / "clean")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": ()}, "seeds is []"),
        ({"distortions": ()}, "distortions is []"),
        ({"distortions": ("R", "Q")}, 'distortions[1] is "Q"; it must be one of U, R, RTS, P, E'),
        ({"network": "rnn"}, 'network is "rnn"; it must be one of fcn, cnn, deformable'),
        ({"transform": "rigid"}, 'transform is "rigid"; it must be one of none, affine'),
        ({"transformers": 0}, "transformers is 0; it must be a number from 1 to 16"),
        ({"images": 0}, "images is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be a number above 0"),
        ({"schedule": "cosine"}, 'schedule is "cosine"'),
        ({"batch_size": 21}, "train has 20 images and batch_size is 21; lower"),
        ({"parameters": 100}, "no fcn for R comes near 100 parameters"),
        ({"learning_rate": 1e30}, "the loss is not finite at R, seed 0, epoch"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path, capsys, changes, sentence):
    arguments = write(tmp_path, params(), **changes)
    with pytest.raises(SystemExit) as caught:
        step_in_process(arguments)
    assert caught.value.code == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line[:6] == "error:"]
    assert sentence in error
    assert not {"model", "history"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((20, 29, 29), "digits are 29 x 29 pixels"), ((20, 28, 20), "digits are 28 x 20 pixels")],
)
def test_digits_of_another_shape_are_told(tmp_path, capsys, shape, sentence):
    arguments = write(tmp_path, params(), splits.Split(torch.rand(shape), torch.arange(20) % 10))
    with pytest.raises(SystemExit, match="2"):
        step_in_process(arguments)
    assert sentence in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_that_is_no_digit_is_refused(label):
    labels = torch.arange(20) % 10
    labels[7] = label
    with pytest.raises(UserError, match=r"^train has labels that are no digits from 0 to 9"):
        digit_splits.checked(splits.Split(torch.rand(20, 28, 28), labels), "train")


def test_a_file_that_is_no_split_or_cut_short_is_told(tmp_path, capsys):
    arguments = write(tmp_path, params())
    os.truncate(tmp_path / "train", 5000)
    with pytest.raises(SystemExit, match="2"):
        step_in_process(arguments)
    assert "is not a safetensors file" in capsys.readouterr().err.splitlines()[-1]
    tensor_files.write_tensors(tmp_path / "train", {"images": torch.zeros(2, 2)})
    with pytest.raises(SystemExit, match="2"):
        step_in_process(arguments)
    assert "is not a split" in capsys.readouterr().err.splitlines()[-1]
