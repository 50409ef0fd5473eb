"""Where the numbers of a file's tensors are, before any of them is read."""

from dataclasses import dataclass

import numpy as np

# Class of torch's storages -> type of its numbers in the file, as NumPy names it (little endian).
# NumPy has no bfloat16; its two bytes are the upper half of a float32.
DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


@dataclass(frozen=True)
class Storage:
    """Numbers of one type that lie in a row in the file.

    Attributes
    ----------
    key : str
        Its name in the file.
    dtype : str
        A value of `DTYPES`.
    size : int
        How many numbers the whole storage has.
    first, length : int
        The part of it that is meant (old files name parts of storages).
    """

    key: str
    dtype: str
    size: int
    first: int
    length: int

    @property
    def item(self) -> np.dtype:
        """The type of its numbers in the file; of bfloat16, that of the two bytes."""
        return np.dtype("<u2" if self.dtype == "bfloat16" else self.dtype)


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's numbers are: all counted in numbers, from the beginning of its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def reach(self) -> tuple[int, int]:
        """Give the numbers of the whole storage, from and to, between which all of it lies.

        Raises
        ------
        ValueError
            If it reaches beyond its part of the storage.

        Examples
        --------
        >>> row = Storage(key="0", dtype="<f4", size=12, first=0, length=12)
        >>> StoredTensor(row, offset=1, shape=(2, 3), stride=(4, 1)).reach()
        (1, 8)
        """
        if 0 in self.shape:
            return self.storage.first, self.storage.first
        steps = zip(self.shape, self.stride, strict=True)
        end = self.offset + sum((size - 1) * step for size, step in steps) + 1
        if end > self.storage.length:
            raise ValueError("a tensor reaches beyond its storage")
        return self.storage.first + self.offset, self.storage.first + end
