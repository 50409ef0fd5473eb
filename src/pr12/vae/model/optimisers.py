"""One ascent step of Adagrad (the paper's) or Adam, on stacked parameters.

torch's own computations, called as functions: `torch.optim.Optimizer` would import a compiler that
costs every job a second.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam

from pr12.vae.model.networks import Parameters


def start(parameters: Parameters, name: Literal["adagrad", "adam"]) -> dict[str, Any]:
    """Return the state before the first step.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Any shapes.
    name : {"adagrad", "adam"}
        Which optimiser.

    Examples
    --------
    >>> sorted(start({"a": torch.zeros(2)}, "adagrad"))
    ['steps', 'sums']
    """
    names = ("sums",) if name == "adagrad" else ("means", "squares")
    state = {key: [torch.zeros_like(value) for value in parameters.values()] for key in names}
    where = next(iter(parameters.values())).device
    return state | {"steps": [torch.zeros((), device=where) for _ in parameters]}


def descend(
    parameters: Parameters,
    gradients: Sequence[Tensor],
    state: dict[str, Any],
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """Change the parameters in place by one step down the gradients.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Changed in place.
    gradients : sequence of Tensor
        In the order of `parameters`.
    state : dict
        From `start`, which says by its keys which optimiser it belongs to; changed in place.
    learning_rate : float
        Step size.
    weight_decay : float
        Coefficient of the parameters that is added to their gradients: 1 / N for the prior
        N(0, I) of the parameters when the gradients are of a mean over N data points (Sec. 5).
    betas, epsilon : (float, float), float
        Adam's only.

    Examples
    --------
    >>> parameters = {"a": torch.zeros(1)}
    >>> state = start(parameters, "adagrad")
    >>> descend(parameters, [torch.full((1,), 4.0)], state, 0.1, 0.0, (0.9, 0.999), 1e-8)
    >>> parameters["a"]  # the first step of Adagrad has the length of the step size
    tensor([-0.1000])
    """
    values, gradients = [value.detach() for value in parameters.values()], list(gradients)
    on_cpu = values[0].device.type == "cpu"
    if "sums" in state:
        adagrad(
            values, gradients, state["sums"], state["steps"], fused=on_cpu, has_sparse_grad=False,
            foreach=not on_cpu, differentiable=False, has_complex=False, lr=learning_rate,
            weight_decay=weight_decay, lr_decay=0.0, eps=1e-10, maximize=False,
        )  # fmt: skip
    else:
        adam(
            values, gradients, state["means"], state["squares"], [], state["steps"],
            foreach=False, capturable=False, differentiable=False, fused=True, grad_scale=None,
            found_inf=None, has_complex=False, decoupled_weight_decay=False, amsgrad=False,
            beta1=betas[0], beta2=betas[1], lr=learning_rate, weight_decay=weight_decay,
            eps=epsilon, maximize=False,
        )  # fmt: skip


def rate(
    schedule: Literal["constant", "linear", "stages"], learning_rate: float, epoch: int, epochs: int
) -> float:
    """Return the step size of an epoch.

    Parameters
    ----------
    schedule : {"constant", "linear", "stages"}
        Constant; falling linearly to 0; or in stages (Burda et al. 2015: 3^i epochs at 10^(-i/7)
        of the first, i = 0, 1, ...).
    learning_rate : float
        The first.
    epoch, epochs : int
        Which, counted from 0, of how many.

    Examples
    --------
    >>> [round(rate("stages", 1.0, epoch, 13), 2) for epoch in (0, 1, 3, 4, 12)]
    [1.0, 0.72, 0.72, 0.52, 0.52]
    """
    if schedule == "linear":
        return learning_rate * (1 - epoch / epochs)
    if schedule == "stages":
        stage = 0
        while epoch >= (3 ** (stage + 1) - 1) // 2:
            stage += 1
        return learning_rate * 10 ** (-stage / 7)
    return learning_rate
