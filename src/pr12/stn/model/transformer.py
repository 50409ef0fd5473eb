"""The spatial transformer: parameters -> sampling grid -> sampled output (Jaderberg et al. Sec. 3).

Coordinates are (x, y), -1 and 1 are the outer edges of the first and last pixel (the convention of
``align_corners=False``), and a grid says for every pixel of the *output* where in the *input* it
is sampled from.
"""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pr12.stn.model import grids
from pr12.workflow.errors import UserError

MODES = ("bilinear", "nearest")  # Eq. 5 and Eq. 4
ALIGN_CORNERS = False  # -1 and 1 are edges, not centres, of pixels; here and in every caller


def sample(images: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample images or volumes at the points of a grid; what lies outside is 0 (Eq. 3 to 5).

    Parameters
    ----------
    images : Tensor
        Shape (N, C, H, W) or (N, C, D, H, W).
    grid : Tensor
        Shape (N, H', W', 2) or (N, D', H', W', 3).
    mode : str
        ``bilinear`` (Eq. 5; trilinear in volumes) or ``nearest`` (Eq. 4), which has no gradient
        for the grid.

    Returns
    -------
    Tensor
        Shape (N, C, H', W') or (N, C, D', H', W').

    Raises
    ------
    UserError
        If there is no such mode, or images and grid are not of such shapes.

    Examples
    --------
    >>> image = torch.tensor([[[[1.0, 2.0]]]])
    >>> sample(image, torch.tensor([[[[0.0, 0.0]]]]))
    tensor([[[[1.5000]]]])
    """
    _check_mode(mode)
    axes = images.ndim - 2
    if (
        axes not in (2, 3)
        or grid.ndim != axes + 2
        or grid.shape[:: axes + 1] != (len(images), axes)
    ):
        raise UserError(
            f"images of the shape {tuple(images.shape)} cannot be sampled on a grid of the shape "
            f"{tuple(grid.shape)}; give images (N, C, H, W) with a grid (N, H', W', 2), or volumes "
            "(N, C, D, H, W) with a grid (N, D', H', W', 3)"
        )
    return functional.grid_sample(
        images, grid, mode=mode, padding_mode="zeros", align_corners=ALIGN_CORNERS
    )


def _check_mode(mode: str) -> None:
    """Refuse a sampling mode that there is not."""
    if mode not in MODES:
        raise UserError(f"there is no sampling mode {mode!r}; allowed: {', '.join(MODES)}")


class Transform(NamedTuple):
    """A family of transformations: the parameters that change nothing, its grid and its axes."""

    identity: tuple[float, ...]
    grid: Callable[[Tensor, Sequence[int]], Tensor]
    axes: tuple[str, ...] = ("height", "width")


TRANSFORMS = {
    "affine": Transform((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), grids.affine_grid),
    "attention": Transform((1.0, 0.0, 0.0), grids.attention_grid),
    "crop": Transform((0.0, 0.0), grids.crop_grid),  # its start is the window in the middle
    "projective": Transform((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), grids.projective_grid),
    "tps": Transform(
        tuple(grids.control_points(4).flatten().tolist()), grids.thin_plate_spline_grid
    ),
    "affine_3d": Transform(
        (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0),
        grids.affine_grid_3d,
        ("depth", "height", "width"),
    ),
}


class SpatialTransformer(nn.Module):
    """Look at the input, choose one transformation for all its channels, and apply it (Fig. 2).

    Parameters
    ----------
    localisation : nn.Module
        Input (N, C, H, W) -> features (N, `features`); its last layer is added here.
    features : int
        Width of what `localisation` returns.
    transform : str
        A name in `TRANSFORMS`.
    size : sequence of int or None
        Of the output, (H, W) or of volumes (D, H, W); by default that of the input.
    mode : str
        As of `sample`.

    Raises
    ------
    UserError
        If there is no such transform or mode, or `size` is none for it.

    Examples
    --------
    >>> st = SpatialTransformer(nn.Flatten(), 9, "affine")
    >>> images = torch.rand(2, 1, 3, 3)
    >>> output, theta = st(images)
    >>> torch.allclose(output, images, atol=1e-6), theta[0].tolist()
    (True, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    """

    def __init__(
        self,
        localisation: nn.Module,
        features: int,
        transform: str,
        size: Sequence[int] | None = None,
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        if transform not in TRANSFORMS:
            allowed = ", ".join(TRANSFORMS)
            raise UserError(f"there is no transform {transform!r}; allowed: {allowed}")
        _check_mode(mode)
        if size is not None:
            size = _checked_size(size, transform)
        if features < 1:
            raise UserError(f"features is {features}; a localisation net returns 1 or more")
        self.localisation = localisation
        self.transform, self.size, self.mode = transform, size, mode
        identity = TRANSFORMS[transform].identity
        self.theta = nn.Linear(features, len(identity))
        nn.init.zeros_(self.theta.weight)  # the identity for every input, until it learns
        with torch.no_grad():
            self.theta.bias.copy_(torch.tensor(identity))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the transformed input and the parameters, shape (N, P).

        Raises
        ------
        UserError
            If the images are none that the transform or the localisation net reads.
        """
        features = self._features(images)
        # A coordinate needs more than the eight bits of bfloat16
        with torch.autocast(images.device.type, enabled=False):
            theta = self.theta(features)
            grid = self.grid(theta, images.shape[2:] if self.size is None else self.size)
        return sample(images, grid, self.mode), theta

    def _features(self, images: Tensor) -> Tensor:
        """Return what the localisation net makes of images, of the type of the last layer."""
        axes, shape = TRANSFORMS[self.transform].axes, tuple(images.shape)
        if len(shape) != 2 + len(axes) or not images.is_floating_point():
            raise UserError(
                f"the images have the shape {shape} and the type {images.dtype}; {self.transform} "
                f"transforms (images, channels, {', '.join(axes)}) of floats"
            )
        try:
            features = self.localisation(images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # torch tells which of its products does not fit
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"the localisation net does not read images of the shape {shape} ({reason}); give "
                "images of the shape that it was built for"
            ) from error
        expected = (shape[0], self.theta.in_features)
        if tuple(features.shape) != expected:
            raise UserError(
                f"the localisation net returns features of the shape {tuple(features.shape)} for "
                f"images of the shape {shape}; they must have the shape {expected}: set features "
                "to the net's width, or give images of the size that it was built for"
            )
        return features.to(self.theta.weight.dtype)

    def grid(self, theta: Tensor, size: Sequence[int]) -> Tensor:
        """Return the grid of this transformer's family."""
        return TRANSFORMS[self.transform].grid(theta, size)


def _checked_size(size: Sequence[int], transform: str) -> tuple[int, ...]:
    """Return the size of a transform's output as a tuple, if it is one."""
    axes = TRANSFORMS[transform].axes
    values = tuple(size) if isinstance(size, Sequence) else ()
    whole = all(
        isinstance(side, Integral) and not isinstance(side, bool) and side > 0 for side in values
    )
    if len(values) != len(axes) or not whole:
        raise UserError(
            f"size is {size!r}; {transform} needs ({', '.join(axes)}), whole numbers of 1 or more"
        )
    return values


class ParallelTransformers(nn.Module):
    """Several transformers look at the same input; their outputs are joined (Sec. 3.4).

    Parameters
    ----------
    transformers : sequence of SpatialTransformer
        At least one; of one transform, with outputs of one size.

    Raises
    ------
    UserError
        If there is none, or they are unlike.

    Examples
    --------
    >>> pair = ParallelTransformers([SpatialTransformer(nn.Flatten(), 9, "affine") for _ in "ab"])
    >>> output, theta = pair(torch.rand(5, 1, 3, 3))
    >>> output.shape, theta.shape
    (torch.Size([5, 2, 3, 3]), torch.Size([5, 2, 6]))
    """

    def __init__(self, transformers: Sequence[SpatialTransformer]) -> None:
        super().__init__()
        kinds = {(one.transform, one.size) for one in transformers}
        if len(kinds) != 1:
            listed = ", ".join(
                f"{transform} of size {size}" for transform, size in sorted(kinds, key=str)
            )
            raise UserError(
                f"parallel transformers are {listed or 'none'}; give one or more, all of one "
                "transform and one size, so that outputs and parameters can be joined"
            )
        self.transformers = nn.ModuleList(transformers)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs joined along channels, and parameters of shape (N, transformers, P)."""
        outputs, thetas = zip(*(one(images) for one in self.transformers), strict=True)
        return torch.cat(outputs, dim=1), torch.stack(thetas, dim=1)
