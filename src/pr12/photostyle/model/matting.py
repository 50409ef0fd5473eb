"""The matting Laplacian of an image, and the photorealism term that it gives (Luan et al. 2017).

The Laplacian is that of closed-form matting (Levin et al. 2006): for every 3 x 3 window it
measures how far values are from an affine function of the image's colours. An image whose colours
are locally an affine function of the content's colours costs nothing.
"""

import warnings

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from pr12.workflow.errors import UserError

EPSILON = 1e-7  # of Luan et al.'s code; regularises the covariance of a window's colours


def laplacian(content: np.ndarray, seen: np.ndarray | None = None) -> scipy.sparse.csr_matrix:
    """Return the matting Laplacian of an image.

    Parameters
    ----------
    content : ndarray
        From 0 to 1, shape (H, W, 3), at least 3 x 3.
    seen : ndarray, optional
        Boolean, shape (H, W): windows with a pixel that is not seen do not count.

    Returns
    -------
    csr_matrix
        float64, shape (H W, H W), symmetric and positive semi-definite; its rows sum to 0.

    Examples
    --------
    >>> content = np.random.default_rng(0).random((4, 5, 3))
    >>> matrix = laplacian(content)
    >>> matrix.shape, bool(abs(matrix.sum(axis=1)).max() < 1e-6)
    ((20, 20), True)
    """
    height, width, _ = content.shape
    if min(height, width) < 3:
        raise UserError(
            f"an image of {height} x {width} pixels has no window of 3 x 3; take a larger"
        )
    places = np.arange(height * width, dtype=np.int32).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(places, (3, 3)).reshape(-1, 9)
    if seen is not None:
        windows = windows[seen.ravel()[windows].all(axis=1)]
    matrix = scipy.sparse.csr_matrix((height * width,) * 2)
    for some in np.array_split(windows, max(1, len(windows) // 50_000)):
        colours = content.reshape(-1, 3)[some].astype(np.float64)
        colours -= colours.mean(axis=1, keepdims=True)
        across = colours.transpose(0, 2, 1)
        covariance = across @ colours / 9 + EPSILON / 9 * np.eye(3)
        values = np.eye(9) - (1 + colours @ np.linalg.solve(covariance, across)) / 9
        rows, columns = np.repeat(some, 9, axis=1).ravel(), np.tile(some, (1, 9)).ravel()
        matrix += scipy.sparse.csr_matrix((values.ravel(), (rows, columns)), matrix.shape)
    return (matrix + matrix.T) / 2


def as_tensor(matrix: scipy.sparse.csr_matrix, number: torch.dtype = torch.float32) -> Tensor:
    """Return a sparse matrix to torch, with 32-bit indices, which its products are fastest with.

    Examples
    --------
    >>> as_tensor(scipy.sparse.csr_matrix(np.eye(2))).to_dense().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    # torch warns that the layout is in beta; products with a dense matrix are all that is used
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int32)),
        torch.from_numpy(matrix.indices.astype(np.int32)),
        torch.from_numpy(matrix.data).to(number),
        size=matrix.shape,
        check_invariants=False,
    )


class _Energy(torch.autograd.Function):
    """v^T M v for a symmetric M, whose gradient 2 M v needs no product of its own."""

    @staticmethod
    def forward(ctx, values: Tensor, matrix: Tensor) -> Tensor:
        product = matrix @ values
        ctx.save_for_backward(product)
        return (values * product).sum()

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None]:
        (product,) = ctx.saved_tensors
        return 2 * upstream * product, None


def photorealism(image: Tensor, matrix: Tensor) -> Tensor:
    """Return the photorealism term, divided by the number of pixels.

    Parameters
    ----------
    image : Tensor
        From 0 to 1, shape (1, 3, H, W).
    matrix : Tensor
        `laplacian` of the content as a tensor, shape (H W, H W).

    Returns
    -------
    Tensor
        sum_c V_c^T M V_c / (H W), whose gradient is 2 M V_c / (H W) (Luan et al. 2017, Sec. 3.1,
        where nothing is divided: so lambda means the same at every size).

    Examples
    --------
    >>> content = np.random.default_rng(0).random((4, 5, 3))
    >>> matrix = as_tensor(laplacian(content), torch.float64)
    >>> image = torch.from_numpy(content.transpose(2, 0, 1).copy())[None]
    >>> bool(photorealism(0.3 * image + 0.2, matrix) < 1e-6 < photorealism(image**2, matrix))
    True
    """
    values = image[0].flatten(1).T.contiguous()
    return _Energy.apply(values, matrix) / values.shape[0]
