"""The folders that `pr12.rca.predict` is given: their files, and the cases read from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pr12.core.parallel import spread
from pr12.rca.predict import cases as predict_cases
from pr12.rca.predict.cases import Case, Files, Unused
from pr12.rca.predict.reading import files as user_files
from pr12.rca.predict.reading import layouts, names
from pr12.workflow import progress
from pr12.workflow.errors import UserError

KINDS = {"case": "cases", "reference": "references", "calibration": "calibration cases"}


def find(paths: Mapping[str, Path]) -> tuple[dict[str, list[Files]], list[Unused]]:
    """Find the files of all references, cases and calibration cases.

    Parameters
    ----------
    paths : mapping of str to Path
        ``reference``, ``images`` with ``segmentations``, ``calibration``: those that are there.

    Returns
    -------
    files : dict of str to list of Files
        ``reference``, ``case`` and ``calibration``, of which a folder is given.
    unused : list of Unused
        Files without partner, and of other formats.

    Raises
    ------
    UserError
        If a folder is missing, or nothing in it can be paired.
    """
    folders = {}
    if "reference" in paths:
        images, labels = layouts.trusted(paths["reference"])
        known = names.data_set([paths["reference"], labels])
        folders["reference"] = (images, labels, "label map", known)
    if "images" in paths:
        images, labels = paths["images"], paths["segmentations"]
        known = names.data_set([labels, *_data_set_of(images)])
        folders["case"] = (images, labels, "segmentation", known)
    files: dict[str, list[Files]] = {}
    unused: dict[str, str] = {}  # sentence -> what is lost, each once
    for kind, (images, labels, what, known) in folders.items():
        pairs, unpaired, unread = layouts.pair_files(images, labels, what, known.ending)
        files[kind] = [Files(*pair[:3], None, known.names, pair.notes) for pair in pairs]
        unused |= dict.fromkeys([*unread, *filter(None, [known.problem])], "")
        unused |= dict.fromkeys(unpaired, kind)
    if "calibration" in paths:
        files["calibration"], lost = _find_calibration(paths["calibration"])
        unused |= lost
    return files, [Unused("", note, kind) for note, kind in unused.items()]


def _data_set_of(images: Path) -> list[Path]:
    """Return the folder of the data set of which a folder holds the images, if it is nnU-Net's."""
    return [images.parent] if images.name.startswith("images") else []


def _find_calibration(folder: Path) -> tuple[list[Files], dict[str, str]]:
    images, segmentations, labels = (
        folder / name for name in ("images", "segmentations", "labels")
    )
    known = names.data_set([folder, segmentations, labels])
    pairs, unpaired, unread = layouts.pair_files(
        images, segmentations, "segmentation", known.ending
    )
    others, lone, more = layouts.pair_files(images, labels, "label map", known.ending)
    truths = {pair.name: pair.labels for pair in others}
    files = [
        Files(*pair[:3], truths[pair.name], known.names, pair.notes)
        for pair in pairs
        if pair.name in truths
    ]
    if not files:
        raise UserError(
            f"no case of {folder} has a file in each of images, segmentations and labels; "
            "give the three files of a case the same name"
        )
    lost = dict.fromkeys([*unread, *more, *filter(None, [known.problem])], "")
    return files, lost | dict.fromkeys([*unpaired, *lone], "calibration")


def read(
    files: Mapping[str, Sequence[Files]], largest: int, references: Sequence[Case] = ()
) -> tuple[dict[str, list[Case]], list[Unused]]:
    """Read all files, and list what cannot be used.

    Parameters
    ----------
    files : mapping of str to sequence of Files
        As `find` returns them.
    largest : int
        Voxels of an image that are registered at most.
    references : sequence of Case
        Of a model, if no reference is to be read.

    Raises
    ------
    UserError
        If nothing of a kind can be used.
    """
    work = [(kind, case) for kind, listed in files.items() for case in listed]
    results = spread(predict_cases.read, ((case, largest) for _, case in work))
    results = list(progress.follow(results, len(work), _describe))
    trusted = [
        result
        for (kind, _), result in zip(work, results, strict=True)
        if kind == "reference" and isinstance(result, Case)
    ]
    kinds = Counter((case.image.ndim, case.placed) for case in [*trusted, *references])
    most = max(kinds, key=kinds.__getitem__, default=(0, False))
    cases: dict[str, list[Case]] = {kind: [] for kind in files}
    unused: dict[str, list[Unused]] = {kind: [] for kind in files}
    for (kind, own_files), result in zip(work, results, strict=True):
        if problem := _problem(result, own_files, kind, most):
            title = own_files.name if kind == "case" else f"{kind} {own_files.name}"
            unused[kind].append(Unused(title, problem, kind))
        else:
            cases[kind].append(result)
    for kind in cases:
        if not cases[kind]:
            raise UserError(
                f"none of {len(unused[kind])} {KINDS[kind]} can be used; the first: "
                f"{unused[kind][0].note}"
            )
    if references:
        cases["reference"] = list(references)
    by_content = {case.content: case.name for case in cases["reference"]}
    for kind in [kind for kind in cases if kind != "reference"]:
        cases[kind] = [_with_twin(case, by_content.get(case.content)) for case in cases[kind]]
    return cases, [case for listed in unused.values() for case in listed]


def _problem(result: Case | Unused, own_files: Files, kind: str, most: tuple[int, bool]) -> str:
    """Say why what was read cannot be used, or nothing."""
    dimension, placed = most
    if isinstance(result, Unused):
        return result.note
    if kind == "reference" and user_files.is_empty(result.labels):
        return f"{own_files.labels} has no structure"
    if result.image.ndim != dimension:
        has = f"{own_files.image} is {result.image.ndim}-D and most references are {dimension}-D"
        return f"{has}; give all alike"
    if result.placed != placed:
        words = ("has a", "have none") if result.placed else ("has no", "have one")
        return (
            f"{own_files.image} {words[0]} header that tells its orientation and most references "
            f"{words[1]}, so that they may lie turned to each other; save all as NIfTI with their "
            "orientation"
        )
    return ""


def _with_twin(case: Case, twin: str | None) -> Case:
    note = f"the reference {twin} has the same image and does not judge it"
    return case if twin is None else case._replace(notes=(*case.notes, note))


def _describe(_: Case | Unused) -> str:
    return "files read"
