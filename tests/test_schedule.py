"""Numbers that change on the way: their values, how they are written, and that they reach the training."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Call, same, tiny_recipe, tiny_source
from tests.engine.training.test_loop import after, finish, lines, start
from zerosum.data.pictures.views import shrunk_source
from zerosum.engine.runs.run import Run
from zerosum.engine.training.graphs import can_record
from zerosum.engine.training.loop import average_decay, set_rates
from zerosum.engine.training.state import tensors_of
from zerosum.errors import ZerosumError
from zerosum.loading import parse_overrides
from zerosum.plainyaml import read_yaml
from zerosum.recipe import Recipe
from zerosum.schedule import Schedule, resolved, scheduled

FALLING: dict[str, Any] = {"from": 2, "to": 0.5, "over": 0.5}
#: every key that may change on the way
KEYS = (
    *("penalties.r1.weight", "penalties.zero.weight", "penalties.clip", "condition.weight", "adversarial"),
    *("optimizer.lr", "generator.lr", "critic.lr", "average.half_life"),
)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Schedule(2, 0.5, 0.5), {0: 2, 0.25: 1.25, 0.5: 0.5, 1: 0.5}),
        (Schedule(0, 4), {0: 0, 0.25: 1, 1: 4}),
        (Schedule(0, 4, 0.5, "cosine"), {0: 0, 0.125: 4 * 0.14644660940672624, 0.25: 2, 0.5: 4, 0.9: 4}),
    ],
)
def test_values(schedule: Schedule, values: dict[float, float]) -> None:
    for share, value in values.items():
        assert schedule.at(share) == pytest.approx(value, abs=1e-12)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 1), st.sampled_from(["line", "cosine"]), st.floats(0, 1))
def test_values_stay_between_the_ends_and_survive_writing(
    a: float, b: float, over: float, shape: str, x: float
) -> None:
    if a == b:
        return
    schedule = Schedule(a, b, over, shape)
    assert min(a, b) <= schedule.at(x) <= max(a, b)
    assert (schedule.at(0), schedule.at(over)) == (a, b)
    assert Schedule.parse(schedule.plain()) == schedule == deepcopy(schedule)
    assert float(schedule) == max(a, b)


@pytest.mark.parametrize("key", KEYS)
def test_a_recipe_takes_and_keeps_them(key: str) -> None:
    recipe = tiny_recipe({key: FALLING})
    assert scheduled(recipe) == [key]
    assert Recipe.parse(read_yaml(recipe.to_yaml(), "there")) == recipe
    assert recipe == tiny_recipe(parse_overrides(Recipe, [f"{key}={{from: 2, to: 0.5, over: 0.5}}"]))
    number = tiny_recipe({key: 2.0})
    assert recipe != number
    assert recipe.differences(number) == {key: ({"from": 2.0, "to": 0.5, "over": 0.5}, 2.0)}
    # one rule: at every share of the steps it is the recipe with the plain number
    for share, value in ((0, 2.0), (0.25, 1.25), (0.5, 0.5), (0.9, 0.5)):
        assert resolved(recipe, share).plain() == tiny_recipe({key: value}).plain()
    assert scheduled(number) == []
    assert resolved(number, 0.3) is number


def test_parts_of_a_cycle_and_of_content_take_them() -> None:
    changes = {"cycle.weight": FALLING, "cycle.identity": FALLING, "adversarial": FALLING}
    recipe = Recipe.load("cyclegan-seasons", changes)
    assert scheduled(recipe) == ["adversarial", "cycle.weight", "cycle.identity"]
    assert scheduled(Recipe.load("superres-faces", {"content.weight": FALLING})) == ["content.weight"]


@pytest.mark.parametrize(
    "value",
    [
        {"from": 2},
        {"from": 2, "to": 2},
        {"from": -1, "to": 2},
        {"from": 1, "to": float("nan")},
        {"from": 1, "to": 2, "over": 0},
        {"from": 1, "to": 2, "over": 1.5},
        {"from": 1, "to": 2, "until": 0.5},
        {"from": 1, "to": 2, "shape": "step"},
        {"from": "1", "to": 2},
        {"from": True, "to": 2},
        {"from": 1, "to": 10**400},
    ],
)
def test_what_is_no_schedule_is_told(value: dict[str, Any]) -> None:
    with pytest.raises(
        ZerosumError, match=r"penalties.r1.weight = \{.*: should be like \{from: 2, to: 0.2, over: 0.5\}"
    ):
        tiny_recipe({"penalties.r1.weight": value})


def test_a_part_of_a_schedule_can_be_changed_and_of_a_number_not() -> None:
    recipe = tiny_recipe({"optimizer.lr": FALLING}).with_overrides({"optimizer.lr.to": 1})
    assert recipe.optimizer.lr == Schedule(2, 1, 0.5)
    with pytest.raises(ZerosumError, match=r"unknown key 'optimizer\.lr\.to'"):
        tiny_recipe({"optimizer.lr.to": 1})


def test_a_schedule_is_one_value_of_a_flat_recipe() -> None:
    bins = {"age": {"from": [0, 30], "to": [30, 99]}}
    found = tiny_recipe({"optimizer.lr": FALLING, "data.attributes": bins}).flat()
    assert found["optimizer.lr"] == {"from": 2.0, "to": 0.5, "over": 0.5}
    assert found["data.attributes.age.from"] == [0, 30]


def test_rates_follow_the_step() -> None:
    run = Run.prepare(
        tiny_recipe({"steps": 8, "optimizer.lr": FALLING, "critic.lr": {"from": 0, "to": 0.8}}), tiny_source()
    )
    optimizers = run.state.players.generator_optimizer, run.state.players.critic_optimizer
    for step, lr, own in ((0, 2.0, 0.0), (2, 1.25, 0.2), (4, 0.5, 0.4), (7, 0.5, 0.7)):
        run.state.step = step
        set_rates(run)
        assert [one.param_groups[0]["lr"] for one in optimizers if one] == pytest.approx([lr, own])


def test_the_average_follows_the_step() -> None:
    recipe = tiny_recipe({"average.half_life": {"from": 8, "to": 4}, "average.ramp": 0.0})
    assert average_decay(resolved(recipe, 0.5), 3) == pytest.approx(0.5 ** (4 / 6))


EVERYTHING: dict[str, Any] = {
    "penalties.r1.weight": {"from": 2, "to": 0, "over": 0.5},
    "condition.method": "auxiliary",
    "condition.weight": {"from": 0, "to": 1},
    "adversarial": {"from": 0.1, "to": 1, "over": 0.4, "shape": "cosine"},
    "optimizer.lr": {"from": 0.01, "to": 0.001},
    "average.half_life": {"from": 4, "to": 30},
    "steps": 6,
    "checkpoint": 100,
}


def test_going_on_is_as_if_never_stopped(tmp_path: Path) -> None:
    source = tiny_source()
    straight = finish(start(tmp_path / "a", EVERYTHING, "mlp", source))
    stopped = finish(start(tmp_path / "b", EVERYTHING, "mlp", source), stop=after(3))
    assert stopped.state.step == 3
    resumed = Run.prepare(tiny_recipe(EVERYTHING), source)
    resumed.reopen(stopped.place)
    finish(resumed)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))
    assert lines(resumed) == lines(straight)
    assert lines(straight)[0]["generator/lr"] == 0.01
    assert lines(straight)[3]["generator/lr"] == pytest.approx(0.0055)
    # a penalty of weight 0 is computed no more
    assert ["critic/r1" in line for line in lines(straight)] == [True] * 3 + [False] * 3


@pytest.mark.parametrize("key", ["penalties.r1.weight", "condition.weight", "adversarial", "optimizer.lr"])
def test_they_rule_the_training(tmp_path: Path, key: str) -> None:
    """One step from the start of a schedule is one with that number, bit for bit; the next is not."""
    shared: dict[str, Any] = {"condition.method": "auxiliary"}
    for steps, equal in ((1, True), (2, False)):
        plain, changing = (
            finish(start(tmp_path / f"{steps}", shared | {key: value, "steps": steps}, "mlp", tiny_source()))
            for value in (0.5, {"from": 0.5, "to": 0.25})
        )
        assert same(tensors_of(plain.state), tensors_of(changing.state)) is equal


def test_the_objective_may_come_in_beside_a_content_loss(tmp_path: Path) -> None:
    """The critic learns from the first step on, so that it has something to say when it is heard."""
    rising: dict[str, Any] = {"adversarial": {"from": 0, "to": 1, "over": 0.5}}
    with pytest.raises(ZerosumError, match=r"adversarial = 0 without content\.weight"):
        tiny_recipe(rising)
    pictured: dict[str, Any] = {
        **{"data.input": "shrunk", "condition.method": "picture", "latent.size": 0, "content.weight": 1.0},
        **{"generator": {"network": "srresnet", "width": 4, "blocks": 1}, "critic": {"network": "patch", "width": 4}},
    }
    run = finish(start(tmp_path, pictured | rising, "mlp", shrunk_source(tiny_source(32, channels=3), 4)))
    assert ["generator/loss" in line for line in lines(run)] == [False] + [True] * 5
    assert all("critic/loss" in line for line in lines(run))


@pytest.mark.parametrize(
    ("key", "records"),
    [("penalties.r1.weight", False), ("adversarial", False), ("optimizer.lr", True), ("average.half_life", True)],
)
def test_recorded_steps_have_constant_weights(key: str, records: bool, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny_recipe({key: FALLING})
    assert can_record(recipe, own=False) is records
    assert ("not recorded as CUDA graphs" in capsys.readouterr().err) is not records
    if not records:
        with pytest.raises(ZerosumError, match=f"cuda_graphs = true: a recorded step keeps its weights, and {key}"):
            can_record(recipe.with_overrides({"cuda_graphs": True}), own=False)


def test_a_schedule_is_unlike_any_number() -> None:
    assert Schedule(1, 0.5) != 1
    assert Schedule(1, 0.5) == Schedule(1, 0.5, 1.0, "line")
    assert {Schedule(1, 0.5)} != {Schedule(1, 0.5, 0.5)}


def test_the_plan_shows_them(call: Call) -> None:
    code, out, _ = call(
        "train",
        "digits",
        "--dry-run",
        "--set",
        "adversarial={from: 1, to: 0.2}",
        "--set",
        "optimizer.lr={from: 1, to: 0}",
    )
    assert code == 0
    assert " x 1 to 0.2, condition" in out
