"""The plot of `pr12.rca.predict`: all predictions with their intervals, worst first."""

import io
import warnings
from collections.abc import Sequence

from pr12.rca.predict import summary as predict_summary
from pr12.rca.predict.rows import Row
from pr12.rca.predict.summary import Summary
from pr12.report import plots

MOST_CASES = 60  # more names cannot be read
LONGEST_NAME = 32


def plot(summary: Summary) -> bytes:
    """Draw the predictions of the worst cases with their intervals.

    Parameters
    ----------
    summary : Summary
        All that is known; of more than six structures the worst of each case is drawn.

    Returns
    -------
    bytes
        A PNG.
    """
    predicted = [
        [row for row in rows if row.predicted_dice is not None] for rows in summary.by_case
    ]
    predicted = [rows for rows in predicted if rows]
    shown = predicted[:MOST_CASES]
    with plots.style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a name that the font has not
        figure, ((axes,),) = plots.canvas(8, 1.6 + 0.24 * max(len(shown), 4))
        for index, (label, places, rows) in enumerate(_series(shown, summary.structures)):
            style = {
                "color": predict_summary.colour(index),
                "marker": plots.MARKERS[index],
                "linestyle": "none",
            }
            values = [row.predicted_dice for row in rows]
            ends = [predict_summary.ends(row) for row in rows]
            if all(ends):
                style["xerr"] = [
                    [value - low for value, (low, _) in zip(values, ends, strict=True)],
                    [high - value for value, (_, high) in zip(values, ends, strict=True)],
                ]
            axes.errorbar(values, places, label=label, elinewidth=1, capsize=2, **style)
        axes.axvline(summary.threshold, color=plots.GREY, linestyle="--", label="threshold")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        names = [_short(rows[0].case) for rows in shown]
        axes.set_yticks(range(len(shown)), names, fontsize=9 if len(shown) <= 30 else 7)
        for label in axes.get_yticklabels():
            label.set_parse_math(False)  # a dollar sign in a name is one
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("predicted Dice")
        of = f"the worst {len(shown)} of {len(predicted)}" if len(predicted) > len(shown) else "all"
        kind = (
            "rough ranges"
            if all(row.low is None for rows in shown for row in rows)
            else f"{100 * summary.coverage:g} % intervals"
        )
        lines = f", with {kind}" if predict_summary.has_intervals(shown) else ""
        axes.set_title(f"Predicted Dice of {of} cases{lines}")
        plots.legend(figure, "lower center")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata=plots.METADATA[".png"])
    return stream.getvalue()


def _series(
    shown: Sequence[Sequence[Row]], structures: Sequence[int]
) -> list[tuple[str, list[float], list[Row]]]:
    """Return label, places along y and rows of what is drawn in one look."""
    if len(structures) > len(predict_summary.COLOURS):
        worst = [min(rows, key=lambda row: row.predicted_dice) for rows in shown]
        return [("worst structure", list(range(len(worst))), worst)]
    series = []
    for index, structure in enumerate(structures):
        shift = 0.6 * ((index + 0.5) / len(structures) - 0.5)  # beside each other
        pairs = [
            (place + shift, row)
            for place, rows in enumerate(shown)
            for row in rows
            if row.structure == structure
        ]
        if pairs:
            series.append((f"structure {structure}", *map(list, zip(*pairs, strict=True))))
    return series


def _short(name: str) -> str:
    name = predict_summary.printable(name)
    half = (LONGEST_NAME - 1) // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half:]}"
