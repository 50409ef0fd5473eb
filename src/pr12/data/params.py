"""What the steps take that make data."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Interval
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT, WrongError


@dataclass(frozen=True, config=STRICT)
class Arrays:
    """Params of the splits: how many examples each has, and the seed that deals digits out."""

    dataset: Literal["digits", "mnist"]
    train: Annotated[int, Ge(1)]
    validation: Annotated[int, Ge(1)]
    test: Annotated[int, Ge(1)]
    margin: Annotated[int, Ge(0)]
    split_seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse more examples than a data set has, and fewer than it has classes."""
        sizes = {"train": self.train, "validation": self.validation, "test": self.test}
        largest = max(sizes, key=lambda key: sizes[key])
        left = 1797 - sum(sizes.values()) + sizes[largest]
        most = {"train": 50_000, "validation": 10_000, "test": 10_000}
        for key, size in sizes.items():
            if self.dataset == "digits" and size < 10:
                raise WrongError(key, "at least 10, one digit of each class")
            if self.dataset == "mnist" and size > most[key]:
                raise WrongError(key, f"at most {most[key]}, as many as mnist has")
        if self.dataset == "digits" and sizes[largest] > left:
            raise WrongError(largest, f"at most {left}, what the others leave of 1797 digits")
        return self


@dataclass(frozen=True, config=STRICT)
class Fetch:
    """Params of a fetch."""

    name: str
