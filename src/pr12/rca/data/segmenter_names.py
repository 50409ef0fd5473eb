"""Names of segmenters that are the same in every run."""

from collections.abc import Sequence

# Of a kind, as many of the strongest as a user would take one of; fixed before results by segmenter
# existed. The others are meant to fail.
USABLE = {"forest": 1, "unet": 2, "atlases": 2}


def ranked(segmenters: Sequence[str]) -> list[str]:
    """Return each segmenter's kind and rank among its kind: strengths differ between runs.

    Parameters
    ----------
    segmenters : sequence of str
        Names that begin with a kind, each kind from weak to strong.

    Examples
    --------
    >>> ranked(["forest_5", "unet_8", "unet_30", "atlases_0_1"])
    ['forest_1', 'unet_1', 'unet_2', 'atlases_1']
    """
    ranks: dict[str, int] = {}
    names = []
    for name in segmenters:
        kind = name.partition("_")[0]
        ranks[kind] = ranks.get(kind, 0) + 1
        names.append(f"{kind}_{ranks[kind]}")
    return names


def usable(ranked: Sequence[str]) -> list[str]:
    """Return the segmenters that a user would take, by `USABLE`; of another kind all.

    Parameters
    ----------
    ranked : sequence of str
        As `ranked` names them.

    Examples
    --------
    >>> usable(["forest_1", "forest_2", "unet_1", "unet_2", "unet_3", "atlases_1"])
    ['forest_2', 'unet_2', 'unet_3', 'atlases_1']
    """
    kinds = dict.fromkeys(name.rpartition("_")[0] for name in ranked)
    by_kind = [[name for name in ranked if name.rpartition("_")[0] == kind] for kind in kinds]
    counts = [USABLE.get(kind, len(ranked)) for kind in kinds]
    return [name for names, count in zip(by_kind, counts, strict=True) for name in names[-count:]]
