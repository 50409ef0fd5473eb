"""The figures of the report: which cases each draws, and how.

Every number in a caption is computed. The figure ``lambda_strip`` has a page with a slider beside
its pictures.
"""

from collections.abc import Sequence

from pr12.photostyle.figures import curves, photographs, sheets, slider_page
from pr12.photostyle.figures import measures as figures_of_measures
from pr12.photostyle.figures.curves import Metrics
from pr12.photostyle.figures.photographs import PAIRS
from pr12.photostyle.figures.sheets import NETS, Pictures
from pr12.photostyle.params import Figures as Params
from pr12.report import figures as report_figures
from pr12.report.figures import Figure, one_of

TEXTURES = [f"texture_{name}" for name in photographs.TEXTURES]


def figures(params: Params) -> list[Figure]:
    """Return all figures in the order of the report: of each network in turn.

    Parameters
    ----------
    params : Params
        The step's.

    Examples
    --------
    >>> [figure.file for figure in figures(Params("full", {}))][:2]
    ['inversion', 'inversion_errors']
    """
    sweep = one_of("lambda_sweep")
    lambda_strip = Figure(
        "lambda_strip", figures_of_measures.lambda_strip, sweep, sweep, page=lambda_page
    )
    cross_term = Figure(
        "cross_term",
        lambda metrics, _: figures_of_measures.cross_term(metrics),
        one_of("cross_term"),
    )
    listed = []
    for net in NETS:
        first = [*of_synthesis(net), *of_styles(net), *of_pairs(net)]
        measures = Figure(
            sheets.named("measures", net),
            lambda metrics, _, net=net: figures_of_measures.measures(metrics, net),
            of_net(net, [case for pairs in PAIRS.values() for case in pairs]),
        )
        listed += [*first, measures] if net else [*first, lambda_strip, measures, cross_term]
    return listed


def of_net(net: str, cases: Sequence[str]) -> str:
    """Return the pattern of cases with a network."""
    return one_of(*(f"{net}{case}" for case in cases))


def of_synthesis(net: str) -> list[Figure]:
    """Return the figures of inversions and textures, which start from noise."""
    return [
        Figure(
            sheets.named("inversion", net),
            lambda _, pictures: photographs.inversions(pictures, net),
            pictures=of_net(net, ["inversion"]),
        ),
        Figure(
            sheets.named("inversion_errors", net),
            lambda metrics, _: curves.inversion_errors(metrics, net),
            of_net(net, ["inversion"]),
        ),
        Figure(
            sheets.named("textures", net),
            lambda _, pictures: photographs.textures(pictures, net),
            pictures=of_net(net, TEXTURES),
        ),
        Figure(
            sheets.named("texture_errors", net),
            lambda metrics, _: curves.texture_errors(metrics, net),
            of_net(net, TEXTURES),
        ),
    ]


def of_styles(net: str) -> list[Figure]:
    """Return the figures of neural style."""
    return [
        Figure(
            sheets.named("styles", net),
            lambda _, pictures: photographs.styles(pictures, net),
            pictures=of_net(net, [*photographs.STYLES]),
        ),
        Figure(
            sheets.named("style_distances", net),
            lambda metrics, _: curves.style_distances(metrics, net),
            of_net(net, ["style_ratios", "style_content_start", "style_depths"]),
        ),
    ]


def of_pairs(net: str) -> list[Figure]:
    """Return the figures of pairs of photographs."""
    return [
        Figure(
            sheets.named(name, net),
            lambda _, pictures, name=name: photographs.pairs(pictures, name, net),
            pictures=of_net(net, [*cases]),
        )
        for name, cases in PAIRS.items()
    ]


def lambda_page(metrics: Metrics, pictures: Pictures) -> str | None:
    """Return the page of the lambda sweep, if there are results of it."""
    cells = photographs.lambda_cells(pictures)
    if not cells:
        return None
    longest = 2 * sheets.LONGEST
    shown = [(c.title, sheets.resized(c.pixels, longest)) for c in cells]
    return slider_page.page("Photo style by lambda", shown[2:], shown[:2])


if __name__ == "__main__":
    report_figures.start(Params, figures)
