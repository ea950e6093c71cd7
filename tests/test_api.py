"""The library's front door."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zerosum as zs
from tests.conftest import Call, OwnGenerator, same, tiny_recipe, tiny_source, with_input
from tests.data.make import encoded, noise
from zerosum import api
from zerosum.engine.runs.files import read_json, read_lines
from zerosum.engine.runs.reading import checkpoints
from zerosum.engine.training.state import tensors_of
from zerosum.sections.picture import PictureData

pytestmark = pytest.mark.usefixtures("plot_nothing")

#: signals that end a training with everything saved
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


class OwnCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 1)

    def forward(self, images: Tensor, _: Tensor | None) -> Tensor:
        scores: Tensor = self.layer(images.flatten(1)).squeeze(1)
        return scores


def own_rules() -> zs.Objective:
    return zs.Objective(lambda real, fake: (real - 3).square().mean() + fake.square().mean(), lambda f, _: -f.mean())


def test_every_name_is_there() -> None:
    for name in zs.__all__:
        assert getattr(zs, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        _ = zs.tarin


def test_the_names_can_be_looked_at() -> None:
    assert sorted(zs.__all__) == [name for name in dir(zs) if not name.startswith("_")]
    assert "__version__" in dir(zs)
    assert zs.__version__ == importlib.metadata.version("zerosum")


def test_objects_describe_themselves_in_one_line(tmp_path: Path) -> None:
    source = tiny_source()
    run = zs.train(tiny_recipe({"condition.method": "embed", "steps": 1}), source=source, out=tmp_path)
    assert repr(source) == "PictureSource(22 images 1x8x8, class: 0, 1, 2)"
    assert repr(run) == f"Run(tiny, step 1 of 1, {tmp_path / '00000-tiny'})"
    assert repr(source.batch(0, 0, 2)) == "Batch(real (2, 1, 8, 8), labels (2, 1), on cpu)"
    weights = sum(weight.numel() for weight in run.state.average.parameters())
    assert repr(run.gan) == f"LabelGan(Generator with {weights:,} weights, 1x8x8, class: 0, 1, 2, on cpu)"
    assert repr(run.state).startswith("State(Players(Generator, Critic), step 1, 0 seconds)")
    for data in ("shrunk", "edges", "domains"):
        pictured = with_input(source, PictureData.model_validate({"input": data, "factor": 2}))
        assert repr(pictured).startswith(f"{type(pictured).__name__}(22 images 1x8x8")
        assert len(repr(pictured)) < 60


def test_train_load_and_sample(tmp_path: Path) -> None:
    source = tiny_source()
    run = zs.train(tiny_recipe({"condition.method": "embed"}), source=source, out=tmp_path, steps=4)
    assert run.state.step == 4
    assert run.folder == tmp_path / "00000-tiny"
    gan = zs.load(run.folder)
    images = gan.sample(5, label="2", seed=3)
    assert images.shape == (5, 1, 8, 8)
    assert torch.equal(images, run.sample(5, label="2", seed=3))
    assert not gan.generator.training


def test_overrides_and_keys(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"optimizer.lr": 0.003, "steps": 9}
    run = zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path, overrides=keys, steps=2, seed=5)
    assert (run.recipe.optimizer.lr, run.recipe.steps, run.recipe.seed) == (0.003, 2, 5)
    with pytest.raises(zs.ZerosumError, match="stepz"):
        zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path, stepz=2)
    assert len(list(tmp_path.iterdir())) == 1


def test_sections_are_arguments_too(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"optimizer": {"betas": [0, 0.9]}, "generator.lr": 0.1}
    run = zs.train(
        tiny_recipe({"optimizer.name": "rmsprop"}),
        source=tiny_source(),
        out=tmp_path,
        overrides=keys,
        steps=1,
        optimizer={"lr": 0.003},
        generator={"first": 20},
        critic={"steps": 2},
        data={"bad_share": 0.5},
    )
    rules = run.recipe.optimizer
    assert (rules.name, rules.lr, rules.betas) == ("rmsprop", 0.003, (0, 0.9))
    assert run.recipe.generator.options == {"first": 20, "labels": 16, "hidden": [16]}
    assert (run.recipe.generator.lr, run.recipe.critic.steps, run.recipe.data.bad_share) == (0.1, 2, 0.5)
    with pytest.raises(zs.ZerosumError, match=r"unknown key 'optimizer.betta': did you mean 'optimizer.betas'"):
        zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path, optimizer={"betta": 1})
    with pytest.raises(zs.ZerosumError, match=r"unknown key 'generator.frist' of network mlp: did you mean 'first'"):
        zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path, generator={"frist": 1})


def own_parts() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"generator": OwnGenerator(), "critic": OwnCritic(), "objective": own_rules()}


def test_own_networks_and_rules(tmp_path: Path) -> None:
    parts, recipe = own_parts(), tiny_recipe({"optimizer.lr": 0.01})
    before: Tensor = next(parts["generator"].parameters()).detach().clone()
    run = zs.train(recipe, source=tiny_source(), out=tmp_path, steps=3, **parts)
    assert run.state.players.generator is parts["generator"]
    assert run.state.players.critic is parts["critic"]
    assert run.game.objective is parts["objective"]
    assert not torch.equal(before, next(parts["generator"].parameters()))
    # loading asks for the network again, and says so
    with pytest.raises(zs.ZerosumError, match="your own OwnGenerator"):
        zs.load(run.place)
    assert torch.equal(zs.load(run.place, generator=OwnGenerator()).sample(2), run.sample(2))
    # and so does going on, which is then as if never stopped
    with pytest.raises(zs.ZerosumError, match="your own"):
        zs.resume(run.place, source=tiny_source(), steps=5)
    resumed = zs.resume(run.place, source=tiny_source(), steps=5, **own_parts())
    straight = zs.train(recipe, source=tiny_source(), out=tmp_path, steps=5, **own_parts())
    assert same(tensors_of(resumed.state), tensors_of(straight.state))


def test_resume_under_other_rules_is_refused(tmp_path: Path) -> None:
    """Own networks or objectives in place of the stored recipe's are another recipe."""
    run = zs.train(tiny_recipe({"steps": 2}), source=tiny_source(), out=tmp_path)
    with pytest.raises(zs.ZerosumError, match=r"objective was 'non-saturating'"):
        zs.resume(run.place, source=tiny_source(), objective=own_rules(), steps=4)
    with pytest.raises(zs.ZerosumError, match=r"optimizer\.lr was 0\.0002, now 0\.1"):
        zs.resume(run.place, source=tiny_source(), overrides={"optimizer.lr": 0.1}, steps=4)
    with pytest.raises(zs.ZerosumError, match="the data has changed"):
        zs.resume(run.place, source=tiny_source(count=23), steps=4)
    # the refusals left the run as it was
    assert zs.resume(run.place, source=tiny_source(), steps=4).recipe.objective == "non-saturating"


def pictures(folder: Path, count: int = 8) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index}.png").write_bytes(encoded(noise(8, 8, 3, seed=index)))
    return folder


def test_a_run_and_its_data_may_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = pictures(tmp_path / "old" / "set")
    run = zs.train(tiny_recipe({"steps": 2, "scores.every": 0}), data="old/set", out=tmp_path / "runs")
    assert run.recipe.data.uri == str(data)
    folder = run.place.rename(tmp_path / "moved")
    data.rename(tmp_path / "set")
    # the old place, and what to do, in the words of each door
    code, out, err = call("resume", "moved", "--set", "steps=3")
    assert (code, out) == (2, "")
    assert (
        err
        == f"zerosum: moved: its data is no longer in {data}; say where it is now: zerosum resume moved --data PATH\n"
    )
    with pytest.raises(zs.ZerosumError, match=r'say where it is now: zs\.resume\(".*moved", data="PATH"\)'):
        zs.resume(folder, steps=3)
    with pytest.raises(zs.ZerosumError, match="no data 'old/sett'"):
        zs.resume(folder, steps=3, data="old/sett")
    # the new place is kept, whole, however it is given
    assert call("resume", "moved", "--data", "set", "--set", "steps=3")[0] == 0
    monkeypatch.chdir(folder)
    assert zs.resume(folder, steps=4).recipe.data.uri == str(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").rename(tmp_path / "again")
    assert zs.resume(folder, steps=5, overrides={"data.uri": "again"}).recipe.data.uri == str(tmp_path / "again")
    # other pictures are not those of before
    pictures(tmp_path / "other", 9)
    code, _, err = call("resume", "moved", "--data", "other", "--set", "steps=6")
    assert code == 2
    assert "the data has changed since (8 samples then, 9 now). Give the data that it was trained on with --data" in err


def test_resume_says_what_to_do(tmp_path: Path, call: Call) -> None:
    run = zs.train(tiny_recipe({"steps": 2, "scores.every": 0}), data=pictures(tmp_path / "set"), out=tmp_path / "runs")
    place = str(run.place)
    code, _, err = call("resume", place, "--set", "batch=2", "--set", "steps=9")
    assert code == 2
    assert (
        f"batch was 4, now 2. To go on, leave that as it was; a new run with these weights: zerosum train {place}"
        in err
    )
    command = err.partition("zerosum train ")[2].split()
    assert command == [f"{place}/recipe.yaml", "--init-from", place, "--set", "batch=2"]
    code, out, _ = call("train", *command, "--out", str(tmp_path / "new"))
    assert code == 0
    assert zs.load(out.splitlines()[-1]).latent.size == 8
    assert (
        f"{place} is beyond steps = 1, at step 2; to train it further: zerosum resume {place} --set steps=4"
        in (call("resume", place, "--set", "steps=1")[2])
    )
    run.place.chmod(0o555)
    try:
        if not os.access(run.place, os.W_OK):  # everything is allowed to root
            code, _, err = call("resume", place, "--set", "steps=4")
            assert (code, err.count("\n")) == (2, 1)
            assert f"cannot write into {place}: Permission denied; to go on with the run, copy its folder" in err
    finally:
        run.place.chmod(0o755)


def test_on_tick_is_shown_each_line_as_it_is_written(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []

    def look(run: zs.Run, tick: dict[str, float]) -> None:
        assert read_lines(run.place / "stats.jsonl")[-1] == tick
        assert run.state.step == tick["step"]
        assert len(run.sample(2)) == 2  # it may look at the run
        seen.append(dict(tick))
        tick.clear()  # and does what it likes with what it is given

    keys: dict[str, Any] = {"source": tiny_source(), "out": tmp_path, "tick": 2}
    run = zs.train(tiny_recipe(), **keys, on_tick=look, steps=5)
    assert seen == read_lines(run.place / "stats.jsonl")
    assert [tick["step"] for tick in seen] == [2, 4, 5]
    assert same(tensors_of(run.state), tensors_of(zs.train(tiny_recipe(), **keys, steps=5).state))
    zs.resume(run.place, source=tiny_source(), on_tick=look, steps=8)
    assert [tick["step"] for tick in seen] == [2, 4, 5, 6, 8]
    assert read_json(run.place / "summary.json")["status"] == "finished"


def test_on_tick_stops_with_everything_saved(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"source": tiny_source(), "overrides": {"checkpoint": 100}, "out": tmp_path}
    run = zs.train(tiny_recipe(), **keys, on_tick=lambda _, tick: tick["step"] == 3, steps=6)
    assert run.state.step == 3
    assert read_json(run.place / "summary.json")["status"] == "stopped"
    assert [path.name for path in (run.place / "checkpoints").glob("step-*")] == ["step-000003"]
    assert (run.place / "samples" / "000003.png").is_file()
    resumed = zs.resume(run.place, source=tiny_source())
    straight = zs.train(tiny_recipe(), **keys, steps=6)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))
    ended = zs.train(tiny_recipe(), **keys, on_tick=lambda *_: True, steps=1)
    assert read_json(ended.place / "summary.json")["status"] == "finished"


def test_on_tick_that_raises_or_is_no_function(tmp_path: Path) -> None:
    wrong: Any = 3
    with pytest.raises(zs.ZerosumError, match="on_tick is a int: it should be a function"):
        zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path / "runs", on_tick=wrong)
    assert not (tmp_path / "runs").exists()

    def fail(_: zs.Run, tick: dict[str, float]) -> None:
        if tick["step"] == 4:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path, on_tick=fail)
    resumed = zs.resume(tmp_path / "00000-tiny", source=tiny_source())
    straight = zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path)
    assert same(tensors_of(resumed.state), tensors_of(straight.state))


def test_resume_of_a_finished_run_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = zs.train(tiny_recipe(), source=tiny_source(), out=tmp_path)
    files = {path: path.read_bytes() for path in run.place.rglob("*") if path.is_file()}
    again = zs.resume(run.place, source=tiny_source())
    assert same(tensors_of(run.state), tensors_of(again.state))
    assert "finished at step 6" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.place.rglob("*") if path.is_file()} == files


def test_nothing_is_left_behind_by_what_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(zs.ZerosumError, match="fewer than one batch"):
        zs.train(tiny_recipe({"batch": 100}), source=tiny_source(), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


SIGNALS = {getattr(signal, name): 128 + getattr(signal, name) for name in NAMES if hasattr(signal, name)}


@pytest.mark.parametrize(("number", "code"), SIGNALS.items())
def test_signals_end_in_peace(tmp_path: Path, number: signal.Signals, code: int) -> None:
    handlers = {one: signal.getsignal(one) for one in SIGNALS}
    calls = -1  # the first is the trial before training

    def interrupted(real: Tensor, fake: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), number)
        return real.mean() - fake.mean()

    rules = zs.Objective(interrupted, lambda fake, _: fake.mean())
    with pytest.raises(
        zs.Interrupted,
        match=rf"^{number.name}: stopped at step 3 of 100000, everything saved; go on with: zs\.resume",
    ) as caught:
        zs.train(tiny_recipe({"steps": 100_000}), source=tiny_source(), out=tmp_path, objective=rules)
    assert caught.value.exit_code == code
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in checkpoints(folder / "checkpoints")] == ["step-000003"]
    assert {one: signal.getsignal(one) for one in handlers} == handlers


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals on this system")
def test_signals_that_are_ignored_or_handled_stay_so() -> None:
    """As under nohup, and in a program that has a use of its own for them."""

    def own(*_: object) -> None:
        """What a program does."""

    before = {one: signal.getsignal(one) for one in (signal.SIGHUP, signal.SIGUSR1)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, own)
        with api.signals() as caught:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGUSR1) is own
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR2)
        assert caught == [signal.SIGUSR2]
        assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_in_a_thread(tmp_path: Path) -> None:
    """Where signals cannot be handled, training works all the same."""
    done: list[int] = []

    def work() -> None:
        done.append(zs.train(tiny_recipe({"steps": 2}), source=tiny_source(), out=tmp_path).state.step)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert done == [2]


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zs.Run]:
    keys: dict[str, Any] = {"generator.width": 4, "critic.width": 4, "tick": 2, "precision": "fp32"}
    yield zs.train("digits", out=tmp_path_factory.mktemp("runs"), overrides=keys, steps=4, batch=8)


def test_the_default_recipe(digits_run: zs.Run) -> None:
    """What the package's first lines promise."""
    images = digits_run.sample(16, label=3)
    assert images.shape == (16, 1, 8, 8)
    assert images.dtype == torch.float32
    assert torch.equal(zs.load(digits_run.place).sample(16, label=3), images)
    assert digits_run.place.name.endswith("-digits")


def test_torch_is_imported_late() -> None:
    code = "import sys, zerosum, zerosum.cli; print([n for n in ('torch', 'numpy', 'matplotlib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
