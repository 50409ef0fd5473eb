"""A folder with one DICOM series, by SimpleITK (GDCM).

SimpleITK leaves out a file that it cannot read, takes slices for evenly spaced and the stack for a
right prism, all without a word: what the slices say of their places is looked at here.
"""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from pr12.rca.predict.reading.picture import Picture, refuse_huge
from pr12.rca.predict.reading.sitk_files import is_unicode
from pr12.workflow.errors import UserError

SUFFIXES = (".dcm", ".dicom", ".ima")
POSITION, ORIENTATION = "0020|0032", "0020|0037"  # of a slice
UNEVEN = 0.05  # of the distance of two slices, by which others may differ


def is_dicom(path: Path) -> bool:
    """Tell whether a file is one of a DICOM series.

    Parameters
    ----------
    path : Path
        A file.
    """
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"  # PS3.10 sec. 7.1
    except OSError:
        return False


def files(folder: Path) -> list[Path]:
    """Return the DICOM files of a folder.

    Parameters
    ----------
    folder : Path
        Of one case.
    """
    listed = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [path for path in listed if path.is_file() and is_dicom(path)]


def read(folder: Path) -> Picture:
    """Read the only series of a folder; its rescale slope and intercept are applied.

    Parameters
    ----------
    folder : Path
        Of one case.

    Returns
    -------
    Picture
        Axes (z, y, x).

    Raises
    ------
    UserError
        If there is not one series, or it is not whole and evenly spaced.
    """
    if not all(map(is_unicode, files(folder))):
        raise UserError(f"a name in {folder} is not UTF-8, which its format needs; rename it")
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) > 1:
        raise UserError(f"{folder} holds {len(series)} DICOM series; leave one per folder")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)) if series else ()
    unread = sorted({path.name for path in files(folder)} - {Path(name).name for name in names})
    if unread or not names:
        first = folder / unread[0] if unread else folder
        raise UserError(f"{first} is not a whole DICOM file; write or copy it anew")
    try:
        return _read_one(folder, names[0]) if len(names) == 1 else _read_slices(folder, names)
    except RuntimeError:
        raise UserError(
            f"the DICOM files of {folder} are no series of slices of one size; leave one series "
            "per folder"
        ) from None


def _read_one(folder: Path, name: str) -> Picture:
    """Read a volume, or a single slice, out of one file."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(name)
    reader.ReadImageInformation()
    refuse_huge(folder, reader.GetSize()[::-1])
    _refuse_colours(folder, reader.GetNumberOfComponents())
    image = reader.Execute()
    return Picture(
        sitk.GetArrayFromImage(image), image.GetSpacing()[::-1], image.GetOrigin(),
        image.GetDirection(),
    )  # fmt: skip


def _read_slices(folder: Path, names: tuple[str, ...]) -> Picture:
    reader = sitk.ImageSeriesReader()
    reader.MetaDataDictionaryArrayUpdateOn()
    reader.SetFileNames(names)
    first = sitk.ImageFileReader()
    first.SetFileName(names[0])
    first.ReadImageInformation()
    refuse_huge(folder, (len(names), *first.GetSize()[1::-1]))
    _refuse_colours(folder, first.GetNumberOfComponents())
    image = reader.Execute()
    places = np.array([_numbers(folder, reader, index, POSITION, 3) for index in range(len(names))])
    axes = [_numbers(folder, reader, index, ORIENTATION, 6) for index in (0, len(names) - 1)]
    if not np.allclose(*axes, atol=1e-3):
        raise UserError(f"the slices in {folder} are turned to each other; leave one series")
    steps = np.diff(places, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    mean = (places[-1] - places[0]) / len(steps)
    spacing = float(np.linalg.norm(mean))
    if not spacing or np.linalg.norm(steps - mean, axis=1).max() > UNEVEN * spacing:
        raise UserError(
            f"the slices in {folder} are {lengths.min():.4g} to {lengths.max():.4g} mm apart; is "
            "one missing, or one there twice? give a series of even spacing"
        )
    across, down = np.reshape(axes[0], (2, 3))
    direction = np.stack([across, down, mean / spacing], axis=1)
    return Picture(
        sitk.GetArrayFromImage(image), (spacing, *image.GetSpacing()[1::-1]),
        tuple(places[0].tolist()), tuple(direction.ravel().tolist()),
    )  # fmt: skip


def _refuse_colours(folder: Path, count: int) -> None:
    if count > 1:
        raise UserError(f"the DICOM files of {folder} are in colour; save them as grey")


def _numbers(
    folder: Path, reader: sitk.ImageSeriesReader, index: int, key: str, count: int
) -> list[float]:
    text = reader.GetMetaData(index, key) if reader.HasMetaDataKey(index, key) else ""
    try:
        numbers = [float(part) for part in text.split("\\")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"a slice of {folder} does not say where it lies (DICOM's {key.replace('|', ',')}); "
            "convert the series to NIfTI"
        )
    return numbers
