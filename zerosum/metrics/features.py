"""What turns images into features: a network with its stamp, and the real images that it has looked at."""

import hashlib
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from zerosum.data.cache import cache_folder, keep
from zerosum.data.pictures.drawing import to_pixels
from zerosum.data.pictures.source import PictureSource
from zerosum.data.source import Index, Lazy
from zerosum.errors import ZerosumError
from zerosum.progress import track

#: images that are read together
BATCH = 250
#: real images whose features are kept in one file
CHUNK = 10_000
#: real images beyond so many are not looked at
MOST = 100_000
#: features of an image at most: their covariance then takes 2 GiB
WIDEST = 16_384

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Extractor:
    """A feature network: 8-bit images (N, C, side, side) -> features (N, D) and, if it has classes, logits (N, K).

    The network reads float32 in [-1, 1] and returns features, or a pair of features and logits.
    """

    name: str
    network: nn.Module
    device: torch.device
    #: how it brings images to its input
    reads: str = "the images' own size"
    #: classes of each attribute in its logits; () where it has none
    sizes: tuple[int, ...] = ()
    #: images that it sees together: what fits into the processor's cache
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
    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """uint8 (N, C, side, side) -> float32 features (N, D) and logits (N, K) or None, on the CPU."""
        try:
            parts = [self.network(self._floats(part)) for part in torch.split(pixels, self.batch)]
        except (RuntimeError, TypeError, ValueError) as error:
            size, said = "x".join(map(str, pixels.shape[1:])), str(error).partition("\n")[0]
            raise ZerosumError(f"the feature network {self.name} cannot read images of {size}: {said}") from None
        pairs = [part if isinstance(part, tuple) else (part, None) for part in parts]
        if not all(len(pair) == 2 and isinstance(pair[0], Tensor) and pair[0].dim() for pair in pairs):
            raise ZerosumError(
                f"the feature network {self.name} gives {type(parts[0]).__name__}: it should return a tensor "
                "with one row of features for each image, or a pair of features and logits"
            )
        features = torch.cat([one.float().cpu() for one, _ in pairs])
        if features.shape[0] != len(pixels) or features.dim() != 2:
            raise ZerosumError(
                f"the feature network {self.name} gives {tuple(features.shape)} for {len(pixels)} images: "
                "it should give one row of features for each"
            )
        if features.shape[1] > WIDEST:
            raise ZerosumError(
                f"the feature network {self.name} gives {features.shape[1]:,} features for each image: {WIDEST:,} at "
                "most; pool them, or compare smaller images"
            )
        if not features.isfinite().all():
            raise ZerosumError(f"the feature network {self.name} gives NaN or infinity")
        if not self.sizes:
            return features, None
        return features, torch.cat([logits.float().cpu() for _, logits in pairs if logits is not None])

    def _floats(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.device).float().div_(127.5).sub_(1)


def from_module(network: nn.Module, device: torch.device) -> Extractor:
    """Any module that gives features (N, D) for images in [-1, 1]; it is put into evaluation mode."""
    return Extractor(type(network).__name__, network.eval().to(device), device)


class RandomFeatures(nn.Module):
    """Convolutions with fixed random weights: (N, channels, side, side) -> (N, 256).

    Distances in it order runs on the same data, without labels and without a download (Naeem 2020, section 3.3, argue
    for random embeddings where no trained one fits); their size means nothing beyond that data.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        widths = [channels, 32, 64, 128][: 1 + min(3, side.bit_length() - 1)]
        with torch.random.fork_rng([]):  # what layers draw by themselves is not used
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:], strict=False))
            self.out = nn.Linear(widths[-1] * (side >> len(self.layers)) ** 2, 256)
        fix_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = leaky_relu(layer(images), 0.2)
        return self.out(images.flatten(1))  # type: ignore[no-any-return]


class Texture(nn.Module):
    """Means and spreads, over the image, of what convolutions with fixed random weights answer at three sizes:
    (N, channels, side, side) -> (N, 448).

    Such statistics describe how an image looks from near, fine detail above all, whatever it shows (Ustyuzhaninov
    2016). They see a blur that the other random features, which see where things are, take for a small change.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        widths = [channels, 32, 64, 128][: 1 + max(1, min(3, side.bit_length() - 2))]
        with torch.random.fork_rng([]):
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:], strict=False))
        fix_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        found = []
        for layer in self.layers:
            images = leaky_relu(layer(images), 0.2)
            found += [images.mean((2, 3)), images.var((2, 3), correction=0).sqrt()]
        return torch.cat(found, 1)


def fix_weights(network: nn.Module) -> None:
    """Weights from one fixed seed, scaled for rectifiers; no biases; none of them learns."""
    draw = torch.Generator().manual_seed(2014)
    for weight in network.parameters():
        fan_in = weight[0].numel()
        weight.data = torch.randn(weight.shape, generator=draw) * (2 / fan_in) ** 0.5 * (weight.dim() > 1)
    network.requires_grad_(False)


def texture_features(channels: int, side: int, device: torch.device) -> Extractor:
    return Extractor("texture", Texture(channels, side).eval().to(device), device)


def random_features(channels: int, side: int, device: torch.device) -> Extractor:
    return Extractor("random", RandomFeatures(channels, side).eval().to(device), device)


@dataclass(frozen=True)
class Reals:
    """Real images of one split, in an order that is random but always the same, at the data's own side."""

    source: PictureSource
    #: train, test, or a half of train where the data has no test split
    split: str
    #: positions in the source
    order: Index

    @classmethod
    def of(cls, source: PictureSource, split: str) -> "Reals":
        count = min(len(source), 2 * MOST) if isinstance(source.images, Lazy) else len(source)
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
        if isinstance(self.source.images, Lazy):
            return self.order[np.arange(step * count, (step + 1) * count) % len(self)]
        return self.order[random.integers(0, len(self), count)]

    def pixels(self, start: int, stop: int) -> Tensor:
        """uint8 (N, channels, side, side)"""
        return to_pixels(self.source.native(self.order[start:stop])).permute(0, 3, 1, 2).contiguous()

    def labels(self, start: int, stop: int) -> Tensor | None:
        """int64 (N, attributes)"""
        labels = self.source.labels
        return None if labels is None else torch.from_numpy(labels[self.order[start:stop]])

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, count, BATCH):
            stop = min(start + BATCH, count)
            yield self.pixels(start, stop), self.labels(start, stop)

    @cached_property
    def identity(self) -> str:
        """Of these images at their own side, and their labels: digits of 28x28 padded to 32x32 keep theirs."""
        sums = hashlib.sha256(repr((len(self.order), self.source.spec.labels)).encode())
        if isinstance(self.source.images, Lazy):  # too many to look at each time
            sums.update(self.source.fingerprint.encode() + np.ascontiguousarray(self.order).tobytes())
            return sums.hexdigest()[:16]
        every = max(1, len(self) // CHUNK)
        for start in range(0, len(self), every * BATCH):
            index = self.order[start : start + every * BATCH : every]
            sums.update(to_pixels(self.source.native(index)).contiguous().numpy().data)
        if self.source.labels is not None:
            sums.update(np.ascontiguousarray(self.source.labels[self.order]).data)
        return sums.hexdigest()[:16]

    def looked_at(self, extractor: Extractor, count: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
        """(features, logits, labels) of the first `count` images, in chunks; computed once, then cached."""
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
        for first in track(steps, len(steps), f"{extractor.name} looks at real images"):
            features, logits = extractor.look(self.pixels(first, min(first + BATCH, stop)))
            rows.append(features if logits is None else torch.cat([features, logits], 1))
        table: Floats = torch.cat(rows).numpy()
        keep(place, lambda draft: np.save(draft, table, allow_pickle=False))
        return table
