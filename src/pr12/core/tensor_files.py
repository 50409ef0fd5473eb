"""Named tensors in safetensors files."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from pr12.workflow import files
from pr12.workflow.errors import UserError


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors as safetensors.

    Parameters
    ----------
    path : Path or str
        The file.
    tensors : mapping of str to Tensor
        Any shapes and types; they are copied to the CPU.
    metadata : mapping of str to str, optional
        Texts kept beside them.

    Examples
    --------
    >>> import torch
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> write_tensors(path, {"x": torch.ones(2)}, {"unit": "nats"})
    >>> read_tensors(path)["x"].tolist(), read_metadata(path)
    ([1.0, 1.0], {'unit': 'nats'})
    """
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with files.atomic(path) as temporary:
        # save_file would make a file that only its owner can read, useless to a group
        temporary.write_bytes(safetensors.torch.save(copies, metadata=dict(metadata or {})))


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    UserError
        If it is missing or not safetensors.

    Examples
    --------
    >>> read_tensors("/dev/null")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: /dev/null is not a safetensors file; delete it and run again
    """
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise UserError(f"cannot read {path}: no such file") from None
    except (safetensors.SafetensorError, OSError):
        raise UserError(f"{path} is not a safetensors file; delete it and run again") from None


def read_metadata(path: Path | str) -> dict[str, str]:
    """Read the texts kept beside the tensors of a safetensors file.

    Parameters
    ----------
    path : Path or str
        The file; it must exist.

    Examples
    --------
    See `write_tensors`.
    """
    with safetensors.safe_open(path, framework="pt") as stream:
        return stream.metadata() or {}
