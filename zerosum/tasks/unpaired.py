"""Two domains of pictures, there and back, without a picture of one that has a counterpart in the other."""

from dataclasses import replace
from typing import ClassVar

from torch import nn

from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.engine.trained.gan import Gan
from zerosum.engine.trained.pictures.translator import Translator
from zerosum.errors import ZerosumError
from zerosum.games import cycle
from zerosum.metrics.pictures.domains import DomainsYardstick
from zerosum.metrics.request import Looking
from zerosum.metrics.result import Measure
from zerosum.metrics.yardstick import make_yardstick
from zerosum.networks import make_critic, make_generator
from zerosum.networks.directions import Critics, Generators
from zerosum.recipe import Recipe
from zerosum.sections.data import Data
from zerosum.tasks.task import Rules, Task


class Unpaired(Task):
    """Two generators and two critics, each pair as one player (Zhu 2017)."""

    kind = Translator
    labelled = True
    rules: ClassVar[Rules] = cycle

    def make_generator(self, recipe: Recipe, spec: Spec, most: int | None = None) -> nn.Module:
        return Generators(make_generator(recipe, spec, most), make_generator(recipe, spec, most))

    def make_critic(self, recipe: Recipe, spec: Spec) -> nn.Module:
        if recipe.cycle is None:
            raise TypeError("a recipe for two domains without a part cycle")
        of_a, of_b = (make_critic(recipe, spec, conditional=False) for _ in range(2))
        return Critics(of_a, of_b, spec, recipe.cycle.pool, recipe.batch)

    def check_players(self, generator: nn.Module, critic: nn.Module) -> None:
        if not (isinstance(generator, Generators) and isinstance(critic, Critics)):
            raise ZerosumError(
                "a recipe with a part cycle trains two generators and two critics: own networks are named in the "
                "recipe, generator.network=package.module:Class, which is then made twice"
            )

    def yardstick(self, data: Data, source: Source, held_out: Source | None, looking: Looking) -> Measure:
        return DomainsYardstick(make_yardstick(source, held_out, replace(looking, bf16=False)))

    def further_scores(self, gan: Gan, count: int) -> dict[str, float]:
        """How far pictures are from what comes back of them."""
        return {f"cycle_error{count}": gan.cycle_error(count)} if isinstance(gan, Translator) else {}

    def plan_of_game(self, recipe: Recipe) -> list[str]:
        if recipe.cycle is None:
            return []
        said = recipe.cycle
        return [f"cycle x {said.weight:g}", f"identity x {said.identity:g}", f"{said.pool} past fakes"]
