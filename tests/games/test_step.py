"""The two steps: who moves, who stays, and what they pay, against losses and gradients computed beside them."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import same, snapshot, tiny_batch, tiny_game, tiny_recipe, tiny_source
from zerosum.data.pictures.source import PictureSource
from zerosum.data.pictures.views import shrunk_source
from zerosum.data.source import Batch, Condition
from zerosum.engine.runs.run import Run
from zerosum.engine.training.precision import choose
from zerosum.engine.training.state import make_state
from zerosum.errors import ZerosumError
from zerosum.games.objectives import CONTENTS, OBJECTIVES
from zerosum.games.penalties import zero_centred
from zerosum.games.step import Game, Losses, Players, critic_step, generator_step, judge, judge_both
from zerosum.networks import CRITICS as FAMILIES
from zerosum.networks import make_critic
from zerosum.networks.conditioning import label_loss

PENALTIES: dict[str, dict[str, Any]] = {
    "none": {},
    "gradient": {"gradient": {"weight": 10.0}},
    "r1": {"r1": {"weight": 1.0}},
    "r2": {"r2": {"weight": 1.0}},
    "clip": {"clip": 0.01},
}


def make_players(source: PictureSource, network: str = "mlp", overrides: dict[str, Any] | None = None) -> Players:
    recipe = tiny_recipe({"optimizer.lr": 0.01} | (overrides or {}), network)
    return make_state(recipe, source.spec, torch.device("cpu")).players


def noise(seed: int = 0, count: int = 4) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def turn_of_critic(game: Game, players: Players, batch: Batch, z: Tensor, turn: int) -> Losses:
    """The critic's step, with the gradient penalty at random places."""
    return critic_step(game, players, batch, z, turn, torch.rand(len(z)))


def side(network: str) -> int:
    return 16 if network == "dcgan" else 8


@pytest.mark.parametrize("penalty", list(PENALTIES))
@pytest.mark.parametrize("method", ["none", "join", "embed", "auxiliary"])
@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_every_game_moves_its_player_and_only_it(network: str, method: str, penalty: str) -> None:
    source = tiny_source(side(network))
    players = make_players(source, network, {"condition.method": method})
    torch.manual_seed(0)
    for draw, name in enumerate(OBJECTIVES):
        game, batch = tiny_game(source, name, PENALTIES[penalty]), tiny_batch(source, draw=draw)
        before = snapshot(players.generator), snapshot(players.critic)
        losses = turn_of_critic(game, players, batch, noise(draw), 0)
        middle = snapshot(players.generator), snapshot(players.critic)
        losses |= generator_step(game, players, batch, noise(draw + 50))
        after = snapshot(players.generator), snapshot(players.critic)

        # whole states, so running statistics and counters of batch normalisation too
        assert same(before[0], middle[0])
        assert not same(before[1], middle[1])
        assert same(middle[1], after[1])
        assert not same(middle[0], after[0])
        moved = [key for key in after[0] if not torch.equal(middle[0][key], after[0][key])]
        assert any("weight" in key for key in moved)
        assert all(value.dim() == 0 and torch.isfinite(value) and not value.requires_grad for value in losses.values())
        expected = {"critic/loss", "critic/real", "critic/fake", "generator/loss"}
        if method == "auxiliary":
            expected |= {"critic/labels_real", "critic/labels_fake", "generator/labels"}
        extra = {"gradient": "critic/gradient_penalty", "r1": "critic/r1", "r2": "critic/r2"}.get(penalty)
        assert set(losses) == expected | ({extra} if extra else set())
        if penalty == "clip":
            assert max(weight.abs().max().item() for weight in players.critic.parameters()) <= 0.01
    assert all(weight.requires_grad for player in (players.generator, players.critic) for weight in player.parameters())


def test_batch_statistics_run_in_the_own_step_only() -> None:
    source = tiny_source(16)
    players, game, batch = make_players(source, "dcgan"), tiny_game(source), tiny_batch(source)

    def counts(network: nn.Module) -> set[int]:
        return {int(value) for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}

    assert (counts(players.generator), counts(players.critic)) == ({0}, {0})
    turn_of_critic(game, players, batch, noise(), 0)
    assert (counts(players.generator), counts(players.critic)) == ({0}, {2})  # a real and a generated batch
    generator_step(game, players, batch, noise())
    assert (counts(players.generator), counts(players.critic)) == ({1}, {2})


@pytest.mark.parametrize("name", [name for name, rules in OBJECTIVES.items() if rules.reads == "scores"])
def test_losses_are_those_of_the_objective(name: str) -> None:
    source = tiny_source()
    players, game, batch = make_players(source), tiny_game(source, name), tiny_batch(source)
    with torch.no_grad():
        real, fake = players.critic(batch.real), players.critic(players.generator(noise(1)))
    losses = turn_of_critic(game, players, batch, noise(1), 0)
    torch.testing.assert_close(losses["critic/loss"], OBJECTIVES[name].critic(real, fake))
    torch.testing.assert_close(losses["critic/real"], real.mean())
    torch.testing.assert_close(losses["critic/fake"], fake.mean())
    with torch.no_grad():
        real, fake = players.critic(batch.real), players.critic(players.generator(noise(2)))
    losses = generator_step(game, players, batch, noise(2))
    torch.testing.assert_close(losses["generator/loss"], OBJECTIVES[name].generator(fake, real))


PICTURED: dict[str, Any] = {
    "data.input": "shrunk",
    "condition.method": "picture",
    "latent.size": 0,
    "generator": {"network": "srresnet", "width": 4, "blocks": 1},
    "critic": {"network": "patch", "width": 4, "layers": 1},
}


@pytest.mark.parametrize("measure", list(CONTENTS))
def test_content_stands_beside_the_objective(measure: str) -> None:
    source = shrunk_source(tiny_source(16, channels=3), 4)
    batch = tiny_batch(source)
    players = make_players(source, overrides=PICTURED)
    game = replace(tiny_game(source), adversarial=0.25, content_weight=3.0, content=CONTENTS[measure])
    with torch.no_grad():
        fake = players.generator(noise()[:, :0], batch.given)
        scores = players.critic(fake, batch.given)
    assert scores.shape == (4, 1, 6, 6)
    generator = deepcopy(players.generator)
    paid = 0.25 * OBJECTIVES["non-saturating"].generator(
        players.critic(made := generator(noise()[:, :0], batch.given), batch.given), None
    ) + 3.0 * CONTENTS[measure](made, batch.real)
    expected = torch.autograd.grad(paid, list(generator.parameters()))
    losses = generator_step(game, players, batch, noise()[:, :0])
    assert losses.keys() == {"generator/loss", "generator/content"}
    torch.testing.assert_close(losses["generator/content"], CONTENTS[measure](fake, batch.real))
    for weight, gradient in zip(players.generator.parameters(), expected, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-7)


def test_content_alone_needs_no_critic() -> None:
    source = shrunk_source(tiny_source(16, channels=3), 4)
    players, batch = make_players(source, overrides=PICTURED), tiny_batch(source)

    def refuse(*_: Any) -> None:
        raise AssertionError("the critic was asked")

    players.critic.forward = refuse
    game = replace(tiny_game(source), adversarial=0.0, content_weight=1.0)
    before = generator_step(game, players, batch, noise()[:, :0])["generator/content"]
    for _ in range(30):
        losses = generator_step(game, players, batch, noise()[:, :0])
    assert losses.keys() == {"generator/content"}
    assert losses["generator/content"] < 0.98 * before


def test_only_paired_objectives_read_real_images_in_the_generator_step() -> None:
    source = tiny_source()
    batch = tiny_batch(source)
    other = Batch(-batch.real, batch.condition)
    for name, rules in OBJECTIVES.items():
        losses = [
            generator_step(tiny_game(source, name), make_players(source, overrides={"critic.init": 0.5}), real, noise())
            for real in (batch, other)
        ]
        assert (losses[0]["generator/loss"].item() != losses[1]["generator/loss"].item()) == rules.paired


def sgd_change(penalties: dict[str, Any], turn: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """How far one plain gradient step with rate 1 moves the critic's weights, and the losses."""
    source = tiny_source()
    players = make_players(source, overrides={"optimizer.name": "sgd", "optimizer.lr": 1.0, "critic.init": 0.3})
    before = snapshot(players.critic)
    torch.manual_seed(0)
    losses = turn_of_critic(tiny_game(source, penalties=penalties), players, tiny_batch(source), noise(), turn)
    return {name: value - before[name] for name, value in players.critic.state_dict().items()}, losses


@pytest.mark.parametrize("kind", ["gradient", "r1", "r2"])
def test_lazy_penalties(kind: str) -> None:
    """Due on turns divisible by `every`, and then as strong as the turns between together."""
    key = {"gradient": "critic/gradient_penalty"}.get(kind, f"critic/{kind}")
    bare, _ = sgd_change({}, 0)
    strong, strong_losses = sgd_change({kind: {"weight": 2.0}}, 0)
    for turn in range(9):
        change, losses = sgd_change({kind: {"weight": 0.5, "every": 4}}, turn)
        due = turn in (0, 4, 8)
        assert (key in losses) == due
        torch.testing.assert_close(change, strong if due else bare, rtol=1e-4, atol=1e-6)
        if due:
            torch.testing.assert_close(losses[key], strong_losses[key])
    difference = max((strong[name] - bare[name]).abs().max().item() for name in bare)
    assert difference > 1e-3


def test_penalties_change_the_gradient_linearly_in_their_weight() -> None:
    bare, _ = sgd_change({}, 0)
    one, _ = sgd_change({"r1": {"weight": 1.0}}, 0)
    three, _ = sgd_change({"r1": {"weight": 3.0}}, 0)
    torch.testing.assert_close(
        {name: three[name] - bare[name] for name in bare},
        {name: 3 * (one[name] - bare[name]) for name in bare},
        rtol=1e-3,
        atol=1e-6,
    )


def test_gradient_penalty_equals_an_own_computation() -> None:
    """One image at a time."""
    source = tiny_source(16, 3)
    players = make_players(source, "dcgan", {"critic.norm": "none", "critic.init": "he"})
    batch, z = tiny_batch(source), noise()
    generator, critic = deepcopy(players.generator), deepcopy(players.critic)
    torch.manual_seed(5)
    losses = turn_of_critic(tiny_game(source, "wasserstein", PENALTIES["gradient"]), players, batch, z, 0)
    torch.manual_seed(5)
    epsilon = torch.rand(4).tolist()
    fakes = generator(z).detach()
    costs = []
    for real, fake, share in zip(batch.real.detach(), fakes, epsilon, strict=True):
        point = (share * real + (1 - share) * fake)[None].requires_grad_()
        (slope,) = torch.autograd.grad(critic(point)[0], point)
        costs.append((slope.norm().item() - 1) ** 2)
    assert losses["critic/gradient_penalty"].item() == pytest.approx(sum(costs) / 4, rel=1e-4)
    assert max(costs) > 1.01 * min(costs)


def test_r1_reads_real_and_r2_generated_images() -> None:
    source = tiny_source()
    players = make_players(source, overrides={"critic.init": 0.3})
    batch, z = tiny_batch(source), noise()
    critic, fakes = deepcopy(players.critic), players.generator(noise()).detach()
    both = tiny_game(source, penalties={"r1": {"weight": 1.0}, "r2": {"weight": 1.0}})
    losses = turn_of_critic(both, players, batch, z, 0)
    for name, images in (("critic/r1", batch.real.detach()), ("critic/r2", fakes)):
        costs = []
        for image in images:
            point = image[None].clone().requires_grad_()
            (slope,) = torch.autograd.grad(critic(point)[0], point)
            costs.append(slope.square().sum().item() / 2)
        assert losses[name].item() == pytest.approx(sum(costs) / 4, rel=1e-4)


def test_label_losses_and_their_weight() -> None:
    source = tiny_source()
    players = make_players(source, overrides={"condition.method": "auxiliary", "critic.init": 0.3})
    game, batch = tiny_game(source), tiny_batch(source)
    assert batch.condition.labels is not None
    with torch.no_grad():
        _, real = players.critic(batch.real, batch.condition.labels)
        _, fake = players.critic(players.generator(noise(), batch.condition.labels), batch.condition.labels)
    losses = turn_of_critic(game, players, batch, noise(), 0)
    torch.testing.assert_close(losses["critic/labels_real"], label_loss(real, batch.condition.labels, (3,)))
    torch.testing.assert_close(losses["critic/labels_fake"], label_loss(fake, batch.condition.labels, (3,)))


def test_the_classifier_learns_separable_labels() -> None:
    source = tiny_source()
    players = make_players(source, overrides={"condition.method": "auxiliary"})
    game = tiny_game(source)
    losses = [turn_of_critic(game, players, tiny_batch(source, 8, i), noise(i, 8), i) for i in range(300)]
    first, last = losses[0]["critic/labels_real"].item(), losses[-1]["critic/labels_real"].item()
    assert 0.9 < first < 1.3  # log 3: it knows nothing yet
    assert 0 <= last < 0.3


@pytest.mark.parametrize("player", ["generator", "critic"])
def test_a_player_without_optimizer_stays(player: str) -> None:
    source = tiny_source(16)
    players = make_players(source, "dcgan", {f"{player}.train": False})
    game = tiny_game(source, penalties={"clip": 0.001, "r1": {"weight": 1.0}})
    weights = [{key: v.clone() for key, v in p.named_parameters()} for p in (players.generator, players.critic)]
    losses = turn_of_critic(game, players, tiny_batch(source), noise(), 0)
    losses |= generator_step(game, players, tiny_batch(source), noise())
    moved = [
        not same(old, dict(p.named_parameters()))
        for old, p in zip(weights, (players.generator, players.critic), strict=True)
    ]
    assert moved == ([False, True] if player == "generator" else [True, False])
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("together", [True, False])
def test_labels_of_the_batch_are_those_that_are_generated(together: bool) -> None:
    """The condition of the generated samples is the real batch's, in both steps."""
    source = tiny_source()
    players = make_players(source, overrides={"condition.method": "join"})
    critic: Any = players.critic
    critic.together = together
    seen: list[Tensor] = []

    def hear(_: nn.Module, __: Any, named: dict[str, Tensor]) -> None:
        seen.append(named["labels"])

    players.generator.register_forward_pre_hook(hear, with_kwargs=True)
    players.critic.register_forward_pre_hook(hear, with_kwargs=True)
    batch = tiny_batch(source, 6)
    turn_of_critic(tiny_game(source, penalties=PENALTIES["gradient"]), players, batch, noise(0, 6), 0)
    generator_step(tiny_game(source), players, batch, noise(0, 6))
    labels = batch.condition.labels
    assert labels is not None
    assert labels.max() > labels.min()
    both = [torch.cat([labels, labels])] if together else [labels, labels]
    # generated; real and generated; between; generated twice
    expected = [labels, *both, labels, labels, labels]
    assert len(seen) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))


def critic_calls(players: Players, game: Game, source: PictureSource, turn: int = 0) -> list[int]:
    """The sizes of the batches that the critic judges in its step."""
    sizes: list[int] = []
    hook = players.critic.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    turn_of_critic(game, players, tiny_batch(source), noise(), turn)
    hook.remove()
    return sizes


@pytest.mark.parametrize(
    ("penalty", "turn", "sizes"),
    [
        ({}, 0, [8]),
        ({"clip": 0.01}, 0, [8]),
        ({"gradient": {"weight": 1.0}}, 0, [8, 4]),
        ({"gradient": {"weight": 1.0, "every": 2}}, 1, [8]),
        ({"r1": {"weight": 1.0}}, 0, [4, 4]),
        ({"r2": {"weight": 1.0}}, 0, [4, 4]),
        ({"r1": {"weight": 1.0, "every": 2}}, 1, [8]),
        ({"r2": {"weight": 1.0, "every": 2}}, 1, [8]),
        ({"r2": {"weight": 1.0, "every": 2}}, 2, [4, 4]),
        ({"r1": {"weight": 1.0}, "gradient": {"weight": 1.0}}, 0, [4, 4, 4]),
    ],
)
def test_real_and_generated_images_go_together_unless_a_penalty_is_due_on_one(
    penalty: dict[str, Any], turn: int, sizes: list[int]
) -> None:
    source = tiny_source(16)
    for network, overrides in (("mlp", {}), ("dcgan", {}), ("dcgan", {"critic.norm": "none"})):
        players = make_players(source, network, overrides)
        assert critic_calls(players, tiny_game(source, penalties=penalty), source, turn) == sizes


def test_critics_from_outside_get_them_apart_unless_they_say_together() -> None:
    source = tiny_source(16)
    players = make_players(source)
    critic: Any = Silent()
    players.critic = critic
    assert critic_calls(players, tiny_game(source), source) == [4, 4]
    critic.together = True
    assert critic_calls(players, tiny_game(source), source) == [8]
    critic.together = False
    assert critic_calls(players, tiny_game(source), source) == [4, 4]


class Silent(nn.Module):
    """A critic from outside, which says nothing of how it judges."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(256, 1)

    def forward(self, images: Tensor, _: Tensor | None) -> Tensor:
        return self.layer(images.flatten(1)).squeeze(1)  # type: ignore[no-any-return]


TOGETHER: dict[str, dict[str, Any]] = {
    "mlp": {"critic.init": 0.3},
    "dcgan": {"critic.init": "he", "critic.norm": "none"},
    "dcgan batch": {"critic.init": "he", "critic.norm": "batch"},
}


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 0.02)])
@pytest.mark.parametrize("penalty", ["none", "gradient"])
@pytest.mark.parametrize("method", ["none", "join", "embed", "auxiliary"])
@pytest.mark.parametrize("name", list(TOGETHER))
def test_together_is_as_good_as_apart(name: str, method: str, penalty: str, precision: str, bound: float) -> None:
    """Losses, the critic's gradients, which stay after its step, and its running statistics."""
    source = tiny_source(16)
    game = replace(tiny_game(source, penalties=PENALTIES[penalty]), precision=choose(precision, "cpu"))

    def outcome(together: bool) -> tuple[Losses, dict[str, Any], dict[str, Tensor]]:
        players = make_players(source, name.removesuffix(" batch"), TOGETHER[name] | {"condition.method": method})
        critic: Any = players.critic
        assert critic.together is True
        critic.together = together
        torch.manual_seed(0)
        losses = turn_of_critic(game, players, tiny_batch(source, 16), noise(0, 16), 0)
        return losses, {key: weight.grad for key, weight in critic.named_parameters()}, dict(critic.named_buffers())

    (losses, gradients, statistics), (apart_losses, apart_gradients, apart_statistics) = outcome(True), outcome(False)
    torch.testing.assert_close(losses, apart_losses, rtol=bound, atol=bound / 10)
    assert losses["critic/real"] != losses["critic/fake"]
    every = torch.cat([apart.flatten() for apart in apart_gradients.values()]).norm()
    for key, apart in apart_gradients.items():
        assert apart.norm() > 0, key
        # in bf16 the score's bias, where real and generated samples all but cancel, is rounded by much of its own size
        assert (gradients[key] - apart).norm() < bound * (apart.norm() if precision == "fp32" else every), key
    assert bool(statistics) == (name == "dcgan batch")
    torch.testing.assert_close(statistics, apart_statistics, rtol=bound, atol=bound / 10)


@pytest.mark.parametrize("together", [True, False])
def test_scores_are_float32_in_every_precision(together: bool) -> None:
    source = tiny_source()
    critic: Any = make_players(source).critic
    critic.together = together
    images = tiny_batch(source).real
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(images).dtype == torch.bfloat16
        (real, _), (fake, _) = judge_both(tiny_game(source), critic, images, -images, Condition(), apart=False)
    assert real.dtype == fake.dtype == torch.float32


CRITICS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8, 8]},
    "mlp maxout": {"network": "mlp", "pieces": [3, 2]},
    "dcgan": {"norm": "none", "width": 8},
    "dcgan 5": {"network": "dcgan", "norm": "none", "kernel": 5},
    "dcgan batch": {"network": "dcgan"},
}


def critic_named(name: str, method: str, source: PictureSource) -> nn.Module:
    """One of these, in training, with scores of some size."""
    options = {"network": name, "init": 0.3 if "mlp" in name else "he"} | CRITICS[name]
    keys = {f"critic.{key}": value for key, value in options.items()} | {"condition.method": method}
    return make_critic(tiny_recipe(keys, options["network"]), source.spec).train()


@pytest.mark.parametrize("method", ["none", "join", "embed", "auxiliary"])
@pytest.mark.parametrize("name", list(CRITICS))
def test_no_image_sways_another_but_through_batch_normalisation(name: str, method: str) -> None:
    source = tiny_source(16)
    critic = critic_named(name, method, source)
    one, other = tiny_batch(source, 6), tiny_batch(source, 6, 1)
    assert one.condition.labels is not None
    assert other.condition.labels is not None
    # its first two images come again, in other places, among other images with other labels
    images = torch.cat([other.real[:4], one.real[[1, 0]]])
    labels = torch.cat([other.condition.labels[:4], one.condition.labels[[1, 0]]])
    before, after = (
        judge(tiny_game(source), critic, *pair) for pair in ((one.real, one.condition), (images, Condition(labels)))
    )
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    assert len(pairs) == (2 if method == "auxiliary" else 1)
    swayed = max((a[:2] - b[[5, 4]]).abs().max().item() for a, b in pairs)
    assert (swayed < 1e-5) == (name != "dcgan batch")
    assert swayed < 1e-5 or swayed > 1e-3
    assert (before[0][2:] - after[0][:4]).abs().min() > 1e-3


def test_every_family_of_critics_is_asked() -> None:
    assert {options.get("network", name) for name, options in CRITICS.items()} == {*FAMILIES} - {"patch", "rows"}


@pytest.mark.parametrize("method", ["none", "join", "embed", "auxiliary"])
@pytest.mark.parametrize("name", list(CRITICS))
def test_a_penalty_on_slopes_runs_through_the_network_once(name: str, method: str) -> None:
    """Through the gradient alone, whose slopes are constant, unless normalisation makes them depend on the images.

    In bfloat16, where no convolution of this size but the first is torch's own: those too send zeros.
    """
    source = tiny_source(16)
    critic, batch = critic_named(name, method, source), tiny_batch(source)
    arriving: list[Tensor] = []

    def listen(_: nn.Module, __: object, output: Tensor) -> None:
        output.register_hook(arriving.append)  # type: ignore[no-untyped-call]

    for path, layer in critic.named_modules():
        # the embedding's output is a factor of every slope
        if isinstance(layer, nn.Linear | nn.Conv2d) and "labels" not in path and "embedding" not in path:
            layer.register_forward_hook(listen)
    images = batch.real.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, _ = judge(tiny_game(source), critic, images, batch.condition)
    penalty = zero_centred(scores, images)
    # the gradient itself; where labels are joined, the fully connected second layer is applied in two parts, unheard
    assert len(arriving) >= (2 if name.startswith("mlp") and method == "join" else 3)
    arriving.clear()
    penalty.backward()  # type: ignore[no-untyped-call]
    assert bool(arriving) == (name == "dcgan batch")


class Looks(nn.Module):
    """A critic whose features are twice the values of its samples."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(2 * images.flatten(1)).squeeze(1)  # type: ignore[no-any-return]


def test_feature_matching_reads_what_goes_into_the_critics_head() -> None:
    source = tiny_source()
    run = Run.prepare(tiny_recipe({"objective": "feature-matching"}), source, critic=Looks())
    batch, z = tiny_batch(source), noise(0)
    with torch.no_grad():
        fake = run.state.players.generator(z, None)
    expected = (2 * (fake.mean(0) - batch.real.mean(0))).square().sum().item()
    before = [weight.clone() for weight in run.state.players.generator.parameters()]
    losses = generator_step(run.game, run.state.players, batch, z)
    assert losses["generator/loss"].item() == pytest.approx(expected, rel=1e-3)
    after = run.state.players.generator.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_an_objective_of_features_needs_a_critic_with_a_head() -> None:
    class Headless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(64, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.out(images.flatten(1))  # type: ignore[no-any-return]

    with pytest.raises(ZerosumError, match="reads features of the critic, which has no module `head`"):
        Run.prepare(tiny_recipe({"objective": "feature-matching"}), tiny_source(), critic=Headless())
