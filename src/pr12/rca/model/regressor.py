"""A net that looks at an image and a segmentation and says the Dice: learnt on damaged labels.

What Robinson et al. (2018) train on many thousand segmentations; here on what the references have.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from pr12.rca.data.scan_files import Scan
from pr12.rca.model import measures, unet

SMOOTH = 0.12  # of the displacements that damage labels, as a share of the shortest side
LARGEST = 0.12  # their root mean square at most, in the same share
MISSING = 0.1  # of all structures of damaged labels


class Regressor(nn.Module):
    """Convolutions with stride 2, then the mean over the places where the structure is segmented.

    One structure at a time, for all structures the same net: the mean over the whole image would
    see little of a small one.

    Parameters
    ----------
    dimensions : int
        2 or 3.
    structures : int
        S, told apart by one more input each.
    channels : sequence of int
        Of the convolutions.

    Examples
    --------
    >>> net = Regressor(2, 3, (4, 8))
    >>> net(torch.zeros(5, 4, 16, 12)).shape
    torch.Size([5, 3])
    """

    def __init__(self, dimensions: int, structures: int, channels: Sequence[int]) -> None:
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.pool = {2: functional.adaptive_max_pool2d, 3: functional.adaptive_max_pool3d}[
            dimensions
        ]
        layers: list[nn.Module] = []
        for before, after in pairwise((2, *channels)):
            layers += [convolution(before, after, 3, stride=2, padding=1), nn.ReLU()]
        self.look = nn.Sequential(*layers)
        self.answer = nn.Sequential(
            nn.Linear(channels[-1] + structures, channels[-1]),
            nn.ReLU(),
            nn.Linear(channels[-1], 1),
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Map an image and the segmentation's structures, (N, 1 + S, *image), to Dice, (N, S)."""
        image, structures = seen[:, :1], seen.shape[1] - 1
        dice = []
        for index in range(structures):
            mask = seen[:, [1 + index]]
            looked = self.look(torch.cat([image, mask], dim=1))
            where = self.pool(mask, looked.shape[2:])
            total = (looked * where).flatten(2).sum(dim=2)
            mean = total / where.flatten(2).sum(dim=2).clamp(min=1)
            name = functional.one_hot(torch.tensor(index), structures).to(mean)
            answer = self.answer(torch.cat([mean, name.expand(len(mean), -1)], dim=1))
            dice.append(torch.sigmoid(answer))
        return torch.cat(dice, dim=1)


def network(dimensions: int, structures: int, channels: Sequence[int], seed: int) -> Regressor:
    """Make a regressor with parameters drawn by a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Regressor(dimensions, structures, channels)


def damaged(labels: np.ndarray, structures: int, stream: np.random.Generator) -> np.ndarray:
    """Damage a label map: a smooth displacement of random size, and perhaps a structure less.

    Parameters
    ----------
    labels : ndarray
        uint8, (z, y, x) or (y, x).
    structures : int
        S.
    stream : Generator
        Of the displacement.

    Returns
    -------
    ndarray
        uint8, the same shape.

    Examples
    --------
    >>> labels = np.pad(np.ones((8, 8), np.uint8), 6)
    >>> result = damaged(labels, 1, np.random.default_rng(0))
    >>> result.shape, result.dtype
    ((20, 20), dtype('uint8'))
    """
    side = min(labels.shape)
    size = stream.uniform(0, LARGEST * side)
    field = stream.normal(size=(labels.ndim, *labels.shape))
    for part in field:
        part[...] = ndimage.gaussian_filter(part, SMOOTH * side, mode="wrap")
    field *= size / np.sqrt(np.mean((field**2).sum(axis=0)))
    places = np.indices(labels.shape) + field
    result = ndimage.map_coordinates(labels, places, order=0, mode="nearest", prefilter=False)
    for structure in range(1, structures + 1):
        if stream.random() < MISSING:
            result[result == structure] = 0
    return result


def batch(
    images: Sequence[np.ndarray], maps: Sequence[np.ndarray], structures: int, device: torch.device
) -> Tensor:
    """Stack images and the structures of their segmentations, float32, (N, 1 + S, *size)."""
    labels = unet.batched(maps, device)
    ones = [(labels == structure).float() for structure in range(1, structures + 1)]
    return torch.cat([unet.batched(images, device), *ones], dim=1)


def examples(
    scans: Sequence[Scan], structures: int, count: int, seed: int
) -> tuple[list[int], list[np.ndarray], np.ndarray]:
    """Return damaged labels of scans in turn: whose they are, the maps, and their Dice.

    Returns
    -------
    owners : list of int
        Number of the scan of each map.
    maps : list of ndarray
        uint8.
    dice : ndarray
        float32, shape (count, S).

    Examples
    --------
    >>> scan = Scan("a", np.zeros((9, 9), np.float32), np.pad(np.ones((5, 5), np.uint8), 2))
    >>> owners, maps, dice = examples([scan, scan], 1, 3, 0)
    >>> owners, dice.shape
    ([0, 1, 0], (3, 1))
    """
    stream = np.random.default_rng(seed)
    owners = [index % len(scans) for index in range(count)]
    maps = [damaged(scans[owner].labels, structures, stream) for owner in owners]
    pairs = zip(maps, owners, strict=True)
    dice = [
        measures.overlaps(labels == structure, scans[owner].labels == structure)[0]
        for labels, owner in pairs
        for structure in range(1, structures + 1)
    ]
    return owners, maps, np.array(dice, np.float32).reshape(count, structures)
