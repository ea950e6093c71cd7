"""What parts of a recipe are made of: types of values, and the strict, frozen model."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WrapValidator
from pydantic_core import PydanticCustomError

from zerosum.choice import Choice
from zerosum.schedule import Schedule

Positive = Annotated[int, Field(gt=0, le=2**53)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _changing(value: Any, number: Callable[[Any], float]) -> float:
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, Mapping):
        return number(value)
    try:
        return Schedule.parse(value)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "schedule",
            "Schedule should be like {from: 2, to: 0.2, over: 0.5}: two unlike numbers from 0 on, a share up to 1",
        ) from None


def _choice(value: Any) -> Choice:
    if isinstance(value, str):
        return value
    try:
        name, numbers = value["name"], {key: value[key] for key in value if key != "name"}
        read = {key: Schedule.parse(one) if isinstance(one, Mapping) else one for key, one in numbers.items()}
        if isinstance(name, str) and all(type(one) in (int, float, Schedule) for one in read.values()):
            return {"name": name, **read} if read else name
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        pass
    raise PydanticCustomError("choice", "Choice should be a name, or with numbers {name: label-smoothing, target: 0.8}")


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _written(inner) for key, inner in value.items()}
    return value.plain() if isinstance(value, Schedule) else value


#: a weight or rate that may change in the course of the training: a number, or {from: 2, to: 0.2, over: 0.5}
Number = Annotated[
    Rate,
    WrapValidator(_changing),
    PlainSerializer(_written),
]
#: the name of an entry of a table, or {name: ..., parameter: number}
Chosen = Annotated[Choice, PlainValidator(_choice), PlainSerializer(_written)]


def _option(value: Any) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    if all(one is None or isinstance(one, bool | str | int | float) for one in parts):
        return list(value) if isinstance(value, tuple) else value
    raise PydanticCustomError("option", "Option should be a number, text, true or false, or a list of them")


#: of an optimizer, which checks it further
Option = Annotated[Any, PlainValidator(_option)]


def spelt(pattern: str, words: str) -> AfterValidator:
    """Text that matches a pattern, which the error message describes in words: no person has to read the pattern."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("spelling", "Text should be {words}", {"words": words})
        return text

    return AfterValidator(check)


def file_name(longest: int) -> AfterValidator:
    """A name that is part of the name of a file on any system."""
    words = f"1 to {longest} letters from a to z, digits and ._-, beginning with a letter or a digit"
    return spelt(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{longest - 1}}}", words)


Name = Annotated[str, file_name(64)]
Bins = dict[str, Annotated[tuple[float, float], Field(strict=False)]]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())
