"""What figures draw of nets and their inputs, as JSON can hold it."""

import base64
import io
from typing import Any

from PIL import Image
from torch import Tensor

from pr12.workflow.errors import UserError

DECIMALS = 4  # of transformers' parameters and of places


def levels(images: Tensor) -> list:
    """Return pixels of 0 to 1 as whole numbers to 255, in nested lists of the same shape.

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


def png(image: Tensor) -> str:
    """Return an image as a PNG file in base64.

    Parameters
    ----------
    image : Tensor
        uint8, shape (3, H, W).

    Examples
    --------
    >>> import torch
    >>> png(torch.zeros(3, 8, 8).byte())[:11]  # how every PNG file begins
    'iVBORw0KGgo'
    """
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def rounded(rows: Tensor) -> list[list[float]]:
    """Return rows of numbers with four decimals.

    Examples
    --------
    >>> import torch
    >>> rounded(torch.tensor([[0.33333, 1.0]]))
    [[0.3333, 1.0]]
    """
    return [[round(value, DECIMALS) for value in row] for row in rows.tolist()]


def grids_in_training(history: Any, distortion: str, seed: int) -> dict[str, Any] | None:
    """Return the grids of a net during its training, for the animation.

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
    pr12.workflow.errors.UserError: history does not list the net R/0; give the history \
of the same model
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
        raise UserError(
            f"history does not list the net {name}; give the history of the same model"
        ) from None
