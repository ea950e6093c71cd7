"""What one sample is: its axes, and what its values are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from zerosum.errors import ZerosumError

#: signed: from -1 to 1. one-hot: along the last axis one 1 among zeros, or shares that add to 1. mixed: spans of both
#: along the last axis, which the facts of the spec describe
Kind = Literal["signed", "one-hot", "mixed"]

#: of one axis, and of all together
MOST_LENGTH, MOST_VALUES = 2**20, 2**31
#: how far rounding may lead beyond -1 and 1, or a sum away from 1
SLACK = 1e-4


@dataclass(frozen=True)
class Shape:
    """Of one sample, without the batch axis: {"channel": 3, "height": 64, "width": 64}, {"column": 90},
    {"time": 64, "channel": 3}, {"token": 32, "word": 28}, ...

    A batch of samples is a float32 tensor (N, *lengths).
    """

    axes: Mapping[str, int] = field(hash=False)
    values: Kind = "signed"

    def __str__(self) -> str:
        return "x".join(map(str, self.lengths))

    @property
    def lengths(self) -> tuple[int, ...]:
        """In the order of the axes."""
        return tuple(self.axes.values())

    @property
    def count(self) -> int:
        """Numbers in one sample."""
        return math.prod(self.lengths)

    @property
    def sides(self) -> tuple[int, ...]:
        """Lengths of the axes of space, which convolutions move along."""
        return tuple(self.axes[name] for name in ("depth", "height", "width") if name in self.axes)

    @property
    def layout(self) -> torch.memory_format:
        """In which order batches lie in memory, so that the layers for such samples are fast."""
        if len(self.axes) == 1 + len(self.sides):
            if len(self.sides) == 2:
                return torch.channels_last
            if len(self.sides) == 3:
                return torch.channels_last_3d
        return torch.contiguous_format

    def check(self, x: Any, what: str) -> None:
        """ZerosumError, beginning with `what`, unless x is a batch of such samples."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = f"{x.dtype} tensors".removeprefix("torch.") if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ZerosumError(f"{what} is {got}: it should be a float32 tensor (N, {', '.join(self.axes)})")
        if tuple(x.shape[1:]) != self.lengths or x.dim() != 1 + len(self.axes):
            wanted = ", ".join(f"{name} {length}" for name, length in self.axes.items())
            raise ZerosumError(f"{what} has shape {tuple(x.shape)}: it should be (N, {wanted})")
        if x.dtype != torch.float32:
            raise ZerosumError(f"{what} is {str(x.dtype).removeprefix('torch.')}: it should be float32")
        if not x.isfinite().all():
            raise ZerosumError(f"{what} holds NaN or infinity")
        low, high = (x.min().item(), x.max().item()) if x.numel() else (0.0, 0.0)
        least = 0.0 if self.values == "one-hot" else -1.0
        if low < least - SLACK or high > 1 + SLACK:
            raise ZerosumError(f"{what} has values from {low:.6g} to {high:.6g}: they should be from {least:g} to 1")
        if self.values == "one-hot" and x.numel() and not ((x.sum(-1) - 1).abs() <= SLACK).all():
            raise ZerosumError(f"{what}: values along its last axis, {list(self.axes)[-1]}, should add to 1")

    def plain(self) -> dict[str, Any]:
        return {"axes": dict(self.axes), "values": self.values}

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Shape":
        """From JSON; KeyError, TypeError, ValueError, AttributeError or OverflowError for what describes no sample."""
        axes = {str(name): int(length) for name, length in values["axes"].items()}
        kind = values.get("values", "signed")
        if kind not in get_args(Kind):
            raise ValueError(f"values {kind!r}: they are {', '.join(get_args(Kind))}")
        if not axes or not all(1 <= length <= MOST_LENGTH for length in axes.values()):
            raise ValueError(f"a sample with axes {axes}")
        shape = cls(axes, kind)
        if shape.count > MOST_VALUES:
            raise ValueError(f"a sample of {shape.count:,} numbers")
        return shape
