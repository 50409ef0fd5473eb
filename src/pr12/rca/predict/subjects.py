"""What `pr12.rca.predict` scores: cases, calibration cases, and references with damaged labels."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.model.registration import Effort
from pr12.rca.predict import damage
from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict.cases import Case
from pr12.rca.predict.scores import Scored, Subject
from pr12.workflow import progress


def plain(case: Case, references: Sequence[Case], structures: int) -> Subject:
    """Return a case with its one segmentation, and its real Dice if that is known.

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
    """Yield references with damaged labels, which the other references judge.

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
        sorted(np.flatnonzero(judges), key=lambda other: (other - index) % len(judges))
        for index, judges in zip(wanted, others, strict=True)
    ]
    chosen = [sources[: damage.CARRIED] for sources in chosen]
    work = (
        (
            references[index]._replace(view=None),
            [references[other]._replace(view=None) for other in sources],
            effort,
            structures,
            zlib.crc32(references[index].content.encode()),  # its damage is its own
        )
        for index, sources in zip(wanted, chosen, strict=True)
    )
    results = spread(damage.damaged, work)
    for index, judges, sources, (maps, real, carried) in zip(
        wanted, others, chosen, results, strict=True
    ):
        judged = np.repeat(judges[None], len(maps), axis=0)
        for map_index, source in zip(range(len(maps) - carried, len(maps)), sources, strict=True):
            judged[map_index] &= _others(references[source], references)
        yield Subject(references[index], maps, judged, real)


def _others(case: Case, references: Sequence[Case]) -> np.ndarray:
    return np.array([reference.content != case.content for reference in references])


def scored(
    cases: Mapping[str, Sequence[Case]],
    source: str,
    structures: int,
    effort: Effort,
    enough: bool,
    folder: Path,
) -> dict[str, list[Scored]]:
    """Score the cases, and what calibrates them if there are enough; go on from what is there.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Of each folder, their labels 0 to S.
    source : str
        Which of them calibrate: ``calibration``, or ``reference``, which is damaged for it.
    structures : int
        S.
    effort : Effort
        Of the registrations.
    enough : bool
        Whether there are as many of them as intervals need.
    folder : Path
        Where the scores are written, each as soon as it is there.
    """
    references = cases["reference"]
    kinds = {"case": cases["case"], source: cases[source] if enough else []}
    keys = {kind: [f"{kind}_{i:05d}" for i in range(len(listed))] for kind, listed in kinds.items()}
    wanted = {
        kind: [i for i, key in enumerate(named) if not predict_scores.part(folder, key).exists()]
        for kind, named in keys.items()
    }
    missing = {}
    for kind, indices in wanted.items():
        if kind == "reference":
            subjects = damaged(indices, references, effort, structures)
            subjects = progress.follow(subjects, len(indices), lambda _: "references damaged")
        else:
            listed = (kinds[kind][i] for i in indices)
            subjects = (plain(case, references, structures) for case in listed)
        missing |= {keys[kind][i]: subject for i, subject in zip(indices, subjects, strict=True)}
    every = [key for named in keys.values() for key in named]
    results = predict_scores.scored(every, missing, references, effort, structures, folder)
    return {kind: [results[key] for key in named] for kind, named in keys.items()}
