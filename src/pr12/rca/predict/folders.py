"""The folders that `pr12.rca.predict` is given: their files, and the cases read from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pr12.core.parallel import spread
from pr12.rca.predict import cases as predict_cases
from pr12.rca.predict import files as user_files
from pr12.rca.predict.cases import Case, Files, Unused
from pr12.workflow import progress
from pr12.workflow.errors import UserError


def find(paths: Mapping[str, Path]) -> tuple[dict[str, list[Files]], list[Unused]]:
    """Find the files of all references, cases and calibration cases.

    Parameters
    ----------
    paths : mapping of str to Path
        ``reference``, ``images``, ``segmentations`` and perhaps ``calibration``.

    Returns
    -------
    found : dict of str to list of Files
        ``reference``, ``case`` and, if that is given, ``calibration``.
    unused : list of Unused
        Files without partner.

    Raises
    ------
    UserError
        If a folder is missing, or nothing in it can be paired.
    """
    reference = paths["reference"]
    found, unused = {}, []
    for kind, images, labels, what in (
        ("reference", reference / "images", reference / "labels", "label map"),
        ("case", paths["images"], paths["segmentations"], "segmentation"),
    ):
        pairs, unpaired = user_files.pair_files(images, labels, what)
        found[kind] = [Files(*pair, None) for pair in pairs]
        unused += unpaired
    if "calibration" in paths:
        found["calibration"], unpaired = _find_calibration(paths["calibration"])
        unused += unpaired
    return found, [Unused("", note) for note in dict.fromkeys(unused)]


def _find_calibration(folder: Path) -> tuple[list[Files], list[str]]:
    images = folder / "images"
    pairs, unpaired = user_files.pair_files(images, folder / "segmentations", "segmentation")
    others, lone = user_files.pair_files(images, folder / "labels", "label map")
    truths = {name: path for name, _, path in others}
    found = [Files(*pair, truths[pair[0]]) for pair in pairs if pair[0] in truths]
    if not found:
        raise UserError(
            f"no case of {folder} has a file in each of images, segmentations and labels; "
            "give the three files of a case the same name"
        )
    return found, [*unpaired, *lone]


def read(
    found: Mapping[str, Sequence[Files]], largest: int
) -> tuple[dict[str, list[Case]], list[Unused]]:
    """Read all files, and list what cannot be used.

    Parameters
    ----------
    found : mapping of str to sequence of Files
        As `find` gives it.
    largest : int
        Voxels of an image that are registered at most.

    Raises
    ------
    UserError
        If no reference or no case can be used.
    """
    work = [(kind, own) for kind, files in found.items() for own in files]
    read = spread(predict_cases.read, ((own, largest) for _, own in work))
    shown = list(zip(work, progress.follow(read, len(work), _told), strict=True))
    dimensions = Counter(
        own.image.ndim for (kind, _), own in shown if kind == "reference" and isinstance(own, Case)
    )
    dimension = max(dimensions, key=dimensions.__getitem__, default=0)
    cases: dict[str, list[Case]] = {kind: [] for kind in found}
    unused: dict[str, list[Unused]] = {kind: [] for kind in found}
    for (kind, files), own in shown:
        title = files.name if kind == "case" else f"{kind} {files.name}"
        if isinstance(own, Unused):
            unused[kind].append(Unused(title, own.note))
        elif kind == "reference" and user_files.is_empty(own.labels):
            unused[kind].append(Unused(title, f"{files.labels} has no structure"))
        elif own.image.ndim != dimension:
            has = f"{files.image} is {own.image.ndim}-D and most references are {dimension}-D"
            unused[kind].append(Unused(title, f"{has}; give all alike"))
        else:
            cases[kind].append(own)
    for kind in ("reference", "case"):
        if not cases[kind]:
            raise UserError(
                f"none of {len(unused[kind])} {kind}s can be used; the first: "
                f"{unused[kind][0].note}"
            )
    by_content = {own.content: own.name for own in cases["reference"]}
    for kind in {*cases} - {"reference"}:
        cases[kind] = [_with_twin(own, by_content.get(own.content)) for own in cases[kind]]
    return cases, [own for listed in unused.values() for own in listed]


def _with_twin(case: Case, twin: str | None) -> Case:
    note = f"the reference {twin} has the same image and does not judge it"
    return case if twin is None else case._replace(notes=(*case.notes, note))


def _told(_: Case | Unused) -> str:
    return "files read"
