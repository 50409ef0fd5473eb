"""Trained segmenters out of their files, if they were trained on scans of the same kind."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pr12.rca.data.scan_files import Scans
from pr12.rca.model import features, forest, unet
from pr12.workflow.errors import UserError


def strengths(arrays: Mapping[str, Any], path: Path, kind: str) -> list[int]:
    """Return the strengths in the keys ``seed/strength/name``, weak to strong.

    Raises
    ------
    UserError
        If the keys are others.
    """
    try:
        return sorted({int(strength) for _, strength, _ in (key.split("/") for key in arrays)})
    except ValueError:
        raise UserError(f"{path} holds no {kind}; delete it and run again") from None


def rebuilt(nets: Mapping[str, Tensor], seed: int, update: int, scans: Scans) -> torch.nn.Module:
    """Return one net; ValueError if it segments other structures or dimensions."""
    state = _below(nets, f"{seed}/{update}/")
    net = unet.rebuilt(state)
    dimension = next(iter(scans.by_seed.values()))[0].image.ndim
    if (net.out_channels, net.dimensions) != (len(scans.structures) + 1, dimension):
        raise ValueError
    return net


def regrown(
    forests: Mapping[str, np.ndarray], seed: int, depth: int, scans: Scans
) -> dict[str, np.ndarray]:
    """Return the arrays of one forest; ValueError if it knows other structures or features."""
    arrays = _below(forests, f"{seed}/{depth}/")
    dimension = next(iter(scans.by_seed.values()))[0].image.ndim
    if arrays["value"].shape[1] != len(scans.structures) + 1:
        raise ValueError
    forest.probabilities(arrays, features.voxel_features(np.zeros((2,) * dimension, np.float32)))
    return arrays


def _below(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return what lies under a prefix, by the rest of its name."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


@contextmanager
def of_these_scans(path: Path, kind: str, seed: int, structures: tuple[str, ...]) -> Iterator[None]:
    """Say that a file was made of other scans, where it cannot be used."""
    try:
        yield
    except (KeyError, ValueError, IndexError, RuntimeError):
        raise UserError(
            f"{path} holds no {kind} of seed {seed} for {', '.join(structures)} in scans of this "
            "dimension; make it again from the same scans"
        ) from None
