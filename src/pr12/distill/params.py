"""What each step of distill takes."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class Compress:
    """Params of one curve."""

    generator: Literal["random", "nbe", "munge"]
    sizes: Annotated[tuple[int, ...], MinLen(1)]  # of the transfer set, training set included
    seeds: Annotated[tuple[int, ...], MinLen(1)]
    hidden: Annotated[int, Ge(1)]
    updates: Annotated[int, Ge(1)]
    evaluations: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]


@dataclass(frozen=True, config=STRICT)
class Cost:
    """Params of the measurement."""

    warmup: Annotated[int, Ge(1)]
    repeats: Annotated[int, Ge(5)]  # one per block


@dataclass(frozen=True, config=STRICT)
class Ensemble:
    """Every size of ensemble is evaluated: nothing is to be chosen here."""


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Params of an evaluation."""

    bias_classes: tuple[Annotated[int, Interval(ge=0, le=9)], ...]


@dataclass(frozen=True, config=STRICT)
class EvaluateCompression:
    """No params: sizes and problems stand in the model."""


@dataclass(frozen=True, config=STRICT)
class Figures:
    """Params of the figures."""

    run: str  # published numbers are of MNIST and drawn in the full run only
    published: dict  # case -> metric key -> number
    student_cases: dict  # system in the case cost -> case whose errors are its errors


@dataclass(frozen=True, config=STRICT)
class GradientLimit:
    """Params of the comparison."""

    temperatures: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    examples: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class Library:
    """Params of the library, the ensemble and the transfer sets."""

    problems: Annotated[
        tuple[
            Literal[
                "breast_cancer",
                "digits_p1",
                "digits_p2",
                "adult",
                "letter_p1",
                "letter_p2",
                "covtype",
            ],
            ...,
        ],
        MinLen(1),
    ]
    generators: Annotated[tuple[Literal["random", "nbe", "munge"], ...], MinLen(1)]
    sizes: Annotated[tuple[int, ...], MinLen(1)]  # the first is that of the training set
    validation: Annotated[int, Ge(10)]
    seed: Annotated[int, Ge(0)]
    swap_probability: Annotated[float, Interval(ge=0, le=1)]
    local_variance: Annotated[float, Gt(0)]
    nbe_components: Annotated[tuple[int, ...], MinLen(1)]
    trees: Annotated[int, Ge(1)]
    network_iterations: Annotated[int, Ge(1)]
    selection_rounds: Annotated[int, Ge(0)]


@dataclass(frozen=True, config=STRICT)
class SoftLabels:
    """The members' logits determine every mean and temperature: nothing is to be chosen here."""


@dataclass(frozen=True, config=STRICT)
class Temperature:
    """Params of the picture."""

    temperatures: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
    digits: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class Train:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    hidden: Annotated[tuple[int, ...], MinLen(1)]
    width_scale: Annotated[float, Gt(0)]
    bottleneck: Annotated[int, Ge(0)]
    hard_weight: Annotated[float, Ge(0)]
    soft_weight: Annotated[float, Ge(0)]
    logit_weight: Annotated[float, Ge(0)]
    temperature: Annotated[float, Gt(0)]
    mean: Literal["arithmetic", "geometric"]
    standardise_logits: bool
    noise_fraction: Annotated[float, Interval(ge=0, le=1)]
    noise_sigma: Annotated[float, Ge(0)]
    transfer_classes: Annotated[tuple[int, ...], MinLen(1)]
    transfer_fraction: Annotated[float, Interval(gt=0, le=1)]
    dropout_input: Annotated[float, Interval(ge=0, le=0.95)]
    dropout_hidden: Annotated[float, Interval(ge=0, le=0.95)]
    max_norm: Annotated[float, Gt(0)] | None
    jitter: Annotated[int, Ge(0)]
    batch_size: Annotated[int, Ge(1)]
    epochs: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]
    early_stopping: bool
    matmul_precision: Literal["highest", "high", "medium"]
