"""The next frames of a recorded drive, from the last ones and what the driver does."""

from pathlib import Path

import torch
from torch import nn

from zerosum.data.pictures.drives import DriveSource
from zerosum.data.pictures.spec import pictured
from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.engine.trained.pictures.world import WorldGan
from zerosum.metrics.pictures.driving import DrivingYardstick
from zerosum.metrics.result import Measure
from zerosum.recipe import Recipe
from zerosum.sections.data import Data
from zerosum.tasks.task import Task


class World(Task):
    """The generator goes on from frames that are given, and is told what is done."""

    def gan(
        self, recipe: Recipe, generator: nn.Module, spec: Spec, device: torch.device, held_out: Source | None = None
    ) -> WorldGan:
        return WorldGan(generator, pictured(spec), recipe.latent, False, device, held_out)

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
        if not isinstance(source, DriveSource):
            raise TypeError("a world is measured by a recorded drive")
        return DrivingYardstick(source, held_out if isinstance(held_out, DriveSource) else source)
