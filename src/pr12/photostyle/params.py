"""What each step of photostyle takes."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class CrossTerm:
    """Params of the experiment."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]  # of the noise that changes a region
    pair: str
    architecture: str
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    layers: Annotated[tuple[str, ...], MinLen(1)]


@dataclass(frozen=True, config=STRICT)
class Figures:
    """Params of the figures."""

    run: str
    published: dict  # case -> metric key -> the paper's number


@dataclass(frozen=True, config=STRICT)
class Invert:
    """Params of an inversion."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    photographs: Annotated[tuple[str, ...], MinLen(1)]
    architecture: str
    trained: bool  # weights come from a file, else they are drawn
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    layers: Annotated[tuple[str, ...], MinLen(1)]  # from the input on
    total_variation: Annotated[tuple[float, ...], MinLen(1)]  # lambda_TV by layer
    beta: Annotated[float, Gt(0)]
    alpha: Annotated[float, Gt(0)]
    alpha_weight: Annotated[float, Ge(0)]  # lambda_alpha
    iterations: Annotated[int, Ge(1)]
    history: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class Photo:
    """Params of a photo style transfer."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    pair: str
    architecture: str
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    content_layers: Annotated[tuple[str, ...], MinLen(1)]
    style_layers: Annotated[tuple[str, ...], MinLen(1)]
    content_weight: Annotated[float, Ge(0)]  # alpha
    style_weight: Annotated[float, Ge(0)]  # Gamma
    photorealism: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]  # lambda
    iterations: Annotated[int, Ge(1)]  # of each stage
    history: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class Photographs:
    """Params of the photographs: which pairs, and the sizes of all images in pixels."""

    source: Literal["packages", "deep_photo_style"]
    size: Annotated[int, Ge(16)]  # longest side of contents and styles; never enlarged
    published_size: Annotated[int, Ge(16)]  # the same, of the authors' pairs
    texture_size: Annotated[int, Ge(16)]
    inversion_size: Annotated[int, Ge(16)]
    classes: Annotated[int, Interval(ge=1, le=8)]  # of automatic masks, at most


@dataclass(frozen=True, config=STRICT)
class Quality:
    """Params of the measures."""

    affine_radius: Annotated[int, Ge(1)]  # pixels, of windows of the local affine fit
    smoothing_radius: Annotated[int, Ge(1)]  # of the local affine smoothing
    smoothing_epsilon: Annotated[float, Gt(0)]


@dataclass(frozen=True, config=STRICT)
class Stylise:
    """Params of a neural style."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    pair: str
    architecture: str
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    content_layers: Annotated[tuple[str, ...], MinLen(1)]  # one image each
    style_layers: Annotated[tuple[str, ...], MinLen(1)]  # from the input on
    depths: Annotated[tuple[int, ...], MinLen(1)]  # how many of the style layers count
    ratios: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]  # alpha / beta
    starts: Annotated[tuple[Literal["noise", "content"], ...], MinLen(1)]
    iterations: Annotated[int, Ge(1)]
    history: Annotated[int, Ge(1)]


@dataclass(frozen=True, config=STRICT)
class Synthesise:
    """Params of a texture synthesis."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    texture: Literal["brick", "grass", "gravel"]
    architecture: str
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    layers: Annotated[tuple[str, ...], MinLen(1)]  # from the input on
    depths: Annotated[tuple[int, ...], MinLen(1)]  # how many of the layers count
    iterations: Annotated[int, Ge(1)]
    history: Annotated[int, Ge(1)]
    shortest_lag: Annotated[int, Ge(1)]  # pixels between which a period is looked for
    longest_lag: Annotated[int, Ge(2)]


@dataclass(frozen=True, config=STRICT)
class Weights:
    """Params of the conversion: what the names of the tensors to keep begin with."""

    prefix: str
