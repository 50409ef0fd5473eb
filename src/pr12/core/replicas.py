"""Train all seeds of a case at once: stacked parameters, one `torch.func.vmap` call a layer.

Every replica has its own initial parameters and its own random streams, and the sum of the
replicas' losses has, for each replica, the gradient of its own loss alone: a replica learns the
same in a stack as by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from pr12.core import determinism

# Wider nets fill the cores alone, and a stack of them only leaves the cache: measured by
# benchmarks/stacked.py.
WIDEST_STACKED = 512


def groups(seeds: Sequence[int], widest: int) -> list[tuple[int, ...]]:
    """Divide seeds into the stacks that train together: all at once, or one by one if wide.

    Parameters
    ----------
    seeds : sequence of int
        All seeds of a case.
    widest : int
        Units of the widest layer.

    Examples
    --------
    >>> groups([0, 1, 2], widest=300), groups([0, 1], widest=1200)
    ([(0, 1, 2)], [(0,), (1,)])
    """
    if widest <= WIDEST_STACKED:
        return [tuple(seeds)]
    return [(seed,) for seed in seeds]


def stack(
    build: Callable[[torch.Generator], nn.Module], seeds: Sequence[int]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Build one net per seed and stack their parameters.

    Parameters
    ----------
    build : callable
        Makes a net whose initial parameters come from the generator that it is given.
    seeds : sequence of int
        One per replica, S in all.

    Returns
    -------
    module : nn.Module
        The structure, to be called with `forward`.
    parameters : dict of str to Tensor
        Each of shape (S, ...), on `determinism.device()`, asking for gradients.

    Examples
    --------
    >>> def build(generator):
    ...     net = nn.Linear(2, 1)
    ...     nn.init.normal_(net.weight, generator=generator)
    ...     return net
    >>> module, parameters = stack(build, [0, 1, 2])
    >>> parameters["weight"].shape
    torch.Size([3, 1, 2])
    """
    nets = [build(determinism.generator(seed, "init")) for seed in seeds]
    stacked, _ = stack_module_state(nets)
    where = determinism.device()
    parameters = {
        name: value.detach().to(where).requires_grad_() for name, value in stacked.items()
    }
    return nets[0].to(where), parameters


def forward(module: nn.Module, parameters: dict[str, Tensor], *inputs: Any) -> Tensor:
    """Call every replica with its own inputs.

    Parameters
    ----------
    module : nn.Module
        The structure, as given by `stack`.
    parameters : dict of str to Tensor
        Each of shape (S, ...).
    *inputs : Tensor or tuple of Tensor or None
        Each tensor of shape (S, ...).

    Returns
    -------
    Tensor
        Outputs, shape (S, ...).

    Examples
    --------
    >>> parameters = {"weight": torch.ones(3, 1, 2), "bias": torch.zeros(3, 1)}
    >>> forward(nn.Linear(2, 1), parameters, torch.ones(3, 5, 2)).shape
    torch.Size([3, 5, 1])
    """
    dims = tuple(None if value is None else 0 for value in inputs)

    def call(parameters: dict[str, Tensor], *values: Any) -> Tensor:
        return functional_call(module, parameters, values)

    return vmap(call, in_dims=(0, *dims))(parameters, *inputs)


def forward_shared(
    module: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, batch: int = 1000
) -> Tensor:
    """Call every replica with the same inputs, without gradients, a batch at a time.

    Parameters
    ----------
    module : nn.Module
        The structure.
    parameters : dict of str to Tensor
        Each of shape (S, ...).
    inputs : Tensor
        Shape (N, ...).
    batch : int
        Examples at a time, which bounds the memory.

    Returns
    -------
    Tensor
        Outputs, shape (S, N, ...).

    Examples
    --------
    >>> parameters = {"weight": torch.ones(3, 1, 2), "bias": torch.zeros(3, 1)}
    >>> forward_shared(nn.Linear(2, 1), parameters, torch.ones(5, 2)).shape
    torch.Size([3, 5, 1])
    """
    with torch.inference_mode():
        call = vmap(lambda weights, x: functional_call(module, weights, (x,)), in_dims=(0, None))
        return torch.cat([call(parameters, part) for part in inputs.split(batch)], dim=1)


def permutations(generators: Sequence[torch.Generator], n: int) -> Tensor:
    """Draw for each replica its own order of n examples.

    Parameters
    ----------
    generators : sequence of torch.Generator
        One per replica, all on one device.
    n : int
        Number of examples.

    Returns
    -------
    Tensor
        int64, shape (S, n).

    Examples
    --------
    >>> generators = [determinism.generator(seed, "shuffle") for seed in (0, 1)]
    >>> permutations(generators, 4).shape
    torch.Size([2, 4])
    """
    return torch.stack([torch.randperm(n, generator=g, device=g.device) for g in generators])
