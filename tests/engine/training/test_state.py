"""What survives: checkpoints bit for bit, damage found, averages by their formula."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tests.conftest import same, snapshot, tiny_game, tiny_recipe, tiny_source
from zerosum.engine.runs.checkpoint import (
    OLD,
    PART,
    clear_away,
    drop_checkpoints,
    forget_best_after,
    load_checkpoint,
    load_generator,
    save_checkpoint,
    start_from,
)
from zerosum.engine.runs.reading import checkpoints, damage, newest, pick, read_best, step_of
from zerosum.engine.training.loop import average_decay
from zerosum.engine.training.state import State, make_state, tensors_of, update_average
from zerosum.errors import ZerosumError
from zerosum.games.step import critic_step, generator_step

SOURCE = tiny_source(16)
AVERAGED: dict[str, Any] = {"average.half_life": 100.0}


def fresh(overrides: dict[str, Any] | None = None, network: str = "dcgan") -> State:
    return make_state(tiny_recipe(overrides, network), SOURCE.spec, torch.device("cpu"))


def play(state: State, steps: int = 1) -> State:
    game = tiny_game(SOURCE)
    for _ in range(steps):
        torch.manual_seed(state.step)
        batch = SOURCE.batch(0, state.step, 4)
        critic_step(game, state.players, batch, torch.randn(4, 8), state.step)
        generator_step(game, state.players, batch, torch.randn(4, 8))
        update_average(state, 0.9)
        state.step += 1
    return state


def copies(state: State) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors_of(state).items()}


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could leave a checkpoint with its name and without its content."""
    flushed: list[int] = []
    named: list[tuple[Path, list[int]]] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def watched_rename(path: Path, target: Path) -> Path:
        named.append((target, [*flushed]))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    save_checkpoint(play(fresh()), tmp_path, 2)
    ((place, before),) = named
    assert place == tmp_path / "step-000001"
    contents = ["generator.safetensors", "state.safetensors", "state.json", "manifest.json", "."]
    orders = [before.index((place / name).stat().st_ino) for name in contents]
    assert max(orders[:3]) < orders[3] < orders[4]
    assert flushed[-1] == tmp_path.stat().st_ino  # and the name itself


@pytest.mark.parametrize("average", [AVERAGED, {}])
@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer.name": "adam"},
        {"optimizer.name": "sgd", "optimizer.momentum": [0.9, 0.9]},
        {"optimizer.name": "sgd"},
        {"optimizer.name": "rmsprop"},
    ],
)
def test_round_trip(tmp_path: Path, optimizer: dict[str, Any], average: dict[str, Any]) -> None:
    state = play(fresh(optimizer | average), 3)
    state.seconds = 1.5
    save_checkpoint(state, tmp_path, 2)
    other = fresh(optimizer | average | {"seed": 7})
    assert not same(tensors_of(state), tensors_of(other))
    load_checkpoint(other, newest(tmp_path))
    assert same(tensors_of(state), tensors_of(other))
    assert (other.step, other.seconds) == (3, 1.5)
    assert (other.average is other.players.generator) == (not average)
    # and they go on alike
    assert same(copies(play(state, 2)), copies(play(other, 2)))


def test_moments_lie_in_memory_as_their_weights(tmp_path: Path) -> None:
    state = play(fresh())
    save_checkpoint(state, tmp_path, 2)
    other = fresh()
    load_checkpoint(other, newest(tmp_path))
    strides = set()
    for optimizer in (other.players.generator_optimizer, other.players.critic_optimizer):
        assert optimizer is not None
        for weight, slots in optimizer.state.items():
            for slot in ("exp_avg", "exp_avg_sq"):
                assert slots[slot].stride() == weight.stride()
                strides.add(weight.stride())
    # a channels-last layer with more than one channel is among them
    assert any(len(stride) == 4 and stride[1] == 1 and stride[3] > 1 for stride in strides)


def addresses(state: State) -> dict[str, int]:
    return {name: value.data_ptr() for name, value in tensors_of(state).items()}


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_what_is_loaded_goes_into_the_tensors_that_are_there(tmp_path: Path, optimizer: str) -> None:
    """Recorded steps know them by their addresses; and a state at step 0, without moments, is one that is like new."""
    overrides = AVERAGED | {"optimizer": {"name": optimizer, "momentum": [0.9, 0.9]}}
    state = fresh(overrides)
    for _ in range(2):
        save_checkpoint(state, tmp_path, 3)
        play(state, 2)
    before, later = addresses(state), copies(state)
    load_checkpoint(state, tmp_path / "step-000000")
    assert addresses(state) == before
    assert same(copies(play(state, 2)), copies(play(fresh(overrides), 2)))
    load_checkpoint(state, tmp_path / "step-000002")
    play(state, 2)
    assert same(copies(state), later)
    assert addresses(state) == before


def test_files_of_a_checkpoint(tmp_path: Path) -> None:
    state = play(fresh(AVERAGED), 2)
    path = save_checkpoint(state, tmp_path, 2)
    assert path == tmp_path / "step-000002"
    names = ["generator.safetensors", "manifest.json", "state.json", "state.safetensors"]
    assert sorted(file.name for file in path.iterdir()) == names
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["step"] == 2
    assert set(manifest["sha256"]) == set(names) - {"manifest.json"}
    assert all(len(value) == 64 for value in manifest["sha256"].values())
    # what is shipped are the averaged weights
    other = fresh({"seed": 9})
    assert load_generator(other.players.generator, newest(tmp_path)) == 2
    assert same(snapshot(state.average), snapshot(other.players.generator))
    assert not same(snapshot(state.average), snapshot(state.players.generator))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(bytes(content))


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [flip, shorten, empty, Path.unlink])
@pytest.mark.parametrize("name", ["generator.safetensors", "state.safetensors", "state.json", "manifest.json"])
def test_damage_is_found_and_the_checkpoint_before_is_used(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    state = play(fresh())
    save_checkpoint(state, tmp_path, 3)
    before = copies(state)
    last = save_checkpoint(play(state), tmp_path, 3)
    assert damage(last) is None
    harm(last / name)
    if (name, harm) == ("manifest.json", shorten):
        # its last byte is a line end: nothing is lost
        assert damage(last) is None
        return
    problem = damage(last)
    assert problem is not None
    assert name in problem or name == "manifest.json"
    assert newest(tmp_path) == tmp_path / "step-000001"
    other = fresh()
    load_checkpoint(other, newest(tmp_path))
    assert other.step == 1
    assert same(copies(other), before)


def test_nothing_usable_is_an_error_that_names_each(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="no usable checkpoint"):
        load_checkpoint(fresh(), newest(tmp_path))
    state = fresh()
    for step in (1, 2):
        state.step = step
        empty(save_checkpoint(state, tmp_path, 3) / "state.json")
    with pytest.raises(ZerosumError, match=r"step-000002: state.json is damaged; step-000001: state.json is damaged"):
        load_checkpoint(state, newest(tmp_path))


@pytest.mark.parametrize("keep", [1, 3])
def test_only_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    state = fresh(network="mlp")
    for step in (5, 10, 20, 999_999, 1_000_000):
        state.step = step
        save_checkpoint(state, tmp_path, keep)
        assert not list(tmp_path.glob(".*"))
        assert not list(tmp_path.glob("*.part"))
    kept = ["step-1000000", "step-999999", "step-000020"][:keep]
    assert [path.name for path in checkpoints(tmp_path)] == kept
    assert newest(tmp_path).name == "step-1000000"


def keep_steps(folder: Path, steps: list[int], keep: int = 2, best: dict[int, float] | None = None) -> State:
    """Checkpoints of these steps, of which some had the best score so far."""
    state = fresh(network="mlp")
    for state.step in steps:
        value = (best or {}).get(state.step)
        score = None if value is None else {"step": state.step, "name": "fid1k@random", "value": value}
        save_checkpoint(state, folder, keep, score)
    return state


def steps_of(folder: Path) -> list[int]:
    return [step_of(path) for path in checkpoints(folder)]


@pytest.mark.parametrize(
    ("best", "keep", "kept"),
    [
        ({}, 2, [5, 4]),
        ({1: 9.0}, 2, [5, 4, 1]),
        ({1: 9.0, 2: 8.0}, 2, [5, 4, 2]),
        ({1: 9.0, 2: 8.0}, 1, [5, 2]),
        ({1: 9.0, 4: 8.0}, 2, [5, 4]),
        ({1: 9.0, 5: 8.0}, 1, [5]),
        ({1: 9.0}, 5, [5, 4, 3, 2, 1]),
    ],
)
def test_the_best_is_kept_beside_the_newest(best: dict[int, float], keep: int, kept: list[int], tmp_path: Path) -> None:
    keep_steps(tmp_path, [1, 2, 3, 4, 5], keep, best)
    assert steps_of(tmp_path) == kept
    assert all(damage(path) is None for path in checkpoints(tmp_path))
    expected = {"step": max(best), "name": "fid1k@random", "value": best[max(best)]} if best else None
    assert read_best(tmp_path) == expected
    assert not list(tmp_path.glob(".*"))


def test_the_best_may_be_saved_twice(tmp_path: Path) -> None:
    """First because its turn had come, then because its score was good."""
    state = keep_steps(tmp_path, [1, 2])
    save_checkpoint(state, tmp_path, 2, {"step": 2, "name": "fid1k@random", "value": 1.0})
    keep_steps(tmp_path, [3, 4, 5])
    assert steps_of(tmp_path) == [5, 4, 2]


def test_picking(tmp_path: Path) -> None:
    keep_steps(tmp_path, [7, 20, 1_000_000], best={7: 0.5})
    for which, name in (
        ("last", "step-1000000"),
        ("1000000", "step-1000000"),
        ("best", "step-000007"),
        ("7", "step-000007"),
        ("000007", "step-000007"),
        ("20", "step-000020"),
    ):
        assert pick(tmp_path, which) == tmp_path / name
    assert pick(tmp_path) == newest(tmp_path)


@pytest.mark.parametrize("which", ["8", "0", "-7", "beste", "", "7.0", "../best"])
def test_picking_what_is_not_there(which: str, tmp_path: Path) -> None:
    keep_steps(tmp_path, [7, 20], best={7: 0.5})
    with pytest.raises(ZerosumError) as caught:
        pick(tmp_path, which)
    assert f"no checkpoint '{which}' in {tmp_path}: choose last, best, or a step: 20, 7" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ZerosumError, match="there are none"):
        pick(tmp_path / "nothing", which)


def test_picking_the_best_of_a_run_without_scores(tmp_path: Path) -> None:
    keep_steps(tmp_path, [7])
    with pytest.raises(ZerosumError, match="has no best checkpoint: the run was not scored"):
        pick(tmp_path, "best")
    # its folder may have been removed by hand
    (tmp_path / "best.json").write_text('{"step": 3, "name": "fid1k@random", "value": 1.0}')
    with pytest.raises(ZerosumError, match=r"no checkpoint 'best' in .*: 7"):
        pick(tmp_path, "best")


def test_a_damaged_checkpoint_is_not_picked(tmp_path: Path) -> None:
    """Another takes the place of the last, but not of one that was asked for."""
    keep_steps(tmp_path, [7, 20], best={20: 0.5})
    empty(tmp_path / "step-000020" / "generator.safetensors")
    assert pick(tmp_path, "last").name == "step-000007"
    for which in ("best", "20"):
        with pytest.raises(ZerosumError, match=r"step-000020 cannot be used: generator\.safetensors is damaged"):
            pick(tmp_path, which)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"step": 3}', '{"step": "x", "name": "a", "value": 1}', '{"step": null}']
)
def test_a_damaged_note_of_the_best_is_none(content: str, tmp_path: Path) -> None:
    keep_steps(tmp_path, [1], best={1: 2.0})
    (tmp_path / "best.json").write_text(content)
    assert read_best(tmp_path) is None
    keep_steps(tmp_path, [2, 3, 4])
    assert steps_of(tmp_path) == [4, 3]
    keep_steps(tmp_path, [5], best={5: 1.0})
    assert read_best(tmp_path) == {"step": 5, "name": "fid1k@random", "value": 1.0}


def test_what_came_later_is_forgotten(tmp_path: Path) -> None:
    forget_best_after(tmp_path, 0)
    keep_steps(tmp_path, [1, 2, 3, 4], keep=4, best={3: 2.0})
    forget_best_after(tmp_path, 3)
    assert pick(tmp_path, "best").name == "step-000003"
    drop_checkpoints(tmp_path, 2)
    assert steps_of(tmp_path) == [2, 1]
    forget_best_after(tmp_path, 2)
    assert read_best(tmp_path) is None
    assert not (tmp_path / "best.json").exists()


def test_saving_again_replaces(tmp_path: Path) -> None:
    state = play(fresh(network="mlp"))
    save_checkpoint(state, tmp_path, 2)
    with torch.no_grad():
        next(state.players.generator.parameters()).fill_(0.25)
    path = save_checkpoint(state, tmp_path, 2)
    assert [place.name for place in tmp_path.iterdir()] == [path.name]
    other = fresh(network="mlp")
    load_checkpoint(other, newest(tmp_path))
    assert (next(other.players.generator.parameters()) == 0.25).all()


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_crash_while_replacing_a_checkpoint_loses_none(tmp_path: Path, moment: str) -> None:
    """Of the old and the new one of the same step, one is there when training goes on."""
    state = play(fresh(network="mlp"))
    save_checkpoint(state, tmp_path, 1)
    old, place = tmp_path / f".step-000001{OLD}", tmp_path / "step-000001"
    draft = tmp_path / f".step-000001{PART}"
    shutil.copytree(place, draft)
    if moment != "before":
        place.rename(old)
    if moment == "after":
        draft.rename(place)
    clear_away(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert newest(tmp_path) == place
    other = fresh({"seed": 4}, "mlp")
    load_checkpoint(other, place)
    assert same(copies(other), copies(state))


def test_a_damaged_checkpoint_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_steps(tmp_path, [7, 20])
    assert newest(tmp_path).name == "step-000020"
    assert capsys.readouterr().err == ""
    empty(tmp_path / "step-000020" / "state.json")
    assert newest(tmp_path).name == "step-000007"
    assert "step-000020: state.json is damaged: using step-000007 instead" in capsys.readouterr().err


def test_a_full_disk_is_named_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    save_checkpoint(play(fresh(network="mlp")), tmp_path, 2)
    monkeypatch.setattr("zerosum.engine.runs.checkpoint.save_file", refuse)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_checkpoint(play(fresh(network="mlp"), 2), tmp_path, 2)
    assert caught.value.errno == 28
    assert str(caught.value.filename).endswith("generator.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_starting_from_weights(tmp_path: Path) -> None:
    """Weights, averages and running statistics come along; optimizers and the step do not."""
    state = play(fresh(AVERAGED), 3)
    path = save_checkpoint(state, tmp_path, 2)
    other = fresh(AVERAGED | {"seed": 7})
    start_from(other, path)
    assert (other.step, other.seconds) == (0, 0.0)
    for mine, theirs in (
        (other.players.generator, state.players.generator),
        (other.players.critic, state.players.critic),
        (other.average, state.average),
    ):
        assert same(snapshot(mine), snapshot(theirs))
    assert other.players.generator_optimizer is not None
    assert not other.players.generator_optimizer.state
    # a run that averages may start from one that did not
    plain = play(fresh({"seed": 5}), 2)
    start_from(other, save_checkpoint(plain, tmp_path / "plain", 2))
    assert same(snapshot(other.average), snapshot(plain.players.generator))
    with pytest.raises(ZerosumError, match="the weights of generator do not fit its network"):
        start_from(fresh({"generator.width": 6}), path)


def test_a_crash_while_writing_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = play(fresh(network="mlp"))
    save_checkpoint(state, tmp_path, 2)
    play(state)

    def crash(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("zerosum.engine.runs.checkpoint.write_json", crash)
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(state, tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    # the next attempt is not disturbed by what a crash left, and clears it away
    (tmp_path / f".step-000002{PART}").mkdir()
    assert save_checkpoint(state, tmp_path, 2).name == "step-000002"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000001", "step-000002"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"generator.width": 6}, "the weights of generator do not fit its network"),
        ({"critic.width": 6}, "the weights of critic do not fit its network"),
        (AVERAGED, "the weights of average do not fit its network"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    save_checkpoint(play(fresh()), tmp_path, 2)
    with pytest.raises(ZerosumError, match=message):
        load_checkpoint(fresh(other), newest(tmp_path))


def test_average_formula() -> None:
    state = fresh(AVERAGED)
    old = snapshot(state.average)
    play(state, 0)
    with torch.no_grad():
        for value in state.players.generator.state_dict().values():
            value.copy_(torch.full_like(value, 3))
    update_average(state, 0.75)
    for name, value in state.average.state_dict().items():
        expected = 0.75 * old[name] + 0.25 * 3 if value.is_floating_point() else torch.full_like(value, 3)
        torch.testing.assert_close(value, expected)


def test_average_is_no_player() -> None:
    state = play(fresh(AVERAGED), 2)
    assert not any(weight.requires_grad for weight in state.average.parameters())
    assert not state.average.training
    assert state.players.generator.training
    mine = {weight.data_ptr() for weight in state.average.parameters()}
    assert not mine & {weight.data_ptr() for weight in state.players.generator.parameters()}


@pytest.mark.parametrize("batch", [4, 10])
def test_half_life(batch: int) -> None:
    """After half_life images a change has half arrived."""
    recipe = tiny_recipe({"average.half_life": 40.0, "average.ramp": 0.0, "batch": batch})
    state = make_state(recipe, tiny_source().spec, torch.device("cpu"))
    weight = next(state.average.parameters())
    with torch.no_grad():
        weight.zero_()
        next(state.players.generator.parameters()).fill_(1.0)
    for step in range(40 // batch):
        update_average(state, average_decay(recipe, step))
    torch.testing.assert_close(weight, torch.full_like(weight, 0.5))


def test_ramp() -> None:
    """Early on, the half-life is a share of the images seen; the first step copies."""
    recipe = tiny_recipe({"average.half_life": 1000.0, "average.ramp": 0.05, "batch": 10})
    assert average_decay(recipe, 0) == 0.0
    assert average_decay(recipe, 100) == pytest.approx(0.5 ** (10 / 50))
    assert average_decay(recipe, 1999) == pytest.approx(0.5 ** (10 / 999.5))
    assert average_decay(recipe, 2000) == average_decay(recipe, 10**6) == pytest.approx(0.5 ** (10 / 1000))
    assert average_decay(tiny_recipe({"average.half_life": 0.0}), 50) == 0.0


def test_networks_follow_the_seed_and_leave_torch_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second, third = fresh({"seed": 3}), fresh({"seed": 3}), fresh({"seed": 4})
    assert torch.equal(torch.rand(3), expected)
    assert same(tensors_of(first), tensors_of(second))
    assert not same(tensors_of(first), tensors_of(third))


def test_given_networks_are_taken() -> None:
    generator, critic = nn.Linear(8, 4), nn.Linear(4, 1)
    weights = snapshot(generator)
    state = make_state(tiny_recipe(AVERAGED), SOURCE.spec, torch.device("cpu"), generator, critic)
    assert state.players.generator is generator
    assert state.players.critic is critic
    assert same(weights, snapshot(generator))
    assert same(weights, snapshot(state.average))
