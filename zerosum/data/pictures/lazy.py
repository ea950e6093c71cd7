"""Images that are decoded while they are trained on, one row group after the other, and of which some stay decoded.

No image is looked at before its turn, so damaged ones are met on the way. The nearest readable image of the row group
takes the place of each, one with the same labels if there is one, until they are more than data.bad_share of the set.
"""

import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np

from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.images import Scale, decode
from zerosum.data.pictures.order import LocalOrder
from zerosum.data.pictures.parquet import WINDOW_BYTES, Shards, usable
from zerosum.data.pictures.values import BYTES, Range, described, range_of
from zerosum.data.source import Index, Lazy
from zerosum.errors import ZerosumError, setting
from zerosum.progress import note

#: images among which the stream is shuffled at most
WINDOW = 8192
#: damaged images that are named one by one
NAMED = 3


class ShardImages(Lazy):
    """The images of shards, fitted, by row groups of which as many stay decoded as fit into a budget of memory."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        shards: Shards,
        resolution: int | None,
        channels: int | None,
        bad_share: float,
        budget: int,
        kept: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
        labels: Index | None = None,
        values: Range | None = None,
    ) -> None:
        """budget: bytes of decoded images. kept: (images,) False for those to leave out. labels: of those that stay.
        values: those that are black and white; None judges by the images that are looked at when the set is opened.

        Raises ZerosumError where images differ in size and no resolution is given, and where the budget is too small.
        """
        headers, self.digest, found = shards.sample()
        #: values of the files that become 0 and 255
        self.range = values or (BYTES if found is None else range_of(found, shards.uri))
        if found is not None:
            shards.notes.append(f"{shards.uri}: images of more than 8 bits: {described(self.range)} become 0 to 255")
        self._scale = (
            Scale() if values is None and found is None else Scale(self.range, self.range if values else BYTES)
        )
        sides = {min(header.size) for header in headers}
        if resolution is None and len(sides) > 1:
            raise ZerosumError(
                f"{shards.uri}: images differ in size ({min(sides)} to {max(sides)}): {setting('data.resolution', 64)}"
            )
        side = resolution or min(sides)
        if side < 8:
            raise ZerosumError(f"{shards.uri}: images of {side}x{side} are too small: {setting('data.resolution', 16)}")
        kinds = {header.kind for header in headers}
        channels = channels or (1 if kinds == {"grey"} else 4 if kinds == {"alpha"} else 3)
        #: their own side, or the resolution where they differ
        self.native = min(sides) if len(sides) == 1 else side
        self._image_bytes = channels * side * side
        shards.check_sizes(self._image_bytes, budget)

        bounds = np.cumsum([0, *(group.rows for group in shards.groups)])
        rows = [np.arange(group.rows) for group in shards.groups]
        if kept is not None:
            rows = [np.flatnonzero(kept[first:last]) for first, last in zip(bounds, bounds[1:], strict=False)]
        self._groups = [(group, chosen) for group, chosen in zip(shards.groups, rows, strict=True) if len(chosen)]
        sizes = np.array([len(chosen) for _, chosen in self._groups], np.int64)
        self.shape = (int(sizes.sum()), channels, side, side)
        #: images among which the stream is shuffled
        self.window = max(int(sizes.max()), min(WINDOW, WINDOW_BYTES // self._image_bytes))
        self._order = LocalOrder(sizes, self.window)
        needed = min(self.window, len(self)) * self._image_bytes
        if needed > budget:
            raise ZerosumError(
                f"{shards.uri}: {needed / 2**30:.2f} GiB of images must be in memory at a time: "
                + setting("data.memory", math.ceil(200 * needed / 2**30) / 100)
            )
        self._reads_ahead = 2 * needed <= budget
        self._shards, self._labels, self._bad_share, self._budget = shards, labels, bad_share, budget
        self._held: OrderedDict[int, Future[Pixels]] = OrderedDict()
        self._ahead: Future[Pixels] | None = None
        self._damaged: dict[int, int] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(os.cpu_count(), "shards")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # on odd files; here, since threads share the filters

    def positions(self, seed: int, start: int, count: int) -> Index:
        return self._order.positions(seed, start, count)

    def __getitem__(self, index: Any) -> Pixels:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index, np.int64)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"positions {index.min()} ... {index.max()} of {len(self)} images")
        result = np.empty((len(index), *self.shape[1:]), np.uint8)
        groups = self._order.group_of(index)
        for part in self._portions(np.unique(groups).tolist()):
            for group, future in [(group, self._ask(group)) for group in part]:
                here = groups == group
                result[here] = future.result()[index[here] - self._order.starts[group]]
        return result

    def read_ahead(self, seed: int, position: int) -> None:
        """One row group at a time: the first of this window, or of the next, that is not there yet."""
        if self._reads_ahead and (self._ahead is None or self._ahead.done()):
            with self._lock:
                missing = next((one for one in self._order.soon(seed, position) if one not in self._held), None)
            self._ahead = None if missing is None else self._ask(missing)

    def _bytes(self, group: int) -> int:
        return int(self._order.sizes[group]) * self._image_bytes

    def _portions(self, groups: list[int]) -> Iterator[list[int]]:
        """Row groups, as many at a time as fit into memory."""
        part: list[int] = []
        for group in groups:
            if part and sum(map(self._bytes, [*part, group])) > self._budget:
                yield part
                part = []
            part.append(group)
        yield part

    def _ask(self, group: int) -> "Future[Pixels]":
        """The row group's images, now or soon; those that were not asked for the longest make room."""
        with self._lock:
            held = self._held.get(group)
            if held is None or (held.done() and held.exception() is not None):  # a network may have been away
                self._held.pop(group, None)
                room = self._budget - self._bytes(group) - sum(map(self._bytes, self._held))
                while room < 0 and self._held:
                    room += self._bytes(self._held.popitem(last=False)[0])
                held = self._held[group] = self._pool.submit(self._decode, group)
            self._held.move_to_end(group)
            return held

    def _decode(self, number: int) -> Pixels:
        group, rows = self._groups[number]
        result = np.empty((len(rows), *self.shape[1:]), np.uint8)
        bad: dict[int, str] = {}
        wanted, place = set(rows.tolist()), 0
        for row, data in enumerate(self._shards.pictures(group)):
            if row in wanted:
                where = f"{group.shard.path}, row {group.first + row}"
                try:
                    result[place] = decode(usable(data), self.shape[1], self.shape[2], where, self._scale)
                except OSError as error:
                    bad[place] = f"{where} ({error})"
                place += 1
        if bad:
            self._replace(result, bad, number)
        return result

    def _replace(self, images: Pixels, bad: Mapping[int, str], number: int) -> None:
        good = np.setdiff1d(np.arange(len(images)), list(bad))
        first = next(iter(bad.values()))
        with self._lock:
            told = sum(self._damaged.values())
            news = number not in self._damaged
            self._damaged[number] = len(bad)
            total = sum(self._damaged.values())
        if total > self._bad_share * len(self) or not len(good):
            raise ZerosumError(
                f"{first} cannot be read, like {total} of the images met so far of {len(self)}, "
                f"more than data.bad_share = {self._bad_share:g} allows"
            )
        if news and told < NAMED:
            note(f"{first} cannot be read: a neighbour takes its place" + (" ..." if len(bad) > 1 else ""))
        for row in bad:
            alike = good
            if self._labels is not None:
                labels = self._labels[self._order.starts[number] :][: len(images)]
                alike = good[(labels[good] == labels[row]).all(1)]
            choice = alike if len(alike) else good
            images[row] = images[choice[np.abs(choice - row).argmin()]]
