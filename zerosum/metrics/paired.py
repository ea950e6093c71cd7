"""Scores of images that each have a true one: how near they come to it, beside how real they look."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from zerosum.data.source import Source
from zerosum.metrics.evaluate import Images, Scores, Yardstick
from zerosum.metrics.features import Extractor, Reals


class PairedYardstick(Yardstick):
    """A yardstick for images made from pictures, which come in the order of the reference.

    Of the true images themselves neither score says anything, so that both have no floor.
    """

    @classmethod
    def of(cls, source: Source, held_out: Source, extractor: Extractor) -> "PairedYardstick":
        training, testing = Reals.of(source, "train"), Reals.of(held_out, "test")
        return cls(extractor, testing, training, training)

    @property
    def most(self) -> int:
        return len(self.reference)

    def measure(self, fakes: Images, count: int, labelled: bool, cheap: bool = False) -> Scores:
        sums, start = {"psnr": 0.0, "ssim": 0.0}, 0

        def compared() -> Iterator[tuple[Tensor, Tensor | None]]:
            nonlocal start
            for pixels, labels in fakes:
                true = self.reference.pixels(start, start + len(pixels))
                sums["psnr"] += float(psnr(pixels, true).sum())
                sums["ssim"] += float(ssim(pixels, true).sum())
                start += len(pixels)
                yield pixels, labels

        scores = super().measure(compared(), count, labelled, cheap)
        own = {f"{kind}{count}": value / count for kind, value in sums.items()}
        return replace(scores, scores=own | scores.scores)


def psnr(images: Tensor, true: Tensor) -> Tensor:
    """Of each image, in dB, from uint8 (N, C, H, W): 10 log10(255^2 / mean squared error), at most 100."""
    error = (images.float() - true.float()).square().mean((1, 2, 3))
    return 10 * torch.log10(255**2 / error.clamp(min=255**2 / 1e10))


def ssim(images: Tensor, true: Tensor) -> Tensor:
    """Of each image, from uint8 (N, C, H, W): Wang 2004, a Gaussian window of 11 pixels and 1.5 wide, no padding.

    Mean over places and channels. Images with fewer than 11 pixels on a side take the largest odd window that fits.
    """
    a, b = images.double(), true.double()
    channels, side = a.shape[1], min(11, min(a.shape[2:]) // 2 * 2 - 1 if min(a.shape[2:]) < 11 else 11)
    offsets = torch.arange(side, dtype=torch.float64) - side // 2
    bell = torch.exp(-offsets.square() / (2 * 1.5**2))
    window = (bell[:, None] * bell / bell.sum() ** 2).expand(channels, 1, side, side)

    def smooth(x: Tensor) -> Tensor:
        return conv2d(x, window, groups=channels)

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean((1, 2, 3))
