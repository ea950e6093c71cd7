"""The loop: runs that stop and go on bit for bit, schedules, limits, divergence, and learning something."""

import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import only_ticks, same, tiny_recipe, tiny_source, with_input
from zerosum import api
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.engine.runs.checkpoint import load_checkpoint
from zerosum.engine.runs.files import read_json, read_lines
from zerosum.engine.runs.reading import STATS, checkpoints, newest
from zerosum.engine.runs.run import Run
from zerosum.engine.training.loop import Totals, _seed, draw, learning_rate, momentum, set_rates, step_seed, train
from zerosum.engine.training.state import tensors_of
from zerosum.errors import Diverged, ZerosumError
from zerosum.games.objectives import Objective, objective
from zerosum.loading import packaged
from zerosum.modalities.picture import section
from zerosum.recipe import Latent, Recipe

pytestmark = pytest.mark.usefixtures("plot_nothing")

Overrides = dict[str, Any]


def start(folder: Path, overrides: Overrides, network: str, source: PictureSource) -> Run:
    run = Run.prepare(tiny_recipe(overrides, network), source)
    run.create_folder(folder)
    return run


def finish(run: Run, **limits: Any) -> Run:
    for _ in train(run, **limits):
        pass
    return run


def after(steps: int) -> Callable[[], bool]:
    """A signal that comes in this step."""
    calls = itertools.count(1)
    return lambda: next(calls) >= steps


def lines(run: Run) -> list[dict[str, float]]:
    return [{key: value for key, value in tick.items() if key != "seconds"} for tick in read_lines(run.place / STATS)]


LAZY: Overrides = {"critic.steps": 2, "penalties.r1": {"weight": 1.0, "every": 4}, "average.half_life": 30.0}
#: name -> (overrides, network, side of the images)
SYSTEMS: dict[str, tuple[Overrides, str, int]] = {
    "lazy r1, fp32": (LAZY | {"condition.method": "embed", "critic.norm": "none"}, "dcgan", 16),
    "lazy r1, bf16": (LAZY | {"condition.method": "join", "precision": "bf16"}, "dcgan", 16),
    "gradient penalty, bf16": (
        {"penalties.gradient.weight": 10.0, "objective": "wasserstein", "critic.steps": 2, "precision": "bf16"},
        "dcgan",
        16,
    ),
    "dropout, sgd": (
        {
            "generator.dropout": 0.5,
            "critic.dropout": 0.5,
            "critic.input_dropout": 0.2,
            "optimizer": {"name": "sgd", "lr": 0.1, "momentum": [0.5, 0.7], "momentum_epochs": 1, "decay": 1.01},
        },
        "mlp",
        8,
    ),
    "rmsprop, auxiliary": (
        {"optimizer.name": "rmsprop", "penalties.clip": 0.1, "condition.method": "auxiliary", "critic.steps": 2},
        "mlp",
        8,
    ),
    "drops": ({"optimizer.drops": [0.5, 1.0], "objective": "relativistic"}, "mlp", 8),
}


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_going_on_is_as_if_never_stopped(tmp_path: Path, name: str) -> None:
    overrides, network, side = SYSTEMS[name]
    # 22 images and batches of 4: steps 5 and 8 are amid an epoch, and step 6 begins one
    source = tiny_source(side, mirror=True)
    overrides = overrides | {"steps": 8, "checkpoint": 100}
    straight = finish(start(tmp_path / "a", overrides, network, source))
    stopped = finish(start(tmp_path / "b", overrides, network, source), stop=after(5))
    assert stopped.state.step == 5
    assert not same(tensors_of(stopped.state), tensors_of(straight.state))
    torch.manual_seed(123)  # whatever happened to torch's generator in between
    resumed = Run.prepare(tiny_recipe(overrides, network), tiny_source(side, mirror=True))
    resumed.reopen(stopped.place)
    assert resumed.state.step == 5
    finish(resumed)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))
    assert lines(resumed) == lines(straight)
    assert [line["step"] for line in lines(resumed)] == list(range(1, 9))


def test_going_on_after_a_crash_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    source = tiny_source()
    overrides = {"steps": 9, "checkpoint": 3}
    straight = finish(start(tmp_path / "a", overrides, "mlp", source))
    crashed = start(tmp_path / "b", overrides, "mlp", source)
    for tick in only_ticks(train(crashed)):
        if tick["step"] == 5:
            break  # nothing is saved on this way out
    with (crashed.place / "stats.jsonl").open("a") as file:
        file.write('{"step": 6, "ima')
    resumed = Run.prepare(tiny_recipe(overrides), source)
    resumed.reopen(crashed.place)
    assert resumed.state.step == 3
    assert [tick["step"] for tick in read_lines(crashed.place / "stats.jsonl")] == [1, 2, 3]
    finish(resumed)
    assert lines(resumed) == lines(straight)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))


#: sizes that make the networks of the package's recipes quick
SMALL: dict[str, Overrides] = {
    "dcgan": {"width": 4},
    "mlp": {"first": 12, "hidden": [8]},
    "srresnet": {"width": 4, "blocks": 1},
    "unet": {"width": 4, "levels": 2},
    "resnet": {"width": 4, "blocks": 1},
    "patch": {"width": 4},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [name for name in packaged() if name not in ("table", "world-driving")])
def test_every_recipe_goes_on_as_if_never_stopped(tmp_path: Path, name: str, precision: str) -> None:
    # tables and drives need data of their own: see modalities/test_row.py and trained/test_world.py
    recipe = Recipe.load(name)
    source = with_input(tiny_source(section(recipe.data).resolution or 28, count=40), section(recipe.data))
    overrides: Overrides = {"batch": 8, "steps": 7, "precision": precision, "scores.every": 0, "tick": 1}
    for where, player in (("generator", recipe.generator), ("critic", recipe.critic)):
        overrides |= {f"{where}.{key}": value for key, value in SMALL[player.network].items()}
    # a lazy penalty that is due after the interruption too
    overrides |= {"penalties.r1.every": 2} if recipe.penalties.r1.weight else {}

    def begin() -> Run:
        return api.prepare(name, overrides=overrides, source=source)

    straight, stopped = begin(), begin()
    for run, folder in ((straight, "a"), (stopped, "b")):
        run.create_folder(tmp_path / folder)
    finish(straight)
    finish(stopped, stop=after(3))
    resumed = begin()
    resumed.reopen(stopped.place)
    assert resumed.state.step == 3
    finish(resumed)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))
    assert lines(resumed) == lines(straight)


def test_a_finished_run_goes_further(tmp_path: Path) -> None:
    source = tiny_source()
    longer = finish(start(tmp_path / "a", {"steps": 6}, "mlp", source))
    short = finish(start(tmp_path / "b", {"steps": 4}, "mlp", source))
    resumed = api.resume(short.place, source=source, steps=6)
    assert same(tensors_of(resumed.state), tensors_of(longer.state))
    assert lines(resumed) == lines(longer)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_seeds(tmp_path: Path, precision: str) -> None:
    runs = []
    for index, seed in enumerate((1, 1, 2)):
        torch.manual_seed(index)
        overrides = {"seed": seed, "precision": precision, "steps": 3}
        runs.append(finish(start(tmp_path / str(index), overrides, "dcgan", tiny_source(16))))
    assert same(tensors_of(runs[0].state), tensors_of(runs[1].state))
    assert lines(runs[0]) == lines(runs[1])
    assert not same(tensors_of(runs[0].state), tensors_of(runs[2].state))
    assert lines(runs[0])[0]["critic/loss"] != lines(runs[2])[0]["critic/loss"]
    pictures = [(run.place / "samples" / "000003.png").read_bytes() for run in runs]
    assert pictures[0] == pictures[1] != pictures[2]


class Careless(nn.Module):
    """z (N, 8) -> images (N, 1, 8, 8), by an operation whose result depends on the order of its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 64)

    def forward(self, z: Tensor, _: Tensor | None = None) -> Tensor:
        x = torch.tanh(self.layer(z))
        places = torch.arange(x.numel())
        return torch.zeros(x.numel()).put(places, x.flatten()).view(-1, 1, 8, 8)


def test_determinism_refuses_what_cannot_promise_it(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=r"deterministic = true: put_? .*or deterministic=False"):
        api.train(
            tiny_recipe({"deterministic": True}), source=tiny_source(), generator=Careless(), out=tmp_path / "careful"
        )
    assert not torch.are_deterministic_algorithms_enabled()
    run = api.train(tiny_recipe(), source=tiny_source(), generator=Careless(), out=tmp_path / "careless")
    assert run.state.step == 6


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_determinism_changes_no_bit_on_a_cpu(tmp_path: Path, network: str) -> None:
    runs = []
    for index, careful in enumerate((True, True, False)):
        overrides = {"deterministic": careful, "precision": "bf16", "penalties.r1.weight": 1.0}
        runs.append(finish(start(tmp_path / str(index), overrides, network, tiny_source(16))))
        assert not torch.are_deterministic_algorithms_enabled()
    for other in runs[1:]:
        assert same(tensors_of(runs[0].state), tensors_of(other.state))


def test_a_new_run_from_old_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tiny_source()
    old = finish(start(tmp_path / "old", {"steps": 5}, "mlp", source))
    new = api.train(tiny_recipe({"seed": 3, "steps": 4}), source=source, init_from=old.place, out=tmp_path / "new")
    assert f"a new run from the weights that {old.place} had at step 5" in capsys.readouterr().err
    told = read_json(new.place / "environment.json")["init_from"]
    checksum = read_json(newest(old.place / "checkpoints") / "manifest.json")["sha256"]["state.safetensors"]
    assert told == {"run": str(old.place), "step": 5, "sha256": checksum}
    assert [line["step"] for line in read_lines(new.place / "stats.jsonl")] == [1, 2, 3, 4]
    # a crash before its first checkpoint of its own does not lose the weights
    longer = tiny_recipe({"seed": 3, "steps": 4, "keep": 9})
    again = api.train(longer, source=source, init_from=old.place, out=tmp_path / "new")
    for path in checkpoints(again.place / "checkpoints"):
        if path.name != "step-000000":
            shutil.rmtree(path)
    resumed = api.resume(again.place, source=source)
    assert same(tensors_of(resumed.state), tensors_of(new.state))
    with pytest.raises(ZerosumError, match="is no run folder"):
        api.train(tiny_recipe(), source=source, init_from=tmp_path, out=tmp_path / "never")
    shutil.rmtree(again.place / "checkpoints")
    with pytest.raises(ZerosumError, match="no usable checkpoint"):
        api.resume(again.place, source=source)
    assert not (tmp_path / "never").exists() or not list((tmp_path / "never").iterdir())


def test_training_leaves_the_users_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    finish(start(tmp_path, {"steps": 2, "generator.dropout": 0.5, "critic.dropout": 0.5}, "mlp", tiny_source()))
    assert torch.equal(torch.rand(4), expected)


def test_step_seeds_differ() -> None:
    seeds = {step_seed(seed, step) for seed in range(30) for step in range(100)}
    assert len(seeds) == 3000
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert step_seed(3, 4) == step_seed(3, 4)


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1])
def test_seeding_is_torchs_own(seed: int) -> None:
    streams = []
    for own in (True, False):
        torch.rand(3)
        if own:
            _seed(seed, torch.device("cpu"))
        else:
            torch.manual_seed(seed)
        streams.append((torch.rand(5), torch.randn(5), torch.nn.functional.dropout(torch.ones(50)), torch.randperm(9)))
    assert all(torch.equal(one, other) for one, other in zip(*streams, strict=True))


def test_a_gpu_is_seeded_where_training_is_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    for device in ("cpu", "cuda"):
        _seed(7, torch.device(device))
    assert seeds == [7]


def test_stats_and_files(tmp_path: Path) -> None:
    overrides = {"steps": 7, "tick": 3, "snapshot": 2, "checkpoint": 4, "critic.steps": 2}
    run = start(tmp_path, overrides, "mlp", tiny_source())
    ticks = list(only_ticks(train(run)))
    assert [tick["step"] for tick in ticks] == [3, 6, 7]
    assert [tick["images"] for tick in ticks] == [24, 48, 56]
    assert [tick["epoch"] for tick in ticks] == [round(images / 22, 4) for images in (24, 48, 56)]
    assert all(later["seconds"] >= tick["seconds"] > 0 for tick, later in itertools.pairwise(ticks))
    keys = {"step", "images", "seconds", "generator/loss", "critic/loss", "critic/real", "critic/fake"}
    assert keys <= set(ticks[0])
    assert read_lines(run.place / "stats.jsonl") == ticks
    assert [p.name for p in sorted((run.place / "samples").iterdir())] == [f"{n:06d}.png" for n in (0, 2, 4, 6, 7)]
    assert [path.name for path in checkpoints(run.place / "checkpoints")] == ["step-000007", "step-000004"]
    summary = json.loads((run.place / "summary.json").read_text())
    assert (summary["status"], summary["steps"], summary["images"]) == ("finished", 7, 56)
    assert summary["last"] == ticks[-1]
    assert summary["images_per_second"] == pytest.approx(56 / summary["seconds"], rel=0.1)


def test_a_tick_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    one = finish(start(tmp_path / "a", {"steps": 4, "tick": 1}, "mlp", tiny_source()))
    four = finish(start(tmp_path / "b", {"steps": 4, "tick": 4}, "mlp", tiny_source()))
    for name in ("generator/loss", "critic/loss", "critic/real", "critic/fake"):
        mean = sum(line[name] for line in lines(one)) / 4
        assert lines(four)[0][name] == pytest.approx(mean, rel=1e-4, abs=1e-6)


def test_totals_count_each_loss_by_itself() -> None:
    totals = Totals()
    totals.add({"a": torch.tensor(1.0), "b": torch.tensor(10.0)})
    totals.add({"a": torch.tensor(4.0)})
    assert totals.means() == {"a": 2.5, "b": 10.0}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        # batches of 4 with 2 critic steps of 80 images: an epoch is 10 steps
        ({"drops": [1, 2], "drop_factor": 0.1}, {0: 1, 9: 1, 10: 0.1, 19: 0.1, 20: 0.01, 500: 0.01}),
        ({"decay": 1.1, "min_lr": 0.0}, {0: 1, 1: 1 / 1.1, 10: 1.1**-10}),
        ({"decay": 1.1, "min_lr": 0.05, "lr": 0.1}, {0: 1, 5: 1.1**-5, 8: 0.5, 100_000: 0.5}),
        ({}, {0: 1, 10_000: 1}),
        ({"fade": 0.5}, {0: 1, 3: 1, 4: 2 / 3, 5: 1 / 3, 6: 0}),  # of 6 steps
        ({"fade": 0.0}, {0: 1, 3: 0.5, 6: 0}),
        ({"lr": 0.0}, {0: 1}),
    ],
)
def test_learning_rates(rules: Overrides, expected: dict[int, float]) -> None:
    recipe = tiny_recipe({f"optimizer.{key}": value for key, value in rules.items()} | {"critic.steps": 2})
    for step, factor in expected.items():
        assert learning_rate(recipe, step, 80) == pytest.approx(factor, rel=1e-9)


def test_momentum_rises_linearly() -> None:
    keys = {"optimizer.name": "sgd", "optimizer.momentum": [0.5, 0.7], "optimizer.momentum_epochs": 10}
    recipe = tiny_recipe(keys)
    # 80 images: an epoch is 20 steps, and momentum arrives after 200
    values = [momentum(recipe, step, 80) for step in (0, 50, 100, 200, 5000)]
    assert values == pytest.approx([0.5, 0.55, 0.6, 0.7, 0.7])
    assert momentum(tiny_recipe({"optimizer.momentum": [0.2, 0.9]}), 0, 80) == pytest.approx(0.9)


def test_rates_reach_the_optimizers() -> None:
    keys: Overrides = {
        "optimizer": {"name": "sgd", "lr": 0.1, "drops": [1], "momentum": [0.5, 0.7], "momentum_epochs": 2},
        "critic.lr": 0.02,
    }
    run = Run.prepare(tiny_recipe(keys), tiny_source(count=40))
    for step, factor, expected in ((0, 1.0, 0.5), (10, 0.1, 0.6), (30, 0.1, 0.7)):
        run.state.step = step
        set_rates(run)
        for optimizer, rate in (
            (run.state.players.generator_optimizer, 0.1),
            (run.state.players.critic_optimizer, 0.02),
        ):
            assert optimizer is not None
            (group,) = optimizer.param_groups
            assert group["lr"] == pytest.approx(rate * factor)
            assert group["momentum"] == pytest.approx(expected)


def test_rates_rule_the_training(tmp_path: Path) -> None:
    """From the drop to nothing on, nothing moves: 20 images in batches of 4 are epochs of 5 steps."""
    weights = []
    for steps in (4, 5, 8):
        keys = {"steps": steps, "optimizer.drops": [1], "optimizer.drop_factor": 0.0, "optimizer.lr": 0.01}
        run = finish(start(tmp_path, keys, "mlp", tiny_source(count=20)))
        players = run.state.players
        weights.append(
            {
                f"{i}/{k}": v
                for i, p in enumerate((players.generator, players.critic))
                for k, v in p.state_dict().items()
            }
        )
    assert not same(weights[0], weights[1])
    assert same(weights[1], weights[2])


def test_reported_rates(tmp_path: Path) -> None:
    keys = {"steps": 8, "optimizer.drops": [1], "generator.lr": 0.01, "optimizer.lr": 0.002}
    run = finish(start(tmp_path, keys, "mlp", tiny_source(count=20)))
    assert [line["generator/lr"] for line in lines(run)] == pytest.approx([0.01] * 5 + [0.001] * 3)
    assert [line["critic/lr"] for line in lines(run)] == pytest.approx([0.002] * 5 + [0.0002] * 3)


def poisoned(at: int) -> Objective:
    """Not a number from this critic step on."""
    calls, rules = itertools.count(), objective("non-saturating")

    def critic(real: Tensor, fake: Tensor) -> Tensor:
        return rules.critic(real, fake) * (math.nan if next(calls) >= at else 1.0)

    return Objective(critic, rules.generator)


def finite(run: Run) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in tensors_of(run.state).values())


@pytest.mark.parametrize(("tick", "checkpoint"), [(1, 2), (2, 2), (3, 2), (50, 1)])
def test_divergence_is_told_and_leaves_a_good_checkpoint(tmp_path: Path, tick: int, checkpoint: int) -> None:
    overrides = {"steps": 20, "tick": tick, "checkpoint": checkpoint, "keep": 2}
    run = Run.prepare(tiny_recipe(overrides), tiny_source(), rules=poisoned(3))
    run.create_folder(tmp_path)
    with pytest.raises(Diverged, match=r"diverged before step \d+: .* not finite") as caught:
        finish(run)
    assert caught.value.exit_code == 3
    assert json.loads((run.place / "summary.json").read_text())["status"] == "diverged"
    other = Run.prepare(tiny_recipe(overrides), tiny_source())
    load_checkpoint(other.state, newest(run.place / "checkpoints"))
    assert 1 <= other.state.step <= 3
    assert finite(other)


def test_divergence_says_which_checkpoint_is_left(tmp_path: Path) -> None:
    for checkpoint, said in ((2, "the checkpoint of step 2 is untouched"), (9, "no checkpoint was saved before")):
        keys = {"steps": 20, "tick": 1, "checkpoint": checkpoint}
        run = Run.prepare(tiny_recipe(keys), tiny_source(), rules=poisoned(3))
        run.create_folder(tmp_path)
        with pytest.raises(Diverged, match=f"not finite; {said}"):
            finish(run)


def test_infinite_weights_are_never_saved(tmp_path: Path) -> None:
    """The loss of the step that makes them is still finite."""
    rules = Objective(lambda real, fake: fake.mean() - real.mean(), lambda fake, _: -1e20 * fake.mean())
    keys = {"optimizer.name": "sgd", "generator.lr": 1e30, "checkpoint": 1, "steps": 5}
    run = Run.prepare(tiny_recipe(keys), tiny_source(), rules=rules)
    run.create_folder(tmp_path)
    with pytest.raises(Diverged):
        finish(run)
    assert checkpoints(run.place / "checkpoints") == []


def test_a_huge_learning_rate_diverges(tmp_path: Path) -> None:
    overrides = {"optimizer.lr": 1e38, "steps": 50, "tick": 5, "objective": "wasserstein"}
    with pytest.raises(Diverged, match=r"lower optimizer\.lr"):
        finish(start(tmp_path, overrides, "mlp", tiny_source()))


def test_a_time_limit_ends_with_everything_saved(tmp_path: Path) -> None:
    run = start(tmp_path, {"steps": 10**6, "tick": 10**6, "checkpoint": 10**6}, "mlp", tiny_source())
    finish(run, minutes=0.3 / 60)
    assert 1 < run.state.step < 10**6
    assert 0.3 <= run.state.seconds < 5
    assert newest_step(run) == run.state.step
    assert [line["step"] for line in lines(run)] == [run.state.step]
    assert json.loads((run.place / "summary.json").read_text())["status"] == "time limit"
    # the limit is for this session, not for the run
    before = run.state.step
    finish(run, minutes=0.1 / 60)
    assert run.state.step > before


def test_stop_ends_with_everything_saved(tmp_path: Path) -> None:
    run = start(tmp_path, {"steps": 50, "tick": 50, "checkpoint": 50, "snapshot": 50}, "mlp", tiny_source())
    finish(run, stop=after(4))
    assert run.state.step == newest_step(run) == 4
    assert [line["step"] for line in lines(run)] == [4]
    assert (run.place / "samples" / "000004.png").is_file()
    assert json.loads((run.place / "summary.json").read_text())["status"] == "interrupted"


def newest_step(run: Run) -> int:
    return int(checkpoints(run.place / "checkpoints")[0].name.removeprefix("step-"))


@pytest.mark.parametrize("player", ["generator", "critic"])
def test_one_player_alone(tmp_path: Path, player: str) -> None:
    overrides = {"steps": 3, f"{player}.train": False}
    run = start(tmp_path, overrides, "mlp", tiny_source())
    before = {name: value.clone() for name, value in tensors_of(run.state).items()}
    finish(run)
    now = tensors_of(run.state)
    other = "critic" if player == "generator" else "generator"
    assert all(torch.equal(value, now[name]) for name, value in before.items() if name.startswith(f"{player}/"))
    assert not all(torch.equal(value, now[name]) for name, value in before.items() if name.startswith(f"{other}/"))
    assert not any(name.startswith(f"{player}_optimizer") for name in now)
    resumed = api.resume(run.place, source=tiny_source(), steps=5)
    assert resumed.state.step == 5


def test_every_critic_step_has_fresh_data_and_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws: list[int] = []
    noises: list[Tensor] = []
    original = PictureSource.batch

    def batch(self: PictureSource, seed: int, number: int, *arguments: Any) -> Any:
        draws.append(number)
        return original(self, seed, number, *arguments)

    def noted(*arguments: Any) -> Tensor:
        noises.append(draw(*arguments))
        return noises[-1]

    run = start(tmp_path, {"steps": 3, "critic.steps": 2}, "mlp", tiny_source())
    monkeypatch.setattr(PictureSource, "batch", batch)
    monkeypatch.setattr("zerosum.engine.training.loop.draw", noted)
    finish(run)
    assert draws == list(range(6))
    assert len(noises) == 9
    assert len({tuple(noise.flatten().tolist()) for noise in noises}) == 9


def test_noise() -> None:
    torch.manual_seed(0)
    normal = draw(Latent(size=50), 2000, torch.device("cpu"))
    assert normal.shape == (2000, 50)
    assert abs(normal.mean().item()) < 0.02
    assert 0.99 < normal.std().item() < 1.01
    assert normal.abs().max() > 3.5
    uniform = draw(Latent(size=50, distribution="uniform", bound=2.0), 2000, torch.device("cpu"))
    assert abs(uniform.mean().item()) < 0.02
    assert 1.999 < uniform.abs().max().item() <= 2
    assert 0.99 * 2 / math.sqrt(3) < uniform.std().item() < 1.01 * 2 / math.sqrt(3)


def quadrants() -> PictureSource:
    """Four classes of 8x8 images: one bright quadrant each, under noise."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 4
    images = random.integers(0, 50, (400, 1, 8, 8))
    for image, label in zip(images, labels, strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[:, top : top + 4, left : left + 4] += 180
    return make_source(images.astype(np.uint8), labels)


def test_it_learns(tmp_path: Path) -> None:
    source = quadrants()
    overrides = {
        "steps": 300,
        "batch": 32,
        "tick": 100,
        "checkpoint": 1000,
        "condition.method": "embed",
        "generator": {"network": "mlp", "first": 64, "hidden": [64]},
        "critic": {"network": "mlp", "first": 64, "hidden": [64]},
        "optimizer": {"lr": 0.002, "betas": [0.5, 0.99]},
        "average.half_life": 500.0,
    }
    run = start(tmp_path, overrides, "mlp", source)
    images, labels = source.native(range(400)), torch.arange(400) % 4
    means = torch.stack([images[labels == label].mean(0) for label in range(4)])

    def share_at_own_class() -> float:
        wanted = [str(label) for label in range(4) for _ in range(16)]
        made = run.sample(64, label=wanted)
        nearest = torch.cdist(made.flatten(1), means.flatten(1)).argmin(1)
        return (nearest == torch.arange(64) // 16).float().mean().item()

    assert 0.0 <= share_at_own_class() <= 0.5  # by chance 0.25
    finish(run)
    assert share_at_own_class() >= 0.95
    made = run.sample(32, label="2")
    # near the class as its own images are , if a little too bright or dark, and no single image
    assert (made.mean(0) - means[2]).abs().mean().item() < 0.25
    assert 0.01 < made.std(0).mean().item() < 0.3
