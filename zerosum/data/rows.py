"""Tables whose rows are the samples: from a file to columns of words, and back.

Words are read as they stand there: what a column is, numbers or categories, is said in `columns.py`.
"""

import csv
import gzip
import importlib
import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zerosum.data.columns import is_number, tidy
from zerosum.data.pictures.files import composed
from zerosum.data.tables import SEPARATORS
from zerosum.errors import ZerosumError, setting, suggest
from zerosum.progress import note
from zerosum.whole import whole

#: bytes of a table at most once unpacked: some million rows
MOST = 256 * 2**20
#: endings of files that are read, each of the first also packed, and of those that are written
READ, WRITTEN = (".csv", ".tsv", ".txt", ".parquet"), (".csv", ".parquet")
#: of a file that gzip has packed
PACKED = b"\x1f\x8b"
#: numbers as programs write them
INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
NUMERAL = re.compile(INTEGER.pattern + r"(\.[0-9]+)?(e[+-]?[0-9]+)?")


def is_table(path: Path) -> bool:
    """Whether a file's name ends like that of a table that is read."""
    return Path(path.name.lower().removesuffix(".gz")).suffix in READ


def read_rows(path: Path, columns: Sequence[str] | None = None, most: int = MOST) -> dict[str, list[str]]:
    """Column -> one word for each row, from a .csv, .tsv or .txt, which may be packed with gzip, or a .parquet.

    The first line names the columns; lines without a word are no rows. columns: those that are read, all if None.
    most: bytes of the table once unpacked. Raises ZerosumError for what is no table, or lacks a column.
    """
    if not is_table(path):
        raise ZerosumError(f"{path}: tables are read from {', '.join(READ)}, the texts also packed as .gz")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, columns, most)
    data = _unpacked(path, most)
    encoding = _encoding(data)
    try:
        return _read_text(path, data, encoding, columns)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise ZerosumError(f"{path}: not a readable table: {error}; save it as CSV in UTF-8") from None
    try:
        table = _read_text(path, data, "cp1252", columns)
    except UnicodeDecodeError as error:
        raise ZerosumError(f"{path}: not a readable table: {error}; save it as CSV in UTF-8") from None
    note(f"{path}: is not UTF-8, read as Windows-1252; if words look wrong, save it as CSV in UTF-8")
    return table


def write_rows(table: Mapping[str, Sequence[str]], path: Path) -> None:
    """A .csv in UTF-8 or a .parquet, there whole or not at all, whenever the program is stopped.

    A Parquet file keeps missing values as such, and numbers as numbers. ZerosumError for any other ending; OSError for
    a place that cannot be written.
    """
    if path.suffix.lower() not in WRITTEN:
        raise ZerosumError(f"{path}: tables are written as {' or '.join(WRITTEN)}: choose such a name")
    with whole(path) as draft:
        if path.suffix.lower() == ".csv":
            with draft.open("w", encoding="utf-8", newline="") as file:
                # a separator in a name must not be taken for that of the table
                careful = any(separator in name for name in table for separator in SEPARATORS)
                csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if careful else csv.QUOTE_MINIMAL).writerow(
                    table
                )
                csv.writer(file, lineterminator="\n").writerows(zip(*table.values(), strict=True))
        else:
            arrow, parquet = _import("pyarrow"), _import("pyarrow.parquet")
            parquet.write_table(arrow.table({name: arrow.array(_typed(words)) for name, words in table.items()}), draft)


def _unpacked(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as opened:
            packed = opened.read(2) == PACKED  # whatever the file is called: browsers unpack what they download
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ZerosumError(f"{path}: not a readable table: {error}") from None
    if len(data) > most:
        raise _too_large(path, most)
    return data


def _too_large(path: Path, most: int) -> ZerosumError:
    return ZerosumError(
        f"{path}: holds more than {most / 2**20:g} MiB: keep some of its rows, drawn at random, or fewer columns"
    )


def _encoding(data: bytes) -> str:
    """That of the first bytes: UTF-16 without its mark has a zero in each Latin letter."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if data[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if data[:1] == b"\0" else "utf-8-sig"


def _lines(path: Path, data: bytes, encoding: str) -> Iterator[str]:
    for line in io.TextIOWrapper(io.BytesIO(data), encoding):
        if "\0" in line:
            raise ZerosumError(f"{path}: not a readable table: it holds zero bytes; save it as CSV in UTF-8")
        yield line


def _read_text(path: Path, data: bytes, encoding: str, columns: Sequence[str] | None) -> dict[str, list[str]]:
    first = re.sub(r'"[^"]*("|$)', "", next(filter(str.strip, _lines(path, data, encoding)), ""))
    separator = max(SEPARATORS, key=first.count)  # the first of them where none stands there
    reader = csv.reader(_lines(path, data, encoding), delimiter=separator, strict=True)
    rows = (row for row in reader if any(map(str.strip, row)))
    try:
        header = [composed(word.strip()) for word in next(rows, [])]
        chosen = _choose(path, header, columns)
        result: dict[str, list[str]] = {name: [] for name in chosen}
        places = [(header.index(name), words) for name, words in result.items()]
        known: dict[str, str] = {}  # one object each
        for row in rows:
            if len(row) != len(header):
                raise ZerosumError(
                    f"{path}, line {reader.line_num}: {len(row)} values where the first line names {len(header)} "
                    "columns"
                )
            for place, words in places:
                word = known.get(row[place])
                if word is None:
                    word = known[row[place]] = composed(row[place].strip())
                words.append(word)
    except csv.Error as error:
        raise ZerosumError(f"{path}, line {reader.line_num}: not a readable CSV: {error}") from None
    if not result[chosen[0]]:
        raise ZerosumError(f"{path}: has no rows below the line that names the columns")
    return result


def _choose(path: Path, header: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    """The columns to read; ZerosumError for a header that names none, or lacks one of them."""
    if not any(header):
        raise ZerosumError(f"{path}: is empty: its first line should name the columns")
    if all(map(is_number, header)):
        raise ZerosumError(
            f"{path}: its first line holds numbers ({', '.join(header[:3])}, ...): it should name the columns"
        )
    twice = next((name for name, count in Counter(header).items() if count > 1 and name), None)
    if twice is not None:
        raise ZerosumError(f"{path}: its first line should name each column once, but '{twice}' stands there twice")
    if columns is None:
        if "" in header:
            raise ZerosumError(
                f"{path}: column {list(header).index('') + 1} has no name: give it one, or learn the others: "
                + setting("data.columns", [name for name in header if name])
            )
        return list(header)
    if not columns:
        raise ZerosumError(f"{path}: data.columns names none: leave it out to take all, or name some")
    for name in columns:
        if name not in header or not name:
            raise ZerosumError(f"{path} has no column '{name}': {suggest(name, filter(None, header))}")
        if list(columns).count(name) > 1:
            raise ZerosumError(f"{path}: data.columns names '{name}' twice")
    return list(columns)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ZerosumError(
            "Parquet tables are read and written with pyarrow, which is missing: pip install 'zerosum[shards]'"
        ) from None


def _read_parquet(path: Path, columns: Sequence[str] | None, most: int) -> dict[str, list[str]]:
    arrow, parquet = _import("pyarrow"), _import("pyarrow.parquet")
    try:
        with path.open("rb") as opened:
            file = parquet.ParquetFile(opened, page_checksum_verification=True)
            schema = file.schema_arrow
            chosen = _choose(path, [composed(name.strip()) for name in schema.names], columns)
            names = {composed(name.strip()): name for name in schema.names}
            for name in chosen:
                kind = schema.field(names[name]).type
                kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
                if arrow.types.is_nested(kind) or arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind):
                    others = [one for one in chosen if one != name]
                    raise ZerosumError(
                        f"{path}: column '{name}' holds {kind}, no words or numbers: learn the other columns: "
                        + setting("data.columns", others)
                    )
            # a cell takes a byte at least, and a small file may claim any number of them
            claimed = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            if max(file.metadata.num_rows * len(chosen), sum(group.total_byte_size for group in claimed)) > most:
                raise _too_large(path, most)
            dictionaries = [names[name] for name in chosen]
            table = parquet.ParquetFile(opened, read_dictionary=dictionaries).read(columns=dictionaries)
            if not len(table):
                raise ZerosumError(f"{path}: has no rows")
            return {name: _words(table.column(names[name])) for name in chosen}
    except (arrow.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        said = " ".join(str(error).split())[:300]
        raise ZerosumError(f"{path}: not a readable table: {said or type(error).__name__}") from None


def _words(column: Any) -> list[str]:
    result: list[str] = []
    for chunk in column.chunks:
        coded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        values = coded.dictionary
        # a float32 is written with its own digits, not with those that float64 would need
        short = str(values.type) in ("float", "halffloat")
        known = [_word(value) for value in (values.to_numpy(False) if short else values.to_pylist())]
        result += ["" if code is None else known[code] for code in coded.indices.to_pylist()]
    return result


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            return "" if math.isnan(value) else str(value)
        return str(int(value)) if float(value).is_integer() else str(value)  # so pandas keeps integers beside gaps
    return composed(str(value).strip())


def _typed(words: Sequence[str]) -> list[Any]:
    """Numbers where all words are numbers and none is written as codes are, 007; None where a value is missing."""
    known = {word for word in words if tidy(word)}
    kind: type[Any] = str
    if known and all(is_number(word) and NUMERAL.fullmatch(word) for word in known):
        kind = int if all(map(INTEGER.fullmatch, known)) else float
        if max(abs(float(word)) for word in known) > 2**53:  # digits would be lost
            kind = str
    return [kind(word) if tidy(word) else None for word in words]
