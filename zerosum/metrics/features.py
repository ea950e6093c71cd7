"""Real samples, and the features that a network has seen in them: `Reals`."""

import hashlib
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum.data.cache import cache_folder, keep
from zerosum.data.source import Index, Lazy, Source
from zerosum.metrics.extractor import Extractor
from zerosum.modalities import modality_of
from zerosum.progress import track

#: samples that are read together
BATCH = 250
#: real samples whose features are kept in one file
CHUNK = 10_000
#: real samples that are looked at, at most
MOST = 100_000

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Reals:
    """Real samples of one split, in an order that is random but always the same, as files would hold them."""

    source: Source
    #: train, test, or a half of train where the data has no test split
    split: str
    #: positions in the source
    order: Index

    @classmethod
    def of(cls, source: Source, split: str) -> "Reals":
        count = min(len(source), 2 * MOST) if isinstance(source.stored, Lazy) else len(source)
        return cls(source, split, source.positions(0, 0, count))

    def half(self, number: int) -> "Reals":
        """The first half (0) or the second (1)."""
        middle = len(self.order) // 2
        part = self.order[middle:] if number else self.order[:middle]
        return Reals(self.source, f"half {number + 1} of {self.split}", part)

    def __len__(self) -> int:
        return min(len(self.order), MOST)

    def drawn(self, step: int, count: int, random: np.random.Generator) -> Index:
        """Positions in the source for one step of training: random, or consecutive where random access is slow."""
        if isinstance(self.source.stored, Lazy):
            return self.order[np.arange(step * count, (step + 1) * count) % len(self)]
        return self.order[random.integers(0, len(self), count)]

    def samples(self, start: int, stop: int) -> Tensor:
        """(N, ...), as scores look at them."""
        return self._scored(self.order[start:stop]).contiguous()

    def at(self, index: Index) -> Tensor:
        """Finished samples at these positions of the source."""
        return modality_of(self.source.spec).finished(self.source.floats(index), self.source.spec)

    def _scored(self, index: Index) -> Tensor:
        return modality_of(self.source.spec).scored(self.at(index), self.source.spec)

    def labels(self, start: int, stop: int) -> Tensor | None:
        """int64 (N, attributes)"""
        labels = self.source.labels
        return None if labels is None else torch.from_numpy(labels[self.order[start:stop]])

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, count, BATCH):
            stop = min(start + BATCH, count)
            yield self.samples(start, stop), self.labels(start, stop)

    @cached_property
    def identity(self) -> str:
        """Of these samples as files would hold them, and their labels: digits of 28x28 padded to 32x32 keep theirs."""
        sums = hashlib.sha256(repr((len(self.order), self.source.spec.labels)).encode())
        if isinstance(self.source.stored, Lazy):  # too many to look at each time
            sums.update(self.source.fingerprint.encode() + np.ascontiguousarray(self.order).tobytes())
            return sums.hexdigest()[:16]
        every = max(1, len(self) // CHUNK)
        for start in range(0, len(self), every * BATCH):
            index = self.order[start : start + every * BATCH : every]
            sums.update(self._scored(index).numpy().ravel(order="K").data)  # as they lie in memory
        if self.source.labels is not None:
            sums.update(np.ascontiguousarray(self.source.labels[self.order]).data)
        return sums.hexdigest()[:16]

    def looked_at(self, extractor: Extractor, count: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
        """(features, logits, labels) of the first `count` samples, in chunks; computed once, then cached."""
        for start in range(0, min(count, len(self)), CHUNK):
            stop = min(start + CHUNK, len(self))
            table = torch.from_numpy(self._chunk(extractor, start, stop)[: count - start])
            labels = self.labels(start, start + len(table))
            split = table.shape[1] - sum(extractor.sizes)
            yield table[:, :split], table[:, split:] if extractor.sizes else None, labels

    def features(self, extractor: Extractor, count: int) -> Tensor:
        """float32 (count, D)"""
        return torch.cat([features for features, _, _ in self.looked_at(extractor, count)])

    def _chunk(self, extractor: Extractor, start: int, stop: int) -> Floats:
        """Features and logits side by side, (stop - start, D + K)."""
        key = hashlib.sha256(f"{self.identity} {extractor.digest} {start} {stop}".encode()).hexdigest()[:24]
        place = cache_folder() / "features" / f"{extractor.name}-{key}.npy"
        try:
            with place.open("rb") as file:
                stored: Floats = np.load(file, allow_pickle=False)
            if stored.dtype == np.float32 and stored.ndim == 2 and len(stored) == stop - start:
                return stored
        except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, AttributeError):
            pass  # not there yet, or damaged
        rows = []
        steps = range(start, stop, BATCH)
        for first in track(steps, len(steps), f"{extractor.name} looks at real samples"):
            features, logits = extractor.look(self.samples(first, min(first + BATCH, stop)))
            rows.append(features if logits is None else torch.cat([features, logits], 1))
        table: Floats = torch.cat(rows).numpy()
        keep(place, lambda draft: np.save(draft, table, allow_pickle=False))
        return table
