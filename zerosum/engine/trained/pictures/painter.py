"""A trained generator that starts from a picture: `Painter`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from zerosum.data.pictures.images import read_whole
from zerosum.data.pictures.source import from_bytes
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.data.source import Batch, Condition
from zerosum.engine.trained.gan import GivenGan, writing
from zerosum.engine.trained.order import Order
from zerosum.errors import ZerosumError, at_door, option
from zerosum.progress import note

#: most pixels of an input or output picture, and of one for a network that cannot work in tiles
MOST, MOST_AT_ONCE = 80_000_000, 2**22
#: side of the parts in which large pictures are made
TILE = 256


@dataclass(frozen=True, repr=False)
class Painter(GivenGan):
    """The averaged generator of a run whose condition is a picture, in evaluation mode and fp32."""

    spec: PictureSpec

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

    def paint(self, given: Tensor, seeds: Sequence[int]) -> Tensor:
        """Images (N, channels, H * factor, W * factor) in [-1, 1] from pictures (N, C, H, W)."""
        return self.draw(self.latents(seeds), Condition(given=given)).clamp(-1, 1)

    def batches(self, n: int, size: int = 64) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What is made of the first n held-out pictures, as 8-bit pixels, in their order."""
        for start in range(0, n, size):
            batch = self.given(range(start, min(start + size, n)))
            made = self.paint(batch.given, range(start, start + len(batch.real)))
            yield self.modality.scored(self.finished(made), self.spec).contiguous(), None

    @property
    def input(self) -> Input:
        if self.spec.input is None:
            raise TypeError("this generator starts from no picture")
        return self.spec.input

    def given(self, places: Sequence[int]) -> Batch:
        """Held-out pictures with their true images, in an order that is random but always the same."""
        if self.held_out is None:
            raise ZerosumError(self.usage)
        order = self.held_out.positions(0, 0, len(self.held_out))
        return self.held_out.pick(order[np.asarray(places) % len(order)])

    def exhibit(self) -> tuple[Tensor, list[str], int]:
        """The same pictures every time: above what is given, then what is made of it, below the true images."""
        columns = self.modality.columns
        batch = self.given(range(columns))
        made = self.paint(batch.given, range(columns))
        shown = interpolate(batch.given, made.shape[2:], mode="nearest").expand_as(made)
        return self.finished(torch.cat([shown, made, batch.real])), ["given", "made", "true"], columns

    def toward(self, to: str | None = None) -> "Painter":
        """The painter of one of several directions. This one has but one: ZerosumError for any name."""
        if to is not None:
            raise ZerosumError(f"{option('to')} {to}: this generator has one direction only: leave it out")
        return self

    @property
    def usage(self) -> str:
        return f"this generator starts from pictures: give it some with {at_door('--from FOLDER', 'translate()')}"

    def write(self, order: Order) -> Path:
        """What is made of each picture of a folder, zip or file, as name.png in a folder.

        Pictures that cannot be read, or are too large, are named and left out. Where two would have one name, the
        second one keeps its ending too, name.jpg.png.
        """
        if order.actions is not None:
            raise ZerosumError(f"{at_door('--action', 'write()')}: this generator is no world to act in: {self.usage}")
        if order.given is None and order.to is not None:
            raise ZerosumError(f"{option('to')} {order.to}: show the generator pictures, with {option('from')} FOLDER")
        if order.given is None:
            raise ZerosumError(self.usage)
        unfit = {"seeds": order.seeds, "class": order.label, "where": order.where}
        if named := [name for name, value in unfit.items() if value is not None]:
            raise ZerosumError(f"{option(named[0])}: {self.usage}")
        return self.toward(order.to).write_all(order.given, order.out or order.folder / "translated")

    def write_all(self, pictures: Path, place: Path) -> Path:
        bad: list[str] = []
        made: set[Path] = set()
        for name, pixels in read_whole(pictures, self.input.channels, self.input.range):
            if isinstance(pixels, OSError):
                bad.append(f"{name} ({pixels})")
                continue
            try:
                image = self.translate(from_bytes(torch.from_numpy(pixels.copy())))
            except ZerosumError as error:
                bad.append(f"{name} ({error})")
                continue
            target = place / Path(name).with_suffix(".png")
            target = place / f"{name}.png" if target in made else target
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                self.modality.write_one(image[None], self.spec, target)
            made.add(target)
        listed = "; ".join(bad[:3]) + (" ..." if len(bad) > 3 else "")
        if not made:
            raise ZerosumError(f"{pictures}: none of its {len(bad)} pictures can be used: {listed}")
        if bad:
            note(f"{pictures}: {len(bad)} of {len(bad) + len(made)} pictures cannot be used: {listed}")
        return place


def reflected(images: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) mirrored at its right and lower edge up to the next multiple; repeated where there is too little."""
    height, width = images.shape[2:]
    below, right = -height % multiple, -width % multiple
    if not (below or right):
        return images
    mirrored = below < height and right < width
    return pad(images, (0, right, 0, below), mode="reflect" if mirrored else "replicate")
