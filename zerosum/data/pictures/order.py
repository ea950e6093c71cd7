"""The order in which images that lie in groups are trained on, such as those of the row groups of Parquet files.

Every epoch permutes the groups, and then the images inside windows of a few groups: it still shows every image once,
but reads every group about once too. The order follows from the seed and the position alone, so a run goes on where it
stopped without having kept a place.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from zerosum.data.source import Index


@dataclass(frozen=True, eq=False)
class LocalOrder:
    """An endless shuffled stream of images that lie in groups, in which those of one group come near each other."""

    #: images in each group
    sizes: Index
    #: images in a window at most; no group is larger
    window: int

    @cached_property
    def starts(self) -> Index:
        """The position of the first image of each group, and the number of all."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    def group_of(self, index: Index) -> Index:
        return np.searchsorted(self.starts, index, "right") - 1

    def positions(self, seed: int, start: int, count: int) -> Index:
        """Positions start ... start + count - 1 of the stream, a function of the arguments alone."""
        parts = [np.empty(0, np.int64)]
        while count > 0:
            epoch, place = divmod(start, int(self.starts[-1]))
            window, before = _place(self, seed, epoch, place)
            parts.append(_shuffled(self, seed, epoch, window)[place - before :][:count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)

    def soon(self, seed: int, position: int) -> list[int]:
        """The groups of the window at this position, and of the next one."""
        epoch, place = divmod(position, int(self.starts[-1]))
        window, _ = _place(self, seed, epoch, place)
        here = _windows(self, seed, epoch)[0]
        after = here[window + 1] if window + 1 < len(here) else _windows(self, seed, epoch + 1)[0][0]
        return [*here[window].tolist(), *after.tolist()]


@lru_cache(maxsize=4)
def _windows(order: LocalOrder, seed: int, epoch: int) -> tuple[list[Index], Index]:
    """The groups of each window of an epoch, and the place in the epoch at which each begins."""
    groups = np.random.default_rng((seed, 2, epoch)).permutation(len(order.sizes))
    cuts, firsts, filled, place = [], [0], 0, 0
    for number, size in enumerate(order.sizes[groups].tolist()):
        if filled and filled + size > order.window:
            cuts.append(number)
            firsts.append(place)
            filled = 0
        filled, place = filled + size, place + size
    return np.split(groups, cuts), np.array(firsts)


@lru_cache(maxsize=4)
def _shuffled(order: LocalOrder, seed: int, epoch: int, window: int) -> Index:
    groups = _windows(order, seed, epoch)[0][window]
    images = np.concatenate([np.arange(order.starts[group], order.starts[group + 1]) for group in groups])
    return np.random.default_rng((seed, 3, epoch, window)).permutation(images)


def _place(order: LocalOrder, seed: int, epoch: int, place: int) -> tuple[int, int]:
    """The window of a place in an epoch, and where that window begins."""
    firsts = _windows(order, seed, epoch)[1]
    window = int(np.searchsorted(firsts, place, "right")) - 1
    return window, int(firsts[window])
