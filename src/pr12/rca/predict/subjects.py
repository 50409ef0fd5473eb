"""What `pr12.rca.predict` scores: cases, calibration cases, and references with damaged labels."""

import hashlib
import re
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
from pr12.workflow import address, progress

KEY = re.compile(r"[0-9a-f]{10}")  # what is called otherwise is not of this tool


def plain(case: Case, references: Sequence[Case], structures: int, most: int) -> Subject:
    """Return a case with its one segmentation, and its real Dice if that is known.

    Parameters
    ----------
    case : Case
        Its labels 0 to S.
    references : sequence of Case
        R of them; those with the case's own image do not judge.
    structures : int
        S.
    most : int
        References that judge it.
    """
    real = np.full((1, structures), np.nan)
    for number, dice in case.real.items():
        real[0, number - 1] = dice
    return Subject(case, case.labels[None], _judges(case, references, most)[None], real)


def damaged(
    wanted: Sequence[int],
    references: Sequence[Case],
    effort: Effort,
    structures: int,
    most: int,
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
    most : int
        References that judge each.
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
            references[index]._replace(views=()),
            [references[other]._replace(views=()) for other in sources],
            effort,
            structures,
            zlib.crc32(references[index].content.encode()),  # its damage is its own
        )
        for index, sources in zip(wanted, chosen, strict=True)
    )
    results = spread(damage.damaged, work)
    for index, sources, (maps, real, carried) in zip(wanted, chosen, results, strict=True):
        judges = _judges(references[index], references, most)
        judged = np.repeat(judges[None], len(maps), axis=0)
        for map_index, source in zip(range(len(maps) - carried, len(maps)), sources, strict=True):
            judged[map_index] &= _others(references[source], references)
        yield Subject(references[index], maps, judged, real)


def _others(case: Case, references: Sequence[Case]) -> np.ndarray:
    return np.array([reference.content != case.content for reference in references])


def _judges(case: Case, references: Sequence[Case], most: int) -> np.ndarray:
    """Tell which references judge a case: some of those of other images, the same for all cases."""
    order = np.random.default_rng(0).permutation(len(references))
    allowed = _others(case, references)
    judges = np.zeros(len(references), bool)
    judges[[index for index in order if allowed[index]][:most]] = True
    return judges


def keys(
    kind: str,
    cases: Sequence[Case],
    references: Sequence[Case],
    structures: int,
    effort: Effort,
    most: int,
) -> list[str]:
    """Return under which key the scores of each case are kept: that of all they depend on.

    Parameters
    ----------
    kind : str
        ``case``, ``calibration`` or ``reference``, whose labels are damaged.
    cases : sequence of Case
        Their labels 0 to S.
    references : sequence of Case
        R of them.
    structures : int
        S.
    effort : Effort
        Of the registrations.
    most : int
        References that judge each.
    """
    code = [address.source_digest(name) for name in (__name__, predict_scores.__name__)]
    trusted = [_content(reference) for reference in references]
    shared = [code, kind == "reference", structures, list(effort), most, trusted]
    return [address.digest(shared, _content(case), sorted(case.real.items())) for case in cases]


def _content(case: Case) -> str:
    """Return the digest of what is registered and compared of a case."""
    parts = (case.image, case.labels, np.array(case.spacing))
    arrays = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return hashlib.sha256(arrays + case.content.encode()).hexdigest()


def scored(
    cases: Mapping[str, Sequence[Case]],
    references: Sequence[Case],
    structures: int,
    effort: Effort,
    most: int,
    folder: Path,
) -> dict[str, list[Scored]]:
    """Score cases, calibration cases and damaged references; take what was scored before.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Kind -> those to be scored, their labels 0 to S.
    references : sequence of Case
        R of them.
    structures : int
        S.
    effort : Effort
        Of the registrations.
    most : int
        References that judge each.
    folder : Path
        Where the scores are written, each as soon as it is there; what is of no use there any more
        is removed.
    """
    named = {
        kind: keys(kind, listed, references, structures, effort, most)
        for kind, listed in cases.items()
    }
    missing = {}
    for kind, listed in cases.items():
        indices = [
            index
            for index, key in enumerate(named[kind])
            if key not in missing and not predict_scores.part(folder, key).exists()
        ]
        if kind == "reference":
            subjects = damaged(indices, references, effort, structures, most)
            subjects = progress.follow(subjects, len(indices), lambda _: "references damaged")
        else:
            subjects = (plain(listed[index], references, structures, most) for index in indices)
        missing |= {named[kind][i]: subject for i, subject in zip(indices, subjects, strict=True)}
    every = list(dict.fromkeys(key for listed in named.values() for key in listed))
    results = predict_scores.scored(every, missing, references, effort, structures, folder)
    written = {path for path in folder.glob("*.safetensors") if KEY.fullmatch(path.stem)}
    for path in written - {predict_scores.part(folder, key) for key in every}:
        path.unlink()
    return {kind: [results[key] for key in listed] for kind, listed in named.items()}
