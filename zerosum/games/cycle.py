"""The two steps of CycleGAN (Zhu 2017): samples of domain A become ones of B and back, with no pairs to learn from.

As games/step.py, with both directions as one player (see networks/directions.py). The critics judge what the
generators made in their last step, out of a pool of past pictures, so that nothing is made twice.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from zerosum.data.source import Batch, Condition
from zerosum.games.frozen import frozen
from zerosum.games.step import Game, Losses, Players, judge, judge_both, move
from zerosum.networks.directions import Critics, Generators
from zerosum.recipe import Cycle


def critic_step(
    game: Game, players: Players, real: Batch, z: Tensor, turn: int, epsilon: Tensor | None = None
) -> Losses:
    """One update of both critics on real pictures and the pools; the generators stay bit-identical.

    real: samples of domain B, and given ones of domain A, both (N, ...). turn: how many updates came before. Returns
    detached scalars, means of both critics.
    """
    generators, critics, _ = parts(game, players)
    if turn == 0:
        with frozen(generators), torch.no_grad(), game.precision.context():
            critics.fake_b.leave(generators.to_b(z, real.given))
            critics.fake_a.leave(generators.to_a(z, real.real))
    count = len(real.real)
    total, report = torch.zeros((), device=real.real.device), Losses()
    for critic, samples, pool in (
        (critics.of_a, real.given, critics.fake_a),
        (critics.of_b, real.real, critics.fake_b),
    ):
        fake = pool.take(count, turn * count)
        with game.precision.context():
            (real_scores, _), (fake_scores, _) = judge_both(game, critic, samples, fake, Condition(), False)
        loss = game.objective.critic(real_scores, fake_scores)
        total = total + loss
        for name, value in (("loss", loss), ("real", real_scores.mean()), ("fake", fake_scores.mean())):
            report[f"critic/{name}"] = report.get(f"critic/{name}", 0) + value / 2
    return move(critics, players.critic_optimizer, total, report)


def generator_step(game: Game, players: Players, real: Batch, z: Tensor) -> Losses:
    """One update of both generators; the critics stay bit-identical but for the fakes that are left to them."""
    generators, critics, cycle = parts(game, players)
    a, b = real.given, real.real
    with frozen(critics.of_a), frozen(critics.of_b), game.precision.context():
        fake_b, same_b = made(generators.to_b, z, a, b, cycle.identity > 0)
        fake_a, same_a = made(generators.to_a, z, b, a, cycle.identity > 0)
        back_a, back_b = generators.to_a(z, fake_b), generators.to_b(z, fake_a)
        report = {
            "generator/loss": (deceive(game, critics.of_a, fake_a, a) + deceive(game, critics.of_b, fake_b, b)) / 2
        }
    critics.fake_a.leave(fake_a)
    critics.fake_b.leave(fake_b)
    report["generator/cycle"] = (l1_loss(back_a.float(), a) + l1_loss(back_b.float(), b)) / 2
    total = game.adversarial * report["generator/loss"] + cycle.weight * report["generator/cycle"]
    if same_a is not None and same_b is not None:
        report["generator/identity"] = (l1_loss(same_a.float(), a) + l1_loss(same_b.float(), b)) / 2
        total = total + cycle.identity * report["generator/identity"]
    return move(generators, players.generator_optimizer, 2 * total, report)  # the sum of both directions


def made(generator: nn.Module, z: Tensor, pictures: Tensor, own: Tensor, both: bool) -> tuple[Tensor, Tensor | None]:
    """What a generator makes of the other domain's pictures and, with `both`, of those of its own target.

    In one batch, which is faster, if each picture is drawn for itself.
    """
    if not both:
        return generator(z, pictures), None
    if not getattr(generator, "alone", False):
        return generator(z, pictures), generator(z, own)
    fake, same = generator(torch.cat([z, z]), torch.cat([pictures, own])).chunk(2)
    return fake, same


def deceive(game: Game, critic: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
    """The generator's part of the objective."""
    scores, _ = judge(game, critic, fake, Condition())
    opposite = None
    if game.objective.paired:
        with torch.no_grad():
            opposite, _ = judge(game, critic, real, Condition())
    return game.objective.generator(scores, opposite)


def parts(game: Game, players: Players) -> tuple[Generators, Critics, Cycle]:
    """Raises TypeError for players, or rules, of a game with one direction."""
    if not (isinstance(players.generator, Generators) and isinstance(players.critic, Critics) and game.cycle):
        raise TypeError("a cycle needs Generators and Critics of zerosum.networks.directions, and weights in its game")
    return players.generator, players.critic, game.cycle
