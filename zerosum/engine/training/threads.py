"""How many threads a training uses: what its recipe says or, with auto, all unless fewer are clearly faster.

torch shares each operation among its threads and waits for the last of them. Beside a program that keeps one core busy,
every operation therefore waits for the thread on that core, and two threads may be three times as slow as one.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
import torch

from zerosum.recipe import Recipe

#: fewer threads are taken where a step takes no more than this share of its time with all of them
CLEARLY = 0.8
#: timed steps with each number at most, and seconds after which no further ones are begun
ROUNDS, ENOUGH = 7, 1.5
#: seconds of a step, and of the first one, beyond which no other number of threads is tried: it would take too long
LONGEST, FIRST = 2.0, 4.0
#: where a step gets less than this share of the processor time of its threads, others take it away, and a long step
#: says nothing of how long it takes with one thread
CROWDED = 0.75
#: steps of a training for which trying pays
WORTH = 200


def settled(recipe: Recipe, stored: int | None, available: int) -> int:
    """The number of threads, where nothing is tried.

    stored: what a run that goes on was trained with before, which gives the same bits. available: torch's own number.
    """
    if recipe.threads != "auto":
        return recipe.threads
    return available if stored is None else min(stored, available)


def fastest(
    step: Callable[[int], None],
    available: int,
    use: Callable[[int], None] = torch.set_num_threads,
    clock: Callable[[], float] = time.perf_counter,
    work: Callable[[], float] = time.process_time,
) -> tuple[int, float]:
    """The number of threads with which steps are made the fastest, and how many times as fast as with all.

    step: makes the step of this number. Tries all, one, and all but one, which leaves a core to another program; the
    same steps with each, since not all steps cost the same. It takes two seconds or less; up to 15 where a step
    takes a second or two. clock, work: seconds that pass, and seconds of processor time that all threads have used.
    """

    def timed(count: int, number: int) -> float:
        use(count)
        began = clock()
        step(number)
        return clock() - began

    def long(number: int, most: float) -> tuple[float, bool]:
        """Seconds of a step with all threads, and whether it is a long one though nobody takes the processor away."""
        worked = work()
        seconds = timed(available, number)
        return seconds, seconds > most and work() - worked > CROWDED * available * seconds

    # the first step with each number does not count: libraries get ready
    if long(0, FIRST)[1]:
        return available, 1.0
    usual, is_long = long(1, LONGEST)
    others = [] if is_long else sorted({1, available - 1} - {0, available})
    # one thread may take as many times as long as there are threads, if those were busy with this step
    affordable = [count for count in others if usual > LONGEST or usual * available / count <= 2 * LONGEST]
    tried = [count for count in affordable if timed(count, 0) <= FIRST]
    if not tried:
        return available, 1.0
    seconds: dict[int, list[float]] = {count: [] for count in (available, *tried)}
    began = clock()
    for number in range(1, ROUNDS + 1):
        for count, found in seconds.items():
            found.append(timed(count, number))
        if clock() - began > ENOUGH:
            break
    typical = {count: median(found) for count, found in seconds.items()}
    best = min(typical, key=typical.__getitem__)
    ratio = typical[available] / max(typical[best], 1e-9)
    return (best, ratio) if 1 / ratio <= CLEARLY else (available, 1.0)


@contextmanager
def same_numbers() -> Iterator[None]:
    """Random numbers of torch on the CPU, NumPy and Python go on afterwards as if nothing had been drawn."""
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - what networks of users may draw from
    try:
        with torch.random.fork_rng([]):
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
