"""Nets of PR-009: fully connected, as Hinton, Vinyals & Dean (2015) describe them."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """An affine layer whose weight is kept as (in, out).

    `nn.Linear` keeps (out, in); under `vmap` that layout costs a transposed copy of every
    weight at every step (measured: a third of the step's time at 1200 units).

    Parameters
    ----------
    inputs, outputs : int
        Number of units.
    generator : torch.Generator
        Stream of the initial weights, He normal: standard deviation sqrt(2 / inputs).
    """

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        scale = (2 / inputs) ** 0.5
        self.weight = nn.Parameter(torch.randn(inputs, outputs, generator=generator) * scale)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, in) to (B, out)."""
        return torch.addmm(self.bias, inputs, self.weight)


class MLP(nn.Module):
    """A multi-layer perceptron of ReLU units that gives logits.

    Parameters
    ----------
    inputs : int
        Number of pixels.
    hidden : sequence of int
        Units of each hidden layer.
    outputs : int
        Number of classes.
    bottleneck : int
        Linear units between the input and the first hidden layer (Ba & Caruana 2014, Sec. 2.4:
        W is factorised into U V); 0 for none.
    generator : torch.Generator
        Stream of the initial weights.

    Examples
    --------
    The student of Sec. 3 has 784-800-800-10 units:

    >>> net = MLP(784, (800, 800), 10, 0, torch.Generator())
    >>> parameter_count(net)
    1276810
    >>> net(torch.zeros(5, 784)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        bottleneck: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.bottleneck = Linear(inputs, bottleneck, generator) if bottleneck else None
        sizes = [bottleneck or inputs, *hidden, outputs]
        self.layers = nn.ModuleList(
            Linear(before, after, generator) for before, after in itertools.pairwise(sizes)
        )

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return logits (B, C) of flat images (B, D).

        `masks` are the dropout masks of the input and of each hidden layer, drawn outside (each
        replica of a stack has its own stream), already scaled by 1 / (1 - rate).
        """
        values = images if masks is None else images * masks[0]
        if self.bottleneck is not None:
            values = self.bottleneck(values)
        for index, layer in enumerate(self.layers[:-1], start=1):
            values = functional.relu(layer(values))
            if masks is not None:
                values = values * masks[index]
        return self.layers[-1](values)


def forward(
    parameters: Mapping[str, Tensor], images: Tensor, masks: Sequence[Tensor] | None = None
) -> Tensor:
    """Return the logits of stacked nets, each on its own images.

    To the bit what `pr12.core.replicas.forward` gives of an `MLP`, and its gradients, without the
    cost of `vmap`, which is half of a step of small nets (benchmarks/training_steps.py).

    Parameters
    ----------
    parameters : mapping of str to Tensor
        Of an `MLP`, stacked: each (S, ...).
    images : Tensor
        Flat, shape (S, B, D).
    masks : sequence of Tensor, optional
        Dropout masks of the input and of each hidden layer, (S, B, units), as `MLP.forward` takes.

    Returns
    -------
    Tensor
        Shape (S, B, C).

    Examples
    --------
    >>> net = MLP(4, (3,), 2, 0, torch.Generator())
    >>> stacked = {name: value[None] for name, value in net.state_dict().items()}
    >>> forward(stacked, torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 2])
    """
    values = images if masks is None else images * masks[0]
    if "bottleneck.weight" in parameters:
        values = _affine(parameters, "bottleneck", values)
    last = sum(name.startswith("layers.") for name in parameters) // 2 - 1
    for index in range(last):
        values = functional.relu(_affine(parameters, f"layers.{index}", values))
        if masks is not None:
            values = values * masks[index + 1]
    return _affine(parameters, f"layers.{last}", values)


def _affine(parameters: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    product = torch.bmm(values, parameters[f"{name}.weight"])
    return product + parameters[f"{name}.bias"].unsqueeze(1)


def restore(parameters: Mapping[str, Tensor]) -> MLP:
    """Return the structure to which stacked parameters belong; their shapes tell it.

    Parameters
    ----------
    parameters : mapping of str to Tensor
        Of an `MLP`, stacked: each (S, ...).

    Examples
    --------
    >>> net = MLP(4, (3,), 2, 0, torch.Generator())
    >>> stacked = {name: value[None] for name, value in net.state_dict().items()}
    >>> [tuple(layer.weight.shape) for layer in restore(stacked).layers]
    [(4, 3), (3, 2)]
    """
    count = sum(name.endswith(".weight") and name.startswith("layers.") for name in parameters)
    shapes = [parameters[f"layers.{i}.weight"].shape[1:] for i in range(count)]
    narrow = parameters.get("bottleneck.weight")
    inputs, bottleneck = (shapes[0][0], 0) if narrow is None else narrow.shape[1:]
    hidden = [shape[1] for shape in shapes[:-1]]
    return MLP(inputs, hidden, shapes[-1][1], bottleneck, torch.Generator())


def parameter_count(net: nn.Module) -> int:
    """Count the numbers that training changes.

    Parameters
    ----------
    net : nn.Module
        Any net.

    Examples
    --------
    The teacher of Sec. 3 has 784-1200-1200-10 units:

    >>> parameter_count(MLP(784, (1200, 1200), 10, 0, torch.Generator()))
    2395210
    """
    return sum(parameter.numel() for parameter in net.parameters())


def scaled_widths(hidden: Sequence[int], width_scale: float) -> tuple[int, ...]:
    """Scale the paper's layer widths to the size of a run, at least 2 units each.

    Parameters
    ----------
    hidden : sequence of int
        Units of each hidden layer in the paper.
    width_scale : float
        1 in the full run.

    Examples
    --------
    >>> scaled_widths((800, 30), 0.1)
    (80, 3)
    """
    return tuple(max(2, round(width * width_scale)) for width in hidden)


def fold_scale(parameters: dict[str, Tensor], scale: Tensor, shift: Tensor) -> dict[str, Tensor]:
    """Fold an affine map of the logits into the last layer, so that nobody need remember it.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Of an `MLP`, stacked: each (S, ...).
    scale, shift : Tensor
        Shape (C,): logits become scale * logits + shift.

    Examples
    --------
    >>> last = {"layers.0.weight": torch.ones(1, 2, 2), "layers.0.bias": torch.ones(1, 2)}
    >>> fold_scale(last, torch.tensor([2.0, 3.0]), torch.zeros(2))["layers.0.bias"]
    tensor([[2., 3.]])
    """
    last = max(int(name.split(".")[1]) for name in parameters if name.startswith("layers."))
    weight, bias = f"layers.{last}.weight", f"layers.{last}.bias"
    folded = {weight: parameters[weight] * scale, bias: parameters[bias] * scale + shift}
    return parameters | folded
