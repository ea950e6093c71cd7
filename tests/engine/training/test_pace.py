"""When a training counts as slower than it was, with made-up times."""

import itertools
from collections.abc import Iterable

import pytest

from zerosum.engine.training.pace import SECONDS, Pace


def answers(seconds: Iterable[float]) -> list[tuple[int, float]]:
    """(number of the step, how many times as slow) of each answer."""
    pace = Pace()
    told = ((number, pace.add(one)) for number, one in enumerate(seconds))
    return [(number, slower) for number, slower in told if slower is not None]


def test_a_slowdown_is_told_once() -> None:
    ((number, slower),) = answers([0.1] * 1000 + [0.3] * 1000)
    assert slower == pytest.approx(3)
    assert 1000 + 2 * SECONDS / 0.3 >= number - 10 >= 1000  # one or two windows later


def test_it_is_told_again_after_a_recovery_only() -> None:
    slow, half, fast = [0.3] * 200, [0.16] * 200, [0.1] * 300
    assert len(answers(fast + slow + half + slow)) == 1  # still slow: at 0.16 s it is below 0.8 of its best speed
    assert len(answers(fast + slow + fast + slow)) == 2


@pytest.mark.parametrize(
    "seconds",
    [
        [0.1] * 500 + [0.19] * 500,  # not half as fast
        [30.0] + [0.1] * 2000,  # the first step gets everything ready
        [0.4] * 50 + [0.1] * 2000,  # warming up
        [0.5 if number % 16 == 0 else 0.05 for number in range(3000)],  # a lazy penalty
        [3.0 if number % 2 == 0 else 1.0 for number in range(500)],  # and one at every other step
        [20.0 if number % 40 == 0 else 4.0 for number in range(500)],  # steps longer than a window
        [0.1] * 500 + [3600.0] + [0.1] * 500,  # halted with Ctrl-Z
        [0.01] * 5000 + [3.0] + [0.01] * 5000,
    ],
)
def test_no_false_alarm(seconds: list[float]) -> None:
    assert answers(seconds) == []


def test_short_trainings_say_nothing() -> None:
    assert answers([0.01] * 500 + [0.1] * 50) == []  # 5 seconds each


def test_many_paces() -> None:
    """Whatever the length of a step, a training that becomes three times as slow is told of, once."""
    for step in (1e-3, 0.02, 0.5, 12.0):
        count = int(40 * SECONDS / step) + 200
        ((number, slower),) = answers(itertools.chain([step] * count, [3 * step] * count))
        assert number >= count
        assert 2 < slower <= 3.01
