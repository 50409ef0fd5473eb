"""Evaluate the teachers: every member alone and ensembles of k of them."""

from torch import Tensor

from pr12.core import determinism
from pr12.distill.model import losses, saved_nets
from pr12.distill.params import Ensemble as Params
from pr12.workflow import files, step


def ensembles(members: int, k: int) -> list[list[int]]:
    """Choose ensembles of k members such that every member is in equally many.

    Parameters
    ----------
    members : int
        M, how many there are.
    k : int
        How many are in an ensemble.

    Returns
    -------
    list of list of int
        M ensembles of neighbours in a circle; just one if k = M.

    Examples
    --------
    >>> ensembles(3, 2), ensembles(3, 3)
    ([[0, 1], [1, 2], [2, 0]], [[0, 1, 2]])
    """
    if k == members:
        return [list(range(members))]
    return [[(first + i) % members for i in range(k)] for first in range(members)]


def metrics(member_logits: Tensor, labels: Tensor, split: str) -> dict[str, list[float]]:
    """Return errors and negative log-likelihood by size of ensemble.

    Parameters
    ----------
    member_logits : Tensor
        Shape (M, N, C).
    labels : Tensor
        int64, shape (N,).
    split : str
        First part of the metric keys.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[[9.0, 0.0]], [[0.0, 1.0]]])
    >>> values = metrics(logits, torch.tensor([0]), "test")
    >>> values["test/errors_single"], values["test/errors_ensemble"]
    ([0, 1], [0])
    """
    values = {f"{split}/errors_single": (member_logits.argmax(-1) != labels).sum(-1).tolist()}
    count = len(member_logits)
    for mean in ("arithmetic", "geometric"):
        for k in range(1, count + 1):
            wrong, nll = [], []
            for chosen in ensembles(count, k):
                p = losses.ensemble_probabilities(member_logits[chosen].double(), 1.0, mean)
                wrong.append(int((p.argmax(-1) != labels).sum()))
                nll.append(-p.gather(-1, labels[:, None]).log().mean().item())
            suffix = "" if mean == "arithmetic" else "_geometric"
            values[f"{split}/errors_ensemble{suffix}_k{k}"] = wrong
            values[f"{split}/nll_ensemble{suffix}_k{k}_nats"] = nll
        values[f"{split}/errors_ensemble{suffix}"] = wrong
        values[f"{split}/nll_ensemble{suffix}_nats"] = nll
    return values


def main(job: step.Job) -> None:
    """Evaluate the members and their ensembles on validation and test data."""
    determinism.deterministic()
    data = {name: job.paths[name] for name in ("validation", "test")}
    values = {}
    for name, (logits, labels) in saved_nets.answers(job.paths["model"], data).items():
        values |= metrics(logits, labels, name)
    files.write_json(job.paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "validation", "test"], writes=["metrics"]) as job:
        main(job)
