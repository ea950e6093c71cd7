"""Pictures from pictures that have a true counterpart: sharpened, from outlines, from pairs."""

from pathlib import Path

import torch
from torch import nn

from zerosum.data.pictures.spec import pictured
from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.engine.trained.pictures.painter import Painter
from zerosum.errors import ZerosumError
from zerosum.metrics.pictures.extractors import choose_extractor
from zerosum.metrics.pictures.paired import PairedYardstick
from zerosum.metrics.result import Measure
from zerosum.recipe import Recipe
from zerosum.sections.data import Data
from zerosum.tasks.task import Task


class Translation(Task):
    """The generator starts from a picture whose true counterpart is known."""

    def gan(
        self, recipe: Recipe, generator: nn.Module, spec: Spec, device: torch.device, held_out: Source | None = None
    ) -> Painter:
        return Painter(generator, pictured(spec), recipe.latent, False, device, held_out)

    def yardstick(
        self,
        data: Data,
        source: Source,
        held_out: Source | None,
        features: str | nn.Module,
        device: torch.device,
        inception: Path | None = None,
        bf16: bool = False,
    ) -> Measure:
        """Images are made of the held-out pictures, in their order.

        auto: texture features, since a blur is what goes wrong where the picture says what is to be seen. Raises
        ZerosumError for features = classifier: labels say nothing of sharpness.
        """
        if features == "classifier":
            raise ZerosumError(
                "features = classifier: images made from pictures have no labels; use texture, random or Inception"
            )
        chosen = "texture" if features == "auto" else features
        return PairedYardstick.of(source, held_out, choose_extractor(chosen, source.spec, device, inception))
