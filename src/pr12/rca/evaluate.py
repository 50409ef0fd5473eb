"""Judge what RCA predicts, by one reverse classifier and one estimator, on test scans."""

from collections.abc import Sequence

import numpy as np

from pr12.rca.data import score_files
from pr12.rca.model import estimates, parts
from pr12.rca.model.measures import MEASURES
from pr12.rca.params import Evaluate as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

DICE = MEASURES.index("dice")


WITH_REFERENCES = ("atlas", "atlas_to_test")  # whose references may be fewer


def judged(
    real: np.ndarray,
    scores: np.ndarray,
    params: Params,
    structures: Sequence[str],
    segmenters: Sequence[str],
) -> dict[str, float]:
    """Judge the predictions of one seed.

    Parameters
    ----------
    real : ndarray
        Shape (subjects, segmenters, structures, measures).
    scores : ndarray
        Shape (subjects, segmenters, references, structures, measures).
    params : Params
        The step's.
    structures, segmenters : sequence of str
        Names.

    Returns
    -------
    dict of str to float
        Metric key -> value, over all segmentations (``pooled``) and by structure; Dice also by
        segmenter, and by the number of references (1, 2, 4, ... and all).

    Examples
    --------
    >>> real = np.linspace(0, 1, 16).reshape(2, 2, 1, 4)
    >>> params = Params("atlas", "max", None, None, 0.7, 0.1)
    >>> metrics = judged(real, real[:, :, None], params, ("liver",), ("forest_5", "unet_8"))
    >>> metrics["liver/mae_dice"], metrics["unet_1/mae_dice"]
    (0.0, 0.0)
    """
    predicted = estimates.estimate(scores, params.estimator)
    metrics = estimates.agreement_metrics(predicted, real, "pooled")
    for index, name in enumerate(structures):
        by_structure = estimates.agreement_metrics(predicted[:, :, index], real[:, :, index], name)
        metrics |= by_structure
    dice = (predicted[..., DICE], real[..., DICE])
    metrics |= estimates.failure_metrics(*dice, params.threshold, params.false_positive_rate)
    metrics |= parts.by_segmenter(*dice, segmenters, params)
    if params.reverse in WITH_REFERENCES:
        metrics |= parts.by_references(scores, dice[1], params.estimator)
    return metrics


def picture(real: np.ndarray, predicted: np.ndarray) -> dict[str, list]:
    """Return every point of the scatter plots, rounded.

    Parameters
    ----------
    real, predicted : ndarray
        Shape (subjects, segmenters, structures, measures), of all seeds.

    Returns
    -------
    dict
        ``segmenter`` and ``structure``: number of each point; ``real`` and ``predicted``: for each
        measure one value per point, null where a distance is not defined.

    Examples
    --------
    >>> picture(np.zeros((1, 1, 2, 4)), np.ones((1, 1, 2, 4)))["structure"]
    [0, 1]
    """
    _, segmenter, structure = np.indices(real.shape[:3])
    points = {"segmenter": segmenter.ravel().tolist(), "structure": structure.ravel().tolist()}
    for name, values in (("real", real), ("predicted", predicted)):
        points[name] = {
            measure: [None if np.isnan(v) else round(float(v), 4) for v in values[..., i].ravel()]
            for i, measure in enumerate(MEASURES)
        }
    return points


def paired(
    real: dict[tuple[int, str], np.ndarray],
    scores: dict[tuple[int, str], np.ndarray],
    names: tuple[dict[str, list[str]], dict[str, list[str]]],
    params: Params,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each seed the real scores and those on references of the same test scans.

    Parameters
    ----------
    real, scores : dict
        (seed, split) -> ndarray.
    names : tuple of dict
        The names beside both.
    params : Params
        The step's.

    Raises
    ------
    UserError
        If the seeds differ, or there are more references or subjects asked than scored.
    """
    seeds = sorted(seed for seed, split in real if split == "test")
    if not seeds or seeds != sorted(seed for seed, split in scores if split == "test"):
        raise UserError("real and reverse scores are of other seeds; make both again")
    pairs = []
    for seed in seeds:
        reverse = scores[seed, "test"][: params.subjects, :, : params.references]
        asked = (params.subjects or 0, params.references or 0)
        if reverse.shape[0] < asked[0] or reverse.shape[2] < asked[1]:
            raise UserError(
                f"{asked[0]} subjects and {asked[1]} references are asked, {reverse.shape[0]} and "
                f"{reverse.shape[2]} were scored; lower them or score more"
            )
        rows = score_files.rows(*names, seed, "test")[: params.subjects]
        pairs.append((real[seed, "test"][rows], reverse))
    return pairs


def main(job: step.Job) -> None:
    """Judge all seeds."""
    params, paths = job.params, job.paths
    (real, names), (scores, other_names) = score_files.read_both(paths)
    pairs = paired(real, scores, (names, other_names), params)
    by_name = names["structures"], names["segmenters"]
    by_seed = [judged(*pair, params, *by_name) for pair in pairs]
    metrics = estimates.by_metric(by_seed)
    files.write_json(paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})
    all_real = np.concatenate([pair[0] for pair in pairs])
    all_predicted = np.concatenate(
        [estimates.estimate(pair[1], params.estimator) for pair in pairs]
    )
    points = picture(all_real, all_predicted)
    shown = {key: names[key] for key in ("structures", "segmenters")}
    files.write_json(paths["picture"], points | shown)


if __name__ == "__main__":
    with step.start(Params, reads=["real", "scores"], writes=["metrics", "picture"]) as job:
        main(job)
