"""RCA with a constrained CNN as reverse classifier: a small U-Net trained on one scan alone."""

import numpy as np
import torch

from pr12.core import determinism, uncompiled
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import reverse, unet
from pr12.rca.params import ReverseCnn as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError


def scored(
    image: np.ndarray,
    segmentations: np.ndarray,
    references: list[Scan],
    structures: int,
    seed: int,
    params: Params,
) -> np.ndarray:
    """Train a net on each segmentation of one scan and score it on every reference.

    Parameters
    ----------
    image : ndarray
        The scan, float32.
    segmentations : ndarray
        uint8, shape (K, *scan).
    references : list of Scan
        With their true labels.
    structures : int
        S.
    seed : int
        Of the initial parameters, the same for every segmentation.
    params : Params
        The step's.

    Returns
    -------
    ndarray
        float32, shape (K, references, S, measures).

    Examples
    --------
    >>> image = np.zeros((16, 16), np.float32)
    >>> image[4:12, 4:12] = 1.0
    >>> scan = Scan("a", image, (image > 0).astype(np.uint8))
    >>> params = Params((4, 8, 16), 60, 0.02, None)
    >>> bool(scored(image, scan.labels[None], [scan], 1, 0, params)[0, 0, 0, 0] > 0.9)
    True
    """
    if len(params.channels) != len(unet.STEPS) + 1:
        raise UserError(f"rca.reverse_cnn.channels has {len(params.channels)} levels; give 3")
    determinism.deterministic()
    scores = []
    for labels in segmentations:
        net = trained(image, labels, structures, seed, params)
        images = [reference.image for reference in references]
        maps = unet.segment(net, images, determinism.device())
        scores.append(reverse.on_references(maps, references, structures))
    return np.stack(scores)


def trained(
    image: np.ndarray, labels: np.ndarray, structures: int, seed: int, params: Params
) -> torch.nn.Module:
    """Return a net that was trained on one segmentation of one scan; arguments as of `scored`."""
    device = determinism.device()
    criterion = unet.loss()
    images, wanted = (unet.batched([array], device) for array in (image, labels))
    net = unet.network(image.ndim, structures, params.channels, seed).to(device)
    optimiser = uncompiled.Adam(net.parameters(), lr=params.learning_rate)
    for _ in range(params.updates):
        value = criterion(net(images), wanted)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
    if not torch.isfinite(value):
        raise UserError(
            f"the loss of a reverse CNN of seed {seed} is {value.item()} after "
            f"{params.updates} updates; lower rca.reverse_cnn.learning_rate"
        )
    return net


if __name__ == "__main__":
    with step.start(Params, reads=reverse.READS, writes=["scores"]) as job:
        reverse.judge_tests(job.paths, scored, job.params)
