"""Read the hippocampus set of the Medical Segmentation Decathlon and deal its subjects out.

Task 04 of the Decathlon (Simpson et al. 2019, arXiv:1902.09063): T1-weighted MR images cut out
around one hippocampus, 1 mm voxels, with its anterior (head) and posterior part (body and tail)
labelled by hand. A "subject" here is one such image. The set comes from 195 people and the files do
not say who is who: the left and the right side of a person may fall into different splits.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pr12.data import nifti
from pr12.rca.data import intensity
from pr12.workflow.errors import UserError

STRUCTURES = ("anterior", "posterior")  # labels 1 and 2; 0 is the background
LARGEST = 10_000_000  # bytes of one file unpacked; the largest has 370,336
SHUFFLE = 2017  # seed of the one shuffle that test sets are cut from


def read_hippocampus(
    folder: Path | str, subjects: Sequence[str] | None = None
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Read images and labels, and check them.

    Parameters
    ----------
    folder : Path or str
        It holds ``imagesTr`` and ``labelsTr`` with a file ``<subject>.nii.gz`` for each subject.
    subjects : sequence of str, optional
        Which, such as ``hippocampus_001``; by default all.

    Returns
    -------
    list of (str, ndarray, ndarray)
        By name: the subject, its image (float32, 0 to 1, shape (z, y, x)) and its labels (uint8, 0
        or 1 + index in `STRUCTURES`, same shape).

    Raises
    ------
    UserError
        For the first file that is missing, unreadable or not as it must be.

    Examples
    --------
    >>> read_hippocampus("/nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/imagesTr: No such file or directory; ...
    """
    images, labels = _files(Path(folder) / "imagesTr"), _files(Path(folder) / "labelsTr")
    names = sorted(images.keys() | labels.keys() if subjects is None else set(subjects))
    if not names:
        raise UserError(f"{folder} holds no subject; fetch it anew")
    read = []
    for name in names:
        for volume, kind in ((images, "imagesTr"), (labels, "labelsTr")):
            if name not in volume:
                raise UserError(f"{folder}/{kind} has no {name}.nii.gz; fetch it anew")
        image, label = _read(images[name]), _read(labels[name])
        _check_geometry(image, label, images[name], labels[name])
        pixels = intensity.normalised(image.voxels, str(images[name]))
        read.append((name, pixels, check_labels(label.voxels, str(labels[name]))))
    return read


def _files(folder: Path) -> dict[str, Path]:
    """Return subject -> file; names that begin with a dot are macOS's own."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; fetch it anew") from error
    return {
        path.name.removesuffix(".nii.gz"): path
        for path in paths
        if path.name.endswith(".nii.gz") and not path.name.startswith(".")
    }


def _read(path: Path) -> nifti.Volume:
    try:
        return nifti.read_volume(path, LARGEST)
    except ValueError as error:
        raise UserError(f"{path} {error}; fetch it anew") from None


def _check_geometry(image: nifti.Volume, label: nifti.Volume, image_path: Path, path: Path) -> None:
    for what, value, other in (
        ("shape", label.voxels.shape, image.voxels.shape),
        ("spacing", label.spacing, image.spacing),
        ("direction", label.direction, image.direction),
    ):
        if not np.allclose(value, other, rtol=0, atol=1e-4):
            raise UserError(
                f"{path} has the {what} {_shown(value)} and {image_path} {_shown(other)}; "
                "they must be the same: fetch both anew"
            )
    if not np.allclose(image.spacing, 1, rtol=0, atol=1e-4):
        raise UserError(
            f"{image_path} has the spacing {_shown(image.spacing)} mm; it must be 1 mm: fetch it "
            "anew"
        )


def _shown(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def check_labels(voxels: np.ndarray, where: str) -> np.ndarray:
    """Check that labels are 0, 1 and 2, each of which must occur.

    Parameters
    ----------
    voxels : ndarray
        Labels of any shape and real type.
    where : str
        Their file, for messages.

    Returns
    -------
    ndarray
        uint8, same shape.

    Raises
    ------
    UserError
        With the first other value, or with the structure that is missing.

    Examples
    --------
    >>> check_labels(np.array([0.0, 2.0, 1.0]), "a.nii.gz")
    array([0, 2, 1], dtype=uint8)
    """
    known = range(len(STRUCTURES) + 1)
    for value in np.unique(voxels):
        if value not in known:
            raise UserError(f"{where} has the label {value:g}; it must be 0, 1 or 2: fetch it anew")
    for label, name in enumerate(("background", *STRUCTURES)):
        if not (voxels == label).any():
            raise UserError(f"{where} has no voxel of {name} (label {label}); fetch it anew")
    return voxels.astype(np.uint8)


def deal(
    names: Sequence[str], train: int, reference: int, calibration: int, test: int, seed: int
) -> dict[str, list[str]]:
    """Deal subjects out into four splits that share none.

    Test sets of seeds 0, 1, 2, ... are consecutive blocks of one fixed shuffle, as in
    cross-validation: no subject is in two of them. The other splits are drawn by the seed from the
    subjects that are not in its own test set; train does not depend on the sizes of the other two.

    Parameters
    ----------
    names : sequence of str
        The subjects; their order does not matter.
    train, reference, calibration, test : int
        How many subjects each split has; what is left over is not used.
    seed : int
        From 0.

    Returns
    -------
    dict of str to list of str
        Split -> names, in the order in which they were drawn.

    Raises
    ------
    UserError
        If there are too few subjects for the sizes or for the seed's test set, or one twice.

    Examples
    --------
    >>> splits = deal([f"s{i}" for i in range(10)], 3, 2, 1, test=4, seed=1)
    >>> {split: len(own) for split, own in splits.items()}
    {'train': 3, 'reference': 2, 'calibration': 1, 'test': 4}
    """
    count = len(names)
    if len(set(names)) != count:
        twice = min(name for name in names if list(names).count(name) > 1)
        raise UserError(f"the subject {twice} is listed twice")
    if min(train, reference, calibration) < 0 or test < 1:
        raise UserError("train, reference and calibration must be at least 0, and test at least 1")
    asked = train + reference + calibration + test
    if asked > count:
        raise UserError(
            f"there are {count} subjects; train, reference, calibration and test ask {asked}"
        )
    if seed < 0 or (seed + 1) * test > count:
        raise UserError(
            f"there are {count} subjects, enough for test sets of {test} of the seeds 0 to "
            f"{count // test - 1}; seed {seed} has none"
        )
    fixed = np.random.default_rng(SHUFFLE).permutation(sorted(names)).tolist()
    chosen = fixed[seed * test : (seed + 1) * test]
    rest = [name for name in sorted(names) if name not in set(chosen)]
    drawn = np.random.default_rng([SHUFFLE, seed]).permutation(rest).tolist()
    return {
        "train": drawn[:train],
        "reference": drawn[train : train + reference],
        "calibration": drawn[train + reference : train + reference + calibration],
        "test": chosen,
    }
