"""What `pr12.rca.predict` scores: cases, calibration cases, and references with damaged labels."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.model.registration import Effort
from pr12.rca.predict import damage
from pr12.rca.predict.cases import Case
from pr12.rca.predict.scores import Subject


def plain(case: Case, references: Sequence[Case], structures: int) -> Subject:
    """Give a case with its one segmentation, and its real Dice if that is known.

    Parameters
    ----------
    case : Case
        Its labels 0 to S.
    references : sequence of Case
        R of them; those with the case's own image do not judge.
    structures : int
        S.
    """
    real = np.full((1, structures), np.nan)
    for number, dice in case.real.items():
        real[0, number - 1] = dice
    return Subject(case, case.labels[None], _others(case, references)[None], real)


def damaged(
    wanted: Sequence[int], references: Sequence[Case], effort: Effort, structures: int
) -> Iterator[Subject]:
    """Give references with damaged labels, which the other references judge.

    Labels that were carried over from a reference are not judged by that one (nor by another with
    its image): its own labels would come back to it.

    Parameters
    ----------
    wanted : sequence of int
        Which references.
    references : sequence of Case
        All of them, their labels 0 to S.
    effort : Effort
        Of the registrations that carry labels over.
    structures : int
        S.
    """
    others = [_others(references[index], references) for index in wanted]
    chosen = [
        # The next ones in the list, around its end
        sorted(np.flatnonzero(own), key=lambda other: (other - index) % len(own))
        for index, own in zip(wanted, others, strict=True)
    ]
    chosen = [own[: damage.CARRIED] for own in chosen]
    work = (
        (
            references[index]._replace(view=None),
            [references[other]._replace(view=None) for other in own],
            effort,
            structures,
            zlib.crc32(references[index].content.encode()),  # its damage is its own
        )
        for index, own in zip(wanted, chosen, strict=True)
    )
    results = spread(damage.damaged, work)
    for index, judges, own, (maps, real, carried) in zip(
        wanted, others, chosen, results, strict=True
    ):
        judged = np.repeat(judges[None], len(maps), axis=0)
        for map_index, source in zip(range(len(maps) - carried, len(maps)), own, strict=True):
            judged[map_index] &= _others(references[source], references)
        yield Subject(references[index], maps, judged, real)


def _others(case: Case, references: Sequence[Case]) -> np.ndarray:
    return np.array([own.content != case.content for own in references])
