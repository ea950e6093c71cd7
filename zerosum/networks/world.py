"""A world to act in: the next frame from the last frames, the user's action and a style, again and again.

A small U-Net (Ronneberger 2015) says of every pixel from where in the last frame it comes (flow, Zhou 2016), what it
would be if it were painted anew, and how much of it is (mask): what moves stays sharp, what comes into view is painted.
Actions, style and latent scale and shift its maps (FiLM, Perez 2018), so that they change how things move.

The generator takes each frame that it makes into its history and goes on, so that it is trained on what it will be fed
with: its own frames.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, pixel_shuffle

from zerosum.data.pictures.spec import PictureSpec
from zerosum.errors import ZerosumError
from zerosum.networks.dcgan import AXES
from zerosum.networks.operators import leaky_relu

#: flow of 1, as a share of half the width or height of a frame
REACH = 0.1


class Block(nn.Module):
    """A convolution whose maps are scaled and shifted by what is done: (N, inputs, H, W) -> (N, outputs, ...)."""

    def __init__(self, inputs: int, outputs: int, acts: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2)
        self.act = nn.Linear(acts, 2 * outputs)
        nn.init.kaiming_normal_(self.conv.weight, 0.2)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.act.weight, 0.0, 0.1)
        nn.init.zeros_(self.act.bias)

    def forward(self, x: Tensor, act: Tensor) -> Tensor:
        scale, shift = self.act(act)[:, :, None, None].chunk(2, 1)
        return leaky_relu(torch.addcmul(shift, self.conv(x), 1 + scale), 0.2)


class Generator(nn.Module):
    """z (N, latent), given (N, C, H, W) as data/pictures/drives.py makes it -> frames (N, channels * ahead, H, W).

    How many frames are made follows from the channels of what is given: one for each set of actions in it. Sides are
    multiples of 8, `depth` halvings.
    """

    multiple = 8

    axes = AXES

    def __init__(self, spec: PictureSpec, latent: int, width: int = 32, blocks: int = 2) -> None:
        super().__init__()
        rules = spec.input
        if width % 4:
            raise ZerosumError(f"generator.width = {width}: should be a multiple of 4")
        if rules is None or not rules.frames:
            raise ZerosumError(
                "generator.network = world makes the next frames of a drive: it needs data.input = drive"
            )
        if spec.resolution % self.multiple:
            raise ZerosumError(
                f"data.resolution = {spec.resolution}: network world needs a multiple of {self.multiple}"
            )
        self.channels, self.frames, self.style = spec.channels, rules.frames, rules.style
        self.actions = len(rules.actions)
        given, acts = spec.channels * rules.frames, self.actions + rules.style + latent
        one, two, four = width, 2 * width, 4 * width
        self.downs = nn.ModuleList(
            Block(a, b, acts, 4, 2) for a, b in ((given, one), (one, two), (two, four))
        )  # sides / 2, / 4, / 8
        self.middle = nn.ModuleList(Block(four, four, acts) for _ in range(blocks))
        # to sides / 4, / 2, and there
        self.ups = nn.ModuleList(
            Block(a, b, acts) for a, b in ((four, 4 * one), (one + two, 3 * one), (one + 3 * one // 4, one))
        )
        self.last = nn.Conv2d(one, 4 * (3 + spec.channels), 3, 1, 1)
        nn.init.normal_(self.last.weight, 0.0, 0.01)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        cut = self.channels * self.frames
        history = given[:, :cut]
        told = given[:, cut:, 0, 0]
        actions = told[:, : told.shape[1] - self.style].reshape(len(z), -1, self.actions)
        still = torch.cat([told[:, told.shape[1] - self.style :], z], 1)
        made = []
        for action in actions.unbind(1):
            frame = self.next(history, torch.cat([action, still], 1))
            history = torch.cat([history[:, self.channels :], frame], 1)
            made.append(frame)
        return torch.cat(made, 1)

    def next(self, history: Tensor, act: Tensor) -> Tensor:
        """(N, channels * frames, H, W) and what is done, with style and latent, (N, acts) -> (N, channels, H, W)."""
        x, seen = history, []
        for down in self.downs:
            x = down(x, act)
            seen.append(x)
        for block in self.middle:
            x = x + block(x, act)
        for up, beside in zip(self.ups, (seen[1], seen[0], None), strict=True):
            x = up(x, act)
            x = x if beside is None else torch.cat([pixel_shuffle(x, 2), beside], 1)
        flow, mask, paint = torch.split(pixel_shuffle(self.last(x), 2).float(), [2, 1, self.channels], 1)
        moved = warp(history[:, -self.channels :].float(), REACH * flow)
        return torch.lerp(moved, torch.tanh(paint), torch.sigmoid(mask - 2))


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Each pixel from where flow (N, 2, H, W) says: right and down from itself, in halves of the image's sides."""
    height, width = images.shape[2:]
    across = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
    down = (torch.arange(height, device=images.device) * 2 + 1) / height - 1
    grid = torch.stack([across.expand(height, width), down[:, None].expand(height, width)], 2) + flow.permute(
        0, 2, 3, 1
    )
    return grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(-1, 1)
