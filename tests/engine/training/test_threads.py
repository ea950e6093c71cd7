"""The number of threads: chosen by made-up times; a trial leaves no trace in a real training."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import OwnGenerator, same, tiny_recipe, tiny_source, with_input
from tests.engine.training.test_loop import LAZY, SYSTEMS, Overrides, finish, lines
from zerosum import api
from zerosum.data.pictures.source import PictureSource
from zerosum.engine.runs.files import read_json, write_json
from zerosum.engine.runs.run import Run
from zerosum.engine.runs.stored import stored_threads
from zerosum.engine.training import loop, threads
from zerosum.engine.training.pace import Pace
from zerosum.engine.training.state import tensors_of
from zerosum.engine.training.threads import CLEARLY, ROUNDS, fastest, settled
from zerosum.games.objectives import Objective
from zerosum.modalities.picture import section

pytestmark = pytest.mark.usefixtures("plot_nothing")


class Machine:
    """Steps take as long as `cost(threads, number of the step)` says. share: of the processor that they get."""

    def __init__(self, cost: Callable[[int, int], float], share: float = 1.0) -> None:
        self.cost, self.share, self.now, self.worked, self.used = cost, share, 0.0, 0.0, 0
        self.steps: list[tuple[int, int]] = []

    def use(self, count: int) -> None:
        self.used = count

    def step(self, number: int) -> None:
        self.steps.append((self.used, number))
        seconds = self.cost(self.used, number)
        self.now += seconds
        self.worked += self.share * self.used * seconds

    def choose(self, available: int) -> tuple[int, float]:
        return fastest(self.step, available, self.use, lambda: self.now, lambda: self.worked)


def test_a_quiet_machine() -> None:
    machine = Machine(lambda count, _: 0.1 / count)
    for available in (2, 3, 8, 64):
        assert machine.choose(available) == (available, 1.0)


def test_beside_a_busy_program() -> None:
    count, ratio = Machine(lambda count, _: 0.03 if count == 1 else 0.09).choose(2)
    assert count == 1
    assert ratio == pytest.approx(3)
    # of eight cores one is busy: all wait for it, seven do not
    count, ratio = Machine(lambda count, _: 0.02 if count == 8 else 0.08 / count).choose(8)
    assert count == 7
    assert ratio == pytest.approx(0.02 / (0.08 / 7))


@pytest.mark.parametrize("seconds", [0.09, 1.9, 3.0, 6.0])
def test_beside_several_busy_programs(seconds: float) -> None:
    """However long a step takes with all threads, if they wait for the processor and do not use it."""
    machine = Machine(lambda count, _: 0.03 if count == 1 else seconds, share=0.5)
    assert machine.choose(2)[0] == 1
    assert machine.now < 4 * seconds + 2


def test_all_unless_fewer_are_clearly_faster() -> None:
    for one, chosen in ((CLEARLY + 0.05, 2), (CLEARLY - 0.05, 1)):
        assert Machine(lambda count, _: 0.01 * (one if count == 1 else 1)).choose(2)[0] == chosen  # noqa: B023


def test_first_steps_and_costly_ones_do_not_decide() -> None:
    machine = Machine(lambda count, number: 2.9 if number == 0 and count == 2 else 0.01 / count)
    assert machine.choose(2) == (2, 1.0)
    lazy = Machine(lambda count, number: 0.01 / count * (8 if number % 3 == 0 else 1))
    assert lazy.choose(2) == (2, 1.0)
    for tried in (machine.steps, lazy.steps):
        of_two, of_one = ([number for count, number in tried if count == wanted] for wanted in (2, 1))
        assert of_two == [0, 1, *of_one[1:]]
        assert of_one == list(range(ROUNDS + 1))


def test_it_takes_little_time() -> None:
    for seconds in (1e-4, 0.05, 0.3, 0.9, 1.9, 5.0, 60.0):
        for available in (2, 4, 16, 128):
            machine = Machine(lambda count, _: seconds * available / count)  # noqa: B023
            machine.choose(available)
            assert machine.now <= max(15.0, seconds)
            assert len(machine.steps) <= 3 * (ROUNDS + 1) + 1
    # all threads take long, and one, which might take as many times as long, is not tried
    machine = Machine(lambda count, _: 16 / count)
    assert machine.choose(16)[0] == 16
    assert {count for count, _ in machine.steps} == {16, 15}
    machine = Machine(lambda *_: 3.0)
    assert machine.choose(2) == (2, 1.0)
    assert {count for count, _ in machine.steps} == {2}
    machine = Machine(lambda *_: 60.0)
    assert machine.choose(2) == (2, 1.0)
    assert machine.steps == [(2, 0)]


def test_what_is_settled() -> None:
    assert settled(tiny_recipe(), None, 4) == 4
    assert settled(tiny_recipe(), 1, 4) == 1
    assert settled(tiny_recipe(), 8, 4) == 4  # on a smaller machine
    assert settled(tiny_recipe({"threads": 2}), 1, 4) == 2
    assert settled(tiny_recipe({"threads": 8}), None, 4) == 8


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2  # nothing else was left behind
    torch.set_num_threads(1)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that were tried. A trial is made before the shortest training, and finds one thread the faster."""
    made: list[int] = []

    def choose(step: Callable[[int], None], available: int) -> tuple[int, float]:
        def counted(number: int) -> None:
            made.append(number)
            step(number)
            random.random()  # noqa: S311
            np.random.random()  # noqa: NPY002

        fastest(counted, available)
        return 1, 3.0

    monkeypatch.setattr(threads, "WORTH", 1)
    for name in ("LONGEST", "FIRST", "ENOUGH"):  # however slow this machine is now
        monkeypatch.setattr(threads, name, 1e9)
    monkeypatch.setattr(threads, "fastest", choose)
    return made


def prepared(folder: Path, overrides: Overrides, network: str, source: PictureSource) -> Run:
    run = Run.prepare(tiny_recipe({"steps": 6, "checkpoint": 100} | overrides, network), source)
    run.create_folder(folder)
    return run


def drawn() -> tuple[Any, ...]:
    """The next numbers of all generators, which stay as they are."""
    with threads.same_numbers():
        return torch.rand(3).tolist(), np.random.random(3).tolist(), random.random()  # noqa: NPY002, S311


AVERAGED: Overrides = {"average.half_life": 30.0}
TRIED: dict[str, tuple[Overrides, str, int]] = {
    **{name: (overrides | AVERAGED, network, side) for name, (overrides, network, side) in SYSTEMS.items()},
    "no average": ({"generator.norm": "batch"}, "dcgan", 16),
}


@pytest.mark.parametrize("name", list(TRIED))
def test_a_trial_leaves_no_trace(name: str, tmp_path: Path, two_threads: None, trials: list[int]) -> None:
    overrides, network, side = TRIED[name]
    source = tiny_source(side, mirror=True)
    by_hand = finish(prepared(tmp_path / "a", overrides | {"threads": 1}, network, source))
    assert trials == []
    run = prepared(tmp_path / "b", overrides, network, source)
    before, numbers = {key: value.clone() for key, value in tensors_of(run.state).items()}, drawn()
    with loop.surroundings(run), loop.threaded(run):
        assert torch.get_num_threads() == 1
        assert len(trials) > 2 * ROUNDS
        assert same(before, tensors_of(run.state))
        for optimizer in (run.state.players.generator_optimizer, run.state.players.critic_optimizer):
            assert optimizer is not None
            assert not optimizer.state
        assert (run.state.step, run.state.seconds) == (0, 0.0)
    assert drawn() == numbers
    finish(run)
    assert same(tensors_of(run.state), tensors_of(by_hand.state))
    assert lines(run) == lines(by_hand)
    assert drawn() == numbers


def test_no_trace_in_pools_of_pictures(tmp_path: Path, two_threads: None, trials: list[int]) -> None:
    keys = {"data.input": "domains", "condition.method": "given", "cycle": {"pool": 9}, "latent.size": 0}
    keys |= {"generator": {"network": "resnet", "width": 4}, "critic": {"network": "patch", "width": 4, "layers": 2}}
    runs = []
    for name, count in (("a", 1), ("b", "auto")):
        recipe = tiny_recipe({"steps": 4, "threads": count} | keys)
        run = Run.prepare(recipe, with_input(tiny_source(16, 3), section(recipe.data)))
        run.create_folder(tmp_path / name)
        runs.append(finish(run))
    assert len(trials) > 2 * ROUNDS
    assert same(*(tensors_of(run.state) for run in runs))


def test_what_was_chosen_is_written_down_and_kept(
    tmp_path: Path, two_threads: None, trials: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    def number(run: Run) -> Any:
        return read_json(run.place / "environment.json")["machine"]["threads"]

    source = tiny_source()
    run = api.train(tiny_recipe({"steps": 4}), source=source, out=tmp_path)
    assert "training with 1 of 2 threads, 3.0 times as fast now as with all: another program" in capsys.readouterr().err
    assert number(run) == 1
    trials.clear()
    api.resume(run.place, source=source, steps=6)
    said = capsys.readouterr().err
    assert "not to the last bit" not in said
    assert "threads" not in said
    assert (number(run), trials) == (1, [])
    # a number that is asked for differs in the last bits, and is what the next one goes on with
    api.resume(run.place, source=source, steps=8, threads=2)
    assert "goes on, but not to the last bit as it would have: the number of threads was 1, is 2" in (
        capsys.readouterr().err
    )
    assert number(run) == 2
    api.resume(run.place, source=source, steps=10, threads="auto")
    assert "threads" not in capsys.readouterr().err
    assert (number(run), trials) == (2, [])


@pytest.mark.parametrize("overrides", [{"deterministic": True}, {"threads": 2}, {"steps": 3}])
def test_where_nothing_is_tried(
    overrides: Overrides, tmp_path: Path, two_threads: None, trials: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "WORTH", 4)
    seen = []

    def rules(real: Tensor, fake: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        return fake.mean() - real.mean()

    run = Run.prepare(
        tiny_recipe({"steps": 4} | overrides), tiny_source(), rules=Objective(rules, lambda fake, _: -fake.mean())
    )
    run.create_folder(tmp_path)
    finish(run)
    assert trials == []
    assert set(seen) == {2}


def test_a_network_that_cannot_be_copied_is_not_tried(tmp_path: Path, two_threads: None, trials: list[int]) -> None:
    generator = OwnGenerator()
    generator.lock = threading.Lock()  # type: ignore[assignment]
    run = Run.prepare(tiny_recipe(), tiny_source(), generator)
    run.create_folder(tmp_path)
    finish(run)
    assert trials == []
    assert run.state.step == 6


def test_one_thread_is_never_tried(tmp_path: Path, trials: list[int]) -> None:
    assert torch.get_num_threads() == 1
    finish(prepared(tmp_path, LAZY, "mlp", tiny_source()))
    assert trials == []


def test_stored_threads(tmp_path: Path) -> None:
    run = prepared(tmp_path, {}, "mlp", tiny_source())
    path = run.place / "environment.json"
    described = read_json(path)
    assert stored_threads(run.place) == 1
    for machine in ({}, {"threads": None}, {"threads": "2"}, {"threads": 0}, {"threads": -1}, {"threads": True}, [1]):
        write_json(path, described | {"machine": machine})
        assert stored_threads(run.place) is None
        run.write_threads(3)
    write_json(path, described | {"processes": 2})
    assert stored_threads(run.place) is None  # it was shared


def test_a_slowdown_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], two_threads: None
) -> None:
    monkeypatch.setattr(Pace, "add", lambda *_: 2.6)
    run = prepared(tmp_path, {"steps": 1, "threads": 2}, "mlp", tiny_source())
    finish(run)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("step 1: training is 2.6 times as slow as it was; if another program uses the processor: ")
    assert line.endswith("resume it with threads=1")
    run = prepared(tmp_path, {"steps": 1, "threads": 1}, "mlp", tiny_source())
    finish(run)
    assert capsys.readouterr().err.rstrip().endswith("wait for it, or stop it")
