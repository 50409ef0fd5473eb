"""How far one step of a stacked training is from the machine's floor, and where its time goes.

Cases of distill and vae at the sizes of a run (embedded unless --run says otherwise), on random
images. The floor is the multiply-adds of a step over the rate of a product of 1024 x 1024; the
products alone are those of the step's own small shapes, forward and backward. Shares are of the
time within torch's operators, as its profiler measures them; what is left is Python and autograd.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own notices

import torch
from torch.autograd import profiler

from pr12.core import determinism, replicas
from pr12.data import splits
from pr12.distill import train as distill_train
from pr12.distill.model import mlp, training
from pr12.vae import train as vae_train
from pr12.vae.model import networks
from pr12.workflow import settings, yaml_files

ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "products": ("bmm", "mm", "addmm", "baddbmm", "addbmm"),
    "optimiser": ("_fused_adam_", "_fused_adagrad_"),
    "random": ("random_", "normal_", "randn", "rand", "randint", "randperm", "uniform_"),
    "gathering": ("index", "gather", "index_select", "sort", "index_put_"),
}
# Training images, their side, and the side of those that vae learns from; faces are 28 x 20
EXAMPLES = {"embedded": (700, 10, 8), "full": (2000, 28, 28)}
CASES = (
    ("distill", "teacher"),
    ("distill", "hard_800"),
    ("distill", "soft_30_T20"),
    ("vae", "aevb_z10"),
    ("vae", "wake_sleep_z10"),
    ("vae", "faces_z10"),
    ("vae", "iwae_k50"),
)
Case = tuple[Iterator[object], int, str, list[tuple[int, int, int, int]]]


def params_of(run: str, paper: str, case: str, **changes: object) -> object:
    """Return the params of a case's training in a run, changed."""
    config = yaml_files.load(ROOT / "params.yaml") | {"run": run}
    section = settings.resolve(config)[paper]
    module = {"distill": distill_train, "vae": vae_train}[paper]
    return module.Params(**settings.step_params(paper, section, "train", case) | changes)


def distill_case(run: str, case: str) -> Case:
    """Return epochs, steps in each, precision, and products (replicas, batch, inputs, outputs)."""
    count, side, _ = EXAMPLES[run]
    params = params_of(run, "distill", case)
    stream = determinism.generator(0, "benchmark")
    labels = torch.arange(count) % 10
    data = splits.Split(torch.rand(count, side, side, generator=stream), labels)
    logits = torch.randn(5, count, 10, generator=stream)
    transfer, _ = training.transfer_set(params, data, logits)
    few = splits.Split(data.images[:300], labels[:300])
    widths = mlp.scaled_widths(params.hidden, params.width_scale)
    layers = itertools.pairwise((side * side, *widths, 10))
    seeds = replicas.groups(params.seeds, max(widths))[0]
    shapes = [(len(seeds), params.batch_size, *layer) for layer in layers]
    steps = max(1, count // params.batch_size)
    epochs = distill_train.train(params, seeds, transfer, few)
    return epochs, steps, params.matmul_precision, shapes


def vae_case(run: str, case: str) -> Case:
    """Return the same of a variational autoencoder."""
    count, _, side = EXAMPLES[run]
    params = params_of(run, "vae", case, snapshots=(50 * count,))  # 50 epochs: a state of each
    pixels = 28 * 20 if params.images == "faces" else side**2
    x = torch.rand(count, pixels, generator=determinism.generator(0, "benchmark"))
    architecture = networks.of_case(params, pixels)
    shapes = []
    for name, layer in networks.layers(architecture).items():
        codes = params.samples if name.startswith("decoder") else 1
        shapes.append((len(params.seeds), params.batch_size * codes, *layer))
    steps = count // params.batch_size
    return vae_train.train(params, x), steps, params.matmul_precision, shapes


def products_alone(shapes: list[tuple[int, int, int, int]]) -> Callable[[], None]:
    """Return a call of the products of one step: forward, of weights, of inputs but the data."""
    operands = [
        (torch.rand(s, b, i), torch.rand(s, i, o), torch.rand(s, b, o)) for s, b, i, o in shapes
    ]

    def call() -> None:
        for index, (x, weight, gradient) in enumerate(operands):
            x @ weight
            x.mT @ gradient
            if index:
                gradient @ weight.mT

    return call


def multiply_adds(shapes: list[tuple[int, int, int, int]]) -> int:
    """Count those of `products_alone`."""
    sizes = [s * b * i * o for s, b, i, o in shapes]
    return 3 * sum(sizes) - sizes[0]


def shares(epochs: Iterator[object]) -> dict[str, float]:
    """Return the share of each kind of operator in one more state of a training."""
    with profiler.profile() as recorded:
        next(epochs)
    totals = dict.fromkeys([*KINDS, "others"], 0.0)
    for event in recorded.key_averages():
        name = event.key.removeprefix("aten::")
        if event.key.startswith("aten::"):
            kind = next((kind for kind, names in KINDS.items() if name in names), "others")
            totals[kind] += event.self_cpu_time_total
    whole = sum(totals.values())
    return {kind: total / whole for kind, total in totals.items()}


def best(call: Callable[[], object], repeats: int) -> float:
    """Return the least processor seconds of a call, which others on the machine disturb little."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def rate(size: int = 1024) -> float:
    """Return the multiply-adds a second of a square product, one thread."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    a @ b
    return size**3 / best(lambda: a @ b, 10)


def main() -> None:
    """Print a row per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", choices=tuple(EXAMPLES), default="embedded")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    rates: dict[str, float] = {}
    print(
        f"processor milliseconds of a step: {options.run} sizes, one thread, best of "
        f"{options.repeats}"
    )
    print(
        "paper    case              step  products alone  floor  step/floor  step/products  "
        + "  ".join(KINDS)
        + "  others"
    )
    for paper, case in CASES:
        build = {"distill": distill_case, "vae": vae_case}[paper]
        epochs, steps, precision, shapes = build(options.run, case)
        torch.set_float32_matmul_precision(precision)
        if precision not in rates:
            rates[precision] = rate()
        next(epochs)  # warms up
        step = best(lambda epochs=epochs: next(epochs), options.repeats) / steps
        parts = shares(epochs)
        alone = products_alone(shapes)
        alone()
        products = best(alone, 20)
        floor = multiply_adds(shapes) / rates[precision]
        columns = "  ".join(f"{parts[kind]:{len(kind)}.0%}" for kind in (*KINDS, "others"))
        print(
            f"{paper:7s}  {case:14s}  {1000 * step:6.2f}  {1000 * products:14.2f}  "
            f"{1000 * floor:5.2f}  {step / floor:10.1f}  {step / products:13.1f}  {columns}",
            flush=True,
        )


if __name__ == "__main__":
    main()
