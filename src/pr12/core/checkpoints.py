"""The state of a training: written, read, restored and checked, so that a kill costs little."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pr12.core import determinism
from pr12.workflow import files
from pr12.workflow.errors import UserError


def save_state(path: Path | str, state: Mapping[str, Any], fingerprint: str) -> None:
    """Write the whole state of a training, so that a kill costs at most one epoch.

    Parameters
    ----------
    path : Path or str
        The checkpoint, beside the output.
    state : mapping
        Tensors, numbers and lists and dicts of them.
    fingerprint : str
        Digest of params and code; `load_state` refuses another one's state.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "resume.pt"
    >>> save_state(path, {"epoch": 2}, "abc")
    >>> load_state(path, "abc"), load_state(path, "other")
    ({'epoch': 2}, None)
    """
    with files.atomic(path) as temporary:
        torch.save({"fingerprint": fingerprint, "state": dict(state)}, temporary)


def load_state(path: Path | str, fingerprint: str) -> dict[str, Any] | None:
    """Read a training's state if there is one and it belongs to these params and this code.

    Parameters
    ----------
    path : Path or str
        The checkpoint.
    fingerprint : str
        As given to `save_state`.

    Examples
    --------
    >>> load_state("/nowhere/resume.pt", "abc") is None
    True
    """
    if not Path(path).is_file():
        return None
    try:
        saved = torch.load(path, map_location=determinism.device(), weights_only=True)
    except Exception:  # whatever is wrong with a checkpoint, training starts afresh
        return None
    if not isinstance(saved, dict) or saved.get("fingerprint") != fingerprint:
        return None
    return saved["state"]


def streams(shuffle: torch.Generator) -> list[Tensor]:
    """Give the states of all that draws: the order of images, and dropout on CPU and GPU.

    Parameters
    ----------
    shuffle : torch.Generator
        Of the order.

    Examples
    --------
    >>> len(streams(torch.Generator())) == (3 if torch.cuda.is_available() else 2)
    True
    """
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return [shuffle.get_state(), torch.get_rng_state(), *cuda]


def set_streams(saved: list[Tensor], shuffle: torch.Generator) -> None:
    """Go on drawing where `streams` was called.

    Parameters
    ----------
    saved : list of Tensor
        What it gave.
    shuffle : torch.Generator
        Of the order; changed in place, as torch's own streams are.

    Examples
    --------
    >>> stream = torch.Generator()
    >>> before, drawn = streams(stream), torch.rand(1, generator=stream)
    >>> set_streams(before, stream)
    >>> torch.equal(torch.rand(1, generator=stream), drawn)
    True
    """
    shuffle.set_state(saved[0].cpu())
    torch.set_rng_state(saved[1].cpu())
    if len(saved) > 2 and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved[2].cpu())


def check_parameters(net: nn.Module, place: str) -> None:
    """Stop a training whose last step has left the numbers; no loss tells of that step.

    Parameters
    ----------
    net : nn.Module
        In training.
    place : str
        Where it stands, for the message.

    Raises
    ------
    UserError
        If a parameter is not finite.

    Examples
    --------
    >>> net = nn.Linear(1, 1)
    >>> check_parameters(net, "at R, seed 0, epoch 1.00")
    >>> _ = nn.init.constant_(net.bias, float("nan"))
    >>> check_parameters(net, "at R, seed 0, epoch 1.00")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: the net's parameters are not finite at R, seed 0, epoch 1.00; \
lower learning_rate and run again
    """
    if not all(bool(torch.isfinite(value).all()) for value in net.parameters()):
        raise UserError(
            f"the net's parameters are not finite {place}; lower learning_rate and run again"
        )
