"""The two players, one file for each family of architectures.

A family's file has a `Generator(spec, latent, method, **options)` and a `Critic(spec, method, **options)`; a family is
added by adding its file here under its name, or named from outside by a dotted path `package.module:Class`.

A critic may have an attribute `alone`: true says that each image is judged for itself (no batch normalisation, no
statistics of the batch), so that real and generated images may go through it together, which is faster.
"""

import importlib
import inspect
from typing import Any, get_type_hints

from pydantic import ConfigDict, Field, create_model
from torch import nn

from zerosum.data.source import Spec
from zerosum.errors import ZerosumError, suggest
from zerosum.networks import dcgan, mlp
from zerosum.recipe import GIVEN, Player, Recipe, validated

FAMILIES: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "dcgan": (dcgan.Generator, dcgan.Critic),
    "mlp": (mlp.Generator, mlp.Critic),
}


def make_generator(recipe: Recipe, spec: Spec) -> nn.Module:
    """The generator that a recipe names, for this data. ZerosumError for unknown families, options or resolutions."""
    given = {"spec": spec, "latent": recipe.latent.size, "method": recipe.condition.method}
    return _make(recipe.generator, 0, "generator", given)


def make_critic(recipe: Recipe, spec: Spec) -> nn.Module:
    """The critic that a recipe names, for this data; blind to the condition where critic.conditional is false."""
    method = recipe.condition.method if recipe.critic.conditional else "none"
    return _make(recipe.critic, 1, "critic", {"spec": spec, "method": method})


def _make(player: Player, role: int, where: str, given: dict[str, Any]) -> nn.Module:
    if player.network.startswith(GIVEN + ":"):
        own = player.network.removeprefix(GIVEN + ":")
        raise ZerosumError(f"the {where} of this run is your own {own}: pass it again, {where}={own}(...), from Python")
    network = (
        import_network(player.network, f"{where}.network")
        if ":" in player.network
        else _family(player.network, where)[role]
    )
    signature = inspect.signature(network.__init__)
    named = {name: p for name, p in signature.parameters.items() if name != "self" and p.kind is not p.VAR_KEYWORD}
    options = [name for name in named if name not in given]
    for key in player.options:
        if key not in options and len(named) == len(signature.parameters) - 1:
            known = [*options, *type(player).model_fields]
            raise ZerosumError(f"unknown key '{where}.{key}' of network {player.network}: {suggest(key, known)}")
    hints = get_type_hints(network.__init__)
    # tuples come as YAML lists; everything else keeps its strict type
    lenient = {key for key in player.options if str(hints.get(key)).startswith("tuple")}
    fields: dict[str, Any] = {
        key: (hints.get(key, Any), Field(strict=False) if key in lenient else ...) for key in player.options
    }
    checked = validated(create_model("Options", __config__=ConfigDict(strict=True), **fields), player.options, where)
    values = {key: getattr(checked, key) for key in fields}
    return network(**{key: value for key, value in given.items() if key in named}, **values)


def _family(name: str, where: str) -> tuple[type[nn.Module], type[nn.Module]]:
    if name not in FAMILIES:
        raise ZerosumError(f"unknown {where}.network '{name}': {suggest(name, FAMILIES)}")
    return FAMILIES[name]


def import_network(path: str, where: str) -> type[nn.Module]:
    """The class at a dotted path `package.module:Class`; where: begins error messages."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ZerosumError(f"{where} '{path}' cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ZerosumError(f"{where} '{path}' is no torch.nn.Module class")
    return found
