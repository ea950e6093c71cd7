"""Pairs of pictures: one is given, the other is what a generator has to make of it (Isola 2017).

Two layouts of a folder or zip, both with or without folders train and test (or val):

- folders A and B with pictures of equal names, A/street1.png and B/street1.jpg; train and test may stand above or below
  them, train/A, A/train or trainA;
- pictures twice as wide as high that hold both side by side, A on the left, as pix2pix's own sets come.

Both pictures of a pair have one size. Each is made to fit as all pictures are (see fit.py): the largest centred square.
"""

import hashlib
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from zerosum.data.pictures.files import Files, counted, no_pictures, number_of, shown
from zerosum.data.pictures.fit import Pixels, fit_array
from zerosum.data.pictures.images import (
    WORTH_KEEPING,
    Pictures,
    Scale,
    Store,
    common_channels,
    common_side,
    decode_whole,
    read_header,
    recall,
    refuse,
    scale_of,
    shades_of,
)
from zerosum.data.pictures.layout import Splits, held_out_of
from zerosum.data.pictures.source import PictureSource, flipped, mirrored, mirroring
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.data.pictures.values import BYTES, Range, described
from zerosum.data.source import Batch, Condition, Index
from zerosum.errors import NoTestSplit, ZerosumError
from zerosum.progress import track
from zerosum.sections.picture import PictureData

SIDES = ("A", "B")
#: the files of a pair: of A and of B, or one that holds both
Pair = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class PairSource(PictureSource):
    """`images` holds both of a pair as channels, uint8 (N, 2 * channels, side, side): first the given one."""

    def pick(self, index: Index, device: torch.device | str = "cpu", chances: Tensor | None = None) -> Batch:
        given, true = mirrored(super().floats(index, device), flipped(chances)).chunk(2, 1)
        layout = torch.channels_last
        shown = Condition(given=given.contiguous(memory_format=layout))
        return Batch(true.contiguous(memory_format=layout), shown)

    def floats(self, index: Index, device: torch.device | str = "cpu") -> Tensor:
        """The true images."""
        return super().floats(index, device)[:, self.spec.channels :]


def pair_source(root: Path, split: str, data: PictureData, cache: Path) -> tuple[PairSource, list[str]]:
    """The pairs of a split, and one line for each thing worth telling.

    data: the recipe's section: `given` says which of the two the generator starts from; `channels` are those of both,
    None takes grey where all are grey, alpha where all have it; beyond `memory` they are read through a memory map in
    the folder `cache`. Raises ZerosumError, NoTestSplit among them, for what cannot be learned from.
    """
    with closing(Files(root, data.links)) as files, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow on odd files; here, since threads share the filters
        pairs, notes = list_pairs(files, split, data.bad_share)
        stamps = [(pair, *(files.stamps[name] for name in pair)) for pair in pairs.values()]
        how = (data.given, data.resolution, data.channels, data.bad_share, data.range)
        key = hashlib.sha256(repr((2, str(root.resolve()), stamps, how)).encode())
        place = cache / "decoded" / f"{root.stem}-pairs-{key.hexdigest()[:24]}.npy"
        pictures = recall(place, int(data.memory * 2**30))
        if pictures is None:
            pictures = _read_all(files, pairs, data, place)
    both, side = pictures.images.shape[1:3]
    low, high = pictures.range
    spec = PictureSpec.of(both // 2, side, min(pictures.native, side), given=Input(both // 2, range=(low, high)))
    return PairSource(pictures.images, None, spec, augment=mirroring(data.mirror)), notes + pictures.notes


def list_pairs(files: Files, split: str, bad_share: float = 0.05) -> tuple[dict[str, Pair], list[str]]:
    """The pairs of a split by their name, and remarks. ZerosumError for pictures without a partner."""
    root = files.root
    files.check_lost(bad_share)
    if not files.pictures:
        raise no_pictures(files)
    where = Splits(files.pictures)
    places = {name: where.place(name) for name in files.pictures}
    depth = _common([place.folders for place in places.values()])
    found: dict[tuple[str, str], dict[str, str]] = {}  # (split, side) -> name without its ending -> file
    for name, place in places.items():
        folders = place.folders[depth:]
        side = place.domain or next((folder.upper() for folder in folders[:1] if folder.upper() in SIDES), "")
        rest = folders if place.domain or not side else folders[1:]
        stem = "/".join([*rest, PurePosixPath(name).stem])
        if stem in found.setdefault((place.split, side), {}):
            raise ZerosumError(f"{root}: {found[place.split, side][stem]} and {name} would both be {stem}: rename one")
        found[place.split, side][stem] = name
    splits, sides = {part for part, _ in found}, {side for _, side in found}
    chosen = "train" if "train" in splits else ""
    if split == "test":
        chosen = held_out_of(splits)
        if "train" not in splits and chosen not in splits:
            raise NoTestSplit(f"{root} has no test split: no folders train and test in it")
    if not any(part == chosen for part, _ in found):
        kind = NoTestSplit if split == "test" else ZerosumError
        raise kind(f"{root}: no pictures in its folder {split}")
    others = sum(len(names) for (part, _), names in found.items() if part != chosen)
    rest_said = [f"{others} pictures in other splits"] if others else []
    if sides & {*SIDES}:
        pairs = _matched(root, *(found.get((chosen, side), {}) for side in SIDES))
        if stray := [name for (_, side), names in found.items() if not side for name in names.values()]:
            rest_said.append(counted("pictures in neither A nor B", stray))
        layout = "folders A and B"
    else:
        pairs = {stem: (name,) for stem, name in sorted(found[chosen, ""].items())}
        layout = "side by side"
    said = "; ".join([f"{number_of(len(pairs), 'pairs')}, {layout}", *rest_said, *files.left_out()])
    return pairs, [f"{root}: {said}", *files.remarks()]


def _common(folders: list[tuple[str, ...]]) -> int:
    """How many folders all have in common, above A and B."""
    depth = 0
    for one, other in zip(min(folders), max(folders), strict=False):
        if one != other or one.upper() in SIDES:
            break
        depth += 1
    return depth


def _matched(root: Path, first: dict[str, str], second: dict[str, str]) -> dict[str, Pair]:
    """The pairs of two folders by their name; ZerosumError for pictures without a partner."""
    for side, other, mine, theirs in (("A", "B", first, second), ("B", "A", second, first)):
        alone = [mine[stem] for stem in sorted(mine.keys() - theirs.keys())]
        if alone:
            raise ZerosumError(
                f"{root}: {len(alone)} of {len(mine)} pictures of {side} have none of the same name in {other}: "
                f"{shown(alone)}"
            )
    return {stem: (first[stem], second[stem]) for stem in sorted(first)}


def _read_all(files: Files, pairs: dict[str, Pair], data: PictureData, place: Path) -> Pictures:
    """Reads every header, then every pair; keeps the result at `place` if it is large or took long to make."""
    root = files.root
    sizes: dict[str, tuple[int, int]] = {}
    kinds: set[str] = set()
    deep: tuple[dict[str, str], dict[str, str]] = ({}, {})  # of each side, files of more than 8 bits -> their pair
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
        for number, (name, header) in enumerate(zip(pair, headers, strict=True)):
            deep[number].update({name: stem} if header.deep else {})
    refuse(root, bad, len(pairs), data.bad_share)
    side = common_side(root, sizes, data.resolution)
    channels = data.channels or common_channels(kinds)
    # each side has values of its own: a mask beside a photograph
    scales = []
    for files_of_side in deep:
        scale, damaged = scale_of(files, list(files_of_side), data.range)
        scales.append(scale)
        bad += damaged.values()
        sizes = {stem: size for stem, size in sizes.items() if stem not in {files_of_side[name] for name in damaged}}
    if all(len(pair) == 1 for pair in pairs.values()):
        scales[1] = scales[0]
    uneven = sum(size[0] != size[1] for size in sizes.values())
    remarks = [f"{root}: {uneven} of {len(pairs)} pairs not square: centre cut out for {side}x{side}"] if uneven else []
    store = Store(root, "pairs", len(pairs), data.bad_share, int(data.memory * 2**30), place)

    def fill() -> Pictures:
        said = [f"{root}: {name}: {described(one)} become 0 to 255" for name, one in _changed(scales, deep)]
        read = _reader(files, pairs, data.given, channels, side, scales)
        return store.fill((2 * channels, side, side), sizes, read, list(bad), lambda _: remarks + said)

    pictures = fill()
    halves = [pictures.images[:, :channels], pictures.images[:, channels:]]
    shades = [shades_of(half) for half in (halves if data.given == "A" else halves[::-1])]
    if data.range is None and any(shades):
        scales = [replace(one, shallow=two) if two else one for one, two in zip(scales, shades, strict=True)]
        pictures = fill()
    given = SIDES.index(data.given)
    return store.keep(replace(pictures, range=scales[given].deep if deep[given] else scales[given].shallow))


def _changed(scales: list[Scale], deep: tuple[dict[str, str], dict[str, str]]) -> list[tuple[str, Range]]:
    """The sides whose values were brought to bytes, with their range."""
    ranges = [scale.deep if files else scale.shallow for scale, files in zip(scales, deep, strict=True)]
    return [(name, one) for name, one in zip(SIDES, ranges, strict=True) if one != BYTES]


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


def _reader(
    files: Files, pairs: dict[str, Pair], given: str, channels: int, side: int, scales: list[Scale]
) -> Callable[[str], Pixels]:
    """What reads the pair of a name as (2 * channels, side, side), first the given one. scales: of A and B."""

    def read(stem: str) -> Pixels:
        pair = pairs[stem]
        whole = [
            decode_whole(files.read(name), channels, f"{files.root}/{name}", scale)
            for name, scale in zip(pair, scales, strict=False)
        ]
        halves = np.split(whole[0], 2, axis=2) if len(pair) == 1 else whole
        fitted = [fit_array(half[None], side)[0] for half in halves]
        return np.concatenate(fitted if given == "A" else fitted[::-1])

    return read
