"""Which values of pixels are black and white, judged by all the values of a set, and how they become bytes.

The type of a file says little: scanners keep 12 bits in 16, masks hold 0 and 1 in bytes, and 32 bits hold anything.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from zerosum.errors import ZerosumError, setting

Array = np.ndarray[Any, Any]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Range = tuple[float, float]

BYTES: Range = (0.0, 255.0)
#: whole numbers up to this are no pictures of bytes but masks, or shades that were counted
SHADES = 16
#: floats may overshoot their range by this share of it, as resampling makes them
SLACK = 0.02


@dataclass(frozen=True)
class Values:
    """What is known of all values of a set: the extremes, and whether all are whole numbers."""

    low: float
    high: float
    whole: bool

    @classmethod
    def of(cls, array: Array) -> "Values":
        """ValueError for NaN, infinity, and what holds no numbers."""
        if array.dtype.kind not in "fiub" or array.size == 0:
            raise ValueError(f"{array.dtype} values cannot be pixels")
        low, high = float(array.min()), float(array.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("has NaN or infinite values")
        return cls(low, high, array.dtype.kind != "f" or bool((array == np.rint(array)).all()))

    def __or__(self, other: "Values") -> "Values":
        return Values(min(self.low, other.low), max(self.high, other.high), self.whole and other.whole)


def range_of(values: Values, where: str) -> Range:
    """The values that are black and white; ZerosumError where that cannot be told.

    Floats: 0 to 1, or -1 to 1. Whole numbers from 0 on: 0 to 1, or up to the highest where that is at most SHADES;
    else all of 8, 10, 12, 14 or 16 bits, as many as are needed.
    """
    low, high = values.low, values.high
    if not values.whole and high <= 1 + SLACK and low >= -1 - SLACK:
        return (0.0, 1.0) if low >= -SLACK else (-1.0, 1.0)
    if values.whole and low >= 0 and high <= 2**16 - 1:
        if high <= SHADES:
            return (0.0, max(high, 1.0))
        bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
        return (0.0, float(2**bits - 1))
    if values.whole and -1 <= low < 0 and high <= 1:  # -1, 0 and 1
        return (-1.0, 1.0)
    if low >= 0 and high <= 255:
        return BYTES
    raise ZerosumError(
        f"{where}: values from {low:g} to {high:g}: expected 0 to 1, -1 to 1, or bits from 0 on; say which are black "
        f"and white: {setting('data.range', [math.floor(low), math.ceil(high)])}"
    )


def described(found: Range) -> str:
    """
    >>> described((0.0, 4095.0)), described((-1.0, 1.0))
    ('values 0 to 4095 (12 bits)', 'values -1 to 1')
    """
    low, high = found
    bits = round(math.log2(high + 1)) if high > 0 else 0
    told = f" ({bits} bits)" if low == 0 and bits >= 8 and high == 2**bits - 1 else ""
    return f"values {low:g} to {high:g}{told}"


def to_bytes(values: Array, found: Range) -> Pixels:
    """round(255 * (value - low) / (high - low)), cut to 0 ... 255; the same array where it holds bytes already."""
    if found == BYTES and values.dtype == np.uint8:
        return values
    low, high = found
    scaled = np.rint((values.astype(np.float64) - low) * 255 / (high - low))
    return np.clip(scaled, 0, 255).astype(np.uint8)
