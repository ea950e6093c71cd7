"""Trained generators: `Gan`, what all of them can do, and `LabelGan`, which is sampled from seeds and labels."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zerosum.data.source import Condition, Source
from zerosum.data.spec import Spec
from zerosum.engine.trained.order import Order
from zerosum.errors import ZerosumError, at_door, option, suggest
from zerosum.modalities import modality_of
from zerosum.modalities.modality import Modality
from zerosum.networks.calling import call
from zerosum.progress import track
from zerosum.recipe import Latent

#: samples computed together; a seed always has the same place among them, so that it always gives the same sample
BLOCK = 32
#: rows of a picture of samples, one for each combination of labels
ROWS = 16
#: samples on a way between two latents, and ways
STATIONS, WAYS = 9, 6

#: for a generator from z alone
NOTHING = Condition()

Label = str | int


@dataclass(frozen=True, repr=False)
class Gan:
    """The averaged generator of a run, in evaluation mode and fp32. What it can do beyond this its kind says.

    z is a function of the seed alone.
    """

    generator: nn.Module
    spec: Spec
    latent: Latent
    conditional: bool
    device: torch.device

    def __repr__(self) -> str:
        return f"{type(self).__name__}({named(self.generator)}, {self.spec.summary()}, on {self.device})"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no '{name}': {self.usage}")

    @property
    def usage(self) -> str:
        """How samples are had, in the words of the door that the user came through."""
        raise NotImplementedError

    @property
    def modality(self) -> Modality:
        return modality_of(self.spec)

    def finished(self, samples: Tensor) -> Tensor:
        """Samples (N, *lengths of the spec's `sample`) as they come out."""
        return self.modality.finished(samples, self.spec)

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """The combinations of labels that a picture of samples shows, one a row; none without labels."""
        return []

    def extremes(self, seeds: Sequence[int]) -> tuple[float, float] | None:
        """The lowest and the highest value that it makes before anything is cut off; None where any may be."""
        return None

    def ways(self) -> tuple[Tensor, list[str], int] | None:
        """As `exhibit`, of ways between latents; None where such a picture says nothing."""
        return None

    def decode(self, samples: Tensor) -> Any:
        """Finished samples as Python programs know them: see `decode` of the data's modality."""
        return self.modality.decode(samples, self.spec)

    def exhibit(self) -> tuple[Tensor, list[str], int]:
        """Finished samples for a picture, the same ones every time, the names of its rows, and samples in each row."""
        raise NotImplementedError

    def batches(self, n: int, size: int = 256) -> Iterator[tuple[Tensor, Tensor | None]]:
        """n samples as scores look at them, (size, ...), with their labels (size, attributes) or None."""
        raise NotImplementedError

    def write(self, order: Order) -> Path:
        """The files that are asked for; returns their place.

        Raises ZerosumError for what this generator cannot do, and where nothing can be written.
        """
        raise NotImplementedError

    def latents(self, seeds: Sequence[int]) -> Tensor:
        """z (N, latent size), each row from its seed alone."""
        size, bound = self.latent.count, self.latent.bound
        if self.latent.distribution == "normal":
            rows = [_random(seed, 0).standard_normal(size, np.float32) for seed in seeds]
        else:
            rows = [_random(seed, 0).random(size, np.float32) * 2 * bound - bound for seed in seeds]
        return torch.from_numpy(np.stack(rows))

    @torch.no_grad()
    def draw(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """What the generator makes, before it is finished and before anything is cut off: float32, on the CPU."""
        with evaluating(self.generator):
            made: Tensor = call(self.generator, z.to(self.device), condition.map(lambda part: part.to(self.device)))
        return made.float().cpu()


@dataclass(frozen=True, repr=False)
class GivenGan(Gan):
    """A generator that starts from something given beside z."""

    #: where it finds what it starts from for scores and pictures of samples: data that it did not learn from
    held_out: Source | None = None


@dataclass(frozen=True, repr=False)
class LabelGan(Gan):
    """A generator that starts from z, and from labels where it was trained with some.

    Every sample is a function of its seed and labels alone: the seed gives z, and the labels that were not asked for.
    """

    @property
    def usage(self) -> str:
        return at_door("sample it without --from, --to and --action", "use sample()")

    def sample(
        self,
        n: int = 1,
        label: Label | Sequence[Label] | None = None,
        where: Mapping[str, Label] | None = None,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        """n samples as they come out, from seeds seed ... seed + n - 1.

        What they are says the modality of the data: pictures, for one, are floats from -1 to 1 at their own size.

        label: a value of the only attribute, for all samples or one for each. where: attribute -> value. seeds: used
        instead of n and seed. Labels left open follow the data's proportions. Raises ZerosumError for unknown labels,
        with the known ones.
        """
        chosen = self._seeds(list(range(seed, seed + n)) if seeds is None else seeds)
        if label is None or isinstance(label, str | int):
            labels = self.draw_labels(chosen, self.constraint(label, where))
        else:
            if len(label) != len(chosen):
                raise ZerosumError(f"{len(label)} labels for {len(chosen)} samples")
            each = [self.draw_labels([s], self.constraint(one, where)) for s, one in zip(chosen, label, strict=True)]
            labels = torch.cat([one for one in each if one is not None]) if self.conditional else None
        return self.finished(self.generate(chosen, labels))

    def stream(
        self,
        seeds: Sequence[int],
        label: Label | None = None,
        where: Mapping[str, Label] | None = None,
        size: int = 256,
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yields what `sample` gives in batches (size, ...), with their labels (size, attributes), or None for a
        generator without labels. Memory does not grow with the number of samples.

        Raises ZerosumError as `sample` does, before the first sample.
        """
        chosen, constraint = self._seeds(seeds), self.constraint(label, where)
        return (self._some(chosen[start : start + size], constraint) for start in range(0, len(chosen), size))

    def _some(self, seeds: Sequence[int], constraint: Mapping[int, int]) -> tuple[Tensor, Tensor | None]:
        labels = self.draw_labels(seeds, constraint)
        return self.finished(self.generate(seeds, labels)), labels

    @staticmethod
    def _seeds(seeds: Sequence[int]) -> list[int]:
        chosen = [int(value) for value in seeds]
        if not chosen or min(chosen) < 0:
            raise ZerosumError("seeds are whole numbers from 0 on, at least one")
        return chosen

    def batches(self, n: int, size: int = 256) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Those of seeds 0 ... n - 1: the files that `zerosum sample` writes get the same scores."""
        for samples, labels in self.stream(range(n), size=size):
            yield self.modality.scored(samples, self.spec).contiguous(), labels

    @property
    def rows(self) -> list[tuple[int, ...]]:
        return list(self.spec.combinations[:ROWS]) if self.conditional else []

    def exhibit(self) -> tuple[Tensor, list[str], int]:
        """A row for each combination of labels; without labels, rows without a name."""
        rows, columns = self.rows, self.modality.columns
        if rows:
            seeds, labels = list(range(columns)) * len(rows), torch.tensor(rows).repeat_interleave(columns, 0)
        else:
            seeds, labels = list(range(self.modality.lines * columns)), None
        samples = self.finished(self.generate(seeds, labels))
        return samples, [self.spec.describe(row) for row in rows], columns

    def constraint(self, label: Label | None, where: Mapping[str, Label] | None) -> dict[int, int]:
        """Column -> integer that is asked for."""
        names = list(self.spec.labels)
        wanted = dict(where or {})
        if (wanted or label is not None) and not self.conditional:
            raise ZerosumError("this generator was trained without labels: sample it without class and where")
        if label is not None:
            if len(names) != 1:
                raise ZerosumError(f"this generator has several attributes ({', '.join(names)}): name them with where")
            wanted[names[0]] = label
        result = {}
        for name, value in wanted.items():
            if name not in names:
                raise ZerosumError(f"unknown attribute '{name}': {suggest(name, names)}")
            known = self.spec.labels[name]
            if str(value) in known:
                result[names.index(name)] = known.index(str(value))
            elif isinstance(value, int) and 0 <= value < len(known):
                result[names.index(name)] = value
            else:
                raise ZerosumError(f"unknown {name} '{value}': the data has {', '.join(known)}")
        return result

    def draw_labels(self, seeds: Sequence[int], constraint: Mapping[int, int]) -> Tensor | None:
        """(N, attributes): what is asked for, and the rest in the proportions of the data under it."""
        if not self.conditional:
            return None
        combinations = np.array(self.spec.combinations)
        weights = np.array(self.spec.counts, float)
        for column, value in constraint.items():
            weights *= combinations[:, column] == value
        if not weights.any():
            # never seen together in the data: draw what was left open freely, by its own combinations
            weights = np.array(self.spec.counts, float)
        bounds = np.cumsum(weights / weights.sum())
        drawn = [int(np.searchsorted(bounds, _random(seed, 1).random(), "right")) for seed in seeds]
        labels = torch.from_numpy(combinations[np.minimum(drawn, len(bounds) - 1)])
        for column, value in constraint.items():
            labels[:, column] = value
        return labels

    def generate(self, seeds: Sequence[int], labels: Tensor | None) -> Tensor:
        """float32 (N, *lengths of the spec's `sample`) in [-1, 1].

        Matrix products round differently in batches of different shape and at different places of a batch, so samples
        are made in blocks of one size in which each seed has its own place.
        """
        z = self.latents(seeds)
        result = torch.empty(len(seeds), *self.spec.sample.lengths)
        # each seed goes into the first block in which its place is free
        blocks: list[dict[int, int]] = []
        used = [0] * BLOCK
        for index, seed in enumerate(seeds):
            place = seed % BLOCK
            if used[place] == len(blocks):
                blocks.append({})
            blocks[used[place]][place] = index
            used[place] += 1
        for block in blocks:
            places = torch.tensor(list(block))
            taken = list(block.values())
            block_z = torch.zeros(BLOCK, self.latent.count)
            block_z[places] = z[taken]
            block_labels = None
            if labels is not None:
                block_labels = torch.zeros(BLOCK, labels.shape[1], dtype=torch.int64)
                block_labels[places] = labels[taken]
            result[taken] = self._draw(block_z, block_labels)[places]
        return result

    def interpolate(
        self,
        first: int,
        last: int,
        frames: int = 8,
        label: Label | None = None,
        where: Mapping[str, Label] | None = None,
    ) -> Tensor:
        """The way from one seed's sample to another's, ends included: (frames, ...), as `sample` gives them.

        Normal latents are led along a great circle, since a straight line passes through lengths that such latents
        never have (White 2016); uniform ones go straight. label and where as in `sample`; what they leave open is drawn
        once, from the first seed. Raises ZerosumError for fewer than two frames, and as `sample` does.
        """
        if frames < 2 or min(first, last) < 0:
            raise ZerosumError("an interpolation has at least two frames, and seeds from 0 on")
        start, end = self.latents([first, last])
        way = spherical if self.latent.distribution == "normal" else torch.lerp
        z = torch.stack([way(start, end, share) for share in torch.linspace(0, 1, frames)])
        labels = self.draw_labels([first], self.constraint(label, where))
        return self.finished(self._draw(z, None if labels is None else labels.expand(frames, -1)))

    def _draw(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.draw(z, Condition(labels)).clamp(-1, 1)

    def extremes(self, seeds: Sequence[int]) -> tuple[float, float]:
        made = self.draw(self.latents(seeds), Condition(self.draw_labels(seeds, {})))
        return made.min().item(), made.max().item()

    def ways(self) -> tuple[Tensor, list[str], int] | None:
        """They show whether a generator has learnt the data or some samples of it.

        With labels, the same way under combinations that are evenly chosen; without, ways between different latents.
        """
        if not self.modality.shows_ways:
            return None
        spec, names, rows = self.spec, list[str](), list[Tensor]()
        if self.conditional:
            for combination in spec.combinations[:: -(-len(spec.combinations) // WAYS)]:
                labels = zip(spec.labels.items(), combination, strict=True)
                where = {name: values[index] for (name, values), index in labels}
                rows.append(self.interpolate(0, 1, STATIONS, where=where))
                names.append(spec.describe(combination))
        else:
            for seed in range(0, 2 * WAYS, 2):
                rows.append(self.interpolate(seed, seed + 1, STATIONS))
                names.append(f"seeds {seed} and {seed + 1}")
        return torch.cat(rows), names, STATIONS

    def write(self, order: Order) -> Path:
        if order.given is not None or order.actions is not None:
            said = "--from" if order.actions is None else "--action"
            raise ZerosumError(f"{at_door(said, 'write()')}: this generator starts from nothing given: {self.usage}")
        if order.to is not None:
            raise ZerosumError(f"{option('to')} {order.to}: this generator starts from nothing given: {self.usage}")
        if order.seeds is not None:
            return self._write_each(order, order.seeds)
        ending = self.modality.endings[0]
        place = order.out or order.folder / f"samples-{order.n}{ending}"
        self.modality.check_path(place)
        blocks = track(self.stream(range(order.n), order.label, order.where), -(-order.n // 256), "blocks of 256")
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            self.modality.write(blocks, order.n, self.spec, place)
        return place

    def _write_each(self, order: Order, seeds: Sequence[int]) -> Path:
        """One file for each seed, in a folder."""
        place, ending = order.out or order.folder / "samples-by-seed", self.modality.endings[0]
        each = (one[None] for samples, _ in self.stream(seeds, order.label, order.where) for one in samples)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            for seed, one in zip(seeds, track(each, len(seeds), self.modality.plural), strict=True):
                self.modality.write_one(one, self.spec, place / f"seed{seed:04d}{ending}")
        return place


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Context: the network is in evaluation mode, as it was before afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Context: what cannot be written becomes a ZerosumError that names the place."""
    try:
        yield
    except (OSError, ValueError) as error:  # a suffix of no picture, for one
        raise ZerosumError(f"cannot write to {place}: {getattr(error, 'strerror', None) or error}") from None


def named(network: nn.Module) -> str:
    """Its class and size: "Generator with 12,345 weights"."""
    return f"{type(network).__name__} with {sum(weight.numel() for weight in network.parameters()):,} weights"


def spherical(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """From start (D,) at share 0 to end (D,) at share 1 along the great circle between their directions.

    Lengths change evenly on the way. Directions that are the same or opposite, or none, give no circle: then straight.
    """
    lengths: tuple[Tensor, Tensor] = start.norm(), end.norm()
    angle = torch.arccos((start @ end / (lengths[0] * lengths[1])).clamp(-1, 1))
    if not torch.sin(angle) > 1e-4:
        return torch.lerp(start, end, share)
    parts = torch.sin((1 - share) * angle) * start / lengths[0] + torch.sin(share * angle) * end / lengths[1]
    length = torch.lerp(lengths[0], lengths[1], share)
    return parts * (length / torch.sin(angle))


def _random(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng((seed, stream))
