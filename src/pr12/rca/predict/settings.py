"""What a prediction takes: each setting with its bounds, default and a line for the help.

The command line of `pr12.rca.predict` and that of ``pr12 quality score`` are made of it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Params of a prediction; not called Params, for no workflow runs this step."""

    threshold: Annotated[float, Interval(ge=0, le=1)]
    coverage: Annotated[float, Interval(ge=0.5, le=0.99)]
    missed: Annotated[float, Interval(ge=0.01, le=0.5)]
    estimator: Literal["max", "mean", "top3", "vote"]
    fail_on_flag: bool
    patients: str | None
    jobs: Annotated[int, Ge(1)] | None
    references: Annotated[int, Ge(1)]
    structures: Annotated[tuple[str, ...], MinLen(1)] | None
    affine_iterations: Annotated[int, Ge(0)]
    deformable_iterations: Annotated[int, Ge(0)]
    shrink: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] | None
    smoothing: Annotated[float, Gt(0)]
    largest_voxels: Annotated[int, Ge(1000)]


DEFAULTS = {
    "threshold": 0.7,
    "coverage": 0.9,
    "missed": 0.1,
    "estimator": "max",
    "fail_on_flag": False,
    "patients": None,
    "jobs": None,
    "references": 8,
    "structures": None,
    "affine_iterations": 40,
    "deformable_iterations": 25,
    "shrink": None,
    "smoothing": 1.0,
    "largest_voxels": 262_144,
}
TEXTS = {
    "threshold": "A Dice below it is a failure.",
    "coverage": "Nominal coverage of the intervals, and of the bound from below.",
    "missed": "Share of failures that may pass without a flag.",
    "estimator": "Over references; the paper's is max, vote compares with their majority.",
    "fail_on_flag": "Exit code 3 if a case is flagged.",
    "patients": "Regular expression that finds the patient in a case's name, such as '^p[0-9]+'.",
    "jobs": "Processes; by default one for each core.",
    "references": "That judge a case, drawn once of all: more cost time, and hardly say more.",
    "structures": "Structure that counts, by name or number; by default all. Once for each.",
    "affine_iterations": "Of the affine registration, at each resolution.",
    "deformable_iterations": "Of the deformable registration, at each resolution.",
    "shrink": "Factors of the resolutions, once for each; by default 4 and 2, in two dimensions 2.",
    "smoothing": "Of the displacements, voxels.",
    "largest_voxels": "Larger images are averaged down to so many voxels.",
}
# What a model is made with; the rest is asked of scores, and may be asked again
FITTED = (
    "patients", "jobs", "references", "structures", "affine_iterations", "deformable_iterations",
    "shrink", "smoothing", "largest_voxels",
)  # fmt: skip
KEPT = FITTED[2:]  # cases are scored as the model was


def in_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return params whose structures are texts: people give numbers, names, or both.

    Parameters
    ----------
    values : mapping
        Param -> value, as JSON gives them.

    Examples
    --------
    >>> in_words({"structures": [1, "spleen"], "coverage": 0.9})
    {'structures': ['1', 'spleen'], 'coverage': 0.9}
    """
    structures = values.get("structures")
    if not isinstance(structures, list):
        return dict(values)
    words = [str(each) if type(each) is int else each for each in structures]
    return {**values, "structures": words}
