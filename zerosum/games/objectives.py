"""What the two players minimise: pairs of pure functions of the critic's raw scores (logits).

Every function takes float tensors of any one shape, one score per sample or patch, and returns a scalar. Softplus forms
keep them exact for logits of any size: softplus(-x) = -log(sigmoid(x)), softplus(x) = -log(1 - sigmoid(x)).
A new objective is one more entry of OBJECTIVES. CONTENTS compare generated samples with true ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, relu, softplus

from zerosum.choice import Choice, entry, made, parameters_of
from zerosum.errors import ZerosumError, kind_of, suggest
from zerosum.recipe import GIVEN


@dataclass(frozen=True)
class Objective:
    """The loss of each player, `critic(real, fake)` and `generator(fake, real)`, from raw scores of images.

    `paired` says that the generator's loss reads the real scores too; else `real` is None there. Where `reads` is
    "features", the generator's loss is passed features (N, ...) in place of scores: the input of the critic's module
    `head`, which turns them into scores.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    paired: bool = False
    reads: Literal["scores", "features"] = "scores"
    #: makes the same objective with other parameters, where it has any
    make: "Callable[..., Objective] | None" = None


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


def label_smoothing(target: float = 0.9) -> Objective:
    """Cross-entropy with this target for real samples, and 0 for generated ones."""
    if not 0.5 < target <= 1:
        raise ValueError(f"target = {target:g}: should be above 0.5, up to 1")

    def critic(real: Tensor, fake: Tensor) -> Tensor:
        return target * softplus(-real).mean() + (1 - target) * softplus(real).mean() + softplus(fake).mean()

    return Objective(critic, lambda fake, _: softplus(-fake).mean(), make=label_smoothing)


def _above_mean(winner: Tensor, loser: Tensor | None) -> Tensor:
    """Each winner above the mean loser, and each loser below the mean winner."""
    if loser is None:
        raise TypeError("the relativistic objective compares with real scores: pass them")
    return softplus(loser.mean() - winner).mean() + softplus(loser - winner.mean()).mean()


def _mean_apart(fake: Tensor, real: Tensor | None) -> Tensor:
    """Squared distance between the means of features (N, ...) over the batch."""
    if real is None:
        raise TypeError("feature matching compares with features of real samples: pass them")
    return (fake.mean(0) - real.mean(0)).square().sum()


def _pairing(winner: Tensor, loser: Tensor | None) -> Tensor:
    if loser is None:
        raise TypeError("the relativistic objective compares with real scores: pass them")
    return softplus(loser - winner).mean()


OBJECTIVES: dict[str, Objective] = {
    # Goodfellow 2014, eq. 1: the generator minimises E[log(1 - D(G(z)))]
    "minimax": Objective(_cross_entropy, lambda fake, _: -softplus(fake).mean()),
    # Goodfellow 2014, section 3: the generator maximises E[log D(G(z))]
    "non-saturating": Objective(_cross_entropy, lambda fake, _: softplus(-fake).mean()),
    # Salimans 2016, section 3.4: one-sided label smoothing, which keeps the critic from growing ever surer of real ones
    "label-smoothing": label_smoothing(),
    # Mao 2017, eq. 9: targets 1 for real, 0 for generated, 1 for the generator
    "least-squares": Objective(
        lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        lambda fake, _: (fake - 1).square().mean() / 2,
    ),
    # Lim & Ye 2017, Miyato 2018
    "hinge": Objective(
        lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        lambda fake, _: -fake.mean(),
    ),
    # Arjovsky 2017; the critic needs weight clipping or a gradient penalty
    "wasserstein": Objective(lambda real, fake: fake.mean() - real.mean(), lambda fake, _: -fake.mean()),
    # Jolicoeur-Martineau 2018 (RpGAN): each generated sample against the real one beside it
    "relativistic": Objective(_pairing, _pairing, paired=True),
    # Jolicoeur-Martineau 2018 (RaGAN): each against the mean of the others; of a batch's share, with several processes
    "relativistic-average": Objective(_above_mean, _above_mean, paired=True),
    # Salimans 2016, section 3.1: the generator meets the mean of the critic's features of real samples;
    # the authors gained by it in learning from few labels: alone it makes worse pictures than the others
    "feature-matching": Objective(_cross_entropy, _mean_apart, paired=True, reads="features"),
}

#: content losses: functions of generated and true images (N, C, H, W) in [-1, 1], means over all values
CONTENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # Isola 2017: blurs less than the squared error, which is the mean of all that might be true
    "l1": l1_loss,
    # Ledig 2017, SRResNet-MSE
    "l2": mse_loss,
}


def content(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The content loss of this name; ZerosumError with the nearest names if there is none."""
    if name not in CONTENTS:
        raise ZerosumError(f"unknown content.measure '{name}': {suggest(name, CONTENTS)}")
    return CONTENTS[name]


def check_objective(given: Any) -> None:
    """ZerosumError for what is no objective; None is left out."""
    if given is None:
        return
    if not isinstance(given, Objective):
        raise ZerosumError(
            f"objective is {kind_of(given)}: it should be a name ({', '.join(OBJECTIVES)}) or "
            "zs.Objective(critic, generator), two functions of scores"
        )
    for player in ("critic", "generator"):
        if not callable(getattr(given, player)):
            raise ZerosumError(
                f"objective.{player} is a {type(getattr(given, player)).__name__}: it should be a function"
            )


def objective(choice: Choice) -> Objective:
    """The objective of a recipe; ZerosumError for a name or parameters that there are not."""
    if choice == GIVEN:
        raise ZerosumError("the objective of this run is your own: pass it again, objective=..., from Python")
    found = entry(choice, OBJECTIVES, "objective")
    return made(choice, found.make, "objective") if parameters_of(choice) else found
