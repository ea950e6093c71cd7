"""CycleGAN's two steps: who moves, who stays, and what they pay, against the paper's formulas written out."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.conftest import CPU, same, snapshot, tiny_recipe, tiny_source
from zerosum.data.pictures.domains import DomainSource, domain_source
from zerosum.data.source import Batch
from zerosum.engine.training.state import make_state
from zerosum.games.cycle import critic_step, generator_step
from zerosum.games.objectives import OBJECTIVES, objective
from zerosum.games.step import Game, Players
from zerosum.networks.directions import Critics, Generators
from zerosum.recipe import Cycle, Penalties, Recipe

NOTHING = torch.zeros(2, 0)


def piles() -> DomainSource:
    return domain_source(tiny_source(16, 3, 12, classes=2), "here")


def recipe(**overrides: object) -> Recipe:
    keys = {
        "batch": 2,
        "latent.size": 0,
        "condition.method": "picture",
        "data.input": "pile",
        "cycle": {"pool": 9},
        "generator": {"network": "resnet", "width": 2, "blocks": 1},
        "critic": {"network": "patch", "width": 4, "layers": 1},
    }
    return tiny_recipe(keys | overrides)


def game(cycle: Cycle | None = None, name: str = "least-squares", adversarial: float = 1.0) -> Game:
    return Game(objective(name), Penalties(), (), 1.0, CPU, adversarial, cycle=cycle or Cycle(weight=3.0, identity=2.0))


def make_players() -> tuple[Players, Generators, Critics]:
    players = make_state(recipe(), piles().spec, torch.device("cpu")).players
    assert isinstance(players.generator, Generators)
    assert isinstance(players.critic, Critics)
    for one in (players.generator.to_a, players.generator.to_b):
        torch.nn.init.normal_(one.get_parameter("last.weight"), 0.0, 0.02)
    for player in (players.generator, players.critic):
        for weight in player.parameters():
            weight.data.mul_(10)  # so that every part of the losses matters
    return players, players.generator, players.critic


def weights_of(critics: Critics) -> dict[str, Tensor]:
    return {name: value for name, value in snapshot(critics).items() if not name.startswith("fake")}


def near(mine: Sequence[Tensor | None], wanted: Sequence[Tensor]) -> bool:
    """Gradients of all weights: a bias before a normalisation has none but for rounding."""
    one, other = (
        torch.cat([torch.zeros(0) if part is None else part.flatten() for part in of]) for of in (mine, wanted)
    )
    return bool((one - other).norm() < 1e-3 * other.norm())


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_each_step_moves_both_directions_and_nobody_else(name: str) -> None:
    players, generators, critics = make_players()
    for turn in range(2):
        batch = piles().batch(0, turn, 2)
        before = snapshot(generators), weights_of(critics)
        losses = critic_step(game(name=name), players, batch, NOTHING, turn)
        middle = snapshot(generators), weights_of(critics)
        losses |= generator_step(game(name=name), players, batch, NOTHING)
        after = snapshot(generators), weights_of(critics)
        assert same(before[0], middle[0])
        assert same(middle[1], after[1])
        for moved, here, there in (("of_a of_b", before[1], middle[1]), ("to_a to_b", middle[0], after[0])):
            for part in moved.split():
                assert any(key.startswith(part) and not torch.equal(here[key], there[key]) for key in here)
        assert set(losses) == {
            *("critic/loss", "critic/real", "critic/fake"),
            *("generator/loss", "generator/cycle", "generator/identity"),
        }
        assert all(value.dim() == 0 and value.isfinite() and not value.requires_grad for value in losses.values())
    assert all(weight.requires_grad for player in (generators, critics) for weight in player.parameters())


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("identity", [0.0, 2.0])
def test_the_generators_pay_what_the_paper_says(alone: bool, identity: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """alone: one batch for translation and identity, or each for itself: the same."""
    players, generators, critics = make_players()
    monkeypatch.setattr(type(generators.to_b), "alone", alone)
    batch = piles().batch(0, 0, 2)
    a, b = batch.given, batch.real
    fake_b, fake_a = generators.to_b(NOTHING, a), generators.to_a(NOTHING, b)
    deceive = ((critics.of_b(fake_b) - 1) ** 2).mean() / 2 + ((critics.of_a(fake_a) - 1) ** 2).mean() / 2
    back = (generators.to_a(NOTHING, fake_b) - a).abs().mean() + (generators.to_b(NOTHING, fake_a) - b).abs().mean()
    stay = (generators.to_a(NOTHING, a) - a).abs().mean() + (generators.to_b(NOTHING, b) - b).abs().mean()
    weights = list(generators.parameters())
    wanted = torch.autograd.grad(1.5 * deceive + 3.0 * back + identity * stay, weights)
    losses = generator_step(game(Cycle(weight=3.0, identity=identity), adversarial=1.5), players, batch, NOTHING)
    assert torch.allclose(losses["generator/loss"], deceive / 2, rtol=1e-4)
    assert torch.allclose(losses["generator/cycle"], back / 2, rtol=1e-4)
    assert ("generator/identity" in losses) == (identity > 0)
    if identity:
        assert torch.allclose(losses["generator/identity"], stay / 2, rtol=1e-4)
    assert near([weight.grad for weight in weights], wanted)


def test_the_critics_judge_what_the_generators_made_last() -> None:
    """At first, what they would make of the same pictures; in 8 bits, as the real ones are."""
    players, generators, critics = make_players()
    batches = [piles().batch(0, draw, 2) for draw in range(2)]
    seen = fakes(generators, batches[0])
    for turn, batch in enumerate(batches):  # so few that the pool shows the newest only
        parts, weights = [], list(critics.parameters())
        for critic, real, fake in ((critics.of_a, batch.given, seen[0]), (critics.of_b, batch.real, seen[1])):
            parts.append(((critic(real) - 1) ** 2).mean() / 2 + (critic(fake) ** 2).mean() / 2)
        total = torch.stack(parts).sum()
        wanted = torch.autograd.grad(total, weights)
        losses = critic_step(game(), players, batch, NOTHING, turn)
        assert torch.allclose(losses["critic/loss"], total / 2, rtol=1e-4)
        assert near([weight.grad for weight in weights], wanted)
        seen = fakes(generators, batch)  # before they move on
        generator_step(game(), players, batch, NOTHING)


def fakes(generators: Generators, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of pile A and of pile B, through 8 bits."""
    with torch.no_grad():
        made = generators.to_a(NOTHING, batch.real), generators.to_b(NOTHING, batch.given)
    return made[0].add(1).mul(127.5).round().div(127.5).sub(1), made[1].add(1).mul(127.5).round().div(127.5).sub(1)


def test_players_of_another_game_are_refused() -> None:
    players, generators, _ = make_players()
    batch = piles().batch(0, 0, 2)
    with pytest.raises(TypeError, match="Generators and Critics"):
        generator_step(game(), replace(players, generator=generators.to_b), batch, NOTHING)
    with pytest.raises(TypeError, match="weights in its game"):
        generator_step(replace(game(), cycle=None), players, batch, NOTHING)
