"""Seconds per epoch of our VAE against one that is fed as pytorch/examples feeds it, and the floor.

The example reads a picture at a time from torchvision's MNIST, turns it into a tensor, and stacks a
batch of them. Both sides train the 784-500-20-500-784 net of the paper with batches of 100.
"""

import argparse

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from dataloader import matmul_rate
from pr12.core import determinism
from pr12.core.vision import import_torchvision
from pr12.vae import train
from pr12.vae.model import networks
from stacked import seconds

PIXELS, HIDDEN, LATENT, BATCH = 784, 500, 20, 100


class Pictures(Dataset):
    """Pictures as torchvision's MNIST gives them: each by way of PIL, when asked for."""

    def __init__(self, images: Tensor) -> None:
        self.images = (images * 255).byte().view(-1, 28, 28)
        self.transform = import_torchvision().transforms.ToTensor()

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Give one picture and a label."""
        picture = Image.fromarray(self.images[index].numpy())
        return self.transform(picture), 0


class Plain(nn.Module):
    """The net as the example writes it, of the paper's sizes and with its tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(PIXELS, HIDDEN)
        self.mean = nn.Linear(HIDDEN, LATENT)
        self.log_variance = nn.Linear(HIDDEN, LATENT)
        self.decoder = nn.Linear(LATENT, HIDDEN)
        self.pixels = nn.Linear(HIDDEN, PIXELS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the decoder's means and the encoder's mean and log-variance."""
        h = torch.tanh(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return torch.sigmoid(self.pixels(torch.tanh(self.decoder(z)))), mean, log_variance


def plain_epoch(images: Tensor, name: str, seeds: int, memory: bool) -> float:
    """Give the seconds in which `seeds` nets learn for an epoch each, one after another.

    With `memory` batches are rows of a tensor instead: what is left is not the feeding's.
    """
    pictures = DataLoader(Pictures(images), batch_size=BATCH, shuffle=True, num_workers=0)

    def batches() -> object:
        if memory:
            return ((images[rows], 0) for rows in torch.randperm(len(images)).split(BATCH))
        return pictures

    def once() -> None:
        for seed in range(seeds):
            torch.manual_seed(seed)
            net = Plain()
            kind = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[name]
            optimiser = kind(net.parameters(), lr=0.001)
            total = 0.0
            for x, _ in batches():
                x = x.view(-1, PIXELS)
                optimiser.zero_grad()
                decoded, mean, log_variance = net(x)
                error = functional.binary_cross_entropy(decoded, x, reduction="sum")
                kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
                loss = error + kl
                loss.backward()
                total += loss.item()
                optimiser.step()

    once()
    return seconds(once)


def our_epoch(images: Tensor, name: str, precision: str, seeds: int) -> float:
    """Give the seconds of the second epoch of our training, all seeds stacked."""
    params = train.Params(
        seeds=tuple(range(seeds)),
        images="digits",
        objective="sgvb_b",
        samples=1,
        hidden=(HIDDEN,),
        width_scale=1.0,
        latent_dim=LATENT,
        likelihood="bernoulli",
        binarise=False,
        train_examples=None,
        batch_size=BATCH,
        snapshots=(2 * len(images),),
        init="glorot",
        init_std=1.0,
        weight_prior=False,
        optimiser=name,
        learning_rate=0.001,
        schedule="constant",
        adam_beta1=0.9,
        adam_epsilon=1e-8,
        matmul_precision=precision,
    )
    torch.set_float32_matmul_precision(precision)
    epochs = train.train(params, images)
    next(epochs)
    taken = seconds(lambda: next(epochs))
    torch.set_float32_matmul_precision("highest")
    return taken


def products(examples: int, seeds: int) -> int:
    """Count multiply-adds of an epoch: forward, gradients of weights and of inputs but the data."""
    architecture = networks.Architecture(PIXELS, (HIDDEN,), LATENT, "bernoulli")
    weights = sum(inputs * outputs for inputs, outputs in networks.layers(architecture).values())
    return (3 * weights - PIXELS * HIDDEN) * examples * seeds


def main() -> None:
    """Print a row per optimiser and precision, each the best of repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    determinism.deterministic()
    examples, seeds = options.examples // BATCH * BATCH, options.seeds
    images = torch.rand(examples, PIXELS, generator=determinism.generator(0, "benchmark"))
    print(f"{seeds} seeds, {examples} examples an epoch, one thread, best of {options.repeats}")
    print("optimiser  precision  example s  in memory s  ours s  ratio  floor s  ours / floor")
    for name in ("adam", "adagrad"):
        for precision in ("highest", "medium"):
            rows = [
                (
                    plain_epoch(images, name, seeds, memory=False),
                    plain_epoch(images, name, seeds, memory=True),
                    our_epoch(images, name, precision, seeds),
                    products(examples, seeds) / matmul_rate(precision),
                )
                for _ in range(options.repeats)
            ]
            torch.set_float32_matmul_precision("highest")
            example, memory, ours, floor = (min(column) for column in zip(*rows, strict=True))
            print(
                f"{name:9s}  {precision:9s}  {example:9.2f}  {memory:11.2f}  {ours:6.2f}"
                f"  {example / ours:5.1f}  {floor:7.2f}  {ours / floor:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
