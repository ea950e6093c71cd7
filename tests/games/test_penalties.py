"""Penalties against closed forms: linear and quadratic critics, whose gradients are known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.conftest import tiny_recipe, tiny_source
from zerosum.engine.runs.run import Run
from zerosum.errors import ZerosumError
from zerosum.games.penalties import (
    PENALTIES,
    Penalty,
    clip_weights,
    due,
    interpolate,
    one_centred,
    squared_slopes,
    zero_centred,
)
from zerosum.games.step import critic_step
from zerosum.networks.operators import Down
from zerosum.recipe import Penalties, Recipe

SHAPE = (3, 4, 4)


def images(count: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def direction(norm: float, seed: int = 1) -> Tensor:
    w = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    scale: float = norm / w.norm().item()
    return w * scale


def linear(x: Tensor, w: Tensor) -> Tensor:
    return (x * w).flatten(1).sum(1)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 50), st.integers(1, 6), st.integers(0, 1000))
def test_linear_critics(norm: float, count: int, seed: int) -> None:
    x, w = images(count, seed), direction(norm, seed + 1)
    assert zero_centred(linear(x, w), x).item() == pytest.approx(norm**2 / 2, rel=1e-4)
    assert one_centred(linear(x, w), x).item() == pytest.approx((norm - 1) ** 2, rel=1e-3, abs=1e-6)


def test_norm_of_exactly_one_costs_nothing() -> None:
    w = torch.zeros(SHAPE)
    w[1, 2, 3] = 1.0
    w.requires_grad_()
    penalty = one_centred(linear(x := images(), w), x)
    assert penalty.item() == pytest.approx(0, abs=1e-10)
    (slope,) = torch.autograd.grad(penalty, w)
    assert slope.abs().max().item() == pytest.approx(0, abs=1e-5)
    assert zero_centred(linear(x, w), x).item() == pytest.approx(0.5)


def test_a_flat_critic_has_finite_second_derivatives() -> None:
    for penalty, value in ((one_centred, 1.0), (zero_centred, 0.0)):
        w = torch.zeros(SHAPE, requires_grad=True)
        cost = penalty(linear(x := images(), w), x)
        assert cost.item() == pytest.approx(value, abs=1e-5)
        (slope,) = torch.autograd.grad(cost, w)
        assert torch.isfinite(slope).all()


def test_quadratic_critics() -> None:
    """score = |x - c|^2 a / 2 has the gradient a (x - c)."""
    x, c, a = images(), direction(2.0), 0.7
    scores = a / 2 * (x - c).square().flatten(1).sum(1)
    distances = a * (x.detach() - c).flatten(1).norm(dim=1)
    torch.testing.assert_close(squared_slopes(scores, x), distances.square())
    scores = a / 2 * (x - c).square().flatten(1).sum(1)
    torch.testing.assert_close(zero_centred(scores, x), distances.square().mean() / 2)
    scores = a / 2 * (x - c).square().flatten(1).sum(1)
    torch.testing.assert_close(one_centred(scores, x), (distances - 1).square().mean())


def test_the_norm_is_over_all_values_of_a_sample() -> None:
    """48 slopes of 1/2: the norm over all values is sqrt(12); over channels alone it would be sqrt(3) / 2."""
    x = images()
    w = torch.full(SHAPE, 0.5)
    slopes = squared_slopes(linear(x, w), x)
    assert slopes.shape == (5,)
    torch.testing.assert_close(slopes, torch.full((5,), 12.0))
    assert one_centred(linear(x, w), x).item() == pytest.approx((math.sqrt(12) - 1) ** 2, rel=1e-5)


def test_each_sample_has_its_own_norm() -> None:
    """Slopes of norm 0.5 and 1.5: each is 0.5 away from 1, though their mean is 1."""
    x = images(2)
    w = torch.stack([direction(0.5), direction(1.5)])
    assert one_centred(linear(x, w), x).item() == pytest.approx(0.25, rel=1e-4)
    assert zero_centred(linear(x, w), x).item() == pytest.approx((0.25 + 2.25) / 4, rel=1e-4)


@pytest.mark.parametrize("shape", [(5, 1), (5, 1, 3, 3)])
def test_patch_scores_are_summed(shape: tuple[int, ...]) -> None:
    x, w = images(), direction(2.0)
    patches = linear(x, w).view(5, *[1] * (len(shape) - 1)).expand(shape)
    count = math.prod(shape[1:])
    assert zero_centred(patches, x).item() == pytest.approx((2.0 * count) ** 2 / 2, rel=1e-4)


@pytest.mark.parametrize("penalty", [zero_centred, one_centred])
def test_weights_get_the_true_gradient(penalty: object) -> None:
    """Against central differences and the derivative by hand, for two layers with a smooth activation between."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.Softplus(), nn.Linear(6, 1))
    x = images()

    def cost() -> Tensor:
        function = one_centred if penalty is one_centred else zero_centred
        return function(critic(x).squeeze(1), x)

    layer = critic[1]
    assert isinstance(layer, nn.Linear)
    # the analytic derivative of E[f(|g|)], with g computed by hand in float64
    weight = layer.weight.detach().double().requires_grad_()
    last = critic[3]
    assert isinstance(last, nn.Linear)
    hidden = x.detach().double().flatten(1) @ weight.T + layer.bias.detach().double()
    gradient = (torch.sigmoid(hidden) * last.weight.detach().double()) @ weight
    squared = gradient.square().sum(1)
    expected = (squared.sqrt() - 1).square().mean() if penalty is one_centred else squared.mean() / 2
    (theirs,) = torch.autograd.grad(expected, weight)
    value = cost()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    (ours,) = torch.autograd.grad(value, layer.weight)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)
    # and against a finite difference along that gradient
    step = 1e-2 * ours / ours.norm()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            layer.weight.add_(sign * step)
        values.append(cost().item())
        with torch.no_grad():
            layer.weight.sub_(sign * step)
    assert (values[0] - values[1]) / 2e-2 == pytest.approx(ours.norm().item(), rel=0.02)


def test_gradients_of_weights_are_left_out_of_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be computed, thrown away, and differentiated again."""
    critic, x = Down(8, 2, 4), torch.randn(1, 8, 8, 8, requires_grad=True)
    asked: list[bool] = []

    def note(*_: object) -> None:
        asked.append(True)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = critic(x).float().square()
    monkeypatch.setattr("zerosum.networks.operators.Correlate.forward", note)
    assert squared_slopes(scores, x).shape == (1,)
    assert not asked


def test_interpolates_lie_between_their_pair() -> None:
    real, fake = torch.zeros(4, *SHAPE), torch.ones(4, *SHAPE)
    epsilon = torch.tensor([0.0, 0.25, 0.5, 1.0])
    between = interpolate(real, fake, epsilon)
    # one number for all values of a sample, and epsilon is the share of the real sample
    for row, value in zip(between, (1.0, 0.75, 0.5, 0.0), strict=True):
        torch.testing.assert_close(row.detach(), torch.full(SHAPE, value))


def test_interpolates_are_leaves_to_differentiate_at() -> None:
    real, fake = images(3, 0), images(3, 1)
    between = interpolate(real, fake * 2, torch.rand(3))
    assert between.is_leaf
    assert between.requires_grad
    between.sum().backward()  # type: ignore[no-untyped-call]
    assert real.grad is None
    assert fake.grad is None


def test_clip_weights() -> None:
    network = nn.Linear(3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[-0.5, 0.005, 2.0]]))
        network.bias.fill_(-0.02)
    place = network.weight.data_ptr()
    clip_weights(network.parameters(), 0.01)
    assert network.weight.tolist()[0] == pytest.approx([-0.01, 0.005, 0.01])
    assert network.bias.item() == pytest.approx(-0.01)
    assert network.weight.data_ptr() == place
    assert network.weight.requires_grad


def test_penalties_are_due_at_their_turns() -> None:
    costs = Penalties.model_validate({"r1": {"weight": 1.0, "every": 3}, "gradient": {"weight": 10.0}})
    lazy = {"gradient": 10.0, "r1": 3.0}
    assert [due(costs, turn) for turn in range(4)] == [lazy, {"gradient": 10.0}, {"gradient": 10.0}, lazy]
    assert due(Penalties(), 0) == {}


def test_a_new_penalty_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the recipe to the critic's loss and the names of the losses."""
    monkeypatch.setitem(PENALTIES, "drift", Penalty("real", lambda scores, _: scores.square().mean(), "drift"))
    source = tiny_source()
    recipe = tiny_recipe({"penalties.drift.weight": 2.0, "penalties.drift.every": 3})
    assert Recipe.parse(recipe.plain()) == recipe
    run = Run.prepare(recipe, source)
    real = source.batch(0, 0, 4)
    z = torch.randn(4, recipe.latent.count, generator=torch.Generator().manual_seed(0))
    losses = critic_step(run.game, run.state.players, real, z, 0)
    assert losses["critic/drift"] > 0
    assert "critic/drift" not in critic_step(run.game, run.state.players, real, z, 1)


def test_unknown_penalties_are_refused_before_training() -> None:
    with pytest.raises(ZerosumError, match=r"unknown penalty 'penalties.gradiant': did you mean 'gradient'\?"):
        Run.prepare(tiny_recipe({"penalties.gradiant.weight": 1.0}), tiny_source())


def test_the_zero_centred_penalty_between_pairs() -> None:
    """A critic that is linear has the same slope everywhere, so it pays half of its square (Thanh-Tung 2019)."""
    source = tiny_source()
    run = Run.prepare(tiny_recipe({"penalties.zero.weight": 1.0}), source, critic=Slope())
    real = source.batch(0, 0, 4)
    z = torch.zeros(4, run.recipe.latent.count)
    losses = critic_step(run.game, run.state.players, real, z, 0, torch.tensor([0.0, 0.3, 0.7, 1.0]))
    count = real.real[0].numel()
    assert losses["critic/zero_penalty"].item() == pytest.approx(9.0 * count / 2, rel=1e-5)


class Slope(nn.Module):
    """Scores that rise by 3 with every value of a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(3.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.slope * images.flatten(1).sum(1)
