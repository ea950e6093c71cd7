"""Advice in the words of the door through which a person came."""

import doctest

import pytest

from zerosum import errors
from zerosum.errors import at_command_line, option, setting


def test_examples() -> None:
    assert doctest.testmod(errors).failed == 0


@pytest.mark.parametrize(
    ("value", "python", "shell"),
    [
        (True, "x.y=True", "x.y=true"),
        (None, "x.y=None", "x.y=null"),
        (0.2, "x.y=0.2", "x.y=0.2"),
        ([0, 4095], "x.y=[0, 4095]", "'x.y=[0, 4095]'"),
    ],
)
def test_settings(value: object, python: str, shell: str) -> None:
    assert setting("x.y", value) == 'overrides={"x.y": ' + python.partition("=")[2] + "}"
    with at_command_line():
        assert setting("x.y", value) == f"--set {shell}"
    assert option("data") == "data="
