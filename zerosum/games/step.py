"""The two steps. Everything but the game between two domains (cycle.py) is trained by this page; read it first.

generator(z, condition) -> samples, critic(samples, condition) -> raw scores; the condition is labels, something given,
or nothing. The critic is the literature's discriminator. Both steps are functions of explicit real data and explicit
noise; apart from these only dropout and augmentation are random, which draw from torch's default generator. Where
several processes train together, each has its share of the batch, and a player moves by the mean of their gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zerosum.data.source import Batch, Condition
from zerosum.engine.training.parallel import average
from zerosum.engine.training.precision import Precision
from zerosum.games import penalties
from zerosum.games.augment import Augmentation
from zerosum.games.frozen import frozen
from zerosum.games.objectives import CONTENTS, Objective
from zerosum.games.penalties import PENALTIES
from zerosum.networks.calling import call
from zerosum.networks.conditioning import Sizes, label_loss
from zerosum.networks.operators import batches_in_one
from zerosum.recipe import Cycle, Penalties

Losses = dict[str, Tensor]
#: raw scores, and label logits of a critic with an auxiliary classifier
Verdict = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Game:
    """The rules: what each player minimises, and in which precision it is computed."""

    objective: Objective
    penalties: Penalties
    #: number of values of each attribute, and the weight of the auxiliary classifier's cross-entropy
    sizes: Sizes
    label_weight: float
    precision: Precision
    #: weight of the objective in the generator's loss; 0: there is no critic's turn
    adversarial: float = 1.0
    #: weight of the content loss, and what it is
    content_weight: float = 0.0
    content: Callable[[Tensor, Tensor], Tensor] = CONTENTS["l1"]
    #: of a game in two directions, which games/cycle.py plays
    cycle: Cycle | None = None
    #: what is done to all samples that a critic sees
    augment: Augmentation | None = None


@dataclass(repr=False)
class Players:
    """The two networks and what moves them; a player without an optimizer stays as it is."""

    generator: nn.Module
    critic: nn.Module
    generator_optimizer: Optimizer | None
    critic_optimizer: Optimizer | None

    def __repr__(self) -> str:
        return f"Players({type(self.generator).__name__}, {type(self.critic).__name__})"


def critic_step(
    game: Game, players: Players, real: Batch, z: Tensor, turn: int, epsilon: Tensor | None = None
) -> Losses:
    """One critic update on a real batch and as many generated samples; the generator stays bit-identical.

    z: (N, latent). turn: number of critic updates so far, which decides whether a lazy penalty is due. epsilon: (N,)
    interpolation weights in [0, 1], for penalties between real and generated samples. Returns detached scalars.
    """
    due = penalties.due(game.penalties, turn)
    places = {PENALTIES[name].place for name in due}
    with frozen(players.generator), torch.no_grad(), game.precision.context():
        fake = call(players.generator, z, real.condition).float()
    samples, fake = real.real.requires_grad_("real" in places), fake.requires_grad_("fake" in places)
    with game.precision.context():
        apart = not places.isdisjoint({"real", "fake"})
        (real_scores, real_logits), (fake_scores, fake_logits) = judge_both(
            game, players.critic, samples, fake, real.condition, apart
        )
        judged = {"real": (real_scores, samples), "fake": (fake_scores, fake)}
        if "between" in places:
            if epsilon is None:
                raise TypeError("a penalty between real and generated samples is due: pass epsilon")
            between = penalties.interpolate(samples, fake, epsilon)
            judged["between"] = judge(game, players.critic, between, real.condition)[0], between

    total = loss = game.objective.critic(real_scores, fake_scores)
    report = {"critic/loss": loss, "critic/real": real_scores.mean(), "critic/fake": fake_scores.mean()}
    if real_logits is not None and fake_logits is not None and real.condition.labels is not None:
        for name, logits in (("critic/labels_real", real_logits), ("critic/labels_fake", fake_logits)):
            report[name] = label_loss(logits, real.condition.labels, game.sizes)
            total = total + game.label_weight * report[name]
    for name, weight in due.items():
        penalty = PENALTIES[name]
        report[f"critic/{penalty.loss}"] = penalty.formula(*judged[penalty.place])
        total = total + weight * report[f"critic/{penalty.loss}"]

    losses = move(players.critic, players.critic_optimizer, total, report)
    if players.critic_optimizer is not None and game.penalties.clip > 0:
        penalties.clip_weights(players.critic.parameters(), game.penalties.clip)
    return losses


def generator_step(game: Game, players: Players, real: Batch, z: Tensor) -> Losses:
    """One generator update; the critic stays bit-identical.

    Real samples are read by paired objectives and by content losses only.
    """
    report = {}
    with frozen(players.critic), game.precision.context():
        fake = call(players.generator, z, real.condition)
        if game.adversarial > 0:
            of_fake, fake_logits = seen_by(game, players.critic, fake, real.condition)
            of_real = None
            if game.objective.paired:
                with torch.no_grad():
                    of_real, _ = seen_by(game, players.critic, real.real, real.condition)

    total = torch.zeros((), device=fake.device)
    if game.adversarial > 0:
        report["generator/loss"] = game.objective.generator(of_fake, of_real)
        total = game.adversarial * report["generator/loss"]
        if fake_logits is not None and real.condition.labels is not None:
            report["generator/labels"] = label_loss(fake_logits, real.condition.labels, game.sizes)
            total = total + game.label_weight * report["generator/labels"]
    if game.content_weight > 0:
        report["generator/content"] = game.content(fake.float(), real.real)
        total = total + game.content_weight * report["generator/content"]

    return move(players.generator, players.generator_optimizer, total, report)


def move(player: nn.Module, optimizer: Optimizer | None, total: Tensor, report: Losses) -> Losses:
    """Backward pass and optimizer step of one player. Returns the losses, detached.

    Gradients, running statistics and losses are averaged over all processes.
    """
    losses = {name: value.detach() for name, value in report.items()}
    gradients: list[Tensor] = []
    if optimizer is not None:
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in player.parameters() if weight.grad is not None]
    statistics = [buffer for buffer in player.buffers() if buffer.is_floating_point()]  # of batch normalisation
    average([*losses.values(), *gradients, *statistics])
    if optimizer is not None:
        optimizer.step()
    return losses


def judge(game: Game, critic: nn.Module, samples: Tensor, condition: Condition) -> Verdict:
    """Raw scores in float32, and the label logits of a critic with an auxiliary classifier, of augmented samples."""
    answer = call(critic, samples if game.augment is None else game.augment(samples), condition)
    scores, logits = answer if isinstance(answer, tuple) else (answer, None)
    return scores.float(), logits


def seen_by(game: Game, critic: nn.Module, samples: Tensor, condition: Condition) -> Verdict:
    """As `judge`, with what the generator's objective reads in place of scores, where that is features (N, ...)."""
    if game.objective.reads == "scores":
        return judge(game, critic, samples, condition)
    heard: list[Tensor] = []
    hook = critic.get_submodule("head").register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    try:
        _, logits = judge(game, critic, samples, condition)
    finally:
        hook.remove()
    return heard[0].float(), logits


def judge_both(
    game: Game, critic: nn.Module, real: Tensor, fake: Tensor, condition: Condition, apart: bool
) -> tuple[Verdict, Verdict]:
    """`judge` of real and of generated samples: in one batch, which is faster, if the critic keeps the two apart.

    apart: in two calls, because a penalty on one of them would otherwise be differentiated through both.
    """
    if apart or not getattr(critic, "together", False):
        return judge(game, critic, real, condition), judge(game, critic, fake, condition)
    both = condition.map(lambda part: torch.cat([part, part]))
    with batches_in_one(2):
        scores, logits = judge(game, critic, torch.cat([real, fake]), both)
    real_logits, fake_logits = (None, None) if logits is None else logits.chunk(2)
    real_scores, fake_scores = scores.chunk(2)
    return (real_scores, real_logits), (fake_scores, fake_logits)
