"""The scores of segmentations by references, for `pr12.rca.predict`: parallel and resumable.

The direction that the report finds best: the references' labels are carried to the case (Robinson
et al. 2019) by one registration each, and the segmentation is compared with them. The paper's
direction (Valindria et al. 2017, Sec. III) carries the segmentation to the references and needs as
many registrations; here all label maps of a case share them, what differs can be shown on the case,
and distances are in its mm.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from pr12.core.parallel import spread
from pr12.rca.data import scan_files
from pr12.rca.model import estimates, registration
from pr12.rca.model.measures import MEASURES, surface
from pr12.rca.model.registration import Effort, propagate
from pr12.rca.predict.cases import Case
from pr12.workflow import progress
from pr12.workflow.errors import UserError


class Subject(NamedTuple):
    """One image with K segmentations of it, to be scored by R references."""

    case: Case
    segmentations: np.ndarray  # (K, *image), 0 to S
    judged: np.ndarray  # bool, (K, R): which reference may judge which segmentation
    real: np.ndarray  # (K, S), Dice where it is known, else NaN


class Scored(NamedTuple):
    """What is kept of a subject."""

    scores: np.ndarray  # float32, (K, R, S), NaN where a reference cannot judge
    real: np.ndarray  # (K, S)
    similarity: np.ndarray  # float32, (R,): correlation of intensities after registration, or NaN
    voted: np.ndarray  # float32, (K, S): Dice with the references' majority, NaN without one
    disagreement: np.ndarray  # float32, image: share of references that differ from the first map
    distances: np.ndarray  # (S, 3), of it: mean disagreement, HD95 and mean distance, mm


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
) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Score the segmentations of one case by one reference.

    Parameters
    ----------
    case : Case
        Whose image stays.
    segmentations : ndarray
        Shape (K, *image), 0 to S.
    reference : Case
        With its true labels, 0 to S, which are carried to the case.
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
    carried : ndarray or None
        The reference's labels on the case; None where the images cannot be registered.
    """
    correspondence = matched(case, reference, effort)
    if correspondence is None:
        return np.full((len(segmentations), structures), np.nan, np.float32), np.nan, None
    carried = propagate(reference.labels[None], correspondence)[0]
    scores = np.stack([dice(labels, carried, structures) for labels in segmentations])
    every = np.arange(1, structures + 1)
    ours = np.stack([np.isin(every, labels) for labels in segmentations])
    # What a reference has outside of this image, and the segmentation inside, is wrong there
    wrong = np.isin(every, reference.labels) & ours & np.isnan(scores)
    scores = np.where(wrong, 0.0, scores)
    moved = propagate(reference.image[None], correspondence)[0]
    near = similarity(moved, case.image, correspondence > 0)
    return scores.astype(np.float32), near, carried


def vote(carried: np.ndarray, structures: int) -> np.ndarray:
    """Return the label that most references have at each voxel; of equals the smallest.

    Parameters
    ----------
    carried : ndarray
        Shape (R, *image), 0 to S.
    structures : int
        S; one at a time is counted, so that memory does not grow with it.

    Examples
    --------
    >>> vote(np.array([[0, 2], [1, 2], [1, 1]]), 2).tolist()
    [1, 2]
    """
    winner = np.zeros(carried.shape[1:], carried.dtype)
    most = (carried == 0).sum(axis=0)
    for structure in range(1, structures + 1):
        count = (carried == structure).sum(axis=0)
        winner[count > most] = structure
        most = np.maximum(most, count)
    return winner


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
    """Score subjects by references, and keep each in a file as soon as it is done.

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
    return {key: read(part(folder, key)) for key in keys}


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


def read(path: Path) -> Scored:
    """Return a scored subject.

    Parameters
    ----------
    path : Path
        As `part` gives it.

    Raises
    ------
    UserError
        If the file is no such one.
    """
    arrays, _ = scan_files.read_arrays(path)
    if arrays.keys() != set(Scored._fields):
        raise UserError(f"{path} holds no scores; delete it and run again")
    return Scored(**arrays)


def _bare(case: Case) -> Case:
    """Leave out what a registration does not need: it is sent to another process."""
    return case._replace(views=())


def _by_subject(
    missing: Mapping[str, Subject],
    results: Iterator[tuple[np.ndarray, float, np.ndarray | None]],
    structures: int,
) -> Iterator[Scored]:
    for subject in missing.values():
        maps, references = subject.judged.shape
        scores = np.full((maps, references, structures), np.nan, np.float32)
        similar = np.full(references, np.nan, np.float32)
        carried: dict[int, np.ndarray] = {}
        for index in np.flatnonzero(subject.judged.any(axis=0)).tolist():
            scores[:, index], similar[index], labels = next(results)
            if labels is not None:
                carried[index] = labels
        scores[~subject.judged] = np.nan
        yield _scored(subject, scores, similar, carried, structures)


def _scored(
    subject: Subject,
    scores: np.ndarray,
    similar: np.ndarray,
    carried: Mapping[int, np.ndarray],
    structures: int,
) -> Scored:
    """Compare each segmentation with the majority of those that may judge it."""
    voted = np.full((len(scores), structures), np.nan, np.float32)
    majorities: dict[tuple[int, ...], np.ndarray] = {}  # most maps have the same judges
    for index, labels in enumerate(subject.segmentations):
        judges = tuple(each for each in carried if subject.judged[index, each])
        if judges and judges not in majorities:
            majorities[judges] = vote(np.stack([carried[each] for each in judges]), structures)
        if judges:
            voted[index] = dice(labels, majorities[judges], structures)
    first, shown = subject.segmentations[0], np.zeros((), np.float32)
    away = np.full((structures, 3), np.nan)
    ours = [labels for index, labels in carried.items() if subject.judged[0, index]]
    # Damaged labels are many, and nobody looks at where they differ
    if ours and len(subject.segmentations) == 1:
        shown = np.mean([labels != first for labels in ours], axis=0, dtype=np.float32)
        majority = majorities[tuple(each for each in carried if subject.judged[0, each])]
        for index in range(structures):
            inside = (first == index + 1) | np.any([labels == index + 1 for labels in ours], axis=0)
            if inside.any():
                pair = (first == index + 1, majority == index + 1)
                away[index] = shown[inside].mean(), *distances(*pair, subject.case.spacing)
    return Scored(scores, subject.real, similar, voted, shown, away)


def distances(
    first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...]
) -> tuple[float, float]:
    """Return HD95 and the mean distance of two sets of voxels' surfaces.

    Parameters
    ----------
    first, second : ndarray
        bool, of one shape.
    spacing : tuple of float
        Of a voxel, mm.

    Returns
    -------
    tuple of float
        In mm: the 95th percentile of the distances from each surface to the other, the greater of
        both directions (as MONAI counts it), and the mean of all; NaN where a set is empty.

    Examples
    --------
    >>> square = np.zeros((9, 9), bool)
    >>> square[2:6, 2:6] = True
    >>> distances(square, np.roll(square, 1, axis=0), (2.0, 2.0))[0]
    2.0
    """
    if not first.any() or not second.any():
        return np.nan, np.nan
    points = [np.argwhere(surface(each)) * np.array(spacing) for each in (first, second)]
    there, _ = cKDTree(points[1]).query(points[0])
    back, _ = cKDTree(points[0]).query(points[1])
    furthest = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(furthest), float(np.concatenate([there, back]).mean())


def _describe(result: Scored) -> str:
    """Return the first segmentation's scores: no names, for a bar takes brackets for its own."""
    best = estimated(result, "max")[0]
    return "raw scores " + " ".join(f"{value:.2f}" for value in best[:8])


def estimated(scored: Scored, estimator: str) -> np.ndarray:
    """Predict the Dice of segmentations from their scores by the references.

    Parameters
    ----------
    scored : Scored
        Of a subject.
    estimator : str
        As `pr12.rca.model.estimates.estimate` knows it, or ``vote``: the Dice with the references'
        majority.

    Returns
    -------
    ndarray
        Shape (K, S); NaN where no reference judges.

    Examples
    --------
    >>> scores = np.array([[[0.2, np.nan], [0.6, np.nan]]])
    >>> subject = Scored(scores, None, None, np.array([[0.5, np.nan]]), None, None)
    >>> [estimated(subject, each).tolist() for each in ("max", "mean", "vote")]
    [[[0.6, nan]], [[0.4, nan]], [[0.5, nan]]]
    """
    if estimator == "vote":
        # Where the majority sees no structure and a reference has one, it is not there
        judged = ~np.isnan(scored.scores).all(axis=1)
        return np.where(judged, np.nan_to_num(scored.voted, nan=0.0), np.nan)
    measures = np.full((1, *scored.scores.shape, len(MEASURES)), np.nan)
    measures[0, ..., MEASURES.index("dice")] = scored.scores
    predicted = estimates.estimate(measures, estimator)[0, ..., MEASURES.index("dice")]
    return predicted + 0.0  # no score of minus zero
