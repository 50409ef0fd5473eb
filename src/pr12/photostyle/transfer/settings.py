"""What a transfer takes: each setting with its bounds, default and a line for the help.

The command line of `pr12.photostyle.transfer` and that of ``pr12 style`` are made of it.
"""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Params of a transfer; not called Params, for no workflow runs this step."""

    architecture: str
    pooling: Literal["average", "max"]
    normalise: Literal["layer", "filter", "nothing"]
    bfloat16: bool
    style_layers: Annotated[tuple[str, ...], MinLen(1)] | None
    content_layers: Annotated[tuple[str, ...], MinLen(1)] | None
    content_weight: Annotated[float, Ge(0)]
    style_weight: Annotated[float, Ge(0)]
    photorealism: Annotated[float, Ge(0)]
    size: Annotated[int, Ge(1)]
    iterations: Annotated[int, Ge(1)]
    photorealistic_iterations: Annotated[int, Ge(0)]
    history: Annotated[int, Ge(1)]
    start: Literal["matched", "closed_form", "content", "noise"]
    seed: int
    smoothing_radius: Annotated[int, Ge(0)]
    smoothing_epsilon: Annotated[float, Gt(0)]
    resume: bool
    fast: bool


DEFAULTS = {
    "architecture": "squeezenet1_0",
    "pooling": "average",
    "normalise": "layer",
    "bfloat16": False,
    "style_layers": None,
    "content_layers": None,
    "content_weight": 100.0,
    "style_weight": 100.0,
    "photorealism": 1e4,
    "size": 700,
    "iterations": 60,
    "photorealistic_iterations": 60,
    "history": 20,
    "start": "matched",  # from noise, 700 pixels would need some 300 iterations to become sharp
    "seed": 0,
    "smoothing_radius": 15,
    "smoothing_epsilon": 1e-5,
    "resume": False,
    "fast": False,
}
TEXTS = {
    "architecture": "Network, a name of torchvision such as vgg19.",
    "pooling": "What pools in the network.",
    "normalise": "Whose mean activation is made 1.",
    "bfloat16": "Convolve with 8 bits of each number: faster where the processor knows it.",
    "style_layers": "Layers of the style; by default those of the network. Once for each.",
    "content_layers": "Layers of the content; by default those of the network. Once for each.",
    "content_weight": "Alpha: how much of the content stays.",
    "style_weight": "Gamma: how much of the style is taken.",
    "photorealism": "Lambda: how much stays a photograph; 0: no second stage.",
    "size": "Longest side that is optimised, pixels.",
    "iterations": "Of the first stage.",
    "photorealistic_iterations": "Of the second stage.",
    "history": "Steps that L-BFGS remembers.",
    "start": "Begin from the content with the style's colours (closed_form: and their covariance), "
    "from the content, or from noise.",
    "seed": "Of the noise and of untrained weights.",
    "smoothing_radius": "Of the local affine smoothing, pixels; 0: none.",
    "smoothing_epsilon": "Of the smoothing: the variance below which it smooths.",
    "resume": "Go on from the checkpoint of a run that was stopped.",
    "fast": "Closed form by class: seconds, no network.",
}
