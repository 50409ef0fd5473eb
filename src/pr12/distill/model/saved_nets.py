"""The nets that a training wrote: read, checked, and asked for their answers."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pr12.core import determinism, replicas, tensor_files
from pr12.data.splits import Split
from pr12.distill.data import digits
from pr12.distill.model import mlp
from pr12.workflow.errors import UserError


def load(path: Path | str) -> dict[str, Tensor]:
    """Return the stacked parameters of a file of nets, each (S, ...).

    Parameters
    ----------
    path : Path or str
        As `pr12.distill.train` wrote it.

    Raises
    ------
    UserError
        If the file holds anything else, or parameters that are not finite.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> tensor_files.write_tensors(path, {"images": torch.zeros(5, 8, 8)})
    >>> load(path)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: ...model.safetensors holds no nets; give a file that \
distill.train wrote
    """
    parameters = tensor_files.read_tensors(path)
    try:
        expected = {n: value.shape for n, value in mlp.restore(parameters).state_dict().items()}
        stacks = {value.shape[0] for value in parameters.values()}
    except (IndexError, KeyError, TypeError, ValueError, RuntimeError):
        expected, stacks = {}, set()
    shapes = {name: value.shape[1:] for name, value in parameters.items()}
    if shapes != expected or len(stacks) != 1 or 0 in stacks:
        raise UserError(f"{path} holds no nets; give a file that distill.train wrote")
    if not all(bool(torch.isfinite(value).all()) for value in parameters.values()):
        raise UserError(f"{path} has parameters that are no finite numbers; train it anew")
    return parameters


def check_fit(path: Path | str, parameters: Mapping[str, Tensor], split: Split) -> None:
    """Check that nets take a split's images and know its labels.

    Parameters
    ----------
    path : Path or str
        Of the nets, for the message.
    parameters : mapping of str to Tensor
        As `load` gives them.
    split : Split
        What the nets are to answer.

    Raises
    ------
    UserError
        If images have another number of pixels than the nets, or a label is no class of theirs.
    """
    net = mlp.restore(parameters)
    first, last = net.bottleneck or net.layers[0], net.layers[-1]
    pixels, classes = split.images[0].numel(), int(split.labels.max()) + 1
    if first.weight.shape[0] != pixels:
        raise UserError(
            f"{path} was trained on images of {first.weight.shape[0]} pixels and the data have "
            f"{pixels}; give it the data of its own case"
        )
    if last.weight.shape[1] < classes:
        raise UserError(
            f"{path} knows {last.weight.shape[1]} classes and the data have {classes}; "
            "give it the data of its own case"
        )


def answers(path: Path | str, data: Mapping[str, Path]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what every net of a file answers on splits.

    Parameters
    ----------
    path : Path or str
        Of the nets.
    data : mapping of str to Path
        Name of a split -> its file.

    Returns
    -------
    dict of str to (Tensor, Tensor)
        Name -> logits (S, N, C) and labels (N,), on the CPU.

    Raises
    ------
    UserError
        If a file is not what it should be, or the nets do not fit the data.
    """
    parameters = load(path)
    module = mlp.restore(parameters)
    moved = {name: value.to(determinism.device()) for name, value in parameters.items()}
    logits = {}
    for name, file in data.items():
        split = digits.load(file)
        check_fit(path, parameters, split)
        images = split.images.flatten(1).to(determinism.device())
        logits[name] = replicas.forward_shared(module, moved, images).cpu(), split.labels
    return logits
