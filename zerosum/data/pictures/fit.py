"""How pictures of any size become squares of the training resolution, and how samples come back.

1. The largest centred square is cut out.
2. A square up to an eighth smaller than the resolution is padded by repeating its edge pixels, so that no pixel changes
   (28x28 in 32x32); samples are cropped back.
3. Any other square is resized: Lanczos, which is anti-aliased, to shrink, bilinear to enlarge. Samples of enlarged data
   come back by the least-squares inverse of the enlargement, so that a real image would come back as it was. Samples of
   shrunk data stay at the resolution: enlarging them would add nothing.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def is_padded(native: int, resolution: int) -> bool:
    return resolution * 7 <= native * 8 < resolution * 8


def fit_image(image: Image.Image, resolution: int) -> Image.Image:
    """A square of the given side, in the same mode."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):
        image = image.crop((left, top, left + side, top + side))
    if side == resolution:
        return image
    if is_padded(side, resolution):
        return _to_image(_pad(_to_pixels(image)[None], resolution)[0])
    filters = Image.Resampling.LANCZOS if side > resolution else Image.Resampling.BILINEAR
    return image.resize((resolution, resolution), filters)


def fit_array(images: Pixels, resolution: int) -> Pixels:
    """(N, C, H, W) uint8 -> (N, C, resolution, resolution), by the same rule."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side == resolution:
        return images
    if is_padded(side, resolution):
        return _pad(images, resolution)
    result = np.empty((*images.shape[:2], resolution, resolution), np.uint8)
    for place, image in zip(result, images, strict=True):
        place[:] = _to_pixels(fit_image(_to_image(image), resolution))
    return result


def to_native(images: Tensor, native: int) -> Tensor:
    """Samples (N, C, resolution, resolution) in [-1, 1] at the data's own side, native <= resolution."""
    resolution = images.shape[-2]
    if native == resolution:
        return images
    if is_padded(native, resolution):
        start = (resolution - native) // 2
        return images[..., start : start + native, start : start + native]
    inverse = _shrinking(native, resolution).to(images)
    samples: Tensor = inverse @ images @ inverse.T
    return samples.clamp(-1, 1)


@lru_cache
def _shrinking(native: int, resolution: int) -> Tensor:
    """(native, resolution): the least-squares inverse of bilinear enlargement on one axis; its condition is about 2."""
    enlarging = interpolate(torch.eye(native, dtype=torch.float64)[None], resolution, mode="linear")[0].T
    inverse: Tensor = torch.linalg.pinv(enlarging)
    return inverse


def _pad(images: Pixels, resolution: int) -> Pixels:
    before = (resolution - images.shape[-1]) // 2
    after = resolution - images.shape[-1] - before
    return np.pad(images, ((0, 0), (0, 0), (before, after), (before, after)), mode="edge")


def _to_pixels(image: Image.Image) -> Pixels:
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
