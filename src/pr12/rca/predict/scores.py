"""The scores of segmentations on references, for `pr12.rca.predict`: parallel and resumable.

The paper's direction (Valindria et al. 2017, Sec. III): the segmented image is the atlas, moved to
each reference. One registration of two images serves all structures and all label maps.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files
from pr12.rca.model import estimates, registration
from pr12.rca.model.measures import MEASURES
from pr12.rca.model.registration import Effort, propagate
from pr12.rca.predict.cases import Case
from pr12.workflow import progress


class Subject(NamedTuple):
    """One image with K segmentations of it, to be scored on R references."""

    case: Case
    segmentations: np.ndarray  # (K, *image), 0 to S
    judged: np.ndarray  # bool, (K, R): which reference may judge which segmentation
    real: np.ndarray  # (K, S), Dice where it is known, else NaN


class Scored(NamedTuple):
    """What is kept of a subject."""

    scores: np.ndarray  # float32, (K, R, S), NaN where a reference cannot judge
    real: np.ndarray  # (K, S)
    similarity: np.ndarray  # float32, (R,): correlation of intensities after registration, or NaN


def dice(first: np.ndarray, second: np.ndarray, structures: int) -> np.ndarray:
    """Return the Dice of the structures 1 to S of two label maps.

    Parameters
    ----------
    first, second : ndarray
        Whole numbers from 0 to S, of one shape.
    structures : int
        S.

    Returns
    -------
    ndarray
        Shape (S,); NaN where `second`, the reference, has no such structure: nothing is judged
        there.

    Examples
    --------
    >>> dice(np.array([1, 1, 0, 3]), np.array([0, 1, 2, 0]), 3).round(2).tolist()
    [0.67, 0.0, nan]
    """
    count = structures + 1
    joint = first.ravel().astype(np.intp) * count + second.ravel()
    joint = np.bincount(joint, minlength=count**2).reshape(count, count)
    ours, theirs = joint.sum(axis=1), joint.sum(axis=0)
    overlap = 2 * joint.diagonal() / np.maximum(ours + theirs, 1)
    return np.where(theirs > 0, overlap, np.nan)[1:]


def matched(fixed: Case, moving: Case, effort: Effort) -> np.ndarray | None:
    """Register one image to another.

    Parameters
    ----------
    fixed, moving : Case
        Of the same dimension.
    effort : Effort
        How long to search.

    Returns
    -------
    ndarray or None
        As `pr12.rca.model.registration.correspondence` gives it; None where ITK finds no way.
    """
    # In voxels of the fixed image: the search's steps have a length, and users' units differ
    unit = float(np.prod(fixed.spacing)) ** (1 / len(fixed.spacing))
    steps = tuple(tuple(step / unit for step in case.spacing) for case in (fixed, moving))
    try:
        return registration.correspondence(fixed.image, moving.image, effort, steps)
    except RuntimeError:  # of ITK, for images with which it cannot work
        return None


def score(
    case: Case, segmentations: np.ndarray, reference: Case, effort: Effort, structures: int
) -> tuple[np.ndarray, float]:
    """Score the segmentations of one case on one reference.

    Parameters
    ----------
    case : Case
        The image that is moved.
    segmentations : ndarray
        Shape (K, *image), 0 to S.
    reference : Case
        With its true labels, 0 to S.
    effort : Effort
        Of the registration.
    structures : int
        S.

    Returns
    -------
    scores : ndarray
        float32, shape (K, S); NaN for structures that the reference has not.
    similarity : float
        Correlation of both images' intensities where they overlap after registration; NaN where
        there is none.
    """
    correspondence = matched(reference, case, effort)
    if correspondence is None:
        return np.full((len(segmentations), structures), np.nan, np.float32), np.nan
    carried = propagate(segmentations, correspondence)
    scores = np.stack([dice(labels, reference.labels, structures) for labels in carried])
    moved = propagate(case.image[None], correspondence)[0]
    return scores.astype(np.float32), similarity(moved, reference.image, correspondence > 0)


def similarity(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> float:
    """Return Pearson's correlation of two images over some voxels; NaN where one is constant.

    Parameters
    ----------
    first, second : ndarray
        Intensities, of one shape.
    inside : ndarray
        bool, which voxels.

    Examples
    --------
    >>> similarity(np.array([0.0, 1.0, 9.0]), np.array([1.0, 0.0, 0.0]), np.array([1, 1, 0]) > 0)
    -1.0
    """
    x, y = (array[inside].astype(float) for array in (first, second))
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(np.corrcoef(x, y)[0, 1].round(6))


def scored(
    keys: Sequence[str],
    missing: Mapping[str, Subject],
    references: Sequence[Case],
    effort: Effort,
    structures: int,
    folder: Path,
) -> dict[str, Scored]:
    """Score subjects on references, and keep each in a file as soon as it is done.

    Parameters
    ----------
    keys : sequence of str
        Of all subjects.
    missing : mapping of str to Subject
        Those without file.
    references : sequence of Case
        R of them.
    effort : Effort
        Of the registrations.
    structures : int
        S.
    folder : Path
        Where the files are kept.

    Raises
    ------
    UserError
        If a file cannot be written or read.
    """
    bare = [_bare(reference) for reference in references]
    work = [
        (_bare(subject.case), subject.segmentations, reference, effort, structures)
        for subject in missing.values()
        for reference, judged in zip(bare, subject.judged.T, strict=True)
        if judged.any()
    ]
    shown = progress.follow(
        _by_subject(missing, spread(score, work), structures),
        len(keys),
        _describe,
        done=len(keys) - len(missing),
    )
    for key, result in zip(missing, shown, strict=True):
        scan_files.write_arrays(part(folder, key), result._asdict())
    return {key: Scored(**scan_files.read_arrays(part(folder, key))[0]) for key in keys}


def part(folder: Path, key: str) -> Path:
    """Return the file of a scored subject.

    Parameters
    ----------
    folder : Path
        Of all of them.
    key : str
        Of the subject.
    """
    return folder / f"{key}.safetensors"


def _bare(case: Case) -> Case:
    """Leave out what a registration does not need: it is sent to another process."""
    return case._replace(view=None)


def _by_subject(
    missing: Mapping[str, Subject], results: Iterator[tuple[np.ndarray, float]], structures: int
) -> Iterator[Scored]:
    for subject in missing.values():
        maps, references = subject.judged.shape
        scores = np.full((maps, references, structures), np.nan, np.float32)
        similar = np.full(references, np.nan, np.float32)
        for index in np.flatnonzero(subject.judged.any(axis=0)):
            scores[:, index], similar[index] = next(results)
        scores[~subject.judged] = np.nan
        yield Scored(scores, subject.real, similar)


def _describe(result: Scored) -> str:
    """Return the first segmentation's scores: no names, for a bar takes brackets for its own."""
    best = estimated(result.scores[:1], "max")[0]
    return "raw scores " + " ".join(f"{value:.2f}" for value in best[:8])


def estimated(scores: np.ndarray, estimator: str) -> np.ndarray:
    """Predict the Dice of segmentations from their scores on the references.

    Parameters
    ----------
    scores : ndarray
        Dice, shape (K, R, S); NaN where a reference cannot judge.
    estimator : str
        As `pr12.rca.model.estimates.estimate` knows it.

    Returns
    -------
    ndarray
        Shape (K, S); NaN where no reference judges.

    Examples
    --------
    >>> scores = np.array([[[0.2, np.nan], [0.6, np.nan]]])
    >>> estimated(scores, "max").tolist(), estimated(scores, "mean").tolist()
    ([[0.6, nan]], [[0.4, nan]])
    """
    measures = np.full((1, *scores.shape, len(MEASURES)), np.nan)
    measures[0, ..., MEASURES.index("dice")] = scores
    predicted = estimates.estimate(measures, estimator)[0, ..., MEASURES.index("dice")]
    return predicted + 0.0  # no score of minus zero
