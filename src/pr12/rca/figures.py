"""Draw the figures of the report from the cases' metrics and the steps' pictures."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pr12.shared import plots, step
from pr12.shared.report import path_names


@dataclass(frozen=True)
class Params:
    """Params of the figures."""

    run: str
    published: dict


def main(arguments: Sequence[str]) -> None:
    """Run the step."""
    names = path_names(arguments, besides=("out",))
    with step.start(Params, optional=names, writes=["out"], arguments=arguments) as job:
        plots.write(job.paths["out"], [])


if __name__ == "__main__":
    main(sys.argv[1:])
