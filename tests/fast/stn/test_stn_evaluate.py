import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from pr12.core import determinism, tensor_files
from pr12.data import splits
from pr12.stn import evaluate, train
from pr12.stn.data import digit_splits, pictures, saved_nets
from pr12.stn.model import accuracy, digit_networks, distortions
from pr12.workflow import address, files, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

PARAMS = {
    "examples": None,
    "moved_examples": None,
    "rotations": [0, 90],
    "scales": [0.5, 1.0],
    "shifts": [0, 4],
    "batch": 7,
    "bfloat16": False,
}
TRAINED = {
    "seeds": [3, 0],
    "network": "fcn",
    "transform": "none",
    "transformers": 1,
    "pooling": "max",
    "distortions": ["U", "R"],
    "parameters": 9000,
    "images": 24,
    "batch_size": 4,
    "optimiser": "adam",
    "learning_rate": 0.003,
    "schedule": "linear",
    "bfloat16": False,
}
ST = {"transform": "affine", "parameters": 70_000}


def params(**changes):
    return make(evaluate.Params, PARAMS | changes, "stn.evaluate")


def products(wanted):
    return wanted.batch, wanted.bfloat16


def amounts(wanted):
    return wanted.rotations, wanted.scales, wanted.shifts


def moved_accuracy(net, canvas, digits, wanted):
    movements = accuracy.movements(*amounts(wanted))
    return accuracy.moved_accuracy(net, canvas, digits, movements, *products(wanted))


def digits(count=20):
    """Give digits that are known by where they are bright: the label's row, from the middle up."""
    labels = torch.arange(count) % 10
    images = torch.zeros(count, 28, 28)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[4 + label, 14] = 1
    return splits.Split(images, labels)


class Constant(nn.Module):
    """Say the same digit to every image."""

    transformers = None

    def __init__(self, digit):
        super().__init__()
        self.digit = digit
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return torch.eye(19)[self.digit].expand(len(images), 19), None


class Reader(nn.Module):
    """Read the digit off the brightest row, which is right where nothing was moved."""

    transformers = None

    def forward(self, images):
        rows = images[:, 0].amax(dim=2).argmax(dim=1) - (images.shape[2] - 28) // 2
        return torch.eye(19)[(rows - 4).clamp(0, 18)], None


# --- errors ---


def test_the_error_of_a_perfect_predictor_is_0():
    assert accuracy.error(Reader(), "U", digits(), 0, *products(params())) == 0.0


@pytest.mark.parametrize(("count", "expected"), [(20, 90.0), (15, 100 * 13 / 15), (9, 800 / 9)])
def test_the_error_of_a_predictor_that_says_one_digit(count, expected):
    actual = accuracy.error(Constant(3), "U", digits(count), 0, *products(params()))
    assert actual == pytest.approx(expected)


def test_the_error_of_additions_is_counted_on_sums():
    zeros = splits.Split(torch.zeros(20, 28, 28), torch.full((20,), 4))
    assert accuracy.error(Constant(8), "addition", zeros, 0, *products(params())) == 0.0
    assert accuracy.error(Constant(4), "addition", zeros, 0, *products(params())) == 100.0


@pytest.mark.parametrize("batch", [1, 7, 20, 1000])
def test_batches_do_not_change_what_is_predicted(batch):
    net = digit_networks.build("cnn", "affine", 1, "max", "R", 60_000)
    nn.init.normal_(net.transformers.transformers[0].theta.weight, std=0.05)
    inputs = torch.rand(20, 1, 28, 28)
    with torch.no_grad():
        expected = net(inputs)[0].argmax(dim=1)
    assert torch.equal(accuracy.predicted(net, inputs, *products(params(batch=batch))), expected)
    sizes = Constant(0)
    accuracy.predicted(sizes, inputs, *products(params(batch=batch)))
    assert max(len(part) for part in sizes.seen) == min(batch, 20)


def test_bfloat16_is_used_where_it_is_asked():
    class Typed(nn.Module):
        def forward(self, images):
            product = images.flatten(1) @ torch.ones(784, 10)
            kinds.append(product.dtype)
            return product, None

    kinds = []
    for bfloat16 in (False, True):
        accuracy.predicted(Typed(), torch.rand(2, 1, 28, 28), *products(params(bfloat16=bfloat16)))
    assert kinds == [torch.float32, torch.bfloat16]


# --- test sets ---


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_test_sets_are_the_same_for_every_row_of_a_seed(name):
    seen = []
    for changes in ({"batch": 7}, {"batch": 20}, {"bfloat16": True}):
        net = Constant(0)
        torch.manual_seed(len(seen))
        accuracy.error(net, name, digits(), 5, *products(params(**changes)))
        seen.append(torch.cat(net.seen))
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    net = Constant(0)
    accuracy.error(net, name, digits(), 6, *products(params()))
    assert torch.equal(seen[0], torch.cat(net.seen)) == (name == "U")


def test_all_digits_are_in_the_test_set_once_in_parts_of_a_thousand():
    many = splits.Split(torch.zeros(2300, 28, 28), torch.arange(2300))
    parts = list(accuracy.distorted("R", many, 0))
    assert [len(inputs) for inputs, _ in parts] == [1000, 1000, 300]
    assert torch.equal(torch.cat([targets for _, targets in parts]), many.labels)


def test_training_and_test_are_distorted_differently():
    rows = torch.arange(20)
    of_training = distortions.batch("R", *digits(), rows, determinism.generator(0, "distort R"))[0]
    of_test, _ = next(accuracy.distorted("R", digits(), 0))
    assert not torch.equal(of_training, of_test)


@pytest.mark.parametrize(("count", "expected"), [(None, 20), (20, 20), (3, 3)])
def test_the_first_digits_are_taken(count, expected):
    actual = digit_splits.first(digits(), count)
    assert torch.equal(actual.labels, digits().labels[:expected])
    assert torch.equal(actual.images, digits().images[:expected])


def test_more_digits_than_there_are_is_refused():
    with pytest.raises(UserError, match="test has 20 digits; 21 are asked"):
        digit_splits.first(digits(), 21)


# --- known movements ---


def test_every_movement_moves_along_one_axis_only():
    actual = list(accuracy.movements(*amounts(params())))
    assert actual == [
        ("rotation", 0.0, 0.0, 1.0, 0.0),
        ("rotation", 90.0, 90.0, 1.0, 0.0),
        ("scale", 0.5, 0.0, 0.5, 0.0),
        ("scale", 1.0, 0.0, 1.0, 0.0),
        ("shift", 0.0, 0.0, 1.0, 0.0),
        ("shift", 4.0, 0.0, 1.0, 4.0),
    ]


@pytest.mark.parametrize("canvas", [28, 42])
def test_accuracy_by_movement_of_a_reader_of_rows(canvas):
    wanted = params(shifts=[0, 1, 4])
    actual = moved_accuracy(Reader(), canvas, digits(), wanted)
    assert list(actual) == [
        "rotation/0", "rotation/90", "scale/0.5", "scale/1", "shift/0", "shift/1", "shift/4",
    ]  # fmt: skip
    assert [actual[key] for key in ("rotation/0", "scale/1", "shift/0")] == [100.0, 100.0, 100.0]
    # A turn by 90 degrees puts every bright pixel in the row of column 14, where 9 is
    assert actual["rotation/90"] == pytest.approx(10.0)
    # Half as large, rows 4 to 13 become 9 to 13: two digits fall on a row, and it is 9's alone
    assert actual["scale/0.5"] <= 20.0
    # Right and left (a half of the digits) leave the row alone, up and down do not
    assert actual["shift/1"] == pytest.approx(50.0)
    assert actual["shift/4"] == pytest.approx(50.0)


@pytest.mark.parametrize(("canvas", "kept"), [(28, [0, 4]), (42, [0, 4, 5, 11])])
def test_no_shift_cuts_a_digit_off(canvas, kept):
    actual = moved_accuracy(Reader(), canvas, digits(), params(shifts=[0, 4, 5, 11, 12]))
    assert [key for key in actual if key.startswith("shift")] == [f"shift/{n}" for n in kept]


def test_what_is_lost_is_the_difference_to_digits_that_were_not_moved():
    actual = {
        "shift/accuracy_U_0_percent": 90.0,
        "shift/accuracy_U_3_percent": 60.0,
        "scale/accuracy_U_1_percent": 80.0,
        "scale/accuracy_U_0.5_percent": 85.0,
        "rotation/accuracy_U_90_percent": 10.0,  # of what is not known
        "shift/accuracy_RTS_0_percent": 1.0,
    }
    assert accuracy.lost(actual, "U") == {
        "scale/lost_U_0.5_points": -5,
        "shift/lost_U_3_points": 30,
    }


def test_a_quarter_of_the_digits_each_is_shifted_right_down_left_and_up():
    middle = splits.Split(torch.zeros(8, 28, 28), torch.arange(8))
    middle.images[:, 14, 14] = 1
    net = Constant(0)
    wanted = params(rotations=[0], scales=[1.0], shifts=[3], batch=100)
    moved_accuracy(net, 28, middle, wanted)
    places = [divmod(int(image.argmax()), 28) for image in net.seen[-1]]
    assert places == 2 * [(14, 17), (17, 14), (14, 11), (11, 14)]


# --- all metrics ---


def test_metrics_have_one_value_per_seed_under_their_keys():
    nets = {(name, seed): Constant(3) for name in ("R", "U", "RTS") for seed in (4, 5)}
    actual = evaluate.judged(nets, digits(), params(examples=15, moved_examples=10))
    moved = [
        f"{axis}/accuracy_{name}_{amount}_percent"
        for name in ("U", "RTS")
        for axis, amounts in (("rotation", (0, 90)), ("scale", (0.5, 1)), ("shift", (0, 4)))
        for amount in amounts
    ]
    tests = [f"test/{key}" for n in ("R", "U", "RTS") for key in (f"error_{n}_percent",
                                                                  f"parameters_{n}")]  # fmt: skip
    losses = [
        f"{axis}/lost_{name}_{amount}_points"
        for name in ("U", "RTS")
        for axis, amount in (("rotation", 90), ("scale", 0.5), ("shift", 4))
    ]
    assert set(actual) == {*moved, *tests, *losses}
    assert all(actual[key] == [0.0, 0.0] for key in losses)
    for key in tests:
        assert actual[key] == ([pytest.approx(100 * 13 / 15)] * 2 if "error" in key else [0, 0])
    assert all(actual[key] == [10.0, 10.0] for key in moved)


def test_a_seed_is_judged_on_its_own_test_set():
    nets = {("R", seed): Constant(0) for seed in (4, 5)}
    evaluate.judged(nets, digits(), params())
    for (_, seed), net in nets.items():
        expected, _ = next(accuracy.distorted("R", digits(), seed))
        assert torch.equal(torch.cat(net.seen), expected)


# --- pictures ---


def test_what_is_shown_is_what_was_judged():
    net = digit_networks.build("cnn", "affine", 2, "max", "RTS", 100_000)
    for one in net.transformers.transformers:
        nn.init.normal_(one.theta.weight, std=0.05)
    tests = digit_splits.first(digits(), 11)
    actual = evaluate.shown(net.eval(), "RTS", tests, 2, params())
    inputs, labels = next(accuracy.distorted("RTS", tests, 2))
    with torch.no_grad():
        logits, theta = net(inputs[:4])
        outputs, _ = net.transformers(inputs[:4])
    assert actual["labels"] == labels[:4].tolist()
    assert actual["predicted"] == logits.argmax(dim=1).tolist()
    assert torch.tensor(actual["inputs"]).shape == (4, 1, 42, 42)
    assert torch.equal(torch.tensor(actual["inputs"]), (255 * inputs[:4]).round().int())
    assert (torch.tensor(actual["outputs"]) - 255 * outputs).abs().max() <= 0.51
    assert torch.tensor(actual["outputs"]).shape == (4, 2, 42, 42)
    grid = net.transformers.transformers[1].grid(theta[:, 1], (8, 8))
    torch.testing.assert_close(torch.tensor(actual["grids"])[:, 1], grid, rtol=0, atol=6e-4)


def test_pictures_are_of_the_first_seed_and_of_the_digits_that_are_judged():
    nets = {("RTS", seed): Constant(0) for seed in (4, 5)}
    history = {"history": {"RTS/4": [{"images_seen": 4}]}}
    actual = evaluate.shown_by_distortion(nets, digits(), history, params(examples=9))
    inputs, _ = next(accuracy.distorted("RTS", digit_splits.first(digits(), 9), 4))
    assert list(actual) == ["RTS"]
    assert actual["RTS"]["inputs"] == pictures.levels(inputs[:4])


def test_a_net_without_transformers_shows_no_grid():
    actual = evaluate.shown(Constant(2), "U", digits(2), 0, params())
    assert (actual["outputs"], actual["grids"], actual["predicted"]) == (None, None, [2, 2])


def test_grids_in_training_are_those_of_the_history():
    rows = [{"images_seen": 4 * i, "grids": [i]} for i in (1, 2)]
    history = {"history": {"R/0": rows, "R/1": [{"images_seen": 4}]}, "followed": {"R": [7]}}
    assert pictures.grids_in_training(history, "R", 0) == {
        "inputs": [7], "images_seen": [4, 8], "grids": [[1], [2]],
    }  # fmt: skip
    assert pictures.grids_in_training(history, "R", 1) is None
    for other in ({}, [], None, 3, {"history": {"R/0": []}}, {"history": {"R/0": [3]}},
                  {"history": {"R/0": rows}}):  # fmt: skip
        with pytest.raises(UserError, match="history does not list the net R/0"):
            pictures.grids_in_training(other, "R", 0)


# --- files of nets ---

BUILT = {
    "network": "fcn", "transform": "none", "transformers": 1, "pooling": "max",
    "parameters": 9000, "distortions": ["U"], "seeds": [3],
}  # fmt: skip


def saved(path, built=None, tensors=None):
    net = digit_networks.build("fcn", "none", 1, "max", "U", 9000)
    ours = {f"U/3/{key}": value for key, value in net.state_dict().items()}
    metadata = {"built": json.dumps(BUILT if built is None else built)}
    tensor_files.write_tensors(path, ours if tensors is None else tensors(ours), metadata)
    return net


def test_nets_come_back_as_they_were(tmp_path):
    net = saved(tmp_path / "model")
    ((key, actual),) = saved_nets.load(tmp_path / "model").items()
    assert key == ("U", 3)
    assert not actual.training
    inputs = torch.rand(2, 1, 28, 28)
    assert torch.equal(actual(inputs)[0], net(inputs)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"network": "cnn"},
        {"pooling": 3, "network": "cnn"},
        {"transform": "affine", "parameters": 70_000},
        {"transform": "rigid"},
        {"transformers": "x", "transform": "affine", "parameters": 70_000},
        {"parameters": 90_000},
        {"parameters": "many"},
        {"parameters": 10},
        {"distortions": ["R"]},
        {"distortions": ["Q"]},
        {"distortions": []},
        {"distortions": 3},
        {"seeds": []},
        {"seeds": [4]},
        {"seeds": None},
    ],
    ids=str,
)
def test_a_file_that_names_other_nets_is_refused(tmp_path, change):
    saved(tmp_path / "model", BUILT | change)
    with pytest.raises(
        UserError, match=r"model holds no nets of stn\.train; give a file that it wrote"
    ):
        saved_nets.load(tmp_path / "model")


@pytest.mark.parametrize("built", [[], 3, None, "text", {}, {"network": "fcn"}])
def test_a_file_that_names_no_nets_is_refused(tmp_path, built):
    saved(tmp_path / "model", built if built is not None else "null")
    with pytest.raises(UserError, match=r"model holds no nets of stn\.train"):
        saved_nets.load(tmp_path / "model")


@pytest.mark.parametrize(
    "tensors",
    [
        lambda ours: {},
        lambda ours: {"a": torch.zeros(2)},
        lambda ours: dict(list(ours.items())[:-1]),
        lambda ours: ours | {"U/3/extra": torch.zeros(1)},
        lambda ours: {key: value[..., :-1] for key, value in ours.items()},
    ],
    ids=["none", "foreign", "one missing", "one more", "another shape"],
)
def test_a_file_with_other_tensors_is_refused(tmp_path, tensors):
    saved(tmp_path / "model", tensors=tensors)
    with pytest.raises(UserError, match=r"model holds no nets of stn\.train"):
        saved_nets.load(tmp_path / "model")


@pytest.mark.parametrize("metadata", [{}, {"built": "{"}, {"model": "vae"}])
def test_a_file_of_another_step_is_refused(tmp_path, metadata):
    tensor_files.write_tensors(tmp_path / "model", {"a": torch.zeros(2)}, metadata)
    with pytest.raises(
        UserError, match=r"model holds no nets of stn\.train; give a file that it wrote"
    ):
        saved_nets.load(tmp_path / "model")


# --- test digits ---


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.5])
def test_a_pixel_outside_0_to_1_is_refused(value):
    data = digits()
    data.images[3, 5, 7] = value
    with pytest.raises(UserError, match="test has pixels outside 0 to 1"):
        digit_splits.checked(data, "test")


# --- the step ---


def write_digits(path, split, maximum="255"):
    pixels = (255 * split.images).round().byte()
    tensor_files.write_tensors(
        path, {"images": pixels, "labels": split.labels}, {"maximum": maximum}
    )


def train_step(folder, **changes):
    folder.mkdir(exist_ok=True)
    write_digits(folder / "train", digits())
    line = ["--params", json.dumps(TRAINED | changes)]
    line += [f"{name}={folder / name}" for name in ("train", "model", "history")]
    with step.start(
        train.Params, reads=["train"], writes=["model", "history"], arguments=line
    ) as job:
        train.main(job)


def arguments(folder, test=None, **changes):
    write_digits(folder / "test", test or digits())
    wanted = dataclasses.asdict(params(**changes))
    names = ("model", "history", "test", "metrics", "picture")
    return ["--params", json.dumps(wanted), *(f"{name}={folder / name}" for name in names)]


def evaluate_step(line):
    with step.start(
        evaluate.Params, reads=["model", "history", "test"], writes=["metrics", "picture"],
        arguments=line,
    ) as job:  # fmt: skip
        evaluate.main(job)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("nets")
    train_step(made, **ST)
    return made


@pytest.fixture
def copy(folder, tmp_path):
    for name in ("model", "history"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


@pytest.mark.slow
def test_trained_nets_are_judged_from_the_command_line(copy):
    command = [sys.executable, "-m", "pr12.stn.evaluate", *arguments(copy, examples=10)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    actual = files.read_json(copy / "metrics")
    nets = saved_nets.load(copy / "model")
    assert list(nets) == [("U", 3), ("U", 0), ("R", 3), ("R", 0)]
    data = splits.load_split(copy / "test")
    assert actual["metrics"] == evaluate.judged(nets, data, params(examples=10))
    assert {len(values) for values in actual["metrics"].values()} == {2}
    assert set(actual["provenance"]["inputs"]) == {"model", "history", "test"}
    picture = files.read_json(copy / "picture")
    history = files.read_json(copy / "history")
    assert set(picture) == {"U", "R"}
    for name, shown in picture.items():
        assert shown["training"]["inputs"] == history["followed"][name]
        rows = history["history"][f"{name}/3"]
        assert shown["training"]["grids"] == [row["grids"] for row in rows]
        assert shown["training"]["images_seen"] == [row["images_seen"] for row in rows]
    evaluate_step(arguments(copy, examples=10))
    assert files.read_json(copy / "metrics")["metrics"] == actual["metrics"]
    assert files.read_json(copy / "picture") == picture


def test_digits_of_8_by_8_are_framed(copy):
    small = splits.Split(torch.rand(12, 8, 8), torch.arange(12) % 10)
    evaluate_step(arguments(copy, test=small))
    data = splits.load_split(copy / "test")
    framed = splits.Split(distortions.framed(data.images), data.labels)
    expected = evaluate.judged(saved_nets.load(copy / "model"), framed, params())
    assert files.read_json(copy / "metrics")["metrics"] == expected


def test_nets_without_transformers_have_no_grids_in_training(tmp_path):
    train_step(tmp_path, distortions=["U"], images=8)
    evaluate_step(arguments(tmp_path))
    assert "training" not in files.read_json(tmp_path / "picture")["U"]


def refused(line, capsys):
    with pytest.raises(SystemExit) as caught:
        evaluate_step(line)
    assert caught.value.code == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line[:6] == "error:"]
    return error


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model", 1000, "model is not a safetensors file; delete it and run again"),
        ("model", 0, "model is not a safetensors file"),
        ("test", 1000, "test is not a safetensors file"),
        ("history", 100, "history is not JSON"),
        ("history", "[]", "history does not list the net U/3; give the history of the same model"),
        ("history", '{"history": {"U/3": []}}', "history does not list the net U/3"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_sentence(copy, capsys, name, content, sentence):
    line = arguments(copy)
    if isinstance(content, str):
        (copy / name).write_text(content)
    else:
        os.truncate(copy / name, content)
    assert sentence in refused(line, capsys)
    assert not {"metrics", "picture"} & {path.name for path in copy.iterdir()}


def test_the_model_given_as_test_digits_is_told(copy, capsys):
    line = arguments(copy)
    (copy / "test").write_bytes((copy / "model").read_bytes())
    assert "it is not a split" in refused(line, capsys)
    line = arguments(copy)
    (copy / "model").write_bytes((copy / "test").read_bytes())
    assert "model holds no nets of stn.train" in refused(line, capsys)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"examples": 21}, "test has 20 digits; 21 are asked"),
        ({"moved_examples": 21}, "test has 20 digits; 21 are asked"),
    ],
)
def test_too_few_test_digits_are_told(copy, capsys, changes, sentence):
    assert sentence in refused(arguments(copy, **changes), capsys)
    assert not (copy / "metrics").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rotations": []}, "rotations is []"),
        ({"rotations": [181]}, "rotations[0] is 181; it must be a number from -180 to 180"),
        ({"scales": [0]}, "scales[0] is 0; it must be a number above 0"),
        ({"shifts": [-1]}, "shifts[0] is -1;"),
        ({"batch": 0}, "batch is 0"),
        ({"examples": 0}, "examples is 0"),
    ],
)
def test_params_that_cannot_be_are_told(copy, capsys, changes, sentence):
    line = arguments(copy)
    line[1] = json.dumps(PARAMS | changes)
    assert sentence in refused(line, capsys)


def test_test_images_larger_than_28_pixels_are_told(copy, capsys):
    large = splits.Split(torch.rand(4, 30, 30), torch.arange(4))
    assert "digits are 30 x 30 pixels" in refused(arguments(copy, test=large), capsys)
