"""A trained generator that starts from a picture: `Painter`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from zerosum.data.pictures.drawing import to_pixels
from zerosum.data.pictures.fit import to_native
from zerosum.data.pictures.spec import Input
from zerosum.data.source import Batch, Condition, Source
from zerosum.engine.trained.gan import Gan
from zerosum.errors import ZerosumError, at_door, option
from zerosum.networks.calling import call

#: most pixels of an input or output picture, and of one for a network that cannot work in tiles
MOST, MOST_AT_ONCE = 80_000_000, 2**22
#: side of the parts in which large pictures are made
TILE = 256


@dataclass(frozen=True, repr=False)
class Painter(Gan):
    """The averaged generator of a run whose condition is a picture, in evaluation mode and fp32."""

    #: pictures with the true images that belong to them
    held_out: Source | None = None

    def translate(self, picture: Tensor, seed: int = 0) -> Tensor:
        """One picture (C, H, W) in [-1, 1] of any size -> the image made from it, (channels, H * factor, W * factor).

        The generator's sides are multiples of some number: the right and the lower edge are reflected up to the next
        one, and what was made of that is cut off again. Where the generator says how far it sees (`reach`), large
        pictures are made in tiles, with the same result. Raises ZerosumError for another number of channels, and for
        pictures that would take too much memory.
        """
        channels, factor = self.input.channels, self.input.factor
        if picture.dim() != 3 or len(picture) != channels:
            raise ZerosumError(f"a picture of shape {tuple(picture.shape)}: it should be ({channels}, height, width)")
        height, width = picture.shape[1:]
        reach = getattr(self.generator, "reach", None)
        if (most := min(MOST if reach else MOST_AT_ONCE, MOST // factor**2)) < height * width:
            raise ZerosumError(
                f"{width}x{height} pixels are too many, at most {most / 1e6:.1f} million: shrink it first"
            )
        if reach and max(height, width) > TILE:
            return self._in_tiles(picture[None], seed, int(reach))
        whole = reflected(picture[None], int(getattr(self.generator, "multiple", 1)))
        return self.paint(whole, [seed])[0, :, : height * factor, : width * factor]

    def _in_tiles(self, picture: Tensor, seed: int, reach: int) -> Tensor:
        """As `paint` of a picture (1, C, H, W), in parts that each see as much around them as they depend on."""
        factor, (height, width) = self.input.factor, picture.shape[2:]
        result = torch.empty(self.spec.channels, height * factor, width * factor)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                above, before = max(0, top - reach), max(0, left - reach)
                seen = picture[:, :, above : top + TILE + reach, before : left + TILE + reach]
                made = self.paint(seen, [seed])[0, :, (top - above) * factor :, (left - before) * factor :]
                place = result[:, top * factor : (top + TILE) * factor, left * factor : (left + TILE) * factor]
                place.copy_(made[:, : place.shape[1], : place.shape[2]])
        return result

    @torch.no_grad()
    def paint(self, given: Tensor, seeds: Sequence[int]) -> Tensor:
        """Images (N, channels, H * factor, W * factor) in [-1, 1] from pictures (N, C, H, W)."""
        z, training = self.latents(seeds), self.generator.training
        self.generator.eval()
        images: Tensor = call(self.generator, z.to(self.device), Condition(given=given.to(self.device)))
        self.generator.train(training)
        return images.float().cpu().clamp(-1, 1)

    def batches(self, n: int, size: int = 64) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What is made of the first n held-out pictures, as 8-bit pixels, in their order."""
        for start in range(0, n, size):
            batch = self.given(range(start, min(start + size, n)))
            made = self.paint(batch.given, range(start, start + len(batch.real)))
            images = to_native(made, self.spec.native)
            yield to_pixels(images).permute(0, 3, 1, 2).contiguous(), None

    @property
    def input(self) -> Input:
        if self.spec.input is None:
            raise TypeError("this generator starts from no picture")
        return self.spec.input

    def given(self, places: Sequence[int]) -> Batch:
        """Held-out pictures with their true images, in an order that is random but always the same."""
        if self.held_out is None:
            raise ZerosumError(
                f"this generator starts from pictures: give it some with {at_door('--from FOLDER', 'translate()')}"
            )
        order = self.held_out.positions(0, 0, len(self.held_out))
        return self.held_out.pick(order[np.asarray(places) % len(order)])

    def exhibit(self, columns: int) -> tuple[Tensor, list[str]]:
        """The same pictures every time: above what is given, then what is made of it, below the true images."""
        batch = self.given(range(columns))
        made = self.paint(batch.given, range(columns))
        shown = interpolate(batch.given, made.shape[2:], mode="nearest").expand_as(made)
        images = to_native(torch.cat([shown, made, batch.real]), self.spec.native)
        return images, ["given", "made", "true"]

    def toward(self, to: str | None = None) -> "Painter":
        """The painter of one of several directions. This one has but one: ZerosumError for any name."""
        if to is not None:
            raise ZerosumError(f"{option('to')} {to}: this generator has one direction only: leave it out")
        return self

    def sample(self, *_: Any, **__: Any) -> Tensor:
        raise ZerosumError(
            f"this generator starts from pictures: give it some with {at_door('--from FOLDER', 'translate()')}"
        )

    def stream(self, *_: Any, **__: Any) -> Iterator[tuple[Tensor, Tensor | None]]:
        return iter([(self.sample(), None)])  # which says why not

    def interpolate(self, *_: Any, **__: Any) -> Tensor:
        raise ZerosumError("this generator starts from pictures: there is no way between two latents")


def reflected(images: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) mirrored at its right and lower edge up to the next multiple; repeated where there is too little."""
    height, width = images.shape[2:]
    below, right = -height % multiple, -width % multiple
    if not (below or right):
        return images
    mirrored = below < height and right < width
    return pad(images, (0, right, 0, below), mode="reflect" if mirrored else "replicate")
