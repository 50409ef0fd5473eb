"""What each step of vae takes."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT, Distinct, Rising, WrongError


@dataclass(frozen=True, config=STRICT)
class Classifier:
    """Params of the training."""

    seed: int
    hidden: Annotated[tuple[Annotated[int, Interval(ge=1, le=100_000)], ...], MinLen(1)]
    width_scale: Annotated[float, Interval(gt=0, le=100)]
    batch_size: Annotated[int, Ge(1)]
    epochs: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Params of the evaluation."""

    bound_samples: Annotated[int, Ge(1)]
    bound_examples: Annotated[int, Ge(2)]
    train_examples: Annotated[int, Ge(2)] | None  # the case's: no others were learnt from
    batch: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class EvaluateLikelihood:
    """Params of the estimates."""

    estimators: Annotated[tuple[Literal["posterior", "importance", "annealed"], ...], Distinct()]
    points: Annotated[int, Ge(2)]
    train_examples: Annotated[int, Ge(2)] | None  # the case's: no others were learnt from
    binarise: bool
    batch: Annotated[int, Ge(1)]
    posterior_samples: Annotated[int, Ge(2)]
    leapfrog: Annotated[int, Ge(1)]
    burn_in: Annotated[int, Ge(0)]
    step_size: Annotated[float, Gt(0)]
    importance_samples: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Rising()]
    chunk: Annotated[int, Ge(1)]
    temperatures: Annotated[int, Ge(2)]
    chains: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class EvaluateLinear:
    """It has none."""


@dataclass(frozen=True, config=STRICT)
class Faces:
    """Params of the splits: which faces, how many each split has, and the seed of all draws."""

    source: Literal["frey", "moving"]
    train: Annotated[int, Ge(1)]
    validation: Annotated[int, Ge(1)]
    test: Annotated[int, Ge(1)]
    split_seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse more faces than there are."""
        sizes = {"train": self.train, "validation": self.validation, "test": self.test}
        largest = max(sizes, key=lambda key: sizes[key])
        left = 1965 - sum(sizes.values()) + sizes[largest]
        if sizes[largest] > left:
            raise WrongError(largest, f"at most {left}, what the others leave of 1965 faces")
        return self


@dataclass(frozen=True, config=STRICT)
class Figures:
    """Params of the figures."""

    run: str  # published numbers are of MNIST and Frey Face and drawn in the full run only
    published: dict  # case -> metric key -> number


@dataclass(frozen=True, config=STRICT)
class Generation:
    """It has none."""


@dataclass(frozen=True, config=STRICT)
class GradientVariance:
    """Params of the comparison."""

    moment: int
    draws: Annotated[int, Ge(2)]
    samples: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Distinct()]
    examples: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class LatentSpace:
    """Params of the pictures."""

    grid: Annotated[int, Interval(ge=2, le=1000)]  # rows and columns of a manifold


@dataclass(frozen=True, config=STRICT)
class Mcem:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    images: Literal["digits", "faces"]
    hidden: tuple[Annotated[int, Interval(ge=1, le=100_000)], ...]
    width_scale: Annotated[float, Interval(gt=0, le=100)]
    latent_dim: Annotated[int, Interval(ge=1, le=100_000)]
    likelihood: Literal["bernoulli", "gaussian", "linear"]
    train_examples: Annotated[int, Ge(1)] | None
    batch_size: Annotated[int, Ge(1)]
    snapshots: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Rising()]
    init: Literal["normal", "glorot"]
    init_std: Annotated[float, Gt(0)]
    weight_prior: bool
    optimiser: Literal["adagrad", "adam"]
    learning_rate: Annotated[float, Gt(0)]
    adam_beta1: Annotated[float, Interval(ge=0, le=0.999)]
    adam_epsilon: Annotated[float, Gt(0)]
    matmul_precision: Literal["highest", "high", "medium"]
    leapfrog_steps: Annotated[int, Ge(1)]
    weight_updates: Annotated[int, Ge(1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse batches larger than the training set."""
        if self.train_examples is not None and self.batch_size > self.train_examples:
            raise WrongError("batch_size", f"at most train_examples, {self.train_examples}")
        return self


@dataclass(frozen=True, config=STRICT)
class Train:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    images: Literal["digits", "faces"]
    objective: Literal["sgvb_a", "sgvb_b", "importance", "wake_sleep", "autoencoder"]
    samples: Annotated[int, Ge(1)]
    hidden: tuple[Annotated[int, Interval(ge=1, le=100_000)], ...]
    width_scale: Annotated[float, Interval(gt=0, le=100)]
    latent_dim: Annotated[int, Interval(ge=1, le=100_000)]
    likelihood: Literal["bernoulli", "gaussian", "linear"]
    binarise: bool
    train_examples: Annotated[int, Ge(1)] | None
    batch_size: Annotated[int, Ge(1)]
    snapshots: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Rising()]
    init: Literal["normal", "glorot"]
    init_std: Annotated[float, Gt(0)]
    weight_prior: bool
    optimiser: Literal["adagrad", "adam"]
    learning_rate: Annotated[float, Gt(0)]
    schedule: Literal["constant", "linear", "stages"]
    adam_beta1: Annotated[float, Interval(ge=0, le=0.999)]
    adam_epsilon: Annotated[float, Gt(0)]
    matmul_precision: Literal["highest", "high", "medium"]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse batches larger than the training set."""
        if self.train_examples is not None and self.batch_size > self.train_examples:
            raise WrongError("batch_size", f"at most train_examples, {self.train_examples}")
        return self
