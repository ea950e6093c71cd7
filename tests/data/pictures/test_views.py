"""Pictures that are made from images: as Pillow shrinks and enlarges, and outlines where there are some."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.conftest import tiny_source
from tests.data.make import noise
from zerosum.data.pictures.drawing import to_pixels
from zerosum.data.pictures.source import PictureSource, mirror_half
from zerosum.data.pictures.views import edges_source, enlarge, outlines, shrink, shrunk_source
from zerosum.errors import ZerosumError


def floats(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float().div(127.5).sub(1)


def levels(images: Tensor) -> np.ndarray:
    return to_pixels(images)[0].numpy().astype(int)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_as_pillow_shrinks_and_enlarges(factor: int) -> None:
    pixels = (noise(32, 64, 3) // 3 + 85).astype(np.uint8)  # far from 0 and 255: Pillow clips between its passes
    small = np.asarray(Image.fromarray(pixels).resize((64 // factor, 32 // factor), Image.Resampling.BICUBIC), int)
    ours = levels(shrink(floats(pixels), factor))
    assert np.abs(ours - small).max() <= 1
    assert (ours == small).mean() > 0.7  # and rounds there too
    large = np.asarray(Image.fromarray(pixels).resize((64 * factor, 32 * factor), Image.Resampling.BICUBIC), int)
    ours = levels(enlarge(floats(pixels), factor))
    assert np.abs(ours - large).max() <= 1
    assert (ours == large).mean() > 0.7


def test_small_pictures_have_the_values_of_a_file() -> None:
    small = shrink(torch.rand(2, 3, 16, 16) * 2 - 1, 4)
    scaled = (small + 1) * 127.5
    torch.testing.assert_close(scaled, scaled.round(), rtol=0, atol=1e-4)


def test_outlines_stand_where_brightness_changes() -> None:
    images = torch.full((2, 3, 16, 16), -0.5)
    images[1, :, :, 8:] = 0.5
    drawn = outlines(images)
    assert drawn.shape == (2, 1, 16, 16)
    assert (drawn[0] == 1).all()  # white: nothing there, not even at the border
    assert (drawn[1, 0, :, 7:9] < 0).all()
    assert (drawn[1, 0, :, :5] == 1).all()
    assert torch.equal(outlines(-images), drawn)
    torch.testing.assert_close(outlines(images.mT), drawn.mT)


@pytest.mark.parametrize("make", [lambda s: shrunk_source(s, 4), edges_source])
def test_a_mirrored_image_has_the_mirrored_picture(make: object) -> None:
    source: PictureSource = make(tiny_source(16, 3, 12, labelled=False))  # type: ignore[operator]
    index = np.arange(12)
    plain, flipped = (
        source.pick(index),
        replace(source, augment=mirror_half).pick(index, chances=(torch.arange(12) % 2).float()),
    )
    turned = torch.where((torch.arange(12) % 2 == 0)[:, None, None, None], plain.given.flip(3), plain.given)
    torch.testing.assert_close(flipped.given, turned, rtol=0, atol=0.008)  # one level of 8 bits
    assert source.labels is None
    assert source.spec.labels == {}


def test_what_does_not_shrink_is_refused() -> None:
    for side, factor in ((18, 4), (8, 4)):
        with pytest.raises(ZerosumError, match=rf"a resolution of {side} does not shrink by it"):
            shrunk_source(tiny_source(side), factor)
