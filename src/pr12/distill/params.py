"""What each step of distill takes."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT, Distinct, Rising, WrongError


@dataclass(frozen=True, config=STRICT)
class Compress:
    """Params of one curve."""

    generator: Literal["random", "nbe", "munge"]
    # of the transfer set, training set included
    sizes: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Rising()]
    seeds: Annotated[tuple[int, ...], MinLen(1)]
    hidden: Annotated[int, Interval(ge=1, le=100_000)]
    updates: Annotated[int, Ge(1)]
    evaluations: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse more evaluations than updates."""
        if self.evaluations > self.updates:
            raise WrongError("evaluations", f"at most updates, {self.updates}")
        return self


@dataclass(frozen=True, config=STRICT)
class Cost:
    """Params of the measurement."""

    warmup: Annotated[int, Ge(1)]
    repeats: Annotated[int, Ge(5)]  # one per block
    systems: dict  # name -> members, hidden, width_scale and bottleneck of its nets


@dataclass(frozen=True, config=STRICT)
class Ensemble:
    """Every size of ensemble is evaluated: nothing is to be chosen here."""


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Params of an evaluation."""

    bias_classes: Annotated[tuple[Annotated[int, Interval(ge=0, le=9)], ...], Distinct()]


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

    temperatures: Annotated[
        tuple[Annotated[float, Interval(gt=0, le=10_000)], ...], MinLen(1), Distinct()
    ]
    examples: Annotated[int, Ge(1)]  # at most: all of a smaller training set


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
        Distinct(),
    ]
    generators: Annotated[tuple[Literal["random", "nbe", "munge"], ...], MinLen(1), Distinct()]
    # the first is that of the training set
    sizes: Annotated[tuple[Annotated[int, Ge(20)], ...], MinLen(2), Rising()]
    validation: Annotated[int, Ge(10)]
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]
    swap_probability: Annotated[float, Interval(ge=0, le=1)]
    local_variance: Annotated[float, Gt(0)]
    nbe_components: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
    trees: Annotated[int, Ge(1)]
    network_iterations: Annotated[int, Ge(1)]
    selection_rounds: Annotated[int, Ge(0)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse more examples than a bundled problem has, and no mixture that can be fitted."""
        rows = {"breast_cancer": 569, "digits_p1": 1797, "digits_p2": 1797}
        for problem in self.problems:
            if problem in rows and self.sizes[0] + self.validation > rows[problem] - 2:
                left = rows[problem] - 2 - self.sizes[0]
                raise WrongError(
                    "validation", f"at most {left}, for {problem} has {rows[problem]} rows"
                )
        if min(self.nbe_components) > self.sizes[0]:
            raise WrongError("nbe_components", f"numbers of which one is at most {self.sizes[0]}")
        return self


@dataclass(frozen=True, config=STRICT)
class SoftLabels:
    """The members' logits determine every mean and temperature: nothing is to be chosen here."""


@dataclass(frozen=True, config=STRICT)
class Temperature:
    """Params of the picture."""

    temperatures: Annotated[
        tuple[Annotated[float, Interval(gt=0, le=10_000)], ...], MinLen(1), Distinct()
    ]
    digits: Annotated[int, Interval(ge=1, le=10)]  # one of each class at most


@dataclass(frozen=True, config=STRICT)
class Train:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    hidden: Annotated[tuple[Annotated[int, Interval(ge=1, le=100_000)], ...], MinLen(1)]
    width_scale: Annotated[float, Interval(gt=0, le=100)]
    bottleneck: Annotated[int, Interval(ge=0, le=100_000)]
    hard_weight: Annotated[float, Ge(0)]
    soft_weight: Annotated[float, Ge(0)]
    logit_weight: Annotated[float, Ge(0)]
    temperature: Annotated[float, Interval(gt=0, le=10_000)]  # float32 resolves no more
    mean: Literal["arithmetic", "geometric"]
    standardise_logits: bool
    noise_fraction: Annotated[float, Interval(ge=0, le=1)]
    noise_sigma: Annotated[float, Ge(0)]
    transfer_classes: Annotated[
        tuple[Annotated[int, Interval(ge=0, le=9)], ...], MinLen(1), Distinct()
    ]
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

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse a training without a loss, and what acts on a loss that is left out."""
        if self.hard_weight == self.soft_weight == self.logit_weight == 0:
            raise WrongError("hard_weight", "above 0 where soft_weight and logit_weight are 0")
        if self.standardise_logits and (self.hard_weight or self.soft_weight):
            raise WrongError(
                "standardise_logits", "false where hard_weight or soft_weight is not 0"
            )
        if self.noise_fraction and not self.logit_weight:
            raise WrongError("noise_fraction", "0 where logit_weight is 0, for it perturbs logits")
        return self
