"""Where a step computes, and what makes it compute the same again: determinism, streams."""

import hashlib
import os

import torch


def device() -> torch.device:
    """Return the first CUDA device if there is one, else the CPU.

    Examples
    --------
    >>> device().type in ("cuda", "cpu")
    True
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def deterministic(but_sampling: bool = False) -> None:
    """Make the same params on the same machine give the same bytes.

    Parameters
    ----------
    but_sampling : bool
        Whether transformers are trained. On a GPU torch refuses `grid_sample`'s backward pass in
        deterministic mode, for the gradient of the sampled image is added up in any order. That of
        the grid is not, and in front of a net it is the only one asked for; transformers inside a
        net are the exception. So there torch only warns.

    Examples
    --------
    >>> deterministic()
    >>> torch.are_deterministic_algorithms_enabled()
    True
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS itself
    warns = but_sampling and device().type == "cuda"
    # The same as `use_deterministic_algorithms(True)`, which imports a compiler to tell it, too
    torch.set_deterministic_debug_mode("warn" if warns else "error")
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")


def generator(seed: int, purpose: str, where: torch.device | str = "cpu") -> torch.Generator:
    """Return a stream of random numbers that belongs to one seed and one purpose.

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
