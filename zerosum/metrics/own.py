"""Scores that somebody brings along as functions of generated and real samples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zerosum.errors import ZerosumError, first_line
from zerosum.metrics.evaluate import Yardstick
from zerosum.metrics.result import Images, Measure, Scores
from zerosum.metrics.vocabulary import MEANING

#: a score: generated and real samples (N, ...), as scores look at them -> one number
Own = Callable[[Tensor, Tensor], Any]
#: samples of each kind that own scores are given, at most
MOST = 10_000


def check_own(own: Mapping[str, Own] | None) -> None:
    """ZerosumError for what is no score; None is left out."""
    for name, function in (own or {}).items():
        if not name.isidentifier() or name[-1].isdigit() or name in MEANING:
            raise ZerosumError(f"own score {name!r}: name it in letters and _, other than the scores that there are")
        if not callable(function):
            raise ZerosumError(f"own score '{name}' is a {type(function).__name__}: it should be a function")


class Kept:
    """Generated samples on their way to a yardstick, of which the first are kept for own scores."""

    def __init__(self, fakes: Images) -> None:
        self.fakes = fakes
        self.parts: list[Tensor] = []

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        room = MOST
        for samples, labels in self.fakes:
            self.parts.append(samples[:room].clone())
            room -= len(self.parts[-1])
            yield samples, labels


def with_own(scores: Scores, own: Mapping[str, Own], kept: Kept, count: int, yardstick: Measure) -> Scores:
    """The scores with own ones beside them, and what further real samples get in those as their floor.

    Raises ZerosumError for a yardstick without real samples of its own, and for functions that fail.
    """
    if not isinstance(yardstick, Yardstick):
        raise ZerosumError("own scores compare with real samples, of which this kind of score has no set")
    made = torch.cat(kept.parts)
    reals = [some.samples(0, min(MOST, len(some))) for some in (yardstick.reference, yardstick.other)]
    values = {name: _value(name, function, made, reals[0]) for name, function in own.items()}
    floor = {name: _value(name, function, reals[1][:count], reals[0]) for name, function in own.items()}
    return replace(
        scores,
        scores=scores.scores | {f"{name}{count}": value for name, value in values.items()},
        floor=scores.floor | {f"{name}{count}": value for name, value in floor.items()},
    )


def _value(name: str, function: Own, made: Tensor, real: Tensor) -> float:
    try:
        return float(function(made, real))
    except Exception as error:
        raise ZerosumError(f"own score '{name}' raised {type(error).__name__}: {first_line(error)}") from error
