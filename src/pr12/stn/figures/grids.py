"""Figures of sampling grids: on distorted digits, with what they sample."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pr12.report.plots import Plot
from pr12.stn.figures import sheets, values
from pr12.stn.figures.values import Pictures

NETS = ("st_fcn_affine", "st_cnn_affine", "st_cnn_projective", "st_cnn_tps")
SHEET = ("R", "RTS", "P", "E", "TC")  # rows of the sheet
EXAMPLES = 2  # digits of each


class Shown(NamedTuple):
    """N test digits as a net with T transformers sees them."""

    inputs: np.ndarray  # (N, C, S, S), 0 to 255
    outputs: np.ndarray  # (N, T C, S, S)
    grids: np.ndarray  # (N, T, L, L, 2), x and y from -1 to 1
    right: np.ndarray  # (N,), whether the net's answer is


def drawings(pictures: Pictures, name: str, distortion: str) -> Any:
    """Return what a picture holds of one distortion, None if nothing.

    Raises
    ------
    UserError
        If the picture does not hold anything by distortion.
    """
    if name not in pictures:
        return None
    by_distortion = pictures[name]
    if not isinstance(by_distortion, dict):
        raise values.broken(name, "is not ordered by distortion")
    drawing = by_distortion.get(distortion)
    if drawing is not None and not isinstance(drawing, dict):
        raise values.broken(name, f"has {distortion} that is no mapping")
    return drawing


def shown(pictures: Pictures, case: str, distortion: str) -> Shown | None:
    """Read a net's test digits of one distortion, None if there are none.

    Parameters
    ----------
    pictures : mapping
        Such as ``st_cnn_affine_picture`` -> what the step ``evaluate`` wrote.
    case, distortion : str
        Of the net.

    Raises
    ------
    UserError
        If they are not what the step writes.
    """
    name = f"{case}_picture"
    drawing = drawings(pictures, name, distortion)
    if drawing is None or values.entry(drawing, "grids", name) is None:
        return None
    inputs = values.array(values.entry(drawing, "inputs", name), (None,) * 4, "inputs", name)
    count, channels = inputs.shape[:2]
    grids = values.array(drawing["grids"], (count, None, None, None, 2), "grids", name)
    outputs = values.entry(drawing, "outputs", name)
    outputs = values.array(outputs, (count, grids.shape[1] * channels, None, None), "outputs", name)
    answers = [
        values.array(values.entry(drawing, key, name), (count,), key, name)
        for key in ("labels", "predicted")
    ]
    return Shown(inputs, outputs, grids, answers[0] == answers[1])


def answers(cells: Mapping[tuple[str, str], Shown]) -> str:
    """Say how often each net is right on the digits of a picture."""
    right = {
        net: np.concatenate([one.right for (_, name), one in cells.items() if name == net])
        for net in NETS
        if any(name == net for _, name in cells)
    }
    return ", ".join(f"{values.net(net)} {r.sum()} of {r.size}" for net, r in right.items())


def transformed(pictures: Pictures) -> Plot | None:
    """Draw test digits, the grids of several nets on them, and what the grids sample.

    Parameters
    ----------
    pictures : mapping
        As `shown` takes them.

    Raises
    ------
    UserError
        If a picture is not what the step ``evaluate`` writes.
    """
    cells = {(d, net): shown(pictures, net, d) for d in SHEET for net in NETS}
    cells = {place: drawn for place, drawn in cells.items() if drawn}
    rows = [d for d in SHEET if any(d == row for row, _ in cells)]
    nets = [net for net in NETS if any(net == column for _, column in cells)]
    if not cells:
        return None
    count = min(EXAMPLES, *(len(drawn.inputs) for drawn in cells.values()))
    figure, axes = sheets.sheet(1 + 2 * len(nets), count * len(rows), 0.85, left=0.75, top=0.7)
    label = {"ha": "center", "va": "bottom", "fontsize": 9}
    axes.text(0.46, -0.1, "input", **label)
    for column, net in enumerate(nets):
        x = 1.15 + 2 * column
        axes.text(x + 0.96, -0.38, values.net(net), **label)
        axes.text(x + 0.46, -0.1, "grid", **label)
        axes.text(x + 1.46, -0.1, "output", **label)
    axes.set_xlim(right=1.15 + 2 * len(nets))
    for place, distortion in enumerate(rows):
        y = place * count
        middle = y + count / 2 - sheets.GAP / 2
        axes.text(-0.12, middle, distortion, ha="right", va="center", fontsize=9)
        drawn = next(cells[distortion, net] for net in nets if (distortion, net) in cells)
        for example in range(count):
            sheets.cell(axes, 0, y + example, drawn.inputs[example, 0])
        for column, net in enumerate(nets):
            x = 1.15 + 2 * column
            if (distortion, net) not in cells:
                text = f"no result on {distortion}"
                axes.text(x + 0.96, middle, text, ha="center", va="center", fontsize=8)
                continue
            drawn = cells[distortion, net]
            for example in range(count):
                sheets.cell(axes, x, y + example, drawn.inputs[example, 0], sheets.VIEW)
                sheets.grid(axes, x, y + example, drawn.grids[example, 0])
                sheets.cell(axes, x + 1, y + example, drawn.outputs[example, 0])
    names = "; ".join(f"{d}: {values.DISTORTIONS[d]}" for d in rows)
    return Plot(
        "transformed",
        "Distorted digits, the grids on them, and what the classifier sees",
        "Test digits and, of the first seed's nets, the places from which the transformer samples "
        "(every few pixels; the thick orange line becomes the output's top row) and its output. "
        f"{names}. Right among the few digits kept for figures: {answers(cells)}.",
        f"Sheet of digits, {len(rows)} distortions by {len(nets)} nets, each with the input, the "
        "sampling grid drawn on it and the transformed output.",
        figure,
    )
