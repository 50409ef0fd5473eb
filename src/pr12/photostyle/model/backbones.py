"""Features of an image: a torchvision network, cut after the last layer that is needed.

Layers go by the papers' names (``conv4_2`` of VGG-19 is what comes out of the rectifier behind
that convolution, as in the authors' code; ``pool3``; ``fire5`` of SqueezeNet), for other networks
by torchvision's own (``layer2.1``). Features may be normalised so that every filter has a mean
activation of 1 over images and positions (Gatys et al. 2015, Sec. 2: "normalised network").
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from pr12.core.vision import import_torchvision
from pr12.workflow.errors import UserError

MEAN, STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet, as torchvision's nets learned


def _vgg19() -> dict[str, str]:
    """Return the papers' names of VGG-19: behind each rectifier, and the pools."""
    names, index = {}, 0
    for block, convolutions in enumerate((2, 2, 4, 4, 4), start=1):
        for number in range(1, convolutions + 1):
            names[f"conv{block}_{number}"] = f"features.{index + 1}"
            index += 2
        names[f"pool{block}"] = f"features.{index}"
        index += 1
    return names


def _squeezenet() -> dict[str, str]:
    """Return the paper's names of SqueezeNet 1.0."""
    places = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    names = ("conv1", "pool1", "fire2", "fire3", "fire4", "pool4")
    names += ("fire5", "fire6", "fire7", "fire8", "pool8", "fire9")
    return {name: f"features.{place}" for name, place in zip(names, places, strict=True)}


NAMES = {"vgg19": _vgg19(), "squeezenet1_0": _squeezenet()}


class Features(nn.Module):
    """A cut network: images (N, 3, H, W) from 0 to 1 -> layer -> features (N, C, h, w), float32.

    Parameters
    ----------
    network : GraphModule
        As `cut` gives it.
    bfloat16 : bool
        Convolve in bfloat16 (8 bits of each number), which is about twice as fast on a CPU that
        knows it.

    Attributes
    ----------
    means : dict of str to Tensor
        Layer -> mean activation of every filter, by which features are divided; ones at first.
    """

    def __init__(self, network: fx.GraphModule, bfloat16: bool = False) -> None:
        super().__init__()
        self.network = network.to(torch.bfloat16 if bfloat16 else torch.float32)
        self.network = self.network.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).reshape(3, 1, 1))
        self.number = torch.bfloat16 if bfloat16 else torch.float32
        self.means: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features of images."""
        inputs = ((images - self.mean) / self.std).to(self.number)
        outputs = self.network(inputs.contiguous(memory_format=torch.channels_last))
        return {
            name: (values.float() / self.means[name] if name in self.means else values.float())
            for name, values in outputs.items()
        }


def node(architecture: str, layer: str) -> str:
    """Return torchvision's name of a layer.

    Parameters
    ----------
    architecture : str
        Such as ``vgg19``.
    layer : str
        The papers' name, or torchvision's own.

    Examples
    --------
    >>> node("vgg19", "conv4_2"), node("vgg19", "pool1"), node("squeezenet1_0", "fire5")
    ('features.22', 'features.4', 'features.7')
    """
    return NAMES.get(architecture, {}).get(layer, layer)


def cut(architecture: str, layers: Sequence[str], pooling: str) -> fx.GraphModule:
    """Build a network up to the last of some layers, its weights still without values.

    Parameters
    ----------
    architecture : str
        Any classification network of torchvision.
    layers : sequence of str
        What it shall give.
    pooling : {"max", "average"}
        Max pooling as the network learned, or average pooling in its place (Gatys et al. 2015).

    Raises
    ------
    UserError
        If there is no such network or layer.

    Examples
    --------
    >>> network = cut("vgg19", ["conv1_1", "pool1"], "average")
    >>> sum(math.prod(weight.shape) for weight in network.parameters())
    38720
    """
    torchvision = import_torchvision()
    models = torchvision.models
    from torchvision.models import feature_extraction as extraction  # can be imported only now

    if architecture not in models.list_models(module=models):
        allowed = "vgg19, squeezenet1_0 or another of torchvision.models.list_models()"
        raise UserError(f"there is no network {architecture!r}; choose {allowed}")
    try:
        with torch.device("meta"):  # VGG-19's classifier alone would take 500 MB and two seconds
            network = models.get_model(architecture, weights=None).eval()
    except NotImplementedError:  # RegNets calculate their widths with tensors
        network = models.get_model(architecture, weights=None).eval().to("meta")
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # else a layer before it would give what comes behind it
    # traced through torchvision's own blocks too, which create_feature_extractor keeps whole, so
    # that masks can follow every convolution
    tracer = extraction.NodePathTracer(autowrap_modules=(math, torchvision.ops))
    graph = tracer.trace(network)
    (output,) = (each for each in graph.nodes if each.op == "output")
    nodes = {layer: _last(tracer.node_to_qualname, node(architecture, layer)) for layer in layers}
    for layer, last in nodes.items():
        if last is None:
            known = (
                ", ".join(NAMES.get(architecture, ())) or "torchvision's names, such as layer2.1"
            )
            raise UserError(f"{architecture} has no layer {layer!r}; it has {known}")
    output.args = (nodes,)
    traced = fx.GraphModule(network, graph)
    traced.graph.eliminate_dead_code()
    network = fx.GraphModule(traced, traced.graph)  # only what the layers need
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.MaxPool2d) and pooling == "average":
            network.set_submodule(name, averaging(module))
    return network


def _last(paths: Mapping[fx.Node, str], layer: str) -> fx.Node | None:
    """Find the last thing that a layer, which may be a block, does."""
    inside = [
        node
        for node, path in paths.items()
        if node.op not in ("placeholder", "output") and f"{path}.".startswith(f"{layer}.")
    ]
    return inside[-1] if layer and inside else None


def averaging(module: nn.Module) -> nn.AvgPool2d:
    """Average where a module convolves or pools, over what lies inside the image.

    Parameters
    ----------
    module : Module
        A convolution or pooling of two dimensions.

    Examples
    --------
    >>> averaging(nn.MaxPool2d(2))(torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])).item()
    3.0
    """
    return nn.AvgPool2d(
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        ceil_mode=getattr(module, "ceil_mode", False),
        count_include_pad=False,
    )


def shapes(network: fx.GraphModule) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight that a cut network needs, by torchvision's names.

    Examples
    --------
    >>> shapes(cut("squeezenet1_0", ["conv1"], "max"))
    {'features.0.weight': (96, 3, 7, 7), 'features.0.bias': (96,)}
    """
    return {
        name: tuple(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
