"""The state of a training: written, read, restored and checked, so that a kill costs little.

Every training resumes by `resumed`: it yields its whole state now and then, which is written to a
file beside the step's output, and begins from such a state as well as from nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pr12.core import determinism
from pr12.workflow import address, files, progress, step
from pr12.workflow.errors import UserError

State = dict[str, Any]


def fingerprint(job: step.Job) -> str:
    """Return the digest of all that a step's result depends on: source, params, bytes of inputs.

    Parameters
    ----------
    job : Job
        Of the step. Where its files lie does not count.
    """
    provenance = job.provenance()
    inputs = {name: entry["sha256"] for name, entry in provenance["inputs"].items()}
    return address.digest(job.module, provenance["source"], provenance["params"], inputs)


def resumed(
    job: step.Job,
    train: Callable[[State | None], Iterator[State]],
    total: int,
    describe: Callable[[State], str],
    done: Callable[[State], int],
    name: str = "resume.pt",
) -> State:
    """Run a training from its last checkpoint to its end.

    Parameters
    ----------
    job : Job
        The checkpoint lies beside its outputs, and is removed when they are written.
    train : callable
        From a state, or from None the beginning, it yields the states that follow.
    total : int
        How many states there are in all, for the progress.
    describe : callable
        A state in a line.
    done : callable
        How many of `total` were reached at a state.
    name : str
        Of the checkpoint; a step with several trainings gives each a name that begins with resume.

    Returns
    -------
    dict
        The last state.
    """
    outputs = sorted(set(job.paths) - set(job.reads))
    path = job.paths[outputs[0]].with_name(name)
    job.checkpoints.append(path)
    digest = fingerprint(job)
    last = load_state(path, digest)
    states = train(last)
    for state in progress.follow(states, total, describe, done(last) if last else 0):
        save_state(path, state, digest)
        last = state
    return last


def save_state(path: Path, state: Mapping[str, Any], fingerprint: str) -> None:
    """Write the whole state of a training, so that a kill costs at most one epoch.

    Parameters
    ----------
    path : Path
        The checkpoint, beside the output.
    state : mapping
        Tensors, numbers and lists and dicts of them.
    fingerprint : str
        Digest of what the state depends on; `load_state` refuses another one's state.

    Raises
    ------
    UserError
        If the disk is full, or the place cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "resume.pt"
    >>> save_state(path, {"epoch": 2}, "abc")
    >>> load_state(path, "abc"), load_state(path, "other")
    ({'epoch': 2}, None)
    """
    try:
        with files.atomic(path) as temporary:
            torch.save({"fingerprint": fingerprint, "state": dict(state)}, temporary)
    except RuntimeError as error:  # torch's own writer does not say what the system said
        raise UserError(
            f"the checkpoint {path} cannot be written; free some space (df -h {path.parent}) and "
            "run the same command again: it goes on from the checkpoint before"
        ) from error


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
    """Return the states of all that draws: the order of images, and dropout on CPU and GPU.

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
