"""Reference labels damaged in graded ways: segmentations whose real Dice is known.

Where a user has no calibration cases, these stand in for a segmenter's errors. Each structure is
moved, eroded or dilated, deformed and cut off, by a share of its own size; and whole label maps of
other references are carried over by registration, affine alone and deformable, as a segmenter by
atlas does. These are a third of all: their errors lie where images are ambiguous, which misleads
the scores, too, so that synthetic damage alone makes predictions too high. The undamaged labels
are not among them, for no segmenter draws them. What is calibrated on such damage holds for errors
of that kind: `pr12.rca.predict.calibration.by_kind` measures how far for others.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from pr12.rca.model.registration import Effort, propagate
from pr12.rca.predict.cases import Case
from pr12.rca.predict.scores import dice, matched

DAMAGES = (
    ("moved", 0.2), ("moved", 0.4), ("moved", 0.8),  # by this many radii
    ("volume", 0.4), ("volume", 0.65), ("volume", 0.85), ("volume", 1.25), ("volume", 1.7),
    ("deformed", 0.3), ("deformed", 0.6),  # by so many radii, root mean square
    ("cut", 0.5), ("cut", 0.8),  # the share that is left
)  # fmt: skip
CARRIED = 6  # label maps of other references, by turns affine alone and deformable


def damaged(
    case: Case, others: Sequence[Case], effort: Effort, structures: int, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Damage the labels of a reference in every way.

    Parameters
    ----------
    case : Case
        The reference, its labels 0 to S.
    others : sequence of Case
        At most `CARRIED` other references, whose labels are carried over.
    effort : Effort
        Of the registrations.
    structures : int
        S.
    seed : int
        Of the directions.

    Returns
    -------
    segmentations : ndarray
        Shape (K, *image).
    real : ndarray
        Their Dice, shape (K, S); NaN for structures that the reference has not.
    carried : int
        How many at the end were carried over from `others`, in their order.

    Examples
    --------
    >>> labels = np.pad(np.ones((6, 6), np.uint8), 5)
    >>> case = Case("a", labels.astype(np.float32), labels, (1.0, 1.0), (), {}, (), "")
    >>> result, real, carried = damaged(case, [], Effort(0, (1,), 0, 1.0), 1, 0)
    >>> len(result) == len(DAMAGES), float(real[5, 0].round(2)), carried
    (True, 0.93, 0)
    """
    stream = np.random.default_rng(seed)
    maps = np.zeros((len(DAMAGES), *case.labels.shape), case.labels.dtype)
    for structure, box in enumerate(ndimage.find_objects(case.labels), start=1):
        if box is None:
            continue
        radius = _radius(np.count_nonzero(case.labels == structure), case.spacing)
        box = _wider(box, radius, case.spacing, case.labels.shape)
        mask = case.labels[box] == structure
        for labels, (kind, level) in zip(maps, DAMAGES, strict=True):
            labels[box][_damaged_mask(mask, case.spacing, radius, kind, level, stream)] = structure
    efforts = (effort._replace(deformable_iterations=0), effort)
    correspondences = [
        matched(case, other, efforts[index % 2]) for index, other in enumerate(others)
    ]
    carried = [
        # What ITK cannot register is an empty segmentation
        np.zeros_like(maps[:1]) if labels is None else propagate(other.labels[None], labels)
        for other, labels in zip(others, correspondences, strict=True)
    ]
    segmentations = np.concatenate([maps, *carried])
    real = np.stack([dice(labels, case.labels, structures) for labels in segmentations])
    return segmentations, real, len(carried)


def kinds(maps: int) -> list[str]:
    """Return the kind of damage of each of a reference's segmentations.

    Parameters
    ----------
    maps : int
        How many `damaged` gave.

    Examples
    --------
    >>> kinds(13)[-2:]
    ['cut', 'carried']
    """
    return [kind for kind, _ in DAMAGES] + ["carried"] * (maps - len(DAMAGES))


def _radius(voxels: int, spacing: tuple[float, ...]) -> float:
    """Return the radius of the disc or ball of the same size, in mm."""
    size = voxels * float(np.prod(spacing))
    return (size / np.pi) ** 0.5 if len(spacing) == 2 else (size * 3 / (4 * np.pi)) ** (1 / 3)


def _wider(
    box: tuple[slice, ...], radius: float, spacing: tuple[float, ...], shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """Widen a structure's box by its radius: damage stays inside, and costs no more."""
    rooms = [int(np.ceil(radius / step)) + 2 for step in spacing]
    return tuple(
        slice(max(side.start - room, 0), min(side.stop + room, length))
        for side, room, length in zip(box, rooms, shape, strict=True)
    )


def _damaged_mask(
    mask: np.ndarray,
    spacing: tuple[float, ...],
    radius: float,
    kind: str,
    level: float,
    stream: np.random.Generator,
) -> np.ndarray:
    steps = np.array(spacing)
    direction = stream.normal(size=mask.ndim)
    direction /= np.linalg.norm(direction)
    if kind == "moved":
        return ndimage.shift(mask, level * radius * direction / steps, order=0, prefilter=False)
    if kind == "volume":
        inside, outside = (
            ndimage.distance_transform_edt(part, sampling=spacing) for part in (mask, ~mask)
        )
        return _first(outside - inside, round(level * mask.sum()))
    if kind == "deformed":
        field = stream.normal(size=(mask.ndim, *mask.shape))
        for part, step in zip(field, steps, strict=True):
            smooth = ndimage.gaussian_filter(part, radius / steps, mode="wrap")
            size = np.sqrt(np.mean(smooth**2) * mask.ndim)
            part[...] = smooth * (level * radius / (size * step))
        place = np.indices(mask.shape) + field
        return ndimage.map_coordinates(mask, place, order=0, prefilter=False)
    along = np.tensordot(direction * steps, np.indices(mask.shape), axes=1)  # kind: cut
    return _first(np.where(mask, along, np.inf), round(level * mask.sum()))


def _first(values: np.ndarray, count: int) -> np.ndarray:
    """Return the voxels with the smallest values."""
    chosen = np.zeros(values.size, bool)
    chosen[np.argsort(values, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(values.shape)
