"""Scores while training: they change nothing, survive every interruption, and decide what the recipe lets them."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tests.conftest import Call, empty_picture, only_ticks, same, snapshot, tiny_recipe, tiny_source
from zerosum import api
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.engine.runs.files import read_json, read_lines
from zerosum.engine.runs.reading import EVIDENCE, FINDINGS, SCORES, STATS, checkpoints, read_best, step_of
from zerosum.engine.runs.run import Run
from zerosum.engine.training.loop import train
from zerosum.engine.training.state import tensors_of
from zerosum.engine.watching.diagnosis import RULES, Evidence, History
from zerosum.engine.watching.watch import PROBE, Watch, probe_generator
from zerosum.errors import Diverged, Stopped, ZerosumError
from zerosum.games.objectives import Objective, objective
from zerosum.metrics.evaluate import Yardstick
from zerosum.metrics.pictures.features import RandomFeatures
from zerosum.metrics.result import Images, Scores
from zerosum.metrics.vocabulary import kind_of
from zerosum.networks import make_generator
from zerosum.recipe import GIVEN

Overrides = dict[str, Any]

SCORED: Overrides = {
    "data.uri": GIVEN,
    "steps": 12,
    "scores.every": 3,
    "scores.images": 50,
    "optimizer.lr": 0.01,
    "checkpoint": 100,
}


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take longer than a tiny training; one test draws them."""
    for plot in ("plot_losses", "plot_scores") if request.node.name != "test_the_picture_of_scores" else ():
        monkeypatch.setattr(f"zerosum.plots.{plot}", empty_picture)


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A classifier that is good enough for three brightnesses, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("zerosum.metrics.pictures.classifier.STEPS", 50)
        yield


def start(
    folder: Path,
    overrides: Overrides | None = None,
    network: str = "mlp",
    source: PictureSource | None = None,
    **given: Any,
) -> Run:
    run = Run.prepare(tiny_recipe(SCORED | (overrides or {}), network), source or tiny_source(), **given)
    run.create_folder(folder)
    return run


def finish(run: Run, watch: Watch | None = None, **limits: Any) -> Run:
    for _ in train(run, watch=watch or api.make_watch(run), **limits):
        pass
    return run


def reopened(place: Path, overrides: Overrides | None = None, network: str = "mlp", **given: Any) -> tuple[Run, Watch]:
    run = Run.prepare(tiny_recipe(SCORED | (overrides or {}), network), given.pop("source", tiny_source()), **given)
    run.reopen(place)
    watch = api.make_watch(run)
    assert watch is not None
    watch.reopen(run)
    return run, watch


def after(steps: int) -> Callable[[], bool]:
    """A signal that comes in this step."""
    calls = itertools.count(1)
    return lambda: next(calls) >= steps


def without_seconds(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read_lines(path)]


def alike(one: Run, other: Run, *, findings: bool = True) -> bool:
    """Whether two runs have the same weights, the same logs, and the same best checkpoint."""
    logs = [STATS, SCORES, EVIDENCE, *([FINDINGS] if findings else [])]
    pairs = [(without_seconds(one.place / log), without_seconds(other.place / log)) for log in logs]
    bests = [read_best(run.place / "checkpoints") for run in (one, other)]
    weights = same(tensors_of(one.state), tensors_of(other.state))
    # NaN is not equal to itself, its text is
    return weights and all(json.dumps(a) == json.dumps(b) for a, b in pairs) and bests[0] == bests[1]


def scored_steps(run: Run) -> list[int]:
    steps = [line["step"] for line in read_lines(run.place / SCORES)]
    assert steps == sorted(steps)
    assert list(dict.fromkeys(steps)) == [line["step"] for line in read_lines(run.place / EVIDENCE)]
    return list(dict.fromkeys(steps))


def saved_steps(run: Run) -> list[int]:
    return [step_of(path) for path in checkpoints(run.place / "checkpoints")][::-1]


def found(run: Run) -> list[tuple[int, str]]:
    return [(line["step"], line["finding"]) for line in read_lines(run.place / FINDINGS)]


# --- scores change nothing

LAZY: Overrides = {"critic.steps": 2, "penalties.r1": {"weight": 1.0, "every": 4}, "average.half_life": 30.0}
DROPOUT: Overrides = {"generator.dropout": 0.5, "critic.dropout": 0.5, "critic.input_dropout": 0.2}
#: name -> (overrides, network, side of the images)
SYSTEMS: dict[str, tuple[Overrides, str, int]] = {
    "plain": ({}, "mlp", 8),
    "dropout, sgd": (
        DROPOUT | {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": [0.5, 0.7], "momentum_epochs": 1}},
        "mlp",
        8,
    ),
    "paired": ({"objective": "relativistic", "condition.method": "join"} | DROPOUT, "mlp", 8),
    "auxiliary, rmsprop": (
        {"optimizer.name": "rmsprop", "condition.method": "auxiliary", "critic.steps": 2, "penalties.clip": 0.1},
        "mlp",
        8,
    ),
    "batch norm": ({}, "dcgan", 16),
    "embed, lazy r1, average": (LAZY | {"condition.method": "embed", "critic.norm": "none"}, "dcgan", 16),
    "join, bf16": (LAZY | {"condition.method": "join", "precision": "bf16"}, "dcgan", 16),
    "wasserstein": (
        {"penalties.gradient.weight": 10.0, "objective": "wasserstein", "critic.steps": 3, "critic.norm": "none"},
        "dcgan",
        16,
    ),
    "hinge, auxiliary dcgan": ({"objective": "hinge", "condition.method": "auxiliary"}, "dcgan", 16),
    "least-squares": ({"objective": "least-squares"}, "mlp", 8),
    "minimax, a critic that sees no labels": (
        {"objective": "minimax", "condition.method": "join", "critic.conditional": False},
        "mlp",
        8,
    ),
}


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_scores_change_nothing(tmp_path: Path, name: str) -> None:
    overrides, network, side = SYSTEMS[name]
    overrides = overrides | {"steps": 6}
    scored = finish(start(tmp_path, overrides, network, tiny_source(side, mirror=True)))
    alone = finish(start(tmp_path, overrides | {"scores.every": 0}, network, tiny_source(side, mirror=True)))
    assert scored_steps(scored) == [3, 6]
    assert not (alone.place / SCORES).exists()
    assert same(tensors_of(scored.state), tensors_of(alone.state))
    assert without_seconds(scored.place / STATS) == without_seconds(alone.place / STATS)
    for line in read_lines(scored.place / EVIDENCE):
        one = Evidence(**line)
        figures = (one.critic_loss, one.undecided_loss, one.critic_real, one.critic_fake, one.signal, one.gradient)
        assert all(map(math.isfinite, (*figures, one.undecided_signal, one.fid, one.diversity, one.memorised)))
        assert one.gradient > 0


class Normalised(nn.Module):
    """A critic of a user's with spectral normalisation, whose power iteration goes on with every call in training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.hidden, self.score = spectral_norm(nn.Linear(64, 16)), spectral_norm(nn.Linear(16, 1))

    def forward(self, images: Tensor, _: Tensor | None = None) -> Tensor:
        return self.score(self.hidden(images.flatten(1)).relu()).squeeze(1)  # type: ignore[no-any-return]


def test_scores_leave_a_critic_with_spectral_normalisation_alone(tmp_path: Path) -> None:
    scored = finish(start(tmp_path, critic=Normalised()))
    alone = finish(start(tmp_path, {"scores.every": 0}, critic=Normalised()))
    assert same(tensors_of(scored.state), tensors_of(alone.state))


class Own(nn.Module):
    """A generator of a user's, with batch normalisation, dropout, and a buffer."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 64))
        self.register_buffer("mean", torch.full((64,), -0.5))

    def forward(self, z: Tensor, _: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layers(z) + self.mean).view(-1, 1, 8, 8)


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, images: Tensor, _: Tensor | None = None) -> Tensor:
        return self.layers(images).squeeze(1)  # type: ignore[no-any-return]


def softly(real: Tensor, fake: Tensor) -> Tensor:
    return (real - 1).abs().mean() + (fake + 1).abs().mean()


def test_given_objects_are_scored(tmp_path: Path) -> None:
    own = Objective(softly, lambda fake, _: (fake - 1).abs().mean())
    runs = []
    for every in (3, 0):
        keys = SCORED | {"scores.every": every, "average.half_life": 20.0}
        given: dict[str, Any] = {"source": tiny_source(), "generator": Own(), "critic": Judge(), "objective": own}
        runs.append(api.train(tiny_recipe(keys), out=tmp_path, **given))
    assert scored_steps(runs[0]) == [3, 6, 9, 12]
    assert same(tensors_of(runs[0].state), tensors_of(runs[1].state))
    assert Evidence(**read_lines(runs[0].place / EVIDENCE)[-1]).undecided_loss == 2.0
    again = api.resume(runs[0].place, source=tiny_source(), generator=Own(), critic=Judge(), objective=own, steps=15)
    assert scored_steps(again) == [3, 6, 9, 12, 15]


@pytest.mark.parametrize("player", ["generator", "critic"])
def test_one_player_alone_is_scored(tmp_path: Path, player: str) -> None:
    run = finish(start(tmp_path, {f"{player}.train": False}))
    assert scored_steps(run) == [3, 6, 9, 12]


def test_a_generator_with_nothing_to_train_is_scored(tmp_path: Path) -> None:
    """As when a critic is trained against a finished generator."""
    fixed = make_generator(tiny_recipe(), tiny_source().unlabelled().spec).requires_grad_(False)
    run = finish(start(tmp_path, {"generator.train": False}, generator=fixed))
    assert scored_steps(run) == [3, 6, 9, 12]


def test_user_features(tmp_path: Path) -> None:
    keys = {"scores.features": "tests.engine.watching.test_watch:OwnFeatures"}
    run = finish(start(tmp_path, keys))
    assert {line["name"].partition("@")[2] for line in read_lines(run.place / SCORES)} == {"OwnFeatures"}


class OwnFeatures(RandomFeatures):
    def __init__(self) -> None:
        super().__init__(1, 8)


# --- the probe


class Constant(nn.Module):
    """Scores of one value for every generated sample, and of another for real ones, which are brighter."""

    def __init__(self, fake: float, real: float = 0.0) -> None:
        super().__init__()
        self.fake, self.real = fake, real
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor, _: Tensor | None = None) -> Tensor:
        brightness = images.flatten(1).mean(1)
        value = torch.where(brightness > 0.25, self.real, self.fake)
        return value + (brightness - brightness.detach()) + self.weight


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


#: objective -> mean slope of the generator's loss at these scores
SLOPES: dict[str, Callable[[float, float], float]] = {
    "minimax": lambda fake, _: sigmoid(fake),
    "non-saturating": lambda fake, _: 1 - sigmoid(fake),
    "least-squares": lambda fake, _: abs(fake - 1),
    "hinge": lambda *_: 1.0,
    "wasserstein": lambda *_: 1.0,
    "relativistic": lambda fake, real: sigmoid(real - fake),
}


@pytest.mark.parametrize("name", list(SLOPES))
@pytest.mark.parametrize(("fake", "real"), [(0.0, 0.0), (-4.0, 3.0), (5.0, -1.0)])
def test_the_signal_is_the_slope_of_the_objective(name: str, fake: float, real: float) -> None:
    bright = make_source(tiny_source(count=80).images // 8 + 200)
    run = Run.prepare(tiny_recipe({"objective": name}), bright, critic=Constant(fake, real))
    signal, undecided, norm = probe_generator(run)
    assert signal == pytest.approx(SLOPES[name](fake, real), rel=1e-3)
    assert undecided == pytest.approx(SLOPES[name](0.0, 0.0), rel=1e-5)
    # the norm is that of the gradient that a generator step would have on these images
    generator = run.state.players.generator
    z = run.gan.latents(range(PROBE))
    scores = run.state.players.critic(generator(z))
    run.game.objective.generator(scores, torch.full_like(scores, real)).backward()  # type: ignore[no-untyped-call]
    gradients = [weight.grad.flatten() for weight in generator.parameters() if weight.grad is not None]
    assert norm == pytest.approx(torch.cat(gradients).norm().item(), rel=1e-4)
    assert norm > 0


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_the_probe_leaves_no_trace(network: str) -> None:
    side = 16 if network == "dcgan" else 8
    keys: Overrides = {"condition.method": "embed"} | (DROPOUT if network == "mlp" else {})
    keys.pop("generator.dropout", None)
    run = Run.prepare(tiny_recipe(keys, network), tiny_source(side))
    players = run.state.players
    players.critic.eval()  # whatever mode they are in
    before = snapshot(players.generator), snapshot(players.critic)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = probe_generator(run)
    assert torch.equal(torch.rand(3), expected)
    assert probe_generator(run) == first
    assert same(before[0], snapshot(players.generator))
    assert same(before[1], snapshot(players.critic))
    weights = [*players.generator.parameters(), *players.critic.parameters()]
    assert all(weight.requires_grad and weight.grad is None for weight in weights)
    assert (players.generator.training, players.critic.training) == (True, False)


def test_evidence_is_of_the_last_tick_and_the_last_score(tmp_path: Path) -> None:
    run = finish(start(tmp_path, {"condition.method": "embed"}, source=tiny_source(count=120)))
    ticks = {line["step"]: line for line in read_lines(run.place / STATS)}
    scores = read_lines(run.place / SCORES)
    for line in read_lines(run.place / EVIDENCE):
        one = Evidence(**line)
        assert one.critic_loss == ticks[one.step]["critic/loss"]
        assert (one.critic_real, one.critic_fake) == (ticks[one.step]["critic/real"], ticks[one.step]["critic/fake"])
        assert one.undecided_loss == pytest.approx(2 * math.log(2))
        assert one.steps == 12
        kinds = {kind_of(score["name"]): score for score in scores if score["step"] == one.step}
        assert one.fid == pytest.approx(kinds["fid"]["value"])
        assert one.floor == pytest.approx(kinds["fid"]["floor"])
        assert one.diversity == pytest.approx(kinds["diversity"]["value"])
        assert one.memorised == kinds["memorised"]["value"]
        assert one.memorised_floor == kinds["memorised"]["floor"]
        assert min(one.class_diversity.values()) == pytest.approx(kinds["worst_class_diversity"]["value"])
        assert min(one.class_accuracy.values()) == pytest.approx(kinds["worst_class_accuracy"]["value"])
        assert set(one.class_diversity) == {"0", "1", "2"}
    for score in scores:
        assert score["images"] == score["step"] * 4
        assert score["stamp"]["network"] == "classifier"
        assert score["stamp"]["fake_images"] == 50


def test_scores_before_the_first_tick_find_no_critic_ahead(tmp_path: Path) -> None:
    """With the recipe's tick of 50, as --set scores.every=20 has it."""
    run = finish(start(tmp_path, {"tick": 50}))
    assert "critic_ahead" not in [name for _, name in found(run)]


# --- when

NEVER: Overrides = {"scores.every": 0}


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(12, 3, [3, 6, 9, 12]), (7, 3, [3, 6, 7]), (3, 3, [3]), (4, 3, [3, 4]), (2, 1, [1, 2])],
)
def test_when_scores_are_made(tmp_path: Path, steps: int, every: int, expected: list[int]) -> None:
    run = finish(start(tmp_path, {"steps": steps, "scores.every": every}))
    assert scored_steps(run) == expected


@pytest.mark.parametrize("every", [0, 13, 500])
def test_a_run_that_is_too_short_has_no_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no classifier is trained and no image is looked at")

    monkeypatch.setattr("zerosum.tasks.generation.make_yardstick", refuse)
    monkeypatch.setattr("zerosum.modalities.picture.open_held_out", refuse)
    run = api.train(tiny_recipe(SCORED | {"scores.every": every}), out=tmp_path, source=tiny_source(count=120))
    assert api.make_watch(run) is None
    for name in (SCORES, EVIDENCE, FINDINGS):
        assert not (run.place / name).exists()
    summary = read_json(run.place / "summary.json")
    assert (summary["scoring_seconds"], summary["scores"], summary["best"], summary["findings"]) == (0.0, {}, None, [])
    with pytest.raises(ZerosumError, match="no best checkpoint: the run was not scored"):
        api.load(run.place, checkpoint="best")


def test_scores_may_begin_and_end_on_resuming(tmp_path: Path) -> None:
    short = api.train(tiny_recipe(SCORED | {"steps": 4, "scores.every": 6}), out=tmp_path, source=tiny_source())
    assert scored_steps(short) == []
    longer = api.resume(short.place, source=tiny_source(), steps=12)
    assert scored_steps(longer) == [6, 12]
    silent = api.resume(short.place, source=tiny_source(), overrides={"steps": 18, "scores.every": 0})
    assert scored_steps(silent) == [6, 12]
    straight = finish(start(tmp_path, {"steps": 18}))
    assert same(tensors_of(silent.state), tensors_of(straight.state))


# --- going on


@pytest.mark.parametrize("name", ["plain", "dropout, sgd", "embed, lazy r1, average", "wasserstein"])
def test_going_on_is_as_if_never_stopped(tmp_path: Path, name: str) -> None:
    overrides, network, side = SYSTEMS[name]
    straight = finish(start(tmp_path, overrides, network, tiny_source(side)))
    stopped = finish(start(tmp_path, overrides, network, tiny_source(side)), stop=after(6))
    assert stopped.state.step == 6
    assert scored_steps(stopped) == [3, 6]
    resumed, watch = reopened(stopped.place, overrides, network, source=tiny_source(side))
    assert len(watch.history) == 2
    finish(resumed, watch)
    assert scored_steps(resumed) == [3, 6, 9, 12]
    assert alike(resumed, straight)


def test_going_on_after_a_crash(tmp_path: Path) -> None:
    """Scores after the last checkpoint are made again."""
    straight = finish(start(tmp_path, {"checkpoint": 4}))
    crashed = start(tmp_path, {"checkpoint": 4})
    for tick in only_ticks(train(crashed, watch=api.make_watch(crashed))):
        if tick["step"] == 11:
            break
    assert scored_steps(crashed) == [3, 6, 9]
    with (crashed.place / SCORES).open("a") as file:
        file.write('{"step": 12, "na')
    resumed, watch = reopened(crashed.place, {"checkpoint": 4})
    assert resumed.state.step < 11
    finish(resumed, watch)
    assert alike(resumed, straight)


@pytest.mark.parametrize("at", [5, 7])
def test_an_interruption_between_two_scores_changes_no_weight(tmp_path: Path, at: int) -> None:
    straight = finish(start(tmp_path))
    stopped = finish(start(tmp_path), stop=after(at))
    resumed = finish(*reopened(stopped.place))
    assert same(tensors_of(resumed.state), tensors_of(straight.state))


def test_an_interruption_between_two_scores_adds_none(tmp_path: Path) -> None:
    """A score more is a line more for the rules, so what they find, and roll back, would depend on interruptions."""
    straight = finish(start(tmp_path))
    stopped = finish(start(tmp_path), stop=after(7))
    resumed = finish(*reopened(stopped.place))
    assert scored_steps(resumed) == [3, 6, 9, 12]
    assert alike(resumed, straight)


# --- the best checkpoint


@dataclass
class Told:
    """In the place of a yardstick: the Frechet distance that the test wants at each step."""

    run: Run
    fid: Callable[[int], float]
    most: int = 1000

    def measure(self, fakes: Images, count: int, labelled: bool, cheap: bool) -> Scores:
        assert cheap
        assert sum(len(pixels) for pixels, _ in fakes) == count
        return Scores({"fid50@told": self.fid(self.run.state.step)}, {}, {"fid50@told": 1.0}, {}, {"network": "told"})


def told(run: Run, fid: Callable[[int], float]) -> Watch:
    return Watch(cast(Yardstick, Told(run, fid)))


def test_the_best_checkpoint_outlives_rotation(tmp_path: Path) -> None:
    fids = dict(zip(range(1, 11), [9.0, 7.0, 3.0, 5.0, 3.0, math.nan, 4.0, 8.0, 2.9, 6.0], strict=True))
    run = start(tmp_path, {"steps": 10, "scores.every": 1, "checkpoint": 1, "keep": 2})
    seen = []
    for tick in only_ticks(train(run, watch=told(run, fids.__getitem__))):
        if tick["step"] > 1:
            best = read_best(run.place / "checkpoints")
            assert best is not None
            seen.append((best["step"], best["value"], saved_steps(run)))
    assert seen == [
        (1, 9.0, [1]),
        (2, 7.0, [1, 2]),
        (3, 3.0, [2, 3]),
        (3, 3.0, [3, 4]),
        (3, 3.0, [3, 4, 5]),  # as good is not better
        (3, 3.0, [3, 5, 6]),
        (3, 3.0, [3, 6, 7]),
        (3, 3.0, [3, 7, 8]),
        (9, 2.9, [8, 9]),
    ]
    assert saved_steps(run) == [9, 10]
    assert read_json(run.place / "summary.json")["best"] == {"step": 9, "name": "fid50@told", "value": 2.9}


def test_the_best_checkpoint_is_the_best_generator(tmp_path: Path) -> None:
    keys = {"scores.every": 2, "keep": 1, "average.half_life": 20.0}
    run = start(tmp_path, keys)
    finish(run, told(run, lambda step: abs(step - 4)))
    assert saved_steps(run) == [4, 12]
    until = finish(start(tmp_path, keys | {"steps": 4}))
    assert torch.equal(api.load(run.place, checkpoint="best").sample(8), until.sample(8))
    assert torch.equal(api.load(run.place, checkpoint=4).sample(8), until.sample(8))
    assert not torch.equal(api.load(run.place).sample(8), until.sample(8))


WORSE: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("fid", "class_fid", "worst_class_fid"), float),
    "accuracy": lambda value: -value,
    "diversity": lambda value: abs(value - 1),
}


@pytest.mark.parametrize("kind", list(WORSE))
def test_best_is_the_best_line_of_the_scores(tmp_path: Path, kind: str) -> None:
    keys = {"scores.best": kind, "condition.method": "join", "optimizer.lr": 0.05, "steps": 24, "keep": 1}
    run = finish(start(tmp_path, keys, source=tiny_source(count=120)))
    lines = [line for line in read_lines(run.place / SCORES) if kind_of(line["name"]) == kind]
    assert len(lines) == 8
    best = min(lines, key=lambda line: WORSE[kind](line["value"]))  # the first of equals
    kept = read_best(run.place / "checkpoints")
    assert kept is not None
    assert (kept["step"], kept["name"]) == (best["step"], best["name"])
    assert kept["value"] == pytest.approx(best["value"], rel=1e-7)
    assert (run.place / "checkpoints" / f"step-{kept['step']:06d}").is_dir()
    assert read_json(run.place / "summary.json")["best"] == kept


def test_without_the_score_there_is_no_best(tmp_path: Path) -> None:
    run = finish(start(tmp_path, {"scores.best": "accuracy"}))  # the networks see no labels
    assert read_best(run.place / "checkpoints") is None
    assert saved_steps(run) == [12]


def test_other_scores_begin_a_new_best(tmp_path: Path) -> None:
    """Values of different names cannot be compared."""
    run = start(tmp_path, {"steps": 6})
    finish(run, told(run, lambda _: 1e-3))
    resumed = api.resume(run.place, source=tiny_source(), steps=9)
    best = read_best(resumed.place / "checkpoints")
    assert best is not None
    assert (best["step"], best["name"]) == (9, "fid50@random")


# --- findings


def rule(monkeypatch: pytest.MonkeyPatch, speaks: Callable[[Evidence], bool], name: str = "collapse") -> None:
    """In the place of a rule: speaks when the last evidence is so."""

    def made_up(history: History) -> tuple[str, str] | None:
        now = history[-1]
        return (f"the loss is {now.critic_loss:.3f}", "Do something") if speaks(now) else None

    monkeypatch.setitem(RULES, name, made_up)


@pytest.fixture
def only_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other rules are silent: tiny trainings come to nothing."""
    for name in RULES:
        monkeypatch.setitem(RULES, name, lambda _: None)


quiet = pytest.mark.usefixtures("only_made_up")


@quiet
def test_a_finding_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule(monkeypatch, lambda now: now.step in (6, 9, 12, 18))  # it comes back
    run = api.train(tiny_recipe(SCORED | {"steps": 21}), out=tmp_path, source=tiny_source())
    assert found(run) == [(6, "collapse")]
    (line,) = read_lines(run.place / FINDINGS)
    assert line["evidence"].startswith("the loss is 1.")
    assert (line["advice"], line["action"]) == ("Do something", "warn")
    text = f"step 6: collapse: {line['evidence']}. Do something\n"
    assert capsys.readouterr().err.count("collapse") == 1
    summary = read_json(run.place / "summary.json")
    assert summary["findings"] == [{"step": 6, "finding": "collapse"}]
    assert summary["status"] == "finished"
    # and on resuming it is known
    resumed = api.resume(run.place, source=tiny_source(), steps=27)
    assert found(resumed) == [(6, "collapse")]
    assert "collapse" not in capsys.readouterr().err
    assert text  # what was shown the first time, above


@quiet
def test_a_training_yields_ticks_and_findings_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step == 6)
    run = start(tmp_path, {"steps": 8})
    news = [one["step"] if isinstance(one, dict) else one.name for one in train(run, watch=api.make_watch(run))]
    assert news == [1, 2, 3, 4, 5, 6, "collapse", 7, 8]


@quiet
def test_of_a_finding_that_stops_the_error_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step == 6)
    run = start(tmp_path, {"diagnosis.collapse": "stop"})
    news: list[Any] = []

    def follow() -> None:
        for one in train(run, watch=api.make_watch(run)):
            news.append(one)

    with pytest.raises(Stopped, match="stopped by a finding at step 6: collapse"):
        follow()
    assert [one["step"] for one in news] == [1, 2, 3, 4, 5, 6]
    assert found(run) == [(6, "collapse")]


@quiet
def test_a_finding_is_shown_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for steps in (6, 7):  # with a tick after it, or none
        rule(monkeypatch, lambda now: now.step == 6)
        run = api.train(tiny_recipe(SCORED | {"steps": steps}), out=tmp_path, source=tiny_source())
        (line,) = read_lines(run.place / FINDINGS)
        assert capsys.readouterr().err.count(f"step 6: collapse: {line['evidence']}. Do something\n") == 1


@quiet
def test_findings_that_are_off_are_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule(monkeypatch, lambda _: True)
    rule(monkeypatch, lambda _: True, "oscillation")
    keys = SCORED | {"diagnosis.collapse": "off", "diagnosis.oscillation": "off"}
    run = api.train(tiny_recipe(keys), out=tmp_path, source=tiny_source())
    assert scored_steps(run) == [3, 6, 9, 12]
    assert not (run.place / FINDINGS).exists()
    assert "Do something" not in capsys.readouterr().err
    # until they are on
    resumed = api.resume(run.place, source=tiny_source(), overrides={"steps": 15, "diagnosis.collapse": "warn"})
    assert found(resumed) == [(15, "collapse")]


@quiet
def test_stop_ends_with_everything_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step >= 6)
    keys = SCORED | {"diagnosis.collapse": "stop"}
    with pytest.raises(Stopped, match=r"stopped by a finding at step 6: collapse: the loss is .* saved in ") as caught:
        api.train(tiny_recipe(keys), out=tmp_path, source=tiny_source())
    assert caught.value.exit_code == 3
    (place,) = tmp_path.iterdir()
    summary = read_json(place / "summary.json")
    assert (summary["status"], summary["steps"]) == ("stopped", 6)
    assert summary["findings"] == [{"step": 6, "finding": "collapse"}]
    assert summary["scoring_seconds"] > 0
    assert next(step_of(path) for path in checkpoints(place / "checkpoints")) == 6
    assert (place / "samples" / "000006.png").is_file()
    # it may go on, and is not stopped for the same thing again
    resumed = api.resume(place, source=tiny_source())
    assert found(resumed) == [(6, "collapse")]
    warned = api.train(tiny_recipe(SCORED), out=tmp_path, source=tiny_source())
    assert alike(resumed, warned, findings=False)
    assert read_json(place / "summary.json")["status"] == "finished"


@quiet
def test_stop_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    rule(monkeypatch, lambda now: now.step >= 6)
    keys = SCORED | {"data.uri": "digits", "scores.features": "random", "diagnosis.collapse": "stop"}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(tiny_recipe(keys).to_yaml())
    code, out, err = call("train", str(recipe), "--out", str(tmp_path / "runs"))
    assert (code, out) == (3, "")
    assert err.count("step 6: collapse: ") == 1
    assert "zerosum: stopped by a finding at step 6: collapse: " in err
    code, out, _ = call("resume", str(tmp_path / "runs" / "00000-tiny"))
    assert code == 0
    assert read_json(Path(out.strip()) / "summary.json")["steps"] == 12


@quiet
def test_what_stops_is_said_in_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda _: True)
    with pytest.raises(Stopped, match=r"Do something\. Everything is saved in "):
        finish(start(tmp_path, {"diagnosis.collapse": "stop"}))


@quiet
def test_what_else_is_found_is_shown_before_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule(monkeypatch, lambda now: now.step >= 6)
    rule(monkeypatch, lambda now: now.step >= 6, "oscillation")
    with pytest.raises(Stopped, match="collapse"):
        api.train(tiny_recipe(SCORED | {"diagnosis.collapse": "stop"}), out=tmp_path, source=tiny_source())
    assert "step 6: oscillation" in capsys.readouterr().err


@quiet
def test_findings_survive_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step in (3, 6))
    crashed = start(tmp_path, {"checkpoint": 4})
    for tick in only_ticks(train(crashed, watch=api.make_watch(crashed))):
        if tick["step"] == 11:
            break
    resumed = finish(*reopened(crashed.place, {"checkpoint": 4}))
    assert found(resumed) == [(3, "collapse")]


@quiet
def test_findings_after_the_checkpoint_are_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step == 9)
    crashed = start(tmp_path, {"scores.best": "accuracy", "checkpoint": 4})
    for tick in only_ticks(train(crashed, watch=api.make_watch(crashed))):
        if tick["step"] == 11:
            break
    resumed = finish(*reopened(crashed.place, {"scores.best": "accuracy", "checkpoint": 4}))
    assert found(resumed) == [(9, "collapse")]


# --- going back


def good_until(best: int) -> Callable[[int], float]:
    """The distance falls until this step, then it rises."""
    return lambda step: 10.0 + abs(step - best)


ROLLBACK: Overrides = {"diagnosis.collapse": "rollback"}


@quiet
def test_going_back_leaves_nothing_of_what_came_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step == 9)
    run = start(tmp_path, ROLLBACK | {"steps": 30, "checkpoint": 1, "keep": 3, "average.half_life": 30.0})
    reference = finish(start(tmp_path, {"steps": 6, "average.half_life": 30.0}))
    weights = {name: value.clone() for name, value in tensors_of(reference.state).items()}
    before: dict[str, Tensor] = {}
    ticks = only_ticks(train(run, watch=told(run, good_until(6))))
    for tick in ticks:
        if tick["step"] == 7 and not before:
            before = {name: value.clone() for name, value in tensors_of(run.state).items()}
        if tick["step"] == 9:
            break
    assert run.state.setbacks == 0
    tick = next(ticks)
    # back at 6 and one step further, with half the rates and other random numbers
    assert (tick["step"], run.state.step, run.state.setbacks) == (7, 7, 1)
    assert (tick["generator/lr"], tick["critic/lr"]) == (0.005, 0.005)
    assert not same(before, tensors_of(run.state))
    assert saved_steps(run) == [6]
    assert [line["step"] for line in read_lines(run.place / STATS)] == list(range(1, 8))
    assert scored_steps(run) == [3, 6]
    assert read_best(run.place / "checkpoints") == {"step": 6, "name": "fid50@told", "value": 10.0}
    assert found(run) == [(9, "collapse")]
    # it did go back to the weights of step 6
    other, _ = reopened(run.place, ROLLBACK | {"steps": 30, "average.half_life": 30.0})
    assert other.state.step == 6
    assert same(tensors_of(other.state), weights)


@quiet
def test_going_back_ends_after_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step >= 9)
    run = start(tmp_path, ROLLBACK | {"steps": 30})
    with pytest.raises(Stopped, match="stopped by a finding at step 9: collapse"):
        finish(run, told(run, good_until(6)))
    assert run.state.setbacks == 3
    assert found(run) == [(9, "collapse")] * 4
    assert read_json(run.place / "summary.json")["status"] == "stopped"
    assert [line["critic/lr"] for line in read_lines(run.place / STATS)] == [0.01] * 6 + [0.00125] * 3
    assert saved_steps(run) == [6, 9]


@quiet
def test_going_back_may_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found depends on the rates: at 0.01 the output on real samples is -0.23 at step 9, at 0.005 -0.21."""
    rule(monkeypatch, lambda now: now.step == 9 and now.critic_real < -0.22)
    run = start(tmp_path, ROLLBACK)
    finish(run, told(run, good_until(6)))
    assert run.state.setbacks == 1
    assert found(run) == [(9, "collapse")]
    assert scored_steps(run) == [3, 6, 9, 12]
    assert read_json(run.place / "summary.json")["status"] == "finished"
    assert read_json(checkpoints(run.place / "checkpoints")[0] / "state.json")["setbacks"] == 1


@quiet
def test_without_a_score_going_back_is_to_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step == 9)
    run = start(tmp_path, ROLLBACK | {"scores.best": "accuracy", "checkpoint": 5, "steps": 15})
    ticks = [tick["step"] for tick in itertools.islice(only_ticks(train(run, watch=told(run, good_until(6)))), 11)]
    assert ticks == [1, 2, 3, 4, 5, 6, 7, 8, 9, 6, 7]


@quiet
def test_with_nothing_to_go_back_to_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, lambda now: now.step == 3)
    run = start(tmp_path, ROLLBACK | {"scores.best": "accuracy"})
    with pytest.raises(Stopped, match="step 3: collapse"):
        finish(run)
    assert saved_steps(run) == [3]
    assert run.state.setbacks == 0


@quiet
def test_going_back_is_to_before_the_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with memorisation, or a critic that gets ahead, while the images still get better."""
    rule(monkeypatch, lambda now: now.step == 9)
    run = start(tmp_path, ROLLBACK | {"checkpoint": 3})
    ticks = only_ticks(train(run, watch=told(run, lambda step: 100.0 - step)))
    steps = [tick["step"] for tick in itertools.islice(ticks, 10)]
    assert steps[-1] < 9


@dataclass
class Hot:
    """Not a number where the critic's output on real samples falls below a bound: with lower rates, later."""

    bound: float = -0.205

    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        loss = objective("non-saturating").critic(real, fake)
        return loss * math.nan if float(real.detach().mean()) < self.bound else loss


def hot() -> Objective:
    return Objective(Hot(), objective("non-saturating").generator)


#: how a training falls back: (overrides, the given objective, the made-up rule)
FALLS: dict[str, tuple[Overrides, Callable[[], Objective] | None, Callable[[Evidence], bool]]] = {
    "divergence": ({"diagnosis.divergence": "rollback", "checkpoint": 3}, hot, lambda _: False),
    "finding": (ROLLBACK, None, lambda now: now.step == 9 and now.critic_real < -0.22),
}


def falling(folder: Path, name: str) -> Run:
    overrides, rules, _ = FALLS[name]
    return start(folder, overrides, rules=rules and rules())


@pytest.mark.parametrize("name", list(FALLS))
@pytest.mark.parametrize("kill", ["signal", "crash", "crash before a checkpoint"])
@quiet
def test_going_on_after_going_back_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kill: str
) -> None:
    overrides, rules, speaks = FALLS[name]
    rule(monkeypatch, speaks)
    straight = falling(tmp_path, name)
    finish(straight, told(straight, good_until(6)))
    assert straight.state.setbacks >= 1
    assert straight.state.step == 12
    cut = falling(tmp_path, name)
    fallen = False
    news = train(cut, watch=told(cut, good_until(6)), stop=lambda: kill == "signal" and fallen_at(cut, 9))
    for tick in only_ticks(news):
        fallen = fallen or cut.state.setbacks > 0
        if fallen and (kill == "crash before a checkpoint" or (kill == "crash" and tick["step"] == 11)):
            break
    assert cut.state.step < 12
    assert cut.state.setbacks >= 1
    resumed, watch = reopened(cut.place, overrides, rules=rules and rules())
    watch.yardstick = cast(Yardstick, Told(resumed, good_until(6)))
    finish(resumed, watch)
    assert alike(resumed, straight, findings=False)
    assert resumed.state.setbacks == straight.state.setbacks


def fallen_at(run: Run, step: int) -> bool:
    return run.state.setbacks > 0 and run.state.step == step


def transient(at: int) -> Objective:
    """Not a number once, at this critic step."""
    calls, rules = itertools.count(0), objective("non-saturating")  # the first is the trial before training

    def critic(real: Tensor, fake: Tensor) -> Tensor:
        bad = real.requires_grad and next(calls) == at  # what asks without wanting to train does not count
        return rules.critic(real, fake) * (math.nan if bad else 1.0)

    return Objective(critic, rules.generator)


@pytest.mark.parametrize("every", [3, 0])
def test_divergence_goes_back_and_goes_on(tmp_path: Path, every: int, capsys: pytest.CaptureFixture[str]) -> None:
    keys = SCORED | {
        "diagnosis.divergence": "rollback",
        "checkpoint": 4,
        "scores.every": every,
        "scores.best": "accuracy",
    }
    run = api.train(tiny_recipe(keys), out=tmp_path, source=tiny_source(), objective=transient(7))
    assert run.state.setbacks == 1
    assert found(run)[0] == (7, "divergence")
    assert [line["critic/lr"] for line in read_lines(run.place / STATS)] == [0.01] * 4 + [0.005] * 8
    assert read_json(run.place / "summary.json")["status"] == "finished"
    assert capsys.readouterr().err.count("step 7: divergence: training diverged before step 7: ") == 1
    assert all(bool(value.isfinite().all()) for value in tensors_of(run.state).values())


def test_divergence_before_any_checkpoint_stops(tmp_path: Path) -> None:
    keys = {"diagnosis.divergence": "rollback", "checkpoint": 8, "scores.every": 0}
    run = start(tmp_path, keys, rules=transient(7))
    with pytest.raises(Diverged):
        finish(run)
    assert read_json(run.place / "summary.json")["status"] == "diverged"


def test_divergence_for_ever_ends(tmp_path: Path) -> None:
    def critic(real: Tensor, fake: Tensor) -> Tensor:
        return objective("non-saturating").critic(real, fake) * (math.nan if next(calls) > 6 else 1.0)

    calls = itertools.count(1)
    rules = Objective(critic, objective("non-saturating").generator)
    run = start(tmp_path, {"diagnosis.divergence": "rollback", "checkpoint": 4}, rules=rules)
    with pytest.raises(Diverged):
        finish(run)
    assert next(calls) < 30
    assert run.state.setbacks == 3
    assert [name for _, name in found(run) if name == "divergence"] == ["divergence"] * 4


# --- features


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("inception", "there is no such file"),
        ("insception", "unknown features 'insception': did you mean 'inception'"),
        ("nowhere.at_all:Network", "cannot be imported"),
        ("classifier", "this data has no labels"),
    ],
)
def test_wrong_features_are_known_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str, message: str
) -> None:
    monkeypatch.setenv("ZEROSUM_INCEPTION", str(tmp_path / "none.pth"))
    recipe = tiny_recipe(SCORED | {"scores.features": features})
    with pytest.raises(ZerosumError, match=message):
        api.train(recipe, out=tmp_path / "runs", source=tiny_source(labelled=False))
    assert list((tmp_path / "runs").iterdir()) == []


def test_wrong_features_on_resuming_change_nothing(tmp_path: Path) -> None:
    run = finish(start(tmp_path, {"steps": 6}))
    with pytest.raises(ZerosumError, match="unknown features"):
        api.resume(run.place, source=tiny_source(), overrides={"steps": 12, "scores.features": "nonsense"})
    assert api.resume(run.place, source=tiny_source(), steps=12).state.step == 12


# --- what is shown


def test_seconds_of_scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("zerosum.engine.watching.watch.time.perf_counter", lambda: clock["now"])
    run = start(tmp_path)

    def slowly(step: int) -> float:
        clock["now"] += 100.0
        return 1.0 / step

    finish(run, told(run, slowly))
    summary = read_json(run.place / "summary.json")
    assert summary["scoring_seconds"] == 400.0
    # of this session alone
    resumed, watch = reopened(run.place, {"steps": 15})
    finish(resumed, replace(watch, yardstick=cast(Yardstick, Told(resumed, slowly))))
    assert read_json(run.place / "summary.json")["scoring_seconds"] == 100.0


def test_scores_are_part_of_the_seconds(tmp_path: Path) -> None:
    run = finish(start(tmp_path))
    summary = read_json(run.place / "summary.json")
    assert 0 < summary["scoring_seconds"] < 5
    seconds = [line["seconds"] for line in read_lines(run.place / SCORES)]
    assert seconds == sorted(seconds)
    assert set(summary["scores"]) == {line["name"] for line in read_lines(run.place / SCORES)}
    last = {line["name"]: line for line in read_lines(run.place / SCORES)}
    assert all(shown == {"value": last[name]["value"], "step": 12} for name, shown in summary["scores"].items())


def test_the_headline_is_in_the_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zerosum.progress.PLAIN_EVERY", 0.0)
    keys = SCORED | {"condition.method": "join"}
    run = api.train(tiny_recipe(keys), out=tmp_path, source=tiny_source(count=120))
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ") and "images/s" in line]
    assert len(said) == 12
    scores = {(line["step"], kind_of(line["name"])): line for line in read_lines(run.place / SCORES)}
    assert not any("fid" in line for line in said[:3])
    for step, line in enumerate(said[3:], 4):
        fid = scores[(step - 1) // 3 * 3, "fid"]
        accuracy = scores[(step - 1) // 3 * 3, "accuracy"]
        assert f"fid50@classifier {fid['value']:.3g} (real {fid['floor']:.3g}, best " in line
        assert line.endswith(f"accuracy {accuracy['value']:.2f}")


def test_the_last_score_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.train(tiny_recipe(SCORED | {"steps": 3}), out=tmp_path, source=tiny_source())
    assert "fid50@random" in capsys.readouterr().err


def test_scores_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[int]] = []

    def draw(scores: list[dict[str, Any]], path: Path) -> None:
        drawn.append([line["step"] for line in scores])
        path.touch()

    monkeypatch.setattr("zerosum.plots.plot_scores", draw)
    run = finish(start(tmp_path))
    assert sorted(set(drawn[0])) == [3, 6, 9, 12]
    assert len(drawn) == 1
    assert (run.place / "scores.png").is_file()


def test_the_picture_of_scores(tmp_path: Path) -> None:
    run = finish(start(tmp_path, {"condition.method": "join"}, source=tiny_source(count=120)))
    with Image.open(run.place / "scores.png") as picture:
        assert picture.width == 1380  # three charts in a row
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50
