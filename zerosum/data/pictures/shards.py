"""Parquet shards: sets larger than memory, decoded one row group after the other while they are trained on.

A row group, some hundred images, is what Parquet reads at a time. Every epoch permutes the row groups, and then the
images inside windows of a few row groups: it still shows every image once, but reads every row group about once too.
The order follows from the seed and the position alone, so a run goes on where it stopped without having kept a place.

No image is looked at before its turn, so damaged ones are met on the way. The nearest readable image of the row group
takes the place of each, one with the same labels if there is one, until they are more than data.bad_share of the set.
"""

import hashlib
import importlib
import json
import math
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np

from zerosum.data.labels import MOST_VALUES, Attributes, too_many
from zerosum.data.pictures.files import MOST_BYTES, counted, is_inside
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.images import DAMAGE, Header, Scale, decode, read_header, values_in
from zerosum.data.pictures.layout import held_out_of, split_of
from zerosum.data.pictures.values import BYTES, Range, Values, described, range_of
from zerosum.data.source import Index, Lazy
from zerosum.errors import NoTestSplit, ZerosumError, setting, suggest
from zerosum.progress import note

#: file systems that pyarrow reads
REMOTE = ("file://", "s3://", "gs://", "gcs://", "abfs://", "abfss://", "hdfs://")
#: what the column of images is called, the first that there is; else the first column of bytes
IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")

#: pyarrow's names of what may be labels
LABEL_TYPES = ("integer", "boolean", "floating", "string", "large_string")

#: images among which the stream is shuffled, and bytes that they take at most once decoded
WINDOW, WINDOW_BYTES = 8192, 2**30
#: more images than that are in no set, but may be claimed by a damaged file
MOST_IMAGES = 2**30
#: row groups, and images of each, that are looked at when a set is opened
SAMPLED_GROUPS, SAMPLED = 4, 64
#: files that are read at the same time for what they hold beside images
TOGETHER = 16
#: damaged images that are named one by one
NAMED = 3


@dataclass(frozen=True)
class Shard:
    """One Parquet file: its path in its file system, and what its footer says (pyarrow's FileMetaData)."""

    path: str
    metadata: Any


@dataclass(frozen=True)
class Group:
    """One row group: its file, its number in it, its rows, and the first of them in the file."""

    shard: Shard
    number: int
    rows: int
    first: int


def is_remote(uri: str) -> bool:
    return uri.startswith(REMOTE)


def is_shards(path: Path) -> bool:
    """Whether this is a Parquet file, or a folder with some below it; metadata.parquet goes with pictures."""
    if path.is_file():
        return path.suffix.lower() == ".parquet"
    names = (name.lower() for _, _, found in os.walk(path) for name in found)
    return any(name.endswith(".parquet") and name != "metadata.parquet" for name in names)


class Shards:
    """The Parquet files of one split: what their footers say, their labels, and the bytes of their images."""

    def __init__(self, uri: str, split: str, links: bool = False, bad_share: float = 0.05) -> None:
        """uri: a file or folder, as a path or a URI of a file system that pyarrow reads. split: train or test. links:
        follow links out of the folder; otherwise at most this share of all files may be such links.

        Raises ZerosumError for what is not there or no set of images, NoTestSplit where the files name no test split.
        """
        self.uri, self.links, self.bad_share = uri, links, bad_share
        self.arrow, self.parquet = _import("pyarrow"), _import("pyarrow.parquet")
        self.notes: list[str] = []
        with self._reading(uri):
            self.system, root = _file_system(uri)
            paths = self._find(root, split)
        with ThreadPoolExecutor(TOGETHER) as pool:
            self.shards = list(pool.map(self._footer, paths))
        self.groups = list(self._groups())
        self.column, self.plain = self._columns(self.shards[0])
        for shard in self.shards[1:]:
            if self._columns(shard) != (self.column, self.plain):
                raise ZerosumError(f"{shard.path}: has other columns than {self.shards[0].path}: shards must be alike")

    def _find(self, root: str, split: str) -> list[str]:
        """Paths of the files of the split, sorted."""
        names = self._names(root)
        if names == [""]:
            if split == "test":
                raise NoTestSplit(f"{self.uri} has no test split")
            return [root]
        splits = {name: _split_of(name) for name in names}
        if split == "test":
            held_out = held_out_of(set(splits.values()))
            chosen = [name for name in names if splits[name] == held_out]
        else:
            mark = "train" if "train" in splits.values() else ""
            chosen = [name for name in names if splits[name] == mark]
            left = [name for name in names if splits[name] not in (mark, "test", "validation")]
            if left:
                self.notes.append(f"{self.uri}: {counted('files of no split, left out', left)}")
        if not chosen:
            kind = NoTestSplit if split == "test" else ZerosumError
            raise kind(f"{self.uri}: no Parquet files of split {split} in it")
        return [f"{root.rstrip('/')}/{name}" for name in chosen]

    def _names(self, root: str) -> list[str]:
        """Paths of the Parquet files below the root, sorted; "" for the root itself. Links out of it are left out."""
        files = _import("pyarrow.fs")
        if self.system.get_file_info(root).is_file:
            return [""]
        if isinstance(self.system, files.LocalFileSystem):
            found = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
            paths = [path for path in found if path.suffix.lower() == ".parquet"]
            inside = [path for path in paths if is_inside(path, Path(root)) or (self.links and path.is_file())]
            out = [path.name for path in paths if path not in inside]
            if out:
                said = f"{self.uri}: {counted('links out of it, not followed', out)}"
                if len(out) > self.bad_share * len(paths):
                    raise ZerosumError(f"{said} of {len(paths)} files; to follow them: {setting('data.links', True)}")
                self.notes.append(said)
            names = [path.relative_to(root).as_posix() for path in inside]
        else:
            infos = self.system.get_file_info(files.FileSelector(root, recursive=True))
            names = [info.path.removeprefix(root).lstrip("/") for info in infos if info.is_file]
        names = [name for name in names if name.lower().endswith(".parquet") and not _is_hidden(name)]
        if not names:
            raise ZerosumError("; ".join([f"{self.uri}: no Parquet files in it", *self.notes]))
        return sorted(names)

    @contextmanager
    def _reading(self, where: str) -> Iterator[None]:
        """What pyarrow raises becomes one line."""
        try:
            yield
        except (*DAMAGE, OSError, self.arrow.ArrowException) as error:
            said = " ".join(str(error).split())[:300]
            raise ZerosumError(f"{where}: cannot be read: {said or type(error).__name__}") from None

    def _footer(self, path: str) -> Shard:
        with self._reading(path), self.system.open_input_file(path) as file:
            return Shard(path, self.parquet.ParquetFile(file).metadata)

    def _groups(self) -> Iterator[Group]:
        total = 0
        for shard in self.shards:
            first = 0
            with self._reading(shard.path):
                for number in range(shard.metadata.num_row_groups):
                    rows = shard.metadata.row_group(number).num_rows
                    if not 0 <= rows <= MOST_IMAGES - total:
                        raise ValueError(f"row group {number} claims {rows} rows")
                    if rows:
                        yield Group(shard, number, rows, first)
                    first, total = first + rows, total + rows
        if not total:
            raise ZerosumError(f"{self.uri}: has no images")

    def _columns(self, shard: Shard) -> tuple[str, list[str]]:
        """The column of encoded images, a dot before the field of a struct, and the columns that may be labels."""
        kinds = self.arrow.types
        with self._reading(shard.path):
            schema = shard.metadata.schema.to_arrow_schema()
            found, plain = {}, []
            for field in schema:
                kind, path = field.type, field.name
                if kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                    kind, path = kind.field("bytes").type, f"{field.name}.bytes"
                kind = kind.value_type if kinds.is_dictionary(kind) else kind
                if kinds.is_binary(kind) or kinds.is_large_binary(kind):
                    found[field.name] = path
                elif path == field.name and any(getattr(kinds, f"is_{name}")(kind) for name in LABEL_TYPES):
                    plain.append(field.name)
        if not found:
            raise ZerosumError(
                f"{shard.path}: no column of images, as bytes, among {', '.join(schema.names) or 'none'}"
            )
        name = next((name for name in IMAGE_NAMES if name in found), next(iter(found)))
        return found[name], plain

    def class_names(self) -> dict[str, list[str]]:
        """Column -> the names that its integers stand for, where Hugging Face's metadata say so."""
        with self._reading(self.shards[0].path):
            facts = self.shards[0].metadata.metadata or {}
        try:
            features = json.loads(facts[b"huggingface"])["info"]["features"]
            kinds = {name: kind for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
            return {str(name): [str(word) for word in kind["names"]] for name, kind in kinds.items()}
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def labels(self, attributes: Attributes | None) -> dict[str, list[str]]:
        """The columns that the attributes name, or all that may be labels, as one word for each image, "" for none."""
        chosen = list(self.plain if attributes is None else attributes)
        for name in chosen:
            if name not in self.plain:
                raise ZerosumError(f"{self.uri} has no attribute '{name}': {suggest(name, self.plain)}")
        result: dict[str, list[str]] = {name: [] for name in chosen}
        if not chosen:
            return result
        known: dict[str, dict[str, str]] = {name: {} for name in chosen}
        names = self.class_names()

        def read(shard: Shard) -> dict[str, list[str]]:
            with self._reading(shard.path), self.system.open_input_file(shard.path) as file:
                table = self.parquet.ParquetFile(file, metadata=shard.metadata).read(columns=chosen, use_threads=False)
                if len(table) != sum(group.rows for group in self.groups if group.shard is shard):
                    raise ValueError(f"{len(table)} rows of labels")
                return {name: _words(table.column(name), names.get(name)) for name in chosen}

        with ThreadPoolExecutor(TOGETHER) as pool:
            for start in range(0, len(self.shards), TOGETHER):  # no more of them in memory
                for columns in pool.map(read, self.shards[start : start + TOGETHER]):
                    for name, words in columns.items():
                        result[name] += [known[name].setdefault(word, word) for word in words]  # one object each
                for name, values in known.items():
                    binned = attributes is not None and isinstance(attributes[name], dict)
                    if len(values) > MOST_VALUES and not binned:
                        raise too_many(self.uri, name, len(values))
        return result

    def pictures(self, group: Group) -> Iterator[bytes | None]:
        """The encoded images of a row group."""
        where = f"{group.shard.path}, row group {group.number}"
        with self._reading(where):
            with self.system.open_input_file(group.shard.path) as file:
                reader = self.parquet.ParquetFile(
                    file,
                    metadata=group.shard.metadata,
                    # so that a dictionary is not unpacked: a small file could refer a million times to one large value
                    read_dictionary=[self.column],
                    page_checksum_verification=True,
                )
                table = reader.read_row_group(group.number, columns=[self.column], use_threads=False)
            if len(table) != group.rows:
                raise ValueError(f"{len(table)} rows where the footer says {group.rows}")
            for chunk in table.column(0).chunks:
                values = chunk.flatten()[0] if self.arrow.types.is_struct(chunk.type) else chunk
                yield from (value.as_py() for value in values)

    def sample(self) -> tuple[list[Header], str, Values | None]:
        """Headers of some images, spread evenly over the set, a digest of them and of all footers, and the values of
        those with more than 8 bits.
        """
        digest = hashlib.sha256()
        for group in self.groups:
            with self._reading(group.shard.path):
                size = group.shard.metadata.row_group(group.number).total_byte_size
            digest.update(repr((group.rows, size)).encode())
        headers, problem = [], ""
        values: Values | None = None
        for group in self.groups[:: -(-len(self.groups) // SAMPLED_GROUPS)]:
            for row, data in zip(range(SAMPLED), self.pictures(group), strict=False):
                digest.update(data or b"")
                try:
                    header = read_header(_usable(data), f"{group.shard.path}, row {group.first + row}")
                    if header.deep:
                        here = values_in(_usable(data))
                        values = here if values is None else values | here
                    headers.append(header)
                except OSError as error:
                    problem = f"{group.shard.path}, row {group.first + row} ({error})"
        if not headers:
            raise ZerosumError(f"{self.uri}: none of its images that were tried can be read: {problem}")
        return headers, digest.hexdigest(), values

    def check_sizes(self, image_bytes: int, budget: int) -> None:
        """ZerosumError if a row group is too large to be read at once."""
        for group in self.groups:
            with self._reading(group.shard.path):
                # of all columns: to ask for one of them ends the process where its statistics are damaged (pyarrow 26)
                packed = group.shard.metadata.row_group(group.number).total_byte_size
            if group.rows * image_bytes > WINDOW_BYTES or packed > budget:
                raise ZerosumError(
                    f"{group.shard.path}: row group {group.number} has {group.rows:,} images "
                    f"({max(packed, group.rows * image_bytes) / 2**30:.2f} GiB), too many to be read at once: "
                    "write the file again with row_group_size=1000"
                )


class ShardImages(Lazy):
    """The images of shards, fitted, by row groups of which as many stay decoded as fit into a budget of memory."""

    def __init__(
        self,
        shards: Shards,
        resolution: int | None,
        channels: int | None,
        bad_share: float,
        budget: int,
        kept: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
        labels: Index | None = None,
        values: Range | None = None,
    ) -> None:
        """budget: bytes of decoded images. kept: (images,) False for those to leave out. labels: of those that stay.
        values: those that are black and white; None judges by the images that are looked at when the set is opened.

        Raises ZerosumError where images differ in size and no resolution is given, and where the budget is too small.
        """
        headers, self.digest, found = shards.sample()
        #: values of the files that become 0 and 255
        self.range = values or (BYTES if found is None else range_of(found, shards.uri))
        if found is not None:
            shards.notes.append(f"{shards.uri}: images of more than 8 bits: {described(self.range)} become 0 to 255")
        self._scale = (
            Scale() if values is None and found is None else Scale(self.range, self.range if values else BYTES)
        )
        sides = {min(header.size) for header in headers}
        if resolution is None and len(sides) > 1:
            raise ZerosumError(
                f"{shards.uri}: images differ in size ({min(sides)} to {max(sides)}): {setting('data.resolution', 64)}"
            )
        side = resolution or min(sides)
        if side < 8:
            raise ZerosumError(f"{shards.uri}: images of {side}x{side} are too small: {setting('data.resolution', 16)}")
        kinds = {header.kind for header in headers}
        channels = channels or (1 if kinds == {"grey"} else 4 if kinds == {"alpha"} else 3)
        #: their own side, or the resolution where they differ
        self.native = min(sides) if len(sides) == 1 else side
        self._image_bytes = channels * side * side
        shards.check_sizes(self._image_bytes, budget)

        bounds = np.cumsum([0, *(group.rows for group in shards.groups)])
        rows = [np.arange(group.rows) for group in shards.groups]
        if kept is not None:
            rows = [np.flatnonzero(kept[first:last]) for first, last in zip(bounds, bounds[1:], strict=False)]
        self._groups = [(group, chosen) for group, chosen in zip(shards.groups, rows, strict=True) if len(chosen)]
        sizes = np.array([len(chosen) for _, chosen in self._groups], np.int64)
        self.shape = (int(sizes.sum()), channels, side, side)
        #: images among which the stream is shuffled
        self.window = max(int(sizes.max()), min(WINDOW, WINDOW_BYTES // self._image_bytes))
        self._order = LocalOrder(sizes, self.window)
        needed = min(self.window, len(self)) * self._image_bytes
        if needed > budget:
            raise ZerosumError(
                f"{shards.uri}: {needed / 2**30:.2f} GiB of images must be in memory at a time: "
                + setting("data.memory", math.ceil(200 * needed / 2**30) / 100)
            )
        self._reads_ahead = 2 * needed <= budget
        self._shards, self._labels, self._bad_share, self._budget = shards, labels, bad_share, budget
        self._held: OrderedDict[int, Future[Pixels]] = OrderedDict()
        self._ahead: Future[Pixels] | None = None
        self._damaged: dict[int, int] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(os.cpu_count(), "shards")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # on odd files; here, since threads share the filters

    def positions(self, seed: int, start: int, count: int) -> Index:
        return self._order.positions(seed, start, count)

    def __getitem__(self, index: Any) -> Pixels:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index, np.int64)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"positions {index.min()} ... {index.max()} of {len(self)} images")
        result = np.empty((len(index), *self.shape[1:]), np.uint8)
        groups = self._order.group_of(index)
        for part in self._portions(np.unique(groups).tolist()):
            for group, future in [(group, self._ask(group)) for group in part]:
                here = groups == group
                result[here] = future.result()[index[here] - self._order.starts[group]]
        return result

    def read_ahead(self, seed: int, position: int) -> None:
        """One row group at a time: the first of this window, or of the next, that is not there yet."""
        if self._reads_ahead and (self._ahead is None or self._ahead.done()):
            with self._lock:
                missing = next((one for one in self._order.soon(seed, position) if one not in self._held), None)
            self._ahead = None if missing is None else self._ask(missing)

    def _bytes(self, group: int) -> int:
        return int(self._order.sizes[group]) * self._image_bytes

    def _portions(self, groups: list[int]) -> Iterator[list[int]]:
        """Row groups, as many at a time as fit into memory."""
        part: list[int] = []
        for group in groups:
            if part and sum(map(self._bytes, [*part, group])) > self._budget:
                yield part
                part = []
            part.append(group)
        yield part

    def _ask(self, group: int) -> "Future[Pixels]":
        """The row group's images, now or soon; those that were not asked for the longest make room."""
        with self._lock:
            held = self._held.get(group)
            if held is None or (held.done() and held.exception() is not None):  # a network may have been away
                self._held.pop(group, None)
                room = self._budget - self._bytes(group) - sum(map(self._bytes, self._held))
                while room < 0 and self._held:
                    room += self._bytes(self._held.popitem(last=False)[0])
                held = self._held[group] = self._pool.submit(self._decode, group)
            self._held.move_to_end(group)
            return held

    def _decode(self, number: int) -> Pixels:
        group, rows = self._groups[number]
        result = np.empty((len(rows), *self.shape[1:]), np.uint8)
        bad: dict[int, str] = {}
        wanted, place = set(rows.tolist()), 0
        for row, data in enumerate(self._shards.pictures(group)):
            if row in wanted:
                where = f"{group.shard.path}, row {group.first + row}"
                try:
                    result[place] = decode(_usable(data), self.shape[1], self.shape[2], where, self._scale)
                except OSError as error:
                    bad[place] = f"{where} ({error})"
                place += 1
        if bad:
            self._replace(result, bad, number)
        return result

    def _replace(self, images: Pixels, bad: Mapping[int, str], number: int) -> None:
        good = np.setdiff1d(np.arange(len(images)), list(bad))
        first = next(iter(bad.values()))
        with self._lock:
            told = sum(self._damaged.values())
            news = number not in self._damaged
            self._damaged[number] = len(bad)
            total = sum(self._damaged.values())
        if total > self._bad_share * len(self) or not len(good):
            raise ZerosumError(
                f"{first} cannot be read, like {total} of the images met so far of {len(self)}, "
                f"more than data.bad_share = {self._bad_share:g} allows"
            )
        if news and told < NAMED:
            note(f"{first} cannot be read: a neighbour takes its place" + (" ..." if len(bad) > 1 else ""))
        for row in bad:
            alike = good
            if self._labels is not None:
                labels = self._labels[self._order.starts[number] :][: len(images)]
                alike = good[(labels[good] == labels[row]).all(1)]
            choice = alike if len(alike) else good
            images[row] = images[choice[np.abs(choice - row).argmin()]]


@dataclass(frozen=True, eq=False)
class LocalOrder:
    """An endless shuffled stream of images that lie in groups, in which those of one group come near each other."""

    #: images in each group
    sizes: Index
    #: images in a window at most; no group is larger
    window: int

    @cached_property
    def starts(self) -> Index:
        """The position of the first image of each group, and the number of all."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    def group_of(self, index: Index) -> Index:
        return np.searchsorted(self.starts, index, "right") - 1

    def positions(self, seed: int, start: int, count: int) -> Index:
        """Positions start ... start + count - 1 of the stream, a function of the arguments alone."""
        parts = [np.empty(0, np.int64)]
        while count > 0:
            epoch, place = divmod(start, int(self.starts[-1]))
            window, before = _place(self, seed, epoch, place)
            parts.append(_shuffled(self, seed, epoch, window)[place - before :][:count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)

    def soon(self, seed: int, position: int) -> list[int]:
        """The groups of the window at this position, and of the next one."""
        epoch, place = divmod(position, int(self.starts[-1]))
        window, _ = _place(self, seed, epoch, place)
        here = _windows(self, seed, epoch)[0]
        after = here[window + 1] if window + 1 < len(here) else _windows(self, seed, epoch + 1)[0][0]
        return [*here[window].tolist(), *after.tolist()]


@lru_cache(maxsize=4)
def _windows(order: LocalOrder, seed: int, epoch: int) -> tuple[list[Index], Index]:
    """The groups of each window of an epoch, and the place in the epoch at which each begins."""
    groups = np.random.default_rng((seed, 2, epoch)).permutation(len(order.sizes))
    cuts, firsts, filled, place = [], [0], 0, 0
    for number, size in enumerate(order.sizes[groups].tolist()):
        if filled and filled + size > order.window:
            cuts.append(number)
            firsts.append(place)
            filled = 0
        filled, place = filled + size, place + size
    return np.split(groups, cuts), np.array(firsts)


@lru_cache(maxsize=4)
def _shuffled(order: LocalOrder, seed: int, epoch: int, window: int) -> Index:
    groups = _windows(order, seed, epoch)[0][window]
    images = np.concatenate([np.arange(order.starts[group], order.starts[group + 1]) for group in groups])
    return np.random.default_rng((seed, 3, epoch, window)).permutation(images)


def _place(order: LocalOrder, seed: int, epoch: int, place: int) -> tuple[int, int]:
    """The window of a place in an epoch, and where that window begins."""
    firsts = _windows(order, seed, epoch)[1]
    window = int(np.searchsorted(firsts, place, "right")) - 1
    return window, int(firsts[window])


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ZerosumError(
            "Parquet shards are read with pyarrow, which is missing: pip install 'zerosum[shards]'"
        ) from None


def _file_system(uri: str) -> tuple[Any, str]:
    """pyarrow's file system, and the path in it."""
    files = _import("pyarrow.fs")
    if is_remote(uri):
        system, path = files.FileSystem.from_uri(uri)
        return system, str(path)
    return files.LocalFileSystem(), str(Path(uri).absolute())


def _split_of(name: str) -> str:
    """train, test or validation, by the first of its folders, or the first word of its own name, that says so."""
    for part in PurePosixPath(name.lower()).parts:
        if (word := re.match(r"[a-z]+", part)) and (split := split_of(word[0])[0]):
            return split
    return ""


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _usable(data: bytes | None) -> bytes:
    """OSError for what is no picture."""
    if data is None:
        raise OSError("no bytes; a path alone is not followed")
    if len(data) > MOST_BYTES:
        raise OSError(f"{len(data):,} bytes is too large")
    return data


def _words(column: Any, names: list[str] | None) -> list[str]:
    """The values of a column of labels as words; names: what integers stand for."""
    result: list[str] = []
    for chunk in column.chunks:
        coded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        words = [_word(value, names) for value in coded.dictionary.to_pylist()]
        result += ["" if code is None else words[code] for code in coded.indices.to_pylist()]
    return result


def _word(value: Any, names: list[str] | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else ""
    if isinstance(value, float) and value.is_integer():  # pandas keeps integers so where some are missing
        return str(int(value))
    return str(value)
