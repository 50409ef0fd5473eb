"""Import torchvision also where its compiled operators cannot load.

The registry's torchvision wheel is built for CUDA. Beside a CPU-only torch its operator library
does not load, and ``import torchvision`` raises because it registers shapes for two operators
that nobody declared. Declaring both is enough for all that this project uses (data sets, models,
transforms); calling them would still fail, as it should.
"""

import importlib
import sys
from types import ModuleType

import torch

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a Library's declarations live as long as it does


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring its two operators only if they are missing.

    Returns
    -------
    module
        ``torchvision``.

    Examples
    --------
    >>> import_torchvision().datasets.MNIST.__name__
    'MNIST'
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # the failed import left halves of modules behind
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in OPERATORS:
        library.define(schema)
    _declared.append(library)
    return importlib.import_module("torchvision")
