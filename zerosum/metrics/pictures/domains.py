"""Scores of pictures translated between two domains: each direction against the real pictures of its target."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum.errors import ZerosumError
from zerosum.metrics.evaluate import Yardstick
from zerosum.metrics.features import Reals
from zerosum.metrics.result import Images, Scores
from zerosum.metrics.vocabulary import MEANING, kind_of, score_name

#: scores that say something of one direction alone
KINDS = (
    *("fid", "kid", "precision", "recall", "density", "coverage", "diversity", "sharpness"),
    *("accuracy", "cross_entropy", "memorised"),
)
#: those that are told of each direction
OF_EACH = ("fid", "kid", "diversity", "accuracy")


class DomainsYardstick(Yardstick):
    """For pictures of two domains, each made into one of the other, which is its label.

    Every score is the mean of both directions. Of both domains together none would mean anything: they would be as near
    to the real ones if nothing were translated. What the untranslated pictures get stands beside, as a baseline.
    """

    def __init__(self, own: Yardstick) -> None:
        super().__init__(own.extractor, own.reference, own.other, own.training)
        ((_, self.domains),) = self.spec.labels.items()
        self.directions = [
            Yardstick(own.extractor, *(_domain(reals, number) for reals in (own.reference, own.other, own.training)))
            for number in range(2)
        ]

    @property
    def most(self) -> int:
        return len(self.reference)

    def stamp(self, count: int) -> dict[str, Any]:
        return super().stamp(count) | {"mean_of": " and ".join(f"to {name}" for name in self.domains)}

    def measure(self, fakes: Images, count: int, labelled: bool = True, cheap: bool = False) -> Scores:
        """As `Yardstick.measure`; each domain with its own scores, and with those of real and of unchanged pictures."""
        made: list[list[Tensor]] = [[], []]
        for pixels, labels in fakes:
            if labels is None:
                raise ZerosumError("translated pictures are scored by the domain that each should belong to: its label")
            for number, domain in enumerate(made):
                domain.append(pixels[labels[:, 0] == number])
        domains = [torch.cat(domain) if domain else torch.zeros(0) for domain in made]
        if sum(map(len, domains)) != count:
            raise ZerosumError(f"{sum(map(len, domains))} images came where {count} were to be scored")
        parts = self._parts(domains, cheap)
        scores = self._mean(parts, count)
        if cheap:
            return scores
        given = [self.directions[1 - number].reference for number in range(2)]
        before = self._parts(
            [one.samples(0, min(len(one), len(domain))) for one, domain in zip(given, domains, strict=True)]
        )
        unchanged = self._mean(before, count).scores
        classes = {
            name: values
            | {
                f"{kind}, real": value
                for kind, value in _kinds(part.floor).items()
                if kind in ("fid", "kid", "accuracy")
            }
            | {f"{kind}, unchanged": old.value(kind) for kind in ("fid", "kid", "accuracy") if kind in values}
            for (name, values), part, old in zip(scores.classes.items(), parts, before, strict=True)
        }
        return replace(scores, classes=classes, baselines={"unchanged": unchanged})

    def _parts(self, domains: Sequence[Tensor], cheap: bool = False) -> list[Scores]:
        """Scores of each direction, from its pictures (N, channels, side, side) uint8."""
        result = []
        for number, (yardstick, pixels) in enumerate(zip(self.directions, domains, strict=True)):
            labels = torch.full((len(pixels), 1), number)
            batches = zip(torch.split(pixels, 256), torch.split(labels, 256), strict=True) if len(pixels) else ()
            result.append(yardstick.measure(batches, len(pixels), True, cheap))
        return result

    def _mean(self, parts: Sequence[Scores], count: int) -> Scores:
        values, floors, errors = ([_kinds(of) for of in each] for each in zip(*map(_numbers, parts), strict=True))

        def named(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
            found = [kind for kind in MEANING if kind in KINDS and all(kind in of for of in each)]
            return {score_name(kind, count, self.extractor.name): sum(of[kind] for of in each) / 2 for kind in found}

        # of a mean of two independent values
        spread = [{kind: value / math.sqrt(2) for kind, value in of.items()} for of in errors]
        classes = {
            name: {kind: of[kind] for kind in OF_EACH if kind in of}
            for name, of in zip(self.domains, values, strict=True)
        }
        seconds = {key: sum(part.seconds.get(key, 0.0) for part in parts) for key in parts[0].seconds}
        pairs = [part.pairs for part in parts if part.pairs is not None]
        return Scores(
            named(values),
            named(spread),
            named(floors),
            classes,
            self.stamp(count),
            seconds,
            torch.cat(pairs) if pairs else None,
            notes=tuple(
                f"to {name}: {line}" for name, part in zip(self.domains, parts, strict=True) for line in part.notes
            ),
        )


def _numbers(scores: Scores) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    return scores.scores, scores.floor, scores.errors


def _kinds(values: Mapping[str, float]) -> dict[str, float]:
    return {kind_of(name): value for name, value in values.items()}


def _domain(reals: Reals, number: int) -> Reals:
    """The real pictures of one domain. Raises ZerosumError for fewer than two."""
    labels = reals.source.labels
    if labels is None:
        raise TypeError("domains without labels")
    order = reals.order[np.flatnonzero(labels[reals.order, 0] == number)]
    if len(order) < 2:
        ((_, domains),) = reals.source.spec.labels.items()
        raise ZerosumError(
            f"domain {domains[number]} has {len(order)} pictures of {reals.split}: too few to compare with"
        )
    return Reals(reals.source, reals.split, order)
