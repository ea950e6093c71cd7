"""Choosing what generated samples are measured against, and the statistics of real ones in files."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from zerosum.data.pictures.arrays import ARRAY_DAMAGE, MOST, check_unpacked
from zerosum.data.source import Source
from zerosum.errors import ZerosumError
from zerosum.metrics.evaluate import Yardstick
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.features import Reals
from zerosum.metrics.own import Kept, with_own
from zerosum.metrics.request import USUAL, Drawer, Looking, Request
from zerosum.metrics.result import Images, Measure, Scores
from zerosum.metrics.scores import Moments, frechet_distance
from zerosum.metrics.vocabulary import few_images, score_name
from zerosum.modalities import modality_of
from zerosum.modalities.modality import Modality
from zerosum.progress import told, track
from zerosum.recipe import GIVEN
from zerosum.sections.data import Data

Against = Literal["test", "train"]

#: features that fit the data, on the processor
ANYHOW = Looking()


def make_yardstick(
    source: Source,
    held_out: Source | None,
    looking: Looking = ANYHOW,
    *,
    against: Against = "test",
    data: Data | None = None,
) -> Yardstick:
    """The yardstick for generators of this data.

    source: the training samples. held_out: those of the test split; where there are none, one half of the training
    images is compared with, and the other half is their floor and teaches the classifier. against: "train" compares
    with the training samples instead, as the field's fid50k_full does. data: the recipe's section, where it is known.
    Raises ZerosumError for features that this data cannot have.
    """
    training = Reals.of(source, "train")
    other, testing = (
        (training.half(0), training.half(1)) if held_out is None else (training, Reals.of(held_out, "test"))
    )
    if against not in ("test", "train"):
        raise ZerosumError(f"against = {against}: choose test or train")
    sizes = [reals.samples(0, 1).shape[1:] for reals in (training, testing)]
    if sizes[0] != sizes[1]:
        train, test = ("x".join(map(str, size)) for size in sizes)
        raise ZerosumError(f"training samples are {train}, those of the test split {test}: make them alike")
    extractor = modality_of(source.spec).extractor(other, testing, data, looking)
    if against == "train":
        if held_out is None:
            raise ZerosumError("this data has no test split: there would be no floor to compare training samples with")
        return Yardstick(extractor, training, testing, training)
    return Yardstick(extractor, testing, other, training)


def score_alike(
    modality: Modality, drawer: Drawer, data: Data | None, source: Source | None, real: Any, asked: Request
) -> Scores:
    """`Modality.score_drawn` of samples that are compared as they come out, in no other form."""
    held_out = None
    if real is not None:
        source = real if isinstance(real, Source) else modality.open_alike(real, data, drawer.spec)
    elif source is None and data is not None and data.uri != GIVEN:
        source, held_out = modality.truth(data, told(modality.open_labelled(data)))
    if source is None:
        raise ZerosumError("the data of this run is your own source: pass it again, real=source, from Python")
    yardstick = make_yardstick(source, held_out, asked, against=asked.against, data=data)
    count = asked.n or min(USUAL, len(yardstick.training))
    labelled = drawer.conditional and drawer.spec.labels == yardstick.spec.labels
    return measured(yardstick, drawer.batches(count), count, labelled, asked)


def measured(yardstick: Measure, fakes: Images, count: int, labelled: bool, asked: Request) -> Scores:
    """Every score, with a progress bar; statistics of the real samples are written where they are asked for."""
    if asked.statistics is not None and isinstance(yardstick, Yardstick):
        save_statistics(yardstick, asked.statistics)
    kept = Kept(track(fakes, -(-count // 256), "scoring"))
    scores = yardstick.measure(kept if asked.own else kept.fakes, count, labelled)
    return with_own(scores, asked.own, kept, count, yardstick) if asked.own else scores


def save_statistics(yardstick: Yardstick, path: Path) -> None:
    """Mean and covariance of the real samples' features as `mu` and `sigma` of an .npz, the field's usual form."""
    moments = yardstick.real.moments
    if moments is not None:
        np.savez(path, mu=moments.mean.numpy(), sigma=moments.covariance.numpy())


def measure_against_statistics(extractor: Extractor, path: Path, fakes: Images, count: int) -> Scores:
    """The Frechet distance to a precomputed .npz with mu (D,) and sigma (D, D); nothing else can be known from it."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            check_unpacked(file, ["mu", "sigma"], MOST, path)
            mu, sigma = (torch.from_numpy(np.asarray(file[key], np.float64)) for key in ("mu", "sigma"))
        if not (mu.isfinite().all() and sigma.isfinite().all()):
            raise ValueError("NaN or infinity in it")
    except (*ARRAY_DAMAGE, AttributeError) as error:
        raise ZerosumError(f"{path}: no statistics file, an .npz with mu and sigma: {error}") from None
    moments: Moments | None = None
    for samples, _ in fakes:
        features, _ = extractor.look(samples)
        moments = Moments(features.shape[1]) if moments is None else moments
        if mu.shape != moments.mean.shape or sigma.shape != moments.scatter.shape:
            raise ZerosumError(
                f"{path} describes {mu.numel()} features, {extractor.name} gives {moments.mean.numel()}: "
                "it was made by another network"
            )
        moments.add(features)
    came = 0 if moments is None else moments.count
    if moments is None or came != count or count < 2:
        wrong = f"{came} images came where {count} were to be scored"
        raise ZerosumError(wrong if came != count else f"{count} images are too few to score")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    stamp: dict[str, Any] = {"network": extractor.name, "network_sha256": extractor.digest, "reads": extractor.reads}
    stamp |= {"real": digest, "real_split": "statistics", "fake_images": count, "seed": 0}
    value = frechet_distance(mu, sigma, moments.mean, moments.covariance)
    few = few_images(count, None)
    notes = () if few is None else (few,)
    return Scores({score_name("fid", count, extractor.name): value}, {}, {}, {}, stamp, notes=notes)
