"""How far generated rows of a table are from real ones: features for Frechet distances, and measures of columns."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from zerosum.data.columns import Codec, Column, tidy
from zerosum.errors import ZerosumError


class RowFeatures(nn.Module):
    """Encoded rows (N, numbers) -> features (N, numbers), of the table that they decode to; nothing is learnt.

    Categories become their likeliest value, one 1 among zeros, and numbers that are missing 0, as in real rows. A
    number's place among the quantiles stays as it is: even from -1 to 1, of variance 1/3. A category of n values is
    multiplied by sqrt(n / (3 (n - 1))), so that the variances of its n features add to 1/3 too where all of its values
    are equally frequent.
    """

    scale: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.spans: list[tuple[str, int, int]] = []
        scales: list[float] = []
        for column in columns:
            start, size = len(scales), column.width
            self.spans.append((column.kind, start, start + size))
            numbers = 1 if column.kind == "number" else 0
            n = size - numbers
            scales += [1.0] * numbers + [(n / (3 * (n - 1))) ** 0.5 if n > 1 else 1.0] * n
        self.register_buffer("scale", torch.tensor(scales))

    def extra_repr(self) -> str:
        return f"spans={self.spans}"

    def forward(self, rows: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for kind, start, stop in self.spans:
            numbers = 1 if kind == "number" else 0
            number, shares = rows[:, start : start + numbers], rows[:, start + numbers : stop]
            hot = one_hot(shares.argmax(1), shares.shape[1]).to(rows.dtype) if shares.shape[1] else shares
            parts += [number * hot[:, :1] if numbers and shares.shape[1] else number, hot]
        return torch.cat(parts, 1) * self.scale


def marginal_distances(
    real: Mapping[str, Sequence[str]], made: Mapping[str, Sequence[str]], columns: Sequence[Column]
) -> dict[str, float]:
    """Column -> how far the distributions of its words in two tables are apart, from 0 to 1.

    Of a number, the Kolmogorov-Smirnov distance: the largest difference of the distribution functions; cells without a
    value count as less than any number. Of a category, the total variation distance: half the sum of the differences
    of shares. Raises ZerosumError for a table without rows.
    """
    result = {}
    for column in columns:
        pair = real[column.name], made[column.name]
        if not all(map(len, pair)):
            raise ZerosumError(f"column '{column.name}': there are no rows to compare")
        result[column.name] = _steps_apart(column, *pair) if column.kind == "number" else _shares_apart(*pair)
    return result


def _steps_apart(column: Column, real: Sequence[str], made: Sequence[str]) -> float:
    left, right = (np.sort(np.nan_to_num(column.numbers(words), nan=-np.inf)) for words in (real, made))
    places = np.concatenate([left, right])
    below = [np.searchsorted(one, places, "right") / len(one) for one in (left, right)]
    return float(np.abs(below[0] - below[1]).max())


def _shares_apart(real: Sequence[str], made: Sequence[str]) -> float:
    left, right = (Counter(map(tidy, words)) for words in (real, made))
    return sum(abs(left[word] / len(real) - right[word] / len(made)) for word in left | right) / 2


def correlation_error(real: Tensor, made: Tensor) -> float:
    """Mean absolute difference of the correlations of all pairs of encoded numbers: (N, numbers) -> 0 to 2.

    A number that is the same in all rows correlates with none. Raises ZerosumError for rows of different widths, or
    fewer than two.
    """
    if real.shape[1:] != made.shape[1:] or min(len(real), len(made)) < 2:
        raise ZerosumError(f"rows of shape {tuple(real.shape)} and {tuple(made.shape)} cannot be compared")
    pairs = torch.ones(real.shape[1], real.shape[1], dtype=torch.bool).triu(1)
    apart = (_correlations(real) - _correlations(made))[pairs].abs()
    return float(apart.mean()) if len(apart) else 0.0


def _correlations(rows: Tensor) -> Tensor:
    centred = rows.detach().cpu().double()
    centred = centred - centred.mean(0)
    lengths = centred.norm(dim=0)
    flat = lengths <= 1e-6 * len(rows) ** 0.5
    normal = torch.where(flat, torch.zeros_like(centred), centred / lengths.clamp(min=1e-30))
    return normal.T @ normal


class RowTally:
    """Encoded rows of a table, which come in batches, and how far its columns are from those of another."""

    #: rows that are looked at
    most = 10_000

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.parts: list[Tensor] = []
        self.count = 0

    def add(self, rows: Tensor) -> None:
        """rows: (N, numbers)"""
        part = rows[: self.most - self.count]
        if len(part):
            self.parts.append(part)
            self.count += len(part)

    def compare(self, real: "RowTally") -> dict[str, float]:
        """marginals: the mean of `marginal_distances` over columns; correlations: `correlation_error`."""
        if min(self.count, real.count) < 2:
            return {"marginals": math.nan, "correlations": math.nan}
        mine, theirs = torch.cat(self.parts), torch.cat(real.parts)
        tables = [self.codec.decode(rows.numpy()) for rows in (theirs, mine)]
        apart = marginal_distances(tables[0], tables[1], self.codec.columns)
        return {"marginals": sum(apart.values()) / len(apart), "correlations": correlation_error(theirs, mine)}
