"""Show that matching logits is distillation at high temperature (Hinton et al., Sec. 2.1).

By Eq. 2 the gradient of the soft loss in a logit is (q - p) / T; for high T, and logits of zero
mean in every case, it becomes (z - v) / (C T^2) (Eq. 4), which is 1 / (C T^2) times the gradient
of half the squared distance of the logits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from pr12.core import determinism
from pr12.distill.data import digits
from pr12.distill.model import losses, mlp, saved_nets
from pr12.distill.params import GradientLimit as Params
from pr12.workflow import files, step


def zero_mean(logits: Tensor) -> Tensor:
    """Take from each case's logits (..., C) their mean, as the limit supposes."""
    return logits - logits.mean(dim=-1, keepdim=True)


def compare(first: Sequence[Tensor], second: Sequence[Tensor]) -> tuple[float, float]:
    """Return the cosine of two gradients and the ratio of their lengths.

    Parameters
    ----------
    first, second : sequence of Tensor
        Gradients of the same parameters.

    Returns
    -------
    cosine : float
        1 if they point the same way.
    ratio : float
        Length of the first over length of the second.

    Examples
    --------
    >>> compare([torch.tensor([2.0, 0.0])], [torch.tensor([1.0, 0.0])])
    (1.0, 2.0)
    """
    a, b = (torch.cat([part.flatten() for part in parts]) for parts in (first, second))
    return (a @ b / (a.norm() * b.norm())).item(), (a.norm() / b.norm()).item()


def gradients(
    module: mlp.MLP,
    parameters: dict[str, Tensor],
    images: Tensor,
    teacher_logits: Tensor,
    temperature: float | None,
) -> tuple[Tensor, ...]:
    """Return the gradient in a student's parameters of the soft loss, or of the logit loss.

    Parameters
    ----------
    module : MLP
        The structure.
    parameters : dict of str to Tensor
        One student's.
    images : Tensor
        Shape (N, D).
    teacher_logits : Tensor
        Shape (N, C).
    temperature : float or None
        T; None for the squared distance of logits, divided by C as in Eq. 4.
    """
    parameters = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    z, v = zero_mean(functional_call(module, parameters, (images,))), zero_mean(teacher_logits)
    if temperature is None:
        loss = losses.logit_loss(z, v) / v.shape[-1]
    else:
        loss = losses.soft_loss(z, losses.soften(v, temperature), temperature)
    return torch.autograd.grad(loss, list(parameters.values()))


def main(job: step.Job) -> None:
    """Compare both gradients at every temperature, for every student."""
    determinism.deterministic()
    params, paths = job.params, job.paths
    train, stacked = digits.load(paths["train"]), saved_nets.load(paths["model"])
    saved_nets.check_fit(paths["model"], stacked, train)
    module = mlp.restore(stacked).double()  # at high T the soft loss's gradient is a tiny
    images = train.images[: params.examples].flatten(1).double()
    classes = module.layers[-1].weight.shape[1]
    logits = digits.soft_labels(paths["soft_labels"], train.labels, classes).mean(dim=0)
    teacher_logits = logits[: params.examples].double()  # difference of nearly equal numbers
    values: dict[str, list[float]] = {}
    for replica in range(len(next(iter(stacked.values())))):
        student = {name: value[replica].double() for name, value in stacked.items()}
        matching = gradients(module, student, images, teacher_logits, None)
        for t in params.temperatures:
            soft = gradients(module, student, images, teacher_logits, t)
            cosine, ratio = compare(soft, matching)
            values.setdefault(f"train/cosine_T{t:g}", []).append(cosine)
            values.setdefault(f"train/ratio_T{t:g}", []).append(ratio)
    files.write_json(paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train", "soft_labels"], writes=["metrics"]) as job:
        main(job)
