"""Scans, segmentations and correspondences in safetensors files, read without torch (seconds)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from pr12.workflow import files
from pr12.workflow.errors import UserError

SPLITS = ("train", "reference", "calibration", "test")


class Scan(NamedTuple):
    """One subject: its image, 0 to 1, and its labels, both of the shape (z, y, x) or (y, x)."""

    name: str
    image: np.ndarray  # float32
    labels: np.ndarray  # uint8, 0 is background


class Scans(NamedTuple):
    """The scans of one split for each seed, and the names of the structures 1, 2, ..."""

    structures: tuple[str, ...]
    by_seed: dict[int, list[Scan]]


def write_arrays(
    path: Path | str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays as safetensors.

    Parameters
    ----------
    path : Path or str
        The file.
    arrays : mapping of str to ndarray
        Any shapes and types.
    metadata : mapping of str to str, optional
        Texts kept beside them.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> write_arrays(path, {"x": np.ones(2)}, {"unit": "mm"})
    >>> arrays, metadata = read_arrays(path)
    >>> arrays["x"].tolist(), metadata
    ([1.0, 1.0], {'unit': 'mm'})
    """
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with files.atomic(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(whole, metadata=dict(metadata or {})))


def read_arrays(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read named arrays, and the texts beside them, from a safetensors file.

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
    >>> read_arrays("/dev/null")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: /dev/null is not a safetensors file; delete it and run again
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as stream:
            names = stream.keys()
            return {name: stream.get_tensor(name) for name in names}, stream.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"cannot read {path}: no such file") from None
    except (safetensors.SafetensorError, OSError):
        raise UserError(f"{path} is not a safetensors file; delete it and run again") from None


def write_scans(path: Path | str, scans: Scans) -> None:
    """Write the scans of one split; images are kept to 1/4096 of their range.

    Parameters
    ----------
    path : Path or str
        The file.
    scans : Scans
        The order of each seed's subjects is kept.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "test.safetensors"
    >>> scan = Scan("a", np.full((2, 3), 0.5, np.float32), np.ones((2, 3), np.uint8))
    >>> write_scans(path, Scans(("liver",), {0: [scan], 7: [scan]}))
    >>> structures, by_seed = read_scans(path)
    >>> structures, list(by_seed), by_seed[7][0].name, float(by_seed[7][0].image[0, 0])
    (('liver',), [0, 7], 'a', 0.5)
    """
    arrays = {}
    for seed, by_index in scans.by_seed.items():
        for index, scan in enumerate(by_index):
            # Half the bytes of float32; spacing 2^-12 just below 1
            arrays[f"{seed}/{index:04d}/{scan.name}/image"] = scan.image.astype(np.float16)
            arrays[f"{seed}/{index:04d}/{scan.name}/labels"] = scan.labels.astype(np.uint8)
    write_arrays(path, arrays, {"structures": " ".join(scans.structures)})


def read_scans(path: Path | str) -> Scans:
    """Read the scans of one split, as `write_scans` wrote them.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    UserError
        If the file is missing or holds no scans.

    Examples
    --------
    See `write_scans`.
    """
    arrays, metadata = read_arrays(path)
    structures = tuple(metadata.get("structures", "").split())
    by_seed: dict[int, list[Scan]] = {}
    try:
        parts = (key.split("/") for key in arrays)
        keys = sorted((int(seed), int(index), name, kind) for seed, index, name, kind in parts)
        for seed, index, name, _ in keys[::2]:
            image, labels = (
                arrays[f"{seed}/{index:04d}/{name}/{kind}"] for kind in ("image", "labels")
            )
            if not _is_scan(image, labels, len(structures)):
                raise ValueError
            by_seed.setdefault(seed, []).append(Scan(name, image.astype(np.float32), labels))
    except (KeyError, ValueError):
        raise other_kind(path, "scans") from None
    if len({scan.image.ndim for scans in by_seed.values() for scan in scans}) != 1:
        raise other_kind(path, "scans")
    return Scans(structures, by_seed)


def _is_scan(image: np.ndarray, labels: np.ndarray, structures: int) -> bool:
    return (
        (image.dtype, labels.dtype) == (np.float16, np.uint8)
        and image.shape == labels.shape
        and image.ndim in (2, 3)
        and bool(np.isfinite(image).all())
        and labels.max() <= structures
    )


def other_kind(path: Path | str, kind: str) -> UserError:
    """Return the error of a file that holds something else than ``scans`` and the like."""
    return UserError(f"{path} holds no {kind}; delete it and run again")


def read_splits(paths: Mapping[str, Path], names: Iterable[str]) -> dict[str, Scans]:
    """Read several splits, which must be of one making.

    Parameters
    ----------
    paths : mapping of str to Path
        By split.
    names : iterable of str
        Which of them.

    Returns
    -------
    dict of str to Scans
        By split.

    Raises
    ------
    UserError
        If a file is missing or holds no scans, or if two differ in seeds, structures or dimension.

    Examples
    --------
    See `write_scans`.
    """
    splits = {name: read_scans(paths[name]) for name in names}
    kinds = {
        name: (sorted(scans.by_seed), scans.structures, _dimension(scans))
        for name, scans in splits.items()
    }
    first = next(iter(kinds))
    for name, kind in kinds.items():
        if kind != kinds[first]:
            raise UserError(
                f"{paths[first]} and {paths[name]} differ in seeds, structures or dimension "
                f"({_listed(kinds[first])}; {_listed(kind)}); make both by one run of rca.scans"
            )
    return splits


def _dimension(scans: Scans) -> int:
    return next(iter(scans.by_seed.values()))[0].image.ndim


def _listed(kind: tuple[list[int], tuple[str, ...], int]) -> str:
    seeds, structures, dimension = kind
    return f"seeds {seeds}, {', '.join(structures)}, {dimension}-D"


def write_segmentations(
    path: Path | str, segmentations: Mapping[tuple[int, str, str], np.ndarray], names: Sequence[str]
) -> None:
    """Write what several segmenters made of scans.

    Parameters
    ----------
    path : Path or str
        The file.
    segmentations : mapping of (seed, split, subject) to ndarray
        uint8, one label map per segmenter, shape (segmenters, z, y, x) or (segmenters, y, x).
    names : sequence of str
        Of the segmenters, in the order of the first axis.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "segmentations.safetensors"
    >>> write_segmentations(path, {(0, "test", "a"): np.zeros((1, 2, 2), np.uint8)}, ["unet"])
    >>> result, names = read_segmentations(path)
    >>> list(result), names
    ([(0, 'test', 'a')], ('unet',))
    """
    arrays = {"/".join(map(str, key)): maps for key, maps in segmentations.items()}
    write_arrays(path, arrays, {"segmenters": " ".join(names)})


def read_segmentations(
    path: Path | str,
) -> tuple[dict[tuple[int, str, str], np.ndarray], tuple[str, ...]]:
    """Read segmentations and the names of the segmenters, as `write_segmentations` wrote them.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    UserError
        If the file is missing or holds no segmentations.

    Examples
    --------
    See `write_segmentations`.
    """
    arrays, metadata = read_arrays(path)
    names = tuple(metadata.get("segmenters", "").split())
    segmentations = {}
    try:
        for key, maps in arrays.items():
            seed, split, name = key.split("/")
            if maps.dtype != np.uint8 or maps.ndim not in (3, 4) or len(maps) != len(names):
                raise ValueError
            segmentations[int(seed), split, name] = maps
    except ValueError:
        raise other_kind(path, "segmentations") from None
    if not segmentations:
        raise other_kind(path, "segmentations")
    return segmentations, names


def maps_of(
    segmentations: Mapping[tuple[int, str, str], np.ndarray],
    key: tuple[int, str, str],
    image: np.ndarray,
    structures: int,
    path: Path | str,
) -> np.ndarray:
    """Return the segmentations of one scan, or refuse those of other scans.

    Parameters
    ----------
    segmentations : mapping
        As `read_segmentations` reads them.
    key : (int, str, str)
        Seed, split and subject.
    image : ndarray
        The scan's.
    structures : int
        S.
    path : Path or str
        Their file, for the message.

    Returns
    -------
    ndarray
        uint8, shape (segmenters, *image).

    Raises
    ------
    UserError
        If there are none, or if their shape is not the image's, or a label is above S.

    Examples
    --------
    >>> maps_of({}, (0, "test", "a"), np.zeros((2, 3)), 1, "maps")
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: maps has no segmentations of the scan 0/test/a with 2 x 3 \
voxels and at most 1 structures; make scans and segmentations again
    """
    maps = segmentations.get(key)
    if maps is None or maps.shape[1:] != image.shape or maps.max() > structures:
        raise UserError(
            f"{path} has no segmentations of the scan {'/'.join(map(str, key))} with "
            f"{' x '.join(map(str, image.shape))} voxels and at most {structures} structures; "
            "make scans and segmentations again"
        )
    return maps


Correspondences = dict[tuple[int, str, str], dict[tuple[str, str, int], np.ndarray]]


def read_correspondences(path: Path | str) -> Correspondences:
    """Read what `pr12.rca.register` wrote.

    Parameters
    ----------
    path : Path or str
        The file.

    Returns
    -------
    dict
        (seed, split, subject) of the fixed scan -> (split, subject of the moving scan, number of
        the effort) -> correspondence, in the order of the subjects' names.

    Raises
    ------
    UserError
        If the file is missing or holds no correspondences.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "correspondences.safetensors"
    >>> write_arrays(path, {"0/test/a/train/b/1": np.zeros((2, 2), np.uint16)})
    >>> [(fixed, list(own)) for fixed, own in read_correspondences(path).items()]
    [((0, 'test', 'a'), [('train', 'b', 1)])]
    """
    correspondences: Correspondences = {}
    try:
        for key, array in read_arrays(path)[0].items():
            seed, split, name, moving_split, moving_name, effort = key.split("/")
            if array.dtype not in (np.uint16, np.uint32) or array.ndim not in (2, 3):
                raise ValueError
            by_moving = correspondences.setdefault((int(seed), split, name), {})
            by_moving[moving_split, moving_name, int(effort)] = array
    except ValueError:
        raise other_kind(path, "correspondences") from None
    if not correspondences:
        raise other_kind(path, "correspondences")
    return correspondences


def check_correspondence(
    array: np.ndarray, fixed: tuple[int, ...], moving: tuple[int, ...], path: Path | str
) -> None:
    """Refuse a correspondence of scans of other shapes.

    Parameters
    ----------
    array : ndarray
        Of which voxel lies where, as `pr12.rca.model.registration.correspondence` gives it.
    fixed, moving : tuple of int
        Shapes of the two scans.
    path : Path or str
        Its file, for the message.

    Raises
    ------
    UserError
        If the shape is not that of the fixed scan, or a voxel is not in the moving one.
    """
    if array.shape != fixed or array.max() > math.prod(moving):
        shapes = " and ".join(" x ".join(map(str, shape)) for shape in (fixed, moving))
        raise UserError(f"{path} is not of scans of {shapes} voxels; register them again")
