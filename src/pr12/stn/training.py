"""What all trainings with transformers share: determinism, streams and a check of the outcome."""

import torch
from torch import Tensor, nn

from pr12.shared import run
from pr12.shared.errors import UserError


def deterministic() -> None:
    """Make the same params on the same machine give the same bytes, as far as the sampler lets.

    On a GPU torch refuses `grid_sample`'s backward pass in deterministic mode, for the gradient of
    the sampled image is added up in any order. That of the grid is not, and in front of a net it is
    the only one asked for; transformers inside a net are the exception. So there torch only warns.

    Examples
    --------
    >>> deterministic()
    >>> torch.are_deterministic_algorithms_enabled()
    True
    """
    run.deterministic()
    if run.device().type == "cuda":
        torch.set_deterministic_debug_mode("warn")


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
    pr12.shared.errors.UserError: the net's parameters are not finite at R, seed 0, epoch 1.00; \
lower learning_rate and run again
    """
    if not all(bool(torch.isfinite(value).all()) for value in net.parameters()):
        raise UserError(
            f"the net's parameters are not finite {place}; lower learning_rate and run again"
        )
