"""Draw the figures of the report from the cases' metrics and the steps' pictures.

Whatever is there is drawn; a figure without anything to show is left out. Every number in a caption
is computed. The figure ``lambda_strip`` has a page with a slider beside its pictures.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import load_file

from pr12.photostyle import (
    figures_of_curves,
    figures_of_measures,
    figures_of_photographs,
    sheets,
    slider_page,
)
from pr12.photostyle.figures_of_curves import Metrics
from pr12.photostyle.figures_of_photographs import PAIRS
from pr12.photostyle.sheets import NETS, Pictures
from pr12.shared import files, plots, step
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot
from pr12.shared.report import path_names


@dataclass(frozen=True)
class Params:
    """Params of the figures."""

    run: str
    published: dict  # case -> metric key -> the paper's number


def check_params(params: Params) -> None:
    """Raise `UserError` for the first published number that is none."""
    for case, numbers in params.published.items():
        good = isinstance(numbers, Mapping)
        if not good or any(
            type(value) not in (int, float) or not math.isfinite(value)
            for value in numbers.values()
        ):
            raise UserError(
                f"--params.published.{case} is {numbers!r}; it must be a mapping of metric keys "
                "to numbers"
            )


def read_picture(path: Path) -> dict[str, np.ndarray]:
    """Read the photographs and masks that a step wrote.

    Parameters
    ----------
    path : Path
        A safetensors file.

    Raises
    ------
    UserError
        If it is missing or another file.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"cannot read {path}: no such file") from None
    except (safetensors.SafetensorError, OSError, KeyError, ValueError):
        raise UserError(f"{path} is not a safetensors file; delete it and run again") from None


def drawn(params: Params, metrics: Metrics, pictures: Pictures) -> list[Plot]:
    """Draw all figures that have something to show, in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.
    metrics : mapping
        Case -> metric key -> one value per seed.
    pictures : mapping
        Such as ``pair3_picture``, those that there are -> name -> photograph or mask.

    Raises
    ------
    UserError
        If a picture or a value in a mapping of the params is not what it should be.

    Examples
    --------
    >>> drawn(Params("full", {}), {}, {})
    []
    """
    check_params(params)
    photographs, curves = figures_of_photographs, figures_of_curves
    found: list[Plot | None] = []
    for net in NETS:
        found += [
            photographs.inversions(pictures, net),
            curves.inversion_errors(metrics, net),
            photographs.textures(pictures, net),
            curves.texture_errors(metrics, net),
            photographs.styles(pictures, net),
            curves.style_distances(metrics, net),
            *(photographs.pairs(pictures, name, net) for name in PAIRS),
        ]
        if not net:
            found.append(figures_of_measures.lambda_strip(metrics, pictures))
        found.append(figures_of_measures.measures(metrics, net))
        if not net:
            found.append(figures_of_measures.cross_term(metrics))
    return [plot for plot in found if plot]


def lambda_page(pictures: Pictures) -> str | None:
    """Write the page of the lambda sweep, if there are results of it."""
    cells = figures_of_photographs.lambda_cells(pictures)
    if not cells:
        return None
    longest = 2 * sheets.LONGEST
    shown = [(c.title, sheets.resized(c.pixels, longest)) for c in cells]
    return slider_page.page("Photo style by lambda", shown[2:], shown[:2])


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = path_names(arguments, besides=("out",))
    shown = [name for name in names if name.endswith("_picture")]
    with step.start(Params, optional=names, writes=["out"], arguments=arguments) as job:
        metrics = {case: plots.read_metrics(job.paths[case]) for case in names if case not in shown}
        pictures = {name: read_picture(job.paths[name]) for name in shown}
        with plots.style():
            found = drawn(job.params, metrics, pictures)
            page = lambda_page(pictures)
            if page:
                with files.atomic(job.paths["out"] / "lambda_strip.html") as temporary:
                    temporary.write_text(page, encoding="utf-8")
            plots.write(job.paths["out"], found)  # last: its list says that all is there


if __name__ == "__main__":
    main(sys.argv[1:])
