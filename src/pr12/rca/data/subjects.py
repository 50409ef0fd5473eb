"""Whose scores lie in which row: names beside arrays, so that rows are never paired by position."""

import json
from collections.abc import Mapping, Sequence

from pr12.workflow.errors import UserError

Names = Mapping[tuple[int, str], Sequence[str]]  # (seed, split) -> the subject of each row


def told(names: Names, **more: Sequence[str]) -> dict[str, str]:
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
    >>> told({(0, "test"): ["b", "a"]}, structures=["liver"])
    {'names': '{"0/test": ["b", "a"], "structures": ["liver"]}'}
    """
    every = {f"{seed}/{split}": list(own) for (seed, split), own in names.items()}
    every |= {key: list(own) for key, own in more.items()}
    return {"names": json.dumps(every, sort_keys=True)}


def named(metadata: Mapping[str, str]) -> dict[str, list[str]]:
    """Read the names that `told` wrote.

    Parameters
    ----------
    metadata : mapping of str to str
        The texts beside scores.

    Raises
    ------
    UserError
        If there are none.

    Examples
    --------
    >>> named(told({(0, "test"): ["b", "a"]}))
    {'0/test': ['b', 'a']}
    """
    try:
        return json.loads(metadata["names"])
    except (KeyError, ValueError):
        raise UserError("the scores do not say whose they are; make them again") from None


def rows(
    real: Mapping[str, Sequence[str]], scores: Mapping[str, Sequence[str]], seed: int, split: str
) -> list[int]:
    """Find for each subject that was scored its row among the real scores.

    Parameters
    ----------
    real, scores : mapping of str to sequence of str
        The names beside both files, as `named` reads them.
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
