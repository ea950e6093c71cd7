"""What the critic pays for being steep: functions of scores and the samples they were computed from.

Each takes scores (N, ...) that were computed from `samples` (N, ...) with a graph, and returns a scalar that can be
differentiated again. Gradients are those of the sum of scores, so with batch normalisation in the critic, where one
sample's score depends on the others, a sample's gradient includes its influence on them.
A new penalty is one more entry of PENALTIES; a recipe then has it as penalties.<name>.weight and .every.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from zerosum.errors import ZerosumError, suggest
from zerosum.networks.operators import images_only
from zerosum.recipe import Penalties

#: where a penalty looks at the critic: at real samples, at generated ones, or at points between pairs of them
Place = Literal["real", "fake", "between"]


def squared_slopes(scores: Tensor, samples: Tensor) -> Tensor:
    """Squared L2 norm over all values of each sample's gradient, (N,), float32."""
    with images_only():
        (gradient,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)


def zero_centred(scores: Tensor, samples: Tensor) -> Tensor:
    """R1 on real samples, R2 on generated ones: E[|gradient|^2] / 2 (Mescheder 2018)."""
    return squared_slopes(scores, samples).mean() / 2


def one_centred(scores: Tensor, samples: Tensor) -> Tensor:
    """The gradient penalty of WGAN-GP: E[(|gradient| - 1)^2] (Gulrajani 2017)."""
    # the tiny constant keeps the square root's derivative finite where a gradient is exactly zero
    return ((squared_slopes(scores, samples) + 1e-12).sqrt() - 1).square().mean()


def interpolate(real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """Points between pairs, epsilon * real + (1 - epsilon) * fake, ready to be differentiated at.

    real, fake: (N, ...); epsilon: (N,) in [0, 1], one for each sample.
    """
    weight = epsilon.view(-1, *[1] * (real.dim() - 1))
    return (real.detach() * weight + fake.detach() * (1 - weight)).requires_grad_()


@torch.no_grad()
def clip_weights(parameters: Iterable[nn.Parameter], bound: float) -> None:
    """Weights into [-bound, bound], in place (Arjovsky 2017)."""
    weights: list[Tensor] = list(parameters)
    torch._foreach_clamp_min_(weights, -bound)
    torch._foreach_clamp_max_(weights, bound)


@dataclass(frozen=True)
class Penalty:
    """A formula of scores (N, ...) and the samples (N, ...) they were computed from, and where it is computed."""

    place: Place
    formula: Callable[[Tensor, Tensor], Tensor]
    #: its name among the losses, critic/<loss>
    loss: str


#: the order is that in which they are added to the critic's loss
PENALTIES: dict[str, Penalty] = {
    # Gulrajani 2017, WGAN-GP
    "gradient": Penalty("between", one_centred, "gradient_penalty"),
    # Mescheder 2018; Karras 2020 applies R1 lazily
    "r1": Penalty("real", zero_centred, "r1"),
    "r2": Penalty("fake", zero_centred, "r2"),
    # Thanh-Tung 2019: as R1, on the way between real and generated samples too
    "zero": Penalty("between", zero_centred, "zero_penalty"),
}


def check_penalties(costs: Penalties) -> None:
    """ZerosumError, with the nearest names, for a penalty of the recipe that is none of PENALTIES."""
    for name in costs.each():
        if name not in PENALTIES:
            raise ZerosumError(f"unknown penalty 'penalties.{name}': {suggest(name, [*PENALTIES, 'clip'])}")


def due(costs: Penalties, turn: int) -> dict[str, float]:
    """The penalties that the critic pays at this turn, its number of updates so far, each with its weight.

    A lazy penalty, with `every` above 1, is computed at every such turn only; its weight is multiplied by `every` to
    make up for the turns between (Karras 2020).
    """
    known = costs.each()
    return {
        name: known[name].weight * known[name].every
        for name in PENALTIES
        if name in known and known[name].weight > 0 and turn % known[name].every == 0
    }
