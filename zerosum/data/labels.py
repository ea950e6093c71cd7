"""From columns of words to label integers, as the recipe's data.attributes says."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zerosum.errors import ZerosumError, suggest

Attributes = Mapping[str, list[str] | dict[str, tuple[float, float]] | None]

#: a column with more values than this is a number to be binned, or a name, but no class
MOST_VALUES = 128


class Labels:
    """`integers` (N, attributes), `names` attribute -> values, `kept` (N,) False where a number lies in no bin."""

    def __init__(self, columns: Mapping[str, Sequence[str]], attributes: Attributes | None, where: str) -> None:
        """columns: attribute -> one word for each image. where: begins error messages.

        Raises ZerosumError for unknown attributes, empty or unknown values, and numbers that are none.
        """
        wanted: Attributes = dict.fromkeys(columns) if attributes is None else attributes
        self.names: dict[str, tuple[str, ...]] = {}
        self.kept: np.ndarray[Any, np.dtype[np.bool_]] = np.ones(len(next(iter(columns.values()), ())), bool)
        result = []
        if not wanted:
            raise ZerosumError(f"{where}: data.attributes names none: leave it out to take all, or name some")
        for name, values in wanted.items():
            if name not in columns:
                raise ZerosumError(f"{where} has no attribute '{name}': {suggest(name, columns)}")
            words = columns[name]
            empty = next((row for row, word in enumerate(words) if word.strip() == ""), None)
            if empty is not None:
                raise ZerosumError(f"{where}, image {empty + 1}: attribute '{name}' is empty")
            if isinstance(values, dict):
                numbers = _bin(words, values, f"{where}, attribute '{name}'")
                if not (numbers >= 0).any():
                    raise ZerosumError(f"{where}, attribute '{name}': none of its values lies in a bin: {dict(values)}")
                self.kept &= numbers >= 0
                self.names[name] = tuple(values)
            else:
                known = tuple(values) if values else tuple(sorted(set(words), key=natural))
                if len(known) > MOST_VALUES:
                    raise too_many(where, name, len(known))
                place = {word: index for index, word in enumerate(known)}
                strange = next((row for row, word in enumerate(words) if word not in place), None)
                if strange is not None:
                    raise ZerosumError(
                        f"{where}, image {strange + 1}: unknown {name} '{words[strange]}': "
                        f"{suggest(words[strange], known)}"
                    )
                numbers = np.array([place[word] for word in words], np.int64)
                self.names[name] = known
            result.append(numbers)
        if not self.kept.any():
            raise ZerosumError(f"{where}: no image lies in a bin of every attribute: {', '.join(wanted)}")
        self.integers: np.ndarray[Any, np.dtype[np.int64]] = np.stack(result, 1)[self.kept]


def too_many(where: str, name: str, count: int) -> ZerosumError:
    return ZerosumError(
        f"{where}: attribute '{name}' has {count} different values; name the attributes to use, "
        f"with bins for numbers: --set 'data.attributes={{{name}: {{low: [0, 30], high: [30, 120]}}}}'"
    )


def _bin(
    words: Sequence[str], bins: Mapping[str, tuple[float, float]], where: str
) -> np.ndarray[Any, np.dtype[np.int64]]:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise ZerosumError(f"{where} has bins but is no number: {error}") from None
    result = np.full(len(words), -1, np.int64)
    for index, (low, high) in enumerate(bins.values()):
        inside = (numbers >= low) & (numbers < high)
        if (result[inside] >= 0).any():
            raise ZerosumError(f"{where}: the bins overlap; each is [low, high)")
        result[inside] = index
    return result


def natural(word: str) -> tuple[int, float, str]:
    """Sorts numbers by value, before words."""
    try:
        number = float(word)
    except ValueError:
        return (1, 0.0, word)
    return (1, 0.0, word) if math.isnan(number) else (0, number, word)
