"""What one sample is, and how it looks outside of tensors: one file for each kind of data, a `Modality`."""

import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, suggest
from zerosum.modalities.modality import Modality
from zerosum.sections.data import Data

#: modality -> its module, which has a MODALITY; a new modality is one more entry
MODALITIES = {
    "picture": "zerosum.modalities.picture",
    "row": "zerosum.modalities.row",
    "array": "zerosum.modalities.array",
}


@cache
def modality(name: str) -> Modality:
    """The modality of this name; ZerosumError with the nearest names if there is none."""
    if name not in MODALITIES:
        raise ZerosumError(f"unknown modality '{name}': {suggest(name, MODALITIES)}")
    found: Modality = importlib.import_module(MODALITIES[name]).MODALITY
    return found


def modality_of(spec: Spec) -> Modality:
    """The modality of data that this spec describes."""
    return modality(spec.modality)


def parse_spec(values: dict[str, Any]) -> Spec:
    """A spec from data.json, also that of earlier versions, which knew pictures only. Raises as `Spec.parse`."""
    name = str(values.get("modality", "picture"))
    if name not in MODALITIES:
        raise ValueError(f"unknown modality {name!r}")
    return modality(name).parse(values)


def modality_of_samples(samples: Any) -> Modality:
    """The modality of samples that somebody hands over to be scored: a source, an array, or a place of files."""
    if isinstance(samples, Source):
        return modality_of(samples.spec)
    if isinstance(samples, str | Path):
        name = next((name for name in MODALITIES if modality(name).takes(Path(samples))), "picture")
        return modality(name)
    return modality("picture")


def open_source(data: Data, labelled: bool = True, split: str = "train") -> tuple[Source, list[str]]:
    """The source that a recipe's data section names, and one line for each thing worth telling; see `Modality.open`."""
    return modality(data.modality).open(data, labelled, split)


def make_source(
    samples: Any,
    labels: Any = None,
    names: Mapping[str, Sequence[str]] | None = None,
    native: int | None = None,
    mirror: bool = False,
    *,
    values: str | None = None,
    axes: Sequence[str] | None = None,
) -> Source:
    """A source from samples (N, ...) and whole-numbered labels (N, attributes) or (N,).

    samples: an array, a tensor, or a torch.utils.data.Dataset with a length. Those of four axes that are like pictures
    are taken for some (see zerosum.data.pictures.source), all others are arrays. values: of arrays: "signed" for
    quantities, which are brought to -1 to 1 by the lowest and the highest of them all, "one-hot" for whole numbers that
    are names, such as tokens. axes: names of an array's axes; without them by their number. labels: an array, a tensor
    or a list. names: attribute -> names of its values; without it one attribute "class" with values "0", "1", ...
    native, mirror: of pictures, see `zerosum.data.pictures.source.make_source`. Raises ZerosumError for samples that do
    not fit together.
    """
    from zerosum.data import arrays
    from zerosum.data.pictures import source as pictures

    samples = arrays.gathered(samples)
    if values is None and axes is None and pictures.are_pictures(samples):
        return pictures.make_source(samples, labels, names, native, mirror)
    if native is not None or mirror:
        raise ZerosumError("native and mirror are for pictures, which these samples are not")
    return arrays.array_source(samples, labels, names, values, axes)
