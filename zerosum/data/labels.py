"""From columns of words to label integers, as the recipe's data.attributes says."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zerosum.errors import ZerosumError, setting, suggest

Attributes = Mapping[str, list[str] | dict[str, tuple[float, float]] | None]

#: a column of numbers with more values than this is to be binned, and one of words with more than these is no class
MOST_VALUES, MOST_CLASSES = 128, 20_000
#: images from which on an attribute must have more than one and a half of them a value
ENOUGH = 20


class Labels:
    """`integers` (N, attributes), `names` attribute -> values, `kept` (N,) False where a number lies in no bin."""

    def __init__(
        self,
        columns: Mapping[str, Sequence[str]],
        attributes: Attributes | None,
        where: str,
        classes: bool = False,
    ) -> None:
        """columns: attribute -> one word for each image. where: begins error messages. classes: folders or an array say
        the class of each image, so that numbers are names.

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
                check_values(where, name, known, len(words), list(columns), classes)
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


def check_values(
    where: str, name: str, values: Sequence[str], images: int, names: Sequence[str] = (), classes: bool = False
) -> None:
    """ZerosumError for an attribute that names single images instead of kinds of them, or is a number to be binned.

    values: its different values. images: how many there are. names: of all attributes. classes: numbers are names.
    """
    numbers = all(natural(value)[0] == 0 for value in values)
    others = dict.fromkeys(other for other in names if other != name)
    if images >= ENOUGH and len(values) > images / 1.5 and not (numbers and len(values) > MOST_VALUES and not classes):
        advice = f"name the attributes to use: {setting('data.attributes', others)}" if others else "leave it out"
        raise ZerosumError(
            f"{where}: attribute '{name}' has {len(values)} different values for {images} images, so it names images "
            f"rather than kinds of them; {advice}"
        )
    if len(values) > MOST_CLASSES or (numbers and len(values) > MOST_VALUES and not classes):
        raise too_many(where, name, len(values))


def too_many(where: str, name: str, count: int) -> ZerosumError:
    bins = {name: {"low": [0, 30], "high": [30, 120]}}
    return ZerosumError(
        f"{where}: attribute '{name}' has {count} different values; name the attributes to use, "
        f"with bins for numbers: {setting('data.attributes', bins)}"
    )


def _bin(
    words: Sequence[str], bins: Mapping[str, tuple[float, float]], where: str
) -> np.ndarray[Any, np.dtype[np.int64]]:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        comma = "; decimals are written with a point" if any("," in word for word in words) else ""
        raise ZerosumError(f"{where} has bins but is no number: {error}{comma}") from None
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
