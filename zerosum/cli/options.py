"""What several verbs take, and how what is written on the command line is read."""

import re
from pathlib import Path
from typing import Annotated

import typer

from zerosum.errors import ZerosumError

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key; may be repeated."),
]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="Stop, with everything saved, after so long.")]
Checkpoint = Annotated[
    str, typer.Option(metavar="WHICH", help="Of the run: last, best (by the score of its recipe), or a step.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as `zerosum train` prints it.")]


def parse_seeds(text: str) -> list[int]:
    """
    >>> parse_seeds("0-3,7")
    [0, 1, 2, 3, 7]
    """
    result: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + 1_000_000:
            raise ZerosumError(f"--seeds {text}: write 0-63 or 1,5,9")
        result += range(first, last + 1)
    return result


def parse_where(text: str | None) -> dict[str, str] | None:
    """
    >>> parse_where("gender=female, age=old")
    {'gender': 'female', 'age': 'old'}
    """
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and equals and value.strip() for name, equals, value in pairs):
        raise ZerosumError(f"--where {text}: write name=value, for example --where gender=female,age=old")
    return {name.strip(): value.strip() for name, _, value in pairs}


def parse_action(text: str) -> dict[str, float]:
    """
    >>> parse_action("steering=-0.5, throttle=1")
    {'steering': -0.5, 'throttle': 1.0}
    """
    result = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        try:
            result[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise ZerosumError(f"--action {text}: write name=value, for example --action steering=-0.5,throttle=1")
    return result
