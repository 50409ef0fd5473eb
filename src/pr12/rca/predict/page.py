"""The page of `pr12.rca.predict`: every case with the contours of its segmentation, worst first."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from pr12.rca.model import measures
from pr12.rca.predict import summary as predict_summary
from pr12.rca.predict.cases import View
from pr12.rca.predict.rows import Row
from pr12.rca.predict.summary import Disputed, Summary

SIDE = 320  # pixels of the longer side of a picture
FEW = 8  # structures of a case that are shown before one asks for more
LINE = 2  # width of a contour
RED = (255, 46, 12)  # of what all references dispute


def overlay(view: View) -> bytes:
    """Draw the contours of a segmentation on its image, inside its borders.

    Parameters
    ----------
    view : View
        Its labels 0 to S.

    Returns
    -------
    bytes
        A PNG, its pixels square whatever the voxels are.

    Examples
    --------
    >>> labels = np.zeros((8, 4), int)
    >>> labels[2:6, 1:3] = 1
    >>> result = overlay(View(np.zeros((8, 4), np.uint8), labels, (1.0, 2.0), ""))
    >>> with Image.open(io.BytesIO(result)) as picture:
    ...     picture.size, picture.getpixel((160, 160)), picture.getpixel((90, 81))
    ((320, 320), (0, 0, 0), (213, 94, 0))
    """
    height, width = _size(view)
    grey = Image.fromarray(view.grey).resize((width, height), Image.Resampling.BICUBIC)
    labels = Image.fromarray(view.labels.astype(np.int32))
    shown = np.asarray(labels.resize((width, height), Image.Resampling.NEAREST))
    pixels = np.asarray(grey.convert("RGB")).copy()
    for number in np.unique(shown[shown > 0]).tolist():
        inside = shown == number
        for _ in range(LINE):
            line = measures.surface(inside)
            pixels[line] = tuple(bytes.fromhex(predict_summary.colour(number - 1)[1:]))
            inside &= ~line
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def page(summary: Summary, picture: bytes) -> str:
    """Write the page: one HTML document that needs no other file and no network.

    Parameters
    ----------
    summary : Summary
        All that is known.
    picture : bytes
        As `plot` gives it.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=loader
    )
    text = environment.get_template("page.html.j2").render(
        summary=predict_summary.headline(summary),
        warnings=summary.warnings,
        calibration=summary.calibration,
        method=summary.method,
        plot=_address(picture),
        interval=_heading(summary),
        at_least=f"{100 * summary.coverage:g} % at least"
        if any(row.at_least is not None for rows in summary.by_case for row in rows)
        else "",
        threshold=round(100 * summary.threshold, 2),
        cards=[_card(rows, summary) for rows in summary.by_case],
        unused=summary.unused,
    )
    return predict_summary.printable(text)


def _heading(summary: Summary) -> str:
    if not predict_summary.has_intervals(summary.by_case):
        return ""
    rough = all(row.low is None for rows in summary.by_case for row in rows)
    return "rough range" if rough else f"{100 * summary.coverage:g} % interval"


def heat(disputed: Disputed) -> bytes:
    """Draw where references disagree with a segmentation: the redder, the more of them.

    Parameters
    ----------
    disputed : Disputed
        Of a case.

    Returns
    -------
    bytes
        A PNG of the size of `overlay`'s.

    Examples
    --------
    >>> grey = np.full((4, 4), 200, np.uint8)
    >>> view = View(grey, np.zeros((4, 4), int), (1.0, 1.0), "")
    >>> share = np.pad(np.full((4, 2), 255, np.uint8), ((0, 0), (0, 2)))
    >>> with Image.open(io.BytesIO(heat(Disputed(view, share)))) as picture:
    ...     picture.size, picture.getpixel((10, 10)), picture.getpixel((310, 10))
    ((320, 320), (241, 63, 34), (160, 160, 160))
    """
    height, width = _size(disputed.view)
    grey, share = (
        np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR))
        for each in (disputed.view.grey, disputed.share)
    )
    strength = 0.85 * share[..., None] / 255
    pixels = (1 - strength) * 0.8 * grey[..., None] + strength * np.array(RED)
    stream = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _size(view: View) -> tuple[int, int]:
    """Return height and width of a picture whose pixels are square."""
    lengths = np.multiply(view.grey.shape, view.spacing)
    height, width = np.maximum(np.rint(SIDE * lengths / lengths.max()).astype(int), 16).tolist()
    return height, width


def _card(rows: Sequence[Row], summary: Summary) -> dict[str, Any]:
    """Return what the template says of one case; notes of several structures are joined."""
    by_note: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            by_note.setdefault(note, []).append(str(row.structure))
    views, disputed = summary.views[rows[0].case], summary.disputed.get(rows[0].case)
    lines = [
        _line(row, predict_summary.colour(summary.structures.index(row.structure))) for row in rows
    ]
    if len(lines) > FEW:  # the worst are seen first
        lines.sort(key=lambda line: (line["at"] is None, line["at"]))
    return {
        "name": rows[0].case,
        "flagged": any(row.flagged for row in rows),
        "pictures": [{"image": _address(overlay(view)), "place": view.place} for view in views],
        "disputed": disputed and {"image": _address(heat(disputed)), "place": disputed.view.place},
        "rows": lines[:FEW],
        "more": lines[FEW:],
        "notes": [
            note if len(numbers) == len(rows) else f"Structure {', '.join(numbers)}: {note}"
            for note, numbers in by_note.items()
        ],
    }


def _line(row: Row, shown: str) -> dict[str, Any]:
    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * value, 2)

    ends = predict_summary.ends(row)
    return {
        "structure": row.structure,
        "colour": shown,
        "flagged": row.flagged,
        "predicted": "–" if row.predicted_dice is None else f"{row.predicted_dice:.2f}",
        "interval": f"{ends[0]:.2f}–{ends[1]:.2f}" if ends else "",
        "at_least": "" if row.at_least is None else f"{row.at_least:.2f}",
        "distance": "" if row.hd95_mm is None else f"{row.hd95_mm:.1f} mm",
        "at": place(row.predicted_dice),
        "low": place(ends[0] if ends else None),
        "high": place(ends[1] if ends else None),
    }


def _address(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
