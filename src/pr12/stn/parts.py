"""Make the splits of a fine-grained task: generated objects, or the birds of CUB-200-2011.

The birds' own training photographs are dealt out to train and validation; tests are its own.
Everything is held in memory: all birds at 256 pixels take 2.3 GB, at 512 pixels 9.3 GB.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.data import fetched
from pr12.stn.data import cub, generated_parts, part_files
from pr12.stn.params import Parts as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError

SPLITS = ("train", "validation", "test")


def generated_split(name: str, params: Params) -> part_files.Examples:
    """Draw one split of generated objects.

    Parameters
    ----------
    name : str
        ``train``, ``validation`` or ``test``: each has random numbers of its own.
    params : Params
        The step's.

    Examples
    --------
    >>> params = Params("generated", 32, 3, 2, 2, 0)
    >>> generated_split("train", params).images.shape
    torch.Size([3, 3, 32, 32])
    """
    count = getattr(params, name)
    stream = determinism.generator(params.split_seed, f"parts {name}")
    objects = generated_parts.draw(count, params.size, stream)
    return part_files.Examples(*objects, generated_parts.CLASSES)


def dealt(training: Tensor, params: Params) -> dict[str, Tensor]:
    """Deal out the birds: validation and train of its training photographs, test of the others.

    Parameters
    ----------
    training : Tensor
        bool, shape (N,): which are to train.
    params : Params
        The step's; null takes what is left.

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
    >>> params = Params("cub", 256, None, 1, None, 0)
    >>> {name: len(rows) for name, rows in dealt(torch.arange(5) < 3, params).items()}
    {'train': 2, 'validation': 1, 'test': 2}
    """
    stream = determinism.generator(params.split_seed, "split birds")
    shuffled = torch.randperm(len(training), generator=stream)
    learnt, tests = shuffled[training[shuffled]], shuffled[~training[shuffled]]
    asked = params.validation + (params.train or 1)
    if asked > len(learnt):
        raise UserError(
            f"there are {len(learnt)} birds to train; train and validation ask {asked} or more"
        )
    if len(tests) < (params.test or 1):
        raise UserError(f"there are {len(tests)} birds to test; test asks {params.test or 1}")
    left = learnt[params.validation :]
    return {
        "train": left[: params.train],
        "validation": learnt[: params.validation],
        "test": tests[: params.test],
    }


def cub_splits(
    folder: Path, record: Path, params: Params
) -> Iterator[tuple[str, part_files.Examples]]:
    """Read the splits of birds.

    Parameters
    ----------
    folder : Path
        With CUB_200_2011.tgz.
    record : Path
        As of `fetched.record`.
    params : Params
        The step's.

    Yields
    ------
    name : str
        Of the split.
    examples : Examples
        It.

    Raises
    ------
    UserError
        If the archive is not the right one or there are not as many birds.
    """
    path = folder / cub.ARCHIVE
    fetched.check(path, fetched.record(record))
    birds = cub.read_lists(path)
    rows = dealt(birds.training, params)
    every = torch.cat([rows[name] for name in SPLITS])
    images = cub.read_photographs(path, [birds.names[row] for row in every.tolist()], params.size)
    parts = images.split([len(rows[name]) for name in SPLITS])
    for name, squares in zip(SPLITS, parts, strict=True):
        nowhere = torch.zeros(len(squares), 0, 2)
        yield (
            name,
            part_files.Examples(squares, birds.labels[rows[name]], nowhere, len(birds.classes)),
        )


def main(job: step.Job) -> None:
    """Make the three files."""
    params, paths = job.params, job.paths
    if params.source == "generated":
        for name in SPLITS:  # before the first is written
            if getattr(params, name) is None:
                raise UserError(f"{name} is null; say how many generated images there shall be")
        written = ((name, generated_split(name, params)) for name in SPLITS)
    elif "verified" in paths and "folder" in paths:
        written = cub_splits(paths["folder"], paths["verified"], params)
    else:
        raise UserError("cub is read from a file: add verified=PATH and folder=PATH")
    for name, examples in written:
        part_files.write(paths[name], examples)
        print(f"{name}: {len(examples.labels)} images", file=sys.stderr)


if __name__ == "__main__":
    with step.start(Params, optional=["verified", "folder"], writes=SPLITS) as job:
        main(job)
