"""Scores of a world to act in: how long it stays near a true recording, how sharp it stays, and whether it obeys.

Obedience is read by an inverse model, as DriveGAN (Kim 2021) is judged: a network that learnt from real frames to tell
the steering from three of them reads it back from drives in which it was forced.
"""

import hashlib
import json
import time
from functools import cached_property
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from zerosum.data.drives import DriveSource
from zerosum.data.known import cache_folder
from zerosum.data.source import Index, Spec
from zerosum.errors import ZerosumError
from zerosum.metrics.evaluate import DEFINITIONS, Images, Scores
from zerosum.metrics.features import keep
from zerosum.metrics.paired import psnr, ssim
from zerosum.metrics.scores import Edges
from zerosum.progress import note, track

#: frames of a drive that is scored, and those that are looked at
AHEAD = 30
HORIZONS = (1, 5, 15, 30)
#: places from which drives begin, at most, evenly spread: neighbours would tell the same
MOST_STARTS = 240
#: what the turning action is forced to, from so many places
FORCED = (-0.5, 0.0, 0.5)
FORCED_STARTS = 16
#: training of the inverse model: at most so many steps of so many windows, at most so many times all of them
STEPS, WINDOWS, EPOCHS = 1000, 64, 14


class DrivingYardstick:
    """Drives from places of a held-out recording, which come in the order of `DriveSource.spread`.

    Raises ZerosumError for a recording that is too short.
    """

    def __init__(self, source: DriveSource, held_out: DriveSource, device: torch.device) -> None:
        self.source, self.held_out, self.device = source, held_out, device
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
            "side": self.spec.native,
            "channels": self.spec.channels,
            "real": self.held_out.fingerprint,
            "real_split": "train" if self.held_out is self.source else "test",
            "training": self.source.fingerprint,
            "fake_images": count,
            "frames": AHEAD,
            "seed": 0,
        }

    def floor(self, _: int, __: bool, cheap: bool) -> dict[str, float]:
        """What real frames get, which have no distance to themselves."""
        return {} if cheap or not self.source.turns else {"obedience": self.inverse.accuracy}

    def measure(self, fakes: Images, count: int, _: bool = False, cheap: bool = False) -> Scores:
        """Scores of `count` drives, which come as `WorldGan.batches` makes them.

        cheap: without obedience, for which the inverse model is trained once for this data.
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
        return Inverse.of(self.source, self.held_out, self.device)


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


class Inverse(nn.Module):
    """uint8 windows of three frames (N, 3, C, H, W) -> what the driver did in the middle of each (N,)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3 * spec.channels, 32, 5, 2, 2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d((4, 4 * spec.wide)), nn.Flatten()),
            *(nn.Linear(64 * 16 * spec.wide, 64), nn.ReLU(), nn.Linear(64, 1)),
        )
        #: what 1 stands for, and the correlation with what real drivers did in frames that were not learnt from
        self.scale, self.accuracy = 1.0, 0.0

    def forward(self, windows: Tensor) -> Tensor:
        """(N, 3, C, H, W) in [-1, 1] -> (N,), in units of `scale`."""
        return self.layers(windows.flatten(1, 2)).squeeze(1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def read(self, windows: Tensor) -> Tensor:
        device = next(self.parameters()).device
        parts = [self(part.to(device).float().div(127.5).sub(1)).cpu() for part in torch.split(windows, 256)]
        return torch.cat(parts) * self.scale

    @classmethod
    def of(cls, source: DriveSource, held_out: DriveSource, device: torch.device) -> "Inverse":
        """From the cache, or trained now."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            network = cls(source.spec)
        key = hashlib.sha256(f"{source.fingerprint} {held_out.fingerprint} {STEPS} {EPOCHS}".encode()).hexdigest()[:24]
        place = cache_folder() / "inverse" / f"{key}.safetensors"
        try:
            with safe_open(place, "pt") as file:
                network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                network.scale, network.accuracy = json.loads(file.metadata()["facts"])
        except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, TypeError):  # not there yet, or damaged
            network.to(device)
            network.learn(source)
            network.accuracy = correlation(*network.try_on(held_out))
            weights = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
            facts = {"facts": json.dumps([network.scale, network.accuracy])}
            keep(place, lambda draft: save_file(weights, draft, facts))
            note(f"inverse model: reads held-out steering with correlation {network.accuracy:.2f}; kept for next time")
        return network.to(device).eval()

    def learn(self, source: DriveSource) -> None:
        """From real windows, half of them mirrored; the squared error, for most of the time nobody steers."""
        device, column = next(self.parameters()).device, source.turns[0]
        places, random = _windows(source), np.random.default_rng(0)
        self.scale = max(float(source.controls[:, column].std()), 1e-6)
        steps = min(STEPS, -(-EPOCHS * len(places) // WINDOWS))
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3)
        self.train()
        for step in track(range(steps), steps, "training the inverse model that scores (once for this data)"):
            optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, 2 * (1 - step / steps))
            chosen = random.choice(places, WINDOWS)
            flip = torch.from_numpy(random.random(WINDOWS) < 0.5)
            windows = torch.from_numpy(source.images[chosen[:, None] + np.arange(3)]).float().div_(127.5).sub_(1)
            windows = torch.where(flip[:, None, None, None, None], windows.flip(4), windows)
            true = torch.from_numpy(source.controls[chosen + 1, column]) * torch.where(flip, -1, 1) / self.scale
            optimizer.zero_grad()
            (self(windows.to(device)) - true.to(device)).square().mean().backward()
            optimizer.step()
        self.eval()

    def try_on(self, source: DriveSource) -> tuple[Tensor, Tensor]:
        """What the driver did, and what is read, in all windows."""
        places = _windows(source)
        read = [
            self.read(torch.from_numpy(source.images[part[:, None] + np.arange(3)]))
            for part in np.array_split(places, -(-len(places) // 256))
        ]
        return torch.from_numpy(source.controls[places + 1, source.turns[0]]), torch.cat(read)


def _windows(source: DriveSource) -> Index:
    """The places at which three frames without a gap begin."""
    return np.flatnonzero(np.arange(len(source.ends)) + 3 <= source.ends)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, of two (N,); 0 where one of them never changes."""
    a, b = (x.double() - x.double().mean() for x in (a, b))
    lengths = float(a.norm() * b.norm())
    return float(a @ b) / lengths if lengths > 0 else 0.0
