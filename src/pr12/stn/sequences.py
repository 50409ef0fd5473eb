"""Make the splits of house numbers: composed from single digits, or SVHN's photographs."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from pr12.core import determinism
from pr12.data import fetched, splits
from pr12.stn.data import composed, digit_splits, sequence_files, svhn
from pr12.stn.params import Sequences as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError

SPLITS = ("train", "validation", "test")


def composed_split(split: str, digits: splits.Split, params: Params) -> sequence_files.Sequences:
    """Compose one split of single digits.

    Parameters
    ----------
    split : str
        ``train``, ``validation`` or ``test``.
    digits : Split
        Of the same split: no test digit is ever seen in training.
    params : Params
        The step's.

    """
    count = getattr(params, split)
    stream = determinism.generator(params.split_seed, f"compose {split}")
    images, labels = composed.compose(
        digits.images, digits.labels, count, split, params.size, params.max_digits, params.heights,
        stream,
    )  # fmt: skip
    return sequence_files.Sequences(images, labels, 0)


def check_composed(params: Params, digits: Mapping[str, splits.Split]) -> None:
    """Check, before a file is written, that sequences can be composed.

    Parameters
    ----------
    params : Params
        The step's.
    digits : mapping of str to Split
        Of every split.

    Raises
    ------
    UserError
        If a number of sequences is missing, heights are none of digits in such an image, or a split
        holds no digits.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> check_composed(SimpleNamespace(train=None, validation=1, test=1), {})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: train is null; sequences are composed without end, \
so say how many
    """
    for name in SPLITS:
        if getattr(params, name) is None:
            raise UserError(f"{name} is null; sequences are composed without end, so say how many")
    low, high = (*params.heights, 0.0, 0.0)[:2]
    if len(params.heights) != 2 or not 1 <= low <= high <= params.size:
        raise UserError(
            f"heights is {list(params.heights)}; it must be the smallest and the largest height of "
            f"digits in pixels, from 1 to size ({params.size})"
        )
    for name, split in digits.items():
        digit_splits.check(split, f"digits_{name}")


def svhn_splits(
    folder: Path, record: Path, params: Params
) -> Iterator[tuple[str, sequence_files.Sequences]]:
    """Read SVHN's photographs, one split after the other, for they are large.

    Training and validation pictures are dealt out at random from those of train.tar.gz and, if
    asked, extra.tar.gz; test pictures are the first of test.tar.gz.

    Parameters
    ----------
    folder : Path
        Where the archives lie.
    record : Path
        As of `fetched.record`.
    params : Params
        The step's.

    Yields
    ------
    (str, Sequences)
        Name of the split and its pictures.

    Raises
    ------
    UserError
        If an archive is not what was fetched, is broken, or has too few pictures.
    """
    chosen = ("train", "extra", "test") if params.extra else ("train", "test")
    checksums = fetched.record(record)
    houses, left_out = {}, {}
    for name in chosen:
        path = folder / svhn.ARCHIVES[name]
        fetched.check(path, checksums)
        listed = svhn.read_houses(svhn.read_boxes(path, name), f"{name}/{svhn.BOXES} of {path}")
        houses[name] = [house for house in listed if len(house.digits) <= composed.LONGEST]
        left_out[name] = len(listed) - len(houses[name])
    pool = [(name, house) for name in chosen[:-1] for house in houses[name]]
    train = len(pool) - params.validation if params.train is None else params.train
    test = params.test or len(houses["test"])
    if train < 1 or train + params.validation > len(pool) or test > len(houses["test"]):
        raise UserError(
            f"svhn has {len(pool)} pictures to learn from and {len(houses['test'])} to test with; "
            f"train asks {train}, validation {params.validation} and test {test}"
        )
    order = torch.randperm(
        len(pool), generator=determinism.generator(params.split_seed, "split svhn")
    )
    dealt = [pool[row] for row in order[: params.validation + train].tolist()]
    wanted = {
        "train": dealt[params.validation :],
        "validation": dealt[: params.validation],
        "test": [("test", house) for house in houses["test"][:test]],
    }
    lost = sum(left_out[name] for name in chosen[:-1])
    for split, rows in wanted.items():
        skipped = left_out["test"] if split == "test" else lost if split == "train" else 0
        yield split, sequence_files.Sequences(*svhn.read_split(folder, rows, params.size), skipped)


def report(split: str, sequences: sequence_files.Sequences) -> None:
    """Say in the log how many sequences of each length a split has.

    Examples
    --------
    >>> import contextlib
    >>> empty = sequence_files.Sequences(torch.zeros(1, 3, 1, 1), torch.full((1, 5), 10), 2)
    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     report("test", empty)
    test: 1 sequences, of the lengths 0 to 5 [1, 0, 0, 0, 0, 0]; 2 longer ones are left out
    """
    lengths = (sequences.labels != composed.BLANK).sum(dim=1)
    counts = torch.bincount(lengths, minlength=composed.LONGEST + 1).tolist()
    print(
        f"{split}: {len(lengths)} sequences, of the lengths 0 to {composed.LONGEST} {counts}; "
        f"{sequences.left_out} longer ones are left out",
        file=sys.stderr,
    )


def main(job: step.Job) -> None:
    """Make the three files."""
    params, paths = job.params, job.paths
    if params.source == "composed":
        for name in SPLITS:
            if f"digits_{name}" not in paths:
                raise UserError(f"composed is made of digits: add digits_{name}=PATH of a split")
        digits = {name: splits.load_split(paths[f"digits_{name}"]) for name in SPLITS}
        check_composed(params, digits)
        for name in SPLITS:
            sequences = composed_split(name, digits[name], params)
            report(name, sequences)
            sequence_files.write(paths[name], sequences, params.source)
    elif "verified" in paths and "folder" in paths:
        for name, sequences in svhn_splits(paths["folder"], paths["verified"], params):
            report(name, sequences)
            sequence_files.write(paths[name], sequences, params.source)
    else:
        raise UserError("svhn is read from files: add verified=PATH and folder=PATH")


if __name__ == "__main__":
    with step.start(
        Params,
        optional=[*(f"digits_{name}" for name in SPLITS), "verified", "folder"],
        writes=SPLITS,
    ) as job:
        main(job)
