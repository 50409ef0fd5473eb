"""What the steps take that make data."""

from typing import Annotated, Literal

from annotated_types import Ge, Interval
from pydantic.dataclasses import dataclass

from pr12.workflow.params import STRICT


@dataclass(frozen=True, config=STRICT)
class Arrays:
    """Params of the splits: how many examples each has, and the seed that deals digits out."""

    dataset: Literal["digits", "mnist"]
    train: Annotated[int, Ge(1)]
    validation: Annotated[int, Ge(1)]
    test: Annotated[int, Ge(1)]
    margin: Annotated[int, Ge(0)]
    split_seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, config=STRICT)
class Fetch:
    """Params of a fetch."""

    name: str
