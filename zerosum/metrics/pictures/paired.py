"""Scores of images that each have a true one: how near they come to it, beside how real they look."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from zerosum.data.pictures.spec import pictured
from zerosum.data.pictures.views import enlarge
from zerosum.data.source import Batch, Source
from zerosum.metrics.evaluate import Yardstick
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.features import BATCH, Reals
from zerosum.metrics.result import Images, Scores

#: a way to make images from pictures without a network
Baseline = Callable[[Batch], Tensor]


class PairedYardstick(Yardstick):
    """A yardstick for images made from held-out pictures, which come in the order of the true ones.

    psnr and ssim compare each image with its own true one; the true images themselves have no floor there. All other
    scores compare with further real images, the training ones: held against the very images that they were made from,
    blurred ones would seem nearer than any other real images are. There the true images are the floor.
    """

    def __init__(self, extractor: Extractor, true: Reals, others: Reals) -> None:
        super().__init__(extractor, others, true, others)
        self.true = true

    @classmethod
    def of(cls, source: Source, held_out: Source | None, extractor: Extractor) -> "PairedYardstick":
        """held_out: where there is none, one half of the training images is made again and compared with the other."""
        training = Reals.of(source, "train")
        if held_out is None:
            return cls(extractor, training.half(0), training.half(1))
        return cls(extractor, Reals.of(held_out, "test"), training)

    @property
    def most(self) -> int:
        return len(self.true)

    def kinds(self, count: int, labelled: bool, cheap: bool) -> set[str]:
        return super().kinds(count, labelled, cheap) | {"psnr", "ssim"}

    def stamp(self, count: int) -> dict[str, Any]:
        return super().stamp(count) | {"true": self.true.identity, "true_split": self.true.split}

    def measure(self, fakes: Images, count: int, labelled: bool, cheap: bool = False) -> Scores:
        """As `Yardstick.measure`; unless cheap, with what the usual ways to make such images get, as baselines."""
        scores = self._measure(fakes, count, cheap)
        if cheap or not self.baselines:
            return scores
        beside = {name: self._measure(self._made(make, count), count, cheap) for name, make in self.baselines.items()}
        return replace(scores, baselines={name: one.scores for name, one in beside.items()})

    def _measure(self, fakes: Images, count: int, cheap: bool) -> Scores:
        sums, start = {"psnr": 0.0, "ssim": 0.0}, 0

        def compared() -> Iterator[tuple[Tensor, Tensor | None]]:
            nonlocal start
            for pixels, _ in fakes:
                true = self.true.samples(start, start + len(pixels))
                self._check(pixels)
                sums["psnr"] += float(psnr(pixels, true).sum())
                sums["ssim"] += float(ssim(pixels, true).sum())
                start += len(pixels)
                yield pixels, None

        scores = super().measure(compared(), count, False, cheap)
        return replace(scores, scores=scores.scores | {f"{kind}{count}": value / count for kind, value in sums.items()})

    @cached_property
    def baselines(self) -> dict[str, Baseline]:
        """cubic: the picture enlarged; given: the picture as it is, where it could be the image."""
        spec = pictured(self.true.source.spec)
        if spec.input is None or spec.input.channels != spec.channels:
            return {}
        factor = spec.input.factor
        if factor > 1:
            return {"cubic": lambda batch: enlarge(batch.given, factor)}
        return {"given": lambda batch: batch.given}

    def _made(self, make: Baseline, count: int) -> Images:
        for start in range(0, count, BATCH):
            batch = self.true.source.pick(self.true.order[start : min(start + BATCH, count)])
            images = self.modality.finished(make(batch), self.spec)
            yield self.modality.scored(images, self.spec).contiguous(), None


def psnr(images: Tensor, true: Tensor) -> Tensor:
    """Of each image, in dB, from uint8 (N, C, H, W): 10 log10(255^2 / mean squared error), at most 100."""
    error = (images.double() - true.double()).square().mean((1, 2, 3))
    return 10 * torch.log10(255**2 / error.clamp(min=255**2 / 1e10))


def ssim(images: Tensor, true: Tensor) -> Tensor:
    """Of each image, from uint8 (N, C, H, W): Wang 2004, a Gaussian window of 11 pixels and 1.5 wide, no padding.

    Mean over places and channels. Images with fewer than 11 pixels on a side take the largest odd window that fits.
    """
    a, b = images.double(), true.double()
    channels, least = a.shape[1], min(a.shape[2:])
    side = min(11, least - 1 + least % 2)
    bell = torch.exp(-(torch.arange(side, dtype=torch.float64) - side // 2).square() / (2 * 1.5**2))
    across = (bell / bell.sum()).expand(channels, 1, 1, side)

    def smooth(x: Tensor) -> Tensor:
        return conv2d(conv2d(x, across, groups=channels), across.mT, groups=channels)

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean((1, 2, 3))
