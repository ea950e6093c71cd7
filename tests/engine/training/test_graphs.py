"""Steps as CUDA graphs: the bits of steps that are not. Most of it needs a GPU, and says so where there is none."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import OwnGenerator, same, tiny_recipe, tiny_source
from tests.engine.training.test_loop import SYSTEMS, Overrides, after, finish, lines, start
from zerosum.data.source import Batch, Condition
from zerosum.engine.runs.checkpoint import load_checkpoint
from zerosum.engine.runs.reading import newest
from zerosum.engine.runs.run import Run
from zerosum.engine.training.graphs import WARM_UP, Recorder, Recording, can_record
from zerosum.engine.training.loop import Totals, set_rates, take_step
from zerosum.engine.training.state import tensors_of
from zerosum.errors import ZerosumError
from zerosum.recipe import Recipe

pytestmark = pytest.mark.usefixtures("plot_nothing")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
#: long enough for every kind of step to be recorded and replayed several times; an epoch has 5 batches
LONG: Overrides = {"steps": 24, "checkpoint": 100, "device": "cuda", "deterministic": True}


@pytest.fixture
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def train_system(folder: Path, name: str, changed: dict[str, Any]) -> Run:
    overrides, network, side = SYSTEMS[name]
    return finish(start(folder, overrides | LONG | changed, network, tiny_source(side, mirror=True)))


@needs_gpu
@pytest.mark.usefixtures("repeatable")
@pytest.mark.parametrize("name", list(SYSTEMS))
def test_a_recorded_run_has_the_bits_of_one_that_is_not(tmp_path: Path, name: str) -> None:
    plain = train_system(tmp_path / "a", name, {"cuda_graphs": False})
    recorded = train_system(tmp_path / "b", name, {})
    assert recorded.recorder._recordings.keys() == {
        kind for kind, count in recorded.recorder._calls.items() if count > WARM_UP
    }
    assert len(recorded.recorder._recordings) >= 2
    assert not plain.recorder._recordings
    assert lines(recorded) == lines(plain)
    assert same(tensors_of(recorded.state), tensors_of(plain.state))


@needs_gpu
@pytest.mark.usefixtures("repeatable")
@pytest.mark.parametrize("name", list(SYSTEMS))
def test_going_on_is_as_if_never_stopped(tmp_path: Path, name: str) -> None:
    overrides, network, side = SYSTEMS[name]
    source = tiny_source(side, mirror=True)
    straight = train_system(tmp_path / "a", name, {})
    stopped = finish(start(tmp_path / "b", overrides | LONG, network, source), stop=after(15))
    resumed = Run.prepare(tiny_recipe(overrides | LONG, network), source)
    resumed.reopen(stopped.place)
    finish(resumed)
    assert lines(resumed) == lines(straight)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))


@needs_gpu
@pytest.mark.usefixtures("repeatable")
def test_going_back_to_a_checkpoint_is_seen_by_recorded_steps(tmp_path: Path) -> None:
    overrides, network, side = SYSTEMS["lazy r1, bf16"]
    run = start(tmp_path, overrides | LONG, network, tiny_source(side))
    run.checkpoint()
    finish(run)
    first = {name: value.clone() for name, value in tensors_of(run.state).items()}
    load_checkpoint(run.state, run.place / "checkpoints" / "step-000000")
    for _ in range(run.recipe.steps):
        take_step(run, Totals())
    assert same(tensors_of(run.state), first)
    load_checkpoint(run.state, newest(run.place / "checkpoints"))
    assert same(tensors_of(run.state), first)


class Looking(OwnGenerator):
    """Waits for the device in every step."""

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        images = super().forward(z, labels)
        return images * (1.0 if images.abs().max().item() < 2 else 0.5)


@needs_gpu
def test_what_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    for wanted in (None, True):
        run = Run.prepare(tiny_recipe(LONG | {"cuda_graphs": wanted}), tiny_source(labelled=False), Looking())
        run.create_folder(tmp_path)
        if wanted:
            with pytest.raises(ZerosumError, match=r"cannot be recorded .*--set cuda_graphs=false"):
                finish(run)
        else:
            finish(run)
            assert not run.recorder._recordings


def test_a_recorder_that_records_nothing_calls_every_time() -> None:
    recorder, calls = Recorder(records=False), []

    def step(real: Batch, z: Tensor) -> dict[str, Tensor]:
        calls.append((real, z))
        return {"loss": z.sum()}

    real, z = Batch(torch.zeros(2, 1, 8, 8)), torch.ones(2, 3)
    for _ in range(WARM_UP + 3):
        assert recorder.play("step", step, real, z=z)["loss"].item() == 6
    assert len(calls) == WARM_UP + 3
    assert calls[0][0] is real


class Still:
    """In place of a graph, where there is no GPU: replays nothing."""

    def replay(self) -> None:
        pass


@pytest.mark.parametrize("pictured", [True, False])
def test_a_recording_reads_what_it_is_given_and_remembers_no_gradients(
    monkeypatch: pytest.MonkeyPatch, pictured: bool
) -> None:
    """Images of a step with a penalty want a gradient; copies of them must not grow a history from step to step."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Still)
    monkeypatch.setattr(torch.cuda, "graph", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "default_generators", (torch.Generator(),))

    def given(value: float) -> tuple[Batch, dict[str, Tensor]]:
        condition = Condition(given=torch.full((2, 1, 4, 4), -value) if pictured else None)
        return Batch(torch.full((2, 1, 8, 8), value).requires_grad_(), condition), {"z": torch.full((2, 3), value)}

    recording = Recording(lambda real, z: {"images": real.real.sum(), "z": z.sum()}, *given(1.0))
    assert {name: value.item() for name, value in recording.replay(*given(2.0)).items()} == {"images": 128, "z": 6}
    for kept, value in ((recording.samples, 2.0), (recording.noise["z"], 2.0), (recording.condition.given, -2.0)):
        if kept is not None:
            assert (kept == value).all()
            assert not kept.requires_grad
    assert (recording.condition.given is not None) == pictured


def test_only_sgd_has_steps_of_many_kinds_while_momentum_rises() -> None:
    rising: Overrides = {"optimizer.momentum": [0.1, 0.9], "optimizer.momentum_epochs": 5}
    for name in ("adam", "sgd", "rmsprop"):
        run, seen = Run.prepare(tiny_recipe(rising | {"optimizer.name": name}), tiny_source()), set()
        for _ in range(3):
            seen.add(set_rates(run))
            run.state.step += 1
        assert len(seen) == (3 if name == "sgd" else 1)


def test_a_cpu_records_nothing() -> None:
    assert not Run.prepare(tiny_recipe({"cuda_graphs": True}), tiny_source()).recorder.records


@pytest.mark.parametrize(
    ("wanted", "own", "records"),
    [(None, False, True), (None, True, False), (False, False, False), (True, False, True), (True, True, True)],
)
def test_what_is_recorded(wanted: bool | None, own: bool, records: bool) -> None:
    assert can_record(tiny_recipe({"cuda_graphs": wanted}), own) is records


def test_a_cycle_is_not_recorded() -> None:
    recipe = Recipe.load("cyclegan-seasons")
    assert not can_record(recipe, own=False)
    with pytest.raises(ZerosumError, match="cuda_graphs = true: a cycle draws"):
        can_record(recipe.with_overrides({"cuda_graphs": True}), own=False)


def test_several_processes_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zerosum.engine.training.parallel.size", lambda: 2)
    assert not can_record(tiny_recipe(), own=False)
