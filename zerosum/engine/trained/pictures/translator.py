"""A trained pair of generators between two domains of pictures: `Translator`."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zerosum.data.pictures.domains import DomainSource
from zerosum.engine.trained.pictures.painter import Painter
from zerosum.errors import ZerosumError, at_door, suggest
from zerosum.networks.directions import Generators


@dataclass(frozen=True, repr=False)
class Translator(Painter):
    """The averaged generators of a run with two domains, in evaluation mode and fp32; `toward` one of them paints."""

    @property
    def domains(self) -> tuple[str, str]:
        """Their names, A and B."""
        ((first, second),) = self.spec.labels.values()
        return first, second

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """A row of real pictures for each domain."""
        return list(self.spec.combinations)

    def toward(self, to: str | None = None) -> Painter:
        """The generator whose pictures belong to this domain, alone. Raises ZerosumError for any other name."""
        if to not in self.domains:
            known = " or ".join(at_door(f"--to {name}", f"toward({name!r})") for name in self.domains)
            wrong = "this generator has two directions" if to is None else f"unknown domain '{to}'"
            raise ZerosumError(f"{wrong}: {known if to is None else suggest(to, self.domains)}")
        if not isinstance(self.generator, Generators):
            raise ZerosumError("the generator of two domains is made of two: zerosum.networks.directions.Generators")
        one = self.generator.to_b if to == self.domains[1] else self.generator.to_a
        return Painter(one, self.spec, self.latent, False, self.device, self.held_out)

    def translate(self, picture: Tensor, seed: int = 0, to: str | None = None) -> Tensor:
        """One picture (C, H, W) in [-1, 1] of any size as one of the domain `to`, of the same size. See `Painter`."""
        return self.toward(to).translate(picture, seed)

    def batches(self, n: int, size: int = 64) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The first n held-out pictures, of both domains, each as one of the other, with that as its label."""
        for _, made, target in self._translated(n, size):
            yield self.modality.scored(self.finished(made), self.spec).contiguous(), target

    def cycle_error(self, n: int) -> float:
        """Mean absolute difference between the first n held-out pictures and what comes back of them, in [0, 255]."""
        total = 0.0
        for images, made, target in self._translated(n, 64):
            back = self._other(made, 1 - target)
            total += float((back - images).abs().mean((1, 2, 3)).sum()) * 127.5
        return total / n

    def exhibit(self) -> tuple[Tensor, list[str], int]:
        """The same held-out pictures every time: of A, as B, and back; then of B, as A, and back."""
        source, shown, columns = self._source(), list[Tensor](), self.modality.columns
        for domain in range(2):
            index = source.domain(domain)
            order = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0)).numpy()]
            images = source.pick(order[torch.arange(columns).numpy() % len(order)]).real
            there = self._other(images, torch.full((columns, 1), 1 - domain))
            shown += [images, there, self._other(there, torch.full((columns, 1), domain))]
        a, b = self.domains
        names = [a, f"{a} as {b}", f"{a} as {b}, back", b, f"{b} as {a}", f"{b} as {a}, back"]
        return self.finished(torch.cat(shown).cpu()), names, columns

    def _translated(self, n: int, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Pictures (N, C, side, side), what is made of them, and its labels (N, 1)."""
        source = self._source()
        order = source.positions(0, 0, len(source))[:n]
        for start in range(0, len(order), size):
            batch = source.pick(order[start : start + size])
            if batch.condition.labels is None:
                raise TypeError("domains without labels")
            target = 1 - batch.condition.labels
            yield batch.real, self._other(batch.real, target), target

    def _other(self, images: Tensor, target: Tensor) -> Tensor:
        """Each picture as one of its target (N, 1)."""
        made = torch.empty_like(images)
        for number, name in enumerate(self.domains):
            here = target[:, 0] == number
            if here.any():
                made[here] = self.toward(name).paint(images[here], range(int(here.sum())))
        return made

    def _source(self) -> DomainSource:
        if not isinstance(self.held_out, DomainSource):
            raise ZerosumError(self.usage)
        return self.held_out
