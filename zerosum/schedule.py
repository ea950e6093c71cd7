"""Numbers of a recipe that change on the way: `{from: 2, to: 0.2, over: 0.5}` in place of one number.

The value goes from the one to the other over this first share of the steps, in a straight line or, with
`shape: cosine`, along half a cosine, and then stays.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

SHAPES = ("line", "cosine")
#: the keys of a schedule as it is written
KEYS = {"from", "to", "over", "shape"}

Model = TypeVar("Model", bound=BaseModel)


class Schedule(float):
    """As a number it is the larger of its two ends, so that `> 0` asks whether it is ever above 0; see `at`."""

    start: float
    end: float
    over: float
    shape: str

    def __new__(cls, start: float, end: float, over: float = 1.0, shape: str = "line") -> "Schedule":
        """start, end: from 0 on, unlike each other; over: in (0, 1]; shape: line or cosine. ValueError for others."""
        ends = math.isfinite(start) and math.isfinite(end) and min(start, end) >= 0 and start != end
        if not (ends and 0 < over <= 1 and shape in SHAPES):
            raise ValueError("no schedule")
        self = super().__new__(cls, max(start, end))
        self.start, self.end, self.over, self.shape = float(start), float(end), float(over), shape
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.start, self.end, self.over, self.shape

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.__getnewargs__() == other.__getnewargs__()

    def __ne__(self, other: object) -> bool:  # not left to float
        return not self == other

    def __hash__(self) -> int:
        return hash(self.__getnewargs__())

    def __repr__(self) -> str:
        return f"Schedule{self.__getnewargs__()}"

    def __format__(self, spec: str) -> str:
        return f"{format(self.start, spec)} to {format(self.end, spec)}"

    def at(self, share: float) -> float:
        """The number once this share of the steps is done."""
        done = share / self.over
        if done >= 1:
            return self.end
        done = done if self.shape == "line" else (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Schedule":
        """From the values as they are written; ValueError for what is no schedule."""
        if not is_schedule(values):
            raise ValueError("no schedule")
        return cls(values["from"], values["to"], values.get("over", 1.0), values.get("shape", "line"))

    def plain(self) -> dict[str, Any]:
        """The reverse of `parse`."""
        shape = {} if self.shape == "line" else {"shape": self.shape}
        return {"from": self.start, "to": self.end, "over": self.over, **shape}


def least(value: float) -> float:
    """The smallest that a number of a recipe becomes."""
    return min(value.start, value.end) if isinstance(value, Schedule) else value


def is_schedule(value: Any) -> bool:
    """Whether this is written as a schedule is: a mapping with its keys and with numbers."""
    return (
        isinstance(value, Mapping)
        and {"from", "to"} <= value.keys() <= KEYS
        and all(type(inner) in (int, float) for key, inner in value.items() if key != "shape")
    )


def scheduled(part: BaseModel | Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of all schedules in a part of a recipe."""
    found = []
    for name, value in part.items() if isinstance(part, Mapping) else part:
        if isinstance(value, BaseModel | Mapping):
            found += scheduled(value, f"{prefix}{name}.")
        elif isinstance(value, Schedule):
            found.append(f"{prefix}{name}")
    return found


def resolved(part: Model, share: float) -> Model:
    """The part of a recipe with the numbers of this share of the steps in place of schedules; itself without any."""
    changes: dict[str, Any] = {}
    for name, value in part:
        if isinstance(value, Schedule):
            changes[name] = value.at(share)
        elif isinstance(value, BaseModel) and (inner := resolved(value, share)) is not value:
            changes[name] = inner
        elif isinstance(value, dict) and any(isinstance(inner, Schedule) for inner in value.values()):
            changes[name] = {
                key: inner.at(share) if isinstance(inner, Schedule) else inner for key, inner in value.items()
            }
    return part.model_copy(update=changes) if changes else part
