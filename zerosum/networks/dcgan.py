"""DCGAN (Radford 2016): convolutions of stride 2 between the image and 4x4, at any power-of-two resolution.

Channels double from one resolution to the next lower: `width` at half the image's side, 2 * width below, ... up to
`max_width`. Kernels of 4 follow the authors' Torch code (dcgan.torch), 5 the paper's figure. With `norm` "none" and
`init` "he" these are the networks of WGAN-GP (Gulrajani 2017).

The projection of z to 4x4 and the critic's last convolution see their whole input at once, so both are matrix products;
they are laid out channels last, (N, 4, 4, C), like the convolutions beside them.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, setting
from zerosum.networks.conditioning import ConditionalNorm, Head, multi_hot
from zerosum.networks.operators import BatchNorm, Down, Up, leaky_relu

Norm = Literal["batch", "none"]
Init = Literal["normal", "he"]

#: of the samples that these networks make and look at
AXES = ("channel", "height", "width")


class Generator(nn.Module):
    """z (N, latent), labels (N, attributes) or None -> images (N, channels, side, side) in [-1, 1].

    join: the 4x4 block is half from z and half from the labels, each normalised on its own; embed: every normalisation
    is conditional; auxiliary: labels are appended to z.
    """

    axes = AXES

    def __init__(
        self,
        spec: Spec,
        latent: int,
        method: str = "none",
        width: int = 64,
        kernel: int = 4,
        norm: Norm = "batch",
        init: Init = "normal",
        max_width: int = 1024,
    ) -> None:
        super().__init__()
        if method == "embed" and norm == "none":
            raise ZerosumError(
                "generator.norm = none: condition.method embed works through the normalisation: use batch"
            )
        self.method, self.sizes = method, spec.sizes
        widths = channels_below(spec, width, max_width)[::-1]
        hot = sum(spec.sizes)
        bias = norm == "none"
        branch = widths[0] // 2 if method == "join" else widths[0]
        self.from_z = nn.Linear(latent + (hot if method == "auxiliary" else 0), 16 * branch, bias)
        self.from_labels = nn.Linear(hot, 16 * (widths[0] - branch), bias) if method == "join" else None

        def make_norm(channels: int) -> nn.Module:
            if method == "embed":
                return ConditionalNorm(channels, spec.sizes)
            return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()

        # of the two branches the normalisation is the same as each one's own: it works channel by channel
        self.norms = nn.ModuleList(make_norm(channels) for channels in widths)
        self.ups = nn.ModuleList(
            Up(before, after, kernel, bias) for before, after in zip(widths, widths[1:], strict=False)
        )
        self.to_image = Up(widths[-1], spec.sample.axes["channel"], kernel)
        initialise(self, init)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        hot = None if labels is None or self.method == "none" else multi_hot(labels, self.sizes)
        if hot is not None and self.method == "auxiliary":
            z = torch.cat([z, hot], 1)
        x = self.from_z(z).view(len(z), 4, 4, -1)
        if self.from_labels is not None:
            x = torch.cat([x, self.from_labels(hot).view(len(z), 4, 4, -1)], 3)
        x = x.permute(0, 3, 1, 2)  # (N, C, 4, 4) in channels-last memory
        for norm, up in zip(self.norms, [*self.ups, self.to_image], strict=True):
            x = up(relu(norm(x, hot) if isinstance(norm, ConditionalNorm) else norm(x), inplace=True))
        return torch.tanh(x)


class Critic(nn.Module):
    """images (N, channels, side, side), labels or None -> raw scores (N,), with label logits under auxiliary.

    join: half of the first layer's channels come from the labels, drawn as constant maps; embed, auxiliary: see Head.
    """

    together = True
    axes = AXES

    def __init__(
        self,
        spec: Spec,
        method: str = "none",
        width: int = 64,
        kernel: int = 4,
        norm: Norm = "batch",
        init: Init = "normal",
        max_width: int = 1024,
    ) -> None:
        super().__init__()
        self.method, self.sizes, self.side = method, spec.sizes, spec.sample.axes["height"]
        widths = channels_below(spec, width, max_width)
        branch = widths[0] // 2 if method == "join" else widths[0]
        self.from_image = Down(spec.sample.axes["channel"], branch, kernel)
        self.from_labels = Down(sum(spec.sizes), widths[0] - branch, kernel) if method == "join" else None
        self.downs = nn.ModuleList(
            Down(before, after, kernel, norm == "none") for before, after in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(BatchNorm(c) if norm == "batch" else nn.Identity() for c in widths[1:])
        self.head = Head(16 * widths[-1], method, spec.sizes)
        initialise(self, init)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        hot = None if labels is None or self.method == "none" else multi_hot(labels, self.sizes)
        x = self.from_image(images)
        if self.from_labels is not None and hot is not None:
            x = torch.cat([x, label_maps(self.from_labels, hot, self.side)], 1)
        x = leaky_relu(x, 0.2)
        for down, norm in zip(self.downs, self.norms, strict=True):
            x = leaky_relu(norm(down(x)), 0.2)
        return self.head(x.permute(0, 2, 3, 1).flatten(1), hot)  # type: ignore[no-any-return]


def label_maps(layer: nn.Conv2d, hot: Tensor, side: int) -> Tensor:
    """layer(constant maps of hot, (N, labels, side, side)): convolved once for each label, then summed."""
    planes = torch.eye(hot.shape[1], device=hot.device)[:, :, None, None].expand(-1, -1, side, side)
    maps = conv2d(planes, layer.weight, None, 2, layer.padding).permute(0, 2, 3, 1)  # (labels, side / 2, side / 2, C)
    summed = (hot @ maps.flatten(1)).view(len(hot), *maps.shape[1:])
    return (summed if layer.bias is None else summed + layer.bias).permute(0, 3, 1, 2)


def channels_below(spec: Spec, width: int, max_width: int) -> list[int]:
    """Channels at half the side, a quarter, ... down to 4x4; ZerosumError for a side that is not 4 * 2^k."""
    height, side = spec.sample.sides
    levels = math.log2(side) - 2
    if height != side or levels < 1 or levels != int(levels):
        advice = setting("data.resolution", 32) if spec.modality == "picture" else "choose network mlp, or an own one"
        raise ZerosumError(
            f"samples of {height}x{side}: the dcgan networks make squares whose sides are powers of two from 8 on: "
            f"{advice}"
        )
    if width < 2 or max_width < width:
        raise ZerosumError(f"width = {width}, max_width = {max_width}: expected 2 <= width <= max_width")
    return [min(width * 2**level, max_width) for level in range(int(levels))]


def initialise(network: nn.Module, init: Init) -> None:
    """normal: weights N(0, 0.02), gains N(1, 0.02) (Radford 2016). he: as the WGAN-GP authors' code, scaled by the mean
    of fan-in and fan-out, convolutions with twice the variance of the linear layers."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine and init == "normal":
            nn.init.normal_(module.weight, 1.0, 0.02)
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            continue
        if isinstance(getattr(module, "bias", None), Tensor):
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        if init == "normal":
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        else:
            # each output of a stride-2 convolution is read by a quarter of the kernel's places, and the reverse
            taps = math.prod(module.kernel_size)
            shrinks = isinstance(module, nn.Conv2d)
            fan_in = module.in_channels * taps / (1 if shrinks else 4)
            fan_out = module.out_channels * taps / (4 if shrinks else 1)
            nn.init.uniform_(module.weight, -(bound := math.sqrt(12 / (fan_in + fan_out))), bound)
    for module in network.modules():
        if isinstance(module, ConditionalNorm):
            nn.init.zeros_(module.affine.weight)
