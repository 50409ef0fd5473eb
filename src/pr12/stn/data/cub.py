"""Read the photographs of CUB-200-2011 (Wah et al. 2011): the archive -> squares and species.

The archive holds ``CUB_200_2011/images.txt`` (an id and a file on each line), ``classes.txt`` (a
number and a species), ``image_class_labels.txt`` (an id and a species' number) and
``train_test_split.txt`` (an id, and 1 for training), and the files in ``CUB_200_2011/images/``.
Nothing is unpacked to the disk: the archive is read twice, for the lists and for the photographs.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from pr12.stn.data import archives
from pr12.stn.data.archives import REMEDY
from pr12.workflow.errors import UserError

ARCHIVE = "CUB_200_2011.tgz"
FOLDER = "CUB_200_2011"
LISTS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")
NAME = r"[^/\\]+/[^/\\]+\.jpg"  # of a photograph: its species' folder and its file
LARGEST = 50_000_000  # bytes of a list or of a packed photograph


class Birds(NamedTuple):
    """The lists: of every photograph its file, its species from 0, and whether it is to train."""

    names: list[str]  # such as 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    labels: Tensor  # int64, (N,)
    training: Tensor  # bool, (N,)
    classes: list[str]  # such as 001.Black_footed_Albatross


def read_lists(path: Path) -> Birds:
    """Read which photographs there are.

    Parameters
    ----------
    path : Path
        CUB_200_2011.tgz.

    Returns
    -------
    Birds
        In the order of images.txt.

    Raises
    ------
    UserError
        If the archive is missing, broken or lacks a list, or the lists do not fit together.

    Examples
    --------
    >>> read_lists(Path("/nowhere/CUB_200_2011.tgz"))
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: cannot read /nowhere/CUB_200_2011.tgz: No such file or \
directory; delete it and run again, and it is fetched anew
    """
    wanted = {f"{FOLDER}/{name}": name for name in LISTS}
    lists: dict[str, dict[int, str]] = {}
    with archives.opened(path) as archive:
        for member in archive:
            if member.name in wanted:
                name = wanted[member.name]
                lists[name] = read_list(
                    archives.content(archive, member, LARGEST, path), f"{name} of {path}"
                )
            if len(lists) == len(LISTS):
                break
    missing = [name for name in LISTS if name not in lists]
    if missing:
        raise UserError(f"{path} has no {FOLDER}/{missing[0]}, so it is not CUB-200-2011; {REMEDY}")
    return joined(*(lists[name] for name in LISTS), where=str(path))


def read_list(content: bytes, where: str) -> dict[int, str]:
    r"""Read a list: on each line a number above 0, a space and a text without one.

    Parameters
    ----------
    content : bytes
        Of the file.
    where : str
        What to call it in messages.

    Raises
    ------
    UserError
        For the first line that is not so, or whose number is there already.

    Examples
    --------
    >>> read_list(b"1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n", "classes.txt")
    {1: '001.Black_footed_Albatross', 2: '002.Laysan_Albatross'}
    """
    words: dict[int, str] = {}
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not a text; {REMEDY}") from error
    for row, line in enumerate(lines, start=1):
        match = re.fullmatch(r"([1-9][0-9]{0,8}) (\S+)", line.strip())
        if not match or int(match[1]) in words:
            raise UserError(
                f"line {row} of {where} is {line[:60]!r}; it must be a number that no other line "
                f"has, a space and a word; {REMEDY}"
            )
        words[int(match[1])] = match[2]
    return words


def joined(
    names: dict[int, str],
    classes: dict[int, str],
    labels: dict[int, str],
    training: dict[int, str],
    where: str,
) -> Birds:
    """Join the four lists.

    Parameters
    ----------
    names, classes, labels, training : dict
        Number -> word, of images.txt, classes.txt, image_class_labels.txt, train_test_split.txt.
    where : str
        What to call the archive in messages.

    Raises
    ------
    UserError
        If ids differ, a species is not listed, a name leads out of its folder or is there twice,
        or a photograph is neither for training (1) nor for tests (0).

    Examples
    --------
    >>> joined({7: "a/b.jpg"}, {1: "a"}, {7: "1"}, {7: "0"}, "x.tgz").training
    tensor([False])
    """
    for name, other in (("image_class_labels.txt", labels), ("train_test_split.txt", training)):
        odd = sorted(names.keys() ^ other.keys())
        if odd:
            raise UserError(
                f"images.txt and {name} of {where} list other images (first difference: id "
                f"{odd[0]}); {REMEDY}"
            )
    if not names:
        raise UserError(f"images.txt of {where} lists no images; {REMEDY}")
    rows = {str(number): row for row, number in enumerate(sorted(classes))}
    for number, name in names.items():
        if not re.fullmatch(NAME, name) or ".." in name.split("/"):
            raise UserError(
                f"images.txt of {where} lists {name!r}; it must be folder/file.jpg; {REMEDY}"
            )
        if labels[number] not in rows:
            raise UserError(
                f"image {number} of {where} has the class {labels[number]!r}, which classes.txt "
                f"does not list; {REMEDY}"
            )
        if training[number] not in ("0", "1"):
            raise UserError(
                f"train_test_split.txt of {where} says {training[number]!r} of image {number}; it "
                f"must say 0 or 1; {REMEDY}"
            )
    if len(set(names.values())) < len(names):
        raise UserError(f"images.txt of {where} lists a file twice; {REMEDY}")
    return Birds(
        list(names.values()),
        torch.tensor([rows[labels[number]] for number in names]),
        torch.tensor([training[number] == "1" for number in names]),
        [classes[number] for number in sorted(classes)],
    )


def square(content: bytes, size: int, where: str) -> np.ndarray:
    """Decode a photograph, resize its shorter side and cut its middle out.

    Parameters
    ----------
    content : bytes
        Of a JPEG file.
    size : int
        Side of the result in pixels.
    where : str
        What to call it in messages.

    Returns
    -------
    ndarray
        uint8, shape (3, size, size); a grey photograph has three equal channels.

    Raises
    ------
    UserError
        If it is no whole JPEG file.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> Image.new("L", (30, 20), 255).save(stream, format="JPEG")
    >>> square(stream.getvalue(), 8, "a.jpg").shape
    (3, 8, 8)
    """
    photograph = archives.photograph(content, "JPEG", where)
    # Pillow's filters take all pixels under them when they shrink
    cut = ImageOps.fit(
        photograph, (size, size), method=Image.Resampling.BILINEAR, bleed=0.0, centering=(0.5, 0.5)
    )
    return np.asarray(cut).transpose(2, 0, 1)


def read_photographs(path: Path, names: Sequence[str], size: int) -> Tensor:
    """Read photographs.

    Parameters
    ----------
    path : Path
        CUB_200_2011.tgz.
    names : sequence of str
        As in `Birds`, no two alike.
    size : int
        Side in pixels.

    Returns
    -------
    Tensor
        uint8, shape (len(names), 3, size, size), in the order of `names`.

    Raises
    ------
    UserError
        If the archive or a photograph is broken, or one is missing.

    Examples
    --------
    >>> read_photographs(Path("/dev/null"), ["a/b.jpg"], 8)
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: /dev/null is not a whole .tar.gz archive (not a gzip file); \
delete it and run again, and it is fetched anew
    """
    photographs = torch.zeros(len(names), 3, size, size, dtype=torch.uint8)
    rows = {f"{FOLDER}/images/{name}": row for row, name in enumerate(names)}
    with archives.opened(path) as archive:
        for member in archive:
            if member.name not in rows:
                continue
            row = rows.pop(member.name)
            content = archives.content(archive, member, LARGEST, path)
            cut = square(content, size, f"{member.name} of {path}")
            photographs[row] = torch.from_numpy(cut.copy())
            if not rows:
                break
    archives.check_all_read(rows, path)
    return photographs
