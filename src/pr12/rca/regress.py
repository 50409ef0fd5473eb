"""Predict Dice by a net that learnt it on damaged reference labels (after Robinson et al. 2018).

A baseline for reverse classification: it, too, knows nothing but the references, and takes one
pass of a small net for what reverse classification takes many registrations.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pr12.core import determinism, uncompiled
from pr12.rca.data import scan_files, score_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import regressor
from pr12.rca.model.measures import MEASURES
from pr12.rca.params import Regress as Params
from pr12.workflow import progress, step
from pr12.workflow.errors import UserError

DICE = MEASURES.index("dice")


def trained(
    references: Sequence[Scan], structures: int, seed: int, params: Params, device: torch.device
) -> nn.Module:
    """Train a net on damaged labels of references, by the squared error of Dice.

    Parameters
    ----------
    references : sequence of Scan
        With their true labels.
    structures : int
        S.
    seed : int
        Of the damage, the parameters and the order.
    params : Params
        The step's.
    device : torch.device
        Where to compute.

    Raises
    ------
    UserError
        If the loss is not finite.
    """
    owners, maps, dice = regressor.examples(references, structures, params.examples, seed)
    net = regressor.network(references[0].image.ndim, structures, params.channels, seed).to(device)
    optimiser = uncompiled.Adam(net.parameters(), lr=params.learning_rate)
    stream = np.random.default_rng(seed)
    for update in range(1, params.updates + 1):
        rows = stream.integers(len(maps), size=params.batch_size)
        images = [references[owners[row]].image for row in rows]
        seen = regressor.batch(images, [maps[row] for row in rows], structures, device)
        value = functional.mse_loss(net(seen), torch.from_numpy(dice[rows]).to(device))
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        if not torch.isfinite(value):
            raise UserError(
                f"the loss of seed {seed} is {value.item()} at update {update}; lower "
                "rca.regress.learning_rate"
            )
    return net.eval()


def predicted(
    net: nn.Module, image: np.ndarray, maps: np.ndarray, structures: int, device: torch.device
) -> np.ndarray:
    """Predict the Dice of the segmentations of one scan.

    Parameters
    ----------
    net : Module
        As `trained` gives it.
    image : ndarray
        float32.
    maps : ndarray
        uint8, shape (K, *image).
    structures : int
        S.
    device : torch.device
        Where the net lies.

    Returns
    -------
    ndarray
        float32, shape (K, 1, S, measures): the net stands in the place of one reference; NaN but
        for Dice.
    """
    with torch.inference_mode():
        seen = regressor.batch([image] * len(maps), list(maps), structures, device)
        dice = net(seen).cpu().numpy()
    scores = np.full((len(maps), 1, structures, len(MEASURES)), np.nan, np.float32)
    scores[:, 0, :, DICE] = dice
    return scores


def main(job: step.Job) -> None:
    """Train a net for every seed, and score all its test segmentations."""
    determinism.deterministic()
    paths, device = job.paths, determinism.device()
    segmentations, _ = scan_files.read_segmentations(paths["segmentations"])
    splits = scan_files.read_splits(paths, ("reference", "test"))
    structures = len(splits["reference"].structures)
    tests, scores, names = splits["test"].by_seed, {}, {}
    nets = (
        (seed, trained(splits["reference"].by_seed[seed], structures, seed, job.params, device))
        for seed in tests
    )
    for seed, net in progress.follow(nets, len(tests), lambda result: f"seed {result[0]}"):
        by_scan = []
        for scan in tests[seed]:
            key = (seed, "test", scan.name)
            maps = scan_files.maps_of(
                segmentations, key, scan.image, structures, paths["segmentations"]
            )
            by_scan.append(predicted(net, scan.image, maps, structures, device))
        scores[seed, "test"] = np.stack(by_scan)
        names[seed, "test"] = [scan.name for scan in tests[seed]]
    score_files.write_scores(paths["scores"], scores, score_files.metadata(names))


if __name__ == "__main__":
    with step.start(Params, reads=["reference", "test", "segmentations"], writes=["scores"]) as job:
        main(job)
