"""The residual generator of CycleGAN (Zhu 2017, after Johnson 2016): a picture becomes another of the same size.

Two convolutions of stride 2, residual blocks at a quarter of the side, and two enlargements; each convolution but the
last is normalised per image (Ulyanov 2016), and edges are reflected. Pixels are repeated, convolved and blurred where
the paper has transposed convolutions, whose kernels overlap unevenly and leave a checkerboard (Odena 2016). What was
seen at each size on the way down is added on the way up (after Ronneberger 2015), so that what need not change is
sharp and in its place after some hundred steps; the picture itself in its place would hold back every change.
Convolutional throughout: pictures of any size.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad, relu

from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks.dcgan import AXES, initialise
from zerosum.networks.operators import Enlarge, InstanceNorm


class Reflected(nn.Conv2d):
    """A convolution that keeps the size (stride 1) or halves it (2); edges are reflected, or repeated if too short."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        edge = self.kernel_size[0] // 2
        mode = "reflect" if min(x.shape[2:]) > edge else "replicate"
        return conv2d(pad(x, (edge, edge, edge, edge), mode=mode), self.weight, self.bias, self.stride)


class Enlarged(Enlarge):
    """`Enlarge` with repeated edges and no bias, then a blur by 1 2 1: (N, C, H, W) -> (N, outputs, 2H, 2W).

    Of repeated pixels alone a mesh as fine as they are remains; blurred they are a bilinear enlargement (Karras 2019).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        big = super().forward(pad(x, (1, 1, 1, 1), mode="replicate"))[:, :, 1:-1, 1:-1]
        return avg_pool2d(avg_pool2d(big, 2, 1), 2, 1)


class Block(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))): (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second, self.norm = Reflected(width, width, 3), Reflected(width, width, 3), InstanceNorm()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.second(relu(self.norm(self.first(x)))))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """z (N, 0), given pictures (N, C, H, W) -> images (N, channels, H, W) in [-1, 1]; H and W are multiples of 8.

    width: channels at the full size; 4 times as many at a quarter of it, where the blocks are. skips: from the way down
    to the way up; the paper has none.
    """

    #: each picture is drawn for itself, so that several may go through together
    alone = True
    #: sides of pictures are made multiples of this: quarters of them are even, so that their edges can be reflected
    multiple = 8

    axes = AXES

    def __init__(self, spec: PictureSpec, latent: int, width: int = 64, blocks: int = 6, skips: bool = True) -> None:
        super().__init__()
        if spec.input is None or spec.input.factor != 1:
            raise ZerosumError("generator.network = resnet makes pictures of the size that it is given: not of shrunk")
        if latent:
            raise ZerosumError(f"latent.size = {latent}: generator.network = resnet draws nothing: should be 0")
        self.first = Reflected(spec.input.channels, width, 7)
        self.downs = nn.ModuleList([Reflected(width, 2 * width, 3, 2), Reflected(2 * width, 4 * width, 3, 2)])
        self.blocks = nn.Sequential(*(Block(4 * width) for _ in range(blocks)))
        self.ups = nn.ModuleList([Enlarged(4 * width, 2 * width), Enlarged(2 * width, width)])
        self.last = Reflected(width, spec.channels, 7, bias=True)
        self.norm = InstanceNorm()
        initialise(self, "normal")
        self.skips = skips

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        seen = [relu(self.norm(self.first(given)))]
        for down in self.downs:
            seen.append(relu(self.norm(down(seen[-1]))))
        x: Tensor = self.blocks(seen.pop())
        for up in self.ups:
            x, same_size = relu(self.norm(up(x))), seen.pop()
            x = x + same_size if self.skips else x
        return torch.tanh(self.last(x))
