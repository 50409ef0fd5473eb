"""What each step of rca takes."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Interval, Len, MinLen
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT, Distinct, Rising, WrongError

Split = Literal["train", "reference", "calibration", "test"]


@dataclass(frozen=True, config=STRICT)
class Baseline:
    """Params of a baseline without references."""

    kind: Literal["known_segmenter", "agreement"]


@dataclass(frozen=True, config=STRICT)
class Calibrate:
    """Params of the calibration."""

    reverse: Literal["atlas"]  # whose scores are read: calibration scans were scored by it alone
    estimator: Literal["max", "mean", "top3"]
    coverages: Annotated[
        tuple[Annotated[float, Interval(gt=0, lt=1)], ...], MinLen(1), Distinct()
    ]  # nominal
    # Percentiles, Cosarinsky et al. 2025
    band: Annotated[tuple[Annotated[float, Interval(ge=0, le=100)], ...], Len(2, 2), Rising()]
    threshold: Annotated[float, Interval(ge=0, le=1)]
    false_positive_rate: Annotated[float, Interval(ge=0, le=1)]
    deals: Annotated[int, Ge(1)]  # of calibration and test subjects; the first as they stand


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Params of the judgement."""

    # Whose scores are read; the last four are what a reverse classifier has to beat
    reverse: Literal[
        "atlas",
        "atlas_to_test",
        "forest",
        "cnn",
        "consensus",
        "known_segmenter",
        "agreement",
        "regressor",
    ]
    estimator: Literal["max", "mean", "top3"]
    references: Annotated[int, Ge(1)] | None  # the first; null: all
    subjects: Annotated[int, Ge(1)] | None  # of the test split, the first; null: all
    threshold: Annotated[float, Interval(ge=0, le=1)]  # Dice below which a segmentation has failed
    false_positive_rate: Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class Figures:
    """Params of the figures."""

    run: str  # as every paper's figures get it
    published: dict  # case -> metric key -> number; the claims' table shows them, no figure does
    context: dict  # other data set -> [correlation, mean absolute error] of Dice


@dataclass(frozen=True, config=STRICT)
class Quality:
    """Params of the comparison: none."""


@dataclass(frozen=True, config=STRICT)
class Register:
    """Params of the registrations: which splits, and for each effort how long it searches."""

    fixed: Annotated[tuple[Split, ...], MinLen(1), Distinct()]
    moving: Annotated[tuple[Split, ...], MinLen(1), Distinct()]
    scans: Annotated[int, Ge(1)] | None  # of each moving split, the first; null: all
    affine_iterations: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)]  # one per effort
    deformable_iterations: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)]
    shrink: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
    smoothing: Annotated[float, Gt(0)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse lists of efforts that differ in length."""
        efforts = len(self.affine_iterations)
        if len(self.deformable_iterations) != efforts:
            raise WrongError(
                "deformable_iterations", f"{efforts} numbers, as affine_iterations has"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Regress:
    """Params of the net that learns Dice on damaged labels."""

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
    examples: Annotated[int, Ge(1)]  # damaged label maps, of all references in turn
    updates: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]


@dataclass(frozen=True, config=STRICT)
class ReverseAtlas:
    """Params of the scores."""

    direction: Literal["to_reference", "to_test", "consensus"]


@dataclass(frozen=True, config=STRICT)
class ReverseCnn:
    """Params of the reverse classifier and of whom it judges."""

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(3, 3)]  # of the U-Net's three levels
    updates: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]
    subjects: Annotated[int, Ge(1)] | None  # of the test split, the first; null: all


@dataclass(frozen=True, config=STRICT)
class ReverseForest:
    """Params of the reverse classifier and of whom it judges."""

    trees: Annotated[int, Ge(1)]
    depth: Annotated[int, Ge(1)]
    subjects: Annotated[int, Ge(1)] | None  # of the test split, the first; null: all


@dataclass(frozen=True, config=STRICT)
class Scans:
    """Params of the splits: which scans, and how many subjects each split of a seed has."""

    source: Literal["phantom", "hippocampus"]
    seeds: Annotated[tuple[int, ...], MinLen(1)]
    train: Annotated[int, Ge(1)]
    reference: Annotated[int, Ge(1)]
    calibration: Annotated[int, Ge(1)]
    test: Annotated[int, Ge(1)]
    phantom_size: Annotated[int, Ge(32)]  # pixels along each side of a generated slice
    phantom_variation: Annotated[float, Interval(ge=0, le=2)]


@dataclass(frozen=True, config=STRICT)
class Segment:
    """Params of the segmentations."""

    # How many atlases vote, one number per effort of their registration, weak to strong
    atlases: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]


@dataclass(frozen=True, config=STRICT)
class Tabular:
    """Params of the experiment; noise, rotation and missing are those of the greatest strength."""

    data: Literal["digits", "breast_cancer", "wine"]
    seeds: Annotated[tuple[int, ...], MinLen(1)]
    examples: Annotated[int, Ge(50)]  # at most as many of the data set
    labelled: Annotated[float, Interval(ge=0.1, le=0.8)]  # share of them; the rest is halved
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
        MinLen(1),
        Distinct(),
    ]
    reverse_classifier: Literal[
        "same",
        "logistic_regression",
        "random_forest",
        "nearest_neighbours",
        "naive_bayes",
        "support_vectors",
    ]
    trees: Annotated[int, Ge(1)]
    strengths: Annotated[int, Ge(1)]  # per kind
    noise: Annotated[float, Gt(0)]  # in standard deviations of the labelled data
    rotation: Annotated[float, Gt(0)]  # degrees
    missing: Annotated[float, Interval(ge=0, le=1)]  # share of the features
    calibration: Literal["sigmoid", "isotonic"]
    folds: Annotated[int, Interval(ge=2, le=20)]  # of calibration and cross-validation, at most


@dataclass(frozen=True, config=STRICT)
class Train:
    """Params of the training."""

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(3, 3)]  # of the U-Net's three levels
    learning_rate: Annotated[float, Gt(0)]
    batch_size: Annotated[int, Ge(1)]
    snapshots: Annotated[
        tuple[Annotated[int, Ge(1)], ...], MinLen(1)
    ]  # updates, weak to strong; the last ends it


@dataclass(frozen=True, config=STRICT)
class TrainForest:
    """Params of the forests."""

    trees: Annotated[int, Ge(1)]
    depths: Annotated[
        tuple[Annotated[int, Ge(1)], ...], MinLen(1)
    ]  # one forest per depth, weak to strong
    subjects: Annotated[int, Ge(1)]  # how many scans of the training split they see
    voxels: Annotated[int, Ge(10)]  # drawn at random from each of them
