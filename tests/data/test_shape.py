"""Shapes: what one sample is."""

from typing import Any

import numpy as np
import pytest
import torch

from zerosum.data.shape import Shape
from zerosum.errors import ZerosumError

ROW = Shape({"column": 5}, "mixed")
PICTURE = Shape({"channel": 3, "height": 4, "width": 6})
VOLUME = Shape({"channel": 1, "depth": 2, "height": 4, "width": 6})
CLIP = Shape({"time": 8, "channel": 3, "height": 4, "width": 6})
TOKENS = Shape({"token": 3, "word": 4}, "one-hot")


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (ROW, torch.contiguous_format),
        (PICTURE, torch.channels_last),
        (VOLUME, torch.channels_last_3d),
        (CLIP, torch.contiguous_format),
        (TOKENS, torch.contiguous_format),
    ],
)
def test_layouts(shape: Shape, layout: torch.memory_format) -> None:
    assert shape.layout == layout
    batch = torch.zeros(2, *shape.lengths).contiguous(memory_format=shape.layout)
    assert batch.shape == (2, *shape.lengths)
    assert shape.count == batch[0].numel()


def test_words() -> None:
    assert str(PICTURE) == "3x4x6"
    assert PICTURE.sides == (4, 6)
    assert ROW.sides == ()


@pytest.mark.parametrize("shape", [ROW, PICTURE, VOLUME, CLIP, TOKENS])
def test_it_goes_to_json_and_back(shape: Shape) -> None:
    assert Shape.parse(shape.plain()) == shape


@pytest.mark.parametrize("values", [{}, {"axes": {}}, {"axes": {"a": 0}}, {"axes": {"a": 2**20, "b": 2**20}}])
def test_what_describes_no_sample(values: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        Shape.parse(values)


def test_unknown_values() -> None:
    with pytest.raises(ValueError, match="signed, one-hot, mixed"):
        Shape.parse({"axes": {"a": 1}, "values": "loud"})


def hot(*words: int) -> torch.Tensor:
    return torch.eye(4)[list(words)][None]


@pytest.mark.parametrize(
    ("shape", "batch"),
    [(ROW, torch.rand(7, 5)), (PICTURE, -torch.ones(0, 3, 4, 6)), (PICTURE, torch.full((1, 3, 4, 6), 1.00005))],
)
def test_what_fits(shape: Shape, batch: torch.Tensor) -> None:
    shape.check(batch, "it")
    TOKENS.check(hot(0, 3, 2), "it")


@pytest.mark.parametrize(
    ("shape", "batch", "message"),
    [
        (ROW, np.zeros((2, 5)), r"it is a ndarray: it should be a float32 tensor \(N, column\)"),
        (ROW, torch.zeros(2, 5, dtype=torch.int64), "it is int64 tensors"),
        (ROW, torch.zeros(2, 5, dtype=torch.float64), "it is float64: it should be float32"),
        (ROW, torch.zeros(2, 6), r"it has shape \(2, 6\): it should be \(N, column 5\)"),
        (ROW, torch.zeros(5), r"it has shape \(5,\)"),
        (PICTURE, torch.zeros(2, 5), r"channel 3, height 4, width 6"),
        (PICTURE, torch.full((1, 3, 4, 6), 1.01), "values from 1.01 to 1.01: they should be from -1 to 1"),
        (PICTURE, torch.full((1, 3, 4, 6), -1.01), "values from -1.01"),
        (PICTURE, torch.full((1, 3, 4, 6), 1.0002), "values from 1.0002 to 1.0002: they should be from -1 to 1"),
        (PICTURE, torch.full((1, 3, 4, 6), float("nan")), "it holds NaN or infinity"),
        (TOKENS, -hot(0, 1, 2), "they should be from 0 to 1"),
        (TOKENS, hot(0, 1, 2) / 2, "along its last axis, word, should add to 1"),
    ],
)
def test_what_does_not_fit(shape: Shape, batch: Any, message: str) -> None:
    with pytest.raises(ZerosumError, match=message):
        shape.check(batch, "it")
