"""Predict how good segmentations are, without their truth, from references that have one.

    python -m pr12.rca.predict images=DIR segmentations=DIR reference=DIR out=DIR \
[calibration=DIR] [--params '{"threshold": 0.7}']

images/ and segmentations/ hold the cases, paired by name: NIfTI (.nii, .nii.gz), PNG or NumPy,
2-D or 3-D. reference/ holds images/ and labels/ that are trusted, of the same part of the body in
the same field of view. calibration/ holds images/, segmentations/ and labels/: cases of your own
segmenter whose truth is known. In out/ appear predictions.csv, predictions.png and index.html.

The method is reverse classification accuracy with single-atlas registration (Valindria et al.
2017): each case is registered to each reference, its segmentation is carried along and compared
with the reference's labels; the best Dice over references is the raw score. A map fitted on
calibration cases turns it into a prediction with a conformal interval. Without calibration=DIR
the references' own labels are damaged in graded ways: such intervals hold for errors of that kind,
and calibration=DIR is the honest way.

A killed run goes on where it was. A run with another threshold, coverage or estimator takes the
scores of the run before.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic.dataclasses import dataclass

from pr12.rca.model.registration import Effort
from pr12.rca.predict import calibration, folders, page, plot, rows
from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict import subjects as predict_subjects
from pr12.rca.predict import summary as predict_told
from pr12.rca.predict.cases import Case, Files
from pr12.rca.predict.scores import Scored
from pr12.workflow import address, files, progress, step
from pr12.workflow.errors import UserError
from pr12.workflow.params import STRICT

SHRINK = {2: (2,), 3: (4, 2)}  # by dimension


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Params of a prediction; not called Params, for no workflow runs this step."""

    threshold: Annotated[float, Interval(ge=0, le=1)]  # a lower predicted Dice is flagged
    coverage: Annotated[float, Interval(ge=0.5, le=0.99)]  # nominal, of the intervals
    estimator: Literal["max", "mean", "top3"]  # over references; the paper's is max
    structures: Annotated[tuple[int, ...], MinLen(1)] | None  # null: all in the label maps
    affine_iterations: Annotated[int, Ge(0)]
    deformable_iterations: Annotated[int, Ge(0)]
    shrink: Annotated[tuple[int, ...], MinLen(1)] | None  # null: [4, 2] in 3-D, [2] in 2-D
    smoothing: Annotated[float, Gt(0)]  # of the displacements, voxels
    largest_voxels: Annotated[int, Ge(1000)]  # larger images are averaged down to it


DEFAULTS = {
    "threshold": 0.7,
    "coverage": 0.9,
    "estimator": "max",
    "structures": None,
    "affine_iterations": 40,
    "deformable_iterations": 25,
    "shrink": None,
    "smoothing": 1.0,
    "largest_voxels": 262_144,
}


def with_defaults(arguments: Sequence[str]) -> list[str]:
    """Lay a user's params over `DEFAULTS`; what is no JSON object is left for `step.start`.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.

    Examples
    --------
    >>> line = with_defaults(["out=a", "--params", '{"threshold": 0.5}'])
    >>> json.loads(line[2]) == DEFAULTS | {"threshold": 0.5}
    True
    >>> json.loads(with_defaults(["out=a"])[1]) == DEFAULTS
    True
    """
    rest = list(arguments)
    if "--params" not in rest:
        return ["--params", json.dumps(DEFAULTS), *rest]
    place = rest.index("--params") + 1
    try:
        given = json.loads(rest[place])
    except (IndexError, ValueError):
        return rest
    if isinstance(given, dict):
        rest[place] = json.dumps(DEFAULTS | given)
    return rest


def main(job: step.Job) -> None:
    """Read, score, calibrate and write."""
    settings, paths, out = job.params, job.paths, job.paths["out"]
    _check(settings, paths)
    found, unpaired = folders.find(paths)
    cases, unread = folders.read(found, settings.largest_voxels)
    cases, structures = predict_structures.numbered_alike(cases, settings.structures)
    source = "calibration" if "calibration" in cases else "reference"
    folder = out / f".resume_{_fingerprint(found, settings)}"
    scores = _scored(cases, source, len(structures), settings, folder)
    calibrations = calibration.calibrate(
        [predict_scores.estimated(own.scores, settings.estimator) for own in scores[source]],
        [own.real for own in scores[source]],
        len(structures),
        settings.coverage,
    )
    known = predict_structures.numbers(cases["reference"])
    by_case = [
        rows.rows_of(
            case,
            own.scores[0],
            structures,
            known,
            calibrations,
            settings.estimator,
            settings.threshold,
        )
        for case, own in zip(cases["case"], scores["case"], strict=True)
    ]
    told = predict_told.Told(
        by_case=rows.worst_first(by_case),
        views={case.name: case.view for case in cases["case"]},
        structures=structures,
        unused=[*unread, *unpaired],
        threshold=settings.threshold,
        coverage=settings.coverage,
        **predict_told.texts(
            cases,
            source,
            structures,
            known,
            {number for number in known if calibrations[number - 1] is None},
            settings.coverage,
            settings.estimator,
        ),
    )
    for text in told.warnings:
        print(f"warning: {text}", file=sys.stderr)
    picture = plot.plot(told)
    rows.write(out / "predictions.csv", told.by_case, told.unused)
    for name, content in (
        ("predictions.png", picture),
        ("index.html", page.page(told, picture).encode()),
    ):
        with files.atomic(out / name) as temporary:
            temporary.write_bytes(content)
    for other in set(out.glob(".resume_*")) - {folder}:
        shutil.rmtree(other, ignore_errors=True)
    print(f"{predict_told.summary(told)} See {out / 'index.html'}", file=sys.stderr)


def _check(settings: Settings, paths: Mapping[str, Path]) -> None:
    """Refuse what no type says, before any work."""
    for key, least in (("shrink", 1), ("structures", 1)):
        values = getattr(settings, key)
        if values is not None and min(values) < least:
            raise UserError(f"--params.{key} is {list(values)}; each must be at least {least}")
    out = paths["out"]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder out={out}: {error.strerror}") from error
    for name, path in paths.items():
        if name != "out" and out.resolve() in (path.resolve(), *path.resolve().glob("*/")):
            raise UserError(f"out={out} lies in {name}={path}; give a folder of its own")


def _fingerprint(found: Mapping[str, Sequence[Files]], settings: Settings) -> str:
    """Give the digest of all that the scores depend on: files, params and source."""
    names = ("structures", "affine_iterations", "deformable_iterations", "shrink", "smoothing")
    return address.digest(
        [address.source_digest(module.__name__) for module in (folders, predict_subjects)],
        {name: getattr(settings, name) for name in (*names, "largest_voxels")},
        {
            kind: [[own.name, *(_digest(path) for path in own[1:] if path)] for own in listed]
            for kind, listed in found.items()
        },
    )


def _digest(path: Path) -> str:
    try:
        return files.sha256(path)
    except OSError:  # it is told as a file that cannot be used
        return ""


def _scored(
    cases: Mapping[str, Sequence[Case]],
    source: str,
    structures: int,
    settings: Settings,
    folder: Path,
) -> dict[str, list[Scored]]:
    """Score the cases, and what calibrates them if there are enough."""
    references = cases["reference"]
    shrink = settings.shrink or SHRINK[references[0].image.ndim]
    effort = Effort(
        settings.affine_iterations, shrink, settings.deformable_iterations, settings.smoothing
    )
    enough = len(cases[source]) >= calibration.needed(settings.coverage)
    kinds = {"case": cases["case"], source: cases[source] if enough else []}
    keys = {kind: [f"{kind}_{i:05d}" for i in range(len(own))] for kind, own in kinds.items()}
    wanted = {
        kind: [i for i, key in enumerate(own) if not predict_scores.part(folder, key).exists()]
        for kind, own in keys.items()
    }
    missing = {}
    for kind, own in wanted.items():
        if kind == "reference":
            subjects = predict_subjects.damaged(own, references, effort, structures)
            subjects = progress.follow(subjects, len(own), lambda _: "references damaged")
        else:
            listed = (kinds[kind][i] for i in own)
            subjects = (predict_subjects.plain(case, references, structures) for case in listed)
        missing |= {keys[kind][i]: subject for i, subject in zip(own, subjects, strict=True)}
    every = [key for own in keys.values() for key in own]
    found = predict_scores.scored(every, missing, references, effort, structures, folder)
    return {kind: [found[key] for key in own] for kind, own in keys.items()}


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(__doc__, "Params and their defaults:\n", json.dumps(DEFAULTS, indent=1), sep="\n")
        raise SystemExit(0)
    with step.start(
        Settings,
        reads=["images", "segmentations", "reference"],
        optional=["calibration"],
        writes=["out"],
        arguments=with_defaults(sys.argv[1:]),
    ) as job:
        try:
            main(job)
        except BrokenProcessPool:  # as joblib's, too
            raise UserError(
                "a process was killed, perhaps for want of memory; run the same command again, "
                "with OMP_NUM_THREADS=1 before it for one process"
            ) from None
