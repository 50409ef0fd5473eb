"""Seconds per epoch of our student against a plain DataLoader implementation, and the floor."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from pr12.core import determinism
from pr12.core.vision import import_torchvision
from pr12.data import splits
from pr12.distill.model import mlp
from stacked import epoch, images, seconds, student


class Plain(Dataset):
    """MNIST as tutorials read it: a picture at a time, turned into a tensor when asked for."""

    def __init__(self, data: splits.Split) -> None:
        transforms = import_torchvision().transforms
        self.transform = transforms.Compose([transforms.ToTensor()])
        self.images = (data.images * 255).byte().numpy()
        self.labels = data.labels

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Give one example."""
        return self.transform(self.images[index]), int(self.labels[index])


def plain_epoch(data: splits.Split, batch_size: int, width: int, seeds: int) -> float:
    """Give the seconds in which a DataLoader loop trains `seeds` students for an epoch each."""
    loader = DataLoader(Plain(data), batch_size=batch_size, shuffle=True)

    def once() -> None:
        for seed in range(seeds):
            torch.manual_seed(seed)
            net = nn.Sequential(
                nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                nn.Linear(width, 10),
            )  # fmt: skip
            optimiser = torch.optim.Adam(net.parameters(), lr=0.001)
            for x, y in loader:
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(x), y, reduction="mean").backward()
                optimiser.step()

    once()
    return seconds(once)


def matmul_rate(precision: str, size: int = 1024) -> float:
    """Measure the multiply-adds per second of a square product, one thread."""
    torch.set_float32_matmul_precision(precision)
    a, b = torch.rand(size, size), torch.rand(size, size)
    for _ in range(3):
        a @ b
    best = min(seconds(lambda: a @ b) for _ in range(10))
    return size**3 / best


def main() -> None:
    """Print one row per precision and width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=5000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    data, seeds = images(options.examples), tuple(range(options.seeds))
    print(f"{options.seeds} seeds, {options.examples} examples an epoch, one thread")
    print("width  precision  DataLoader s  ours s  ratio  floor s  ours / floor")
    for width in (30, 300, 800):
        plain = plain_epoch(data, 250, width, options.seeds)
        for precision in ("highest", "medium"):
            rate = matmul_rate(precision)
            params = student(
                seeds=seeds, hidden=(width, width), epochs=2, matmul_precision=precision
            )
            torch.set_float32_matmul_precision(precision)
            groups = [seeds] if width <= 512 else [(seed,) for seed in seeds]
            ours = sum(epoch(params, group, data) for group in groups)
            weights = mlp.parameter_count(mlp.MLP(784, (width, width), 10, 0, torch.Generator()))
            # forward, and the gradients of weights and of inputs: three products a weight
            floor = 3 * weights * options.examples * options.seeds / rate
            print(
                f"{width:5d}  {precision:9s}  {plain:12.2f}  {ours:6.2f}  {plain / ours:5.1f}"
                f"  {floor:7.2f}  {ours / floor:.1f}",
                flush=True,
            )
        torch.set_float32_matmul_precision("highest")


if __name__ == "__main__":
    main()
