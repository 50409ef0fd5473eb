"""What networks that look at parts predict, and whether their windows hold the parts."""

import torch
from torch import Tensor

from pr12.stn.data import generated_parts
from pr12.stn.model import part_networks
from pr12.stn.model.part_networks import PartNetwork


def predictions(net: PartNetwork, images: Tensor, batch: int, bfloat16: bool) -> tuple[Tensor, ...]:
    """Classify images.

    Parameters
    ----------
    net : PartNetwork
        One seed's.
    images : Tensor
        uint8, shape (N, 3, S, S).
    batch : int
        Images at a time, which bounds the memory.
    bfloat16 : bool
        Whether products have eight bits.

    Returns
    -------
    classes : Tensor
        int64, shape (N,).
    theta : Tensor
        Centres of windows (x, y), shape (N, T, 2).

    Examples
    --------
    >>> from pr12.stn.model.part_networks import Architecture
    >>> net = PartNetwork(Architecture(2, "small", 2, 8, 16, 0.0)).eval()
    >>> [output.shape for output in predictions(net, torch.zeros(3, 3, 16, 16).byte(), 2, False)]
    [torch.Size([3]), torch.Size([3, 2, 2])]
    """
    where = next(net.parameters()).device
    outputs = []
    with (
        torch.inference_mode(),
        torch.autocast(where.type, dtype=torch.bfloat16, enabled=bfloat16),
    ):
        for part in images.split(batch):
            logits, theta = net(part_networks.normalised(part.to(where)))
            outputs.append((logits.argmax(dim=1).cpu(), theta.float().cpu()))
    return tuple(torch.cat(each) for each in zip(*outputs, strict=True))


def held(theta: Tensor, places: Tensor, radius: float) -> Tensor:
    """Tell which windows hold which parts as a whole.

    Parameters
    ----------
    theta : Tensor
        Centres of windows, shape (N, T, 2).
    places : Tensor
        Centres of parts, shape (N, P, 2).
    radius : float
        Of a part.

    Returns
    -------
    Tensor
        bool, shape (N, T, P).

    Examples
    --------
    >>> theta, places = torch.tensor([[[-0.5, 0.0]]]), torch.tensor([[[-0.8, 0.3], [0.1, 0.0]]])
    >>> held(theta, places, 0.2).tolist()
    [[[True, False]]]
    """
    away = (theta[:, :, None] - places[:, None]).abs()
    return (away <= part_networks.WINDOW - radius).all(dim=-1)


def found_metrics(theta: Tensor, places: Tensor, radius: float) -> dict[str, float]:
    """Return how often windows hold parts, in percent: any window, all parts, and each window.

    Parameters
    ----------
    theta, places, radius
        As of `held`, with two parts.

    Examples
    --------
    >>> theta, places = torch.tensor([[[-0.5, 0.0]]]), torch.tensor([[[-0.8, 0.3], [0.1, 0.0]]])
    >>> found_metrics(theta, places, 0.2)["test/found_part_a_percent"]
    100.0
    """
    inside = held(theta, places, radius)
    best = inside.any(dim=1)
    metrics = {"test/found_both_percent": 100 * float(best.all(dim=1).double().mean())}
    for part, name in enumerate(generated_parts.PARTS):
        metrics[f"test/found_part_{name}_percent"] = 100 * float(best[:, part].double().mean())
        for window in range(theta.shape[1]):
            share = 100 * float(inside[:, window, part].double().mean())
            metrics[f"test/found_part_{name}_transformer_{window + 1}_percent"] = share
    return metrics
