"""Optimizers of torch and from outside: they move the weights as they should, go on exactly, or are refused."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zerosum as zs
from tests.conftest import Call, same, tiny_recipe, tiny_source
from tests.engine.training.test_loop import after, finish, start
from zerosum.engine.runs.reading import newest
from zerosum.engine.runs.run import Run
from zerosum.engine.training.graphs import can_record
from zerosum.engine.training.loop import try_threads
from zerosum.engine.training.optimizers import make_optimizer
from zerosum.engine.training.state import restore, tensors_of
from zerosum.errors import ZerosumError

pytestmark = pytest.mark.usefixtures("plot_nothing")

HERE = f"{__name__}:"
CPU = torch.device("cpu")


class Sign(torch.optim.Optimizer):
    """Goes by the sign of a running mean, as Lion does; it holds more than torch's own way of copying keeps."""

    def __init__(self, params: Any, lr: float = 0.1, keep: float = 0.9) -> None:
        super().__init__(params, {"lr": lr})
        self.keep = keep

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                    mean.lerp_(weight.grad, 1 - self.keep)
                    weight.sub_(group["lr"] * mean.sign())


class Counting(Sign):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["count"] = self.state[weight].get("count", 0) + 1


class Warming(Sign):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.param_groups[0]["k"] = self.param_groups[0].get("k", 0) + 1


class Rateless(torch.optim.Optimizer):
    def __init__(self, params: Any) -> None:
        super().__init__(params, {})


def named(name: str, **options: Any) -> dict[str, Any]:
    return {"optimizer": {"name": name, "lr": 0.01, "options": options}}


OTHERS: dict[str, dict[str, Any]] = {
    "AdamW": named("torch.optim:AdamW", weight_decay=0.1, betas=[0.5, 0.9]),
    "NAdam": named("torch.optim:NAdam"),
    "Adafactor": named("torch.optim:Adafactor"),  # keeps rows and columns
    "ASGD": named("torch.optim:ASGD"),
    "SGD": named("torch.optim:SGD", momentum=0.5, nesterov=True),
    "Sign": named(f"{HERE}Sign", keep=0.5),
    "adam, amsgrad": named("adam", amsgrad=True),
    "rmsprop, momentum": named("rmsprop", momentum=0.5, centered=True),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_going_on_is_as_if_never_stopped(tmp_path: Path, name: str) -> None:
    source, overrides = tiny_source(), OTHERS[name] | {"checkpoint": 100}
    straight = finish(start(tmp_path / "a", overrides, "mlp", source))
    stopped = finish(start(tmp_path / "b", overrides, "mlp", source), stop=after(3))
    resumed = Run.prepare(tiny_recipe(overrides), source)
    resumed.reopen(stopped.place)
    assert same(tensors_of(resumed.state), tensors_of(stopped.state))
    assert any(key.startswith("critic_optimizer/0/") for key in tensors_of(resumed.state))
    finish(resumed)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))


def test_one_by_its_path_moves_as_torchs_own() -> None:
    torch.manual_seed(0)
    first = nn.Linear(3, 2)
    second = nn.Linear(3, 2)
    second.load_state_dict(first.state_dict())
    recipe = tiny_recipe(named("torch.optim:AdamW", weight_decay=0.1))
    mine = make_optimizer(recipe, first.parameters(), CPU)
    theirs = torch.optim.AdamW(second.parameters(), lr=0.01, weight_decay=0.1)
    for network, optimizer in ((first, mine), (second, theirs)):
        for _ in range(3):
            optimizer.zero_grad()
            network(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
    assert same(first.state_dict(), second.state_dict())


def test_the_learning_rate_is_the_recipes(tmp_path: Path) -> None:
    """Every step: with a rate of 0 weights stay, and drops and players' own rates hold too."""
    overrides = named(f"{HERE}Sign") | {"generator.lr": 0.0, "steps": 2, "optimizer.drops": [0.1], "tick": 1}
    run = start(tmp_path, overrides, "mlp", tiny_source())
    before = [weight.clone() for weight in run.state.players.generator.parameters()]
    critic = [weight.clone() for weight in run.state.players.critic.parameters()]
    finish(run)
    assert all(map(torch.equal, before, run.state.players.generator.parameters()))
    moved = [
        (new - old).abs().max().item() for old, new in zip(critic, run.state.players.critic.parameters(), strict=True)
    ]
    assert max(moved) == pytest.approx(0.01 + 0.001, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (named("torch.optim:AdamW", weight_dekay=1), r"unknown key 'optimizer.options.weight_dekay'.*'weight_decay'\?"),
        (
            named("adam", weight_dekay=1),
            r"unknown key 'optimizer.options.weight_dekay' of optimizer adam: .*'weight_dec",
        ),
        (named("adam", betas=[0, 1]), r"optimizer.options.betas: other keys of the recipe say this"),
        (named("torch.optim:AdamW", lr=1), r"optimizer.options.lr: other keys of the recipe say this"),
        (named("torch.optim:AdamW", weight_decay=-1), r"cannot be made: Invalid weight_decay value: -1"),
        (named("torch.optim:AdamW", weight_decay="much"), r"optimizer.name = torch.optim:AdamW: .*"),
        (named("torch.optim:LBFGS"), r"its first step raised TypeError: .*closure"),
        (named("torch.optim:AdamX"), r"optimizer.name 'torch.optim:AdamX' cannot be imported"),
        (named("torch.nn:Linear"), r"optimizer.name 'torch.nn:Linear' is no torch.optim.Optimizer class"),
        (named(f"{HERE}Counting"), r"it keeps count = 1: a checkpoint holds tensors only"),
        (named(f"{HERE}Warming"), r"its first step changed param_groups, which no checkpoint holds"),
        (named(f"{HERE}Rateless"), r"it has no learning rate lr"),
        ({"optimizer.name": "given"}, r"the optimizer of this run is your own: pass it again"),
    ],
)
def test_what_does_not_fit_is_told_before_training(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ZerosumError, match=said) as told:
        Run.prepare(tiny_recipe(changes), tiny_source())
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "optimizer.options",
            {"weight_decay": {"a": 1}},
            "optimizer.options.weight_decay = {'a': 1}: should be a number",
        ),
        ("optimizer.name", "torch.optim.AdamW", "package.module:Class"),
    ],
)
def test_options_are_plain_values(key: str, value: Any, said: str) -> None:
    with pytest.raises(ZerosumError, match=said):
        tiny_recipe({key: value})


def fast(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=0.01)


@pytest.mark.parametrize(
    ("own", "name"),
    [
        (torch.optim.AdamW, "given"),
        (partial(torch.optim.AdamW, weight_decay=0.01), "given"),
        (fast, "given"),
        ("torch.optim:AdamW", "torch.optim:AdamW"),
    ],
)
def test_from_python(tmp_path: Path, own: Any, name: str) -> None:
    """All four are the same optimizer, and go on with what is handed over again."""
    shared: dict[str, Any] = {"source": tiny_source(), "out": tmp_path, "overrides": {"optimizer.lr": 0.01}}
    run = zs.train(tiny_recipe(), **shared, optimizer=own, steps=3)
    assert run.recipe.optimizer.name == name
    assert isinstance(run.state.players.critic_optimizer, torch.optim.AdamW)
    resumed = zs.resume(run.place, source=tiny_source(), optimizer=own, steps=5)
    straight = zs.train(tiny_recipe(), **shared, optimizer={"name": "torch.optim:AdamW"}, steps=5)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))
    if name == "given":
        with pytest.raises(ZerosumError, match="your own: pass it again, optimizer="):
            zs.resume(run.place, source=tiny_source(), steps=7)
    assert len(zs.load(run.place).sample(1)) == 1


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (torch.optim.SGD([torch.ones(1)], lr=1), r"optimizer = SGD\(\.\.\.\) moves weights already: pass the class"),
        (3, "optimizer is a int: it should be a class, or a function of weights"),
        (lambda _: 3, "it makes 3, which is no torch.optim.Optimizer"),
        (lambda _: torch.optim.SGD([torch.ones(1)], lr=2e-4), "it moves other weights"),
    ],
)
def test_no_optimizer_from_python(own: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=said):
        zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path / "runs", optimizer=own)
    assert not (tmp_path / "runs").exists()


def test_a_learning_rate_that_is_not_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    make_optimizer(tiny_recipe({"optimizer.name": "given"}), nn.Linear(1, 1).parameters(), CPU, fast)
    assert "the optimizer has lr = 0.01, but the recipe sets learning rates: 0.0002" in capsys.readouterr().err


Change = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: kept.pop("critic_optimizer/0/mean"), None),
        (lambda kept: kept.update({"critic_optimizer/0/other": torch.zeros(())}), "it has '0/other'"),
        (lambda kept: kept.update({"critic_optimizer/0/mean": torch.zeros(3)}), r"'0/mean' is torch.float32 \(3,\)"),
        (lambda kept: kept.update({"critic_optimizer/99/mean": torch.zeros(3)}), "it has '99/mean'"),
    ],
)
def test_states_that_do_not_fit_are_refused(tmp_path: Path, change: Change, said: str | None) -> None:
    run = finish(start(tmp_path, OTHERS["Sign"], "mlp", tiny_source()))
    assert newest(run.place / "checkpoints").name == "step-000006"
    kept = {name: value.clone() for name, value in tensors_of(run.state).items()}
    change(kept)
    if said is None:
        restore(run.state, kept)
        assert same(tensors_of(run.state), kept)
        return
    with pytest.raises(ZerosumError, match=said):
        restore(run.state, kept)


def test_what_an_optimizer_lacks_is_refused() -> None:
    run = Run.prepare(tiny_recipe(OTHERS["AdamW"]), tiny_source())
    weights = tensors_of(run.state)
    with pytest.raises(ZerosumError, match="it lacks parts"):
        restore(run.state, weights | {"critic_optimizer/0/step": torch.ones(())})


def test_no_trial_of_threads_with_a_copy_that_lacks_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.prepare(tiny_recipe(OTHERS["Sign"]), tiny_source())
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    assert try_threads(run) == 3


def test_those_from_outside_are_not_recorded() -> None:
    assert not can_record(tiny_recipe(OTHERS["AdamW"]), own=False)
    assert can_record(tiny_recipe(OTHERS["adam, amsgrad"]), own=False)


def test_at_the_command_line(call: Call, tmp_path: Path) -> None:
    chosen = ("--set", "optimizer.name=torch.optim:AdamW", "--set", "optimizer.options.weight_decay=0.01")
    assert call("train", "digits", "--dry-run", *chosen)[0] == 0
    code, _, err = call("train", "digits", "--dry-run", *chosen, "--set", "optimizer.options.weight=1")
    assert code == 2
    assert "unknown key 'optimizer.options.weight' of optimizer torch.optim:AdamW" in err
