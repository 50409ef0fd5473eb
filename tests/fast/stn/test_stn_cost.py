import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pr12.stn import cost
from pr12.stn.model import digit_networks, operation_counts, step_times
from pr12.stn.model.deformable import DeformableConv2d
from pr12.workflow import address, files, step
from pr12.workflow.params import make

PARAMS = {
    "parameters": 60_000,
    "batch_size": 2,
    "sequence_size": 16,
    "sequence_width": 0.1,
    "sequence_batch": 2,
    "warmup": 1,
    "repeats": 3,
}


def params(**changes):
    return make(cost.Params, PARAMS | changes, "stn.cost")


# --- counts ---


@pytest.mark.parametrize(
    ("net", "channels", "side", "expected"),
    [
        (nn.Conv2d(1, 2, 3), 1, 5, 9 * 2 * 9),
        (nn.Conv2d(3, 4, 5, padding=2), 3, 6, 36 * 4 * 75),
        (nn.Conv2d(4, 4, 3, stride=2, groups=2), 4, 7, 9 * 4 * 18),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2)), 3, 2, 70),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 2)), 1, 6, 4 * 4),
        (DeformableConv2d(2, 3, 5), 2, 9, 25 * 3 * 50 + 25 * 50 * 18),
    ],
)
def test_multiply_adds_by_hand(net, channels, side, expected):
    assert operation_counts.multiply_adds(net, channels, side) == expected
    assert operation_counts.multiply_adds(net, channels, side) == expected  # no hook is left behind


def test_multiply_adds_of_a_cnn_by_hand():
    net = digit_networks.convolutional(1, 28, 10, 4, "max", False)
    by_hand = 20 * 20 * 4 * 81 + 4 * 4 * 4 * 4 * 49 + 10 * 16
    assert operation_counts.multiply_adds(net, 1, 28) == by_hand


def test_counting_leaves_no_gradient_and_the_net_as_it_was():
    net = nn.Conv2d(1, 2, 3)
    before = net.weight.clone()
    operation_counts.multiply_adds(net, 1, 5)
    assert net.weight.grad is None
    assert torch.equal(net.weight, before)
    assert not net._forward_hooks


def test_a_transformer_of_a_cnn_by_hand():
    net = digit_networks.build("cnn", "affine", 1, "max", "R", 400_000)
    # Halved to 14: 10 x 10 of 20 filters of 5 x 5, halved to 5: one of 20 filters of 20 x 5 x 5,
    # a layer of 20 x 20, and six numbers read off 20
    prediction = 10 * 10 * 20 * 25 + 20 * 20 * 25 + 20 * 20 + 6 * 20
    # Every pixel: x and y of two products each, four weights, four pixels
    assert operation_counts.transformer_counts(net, 28) == {
        "predicted": 6,
        "sampling_multiply_adds": 28 * 28 * 12,
        "prediction_multiply_adds": prediction,
    }


def test_a_transformer_of_two_channels_samples_both():
    net = digit_networks.build("fcn", "projective", 1, "max", "addition", 400_000)
    actual = operation_counts.transformer_counts(net, 42)
    assert actual["predicted"] == 8
    assert actual["sampling_multiply_adds"] == 42 * 42 * (4 + 4 + 8)
    assert actual["prediction_multiply_adds"] == 2 * 42 * 42 * 32 + 2 * 32 * 32 + 32 * 8


@pytest.mark.parametrize(("channels", "kernel", "side"), [(1, 5, 10), (16, 5, 10), (3, 3, 8)])
def test_a_deformable_convolution_by_hand(channels, kernel, side):
    layer = DeformableConv2d(channels, 4, kernel)
    positions = (side - kernel + 1) ** 2
    actual = operation_counts.deformable_counts(layer, side)
    assert actual == {
        "predicted": positions * 2 * kernel**2,
        "sampling_multiply_adds": positions * kernel**2 * (4 + 4 * channels),
        "prediction_multiply_adds": positions * 2 * kernel**2 * 9 * channels,
    }
    offsets = layer.offsets(nn.functional.pad(torch.zeros(1, channels, side, side), layer.margins))
    assert offsets.numel() == actual["predicted"]


def test_what_is_predicted_does_not_grow_with_the_image_for_a_transformer_only():
    net = digit_networks.build("cnn", "affine", 1, "max", "R", 60_000)
    assert operation_counts.transformer_counts(net, 28)["predicted"] == 6
    layer = DeformableConv2d(1, 1, 5)
    small, large = (
        operation_counts.deformable_counts(layer, side)["predicted"] for side in (10, 20)
    )
    assert large / small == (16 / 6) ** 2


# --- times ---


def test_calls_are_timed_in_turn_without_the_warm_up(monkeypatch):
    clock, log = [0.0], []
    spans = {"one": iter([100, 1, 5, 2]), "other": iter([100, 7, 8, 30])}
    monkeypatch.setattr(step_times, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def call(name):
        log.append(name)
        clock[0] += next(spans[name])

    calls = {name: lambda name=name: call(name) for name in spans}
    actual = step_times.medians(calls, 1, 3)
    assert actual == {"one": 2000.0, "other": 8000.0}
    assert log == ["one", "other"] * 4


def test_a_step_is_forward_and_backward_of_every_parameter():
    for net in operation_counts.table_nets(params().parameters).values():
        step_times.mnist_step(net, torch.rand(2, 1, 28, 28), torch.tensor([3, 9]))()
        assert all(parameter.grad is not None for parameter in net.parameters())


def test_the_nets_compared_are_of_one_size():
    nets = operation_counts.table_nets(400_000)
    sizes = {name: digit_networks.count(net) for name, net in nets.items()}
    assert list(sizes) == ["cnn", "st_cnn", "deformable"]
    assert max(sizes.values()) < 1.2 * min(sizes.values())
    assert nets["cnn"].transformers is None
    assert nets["st_cnn"].transformers is not None
    assert operation_counts.deformable_layer(nets["deformable"]).convolution.kernel_size == (5, 5)


# --- the step ---


@pytest.mark.slow
def test_counts_are_the_same_each_time_and_times_are_kept_apart(tmp_path):
    command = [sys.executable, "-m", "pr12.stn.cost", "--params", json.dumps(PARAMS)]
    for name in ("one", "two"):
        done = subprocess.run(
            [*command, f"metrics={tmp_path / name / 'metrics.json'}"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(address.SRC), "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
    one, two = (files.read_json(tmp_path / name / "metrics.json") for name in ("one", "two"))
    timed, again = (files.read_json(tmp_path / name / "timings.json") for name in ("one", "two"))
    assert one["metrics"] == two["metrics"]
    assert set(one) == {"metrics", "provenance"}
    assert timed["times"].keys() == again["times"].keys()
    assert all(value > 0 for (value,) in timed["times"].values())
    assert not set(one["metrics"]) & set(timed["times"])
    nets = operation_counts.table_nets(params().parameters)
    counts = {
        "transformer": operation_counts.transformer_counts(nets["st_cnn"], 28),
        "deformable": operation_counts.deformable_counts(
            operation_counts.deformable_layer(nets["deformable"]), 10
        ),
    }
    metrics = {key: value for key, (value,) in one["metrics"].items()}
    for name, actual in counts.items():
        assert {key: metrics.pop(f"{name}/{key}") for key in actual} == actual
    assert metrics == {
        f"deformable/times_{key}": counts["deformable"][key] / counts["transformer"][key]
        for key in counts["transformer"]
    }
    times = {key: value for key, (value,) in timed["times"].items()}
    for key, top, base in (
        ("st_cnn", "st_cnn", "cnn"),
        ("deformable", "deformable", "cnn"),
        ("sequences_single", "sequences_single", "sequences_cnn"),
        ("sequences_multi", "sequences_multi", "sequences_cnn"),
    ):
        expected = times[f"{top}/milliseconds_step"] / times[f"{base}/milliseconds_step"]
        assert times[f"{key}/ratio_step"] == pytest.approx(expected)
    assert {"transformer/milliseconds_sampling", "deformable/milliseconds_sampling"} <= set(times)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"repeats": 2}, "repeats is 2; it must be a number of at least 3"),
        ({"sequence_width": 0}, "sequence_width is 0; it must be a number above 0"),
        ({"sequence_size": 15}, "sequence_size is 15; it must be a number from 16 to 2048"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"parameters": 10}, "comes near 10 parameters"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path, capsys, changes, sentence):
    line = ["--params", json.dumps(PARAMS | changes), f"metrics={tmp_path / 'metrics'}"]
    with (
        pytest.raises(SystemExit, match="2"),
        step.start(cost.Params, writes=["metrics"], arguments=line) as job,
    ):
        cost.main(job)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert sentence in last
    assert list(tmp_path.iterdir()) == []
