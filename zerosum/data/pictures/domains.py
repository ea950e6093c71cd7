"""Two domains of pictures that belong together as domains only: no picture of one has a counterpart in the other.

They are the two values of a label: folders trainA, trainB, testA, testB (the layout of CycleGAN's data sets), two class
folders, or two values of a column of metadata.csv that data.attributes names.
"""

from dataclasses import dataclass

import numpy as np
import torch

from zerosum.data.pictures.source import PictureSource
from zerosum.data.pictures.spec import Input
from zerosum.data.source import Batch, Condition, Index, Lazy, on, positions
from zerosum.errors import ZerosumError, setting


@dataclass(frozen=True, repr=False)
class DomainSource(PictureSource):
    """A labelled source of two values, A and B, whose batches are pictures of B with some of A as their condition."""

    def batch(
        self, seed: int, draw: int, size: int, device: torch.device | str = "cpu", share: slice = slice(None)
    ) -> Batch:
        """The draw-th batch of each domain, from a shuffled and mirrored stream of its own."""
        drawn = []
        for domain in range(2):
            index = self.domain(domain)
            index = index[positions(len(index), 2 * seed + domain, draw * size, size)[share]]
            chances = None
            if self.augment is not None:
                random = np.random.default_rng((seed, 1, draw, domain))
                chances = on(device, random.random(size)[share])
            drawn.append(self.pick(index, device, chances).real)
        return Batch(drawn[1], Condition(given=drawn[0]))

    def domain(self, number: int) -> Index:
        """Positions of the pictures of domain A (0) or B (1)."""
        if self.labels is None:
            raise TypeError("domains without labels")
        return np.flatnonzero(self.labels[:, 0] == number)


def domain_source(source: PictureSource, where: str) -> DomainSource:
    """Both domains of a labelled source. where: begins messages. ZerosumError unless there are two, neither empty."""
    spec = source.spec
    if source.labels is None or isinstance(source.images, Lazy):
        raise ZerosumError(f"{where}: data.input = domains: expected folders trainA and trainB, both with pictures")
    if spec.sizes != (2,):
        found = "; ".join(f"{name}: {', '.join(values[:5])}" for name, values in spec.labels.items())[:200]
        raise ZerosumError(
            f"{where}: data.input = domains: expected two domains, folders trainA and trainB, but it has {found}; to "
            f"take one column of a metadata.csv: {setting('data.attributes', {'name': None})}"
        )
    ((_, names),) = spec.labels.items()
    for number, name in enumerate(names):
        if not (source.labels == number).any():
            raise ZerosumError(f"{where}: domain {name} has no pictures")
    spec = spec.with_input(Input(spec.channels, range=spec.range))
    return DomainSource(source.stored, source.labels, spec, source.rows, augment=source.augment)
