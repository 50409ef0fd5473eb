"""Make arrays with fixed splits from raw data.

`digits` are scikit-learn's 1,797 real digits of 8 x 8 pixels, 0 to 16, which need no download;
`mnist` are the 70,000 of 28 x 28 pixels, 0 to 255. Training, validation and test examples lie in
separate files, so that no training step can see a test example.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from pr12.core import determinism, tensor_files, vision
from pr12.data import fetched
from pr12.data.params import Arrays as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError

MAXIMUM = {"digits": 16, "mnist": 255}  # the value of a pixel that is all ink
MNIST_TRAIN = 50_000  # of the training file; the last 10,000 are for validation
MNIST_FILES = {
    "training": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class Examples(NamedTuple):
    """Examples as they are published; `pr12.data.splits` reads them scaled to 0 to 1."""

    images: Tensor  # uint8, (N, H, W)
    labels: Tensor  # int64, (N,), 0 to 9


def digits_splits(train: int, validation: int, test: int, split_seed: int) -> dict[str, Examples]:
    """Deal out scikit-learn's digits, each class in proportion to its share.

    Parameters
    ----------
    train, validation, test : int
        Numbers of examples; what is left over is not used. The test set depends on its own size
        and the seed only.
    split_seed : int
        Seed of the shuffle.

    Raises
    ------
    UserError
        If there are not as many, or too few for each of the ten classes.

    Examples
    --------
    >>> {name: tuple(part.images.shape) for name, part in digits_splits(700, 297, 800, 0).items()}
    {'train': (700, 8, 8), 'validation': (297, 8, 8), 'test': (800, 8, 8)}
    """
    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8)  # stored as float64 integers
    labels = torch.from_numpy(digits.target).to(torch.int64)
    asked = train + validation + test
    if asked > len(labels):
        raise UserError(
            f"digits has {len(labels)} examples; train, validation and test ask {asked}"
        )

    def deal(rows: Tensor, first: int, second: int) -> list[Tensor]:
        return train_test_split(
            rows,
            train_size=first,
            test_size=second,
            random_state=split_seed,
            shuffle=True,
            stratify=labels[rows],
        )

    try:
        rest, test_rows = deal(torch.arange(len(labels)), len(labels) - test, test)
        train_rows, validation_rows = deal(rest, train, validation)
    except ValueError:
        raise UserError(
            "digits has ten classes; train, validation and test need at least ten examples each"
        ) from None
    rows = {"train": train_rows, "validation": validation_rows, "test": test_rows}
    return {name: Examples(images[part], labels[part]) for name, part in rows.items()}


def place(images: Tensor, margin: int, stream: torch.Generator) -> Tensor:
    """Put every image at a random place of a canvas with `margin` more pixels on each side.

    scikit-learn's digits fill their frame, so that a net gains nothing from shifted copies;
    MNIST's lie in theirs by their centre of mass, and it does.

    Parameters
    ----------
    images : Tensor
        uint8, shape (N, H, W).
    margin : int
        Pixels; 0 leaves the images as they are.
    stream : torch.Generator
        Where the places are drawn from.

    Returns
    -------
    Tensor
        uint8, shape (N, H + 2 margin, W + 2 margin).

    Examples
    --------
    >>> place(torch.ones(5, 8, 8).byte(), 1, torch.Generator()).sum(dim=(1, 2)).tolist()
    [64, 64, 64, 64, 64]
    """
    if not margin:
        return images
    count, height, width = images.shape
    canvas = images.new_zeros(count, height + 2 * margin, width + 2 * margin)
    places = torch.randint(2 * margin + 1, (count, 2), generator=stream).tolist()
    for image, field, (top, left) in zip(images, canvas, places, strict=True):
        field[top : top + height, left : left + width] = image
    return canvas


def mnist_splits(
    training: Examples, testing: Examples, train: int, validation: int, test: int
) -> dict[str, Examples]:
    """Split MNIST by position: there is one right way, and no seed.

    Parameters
    ----------
    training, testing : Examples
        The training file and the test file.
    train, validation, test : int
        The first so many of the training file's first 50,000, of what follows them, and of the
        test file.

    Raises
    ------
    UserError
        If there are not as many.

    Examples
    --------
    >>> few = Examples(torch.zeros(50_002, 1, 1, dtype=torch.uint8), torch.arange(50_002) % 10)
    >>> mnist_splits(few, few, 1, 2, 3)["validation"].labels
    tensor([0, 1])
    """
    parts = {
        "train": (train, Examples(*(tensor[:MNIST_TRAIN] for tensor in training))),
        "validation": (validation, Examples(*(tensor[MNIST_TRAIN:] for tensor in training))),
        "test": (test, testing),
    }
    for name, (size, part) in parts.items():
        if size > len(part.labels):
            raise UserError(f"mnist has {len(part.labels)} examples for {name}; it asks {size}")
    return {
        name: Examples(*(tensor[:size].clone() for tensor in part))
        for name, (size, part) in parts.items()
    }


def read_idx(folder: Path, images_file: str, labels_file: str) -> Examples:
    """Read a file of images and the file of their labels.

    Parameters
    ----------
    folder : Path
        Where they lie.
    images_file, labels_file : str
        Names of IDX files, not packed, of unsigned bytes, with 3 and 1 dimensions.

    Raises
    ------
    UserError
        If one is missing, truncated or of another kind, or they do not fit each other.

    Examples
    --------
    >>> read_idx(Path("/nowhere"), "images", "labels")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/images: No such file or directory
    """
    readers = vision.import_torchvision().datasets.mnist
    images = _read(readers.read_image_file, folder / images_file, "images")
    labels = _read(readers.read_label_file, folder / labels_file, "labels")
    if len(images) != len(labels):
        raise UserError(
            f"{folder / images_file} has {len(images)} images and {folder / labels_file} has "
            f"{len(labels)} labels; fetch both anew"
        )
    if labels.max() > 9:
        raise UserError(f"{folder / labels_file} has labels above 9; fetch it anew")
    return Examples(images, labels)


def _read(reader: Callable[[Path], Tensor], path: Path, kind: str) -> Tensor:
    try:
        return reader(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # whichever of them torchvision's reader comes upon first
        raise UserError(f"{path} is not a whole IDX file of {kind}; fetch it anew") from error


def write_split(path: Path | str, examples: Examples, dataset: str) -> None:
    """Write a split for `pr12.data.splits.load_split`.

    Parameters
    ----------
    path : Path or str
        The safetensors file.
    examples : Examples
        What to write.
    dataset : str
        ``digits`` or ``mnist``, which says what pixels are scaled by.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.safetensors"
    >>> write_split(path, Examples(torch.full((1, 1, 1), 4).byte(), torch.tensor([7])), "digits")
    >>> tensor_files.read_tensors(path)["images"], tensor_files.read_metadata(path)
    (tensor([[[4]]], dtype=torch.uint8), {'maximum': '16'})
    """
    # One text only: safetensors writes several in an order that changes from run to run.
    tensor_files.write_tensors(path, examples._asdict(), {"maximum": str(MAXIMUM[dataset])})


def main(job: step.Job) -> None:
    """Make the three files of one data set."""
    params, paths = job.params, job.paths
    sizes = (params.train, params.validation, params.test)
    if params.dataset == "digits":
        splits = digits_splits(*sizes, params.split_seed)
    elif "verified" in paths and "folder" in paths:
        fetched.check_all(paths["verified"], paths["folder"], sum(MNIST_FILES.values(), ()))
        training, testing = (read_idx(paths["folder"], *pair) for pair in MNIST_FILES.values())
        splits = mnist_splits(training, testing, *sizes)
    else:
        raise UserError("mnist is read from files: add verified=PATH and folder=PATH")
    for name, examples in splits.items():
        stream = determinism.generator(params.split_seed, f"place {name}")
        placed = place(examples.images, params.margin, stream)
        examples = Examples(placed, examples.labels)
        write_split(paths[name], examples, params.dataset)
        counts = torch.bincount(examples.labels, minlength=10).tolist()
        print(f"{name}: {len(examples.labels)} examples, of the classes {counts}", file=sys.stderr)


if __name__ == "__main__":
    with step.start(
        Params,
        optional=["verified", "folder"],
        writes=["train", "validation", "test"],
    ) as job:
        main(job)
