"""Draw the figures of the report from the cases' metrics and the steps' pictures.

Whatever is there is drawn; a figure without anything to show is left out. Every number in a caption
is computed.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pr12.shared import files, plots, step
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot
from pr12.shared.report import path_names
from pr12.vae import figures_of_bounds, figures_of_spaces, latent_page
from pr12.vae.figures_of_bounds import Metrics

PICTURES = ("generation_picture", "latent_space_picture")


@dataclass(frozen=True)
class Params:
    """Params of the figures."""

    run: str  # published numbers are of MNIST and Frey Face and drawn in the full run only
    published: dict  # case -> metric key -> number


def check_params(params: Params) -> None:
    """Raise `UserError` for the first published number that is none."""
    for case, numbers in params.published.items():
        good = isinstance(numbers, Mapping)
        if not good or any(type(value) not in (int, float) for value in numbers.values()):
            raise UserError(
                f"--params.published.{case} is {numbers!r}; it must be a mapping of metric keys "
                "to numbers, such as {'test/elbo_1000000_nats': -152.9}"
            )


def drawn(params: Params, metrics: Metrics, pictures: Mapping[str, Any]) -> list[Plot]:
    """Draw all figures that have something to show, in the order of the report.

    Parameters
    ----------
    params : Params
        The step's.
    metrics : mapping
        Case -> metric key -> one value per seed.
    pictures : mapping
        Of `PICTURES`, those that there are: what the steps wrote.

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
    published = params.published if params.run == "full" else {}
    found = [
        figures_of_bounds.bound_digits(metrics, published),
        figures_of_bounds.bound_faces(metrics, published),
        figures_of_bounds.likelihood(metrics, published),
        figures_of_bounds.optimisers(metrics),
        figures_of_bounds.gradient_variance(metrics),
        figures_of_bounds.iwae(metrics, published),
    ]
    if "generation_picture" in pictures:
        picture = pictures["generation_picture"]
        found += [
            figures_of_spaces.generation(metrics, picture),
            figures_of_spaces.latent_scatter(metrics, picture),
        ]
    if "latent_space_picture" in pictures:
        picture = pictures["latent_space_picture"]
        found += [
            figures_of_spaces.manifold(picture),
            figures_of_spaces.samples(picture),
            figures_of_spaces.reconstructions(metrics, picture),
            figures_of_spaces.walk(picture),
            figures_of_spaces.latent_plane(picture),
        ]
    return [plot for plot in found if plot]


def main(arguments: Sequence[str]) -> None:
    """Run the step.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    names = path_names(arguments, besides=("out", *PICTURES))
    optional = [*names, *PICTURES]
    with step.start(Params, optional=optional, writes=["out"], arguments=arguments) as job:
        metrics = {case: plots.read_metrics(job.paths[case]) for case in names}
        pictures = {
            name: files.read_json(job.paths[name]) for name in PICTURES if name in job.paths
        }
        with plots.style():
            found = drawn(job.params, metrics, pictures)
            if "latent_space_picture" in pictures:
                page = latent_page.page(pictures["latent_space_picture"]["planes"])
                with files.atomic(job.paths["out"] / "latent_plane.html") as temporary:
                    temporary.write_text(page, encoding="utf-8")
            plots.write(job.paths["out"], found)  # last: its list says that all is there


if __name__ == "__main__":
    main(sys.argv[1:])
