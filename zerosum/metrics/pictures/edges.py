"""How sharp pictures are: `Edges`, what scores of pictures have beyond those of any data."""

import math

from torch import Tensor


class Edges:
    """Strength of edges in images that come in batches: root mean square of the Laplacian of their brightness.

    The usual measure of focus (Pech-Pacheco 2000 take its square). Blur lowers it, noise raises it.
    """

    #: real images that are looked at
    most = 2_000

    def __init__(self) -> None:
        self.count = 0
        self.squares = 0.0

    def add(self, pixels: Tensor) -> "Edges":
        """pixels: uint8 (N, channels, side, side) with a side of at least 3."""
        grey = pixels.float().mean(1)
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        self.squares += float((around - 4 * grey[:, 1:-1, 1:-1]).square().mean((1, 2)).double().sum())
        self.count += len(pixels)
        return self

    @property
    def strength(self) -> float:
        return math.sqrt(self.squares / max(self.count, 1))

    def compare(self, real: "Edges") -> dict[str, float]:
        """sharpness: the strength over that of real images; NaN where those have next to no edges."""
        return {"sharpness": self.strength / real.strength if real.strength > 1e-12 else math.nan}
