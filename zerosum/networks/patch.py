"""PatchGAN (Isola 2017): a critic that judges overlapping patches, one score each, of images of any size.

`layers` convolutions of stride 2 halve the sides, channels double from `width` up to 8 times it, and two of stride 1
follow: with 3 layers a score sees 70x70 pixels, with 2 it sees 34x34. A condition that is a picture is enlarged to the
images' size and stands beside them as further channels.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks.dcgan import AXES, Init, initialise
from zerosum.networks.operators import Down, InstanceNorm, leaky_relu


class Critic(nn.Module):
    """images (N, channels, H, W), condition or None -> raw scores (N, 1, h, w).

    norm instance has no learnt scale, as the authors' code; neither judges an image by its batch.
    """

    together = True
    axes = AXES

    def __init__(
        self,
        spec: PictureSpec,
        method: str = "none",
        width: int = 64,
        layers: int = 3,
        norm: Literal["instance", "none"] = "instance",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        if not 1 <= layers <= 6 or spec.resolution >> layers < 4:
            raise ZerosumError(
                f"critic.layers = {layers}: from 1 to 6, and so many that {spec.resolution} pixels halve to 4 or more"
            )
        self.pictured = method == "given" and spec.input is not None
        inputs = spec.planes + (spec.input.channels if self.pictured and spec.input is not None else 0)
        widths = [min(width * 2**level, 8 * width) for level in range(layers + 1)]
        self.first = Down(inputs, widths[0], 4)
        self.downs = nn.ModuleList(Down(a, b, 4) for a, b in zip(widths, widths[1:-1], strict=False))
        self.last = nn.Conv2d(widths[-2], widths[-1], 4, 1, 1)
        norms = [InstanceNorm() if norm == "instance" else nn.Identity() for _ in widths[1:]]
        self.norms = nn.ModuleList(norms)
        self.score = nn.Conv2d(widths[-1], 1, 4, 1, 1)
        initialise(self, init)

    def forward(self, images: Tensor, given: Tensor | None = None) -> Tensor:
        if self.pictured and given is not None:
            if given.shape[2:] != images.shape[2:]:
                given = interpolate(given, images.shape[2:], mode="nearest")
            images = torch.cat([images, given], 1)
        x = leaky_relu(self.first(images), 0.2)
        for layer, norm in zip([*self.downs, self.last], self.norms, strict=True):
            x = leaky_relu(norm(layer(x)), 0.2)
        scores: Tensor = self.score(x)
        return scores
