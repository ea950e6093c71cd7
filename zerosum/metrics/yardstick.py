"""Choosing what to measure with: the feature network, and which real images are compared with."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from zerosum.data.pictures.arrays import ARRAY_DAMAGE, MOST, check_unpacked
from zerosum.data.pictures.drives import DriveSource
from zerosum.data.pictures.known import DOWNLOADS
from zerosum.data.pictures.source import PictureSource
from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError, suggest
from zerosum.metrics.evaluate import Images, Measure, Scores, Yardstick
from zerosum.metrics.features import Extractor, Reals, from_module, random_features, texture_features
from zerosum.metrics.pictures.classifier import classifier
from zerosum.metrics.pictures.domains import PileYardstick
from zerosum.metrics.pictures.driving import DrivingYardstick
from zerosum.metrics.pictures.inception import load_inception
from zerosum.metrics.pictures.paired import PairedYardstick
from zerosum.metrics.scores import Moments, frechet_distance
from zerosum.metrics.vocabulary import few_images, score_name
from zerosum.networks import import_network
from zerosum.progress import note
from zerosum.recipe import Data

FEATURES = ("auto", "classifier", "random", "texture", "inception")
#: a class with fewer training images teaches no classifier
ENOUGH = 20

Against = Literal["test", "train"]


def make_yardstick(
    source: PictureSource,
    held_out: PictureSource | None,
    features: str | nn.Module = "auto",
    *,
    against: Against = "test",
    name: str | None = None,
    device: torch.device | None = None,
    inception: Path | None = None,
    bf16: bool = False,
) -> Yardstick:
    """The yardstick for generators of this data.

    source: the training images. held_out: those of the test split; where there are none, one half of the training
    images is compared with, and the other half is their floor and teaches the classifier. against: "train" compares
    with the training images instead, as the field's fid50k_full does. name: of a known data set. Raises ZerosumError
    for features that this data cannot have.
    """
    training = Reals.of(source, "train")
    other, testing = (
        (training.half(0), training.half(1)) if held_out is None else (training, Reals.of(held_out, "test"))
    )
    if against not in ("test", "train"):
        raise ZerosumError(f"against = {against}: choose test or train")
    sizes = [(data.spec.channels, data.spec.native) for data in (source, held_out or source)]
    if sizes[0] != sizes[1]:
        train, test = (f"{channels}x{side}x{side}" for channels, side in sizes)
        raise ZerosumError(f"the training images are {train}, those of the test split {test}: make them alike")
    device = device or torch.device("cpu")
    if features == "classifier" or (features == "auto" and has_usable_labels(source)):
        taught, tested = other, testing
        if held_out is not None and held_out.labels is None:  # which then cannot tell how good the classifier is
            taught, tested = training.half(0), training.half(1)
        extractor = _trained(features, taught, tested, name, device, bf16)
    else:
        extractor = choose_extractor("random" if features == "auto" else features, source.spec, device, inception)
    if against == "train":
        if held_out is None:
            raise ZerosumError("this data has no test split: there would be no floor to compare training images with")
        return Yardstick(extractor, training, testing, training)
    return Yardstick(extractor, testing, other, training)


def pictured_yardstick(
    data: Data,
    source: PictureSource,
    held_out: PictureSource | None,
    features: str | nn.Module,
    device: torch.device,
    inception: Path | None = None,
) -> Measure:
    """The yardstick for generators that start from pictures: images are made of the held-out ones, in their order.

    auto: texture features, since a blur is what goes wrong where the picture says what is to be seen. Raises
    ZerosumError for features = classifier: labels say nothing of sharpness.
    """
    if isinstance(source, DriveSource):
        return DrivingYardstick(source, held_out if isinstance(held_out, DriveSource) else source)
    if data.input == "pile":
        return PileYardstick(make_yardstick(source, held_out, features, device=device))
    if features == "classifier":
        raise ZerosumError(
            "features = classifier: images made from pictures have no labels; use texture, random or Inception"
        )
    chosen = "texture" if features == "auto" else features
    return PairedYardstick.of(source, held_out, choose_extractor(chosen, source.spec, device, inception))


def choose_extractor(
    features: str | nn.Module, spec: PictureSpec, device: torch.device, inception: Path | None = None
) -> Extractor:
    """A network that needs no training images: random, texture, inception, a module, or `package.module:Class`."""
    if isinstance(features, nn.Module):
        return from_module(features, device)
    if ":" in features:
        kind = import_network(features, "features")
        try:
            return from_module(kind(), device)
        except TypeError as error:
            raise ZerosumError(f"features '{features}' cannot be made without arguments: {error}") from None
    if features == "random":
        return random_features(spec.channels, spec.native, device)
    if features == "texture":
        return texture_features(spec.channels, spec.native, device)
    if features == "inception":
        if spec.channels not in (1, 3):
            raise ZerosumError("features = inception: it reads grey or colour images, these have an alpha channel")
        network = load_inception(inception).to(device)
        return Extractor("inception", network, device, "TensorFlow 1 bilinear to 299x299", sizes=(1008,), batch=16)
    raise ZerosumError(f"unknown features '{features}': {suggest(features, FEATURES)}")


def _trained(
    features: str, training: Reals, testing: Reals, name: str | None, device: torch.device, bf16: bool
) -> Extractor:
    """The classifier of the data; with auto, random features where the labels teach no good one."""
    if training.source.labels is None:
        raise ZerosumError("features = classifier: this data has no labels; use random features or Inception")
    try:
        return classifier(training, testing, name, device, bf16)
    except ZerosumError as error:
        if features != "auto":
            raise
        note(f"{error}. Going on with random features")
        return random_features(training.source.spec.channels, training.source.spec.native, device)


def has_usable_labels(source: PictureSource) -> bool:
    """Whether every value of every attribute has enough images, and some attribute more than one value."""
    if source.labels is None or not any(size > 1 for size in source.spec.sizes):
        return False
    columns = zip(source.labels.T, source.spec.sizes, strict=True)
    return all(int(np.bincount(column, minlength=size).min()) >= ENOUGH for column, size in columns)


def known_name(uri: str | None) -> str | None:
    """The well-known data set that a URI names, or a folder of that name holds."""
    stem = Path(uri).name if uri else None
    return stem if stem in (*DOWNLOADS, "digits") else None


def save_statistics(yardstick: Yardstick, path: Path) -> None:
    """Mean and covariance of the real images' features as `mu` and `sigma` of an .npz, the field's usual form."""
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
    for pixels, _ in fakes:
        features, _ = extractor.look(pixels)
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
