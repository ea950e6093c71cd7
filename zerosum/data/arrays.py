"""Arrays of any shape as a `Source`: quantities from -1 to 1, or whole numbers that are names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import Dataset

from zerosum.data.shape import Shape
from zerosum.data.source import Source, as_array, read_labels
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, first_line

#: the axes of samples by their number, where nothing is said of them
AXES = {
    1: ("column",),
    2: ("channel", "time"),
    3: ("channel", "height", "width"),
    4: ("channel", "depth", "height", "width"),
}
#: different whole numbers that are names at most
MOST_WORDS = 65_536
#: quantities are smaller
LARGEST = 2.0**63


def array_source(
    samples: Any,
    labels: Any = None,
    names: Mapping[str, Sequence[str]] | None = None,
    values: str | None = None,
    axes: Sequence[str] | None = None,
) -> Source:
    """See `zerosum.modalities.make_source`."""
    stored = as_array(gathered(samples), "samples")
    if stored.ndim < 2 or 0 in stored.shape:
        raise ZerosumError(f"samples have shape {stored.shape}: they should be (N, ...), with an axis beside the first")
    if stored.dtype.kind not in "biuf":
        raise ZerosumError(f"samples are {stored.dtype}: they should be numbers")
    named = tuple(map(str, axes)) if axes is not None else AXES.get(stored.ndim - 1)
    if named is None or len(named) != stored.ndim - 1 or len(set(named)) != len(named):
        raise ZerosumError(f"samples of shape {stored.shape[1:]}: name each of their axes with axes=('channel', ...)")
    found = read_labels(labels, names, len(stored))
    shape, facts, encode = _described(stored, named, values)
    return Source(stored, found.integers, Spec("array", shape, *found[1:], facts=facts), encode=encode)


def _described(stored: Any, axes: tuple[str, ...], values: str | None) -> tuple[Shape, dict[str, Any], Any]:
    whole = stored.dtype.kind in "iu" and stored.dtype.itemsize >= 4
    if values is None and whole:
        raise ZerosumError(
            f"samples are {stored.dtype}, whole numbers: say whether they are quantities or names, as tokens are: "
            "make_source(samples, values='signed') or make_source(samples, values='one-hot')"
        )
    if values not in (None, "signed", "one-hot"):
        raise ZerosumError(f"values = {values!r}: should be 'signed' or 'one-hot'")
    lengths = dict(zip(axes, stored.shape[1:], strict=True))
    low, high = float(stored.min()), float(stored.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ZerosumError("samples hold NaN or infinity: leave such samples out, or fill them")
    if values == "one-hot":
        if stored.dtype.kind not in "iu" or low < 0 or high >= MOST_WORDS:
            raise ZerosumError(
                f"samples are {stored.dtype} from {low:g} to {high:g}: names are whole numbers from 0 to "
                f"{MOST_WORDS - 1:,}"
            )
        if "word" in axes:
            raise ZerosumError("axes: 'word' is that of the names themselves, which comes last: call yours otherwise")
        words = int(high) + 1
        return Shape({**lengths, "word": words}, "one-hot"), {"words": words}, Names(words)
    if not -LARGEST < low <= high < LARGEST:
        raise ZerosumError(f"samples have values from {low:g} to {high:g}: bring them to smaller units")
    if low == high:
        raise ZerosumError(f"all values of the samples are {low:g}: there is nothing to learn")
    if stored.dtype.kind == "f" and low >= -1 and high <= 1:
        low, high = -1.0, 1.0
    return Shape(lengths), {"range": [low, high]}, Quantities(low, high)


class Quantities:
    """Stored numbers to float32 from -1 to 1, and back."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, stored: Tensor) -> Tensor:
        if (self.low, self.high) == (-1.0, 1.0):
            return stored.float()
        scaled = (stored.double() - self.low) * (2 / (self.high - self.low)) - 1
        return scaled.float().clamp_(-1, 1)

    def back(self, samples: Tensor) -> Tensor:
        """float32, in the units of what was stored."""
        if (self.low, self.high) == (-1.0, 1.0):
            return samples
        return ((samples.double() + 1) * ((self.high - self.low) / 2) + self.low).float()


class Names:
    """Stored whole numbers (N, ...) to float32 (N, ..., words), one 1 among zeros, and back."""

    def __init__(self, words: int) -> None:
        self.words = words

    def __call__(self, stored: Tensor) -> Tensor:
        return one_hot(stored.long(), self.words).float()

    def back(self, samples: Tensor) -> Tensor:
        """int64 (N, ...)."""
        return samples.argmax(-1)


def gathered(samples: Any) -> Any:
    """Those of a torch.utils.data.Dataset as one array; anything else as it is."""
    return _of_dataset(samples) if isinstance(samples, Dataset) else samples


def _of_dataset(samples: Any) -> Any:
    """The samples of a data set, of whose items, where they are several things, the first is the sample."""
    try:
        count = len(samples)
    except (TypeError, NotImplementedError):
        raise ZerosumError("samples are a Dataset without a length: gather them into one array") from None
    if not count:
        raise ZerosumError("samples are a Dataset without an item")
    try:
        items = [samples[at] for at in range(count)]
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise ZerosumError(f"samples are a Dataset whose items raise {said}") from error
    firsts = [item[0] if isinstance(item, tuple | list) else item for item in items]
    try:
        return np.stack([np.asarray(one) for one in firsts])
    except ValueError as error:
        raise ZerosumError(f"samples of the Dataset differ in shape: {error}") from None
