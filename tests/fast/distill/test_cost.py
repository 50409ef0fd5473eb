import itertools
import json

import pytest
import safetensors.torch
import torch

from pr12.distill import cost, model
from pr12.shared import run, step


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def stacked(hidden, seeds):
    nets = [model.MLP(4, hidden, 3, 0, torch.Generator().manual_seed(s)) for s in seeds]
    states = [net.state_dict() for net in nets]
    return nets, {name: torch.stack([state[name] for state in states]) for name in states[0]}


def test_members_are_the_nets_of_the_stack_and_answer_with_their_mean():
    nets, parameters = stacked((5, 3), range(3))
    images = torch.rand(6, 4, generator=torch.Generator().manual_seed(9))
    unstacked = cost.members(parameters)
    for own, net in zip(unstacked, nets, strict=True):
        assert (own(images) == net(images)).all()
    logits = torch.stack([net(images) for net in nets])
    expected = model.ensemble_probabilities(logits, 1.0, "arithmetic")
    torch.testing.assert_close(cost.answer(unstacked, images), expected)


def test_bytes_on_disk_are_those_of_the_file(tmp_path):
    nets, _ = stacked((5,), [0])
    safetensors.torch.save_file(dict(nets[0].state_dict()), tmp_path / "net")
    assert cost.bytes_on_disk(nets) == (tmp_path / "net").stat().st_size
    assert cost.bytes_on_disk(nets * 3) == 3 * cost.bytes_on_disk(nets)


def systems():
    teachers = stacked((12, 12), range(4))[0]
    found = {"ensemble": teachers, "teacher": teachers[:1]}
    for name, width in zip(cost.STUDENTS, (8, 3, 2, 9, 9), strict=True):
        found[name] = stacked((width, width), [0])[0]
    return found


def test_sizes_by_hand():
    found = cost.sizes(systems())
    teacher = 5 * 12 + 13 * 12 + 13 * 3
    student = 5 * 8 + 9 * 8 + 9 * 3
    assert found["ensemble/parameters"] == [4 * teacher]
    assert found["teacher/parameters"] == [teacher]
    assert found["student_800/parameters"] == [student]
    assert found["student_800/times_smaller"] == [pytest.approx(4 * teacher / student)]
    assert found["ensemble/bytes"][0] == 4 * found["teacher/bytes"][0]


def test_medians_of_blocks_on_a_clock_of_our_own(monkeypatch):
    seconds = [1, 2, 9, 4, 4, 4, 5, 1, 5, 0, 0, 7, 3, 2, 1]  # 5 blocks of 3
    readings = itertools.chain.from_iterable((0.0, float(s)) for s in seconds)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(readings))
    calls = []
    found = cost.medians(lambda: calls.append(1), cost.Params(warmup=2, repeats=15))
    assert found == [2000, 4000, 5000, 0, 2000]
    assert len(calls) == 17


def test_latencies_are_per_image_and_ratios_are_of_the_ensemble(monkeypatch):
    monkeypatch.setattr(cost, "medians", lambda call, params: [call().shape[0] * 6.0] * 5)
    monkeypatch.setattr(cost, "answer", lambda nets, images: images.repeat(len(nets), 1))
    found = cost.latencies(systems(), torch.rand(7, 4), cost.Params(warmup=1, repeats=5))
    for batch, threads in itertools.product((1, 1000), ("one", "all")):
        assert found[f"ensemble/milliseconds_batch{batch}_threads{threads}"] == [24.0] * 5
        assert found[f"student_30/milliseconds_batch{batch}_threads{threads}"] == [6.0] * 5
    assert found["student_800/times_faster_batch1"] == [4.0] * 5
    assert found["student_800/times_faster_batch1000"] == [4.0] * 5


def test_the_step_writes_sizes_apart_from_times(tmp_path, monkeypatch):
    monkeypatch.setattr(cost.os, "cpu_count", lambda: 2)
    for name, width in zip(("teacher", *cost.STUDENTS), (12, 8, 3, 2, 9, 9), strict=True):
        run.write_tensors(tmp_path / name, stacked((width,), range(3))[1])
    images = torch.zeros(5, 2, 2, dtype=torch.uint8)
    tensors = {"images": images, "labels": torch.arange(5)}
    run.write_tensors(tmp_path / "test", tensors, {"maximum": "16"})
    reads = ("teacher", *cost.STUDENTS, "test")
    paths = {name: tmp_path / name for name in (*reads, "metrics")}
    params = cost.Params(warmup=1, repeats=5)
    job = step.Job(params, paths, reads, "pr12.distill.cost", "command")
    cost.main(job)
    found = json.loads((tmp_path / "metrics").read_text())
    assert set(found) == {"metrics", "provenance"}
    assert not any("milliseconds" in key or "faster" in key for key in found["metrics"])
    assert found["metrics"]["ensemble/parameters"] == [3 * (5 * 12 + 13 * 3)]
    assert found["metrics"]["student_800/parameters"] == [5 * 8 + 9 * 3]  # one net of the stack
    for members in range(1, 5):
        assert len(job.times[f"ensemble/milliseconds_parallel_m{members}"]) == 5
    for name, members in (("cores", 2), ("twice_cores", 4)):
        same = job.times[f"ensemble/milliseconds_parallel_m{members}"]
        assert job.times[f"ensemble/milliseconds_parallel_{name}"] == same
