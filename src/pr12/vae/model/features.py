"""The classifier whose last hidden units are the features of images in a Fréchet distance."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import determinism, tensor_files
from pr12.vae.model.networks import Parameters
from pr12.workflow.errors import UserError


def initial(widths: Sequence[int], seed: int) -> Parameters:
    """Draw the initial parameters: weights that keep the variance through ReLUs (He et al. 2015).

    Parameters
    ----------
    widths : sequence of int
        Pixels D, hidden units, classes C.
    seed : int
        Of the draw.

    Returns
    -------
    dict of str to Tensor
        ``<layer>.weight`` (inputs, outputs) and ``<layer>.bias`` (outputs), layers from 0.

    Examples
    --------
    >>> initial([784, 256, 64, 10], seed=0)["1.weight"].shape
    torch.Size([256, 64])
    """
    generator = determinism.generator(seed, "init")
    parameters = {}
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        bound = math.sqrt(6 / inputs)
        drawn = torch.empty(inputs, outputs).uniform_(-bound, bound, generator=generator)
        parameters |= {f"{index}.weight": drawn, f"{index}.bias": torch.zeros(outputs)}
    return {name: value.to(determinism.device()) for name, value in parameters.items()}


def features(parameters: Parameters, x: Tensor) -> Tensor:
    """Return the last hidden units, after their ReLU.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `initial` makes them.
    x : Tensor
        Images as rows of pixels, shape (N, D).

    Returns
    -------
    Tensor
        Shape (N, F).

    Examples
    --------
    >>> features(initial([9, 5, 4, 3], seed=0), torch.zeros(2, 9)).shape
    torch.Size([2, 4])
    """
    for index in range(len(parameters) // 2 - 1):
        weight, bias = parameters[f"{index}.weight"], parameters[f"{index}.bias"]
        x = functional.relu(torch.addmm(bias, x, weight))
    return x


def logits(parameters: Parameters, x: Tensor) -> Tensor:
    """Return the classes' logits.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `initial` makes them.
    x : Tensor
        Images as rows of pixels, shape (N, D).

    Returns
    -------
    Tensor
        Shape (N, C).

    Examples
    --------
    >>> logits(initial([9, 5, 4, 3], seed=0), torch.zeros(2, 9)).shape
    torch.Size([2, 3])
    """
    last = len(parameters) // 2 - 1
    weight, bias = parameters[f"{last}.weight"], parameters[f"{last}.bias"]
    return torch.addmm(bias, features(parameters, x), weight)


def load(path: Path | str, pixels: int) -> Parameters:
    """Read a classifier, on the device that computes.

    Parameters
    ----------
    path : Path or str
        As `pr12.vae.classifier` wrote it.
    pixels : int
        D of the images whose features are wanted.

    Raises
    ------
    UserError
        If the file is no classifier, or one of images of another size.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "classifier.safetensors"
    >>> tensor_files.write_tensors(path, initial([4, 3, 2], seed=0))
    >>> sorted(load(path, pixels=4))
    ['0.bias', '0.weight', '1.bias', '1.weight']
    >>> load(path, pixels=9)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: ...classifier.safetensors classifies images of 4 pixels and \
the data have 9; give it the data that it was trained on
    """
    parameters = tensor_files.read_tensors(path)
    layers = range(len(parameters) // 2)
    names = {f"{index}.{part}" for index in layers for part in ("weight", "bias")}
    if len(layers) < 2 or parameters.keys() != names:
        raise UserError(f"{path} is no classifier; give a file that vae.classifier wrote")
    weights = [parameters[f"{index}.weight"] for index in layers]
    biases = [parameters[f"{index}.bias"] for index in layers]
    flat = all(weight.dim() == 2 for weight in weights)
    if not flat or any(w.shape[1:] != b.shape for w, b in zip(weights, biases, strict=True)):
        raise UserError(f"{path} is no classifier; give a file that vae.classifier wrote")
    if any(one.shape[1] != other.shape[0] for one, other in pairwise(weights)):
        raise UserError(f"{path} has layers that do not follow each other; train it anew")
    inputs = weights[0].shape[0]
    if inputs != pixels:
        raise UserError(
            f"{path} classifies images of {inputs} pixels and the data have {pixels}; "
            "give it the data that it was trained on"
        )
    return {name: value.to(determinism.device()) for name, value in parameters.items()}
