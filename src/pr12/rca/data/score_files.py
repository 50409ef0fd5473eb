"""Scores in safetensors files, real ones and those on references, and whose lie in which row.

Names stand beside arrays, so that rows are never paired by position.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pr12.rca.data import scan_files
from pr12.rca.model.measures import MEASURES
from pr12.workflow.errors import UserError

Scores = dict[tuple[int, str], np.ndarray]  # (seed, split) -> one row per subject
Names = Mapping[tuple[int, str], Sequence[str]]  # (seed, split) -> the subject of each row


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
    arrays = {f"{seed}/{split}": array for (seed, split), array in scores.items()}
    scan_files.write_arrays(path, arrays, metadata)


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
    scores = {}
    arrays, metadata = scan_files.read_arrays(path)
    try:
        for key, array in arrays.items():
            seed, split = key.split("/")
            if array.dtype != np.float32 or array.ndim not in (4, 5):
                raise ValueError
            scores[int(seed), split] = array
    except ValueError:
        raise scan_files.other_kind(path, "scores") from None
    if not scores:
        raise scan_files.other_kind(path, "scores")
    return dict(sorted(scores.items())), metadata


def metadata(names: Names, **more: Sequence[str]) -> dict[str, str]:
    """Write names as the one text that is kept beside scores.

    One, since safetensors writes several in an order that changes from run to run.

    Parameters
    ----------
    names : mapping of (int, str) to sequence of str
        (seed, split) -> subjects, in the order of the rows.
    **more : sequence of str
        Other names, such as those of the structures.

    Examples
    --------
    >>> metadata({(0, "test"): ["b", "a"]}, structures=["liver"])
    {'names': '{"0/test": ["b", "a"], "structures": ["liver"]}'}
    """
    every = {f"{seed}/{split}": list(values) for (seed, split), values in names.items()}
    every |= {key: list(values) for key, values in more.items()}
    return {"names": json.dumps(every, sort_keys=True)}


def read_names(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Read the names that `metadata` wrote.

    Parameters
    ----------
    texts : mapping of str to str
        The texts beside scores.

    Raises
    ------
    UserError
        If there are none.

    Examples
    --------
    >>> read_names(metadata({(0, "test"): ["b", "a"]}))
    {'0/test': ['b', 'a']}
    """
    try:
        return json.loads(texts["names"])
    except (KeyError, ValueError):
        raise UserError("the scores do not say whose they are; make them again") from None


def rows(
    real: Mapping[str, Sequence[str]], scores: Mapping[str, Sequence[str]], seed: int, split: str
) -> list[int]:
    """Find for each subject that was scored its row among the real scores.

    Parameters
    ----------
    real, scores : mapping of str to sequence of str
        The names beside both files, as `read_names` reads them.
    seed, split
        Whose rows.

    Raises
    ------
    UserError
        If a scored subject has no real score.

    Examples
    --------
    >>> rows({"0/test": ["a", "b", "c"]}, {"0/test": ["c", "a"]}, 0, "test")
    [2, 0]
    """
    known, asked = (side.get(f"{seed}/{split}", []) for side in (real, scores))
    missing = [name for name in asked if name not in known]
    if missing or not asked:
        raise UserError(
            f"real and reverse scores of seed {seed} are not of the same {split} subjects "
            f"({', '.join(missing[:3]) or 'none is named'}); make both again"
        )
    return [known.index(name) for name in asked]


def read_both(paths: Mapping[str, Path]) -> tuple[tuple[Scores, dict], tuple[Scores, dict]]:
    """Read real scores and those on references, which must be of the same segmentations.

    Parameters
    ----------
    paths : mapping of str to Path
        ``real`` and ``scores``.

    Returns
    -------
    real, reverse : tuple of (dict, dict)
        Arrays by seed and split, shapes (subjects, segmenters, structures, measures) and (subjects,
        segmenters, references, structures, measures), and the names beside them.

    Raises
    ------
    UserError
        If one of them is of another kind, if they are exchanged, or if segmenters or structures
        differ in number.
    """
    real, reverse = (_with_names(paths[name], axes) for name, axes in (("real", 4), ("scores", 5)))
    if not all(real[1].get(key) for key in ("structures", "segmenters")):
        raise UserError(f"{paths['real']} does not name structures and segmenters; make it again")
    for key in real[0].keys() & reverse[0].keys():
        _, segmenters, _, *rest = reverse[0][key].shape
        if real[0][key].shape[1:] != (segmenters, *rest):
            raise UserError(
                f"{paths['real']} and {paths['scores']} are of other segmenters or structures "
                f"({_shape(real[0][key])} and {_shape(reverse[0][key])}); make both again"
            )
    return real, reverse


def _with_names(path: Path, axes: int) -> tuple[Scores, dict[str, list[str]]]:
    scores, texts = read_scores(path)
    names = read_names(texts)
    for (seed, split), array in scores.items():
        if array.ndim != axes or array.shape[-1] != len(MEASURES):
            kind = "real" if axes == 4 else "reverse"
            raise UserError(f"{path} holds no {kind} scores ({_shape(array)}); exchange the paths")
        if len(names.get(f"{seed}/{split}", [])) != len(array):
            raise UserError(f"{path} does not name the subjects of seed {seed}; make it again")
    if ("test" not in {split for _, split in scores}) or len(
        {array.shape[1:] for array in scores.values()}
    ) > 1:
        raise UserError(
            f"{path} holds no test scores, or those of unlike segmenters, structures or "
            "references; make it again"
        )
    return scores, names


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape))
