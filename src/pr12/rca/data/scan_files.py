"""Scans, segmentations and scores in safetensors files, read without the seconds of torch."""

from collections.abc import Mapping, Sequence
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
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with files.atomic(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(kept, metadata=dict(metadata or {})))


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
    for seed, own in scans.by_seed.items():
        for index, scan in enumerate(own):
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
    if "structures" not in metadata or not arrays:
        raise UserError(f"{path} holds no scans; delete it and run again")
    by_seed: dict[int, list[Scan]] = {}
    for key in sorted(arrays, key=_place):
        seed, _, name, kind = key.split("/")
        if kind == "image":
            labels = arrays[key.removesuffix("image") + "labels"]
            image = arrays[key].astype(np.float32)
            by_seed.setdefault(int(seed), []).append(Scan(name, image, labels))
    return Scans(tuple(metadata["structures"].split()), by_seed)


def _place(key: str) -> tuple[int, int]:
    seed, index, *_ = key.split("/")
    return int(seed), int(index)


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
    >>> found, names = read_segmentations(path)
    >>> list(found), names
    ([(0, 'test', 'a')], ('unet',))
    """
    arrays = {f"{seed}/{split}/{name}": own for (seed, split, name), own in segmentations.items()}
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
    if "segmenters" not in metadata:
        raise UserError(f"{path} holds no segmentations; delete it and run again")
    found = {}
    for key, own in arrays.items():
        seed, split, name = key.split("/")
        found[int(seed), split, name] = own
    return found, tuple(metadata["segmenters"].split())


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
    found: Correspondences = {}
    for key, array in read_arrays(path)[0].items():
        parts = key.split("/")
        if len(parts) != 6:
            raise UserError(f"{path} holds no correspondences; delete it and run again")
        seed, split, name, moving_split, moving_name, effort = parts
        own = found.setdefault((int(seed), split, name), {})
        own[moving_split, moving_name, int(effort)] = array
    return found


def write_scores(
    path: Path | str,
    scores: Mapping[tuple[int, str], np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write measured agreements of one split of each seed.

    Parameters
    ----------
    path : Path or str
        The file.
    scores : mapping of (seed, split) to ndarray
        float32; of real agreements the shape is (subjects, segmenters, structures, measures), of
        reverse ones (subjects, segmenters, references, structures, measures).
    metadata : mapping of str to str, optional
        Names of the structures and segmenters.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.safetensors"
    >>> write_scores(path, {(0, "test"): np.zeros((2, 1, 3, 4), np.float32)}, {"structures": "a"})
    >>> scores, metadata = read_scores(path)
    >>> scores[0, "test"].shape, metadata
    ((2, 1, 3, 4), {'structures': 'a'})
    """
    arrays = {f"{seed}/{split}": own for (seed, split), own in scores.items()}
    write_arrays(path, arrays, metadata)


def read_scores(path: Path | str) -> tuple[dict[tuple[int, str], np.ndarray], dict[str, str]]:
    """Read measured agreements and what is said of them, as `write_scores` wrote them.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    UserError
        If the file is missing or holds none.

    Examples
    --------
    See `write_scores`.
    """
    found = {}
    arrays, metadata = read_arrays(path)
    for key, own in arrays.items():
        seed, _, split = key.partition("/")
        if not split or own.ndim < 4:
            raise UserError(f"{path} holds no scores; delete it and run again")
        found[int(seed), split] = own
    return dict(sorted(found.items())), metadata
