"""Predict the accuracy of classifiers on shifted data without labels: RCA on tables.

For each seed the examples are dealt into three parts with the same shares of classes: the labelled
data that classifiers learn from, a mapping part, and the new data. The new data are shifted, three
kinds by a series of strengths (`pr12.rca.data.shifts`), and in every setting RCA's prediction
stands beside the true accuracy.

Maps from reverse score to accuracy are fitted on the mapping part under shifts drawn anew, never on
the new data, whose labels give the true accuracy and nothing else. `linear` and `isotonic` know the
three kinds of shift; `linear_unseen` and `isotonic_unseen` are fitted for each kind on the other
two, since nobody knows beforehand how data will shift.

Two predictions to compare with: cross-validation on the labelled data, which knows nothing of the
new data, and the mean probability that the calibrated classifier gives its own answers on them.
"""

import sys
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from pr12.rca.data import tabular_data
from pr12.rca.data.tabular_data import Settings
from pr12.rca.model import tabular_estimates
from pr12.rca.params import Tabular as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


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
    """Return what a scatter plot of one classifier and one seed shows, a point per setting."""
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
