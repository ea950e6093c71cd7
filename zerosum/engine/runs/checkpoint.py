"""Checkpoints: how the state of a run is written to disk, which are kept, and how they are read back.

A checkpoint is a folder of safetensors and JSON: no pickle, so reading a stranger's runs no code. It is written beside
its place, flushed, and renamed; its manifest, written last, holds the SHA-256 of every file.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zerosum.engine.runs.files import MOST_NUMBER, flush, is_count, is_number, read_json, sha256, write_json
from zerosum.engine.runs.reading import BEST, checkpoints, damage, read_best, step_of
from zerosum.engine.training.state import State, load_weights, restore, tensors_of, under
from zerosum.errors import ZerosumError

#: end the names of a checkpoint that is being written, and of one that it replaces
PART, OLD = ".part", ".old"
#: bytes that the names and shapes of tensors take at most
MOST_HEADER = 2**22


def save_checkpoint(state: State, folder: Path, keep: int, best: dict[str, Any] | None = None) -> Path:
    """Writes folder/step-NNNNNN, removes all but the best and the newest `keep`, and returns the path.

    best: the score {"step", "name", "value"} that makes this one the best; without it the best stays what it is. On an
    error, a full disk for example, what was there before is untouched and nothing is left of the attempt.
    """
    place = folder / f"step-{state.step:06d}"
    draft, old = folder / f".{place.name}{PART}", folder / f".{place.name}{OLD}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _write(state.average.state_dict(), draft / "generator.safetensors")
        _write(tensors_of(state), draft / "state.safetensors")
        write_json(draft / "state.json", {"step": state.step, "seconds": state.seconds, "setbacks": state.setbacks})
        sums = {}
        for path in sorted(draft.iterdir()):
            flush(path)
            sums[path.name] = sha256(path)
        write_json(draft / "manifest.json", {"step": state.step, "sha256": sums})
        flush(draft / "manifest.json")
        flush(draft)
        if place.exists():
            place.rename(old)
        draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    flush(folder)
    shutil.rmtree(old, ignore_errors=True)
    if best is not None:
        write_json(folder / BEST, best)
    else:
        best = read_best(folder)
    for older in checkpoints(folder)[keep:]:
        if best is None or older.name != f"step-{best['step']:06d}":
            _remove(older)
    return place


def _remove(place: Path) -> None:
    """At once as far as a reader sees: a half removed checkpoint would look like a damaged one."""
    shutil.rmtree(place.rename(place.with_name(f".{place.name}{PART}")))


def clear_away(folder: Path) -> None:
    """What a crash in the midst of saving has left: drafts, and a checkpoint whose successor was not in place yet."""
    for draft in folder.glob(f".step-*{PART}"):
        shutil.rmtree(draft)
    for old in folder.glob(f".step-*{OLD}"):
        place = old.with_name(old.name.removeprefix(".").removesuffix(OLD))
        if damage(place) is None:
            shutil.rmtree(old)
        else:
            shutil.rmtree(place, ignore_errors=True)
            old.rename(place)


def forget_best_after(folder: Path, step: int) -> None:
    best = read_best(folder)
    if best is not None and best["step"] > step:
        (folder / BEST).unlink()


def drop_checkpoints(folder: Path, step: int) -> None:
    """Removes the checkpoints after a step."""
    for path in checkpoints(folder):
        if step_of(path) > step:
            _remove(path)


def load_checkpoint(state: State, path: Path) -> None:
    """A checkpoint into the state."""
    step, seconds, setbacks = _counters(path)
    restore(state, _read(path / "state.safetensors", _most_bytes(state)))
    state.step, state.seconds, state.setbacks = step, seconds, setbacks


def _counters(path: Path) -> tuple[int, float, int]:
    """Step, seconds and setbacks of a checkpoint."""
    values = {"setbacks": 0} | read_json(path / "state.json")
    fine = is_count(values.get("step")) and is_count(values["setbacks"]) and is_number(values.get("seconds"))
    if not fine or not 0 <= values["seconds"] <= MOST_NUMBER:
        raise ZerosumError(f"{path / 'state.json'}: does not say step and seconds")
    return int(values["step"]), float(values["seconds"]), int(values["setbacks"])


def _most_bytes(state: State) -> int:
    """What a file of this state can need: weights, their average, and six numbers for each from the optimizer."""
    networks = (state.players.generator, state.players.critic)
    return 8 * sum(int(value.nbytes) for network in networks for value in network.state_dict().values()) + MOST_HEADER


def start_from(state: State, path: Path) -> None:
    """The weights of a checkpoint into a state at step 0, whose optimizers begin anew."""
    tensors = _read(path / "state.safetensors", _most_bytes(state))
    players, averaged = state.players, state.average is not state.players.generator
    known = {"average": state.average} if averaged else {}
    for name, network in {"generator": players.generator, "critic": players.critic, **known}.items():
        own = name if any(key.startswith(f"{name}/") for key in tensors) else "generator"  # a run without averages
        load_weights(network, under(tensors, own), name)


def load_generator(network: nn.Module, path: Path) -> int:
    """The averaged weights of a checkpoint into the network; returns their step."""
    step, _, _ = _counters(path)
    most = sum(value.nbytes for value in network.state_dict().values()) + MOST_HEADER
    file = path / "generator.safetensors"
    load_weights(network, _read(file, most), str(file))
    return step


def weights_size(path: Path) -> int:
    """Bytes of the averaged generator's weights in a checkpoint, or a little more."""
    return (path / "generator.safetensors").stat().st_size


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    # clones, since safetensors refuses names that share memory
    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    try:
        save_file(plain, path)
    except SafetensorError as error:  # it keeps the number of the system's error in its text only
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) if number else error from None


def _read(path: Path, most: int) -> dict[str, Tensor]:
    """The tensors of a file; ZerosumError if it is damaged, or larger than what is expected of it."""
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if path.stat().st_size > most or header > MOST_HEADER:
            raise ZerosumError(f"{path}: cannot be read: larger than the state of its networks")
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ZerosumError(f"{path}: cannot be read: {error}") from None
