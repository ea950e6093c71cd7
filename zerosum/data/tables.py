"""Tables that list pictures, as spreadsheets, pandas, the Hugging Face hub, StyleGAN's and CelebA's authors write them.

A table is read whatever its separator, line ends and encoding are; what cannot be read is one line that says why.
"""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from zerosum.data.pictures.files import Files, composed, is_picture
from zerosum.errors import ZerosumError

#: bytes of a table at most: some million lines
MOST_TABLE = 64 * 2**20

#: how spreadsheets separate values
SEPARATORS = ",;\t|"
#: CelebA's tables, below a line that counts the rows
CELEBA = re.compile(r"list_attr_\w+\.(txt|csv)", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """Lines of words under named columns."""

    #: begins messages
    where: str
    #: folder of the table, inside the data
    base: str
    header: list[str]
    rows: list[list[str]]
    #: number of each row's line in the file
    lines: list[int]
    notes: list[str] = field(default_factory=list)

    def named(self, name: str) -> int | None:
        """The index of a column by its name, whatever its case and separators of words."""
        plain = [_plain(word) for word in self.header]
        return plain.index(_plain(name)) if plain.count(_plain(name)) == 1 else None


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]", "", word).lower()


def read_table(files: Files, name: str) -> Table:
    """A .csv, .tsv, .txt or .jsonl. Raises ZerosumError for what is no table."""
    where, base = f"{files.root}/{name}", str(PurePosixPath(name).parent)
    text, notes = decoded(files, name)
    if name.lower().endswith(".jsonl"):
        header, rows, lines = _json_lines(text, where, notes)
    elif CELEBA.fullmatch(PurePosixPath(name).name) and name.lower().endswith(".txt"):
        header, rows, lines = _celeba(text, where)
    else:
        header, rows, lines = _separated(text, where)
    if not any(header):
        raise ZerosumError(f"{where}: is empty: its first line must name the columns, file_name among them")
    if len(set(header)) != len(header):
        twice = next(word for word, count in Counter(header).items() if count > 1)
        raise ZerosumError(f"{where}: its first line must name each column once, but '{twice}' stands there twice")
    if not rows:
        raise ZerosumError(f"{where}: lists no files")
    return Table(where, base, header, rows, lines, notes)


def decoded(files: Files, name: str) -> tuple[str, list[str]]:
    """The text of a file in the encoding that it is in, and a remark where that had to be guessed."""
    where = f"{files.root}/{name}"
    try:
        if files.stamps[name][0] > MOST_TABLE:
            raise OSError(f"{files.stamps[name][0]:,} bytes is too large")
        data = files.read(name)
    except OSError as error:
        raise ZerosumError(f"{where}: not a readable table: {error}") from None
    notes: list[str] = []
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = data.decode("utf-16")
        elif data[1:2] == b"\0" or data[:1] == b"\0":  # UTF-16 without its mark, where Latin letters have a zero each
            text = data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
        else:
            text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError as error:
            raise ZerosumError(f"{where}: not a readable table: {error}; save it as CSV in UTF-8") from None
        notes.append(f"{where}: is not UTF-8, read as Windows-1252; if names look wrong, save it as CSV in UTF-8")
    if "\0" in text:
        raise ZerosumError(f"{where}: not a readable table: it holds zero bytes; save it as CSV in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _separated(text: str, where: str) -> tuple[list[str], list[list[str]], list[int]]:
    first = re.sub(r'"[^"]*"', "", text.lstrip("\n").partition("\n")[0])
    separator = max(SEPARATORS, key=first.count)  # the first of them where none stands there
    try:
        reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        numbered = [(reader.line_num, row) for row in reader if any(word.strip() for word in row)]
    except csv.Error as error:
        raise ZerosumError(f"{where}: not a readable CSV: {error}") from None
    header = [composed(word.strip()) for word in (numbered[0][1] if numbered else [])]
    for number, row in numbered[1:]:
        if len(row) != len(header):
            raise ZerosumError(
                f"{where}, line {number}: {len(row)} values where the first line names {len(header)} columns"
            )
    return header, [[composed(word.strip()) for word in row] for _, row in numbered[1:]], [n for n, _ in numbered[1:]]


def _json_lines(text: str, where: str, notes: list[str]) -> tuple[list[str], list[list[str]], list[int]]:
    values: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ZerosumError(f"{where}, line {number}: not valid JSON: {str(error)[:100]}") from None
        if not isinstance(value, dict):
            raise ZerosumError(f'{where}, line {number}: expected an object, {{"file_name": ...}}')
        values.append(value)
        lines.append(number)
    keys = list(dict.fromkeys(key for value in values for key in value))
    nested = [key for key in keys if any(isinstance(value.get(key), dict | list) for value in values)]
    if nested:
        notes.append(f"{where}: {', '.join(nested[:5])} hold lists or objects, which are no labels: left out")
    header = [key for key in keys if key not in nested]
    return [composed(key) for key in header], [[_word(value.get(key)) for key in header] for value in values], lines


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():  # pandas keeps integers so where some are missing
        return str(int(value))
    return composed(str(value).strip())


def _celeba(text: str, where: str) -> tuple[list[str], list[list[str]], list[int]]:
    """The number of rows, the names of attributes, and for each picture its file and 1 or -1 for each of them."""
    lines = text.split("\n")
    header = ["file_name", *lines[1].split()] if len(lines) > 1 else []
    rows, numbers = [], []
    for number, line in enumerate(lines[2:], 3):
        words = line.split()
        if not words:
            continue
        if len(words) != len(header):
            raise ZerosumError(f"{where}, line {number}: {len(words) - 1} values for {len(header) - 1} attributes")
        rows.append(words)
        numbers.append(number)
    return header, rows, numbers


def dataset_json(files: Files, name: str) -> Table | None:
    """StyleGAN's dataset.json, {"labels": [["00000/img00000000.png", 3], ...]}; None for one of another kind.

    A table without rows where it says that there are no labels.
    """
    text, _ = decoded(files, name)
    where, base = f"{files.root}/{name}", str(PurePosixPath(name).parent)
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or "labels" not in values:
            return None
        values = values["labels"] or []
        pairs = [(str(file), label) for file, label in (values.items() if isinstance(values, dict) else values)]
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise ZerosumError(
            f'{where}: expected {{"labels": [["picture.png", 0], ...]}}, as StyleGAN writes it'
        ) from None
    if any(not isinstance(label, int | str) or isinstance(label, bool) for _, label in pairs):
        raise ZerosumError(f"{where}: its labels are vectors or missing; a class is a whole number")
    rows = [[composed(file), str(label)] for file, label in pairs]
    return Table(where, base, ["file_name", "class"], rows, list(range(1, len(rows) + 1)))


class Matcher:
    """Which picture a table means by the name that stands in it.

    Names may be relative to the table or to the root, absolute on another machine, without folders, or without their
    ending; separated by slashes or backslashes; in any Unicode form and case. One of these ways is taken for the whole
    table: the one that finds most pictures.
    """

    def __init__(self, pictures: Sequence[str]) -> None:
        self.pictures = list(pictures)
        common = _common([key(name) for name in pictures])
        self._whole = _unique(pictures, key)
        self._below = _unique(pictures, lambda name: key(name)[len(common) :])
        self._last = _unique(pictures, lambda name: key(name).rpartition("/")[2])
        self._bare = [
            _unique(pictures, lambda name: _bare(key(name))),
            _unique(pictures, lambda name: _bare(key(name)[len(common) :])),
            _unique(pictures, lambda name: _bare(key(name).rpartition("/")[2])),
        ]

    def find(self, words: Sequence[str], base: str) -> list[str | None]:
        """For each word the picture that it means, or None."""
        plain = ["" if ".." in (one := key(word)).split("/") else one for word in words]
        below = "" if base == "." else f"{key(base)}/"
        common = _common([word for word in plain if word])
        shorter = [word[len(common) :] for word in plain]
        flat = not any("/" in word for word in shorter)
        ways: list[tuple[dict[str, str], list[str]]] = [
            (self._whole, [below + word for word in plain]),
            (self._whole, plain),
            (self._below, shorter),
            *([(self._last, shorter)] if flat else []),
        ]
        bare = [_bare(word) if is_picture(word) else word for word in plain]
        shorter = [word[len(common) :] for word in bare]
        ways += [(self._bare[0], [below + word for word in bare]), (self._bare[0], bare), (self._bare[1], shorter)]
        ways += [(self._bare[2], shorter)] if flat else []
        found = [[known.get(word) if word else None for word in asked] for known, asked in ways]
        return max(found, key=lambda names: sum(name is not None for name in names))


def key(name: str) -> str:
    """A path as it is compared: composed, in small letters, with slashes, without a dot or a drive in front."""
    plain = composed(name.strip()).replace("\\", "/").casefold()
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    return "/".join(parts)


def _bare(name: str) -> str:
    """Without its ending."""
    head, slash, last = name.rpartition("/")
    return head + slash + last.rpartition(".")[0] if "." in last else name


def _common(names: Sequence[str]) -> str:
    """The folders that all have in common, with a slash behind."""
    if not names:
        return ""
    first, last = min(names).split("/")[:-1], max(names).split("/")[:-1]
    same = []
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        same.append(one)
    return "".join(f"{part}/" for part in same)


def _unique(names: Sequence[str], of: Callable[[str], str]) -> dict[str, str]:
    keys = [of(name) for name in names]
    often = Counter(keys)
    return {word: name for word, name in zip(keys, names, strict=True) if often[word] == 1}
