"""A trained world, ready to be acted in: `WorldGan`, and `World`, a drive in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from zerosum.data.pictures.drawing import save_film
from zerosum.data.pictures.drives import DriveSource, fit_frame, make_given, style_of
from zerosum.data.pictures.images import read_whole
from zerosum.data.pictures.source import from_bytes
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.data.source import Condition, Index
from zerosum.engine.trained.gan import GivenGan, writing
from zerosum.engine.trained.order import Order
from zerosum.errors import ZerosumError, at_door, option, suggest
from zerosum.metrics.pictures.driving import AHEAD, FORCED, FORCED_STARTS

#: clips that are played together
TOGETHER = 16
#: recorded drives that a picture of samples shows
SHOWN = 4


@dataclass(frozen=True, repr=False)
class WorldGan(GivenGan):
    """The averaged generator of a run that learnt from drives, in evaluation mode and fp32."""

    spec: PictureSpec

    @property
    def input(self) -> Input:
        if self.spec.input is None:
            raise TypeError("this generator learnt from no drives")
        return self.spec.input

    def play(self, start_frames: Tensor | str | Path, seed: int = 0) -> "World":
        """A drive that begins with these frames, the oldest first; `world.step(steering=-0.5)` makes the next one.

        start_frames: (frames, channels, H, W) in [-1, 1] at the generator's size, or a folder or zip of pictures of any
        size, whose first ones are taken in the order of their names. seed: of the latent, where there is one. Raises
        ZerosumError for too few frames, or others than these.
        """
        rules, spec = self.input, self.spec
        size = (spec.channels, spec.resolution, spec.resolution * spec.wide)
        if isinstance(start_frames, str | Path):
            start_frames = self._read(Path(start_frames))
        if start_frames.dim() != 4 or tuple(start_frames.shape[1:]) != size or len(start_frames) < rules.frames:
            wanted = "x".join(map(str, size))
            raise ZerosumError(
                f"a drive begins with {rules.frames} frames of {wanted}, these are {tuple(start_frames.shape)}"
            )
        history = start_frames[-rules.frames :].float().flatten(0, 1)[None]
        return World(self, history, style_of(history, rules), self.latents([seed]))

    def _read(self, path: Path) -> Tensor:
        """The first frames of a folder, fitted as those of the training were."""
        frames, spec = [], self.spec
        for name, pixels in islice(read_whole(path, spec.channels), self.input.frames):
            if isinstance(pixels, OSError):
                raise ZerosumError(f"{path}/{name}: a frame that cannot be read: {pixels}")
            frames.append(torch.from_numpy(fit_frame(pixels, spec.resolution, spec.wide).copy()))
        if len(frames) < self.input.frames:
            raise ZerosumError(f"{path}: {len(frames)} pictures: a drive begins with {self.input.frames} frames")
        return from_bytes(torch.stack(frames))

    def drive(self, given: Tensor, z: Tensor) -> Tensor:
        """Frames (N, channels * ahead, H, W) in [-1, 1], for all the actions in what is given."""
        return self.draw(z, Condition(given=given)).clamp(-1, 1)

    def batches(self, n: int, size: int = TOGETHER) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Drives from n places of the held-out recording, for scores: uint8 (size, channels * ahead, H, W).

        First with the actions of the recording, AHEAD frames each, in the order of their starts. Then, where the data
        has an action that turns, with that action FORCED, from FORCED_STARTS places, each beside what it was (size,).
        """
        source = self.recording
        starts = source.spread(n, AHEAD)
        yield from ((pixels, None) for pixels in self._played(source, starts, None, size))
        for forced in FORCED if source.turns else ():
            for pixels in self._played(source, source.spread(FORCED_STARTS, AHEAD), forced, size):
                yield pixels, torch.full((len(pixels),), forced)

    def _played(self, source: DriveSource, starts: Index, forced: float | None, size: int) -> Iterator[Tensor]:
        for first in range(0, len(starts), size):
            batch = source.clips(starts[first : first + size], AHEAD, forced=forced)
            made = self.drive(batch.given, self.latents(range(first, first + len(batch.real))))
            yield self.modality.scored(made, self.spec).contiguous()

    @property
    def recording(self) -> DriveSource:
        if not isinstance(self.held_out, DriveSource):
            raise ZerosumError(self.usage)
        return self.held_out

    def exhibit(self) -> tuple[Tensor, list[str], int]:
        """Film strips from the same places every time: the recording above, below what is played with its actions."""
        source, columns = self.recording, self.modality.columns
        ahead = min(AHEAD, source.longest)
        starts = source.spread(SHOWN, ahead)
        batch = source.clips(starts, ahead)
        made = self.drive(batch.given, self.latents(range(len(starts))))
        places = torch.linspace(0, ahead - 1, columns).round().long()
        rows = [
            clip.reshape(ahead, -1, *clip.shape[1:])[places]
            for pair in zip(batch.real, made, strict=True)
            for clip in pair
        ]
        return torch.cat(rows), ["true", "played"] * len(starts), columns

    @property
    def usage(self) -> str:
        return f"this world is to be acted in: give it frames with {at_door('--from PATH', 'play()')}"

    def write(self, order: Order) -> Path:
        """A GIF of a drive that begins with the first pictures of a folder or zip, as they are named."""
        if order.given is None and order.actions is not None:
            raise ZerosumError(
                f"{option('action')}: say with which pictures the drive begins, with {option('from')} PATH"
            )
        if order.given is None:
            raise ZerosumError(self.usage)
        unfit = {"seeds": order.seeds, "class": order.label, "where": order.where, "to": order.to}
        if named := [name for name, value in unfit.items() if value is not None]:
            raise ZerosumError(f"{option(named[0])}: {self.usage}")
        actions, place = [dict(one) for one in order.actions or [{}]], order.out or order.folder / "film.gif"
        made = self.play(order.given).film(order.frames, actions)
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            save_film(made, place)
        return place


@dataclass
class World:
    """A drive. Its style is that of its first frames, whatever comes."""

    gan: WorldGan
    #: the last frames, (1, channels * frames, H, W)
    history: Tensor
    style: Tensor
    z: Tensor

    def step(self, **actions: float) -> Tensor:
        """The next frame, (channels, H, W) in [-1, 1]. Actions are from -1 to 1; those that are not named are 0.

        Raises ZerosumError for an unknown action, or one that is no number from -1 to 1.
        """
        names = self.gan.input.actions
        for name, value in actions.items():
            if name not in names:
                raise ZerosumError(f"unknown action '{name}': {suggest(name, names)}")
            if not -1 <= value <= 1:
                raise ZerosumError(f"{name} = {value}: actions are from -1 to 1")
        act = torch.tensor([[[float(actions.get(name, 0)) for name in names]]])
        frame = self.gan.drive(make_given(self.history, act, self.style), self.z)
        self.history = torch.cat([self.history[:, len(frame[0]) :], frame], 1)
        return frame[0]

    def film(self, frames: int, actions: Sequence[dict[str, float]]) -> Tensor:
        """(frames, channels, H, W): so many steps, with each of these actions for an equal share of them."""
        return torch.stack([self.step(**actions[at * len(actions) // frames]) for at in range(frames)])
