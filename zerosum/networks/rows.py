"""Networks for rows of tables, as CTGAN has them (Xu 2019, "Modeling Tabular data using Conditional GAN").

A row is spans of numbers side by side: those from -1 to 1, and categories as shares that add to 1. The generator draws
each category from the probabilities that it gives, by the Gumbel-softmax (Jang 2017, Maddison 2017).
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from zerosum.data.columns import parse_spans
from zerosum.data.shape import Shape
from zerosum.errors import ZerosumError, setting
from zerosum.networks.conditioning import ConditionalNorm, Head, Sizes, multi_hot
from zerosum.networks.operators import leaky_relu

#: entries of z at least, and those that advice leaves, beside the ones that draw categories
LEAST, ENOUGH = 8, 64


class Rows(Protocol):
    """What these networks read of the data."""

    @property
    def sample(self) -> Shape:
        """{"column": numbers of a row}"""

    @property
    def facts(self) -> Mapping[str, Any]:
        """spans: [["signed" | "one-hot", start, stop], ...], which cover a row."""

    @property
    def sizes(self) -> Sizes:
        """Values of each attribute of the labels."""


#: of the samples that these networks make and look at
AXES = ("column",)


class Generator(nn.Module):
    """z (N, latent), labels (N, attributes) or None -> rows (N, numbers): from -1 to 1, or shares of categories.

    z must be normal. Its last entries, one for each category of each column, are the chance by which categories are
    drawn, so that a row is a function of z alone; the layers read the others. Each of the `depth` hidden layers, with
    batch normalisation, is joined to its own input (Xu 2019, section 4.4). temperature: of the Gumbel-softmax; the
    lower, the nearer a category is to one 1 among zeros.

    join: `labels` units read the labels beside z; embed: conditional batch normalisation; auxiliary: labels are
    appended to z. Raises ZerosumError for a latent that is too small.
    """

    axes, values = AXES, ("mixed",)
    distributions = ("normal",)

    @staticmethod
    def latent_size(spec: Rows) -> int:
        """What latent.size = auto is for this data."""
        spans = parse_spans(spec.facts["spans"], spec.sample.count)
        return ENOUGH + sum(stop - start for kind, start, stop in spans if kind == "one-hot")

    def __init__(
        self,
        spec: Rows,
        latent: int,
        method: str = "none",
        width: int = 256,
        depth: int = 2,
        labels: int = 64,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        self.method, self.sizes, self.temperature = method, spec.sizes, temperature
        self.spans = parse_spans(spec.facts["spans"], spec.sample.count)
        self.chances = sum(stop - start for kind, start, stop in self.spans if kind == "one-hot")
        if latent < self.chances + LEAST:
            raise ZerosumError(
                f"latent.size = {latent} is too small: {self.chances} entries draw the categories of a row, and at "
                f"least {LEAST} more are needed: {setting('latent.size', self.chances + ENOUGH)}"
            )
        if temperature <= 0:
            raise ZerosumError(f"generator.temperature = {temperature:g}: should be greater than 0")
        hot = sum(spec.sizes)
        self.from_labels = nn.Linear(hot, labels) if method == "join" else None
        inputs = latent - self.chances + {"join": labels, "auxiliary": hot}.get(method, 0)
        self.hidden = nn.ModuleList(nn.Linear(inputs + index * width, width) for index in range(depth))
        self.norms = nn.ModuleList(
            ConditionalNorm(width, spec.sizes) if method == "embed" else nn.BatchNorm1d(width) for _ in range(depth)
        )
        self.to_row = nn.Linear(inputs + depth * width, spec.sample.count)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        hot = None if labels is None or self.method == "none" else multi_hot(labels, self.sizes)
        x, chance = torch.split(z, [z.shape[1] - self.chances, self.chances], 1)
        if self.from_labels is not None:
            x = torch.cat([x, self.from_labels(hot)], 1)
        elif hot is not None and self.method == "auxiliary":
            x = torch.cat([x, hot], 1)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            y = layer(x)
            x = torch.cat([relu(norm(y, hot) if isinstance(norm, ConditionalNorm) else norm(y)), x], 1)
        return self._row(self.to_row(x).float(), gumbel(chance))

    def _row(self, x: Tensor, noise: Tensor) -> Tensor:
        parts, place = [], 0
        for kind, start, stop in self.spans:
            part = x[:, start:stop]
            if kind == "signed":
                parts.append(torch.tanh(part))
            else:
                parts.append(torch.softmax((part + noise[:, place : place + stop - start]) / self.temperature, 1))
                place += stop - start
        return torch.cat(parts, 1)


class Critic(nn.Module):
    """rows (N, numbers), labels or None -> raw scores (N,), with label logits under auxiliary.

    `depth` layers of `width` units, leaky ReLUs of slope 0.2. join: `labels` units read the labels beside the row.
    """

    together = True
    axes, values = AXES, ("mixed",)

    def __init__(self, spec: Rows, method: str = "none", width: int = 256, depth: int = 2, labels: int = 64) -> None:
        super().__init__()
        self.method, self.sizes = method, spec.sizes
        self.from_labels = nn.Linear(sum(spec.sizes), labels) if method == "join" else None
        widths = [spec.sample.count + (labels if method == "join" else 0), *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.head = Head(widths[-1], method, spec.sizes)

    def forward(self, rows: Tensor, labels: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        hot = None if labels is None or self.method == "none" else multi_hot(labels, self.sizes)
        x = rows if self.from_labels is None else torch.cat([rows, self.from_labels(hot)], 1)
        for layer in self.hidden:
            x = leaky_relu(layer(x), 0.2)
        return self.head(x, hot)  # type: ignore[no-any-return]


def gumbel(z: Tensor) -> Tensor:
    """Normal noise as noise of Gumbel's distribution, of which the largest of x + noise is x's i-th with the
    probability softmax(x)[i] (Maddison 2014): -log(-log(P)), where P is the normal distribution function at z.
    """
    return -torch.log(-torch.special.log_ndtr(z))
