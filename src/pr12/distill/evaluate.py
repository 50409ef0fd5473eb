"""Count the errors of a case's nets on validation and test data.

Where a class was missing from the transfer set, its output bias is corrected (Hinton et al.,
Sec. 3): by the shift that is best on validation data, and beside it the paper's way, which chose
the shift on the test set itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pr12.core import determinism, replicas, tensor_files
from pr12.data import splits
from pr12.distill.model import losses, mlp
from pr12.distill.params import Evaluate as Params
from pr12.workflow import files, step

SHIFTS = torch.arange(-200, 201) / 10  # the paper's shifts, 3.5 and -7.6, have one decimal


def count_errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the wrong answers of every replica.

    Parameters
    ----------
    logits : Tensor
        Shape (..., N, C).
    labels : Tensor
        int64, shape (N,).

    Returns
    -------
    Tensor
        int64, shape (...).

    Examples
    --------
    >>> count_errors(torch.eye(3), torch.tensor([0, 1, 1]))
    tensor(1)
    """
    return (logits.argmax(dim=-1) != labels).sum(dim=-1)


def shifted(logits: Tensor, classes: Sequence[int], shift: Tensor | float) -> Tensor:
    """Raise the bias of some classes by `shift`.

    Parameters
    ----------
    logits : Tensor
        Shape (N, C).
    classes : sequence of int
        Whose bias changes.
    shift : Tensor or float
        By how much, in units of the logits.

    Examples
    --------
    >>> shifted(torch.zeros(1, 3), [2], 3.5)
    tensor([[0.0000, 0.0000, 3.5000]])
    """
    raised = torch.zeros(logits.shape[-1])
    raised[list(classes)] = 1.0
    return logits + shift * raised


def best_shift(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    """Find the shift of some classes' bias that makes fewest errors; the smallest of equals.

    Parameters
    ----------
    logits : Tensor
        One replica's, shape (N, C).
    labels : Tensor
        int64, shape (N,).
    classes : sequence of int
        Whose bias changes.

    Examples
    --------
    >>> logits = torch.tensor([[2.05, 0.0], [2.05, 0.0]])
    >>> round(best_shift(logits, torch.tensor([1, 1]), [1]), 1)
    2.1
    """
    counts = torch.stack([count_errors(shifted(logits, classes, s), labels) for s in SHIFTS])
    smallest_first = SHIFTS.abs().argsort(stable=True)
    return SHIFTS[smallest_first[counts[smallest_first].argmin()]].item()


def errors_by_name(
    logits: Tensor, labels: Tensor, classes: Sequence[int], suffix: str
) -> dict[str, list[float]]:
    """Give errors in all, in percent, and on each of some classes, per replica.

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
    wrong = count_errors(logits, labels)
    found = {
        f"test/errors{suffix}": wrong.tolist(),
        f"test/error{suffix}_percent": (100 * wrong.double() / len(labels)).tolist(),
    }
    for c in classes:
        own = labels == c
        found[f"test/errors_class{c}{suffix}"] = count_errors(logits[:, own], labels[own]).tolist()
    return found


def metrics(
    validation_logits: Tensor,
    validation_labels: Tensor,
    test_logits: Tensor,
    test_labels: Tensor,
    bias_classes: Sequence[int],
) -> dict[str, list[float]]:
    """Give all metrics of a case, one value per replica.

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
    found = {
        "validation/errors": count_errors(validation_logits, validation_labels).tolist(),
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
            shifts = [best_shift(own, labels, bias_classes) for own in logits]
            pairs = zip(test_logits, shifts, strict=True)
            corrected = torch.stack([shifted(own, bias_classes, shift) for own, shift in pairs])
            suffix = f"_bias_{name}"
            found |= errors_by_name(corrected, test_labels, bias_classes, suffix)
            found[f"{name}/shift"] = shifts
    return found


def _nll(logits: Tensor, labels: Tensor) -> list[float]:
    return losses.hard_loss(logits.double(), labels.expand(logits.shape[:-1])).tolist()


def main(job: step.Job) -> None:
    """Evaluate every replica of the case."""
    determinism.deterministic()
    parameters = {
        n: v.to(determinism.device())
        for n, v in tensor_files.read_tensors(job.paths["model"]).items()
    }
    module = mlp.restore(parameters)
    logits, labels = {}, {}
    for name in ("validation", "test"):
        split = splits.load_split(job.paths[name])
        images = split.images.flatten(1).to(determinism.device())
        logits[name] = replicas.forward_shared(module, parameters, images).cpu()
        labels[name] = split.labels
    found = metrics(
        logits["validation"],
        labels["validation"],
        logits["test"],
        labels["test"],
        job.params.bias_classes,
    )
    files.write_json(job.paths["metrics"], {"metrics": found, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "validation", "test"], writes=["metrics"]) as job:
        main(job)
