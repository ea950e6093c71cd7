"""Scores of a world to act in: how long it stays near a true recording, how sharp it stays, and whether it obeys.

Obedience is read by an inverse model, as GameGAN's and DriveGAN's (Kim 2020, 2021) is: what learnt from real frames to
tell the steering from three of them reads it back from drives in which it was forced.
"""

import time
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from zerosum.data.pictures.drives import DriveSource
from zerosum.data.source import Index
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError
from zerosum.metrics.evaluate import DEFINITIONS
from zerosum.metrics.pictures.edges import Edges
from zerosum.metrics.pictures.paired import psnr, ssim
from zerosum.metrics.result import Images, Scores

#: frames of a drive that is scored, and those that are looked at
AHEAD = 30
HORIZONS = (1, 5, 15, 30)
#: places from which drives begin, at most, evenly spread: neighbours would tell the same
MOST_STARTS = 240
#: what the turning action is forced to, from so many places
FORCED = (-0.5, 0.0, 0.5)
FORCED_STARTS = 16
#: of the inverse model, over the mean square of what it sees
RIDGE = 0.01


class DrivingYardstick:
    """Drives from places of a held-out recording, which come in the order of `DriveSource.spread`.

    Raises ZerosumError for a recording that is too short.
    """

    def __init__(self, source: DriveSource, held_out: DriveSource) -> None:
        self.source, self.held_out = source, held_out
        self.spec: Spec = source.spec
        if held_out.longest < AHEAD:
            raise ZerosumError(
                f"scores of a drive need {AHEAD} held-out frames after {held_out.input.frames} given ones without a "
                f"gap, there are {held_out.longest}: a longer recording, a larger data.hold_out, or scores.every=0"
            )

    @property
    def most(self) -> int:
        """Drives that can be scored."""
        return min(MOST_STARTS, len(self.held_out.starts(AHEAD)))

    def stamp(self, count: int) -> dict[str, Any]:
        """Equal for two scores if and only if they may be compared."""
        return {
            "definitions": DEFINITIONS,
            "side": self.source.spec.native,
            "channels": self.source.spec.channels,
            "real": self.held_out.fingerprint,
            "real_split": "train" if self.held_out is self.source else "test",
            "training": self.source.fingerprint,
            "fake_images": count,
            "frames": AHEAD,
            "seed": 0,
        }

    def floor(self, count: int, labelled: bool, cheap: bool) -> dict[str, float]:
        """What real frames get, which have no distance to themselves."""
        return {} if cheap or not self.source.turns else {"obedience": self.inverse.accuracy}

    def kinds(self, count: int, labelled: bool, cheap: bool) -> set[str]:
        """Which scores there will be."""
        return {"psnr", "ssim", "sharpness", *self.floor(count, labelled, cheap)}

    def measure(self, fakes: Images, count: int, labelled: bool = False, cheap: bool = False) -> Scores:
        """Scores of `count` drives, which come as `WorldGan.batches` makes them.

        cheap: without obedience.
        """
        seconds, began = dict[str, float](), time.perf_counter()
        starts, done = self.held_out.spread(count, AHEAD), 0
        played, repeated = Nearness(), Nearness()
        told: list[Tensor] = []
        read: list[Tensor] = []
        for pixels, forced in fakes:
            if forced is None:
                given, true = self._recorded(starts[done : done + len(pixels)])
                done += len(pixels)
                played.add(pixels.view_as(true), true)
                repeated.add(given[:, -1:].expand_as(true), true)
            else:
                drives = pixels.reshape(len(pixels), AHEAD, -1, *pixels.shape[2:])
                windows = drives.unfold(1, 3, 1).movedim(-1, 2).flatten(0, 1)
                read.append(self.inverse.read(windows))
                told.append(forced.repeat_interleave(AHEAD - 2))
            if cheap and done == count:
                break
        if done != count:
            raise ZerosumError(f"{done} drives came where {count} were to be scored")
        scores, floor, classes = played.scores(), dict[str, float](), dict[str, dict[str, float]]()
        if told:
            asked, answered = torch.cat(told), torch.cat(read)
            scores["obedience"], floor = correlation(asked, answered), self.floor(count, False, cheap)
            name = self.held_out.input.actions[self.held_out.turns[0]]
            classes = {f"{name} {value:+g}": {"read": float(answered[asked == value].mean())} for value in FORCED}
        seconds["driving"] = time.perf_counter() - began
        baselines = {} if cheap else {"repeat": repeated.scores()}
        return Scores(scores, {}, floor, classes, self.stamp(count), seconds, baselines=baselines)

    def _recorded(self, starts: Index) -> tuple[Tensor, Tensor]:
        """The given frames and those that follow, uint8 (N, T, C, H, W)."""
        frames = self.held_out.input.frames
        clips = torch.from_numpy(self.held_out.images[starts[:, None] + np.arange(frames + AHEAD)])
        return clips[:, :frames], clips[:, frames:]

    @cached_property
    def inverse(self) -> "Inverse":
        return Inverse(self.source, self.held_out)


class Nearness:
    """Sums over drives, at each of the horizons."""

    def __init__(self) -> None:
        self.sums = {f"{kind}{at}": 0.0 for kind in ("psnr", "ssim") for at in HORIZONS}
        self.edges = {at: (Edges(), Edges()) for at in HORIZONS}
        self.count = 0

    def add(self, frames: Tensor, true: Tensor) -> None:
        """uint8 (N, AHEAD, C, H, W), both."""
        for at in HORIZONS:
            here, there = frames[:, at - 1], true[:, at - 1]
            self.sums[f"psnr{at}"] += float(psnr(here, there).sum())
            self.sums[f"ssim{at}"] += float(ssim(here, there).sum())
            self.edges[at][0].add(here)
            self.edges[at][1].add(there)
        self.count += len(frames)

    def scores(self) -> dict[str, float]:
        sharp = {f"sharpness{at}": a.strength / max(b.strength, 1e-12) for at, (a, b) in self.edges.items()}
        return {name: total / self.count for name, total in self.sums.items()} | sharp


class Inverse:
    """What the driver did, read from how the picture moved: ridge regression on how well it matches itself, shifted.

    A network would do better on real drives and be of no use: drivers steer where the road leads, so that it learns to
    read the road, and misreads a world that was made to leave it. Here only motion is seen.
    """

    def __init__(self, source: DriveSource, held_out: DriveSource) -> None:
        true, seen = self._windows_of(source)
        true, seen = torch.cat([true, -true]), torch.cat([seen, mirrored_costs(seen)])  # mirrored, for balance
        inner = seen.T @ seen
        inner += RIDGE * inner.diagonal().mean() * torch.eye(len(inner), dtype=inner.dtype)
        self.weights: Tensor = torch.linalg.solve(inner, seen.T @ true)
        true, seen = self._windows_of(held_out)
        #: the correlation with what real drivers did in frames that were not learnt from
        self.accuracy = correlation(true, seen @ self.weights)

    def read(self, windows: Tensor) -> Tensor:
        """uint8 windows of three frames (N, 3, C, H, W) -> the turning action in the middle of each (N,)."""
        return torch.cat([costs(part) for part in torch.split(windows, 256)]) @ self.weights

    @staticmethod
    def _windows_of(source: DriveSource) -> tuple[Tensor, Tensor]:
        """What was done, and what is seen, in all windows of three frames without a gap."""
        places = np.flatnonzero(np.arange(len(source.ends)) + 3 <= source.ends)
        parts = np.array_split(places, -(-len(places) // 256))
        seen = [costs(torch.from_numpy(source.images[part[:, None] + np.arange(3)])) for part in parts]
        return torch.from_numpy(source.controls[places + 1, source.turns[0]]).double(), torch.cat(seen)


def costs(windows: Tensor) -> Tensor:
    """uint8 (N, 3, C, H, W) -> (N, shifts * blocks) float64: how unlike the next frame each is, shifted sideways.

    Mean absolute differences in each of 4x4 blocks, over the mean of all shifts, so that contrast plays no part.
    """
    grey = avg_pool2d(windows.float().mean(2), 3, 1, 1, count_include_pad=False)
    width = grey.shape[3]
    reach = width // 8
    one, other = grey[:, :-1], grey[:, 1:, :, reach : width - reach]
    unlike = [
        adaptive_avg_pool2d((other - one[..., reach + by : width - reach + by]).abs(), 4)
        for by in range(-reach, reach + 1)
    ]
    found = torch.stack(unlike, 2).double()  # (N, 2, shifts, 4, 4)
    return (found / found.mean(2, keepdim=True).clamp(min=1e-6) - 1).mean(1).flatten(1)


def mirrored_costs(seen: Tensor) -> Tensor:
    """What `costs` gives of mirrored frames."""
    blocks = seen.view(len(seen), -1, 4, 4)
    return blocks.flip(1, 3).flatten(1)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, of two (N,); 0 where one of them never changes."""
    a, b = (x.double() - x.double().mean() for x in (a, b))
    lengths = float(a.norm() * b.norm())
    return float(a @ b) / lengths if lengths > 0 else 0.0
