"""How far images of nets are from real ones: Fréchet distances in a classifier's features."""

from typing import NamedTuple

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.model import distances, features, networks, saved_nets
from pr12.vae.model.networks import Parameters
from pr12.vae.model.saved_nets import Saved

BATCH = 1000  # images at a time, which bounds the memory


class Judge(NamedTuple):
    """What every system is measured against; images are rows of pixels."""

    classifier: Parameters
    train: Tensor  # (N', D)
    test: Tensor  # (N, D)


def encoded(saved: Saved, x: Tensor) -> networks.Normal:
    """Return q(z|x) at the end of the training, a batch at a time.

    Parameters
    ----------
    saved : Saved
        What the training left.
    x : Tensor
        Shape (N, D).

    Returns
    -------
    Normal
        Mean and log-variance, each (S, N, Z).
    """
    parts = [networks.encode(saved_nets.at(saved, -1), part) for part in x.split(BATCH)]
    return networks.Normal(*(torch.cat(each, dim=1) for each in zip(*parts, strict=True)))


def streams(saved: Saved, purpose: str) -> list[torch.Generator]:
    """Return one stream a replica; systems share them, and so the draws that they are judged by."""
    replicas = saved.parameters["decoder.mean.weight"].shape[1]
    return [
        determinism.generator(replica, purpose, determinism.device()) for replica in range(replicas)
    ]


def fitted(codes: Tensor, noise: Tensor) -> Tensor:
    """Turn standard normal draws into draws from the Gaussian fitted to each replica's codes.

    Parameters
    ----------
    codes : Tensor
        Shape (S, N', Z).
    noise : Tensor
        Standard normal, shape (S, N, Z).

    Returns
    -------
    Tensor
        Shape (S, N, Z).

    Examples
    --------
    >>> codes = torch.tensor([[[4.0], [6.0]]])  # mean 5, variance 2
    >>> fitted(codes, torch.tensor([[[0.0], [1.0]]]))
    tensor([[[5.0000],
             [6.4142]]])
    """
    roots = [distances.symmetric_root(distances.covariance(z.double())) for z in codes]
    scaled = noise.double() @ torch.stack(roots)
    return (codes.double().mean(dim=1, keepdim=True) + scaled).float()


def frechet(judge: Judge, saved: Saved, z: Tensor) -> list[float]:
    """Return each replica's Fréchet distance of decoded codes (S, N, Z) from the test images."""
    real = features.features(judge.classifier, judge.test)
    images = [networks.decode(saved_nets.at(saved, -1), part) for part in z.split(BATCH, dim=1)]
    return [
        distances.frechet(features.features(judge.classifier, x), real)
        for x in torch.cat(images, dim=1)
    ]


def floor(judge: Judge) -> float:
    """Return the Fréchet distance of training images, no more than there are tests, from tests."""
    train, test = judge.train[: len(judge.test)], judge.test
    return distances.frechet(*(features.features(judge.classifier, x) for x in (train, test)))
