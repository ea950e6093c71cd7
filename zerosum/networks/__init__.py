"""The two players, one file for each family of architectures.

A family's file has a `Generator(spec, latent, method, **options)` and a `Critic(spec, method, **options)`; a family is
added by adding its file here under its name, or named from outside by a dotted path `package.module:Class`.

A critic may have an attribute `together`: true says that real and generated samples may go through it as one batch,
which is faster, and get the same scores: it takes statistics of a batch nowhere but in `operators.BatchNorm`.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_type_hints

import torch
from pydantic import ConfigDict, Field, create_model
from torch import nn

from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, setting, suggest
from zerosum.loading import validated
from zerosum.networks import dcgan, mlp, patch, resnet, rows, srresnet, unet, world
from zerosum.networks.calling import parameters
from zerosum.outside import import_class
from zerosum.recipe import GIVEN, Player, Recipe

GENERATORS: dict[str, type[nn.Module]] = {
    "dcgan": dcgan.Generator,
    "mlp": mlp.Generator,
    "resnet": resnet.Generator,
    "rows": rows.Generator,
    "srresnet": srresnet.Generator,
    "unet": unet.Generator,
    "world": world.Generator,
}
CRITICS: dict[str, type[nn.Module]] = {
    "dcgan": dcgan.Critic,
    "mlp": mlp.Critic,
    "patch": patch.Critic,
    "rows": rows.Critic,
}


def make_generator(recipe: Recipe, spec: Spec, most: int | None = None) -> nn.Module:
    """The generator that a recipe names, for this data. ZerosumError for unknown families, options or resolutions.

    most: bytes of weights, if they are known; otherwise they must fit into the machine's memory.
    """
    given = {"spec": spec, "latent": recipe.latent.count, "method": recipe.condition.method}
    return _make(recipe.generator, GENERATORS, "generator", given, most)


def with_latent(recipe: Recipe, spec: Spec) -> Recipe:
    """The recipe with a number for latent.size = auto: what its generator needs for this data, else 100.

    Raises ZerosumError for a distribution of z that the generator cannot use.
    """
    network = GENERATORS.get(recipe.generator.network)
    distributions = getattr(network, "distributions", None)
    if distributions is not None and recipe.latent.distribution not in distributions:
        raise ZerosumError(
            f"latent.distribution = {recipe.latent.distribution}: generator.network = {recipe.generator.network} "
            f"needs {' or '.join(distributions)}: {setting('latent.distribution', distributions[0])}"
        )
    if recipe.latent.size != "auto":
        return recipe
    needed = getattr(network, "latent_size", None)
    return recipe.with_overrides({"latent.size": 100 if needed is None else needed(spec)})


def make_critic(recipe: Recipe, spec: Spec, conditional: bool = True) -> nn.Module:
    """The critic that a recipe names, for this data.

    conditional: false for a critic that is blind to the condition, as it is where critic.conditional is false.
    """
    method = recipe.condition.method if conditional and recipe.critic.conditional else "none"
    return _make(recipe.critic, CRITICS, "critic", {"spec": spec, "method": method})


def check_player(network: Any, where: str) -> None:
    """ZerosumError for what cannot be a player, the generator or the critic, whatever the data; None is left out."""
    if network is None:
        return
    if isinstance(network, type):
        raise ZerosumError(
            f"{where} = {network.__name__} is a class: pass an object of it, {where}={network.__name__}()"
        )
    if isinstance(network, str):
        raise ZerosumError(
            f'{where} = {network!r} is text: a network by its name goes into the recipe, {where}={{"network": ...}}'
        )
    if not isinstance(network, nn.Module):
        raise ZerosumError(f"{where} is a {type(network).__name__}: it should be a torch.nn.Module")
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, value in tensors.items():
        if torch.nn.parameter.is_lazy(value):
            raise ZerosumError(f"the {where} does not know the shape of {name} yet: call it once, then pass it")
        if value.is_meta:
            raise ZerosumError(f"the {where} has no memory for {name}: it was made on the device meta")
        if (value.is_floating_point() or value.is_complex()) and value.dtype != torch.float32:
            kind = str(value.dtype).removeprefix("torch.")
            raise ZerosumError(f"the {where} has {name} in {kind}: weights should be float32, {where}.float()")


def check_trainable(network: nn.Module, where: str) -> None:
    """ZerosumError for a player that is to be trained and has no weights that can be."""
    if not any(weight.requires_grad for weight in network.parameters()):
        weights = (
            "its weights are all frozen (requires_grad=False)"
            if next(network.parameters(), None) is not None
            else "it has no weights"
        )
        raise ZerosumError(
            f"the {where} has nothing to train: {weights}; to leave it as it is: {setting(f'{where}.train', False)}"
        )


def check_apart(generator: nn.Module, critic: nn.Module) -> None:
    """ZerosumError for two players that share weights: each would undo what the other has learned."""
    if generator is critic:
        raise ZerosumError("generator and critic are the same object: they should be two networks")
    shared = {id(weight) for weight in generator.parameters()} & {id(weight) for weight in critic.parameters()}
    if shared:
        name = next(name for name, weight in generator.named_parameters() if id(weight) in shared)
        raise ZerosumError(f"generator and critic share weights ({name}): each should have its own")


def _make(
    player: Player, families: Mapping[str, type[nn.Module]], where: str, given: dict[str, Any], most: int | None = None
) -> nn.Module:
    if player.network.startswith(GIVEN + ":"):
        own = player.network.removeprefix(GIVEN + ":")
        raise ZerosumError(f"the {where} of this run is your own {own}: pass it again, {where}={own}(...), from Python")
    network = (
        import_network(player.network, f"{where}.network")
        if ":" in player.network
        else _family(player.network, families, where, given)
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
    for key, value in values.items():
        if isinstance(value, int) and abs(value) > 2**53:
            raise ZerosumError(f"{where}.{key}: the number is too large")
    build = partial(network, **{key: value for key, value in given.items() if key in named}, **values)
    if ":" not in player.network:
        _check_size(build, where, most)
    return build()


def _check_size(build: Callable[[], nn.Module], where: str, most: int | None) -> None:
    """ZerosumError for a network that is too large, known from one without memory before any is taken."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**63
    try:
        with torch.device("meta"), torch.random.fork_rng([]):
            size = sum(weight.nbytes for weight in build().state_dict().values())
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:
        raise ZerosumError(f"the {where} cannot be made: {str(error).partition(chr(10))[0][:200]}") from None
    if size > (memory if most is None else most):
        there = f"the machine has {memory / 2**30:,.1f}" if most is None else "its file of weights is far smaller"
        raise ZerosumError(f"the {where} would have {size / 2**30:,.1f} GiB of weights: {there}")


def _family(
    name: str, families: Mapping[str, type[nn.Module]], where: str, given: Mapping[str, Any]
) -> type[nn.Module]:
    if name not in families:
        raise ZerosumError(f"unknown {where}.network '{name}': {suggest(name, families)}")
    spec: Spec = given["spec"]
    fitting = [family for family, network in families.items() if _fits(network, spec)]
    if name not in fitting:
        data = f"{spec.modality} data with samples of {', '.join(spec.sample.axes)}"
        data += "" if spec.given is None else ", and something given"
        raise ZerosumError(
            f"{where}.network = {name} is not for {data}: choose from {', '.join(fitting) or 'your own networks'}"
        )
    if where == "generator" and spec.given is None and given["latent"] == 0:
        raise ZerosumError("latent.size = 0: a generator to which nothing is given needs a latent")
    return families[name]


def _fits(network: type[nn.Module], spec: Spec) -> bool:
    """Whether a family's networks make, or look at, samples with these axes, and read what is given, if it is."""
    axes = getattr(network, "axes", None)
    if axes is not None and tuple(spec.sample.axes) != axes:
        return False
    if spec.sample.values not in getattr(network, "values", ("signed",)):
        return False
    known = parameters(network.forward)
    if spec.given is not None:
        return "given" in known
    return "given" not in known or known["given"].default is None


def import_network(path: str, where: str) -> type[nn.Module]:
    """The class at a dotted path `package.module:Class`; where: begins error messages."""
    return import_class(path, where, nn.Module, "torch.nn.Module")
