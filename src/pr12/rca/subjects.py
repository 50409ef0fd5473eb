"""Whose scores lie in which row: names beside arrays, so that rows are never paired by position."""

from collections.abc import Mapping, Sequence

from pr12.shared.errors import UserError

Names = Mapping[tuple[int, str], Sequence[str]]  # (seed, split) -> the subject of each row


def told(names: Names) -> dict[str, str]:
    """Write the subjects of each row as texts that are kept beside the scores.

    Parameters
    ----------
    names : mapping of (int, str) to sequence of str
        (seed, split) -> subjects.

    Examples
    --------
    >>> told({(0, "test"): ["b", "a"]})
    {'subjects/0/test': 'b a'}
    """
    return {f"subjects/{seed}/{split}": " ".join(own) for (seed, split), own in names.items()}


def rows(real: Mapping[str, str], scores: Mapping[str, str], seed: int, split: str) -> list[int]:
    """Find for each subject that was scored its row among the real scores.

    Parameters
    ----------
    real, scores : mapping of str to str
        The texts beside both files, as `told` wrote them.
    seed, split
        Whose rows.

    Raises
    ------
    UserError
        If a scored subject has no real score.

    Examples
    --------
    >>> rows(told({(0, "test"): ["a", "b", "c"]}), told({(0, "test"): ["c", "a"]}), 0, "test")
    [2, 0]
    """
    key = f"subjects/{seed}/{split}"
    known, asked = (side.get(key, "").split() for side in (real, scores))
    missing = [name for name in asked if name not in known]
    if missing or not asked:
        raise UserError(
            f"real and reverse scores of seed {seed} are not of the same {split} subjects "
            f"({', '.join(missing[:3]) or 'none is named'}); make both again"
        )
    return [known.index(name) for name in asked]
