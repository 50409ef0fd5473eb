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
from pr12.rca.predict.summary import Summary

SIDE = 320  # pixels of the longer side of a picture
LINE = 2  # width of a contour


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
    lengths = np.multiply(view.grey.shape, view.spacing)
    height, width = np.maximum(np.rint(SIDE * lengths / lengths.max()).astype(int), 16).tolist()
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
        interval=f"{100 * summary.coverage:g} % interval"
        if predict_summary.has_intervals(summary.by_case)
        else "",
        threshold=round(100 * summary.threshold, 2),
        cards=[_card(rows, summary) for rows in summary.by_case],
        unused=summary.unused,
    )
    return predict_summary.printable(text)


def _card(rows: Sequence[Row], summary: Summary) -> dict[str, Any]:
    """Return what the template says of one case; notes of several structures are joined."""
    by_note: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            by_note.setdefault(note, []).append(str(row.structure))
    view = summary.views[rows[0].case]
    return {
        "name": rows[0].case,
        "flagged": any(row.flagged for row in rows),
        "picture": _address(overlay(view)),
        "place": view.place,
        "rows": [
            _line(row, predict_summary.colour(summary.structures.index(row.structure)))
            for row in rows
        ],
        "notes": [
            note if len(numbers) == len(rows) else f"Structure {', '.join(numbers)}: {note}"
            for note, numbers in by_note.items()
        ],
    }


def _line(row: Row, shown: str) -> dict[str, Any]:
    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * value, 2)

    return {
        "structure": row.structure,
        "colour": shown,
        "flagged": row.flagged,
        "predicted": "–" if row.predicted_dice is None else f"{row.predicted_dice:.2f}",
        "interval": "" if row.low is None else f"{row.low:.2f} to {row.high:.2f}",
        "at": place(row.predicted_dice),
        "low": place(row.low),
        "high": place(row.high),
    }


def _address(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
