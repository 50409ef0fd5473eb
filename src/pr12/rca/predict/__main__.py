"""Predict how good segmentations are, without their truth, from references that have one.

    python -m pr12.rca.predict images=DIR segmentations=DIR reference=DIR out=DIR \
[calibration=DIR] [--params '{"threshold": 0.7}']

images/ and segmentations/ hold the cases, paired by name: NIfTI (.nii, .nii.gz), NRRD, MetaImage
(.mha, .mhd), PNG or NumPy, 2-D or 3-D, or an image as a folder with one DICOM series. nnU-Net's
case_0000.nii.gz belongs to its case.nii.gz; a label map may be a folder with a file for each organ,
as TotalSegmentator writes them. reference/ holds images/ and labels/ (or nnU-Net's imagesTr/ and
labelsTr/ with dataset.json, whose names structures get, or TotalSegmentator's folders of subjects)
that are trusted, of the same part of the body in the same field of view. calibration/ holds
images/, segmentations/ and labels/: cases of your own segmenter whose truth is known. In out/
appear predictions.csv, predictions.png and index.html.

The method is reverse classification accuracy with single-atlas registration (Valindria et al.
2017): each case is registered to each reference, its segmentation is carried along and compared
with the reference's labels; the best Dice over references is the raw score. A map fitted on
calibration cases turns it into a prediction with a conformal interval. Without calibration=DIR
the references' own labels are damaged in graded ways: such intervals hold for errors of that kind,
and calibration=DIR is the honest way.

A killed run goes on where it was. A run with another threshold, coverage or estimator takes the
scores of the run before. Exit codes: 0 all that was asked for is predicted; 1 predictions are
written, and something is missing (it is listed at the end, in the table and on the page); 2 a
mistake, nothing is written; 130 interrupted.
"""

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from pr12.rca.model.registration import Effort
from pr12.rca.predict import calibration, folders, result
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict import subjects as predict_subjects
from pr12.rca.predict.settings import DEFAULTS, Settings, in_words
from pr12.workflow import address, step
from pr12.workflow.errors import UserError

SHRINK = {2: (2,), 3: (4, 2)}  # by dimension


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
        given = json.loads(rest[place], object_pairs_hook=step.once)
    except (IndexError, ValueError, RecursionError, UserError):
        return rest  # `step.start` says what is wrong
    if isinstance(given, dict):
        rest[place] = json.dumps(DEFAULTS | in_words(given))
    return rest


def main(job: step.Job) -> int:
    """Read, score, calibrate and write; return the exit code."""
    settings, paths, out = job.params, job.paths, job.paths["out"]
    with _alone(paths):
        listed, unpaired = folders.find(paths)
        cases, unread = folders.read(listed, settings.largest_voxels)
        cases, numbers, renamed = predict_structures.numbered_alike(cases, settings.structures)
        structures = predict_structures.titles(numbers, cases["reference"][0].names)
        source = "calibration" if "calibration" in cases else "reference"
        folder = out / f".resume_{_fingerprint(listed, settings)}"
        effort = Effort(
            settings.affine_iterations,
            settings.shrink or SHRINK[cases["reference"][0].image.ndim],
            settings.deformable_iterations,
            settings.smoothing,
        )
        enough = len(cases[source]) >= calibration.needed(settings.coverage)
        scores = predict_subjects.scored(cases, source, len(structures), effort, enough, folder)
        reading = result.reading(cases, scores[source], structures, settings, source)
        summary = result.summary(cases, scores["case"], reading, settings, source)
        summary = summary._replace(unused=[*unread, *renamed, *unpaired])
        result.write(out, summary)
        for other in {*out.glob(".resume_*"), *out.glob(".*.part.*")} - {folder}:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    return result.tell(out, summary, reading)


@contextmanager
def _alone(paths: Mapping[str, Path]) -> Iterator[None]:
    """Keep other runs out of the output folder, which must be one that can be written to."""
    out = paths["out"]
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
        lock = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UserError(
            f"cannot write into the folder out={out}: {error.strerror}; give another folder"
        ) from error
    for name, path in paths.items():
        if name != "out" and out.resolve() in (path.resolve(), *path.resolve().glob("*/")):
            raise UserError(f"out={out} lies in {name}={path}; give a folder of its own")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, even if killed
        yield
    except BlockingIOError:
        raise UserError(
            f"another run is writing into out={out}; wait for its end or give another folder"
        ) from None
    finally:
        os.close(lock)


def _fingerprint(listed: Mapping[str, Sequence[folders.Files]], settings: Settings) -> str:
    """Return the digest of all that the scores depend on: files, params and source."""
    names = ("structures", "affine_iterations", "deformable_iterations", "shrink", "smoothing")
    return address.digest(
        [address.source_digest(module.__name__) for module in (folders, predict_subjects)],
        {name: getattr(settings, name) for name in (*names, "largest_voxels")},
        folders.digest(listed),
    )


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
            code = main(job)
        except BrokenProcessPool:  # as joblib's, too
            raise UserError(
                "a process was killed, perhaps for want of memory; run the same command again, "
                "with OMP_NUM_THREADS=1 before it for one process"
            ) from None
    raise SystemExit(code)
