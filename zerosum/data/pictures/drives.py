"""Recordings of drives: frames one after the other, and a table of what the driver did.

A sample is a clip: the `ahead` frames that follow `frames` given ones, one behind the other as channels. Its condition
is one picture, (N, channels * frames + actions * ahead + style, H, W): the given frames, each action between one frame
and the next as a constant plane (frame by frame), and constant planes that tell the style.

- A folder or zip has one CSV for each recording, with a line for each frame in the order in which they were taken; the
  names of files are relative to the CSV. A clip never leaves its recording, nor crosses a gap of more than five times
  the usual time between two frames.
- What is held out is the last part of each recording, and no clip of the rest reaches into it.
- Frames become `resolution` pixels high (their own height where that is not given); their width is the multiple of it
  that is nearest to their own shape, to which they are cut, centred, and resized, anti-aliased.
- The style is the mean and the spread of each colour in the given frames: it needs no list of recordings, is known of
  any frames that a person brings, and holds the colours of a long drive where they began.
- Mirrored clips have the sign of their turning actions changed. Where the driver seldom turns, clips in which he does
  are repeated until they are about the share `turning` of all.
"""

import hashlib
import math
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zerosum.data import tables
from zerosum.data.pictures.files import Files
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.images import Scale, decode_whole, decoded, read_header
from zerosum.data.pictures.source import PictureSource, flipped, mirrored, mirroring
from zerosum.data.pictures.spec import MOST_CHANNELS, MOST_WIDE, Input, PictureSpec
from zerosum.data.pictures.values import BYTES
from zerosum.data.source import Batch, Condition, Index, on
from zerosum.errors import NoTestSplit, ZerosumError, setting, suggest
from zerosum.sections.picture import Drive, PictureData

Array = np.ndarray[Any, Any]

#: times the usual time between two frames that make a gap
GAP = 5
#: an action beyond this, in either direction, is a turn
TURN = 0.05
#: times that a clip with a turn is repeated at most
REPEATS = 8


@dataclass(frozen=True, repr=False)
class DriveSource(PictureSource):
    """Clips of recorded drives. `images` are the frames, `rows` the places at which clips begin."""

    #: (frames, actions) float32 in [-1, 1]: what the driver did between each frame and the next
    controls: Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    #: (frames,) the first place behind each frame at which another recording begins, or one goes on after a gap
    ends: Index = field(default_factory=lambda: np.zeros(0, np.int64))
    #: the columns of `controls` that change their sign in a mirror
    turns: tuple[int, ...] = ()

    @property
    def input(self) -> Input:
        if self.spec.input is None:
            raise TypeError("a drive has a picture as its condition")
        return self.spec.input

    @cached_property
    def fingerprint(self) -> str:
        rules = repr((super().fingerprint, asdict(self.input), self.turns)).encode()
        return hashlib.sha256(rules + self.controls.tobytes() + self.ends.tobytes()).hexdigest()[:16]

    def starts(self, ahead: int) -> Index:
        """The first frames of all clips of the given frames and so many that follow."""
        length = self.input.frames + ahead
        return np.flatnonzero(np.arange(len(self.ends)) + length <= self.ends)

    @property
    def longest(self) -> int:
        """Frames that follow given ones without a gap, at most."""
        return int((self.ends - np.arange(len(self.ends))).max()) - self.input.frames

    def spread(self, count: int, ahead: int) -> Index:
        """So many of `starts`, evenly spread; all of them where there are fewer."""
        found = self.starts(ahead)
        return found[np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(np.int64))]

    def pick(self, index: Index, device: torch.device | str = "cpu", chances: Tensor | None = None) -> Batch:
        first = index if self.rows is None else self.rows[index]
        return self.clips(first, self.input.ahead, device, flipped(chances))

    def clips(
        self,
        first: Index,
        ahead: int,
        device: torch.device | str = "cpu",
        flip: Tensor | None = None,
        forced: float | None = None,
    ) -> Batch:
        """The clips that begin at these frames. forced: what the first turning action is in all of them instead."""
        frames = self.input.frames
        places = first[:, None] + np.arange(frames + ahead)
        pixels = self.encode(on(device, self.images[places]))  # (N, T, C, H, W)
        actions = on(device, self.controls[places[:, frames - 1 : -1]])  # (N, ahead, actions)
        if forced is not None:
            actions[:, :, self.turns[0]] = forced
        clip = mirrored(pixels.flatten(1, 2), flip)
        if flip is not None:
            turned = torch.where(flip[:, None], -1.0, 1.0)
            for column in self.turns:
                actions[:, :, column] *= turned
        cut = frames * self.spec.channels
        given = make_given(clip[:, :cut], actions, style_of(clip[:, :cut], self.input))
        nhwc = torch.channels_last
        shown = Condition(given=given.contiguous(memory_format=nhwc))
        return Batch(clip[:, cut:].contiguous(memory_format=nhwc), shown)


def make_given(history: Tensor, actions: Tensor, style: Tensor) -> Tensor:
    """Frames (N, channels * frames, H, W), actions (N, ahead, A) and style (N, S) -> the picture for a generator."""
    planes = torch.cat([actions.flatten(1), style], 1)[:, :, None, None]
    return torch.cat([history, planes.expand(-1, -1, *history.shape[2:])], 1)


def style_of(history: Tensor, rules: Input) -> Tensor:
    """(N, S): the mean, and twice the standard deviation, of each colour in the frames (N, channels * frames, H, W)."""
    if rules.style == 0:
        return history.new_zeros(len(history), 0)
    frames = history.reshape(len(history), rules.frames, -1, *history.shape[2:])
    colours = frames.transpose(1, 2).flatten(2)  # (N, channels, values)
    return torch.cat([colours.mean(2), 2 * colours.std(2)], 1)


def open_drives(data: PictureData, where: Path, split: str) -> tuple[DriveSource, list[str]]:
    """The clips of a split. Raises ZerosumError for a recording that cannot be learned from."""
    rules = data.drive
    if unknown := [name for name in rules.turns if name not in rules.actions]:
        raise ZerosumError(f"data.drive.turns: '{unknown[0]}' is no action: {suggest(unknown[0], rules.actions)}")
    if len(set(rules.actions)) < len(rules.actions):
        raise ZerosumError(f"data.drive.actions: {', '.join(rules.actions)}: name each of them once")
    if data.mirror and not rules.turns:
        raise ZerosumError("data.mirror = true with a drive: name the actions that change sign, in data.drive.turns")
    if data.hold_out == 0 and split == "test":
        raise NoTestSplit(f"{where}: no part of the drive is held out: {setting('data.hold_out', 0.2)}")
    if not (where.is_dir() or where.suffix.lower() == ".zip"):
        raise ZerosumError(f"{where}: a drive is a folder or zip with frames and a CSV")
    with closing(Files(where, data.links)) as files:
        files.check_lost(data.bad_share)
        recordings = [read_table(files, table, rules) for table in _tables(files, rules)]
        parts = [part for one in recordings for part in one.parts(data.hold_out, split)]
        names = [name for part in parts for name in part.names]
        frames = read_frames(files, names, data)
    controls = np.concatenate([part.controls for part in parts])
    lengths = np.array([len(part.names) for part in parts])
    ends = np.repeat(lengths.cumsum(), lengths)
    channels, height = frames.shape[1:3]
    style = 2 * channels if rules.style == "colour" else 0
    planes = channels * rules.frames + len(rules.actions) * rules.ahead + style
    if planes > MOST_CHANNELS:
        raise ZerosumError(f"data.drive: a condition of {planes} planes, more than {MOST_CHANNELS}: fewer frames")
    described = Input(planes, 1, rules.frames, rules.ahead, rules.actions, style, data.range or BYTES)
    spec = PictureSpec.of(channels, height, height, given=described, wide=frames.shape[3] // height)
    turns = tuple(rules.actions.index(name) for name in rules.turns)
    source = DriveSource(frames, None, spec, None, controls=controls, ends=ends, turns=turns)
    starts = source.starts(rules.ahead)
    if len(starts) == 0:
        kind = "held-out part" if split == "test" else "drive"
        raise ZerosumError(
            f"{where}: the {kind} has {len(frames)} frames, and nowhere {rules.frames + rules.ahead} without a gap, as "
            "data.drive.frames and data.drive.ahead ask for"
        )
    rows = starts if split == "test" else _balanced(source, starts, rules.turning)
    notes = [f"{where}: {len(recordings)} recordings, {len(frames)} frames, {len(starts)} clips"] * (
        len(recordings) > 1
    )
    return replace(source, rows=rows, augment=mirroring(data.mirror)), notes


@dataclass(frozen=True)
class Recording:
    """Frames in the order in which they were taken. controls: (frames, actions); gaps: places before which one is."""

    names: list[str]
    controls: Array
    gaps: list[int]

    def parts(self, hold_out: float, split: str) -> "list[Recording]":
        """The stretches without a gap, of the last part of the recording or of the rest."""
        border = math.floor(len(self.names) * (1 - hold_out))
        first, last = (border, len(self.names)) if split == "test" else (0, border)
        cuts = [first, *(gap for gap in self.gaps if first < gap < last), last]
        return [
            Recording(self.names[a:b], self.controls[a:b], []) for a, b in zip(cuts, cuts[1:], strict=False) if a < b
        ]


def read_table(files: Files, table: str, rules: Drive) -> Recording:
    """One CSV, with its columns as the recipe names them."""
    read = tables.read_table(files, table)
    where, base, header = read.where, PurePosixPath(table).parent, read.header
    rows = list(zip(read.lines, read.rows, strict=True))
    wanted = [rules.file, *([rules.time] if rules.time else []), *rules.actions]
    for name in wanted:
        if name not in header:
            shown = ", ".join(header)[:200]
            raise ZerosumError(
                f"{where}: its first line must name a column '{name}' once, it has: {shown}; "
                "data.drive.file, .time and .actions say which columns are read"
            )
    places = [header.index(name) for name in wanted]
    names, numbers = [], []
    found = tables.Matcher(files.pictures).find([row[places[0]] for row in read.rows], str(base))
    for (number, row), path in zip(rows, found, strict=True):
        name, *words = (row[place] for place in places)
        if path is None:
            raise ZerosumError(f"{where}, line {number}: there is no file {name[:100]} beside it")
        try:
            numbers.append([float(word) for word in words])
        except ValueError:
            raise ZerosumError(f"{where}, line {number}: {', '.join(words)[:100]}: these should be numbers") from None
        names.append(path)
    values = np.array(numbers, np.float64).reshape(len(names), len(wanted) - 1)
    times = values[:, 0] if rules.time else np.arange(len(names), dtype=np.float64)
    controls = values[:, 1:] if rules.time else values
    bad = ~np.isfinite(values).all(1) | (np.abs(controls) > 1).any(1)
    if bad.any():
        line = rows[int(bad.argmax())][0]
        raise ZerosumError(f"{where}, line {line}: actions are numbers from -1 to 1, the time is one in seconds")
    passed = np.diff(times)
    if (passed < 0).any():
        raise ZerosumError(f"{where}, line {rows[int((passed < 0).argmax()) + 1][0]}: time runs backwards")
    usual = float(np.median(passed)) if len(passed) else 0.0
    gaps = (np.flatnonzero(passed > GAP * usual) + 1).tolist()
    return Recording(names, controls.astype(np.float32), gaps)


def _tables(files: Files, rules: Drive) -> list[str]:
    found = [name for name in files.names if name.lower().endswith(".csv")]
    if rules.table is not None:
        found = [name for name in found if rules.table in (name, PurePosixPath(name).name)]
    folders = [PurePosixPath(name).parent for name in found]
    if not found:
        raise ZerosumError(f"{files.root}: no {rules.table or 'CSV'} in it that lists the frames of a drive")
    if len(set(folders)) != len(folders):
        raise ZerosumError(
            f"{files.root}: several CSVs in one folder ({', '.join(found[:3])}): name one, data.drive.table"
        )
    return found


def read_frames(files: Files, names: list[str], data: PictureData) -> Pixels:
    """(N, channels, height, width) uint8, decoded by several threads. All must be readable."""
    root = files.root
    if not names:
        raise ZerosumError(f"{root}: the drive has no frames")

    def failed(name: str, error: OSError) -> ZerosumError:
        return ZerosumError(f"{root}/{name}: a frame that cannot be read: {error}; take its line out of the CSV")

    try:
        width, height = read_header(files.read(names[0]), f"{root}/{names[0]}").size
    except OSError as error:
        raise failed(names[0], error) from None
    channels, side = data.channels or 3, data.resolution or height
    wide = max(1, round(width / height))
    if wide > MOST_WIDE or side < 8:
        raise ZerosumError(
            f"{root}/{names[0]}: {width}x{height}: frames are 8 pixels high or more, {MOST_WIDE} times as wide"
        )
    shape = (len(names), channels, side, side * wide)
    if math.prod(shape) > data.memory * 2**30:
        raise ZerosumError(
            f"{root}: {len(names)} frames take {math.prod(shape) / 2**30:.1f} GiB, more than data.memory = "
            f"{data.memory:g}"
        )

    def read(name: str) -> Pixels:
        return fit_frame(decode_whole(files.read(name), channels, f"{root}/{name}", scale), side, wide)

    scale = Scale() if data.range is None else Scale(data.range, data.range)
    frames = np.empty(shape, np.uint8)
    for place, frame in enumerate(decoded(read, names)):
        if isinstance(frame, OSError):
            raise failed(names[place], frame)
        frames[place] = frame
    return frames


def fit_frame(pixels: Pixels, height: int, wide: int) -> Pixels:
    """(C, H, W) uint8 of any size -> (C, height, height * wide): cut to that shape, centred, and resized."""
    if pixels.shape[1:] == (height, height * wide):
        return pixels
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    fitted = np.asarray(ImageOps.fit(image, (height * wide, height), Image.Resampling.LANCZOS), np.uint8)
    return fitted[None] if fitted.ndim == 2 else fitted.transpose(2, 0, 1)


def _balanced(source: DriveSource, starts: Index, turning: float) -> Index:
    """The starts, those of clips with a turn repeated. The order of a source shuffles them."""
    if not source.turns or turning == 0:
        return starts
    rules = source.input
    turned = np.abs(source.controls[:, list(source.turns)]).max(1) > TURN
    acts = np.arange(rules.frames - 1, rules.frames + rules.ahead - 1)
    often = np.mean(turned[starts[:, None] + acts], axis=1) >= 0.5
    many, few = int((~often).sum()), int(often.sum())
    if few == 0 or few >= turning * len(starts):
        return starts
    repeats = min(REPEATS, round(turning / (1 - turning) * many / few))
    return np.concatenate([starts[~often], np.tile(starts[often], max(1, repeats))])
