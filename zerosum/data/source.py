"""What training needs of data: a `Source` gives a `Batch` for any positions, and its `Spec` says what it is like."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, kind_of

Array = np.ndarray[Any, Any]
Index = np.ndarray[Any, np.dtype[np.int64]]


class Condition(NamedTuple):
    """What generator and critic are told beside z or a sample; each part is None where there is none of it."""

    #: int64 (N, attributes)
    labels: Tensor | None = None
    #: float32 (N, ...), a picture as the spec's `input` says
    given: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Condition":
        """The same with every part changed."""
        return Condition(*(None if part is None else change(part) for part in self))

    def shapes(self) -> str:
        """In words: "labels (64, 1)"."""
        parts = (f"{name} {tuple(part.shape)}" for name, part in self._asdict().items() if part is not None)
        return ", ".join(parts) or "no condition"


class Batch(NamedTuple):
    """Real samples (N, *lengths of the spec's `sample`), float32, with their condition."""

    real: Tensor
    condition: Condition = Condition()

    def __repr__(self) -> str:
        return f"Batch(real {tuple(self.real.shape)}, {self.condition.shapes()}, on {self.real.device})"

    @property
    def given(self) -> Tensor:
        """What is given, where something is."""
        if self.condition.given is None:
            raise TypeError("nothing is given in this batch")
        return self.condition.given


class Lazy(ABC):
    """Samples that are decoded when they are asked for: what stands in a `Source` where all of them are too many."""

    dtype: Any
    #: (N, ...)
    shape: tuple[int, ...]
    #: changes when the samples do
    digest: str

    @abstractmethod
    def __getitem__(self, index: Any) -> Array:
        """Those of a slice or an array of positions, (n, ...)."""

    @abstractmethod
    def positions(self, seed: int, start: int, count: int) -> Index:
        """As the function `positions`, in an order in which neighbours are cheap to read one after the other."""

    @abstractmethod
    def read_ahead(self, seed: int, position: int) -> None:
        """The stream of this seed will soon be read from this position on. Changes no result."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all samples, were they decoded."""
        return math.prod(self.shape) * int(np.dtype(self.dtype).itemsize)


def as_floats(stored: Tensor) -> Tensor:
    """Values that are what networks see already, as float32."""
    return stored.float()


@dataclass(frozen=True, repr=False)
class Source:
    """Samples with their labels, stored in any form, and what makes of them what networks see."""

    #: (N, ...) of any type: an array, in memory or memory-mapped, or `Lazy`
    stored: Any
    #: (N, attributes) int64, or None
    labels: Index | None
    spec: Spec
    #: the stored samples that count, where not all do; `labels` are theirs
    rows: Index | None = None
    #: stored samples (N, ...), on the device, to float32 (N, *lengths of the spec's `sample`)
    encode: Callable[[Tensor], Tensor] = as_floats
    #: what is done at random to samples (N, ...) of a training batch, from a random number in [0, 1) for each (N,)
    augment: Callable[[Tensor, Tensor], Tensor] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} samples {self.spec.summary()})"

    def __len__(self) -> int:
        return len(self.stored) if self.rows is None else len(self.rows)

    def unlabelled(self) -> Self:
        """The same samples without a word about their labels."""
        return replace(self, labels=None, spec=replace(self.spec, labels={}, combinations=(), counts=()))

    def only(self, index: Index) -> Self:
        """These samples alone, in this order; ZerosumError where they are decoded when they are asked for."""
        if isinstance(self.stored, Lazy):
            raise ZerosumError("data.hold_out: shards are held out whole: put some into a folder or file named test")
        rows = index if self.rows is None else self.rows[index]
        if self.labels is None:
            return replace(self, rows=rows)
        labels = self.labels[index]
        combinations, counts = np.unique(labels, axis=0, return_counts=True)
        spec = replace(self.spec, combinations=tuple(map(tuple, combinations.tolist())), counts=tuple(counts.tolist()))
        return replace(self, labels=labels, spec=spec, rows=rows)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the samples or their labels do. Of a large set it reads evenly spread ones."""
        digest = hashlib.sha256(repr((self.stored.shape, self.spec)).encode())
        if isinstance(self.stored, Lazy):
            digest.update(self.stored.digest.encode())
        else:
            every = max(1, self.stored.nbytes >> 28)
            digest.update(np.ascontiguousarray(self.stored[::every]).data)
        if self.rows is not None:
            digest.update(np.ascontiguousarray(self.rows).data)
        digest.update(self._more.encode())
        if self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()[:16]

    @property
    def _more(self) -> str:
        """What the fingerprint covers beyond stored samples, spec and labels."""
        return ""

    def positions(self, seed: int, start: int, count: int) -> Index:
        """Positions start ... start + count - 1 of this seed's endless shuffled stream, each epoch every sample."""
        if isinstance(self.stored, Lazy):
            return self.stored.positions(seed, start, count)
        return positions(len(self), seed, start, count)

    def batch(
        self, seed: int, draw: int, size: int, device: torch.device | str = "cpu", share: slice = slice(None)
    ) -> Batch:
        """The draw-th batch, or a share of it, of this seed's endless shuffled stream, whatever was drawn before."""
        index = self.positions(seed, draw * size, size)[share]
        chances = None
        if self.augment is not None:
            chances = on(device, np.random.default_rng((seed, 1, draw)).random(size)[share])
        batch = self.pick(index, device, chances)
        if isinstance(self.stored, Lazy):
            self.stored.read_ahead(seed, (draw + 1) * size)
        return batch

    def pick(self, index: Index, device: torch.device | str = "cpu", chances: Tensor | None = None) -> Batch:
        """The samples at these positions, with their condition, augmented where chances (N,) in [0, 1) are given."""
        labels = None if self.labels is None else on(device, self.labels[index])
        samples = self.floats(index, device).contiguous(memory_format=self.spec.sample.layout)
        if chances is not None and self.augment is not None:
            samples = self.augment(samples, chances)
        return Batch(samples, Condition(labels))

    def floats(self, index: Index, device: torch.device | str = "cpu") -> Tensor:
        """The samples at these positions as networks see them, float32 (N, *lengths of the spec's `sample`)."""
        return self.encode(on(device, self.stored[index if self.rows is None else self.rows[index]]))


def on(device: torch.device | str, array: np.ndarray[Any, Any]) -> Tensor:
    """The array as a tensor on this device; a GPU fetches it from pinned memory, and nobody waits."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def positions(length: int, seed: int, start: int, count: int) -> Index:
    """Positions start ... start + count - 1 of an endless stream in which every epoch is a new permutation.

    It depends only on the arguments, so training can begin anywhere in the stream without having read what precedes.
    """
    stream = np.arange(start, start + count)
    epochs, places = np.divmod(stream, length)
    parts = [_permutation(length, seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
    return np.concatenate(parts)


@lru_cache(maxsize=2)
def _permutation(length: int, seed: int, epoch: int) -> Index:
    return np.random.default_rng((seed, 0, epoch)).permutation(length)


def check_kind(source: Any) -> None:
    """ZerosumError for what is no source."""
    if not isinstance(source, Source):
        raise ZerosumError(
            f"source is {kind_of(source)}: make one with zs.make_source(samples, labels), or pass data=PATH"
        )


def check_source(source: Any) -> None:
    """ZerosumError unless training can learn from this source: its samples, their labels and its spec fit together."""
    check_kind(source)
    stored, spec, count = source.stored, source.spec, len(source)
    if not isinstance(stored, np.ndarray | Lazy):
        raise ZerosumError(f"samples of the source are a {type(stored).__name__}: they should be a NumPy array")
    held = len(stored)
    if not count or (source.rows is None and count != held):
        raise ZerosumError(f"the source says that it has {count} samples, but it holds {held}")
    rows = source.rows
    if rows is not None and not (len(rows) == count and int(np.min(rows)) >= 0 and int(np.max(rows)) < held):
        raise ZerosumError(f"rows of the source, {len(rows)} places of {held} samples, do not fit its {count} samples")
    _check_labels(source.labels, spec, count)
    try:
        batch = source.pick(np.array([0, count - 1], np.int64))
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise ZerosumError(f"the source cannot give its first and its last sample: {error}") from error
    spec.sample.check(batch.real, "what the source gives")


def _check_labels(labels: Any, spec: Spec, count: int) -> None:
    if labels is None:
        return
    if not (isinstance(labels, np.ndarray) and labels.dtype == np.int64 and labels.ndim == 2):
        got = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else f"a {type(labels).__name__}"
        raise ZerosumError(
            f"labels of the source are {got}: they should be int64 (N, attributes), as zs.make_source(samples, labels) "
            "makes them"
        )
    if len(labels) != count:
        raise ZerosumError(f"the source has {count} samples but {len(labels)} labels")
    if labels.shape[1] != len(spec.sizes) or (labels < 0).any() or (labels >= np.array(spec.sizes)).any():
        known = {name: len(values) for name, values in spec.labels.items()}
        raise ZerosumError(
            f"labels of the source do not fit its spec, which says how many values each attribute has: {known}"
        )


def read_labels(
    labels: Any, names: Mapping[str, Sequence[str]] | None, count: int, what: str = "samples"
) -> "Labelled":
    """Whole-numbered labels (N, attributes) or (N,) of `count` samples, with what a spec says of them.

    labels: an array, a tensor, a list, or None. names: attribute -> names of its values; without it one attribute
    "class" with values "0", "1", ... Raises ZerosumError for labels that do not fit.
    """
    if labels is None:
        return Labelled(None, {}, (), ())
    labels = _as_labels(labels)
    if len(labels) != count:
        raise ZerosumError(f"{count} {what} but {len(labels)} labels")
    if names is None:
        if labels.shape[1] != 1:
            raise ZerosumError(f"labels have {labels.shape[1]} attributes: say what they are called with names=")
        names = {"class": tuple(str(value) for value in range(int(labels.max(initial=0)) + 1))}
    sizes = [len(values) for values in names.values()]
    if labels.shape[1] != len(sizes) or (labels < 0).any() or (labels >= sizes).any():
        raise ZerosumError(f"labels must be integers 0 ... below {sizes}, one column per attribute {list(names)}")
    combinations, counts = np.unique(labels, axis=0, return_counts=True)
    return Labelled(
        labels,
        {str(name): tuple(map(str, values)) for name, values in names.items()},
        tuple(tuple(int(value) for value in row) for row in combinations),
        tuple(int(count) for count in counts),
    )


class Labelled(NamedTuple):
    """Labels (N, attributes) or None, and of a `Spec` the labels, combinations and counts."""

    integers: Index | None
    names: dict[str, tuple[str, ...]]
    combinations: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]


def _as_labels(labels: Any) -> Index:
    """int64 (N, attributes)."""
    array = as_array(labels, "labels")
    where = f"labels are {array.dtype} {array.shape}"
    if array.dtype.kind in "OUS":
        raise ZerosumError(
            f"{where}: they should be whole numbers, with names={{'class': (...)}} to say what they mean"
        )
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        raise ZerosumError(f"{where}: they should be whole numbers (N,) or (N, attributes)")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        raise ZerosumError(f"{where}: they should be whole numbers, but some are not")
    return array.astype(np.int64).reshape(len(array), -1)


def as_array(values: Any, what: str) -> np.ndarray[Any, Any]:
    if isinstance(values, np.ndarray):  # asarray would make a memory map forget what it is
        return values
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ZerosumError(f"{what} are a {type(values).__name__} of which no array can be made: {error}") from None
