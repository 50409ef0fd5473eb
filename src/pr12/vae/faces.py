"""Make the splits of faces of 28 x 20 pixels: Frey Face, or one face that moves.

`frey` are the 1,965 frames of Frey Face (S. Roweis' data page), 0 to 255; `moving` is generated
from the photograph that comes with scikit-image, for machines that cannot download. The paper does
not say how it split Frey Face. The author's later code (dpkingma/nips14-ssl, gpulearn_z_x.py)
shuffles the frames, trains on 1,600 and judges on the other 365, and so can this step, by a seed.
That leaks, for the frames are a film: a test frame is 11 grey values from the nearest training
frame (root mean square, median); were the test set the film's last 365 frames, it would be 17; two
frames at random are 38 apart. A test bound tells little of faces never seen. The frames of `moving`
are drawn independently.
"""

import sys

import torch
from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.data import fetched
from pr12.vae.data import face_images
from pr12.vae.params import Faces as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError


def split_rows(train: int, validation: int, test: int, split_seed: int) -> dict[str, Tensor]:
    """Deal out the numbers of the frames at random.

    Parameters
    ----------
    train, validation, test : int
        Numbers of frames; what is left over is not used. The test set depends on its own size
        and the seed only.
    split_seed : int
        Seed of the shuffle.

    Returns
    -------
    dict of str to Tensor
        Rows of each split, int64.

    Raises
    ------
    UserError
        If there are not as many.

    Examples
    --------
    >>> {name: len(rows) for name, rows in split_rows(1500, 100, 365, 0).items()}
    {'train': 1500, 'validation': 100, 'test': 365}
    """
    asked = train + validation + test
    if asked > face_images.COUNT:
        raise UserError(
            f"there are {face_images.COUNT} faces; train, validation and test ask {asked}"
        )
    order = torch.randperm(
        face_images.COUNT, generator=determinism.generator(split_seed, "split faces")
    )
    dealt = order[:asked].split([test, validation, train])
    return {"train": dealt[2], "validation": dealt[1], "test": dealt[0]}


def main(job: step.Job) -> None:
    """Make the three files."""
    params, paths = job.params, job.paths
    rows = split_rows(params.train, params.validation, params.test, params.split_seed)
    if params.source == "moving":
        images = face_images.moving_faces(face_images.COUNT, params.split_seed)
    elif "verified" in paths and "folder" in paths:
        checksums = fetched.record(paths["verified"])
        images = face_images.read_frey(paths["folder"] / face_images.FREY_FILE, checksums)
    else:
        raise UserError("frey is read from a file: add verified=PATH and folder=PATH")
    for name, chosen in rows.items():
        tensors = {"images": images[chosen], "labels": torch.zeros(len(chosen), dtype=torch.int64)}
        tensor_files.write_tensors(
            paths[name], tensors, {"maximum": str(face_images.MAXIMUM[params.source])}
        )
        print(f"{name}: {len(chosen)} faces", file=sys.stderr)


if __name__ == "__main__":
    with step.start(
        Params,
        optional=["verified", "folder"],
        writes=["train", "validation", "test"],
    ) as job:
        main(job)
