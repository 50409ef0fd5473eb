"""Time one registration and its scoring, beside affine alone and B-splines with the same tool.

The scans are the hippocampus set's (fetch it first) or, without --folder, generated slices.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pr12.rca.data import hippocampus, phantom
from pr12.rca.model import measures, registration
from pr12.rca.model.registration import Effort

Scan = tuple[np.ndarray, np.ndarray]  # image, labels
SEGMENTATIONS = 9  # of each scan, as in the full run


def by_splines(fixed: np.ndarray, moving: np.ndarray, shrink: tuple[int, ...]) -> np.ndarray:
    """Register by an affine map and B-splines, both by mutual information."""
    still, mobile = (sitk.GetImageFromArray(array) for array in (fixed, moving))
    affine = registration._affine(still, mobile, Effort(40, shrink, 0, 1.0))
    splines = sitk.BSplineTransformInitializer(still, [4] * fixed.ndim, 3)
    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(numberOfHistogramBins=registration.BINS)
    search.SetMetricSamplingStrategy(search.NONE)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetMovingInitialTransform(affine)
    search.SetInitialTransform(splines, inPlace=True)
    search.SetOptimizerAsLBFGSB(numberOfIterations=20)
    search.SetShrinkFactorsPerLevel([2])
    search.SetSmoothingSigmasPerLevel([1])
    search.Execute(still, mobile)
    numbers = np.arange(1, moving.size + 1, dtype=np.uint32).reshape(moving.shape)
    transform = sitk.CompositeTransform([affine, splines])
    indices = sitk.GetImageFromArray(numbers)
    return sitk.GetArrayFromImage(
        sitk.Resample(indices, still, transform, sitk.sitkNearestNeighbor, 0)
    )


def timed(
    pairs: list[tuple[Scan, Scan]], register: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[list[float], list[float], list[float]]:
    """Give for each pair the seconds to register, the seconds to score, and the Dice."""
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for (fixed, truth), (moving, labels) in pairs:
        structures = int(truth.max())
        start = time.perf_counter()
        correspondence = register(fixed, moving)
        middle = time.perf_counter()
        maps = np.repeat(labels[None], SEGMENTATIONS, axis=0)
        scores = measures.agreement(registration.propagate(maps, correspondence), truth, structures)
        found[0].append(middle - start)
        found[1].append(time.perf_counter() - middle)
        found[2].append(float(scores[0, :, 0].mean()))
    return found


def main() -> None:
    """Print a row per way to register."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    stream = np.random.default_rng(0)
    if options.folder:
        scans = [scan[1:] for scan in hippocampus.read_hippocampus(options.folder)]
        shrink: tuple[int, ...] = (4, 2)
    else:
        scans, shrink = [phantom.slice_of((0, i), 80, 1.0) for i in range(40)], (2,)
    chosen = stream.permutation(len(scans))[: 2 * min(options.pairs, len(scans) // 2)]
    pairs = [(scans[a], scans[b]) for a, b in chosen.reshape(-1, 2)]
    affine, ours = Effort(40, shrink, 0, 1.0), Effort(40, shrink, 25, 1.0)
    ways = {
        "ours: affine, demons": lambda f, m: registration.correspondence(f, m, ours),
        "affine alone": lambda f, m: registration.correspondence(f, m, affine),
        "affine, B-splines": lambda f, m: by_splines(f, m, shrink),
    }
    print(f"{len(pairs)} pairs, one thread, median seconds; {SEGMENTATIONS} label maps scored")
    print(f"{'':22}{'register':>9}{'score':>8}{'Dice':>7}{'time / ours':>13}")
    results = {name: timed(pairs, way) for name, way in ways.items()}
    base = statistics.median(results["ours: affine, demons"][0])
    for name, (seconds, scoring, dice) in results.items():
        middle = statistics.median(seconds)
        print(
            f"{name:22}{middle:9.3f}{statistics.median(scoring):8.3f}"
            f"{statistics.mean(dice):7.3f}{middle / base:13.2f}"
        )


if __name__ == "__main__":
    main()
