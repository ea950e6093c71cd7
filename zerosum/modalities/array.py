"""Arrays of any shape, handed over from Python: quantities, or names such as tokens."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor, nn

from zerosum.data.arrays import LARGEST, Names, Quantities
from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, suggest
from zerosum.metrics.extractor import Extractor, from_module
from zerosum.metrics.features import Reals
from zerosum.metrics.projection import Projection
from zerosum.metrics.request import Drawer, Looking, Request
from zerosum.metrics.result import Scores
from zerosum.metrics.yardstick import score_alike
from zerosum.modalities.modality import Drawn, Modality
from zerosum.sections.data import Data
from zerosum.whole import whole

#: of a sample in a picture of samples, in dots
CELL, GAP = 96, 6
INK, PAPER = 40, 255


class Array(Modality):
    """Arrays come out in their units; nothing else is known of them."""

    name = "array"
    endings = (".npy",)

    def parse(self, values: dict[str, Any]) -> Spec:
        spec = Spec.parse(values)
        if spec.sample.values == "mixed":
            raise ValueError("arrays of mixed values")
        made = coder(spec)
        if isinstance(made, Names) and spec.sample.lengths[-1] != made.words:
            raise ValueError(f"{made.words} words in samples of {spec.sample}")
        if isinstance(made, Quantities) and not -LARGEST < made.low < made.high < LARGEST:
            raise ValueError(f"values from {made.low:g} to {made.high:g}")
        return spec

    def held_out(self, data: Data, spec: Spec) -> Source | None:
        return None

    def finished(self, samples: Tensor, spec: Spec) -> Tensor:
        return coder(spec).back(samples)

    def show(self, finished: Tensor, names: list[str], across: int, spec: Spec, real: Tensor | None) -> Image.Image:
        """Samples of one axis as curves, of two or more as shades of their middle slice."""
        values = finished.double()
        low, high = float(values.min()), float(values.max())
        scaled = ((values - low) / (high - low if high > low else 1)).numpy()
        rows = -(-len(scaled) // across)
        step = CELL + GAP
        sheet = Image.new("L", (across * step + GAP, rows * step + GAP), PAPER)
        for index, one in enumerate(scaled):
            sheet.paste(drawn(one), (index % across * step + GAP, index // across * step + GAP))
        return sheet

    def write(self, drawn: Drawn, count: int, spec: Spec, path: Path) -> None:
        self.check_path(path)
        parts = [samples.numpy() for samples, _ in drawn]
        with whole(path) as draft, draft.open("wb") as file:
            np.save(file, np.concatenate(parts), allow_pickle=False)

    def extractor(self, training: Reals, testing: Reals, data: Data | None, looking: Looking) -> Extractor:
        spec, features, where = training.source.spec, looking.features, looking.device
        if isinstance(features, nn.Module):
            return from_module(features, where)
        if features not in ("auto", "random"):
            raise ZerosumError(f"features = {features}: arrays have random features: {suggest(features, ['random'])}")
        return Extractor("random", Projection(spec.sample.count).to(where), where, Encoded(spec))

    def score_drawn(
        self, drawer: Drawer, data: Data | None, source: Source | None, real: Any, asked: Request
    ) -> Scores:
        return score_alike(self, drawer, data, source, real, asked)


class Encoded:
    """Finished samples (N, ...) as networks see them, flat: (N, count)."""

    def __init__(self, spec: Spec) -> None:
        self.coder = coder(spec)

    def __call__(self, finished: Tensor) -> Tensor:
        return self.coder(finished).flatten(1)


def coder(spec: Spec) -> Quantities | Names:
    """Between stored and encoded samples."""
    if spec.sample.values == "one-hot":
        return Names(int(spec.facts["words"]))
    low, high = map(float, spec.facts["range"])
    return Quantities(low, high)


def drawn(sample: np.ndarray[Any, Any]) -> Image.Image:
    """One sample with values from 0 to 1, as a picture of CELL by CELL dots."""
    while sample.ndim > 2:
        sample = sample[len(sample) // 2]
    if sample.ndim == 2 and min(sample.shape) > 8:
        shades = Image.fromarray((255 * sample).round().astype(np.uint8))
        return shades.resize((CELL, CELL), Image.Resampling.NEAREST)
    cell = Image.new("L", (CELL, CELL), PAPER)
    pen = ImageDraw.Draw(cell)
    pen.rectangle((0, 0, CELL - 1, CELL - 1), outline=220)
    for curve in np.atleast_2d(sample):
        across = np.linspace(2, CELL - 3, max(2, len(curve)))
        down = CELL - 3 - np.resize(curve, len(across)) * (CELL - 6)
        pen.line(list(zip(across.tolist(), down.tolist(), strict=True)), fill=INK)
    return cell


MODALITY = Array()
