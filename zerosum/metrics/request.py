"""What somebody wants to be scored, and how: `Request`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zerosum.data.spec import Spec

#: generated samples that are scored where nothing else is said
USUAL = 10_000


@dataclass(frozen=True)
class Request:
    """See `zerosum.score` for the parts."""

    #: how many; None: USUAL, or as many as there are
    n: int | None
    features: str | nn.Module
    against: Any
    device: torch.device
    bf16: bool
    inception: Path | None = None
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
