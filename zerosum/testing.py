"""For those who add parts of their own: whether a source, a network or a modality fits, said before any training.

Each looks with what training itself checks by. Raises ZerosumError, in one line, for what does not fit.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from zerosum.data.source import Source, check_kind
from zerosum.engine.runs.run import Run
from zerosum.errors import ZerosumError, first_line, kind_of
from zerosum.modalities import modality_of
from zerosum.modalities.modality import Modality
from zerosum.recipe import Recipe
from zerosum.sections.data import Data

#: samples that are looked at
FEW = 8
#: networks of the package that take samples of any shape stand opposite the one that is looked at
OPPOSITE = {"network": "mlp", "first": 16, "labels": 16, "hidden": [16]}


def check_source(source: Any) -> None:
    """Whether training can learn from a source: its samples, labels and spec fit together and with its modality."""
    check_kind(source)
    modality_of(source.spec).check(source)
    first, again = (source.batch(0, 1, min(FEW, len(source))).real for _ in range(2))
    source.spec.sample.check(first, "what the source gives")
    if not torch.equal(first, again):
        raise ZerosumError("the source gives other samples for the same seed and batch: runs could not be resumed")


def check_network(
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    *,
    source: Source,
    recipe: Recipe | None = None,
) -> None:
    """Whether own networks can be trained on a source: what they are called with and return, gradients, and one step.

    recipe: whose latents, condition and losses they meet; without one, 100 latents, no labels and the non-saturating
    loss. Weights, buffers and random numbers stay as they are. Where one network is given, another of the package
    plays against it, which takes samples of quantities or names.
    """
    if generator is None and critic is None:
        raise ZerosumError("no network to look at: generator=..., critic=... or both")
    if recipe is None:
        recipe = Recipe.parse({"name": "check", "batch": min(FEW, len(source)), "device": "cpu", "precision": "fp32"})
        opposite = {"generator": generator, "critic": critic}
        changes: dict[str, Any] = {name: dict(OPPOSITE) for name, network in opposite.items() if network is None}
        recipe = recipe.with_overrides({"data.modality": source.spec.modality} | changes)
    Run.prepare(recipe, source, generator, critic)


def check_modality(modality: Any, source: Any = None, *, data: Data | None = None) -> None:
    """Whether a modality does what the engine asks of it, with samples of a source, or of what its section names."""
    if not isinstance(modality, Modality):
        raise ZerosumError(f"modality is {kind_of(modality)}: it should be an instance of a subclass of Modality")
    name = getattr(modality, "name", None)
    where = f"modality {name}"
    if not isinstance(name, str):
        raise ZerosumError(f"{type(modality).__name__} has no name: the one it has in zerosum.modalities.MODALITIES")
    if (source is None) == (data is None):
        raise ZerosumError(f"{where}: give a source, or the data section of one, to look at it with")
    if data is not None:
        source = _tried(where, "open", modality.open, data)
        if not (isinstance(source, tuple) and len(source) == 2):
            raise ZerosumError(f"{where}: open returns a {type(source).__name__}: it should be a source and its notes")
        source = source[0]
    check_kind(source)
    _tried(where, "check", modality.check, source)
    _check_spec(modality, source, where)
    _check_samples(modality, source, where)


def _check_spec(modality: Modality, source: Source, where: str) -> None:
    spec = source.spec
    if spec.modality != modality.name:
        raise ZerosumError(f"{where}: the spec says that its modality is {spec.modality}")
    try:
        plain = json.loads(json.dumps(spec.plain()))
    except (TypeError, ValueError) as error:
        raise ZerosumError(f"{where}: the spec cannot be written as JSON: {error}") from None
    parsed = _tried(where, "parse", modality.parse, plain)
    if parsed != spec:
        raise ZerosumError(f"{where}: parse gives another spec than the one that was written to JSON")


def _check_samples(modality: Modality, source: Source, where: str) -> None:
    spec, count = source.spec, min(FEW, len(source))
    samples = source.floats(np.arange(count))
    finished = _tried(where, "finished", modality.finished, samples, spec)
    if not isinstance(finished, torch.Tensor) or len(finished) != count:
        raise ZerosumError(f"{where}: finished should return a tensor with a row for each of {count} samples")
    scored = _tried(where, "scored", modality.scored, finished, spec)
    if not isinstance(scored, torch.Tensor) or len(scored) != count:
        raise ZerosumError(f"{where}: scored should return a tensor with a row for each of {count} samples")
    if not torch.equal(scored, modality.scored(finished, spec)):
        raise ZerosumError(f"{where}: scored gives something else the second time: scores could not be compared")
    _tried(where, "decode", modality.decode, finished, spec)
    across = min(modality.columns, count)
    for real in (None, finished):
        picture = _tried(where, "show", modality.show, finished, [], across, spec, real)
        if not isinstance(picture, Image.Image):
            raise ZerosumError(f"{where}: show returns a {type(picture).__name__}: it should be a PIL.Image.Image")
    if not getattr(modality, "endings", ()):
        raise ZerosumError(f"{where}: endings names no file that write makes")
    with TemporaryDirectory() as place:
        # pictures have dozens, of which not every computer can write each
        for ending in modality.endings[: len(modality.endings) if len(modality.endings) < FEW else 1]:
            path = Path(place) / f"samples{ending}"
            _tried(where, f"write({ending})", modality.write, [(finished, None)], count, spec, path)
            if not path.is_file():
                raise ZerosumError(f"{where}: write makes no file samples{ending}, though endings names it")
        one = Path(place) / f"one{modality.endings[0]}"
        _tried(where, "write_one", modality.write_one, finished[:1], spec, one)
        if not one.is_file():
            raise ZerosumError(f"{where}: write_one makes no file {one.name}")


def _tried(where: str, what: str, function: Any, *arguments: Any) -> Any:
    """What it returns; whatever it raises becomes one line, with its traceback in Python."""
    try:
        return function(*arguments)
    except NotImplementedError:
        raise ZerosumError(f"{where}: {what} is missing: every modality has one") from None
    except ZerosumError:
        raise
    except Exception as error:
        raise ZerosumError(f"{where}: {what} raised {type(error).__name__}: {first_line(error)}") from error
