"""Train seeds stacked and one by one: seconds per epoch and their ratio, by width."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pr12.core import determinism
from pr12.data import splits
from pr12.distill import train
from pr12.distill.model import training
from pr12.workflow import settings, yaml_files

ROOT = Path(__file__).resolve().parents[1]


def student(**changes: object) -> train.Params:
    """Give the params of a hard student of the full run, changed."""
    config = yaml_files.load(ROOT / "params.yaml") | {"run": "full"}
    section = settings.resolve(config)["distill"]
    return train.Params(**settings.step_params("distill", section, "train", "hard_800") | changes)


def images(n: int, side: int = 28) -> splits.Split:
    """Give random images: the time of a step does not depend on what is in them."""
    stream = determinism.generator(0, "benchmark")
    labels = torch.arange(n) % 10
    return splits.Split(torch.rand(n, side, side, generator=stream), labels)


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def epoch(params: train.Params, seeds: tuple[int, ...], data: splits.Split) -> float:
    """Give the seconds of one epoch after a first one, which warms up."""
    transfer, _ = training.transfer_set(params, data, None)
    few = splits.Split(data.images[:100], data.labels[:100])
    epochs = train.train(params, seeds, transfer, few)
    next(epochs)
    return seconds(lambda: next(epochs))


def main() -> None:
    """Print a row per width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    seeds = tuple(range(options.seeds))
    data = images(options.examples)
    print(f"{options.seeds} seeds, {options.examples} examples, one thread, best of repeats")
    print("width  stacked s  one by one s  one by one / stacked")
    for width in (30, 100, 300, 500, 800, 1200):
        params = student(seeds=seeds, hidden=(width, width), epochs=2, matmul_precision="highest")
        pairs = [
            (epoch(params, seeds, data), sum(epoch(params, (seed,), data) for seed in seeds))
            for _ in range(options.repeats)
        ]
        stacked, looped = (min(column) for column in zip(*pairs, strict=True))
        print(f"{width:5d}  {stacked:9.3f}  {looped:12.3f}  {looped / stacked:.2f}", flush=True)


if __name__ == "__main__":
    main()
