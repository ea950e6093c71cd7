"""Pictures, one by one or as clips of frames."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from zerosum.data.pictures.drawing import draw_pairs, grid, most_in_grid, save_whole, to_image, to_pixels
from zerosum.data.pictures.fit import to_native
from zerosum.data.pictures.open import open_held_out, open_labelled, open_source, own_side
from zerosum.data.pictures.source import PictureSource, check_pictures
from zerosum.data.pictures.spec import MOST_SIDE, PictureSpec, pictured
from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, suggest
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.extras import Extra
from zerosum.metrics.features import Reals
from zerosum.metrics.pictures import piles
from zerosum.metrics.pictures.classifier import classifier
from zerosum.metrics.pictures.edges import Edges
from zerosum.metrics.pictures.extractors import choose_extractor, has_usable_labels, known_name
from zerosum.metrics.request import Drawer, Looking, Request
from zerosum.metrics.result import Scores
from zerosum.modalities.modality import Drawn, Modality
from zerosum.progress import note
from zerosum.recipe import Recipe
from zerosum.sections.data import Data
from zerosum.sections.picture import PictureData

#: keys of the data section that say how images are read
READ = ("resolution", "channels", "range", "bad_share", "links", "table", "attributes", "hold_out", "memory")


class Picture(Modality):
    """Floats from -1 to 1, (N, channels, height, width); 8-bit files."""

    name = "picture"
    plural = "images"
    endings = tuple(sorted(Image.registered_extensions(), key=lambda ending: ending != ".png"))
    shows_ways = shows_pairs = True

    def parse(self, values: dict[str, Any]) -> PictureSpec:
        return PictureSpec.parse(values)

    def open(self, data: Data, labelled: bool = True, split: str = "train") -> tuple[Source, list[str]]:
        return open_source(section(data), labelled, split)

    def open_labelled(self, data: Data) -> tuple[Source, list[str]]:
        return open_labelled(section(data))

    def held_out(self, data: Data, spec: Spec) -> Source | None:
        return open_held_out(section(data), pictured(spec))

    def truth(self, data: Data, source: Source) -> tuple[Source, Source | None]:
        """At their own side: networks may see them enlarged."""
        spec = pictured(source.spec)
        own = own_side(section(data), spec)
        reals = source if spec.resolution == (own.resolution or spec.resolution) else open_labelled(own)[0]
        return reals, open_held_out(own, pictured(reals.spec))

    def check(self, source: Source) -> None:
        check_pictures(source)

    def finished(self, samples: Tensor, spec: Spec) -> Tensor:
        """At the data's own side."""
        return to_native(samples, pictured(spec).native)

    def scored(self, finished: Tensor, spec: Spec) -> Tensor:
        """uint8 (N, channels, height, width), rounded, and in memory as in a file, channels last."""
        return to_pixels(finished).contiguous().permute(0, 3, 1, 2)

    def decode(self, finished: Tensor, spec: Spec) -> Any:
        """uint8 (N, height, width, channels)."""
        return to_pixels(finished).numpy()

    def show(self, finished: Tensor, names: list[str], across: int, spec: Spec, real: Tensor | None) -> Image.Image:
        return grid(to_pixels(finished), across, names)

    def write(self, drawn: Drawn, count: int, spec: Spec, path: Path) -> None:
        """One grid, in which equal labels stand together. ZerosumError for more images than a grid holds."""
        said = pictured(spec)
        most = most_in_grid(said.native, said.native * said.wide)
        if count > most:
            raise ZerosumError(
                f"--n {count}: a grid holds {most:,} of this generator's images at most; one file each: --seeds "
                f"0-{count - 1}"
            )
        parts = [(to_pixels(images), labels) for images, labels in drawn]
        pixels = torch.cat([part for part, _ in parts])
        labels = [row for _, part in parts if part is not None for row in part.tolist()]
        if labels:
            pixels = pixels[sorted(range(count), key=labels.__getitem__)]
        save_whole(grid(pixels, max(1, round(count**0.5))), path)

    def write_one(self, finished: Tensor, spec: Spec, path: Path) -> None:
        save_whole(to_image(to_pixels(finished)[0]), path)

    def extractor(self, training: Reals, testing: Reals, data: Data | None, looking: Looking) -> Extractor:
        """auto: a classifier of the data where its labels can teach one, else random features."""
        source, features, where = training.source, looking.features, looking.device
        if features != "classifier" and not (features == "auto" and has_usable_labels(source)):
            return choose_extractor("random" if features == "auto" else features, source.spec, where, looking.inception)
        if source.labels is None:
            raise ZerosumError("features = classifier: this data has no labels; use random features or Inception")
        if testing.source.labels is None:  # which then cannot tell how good the classifier is
            training, testing = training.half(0), training.half(1)
        try:
            return classifier(training, testing, known_name(None if data is None else data.uri), where, looking.bf16)
        except ZerosumError as error:
            if features != "auto":
                raise
            note(f"{error}. Going on with random features")
            return choose_extractor("random", source.spec, where)

    def reading(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the data section by their keys, checked. Raises ZerosumError for others than READ."""
        result: dict[str, Any] = {}
        for key in overrides:
            section, _, name = key.partition(".")
            if section != "data" or name.partition(".")[0] not in READ:
                known = [f"data.{name}" for name in READ]
                raise ZerosumError(f"'{key}' says nothing of how images are read for scores: {suggest(key, known)}")
        # larger than what networks learn from
        side = overrides.get("data.resolution")
        if side is not None and (not isinstance(side, int) or isinstance(side, bool) or not 8 <= side <= MOST_SIDE):
            raise ZerosumError(f"data.resolution = {side!r}: should be a whole number from 8 to {MOST_SIDE}")
        data = (
            Recipe().with_overrides({key: value for key, value in overrides.items() if key != "data.resolution"}).data
        )
        for key in overrides:
            name = key.split(".")[1]
            result[name] = side if name == "resolution" else getattr(data, name)
        return {name: value for name, value in result.items() if value is not None}

    def score_drawn(
        self, drawer: Drawer, data: Data | None, source: Source | None, real: Any, asked: Request
    ) -> Scores:
        own = source if isinstance(source, PictureSource) else None
        return piles.score_drawn(drawer, None if data is None else section(data), own, real, asked)

    def score_piles(self, fake: Any, real: Any, asked: Request) -> Scores:
        return piles.score_piles(fake, real, asked)

    def show_pairs(self, pairs: Tensor) -> Image.Image:
        return draw_pairs(pairs)

    def extras(self, spec: Spec) -> list[Extra]:
        return [Edges()]

    def stamp(self, spec: Spec) -> dict[str, Any]:
        said = pictured(spec)
        return {"side": said.native, "channels": said.channels}


MODALITY = Picture()


def section(data: Data) -> PictureData:
    """The data section of a recipe for pictures."""
    if not isinstance(data, PictureData):
        raise TypeError(f"a section of {data.modality}, where pictures are to be read")
    return data
