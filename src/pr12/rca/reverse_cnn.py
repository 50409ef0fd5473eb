"""RCA with a constrained CNN as reverse classifier: a small U-Net trained on one scan alone."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch

from pr12.rca import reverse, unet
from pr12.rca.scan_files import Scan
from pr12.shared import optimisers, run, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, NotEmpty


@dataclass(frozen=True)
class Params:
    """Params of the reverse classifier and of whom it judges."""

    channels: Annotated[tuple[int, ...], NotEmpty()]
    updates: Annotated[int, AtLeast(1)]
    learning_rate: Annotated[float, Above(0)]
    subjects: Annotated[int, AtLeast(1)] | None  # of the test split, the first; null: all


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
        raise UserError(f"channels has {len(params.channels)} levels; it must have 3")
    run.deterministic()
    device = run.device()
    criterion = unet.loss()
    images = unet.batched([image], device)
    found = []
    for labels in segmentations:
        net = unet.network(image.ndim, structures, params.channels, seed).to(device)
        optimiser = optimisers.Adam(net.parameters(), lr=params.learning_rate)
        wanted = unet.batched([labels], device)
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
        maps = unet.segment(net, [reference.image for reference in references], device)
        found.append(reverse.on_references(maps, references, structures))
    return np.stack(found)


if __name__ == "__main__":
    with step.start(Params, reads=reverse.READS, writes=["scores"]) as job:
        reverse.judge_tests(job.paths, scored, job.params)
