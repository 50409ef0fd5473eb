"""The figures of the report: which cases each draws, and how.

Every number in a caption is computed. The figure ``latent_plane`` has a page beside its pictures.
"""

from collections.abc import Callable
from typing import Any

from pr12.report import figures as report_figures
from pr12.report.figures import Figure, Metrics, Pictures, one_of
from pr12.report.plots import Plot
from pr12.vae.figures import bounds, latent_page, spaces
from pr12.vae.params import Figures as Params

DIGITS, FACES = "3|5|10|20|200", "2|5|10|20"  # numbers of latents


def figures(params: Params) -> list[Figure]:
    """Return all figures in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.

    Examples
    --------
    >>> [figure.file for figure in figures(Params("full", {}))][:2]
    ['bound_digits', 'bound_faces']
    """
    published = params.published if params.run == "full" else {}
    vae = [f"vae_k{k}" for k in bounds.WEIGHTS]
    return [
        Figure(
            "bound_digits",
            lambda metrics, _: bounds.bound_digits(metrics, published),
            rf"(aevb|wake_sleep)_z({DIGITS})",
        ),
        Figure(
            "bound_faces",
            lambda metrics, _: bounds.bound_faces(metrics, published),
            rf"faces_(wake_sleep_)?z({FACES})",
        ),
        Figure(
            "likelihood",
            lambda metrics, _: bounds.likelihood(metrics, published),
            "fig3_(small|all)_(aevb|wake_sleep|mcem)",
        ),
        Figure(
            "optimisers",
            lambda metrics, _: bounds.optimisers(metrics),
            one_of(*bounds.OPTIMISERS),
        ),
        Figure(
            "gradient_variance",
            lambda metrics, _: bounds.gradient_variance(metrics),
            one_of("gradient_variance"),
        ),
        Figure(
            "iwae",
            lambda metrics, _: bounds.iwae(metrics, published),
            one_of(*vae, *(f"iwae_k{k}" for k in bounds.WEIGHTS if k > 1)),
        ),
        *of_generation(),
        *of_latent_space(),
    ]


def of_generation() -> list[Figure]:
    """Return the figures of images drawn from nets."""
    return [
        Figure(
            "generation",
            pictured("generation", spaces.generation),
            one_of("generation", "aevb_z10", "autoencoder_z10"),
            one_of("generation"),
        ),
        Figure(
            "latent_scatter",
            pictured("generation", spaces.latent_scatter),
            one_of("generation", "aevb_z2", "autoencoder_z2"),
            one_of("generation"),
        ),
    ]


def of_latent_space() -> list[Figure]:
    """Return the figures of latent spaces."""
    case = "latent_space"
    of_picture = {"manifold": spaces.manifold, "samples": spaces.samples}
    of_picture |= {"walk": spaces.walk, "latent_plane": spaces.latent_plane}
    alone = {
        file: Figure(
            file,
            pictured(case, lambda _, picture, draw=draw: draw(picture)),
            pictures=one_of(case),
            page=latent_plane_page if file == "latent_plane" else None,
        )
        for file, draw in of_picture.items()
    }
    reconstructions = Figure(
        "reconstructions",
        pictured(case, spaces.reconstructions),
        one_of(case),
        one_of(case),
    )
    return [
        alone["manifold"],
        alone["samples"],
        reconstructions,
        alone["walk"],
        alone["latent_plane"],
    ]


def pictured(
    case: str, draw: Callable[[Metrics, Any], Plot | None]
) -> Callable[[Metrics, Pictures], Plot | None]:
    """Return how a figure is drawn that shows nothing without the picture of a case."""
    name = f"{case}_picture"
    return lambda metrics, pictures: draw(metrics, pictures[name]) if name in pictures else None


def latent_plane_page(metrics: Metrics, pictures: Pictures) -> str:
    """Return the page on which the decoded image follows the mouse."""
    return latent_page.page(spaces.planes(pictures["latent_space_picture"]))


if __name__ == "__main__":
    report_figures.start(Params, figures)
