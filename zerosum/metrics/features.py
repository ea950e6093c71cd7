"""What turns samples into features: a network with its stamp, and the real samples that it has looked at."""

import hashlib
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zerosum.data.cache import cache_folder, keep
from zerosum.data.source import Index, Lazy, Source, as_floats
from zerosum.errors import ZerosumError
from zerosum.modalities import modality_of
from zerosum.progress import track

#: samples that are read together
BATCH = 250
#: real samples whose features are kept in one file
CHUNK = 10_000
#: real samples beyond so many are not looked at
MOST = 100_000
#: features of a sample at most: their covariance then takes 2 GiB
WIDEST = 16_384

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Extractor:
    """A feature network: samples (N, ...), as files would hold them, -> features (N, D) and, if it has classes, logits
    (N, K).

    The network reads float32 as networks are trained on and returns features, or a pair of features and logits.
    """

    name: str
    network: nn.Module
    device: torch.device
    #: what makes float32 of samples as files hold them
    decode: Callable[[Tensor], Tensor] = as_floats
    #: how it brings samples to its input
    reads: str = "the images' own size"
    #: classes of each attribute in its logits; () where it has none
    sizes: tuple[int, ...] = ()
    #: samples that it sees together: what fits into the processor's cache
    batch: int = 64
    #: whether those classes are the data's labels
    labelled: bool = False
    #: further facts for the stamp
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Of the weights and of all that the network says of its layers, since some have no weights."""
        kind = f"{type(self.network).__module__}.{type(self.network).__qualname__}"
        sums = hashlib.sha256(f"{self.name} {kind} {self.network!r} {self.reads}".encode())
        for name, value in self.network.state_dict().items():
            sums.update(name.encode())
            sums.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return sums.hexdigest()[:16]

    @torch.inference_mode()
    def look(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        """Samples (N, ...) -> float32 features (N, D) and logits (N, K) or None, on the CPU."""
        try:
            parts = [self.network(self.decode(part.to(self.device))) for part in torch.split(samples, self.batch)]
        except (RuntimeError, TypeError, ValueError) as error:
            size, said = "x".join(map(str, samples.shape[1:])), str(error).partition("\n")[0]
            raise ZerosumError(f"the feature network {self.name} cannot read samples of {size}: {said}") from None
        pairs = [part if isinstance(part, tuple) else (part, None) for part in parts]
        if not all(len(pair) == 2 and isinstance(pair[0], Tensor) and pair[0].dim() for pair in pairs):
            raise ZerosumError(
                f"the feature network {self.name} gives {type(parts[0]).__name__}: it should return a tensor "
                "with one row of features for each sample, or a pair of features and logits"
            )
        features = torch.cat([one.float().cpu() for one, _ in pairs])
        if features.shape[0] != len(samples) or features.dim() != 2:
            raise ZerosumError(
                f"the feature network {self.name} gives {tuple(features.shape)} for {len(samples)} samples: "
                "it should give one row of features for each"
            )
        if features.shape[1] > WIDEST:
            raise ZerosumError(
                f"the feature network {self.name} gives {features.shape[1]:,} features for each sample: {WIDEST:,} at "
                "most; pool them, or compare smaller samples"
            )
        if not features.isfinite().all():
            raise ZerosumError(f"the feature network {self.name} gives NaN or infinity")
        if not self.sizes:
            return features, None
        return features, torch.cat([logits.float().cpu() for _, logits in pairs if logits is not None])


def from_module(network: nn.Module, device: torch.device, decode: Callable[[Tensor], Tensor] = as_floats) -> Extractor:
    """Any module that gives features (N, D) for samples as networks are trained on; it is put into evaluation mode."""
    return Extractor(type(network).__name__, network.eval().to(device), device, decode)


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
