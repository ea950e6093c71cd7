"""Fully connected networks: the original GAN (Goodfellow 2014) and the original conditional GAN (Mirza 2014).

Both begin with one layer for the sample or z and, under `join`, one for the labels, side by side; then come the
`hidden` layers on what the two gave. The critic's units are maxout (Goodfellow 2013): the largest of `pieces` linear
functions; one piece is a leaky ReLU of slope 0.2 instead.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, relu, softmax

from zerosum.data.spec import Spec
from zerosum.networks.conditioning import ConditionalNorm, Head, multi_hot
from zerosum.networks.operators import leaky_relu

Norm = Literal["batch", "none"]


class Generator(nn.Module):
    """z (N, latent), labels (N, attributes) or None -> samples (N, ...) in [-1, 1], or shares of words that add to 1.

    join: `labels` units read the labels beside the `first` units that read z; embed: conditional batch normalisation of
    the hidden layers; auxiliary: labels are appended to z. init: see `initialise`.
    """

    values = ("signed", "one-hot")

    def __init__(
        self,
        spec: Spec,
        latent: int,
        method: str = "none",
        first: int = 256,
        labels: int = 256,
        hidden: tuple[int, ...] = (512,),
        norm: Norm = "none",
        dropout: float = 0.0,
        init: float = 0.05,
    ) -> None:
        super().__init__()
        self.method, self.sizes, self.dropout = method, spec.sizes, dropout
        self.shape, self.shares = spec.sample.lengths, spec.sample.values == "one-hot"
        hot = sum(spec.sizes)
        self.from_z = nn.Linear(latent + (hot if method == "auxiliary" else 0), first)
        self.from_labels = nn.Linear(hot, labels) if method == "join" else None
        widths = [first + (labels if method == "join" else 0), *hidden]

        def make_norm(units: int) -> nn.Module:
            if method == "embed":
                return ConditionalNorm(units, spec.sizes)
            return nn.BatchNorm1d(units) if norm == "batch" else nn.Identity()

        self.norms = nn.ModuleList(make_norm(units) for units in widths)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.to_image = nn.Linear(widths[-1], math.prod(self.shape))
        initialise(self, init)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        hot = None if labels is None or self.method == "none" else multi_hot(labels, self.sizes)
        if hot is not None and self.method == "auxiliary":
            z = torch.cat([z, hot], 1)
        x = self.from_z(z)
        if self.from_labels is not None:
            x = torch.cat([x, self.from_labels(hot)], 1)
        for norm, layer in zip(self.norms, [*self.hidden, self.to_image], strict=True):
            x = relu(norm(x, hot) if isinstance(norm, ConditionalNorm) else norm(x))
            x = layer(dropout(x, self.dropout, self.training))
        x = x.view(len(z), *self.shape)
        if self.shares:  # the critic sees them as they are (Gulrajani 2017, section 5)
            return softmax(x, -1)
        # 2 * sigmoid(x) - 1: the papers' sigmoid, moved from [0, 1] to [-1, 1]
        return torch.tanh(x / 2)


class Critic(nn.Module):
    """samples (N, ...), labels or None -> raw scores (N,), with label logits under auxiliary.

    `input_dropout` is for the sample, `dropout` for every later layer. init: see `initialise`; the one
    active input of a label may want larger weights than many values do: label_init.
    """

    together = True
    values = ("signed", "one-hot")

    def __init__(
        self,
        spec: Spec,
        method: str = "none",
        first: int = 512,
        labels: int = 64,
        hidden: tuple[int, ...] = (256,),
        pieces: tuple[int, ...] = (1,),
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        init: float = 0.05,
        label_init: float | None = None,
    ) -> None:
        super().__init__()
        self.method, self.sizes = method, spec.sizes
        self.input_dropout, self.dropout = input_dropout, dropout
        values = spec.sample.count
        counts = [*pieces, *[pieces[-1]] * len(hidden)][: len(hidden) + 1]
        self.from_image = Maxout(values, first, counts[0])
        self.from_labels = Maxout(sum(spec.sizes), labels, counts[0]) if method == "join" else None
        widths = [first + (labels if method == "join" else 0), *hidden]
        self.hidden = nn.ModuleList(
            Maxout(before, after, count) for before, after, count in zip(widths, widths[1:], counts[1:], strict=False)
        )
        self.head = Head(widths[-1], method, spec.sizes)
        initialise(self, init)
        if self.from_labels is not None and label_init is not None:
            initialise(self.from_labels, label_init)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        hot = None if labels is None or self.method == "none" else multi_hot(labels, self.sizes)
        values = (samples.flatten(1) + 1) / 2  # the papers' range [0, 1]
        x = self.from_image(dropout(values, self.input_dropout, self.training))
        rest: Iterator[Any] = iter(self.hidden)
        if self.from_labels is not None and hot is not None:
            if len(self.sizes) == 1 and len(self.hidden) > 0 and not (self.dropout and self.training):
                known = self.from_labels(torch.eye(hot.shape[1], device=hot.device))
                x = next(rest).beside(x, known, hot)
            else:
                x = torch.cat([x, self.from_labels(hot)], 1)
        for layer in rest:
            x = layer(dropout(x, self.dropout, self.training))
        return self.head(dropout(x, self.dropout, self.training), hot)  # type: ignore[no-any-return]


class Maxout(nn.Module):
    """(N, inputs) -> (N, units): the largest of `pieces` linear functions; with one piece a leaky ReLU."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(self.linear(x))

    def beside(self, x: Tensor, values: Tensor, hot: Tensor) -> Tensor:
        """self(cat([x, hot @ values])): each row of `values` meets its weights once, not once for every sample."""
        for_x, for_values = torch.split(self.linear.weight, [x.shape[1], values.shape[1]], 1)
        return self._activate(linear(x, for_x, self.linear.bias) + hot @ linear(values, for_values))

    def _activate(self, x: Tensor) -> Tensor:
        return leaky_relu(x, 0.2) if self.pieces == 1 else x.view(len(x), -1, self.pieces).amax(2)


def initialise(network: nn.Module, init: float) -> None:
    """Weights uniform on [-init, init], as in the papers' code; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.uniform_(module.weight, -init, init)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ConditionalNorm):
            nn.init.zeros_(module.affine.weight)
