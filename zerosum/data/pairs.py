"""Pairs of pictures: one is given, the other is what a generator shall make of it (Isola 2017).

Two layouts of a folder or zip, both with or without folders train and test (or val):

- folders A and B with pictures of equal names, A/street1.png and B/street1.jpg; train and test may stand above or below
  them, train/A or A/train;
- pictures twice as wide as high that hold both side by side, A on the left, as pix2pix's own sets come.

Both pictures of a pair have one size. Each is made to fit as all pictures are (see fit.py): the largest centred square.
"""

import hashlib
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zerosum.data.files import SUFFIXES, Files
from zerosum.data.fit import Pixels, fit_array
from zerosum.data.images import (
    WORTH_KEEPING,
    Pictures,
    Store,
    common_channels,
    common_side,
    decode_whole,
    read_header,
    recall,
    refuse,
)
from zerosum.data.source import Batch, Index, Input, Source, Spec, mirrored
from zerosum.errors import NoTestSplit, ZerosumError
from zerosum.progress import track

SIDES, PARTS = ("A", "B"), ("train", "test", "val", "valid")
#: the files of a pair: of A and of B, or one that holds both
Pair = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class PairSource(Source):
    """`images` holds both of a pair as channels, uint8 (N, 2 * channels, side, side): first the given one."""

    def pick(self, index: Index, device: torch.device | str = "cpu", flip: Tensor | None = None) -> Batch:
        given, true = mirrored(super()._floats(index, device), flip).chunk(2, 1)
        layout = torch.channels_last
        return Batch(true.contiguous(memory_format=layout), given.contiguous(memory_format=layout))

    def _floats(self, index: Index, device: torch.device | str = "cpu") -> Tensor:
        return super()._floats(index, device)[:, self.spec.channels :]


def pair_source(
    root: Path,
    split: str,
    *,
    given: Literal["A", "B"],
    resolution: int | None,
    channels: int | None,
    bad_share: float,
    budget: int,
    cache: Path,
    mirror: bool = False,
) -> tuple[PairSource, list[str]]:
    """The pairs of a split, and one line for each thing worth telling.

    given: which of the two the generator starts from. channels: of both; None takes grey where all are grey, alpha
    where all have it. budget: bytes above which they are read through a memory map in the folder `cache`. Raises
    ZerosumError, NoTestSplit among them, for what cannot be learned from.
    """
    with closing(Files(root)) as files, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow on odd files; here, since threads share the filters
        pairs, notes = list_pairs(files, split)
        stamps = [(pair, *(files.stamps[name] for name in pair)) for pair in pairs.values()]
        key = hashlib.sha256(repr((1, str(root.resolve()), stamps, given, resolution, channels, bad_share)).encode())
        place = cache / "decoded" / f"{root.stem}-pairs-{key.hexdigest()[:24]}.npy"
        pictures = recall(place, budget)
        if pictures is None:
            pictures = _read_all(files, pairs, given, (resolution, channels), bad_share, budget, place)
    both, side = pictures.images.shape[1:3]
    spec = Spec(both // 2, side, min(pictures.native, side), input=Input(both // 2))
    return PairSource(pictures.images, None, spec, mirror), notes + pictures.notes


def list_pairs(files: Files, split: str) -> tuple[dict[str, Pair], list[str]]:
    """The pairs of a split by their name, and remarks. ZerosumError for pictures without a partner."""
    root = files.root
    listed = [name for name in files.names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not listed:
        raise ZerosumError(f"{root}: no pictures ({', '.join(sorted(SUFFIXES))}) in it")
    depth = 0  # of the folder that all lie in
    while all(len(n.split("/")) > depth + 1 for n in listed) and len({n.split("/")[depth] for n in listed}) == 1:
        if listed[0].split("/")[depth] in (*SIDES, *PARTS):
            break
        depth += 1
    found: dict[tuple[str, str], dict[str, str]] = {}  # (part, side) -> name without its ending -> file
    for name in listed:
        *folders, last = name.split("/")[depth:]
        head, rest = folders[:2], folders[2:]
        side, part = (next((word for word in head if word in words), "") for words in (SIDES, PARTS))
        rest = [word for word in head if word not in (side, part)] + rest
        stem = "/".join([*rest, PurePosixPath(last).stem])
        if stem in found.setdefault((part, side), {}):
            raise ZerosumError(f"{root}: {found[part, side][stem]} and {name} would both be {stem}: rename one")
        found[part, side][stem] = name
    parts, sides = {part for part, _ in found}, {side for _, side in found}
    if "train" not in parts and split == "test":
        raise NoTestSplit(f"{root} has no test split: no folders train and test in it")
    chosen = split if "train" in parts else ""
    if not any(part == chosen for part, _ in found):
        kind = NoTestSplit if split == "test" else ZerosumError
        raise kind(f"{root}: no pictures in its folder {split}")
    if not sides & {*SIDES}:
        return {stem: (name,) for stem, name in sorted(found[chosen, ""].items())}, []
    first, second = (found.get((chosen, side), {}) for side in SIDES)
    for side, other, mine, theirs in (("A", "B", first, second), ("B", "A", second, first)):
        alone = [mine[stem] for stem in sorted(mine.keys() - theirs.keys())]
        if alone:
            shown = ", ".join(alone[:3]) + (" ..." if len(alone) > 3 else "")
            raise ZerosumError(
                f"{root}: {len(alone)} of {len(mine)} pictures of {side} have none of the same name in {other}: {shown}"
            )
    stray = sum(len(names) for (_, side), names in found.items() if not side)
    notes = [f"{root}: {stray} pictures lie in neither A nor B and are left out"] if stray else []
    return {stem: (first[stem], second[stem]) for stem in sorted(first)}, notes


def _read_all(
    files: Files,
    pairs: dict[str, Pair],
    given: str,
    wanted: tuple[int | None, int | None],
    bad_share: float,
    budget: int,
    place: Path,
) -> Pictures:
    """Reads every header, then every pair; keeps the result at `place` if it is large or took long to make."""
    root, (resolution, channels) = files.root, wanted
    sizes: dict[str, tuple[int, int]] = {}
    kinds: set[str] = set()
    bad: list[str] = []
    for stem, pair in (
        track(pairs.items(), len(pairs), "reading headers") if len(pairs) >= WORTH_KEEPING else pairs.items()
    ):
        try:
            headers = [read_header(files.read(name), f"{root}/{name}") for name in pair]
        except OSError as error:
            bad.append(f"{stem} ({error})")
            continue
        sizes[stem] = _size(root, pair, [header.size for header in headers])
        kinds |= {header.kind for header in headers}
    refuse(root, bad, len(pairs), bad_share)
    side = common_side(root, sizes, resolution)
    channels = channels or common_channels(kinds)
    uneven = sum(size[0] != size[1] for size in sizes.values())
    remark = f"{root}: {uneven} of {len(pairs)} pairs not square: centre cut out for {side}x{side}"
    store = Store(root, "pairs", len(pairs), bad_share, budget, place)
    read = _reader(files, pairs, given, channels, side)
    return store.fill((2 * channels, side, side), sizes, read, bad, lambda _: [remark] if uneven else [])


def _size(root: Path, pair: Pair, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Width and height of each picture of the pair."""
    width, height = sizes[0]
    if len(pair) == 1:
        if width != 2 * height:
            raise ZerosumError(
                f"{root}: {pair[0]} is {width}x{height}: a pair is a picture twice as wide as high with both side by "
                "side, or two of the same name in folders A and B"
            )
        return height, height
    if sizes[0] != sizes[1]:
        ours, theirs = (f"{name} is {size[0]}x{size[1]}" for name, size in zip(pair, sizes, strict=True))
        raise ZerosumError(f"{root}: {ours}, {theirs}: both pictures of a pair have one size")
    return width, height


def _reader(files: Files, pairs: dict[str, Pair], given: str, channels: int, side: int) -> Callable[[str], Pixels]:
    """What reads the pair of a name as (2 * channels, side, side), first the given one."""

    def read(stem: str) -> Pixels:
        pair = pairs[stem]
        whole = [decode_whole(files.read(name), channels, f"{files.root}/{name}") for name in pair]
        halves = np.split(whole[0], 2, axis=2) if len(pair) == 1 else whole
        fitted = [fit_array(half[None], side)[0] for half in halves]
        return np.concatenate(fitted if given == "A" else fitted[::-1])

    return read
