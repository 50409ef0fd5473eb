"""What figures draw of nets and their inputs, as JSON can hold it."""

from typing import Any

from torch import Tensor

from pr12.shared.errors import UserError


def levels(images: Tensor) -> list:
    """Give pixels of 0 to 1 as whole numbers to 255, in nested lists of the same shape.

    Parameters
    ----------
    images : Tensor
        Any shape.

    Examples
    --------
    >>> import torch
    >>> levels(torch.tensor([0.0, 0.5, 1.0]))
    [0, 128, 255]
    """
    return (255 * images).round().int().tolist()


def grids_in_training(history: Any, distortion: str, seed: int) -> dict[str, Any] | None:
    """Give what a training kept of a net's grids, for the animation.

    Parameters
    ----------
    history : Any
        What `pr12.stn.train` wrote beside the nets.
    distortion, seed : str, int
        Which net.

    Returns
    -------
    dict or None
        ``inputs`` (N, S, S), 0 to 255; ``images_seen`` and ``grids``, one for each row of the
        history. None for a net whose grids were not kept.

    Raises
    ------
    UserError
        If the history is that of another training.

    Examples
    --------
    >>> grids_in_training({"history": {"R/0": [{"images_seen": 16}]}, "followed": {}}, "R", 0)
    >>> grids_in_training({"history": {}}, "R", 0)
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: history says nothing of the net R/0; give the model's own
    """
    try:
        rows = history["history"][f"{distortion}/{seed}"]
        if not rows[0].get("grids"):
            return None
        return {
            "inputs": history["followed"][distortion],
            "images_seen": [row["images_seen"] for row in rows],
            "grids": [row["grids"] for row in rows],
        }
    except (KeyError, TypeError, IndexError, AttributeError):
        name = f"{distortion}/{seed}"
        raise UserError(f"history says nothing of the net {name}; give the model's own") from None
