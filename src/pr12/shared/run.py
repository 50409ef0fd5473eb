"""What a computing step needs of torch: device, determinism, streams, tensors, checkpoints."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pr12.shared import files
from pr12.shared.errors import UserError


def device() -> torch.device:
    """Give the first CUDA device if there is one, else the CPU.

    Examples
    --------
    >>> device().type in ("cuda", "cpu")
    True
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def deterministic() -> None:
    """Make the same params on the same machine give the same bytes.

    Examples
    --------
    >>> deterministic()
    >>> torch.are_deterministic_algorithms_enabled()
    True
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS itself
    # The same as `use_deterministic_algorithms(True)`, which imports a compiler to tell it, too
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")


def generator(seed: int, purpose: str, where: torch.device | str = "cpu") -> torch.Generator:
    """Give a stream of random numbers that belongs to one seed and one purpose.

    Parameters
    ----------
    seed : int
        The replica's seed.
    purpose : str
        Such as ``shuffle``; two purposes of one seed are independent streams.
    where : torch.device or str
        The device on which the numbers are drawn.

    Examples
    --------
    >>> a, b = generator(0, "shuffle"), generator(0, "dropout")
    >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
    False
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator(device=where).manual_seed(int.from_bytes(digest[:7], "big"))


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
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> write_tensors(path, {"x": torch.ones(2)}, {"unit": "nats"})
    >>> read_tensors(path)["x"].tolist(), read_metadata(path)
    ([1.0, 1.0], {'unit': 'nats'})
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with files.atomic(path) as temporary:
        # save_file would make a file that only its owner can read, useless to a group
        temporary.write_bytes(safetensors.torch.save(kept, metadata=dict(metadata or {})))


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
    pr12.shared.errors.UserError: /dev/null is not a safetensors file; delete it and run again
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
        saved = torch.load(path, map_location=device(), weights_only=True)
    except Exception:  # whatever is wrong with a checkpoint, training starts afresh
        return None
    if not isinstance(saved, dict) or saved.get("fingerprint") != fingerprint:
        return None
    return saved["state"]
