"""What looks at samples for scores: `Looking`; and what somebody wants to be scored, and how: `Request`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zerosum.data.spec import Spec

#: generated samples that are scored where nothing else is said
USUAL = 10_000
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Looking:
    """Which features samples are scored by, and where they are computed."""

    features: str | nn.Module = "auto"
    device: torch.device = CPU
    #: whether what must be learnt first is learnt in bfloat16
    bf16: bool = False
    #: weights of the Inception network
    inception: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Request(Looking):
    """See `zerosum.score` for the parts."""

    #: how many; None: USUAL, or as many as there are
    n: int | None
    against: Any
    #: where mu and sigma of the real samples are written
    statistics: Path | None = None
    #: values of the data section by their keys, checked
    overrides: Mapping[str, Any] = field(default_factory=dict)
    fake_labels: Any = None
    real_labels: Any = None
    #: name -> a function of generated and real samples, see zerosum.metrics.own
    own: Mapping[str, Callable[[Tensor, Tensor], Any]] = field(default_factory=dict)


class Drawer(Protocol):
    """What scores ask of a trained generator; every Gan is one."""

    @property
    def spec(self) -> Spec: ...

    @property
    def conditional(self) -> bool: ...

    def batches(self, n: int, size: int = 256) -> Iterable[tuple[Tensor, Tensor | None]]: ...
