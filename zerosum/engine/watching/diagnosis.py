"""What can go wrong while a GAN trains, each as a rule on evidence: figures that are gathered with every cheap score.

A rule sees the whole history and speaks only of what lasts: one bad moment is part of every healthy training.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from statistics import median
from typing import Any

from zerosum.engine.runs.files import is_number

#: a rule for what may mend itself waits until this share of the training is over
EARLY = 0.1
#: variety comes later than shapes
LATE = 0.25


@dataclass(frozen=True)
class Evidence:
    """The state of a game at one step."""

    step: int
    #: of the recipe
    steps: int
    #: the critic's mean loss over the last tick, and that of a critic which gives every image the score 0
    critic_loss: float
    undecided_loss: float
    #: its mean output on real and on generated samples
    critic_real: float
    critic_fake: float
    #: mean |d generator's objective / d score| over images, of the objective alone, and where every score is 0
    signal: float
    undecided_signal: float
    #: Euclidean norm of the gradient of the generator's weights
    gradient: float
    #: the cheap Frechet distance, and that of real samples
    fid: float
    floor: float
    #: spread of generated samples over that of real ones: overall, and for each class
    diversity: float
    class_diversity: dict[str, float]
    #: share of each class's images that are read as that class; of a generator without labels, how often each class is
    #: drawn over how often it is in the data
    class_accuracy: dict[str, float]
    class_share: dict[str, float]
    #: share of images that are copies of training samples, and of real samples
    memorised: float
    memorised_floor: float
    #: how far a change of label moves an image, over how far a change of latent does; of a conditional generator
    label_effect: float = math.nan

    def plain(self) -> dict[str, Any]:
        """As JSON, which knows no NaN."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Evidence | None":
        """From JSON; None where a value is missing, not known, or no number."""
        filled: dict[str, Any] = {key: math.nan if value is None else value for key, value in values.items()}
        kinds = {field.name: field.type for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= filled.keys() <= kinds.keys():
            return None
        for name, kind in [(name, kinds[name]) for name in filled]:
            inner = filled[name].values() if isinstance(filled[name], dict) else [filled[name]]
            if isinstance(filled[name], dict) != (kind == dict[str, float]) or not all(map(is_number, inner)):
                return None
        return cls(**filled) if filled["steps"] > 0 else None

    @property
    def progress(self) -> float:
        return self.step / self.steps


@dataclass(frozen=True)
class Finding:
    """What was found at which step, the figures that show it, and what to try."""

    name: str
    step: int
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.name.replace('_', ' ')}: {self.evidence}. {self.advice}"


History = Sequence[Evidence]
Rule = Callable[[History], tuple[str, str] | None]


def critic_ahead(history: History) -> tuple[str, str] | None:
    """Saturated outputs: the critic's loss is below 3 % of that of an undecided critic, twice in a row.

    A Wasserstein critic has no such bound: its undecided loss is 0, and being far ahead is what it should be.
    """
    last = history[-2:]
    if len(last) < 2 or not all(
        one.undecided_loss > 0 and one.critic_loss <= 0.03 * one.undecided_loss for one in last
    ):
        return None
    now = last[-1]
    return (
        f"the critic's loss is {now.critic_loss:.2g} where an undecided one has {now.undecided_loss:.2g}; "
        f"its output is {now.critic_real:+.1f} on real and {now.critic_fake:+.1f} on generated samples",
        "Try a lower critic.lr, fewer critic.steps, a penalty (penalties.r1.weight=1), or dropout in the critic",
    )


def vanishing_gradient(history: History) -> tuple[str, str] | None:
    """Twice in a row, the objective passes on less than 2 % of the gradient that it has at score 0, or none arrives."""
    last = history[-2:]
    if len(last) < 2:
        return None
    if all(
        (one.signal < 0.02 * one.undecided_signal and one.critic_loss < one.undecided_loss) or one.gradient < 1e-9
        for one in last
    ):
        now = last[-1]
        return (
            f"the generator's objective passes on {now.signal / max(now.undecided_signal, 1e-300):.1e} of the gradient "
            f"that it has at score 0; the norm of its weights' gradient is {now.gradient:.1e}",
            "Try objective=non-saturating, or a weaker critic: lower critic.lr, penalties.r1.weight=1",
        )
    return None


def collapse(history: History) -> tuple[str, str] | None:
    """Too little diversity, overall or inside a class, three times in a row.

    Too little: below 0.4 of the real and below half of what was reached before; or, once a quarter of the training is
    over, below 0.25 of the real.
    """
    if len(history) < 3:
        return None
    kinds: dict[str, list[float]] = {"all images": [one.diversity for one in history]}
    for name in history[-1].class_diversity:
        kinds[f"class {name}"] = [one.class_diversity.get(name, math.nan) for one in history]
    poor = {}
    for name, values in kinds.items():
        peak = max((value for value in values if not math.isnan(value)), default=math.nan)
        fallen = all(value < min(0.4, 0.5 * peak) for value in values[-3:])
        never = history[-3].progress >= LATE and all(value < 0.25 for value in values[-3:])
        if fallen or never:
            poor[name] = values[-1], peak
    if not poor:
        return None
    worst = min(poor, key=lambda name: poor[name][0])
    value, peak = poor[worst]
    others = f" and {len(poor) - 1} more" if len(poor) > 1 else ""
    return (
        f"the generated samples of {worst}{others} are almost alike: their spread is {value:.2f} of the real samples', "
        f"{peak:.2f} at best",
        "Take an earlier checkpoint; try a penalty (penalties.r1.weight=1), a lower generator.lr, or a wider critic",
    )


def class_not_learnt(history: History) -> tuple[str, str] | None:
    """A class that is read right in less than half of its images, or hardly ever drawn, while others are learnt.

    Three times in a row, once a tenth of the training is over, and not about to mend itself.
    """
    last = history[-3:]
    if len(last) < 3 or last[0].progress < EARLY:
        return None
    for figures, low, said in (
        ([one.class_accuracy for one in last], 0.5, "of its images are read as that class"),
        ([one.class_share for one in last], 0.1, "of its share in the data is drawn"),
    ):
        if not all(figures):
            continue
        missing = [
            name
            for name, now in figures[-1].items()
            if all(one.get(name, 1.0) < low * median(one.values()) for one in figures)
            and now < figures[0].get(name, 1.0) + 0.1
        ]
        if missing and median(figures[-1].values()) >= 0.6:
            worst = min(missing, key=figures[-1].__getitem__)
            more = f" (also {', '.join(name for name in missing if name != worst)})" if len(missing) > 1 else ""
            usual = median(figures[-1].values())
            return (
                f"class {worst}{more}: {figures[-1][worst]:.0%} {said}, {usual:.0%} in the median class",
                "Check its labels and how many images it has; try condition.method=embed, or train longer",
            )
    return None


def memorisation(history: History) -> tuple[str, str] | None:
    """The share of copies, `Nearest.memorised`, exceeds that among held-out real samples by more than 0.1."""
    last = history[-2:]
    if len(last) < 2 or any(not one.memorised > one.memorised_floor + 0.1 for one in last):
        return None
    now = last[-1]
    return (
        f"{now.memorised:.0%} of the generated samples are copies of training samples ({now.memorised_floor:.0%} of "
        "held-out real ones)",
        "Take an earlier checkpoint, more data, data.mirror=true, a smaller generator, or a larger penalties.r1.weight",
    )


def oscillation(history: History) -> tuple[str, str] | None:
    """The Frechet distance swings by more than a factor of two, up and down again, over eight scores."""
    if len(history) < 8:
        return None
    values = [max(one.fid, one.floor) for one in history[-8:]]
    if not all(map(math.isfinite, values)):
        return None
    logs = [math.log(max(value, 1e-12)) for value in values]
    swings = turns(logs, math.log(2))
    if swings < 4:
        return None
    return (
        f"the Frechet distance went up and down over eight scores, between {min(values):.3g} and {max(values):.3g}",
        "Try lower learning rates, optimizer.betas=[0, 0.99], average.half_life=10000, or penalties.r1.weight=1",
    )


def turns(values: Sequence[float], least: float) -> int:
    """How often a curve goes up or down by at least so much; a longer way in one direction counts once.

    >>> turns([0, 1, 0, 1, 0], 0.9), turns([4, 3, 2, 1, 0], 0.9), turns([0, 0.1, 0], 0.9)
    (4, 1, 0)
    """
    count, direction, low, high = 0, 0, values[0], values[0]
    for value in values:
        low, high = min(low, value), max(high, value)
        if direction <= 0 and value - low >= least:
            count, direction, high = count + 1, 1, value
        elif direction >= 0 and high - value >= least:
            count, direction, low = count + 1, -1, value
    return count


#: the keys of the recipe's diagnosis, but for divergence, which the training loop finds itself
RULES: dict[str, Rule] = {
    "critic_ahead": critic_ahead,
    "vanishing_gradient": vanishing_gradient,
    "collapse": collapse,
    "class_not_learnt": class_not_learnt,
    "memorisation": memorisation,
    "oscillation": oscillation,
}


def diagnose(history: History) -> list[Finding]:
    """What the rules find at the end of this history."""
    found = {name: rule(history) for name, rule in RULES.items()}
    return [Finding(name, history[-1].step, *words) for name, words in found.items() if words is not None]
