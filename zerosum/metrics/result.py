"""What scoring gives: `Scores`; and what gives it: `Measure`."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from zerosum.data.spec import Spec
from zerosum.metrics.vocabulary import kind_of

#: generated samples as scores look at them, in batches (N, ...), with their labels (N, attributes) or None
Images = Iterable[tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Scores:
    """Numbers that belong together, with all that is needed to know what they mean."""

    #: name such as fid10k@classifier -> value, NaN where these images allow none; its error, as `ERRORS` says, where
    #: there is one; and what real samples get
    scores: dict[str, float]
    errors: dict[str, float]
    floor: dict[str, float]
    #: name of a class -> its own scores
    classes: dict[str, dict[str, float]]
    #: how the numbers were made
    stamp: dict[str, Any]
    #: seconds spent on each part
    seconds: dict[str, float] = field(default_factory=dict, compare=False)
    #: the generated samples nearest to training samples: (pairs, 2, ...), as scores look at them
    pairs: Tensor | None = field(default=None, compare=False, repr=False)
    #: of images made from pictures: a way to make them without a network -> its own values
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    #: what a reader of the numbers should know, such as that they are of few images
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON; baselines and notes only where there are some."""
        values = asdict(replace(self, pairs=None))
        del values["pairs"]
        return {key: value for key, value in values.items() if value or key not in ("baselines", "notes")}

    def value(self, kind: str) -> float:
        """By the first word of its name: value("fid")."""
        return next((value for name, value in self.scores.items() if kind_of(name) == kind), math.nan)


class Measure(Protocol):
    """What scores generated samples of some kind of data; `Yardstick` is the usual one and says what the parts mean."""

    spec: Spec

    @property
    def most(self) -> int: ...

    def stamp(self, count: int) -> dict[str, Any]: ...

    def floor(self, count: int, labelled: bool, cheap: bool) -> dict[str, float]: ...

    def kinds(self, count: int, labelled: bool, cheap: bool) -> set[str]: ...

    def measure(self, fakes: Images, count: int, labelled: bool, cheap: bool = False) -> Scores: ...
