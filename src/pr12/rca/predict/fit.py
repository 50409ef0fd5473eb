"""Score references once, so that new cases need nothing of them: ``pr12 quality fit``.

    python -m pr12.rca.predict.fit reference=DIR out=MODEL [calibration=DIR] [--params '{}']

reference/ and calibration/ are as `pr12.rca.predict` reads them. The model is a folder of data, for
``python -m pr12.rca.predict model=MODEL``; a killed run goes on where it was. Exit codes: 0 all is
used; 1 the model is written, and a file could not be used; 2 a mistake; 130 interrupted.
"""

import shutil
import sys

from pr12.rca.predict import calibration, folders, models, patients, running
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict import subjects as predict_subjects
from pr12.rca.predict.models import Model
from pr12.rca.predict.settings import DEFAULTS, FITTED, KEPT
from pr12.workflow import step


def main(job: step.Job) -> int:
    """Read, score and write; return the exit code."""
    settings, paths, out = job.params, job.paths, job.paths["out"]
    patients.check(settings, paths)
    with running.alone(paths, "predictions.csv"), running.processes(settings):
        listed, unpaired = folders.find(paths)
        cases, unread = folders.read(listed, settings.largest_voxels)
        references = cases["reference"]
        cases, structures, renamed = predict_structures.numbered_alike(cases, settings.structures)
        known = patients.past(cases, structures, settings, paths)
        effort = running.effort(settings, references)
        scored = predict_subjects.scored(
            patients.wanted(known, cases, calibration.needed(0.5)),
            cases["reference"],
            len(structures),
            effort,
            settings.references,
            out / running.SCORES,
        )
        known = patients.with_scores(known, scored)
        scoring = {name: getattr(settings, name) for name in KEPT}
        bare = [case._replace(views=()) for case in references]
        models.write(out, Model(bare, scoring, known))
        shutil.rmtree(out / running.SCORES, ignore_errors=True)
    lost = [*unread, *renamed, *unpaired]
    for each in lost:
        print(f"not used: {each.case}: {each.note}", file=sys.stderr)
    of = "references with damaged labels"
    if known.source == "calibration":
        of = f"calibration cases of {len({*known.patients})} patients"
    print(
        f"{len(references)} references, {len(structures)} structures, {known.count} {of}. "
        f"Model: {out}",
        file=sys.stderr,
    )
    return 1 if any(each.kind for each in lost) else 0


if __name__ == "__main__":
    running.answer(
        main,
        __doc__,
        {name: DEFAULTS[name] for name in FITTED},
        reads=["reference"],
        optional=["calibration"],
    )
