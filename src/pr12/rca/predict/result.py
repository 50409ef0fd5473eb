"""From scores to what `pr12.rca.predict` writes and prints."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pr12.rca.predict import calibration, damage, page, plot, rows
from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict import summary as predict_summary
from pr12.rca.predict.calibration import Points
from pr12.rca.predict.cases import Case, View
from pr12.rca.predict.models import Past
from pr12.rca.predict.reading import grids
from pr12.rca.predict.rows import Reading
from pr12.rca.predict.scores import Scored
from pr12.rca.predict.settings import Settings
from pr12.rca.predict.summary import Disputed, Summary
from pr12.workflow import files
from pr12.workflow.errors import UserError

WRITTEN = ("predictions.csv", "predictions.json", "predictions.png", "index.html")
MOST_LINES = 20  # of what is missing, on the terminal


def reading(
    cases: Mapping[str, Sequence[Case]],
    past: Past,
    structures: tuple[int | str, ...],
    settings: Settings,
) -> Reading:
    """Calibrate, and find out which structures can be predicted.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Of each folder, their labels 0 to S.
    past : Past
        What calibrates.
    structures : tuple of int or str
        The S structures, by name, or by number where they have none.
    settings : Settings
        The command's.

    Raises
    ------
    UserError
        If the calibration cases cannot be right in any structure.
    """
    points = _points(past, len(structures), settings.estimator)
    calibrated = [
        calibration.calibrate(each, settings.coverage, settings.threshold, settings.missed)
        for each in points
    ]
    reasons = {index: reason for index, (_, reason) in enumerate(calibrated) if reason}
    honest = past.source == "calibration"
    known = predict_structures.numbers(cases["reference"])
    if honest and {number - 1 for number in known} <= reasons.keys():
        index, reason = next(iter(reasons.items()))
        raise UserError(
            f"the cases of calibration=DIR cannot calibrate: of structure {structures[index]} "
            f"{reason}; mend them, or leave calibration=DIR out"
        )
    foreign = any(case.foreign for case in cases["case"])
    unsure = known - predict_structures.numbers(cases["case"]) if foreign else set()
    asked = set(range(1, len(structures) + 1)) if settings.structures else set()
    return Reading(
        structures,
        known,
        asked,
        unsure,
        [each for each, _ in calibrated],
        reasons,
        settings.estimator,
        settings.threshold,
        settings.coverage,
        honest,
    )


def _points(past: Past, structures: int, estimator: str) -> list[Points]:
    """Return what is known of each structure."""
    if not past.scored:
        nothing = np.zeros(0)
        return [Points(nothing, nothing, nothing, nothing)] * structures
    raw = [predict_scores.estimated(subject, estimator) for subject in past.scored]
    real = [subject.real for subject in past.scored]
    kinds = [
        damage.kinds(len(each)) if past.source == "reference" else [""] * len(each) for each in raw
    ]
    return [
        calibration.points(raw, real, past.patients, kinds, index) for index in range(structures)
    ]


def summary(
    cases: Mapping[str, Sequence[Case]],
    scored: Sequence[Scored],
    past: Past,
    reading: Reading,
    settings: Settings,
) -> Summary:
    """Predict all cases, worst first.

    Parameters
    ----------
    cases, past, settings
        As in `reading`.
    scored : sequence of Scored
        The cases'.
    reading : Reading
        How scores are read.

    Raises
    ------
    UserError
        If nothing can be predicted.
    """
    by_case = [
        rows.rows_of(case, result, reading)
        for case, result in zip(cases["case"], scored, strict=True)
    ]
    if all(row.predicted_dice is None for listed in by_case for row in listed):
        raise UserError(
            f"nothing could be predicted; the first case: {'; '.join(by_case[0][0].notes)}"
        )
    maps = {
        case.name: _most_disputed(case, result)
        for case, result in zip(cases["case"], scored, strict=True)
        if result.disagreement.ndim
    }
    warned = predict_summary.warnings(by_case, cases, past, reading)
    return Summary(
        by_case=rows.worst_first(by_case),
        views={case.name: case.views for case in cases["case"]},
        disputed=maps,
        structures=reading.structures,
        unused=[],
        threshold=settings.threshold,
        coverage=settings.coverage,
        warnings=[*warned, *_drifted(scored, past, reading), *_bad_references(cases, scored)],
        calibration=predict_summary.calibrated(
            past,
            reading,
            settings.missed,
            _points(past, len(reading.structures), reading.estimator),
        ),
        method=predict_summary.method(
            min(settings.references, len(cases["reference"])), reading.estimator
        ),
    )


def _most_disputed(case: Case, scored: Scored) -> Disputed:
    """Return the slice on which references disagree most with a segmentation."""
    share, image, spacing, place = scored.disagreement, case.image, case.spacing, ""
    labels = case.labels
    if image.ndim == 3:
        axis = spacing.index(max(spacing))
        others = tuple(other for other in range(3) if other != axis)
        index = int(share.sum(axis=others).argmax())
        parts = [part.take(index, axis=axis) for part in (share, image, labels)]
        turned = bool(axis) and case.placed  # as the other slices are shown
        share, image, labels = (part[::-1] for part in parts) if turned else parts
        spacing = tuple(step for other, step in enumerate(spacing) if other != axis)
        place = f"slice {index + 1} of {case.image.shape[axis]}"
    grey = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    view = View(grey, np.ascontiguousarray(labels, np.int32), spacing, place)
    return Disputed(view, np.rint(255 * share).astype(np.uint8))


def _drifted(scored: Sequence[Scored], past: Past, reading: Reading) -> list[str]:
    """Say in what the cases are unlike those that calibrated them."""
    if not past.scored:
        return []
    kinds: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "how well they register to the references": (
            _best_similarity(scored),
            _best_similarity(past.scored),
        )
    }
    if reading.honest:
        new, old = (
            np.concatenate([predict_scores.estimated(each, reading.estimator) for each in some])
            for some in (scored, past.scored)
        )
        for number in reading.known:
            title = f"the scores of structure {reading.structures[number - 1]}"
            kinds[title] = (new[:, number - 1], old[:, number - 1])
    differ = calibration.drift(
        {name: new for name, (new, _) in kinds.items()},
        {name: old for name, (_, old) in kinds.items()},
    )
    return [
        f"the cases are unlike those that calibrated in {name} (p = {probability:.1g}), so that "
        f"{'intervals, bounds and flags' if reading.honest else 'rough ranges'} may not hold: give "
        "calibration cases of the same kind"
        for name, probability in differ.items()
    ]


def _best_similarity(scored: Sequence[Scored]) -> np.ndarray:
    return np.array(
        [np.max(each.similarity, initial=-1, where=~np.isnan(each.similarity)) for each in scored]
    )


def _bad_references(cases: Mapping[str, Sequence[Case]], scored: Sequence[Scored]) -> list[str]:
    """Name references that register with most cases badly, where others register well."""
    similar = np.array([each.similarity for each in scored])
    judged = ~np.isnan(similar).all(axis=0)
    middle = np.full(similar.shape[1], np.nan)
    middle[judged] = np.nanmedian(similar[:, judged], axis=0)
    if not judged.any() or np.nanmax(middle) < rows.LEAST_SIMILAR:
        return []  # then the cases are named
    sentences = []
    for case, value in zip(cases["reference"], middle, strict=True):
        if value < rows.LEAST_SIMILAR:
            why = "its contrast is inverted" if value < -rows.LEAST_SIMILAR else "it fits none"
            sentences.append(
                f"the reference {case.name} registers badly with most cases (correlation of "
                f"intensities {value:.2f}: {why}); leave it out"
            )
    return sentences


def write(out: Path, summary: Summary, cases: Sequence[Case], scored: Sequence[Scored]) -> None:
    """Write tables, plot, page and maps of disagreement.

    Parameters
    ----------
    out : Path
        The folder.
    summary : Summary
        All that is known.
    cases : sequence of Case
        With a segmentation.
    scored : sequence of Scored
        Theirs.
    """
    picture = plot.plot(summary)
    before = rows.cases_of(out / "predictions.json")
    rows.write(out / "predictions.csv", summary.by_case, summary.unused)
    about = {
        "threshold": summary.threshold,
        "coverage": summary.coverage,
        "calibration": summary.calibration,
        "method": summary.method,
        "warnings": list(summary.warnings),
    }
    rows.write_json(out / "predictions.json", summary.by_case, summary.unused, about)
    maps = {
        f"{case.name}.nii.gz": (case, result.disagreement)
        for case, result in zip(cases, scored, strict=True)
        if result.disagreement.ndim
    }
    for name, (case, share) in maps.items():
        with files.atomic(out / "disagreement" / name) as temporary:
            temporary.write_bytes(
                grids.compressed(share, case.spacing, case.origin, case.direction)
            )
    for name in {f"{case}.nii.gz" for case in before} - maps.keys():
        (out / "disagreement" / name).unlink(missing_ok=True)  # of a case that is gone
    for name, content in (
        ("predictions.png", picture),
        ("index.html", page.page(summary, picture).encode()),
    ):
        with files.atomic(out / name) as temporary:
            temporary.write_bytes(content)
    for path in map(out.joinpath, WRITTEN):  # parts of a run that was killed
        for part in out.glob(f".{path.stem}.*.part{path.suffix}"):
            part.unlink()


def tell(out: Path, summary: Summary, reading: Reading) -> int:
    """Print warnings, what is missing, and the headline.

    Parameters
    ----------
    out : Path
        The folder of the page.
    summary : Summary
        All that is known.
    reading : Reading
        How scores were read.

    Returns
    -------
    int
        The exit code: 1 if something that was asked for is missing.
    """
    for text in summary.warnings:
        print(f"warning: {text}", file=sys.stderr)
    expected = [
        structure
        for number, structure in enumerate(reading.structures, start=1)
        if number in reading.known or number in reading.asked
    ]
    lines = predict_summary.missing(summary, expected)
    for line in lines[:MOST_LINES]:
        print(line, file=sys.stderr)
    if len(lines) > MOST_LINES:
        print(f"{len(lines) - MOST_LINES} more: see predictions.csv", file=sys.stderr)
    print(f"{predict_summary.headline(summary)} See {out / 'index.html'}", file=sys.stderr)
    return 1 if lines else 0
