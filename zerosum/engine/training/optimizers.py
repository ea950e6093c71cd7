"""What moves the weights: the three optimizers of the package, and any other of torch or from outside."""

import inspect
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zerosum.errors import ZerosumError, first_line, setting, shown, suggest
from zerosum.outside import import_class
from zerosum.progress import note
from zerosum.recipe import GIVEN, Recipe

#: a class, or a function of weights and, where it has such a parameter, a keyword `lr`
Maker = Callable[..., Optimizer]

#: those of a recipe by a short name
NAMED: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


def check_maker(own: Any) -> None:
    """ZerosumError for what makes no optimizers; None is left out."""
    if isinstance(own, Optimizer):
        kind = type(own).__name__
        raise ZerosumError(f"optimizer = {kind}(...) moves weights already: pass the class, optimizer={kind}")
    if own is not None and not callable(own):
        raise ZerosumError(f"optimizer is a {type(own).__name__}: it should be a class, or a function of weights")


def make_optimizer(
    recipe: Recipe, parameters: Iterable[nn.Parameter], device: torch.device, own: Maker | None = None
) -> Optimizer:
    """The optimizer of the recipe for these weights, or what `own` makes of them.

    Learning rate and momentum are set before every step by `loop.set_rates`. Raises ZerosumError for one that cannot
    be made, that cannot step, or that keeps what no checkpoint can.
    """
    rules, weights = recipe.optimizer, list(parameters)
    make: Maker
    if own is None and rules.name == GIVEN:
        raise ZerosumError("the optimizer of this run is your own: pass it again, optimizer=..., from Python")
    if own is None and rules.name in NAMED:
        make, fixed = NAMED[rules.name], _fixed(recipe, device)
        if not rules.options:
            return make(weights, **fixed)
    else:
        make = own or import_class(rules.name, "optimizer.name", Optimizer, "torch.optim.Optimizer")
        fixed = {"lr": float(rules.lr)} if "lr" in _keywords(make, ["lr"]) else {}
    _check_options(rules.name, make, fixed, rules.options)
    try:
        optimizer = make(weights, **fixed, **rules.options)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ZerosumError(f"optimizer.name = {rules.name}: it cannot be made: {first_line(error, 200)}") from error
    if not isinstance(optimizer, Optimizer):
        raise ZerosumError(f"optimizer = {shown(own)}: it makes {shown(optimizer)}, which is no torch.optim.Optimizer")
    _check(optimizer, weights, rules.name)
    rates = {float(group["lr"]) for group in optimizer.param_groups} - {float(torch.tensor(rules.lr)), rules.lr}
    if rates:
        told = setting("optimizer.lr", min(rates))
        note(f"the optimizer has lr = {min(rates):g}, but the recipe sets learning rates: {rules.lr:g}; or {told}")
    return optimizer


def _fixed(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """What the recipe's own keys say to one of NAMED."""
    rules, on_gpu = recipe.optimizer, device.type == "cuda"
    # a recorded step reads its learning rate from the device
    lr = torch.tensor(rules.lr, device=device) if on_gpu else float(rules.lr)
    match rules.name:
        case "adam":
            return {"lr": lr, "betas": rules.betas, "fused": True, "capturable": on_gpu}
        case "sgd":
            return {"lr": lr, "momentum": rules.momentum[0], "fused": True}
    return {"lr": lr, "alpha": rules.betas[1], "foreach": True, "capturable": on_gpu}


def _keywords(make: Maker, others: Iterable[str]) -> list[str]:
    """The names that may be passed; with those others that are asked for where any may be."""
    parameters = inspect.signature(make).parameters.values()
    named = [one.name for one in list(parameters)[1:] if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    return named + [name for name in others if any(one.kind is one.VAR_KEYWORD for one in parameters)]


def _check_options(name: str, make: Maker, fixed: dict[str, Any], options: dict[str, Any]) -> None:
    known = _keywords(make, options)
    for key in options:
        if key in fixed:
            raise ZerosumError(f"optimizer.options.{key}: other keys of the recipe say this, such as optimizer.lr")
        if key not in known:
            free = [one for one in known if one not in fixed]
            raise ZerosumError(f"unknown key 'optimizer.options.{key}' of optimizer {name}: {suggest(key, free)}")


def _check(optimizer: Optimizer, weights: list[nn.Parameter], name: str) -> None:
    """ZerosumError unless a checkpoint can hold all that this optimizer knows, and it moves no other weights."""
    where = f"optimizer.name = {name}"
    if not {id(one) for one in weights_of(optimizer)} <= {id(one) for one in weights}:
        raise ZerosumError(f"{where}: it moves other weights than those that it was given")
    if any("lr" not in group for group in optimizer.param_groups):
        raise ZerosumError(f"{where}: it has no learning rate lr, which the recipe would set")
    before = [_settings(group) for group in optimizer.param_groups]
    try:
        kept, groups = rehearsed(optimizer)
    except Exception as error:  # whatever the code of others raises
        raise ZerosumError(
            f"{where}: its first step raised {type(error).__name__}: {first_line(error, 200)}"
        ) from error
    for slots in kept:
        for slot, value in slots.items():
            if not isinstance(value, Tensor):
                raise ZerosumError(f"{where}: it keeps {slot} = {shown(value)}: a checkpoint holds tensors only")
    if before != [_settings(group) for group in groups]:
        raise ZerosumError(f"{where}: its first step changed param_groups, which no checkpoint holds")


def rehearsed(optimizer: Optimizer) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What an optimizer keeps for each weight once it has stepped, and its groups: those of a copy without gradients.

    Its values mean nothing; their names, shapes and types are those of the true ones.
    """
    copy: Optimizer = object.__new__(type(optimizer))
    copy.__dict__.update(deepcopy(optimizer.__dict__))  # its own way of being copied loses attributes
    for weight in weights_of(copy):
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    with torch.random.fork_rng([]):
        copy.step()
    return [dict(copy.state.get(weight, {})) for weight in weights_of(copy)], copy.param_groups


def weights_of(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _settings(group: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in group.items() if key != "params"}
