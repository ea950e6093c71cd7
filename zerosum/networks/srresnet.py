"""SRResNet (Ledig 2017): residual blocks at the low resolution, then sub-pixel convolutions (Shi 2016) to the high.

Without batch normalisation, as EDSR (Lim 2017), on top of the cubic enlargement, so that the network draws only what
that lacks (Kim 2016, VDSR). Convolutional throughout: pictures of any size.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, relu

from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks.dcgan import AXES


class Block(nn.Module):
    """x + conv(relu(conv(x))), born as x: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, 1, 1) for _ in range(2))
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.zeros_(self.first.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(relu(self.first(x)))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """z (N, latent), given pictures (N, C, H, W) -> images (N, channels, H * factor, W * factor).

    z, where there is one, joins the picture as constant maps.
    """

    #: sides of pictures are made multiples of this
    multiple = 1

    axes = AXES

    def __init__(self, spec: PictureSpec, latent: int, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        if spec.input is None or spec.input.factor < 2:
            raise ZerosumError("generator.network = srresnet makes pictures larger: it needs data.input = shrunk")
        if not (1 <= blocks <= 256 and width >= 2):
            raise ZerosumError(f"generator.blocks = {blocks}, width = {width}: up to 256 blocks, 2 channels or more")
        factor = self.factor = spec.input.factor
        #: pixels of the picture to each side that a pixel depends on: kernels of 5 and 3, and the cubic's 2
        self.reach = 2 + 2 * blocks + 3
        self.first = nn.Conv2d(spec.input.channels + latent, width, 5, 1, 2)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        # the last doubling, the dearest layer by far, ends in half the channels
        widths = [width] * (factor.bit_length() - 1) + [max(1, width // 2)]
        ups = [nn.Conv2d(before, 4 * after, 3, 1, 1) for before, after in zip(widths, widths[1:], strict=False)]
        self.last = nn.Conv2d(widths[-1], spec.channels, 3, 1, 1)
        for up in ups:
            nn.init.kaiming_normal_(up.weight, nonlinearity="relu")
            up.weight.data[:] = up.weight.data[::4].repeat_interleave(4, 0)  # no checkerboard at birth (Aitken 2017)
            nn.init.zeros_(up.bias)  # type: ignore[arg-type]
        self.ups = nn.ModuleList(ups)
        nn.init.normal_(self.last.weight, 0.0, 0.01)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        x = given
        if z.shape[1]:
            x = torch.cat([x, z[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
        first = self.first(x)
        x = first + self.blocks(first)
        for up in self.ups:
            x = relu(pixel_shuffle(up(x), 2))
        return interpolate(given, scale_factor=self.factor, mode="bicubic") + self.last(x)  # type: ignore[no-any-return]
