"""Pictures made from the true ones, as they are asked for: what a generator has to turn back.

shrunk: cubic, anti-aliased, as Pillow and the field's super-resolution benchmarks shrink, in 8 bits as in a file.
edges: dark outlines on white, where brightness changes after a slight blur.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from zerosum.data.pictures.source import PictureSource
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.data.source import Batch, Condition, Index
from zerosum.errors import ZerosumError

#: brightness gradient, of images in [-1, 1], that is drawn black
BLACK = 0.5


@dataclass(frozen=True, repr=False)
class ViewSource(PictureSource):
    """Images, each with a view of itself as its condition."""

    view: Callable[[Tensor], Tensor] = lambda images: images

    def pick(self, index: Index, device: torch.device | str = "cpu", chances: Tensor | None = None) -> Batch:
        images = super().pick(index, device, chances).real
        view = self.view(images).contiguous(memory_format=torch.channels_last)
        return Batch(images, Condition(given=view))


def shrunk_source(source: PictureSource, factor: int) -> ViewSource:
    """Images with themselves, `factor` times smaller. Raises ZerosumError for a resolution that it does not divide."""
    spec = source.spec
    if spec.resolution % factor or spec.resolution < 4 * factor:
        raise ZerosumError(
            f"data.factor = {factor}: a resolution of {spec.resolution} does not shrink by it to 4 pixels or more"
        )
    spec = source.unlabelled().spec.with_input(Input(spec.channels, factor, range=spec.range))
    return _viewed(source, spec, lambda images: shrink(images, factor))


def edges_source(source: PictureSource) -> ViewSource:
    """Images with their outlines."""
    spec = source.unlabelled().spec.with_input(Input(1))
    return _viewed(source, spec, outlines)


def _viewed(source: PictureSource, spec: PictureSpec, view: Callable[[Tensor], Tensor]) -> ViewSource:
    return ViewSource(source.stored, None, spec, source.rows, augment=source.augment, view=view)


def shrink(images: Tensor, factor: int) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, C, H / factor, W / factor), 8-bit values."""
    small = interpolate(images, scale_factor=1 / factor, mode="bicubic", antialias=True)
    return small.add(1).mul(127.5).round().clamp(0, 255).div(127.5).sub(1)


def enlarge(images: Tensor, factor: int) -> Tensor:
    """The usual way back, cubic as Pillow: (N, C, H, W) in [-1, 1] -> (N, C, H * factor, W * factor)."""
    return interpolate(images, scale_factor=factor, mode="bicubic", antialias=True).clamp(-1, 1)


def outlines(images: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, 1, H, W): 1 where nothing is, -1 on a strong edge (Sobel's gradient, blurred)."""
    grey = images[:, :3].mean(1, keepdim=True)
    soft = torch.tensor([0.25, 0.5, 0.25], device=images.device)
    slope = torch.tensor([-0.5, 0.0, 0.5], device=images.device)
    across = conv2d(pad(grey, (2, 2, 2, 2), mode="replicate"), (soft[:, None] * soft)[None, None])
    kernels = torch.stack([soft[:, None] * slope, slope[:, None] * soft])[:, None]
    strength = conv2d(across, kernels).square().sum(1, keepdim=True).sqrt()
    return 1 - 2 * (strength / BLACK).clamp(max=1)
