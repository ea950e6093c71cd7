"""Everything about a run that must survive, and its tensors under flat names.

Randomness needs no state: all of it follows from the seed and the step.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zerosum.data.spec import Spec
from zerosum.engine.training.optimizers import Maker, make_optimizer, rehearsed, weights_of
from zerosum.errors import ZerosumError
from zerosum.games.step import Players
from zerosum.networks import check_apart, check_trainable
from zerosum.recipe import Recipe
from zerosum.tasks import task_of

#: what each optimizer of the package keeps for a weight
SLOTS: dict[type[Optimizer], set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.RMSprop: {"step", "square_avg"},
}
#: options with which Adam and RMSprop keep more
MORE = ("amsgrad", "centered", "momentum")


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
    optimizer: Maker | None = None,
) -> State:
    """A state at step 0: networks of the recipe, initialised from its seed, or the given ones."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        task = task_of(recipe)
        generator = generator if generator is not None else task.make_generator(recipe, spec)
        critic = critic if critic is not None else task.make_critic(recipe, spec)
    task.check_players(generator, critic)
    if recipe.generator.train:
        check_trainable(generator, "generator")
    if recipe.critic.train:
        check_trainable(critic, "critic")
    check_apart(generator, critic)
    for network in (generator, critic):
        network.to(device=device, memory_format=spec.sample.layout)  # type: ignore[call-overload]
        network.train()
    average = generator
    if recipe.average.half_life > 0:
        average = deepcopy(generator).eval().requires_grad_(False)
    players = Players(
        generator,
        critic,
        make_optimizer(recipe, generator.parameters(), device, optimizer) if recipe.generator.train else None,
        make_optimizer(recipe, critic.parameters(), device, optimizer) if recipe.critic.train else None,
    )
    return State(players, average)


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
            load_weights(network, under(tensors, name), name)
    for name, optimizer in _optimizers(players):
        fitting = _fitting(optimizer)
        slots = _slots(fitting, under(tensors, name), name)
        for index, weight in enumerate(weights_of(optimizer)):
            if index in slots:
                _fill(optimizer.state[weight], slots[index], fitting[index])
            elif type(optimizer) in SLOTS:  # as if no step had been made
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor):
                        value.zero_()
            else:
                optimizer.state.pop(weight, None)


@torch.no_grad()
def _fill(moments: dict[str, Any], values: dict[str, Tensor], fitting: Mapping[str, Tensor]) -> None:
    for slot, value in values.items():
        if not isinstance(moments.get(slot), Tensor):
            # fused updates walk memory, so moments must lie in it as their weights do
            moments[slot] = torch.empty_like(fitting[slot])
        moments[slot].copy_(value)


def _fitting(optimizer: Optimizer) -> list[dict[str, Tensor]]:
    """For each weight, tensors of the shape, type and place of those that the optimizer keeps for it."""
    known, more = SLOTS.get(type(optimizer)), any(group.get(key) for group in optimizer.param_groups for key in MORE)
    if known is None or (more and type(optimizer) is not torch.optim.SGD):  # its momentum may begin later
        return rehearsed(optimizer)[0]
    return [
        {slot: torch.zeros((), device=weight.device) if slot == "step" else weight for slot in known}
        for weight in weights_of(optimizer)
    ]


def _slots(fitting: list[dict[str, Tensor]], tensors: Mapping[str, Tensor], name: str) -> dict[int, dict[str, Tensor]]:
    """Number of a weight -> what the optimizer keeps for it; ZerosumError for what it would not have kept."""
    slots = dict[int, dict[str, Tensor]]()
    for key, value in tensors.items():
        index, _, slot = key.partition("/")
        if not (
            re.fullmatch(r"\d{1,9}", index, re.ASCII) and int(index) < len(fitting) and slot in fitting[int(index)]
        ):
            raise ZerosumError(f"the state of {name} does not fit: it has '{key[:80]}'")
        like = fitting[int(index)][slot]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ZerosumError(f"the state of {name} does not fit: '{key}' is {value.dtype} {tuple(value.shape)}")
        slots.setdefault(int(index), {})[slot] = value
    if any(kept.keys() != fitting[index].keys() for index, kept in slots.items()):
        raise ZerosumError(f"the state of {name} does not fit: it lacks parts")
    return slots


def under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
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
