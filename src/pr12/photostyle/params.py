"""What each step of photostyle takes."""

from typing import Annotated, Literal, Self, get_args

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT, Distinct, WrongError

# All classification networks of torchvision
Network = Literal[
    "alexnet",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_l",
    "efficientnet_v2_m",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_x_16gf",
    "regnet_x_1_6gf",
    "regnet_x_32gf",
    "regnet_x_3_2gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_8gf",
    "regnet_y_128gf",
    "regnet_y_16gf",
    "regnet_y_1_6gf",
    "regnet_y_32gf",
    "regnet_y_3_2gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_8gf",
    "resnet101",
    "resnet152",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "swin_b",
    "swin_s",
    "swin_t",
    "swin_v2_b",
    "swin_v2_s",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
    "wide_resnet101_2",
    "wide_resnet50_2",
]
# The papers' names of layers; those of other networks are torchvision's
Vgg19 = Literal[
    "conv1_1",
    "conv1_2",
    "pool1",
    "conv2_1",
    "conv2_2",
    "pool2",
    "conv3_1",
    "conv3_2",
    "conv3_3",
    "conv3_4",
    "pool3",
    "conv4_1",
    "conv4_2",
    "conv4_3",
    "conv4_4",
    "pool4",
    "conv5_1",
    "conv5_2",
    "conv5_3",
    "conv5_4",
    "pool5",
]
Squeezenet = Literal[
    "conv1",
    "pool1",
    "fire2",
    "fire3",
    "fire4",
    "pool4",
    "fire5",
    "fire6",
    "fire7",
    "fire8",
    "pool8",
    "fire9",
]


def _check_layers(architecture: str, **lists: tuple[str, ...]) -> None:
    """Refuse layers that a network does not have, where their names are known."""
    known = {"vgg19": get_args(Vgg19), "squeezenet1_0": get_args(Squeezenet)}.get(architecture)
    for key, layers in lists.items():
        for layer in layers:
            if known and layer not in known and not layer.startswith("features."):
                raise WrongError(key, f"a list of layers of {architecture}: {', '.join(known)}")


@dataclass(frozen=True, config=STRICT)
class CrossTerm:
    """Params of the experiment."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]  # of the noise that changes a region
    pair: str
    architecture: Network
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    layers: Annotated[tuple[str, ...], MinLen(1), Distinct()]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse layers that the network does not have."""
        _check_layers(self.architecture, layers=self.layers)
        return self


@dataclass(frozen=True, config=STRICT)
class Figures:
    """Params of the figures."""

    run: str
    published: dict  # case -> metric key -> the paper's number


@dataclass(frozen=True, config=STRICT)
class Invert:
    """Params of an inversion."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    photographs: Annotated[tuple[str, ...], MinLen(1), Distinct()]
    architecture: Network
    trained: bool  # weights come from a file, else they are drawn
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    layers: Annotated[tuple[str, ...], MinLen(1), Distinct()]  # from the input on
    total_variation: Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(1)]  # lambda_TV by layer
    beta: Annotated[float, Gt(0)]
    alpha: Annotated[float, Gt(0)]
    alpha_weight: Annotated[float, Ge(0)]  # lambda_alpha
    iterations: Annotated[int, Ge(1)]
    history: Annotated[int, Ge(1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse layers that the network does not have, and another number of weights."""
        _check_layers(self.architecture, layers=self.layers)
        if len(self.total_variation) != len(self.layers):
            raise WrongError(
                "total_variation", f"{len(self.layers)} numbers, one for each of layers"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Photo:
    """Params of a photo style transfer."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    pair: str
    architecture: Network
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    content_layers: Annotated[tuple[str, ...], MinLen(1), Distinct()]
    style_layers: Annotated[tuple[str, ...], MinLen(1), Distinct()]
    content_weight: Annotated[float, Ge(0)]  # alpha
    style_weight: Annotated[float, Ge(0)]  # Gamma
    photorealism: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1), Distinct()]  # lambda
    iterations: Annotated[int, Ge(1)]  # of each stage
    history: Annotated[int, Ge(1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse layers that the network does not have, and losses that are all left out."""
        _check_layers(
            self.architecture, content_layers=self.content_layers, style_layers=self.style_layers
        )
        if self.content_weight == self.style_weight == 0:
            raise WrongError("style_weight", "above 0 where content_weight is 0")
        return self


@dataclass(frozen=True, config=STRICT)
class Photographs:
    """Params of the photographs: which pairs, and the sizes of all images in pixels."""

    source: Literal["packages", "deep_photo_style"]
    size: Annotated[int, Ge(16)]  # longest side of contents and styles; never enlarged
    published_size: Annotated[int, Ge(16)]  # the same, of the authors' pairs
    texture_size: Annotated[int, Interval(ge=16, le=512)]  # the textures' own
    inversion_size: Annotated[int, Interval(ge=16, le=300)]  # the smallest photograph's
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
    architecture: Network
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    content_layers: Annotated[tuple[str, ...], MinLen(1), Distinct()]  # one image each
    style_layers: Annotated[tuple[str, ...], MinLen(1), Distinct()]  # from the input on
    depths: Annotated[
        tuple[Annotated[int, Ge(1)], ...], MinLen(1), Distinct()
    ]  # how many style layers count
    ratios: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1), Distinct()]  # alpha / beta
    starts: Annotated[tuple[Literal["noise", "content"], ...], MinLen(1), Distinct()]
    iterations: Annotated[int, Ge(1)]
    history: Annotated[int, Ge(1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse layers that the network does not have, and styles deeper than those."""
        _check_layers(
            self.architecture, content_layers=self.content_layers, style_layers=self.style_layers
        )
        if max(self.depths) > len(self.style_layers):
            raise WrongError(
                "depths", f"numbers from 1 to {len(self.style_layers)}, as style_layers has"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Synthesise:
    """Params of a texture synthesis."""

    seeds: Annotated[tuple[int, ...], MinLen(1)]
    texture: Literal["brick", "grass", "gravel"]
    architecture: Network
    trained: bool
    pooling: Literal["max", "average"]
    normalise: Literal["filter", "layer", "nothing"]
    weights_seed: int
    bfloat16: bool
    layers: Annotated[tuple[str, ...], MinLen(1), Distinct()]  # from the input on
    depths: Annotated[
        tuple[Annotated[int, Ge(1)], ...], MinLen(1), Distinct()
    ]  # how many of the layers count
    iterations: Annotated[int, Ge(1)]
    history: Annotated[int, Ge(1)]
    shortest_lag: Annotated[int, Ge(2)]  # pixels between which a period is looked for
    longest_lag: Annotated[int, Ge(2)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse layers that the network does not have, and textures deeper than those."""
        _check_layers(self.architecture, layers=self.layers)
        if max(self.depths) > len(self.layers):
            raise WrongError("depths", f"numbers from 1 to {len(self.layers)}, as layers has")
        if self.longest_lag < self.shortest_lag:
            raise WrongError("longest_lag", f"at least shortest_lag, {self.shortest_lag}")
        return self


@dataclass(frozen=True, config=STRICT)
class Weights:
    """Params of the conversion: what the names of the tensors to keep begin with."""

    prefix: str
