"""Single-atlas label propagation: affine, then deformable registration of one image to another.

The reverse classifier that the paper found best (Valindria et al. 2017): the atlas is one image
with its label map; labels reach another image through the registration of the two images. A
registration does not depend on labels, so one serves every segmentation of an image.
"""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

# One thread each: registrations run in parallel over pairs, and one thread sums in one order.
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
sitk.ProcessObject.GlobalWarningDisplayOff()  # what goes wrong is answered below

BINS = 32  # of the joint histogram (Mattes et al. 2003)
MAXIMUM_STEP = 1.0  # voxels that one iteration of the affine search may move a point at most


class Effort(NamedTuple):
    """How long a registration may search."""

    affine_iterations: int
    shrink: tuple[int, ...]  # factor of each level of the affine search, coarse to fine
    deformable_iterations: int  # 0: affine alone
    smoothing: float  # standard deviation of the displacement field's filter, voxels


def correspondence(
    fixed: np.ndarray,
    moving: np.ndarray,
    effort: Effort,
    spacing: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> np.ndarray:
    """Find for every voxel of `fixed` the voxel of `moving` that lies on it after registration.

    Affine by mutual information of the intensities (Mattes), from aligned centres; then symmetric
    demons (Vercauteren et al. 2007) on the moved image with the intensities of `fixed`.

    Parameters
    ----------
    fixed, moving : ndarray
        float32, 0 to 1, (z, y, x) or (y, x); their shapes may differ.
    effort : Effort
        How long to search.
    spacing : pair of tuple of float, optional
        Size of a voxel of `fixed` and of `moving` along each array axis, in mm; 1 by default.

    Returns
    -------
    ndarray
        uint16 or uint32, shape of `fixed`: 0 where nothing of `moving` lies, else 1 + the flat
        index of its voxel (nearest neighbour: labels are not numbers to average).

    Examples
    --------
    >>> square = np.zeros((24, 24), np.float32)
    >>> square[6:12, 6:12] = 1.0
    >>> moved = np.roll(square, (3, 2), axis=(0, 1))
    >>> result = propagate(square[None].astype(np.uint8),
    ...                   correspondence(moved, square, Effort(50, (1,), 0, 1.0)))
    >>> bool((result[0] == moved).mean() > 0.98)
    True
    """
    steps = spacing or ((1.0,) * fixed.ndim, (1.0,) * moving.ndim)
    still, mobile = (_image(a, step) for a, step in zip((fixed, moving), steps, strict=True))
    transform = _affine(still, mobile, effort)
    if effort.deformable_iterations:
        field = _demons(still, mobile, transform, effort)
        transform = sitk.CompositeTransform([transform, field])
    kind = np.uint16 if moving.size < np.iinfo(np.uint16).max else np.uint32
    numbers = np.arange(1, moving.size + 1, dtype=np.uint32).reshape(moving.shape)
    indices = _image(numbers.astype(kind), steps[1])
    moved = sitk.Resample(indices, still, transform, sitk.sitkNearestNeighbor, 0)
    return sitk.GetArrayFromImage(moved)


def _image(array: np.ndarray, spacing: tuple[float, ...]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(step) for step in spacing[::-1]])  # ITK counts x first
    return image


def _affine(fixed: sitk.Image, moving: sitk.Image, effort: Effort) -> sitk.Transform:
    """Search the affine map; where the search fails the centres stay aligned."""
    start = sitk.CenteredTransformInitializer(
        fixed,
        moving,
        sitk.AffineTransform(fixed.GetDimension()),
        sitk.CenteredTransformInitializerFilter.GEOMETRY,
    )
    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(numberOfHistogramBins=BINS)
    search.SetMetricSamplingStrategy(search.NONE)  # every voxel: nothing is drawn at random
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(
        learningRate=MAXIMUM_STEP,
        minStep=0.02,
        numberOfIterations=effort.affine_iterations,
        relaxationFactor=0.6,
    )
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetShrinkFactorsPerLevel(list(effort.shrink))
    search.SetSmoothingSigmasPerLevel([factor / 2 for factor in effort.shrink])
    search.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    search.SetInitialTransform(start, inPlace=False)
    if effort.affine_iterations == 0:
        return start
    try:
        return search.Execute(fixed, moving)
    except RuntimeError:  # the images slid apart, or one has no contrast at this level
        return start


def _demons(
    fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform, effort: Effort
) -> sitk.Transform:
    """Return the displacement field that is left after the affine map."""
    moved = sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0)
    moved = sitk.HistogramMatching(
        moved,
        fixed,
        numberOfHistogramLevels=64,
        numberOfMatchPoints=8,
        thresholdAtMeanIntensity=True,
    )
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(effort.deformable_iterations)
    demons.SetSmoothDisplacementField(True)
    demons.SetStandardDeviations(effort.smoothing)
    demons.SetSmoothUpdateField(False)
    field = demons.Execute(fixed, moved)
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def propagate(labels: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Carry label maps from the moving image to the fixed one.

    Parameters
    ----------
    labels : ndarray
        uint8, shape (K, *moving): K label maps of the moving image.
    indices : ndarray
        As `correspondence` gives it, shape of the fixed image.

    Returns
    -------
    ndarray
        uint8, shape (K, *fixed); background where nothing of the moving image lies.

    Examples
    --------
    >>> propagate(np.array([[[1, 2]]], np.uint8), np.array([[2, 2, 0]], np.uint16)).tolist()
    [[[2, 2, 0]]]
    """
    flat = labels.reshape(len(labels), -1)
    flat = np.concatenate([np.zeros((len(labels), 1), labels.dtype), flat], axis=1)
    return flat[:, indices]
