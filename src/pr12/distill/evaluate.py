"""Count the errors of a case's nets on validation and test data.

Where a class was missing from the transfer set, its output bias is corrected (Hinton et al.,
Sec. 3): by the shift that is best on validation data, and beside it the paper's way, which chose
the shift on the test set itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.distill.model import biases, losses, saved_nets
from pr12.distill.params import Evaluate as Params
from pr12.workflow import files, step


def errors_by_name(
    logits: Tensor, labels: Tensor, classes: Sequence[int], suffix: str
) -> dict[str, list[float]]:
    """Return errors in all, in percent, and on each of some classes, per replica.

    Parameters
    ----------
    logits : Tensor
        Shape (S, N, C).
    labels : Tensor
        int64, shape (N,).
    classes : sequence of int
        Classes whose errors are also counted by themselves.
    suffix : str
        End of the metric keys, such as ``_bias_validation``.

    Examples
    --------
    >>> errors_by_name(torch.eye(2)[None], torch.tensor([0, 0]), [0], "")
    {'test/errors': [1], 'test/error_percent': [50.0], 'test/errors_class0': [1]}
    """
    wrong = biases.count_errors(logits, labels)
    values = {
        f"test/errors{suffix}": wrong.tolist(),
        f"test/error{suffix}_percent": (100 * wrong.double() / len(labels)).tolist(),
    }
    for c in classes:
        rows = labels == c
        wrong = biases.count_errors(logits[:, rows], labels[rows])
        values[f"test/errors_class{c}{suffix}"] = wrong.tolist()
    return values


def metrics(
    validation_logits: Tensor,
    validation_labels: Tensor,
    test_logits: Tensor,
    test_labels: Tensor,
    bias_classes: Sequence[int],
) -> dict[str, list[float]]:
    """Return all metrics of a case, one value per replica.

    Parameters
    ----------
    validation_logits, test_logits : Tensor
        Shape (S, N, C).
    validation_labels, test_labels : Tensor
        int64, shape (N,).
    bias_classes : sequence of int
        Classes whose output bias is corrected; empty for none.

    Examples
    --------
    >>> logits, labels = torch.eye(2)[None], torch.tensor([0, 1])
    >>> round(metrics(logits, labels, logits, labels, [])["test/nll_nats"][0], 4)
    0.3133
    """
    values = {
        "validation/errors": biases.count_errors(validation_logits, validation_labels).tolist(),
        "validation/nll_nats": _nll(validation_logits, validation_labels),
        "test/nll_nats": _nll(test_logits, test_labels),
        **errors_by_name(test_logits, test_labels, bias_classes, ""),
    }
    if bias_classes:
        chosen_on = {
            "validation": (validation_logits, validation_labels),
            "test": (test_logits, test_labels),
        }
        for name, (logits, labels) in chosen_on.items():
            shifts = [biases.best_shift(replica, labels, bias_classes) for replica in logits]
            pairs = zip(test_logits, shifts, strict=True)
            corrected = torch.stack([biases.shifted(z, bias_classes, shift) for z, shift in pairs])
            suffix = f"_bias_{name}"
            values |= errors_by_name(corrected, test_labels, bias_classes, suffix)
            values[f"{name}/shift"] = shifts
    return values


def _nll(logits: Tensor, labels: Tensor) -> list[float]:
    return losses.hard_loss(logits.double(), labels.expand(logits.shape[:-1])).tolist()


def main(job: step.Job) -> None:
    """Evaluate every replica of the case."""
    determinism.deterministic()
    data = {name: job.paths[name] for name in ("validation", "test")}
    answers = saved_nets.answers(job.paths["model"], data)
    bias_classes = job.params.bias_classes
    biases.check(bias_classes, {name: labels for name, (_, labels) in answers.items()})
    values = metrics(*answers["validation"], *answers["test"], bias_classes)
    files.write_json(job.paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "validation", "test"], writes=["metrics"]) as job:
        main(job)
