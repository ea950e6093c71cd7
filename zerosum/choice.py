"""A choice of a recipe: a name in a table, or, with its parameters, `{name: label-smoothing, target: 0.9}`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zerosum.errors import ZerosumError, suggest

Made = TypeVar("Made")
#: as a recipe holds it
Choice = str | dict[str, Any]


def name_of(choice: Choice) -> str:
    return choice if isinstance(choice, str) else str(choice["name"])


def parameters_of(choice: Choice) -> dict[str, Any]:
    return {} if isinstance(choice, str) else {key: value for key, value in choice.items() if key != "name"}


def shown(choice: Choice) -> str:
    """
    >>> shown("hinge"), shown({"name": "label-smoothing", "target": 0.8})
    ('hinge', 'label-smoothing, target 0.8')
    """
    return ", ".join([name_of(choice), *(f"{key} {value:g}" for key, value in parameters_of(choice).items())])


def entry(choice: Choice, table: Mapping[str, Made], key: str) -> Made:
    """What the table has under the name of a choice; ZerosumError, with the nearest names, where it has nothing."""
    name = name_of(choice)
    if name not in table:
        raise ZerosumError(f"unknown {key} '{name}': {suggest(name, table)}")
    return table[name]


def made(choice: Choice, make: Callable[..., Made] | None, key: str) -> Made:
    """What `make` gives for the parameters of a choice, which are numbers.

    Raises ZerosumError for a parameter that `make` does not name, and for a value to which it says ValueError.
    """
    known = [] if make is None else list(inspect.signature(make).parameters)
    for parameter in parameters_of(choice):
        if parameter not in known:
            told = suggest(parameter, known) if known else f"{name_of(choice)} has no parameters"
            raise ZerosumError(f"unknown key '{key}.{parameter}' of {name_of(choice)}: {told}")
    assert make is not None  # noqa: S101 - a choice without parameters is not made
    try:
        return make(**parameters_of(choice))
    except ValueError as error:
        raise ZerosumError(f"{key}.{error}") from None
