"""What somebody asks of a trained generator: `Order`, one for all kinds of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Order:
    """Files of samples. What a generator cannot do it refuses; see `zerosum sample --help` for the parts."""

    #: where files go; None: a place of the generator's choice in `folder`
    out: Path | None = None
    folder: Path = Path()
    #: how many, in one file, from seeds 0 on; or one file for each of these seeds
    n: int = 64
    seeds: Sequence[int] | None = None
    #: of the only attribute, and of attributes by their names
    label: str | int | None = None
    where: Mapping[str, Any] | None = None
    #: what the generator starts from: a file, a folder or a zip
    given: Path | None = None
    #: of a generator with two directions, the domain that samples become part of
    to: str | None = None
    #: what is done in a world, each for an equal share of the frames
    actions: Sequence[Mapping[str, float]] | None = None
    frames: int = 60
