"""Soft labels of a few digits at low, middle and high temperature, and their entropy."""

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.distill.data import digits
from pr12.distill.model import losses
from pr12.distill.params import Temperature as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of distributions in nats.

    Parameters
    ----------
    probabilities : Tensor
        Shape (..., C).

    Examples
    --------
    >>> entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([0.0000, 0.6931])
    """
    return torch.special.entr(probabilities).sum(dim=-1)


def ambiguous(probabilities: Tensor, labels: Tensor, digits: int) -> Tensor:
    """Choose the digits about which the ensemble hesitates most, one per class, yet is right.

    Parameters
    ----------
    probabilities : Tensor
        Shape (N, C).
    labels : Tensor
        int64, shape (N,).
    digits : int
        How many to choose, at most one per class.

    Returns
    -------
    Tensor
        Indices, int64, most hesitant first.

    Examples
    --------
    >>> p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> ambiguous(p, torch.tensor([0, 0, 1]), 2)
    tensor([1, 2])
    """
    doubt = entropy(probabilities).masked_fill(probabilities.argmax(-1) != labels, -1.0)
    order = doubt.argsort(descending=True, stable=True)
    right = order[doubt[order] >= 0]
    first = {int(labels[i]): int(i) for i in right.flip(0)}  # the last written is most hesitant
    chosen = sorted(first.values(), key=lambda i: -doubt[i].item())
    return torch.tensor(chosen[:digits], dtype=torch.int64)


def main(job: step.Job) -> None:
    """Write pixels, soft labels and entropies of the chosen digits, and the mean entropies."""
    determinism.deterministic()
    split = digits.load(job.paths["train"])
    member_logits = digits.soft_labels(job.paths["soft_labels"], split.labels).double()
    by_temperature = {
        t: losses.ensemble_probabilities(member_logits, t, "geometric")
        for t in job.params.temperatures
    }
    sharp = losses.ensemble_probabilities(member_logits, 1.0, "geometric")
    chosen = ambiguous(sharp, split.labels, job.params.digits)
    if not len(chosen):
        raise UserError("the ensemble of soft_labels is right on no example of train; train longer")
    picture = {
        "labels": split.labels[chosen].tolist(),
        "images": split.images[chosen].tolist(),
        "temperatures": list(by_temperature),
        "probabilities": [p[chosen].tolist() for p in by_temperature.values()],
        "entropy_nats": [entropy(p[chosen]).tolist() for p in by_temperature.values()],
    }
    metrics = {
        f"train/entropy_T{t:g}_nats": [entropy(p).mean().item()] for t, p in by_temperature.items()
    }
    files.write_json(job.paths["picture"], picture)
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["train", "soft_labels"], writes=["metrics", "picture"]) as job:
        main(job)
