"""Single digits as this paper's steps take them: framed as MNIST's, checked, the first ones."""

from pr12.shared import splits
from pr12.shared.errors import UserError
from pr12.stn import distortions


def first(split: splits.Split, count: int | None) -> splits.Split:
    """Give the first digits.

    Parameters
    ----------
    split : Split
        Test digits.
    count : int or None
        How many; None gives all.

    Raises
    ------
    UserError
        If there are fewer.

    Examples
    --------
    >>> import torch
    >>> len(first(splits.Split(torch.zeros(3, 28, 28), torch.arange(3)), 2).labels)
    2
    """
    if count is not None and count > len(split.labels):
        raise UserError(f"test has {len(split.labels)} digits; {count} are asked; ask fewer")
    return splits.Split(*(tensor[:count] for tensor in split))


def checked(split: splits.Split, name: str, least: int = 1) -> splits.Split:
    """Return the digits framed as MNIST's, if they are such.

    Parameters
    ----------
    split : Split
        Digits, 28 x 28 or smaller squares.
    name : str
        Of the split, for the message.
    least : int
        Digits that a batch has.

    Raises
    ------
    UserError
        If a pixel is no number or outside [0, 1], there are fewer digits than a batch has, the
        images are no such squares, or a label is no digit.

    Examples
    --------
    >>> import torch
    >>> checked(splits.Split(torch.rand(4, 8, 8), torch.arange(4)), "test").images.shape
    torch.Size([4, 28, 28])
    """
    if not bool(((split.images >= 0) & (split.images <= 1)).all()):  # NaN is neither
        raise UserError(f"{name} has pixels outside 0 to 1 or that are no numbers; make it anew")
    if len(split.images) < least:
        raise UserError(f"{name} has {len(split.images)} images; batch_size is {least}")
    framed = distortions.framed(split.images)
    if not bool(((split.labels >= 0) & (split.labels <= 9)).all()):
        raise UserError(f"{name} has labels that are no digits from 0 to 9; make it anew")
    return splits.Split(framed, split.labels)
