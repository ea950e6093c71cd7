"""Everything about a run that must survive, and how it is written to disk and read back.

A checkpoint is a folder of safetensors and JSON: no pickle, so reading a stranger's runs no code. It is written beside
its place, flushed, and renamed; its manifest, written last, holds the SHA-256 of every file. Randomness needs no state:
all of it follows from the seed and the step.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from zerosum.data.source import Spec
from zerosum.engine.runs.files import MOST_NUMBER, flush, is_count, is_number, read_json, sha256, write_json
from zerosum.errors import ZerosumError
from zerosum.games.step import Players
from zerosum.networks import check_apart, check_trainable, make_critic, make_generator
from zerosum.progress import note
from zerosum.recipe import Recipe

#: beside the checkpoints: which of them had the best score
BEST = "best.json"
#: end the names of a checkpoint that is being written, and of one that it replaces
PART, OLD = ".part", ".old"
#: what each optimizer keeps for a weight
SLOTS: dict[type[Optimizer], set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.RMSprop: {"step", "square_avg"},
}
#: bytes that the names and shapes of tensors take at most
MOST_HEADER = 2**22


@dataclass(repr=False)
class State:
    """Players, averaged generator (the same object as the generator where nothing is averaged), and counters."""

    players: Players
    average: nn.Module
    #: generator updates done
    step: int = 0
    #: seconds of training so far, over all sessions of the run
    seconds: float = 0.0
    #: how often training went back to a checkpoint because of a finding
    setbacks: int = 0

    def __repr__(self) -> str:
        return f"State({self.players}, step {self.step}, {self.seconds:.0f} seconds)"


def make_state(
    recipe: Recipe,
    spec: Spec,
    device: torch.device,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
) -> State:
    """A state at step 0: networks of the recipe, initialised from its seed, or the given ones."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        generator = generator if generator is not None else make_generator(recipe, spec)
        critic = critic if critic is not None else make_critic(recipe, spec)
    if recipe.generator.train:
        check_trainable(generator, "generator")
    if recipe.critic.train:
        check_trainable(critic, "critic")
    check_apart(generator, critic)
    for network in (generator, critic):
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.train()
    average = generator
    if recipe.average.half_life > 0:
        average = deepcopy(generator).eval().requires_grad_(False)
    players = Players(
        generator,
        critic,
        _make_optimizer(recipe, generator.parameters(), device) if recipe.generator.train else None,
        _make_optimizer(recipe, critic.parameters(), device) if recipe.critic.train else None,
    )
    return State(players, average)


def _make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter], device: torch.device) -> Optimizer:
    """Learning rate and momentum are set before every step by `train.set_rates`."""
    rules, on_gpu = recipe.optimizer, device.type == "cuda"
    # a recorded step reads its learning rate from the device
    lr = torch.tensor(rules.lr, device=device) if on_gpu else rules.lr
    match rules.name:
        case "adam":
            return torch.optim.Adam(parameters, lr=lr, betas=rules.betas, fused=True, capturable=on_gpu)
        case "sgd":
            return torch.optim.SGD(parameters, lr=lr, momentum=rules.momentum[0], fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=lr, alpha=rules.betas[1], foreach=True, capturable=on_gpu)


@torch.no_grad()
def update_average(state: State, decay: float) -> None:
    """average <- decay * average + (1 - decay) * generator, running statistics included."""
    if state.average is state.players.generator:
        return
    for mine, theirs in (
        (state.average.parameters(), state.players.generator.parameters()),
        (state.average.buffers(), state.players.generator.buffers()),
    ):
        pairs = list(zip(mine, theirs, strict=True))
        moving = [(a, b) for a, b in pairs if a.is_floating_point()]
        if moving:
            averages, sources = zip(*moving, strict=True)
            torch._foreach_lerp_(list(averages), list(sources), 1 - decay)
        for a, b in pairs:
            if not a.is_floating_point():
                a.copy_(b)


def tensors_of(state: State) -> dict[str, Tensor]:
    """Every tensor of the state under a flat name."""
    players = state.players
    result: dict[str, Tensor] = {}
    for name, network in (("generator", players.generator), ("critic", players.critic), ("average", state.average)):
        if name != "average" or network is not players.generator:
            result |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in _optimizers(players):
        for index, slots in optimizer.state_dict()["state"].items():
            result |= {f"{name}/{index}/{key}": value for key, value in slots.items() if isinstance(value, Tensor)}
    return result


def restore(state: State, tensors: dict[str, Tensor]) -> None:
    """The reverse of `tensors_of`; ZerosumError where names or shapes are not those of this state.

    Writes into the tensors that are there, whose addresses recorded steps know.
    """
    players = state.players
    for name, network in (("generator", players.generator), ("critic", players.critic), ("average", state.average)):
        if name != "average" or network is not players.generator:
            load_weights(network, _under(tensors, name), name)
    for name, optimizer in _optimizers(players):
        slots = _slots(optimizer, _under(tensors, name), name)
        for index, weight in enumerate(_weights(optimizer)):
            if index in slots:
                _fill(optimizer.state[weight], slots[index], weight)
            else:  # as if no step had been made
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor):
                        value.zero_()


@torch.no_grad()
def _fill(moments: dict[str, Any], values: dict[str, Tensor], weight: Tensor) -> None:
    for slot, value in values.items():
        if not isinstance(moments.get(slot), Tensor):
            # fused updates walk memory, so moments must lie in it as their weights do (channels last)
            count = slot == "step"
            moments[slot] = torch.zeros((), device=weight.device) if count else torch.empty_like(weight)
        moments[slot].copy_(value)


def _weights(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _slots(optimizer: Optimizer, tensors: Mapping[str, Tensor], name: str) -> dict[int, dict[str, Tensor]]:
    """Number of a weight -> what the optimizer keeps for it; ZerosumError for what it would not have kept."""
    weights = _weights(optimizer)
    known, slots = SLOTS[type(optimizer)], dict[int, dict[str, Tensor]]()
    for key, value in tensors.items():
        index, _, slot = key.partition("/")
        if not (re.fullmatch(r"\d{1,9}", index, re.ASCII) and int(index) < len(weights) and slot in known):
            raise ZerosumError(f"the state of {name} does not fit: it has '{key[:80]}'")
        shape = torch.Size([]) if slot == "step" else weights[int(index)].shape
        if value.shape != shape or not value.is_floating_point():
            raise ZerosumError(f"the state of {name} does not fit: '{key}' is {value.dtype} {tuple(value.shape)}")
        slots.setdefault(int(index), {})[slot] = value
    if any(kept.keys() != known for kept in slots.values()):
        raise ZerosumError(f"the state of {name} does not fit: it lacks parts")
    return slots


def _under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def load_weights(network: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    own = network.state_dict()
    for name, value in weights.items():
        if name in own and own[name].dtype != value.dtype:
            raise ZerosumError(f"the weights of {where} do not fit its network: {name} is {value.dtype}")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ZerosumError(f"the weights of {where} do not fit its network: {detail[:200]}") from None


def _optimizers(players: Players) -> list[tuple[str, Optimizer]]:
    pairs = [
        ("generator_optimizer", players.generator_optimizer),
        ("critic_optimizer", players.critic_optimizer),
    ]
    return [(name, optimizer) for name, optimizer in pairs if optimizer is not None]


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


def read_best(folder: Path) -> dict[str, Any] | None:
    """The score of the best checkpoint: step, name and value; None where none was scored."""
    try:
        best = read_json(folder / BEST)
    except ZerosumError:
        return None
    if not (is_count(best.get("step")) and is_number(best.get("value")) and isinstance(best.get("name"), str)):
        return None
    return {"step": best["step"], "name": best["name"], "value": float(best["value"])}


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
    """What a file of this state can need: weights, their average, and two numbers for each from the optimizer."""
    networks = (state.players.generator, state.players.critic)
    return 4 * sum(int(value.nbytes) for network in networks for value in network.state_dict().values()) + MOST_HEADER


def start_from(state: State, path: Path) -> None:
    """The weights of a checkpoint into a state at step 0, whose optimizers begin anew."""
    tensors = _read(path / "state.safetensors", _most_bytes(state))
    players, averaged = state.players, state.average is not state.players.generator
    known = {"average": state.average} if averaged else {}
    for name, network in {"generator": players.generator, "critic": players.critic, **known}.items():
        own = name if any(key.startswith(f"{name}/") for key in tensors) else "generator"  # a run without averages
        load_weights(network, _under(tensors, own), name)


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


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{6,15}", path.name, re.ASCII)]
    return sorted(found, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def pick(folder: Path, which: str = "last") -> Path:
    """The newest valid checkpoint ("last"), the best by score ("best"), or that of a step; ZerosumError if none is."""
    if which == "last":
        return newest(folder)
    best = read_best(folder)
    if which == "best" and best is None:
        raise ZerosumError(f"{folder} has no best checkpoint: the run was not scored while it trained")
    path = folder / f"step-{best['step'] if which == 'best' and best else which:0>6}"
    if not path.is_dir():
        known = ", ".join(str(step_of(one)) for one in checkpoints(folder))
        raise ZerosumError(
            f"no checkpoint '{which}' in {folder}: choose last, best, or a step: {known or 'there are none'}"
        )
    problem = damage(path)
    if problem is not None:
        raise ZerosumError(f"{path} cannot be used: {problem}")
    return path


def newest(folder: Path) -> Path:
    """The newest checkpoint whose files are all there with the sums of its manifest; says which it passes over."""
    bad: list[str] = []
    for path in checkpoints(folder):
        problem = damage(path)
        if problem is None:
            if bad:
                note(f"{folder}: {'; '.join(bad)}: using {path.name} instead")
            return path
        bad.append(f"{path.name}: {problem}")
    raise ZerosumError(f"no usable checkpoint in {folder}" + (": " + "; ".join(bad) if bad else ""))


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = read_json(path / "manifest.json")["sha256"]
        for name in ("generator.safetensors", "state.safetensors", "state.json"):
            if sha256(path / name) != sums[name]:
                return f"{name} is damaged"
    except (ZerosumError, OSError, KeyError, TypeError) as error:
        return str(error)
    return None


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
