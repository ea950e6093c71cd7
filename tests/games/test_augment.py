"""Augmentations: what they do to samples, that both players meet them everywhere, and that runs go on exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zerosum as zs
from tests.conftest import Call, same, tiny_batch, tiny_game, tiny_recipe, tiny_source, with_input
from tests.engine.training.test_loop import after, finish, lines, start
from zerosum.engine.runs.run import Run
from zerosum.engine.training.state import tensors_of
from zerosum.errors import ZerosumError
from zerosum.games import cycle
from zerosum.games.augment import AUGMENTATIONS, Augmentation, augmentation, noise
from zerosum.games.objectives import OBJECTIVES
from zerosum.games.step import Players, critic_step, generator_step
from zerosum.modalities.picture import section
from zerosum.recipe import Recipe

pytestmark = pytest.mark.usefixtures("plot_nothing")

SEASONS = Recipe.load("cyclegan-seasons").plain()
CYCLED: dict[str, Any] = {key: SEASONS[key] for key in ("condition", "cycle", "latent", "objective")} | {
    **{"data.input": "pile", "generator": {"network": "resnet", "width": 4, "blocks": 1}},
    **{"critic": {"network": "patch", "width": 4, "layers": 1}},
}

#: known, and unlike for every call: samples + 0, samples + 1 ...
COUNTED: list[float] = []


def counting(samples: Tensor) -> Tensor:
    COUNTED.append(float(len(COUNTED)))
    return torch.full_like(samples, COUNTED[-1])


COUNTER = Augmentation(counting, lambda samples, numbers: 2 * samples + numbers)


class Mean(nn.Module):
    """Scores that are the sum of the values of a sample, or half its square; it remembers what it was shown."""

    def __init__(self, square: bool = False) -> None:
        super().__init__()
        self.one, self.square = nn.Parameter(torch.ones(())), square
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.detach())
        values = images.flatten(1)
        return self.one * (values.square() / 2 if self.square else values).sum(1)


def prepared(critic: nn.Module, overrides: dict[str, Any] | None = None) -> Run:
    return Run.prepare(tiny_recipe(overrides), tiny_source(), critic=critic)


def z_of(run: Run) -> Tensor:
    return torch.randn(4, run.recipe.latent.count, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(500, 2), (50, 3, 8, 8), (40, 100)])
def test_noise(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    samples = torch.rand(shape, requires_grad=True)
    seen = noise(0.25)(samples)
    added = (seen - samples).detach()
    assert added.std().item() == pytest.approx(0.25, rel=0.1)
    assert added.mean().item() == pytest.approx(0, abs=0.03)
    (slope,) = torch.autograd.grad(seen.sum(), samples)
    assert (slope == 1).all()
    torch.manual_seed(0)
    torch.rand(shape)
    assert torch.equal(noise(0.25)(samples), seen)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
@pytest.mark.parametrize("shape", [(4, 3), (4, 1, 8, 8)])
def test_every_augmentation_keeps_the_shape_and_can_be_differentiated(name: str, shape: tuple[int, ...]) -> None:
    made = augmentation(name)
    if made is None:
        assert name == "none"
        return
    samples = torch.rand(shape, requires_grad=True)
    seen = made(samples)
    assert seen.shape == shape
    (slope,) = torch.autograd.grad(seen.square().sum(), samples)
    assert slope.abs().sum() > 0


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("noize", r"unknown augment 'noize': did you mean 'noise' or 'none'\?"),
        ({"name": "noise", "strenth": 1.0}, r"unknown key 'augment.strenth' of noise: did you mean 'strength'\?"),
        ({"name": "noise", "strength": -1.0}, r"augment.strength = -1: should be 0 or more"),
        ({"name": "none", "strength": 1.0}, r"unknown key 'augment.strength' of none: none has no parameters"),
    ],
)
def test_what_is_wrong_is_told_before_training(choice: Any, said: str) -> None:
    with pytest.raises(ZerosumError, match=said):
        Run.prepare(tiny_recipe({"augment": choice}), tiny_source())


def test_the_critic_meets_it_on_real_and_on_generated_samples() -> None:
    critic = Mean()
    run = prepared(critic)
    game, batch = replace(run.game, augment=COUNTER), tiny_batch(run.source)
    with torch.no_grad():
        fake = run.state.players.generator(z_of(run), None)
    critic.shown.clear()
    COUNTED.clear()
    losses = critic_step(game, run.state.players, batch, z_of(run), 0)
    real_seen, fake_seen = critic.shown
    torch.testing.assert_close(real_seen, 2 * batch.real.detach())
    torch.testing.assert_close(fake_seen, 2 * fake + 1)
    torch.testing.assert_close(losses["critic/real"], 2 * batch.real.detach().flatten(1).sum(1).mean())


def test_samples_that_are_judged_together_have_numbers_of_their_own() -> None:
    critic: Any = Mean()
    critic.together = True
    run = prepared(critic)
    critic.shown.clear()
    critic_step(replace(run.game, augment=noise(1.0)), run.state.players, tiny_batch(run.source), z_of(run), 0)
    (both,) = critic.shown
    with torch.no_grad():
        plain = torch.cat([tiny_batch(run.source).real, run.state.players.generator(z_of(run), None)])
    added = both - plain
    assert len(added) == 8
    assert added.std().item() == pytest.approx(1, rel=0.15)
    assert not torch.equal(added[:4], added[4:])


@pytest.mark.parametrize("penalty", ["r1", "r2", "gradient", "zero"])
def test_penalties_meet_it(penalty: str) -> None:
    """|2x + n|^2 / 2 has the slope 2 (2x + n); without the augmentation it would be x."""
    critic = Mean(square=True)
    run = prepared(critic, {f"penalties.{penalty}.weight": 1.0})
    game, batch = replace(run.game, augment=COUNTER), tiny_batch(run.source)
    with torch.no_grad():
        fake = run.state.players.generator(z_of(run), None)
    real, epsilon = batch.real.detach(), torch.tensor([0.0, 0.3, 0.7, 1.0])
    mixed = real * epsilon.view(-1, 1, 1, 1) + fake * (1 - epsilon.view(-1, 1, 1, 1))
    COUNTED.clear()
    losses = critic_step(game, run.state.players, batch, z_of(run), 0, epsilon)
    places = {"r1": (real, 0), "r2": (fake, 1), "gradient": (mixed, 2), "zero": (mixed, 2)}
    point, number = places[penalty]
    squared = (2 * (2 * point + number)).square().flatten(1).sum(1)
    expected = (squared.sqrt() - 1).square().mean() if penalty == "gradient" else squared.mean() / 2
    name = {"gradient": "critic/gradient_penalty", "zero": "critic/zero_penalty"}.get(penalty, f"critic/{penalty}")
    torch.testing.assert_close(losses[name], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["wasserstein", "relativistic"])
def test_gradients_reach_the_generator_through_it(name: str) -> None:
    """It doubles samples and adds a number: with scores that are sums, the gradient of images is doubled."""
    critic = Mean()
    run = prepared(critic, {"objective": name})
    batch, generator = tiny_batch(run.source), run.state.players.generator
    critic.shown.clear()
    COUNTED.clear()
    losses = generator_step(
        replace(run.game, augment=COUNTER),
        Players(generator, critic, Still(), None),
        batch,
        z_of(run),
    )
    fake = generator(z_of(run), None)
    seen = (2 * fake).flatten(1).sum(1)
    of_real = (2 * batch.real + 1).flatten(1).sum(1) if name == "relativistic" else None
    expected = OBJECTIVES[name].generator(seen, of_real)
    torch.testing.assert_close(losses["generator/loss"], expected.detach())
    weights = list(generator.parameters())
    slopes = torch.autograd.grad(expected, weights)
    for weight, slope in zip(weights, slopes, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, slope, rtol=1e-4, atol=1e-6)
    assert any(slope.abs().sum() > 0 for slope in slopes)
    assert len(critic.shown) == (2 if name == "relativistic" else 1)


class Still(torch.optim.Optimizer):
    """In place of an optimizer: gradients are computed, nothing moves."""

    def __init__(self) -> None:
        super().__init__([torch.zeros(1)], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


def test_none_draws_nothing_and_changes_nothing() -> None:
    assert tiny_game(tiny_source()).augment is None
    assert Run.prepare(tiny_recipe(), tiny_source()).game.augment is None


def test_the_critics_of_a_cycle_meet_it_in_both_steps() -> None:
    recipe = tiny_recipe(CYCLED)
    run = Run.prepare(recipe, with_input(tiny_source(16, channels=3, count=40), section(recipe.data)))
    seen: list[tuple[str, float]] = []

    def hear(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _, inputs: seen.append((name, inputs[0].min().item()))

    critics: Any = run.state.players.critic
    for name in ("of_a", "of_b"):
        getattr(critics, name).register_forward_pre_hook(hear(name))
    shift = Augmentation(torch.zeros_like, lambda samples, numbers: samples + numbers + 10)
    game, batch = replace(run.game, augment=shift), run.source.batch(0, 0, 4)
    z = torch.zeros(4, recipe.latent.count)
    for _ in range(2):
        cycle.critic_step(game, run.state.players, batch, z, 0)
        assert {name for name, _ in seen} == {"of_a", "of_b"}
        assert min(low for _, low in seen) >= 9
        seen.clear()
        cycle.generator_step(game, run.state.players, batch, z)
        assert {name for name, _ in seen} == {"of_a", "of_b"}
        assert min(low for _, low in seen) >= 9


@pytest.mark.parametrize("cycled", [False, True])
def test_going_on_is_as_if_never_stopped(tmp_path: Path, cycled: bool) -> None:
    noisy: dict[str, Any] = {"augment": {"name": "noise", "strength": {"from": 0.5, "to": 0.1}}, "checkpoint": 100}
    source, network = tiny_source(), "mlp"
    if cycled:
        noisy |= CYCLED
        source = with_input(tiny_source(16, channels=3, count=40), section(tiny_recipe(noisy).data))
    straight = finish(start(tmp_path / "a", noisy, network, source))
    stopped = finish(start(tmp_path / "b", noisy, network, source), stop=after(3))
    resumed = Run.prepare(tiny_recipe(noisy, network), source)
    resumed.reopen(stopped.place)
    finish(resumed)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))
    assert lines(resumed) == lines(straight)
    bare = finish(start(tmp_path / "c", noisy | {"augment": "none"}, network, source))
    assert not same(tensors_of(bare.state), tensors_of(straight.state))


def test_the_strength_follows_the_step() -> None:
    run = Run.prepare(tiny_recipe({"augment": {"name": "noise", "strength": {"from": 1, "to": 0}}}), tiny_source())
    spreads = []
    for step in (0, 3, 6):
        made = run.at(step)[1].augment
        assert made is not None
        spreads.append(made(torch.zeros(10_000)).std().item())
    assert spreads == pytest.approx([1, 0.5, 0], rel=0.05)


def test_the_plan_shows_it(call: Call) -> None:
    code, out, _ = call("train", "digits", "--dry-run", "--set", "augment={name: noise, strength: 0.3}")
    assert code == 0
    assert "condition embed, augment noise, strength 0.3" in out


def test_an_own_augmentation_is_trained_with_and_asked_for_again(tmp_path: Path) -> None:
    def louder(samples: Tensor) -> Tensor:
        return samples * 2 + 0.1

    keys: dict[str, Any] = {"source": tiny_source(), "augment": louder}
    whole = zs.train(tiny_recipe({"steps": 4}), out=tmp_path, **keys)
    part = zs.train(tiny_recipe({"steps": 2}), out=tmp_path, **keys)
    assert whole.recipe.augment == "given"
    plain = zs.train(tiny_recipe({"steps": 4}), source=tiny_source(), out=tmp_path)
    assert not same(tensors_of(whole.state), tensors_of(plain.state))
    with pytest.raises(ZerosumError, match="your own: pass it again, augment="):
        zs.resume(part.place, source=tiny_source(), steps=4)
    again = zs.resume(part.place, steps=4, **keys)
    assert same(tensors_of(again.state), tensors_of(whole.state))


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (3, "augment is a int"),
        (Mean, "augment is the class Mean"),
        (lambda: None, "cannot be called with samples alone"),
        (lambda samples: samples[:1], "it should keep their shape"),
        (lambda samples: samples.tolist(), "makes a list"),
        (lambda samples: samples.detach(), "without gradients"),
    ],
)
def test_what_is_no_own_augmentation_is_refused(own: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=said):
        zs.train(tiny_recipe(), source=tiny_source(), augment=own, out=tmp_path)
    assert not list(tmp_path.iterdir())
