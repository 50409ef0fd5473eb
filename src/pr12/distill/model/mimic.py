"""The student of model compression: a net with one hidden layer that mimics an ensemble.

Bucila et al. (2006), Sec. 5: 128 hidden units for the curves, 256 for the final table.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MimicNet(nn.Module):
    """A net of one tanh layer and a sigmoid output.

    Parameters
    ----------
    inputs, hidden : int
        Number of inputs and of hidden units.
    generator : torch.Generator
        Stream of the initial weights, normal with standard deviation 1 / sqrt(units before).

    Examples
    --------
    >>> MimicNet(3, 128, torch.Generator())(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    def __init__(self, inputs: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        # Weights are (in, out): under vmap, nn.Linear's layout costs a copy at every step.
        self.w1 = nn.Parameter(torch.randn(inputs, hidden, generator=generator) / inputs**0.5)
        self.b1 = nn.Parameter(torch.zeros(hidden))
        self.w2 = nn.Parameter(torch.randn(hidden, 1, generator=generator) / hidden**0.5)
        self.b2 = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the probability of the positive class, (B,), of inputs (B, D)."""
        hidden = torch.tanh(torch.addmm(self.b1, inputs, self.w1))
        return torch.sigmoid(torch.addmm(self.b2, hidden, self.w2)).squeeze(-1)


def forward(parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Return the probabilities of stacked nets, each on its own inputs.

    To the bit what `pr12.core.replicas.forward` gives of a `MimicNet`, and its gradients, faster.

    Parameters
    ----------
    parameters : mapping of str to Tensor
        Of a `MimicNet`, stacked: each (nets, ...).
    inputs : Tensor
        Shape (nets, B, D).

    Returns
    -------
    Tensor
        Shape (nets, B).

    Examples
    --------
    >>> stacked = {n: v[None] for n, v in MimicNet(3, 4, torch.Generator()).state_dict().items()}
    >>> forward(stacked, torch.zeros(1, 5, 3)).shape
    torch.Size([1, 5])
    """
    w1, b1, w2, b2 = (parameters[name] for name in ("w1", "b1", "w2", "b2"))
    hidden = torch.tanh(torch.bmm(inputs, w1) + b1.unsqueeze(1))
    return torch.sigmoid(torch.bmm(hidden, w2) + b2.unsqueeze(1)).squeeze(-1)


def rmse(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the root-mean-square error of probabilities, the paper's measure.

    Parameters
    ----------
    probabilities : Tensor
        Shape (..., N).
    targets : Tensor
        0 or 1, or an ensemble's probabilities, shape (N,).

    Returns
    -------
    Tensor
        Shape (...).

    Examples
    --------
    >>> rmse(torch.tensor([[0.9, 0.1], [0.5, 0.5]]), torch.tensor([1, 0]))
    tensor([0.1000, 0.5000])
    """
    return (probabilities - targets).square().mean(dim=-1).sqrt()


def batch_order(sizes: list[int], length: int, streams: list[torch.Generator]) -> Tensor:
    """Draw each net's order of examples: permutations of its first `size` points, end to end.

    Parameters
    ----------
    sizes : list of int
        One per net.
    length : int
        Examples to draw.
    streams : list of torch.Generator
        One per net.

    Returns
    -------
    Tensor
        int64, shape (nets, length).

    Examples
    --------
    >>> batch_order([2], 4, [torch.Generator()]).sort().values
    tensor([[0, 0, 1, 1]])
    """
    orders = []
    for size, stream in zip(sizes, streams, strict=True):
        passes = [
            torch.randperm(size, generator=stream, device=stream.device)
            for _ in range(-(-length // size))
        ]
        orders.append(torch.cat(passes)[:length])
    return torch.stack(orders)
