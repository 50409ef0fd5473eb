"""Losses of PR-009; equation numbers are those of Hinton, Vinyals & Dean (2015).

z are the student's logits, v the teacher's, T the temperature, p and q probabilities.
"""

import torch
from torch import Tensor
from torch.nn import functional


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Return the class probabilities at temperature T (Eq. 1).

    Parameters
    ----------
    logits : Tensor
        Shape (..., C).
    temperature : float
        T > 0; 1 is the usual softmax, infinity the uniform distribution.

    Examples
    --------
    >>> soften(torch.tensor([0.0, 2 * torch.log(torch.tensor(3.0))]), 2.0)
    tensor([0.2500, 0.7500])
    """
    return functional.softmax(logits / temperature, dim=-1)


def ensemble_probabilities(member_logits: Tensor, temperature: float, mean: str) -> Tensor:
    """Combine the members' distributions at temperature T into soft targets (Sec. 2).

    Parameters
    ----------
    member_logits : Tensor
        Shape (M, N, C).
    temperature : float
        T > 0.
    mean : str
        ``arithmetic`` or ``geometric``; the geometric mean, renormalised, is the softmax of the
        mean logits.

    Returns
    -------
    Tensor
        Probabilities, shape (N, C).

    Examples
    --------
    >>> members = torch.tensor([[[0.0, 0.0]], [[4.0, 0.0]]])
    >>> ensemble_probabilities(members, 1.0, "geometric")[0, 0] == torch.sigmoid(torch.tensor(2.0))
    tensor(True)
    """
    if mean == "geometric":
        return soften(member_logits.mean(dim=0), temperature)
    return soften(member_logits, temperature).mean(dim=0)


def soft_loss(logits: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy with soft targets at T, times T squared (Sec. 2).

    The factor keeps the gradient's size as T changes: it falls as 1 / T^2 otherwise.

    Parameters
    ----------
    logits : Tensor
        The student's z, shape (..., B, C).
    probabilities : Tensor
        Soft targets p, computed at the same T, same shape.
    temperature : float
        T > 0.

    Returns
    -------
    Tensor
        Mean over the batch in nats, shape (...).

    Examples
    --------
    >>> soft_loss(torch.zeros(1, 4), torch.full((1, 4), 0.25), 2.0) / 4  # ln 4
    tensor(1.3863)
    """
    log_q = functional.log_softmax(logits / temperature, dim=-1)
    return -(probabilities * log_q).sum(dim=-1).mean(dim=-1) * temperature**2


def hard_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy with the true labels at T = 1.

    Parameters
    ----------
    logits : Tensor
        Shape (..., B, C).
    labels : Tensor
        int64, shape (..., B).

    Returns
    -------
    Tensor
        Mean over the batch in nats, shape (...).

    Examples
    --------
    >>> hard_loss(torch.zeros(3, 4), torch.tensor([0, 1, 2]))
    tensor(1.3863)
    """
    log_q = functional.log_softmax(logits, dim=-1)
    return -log_q.gather(-1, labels.unsqueeze(-1)).squeeze(-1).mean(dim=-1)


def logit_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Return half the squared distance of the logits (Ba & Caruana 2014, Eq. 1).

    It is summed over classes, as in the paper; averaging would divide the gradient by C.

    Parameters
    ----------
    logits : Tensor
        The student's z, shape (..., B, C).
    teacher_logits : Tensor
        The teacher's v, same shape.

    Returns
    -------
    Tensor
        Mean over the batch, shape (...).

    Examples
    --------
    >>> logit_loss(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(2.)
    """
    return (logits - teacher_logits).square().sum(dim=-1).mean(dim=-1) / 2


def noisy_logits(
    logits: Tensor, fraction: float, sigma: float, generator: torch.Generator
) -> Tensor:
    """Perturb the teacher's logits: z' = (1 + xi) z (Sau & Balasubramanian 2016, Algorithm 1).

    Parameters
    ----------
    logits : Tensor
        Shape (B, C).
    fraction : float
        The paper's alpha: the chance that a sample is perturbed at all.
    sigma : float
        Standard deviation (not variance) of xi, drawn for every logit by itself.
    generator : torch.Generator
        The replica's stream of noise, on the logits' device.

    Examples
    --------
    >>> v = torch.ones(2, 3)
    >>> bool((noisy_logits(v, 0.0, 1.0, torch.Generator()) == v).all())
    True
    """
    xi = torch.randn(logits.shape, generator=generator, device=logits.device) * sigma
    chosen = torch.rand(len(logits), 1, generator=generator, device=logits.device) < fraction
    return logits * (1 + xi * chosen)
