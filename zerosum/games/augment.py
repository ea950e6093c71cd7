"""What is done to samples before the critic sees them, real and generated ones alike, in the steps of both players.

A critic that can learn few images by heart, or tell apart what never overlaps, has a harder task then. Gradients flow
through it to the generator. A new augmentation is one more entry of AUGMENTATIONS; a recipe then has it as
`augment: NAME`, or with its parameters, `augment: {name: noise, strength: 0.1}`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zerosum.choice import Choice, entry, made
from zerosum.errors import ZerosumError, kind_of
from zerosum.recipe import GIVEN


@dataclass(frozen=True)
class Augmentation:
    """Random numbers for samples (N, ...), and a formula of both, differentiable in the samples, whose shape it keeps.

    The numbers come from torch's default generator, which every step seeds anew.
    """

    numbers: Callable[[Tensor], Tensor]
    formula: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, samples: Tensor) -> Tensor:
        return self.formula(samples, self.numbers(samples))


def noise(strength: float = 0.1) -> Augmentation:
    """Normal noise of this standard deviation on every value; samples are from -1 to 1."""
    if strength < 0:
        raise ValueError(f"strength = {strength:g}: should be 0 or more")
    return Augmentation(torch.randn_like, lambda samples, numbers: samples + strength * numbers)


#: name -> a function of its parameters; None leaves samples as they are
AUGMENTATIONS: dict[str, Callable[..., Augmentation | None]] = {
    "none": lambda: None,
    # Sonderby 2017, Arjovsky & Bottou 2017: instance noise makes the two distributions overlap; both let it fade,
    # strength: {from: 0.1, to: 0}
    "noise": noise,
}


#: an augmentation that somebody brings along: samples (N, ...) to samples of the same shape
Own = Callable[[Tensor], Tensor]


def augmentation(choice: Choice, own: Own | None = None) -> Own | None:
    """The augmentation of a recipe, or the own one that was handed over.

    ZerosumError for a name or parameters that there are not, and for an own one that is missing.
    """
    if choice != GIVEN:
        return made(choice, entry(choice, AUGMENTATIONS, "augment"), "augment")
    if own is None:
        raise ZerosumError("the augmentation of this run is your own: pass it again, augment=..., from Python")
    return own


def check_augmentation(own: Any) -> None:
    """ZerosumError for what is no augmentation; None is left out."""
    if own is None:
        return
    if not callable(own) or isinstance(own, type):
        raise ZerosumError(f"augment is {kind_of(own)}: it should be a name or a function of samples (N, ...)")
    samples = torch.linspace(-1, 1, 24).view(2, 3, 4).requires_grad_()
    with torch.random.fork_rng([]):
        try:
            changed = own(samples)
        except Exception as error:
            if isinstance(error, TypeError) and "argument" in str(error):
                raise ZerosumError(f"augment cannot be called with samples alone: {error}") from error
            return  # it may be for samples of other shapes: the first step of both players is tried later
    if not isinstance(changed, Tensor) or changed.shape != samples.shape:
        got = f"shape {tuple(changed.shape)}" if isinstance(changed, Tensor) else f"a {type(changed).__name__}"
        raise ZerosumError(f"augment makes {got} of samples (2, 3, 4): it should keep their shape")
    if not changed.requires_grad:
        raise ZerosumError("augment gives samples without gradients, so that the generator could not learn")
