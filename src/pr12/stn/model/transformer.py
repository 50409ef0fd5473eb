"""The spatial transformer: parameters -> sampling grid -> sampled output (Jaderberg et al. Sec. 3).

Coordinates are (x, y), -1 and 1 are the outer edges of the first and last pixel (the convention of
``align_corners=False``), and a grid says for every pixel of the *output* where in the *input* it
is sampled from.
"""

from collections.abc import Callable, Sequence
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

    Examples
    --------
    >>> image = torch.tensor([[[[1.0, 2.0]]]])
    >>> sample(image, torch.tensor([[[[0.0, 0.0]]]]))
    tensor([[[[1.5000]]]])
    """
    return functional.grid_sample(
        images, grid, mode=mode, padding_mode="zeros", align_corners=ALIGN_CORNERS
    )


class Transform(NamedTuple):
    """A family of transformations: the parameters that change nothing, and its grid."""

    identity: tuple[float, ...]
    grid: Callable[[Tensor, Sequence[int]], Tensor]


TRANSFORMS = {
    "affine": Transform((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), grids.affine_grid),
    "attention": Transform((1.0, 0.0, 0.0), grids.attention_grid),
    "crop": Transform((0.0, 0.0), grids.crop_grid),  # its start is the window in the middle
    "projective": Transform((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), grids.projective_grid),
    "tps": Transform(
        tuple(grids.control_points(4).flatten().tolist()), grids.thin_plate_spline_grid
    ),
    "affine_3d": Transform((1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0), grids.affine_grid_3d),
}


class SpatialTransformer(nn.Module):
    """Look at the input, choose one transformation for all its channels, and apply it (Fig. 2).

    Parameters
    ----------
    localisation : nn.Module
        Input (N, C, H, W) -> features (N, `features`); its last layer is added here.
    features : int
        Width of what `localisation` gives.
    transform : str
        A name in `TRANSFORMS`.
    size : sequence of int or None
        Of the output; by default that of the input.
    mode : str
        As of `sample`.

    Raises
    ------
    UserError
        If there is no such transform or mode.

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
        if mode not in MODES:
            raise UserError(f"there is no sampling mode {mode!r}; allowed: {', '.join(MODES)}")
        self.localisation = localisation
        self.transform, self.size, self.mode = transform, size, mode
        identity = TRANSFORMS[transform].identity
        self.theta = nn.Linear(features, len(identity))
        nn.init.zeros_(self.theta.weight)  # the identity for every input, until it learns
        with torch.no_grad():
            self.theta.bias.copy_(torch.tensor(identity))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the transformed input and the parameters, shape (N, P)."""
        features = self.localisation(images).to(self.theta.weight.dtype)
        # A coordinate needs more than the eight bits of bfloat16
        with torch.autocast(images.device.type, enabled=False):
            theta = self.theta(features)
            grid = self.grid(theta, images.shape[2:] if self.size is None else self.size)
        return sample(images, grid, self.mode), theta

    def grid(self, theta: Tensor, size: Sequence[int]) -> Tensor:
        """Give the grid of this transformer's family."""
        return TRANSFORMS[self.transform].grid(theta, size)


class ParallelTransformers(nn.Module):
    """Several transformers look at the same input; their outputs are joined (Sec. 3.4).

    Parameters
    ----------
    transformers : sequence of SpatialTransformer
        With outputs of one size.

    Examples
    --------
    >>> pair = ParallelTransformers([SpatialTransformer(nn.Flatten(), 9, "affine") for _ in "ab"])
    >>> output, theta = pair(torch.rand(5, 1, 3, 3))
    >>> output.shape, theta.shape
    (torch.Size([5, 2, 3, 3]), torch.Size([5, 2, 6]))
    """

    def __init__(self, transformers: Sequence[SpatialTransformer]) -> None:
        super().__init__()
        self.transformers = nn.ModuleList(transformers)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give outputs joined along channels, and parameters of shape (N, transformers, P)."""
        outputs, thetas = zip(*(one(images) for one in self.transformers), strict=True)
        return torch.cat(outputs, dim=1), torch.stack(thetas, dim=1)
