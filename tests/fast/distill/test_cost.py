import itertools
import json

import pytest
import safetensors.torch
import torch

from pr12.core import tensor_files
from pr12.distill import cost
from pr12.distill.model import losses, mlp
from pr12.workflow import step

STUDENTS = ("student_800", "student_300", "student_30", "student_shallow", "student_bottleneck")


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def nets(hidden, seeds):
    return [mlp.MLP(4, hidden, 3, 0, torch.Generator().manual_seed(s)) for s in seeds]


def test_a_system_answers_with_the_mean_of_its_members():
    ensemble = nets((5, 3), range(3))
    images = torch.rand(6, 4, generator=torch.Generator().manual_seed(9))
    logits = torch.stack([net(images) for net in ensemble])
    expected = losses.ensemble_probabilities(logits, 1.0, "arithmetic")
    torch.testing.assert_close(cost.answer(ensemble, images), expected)


def test_bytes_on_disk_are_those_of_the_file(tmp_path):
    system = nets((5,), [0])
    safetensors.torch.save_file(dict(system[0].state_dict()), tmp_path / "net")
    assert cost.bytes_on_disk(system) == (tmp_path / "net").stat().st_size
    assert cost.bytes_on_disk(system * 3) == 3 * cost.bytes_on_disk(system)


def systems():
    teachers = nets((12, 12), range(4))
    actual = {"ensemble": teachers, "teacher": teachers[:1]}
    for name, width in zip(STUDENTS, (8, 3, 2, 9, 9), strict=True):
        actual[name] = nets((width, width), [0])
    return actual


def test_sizes_by_hand():
    actual = cost.sizes(systems())
    teacher = 5 * 12 + 13 * 12 + 13 * 3
    student = 5 * 8 + 9 * 8 + 9 * 3
    assert actual["ensemble/parameters"] == [4 * teacher]
    assert actual["teacher/parameters"] == [teacher]
    assert actual["student_800/parameters"] == [student]
    assert actual["student_800/times_smaller"] == [pytest.approx(4 * teacher / student)]
    assert actual["ensemble/bytes"][0] == 4 * actual["teacher/bytes"][0]


def test_medians_of_blocks_on_a_clock_of_our_own(monkeypatch):
    seconds = [1, 2, 9, 4, 4, 4, 5, 1, 5, 0, 0, 7, 3, 2, 1]  # 5 blocks of 3
    readings = itertools.chain.from_iterable((0.0, float(s)) for s in seconds)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(readings))
    calls = []
    actual = cost.medians(lambda: calls.append(1), cost.Params(warmup=2, repeats=15, systems={}))
    assert actual == [2000, 4000, 5000, 0, 2000]
    assert len(calls) == 17


def test_latencies_are_per_image_and_ratios_are_of_the_ensemble(monkeypatch):
    monkeypatch.setattr(cost, "medians", lambda call, params: [call().shape[0] * 6.0] * 5)
    monkeypatch.setattr(cost, "answer", lambda nets, images: images.repeat(len(nets), 1))
    actual = cost.latencies(
        systems(), torch.rand(7, 4), cost.Params(warmup=1, repeats=5, systems={})
    )
    for batch, threads in itertools.product((1, 1000), ("one", "all")):
        assert actual[f"ensemble/milliseconds_batch{batch}_threads{threads}"] == [24.0] * 5
        assert actual[f"student_30/milliseconds_batch{batch}_threads{threads}"] == [6.0] * 5
    assert actual["student_800/times_faster_batch1"] == [4.0] * 5
    assert actual["student_800/times_faster_batch1000"] == [4.0] * 5


def test_the_step_writes_sizes_apart_from_times(tmp_path, monkeypatch):
    monkeypatch.setattr(cost.os, "cpu_count", lambda: 2)
    widths = dict(zip(("teacher", *STUDENTS), (12, 8, 3, 2, 9, 9), strict=True))
    alone = {"members": 1, "width_scale": 1.0, "bottleneck": 0}
    systems = {name: alone | {"hidden": [width]} for name, width in widths.items()}
    systems["ensemble"] = systems["teacher"] | {"members": 3}
    systems["student_bottleneck"] |= {"hidden": [18], "width_scale": 0.5, "bottleneck": 4}
    images = torch.zeros(5, 2, 2, dtype=torch.uint8)
    tensors = {"images": images, "labels": torch.arange(5) % 3}
    tensor_files.write_tensors(tmp_path / "test", tensors, {"maximum": "16"})
    paths = {name: tmp_path / name for name in ("test", "metrics")}
    params = cost.Params(warmup=1, repeats=5, systems=systems)
    job = step.Job(params, paths, ("test",), "pr12.distill.cost", "command")
    cost.main(job)
    actual = json.loads((tmp_path / "metrics").read_text())
    assert set(actual) == {"metrics", "provenance"}
    assert not any("milliseconds" in key or "faster" in key for key in actual["metrics"])
    assert actual["metrics"]["ensemble/parameters"] == [3 * (5 * 12 + 13 * 3)]
    assert actual["metrics"]["student_800/parameters"] == [5 * 8 + 9 * 3]
    assert actual["metrics"]["student_bottleneck/parameters"] == [5 * 2 + 3 * 9 + 10 * 3]
    for members in range(1, 5):
        assert len(job.times[f"ensemble/milliseconds_parallel_m{members}"]) == 5
    for name, members in (("cores", 2), ("twice_cores", 4)):
        same = job.times[f"ensemble/milliseconds_parallel_m{members}"]
        assert job.times[f"ensemble/milliseconds_parallel_{name}"] == same
