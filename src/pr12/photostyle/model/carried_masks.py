"""Masks carried to the layers of a network: how much of what a layer sees belongs to a class."""

import torch
from torch import Tensor, fx, nn

from pr12.photostyle.model import backbones
from pr12.photostyle.model.backbones import Features
from pr12.workflow.errors import UserError


def mask_network(features: Features) -> fx.GraphModule:
    """Return the network that carries masks to the layers: an average where features are convolved.

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
            modules[name] = backbones.averaging(module)
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
        From 0 to 1, shape (K, H, W); a pixel where all are 0 counts for no class.

    Returns
    -------
    dict of str to Tensor
        Layer -> shape (K, h, w); their sum is 1 where every pixel seen has a class.

    Examples
    --------
    >>> from pr12.photostyle.model.network_weights import prepared
    >>> network = backbones.cut("vgg19", ["pool1"], "max")
    >>> features = prepared(network, torch.rand(1, 3, 8, 8), None, 0, "layer", False)
    >>> left = torch.zeros(8, 8)
    >>> left[:, :4] = 1
    >>> carried(features, torch.stack([left, 1 - left]))["pool1"][0, 2].tolist()
    [1.0, 0.7777777910232544, 0.2222222238779068, 0.0]
    """
    # Added branches add masks too: shares of a mask of ones, carried beside them
    whole = torch.cat([masks.float(), torch.ones_like(masks[:1], dtype=torch.float32)])
    layers = mask_network(features)(whole[:, None])
    means = {name: values.mean(dim=1) for name, values in layers.items()}  # of joined branches
    return {name: values[:-1] / values[-1] for name, values in means.items()}
