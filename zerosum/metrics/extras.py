"""Scores that one kind of data has beyond the general ones: `Extra`."""

from typing import Any, Protocol

from torch import Tensor


class Extra(Protocol):
    """What is known of a set of samples, which come in batches, and what comparing two such sets gives.

    Its scores are named and explained in zerosum.metrics.vocabulary.
    """

    #: real samples that are looked at, at most
    most: int

    def add(self, samples: Tensor, /) -> Any:
        """samples: (N, ...) as scores look at them."""

    def compare(self, real: Any, /) -> dict[str, float]:
        """Scores of this set, of generated samples or of further real ones, against real ones, or NaN."""
