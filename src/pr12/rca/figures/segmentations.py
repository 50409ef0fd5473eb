"""Figures of the segmentations under test: examples, and how good they really are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

from pr12.rca.figures import values
from pr12.rca.figures.values import LOW, SEEDS, Metrics, Pictures, Points
from pr12.report import plots, stats
from pr12.report.plots import Plot

SCANS = 2  # rows of examples
SHOWN = 4  # segmenters beside each other in them, bad to good
# Light on grey images, with a dark rim; lines differ too
CONTOURS = (("#F0E442", "-"), ("#56B4E9", "--"), ("#E69F00", ":"), ("#FFFFFF", "-."))
RIM = [withStroke(linewidth=2.4, foreground="black")]
LONG = 2  # a border as many times as long as the image is high and wide tells nothing
GREYS = 8  # steps of grey between two shown ones: noise would fill the file


def contours(axes: Any, labels: np.ndarray) -> bool:
    """Draw the borders of all structures in a slice, or fill them if one has too long a border.

    Parameters
    ----------
    axes : Axes
        With the image.
    labels : ndarray
        Shape (H, W): 0 is background, k the k-th structure.

    Returns
    -------
    bool
        Whether they are filled.
    """
    rows, columns = (np.arange(-1, size + 1) for size in labels.shape)
    numbers = range(1, int(labels.max()) + 1)
    masks = [np.pad(labels == label, 1) for label in numbers]  # borders at the edge are closed
    borders = [sum(int(np.diff(mask, axis=axis).sum()) for axis in (0, 1)) for mask in masks]
    filled = any(border > LONG * sum(labels.shape) for border in borders)
    for index, (mask, border) in enumerate(zip(masks, borders, strict=True)):
        colour, line = CONTOURS[index % len(CONTOURS)]
        if filled:
            shade = np.where(mask[1:-1, 1:-1, None], (*to_rgb(colour), 0.6), 0.0)
            axes.imshow(shade, interpolation="none")
        elif border:
            drawn = axes.contour(columns, rows, mask, [0.5], colors=colour, linestyles=line)
            drawn.set(linewidth=1.2, path_effects=RIM)
    height, width = labels.shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return filled


def chosen(dice: np.ndarray, count: int) -> list[int]:
    """Choose segmenters from the worst to the best by their mean Dice, evenly in between.

    Parameters
    ----------
    dice : ndarray
        Shape (segmenters, points).
    count : int
        How many, at most.

    Examples
    --------
    >>> chosen(np.array([[0.9], [0.1], [0.5], [0.3]]), 3)
    [1, 2, 0]
    """
    order = np.argsort(dice.mean(axis=1), kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return [int(order[int(place + 0.5)]) for place in places]


def predictions(atlas: Points | None, dice: np.ndarray, structures: int) -> np.ndarray:
    """Return the predicted Dice of the first scans, mean over structures; NaN where none is there.

    Parameters
    ----------
    atlas : Points, optional
        Of the case ``atlas``, which may have judged fewer scans.
    dice : ndarray
        Real ones of the scans, by which they are recognised, shape (segmenters, points).
    structures : int
        K.

    Returns
    -------
    ndarray
        Shape (scans, segmenters).
    """
    real = dice.reshape(len(dice), -1, structures).swapaxes(0, 1)
    means = np.full(real.shape[:2], np.nan)
    if atlas is None or (len(atlas.segmenters), len(atlas.structures)) != (len(dice), structures):
        return means
    shape = (-1, len(dice), structures)
    judged, predicted = (side["dice"].reshape(shape) for side in (atlas.real, atlas.predicted))
    for scan in range(min(len(real), len(judged))):
        if np.allclose(real[scan], judged[scan], rtol=0, atol=1e-3):
            means[scan] = predicted[scan].mean(axis=1)
    return means


def example(shown: Any, segmenters: int) -> tuple[np.ndarray, np.ndarray]:
    """Read one example: its image (H, W), and the true labels and all segmentations (1 + S, H, W).

    Raises
    ------
    UserError
        If it is none.
    """
    name = "segmenters_picture"
    image = values.array(values.entry(shown, "image", name), 2, "image", name)
    truth = values.array(values.entry(shown, "truth", name), 2, "truth", name)
    maps = values.array(values.entry(shown, "segmentations", name), 3, "segmentations", name)
    if not image.shape == truth.shape == maps.shape[1:] or len(maps) != segmenters:
        raise values.broken(name, "has an example whose arrays are of no one size")
    return image, np.concatenate([truth[None], maps]).astype(int)


def qualities(picture: Any) -> tuple[list[str], list[str], np.ndarray]:
    """Return the segmenters, the structures and real Dice by segmenter, (segmenters, points).

    Raises
    ------
    UserError
        If the picture is not what the step ``quality`` writes.
    """
    name = "segmenters_picture"
    segmenters, structures = (
        values.names(picture, key, name) for key in ("segmenters", "structures")
    )
    dice = values.array(values.entry(picture, "dice", name), 2, "dice", name)
    if len(dice) != len(segmenters) or dice.shape[1] % len(structures):
        raise values.broken(name, "has dice of other segmenters or structures")
    if not np.isfinite(dice).all():
        raise values.broken(name, "has dice that are no numbers")
    return segmenters, structures, dice


def examples(pictures: Pictures) -> Plot | None:
    """Draw the first test scans with contours of the truth and of segmenters from bad to good.

    Raises
    ------
    UserError
        If a picture is not what its step writes.
    """
    picture = pictures.get("segmenters_picture")
    if picture is None:
        return None
    segmenters, structures, dice = qualities(picture)
    shown = values.entry(picture, "examples", "segmenters_picture")
    if not isinstance(shown, list):
        raise values.broken("segmenters_picture", "has examples that are no list")
    if not shown:
        return None
    count = min(SCANS, len(shown))
    atlas = pictures.get("atlas_picture")
    atlas = None if atlas is None else values.points(atlas, "atlas_picture")
    predicted = predictions(atlas, dice, len(structures))
    real = dice.reshape(len(dice), -1, len(structures)).mean(axis=2).T
    columns = chosen(dice, SHOWN)
    figure, panels = plots.canvas(
        2 * (1 + len(columns)), 2.3 * count + 0.5, count, 1 + len(columns)
    )
    errors, filled = scan_rows(panels, shown, segmenters, columns, real, predicted)
    for index, structure in enumerate(structures):
        colour, line = CONTOURS[index % len(CONTOURS)]
        look = {"color": colour, "linestyle": line, "marker": "", "path_effects": RIM}
        panels[0, 0].plot([], [], label=structure, **look)
    plots.legend(figure, "lower center")
    mean = {segmenters[i]: f"{dice[i].mean():.2f}" for i in columns}
    listed = "; ".join(f"{values.segmenter(n)} {m}" for n, m in mean.items())
    missed = (
        f" In what is shown, the predicted mean is {np.mean(errors):.2f} off the real one on "
        f"average, {np.max(errors):.2f} at most."
        if errors
        else ""
    )
    scans = f"{count} test scan{'s' if count > 1 else ''}"
    return Plot(
        "examples",
        "Test scans, segmentations from bad to good, and their predicted Dice",
        f"The first {scans} of the first seed with the true contours (left) and those of "
        f"{len(columns)} of {len(segmenters)} segmenters, chosen from bad to good by their mean "
        "Dice."
        + (" Labels scattered over an image are filled instead." if filled else "")
        + " Below each: real Dice"
        + (" → Dice predicted without the truth, by single atlases" if errors else "")
        + f", mean over {len(structures)} structures. Mean real Dice over all test scans: "
        f"{listed}.{missed}",
        f"Grid of slices of {scans}, each with the contours of a segmentation and of the truth.",
        figure,
    )


def scan_rows(
    panels: np.ndarray,
    shown: Sequence[Any],
    segmenters: Sequence[str],
    columns: Sequence[int],
    real: np.ndarray,
    predicted: np.ndarray,
) -> tuple[list[float], bool]:
    """Draw a row of panels per scan; return the errors of predictions, and if any map is filled."""
    errors, filled = [], False
    for scan, row in enumerate(panels):
        image, maps = example(shown[scan], len(segmenters))
        grey = GREYS * (image // GREYS)
        for axes, index in zip(row, [None, *columns], strict=True):
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation="none")
            filled |= contours(axes, maps[0 if index is None else 1 + index])
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if scan == 0:
                axes.set_title("truth" if index is None else values.segmenter(segmenters[index]))
            if index is not None:
                known = not np.isnan(predicted[scan, index])
                after = f" → {predicted[scan, index]:.2f}" if known else ""
                axes.set_xlabel(f"{real[scan, index]:.2f}{after}")
                errors += [abs(predicted[scan, index] - real[scan, index])] if known else []
        row[0].set_xlabel("Dice: real → predicted" if errors else "Dice: real")
        row[0].set_ylabel(f"test scan {scan + 1}")
    return errors, filled


def box(axes: Any, row: int, dice: np.ndarray, index: int) -> None:
    """Draw quartiles, median, mean and whiskers to the 5th and 95th percentile, and the rest.

    (`Axes.boxplot` loads pyplot, which may look for a window system.)

    Parameters
    ----------
    axes : Axes
        Where.
    row : int
        Its height.
    dice : ndarray
        Values, (N,).
    index : int
        Number of the look.
    """
    low, first, median, third, high = np.percentile(dice, (5, 25, 50, 75, 95))
    colour, hatch = (look[index % len(look)] for look in (plots.COLOURS, plots.HATCHES))
    shape = {"facecolor": "white", "edgecolor": colour, "hatch": hatch, "linewidth": 1.3}
    axes.barh(row, third - first, 0.6, left=first, **shape)
    line = {"color": "black", "linestyle": "-", "marker": ""}
    for inner, outer in ((first, low), (third, high)):
        axes.plot([inner, outer], [row, row], linewidth=1, **line)
        axes.plot([outer, outer], [row - 0.15, row + 0.15], linewidth=1, **line)
    axes.plot([median, median], [row - 0.3, row + 0.3], linewidth=2, **line)
    axes.plot(dice.mean(), row, marker="D", markerfacecolor="white", markeredgecolor="black")
    rest = dice[(dice < low) | (dice > high)]
    axes.scatter(rest, np.full(len(rest), row), s=6, color=plots.GREY, linewidths=0)


def quality(metrics: Metrics, pictures: Pictures) -> Plot | None:
    """Draw the real Dice of every segmenter's segmentations, weak to strong.

    Raises
    ------
    UserError
        If the picture is not what the step ``quality`` writes.
    """
    picture = pictures.get("segmenters_picture")
    if picture is None:
        return None
    segmenters, _, dice = qualities(picture)
    kinds = list(dict.fromkeys(values.kind(name) for name in segmenters))
    figure, ((axes,),) = plots.canvas(8, 0.38 * len(segmenters) + 1.3)
    for row, (name, kind) in enumerate(zip(segmenters, dice, strict=True)):
        box(axes, row, kind, kinds.index(values.kind(name)))
        axes.annotate(
            f"{100 * (kind < LOW).mean():.0f} %",
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(30, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )
    axes.axvline(LOW, color=plots.GREY, linestyle="--")
    axes.set_yticks(range(len(segmenters)), [values.segmenter(name) for name in segmenters])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(segmenters) - 0.5, -0.5), xlabel="real Dice")
    axes.annotate(
        f"failed (Dice < {LOW:g})",
        (1, 1),
        xycoords="axes fraction",
        xytext=(30, 4),
        textcoords="offset points",
        ha="right",
    )
    axes.grid(axis="y", visible=False)
    ranks: dict[str, int] = {}
    means = {}
    for name in segmenters:
        kind = name.partition("_")[0]
        ranks[kind] = ranks.get(kind, 0) + 1
        key = f"{kind}_{ranks[kind]}/dice"
        means[values.segmenter(name)] = values.measured(metrics, "segmenters", key)
    listed = values.listed(means)
    failed = values.measured(metrics, "segmenters", "pooled/failures")
    share = f" Share of failures: {values.written(failed)}." if failed else ""
    means_told = f" Mean Dice, {SEEDS}: {listed}." if listed else ""
    ends = f"{dice.mean(axis=1).min():.2f} to {dice.mean(axis=1).max():.2f}"
    return Plot(
        "quality",
        "Segmenters under test, from weak to strong",
        f"Real Dice of {stats.number(dice.shape[1])} structures of test scans of all seeds by each "
        "segmenter: quartiles, median (line), mean (diamond), whiskers to the 5th and 95th "
        "percentile, and what lies beyond; right, the share below "
        f"{LOW:g} (dashed line). Means go from {ends}.{share}{means_told}",
        "Boxes of real Dice, one a segmenter, and a dashed line where failure begins.",
        figure,
    )
