"""Errors carry the exit code of the command line, and suggestions name what is near."""

import pytest

from zerosum.errors import Diverged, Interrupted, ZerosumError, suggest


def test_exit_codes() -> None:
    assert ZerosumError("x").exit_code == 2
    assert Diverged("x").exit_code == 3
    assert Interrupted("x", 143).exit_code == 143
    assert Interrupted("x", 130).exit_code == 130


@pytest.mark.parametrize("error", [Diverged("gone"), Interrupted("stopped", 130)])
def test_one_class_catches_all(error: ZerosumError) -> None:
    assert isinstance(error, ZerosumError)
    assert str(error) in ("gone", "stopped")


def test_suggest_names_the_nearest() -> None:
    assert suggest("hinj", ["hinge", "minimax"]) == "did you mean 'hinge'?"


def test_suggest_names_two_at_most() -> None:
    assert suggest("face", ["faces", "faced", "facet"]).count("'") == 4


def test_suggest_lists_all_when_none_is_near() -> None:
    assert suggest("zzz", ["adam", "sgd"]) == "choose from adam, sgd"


def test_suggest_without_choices() -> None:
    assert suggest("zzz", []) == "there are none"


def test_suggest_reads_an_iterator_once() -> None:
    assert suggest("zzz", iter(["adam", "sgd"])) == "choose from adam, sgd"
