"""MONAI's U-Net as segmenter under test and, on one scan alone, as reverse classifier."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

MULTIPLE = 4  # two halvings: sizes are padded to multiples of it
LEAST = 8  # pixels along a side: the lowest level must have something to normalise over
STEPS = (2, 2)


def network(dimensions: int, structures: int, channels: Sequence[int], seed: int) -> nn.Module:
    """Make a U-Net with parameters drawn by a seed.

    Parameters
    ----------
    dimensions : int
        2 or 3.
    structures : int
        S; it tells S + 1 labels apart.
    channels : sequence of int
        Of the three levels.
    seed : int
        Of the initial parameters.

    Returns
    -------
    Module
        (N, 1, *image) -> logits (N, S + 1, *image), for sizes that are multiples of 4.

    Examples
    --------
    >>> network(2, 3, (4, 8, 16), 0)(torch.zeros(2, 1, 8, 12)).shape
    torch.Size([2, 4, 8, 12])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(
            spatial_dims=dimensions,
            in_channels=1,
            out_channels=structures + 1,
            channels=tuple(channels),
            strides=STEPS,
            num_res_units=0,
            norm="INSTANCE",
        )


def rebuilt(state: Mapping[str, Tensor]) -> nn.Module:
    """Make the U-Net whose parameters these are.

    Parameters
    ----------
    state : mapping of str to Tensor
        The state of a net that `network` made.

    Examples
    --------
    >>> net = network(3, 2, (4, 8, 16), 0)
    >>> same = rebuilt(net.state_dict())
    >>> x = torch.ones(1, 1, 8, 8, 8)
    >>> bool((same(x) == net(x)).all())
    True
    """
    first = state["model.0.conv.weight"]
    channels = [
        state[f"model.{level}conv.weight"].shape[0]
        for level in ("0.", "1.submodule.0.", "1.submodule.1.submodule.")
    ]
    structures = state["model.2.conv.weight"].shape[1] - 1  # transposed: (in, out, ...)
    net = network(first.ndim - 2, structures, channels, 0)
    net.load_state_dict(dict(state))
    return net


def loss() -> nn.Module:
    """Return Dice loss plus cross entropy, without the background in Dice.

    Examples
    --------
    >>> logits = torch.tensor([[[50.0, -50.0]], [[-50.0, 50.0]]]).movedim(0, 1)[:, :, None]
    >>> float(loss()(logits, torch.tensor([[[[0.0, 1.0]]]]))) < 0.01
    True
    """
    return DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, reduction="mean"
    )


def batched(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Pad arrays at their ends to one size, a multiple of 4 and at least 8, and stack them.

    Parameters
    ----------
    arrays : sequence of ndarray
        Images or label maps, (z, y, x) or (y, x).
    device : torch.device
        Where the batch shall lie.

    Returns
    -------
    Tensor
        float32, shape (N, 1, *size), zero where padded.

    Examples
    --------
    >>> batched([np.ones((3, 5)), np.ones((4, 2))], torch.device("cpu")).shape
    torch.Size([2, 1, 8, 8])
    """
    largest = np.max([array.shape for array in arrays], axis=0)
    size = tuple(max(LEAST, int(-(-side // MULTIPLE) * MULTIPLE)) for side in largest)
    batch = torch.zeros(len(arrays), 1, *size)
    for row, array in zip(batch, arrays, strict=True):
        row[0][tuple(slice(0, side) for side in array.shape)] = torch.from_numpy(
            np.asarray(array, np.float32)
        )
    return batch.to(device)


def segment(net: nn.Module, images: Sequence[np.ndarray], device: torch.device) -> list[np.ndarray]:
    """Label images with the most likely structure of each voxel.

    Parameters
    ----------
    net : Module
        As `network` gives it.
    images : sequence of ndarray
        float32, 0 to 1.
    device : torch.device
        Where the net lies.

    Returns
    -------
    list of ndarray
        uint8, the shapes of the images.

    Examples
    --------
    >>> net = network(2, 1, (4, 8, 16), 0)
    >>> [a.shape for a in segment(net, [np.zeros((5, 7), np.float32)], torch.device("cpu"))]
    [(5, 7)]
    """
    maps = []
    with torch.inference_mode():
        for image in images:
            labels = net(batched([image], device))[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
            maps.append(labels[tuple(slice(0, side) for side in image.shape)])
    return maps
