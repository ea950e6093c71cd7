"""Samples from z, and from labels where the networks are shown them."""

from typing import Any, ClassVar

import torch
from torch import nn

from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.engine.trained.gan import Gan, LabelGan
from zerosum.metrics.request import Looking, Request
from zerosum.metrics.result import Measure, Scores
from zerosum.metrics.yardstick import make_yardstick
from zerosum.modalities import modality_of
from zerosum.recipe import GIVEN, Recipe
from zerosum.sections.data import Data
from zerosum.tasks.task import Task

#: values of an attribute that a plan names
MOST_SHOWN = 20


class Generation(Task):
    """The usual game."""

    from_held_out: ClassVar[bool] = False

    def gan(
        self, recipe: Recipe, generator: nn.Module, spec: Spec, device: torch.device, held_out: Source | None = None
    ) -> LabelGan:
        return LabelGan(generator, spec, recipe.latent, recipe.condition.labels, device)

    def yardstick(self, data: Data, source: Source, held_out: Source | None, looking: Looking) -> Measure:
        """Of real samples as they come out, held-out ones if there are any."""
        if data.uri != GIVEN:
            source, held_out = modality_of(source.spec).truth(data, source)
        return make_yardstick(source, held_out, looking, data=data)

    def score(self, gan: Gan, data: Data, source: Source | None, real: Any, asked: Request) -> Scores:
        """Against held-out or other real samples, as its modality compares them."""
        return modality_of(gan.spec).score_drawn(gan, data, source, real, asked)

    def plan(self, recipe: Recipe, spec: Spec, held_out: Source | None) -> dict[str, str]:
        return {"labels": "; ".join(map(_values, spec.labels.items())) or "none"}


def _values(attribute: tuple[str, tuple[str, ...]]) -> str:
    name, values = attribute
    more = f" and {len(values) - MOST_SHOWN} more" if len(values) > MOST_SHOWN else ""
    return f"{name}: {', '.join(values[:MOST_SHOWN])}{more}"
