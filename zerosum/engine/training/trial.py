"""Networks and objectives are tried on a small batch before training, so that what does not fit is told in one line.

`try_networks` runs both networks once. `try_own_parts` looks closer at parts that are not the package's own: at the
range of what they return, at gradients, and at one whole step of each player.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zerosum.data.source import Batch
from zerosum.engine.training import parallel
from zerosum.errors import ZerosumError, first_line
from zerosum.games import step
from zerosum.games.objectives import OBJECTIVES, Objective
from zerosum.games.step import Game, Players
from zerosum.networks.calling import call
from zerosum.progress import note
from zerosum.recipe import Recipe

#: latents and images are multiplied by this to see where values go that have no bound
LARGE = 10_000.0
#: what images may be beyond 1: rounding, and, of large latents, what a filter after the tanh adds at edges
ROUNDING, OVERSHOOT = 1e-3, 1.0
#: operations that keep a probability one: their gradients are named in torch after them
HARMLESS = {
    "View",
    "UnsafeView",
    "Reshape",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Mean",
    "Clone",
    "Clamp",
    "Permute",
}
HARMLESS |= {"Transpose", "T", "Select", "Slice", "Alias", "ToCopy", "Expand", "AsStrided"}
PROBABILITIES = {"Sigmoid", "Softmax", "LogSigmoid", "LogSoftmax"}


def try_networks(recipe: Recipe, game: Game, players: Players, real: Batch, z: Tensor) -> None:
    """Runs both networks on a few real samples and latents z. Raises ZerosumError for what does not fit the data.

    Both are in training mode: random numbers and running statistics change.
    """
    if game.objective.reads == "features" and not isinstance(getattr(players.critic, "head", None), nn.Module):
        raise ZerosumError(
            "this objective reads features of the critic, which has no module `head` that turns features into scores: "
            "choose critic.network dcgan or mlp, another objective, or name that module so in your own critic"
        )
    with torch.no_grad():
        fake = make(players.generator, z, real)
        for images in (real.real, fake):
            _, logits = judge(players.critic, images, real)
    labelled = recipe.condition.classified and recipe.critic.conditional
    if labelled and (logits is None or logits.shape != (len(z), sum(game.sizes))):
        got = "scores alone" if logits is None else f"logits of shape {tuple(logits.shape)}"
        raise ZerosumError(
            f"condition.method = auxiliary: the critic returns {got}: it should return two tensors, scores (N,) and "
            f"label logits (N, {sum(game.sizes)})"
        )


def try_own_parts(recipe: Recipe, game: Game, players: Players, batches: Iterator[Batch], z: Tensor) -> None:
    """Looks for what would make training with own networks, or an own objective, fail or come to nothing.

    batches: a new one each time, with as many images as there are latents in z. Raises ZerosumError. As `try_networks`
    it changes random numbers and running statistics, and nothing else.
    """
    given = recipe.condition.given
    if not given:  # what is added to something given needs no bound: the content loss keeps it where samples are
        _check_range(players.generator, z, next(batches))
    _check_generator(players.generator, z, next(batches), recipe.generator.train, given)
    if recipe.adversarial > 0:
        _check_critic(players.critic, next(batches), recipe.critic.train, recipe.generator.train)
        rules, ours = game.objective, OBJECTIVES.values()
        if rules in ours or rules.make in {known.make for known in ours if known.make is not None}:
            _check_logits(players.critic, next(batches))
    if recipe.cycle is None and parallel.size() == 1:
        rehearse(recipe, game, players, batches, z)


def make(generator: nn.Module, z: Tensor, real: Batch) -> Tensor:
    """What the generator makes of z, checked to be images like the real ones: float32, of their shape, finite."""
    called = f"generator(z, condition) with z {tuple(z.shape)} and {real.condition.shapes()}"
    with _told(called):
        fake = call(generator, z, real.condition)
    if not isinstance(fake, Tensor):
        raise ZerosumError(f"the generator returns a {type(fake).__name__}: it should return one tensor of images")
    if fake.shape[1:] != real.real.shape[1:]:
        made, true = tuple(fake.shape[1:]), tuple(real.real.shape[1:])
        raise ZerosumError(f"the generator makes images of {made}, the data has {true}")
    if len(fake) != len(z):
        raise ZerosumError(f"the generator returns {len(fake)} images for {len(z)} latents: it should return one each")
    _check_values(fake, "the generator's images", z)
    return fake


def judge(critic: nn.Module, images: Tensor, real: Batch) -> step.Verdict:
    """What the critic says of images, checked to be one row for each of them: float32 and finite."""
    called = f"critic(images, condition) with images {tuple(images.shape)} and {real.condition.shapes()}"
    with _told(called):
        answer = call(critic, images, real.condition)
    parts = answer if isinstance(answer, tuple) else (answer,)
    if len(parts) > 2 or not all(isinstance(part, Tensor) or part is None for part in parts) or parts[0] is None:
        words = ", ".join(type(part).__name__ for part in parts)
        raise ZerosumError(
            f"the critic returns {'a tuple of ' if isinstance(answer, tuple) else ''}{words}: it should return scores, "
            "or scores and label logits"
        )
    scores, logits = parts if len(parts) == 2 else (parts[0], None)
    if scores.dim() == 0 or len(scores) != len(images):
        got = f"{tuple(scores.shape)}" if scores.dim() else "a single number"
        raise ZerosumError(
            f"the critic returns {got} for {len(images)} images: it should return a row for each, (N,) or (N, 1)"
        )
    _check_values(scores, "the critic's scores", images)
    return scores, logits


def _check_values(values: Tensor, what: str, given: Tensor) -> None:
    if values.dtype != torch.float32:
        raise ZerosumError(f"{what} are {str(values.dtype).removeprefix('torch.')}: they should be float32")
    if values.device != given.device:
        raise ZerosumError(f"{what} are on {values.device}: they should be where the input is, on {given.device}")
    if not values.isfinite().all():
        raise ZerosumError(f"{what} are not finite before any training: NaN or infinity is among them")


def _check_range(generator: nn.Module, z: Tensor, real: Batch) -> None:
    """Images lie in [-1, 1]. Large latents show whether anything sees to it: if not, the person is told, no more.

    A generator without a bound may be meant so, and its images may well stay in the range.
    """
    advice = "images are from -1 to 1: end the generator with torch.tanh"
    with torch.no_grad():
        for scale, room in ((1.0, ROUNDING), (LARGE, OVERSHOOT)):
            try:
                fake = call(generator, scale * z, real.condition).float()
            except Exception:  # nothing asks a network to bear latents that it is never given
                break
            low, high = fake.min().item(), fake.max().item()
            if min(low, -high) < -1 - room:  # false for NaN
                if scale == 1:
                    raise ZerosumError(f"the generator makes values from {low:.3g} to {high:.3g}; {advice}")
                note(f"nothing keeps what the generator makes in the range of images; {advice}")
    fake = call(generator, z, real.condition)
    if _last_operation(fake) in PROBABILITIES:
        raise ZerosumError(f"the generator ends with a sigmoid, so that its images are from 0 to 1; {advice}")


def _check_generator(generator: nn.Module, z: Tensor, real: Batch, trained: bool, given: bool) -> None:
    weights = [weight for weight in generator.parameters() if weight.requires_grad]
    z = z.clone().requires_grad_()
    fake = call(generator, z, real.condition)
    to_z, *to_weights = _gradients(fake, [z, *weights], "generator")
    if trained and all(one is None for one in to_weights):
        raise ZerosumError(
            "the generator's images do not depend on its weights, so it cannot learn: look for detach(), "
            "torch.no_grad() or NumPy between the weights and what it returns"
        )
    if to_z is None and not given and torch.equal(fake, call(generator, torch.randn_like(z), real.condition)):
        raise ZerosumError("the generator's images do not depend on its latents z: it would make one image for ever")


def _check_critic(critic: nn.Module, real: Batch, trained: bool, generator_trained: bool) -> None:
    weights = [weight for weight in critic.parameters() if weight.requires_grad]
    images = real.real.clone().requires_grad_()
    scores, _ = judge(critic, images, real)
    to_images, *to_weights = _gradients(scores, [images, *weights], "critic")
    if to_images is None and generator_trained:
        raise ZerosumError(
            "the critic's scores do not depend on its images, so the generator cannot learn from it: look for "
            "detach(), torch.no_grad() or NumPy between the images and what it returns"
        )
    if trained and all(one is None for one in to_weights):
        raise ZerosumError(
            "the critic's scores do not depend on its weights, so it cannot learn: look for detach(), "
            "torch.no_grad() or NumPy between the weights and what it returns"
        )


def _gradients(values: Tensor, of: list[Tensor], where: str) -> tuple[Tensor | None, ...]:
    if not values.requires_grad:
        return (None,) * len(of)
    try:
        return torch.autograd.grad(values.sum(), of, allow_unused=True)
    except RuntimeError as error:
        raise ZerosumError(f"the {where} cannot be differentiated: {first_line(error)}") from error


def _check_logits(critic: nn.Module, real: Batch) -> None:
    """The packaged objectives are formulas of raw scores. Probabilities give them gradients near zero, and a floor.

    Told by what comes last in the critic, and, where that cannot be seen, by what it makes of far larger images: scores
    go from between 0 and 1 to 0 or 1 themselves. A fresh critic's raw scores may lie there too, but they grow with the
    images, or stay as they are if the critic normalises them or its last layer is still zero.
    """
    scores, _ = judge(critic, real.real.clone().requires_grad_(), real)
    if _last_operation(scores) in PROBABILITIES or _saturates(critic, real, scores):
        raise ZerosumError(
            "the critic returns probabilities: objectives are computed from raw scores (logits), so leave the sigmoid "
            "at its end out"
        )


@torch.no_grad()
def _saturates(critic: nn.Module, real: Batch, scores: Tensor) -> bool:
    try:
        large = torch.cat([judge(critic, sign * LARGE * real.real, real)[0] for sign in (1, -1)])
    except ZerosumError:  # infinity, perhaps: not bounded
        return False
    inside, bounded = bool(((scores > 0) & (scores < 1)).all()), bool(((large >= 0) & (large <= 1)).all())
    at_ends = ((large - large.round()).abs() < 1e-3).float().mean().item()
    return inside and bounded and at_ends > 0.7 and (scores - scores.round()).abs().max().item() > 0.05


def _last_operation(values: Tensor) -> str:
    """What made these values, before they were brought into shape, as torch names its gradient: "Sigmoid", "Add"."""
    node = values.grad_fn
    while node is not None:
        name = re.sub(r"Backward\d*$", "", node.name())
        if name not in HARMLESS or not node.next_functions:
            return name
        node = node.next_functions[0][0]
    return ""


class _Still:
    """In place of an optimizer: gradients are computed, nothing moves."""

    def zero_grad(self) -> None:
        pass

    def step(self) -> None:
        pass


def rehearse(recipe: Recipe, game: Game, players: Players, batches: Iterator[Batch], z: Tensor) -> None:
    """One step of each player from which no weight moves. ZerosumError for what fails in it."""
    still: Any = _Still()
    trained = Players(
        players.generator,
        players.critic,
        None if players.generator_optimizer is None else still,
        None if players.critic_optimizer is None else still,
    )
    costs = game.penalties.model_copy(update={"clip": 0.0})
    game = replace(game, penalties=costs, objective=watched(game.objective))
    before = [(weight, weight.grad) for player in (players.generator, players.critic) for weight in player.parameters()]
    try:
        if recipe.adversarial > 0:
            with _told("the first step of the critic"):
                step.critic_step(game, trained, next(batches), z, 0, torch.rand(len(z), device=z.device))
        with _told("the first step of the generator"):
            step.generator_step(game, trained, next(batches), z)
    finally:
        for weight, gradient in before:
            weight.grad = gradient


def watched(objective: Objective) -> Objective:
    """The same, with a ZerosumError for what is no loss."""

    def critic(real: Tensor, fake: Tensor) -> Tensor:
        with _told(f"objective.critic(real, fake) with scores {tuple(real.shape)}"):
            loss = objective.critic(real, fake)
        return _loss(loss, "objective.critic", real.requires_grad or fake.requires_grad)

    def generator(fake: Tensor, real: Tensor | None) -> Tensor:
        hint = "" if real is not None else "; it is given real scores only with paired=True"
        with _told(f"objective.generator(fake, real) with scores {tuple(fake.shape)}", hint):
            loss = objective.generator(fake, real)
        return _loss(loss, "objective.generator", fake.requires_grad)

    return replace(objective, critic=critic, generator=generator)


def _loss(loss: Any, what: str, trained: bool) -> Tensor:
    if not isinstance(loss, Tensor) or loss.dim():
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise ZerosumError(f"{what} returns {got}: it should return one number as a tensor, such as the mean")
    if not loss.isfinite():
        raise ZerosumError(f"{what} returns {loss.item()} before any training")
    if trained and not loss.requires_grad:
        raise ZerosumError(f"{what} returns a number that does not depend on the scores, so nothing can be learned")
    return loss


@contextmanager
def _told(called: str, hint: str = "") -> Iterator[None]:
    """Whatever a part of somebody else raises becomes one line; in Python its traceback is still to be seen."""
    try:
        yield
    except ZerosumError:
        raise
    except Exception as error:
        raise ZerosumError(f"{called} raised {type(error).__name__}: {first_line(error)}{hint}") from error
