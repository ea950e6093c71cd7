"""From two piles of images to named, stamped scores with their floor."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zerosum.data.cache import cache_folder, keep
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.extras import Extra
from zerosum.metrics.features import MOST, Reals
from zerosum.metrics.result import Images, Scores
from zerosum.metrics.scores import (
    LabelReader,
    Moments,
    Nearest,
    frechet_distance,
    kernel_distance,
    manifold,
    nearest,
)
from zerosum.metrics.vocabulary import MEANING, few_images, score_name
from zerosum.modalities import modality_of

#: changes whenever a formula or a default does, so that old and new numbers are not compared
DEFINITIONS = 1
#: images that scores by pairs look at; the others look at all
PAIRED = 10_000
#: values of generated samples that are kept to show the closest pairs
KEPT = 2**28
#: training samples among which a cheap score looks for copies
CHEAP = 10_000
#: images of a class below which it has no scores of its own, and of a set below which its neighbours say nothing: the
#: ball of the fifth neighbour would hold most of it
FEWEST = 10
#: training samples below which nothing can be called a copy: copies are nearer to one of them than it is to the others
COMPARED = 3
#: images in each split of the Inception score at least: of n images a split reaches n at most
SPLIT = 5
#: changes when floors hold other numbers under the same stamp
FLOORS = 2

#: the scores by neighbours of a set in itself
NEIGHBOURS = ("precision", "recall", "density", "coverage")


class Tally:
    """All that is kept of a pile of images: moments, overall and in each class, some features, and label readings."""

    def __init__(self, extractor: Extractor, combinations: Sequence[tuple[int, ...]], total: int) -> None:
        self.extractor, self.combinations = extractor, list(combinations)
        self.moments: Moments | None = None
        self.classes: list[Moments] = []
        self.class_right = torch.zeros(len(combinations))
        self.class_count = torch.zeros(len(combinations))
        self.reader = LabelReader(extractor.sizes, total) if extractor.sizes else None
        self.kept: list[Tensor] = []
        self.count = 0

    def add(self, features: Tensor, logits: Tensor | None, labels: Tensor | None) -> None:
        size = features.shape[1]
        if self.moments is None:
            self.moments = Moments(size)
            few = len(self.combinations) * size**2 * 8 <= 2**30
            self.classes = [Moments(size) for _ in self.combinations] if few else []
        self.moments.add(features)
        if self.count < PAIRED:
            self.kept.append(features[: PAIRED - self.count].clone())
        self.count += len(features)
        right = None
        if self.reader is not None and logits is not None:
            right = self.reader.add(logits, labels if self.extractor.labelled else None)
        for index, combination in enumerate(self.combinations if labels is not None else ()):
            here = torch.eq(labels, torch.tensor(combination)).all(1)  # type: ignore[arg-type]
            self.class_count[index] += here.sum()
            if self.classes:
                self.classes[index].add(features[here])
            if right is not None:
                self.class_right[index] += right[here].sum()

    @property
    def features(self) -> Tensor:
        """(up to PAIRED, D)"""
        return torch.cat(self.kept)

    @property
    def flat(self) -> bool:
        """Whether all images are equal."""
        return self.moments is None or self.moments.is_flat


class Yardstick:
    """Real samples, seen by a feature network: what generated samples are measured against.

    reference: the real samples to compare with, held-out ones by choice. other: further real samples, whose scores
    against the reference are the floor. training: where copies are looked for.
    """

    def __init__(self, extractor: Extractor, reference: Reals, other: Reals, training: Reals) -> None:
        self.extractor, self.reference, self.other, self.training = extractor, reference, other, training
        self.spec: Spec = training.source.spec
        self.modality = modality_of(self.spec)
        self.combinations = reference.source.spec.combinations
        self.full = reference is training
        self.real = Tally(extractor, self.combinations, len(reference))
        for features, logits, labels in reference.looked_at(extractor, MOST):
            self.real.add(features, logits, labels)
        if self.real.count < 2 or self.real.moments is None:
            count = "1 real sample" if self.real.count == 1 else f"{self.real.count} real samples"
            raise ZerosumError(
                f"{count} ({reference.split}) to compare with: too few; it takes 2, or 3 where there is no test split"
            )
        self._floors: dict[tuple[int, bool, bool], dict[str, float]] = {}

    @property
    def most(self) -> int:
        """Generated samples that can be scored."""
        return MOST

    def stamp(self, count: int) -> dict[str, Any]:
        """Equal for two scores if and only if they may be compared."""
        return {
            "definitions": DEFINITIONS,
            "network": self.extractor.name,
            "network_sha256": self.extractor.digest,
            **self.extractor.facts,
            "reads": self.extractor.reads,
            **self.modality.stamp(self.spec),
            "real": self.reference.identity,
            "real_split": self.reference.split,
            "real_images": len(self.reference),
            "training": self.training.identity,
            "fake_images": count,
            "seed": 0,
        }

    def measure(self, fakes: Images, count: int, labelled: bool, cheap: bool = False) -> Scores:
        """Scores of `count` generated samples, which come as batches (N, ...), as scores look at them, with labels.

        labelled: the labels are what was asked of the generator. cheap: only what a curve during training needs. Raises
        ZerosumError for images that cannot be compared with the real ones.
        """
        seconds: dict[str, float] = {}
        clock = _Clock(seconds)
        tally = Tally(self.extractor, self.combinations if labelled else (), count)
        kept: list[Tensor] = []
        extras = self.modality.extras(self.spec)
        for samples, labels in fakes:
            clock("making images")
            self._check(samples)
            for extra in extras:
                extra.add(samples)
            if (
                self.modality.shows_pairs
                and not cheap
                and sum(map(len, kept)) < min(PAIRED, KEPT // samples[0].numel())
            ):
                kept.append(samples)
            tally.add(*self.extractor.look(samples), labels if labelled else None)
            clock("looking at them")
        if tally.count != count:
            raise ZerosumError(f"{tally.count} images came where {count} were to be scored")
        values, errors, classes = self._compare(tally, clock, cheap)
        values |= self._beyond(extras)
        copies, training = None, self._few if cheap else self.training.features(self.extractor, MOST)
        if len(training) > 1:
            copies = nearest(training, tally.features)
            values["memorised"] = _copied(copies, training)
        clock("nearest training samples")
        floor = self.floor(count, labelled, cheap)
        clock("floor")

        def named(of: dict[str, float]) -> dict[str, float]:
            return {
                score_name(kind, count, self.extractor.name, self.full and self.extractor.name == "inception"): of[kind]
                for kind in MEANING
                if kind in of and kind in values
            }

        pairs = self._closest(kept, copies) if copies is not None and kept else None
        stamp = self.stamp(count)
        notes = tuple(self._notes(tally, values))
        return Scores(named(values), named(errors), named(floor), classes, stamp, seconds, pairs, notes=notes)

    def _notes(self, fake: Tally, values: Mapping[str, float]) -> Iterator[str]:
        """Few images, and why some scores have no value."""
        if (few := few_images(fake.count, self.real.count)) is not None:
            yield few
        missing = [kind for kind in MEANING if math.isnan(values.get(kind, 0.0))]
        equal = [name for name, pile in (("generated", fake), ("real", self.real)) if pile.flat]
        if missing:
            why = [f"all {name} samples are equal" for name in equal]
            if (fewest := min(fake.count, self.real.count, len(self.training))) < FEWEST:
                why.append(f"neighbours take {FEWEST} images of each kind, here are {fewest}")
            if "inception_score" in missing:
                why.append(f"the Inception score takes {SPLIT * LabelReader.SPLITS}")
            yield f"no value for {', '.join(missing)}" + (f": {'; '.join(why)}" if why else "")

    @cached_property
    def _few(self) -> Tensor:
        """Features of the training samples among which cheap scores look for copies, again and again."""
        return self.training.features(self.extractor, CHEAP)

    @cached_property
    def _shape(self) -> torch.Size:
        """Of one sample as scores look at it."""
        return self.reference.samples(0, 1).shape[1:]

    @cached_property
    def _extras(self) -> list[Extra]:
        return self._extras_of(self.reference, MOST)

    def _extras_of(self, reals: Reals, count: int) -> list[Extra]:
        """What scores of this kind of data know of the first `count` real samples."""
        extras = self.modality.extras(self.spec)
        for extra in extras:
            for samples, _ in reals.batches(min(count, extra.most, len(reals))):
                extra.add(samples)
        return extras

    def _beyond(self, extras: Sequence[Extra]) -> dict[str, float]:
        """The scores that this kind of data has beyond the general ones."""
        pairs = zip(extras, self._extras, strict=True)
        return {kind: value for extra, real in pairs for kind, value in extra.compare(real).items()}

    def floor(self, count: int, labelled: bool, cheap: bool) -> dict[str, float]:
        """What `count` further real samples get (fewer where there are fewer), kept in the cache.

        Accuracy and copies of the floor are measured on the reference: the classifier was trained on the other images,
        and copies are searched among them.
        """
        key = (count, labelled, cheap)
        if key not in self._floors:
            place = self._floor_file(key)
            try:
                self._floors[key] = {name: float(value) for name, value in json.loads(place.read_text()).items()}
            except (OSError, ValueError, AttributeError):
                self._floors[key] = self._measure_floor(*key)
                text = json.dumps(self._floors[key])
                keep(place, lambda draft: draft.write_text(text))
        return self._floors[key]

    def kinds(self, count: int, labelled: bool, cheap: bool) -> set[str]:
        """Which scores there will be."""
        return {kind for kind, value in self.floor(count, labelled, cheap).items() if not math.isnan(value)}

    def _floor_file(self, key: tuple[int, bool, bool]) -> Path:
        parts = [json.dumps(self.stamp(key[0])), self.other.identity, key[1:], list(MEANING), FLOORS]
        return cache_folder() / "floors" / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.json"

    def _measure_floor(self, count: int, labelled: bool, cheap: bool) -> dict[str, float]:
        count = min(count, len(self.other))
        if count < 2:
            return {}
        tally = Tally(self.extractor, self.combinations if labelled else (), count)
        for chunk in self.other.looked_at(self.extractor, count):
            tally.add(*chunk)
        values, _, _ = self._compare(tally, _Clock({}), cheap)
        values |= self._beyond(self._extras_of(self.other, count))
        if labelled and self.extractor.labelled and self.combinations and self.real.reader is not None:
            values["accuracy"] = self.real.reader.accuracy
            values["cross_entropy"] = self.real.reader.cross_entropy
            there = self.real.class_count > 0
            values["worst_class_accuracy"] = float((self.real.class_right / self.real.class_count)[there].min())
        trained, fresh = (self.reference, self.other) if self.full else (self.other, self.reference)
        if min(len(trained), len(fresh)) > 1:
            known = trained.features(self.extractor, CHEAP if cheap else MOST)
            values["memorised"] = _copied(nearest(known, fresh.features(self.extractor, PAIRED)), known)
        return values

    def _compare(
        self, fake: Tally, clock: "_Clock", cheap: bool
    ) -> tuple[dict[str, float], dict[str, float], dict[str, dict[str, float]]]:
        """Values, errors, and the values inside each class."""
        real = self.real
        if fake.moments is None or real.moments is None or fake.count < 2:
            count = "1 image is" if fake.count == 1 else f"{fake.count} images are"
            raise ZerosumError(f"{count} too few to score: it takes 2")
        few = min(fake.count, real.count)
        values: dict[str, float] = {"fid": _frechet(real.moments, fake.moments)}
        errors: dict[str, float] = {}
        values["diversity"] = _spreads(fake.moments, real.moments)
        clock("Frechet distance")
        if not cheap:
            values["kid"], error = kernel_distance(real.features, fake.features)
            errors["kid"] = error if few >= 2 * FEWEST else math.nan  # from a few blocks it would be a guess
            clock("kernel distance")
            if few >= FEWEST and not (fake.flat or real.flat):
                values |= asdict(manifold(real.features, fake.features))
            else:
                values |= dict.fromkeys(NEIGHBOURS, math.nan)
            clock("precision, recall, density, coverage")
        classes = {self.spec.describe(row): self._inside(fake, index) for index, row in enumerate(fake.combinations)}
        classes = {name: inside for name, inside in classes.items() if inside}
        for kind, pick in (("fid", max), ("diversity", min)):
            found = [inside[kind] for inside in classes.values() if kind in inside]
            if found:
                values[f"class_{kind}"] = sum(found) / len(found)
                values[f"worst_class_{kind}"] = pick(found)
        if fake.reader is not None:
            enough = fake.count >= SPLIT * LabelReader.SPLITS
            values["inception_score"], errors["inception_score"] = (
                fake.reader.inception_score if enough else (math.nan, math.nan)
            )
            if self.extractor.labelled and not fake.combinations and real.reader is not None:
                ratios = (fake.reader.shares / real.reader.shares.clamp(min=1e-12)).tolist()
                classes = {name: {"share": ratio} for name, ratio in zip(self._values(), ratios, strict=True)}
                values["worst_class_share"] = min(ratios)
            if self.extractor.labelled and fake.combinations:
                values["accuracy"], values["cross_entropy"] = fake.reader.accuracy, fake.reader.cross_entropy
                values["worst_class_accuracy"] = min(
                    (inside["accuracy"] for inside in classes.values() if "accuracy" in inside), default=math.nan
                )
        clock("inside the classes")
        return values, {kind: value for kind, value in errors.items() if not math.isnan(value)}, classes

    def _inside(self, fake: Tally, index: int) -> dict[str, float]:
        """Scores of one class; none where one pile has too few images of it."""
        if not (fake.classes and self.real.classes):
            return {}
        real, made = self.real.classes[index], fake.classes[index]
        if min(real.count, made.count) < FEWEST:
            return {}
        inside = {"fid": _frechet(real, made)}
        if not real.is_flat:
            inside["diversity"] = _spreads(made, real)
        if self.extractor.labelled:
            inside["accuracy"] = float(fake.class_right[index]) / made.count
        return inside

    def _values(self) -> list[str]:
        """A name for each of the classifier's classes."""
        labels = self.spec.labels
        return [f"{name} {value}" if len(labels) > 1 else value for name in labels for value in labels[name]]

    def _check(self, samples: Tensor) -> None:
        if samples.shape[1:] != self._shape:
            made, real = ("x".join(map(str, shape)) for shape in (samples.shape[1:], self._shape))
            raise ZerosumError(
                f"generated samples are {made}, the real ones {real}: scores compare images of one size only"
            )

    def _closest(self, kept: list[Tensor], copies: Nearest, pairs: int = 20) -> Tensor:
        """(pairs, 2, ...): the generated samples most like copies, each with its training sample."""
        made = torch.cat(kept)
        order = copies.ratio[: len(made)].argsort()[:pairs].tolist()
        twins = [self.training.samples(place, place + 1)[0] for place in copies.index[order].tolist()]
        return torch.stack([torch.stack([made[one], twin]) for one, twin in zip(order, twins, strict=True)])


class _Clock:
    """Adds the time since its last call to the named part."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.before = seconds, time.perf_counter()

    def __call__(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self.before
        self.before = now


def _spreads(made: Moments, real: Moments) -> float:
    """The spread of features over that of real ones; NaN where those are all equal."""
    return math.nan if real.is_flat else made.spread / real.spread


def _copied(found: Nearest, training: Tensor) -> float:
    """The share of copies; NaN where training samples are too few, or all equal, to say what near is."""
    few = len(training) < COMPARED or Moments(training.shape[1]).add(training).is_flat
    return math.nan if few else found.memorised


def _frechet(one: Moments, other: Moments) -> float:
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def differences(stamp: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Why two scores must not be put side by side; nothing where they may be."""
    return [
        f"{key} is {stamp.get(key)} and {other.get(key)}"
        for key in dict.fromkeys([*stamp, *other])
        if stamp.get(key) != other.get(key)
    ]


def compare(named: Mapping[str, Scores]) -> list[str]:
    """The names from the best to the worst by Frechet distance; ZerosumError if the stamps differ.

    Accuracy ranks nothing: a generator that draws one perfect image of each class has all of it.
    """
    if not named:
        raise ZerosumError("there are no scores to compare")
    (first, reference), *rest = named.items()
    for name, scores in rest:
        reasons = differences(reference.stamp, scores.stamp)
        if reasons:
            raise ZerosumError(f"{first} and {name} cannot be compared: {'; '.join(reasons)}")
    return sorted(named, key=lambda name: (math.isnan(named[name].value("fid")), named[name].value("fid")))


def floor_of(named: Mapping[str, Scores]) -> dict[str, float]:
    """What real samples get in every score that some of these have; those of classes need a generator with labels."""
    return {name: value for scores in named.values() for name, value in scores.floor.items()}
