"""What training needs of data: a `Source` gives a `Batch` for any positions, and its `Spec` says what it is like."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zerosum.data.pictures.arrays import to_uint8
from zerosum.data.pictures.fit import Pixels, to_native
from zerosum.data.shape import Shape
from zerosum.errors import ZerosumError

Index = np.ndarray[Any, np.dtype[np.int64]]

#: pixels on a side that images of a run have at most
MOST_SIDE = 4096
#: channels that a picture which is a condition has at most, and how many times wider than high images are
MOST_CHANNELS, MOST_WIDE = 256, 8


def parse_range(values: dict[str, Any]) -> tuple[float, float]:
    """From JSON: ValueError or TypeError for what is no range of values."""
    low, high = map(float, values.get("range", (0.0, 255.0)))
    if not -(2.0**63) < low < high < 2.0**63:
        raise ValueError(f"values from {low:g} to {high:g}")
    return low, high


@dataclass(frozen=True)
class Input:
    """The picture that is a condition: (N, channels, height / factor, width / factor) float32 in [-1, 1]."""

    channels: int
    factor: int = 1
    #: of a drive, see zerosum.data.pictures.drives: frames that are given, frames that follow them, the names of the
    #: driver's actions, and how many numbers tell the style
    frames: int = field(default=0, repr=False)
    ahead: int = field(default=0, repr=False)
    actions: tuple[str, ...] = field(default=(), repr=False)
    style: int = field(default=0, repr=False)
    #: values of its files that became -1 and 1
    range: tuple[float, float] = field(default=(0.0, 255.0), repr=False)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Input":
        """As `Spec.parse`."""
        frames, ahead, style = (int(values.get(key, 0)) for key in ("frames", "ahead", "style"))
        actions = tuple(map(str, values.get("actions", ())))
        channels, factor = int(values["channels"]), int(values.get("factor", 1))
        result = cls(channels, factor, frames, ahead, actions, style, parse_range(values))
        if not (1 <= result.channels <= MOST_CHANNELS and 1 <= result.factor <= MOST_SIDE):
            raise ValueError(f"a condition of {result.channels} channels, {result.factor} times smaller")
        if min(frames, ahead, style) < 0 or (frames == 0) != (ahead == 0):
            raise ValueError(f"{frames} frames with {ahead} ahead")
        if frames and result.channels not in (n * frames + len(actions) * ahead + style for n in (1, 3, 4)):
            raise ValueError(f"{frames} frames, {ahead} ahead, in {result.channels} channels")
        return result


@dataclass(frozen=True)
class Spec:
    """What the data is; networks, pictures and samples follow it."""

    channels: int
    #: side of the square at which networks work, in pixels
    resolution: int
    #: side at which samples come out: the data's own, or the resolution where that is smaller or images differ in size
    native: int
    #: attribute -> its values, in the order of the integers that stand for them
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: the combinations of values that occur, each with its number of images
    combinations: tuple[tuple[int, ...], ...] = ()
    counts: tuple[int, ...] = ()
    #: the picture that is the condition, where it is one
    input: Input | None = field(default=None, repr=False)
    #: how many times wider than high images are; resolution and native are their heights
    wide: int = field(default=1, repr=False)
    #: values of the files that became -1 and 1
    range: tuple[float, float] = field(default=(0.0, 255.0), repr=False)

    @property
    def planes(self) -> int:
        """Channels of what a generator makes: of one image, or of a clip of frames one behind the other."""
        return self.channels * (self.input.ahead if self.input is not None and self.input.ahead else 1)

    @property
    def sample(self) -> Shape:
        """What a generator makes and a critic looks at."""
        side = self.resolution
        return Shape({"channel": self.planes, "height": side, "width": side * self.wide})

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each attribute has."""
        return tuple(len(values) for values in self.labels.values())

    def describe(self, combination: tuple[int, ...]) -> str:
        """The words for one combination: "female old"."""
        return " ".join(values[index] for values, index in zip(self.labels.values(), combination, strict=True))

    def summary(self) -> str:
        """In a few words: "3x64x64, gender: female, male"."""
        labels = "".join(
            f", {name}: {', '.join(values[:10])}{' ...' * (len(values) > 10)}" for name, values in self.labels.items()
        )
        return f"{self.channels}x{self.native}x{self.native * self.wide}{labels[:200]}"

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Spec":
        """From JSON; KeyError, TypeError, ValueError, AttributeError or OverflowError for what describes no data."""
        labels = {str(name): tuple(map(str, known)) for name, known in values.get("labels", {}).items()}
        combinations = tuple(tuple(map(int, row)) for row in values.get("combinations", ()))
        counts = tuple(map(int, values.get("counts", ())))
        given = values.get("input")
        spec = cls(
            int(values["channels"]),
            int(values["resolution"]),
            int(values["native"]),
            labels,
            combinations,
            counts,
            None if given is None else Input.parse(given),
            int(values.get("wide", 1)),
            parse_range(values),
        )
        if not 1 <= spec.wide <= MOST_WIDE:
            raise ValueError(f"images {spec.wide} times wider than high")
        if spec.channels not in (1, 3, 4) or not 1 <= spec.native <= spec.resolution <= MOST_SIDE:
            raise ValueError(f"images of {spec.channels}x{spec.resolution}x{spec.resolution} from {spec.native}")
        fitting = all(
            len(row) == len(spec.sizes) and all(0 <= value < size for value, size in zip(row, spec.sizes, strict=True))
            for row in combinations
        )
        if not fitting or len(counts) != len(combinations) or not all(0 < count < 2**53 for count in counts):
            raise ValueError("combinations of labels that do not fit")
        if bool(labels) != bool(combinations):
            raise ValueError("labels without combinations, or combinations without labels")
        return spec


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
    """Images that are decoded when they are asked for: what stands in a `Source` where all of them are too many."""

    ndim = 4
    dtype = np.dtype(np.uint8)
    #: (N, channels, side, side)
    shape: tuple[int, int, int, int]
    #: changes when the images do
    digest: str

    @abstractmethod
    def __getitem__(self, index: Any) -> Pixels:
        """uint8 (n, channels, side, side), for a slice or an array of positions."""

    @abstractmethod
    def positions(self, seed: int, start: int, count: int) -> Index:
        """As the function `positions`, in an order in which neighbours are cheap to read one after the other."""

    @abstractmethod
    def read_ahead(self, seed: int, position: int) -> None:
        """The stream of this seed will soon be read from this position on. Changes no result."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all images, were they decoded."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, repr=False)
class Source:
    """Images with their labels."""

    #: uint8 (N, channels, resolution, resolution): an array, in memory or memory-mapped, or `Lazy`
    images: Any
    #: (N, attributes) int64, or None
    labels: Index | None
    spec: Spec
    mirror: bool = False
    #: the images that count, where not all do; `labels` are theirs
    rows: Index | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} images {self.spec.summary()})"

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else len(self.rows)

    def unlabelled(self) -> "Source":
        """The same images without a word about their labels."""
        return replace(self, labels=None, spec=replace(self.spec, labels={}, combinations=(), counts=()))

    def only(self, index: Index) -> "Source":
        """These images alone, in this order; ZerosumError where images are decoded when they are asked for."""
        if isinstance(self.images, Lazy):
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
        """Changes when the images or their labels do. Of a large set it reads evenly spread samples."""
        digest = hashlib.sha256(repr((self.images.shape, self.spec)).encode())
        if isinstance(self.images, Lazy):
            digest.update(self.images.digest.encode())
        else:
            every = max(1, self.images.nbytes >> 28)
            digest.update(np.ascontiguousarray(self.images[::every]).data)
        if self.rows is not None:
            digest.update(np.ascontiguousarray(self.rows).data)
        if self.spec.input is not None:
            digest.update(repr(self.spec.input).encode())
        if self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()[:16]

    def positions(self, seed: int, start: int, count: int) -> Index:
        """Positions start ... start + count - 1 of the endless shuffled stream of this seed, each epoch every image."""
        if isinstance(self.images, Lazy):
            return self.images.positions(seed, start, count)
        return positions(len(self), seed, start, count)

    def native(self, index: Sequence[int] | Index) -> Tensor:
        """These images, float32 (N, channels, side, side) in [-1, 1], at the data's own side."""
        return to_native(self._floats(np.asarray(index)), self.spec.native)

    def batch(
        self, seed: int, draw: int, size: int, device: torch.device | str = "cpu", share: slice = slice(None)
    ) -> Batch:
        """The draw-th batch, or a share of it, of this seed's endless shuffled stream, whatever was drawn before."""
        index = self.positions(seed, draw * size, size)[share]
        flip = None
        if self.mirror:
            flip = on(device, np.random.default_rng((seed, 1, draw)).random(size)[share] < 0.5)
        batch = self.pick(index, device, flip)
        if isinstance(self.images, Lazy):
            self.images.read_ahead(seed, (draw + 1) * size)
        return batch

    def pick(self, index: Index, device: torch.device | str = "cpu", flip: Tensor | None = None) -> Batch:
        """The images at these positions, with their condition. flip: (N,) bool, those that are mirrored."""
        labels = None if self.labels is None else on(device, self.labels[index])
        images = self._floats(index, device).contiguous(memory_format=self.spec.sample.layout)
        return Batch(mirrored(images, flip), Condition(labels))

    def _floats(self, index: Index, device: torch.device | str = "cpu") -> Tensor:
        """float32 (N, channels, resolution, resolution) in [-1, 1]."""
        pixels = on(device, self.images[index if self.rows is None else self.rows[index]])
        return pixels.float().div_(127.5).sub_(1)


def on(device: torch.device | str, array: np.ndarray[Any, Any]) -> Tensor:
    """The array as a tensor on this device; a GPU fetches it from pinned memory, and nobody waits."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def mirrored(images: Tensor, flip: Tensor | None) -> Tensor:
    """Those images (N, C, H, W) left to right for which flip (N,) is true."""
    return images if flip is None else torch.where(flip[:, None, None, None], images.flip(3), images)


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


def check_source(source: Any) -> None:
    """ZerosumError unless training can learn from this source: its images, their labels and its spec fit together."""
    if not isinstance(source, Source):
        kind = f"the class {source.__name__}" if isinstance(source, type) else f"a {type(source).__name__}"
        raise ZerosumError(f"source is {kind}: make one with zs.make_source(images, labels), or pass data=PATH")
    images, spec, count = source.images, source.spec, len(source)
    if not isinstance(images, np.ndarray | Lazy):
        raise ZerosumError(f"images of the source are a {type(images).__name__}: they should be a NumPy array of bytes")
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ZerosumError(
            f"images of the source are {images.dtype} {tuple(images.shape)}: they should be uint8 (N, channels, side, "
            "side), which zs.make_source(images, labels) makes of other values too"
        )
    rows = source.rows
    held = len(images)
    if not count or (rows is None and count != held):
        raise ZerosumError(f"the source says that it has {count} images, but it holds {held}")
    if rows is not None and not (len(rows) == count and int(np.min(rows)) >= 0 and int(np.max(rows)) < held):
        raise ZerosumError(f"rows of the source, {len(rows)} places of {held} images, do not fit its {count} images")
    _check_labels(source.labels, spec, count)
    try:
        batch = source.pick(np.array([0, count - 1], np.int64))
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise ZerosumError(f"the source cannot give its first and its last image: {error}") from error
    spec.sample.check(batch.real, "what the source gives")


def _check_labels(labels: Any, spec: Spec, count: int) -> None:
    if labels is None:
        return
    if not (isinstance(labels, np.ndarray) and labels.dtype == np.int64 and labels.ndim == 2):
        got = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else f"a {type(labels).__name__}"
        raise ZerosumError(
            f"labels of the source are {got}: they should be int64 (N, attributes), as zs.make_source(images, labels) "
            "makes them"
        )
    if len(labels) != count:
        raise ZerosumError(f"the source has {count} images but {len(labels)} labels")
    if labels.shape[1] != len(spec.sizes) or (labels < 0).any() or (labels >= np.array(spec.sizes)).any():
        known = {name: len(values) for name, values in spec.labels.items()}
        raise ZerosumError(
            f"labels of the source do not fit its spec, which says how many values each attribute has: {known}"
        )


def make_source(
    images: Any,
    labels: Any = None,
    names: Mapping[str, Sequence[str]] | None = None,
    native: int | None = None,
    mirror: bool = False,
) -> Source:
    """A source from images (N, channels, side, side) and whole-numbered labels (N, attributes) or (N,).

    images: an array or a tensor of bytes, of floats in [0, 1] or [-1, 1], of 16 bits, or `Lazy`. labels: an array, a
    tensor or a list. names: attribute -> names of its values; without it one attribute "class" with values "0", "1",
    ... Raises ZerosumError for arrays that do not fit together.
    """
    pixels = images if isinstance(images, Lazy) else _as_pixels(images)
    channels, side = pixels.shape[1], pixels.shape[2]
    if labels is None:
        return Source(pixels, None, Spec(channels, side, min(native or side, side)), mirror)
    labels = _as_labels(labels)
    if len(labels) != len(pixels):
        raise ZerosumError(f"{len(pixels)} images but {len(labels)} labels")
    if names is None:
        if labels.shape[1] != 1:
            raise ZerosumError(f"labels have {labels.shape[1]} attributes: say what they are called with names=")
        names = {"class": tuple(str(value) for value in range(int(labels.max(initial=0)) + 1))}
    sizes = [len(values) for values in names.values()]
    if labels.shape[1] != len(sizes) or (labels < 0).any() or (labels >= sizes).any():
        raise ZerosumError(f"labels must be integers 0 ... below {sizes}, one column per attribute {list(names)}")
    combinations, counts = np.unique(labels, axis=0, return_counts=True)
    spec = Spec(
        channels,
        side,
        min(native or side, side),
        {str(name): tuple(map(str, values)) for name, values in names.items()},
        tuple(tuple(int(value) for value in row) for row in combinations),
        tuple(int(count) for count in counts),
    )
    return Source(pixels, labels, spec, mirror)


def _as_pixels(images: Any) -> Pixels:
    """uint8 (N, channels, side, side), from floats and 16 bits too where it is plain what their values mean."""
    array = _as_array(images, "images")
    where = f"images are {array.dtype} {array.shape}: expected uint8 (N, channels, side, side)"
    if array.ndim == 3:
        raise ZerosumError(f"{where}; for grey ones without channels: images[:, None]")
    if array.ndim == 4 and array.shape[1] not in (1, 3, 4) and array.shape[3] in (1, 3, 4):
        raise ZerosumError(f"{where}; to bring channels from the end: images.transpose(0, 3, 1, 2)")
    if array.ndim != 4 or array.shape[1] not in (1, 3, 4) or array.shape[2] != array.shape[3] or 0 in array.shape:
        raise ZerosumError(f"{where} with 1, 3 or 4 channels")
    if array.dtype == np.uint8:
        return array
    most = array.max()
    if array.dtype != bool and not (
        (array.dtype.kind == "f" and not most > 1) or (array.dtype == np.uint16 and most > 255)
    ):
        raise ZerosumError(f"{where}; values up to {most}: bring them to 0 ... 255, then images.astype(np.uint8)")
    return to_uint8(array, f"images are {array.dtype} {array.shape}")


def _as_labels(labels: Any) -> Index:
    """int64 (N, attributes)."""
    array = _as_array(labels, "labels")
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


def _as_array(values: Any, what: str) -> np.ndarray[Any, Any]:
    if isinstance(values, np.ndarray):  # asarray would make a memory map forget what it is
        return values
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ZerosumError(f"{what} are a {type(values).__name__} of which no array can be made: {error}") from None
