"""U-Net (Isola 2017): down to a few pixels and up again, with every size on the way down at hand on the way up.

Convolutions of stride 2 halve the sides `levels` times; channels double from `width` up to 8 times it. In place
of the authors' transposed convolutions, which leave a checkerboard, sides are enlarged and then convolved (Odena 2016);
the given picture joins at the full size too, for lines of one pixel, which repeated pixels cannot draw.
Instance normalisation (Ulyanov 2016), which is the same in a batch of one; without it where only a few pixels are left.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks.dcgan import AXES, Init, initialise
from zerosum.networks.operators import Down, Enlarge, leaky_relu

#: sides below this hold too few pixels for a mean and a variance of their own
FEW = 4


class Generator(nn.Module):
    """z (N, latent), given (N, C, H, W) -> images (N, channels, H, W) in [-1, 1]; H and W are multiples of `multiple`.

    z, where there is one, joins the picture as constant maps; the authors' noise was dropout, which changed little.
    """

    axes = AXES

    def __init__(
        self,
        spec: PictureSpec,
        latent: int,
        width: int = 64,
        levels: int = 5,
        norm: Literal["instance", "none"] = "instance",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        if spec.input is None or spec.input.factor != 1:
            raise ZerosumError("generator.network = unet keeps a picture's size: it needs data.input = pair or edges")
        if not (1 <= levels <= 8 and width >= 1):
            raise ZerosumError(f"generator.levels = {levels}, width = {width}: up to 8 levels, a channel or more")
        #: sides of pictures are made multiples of this
        self.multiple = 2**levels
        if spec.resolution % self.multiple:
            raise ZerosumError(
                f"generator.levels = {levels}: {spec.resolution} pixels do not halve so often; lower it, or choose "
                "another data.resolution"
            )
        widths = [min(width * 2**level, 8 * width) for level in range(levels)]  # at half the side, a quarter, ...

        def norms(upward: bool) -> nn.ModuleList:
            sides = [spec.resolution >> (level + 1) for level in range(levels)]
            chosen = range(levels - 2, -1, -1) if upward else range(1, levels)  # none on the outermost
            return nn.ModuleList(
                nn.InstanceNorm2d(widths[at], affine=True) if norm == "instance" and sides[at] >= FEW else nn.Identity()
                for at in chosen
            )

        self.first = Down(spec.input.channels + latent, widths[0], 4)
        self.downs = nn.ModuleList(Down(a, b, 4) for a, b in zip(widths, widths[1:], strict=False))
        self.down_norms = norms(upward=False)
        into = [widths[-1], *(2 * channels for channels in widths[-2::-1])]  # a size read on the way down joins
        fine = max(1, width // 2)
        self.ups = nn.ModuleList(Enlarge(a, b) for a, b in zip(into, [*widths[-2::-1], fine], strict=True))
        self.up_norms = norms(upward=True).append(nn.Identity())
        self.last = nn.Conv2d(fine + spec.input.channels, spec.channels, 3, 1, 1)
        initialise(self, init)

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        x = given
        if z.shape[1]:
            x = torch.cat([x, z[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
        x = leaky_relu(self.first(x), 0.2)
        seen = [given, x]
        for down, norm in zip(self.downs, self.down_norms, strict=True):
            x = leaky_relu(norm(down(x)), 0.2)
            seen.append(x)
        for up, norm, beside in zip(self.ups, self.up_norms, seen[-2::-1], strict=True):
            x = torch.cat([relu(norm(up(x))), beside], 1)
        return torch.tanh(self.last(x))
