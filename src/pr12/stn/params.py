"""What each step of stn takes."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Interval, Len, MinLen
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT, Distinct, WrongError


@dataclass(frozen=True, config=STRICT)
class Colocalise:
    """Params of the co-localisation."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    digits: Annotated[tuple[Annotated[int, Interval(ge=0, le=9)], ...], MinLen(1), Distinct()]
    images: Annotated[int, Ge(2)]  # per class; new ones: as many, or all there are
    patches: Annotated[int, Ge(0)]  # of clutter; 0: T, 16: TC
    iterations: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(2)]
    learning_rate: Annotated[float, Gt(0)]
    scale_rate: Annotated[float, Ge(0)]
    jitter: Annotated[int, Interval(ge=0, le=84)]  # pixels; canvases shift anew at each iteration
    stride: Literal[1, 2, 4]
    margin: Annotated[float, Gt(0)]
    embedding_length: Annotated[float, Gt(0)]
    embedding_width: Annotated[int, Interval(ge=1, le=4096)]
    embedding_steps: Annotated[int, Ge(1)]
    embedding_batch_size: Annotated[int, Ge(1)]
    embedding_learning_rate: Annotated[float, Gt(0)]
    bfloat16: bool  # products of 8 bits, sums and parameters of float32

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse batches that would have an image twice."""
        if self.batch_size > self.images:
            raise WrongError("batch_size", f"at most images, {self.images}, each once in a batch")
        return self


@dataclass(frozen=True, config=STRICT)
class Cost:
    """Params of the measurement."""

    parameters: Annotated[int, Interval(ge=1, le=10**9)]  # of the nets of Table 1
    batch_size: Annotated[int, Ge(1)]
    sequence_size: Annotated[int, Interval(ge=16, le=2048)]  # pixels
    sequence_width: Annotated[float, Interval(gt=0, le=16)]  # the paper's is 1
    sequence_batch: Annotated[int, Ge(1)]
    warmup: Annotated[int, Ge(1)]
    repeats: Annotated[int, Ge(3)]


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Params of the judgement."""

    examples: Annotated[int, Ge(1)] | None  # test digits, the first; null: all
    moved_examples: Annotated[int, Ge(1)] | None  # at each known movement
    rotations: Annotated[
        tuple[Annotated[float, Interval(ge=-180, le=180)], ...], MinLen(1), Distinct()
    ]  # degrees
    scales: Annotated[tuple[Annotated[float, Interval(gt=0, le=1000)], ...], MinLen(1), Distinct()]
    shifts: Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(1), Distinct()]  # pixels
    batch: Annotated[int, Ge(1)]
    bfloat16: bool


@dataclass(frozen=True, config=STRICT)
class EvaluateParts:
    """Params of the evaluation."""

    batch: Annotated[int, Ge(1)]
    shown: Annotated[int, Ge(1)]  # test images in the picture, the first ones
    bfloat16: bool


@dataclass(frozen=True, config=STRICT)
class EvaluateSequences:
    """Params of the evaluation."""

    batch: Annotated[int, Ge(1)]
    shown: Annotated[int, Ge(1)]  # test images in the picture, the first ones


@dataclass(frozen=True, config=STRICT)
class Figures:
    """Params of the figures."""

    run: str  # the full run alone is of the paper's data
    published: dict  # case -> metric key -> the paper's number


@dataclass(frozen=True, config=STRICT)
class Parts:
    """Params of the splits: whose images, how large, how many, and the seed of all draws."""

    source: Literal["generated", "cub"]
    size: Annotated[int, Interval(ge=8, le=2048)]  # pixels along a side
    train: Annotated[int, Ge(1)] | None  # null: all that cub has
    validation: Annotated[int, Ge(1)]
    test: Annotated[int, Ge(1)] | None
    split_seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse generated objects without a number, or too small."""
        for key, value in (("train", self.train), ("test", self.test)):
            if self.source == "generated" and value is None:
                raise WrongError(key, "a number, for objects are generated without end")
        if self.source == "generated" and self.size < 32:
            raise WrongError("size", "at least 32, or parts would reach out of the image")
        return self


@dataclass(frozen=True, config=STRICT)
class Sequences:
    """Params of the splits: whose pictures, how large, how many, and the seed of all draws."""

    source: Literal["composed", "svhn"]
    size: Literal[32, 64, 128]
    train: Annotated[int, Ge(1)] | None  # null: all that svhn has
    validation: Annotated[int, Ge(1)]
    test: Annotated[int, Ge(1)] | None
    max_digits: Annotated[int, Interval(ge=1, le=5)]
    heights: Annotated[tuple[Annotated[float, Ge(1)], ...], Len(2, 2)]  # lowest and highest
    extra: bool
    split_seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse composed pictures without a number, and digits that fit into no picture."""
        for key, value in (("train", self.train), ("test", self.test)):
            if self.source == "composed" and value is None:
                raise WrongError(key, "a number, for sequences are composed without end")
        if not self.heights[0] <= self.heights[1] <= self.size:
            raise WrongError("heights", f"the lowest and the highest, from 1 to size, {self.size}")
        return self


@dataclass(frozen=True, config=STRICT)
class Train:
    """Params of one row's trainings."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    network: Literal["fcn", "cnn", "deformable"]
    transform: Literal["none", "affine", "attention", "projective", "tps"]
    transformers: Annotated[int, Interval(ge=1, le=16)]  # in parallel; 1 without a transform
    pooling: Literal["max", "average"]
    distortions: Annotated[
        tuple[Literal["U", "R", "RTS", "P", "E", "TC", "addition"], ...], MinLen(1), Distinct()
    ]
    parameters: Annotated[int, Interval(ge=1, le=10**9)]
    images: Annotated[int, Ge(1)]  # distorted images that a net learns from
    batch_size: Annotated[int, Ge(1)]
    optimiser: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Gt(0)]
    schedule: Literal["thirds", "linear"]
    bfloat16: bool  # products of 8 bits, sums and parameters of float32

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse several transformers of no transform."""
        if self.transform == "none" and self.transformers > 1:
            raise WrongError("transformers", "1 where transform is none")
        return self


@dataclass(frozen=True, config=STRICT)
class TrainParts:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    transformers: Annotated[int, Interval(ge=0, le=16)]  # 0: one network on the whole image
    backbone: Literal["small", "googlenet"]
    width: Annotated[int, Interval(ge=1, le=4096)]  # of the small backbone
    input_size: Annotated[int, Interval(ge=1, le=2048)]  # side of the squares cut out of images
    output_size: Annotated[int, Interval(ge=1, le=2048)]  # side of what a backbone sees
    flips: bool
    dropout: Annotated[float, Interval(ge=0, le=0.9)]
    epochs: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(2)]
    optimiser: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Gt(0)]
    momentum: Annotated[float, Interval(ge=0, le=0.999)]
    schedule: Literal["stages", "cosine"]
    warmup_batches: Annotated[int, Ge(0)]
    weight_decay: Annotated[float, Ge(0)]
    localisation_rate: Annotated[float, Ge(0)]  # times learning_rate; 0: windows stay put
    bfloat16: bool

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse what is too small for a backbone to see."""
        smallest = {"small": 8, "googlenet": 32}[self.backbone]
        if self.output_size < smallest:
            raise WrongError(
                "output_size", f"at least {smallest}, which backbone {self.backbone} needs"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class TrainSequences:
    """Params of one training."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    network: Literal["cnn", "single", "multi"]
    width_scale: Annotated[float, Interval(gt=0, le=16)]
    fully_connected: Annotated[int, Interval(ge=1, le=16)]
    dropout: Annotated[float, Interval(ge=0, le=0.9)]
    epochs: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1)]
    optimiser: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Gt(0)]
    momentum: Annotated[float, Interval(ge=0, le=0.999)]
    warmup_batches: Annotated[int, Ge(0)]
    decay_epochs: Annotated[int, Ge(1)]
    weight_decay: Annotated[float, Ge(0)]
    localisation_rate: Annotated[float, Gt(0)]
    bfloat16: bool
