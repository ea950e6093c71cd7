"""Parquet shards, sets larger than memory: the files of a split, their columns, their labels and the bytes of images.

A row group, some hundred images, is what Parquet reads at a time.
"""

import hashlib
import importlib
import json
import math
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zerosum.data.labels import MOST_VALUES, Attributes, too_many
from zerosum.data.pictures.files import MOST_BYTES, counted, is_inside
from zerosum.data.pictures.images import DAMAGE, Header, read_header, values_in
from zerosum.data.pictures.layout import held_out_of, split_of
from zerosum.data.pictures.values import Values
from zerosum.errors import NoTestSplit, ZerosumError, setting, suggest

#: file systems that pyarrow reads
REMOTE = ("file://", "s3://", "gs://", "gcs://", "abfs://", "abfss://", "hdfs://")
#: what the column of images is called, the first that there is; else the first column of bytes
IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")

#: pyarrow's names of what may be labels
LABEL_TYPES = ("integer", "boolean", "floating", "string", "large_string")

#: bytes that the images among which the stream is shuffled take at most once decoded
WINDOW_BYTES = 2**30
#: more images than that are in no set, but may be claimed by a damaged file
MOST_IMAGES = 2**30
#: row groups, and images of each, that are looked at when a set is opened
SAMPLED_GROUPS, SAMPLED = 4, 64
#: files that are read at the same time for what they hold beside images
TOGETHER = 16


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
                    header = read_header(usable(data), f"{group.shard.path}, row {group.first + row}")
                    if header.deep:
                        here = values_in(usable(data))
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


def usable(data: bytes | None) -> bytes:
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
