"""What the critic pays for being steep: functions of scores and the images they were computed from.

Each takes scores (N, ...) that were computed from `images` (N, ...) with a graph, and returns a scalar that can be
differentiated again. Gradients are those of the sum of scores, so with batch normalisation in the critic, where one
image's score depends on the others, a sample's gradient includes its influence on them.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from zerosum.operators import images_only


def squared_slopes(scores: Tensor, images: Tensor) -> Tensor:
    """Squared L2 norm over all values of each sample's gradient, (N,), float32."""
    with images_only():
        (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)


def zero_centred(scores: Tensor, images: Tensor) -> Tensor:
    """R1 on real images, R2 on generated ones: E[|gradient|^2] / 2 (Mescheder 2018)."""
    return squared_slopes(scores, images).mean() / 2


def one_centred(scores: Tensor, images: Tensor) -> Tensor:
    """The gradient penalty of WGAN-GP: E[(|gradient| - 1)^2] (Gulrajani 2017)."""
    # the tiny constant keeps the square root's derivative finite where a gradient is exactly zero
    return ((squared_slopes(scores, images) + 1e-12).sqrt() - 1).square().mean()


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
