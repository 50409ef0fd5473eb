"""Predict the accuracy of classifiers on shifted data without labels: RCA on tables.

For each seed the examples are dealt into three parts with the same shares of classes: the labelled
data that classifiers learn from, a mapping part, and the new data. The new data are shifted, three
kinds by a series of strengths (`pr12.rca.shifts`), and in every setting RCA's prediction stands
beside the true accuracy.

Maps from reverse score to accuracy are fitted on the mapping part under shifts drawn anew, never on
the new data, whose labels give the true accuracy and nothing else. `linear` and `isotonic` know the
three kinds of shift; `linear_unseen` and `isotonic_unseen` are fitted for each kind on the other
two, since nobody knows beforehand how data will shift.

Two predictions to compare with: cross-validation on the labelled data, which knows nothing of the
new data, and the mean probability that the calibrated classifier gives its own answers on them.
"""

import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from pr12.rca import tabular_data, tabular_estimates
from pr12.rca.tabular_data import Settings
from pr12.shared import files, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, Between, NotEmpty


@dataclass(frozen=True)
class Params:
    """Params of the experiment; noise, rotation and missing are those of the greatest strength."""

    data: Literal["digits", "breast_cancer", "wine"]
    seeds: Annotated[tuple[Annotated[int, Between(0, 2**32 - 1)], ...], NotEmpty()]
    examples: Annotated[int, AtLeast(50)]  # at most as many of the data set
    labelled: Annotated[float, Between(0.1, 0.8)]  # share of them; the rest is halved
    classifiers: Annotated[
        tuple[
            Literal[
                "logistic_regression",
                "random_forest",
                "nearest_neighbours",
                "naive_bayes",
                "support_vectors",
            ],
            ...,
        ],
        NotEmpty(),
    ]
    reverse_classifier: Literal[
        "same",
        "logistic_regression",
        "random_forest",
        "nearest_neighbours",
        "naive_bayes",
        "support_vectors",
    ]
    trees: Annotated[int, AtLeast(1)]
    strengths: Annotated[int, AtLeast(1)]  # per kind
    noise: Annotated[float, Above(0)]  # in standard deviations of the labelled data
    rotation: Annotated[float, Above(0)]  # degrees
    missing: Annotated[float, Between(0, 1)]  # share of the features
    calibration: Literal["sigmoid", "isotonic"]
    folds: Annotated[int, Between(2, 20)]  # of calibration and cross-validation, at most


def check(params: Params) -> None:
    """Refuse names and seeds that are given twice.

    Raises
    ------
    UserError
        If so.
    """
    for key in ("seeds", "classifiers"):
        values = getattr(params, key)
        if len(set(values)) < len(values):
            raise UserError(f"--params.{key} has {list(values)}; name each only once")


def points(
    name: str, seed: int, new: Settings, columns: tabular_estimates.Columns
) -> list[dict[str, Any]]:
    """Give what a scatter plot of one classifier and one seed shows, a point per setting."""
    return [
        {"classifier": name, "seed": seed, "kind": kind, "strength": strength}
        | {key: float(columns[key][row]) for key in ("true", "raw", "linear")}
        for row, (kind, strength) in enumerate(zip(new.kinds, new.strengths, strict=True))
    ]


def main(job: step.Job) -> None:
    """Judge all classifiers for all seeds."""
    params = job.params
    check(params)
    metrics: dict[str, list[float]] = {}
    shown: list[dict[str, Any]] = []
    strongest = tabular_data.Strongest(params.noise, params.rotation, params.missing)
    for seed in params.seeds:
        parts = tabular_data.split(params.data, params.examples, params.labelled, seed)
        mapping, new = (
            tabular_data.settings(part, parts, strongest, params.strengths, [seed, place])
            for place, part in enumerate((parts.mapping, parts.new))
        )
        tables: dict[str, tabular_estimates.Columns] = {}
        for name in params.classifiers:
            base = tabular_estimates.classifier(name, params.trees, seed)
            reverse = tabular_estimates.classifier(params.reverse_classifier, params.trees, seed)
            tables[name] = tabular_estimates.judge(
                base, reverse, parts.labelled, mapping, new, params.calibration, params.folds
            )
            shown += points(name, seed, new, tables[name])
            print(f"seed {seed}, {name}: {len(new.kinds)} settings", file=sys.stderr, flush=True)
        columns = tables[params.classifiers[0]]
        tables["pooled"] = {
            key: np.concatenate([table[key] for table in tables.values()]) for key in columns
        }
        for name, table in tables.items():
            for quantity, value in tabular_estimates.quantities(table).items():
                metrics.setdefault(f"{name}/{quantity}", []).append(value)
    files.write_json(job.paths["picture"], {"points": shown})
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, writes=["metrics", "picture"]) as job, threadpool_limits(limits=1):
        main(job)
