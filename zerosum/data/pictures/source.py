"""Pictures as a `Source`: bytes that become floats from -1 to 1, mirrored where the recipe says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum.data.pictures.arrays import to_uint8
from zerosum.data.pictures.fit import Pixels, to_native
from zerosum.data.pictures.spec import PictureSpec
from zerosum.data.source import Index, Lazy, Source, as_array, check_source, read_labels
from zerosum.errors import ZerosumError


def from_bytes(pixels: Tensor) -> Tensor:
    """0 ... 255 as float32 from -1 to 1."""
    return pixels.float().div_(127.5).sub_(1)


def mirrored(images: Tensor, flip: Tensor | None) -> Tensor:
    """Those images (N, C, H, W) left to right for which flip (N,) is true."""
    return images if flip is None else torch.where(flip[:, None, None, None], images.flip(3), images)


def mirror_half(images: Tensor, chances: Tensor) -> Tensor:
    """Images (N, C, H, W), of which those with a chance (N,) below a half left to right."""
    return mirrored(images, flipped(chances))


def flipped(chances: Tensor | None) -> Tensor | None:
    """Which images are mirrored, (N,) bool, from their chances (N,) in [0, 1)."""
    return None if chances is None else chances < 0.5


def mirroring(wanted: bool) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What a source's `augment` is, from the recipe's data.mirror."""
    return mirror_half if wanted else None


@dataclass(frozen=True, repr=False)
class PictureSource(Source):
    """`stored` are bytes (N, channels, side, side)."""

    spec: PictureSpec
    encode: Callable[[Tensor], Tensor] = from_bytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} images {self.spec.summary()})"

    @property
    def images(self) -> Any:
        """uint8 (N, channels, resolution, resolution): an array, in memory or memory-mapped, or `Lazy`."""
        return self.stored

    @property
    def _more(self) -> str:
        return "" if self.spec.input is None else repr(self.spec.input)

    def native(self, index: Sequence[int] | Index) -> Tensor:
        """These images, float32 (N, channels, side, side) in [-1, 1], at the data's own side."""
        return to_native(self.floats(np.asarray(index)), self.spec.native)


def make_source(
    images: Any,
    labels: Any = None,
    names: Mapping[str, Sequence[str]] | None = None,
    native: int | None = None,
    mirror: bool = False,
) -> PictureSource:
    """A source from images (N, channels, side, side) and whole-numbered labels (N, attributes) or (N,).

    images: an array or a tensor of bytes, of floats in [0, 1] or [-1, 1], of 16 bits, or `Lazy`. labels and names as
    in `read_labels`. Raises ZerosumError for arrays that do not fit together.
    """
    pixels = images if isinstance(images, Lazy) else _as_pixels(images)
    channels, side = pixels.shape[1], pixels.shape[2]
    found = read_labels(labels, names, len(pixels), "images")
    spec = PictureSpec.of(channels, side, min(native or side, side), *found[1:])
    return PictureSource(pixels, found.integers, spec, augment=mirroring(mirror))


def are_pictures(samples: Any) -> bool:
    """Whether samples that somebody hands over are pictures: (N, channels, side, side) with 1, 3 or 4 channels, or so
    nearly so that what they lack is worth saying.
    """
    if isinstance(samples, Lazy):
        return True
    shape = getattr(samples, "shape", None)
    if shape is None:
        try:
            shape = np.shape(samples)
        except ValueError:
            return False
    if len(shape) != 4:
        return len(shape) == 3 and np.dtype(getattr(samples, "dtype", float)) == np.uint8 if shape else False
    return shape[1] in (1, 3, 4) or shape[3] in (1, 3, 4)


def check_pictures(source: Source) -> None:
    """As `check_source`, of a source whose samples are pictures."""
    stored = source.stored
    if isinstance(stored, np.ndarray | Lazy) and (stored.dtype != np.uint8 or stored.ndim != 4):
        raise ZerosumError(
            f"images of the source are {stored.dtype} {tuple(stored.shape)}: they should be uint8 (N, channels, side, "
            "side), which zs.make_source(images, labels) makes of other values too"
        )
    check_source(source)


def _as_pixels(images: Any) -> Pixels:
    """uint8 (N, channels, side, side), from floats and 16 bits too where it is plain what their values mean."""
    array = as_array(images, "images")
    where = f"images are {array.dtype} {array.shape}: expected uint8 (N, channels, side, side)"
    if array.ndim == 3:
        raise ZerosumError(f"{where}; for grey ones without channels: images[:, None]")
    if array.ndim == 4 and array.shape[1] not in (1, 3, 4) and array.shape[3] in (1, 3, 4):
        raise ZerosumError(f"{where}; to bring channels from the end: images.transpose(0, 3, 1, 2)")
    if array.ndim != 4 or array.shape[1] not in (1, 3, 4) or array.shape[2] != array.shape[3] or 0 in array.shape:
        raise ZerosumError(
            f"{where} with 1, 3 or 4 channels; for an array of another shape: make_source(samples, values='signed')"
        )
    if array.dtype == np.uint8:
        return array
    most = array.max()
    if array.dtype != bool and not (
        (array.dtype.kind == "f" and not most > 1) or (array.dtype == np.uint16 and most > 255)
    ):
        raise ZerosumError(f"{where}; values up to {most}: bring them to 0 ... 255, then images.astype(np.uint8)")
    return to_uint8(array, f"images are {array.dtype} {array.shape}")
