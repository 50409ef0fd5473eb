"""The nets of a row of Table 1, in one file."""

import json
from pathlib import Path

import torch

from pr12.core import determinism, tensor_files
from pr12.stn.model import digit_networks
from pr12.workflow.errors import UserError


def load(path: Path | str) -> dict[tuple[str, int], digit_networks.Network]:
    """Return the nets that `pr12.stn.train` wrote.

    Parameters
    ----------
    path : Path or str
        The safetensors file.

    Returns
    -------
    dict
        (distortion, seed) -> net.

    Raises
    ------
    UserError
        If the file holds no such nets.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> tensor_files.write_tensors(path, {"R/0/weight": torch.zeros(1)})
    >>> load(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: ...model.safetensors holds no nets of pr12.stn.train; \
make it anew
    """
    tensors = tensor_files.read_tensors(path)
    try:
        built = json.loads(tensor_files.read_metadata(path)["built"])
        shape = [built[key] for key in ("network", "transform", "transformers", "pooling")]
        nets = {}
        for distortion in built["distortions"]:
            for seed in built["seeds"]:
                net = digit_networks.build(*shape, distortion, built["parameters"])
                prefix = f"{distortion}/{seed}/"
                own = {
                    key.removeprefix(prefix): value
                    for key, value in tensors.items()
                    if key.startswith(prefix)
                }
                net.load_state_dict(own, strict=True)
                net = net.to(determinism.device(), memory_format=torch.channels_last)
                nets[distortion, seed] = net.eval()
    except (KeyError, TypeError, ValueError, RuntimeError, UserError):
        nets = {}
    if not nets:
        raise UserError(f"{path} holds no nets of pr12.stn.train; make it anew")
    return nets
