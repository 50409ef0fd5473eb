"""How far a training step of stn is from the machine's floor, and where its time goes.

The floor is what the multiply-adds of linear layers and convolutions take at the rate of a large
product of matrices of the same number format: those of the forward pass, and twice as many for
the way back. The trainings are those of the embedded run's cases on random images: the loops,
with the drawing of batches, the optimiser, checks and states. `data` is the share of a step that
draws its batch. `outside` is the share of a step under torch's profiler that is spent in none of
torch's operations: Python, and the profiler's own time between operations.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from dataloader import matmul_rate
from pr12.core import determinism
from pr12.data import splits
from pr12.stn import train_parts, train_sequences
from pr12.stn.data import part_files
from pr12.stn.model import deformable, digit_networks, digit_training, distortions, epochs
from pr12.workflow import address, yaml_files
from pr12.workflow.params import make, of_step

DIGITS = {
    "fcn": "R", "st_fcn_affine": "R", "st_fcn_tps": "R", "cnn": "R", "st_cnn_affine": "R",
    "deformable": "R", "cnn_clutter": "TC",
}  # fmt: skip
SEQUENCES = ("sequences_cnn", "sequences_single", "sequences_multi")
PARTS = ("parts_cnn", "parts_2st")


def params(step: str, case: str, **changes: Any) -> Any:
    """Return the params of a case of the embedded run, after changes."""
    section = yaml_files.load(address.SRC.parent / "params.yaml")["stn"]
    overrides = {key: value for key, value in section["cases"][case].items() if key != "step"}
    known = section[step]
    values = known | {key: overrides[key] for key in overrides if key in known}
    return make(of_step(f"pr12.stn.{step}"), values | {"seeds": [0]} | changes, step)


def multiply_adds(net: nn.Module, forward: Callable[[], object]) -> int:
    """Count the multiply-adds of linear layers and convolutions in one forward pass."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if isinstance(module, deformable.DeformableConv2d):
            module = module.convolution  # it reads its weights and does not call it
        each = module.weight[0].numel()
        counts.append(output.numel() * each)

    kinds = (nn.Linear, nn.Conv2d, deformable.DeformableConv2d)
    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        forward()
    for hook in hooks:
        hook.remove()
    return sum(counts)


def digits_case(case: str, distortion: str, steps: int) -> tuple[Any, ...]:
    """Return a training on digits, its states and batches, its multiply-adds and its drawing."""
    asked = params("train", case)
    asked = params("train", case, images=steps * asked.batch_size, distortions=[distortion])
    stream = determinism.generator(0, "benchmark")
    digits = splits.Split(torch.rand(1000, 28, 28, generator=stream), torch.arange(1000) % 10)
    rows = torch.arange(asked.batch_size)
    shape = asked.network, asked.transform, asked.transformers, asked.pooling
    net = digit_networks.build(*shape, distortion, asked.parameters)

    def draw() -> Any:
        return distortions.batch(distortion, *digits, rows, stream)

    batch = draw()[0]
    return (
        lambda: digit_training.train(asked, distortion, 0, digits, None),
        multiply_adds(net, lambda: net(batch)),
        draw,
        asked,
    )


def epochs_case(step: str, case: str, steps: int) -> tuple[Any, ...]:
    """Return the same of a training through epochs."""
    asked = params(step, case, epochs=3)
    count = asked.batch_size * (steps // 3)
    stream = determinism.generator(0, "benchmark")
    side = asked.input_size if step == "train_parts" else 32
    images = torch.randint(256, (count, 3, side, side), generator=stream).byte()
    if step == "train_parts":
        labels, none = torch.arange(count) % 16, torch.zeros(count, 0, 2)
        task = train_parts.task(asked, part_files.Examples(images, labels, none, 16))
    else:
        task = train_sequences.task(asked, images, torch.full((count, 5), 10))
    rows, net = torch.arange(asked.batch_size), task.start(0)[0]

    def draw() -> Any:
        return task.inputs(rows, stream)

    batch = draw()
    return (
        lambda: epochs.train(task, (0,)),
        multiply_adds(net, lambda: net(batch)),
        draw,
        asked,
    )


def seconds(states: Iterator[Any]) -> float:
    """Return the processor seconds of a training after its first state."""
    next(states)
    start = time.process_time()
    for _ in states:
        pass
    return time.process_time() - start


def outside(states: Iterator[Any]) -> float:
    """Return the share of a training's time that is spent in none of torch's operations."""
    next(states)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        for _ in states:
            pass
        whole = time.perf_counter() - start
    inside = sum(event.self_cpu_time_total for event in profiler.key_averages()) / 1e6
    return 1 - inside / whole


def main() -> None:
    """Print a row per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    rates = {False: matmul_rate("highest"), True: bfloat16_rate()}
    print(f"bfloat16 multiplies {rates[True] / rates[False]:.1f} times as fast as float32")
    print("case                 batch  bfloat16  step / floor  data  outside")
    jobs = [("train", case) for case in DIGITS] + [("train_sequences", c) for c in SEQUENCES]
    for step, case in [*jobs, *(("train_parts", c) for c in PARTS)]:
        if step == "train":
            training, counted, draw, asked = digits_case(case, DIGITS[case], options.steps)
        else:
            training, counted, draw, asked = epochs_case(step, case, options.steps)
        first = 3 if step == "train" else options.steps // 3  # steps to the first state
        done = options.steps - first
        taken = min(seconds(training()) for _ in range(options.repeats)) / done
        start = time.process_time()
        for _ in itertools.repeat(None, done):
            draw()
        drawn = (time.process_time() - start) / done
        floor = 3 * counted / rates[asked.bfloat16]
        print(
            f"{case:19s}  {asked.batch_size:5d}  {asked.bfloat16!s:8s}  {taken / floor:12.1f}"
            f"  {drawn / taken:4.0%}  {outside(training()):7.0%}",
            flush=True,
        )


def bfloat16_rate(size: int = 1024) -> float:
    """Return multiply-adds a second of a product of matrices of bfloat16."""
    one = torch.rand(size, size).bfloat16()
    one @ one
    times = []
    for _ in range(10):
        start = time.process_time()
        one @ one
        times.append(time.process_time() - start)
    return size**3 / min(times)


if __name__ == "__main__":
    main()
