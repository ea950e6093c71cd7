"""Objectives against the papers' formulas, at the ends of the float range, and at the optimum of known densities."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import zerosum as zs
from tests.conftest import same, tiny_recipe, tiny_source
from zerosum.engine.runs.run import Run
from zerosum.engine.training.graphs import can_record
from zerosum.errors import ZerosumError
from zerosum.games.objectives import CONTENTS, OBJECTIVES, content, objective
from zerosum.loading import parse_overrides
from zerosum.plainyaml import read_yaml
from zerosum.recipe import Recipe

NAMES = list(OBJECTIVES)
Formula = Callable[[Tensor, Tensor], Tensor]


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


#: name -> (critic's loss, generator's loss), of (real, fake), as the papers write them
PAPERS: dict[str, tuple[Formula, Formula]] = {
    "minimax": (
        lambda r, f: -torch.log(sigmoid(r)).mean() - torch.log(1 - sigmoid(f)).mean(),
        lambda r, f: torch.log(1 - sigmoid(f)).mean(),
    ),
    "non-saturating": (
        lambda r, f: -torch.log(sigmoid(r)).mean() - torch.log(1 - sigmoid(f)).mean(),
        lambda r, f: -torch.log(sigmoid(f)).mean(),
    ),
    "least-squares": (
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * ((f - 0) ** 2).mean(),
        lambda r, f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "hinge": (
        lambda r, f: (
            -torch.minimum(torch.zeros_like(r), r - 1).mean() - torch.minimum(torch.zeros_like(f), -f - 1).mean()
        ),
        lambda r, f: -f.mean(),
    ),
    "wasserstein": (lambda r, f: -(r.mean() - f.mean()), lambda r, f: -f.mean()),
    "relativistic": (
        lambda r, f: -torch.log(sigmoid(r - f)).mean(),
        lambda r, f: -torch.log(sigmoid(f - r)).mean(),
    ),
    "relativistic-average": (
        lambda r, f: -torch.log(sigmoid(r - f.mean())).mean() - torch.log(1 - sigmoid(f - r.mean())).mean(),
        lambda r, f: -torch.log(sigmoid(f - r.mean())).mean() - torch.log(1 - sigmoid(r - f.mean())).mean(),
    ),
    "feature-matching": (
        lambda r, f: -torch.log(sigmoid(r)).mean() - torch.log(1 - sigmoid(f)).mean(),
        lambda r, f: ((f.sum(0) / len(f) - r.sum(0) / len(r)) ** 2).sum(),
    ),
    "label-smoothing": (
        lambda r, f: (
            -(0.9 * torch.log(sigmoid(r)) + 0.1 * torch.log(1 - sigmoid(r))).mean() - torch.log(1 - sigmoid(f)).mean()
        ),
        lambda r, f: -torch.log(sigmoid(f)).mean(),
    ),
}

#: limits at a score of x on both: (critic's loss at real = x, fake = y) for the four corners of (+-big, +-big)
BIG = 1e4
CORNERS: dict[str, dict[tuple[int, int], float]] = {
    "minimax": {(1, -1): 0, (-1, -1): BIG, (1, 1): BIG, (-1, 1): 2 * BIG},
    "non-saturating": {(1, -1): 0, (-1, -1): BIG, (1, 1): BIG, (-1, 1): 2 * BIG},
    "least-squares": {
        (1, -1): ((BIG - 1) ** 2 + BIG**2) / 2,
        (-1, -1): ((BIG + 1) ** 2 + BIG**2) / 2,
        (1, 1): ((BIG - 1) ** 2 + BIG**2) / 2,
        (-1, 1): ((BIG + 1) ** 2 + BIG**2) / 2,
    },
    "hinge": {(1, -1): 0, (-1, -1): BIG + 1, (1, 1): BIG + 1, (-1, 1): 2 * BIG + 2},
    "wasserstein": {(1, -1): -2 * BIG, (-1, -1): 0, (1, 1): 0, (-1, 1): 2 * BIG},
    "relativistic": {(1, -1): 0, (-1, -1): math.log(2), (1, 1): math.log(2), (-1, 1): 2 * BIG},
    "relativistic-average": {(1, -1): 0, (-1, -1): 2 * math.log(2), (1, 1): 2 * math.log(2), (-1, 1): 4 * BIG},
    "feature-matching": {(1, -1): 0, (-1, -1): BIG, (1, 1): BIG, (-1, 1): 2 * BIG},
    "label-smoothing": {(1, -1): 0.1 * BIG, (-1, -1): 0.9 * BIG, (1, 1): 1.1 * BIG, (-1, 1): 1.9 * BIG},
}
#: (critic's slope at real, critic's slope at fake) in the same corners
SLOPES: dict[str, dict[tuple[int, int], tuple[float, float]]] = {
    "minimax": {(1, -1): (0, 0), (-1, -1): (-1, 0), (1, 1): (0, 1), (-1, 1): (-1, 1)},
    "non-saturating": {(1, -1): (0, 0), (-1, -1): (-1, 0), (1, 1): (0, 1), (-1, 1): (-1, 1)},
    "least-squares": {
        (1, -1): (BIG - 1, -BIG),
        (-1, -1): (-BIG - 1, -BIG),
        (1, 1): (BIG - 1, BIG),
        (-1, 1): (-BIG - 1, BIG),
    },
    "hinge": {(1, -1): (0, 0), (-1, -1): (-1, 0), (1, 1): (0, 1), (-1, 1): (-1, 1)},
    "wasserstein": dict.fromkeys([(1, -1), (-1, -1), (1, 1), (-1, 1)], (-1, 1)),
    "relativistic": {(1, -1): (0, 0), (-1, -1): (-0.5, 0.5), (1, 1): (-0.5, 0.5), (-1, 1): (-1, 1)},
    "relativistic-average": {(1, -1): (0, 0), (-1, -1): (-1, 1), (1, 1): (-1, 1), (-1, 1): (-2, 2)},
    "feature-matching": {(1, -1): (0, 0), (-1, -1): (-1, 0), (1, 1): (0, 1), (-1, 1): (-1, 1)},
    "label-smoothing": {(1, -1): (0.1, 0), (-1, -1): (-0.9, 0), (1, 1): (0.1, 1), (-1, 1): (-0.9, 1)},
}
#: (generator's loss, its slope) at fake = +BIG and fake = -BIG, with real = 0 where it is read
GENERATOR_ENDS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "minimax": ((-BIG, -1), (0, 0)),
    "non-saturating": ((0, 0), (BIG, -1)),
    "least-squares": (((BIG - 1) ** 2 / 2, BIG - 1), ((BIG + 1) ** 2 / 2, -BIG - 1)),
    "hinge": ((-BIG, -1), (BIG, -1)),
    "wasserstein": ((-BIG, -1), (BIG, -1)),
    "relativistic": ((0, 0), (BIG, -1)),
    "relativistic-average": ((0, 0), (2 * BIG, -2)),
    "feature-matching": ((BIG**2, 2 * BIG), (BIG**2, -2 * BIG)),
    "label-smoothing": ((0, 0), (BIG, -1)),
}


def scores(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    real = torch.randn(*shape, generator=random, dtype=torch.float64) * 4
    return real, torch.randn(*shape, generator=random, dtype=torch.float64) * 4


def test_the_tables_cover_every_objective() -> None:
    assert set(PAPERS) == set(CORNERS) == set(SLOPES) == set(GENERATOR_ENDS) == set(NAMES)


@pytest.mark.parametrize("shape", [(16,), (1,), (4, 1, 5, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_losses_equal_the_papers(name: str, shape: tuple[int, ...]) -> None:
    critic, generator = PAPERS[name]
    rules = objective(name)
    for seed in range(5):
        real, fake = scores(seed, *shape)
        assert rules.critic(real, fake).shape == ()
        torch.testing.assert_close(rules.critic(real, fake), critic(real, fake), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(rules.generator(fake, real), generator(real, fake), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_the_papers(name: str) -> None:
    real, fake = scores(7, 9)
    for ours, papers in (
        (
            objective(name).critic(a := real.clone().requires_grad_(), b := fake.clone().requires_grad_()),
            PAPERS[name][0],
        ),
        (objective(name).generator(b, a), PAPERS[name][1]),
    ):
        expected = papers(c := real.clone().requires_grad_(), d := fake.clone().requires_grad_())
        mine = torch.autograd.grad(ours, [a, b], allow_unused=True, materialize_grads=True)
        theirs = torch.autograd.grad(expected, [c, d], allow_unused=True, materialize_grads=True)
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
        assert any(gradient.abs().sum() > 0.1 for gradient in mine)


@pytest.mark.parametrize("corner", [(1, -1), (-1, -1), (1, 1), (-1, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_critic_at_huge_scores(name: str, corner: tuple[int, int]) -> None:
    real = torch.tensor([corner[0] * BIG], requires_grad=True)
    fake = torch.tensor([corner[1] * BIG], requires_grad=True)
    loss = objective(name).critic(real, fake)
    assert loss.item() == pytest.approx(CORNERS[name][corner], rel=1e-6, abs=1e-6)
    slopes = [slope.item() for slope in torch.autograd.grad(loss, [real, fake])]
    assert slopes == pytest.approx(list(SLOPES[name][corner]), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_generator_at_huge_scores(name: str, end: int) -> None:
    fake = torch.tensor([BIG if end == 0 else -BIG], requires_grad=True)
    rules = objective(name)
    loss = rules.generator(fake, torch.zeros(1) if rules.paired else None)
    (slope,) = torch.autograd.grad(loss, fake)
    assert (loss.item(), slope.item()) == pytest.approx(GENERATOR_ENDS[name][end], rel=1e-6, abs=1e-6)


def two_densities(shift: float) -> tuple[Tensor, Tensor]:
    """Counts at the same 21 points, of Gaussians around -shift and shift; no point has none."""
    points = torch.linspace(-4, 4, 21, dtype=torch.float64)
    real, fake = (torch.exp(-((points - mean) ** 2) / 2).mul(400).round().add(3).long() for mean in (-shift, shift))
    return real, fake


def best_critic(name: str, real: Tensor, fake: Tensor) -> tuple[Tensor, float]:
    """The free score of each point that minimises the critic's loss, and that loss."""
    free = torch.zeros(len(real), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [free], max_iter=2000, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )
    places = torch.arange(len(real))
    r, f = places.repeat_interleave(real), places.repeat_interleave(fake)

    def loss() -> Tensor:
        return objective(name).critic(free[r], free[f])

    def closure() -> float:
        solver.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    solver.step(closure)  # type: ignore[no-untyped-call]
    return free.detach(), loss().item()


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_best_critic_is_the_log_ratio_of_densities(name: str, shift: float) -> None:
    """Goodfellow 2014, proposition 1 and theorem 1: logit = log p/q, loss = 2 log 2 - 2 JSD."""
    real, fake = two_densities(shift)
    p, q = real.double() / real.sum(), fake.double() / fake.sum()
    free, value = best_critic(name, real, fake)
    torch.testing.assert_close(free, (p / q).log(), rtol=0, atol=2e-4)
    middle = (p + q) / 2
    divergence = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()).item() / 2
    assert value == pytest.approx(2 * math.log(2) - 2 * divergence, abs=1e-8)
    assert divergence == pytest.approx(0, abs=1e-12) if shift == 0 else divergence > 0.02


def test_smoothed_labels_bound_the_best_critic() -> None:
    """Salimans 2016, section 3.4: D = 0.9 p / (p + q), whose logit stays below log 9 where there are only real ones."""
    real, fake = two_densities(1.0)
    p, q = real.double() / real.sum(), fake.double() / fake.sum()
    free, _ = best_critic("label-smoothing", real, fake)
    torch.testing.assert_close(free, (0.9 * p / (0.1 * p + q)).log(), rtol=0, atol=2e-4)
    assert free.max() < math.log(9)


def test_best_least_squares_critic_is_the_share_of_real() -> None:
    """Mao 2017, eq. 5 with a = 0, b = 1."""
    real, fake = two_densities(0.7)
    p, q = real.double() / real.sum(), fake.double() / fake.sum()
    free, value = best_critic("least-squares", real, fake)
    torch.testing.assert_close(free, p / (p + q), rtol=0, atol=1e-5)
    assert value == pytest.approx((p * q / (p + q)).sum().item() / 2, abs=1e-9)


logits = st.lists(st.floats(-50, 50), min_size=1, max_size=8)


@settings(deadline=None)
@given(logits, st.randoms())
def test_order_of_samples_does_not_matter_unless_paired(values: list[float], shuffle: object) -> None:
    real, fake = torch.tensor(values, dtype=torch.float64), torch.tensor(values[::-1], dtype=torch.float64) + 1
    for rules in OBJECTIVES.values():
        # a joint reordering of pairs changes nothing for anyone, a separate one nothing but for paired objectives
        torch.testing.assert_close(rules.critic(real, fake), rules.critic(real.flip(0), fake.flip(0)))
        if not rules.paired:
            torch.testing.assert_close(rules.critic(real, fake), rules.critic(real, fake.flip(0)))


@settings(deadline=None)
@given(logits)
def test_cross_entropy_is_symmetric(values: list[float]) -> None:
    """Exchanging the players' samples and turning the sign of the critic is the same game."""
    real = torch.tensor(values, dtype=torch.float64)
    fake = real.flip(0) * 0.5 - 1
    for name in ("minimax", "non-saturating", "hinge", "wasserstein", "relativistic", "relativistic-average"):
        rules = objective(name)
        torch.testing.assert_close(rules.critic(real, fake), rules.critic(-fake, -real))


@settings(deadline=None)
@given(st.floats(-50, 50), st.floats(0.01, 10))
def test_higher_scores_please_the_generator(score: float, more: float) -> None:
    low, high = torch.tensor([score], dtype=torch.float64), torch.tensor([score + more], dtype=torch.float64)
    other = torch.zeros(1, dtype=torch.float64)
    for name in ("minimax", "non-saturating", "hinge", "wasserstein", "relativistic", "relativistic-average"):
        rules = objective(name)
        assert rules.generator(high, other) <= rules.generator(low, other)
        assert rules.critic(high, other) <= rules.critic(low, other)
        assert rules.critic(other, high) >= rules.critic(other, low)
        if abs(score) < 0.9 and more < 0.1:
            # near the decision nothing is flat
            assert rules.generator(high, other) < rules.generator(low, other)
            assert rules.critic(high, other) < rules.critic(low, other)
            assert rules.critic(other, high) > rules.critic(other, low)


def test_paired_needs_real_scores() -> None:
    assert [name for name in NAMES if objective(name).paired] == [
        "relativistic",
        "relativistic-average",
        "feature-matching",
    ]
    for name in ("relativistic", "relativistic-average", "feature-matching"):
        with pytest.raises(TypeError, match="real s"):
            objective(name).generator(torch.zeros(2), None)
    real, fake = torch.tensor([3.0, -3.0]), torch.tensor([3.0, -3.0])
    # each image against the one beside it, so the order matters
    assert objective("relativistic").generator(fake, real).item() == pytest.approx(math.log(2))
    assert objective("relativistic").generator(fake.flip(0), real).item() == pytest.approx(3.0, abs=0.01)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ZerosumError, match="did you mean 'hinge'"):
        objective("hinj")


def test_contents() -> None:
    made, true = torch.tensor([[1.0, -1.0], [0.5, 0.0]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert CONTENTS["l1"](made, true).item() == (1 + 2 + 0 + 0.5) / 4
    assert CONTENTS["l2"](made, true).item() == (1 + 4 + 0 + 0.25) / 4
    assert {name: content(name) for name in CONTENTS} == CONTENTS
    with pytest.raises(ZerosumError, match=r"unknown content.measure 'l3': choose from l1, l2"):
        content("l3")


def test_label_smoothing_has_a_target() -> None:
    """The critic's loss is the cross-entropy with it, least where the score of real samples is its logit."""
    scores = torch.tensor([0.5, -1.0])
    rules = objective({"name": "label-smoothing", "target": 0.75})
    p = sigmoid(scores)
    expected = -(0.75 * p.log() + 0.25 * (1 - p).log()).mean() - (1 - p).log().mean()
    torch.testing.assert_close(rules.critic(scores, scores), expected)
    best = torch.full((3,), math.log(3.0), requires_grad=True)
    (slope,) = torch.autograd.grad(rules.critic(best, torch.zeros(3)), best)
    assert slope.abs().max().item() < 1e-6
    assert objective("label-smoothing") is OBJECTIVES["label-smoothing"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"name": "label-smoothing", "taget": 0.8}, r"unknown key 'objective.taget' of label-smoothing: .*'target'\?"),
        ({"name": "label-smoothing", "target": 0.4}, r"objective.target = 0.4: should be above 0.5, up to 1"),
        ({"name": "hinge", "target": 0.9}, r"unknown key 'objective.target' of hinge: hinge has no parameters"),
        ({"name": "hinj", "target": 0.9}, r"unknown objective 'hinj': did you mean 'hinge'\?"),
        ("hinj", r"unknown objective 'hinj': did you mean 'hinge'\?"),
    ],
)
def test_parameters_that_there_are_not(choice: str | dict[str, Any], said: str) -> None:
    with pytest.raises(ZerosumError, match=said):
        objective(choice)


@pytest.mark.parametrize(
    "value", [5, None, {"target": 0.9}, {"name": 3}, {"name": "hinge", "target": "much"}, ["hinge"]]
)
def test_what_is_no_choice_is_told(value: Any) -> None:
    with pytest.raises(
        ZerosumError, match=r"objective = .*: should be a name, or with numbers \{name: label-smoothing"
    ):
        tiny_recipe({"objective": value})


def test_critics_of_others_are_looked_at_under_one_with_parameters_too() -> None:
    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 1)

        def forward(self, images: Tensor) -> Tensor:
            return torch.sigmoid(self.layer(images.flatten(1)))

    recipe = tiny_recipe({"objective": {"name": "label-smoothing", "target": 0.8}})
    with pytest.raises(ZerosumError, match="the critic returns probabilities"):
        Run.prepare(recipe, tiny_source(), critic=Sure())


def test_a_choice_in_a_recipe() -> None:
    smooth: dict[str, Any] = {"name": "label-smoothing", "target": 0.75}
    recipe = tiny_recipe({"objective": smooth})
    assert Recipe.parse(read_yaml(recipe.to_yaml(), "there")) == recipe
    assert tiny_recipe(parse_overrides(Recipe, ["objective={name: label-smoothing, target: 0.75}"])) == recipe
    assert tiny_recipe().differences(recipe) == {"objective": ("non-saturating", smooth)}
    assert recipe.with_overrides({"objective.target": 0.8}).objective == smooth | {"target": 0.8}
    assert tiny_recipe({"objective": {"name": "hinge"}}).objective == "hinge"


def test_a_parameter_may_have_a_schedule_and_reaches_the_training(tmp_path: Path) -> None:
    falling: dict[str, Any] = {"name": "label-smoothing", "target": {"from": 1, "to": 0.75, "over": 0.5}}
    run = Run.prepare(tiny_recipe({"objective": falling, "steps": 4}), tiny_source())
    real, fake = torch.tensor([2.0]), torch.tensor([-1.0])
    for step, target in ((0, 1.0), (1, 0.875), (2, 0.75), (3, 0.75)):
        _, game = run.at(step)
        expected = objective({"name": "label-smoothing", "target": target}).critic(real, fake)
        assert torch.equal(game.objective.critic(real, fake), expected)
    assert not can_record(run.recipe, own=False)
    trained = [
        zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path, objective=choice).state.players.critic.state_dict()
        for choice in ("label-smoothing", {"name": "label-smoothing", "target": 0.9}, falling)
    ]
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])
