"""Judge what RCA predicts, by one reverse classifier and one estimator, on test scans."""

import numpy as np

from pr12.rca.data import scan_files, subjects
from pr12.rca.model import estimates
from pr12.rca.model.measures import MEASURES
from pr12.rca.params import Evaluate as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

DICE = MEASURES.index("dice")


def judged(
    real: np.ndarray, scores: np.ndarray, params: Params, structures: tuple[str, ...]
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
    structures : tuple of str
        Names.

    Returns
    -------
    dict of str to float
        Metric key -> value, over all segmentations (``pooled``) and by structure; Dice also by the
        number of references (1, 2, 4, ...).

    Examples
    --------
    >>> real = np.linspace(0, 1, 16).reshape(2, 2, 1, 4)
    >>> params = Params("atlas", "max", None, None, 0.7, 0.1)
    >>> judged(real, real[:, :, None], params, ("liver",))["liver/mae_dice"]
    0.0
    """
    predicted = estimates.estimate(scores, params.estimator)
    found = estimates.agreement_metrics(predicted, real, "pooled")
    for index, name in enumerate(structures):
        own = estimates.agreement_metrics(predicted[:, :, index], real[:, :, index], name)
        found |= own
    dice = (predicted[..., DICE], real[..., DICE])
    found |= estimates.failure_metrics(*dice, params.threshold, params.false_positive_rate)
    number = 1
    while number <= scores.shape[2]:
        fewer = estimates.estimate(scores[:, :, :number], params.estimator)[..., DICE]
        found[f"references_{number}/mae_dice"] = float(np.abs(fewer - real[..., DICE]).mean())
        found[f"references_{number}/bias_dice"] = float((fewer - real[..., DICE]).mean())
        found[f"references_{number}/correlation_dice"] = estimates.correlation(fewer, dice[1])
        number *= 2
    return found


def picture(real: np.ndarray, predicted: np.ndarray) -> dict[str, list]:
    """Give every point of the scatter plots, rounded.

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
    found = {"segmenter": segmenter.ravel().tolist(), "structure": structure.ravel().tolist()}
    for name, values in (("real", real), ("predicted", predicted)):
        found[name] = {
            measure: [None if np.isnan(v) else round(float(v), 4) for v in values[..., i].ravel()]
            for i, measure in enumerate(MEASURES)
        }
    return found


def paired(
    real: dict[tuple[int, str], np.ndarray],
    scores: dict[tuple[int, str], np.ndarray],
    names: tuple[dict[str, list[str]], dict[str, list[str]]],
    params: Params,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give for each seed the real scores and those on references of the same test scans.

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
    if seeds != sorted(seed for seed, split in scores if split == "test"):
        raise UserError("real and reverse scores are of other seeds; make both again")
    found = []
    for seed in seeds:
        own = scores[seed, "test"][: params.subjects, :, : params.references]
        asked = (params.subjects or 0, params.references or 0)
        if own.shape[0] < asked[0] or own.shape[2] < asked[1]:
            raise UserError(
                f"{asked[0]} subjects and {asked[1]} references are asked, {own.shape[0]} and "
                f"{own.shape[2]} were scored; lower them or score more"
            )
        rows = subjects.rows(*names, seed, "test")[: params.subjects]
        found.append((real[seed, "test"][rows], own))
    return found


def main(job: step.Job) -> None:
    """Judge all seeds."""
    params, paths = job.params, job.paths
    real, metadata = scan_files.read_scores(paths["real"])
    scores, whose = scan_files.read_scores(paths["scores"])
    names = subjects.named(metadata)
    pairs = paired(real, scores, (names, subjects.named(whose)), params)
    structures = tuple(names["structures"])
    found = [judged(*pair, params, structures) for pair in pairs]
    shared = [key for key in found[0] if all(key in own for own in found)]
    metrics = {key: [own[key] for own in found] for key in shared}
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
