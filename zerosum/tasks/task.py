"""What the engine asks of a kind of game: `Task`."""

from dataclasses import replace
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.engine.trained.gan import Gan, GivenGan
from zerosum.errors import ZerosumError, option
from zerosum.games import step
from zerosum.metrics.request import USUAL, Looking, Request
from zerosum.metrics.result import Measure, Scores
from zerosum.metrics.yardstick import measured
from zerosum.modalities import modality
from zerosum.networks import make_critic, make_generator
from zerosum.progress import told
from zerosum.recipe import Recipe
from zerosum.sections.data import Data


class Rules(Protocol):
    """The two steps: a module such as zerosum.games.step."""

    critic_step: Any
    generator_step: Any


class Task:
    """A kind of game. A new one is a subclass in a file of its own, and its entry in zerosum.tasks.TASKS."""

    #: of a task in which something is given: what its generator is, and whether its samples have labels
    kind: ClassVar[type[GivenGan]]
    labelled: ClassVar[bool] = False
    #: how both players move
    rules: ClassVar[Rules] = step
    #: whether samples are made from what is held out of the data, which must be opened then
    from_held_out: ClassVar[bool] = True

    def make_generator(self, recipe: Recipe, spec: Spec, most: int | None = None) -> nn.Module:
        """See `zerosum.networks.make_generator`."""
        return make_generator(recipe, spec, most)

    def make_critic(self, recipe: Recipe, spec: Spec) -> nn.Module:
        """See `zerosum.networks.make_critic`."""
        return make_critic(recipe, spec)

    def check_players(self, generator: nn.Module, critic: nn.Module) -> None:
        """ZerosumError for players that cannot play this game."""

    def gan(
        self, recipe: Recipe, generator: nn.Module, spec: Spec, device: torch.device, held_out: Source | None = None
    ) -> Gan:
        """What this generator can do once it is trained. held_out: where it finds what it starts from."""
        return self.kind(generator, spec, recipe.latent, self.labelled, device, held_out)

    def yardstick(self, data: Data, source: Source, held_out: Source | None, looking: Looking) -> Measure:
        """What measures generated samples. source: what was learnt from, with all its labels."""
        raise NotImplementedError

    def score(self, gan: Any, data: Data, source: Source | None, real: Any, asked: Request) -> Scores:
        """Of a trained generator, as it has learnt: what it makes of held-out data, beside what is true.

        source: what was learnt from, where it was handed over. Raises ZerosumError for anything else to compare with.
        """
        if asked.against != "test":
            raise ZerosumError(
                f"against = {asked.against}: what is made from something given is scored on held-out data only"
            )
        for key in asked.overrides:
            if key not in ("bad_share", "memory"):
                raise ZerosumError(
                    f"data.{key}: what is made from something given is scored in the form that it was learnt in"
                )
        if real is not None:
            raise ZerosumError(
                "what is made from something given is compared with the true samples of the run's own data: leave "
                f"{option('real')}"
            )
        data = data.model_copy(update=dict(asked.overrides))
        held_out = None
        if source is None:
            kind = modality(data.modality)
            source = told(kind.open(data))
            held_out = kind.held_out(data, source.spec)
        yardstick = self.yardstick(data, source, held_out, asked)
        count, gan = min(asked.n or USUAL, yardstick.most), replace(gan, held_out=held_out or source)
        scores = measured(yardstick, gan.batches(count), count, gan.conditional, asked)
        return replace(scores, scores=scores.scores | self.further_scores(gan, count))

    def further_scores(self, gan: Gan, count: int) -> dict[str, float]:
        """Scores that take more than samples, by their full names."""
        return {}

    def plan(self, recipe: Recipe, spec: Spec, held_out: Source | None) -> dict[str, str]:
        """What `zerosum train --dry-run` says of the condition, a word for each line."""
        kinds = ", ".join(name for names in spec.labels.values() for name in names)
        said = f"{recipe.data.what_is_given}: {kinds}" if kinds else recipe.data.what_is_given
        lines = {"given": f"{said}, {spec.given}"}
        return lines if held_out is None else lines | {"held out": f"{len(held_out):,}"}

    def plan_of_game(self, recipe: Recipe) -> list[str]:
        """The parts of the game that the plan names beside the objective and the content loss."""
        return []
