"""FCN, CNN and deformable CNN, alone or behind spatial transformers, all of one size (App. A.4)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pr12.core import determinism
from pr12.stn.model.deformable import DeformableConv2d
from pr12.stn.model.distortions import DISTORTIONS
from pr12.stn.model.first_convolution import FirstConv2d
from pr12.stn.model.transformer import ParallelTransformers, SpatialTransformer
from pr12.workflow.errors import UserError

TOLERANCE = 0.1  # nets of one experiment differ in size by no more
WIDEST = 4096
NETWORKS = ("fcn", "cnn", "deformable")
ALLOWED = ("none", "affine", "attention", "projective", "tps")  # transforms
POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
POOLED = ("RTS", "TC", "addition")  # behind a transformer, pooled by 2: the digit is smaller


class Network(nn.Module):
    """Transformers, if any, then a classifier.

    Parameters
    ----------
    transformers : ParallelTransformers or None
        What straightens the input.
    pool : nn.Module
        What its output passes on the way to the classifier.
    classifier : nn.Module
        Shape (N, C, H, W) -> logits (N, K).
    shape : tuple of int
        Of the images that it reads, (C, S, S).

    Examples
    --------
    >>> net = build("fcn", "affine", 1, "max", "R", 400_000)
    >>> logits, theta = net(torch.rand(2, 1, 28, 28))
    >>> logits.shape, theta.shape
    (torch.Size([2, 10]), torch.Size([2, 1, 6]))
    """

    def __init__(
        self,
        transformers: ParallelTransformers | None,
        pool: nn.Module,
        classifier: nn.Module,
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.transformers, self.pool, self.classifier = transformers, pool, classifier
        self.shape = shape

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits and the transformers' parameters, shape (N, T, P), None without any."""
        if images.shape[1:] != self.shape:
            raise UserError(
                f"the images have the shape {tuple(images.shape)}; this net reads "
                f"(images, {', '.join(map(str, self.shape))})"
            )
        if self.transformers is None:
            return self.classifier(images), None
        straightened, theta = self.transformers(images)
        return self.classifier(self.pool(straightened)), theta


def fully_connected(channels: int, side: int, classes: int, width: int) -> nn.Sequential:
    """Return the FCN: two hidden layers of rectified units, (N, C, S, S) -> logits (N, K).

    Parameters
    ----------
    channels, side : int
        Of the images, C and S.
    classes : int
        K.
    width : int
        Units of each hidden layer.

    Examples
    --------
    >>> fully_connected(1, 28, 10, 32)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * side * side, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def convolutional(
    channels: int, side: int, classes: int, width: int, pooling: str, deformable: bool
) -> nn.Sequential:
    """Return the CNN: 9 x 9 convolution, pooling, 7 x 7 convolution, pooling, softmax layer.

    Half windows at the border are pooled too: without them 21 x 21, which RTS leaves behind a
    transformer, is too small for the second convolution. A maximum before the rectifier is the
    same as after it, and faster; an average is taken before it too, which is another function than
    after it. The deformable net has a deformable 5 x 5 convolution for the second.

    Parameters
    ----------
    channels, side : int
        Of the images, shape (N, channels, side, side).
    classes : int
        Of the logits, shape (N, classes).
    width : int
        Filters of both convolutions.
    pooling : str
        ``max`` or ``average``.
    deformable : bool
        Whether the second convolution is deformable.

    Raises
    ------
    UserError
        If the image is too small for the kernels.

    Examples
    --------
    >>> convolutional(1, 28, 10, 4, "max", False)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    kernel = 5 if deformable else 7
    sides = [side - 8]
    sides += [-(-sides[-1] // 2)]
    sides += [sides[-1] - kernel + 1]
    if sides[-1] < 1:
        raise UserError(
            f"images of {side} x {side} pixels are smaller than the net's kernels (9 x 9, then "
            f"{kernel} x {kernel} after pooling); give larger ones"
        )
    last = -(-sides[-1] // 2)
    second = (
        DeformableConv2d(width, width, kernel) if deformable else nn.Conv2d(width, width, kernel)
    )
    return nn.Sequential(
        FirstConv2d(channels, width, 9),
        POOLS[pooling](2, ceil_mode=True),
        nn.ReLU(),
        second,
        POOLS[pooling](2, ceil_mode=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * last * last, classes),
    )


def fully_connected_localisation(channels: int, side: int) -> tuple[nn.Module, int]:
    """Return the localisation net of an ST-FCN, three layers of 32 units, and its width.

    Parameters
    ----------
    channels, side : int
        Of the images, shape (N, channels, side, side).

    Examples
    --------
    >>> net, width = fully_connected_localisation(1, 28)
    >>> net(torch.rand(2, 1, 28, 28)).shape, width
    (torch.Size([2, 32]), 32)
    """
    layers = [nn.Flatten(), nn.Linear(channels * side * side, 32), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Linear(32, 32), nn.ReLU()]
    return nn.Sequential(*layers), 32


def convolutional_localisation(channels: int, side: int) -> tuple[nn.Module, int]:
    """Return the localisation net of an ST-CNN and its width; it sees the image at half its size.

    Parameters
    ----------
    channels, side : int
        Of the images, shape (N, channels, side, side).

    Raises
    ------
    UserError
        If the image is too small for its kernels.

    Examples
    --------
    >>> net, width = convolutional_localisation(1, 28)
    >>> net(torch.rand(2, 1, 28, 28)).shape, width
    (torch.Size([2, 20]), 20)
    """
    last = ((side // 2) - 4) // 2 - 4
    if last < 1:
        raise UserError(
            f"images of {side} x {side} pixels are smaller than the localisation net's kernels; "
            "give images of 28 x 28 or more"
        )
    net = nn.Sequential(
        nn.AvgPool2d(2),
        nn.Conv2d(channels, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 20, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(20 * last * last, 20),
        nn.ReLU(),
    )
    return net, 20


def count(net: nn.Module) -> int:
    """Count the parameters of a net.

    Parameters
    ----------
    net : nn.Module
        The net.

    Examples
    --------
    >>> count(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in net.parameters())


def build(
    network: str, transform: str, transformers: int, pooling: str, distortion: str, parameters: int
) -> Network:
    """Build the net of one cell of Table 1, of as near `parameters` parameters as widths allow.

    Parameters
    ----------
    network : str
        A name in `NETWORKS`.
    transform : str
        Of the transformers, a name in `ALLOWED`; ``none`` for a net without.
    transformers : int
        In parallel; 1 for a net without.
    pooling : str
        A name in `POOLS`.
    distortion : str
        A name in `distortions.DISTORTIONS`, which sets the input's shape and the classes.
    parameters : int
        Wanted in all.

    Returns
    -------
    Network
        Images (N, channels, side, side) -> logits (N, classes) and theta (N, transformers, P).

    Raises
    ------
    UserError
        If there is no such net, no width comes within a tenth of it, or the images are too small.

    Examples
    --------
    >>> round(count(build("cnn", "none", 1, "max", "R", 400_000)), -4)
    390000
    """
    _check(network, transform, transformers, pooling, distortion)
    task = DISTORTIONS[distortion]
    side, channels = task.side, task.channels
    straighten, pool = None, nn.Identity()
    if transform != "none":
        straighten = _transformers(network, transform, transformers, channels, side)
        channels *= transformers
        if distortion in POOLED:
            pool, side = nn.AvgPool2d(2), side // 2

    def classifier(width: int) -> nn.Module:
        if network == "fcn":
            return fully_connected(channels, side, task.classes, width)
        return convolutional(channels, side, task.classes, width, pooling, network == "deformable")

    rest = count(straighten) if straighten else 0
    width = nearest_width(classifier, parameters - rest, 1 if network == "fcn" else 4)
    total = rest + size(classifier, width)  # before memory is taken
    if abs(total - parameters) > TOLERANCE * parameters:
        change = "more" if total > parameters else "fewer"
        raise UserError(
            f"no {network} for {distortion} comes near {parameters} parameters "
            f"(the nearest has {total}); ask for {change}"
        )
    return Network(straighten, pool, classifier(width), (task.channels, task.side, task.side))


def _check(network: str, transform: str, transformers: int, pooling: str, distortion: str) -> None:
    """Refuse names that are not known, and several transformers of a net without any."""
    for name, value, allowed in (
        ("network", network, NETWORKS),
        ("transform", transform, ALLOWED),
        ("pooling", pooling, POOLS),
        ("distortion", distortion, DISTORTIONS),
    ):
        if value not in allowed:
            raise UserError(f"there is no {name} {value!r}; allowed: {', '.join(allowed)}")
    if transformers < 1 or (transform == "none" and transformers > 1):
        raise UserError(
            f"transform is {transform} and transformers is {transformers}; set transformers to 1, "
            "or choose a transform for several"
        )


def _transformers(
    network: str, transform: str, number: int, channels: int, side: int
) -> ParallelTransformers:
    """Return the transformers of a net, each with a localisation net of the net's kind."""
    localisation = fully_connected_localisation if network == "fcn" else convolutional_localisation
    return ParallelTransformers(
        [SpatialTransformer(*localisation(channels, side), transform) for _ in range(number)]
    )


def seeded(seed: int, *shape: str | int) -> Network:
    """Build a net with the initial parameters of one seed.

    Parameters
    ----------
    seed : int
        Of the initial parameters; torch's global stream is left as it was.
    *shape : str or int
        As of `build`.

    Examples
    --------
    >>> shape = "fcn", "none", 1, "max", "U", 9000
    >>> one, other = (seeded(0, *shape).classifier[1].bias for _ in "ab")
    >>> torch.equal(one, other)
    True
    """
    distortion = shape[4]
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global stream only
        torch.manual_seed(determinism.generator(seed, f"init {distortion}").initial_seed())
        return build(*shape)


def nearest_width(classifier: Callable[[int], nn.Module], wanted: int, step: int) -> int:
    """Return the width, a multiple of `step`, whose net is nearest to `wanted` parameters.

    Parameters
    ----------
    classifier : callable
        Width -> net; its size grows with the width.
    wanted : int
        Parameters.
    step : int
        Convolutions are fast at certain multiples only.

    Examples
    --------
    >>> nearest_width(lambda width: nn.Linear(width, 1), 12, 4)
    12
    """
    low, high = 1, WIDEST // step
    while low < high:
        middle = (low + high) // 2
        if size(classifier, middle * step) < wanted:
            low = middle + 1
        else:
            high = middle
    near = [steps for steps in (low - 1, low) if steps >= 1]
    return min(near, key=lambda steps: abs(size(classifier, steps * step) - wanted)) * step


def size(classifier: Callable[[int], nn.Module], width: int) -> int:
    """Count the parameters of a net of some width, without memory or random numbers.

    Parameters
    ----------
    classifier : callable
        Width -> net.
    width : int
        Of the net.

    Examples
    --------
    >>> size(lambda width: nn.Linear(width, 1), 12)
    13
    """
    with torch.device("meta"):
        return count(classifier(width))
