"""Make the file of photographs: pairs of content and style with masks, textures, and single ones.

`packages` are photographs that come with scikit-image and scikit-learn, with automatic masks;
`deep_photo_style` are four pairs that the authors of Deep Photo Style Transfer published
(github.com/luanfujun/deep-photo-styletransfer), with their masks and results. Textures and single
photographs are those of the packages in both.
"""

import json
import sys

import numpy as np
import safetensors.numpy

from pr12.data import fetched
from pr12.photostyle.data import package_photographs, pairs
from pr12.photostyle.params import Photographs as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

TEXTURES = ("brick", "grass", "gravel")
SINGLE = ("astronaut", "chelsea", "coffee", "china", "rocket", "flower")


def main(job: step.Job) -> None:
    """Make the file."""
    params, paths = job.params, job.paths
    if params.source == "packages":
        tensors, info = pairs.package_pairs(params.size, params.classes)
    elif "verified" in paths and "folder" in paths:
        fetched.check_all(paths["verified"], paths["folder"], pairs.FILES)
        tensors, info = pairs.published_pairs(paths["folder"], params.published_size)
    else:
        raise UserError("deep_photo_style is read from files: add verified=PATH and folder=PATH")
    for name in TEXTURES:
        tensors[f"texture/{name}"] = package_photographs.texture(
            package_photographs.named(name), params.texture_size
        )
    for name in SINGLE:
        tensors[f"photograph/{name}"] = package_photographs.square_photograph(
            package_photographs.named(name), params.inversion_size
        )
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        metadata={"info": json.dumps(info, sort_keys=True)},
    )
    with files.atomic(paths["photographs"]) as temporary:
        temporary.write_bytes(content)
    for pair, details in info.items():
        for warning in details["warnings"]:
            print(f"{pair}: {warning}", file=sys.stderr)
    print(f"{len(info)} pairs, {len(tensors)} tensors", file=sys.stderr)


if __name__ == "__main__":
    with step.start(Params, optional=["verified", "folder"], writes=["photographs"]) as job:
        main(job)
