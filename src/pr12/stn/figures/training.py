"""Figures of sampling grids over training: moments of it, and what the animation shows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pr12.report import stats
from pr12.report.plots import Plot
from pr12.stn.figures import sheets, values
from pr12.stn.figures.grids import drawings
from pr12.stn.figures.values import Pictures

TRACKS = [  # nets and distortions whose training is followed
    ("st_cnn_affine", "R"),
    ("st_cnn_affine", "RTS"),
    ("st_cnn_projective", "P"),
    ("st_cnn_tps", "E"),
    ("st_cnn_affine", "TC"),
]
MOMENTS = (0, 0.05, 0.15, 0.3, 0.6, 1)  # of the training that the still figure shows


class Track(NamedTuple):
    """Some training digits, and a transformer's grids on them at F moments of the training."""

    name: str
    inputs: np.ndarray  # (N, S, S), 0 to 255
    seen: np.ndarray  # images that the net has learned from, (F,)
    grids: np.ndarray  # (F, N, L, L, 2)


def track(pictures: Pictures, case: str, distortion: str) -> Track | None:
    """Read how a net's grids moved in training, None if it was not followed.

    Before the first moment stands the start, where every transformer is the identity.

    Parameters
    ----------
    pictures, case, distortion
        Such as ``st_cnn_tps_picture`` -> what the step ``evaluate`` wrote.

    Raises
    ------
    UserError
        If it is not what the step ``evaluate`` writes.
    """
    name = f"{case}_picture"
    drawing = drawings(pictures, name, distortion)
    if drawing is None or "training" not in drawing:
        return None
    inputs, seen, grids = (
        values.entry(drawing["training"], key, name) for key in ("inputs", "images_seen", "grids")
    )
    inputs = values.array(inputs, (None,) * 3, "inputs", name)
    seen = values.array(seen, (None,), "images_seen", name)
    wanted = (len(seen), len(inputs), None, None, None, 2)
    grids = values.array(grids, wanted, "grids", name)[:, :, 0]
    start = np.broadcast_to(sheets.identity(grids.shape[-2]), grids[:1].shape)
    return Track(
        f"{values.net(case)}, {distortion}",
        inputs,
        np.concatenate([[0], seen]),
        np.concatenate([start, grids]),
    )


def tracks(pictures: Pictures) -> list[Track]:
    """Read the trainings of `TRACKS` that were followed over as many moments as the first.

    Parameters
    ----------
    pictures : mapping
        Such as ``st_cnn_tps_picture`` -> what the step ``evaluate`` wrote.

    Raises
    ------
    UserError
        If a picture is not what the step ``evaluate`` writes.
    """
    followed = [track(pictures, *place) for place in TRACKS]
    followed = [one for one in followed if one]
    return [one for one in followed if len(one.seen) == len(followed[0].seen)]


def moments(seen: np.ndarray) -> list[int]:
    """Return the moments that are nearest to `MOMENTS` of the training, every one once.

    Examples
    --------
    >>> moments(np.array([0, 50, 100]))
    [0, 1, 2]
    """
    shares = seen / seen[-1]
    return sorted({int(np.abs(shares - wanted).argmin()) for wanted in MOMENTS})


def share(seen: np.ndarray, moment: int) -> str:
    """Write how much of the training is over.

    Examples
    --------
    >>> share(np.array([0, 50, 200]), 1)
    '25 %'
    """
    return f"{stats.number(round(100 * seen[moment] / seen[-1]))} %"


def training(tracks: Sequence[Track]) -> Plot | None:
    """Draw the grid on one digit of each followed net at a few moments of its training.

    Parameters
    ----------
    tracks : sequence of Track
        As `tracks` reads them.
    """
    if not tracks:
        return None
    chosen = moments(tracks[0].seen)
    figure, axes = sheets.sheet(len(chosen), len(tracks), 1.1, left=1.35, top=0.3)
    for column, moment in enumerate(chosen):
        label = "start" if moment == 0 else share(tracks[0].seen, moment)
        axes.text(column + 0.46, -0.08, label, ha="center", va="bottom")
    for row, one in enumerate(tracks):
        axes.text(-0.12, row + 0.46, one.name.replace(", ", "\n"), ha="right", va="center")
        for column, moment in enumerate(chosen):
            sheets.cell(axes, column, row, one.inputs[0], sheets.VIEW)
            sheets.grid(axes, column, row, one.grids[moment, 0], 0.8)
    moved = ", ".join(f"{one.name} {stats.number(round(shift(one), 2))}" for one in tracks)
    images = sorted({int(one.seen[-1]) for one in tracks})
    learned = " or ".join(stats.number(n) for n in images)
    return Plot(
        "training",
        "The grid over training",
        "Sampling grids of the first seed's nets on one training digit each, from the start, where "
        f"every transformer is the identity, to the end after {learned} images, by the percentage "
        "of the training that is done; the animation shows every moment kept. The thick orange "
        "line becomes the output's top row. Mean "
        f"distance by which grid points moved, in halves of the image: {moved}.",
        f"Digits with a sampling grid at {len(chosen)} moments of the training, "
        f"for {', '.join(one.name for one in tracks)}.",
        figure,
    )


def shift(one: Track) -> float:
    """Return the mean distance of a training's last grids from its first."""
    return float(np.linalg.norm(one.grids[-1] - one.grids[0], axis=-1).mean())
