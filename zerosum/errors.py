"""What can go wrong through no fault of the program: one line for the person, one exit code for the shell."""

import difflib
from collections.abc import Iterable

#: characters of a message at most
LONGEST = 1500


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
