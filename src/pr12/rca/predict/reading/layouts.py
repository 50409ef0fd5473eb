"""How people lay out folders: nnU-Net, TotalSegmentator, DICOM, or plain files paired by name.

An image is a file named as its case, or with nnU-Net's channel behind (`case_0000.nii.gz`), or a
folder named as the case with one image file or one DICOM series. A label map is a file named as its
case, or a folder named as the case with a file for each organ (or with TotalSegmentator's folder
`segmentations` of them).
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pr12.rca.predict.reading import dicom, formats
from pr12.workflow.errors import UserError

CHANNEL = re.compile(r"(.+)_(\d{4})")  # of nnU-Net's names of images
ORGANS = "segmentations"  # TotalSegmentator's folder beside a subject's image
TOOLS = (".json", ".npz", ".pkl")  # what nnU-Net writes beside its label maps
VOXELS = (".raw", ".zraw")  # of .mhd files
TRUSTED = (("images", "labels"), ("imagesTr", "labelsTr"))


class Pair(NamedTuple):
    """A case: image and label map, each a file or a folder, and what is to be said of them."""

    name: str
    image: Path
    labels: Path
    notes: tuple[str, ...] = ()


class Entries(NamedTuple):
    """What a folder holds: by case, files and folders; and a sentence for each other file."""

    files: Mapping[str, list[Path]]
    folders: Mapping[str, Path]
    unread: list[str]


def trusted(root: Path) -> tuple[Path, Path]:
    """Return the folders of the images and of the label maps of references.

    Parameters
    ----------
    root : Path
        It holds ``images`` and ``labels``, nnU-Net's ``imagesTr`` and ``labelsTr``, or, as
        TotalSegmentator's data set, a folder for each subject: then it is both.

    Raises
    ------
    UserError
        If it holds nothing of the kind.
    """
    for names in TRUSTED:
        folders = tuple(root / name for name in names)
        if all(folder.is_dir() for folder in folders):
            return folders
    if _is_of_subjects(root):
        return root, root
    raise UserError(
        f"{root} has neither the folders images and labels, nor imagesTr and labelsTr, nor a "
        f"folder for each subject with its image and a folder {ORGANS}; give one of these"
    )


def _is_of_subjects(folder: Path) -> bool:
    """Tell whether each folder in it may hold an image and, in a folder, its organs."""
    return folder.is_dir() and any(_visible(path / ORGANS) for path in _visible(folder))


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def pair_files(
    images: Path, others: Path, what: str, ending: str = ""
) -> tuple[list[Pair], list[str], list[str]]:
    """Pair the images of a folder with the label maps of another by the names of their cases.

    Hidden files and folders without pictures are left out.

    Parameters
    ----------
    images, others : Path
        The folders of the images and of what belongs to them.
    what : str
        What the second folder holds, for messages: "segmentation" or "label map".
    ending : str
        The suffix that counts where files of one case have several.

    Returns
    -------
    pairs : list of Pair
        Sorted by case.
    unpaired : list of str
        A sentence for each case that has no partner or several files.
    unread : list of str
        A sentence for each file of another format.

    Raises
    ------
    UserError
        If a folder is missing or unreadable, if both are the same, or if nothing can be paired.

    Examples
    --------
    >>> import tempfile
    >>> folders = [Path(tempfile.mkdtemp()) for _ in range(2)]
    >>> for folder, name in zip([*folders, folders[1]], ["a_0000.nii.gz", "a.npy", "b.npy"]):
    ...     (folder / name).touch()
    >>> pairs, unpaired, unread = pair_files(*folders, "segmentation")
    >>> pairs[0].name, pairs[0].labels.name, len(unpaired), len(unread)
    ('a', 'a.npy', 1, 0)
    """
    listed = [_entries(folder, ending) for folder in (images, others)]
    if images.samefile(others) and not _is_of_subjects(images):
        raise UserError(f"{images} is given for the images and for the {what}s; give two folders")
    first = defaultdict(list, {} if images.samefile(others) else listed[0].files)
    second = defaultdict(list, {} if images.samefile(others) else listed[1].files)
    by_folder = {name for entries in listed for name in entries.folders}
    lone, unread = [], [*listed[0].unread, *listed[1].unread]
    for name in sorted(by_folder):
        for entries, cases, kind in ((listed[0], first, _image), (listed[1], second, _organs)):
            if name in entries.folders and (path := kind(entries.folders[name])):
                cases[name].append(path)
    channels = _without_channels(first, second)
    pairs = []
    for case in sorted({*first, *second}):
        ours, theirs = first[case], second[case]
        if len(ours) == len(theirs) == 1:
            pairs.append(Pair(case, ours[0], theirs[0], channels.get(case, ())))
        else:
            lone.append((case, _without_partner(ours, theirs, images, others, what)))
    in_folders = any(pair.name in by_folder for pair in pairs)
    unpaired = [text for case, text in lone if in_folders or case not in by_folder]
    unread += [text for case, text in lone if not in_folders and case in by_folder]
    if not pairs:
        examples = [*unread, *unpaired]
        example = f"; for example: {examples[0]}" if examples else "; they hold no files"
        raise UserError(
            f"no file of {images} has a {what} of the same name in {others} "
            f"({formats.listed()} are read){example}"
        )
    return pairs, unpaired, unread


def _without_partner(
    ours: list[Path], theirs: list[Path], images: Path, others: Path, what: str
) -> str:
    if len(ours) > 1 or len(theirs) > 1:
        names = ", ".join(map(str, ours if len(ours) > 1 else theirs))
        return f"{names} have the same name; keep one of them"
    if not theirs:
        return f"{ours[0]} has no {what} in {others}"
    return f"{theirs[0]} has no image in {images}"


def _without_channels(
    images: dict[str, list[Path]], others: Mapping[str, list[Path]]
) -> dict[str, tuple[str, ...]]:
    """Call images by their case where only that has a label map; return what is said of them."""
    groups = defaultdict(list)
    for name in sorted(images.keys() - others.keys()):
        match = CHANNEL.fullmatch(name)
        if match and match[1] in others and match[1] not in images:
            groups[match[1]].append(name)
    notes = {}
    for case, names in groups.items():
        first, *rest = [images.pop(name) for name in names]
        images[case] = first
        if rest:
            notes[case] = (f"the first of its {len(names)} channels was taken, {first[0].name}",)
    return notes


def _entries(folder: Path, ending: str) -> Entries:
    cases, folders, unread = defaultdict(list), {}, []
    try:
        content = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error
    headers = {path.stem for path in content if path.suffix.lower() == ".mhd"}
    for path in content:
        kind = formats.suffix(path)
        if path.name.startswith("."):
            continue
        if path.is_dir():
            folders[path.name] = path
        elif kind:
            cases[path.name[: -len(kind)]].append(path)
        elif path.suffix.lower() in VOXELS and path.stem in headers:
            continue
        elif path.suffix.lower() in dicom.SUFFIXES:
            unread.append(f"{path} is left out: a DICOM series needs a folder of its case's name")
        elif path.suffix.lower() not in TOOLS:
            unread.append(f"{path} is left out, for it is none of {formats.listed()}")
    for case, paths in cases.items():
        same = [path for path in paths if ending and path.name.endswith(ending)]
        cases[case] = same if len(same) == 1 else paths
    return Entries(cases, folders, unread)


def _image(folder: Path) -> Path | None:
    """Return the image that a case's folder holds: its only file, or itself for a DICOM series."""
    files = [path for path in _visible(folder) if path.is_file()]
    pictures = [path for path in files if formats.suffix(path)]
    if len(pictures) == 1:
        return pictures[0]
    return folder if not pictures and any(map(dicom.is_dicom, files)) else None


def _organs(folder: Path) -> Path | None:
    """Return the folder of the organs of a case."""
    inner = folder / ORGANS
    chosen = inner if inner.is_dir() else folder
    return chosen if any(formats.suffix(path) for path in _visible(chosen)) else None
