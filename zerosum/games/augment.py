"""What is done to samples before the critic sees them, real and generated ones alike, in the steps of both players.

A critic that can learn few images by heart, or tell apart what never overlaps, has a harder task then. Gradients flow
through it to the generator. A new augmentation is one more entry of AUGMENTATIONS; a recipe then has it as
`augment: NAME`, or with its parameters, `augment: {name: noise, strength: 0.1}`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zerosum.choice import Choice, entry, made


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


def augmentation(choice: Choice) -> Augmentation | None:
    """The augmentation of a recipe; ZerosumError for a name or parameters that there are not."""
    return made(choice, entry(choice, AUGMENTATIONS, "augment"), "augment")
