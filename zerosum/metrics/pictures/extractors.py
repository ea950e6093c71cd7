"""Which network looks at pictures for scores."""

from pathlib import Path

import numpy as np
from torch import device, nn

from zerosum.data.pictures.known import DOWNLOADS
from zerosum.data.pictures.source import from_bytes
from zerosum.data.pictures.spec import pictured
from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, suggest
from zerosum.metrics.extractor import Extractor, from_module
from zerosum.metrics.pictures.features import OWN_SIZE, random_features, texture_features
from zerosum.metrics.pictures.inception import load_inception
from zerosum.networks import import_network

FEATURES = ("auto", "classifier", "random", "texture", "inception")
#: a class with fewer training images teaches no classifier
ENOUGH = 20


def choose_extractor(features: str | nn.Module, spec: Spec, where: device, inception: Path | None = None) -> Extractor:
    """A network that needs no training images: random, texture, inception, a module, or `package.module:Class`."""
    said = pictured(spec)
    if isinstance(features, nn.Module):
        return from_module(features, where, from_bytes, OWN_SIZE)
    if ":" in features:
        kind = import_network(features, "features")
        try:
            return from_module(kind(), where, from_bytes, OWN_SIZE)
        except TypeError as error:
            raise ZerosumError(f"features '{features}' cannot be made without arguments: {error}") from None
    if features == "random":
        return random_features(said.channels, said.native, where)
    if features == "texture":
        return texture_features(said.channels, said.native, where)
    if features == "inception":
        if said.channels not in (1, 3):
            raise ZerosumError("features = inception: it reads grey or colour images, these have an alpha channel")
        network = load_inception(inception).to(where)
        resized = "TensorFlow 1 bilinear to 299x299"
        return Extractor("inception", network, where, from_bytes, resized, sizes=(1008,), batch=16)
    raise ZerosumError(f"unknown features '{features}': {suggest(features, FEATURES)}")


def has_usable_labels(source: Source) -> bool:
    """Whether every value of every attribute has enough images, and some attribute more than one value."""
    if source.labels is None or not any(size > 1 for size in source.spec.sizes):
        return False
    columns = zip(source.labels.T, source.spec.sizes, strict=True)
    return all(int(np.bincount(column, minlength=size).min()) >= ENOUGH for column, size in columns)


def known_name(uri: str | None) -> str | None:
    """The well-known data set that a URI names, or a folder of that name holds."""
    stem = Path(uri).name if uri else None
    return stem if stem in (*DOWNLOADS, "digits") else None
