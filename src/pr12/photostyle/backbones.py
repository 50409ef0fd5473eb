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

from pr12.shared import run
from pr12.shared.errors import UserError
from pr12.shared.vision import import_torchvision

MEAN, STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet, as torchvision's nets learned
LEAST = 0.01  # a filter's mean activation counts as at least this share of its layer's


def _vgg19() -> dict[str, str]:
    """Give the papers' names of VGG-19: behind each rectifier, and the pools."""
    names, index = {}, 0
    for block, convolutions in enumerate((2, 2, 4, 4, 4), start=1):
        for number in range(1, convolutions + 1):
            names[f"conv{block}_{number}"] = f"features.{index + 1}"
            index += 2
        names[f"pool{block}"] = f"features.{index}"
        index += 1
    return names


def _squeezenet() -> dict[str, str]:
    """Give the paper's names of SqueezeNet 1.0."""
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
        """Give the features of images."""
        inputs = ((images - self.mean) / self.std).to(self.number)
        found = self.network(inputs.contiguous(memory_format=torch.channels_last))
        return {
            name: (own.float() / self.means[name] if name in self.means else own.float())
            for name, own in found.items()
        }


def node(architecture: str, layer: str) -> str:
    """Give torchvision's name of a layer.

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
    models = import_torchvision().models
    from torchvision.models import feature_extraction as extraction  # can be imported only now

    if architecture not in models.list_models(module=models):
        allowed = "vgg19, squeezenet1_0 or another of torchvision.models.list_models()"
        raise UserError(f"there is no network {architecture!r}; choose {allowed}")
    with torch.device("meta"):  # the classifier of VGG-19 alone would take 500 MB and two seconds
        network = models.get_model(architecture, weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # else a layer before it would give what comes behind it
    nodes = {node(architecture, layer): layer for layer in layers}
    try:
        found = extraction.create_feature_extractor(network, return_nodes=nodes).eval()
    except ValueError:
        known = ", ".join(NAMES.get(architecture, ())) or "torchvision's names, such as layer2.1"
        missing = [layer for layer in layers if not _has(network, node(architecture, layer))]
        named = missing[0] if missing else ", ".join(layers)
        raise UserError(f"{architecture} has no layer {named!r}; it has {known}") from None
    own = fx.GraphModule(found, found.graph)
    for name, module in list(own.named_modules()):
        if isinstance(module, nn.MaxPool2d) and pooling == "average":
            own.set_submodule(name, _average(module))
    return own


def _has(network: nn.Module, name: str) -> bool:
    return name in dict(network.named_modules())


def _average(module: nn.Module) -> nn.AvgPool2d:
    """Average where a module convolves or pools, over what lies inside the image."""
    return nn.AvgPool2d(
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        ceil_mode=getattr(module, "ceil_mode", False),
        count_include_pad=False,
    )


def shapes(network: fx.GraphModule) -> dict[str, tuple[int, ...]]:
    """Give the shape of every weight that a cut network needs, by torchvision's names.

    Examples
    --------
    >>> shapes(cut("squeezenet1_0", ["conv1"], "max"))
    {'features.0.weight': (96, 3, 7, 7), 'features.0.bias': (96,)}
    """
    return {
        name: tuple(own.shape)
        for name, own in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def trained(network: fx.GraphModule, weights: Mapping[str, Tensor]) -> fx.GraphModule:
    """Give a cut network the weights of a file.

    Parameters
    ----------
    network : GraphModule
        As `cut` gives it.
    weights : mapping of str to Tensor
        By torchvision's names, of the shapes that `shapes` gives.
    """
    network.load_state_dict(dict(weights), strict=False, assign=True)
    return network


def untrained(network: fx.GraphModule, images: Tensor, seed: int) -> fx.GraphModule:
    """Give a cut network random weights, each layer scaled to a mean activation of 1.

    Such features serve for texture and inversion (Ustyuzhaninov et al. 2016, He et al. 2016).

    Parameters
    ----------
    network : GraphModule
        As `cut` gives it.
    images : Tensor
        From 0 to 1, shape (N, 3, H, W): over these is the mean.
    seed : int
        Of the weights, normal of mean 0, without biases.

    Examples
    --------
    >>> images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> network = untrained(cut("vgg19", ["conv1_2"], "average"), images, seed=0)
    >>> round(Features(network)(images)["conv1_2"].mean().item(), 4)
    1.0
    """
    network = network.to_empty(device="cpu")
    stream = run.generator(seed, "untrained weights")
    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = math.prod(module.weight.shape[1:])
            module.weight.data.normal_(std=(2 / fan_in) ** 0.5, generator=stream)
            if module.bias is not None:
                module.bias.data.zero_()
            hooks.append(module.register_forward_hook(_scale))
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    with torch.no_grad():
        network((images - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1))
    for hook in hooks:
        hook.remove()
    return network


def _scale(module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Scale a convolution's weights so that behind its rectifier the mean is 1."""
    mean = output.clamp(min=0).mean()
    module.weight.data /= mean
    return output / mean


@torch.no_grad()
def normalise(features: Features, images: Tensor, by: str) -> None:
    """Divide features by their mean activation over some images.

    For a network of rectifiers, ``filter`` is the normalised network of Gatys et al. (2015,
    Sec. 2), whose weights are scaled instead: both give the same features.

    Parameters
    ----------
    features : Features
        Changed in place.
    images : Tensor
        From 0 to 1, shape (N, 3, H, W).
    by : {"filter", "layer", "nothing"}
        Whose mean becomes 1. By filter, those that hardly ever answer become very loud; a filter's
        mean counts as at least a hundredth of its layer's.

    Examples
    --------
    >>> images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> features = Features(untrained(cut("vgg19", ["conv1_1"], "average"), images, seed=0))
    >>> normalise(features, images, by="filter")
    >>> bool((features(images)["conv1_1"].mean(dim=(0, 2, 3)) < 1.001).all())
    True
    """
    features.means.clear()
    for name, own in {} if by == "nothing" else features(images).items():
        mean, filters = own.mean(), own.mean(dim=(0, 2, 3)).reshape(-1, 1, 1)
        features.means[name] = filters.clamp(min=LEAST * mean.item()) if by == "filter" else mean


def prepared(
    network: fx.GraphModule,
    images: Tensor,
    weights: Mapping[str, Tensor] | None,
    seed: int,
    by: str,
    bfloat16: bool,
) -> Features:
    """Make features ready for use.

    Parameters
    ----------
    network : GraphModule
        As `cut` gives it.
    images : Tensor
        Photographs for mean activations, from 0 to 1, shape (N, 3, H, W).
    weights : mapping of str to Tensor, optional
        Of a trained network; without, they are drawn.
    seed : int
        Of untrained weights.
    by, bfloat16
        As for `normalise` and `Features`.

    Examples
    --------
    >>> network = cut("squeezenet1_0", ["conv1"], "max")
    >>> features = prepared(network, torch.rand(1, 3, 32, 32), None, 0, "layer", False)
    >>> round(features(torch.rand(1, 3, 32, 32))["conv1"].mean().item())
    1
    """
    own = untrained(network, images, seed) if weights is None else trained(network, weights)
    features = Features(own, bfloat16).to(run.device())
    normalise(features, images.to(run.device()), by)
    return features


def mask_network(features: Features) -> fx.GraphModule:
    """Give the network that carries masks to the layers: an average where features are convolved.

    Masks are averaged over every convolution's window and halved by every pool, so that a mask at
    a layer says how much of what the layer sees there is of the class (the authors' code).

    Parameters
    ----------
    features : Features
        Whose geometry it shares.
    """
    modules = {}
    for name, module in features.network.named_modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            if isinstance(module, nn.Conv2d) and module.dilation != (1, 1):
                raise UserError(f"the layer {name} is dilated; masks cannot follow it")
            modules[name] = _average(module)
        elif isinstance(module, nn.Linear | nn.Flatten | nn.AdaptiveAvgPool2d):
            raise UserError(f"the layer {name} has no positions; choose an earlier layer")
        else:
            modules[name] = nn.Identity()
    return fx.GraphModule(modules, features.network.graph)


@torch.no_grad()
def carried(features: Features, masks: Tensor) -> dict[str, Tensor]:
    """Carry the masks of classes to every layer.

    Parameters
    ----------
    features : Features
        Their network.
    masks : Tensor
        Float, shape (K, H, W), at every pixel with the sum 1.

    Returns
    -------
    dict of str to Tensor
        Layer -> shape (K, h, w), again with the sum 1.

    Examples
    --------
    >>> features = Features(untrained(cut("vgg19", ["pool1"], "max"), torch.rand(1, 3, 8, 8), 0))
    >>> left = torch.zeros(8, 8)
    >>> left[:, :4] = 1
    >>> carried(features, torch.stack([left, 1 - left]))["pool1"][0, 2].tolist()
    [1.0, 0.7777777910232544, 0.2222222238779068, 0.0]
    """
    layers = mask_network(features)(masks.float()[:, None])
    means = {name: own.mean(dim=1) for name, own in layers.items()}  # of joined branches
    return {name: own / own.sum(dim=0) for name, own in means.items()}
