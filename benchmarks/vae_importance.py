"""Seconds and peak memory of importance estimates with 5,000 samples (Burda et al.'s protocol)."""

import argparse
import resource
import time

import torch

from pr12.core import determinism
from pr12.vae.model import estimators, networks


def main() -> None:
    """Estimate for random images of MNIST's size; print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    architecture = networks.Architecture(784, (200, 200), 50, "bernoulli")
    parameters = networks.initial(architecture, range(options.seeds), "glorot", 1.0)
    x = torch.rand(options.images, 784).round()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    start = time.perf_counter()
    estimators.importance(parameters, x, batch=100, samples=(options.samples,), chunk=50)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = 1024
    a, b = torch.rand(size, size), torch.rand(size, size)
    a @ b
    clock = time.perf_counter()
    a @ b
    rate = size**3 / (time.perf_counter() - clock)
    weights = sum(
        value[0].numel() for name, value in parameters.items() if name.startswith("decoder")
    )
    floor = options.seeds * options.images * options.samples * weights / rate
    print(
        f"{options.images} images, {options.samples} samples, {options.seeds} seeds, one thread: "
        f"{seconds:.1f} s ({seconds / floor:.1f} times the products alone), "
        f"peak memory {peak:.2f} GiB (before: {before:.2f} GiB)"
    )


if __name__ == "__main__":
    main()
