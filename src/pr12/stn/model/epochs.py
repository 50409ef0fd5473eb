"""The history of trainings that go through their images epoch by epoch, seed by seed."""

from typing import Any


def row(seed: int, epoch: int, loss: float, wrong: float, batches: int) -> dict[str, Any]:
    """Return the row of an epoch.

    Parameters
    ----------
    seed, epoch : int
        Which seed, and which epoch of it, from 1.
    loss, wrong : float
        Sums over batches of the loss in nats and of the share that is wrong.
    batches : int
        How many.

    Examples
    --------
    >>> row(0, 2, 3.0, 1.0, 2)
    {'seed': 0, 'epoch': 2, 'train/loss_nats': 1.5, 'train/error_percent': 50.0}
    """
    return {
        "seed": seed,
        "epoch": epoch,
        "train/loss_nats": loss / batches,
        "train/error_percent": 100 * wrong / batches,
    }


def place(seed: int, epoch: int, history: list[dict[str, Any]]) -> str:
    """Return where a training is that is lost, for the message.

    Parameters
    ----------
    seed, epoch : int
        Which seed, and which epoch of it, from 1.
    history : list of dict
        The rows before.

    Examples
    --------
    >>> place(0, 3, [row(0, 2, 3.0, 1.0, 2)])
    'in epoch 3 of seed 0 (loss before: 1.5)'
    """
    last = f"{history[-1]['train/loss_nats']:.4g}" if history else "none"
    return f"in epoch {epoch} of seed {seed} (loss before: {last})"


def describe(state: dict[str, Any]) -> str:
    """Return the last row of the history as a line.

    Parameters
    ----------
    state : dict
        Of a training.

    Examples
    --------
    >>> describe({"history": [row(0, 2, 3.0, 1.0, 2)]})
    'seed 0 epoch 2  loss 1.500 nats  error 50.0 %'
    """
    last = state["history"][-1]
    return (
        f"seed {last['seed']} epoch {last['epoch']}  loss {last['train/loss_nats']:.3f} nats  "
        f"error {last['train/error_percent']:.1f} %"
    )
