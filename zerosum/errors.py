"""What can go wrong through no fault of the program: one line for the person, one exit code for the shell."""

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

#: characters of a message at most
LONGEST = 1500
#: characters of a value or key that an error repeats
SHOWN = 100

#: words that YAML takes for something other than text
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

_at_command_line = False


class ZerosumError(Exception):
    """Wrong usage, recipe or data. The message says what is wrong, where, and what to do."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        # names come from files of strangers: nothing in them may move the cursor or colour the terminal
        line = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in message[:LONGEST])
        super().__init__(line + " ..." * (len(message) > LONGEST))


class NoTestSplit(ZerosumError):
    """The data has no held-out part."""


class Diverged(ZerosumError):
    """Training produced NaN or infinity; the last good checkpoint is untouched."""

    exit_code = 3


class Stopped(ZerosumError):
    """A finding that the recipe says to stop for; everything is saved."""

    exit_code = 3


class Broken(ZerosumError):
    """The run's folder can no longer be written; its earlier checkpoints are untouched."""

    exit_code = 4


class Lost(ZerosumError):
    """Another process of a training by several is gone; the last checkpoint is untouched."""

    exit_code = 4


class Interrupted(ZerosumError):
    """A signal stopped the training; everything is saved."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def suggest(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: the nearest right names, or all of them when none is near.

    >>> suggest("hinj", ["hinge", "minimax"])
    "did you mean 'hinge'?"
    """
    names = list(choices)
    near = difflib.get_close_matches(word, names, n=2, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
    return "choose from " + ", ".join(names) if names else "there are none"


def shown(value: Any) -> str:
    """As Python writes it, cut short."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits is not written out
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= SHOWN else text[:SHOWN] + " ..."


def kind_of(value: Any) -> str:
    """In words, of what somebody handed over: "the class Own", "a str"."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def first_line(error: Exception, most: int = 300) -> str:
    """What an error says, in one line of at most this length."""
    return (str(error).strip().splitlines() or ["nothing said"])[0][:most]


@contextmanager
def at_command_line() -> Iterator[None]:
    """While it lasts, advice names options of the command line instead of arguments in Python."""
    global _at_command_line  # noqa: PLW0603 - a process has one door
    before, _at_command_line = _at_command_line, True
    try:
        yield
    finally:
        _at_command_line = before


def at_door(command: str, python: str) -> str:
    """The words for the door through which the person came: those of the command line, or those of Python.

    >>> at_door("zerosum resume RUN", "zs.resume(RUN)")
    'zs.resume(RUN)'
    """
    return command if _at_command_line else python


def option(name: str) -> str:
    """An option of the command line, or the argument of the same name in Python.

    >>> option("init-from")
    'init_from='
    """
    return at_door(f"--{name}", f"{name.replace('-', '_')}=")


def resuming(folder: Any, key: str | None = None, value: Any = None) -> str:
    """How to go on with a run, with another value of a key if one is given.

    >>> resuming("runs/00003-mnist"), resuming("runs/00003-mnist", "steps", 20)
    ('zs.resume("runs/00003-mnist")', 'zs.resume("runs/00003-mnist", steps=20)')
    >>> with at_command_line(): resuming("my runs/00003-mnist", "steps", 20)
    "zerosum resume 'my runs/00003-mnist' --set steps=20"
    """
    changed = "" if key is None else setting(key, value)
    command = f"zerosum resume {shlex.quote(str(folder))}" + f" {changed}" * bool(changed)
    return at_door(command, f'zs.resume("{folder}"' + f", {changed}" * bool(changed) + ")")


def setting(key: str, value: Any) -> str:
    """How to change a key of the recipe: with --set at the command line, with an argument in Python.

    >>> setting("batch", 8), setting("data.resolution", 64)
    ('batch=8', 'overrides={"data.resolution": 64}')
    >>> with at_command_line(): setting("batch", 8), setting("data.attributes", {"age": None})
    ('--set batch=8', "--set 'data.attributes={age: null}'")
    """
    if _at_command_line:
        return f"--set {shlex.quote(f'{key}={_as_yaml(value)}')}"
    return f"{key}={value!r}" if key.isidentifier() else f'overrides={{"{key}": {value!r}}}'


def _as_yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_as_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    plain = not isinstance(value, str) or (re.fullmatch(r"[A-Za-z/][\w./-]*", value) and value.lower() not in _WORDS)
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
