"""Predict how good segmentations are, without their truth, from references that have one.

    python -m pr12.rca.predict images=DIR segmentations=DIR out=DIR \
reference=DIR [calibration=DIR] | model=MODEL [--params '{"threshold": 0.7}']

images/ and segmentations/ hold the cases, paired by name: NIfTI (.nii, .nii.gz), NRRD, MetaImage
(.mha, .mhd), PNG or NumPy, 2-D or 3-D, or an image as a folder with one DICOM series. nnU-Net's
case_0000.nii.gz belongs to its case.nii.gz; a label map may be a folder with a file for each organ,
as TotalSegmentator writes them. reference/ holds images/ and labels/ (or nnU-Net's imagesTr/ and
labelsTr/ with dataset.json, whose names structures get, or TotalSegmentator's folders of subjects)
that are trusted, of the same part of the body in the same field of view. calibration/ holds
images/, segmentations/ and labels/: cases of your own segmenter whose truth is known. A model, as
`pr12.rca.predict.fit` writes it, stands for both. In out/ appear predictions.csv and .json,
predictions.png, index.html and disagreement/.

The method is reverse classification accuracy with single-atlas registration (Valindria et al.
2017), in the direction of Robinson et al. (2019): each reference is registered to the case, its
labels are carried along and compared with the segmentation; the best Dice over references is the
raw score. With calibration cases a map turns it into a prediction with a conformal interval, a
bound from below, and a flag that lets few failures pass. Without them the references' own labels
are damaged in graded ways: that gives a ranking and a rough range, and how often such a range held
for damage that it was not made from is said.

A killed run goes on where it was, and what was scored before is not scored again. Exit codes: 0 all
that was asked for is predicted; 1 predictions are written, and something is missing (it is listed
at the end, in the table and on the page); 2 a mistake, nothing is written; 3 with fail_on_flag: a
case is flagged; 130 interrupted.
"""

from pr12.rca.predict import calibration, folders, models, patients, result, running
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict import subjects as predict_subjects
from pr12.rca.predict.settings import DEFAULTS
from pr12.workflow import step
from pr12.workflow.errors import UserError

FLAGGED = 3  # exit code


def main(job: step.Job) -> int:
    """Read, score, calibrate and write; return the exit code."""
    settings, paths, out = job.params, job.paths, job.paths["out"]
    if ("model" in paths) == ("reference" in paths):
        raise UserError("give either reference=DIR or model=MODEL, which has the references")
    if "model" in paths and "calibration" in paths:
        raise UserError("calibration=DIR belongs to the fit of a model; leave it out, or fit anew")
    patients.check(settings, paths)
    with running.alone(paths, "model.json"), running.processes(settings):
        model = models.read(paths["model"]) if "model" in paths else None
        if model:
            settings = models.with_settings(settings, model, paths["model"])
        listed, unpaired = folders.find(paths)
        references = model.references if model else ()
        cases, unread = folders.read(listed, settings.largest_voxels, references)
        cases, numbers, renamed = predict_structures.numbered_alike(cases, settings.structures)
        structures = predict_structures.titles(numbers, cases["reference"][0].names)
        known = (
            models.laid_on(model.past, numbers)
            if model
            else patients.past(cases, numbers, settings, paths)
        )
        least = calibration.needed(settings.coverage)
        scored = predict_subjects.scored(
            {"case": cases["case"]} | ({} if model else patients.wanted(known, cases, least)),
            cases["reference"],
            len(structures),
            running.effort(settings, cases["reference"]),
            settings.references,
            out / running.SCORES,
        )
        known = known if model else patients.with_scores(known, scored)
        reading = result.reading(cases, known, structures, settings)
        summary = result.summary(cases, scored["case"], known, reading, settings)
        summary = summary._replace(unused=[*unread, *renamed, *unpaired])
        result.write(out, summary, cases["case"], scored["case"])
    code = result.tell(out, summary, reading)
    flagged = any(row.flagged for rows in summary.by_case for row in rows)
    return FLAGGED if settings.fail_on_flag and flagged else code


if __name__ == "__main__":
    running.answer(
        main,
        __doc__,
        DEFAULTS,
        reads=["images", "segmentations"],
        optional=["reference", "model", "calibration"],
    )
