"""What parts of a recipe are made of: types of values, and the strict, frozen model."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(gt=0, le=2**53)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


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
