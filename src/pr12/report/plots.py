"""How every paper's figures look and are written: readable without colour, equal bytes on a rerun.

Series differ in marker, line and hatch as well as in colour, and no figure needs a window system:
`matplotlib.figure.Figure` is used directly, never pyplot.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from pr12.report import stats
from pr12.workflow import files

GREY = "#555555"  # 7.5 : 1 against white
# Colours of Okabe and Ito (2008), "Color Universal Design", those below 3 : 1 on white last.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", GREY, "#E69F00", "#56B4E9"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<"]
DASHES = [(8, 2), (3, 1, 1, 1, 1, 1), (1, 3), (8, 2, 1, 2, 1, 2)]
LINES = ["-", "--", "-.", ":", *((0, dashes) for dashes in DASHES)]
CYCLE = cycler(color=COLOURS) + cycler(marker=MARKERS) + cycler(linestyle=LINES)
HATCHES = ("", "////", "xxxx", "----", "\\\\\\\\", "++++")  # dots would add 250 kB to an SVG
STYLE = {
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.prop_cycle": CYCLE,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "errorbar.capsize": 3,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 10,
    "grid.color": "#DDDDDD",
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "legend.handlelength": 3,  # long enough to tell the line styles apart
    "lines.markersize": 6,
    "savefig.dpi": 150,
    "savefig.facecolor": "white",  # a page in dark mode shows through otherwise
    "svg.fonttype": "path",  # text as text would be laid out anew in each reader's own font
    "svg.hashsalt": "pr12",  # else the identifiers in an SVG are drawn at random
}
METADATA = {  # no date, and no version that would change every picture at an update
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
}
LARGEST = 10.0  # inches


class Plot(NamedTuple):
    """One figure and all that a report says with it."""

    file: str  # name without folder and suffix
    title: str
    caption: str  # what it means, with its numbers
    alt: str  # what is seen: panels, axes, marks; never the caption again, and no numbers of it
    figure: Figure


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in the project's style, whatever the reader's matplotlibrc says.

    Examples
    --------
    >>> with style():
    ...     matplotlib.rcParams["svg.hashsalt"]
    'pr12'
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """Make a figure and its grid of axes.

    Parameters
    ----------
    width, height : float
        Inches; more than 10, too large for a page, become 10.
    rows, columns : int
        Of the grid.

    Returns
    -------
    figure : Figure
        Laid out so that no label is cut or overlaps another axes.
    axes : ndarray of Axes
        Shape (rows, columns).

    Examples
    --------
    >>> figure, axes = canvas(8, 40, columns=3)
    >>> figure.get_size_inches().tolist(), axes.shape
    ([8.0, 10.0], (1, 3))
    """
    size = (min(width, LARGEST), min(height, LARGEST))
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def look(index: int) -> dict[str, Any]:
    """Return colour, marker and line style of the series number `index`.

    Parameters
    ----------
    index : int
        From 0; after eight series the looks repeat.

    Examples
    --------
    >>> look(0)
    {'color': '#0072B2', 'marker': 'o', 'linestyle': '-'}
    """
    return list(CYCLE)[index % len(CYCLE)]


def half_widths(intervals: Sequence[stats.Interval]) -> list[list[float]]:
    """Return what matplotlib calls errors: distances to both ends, and no bar for a fixed number.

    Parameters
    ----------
    intervals : sequence of Interval
        One per point.

    Examples
    --------
    >>> half_widths([stats.Interval(2.0, 1.0, 3.0, 5), stats.Interval(7.0, 7.0, 7.0, 1)])
    [[1.0, nan], [1.0, nan]]
    """
    below = [i.mean - i.low if i.n > 1 else math.nan for i in intervals]
    above = [i.high - i.mean if i.n > 1 else math.nan for i in intervals]
    return [below, above]


def curve(
    axes: Axes, x: Sequence[float], intervals: Sequence[stats.Interval], index: int, label: str
) -> None:
    """Draw means joined by a line, with their intervals.

    Parameters
    ----------
    axes : Axes
        Where.
    x : sequence of float
        One per interval.
    intervals : sequence of Interval
        Means over seeds.
    index : int
        Number of the series, for its `look`.
    label : str
        For the legend.
    """
    means = [interval.mean for interval in intervals]
    axes.errorbar(x, means, yerr=half_widths(intervals), label=label, **look(index))


def level(axes: Axes, interval: stats.Interval, index: int, label: str) -> None:
    """Draw a horizontal line, and its interval as a band, for what does not depend on x.

    Parameters
    ----------
    axes : Axes
        Where.
    interval : Interval
        Mean over seeds.
    index : int
        Number of the series, for its `look`.
    label : str
        For the legend.
    """
    drawn = look(index)
    axes.axhline(interval.mean, color=drawn["color"], linestyle=drawn["linestyle"], label=label)
    if interval.n > 1:
        axes.axhspan(interval.low, interval.high, color=drawn["color"], alpha=0.15, linewidth=0)


def legend(figure: Figure, place: str) -> None:
    """Draw one legend for all axes of a figure, outside them: curves first, every label once.

    Parameters
    ----------
    figure : Figure
        After all is drawn.
    place : str
        Such as ``lower center``.

    Examples
    --------
    >>> figure, (panels,) = canvas(8, 4, columns=2)
    >>> for axes in panels:
    ...     _ = axes.axhline(1.0, label="hard")
    ...     curve(axes, [1.0], [stats.mean([2.0])], 0, "soft")
    >>> legend(figure, "lower center")
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['soft', 'hard']
    """
    handles = {}
    for axes in figure.axes:
        pairs = zip(*axes.get_legend_handles_labels(), strict=True)
        handles |= {label: handle for handle, label in pairs}
    labels = sorted(handles, key=lambda label: not isinstance(handles[label], Container))
    columns = 1 if "right" in place else len(labels)
    figure.legend(
        [handles[label] for label in labels], labels, loc=f"outside {place}", ncols=columns
    )


def log_ticks(axes: Axes, values: Sequence[float], room: float = 0.07) -> None:
    """Make x logarithmic with a tick at every value, labelled where the label has room.

    Parameters
    ----------
    axes : Axes
        Where.
    values : sequence of float
        Positive.
    room : float
        Distance between labels, as a share of the axis.

    Examples
    --------
    >>> axes = canvas(8, 4)[1][0, 0]
    >>> log_ticks(axes, [1, 1.01, 100])
    >>> [label.get_text() for label in axes.get_xticklabels()]
    ['1', '', '100']
    """
    values = sorted(set(values))
    span = math.log(values[-1] / values[0])
    labels, last = [], -math.inf
    for value in values:
        free = math.log(value) - last >= room * span
        labels.append(stats.number(value) if free else "")
        last = math.log(value) if free else last
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(values, labels)


def heat_map(
    axes: Axes,
    values: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
) -> None:
    """Draw a table whose cells are darker the larger their value is, each with its text.

    Parameters
    ----------
    axes : Axes
        Where.
    values : sequence of sequence of float or None
        Shape (rows, columns); a cell without value stays white.
    texts : sequence of sequence of str
        What is printed in the cells.
    rows, columns : sequence of str
        Tick labels, top to bottom and left to right.
    label : str
        Of the colour bar.
    """
    grid = [[math.nan if value is None else value for value in row] for row in values]
    mesh = axes.pcolormesh(grid, cmap="cividis_r", edgecolors="white", linewidth=2)
    for y, row in enumerate(grid):
        for x, value in enumerate(row):
            dark = not math.isnan(value) and mesh.norm(value) > 0.5
            place = {"ha": "center", "va": "center", "color": "white" if dark else "black"}
            axes.text(x + 0.5, y + 0.5, texts[y][x], **place)
    axes.set_xticks([x + 0.5 for x in range(len(columns))], columns)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], rows)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.figure.colorbar(mesh, ax=axes, label=label)


def from_zero(axes: Axes, dimension: str = "y") -> None:
    """Cut the part below 0 off an axis of numbers that cannot be negative.

    Parameters
    ----------
    axes : Axes
        After all is drawn.
    dimension : str
        ``x`` or ``y``.
    """
    if min(getattr(axes, f"get_{dimension}lim")()) < 0:
        getattr(axes, f"set_{dimension}lim")(0, None)


def steady(svg: str) -> str:
    """Return an SVG as every processor writes it: the last digits of positions differ between them.

    Positions are rounded to a thousandth of a point, and identifiers, which matplotlib computes
    from unrounded positions, are numbered.

    Parameters
    ----------
    svg : str
        As matplotlib wrote it.

    Examples
    --------
    >>> steady('<clipPath id="p4050df924f"/><g clip-path="url(#p4050df924f)"/>')
    '<clipPath id="p1"/><g clip-path="url(#p1)"/>'
    >>> steady("L 426.575843 3.00024 scale(0.015625)")
    'L 426.576 3 scale(0.015625)'
    """
    for number, name in enumerate(re.findall(r'id="([a-z]+[0-9a-f]{10})"', svg), start=1):
        svg = svg.replace(name, f"{name[:-10]}{number}")
    scales = r"((?:scale|matrix)\([^)]*\))"  # factors, of which every digit counts
    return re.sub(rf"{scales}|(-?\d+\.\d{{4,}})", lambda m: m[1] or _rounded(m[2]), svg)


def _rounded(number: str) -> str:
    text = f"{float(number):.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def save(folder: Path, plot: Plot) -> None:
    """Write a figure as SVG and as PNG.

    Parameters
    ----------
    folder : Path
        Where; it is made.
    plot : Plot
        The figure.

    Raises
    ------
    UserError
        If the folder cannot be written to.
    """
    for suffix, metadata in METADATA.items():
        with files.atomic(folder / (plot.file + suffix)) as temporary:
            plot.figure.savefig(temporary, metadata=metadata)
            if suffix == ".svg":
                temporary.write_text(steady(temporary.read_text("utf-8")), encoding="utf-8")
