"""Columns of a table, and rows of words as rows of numbers that networks learn, there and back.

A number becomes its place in the distribution of its column, from -1 to 1: whatever its scale and its outliers,
networks then meet values that are spread evenly. A category becomes one 1 among zeros.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from zerosum.data.labels import natural
from zerosum.errors import ZerosumError, setting, suggest

Kind = Literal["category", "number"]
#: kind of values, and the first encoded number and the one behind the last
Span = tuple[Literal["signed", "one-hot"], int, int]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Doubles = np.ndarray[Any, np.dtype[np.float64]]

#: words that stand for a value that is not known
MISSING = frozenset({"", "?", "NA", "NaN", "nan", "null", "None"})
#: different whole numbers up to which they are names of categories
FEW = 10
#: values of a category at most, quantiles that are kept of a number, and digits after its point
MOST_VALUES, MOST_KNOTS, MOST_DECIMALS = 1000, 1000, 324
#: larger numbers are names
LARGEST = 1e100
#: different words from which on a column that has one for every second row names the rows
NAMES = 100

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """One column: what stands in it, and how it is encoded."""

    name: str
    kind: Kind
    #: of a category, the most frequent first; "" for cells without a value
    values: tuple[str, ...] = ()
    #: of a number: evenly spaced quantiles from the least to the largest, values of the data, repeated where many rows
    #: share one
    knots: tuple[float, ...] = ()
    #: digits after the point
    decimals: int = 0
    #: whether some cells of a number are empty
    missing: bool = False

    @property
    def spans(self) -> list[Span]:
        """As those of a row that has this column alone."""
        if self.kind == "category":
            return [("one-hot", 0, len(self.values))]
        return [("signed", 0, 1), *([("one-hot", 1, 3)] if self.missing else [])]  # type: ignore[list-item]

    @property
    def width(self) -> int:
        """How many encoded numbers it takes."""
        return self.spans[-1][2]

    @classmethod
    def fit(cls, name: str, words: Sequence[str], others: Sequence[str] = ()) -> "Column":
        """The column that these words, one for each row, make: a number where all words are numbers and some have
        digits after the point or they are more than a few, else a category.

        others: the columns that advice names to be learned without this one. Raises ZerosumError for words that name
        rows instead of kinds of them, and for more values than networks are to choose from.
        """
        counts = Counter(map(tidy, words))
        known = [word for word in counts if word]
        if _are_numbers(known):
            rows = np.sort(np.repeat([float(word) for word in known], [counts[word] for word in known]))
            places = np.linspace(0, len(rows) - 1, min(len(rows), MOST_KNOTS)).round().astype(np.int64)
            decimals = min(MOST_DECIMALS, max(map(_decimals, known)))
            return cls(name, "number", (), tuple(rows[places].tolist()), decimals, "" in counts)
        if _are_names(counts):
            advice = setting("data.columns", list(others)) if others else "leave it out of data.columns"
            raise ZerosumError(
                f"column '{name}' has {len(counts):,} different values in {len(words):,} rows ('{known[0]}', ...): "
                f"names of rows cannot be learned, learn the other columns: {advice}"
            )
        return cls(name, "category", tuple(sorted(counts, key=lambda word: (-counts[word], natural(word)))))

    def numbers(self, words: Sequence[str]) -> Doubles:
        """What a column of numbers says, NaN for missing values; ZerosumError for a word that is no number."""
        known: dict[str, float] = {}
        for row, word in enumerate(words, 1):
            if word not in known:
                plain = tidy(word)
                if plain and not is_number(plain):
                    raise ZerosumError(f"column '{self.name}', row {row}: '{word}' is no number, as in other rows")
                known[word] = float(plain or "nan")
        return np.array([known[word] for word in words], np.float64)

    def encode(self, words: Sequence[str]) -> Floats:
        """(N, width). Raises ZerosumError for a word that this column cannot hold; numbers beyond the seen range
        become its ends.
        """
        rows = np.zeros((len(words), self.width), np.float32)
        if self.kind == "category":
            rows[np.arange(len(words)), self._choices(words)] = 1
            return rows
        numbers = self.numbers(words)
        absent = np.isnan(numbers)
        if self.missing:
            rows[:, 1], rows[:, 2] = ~absent, absent
        elif absent.any():
            raise ZerosumError(
                f"column '{self.name}', row {int(absent.argmax()) + 1}: the number is missing, as in no row that was "
                "learned from"
            )
        rows[~absent, 0] = self._places(numbers[~absent])
        return rows

    def decode(self, rows: Floats) -> list[str]:
        """(N, width) -> words, "" where a value is missing: the likeliest category, the number at that place of the
        distribution, with as many digits as the data has.
        """
        if self.kind == "category":
            return [self.values[index] for index in rows.argmax(1).tolist()]
        knots = np.array(self.knots)
        place = (rows[:, 0].astype(np.float64).clip(-1, 1) + 1) / 2 * (len(knots) - 1)
        # a value that was encoded at a knot is that knot's, whatever float32 has lost
        near = place.round()
        place = np.where(np.abs(place - near) < 2e-7 * len(knots), near, place)
        left = np.minimum(place.astype(np.int64), len(knots) - 2)
        low, high, share = knots[left], knots[left + 1], place - left
        numbers = (low * (1 - share) + high * share).clip(low, high)
        words = [f"{number:z.{self.decimals}f}" for number in numbers.tolist()]
        if not self.missing:
            return words
        return ["" if gone else word for word, gone in zip(words, (rows[:, 2] > rows[:, 1]).tolist(), strict=True)]

    def _choices(self, words: Sequence[str]) -> list[int]:
        place = {value: index for index, value in enumerate(self.values)}
        place |= {word: place[""] for word in MISSING if "" in place}
        try:
            return [place[word.strip()] for word in words]
        except KeyError:
            row = next(row for row, word in enumerate(words) if tidy(word) not in self.values)
            if tidy(words[row]):
                said = f"'{words[row]}' stands in no row that was learned from: {suggest(words[row], self.values[:20])}"
            else:
                said = "the value is missing, as in no row that was learned from"
            raise ZerosumError(f"column '{self.name}', row {row + 1}: {said}") from None

    def _places(self, numbers: Doubles) -> Doubles:
        """From -1 to 1: the middle of the knots that are equal to a number, or its place between two."""
        knots, numbers = np.array(self.knots), numbers.clip(self.knots[0], self.knots[-1])
        first, after = np.searchsorted(knots, numbers, "left"), np.searchsorted(knots, numbers, "right")
        below = (after - 1).clip(0, len(knots) - 2)
        gap = np.where(after > first, 1.0, knots[below + 1] - knots[below])
        places = np.where(after > first, (first + after - 1) / 2, below + (numbers - knots[below]) / gap)
        return places / (len(knots) - 1) * 2 - 1

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Column":
        """From JSON; KeyError, TypeError, ValueError or AttributeError for what describes no column."""
        name, kind = values["name"], values["kind"]
        words, knots = values.get("values", ()), values.get("knots", ())
        decimals, missing = values.get("decimals", 0), values.get("missing", False)
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in (name, *words)):
            raise TypeError("a name or value of a column that is no text")
        if type(decimals) is not int or type(missing) is not bool:
            raise TypeError(f"column '{name}': {decimals!r} digits, missing {missing!r}")
        if kind not in get_args(Kind) or bool(words) != (kind == "category") or bool(knots) != (kind == "number"):
            raise ValueError(f"column '{name}': {kind!r} with {len(words)} values and {len(knots)} knots")
        if len(words) > MOST_VALUES or len(set(words)) != len(words) or not MISSING.isdisjoint({*words} - {""}):
            raise ValueError(f"column '{name}': values that are too many or not different")
        if not isinstance(knots, list | tuple) or any(type(knot) not in (int, float) for knot in knots):
            raise TypeError(f"column '{name}': knots that are no numbers")
        bounded = all(abs(knot) <= LARGEST for knot in knots)
        if knots and not (2 <= len(knots) <= MOST_KNOTS and bounded and list(knots) == sorted(knots)):
            raise ValueError(f"column '{name}': knots that are no quantiles")
        if not 0 <= decimals <= MOST_DECIMALS or (kind == "category" and (decimals or missing)):
            raise ValueError(f"column '{name}': {decimals} digits, missing {missing}")
        return cls(name, kind, tuple(words), tuple(map(float, knots)), decimals, missing)


@dataclass(frozen=True)
class Codec:
    """Rows of words, one for each column, as rows of numbers (N, width), and back."""

    columns: tuple[Column, ...]

    @classmethod
    def fit(cls, table: Mapping[str, Sequence[str]]) -> "Codec":
        """For the rows of a table, column by column; ZerosumError as `Column.fit`."""
        counts = {name: Counter(map(tidy, words)) for name, words in table.items()}
        others = [name for name, one in counts.items() if _are_numbers(list(filter(None, one))) or not _are_names(one)]
        return cls(tuple(Column.fit(name, words, others) for name, words in table.items()))

    @cached_property
    def spans(self) -> list[Span]:
        """What the encoded numbers are, in order and without a gap."""
        result: list[Span] = []
        for column in self.columns:
            start = result[-1][2] if result else 0
            result += [(kind, start + first, start + stop) for kind, first, stop in column.spans]
        return result

    @property
    def width(self) -> int:
        """Encoded numbers of a row."""
        return self.spans[-1][2]

    def encode(self, table: Mapping[str, Sequence[str]]) -> Floats:
        """float32 (N, width), from -1 to 1; columns that this codec lacks are left out.

        Raises ZerosumError for a column that is missing, and as `Column.encode`.
        """
        for column in self.columns:
            if column.name not in table:
                raise ZerosumError(f"the table has no column '{column.name}': {suggest(column.name, table)}")
        return np.concatenate([column.encode(table[column.name]) for column in self.columns], 1)

    def decode(self, rows: Floats) -> dict[str, list[str]]:
        """(N, width) -> words of each column; one-hot numbers need only be larger for likelier values."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ZerosumError(f"rows of shape {rows.shape}: they should be (N, {self.width})")
        parts = np.split(rows, np.cumsum([column.width for column in self.columns])[:-1], 1)
        return {column.name: column.decode(part) for column, part in zip(self.columns, parts, strict=True)}


def parse_spans(values: Any, width: int) -> list[Span]:
    """From JSON, [["signed", 0, 1], ["one-hot", 1, 4], ...]; TypeError or ValueError unless they cover rows of this
    width one after the other.
    """
    spans: list[Span] = []
    for kind, start, stop in values:
        if kind not in ("signed", "one-hot") or start != (spans[-1][2] if spans else 0) or not start < stop:
            raise ValueError(f"a span {kind!r} from {start!r} to {stop!r} of {width} numbers")
        spans.append((kind, int(start), int(stop)))
    if not spans or spans[-1][2] != width:
        raise ValueError(f"spans that do not cover {width} numbers")
    return spans


def tidy(word: str) -> str:
    """The word without spaces around it; "" for one that stands for a missing value."""
    word = word.strip()
    return "" if word in MISSING else word


def is_number(word: str) -> bool:
    """Whether a word is a number as programs write it, and not too large to compute with."""
    return NUMBER.fullmatch(word) is not None and math.isfinite(number := float(word)) and abs(number) <= LARGEST


def _are_numbers(words: Sequence[str]) -> bool:
    """Whether these different words are numbers that count or measure something."""
    if not all(map(is_number, words)):
        return False
    numbers = set(map(float, words))
    return len(numbers) > (FEW if all(number.is_integer() for number in numbers) else 1)


def _are_names(counts: Counter[str]) -> bool:
    """Whether nearly every row has a word of its own, or there are too many to choose from."""
    return len(counts) > max(NAMES, counts.total() / 2) or len(counts) > MOST_VALUES


def _decimals(word: str) -> int:
    exponent = Decimal(word).as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
