"""One form for two sets of images: they are compared at the same side, with the same channels."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zerosum.data.pictures.drawing import to_pixels
from zerosum.data.pictures.files import Files
from zerosum.data.pictures.fit import Pixels, fit_array
from zerosum.data.pictures.images import WORTH_KEEPING, common_channels, read_header
from zerosum.data.pictures.source import PictureSource
from zerosum.data.pictures.spec import PictureSpec
from zerosum.data.source import Lazy
from zerosum.errors import ZerosumError
from zerosum.progress import track

#: images converted at a time
CHUNK = 1024


@dataclass(frozen=True)
class Sizes:
    """Of a set of images: their channels, and the smallest and the largest of their sides."""

    channels: int
    low: int
    high: int

    @classmethod
    def of(cls, spec: PictureSpec) -> "Sizes":
        return cls(spec.channels, spec.native, spec.native)

    def __str__(self) -> str:
        side = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
        return f"{side} pixels, {self.channels} channel{'s' * (self.channels > 1)}"


def sizes_of_pictures(root: Path, links: bool = False) -> Sizes | None:
    """From the headers of the pictures under a folder or in a zip; None where it holds none that can be read."""
    if not (root.is_dir() or root.suffix.lower() == ".zip"):
        return None
    sides, kinds = set(), set()
    with closing(Files(root, links)) as files:
        names = files.pictures
        for name in track(names, len(names), "reading sizes") if len(names) >= WORTH_KEEPING else names:
            try:
                header = read_header(files.read(name), f"{root}/{name}")
            except (OSError, ZerosumError):
                continue  # whoever decodes the pictures says so
            sides.add(min(header.size))
            kinds.add(header.kind)
    return Sizes(common_channels(kinds), min(sides), max(sides)) if sides else None


@dataclass(frozen=True)
class Form:
    """What images are brought to."""

    channels: int
    side: int

    @classmethod
    def common(cls, one: Sizes, other: Sizes, most: int) -> "Form":
        """The smaller side, no larger than `most`, and the fewer channels: neither set has to be made up from less.

        An enlarged set beside a sharp one would differ by its blur alone; both are shrunk to what both have.
        """
        return cls(min(one.channels, other.channels), min(one.low, other.low, most))

    def __str__(self) -> str:
        return f"{self.channels}x{self.side}x{self.side}"

    def fits(self, sizes: Sizes) -> bool:
        """Whether such images have this form already."""
        return sizes == Sizes(self.channels, self.side, self.side)

    def spec(self, before: PictureSpec) -> PictureSpec:
        """What pictures are that have been brought to this form."""
        said = (before.labels, before.combinations, before.counts)
        return PictureSpec.of(self.channels, self.side, self.side, *said, values=before.range)

    def fit(self, pixels: Pixels) -> Pixels:
        """uint8 (N, C, H, W) -> (N, channels, side, side), as picture files are read; see zerosum.data.pictures.fit."""
        return fit_array(with_channels(pixels, self.channels), self.side)


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """uint8 (N, C, H, W) with 1, 3 or 4 channels -> (N, channels, H, W), by the integer arithmetic of Pillow.

    Alpha that goes is laid on white; grey is the luma of ITU-R 601, which leaves three equal channels as they are.
    """
    if pixels.shape[1] == channels:
        return pixels
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:].astype(np.uint32)
        coefficient = alpha * (255 << 7) // 255
        mixed = pixels[:, :3] * coefficient + 255 * ((255 << 7) - coefficient) + (0x80 << 7)
        pixels = ((((mixed >> 8) + mixed) >> 8) >> 7).astype(np.uint8)
    if pixels.shape[1] == 3 and channels == 1:
        red, green, blue = (pixels[:, at : at + 1].astype(np.uint32) for at in range(3))
        pixels = ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)
    if pixels.shape[1] == 1 and channels > 1:
        pixels = pixels.repeat(3, 1)
    if pixels.shape[1] == 3 and channels == 4:
        opaque = np.full_like(pixels[:, :1], 255)
        pixels = np.concatenate([pixels, opaque], 1)
    return pixels


def loses_colour(source: PictureSource, channels: int) -> bool:
    """Whether images lose something with this number of channels.

    They lose nothing where alpha is opaque everywhere, or where the three channels are equal everywhere.

    Programs write grey pictures with three channels (torchvision's save_image does), or with an alpha that hides
    nothing. Images that are decoded when they are asked for are not looked at.
    """
    if channels >= source.spec.channels:
        return False
    if isinstance(source.images, Lazy):
        return True
    for start in range(0, len(source.images), CHUNK):
        part: Any = source.images[start : start + CHUNK]
        if part.shape[1] == 4 and part[:, 3].min() < 255:
            return True
        if channels == 1 and not (np.array_equal(part[:, 0], part[:, 1]) and np.array_equal(part[:, 0], part[:, 2])):
            return True
    return False


def reformed(source: PictureSource, form: Form) -> PictureSource:
    """The same images, at their own side, in this form. Raises ZerosumError for those that are decoded when asked for.

    They are held in memory where they are not in this form already.
    """
    if form.fits(Sizes.of(source.spec)):
        return source
    if isinstance(source.images, Lazy):
        raise ZerosumError(
            f"images of shards have {Sizes.of(source.spec)}: they are not brought to {form} but where they are opened"
        )
    images = np.empty((len(source), form.channels, form.side, form.side), np.uint8)
    for start in range(0, len(source), CHUNK):
        index = np.arange(start, min(start + CHUNK, len(source)))
        pixels = to_pixels(source.native(index)).permute(0, 3, 1, 2).numpy()
        images[start : start + len(index)] = form.fit(pixels)
    spec = form.spec(source.spec)
    return replace(source, stored=images, spec=spec, rows=None)
