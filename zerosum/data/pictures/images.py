"""Picture files, decoded and fitted into one array.

Headers are read first, so that what cannot be used is known, and named, before any pixel is decoded. Rotations in EXIF
are applied, palettes and CMYK converted, alpha laid on white unless every picture has it, and of animations the first
frame is taken. Values of more than 8 bits, and bytes that hold masks or counted shades, are brought to 0 ... 255 by all
values of the set (see values.py); alpha that is opaque everywhere is no channel.
"""

import hashlib
import io
import json
import math
import os
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zerosum.data.pictures.arrays import memory_map
from zerosum.data.pictures.files import SUFFIXES, Files, number_of, shown
from zerosum.data.pictures.fit import Pixels, fit_image, is_padded
from zerosum.data.pictures.layout import arrange
from zerosum.data.pictures.values import BYTES, SHADES, Range, Values, described, range_of, to_bytes
from zerosum.errors import ZerosumError, setting
from zerosum.progress import track
from zerosum.sections.picture import PictureData

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF")
#: what Pillow raises on damaged files; RuntimeError: its decoder of AVIF
DAMAGE = (
    *(ValueError, SyntaxError, IndexError, TypeError, KeyError, AttributeError),
    *(ArithmeticError, EOFError, MemoryError, RuntimeError, struct.error),
)
#: a picture with more pixels is refused before it is decoded
MOST_PIXELS = 80_000_000
#: one with more is decoded alone, so that memory does not grow with the number of cores
LARGE = 8_000_000
_ALONE = Lock()

Result = TypeVar("Result")

#: sets of at least so many pictures are kept decoded in the cache folder, to open at once the next time
WORTH_KEEPING = 1000


@dataclass(frozen=True)
class Pictures:
    """Fitted pictures, (N, channels, resolution, resolution), and what is known of them."""

    images: Pixels
    names: list[str]
    #: their own side, or the resolution where they differ
    native: int
    notes: list[str]
    #: values of the files that became 0 and 255
    range: Range = BYTES
    #: files that cannot be read
    unreadable: int = 0


@dataclass(frozen=True)
class Header:
    size: tuple[int, int]
    kind: str  # grey, colour or alpha
    traits: tuple[str, ...]
    #: grey beside its alpha
    grey: bool = False
    #: more than 8 bits a value
    deep: bool = False


@dataclass(frozen=True)
class Scale:
    """Which values of files become 0 and 255: of those with more than 8 bits, and of bytes."""

    deep: Range = (0.0, 65535.0)
    shallow: Range = BYTES


PLAIN = Scale()


def read_images(
    root: Path, split: str | None, data: PictureData, cache: Path
) -> tuple[Pictures, dict[str, list[str]] | None]:
    """All usable pictures under a folder or in a zip, and the columns of their labels if they have any.

    split: train, test, or None for all there are. data: the recipe's section; beyond its `memory` the decoded pictures
    live in a memory-mapped file in the folder `cache`. The first two notes say what was found. Raises ZerosumError, in
    one line, for what cannot be learned from.
    """
    with closing(Files(root, data.links)) as files, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow on odd files; here, since threads share the filters
        layout = arrange(files, split, data.table, data.bad_share)
        names, budget = layout.names, int(data.memory * 2**30)
        stamps = [(name, files.stamps[name]) for name in names]
        how = (data.resolution, data.channels, data.bad_share, data.range)
        key = hashlib.sha256(repr((3, str(root.resolve()), stamps, how)).encode())
        place = cache / "decoded" / f"{root.stem}-{key.hexdigest()[:24]}.npy"
        pictures = recall(place, budget)
        if pictures is None:
            pictures = _read_all(files, names, data, place)
        unreadable = [f"{pictures.unreadable} unreadable"] if pictures.unreadable else []
        found = "; ".join([number_of(len(pictures.names), "pictures"), *unreadable, *layout.rest, *files.left_out()])
    rows = {name: row for row, name in enumerate(names)}
    words = (
        {key: [column[rows[name]] for name in pictures.names] for key, column in layout.columns.items()}
        if layout.columns
        else None
    )
    first = [f"{root}: {found}", f"{root}: labels: {layout.labels}"]
    return replace(pictures, notes=first + layout.notes + pictures.notes), words


def recall(place: Path, budget: int) -> Pictures | None:
    """The pictures that an earlier call has cached, or None if there are none or they are damaged."""
    try:
        stored: Pixels = np.load(place, mmap_mode="r", allow_pickle=False)
        known = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        low, high = map(float, known["range"])
        pictures = Pictures(
            stored[: len(known["names"])],
            known["names"],
            int(known["native"]),
            known["notes"],
            (low, high),
            int(known["unreadable"]),
        )
        whole = stored.dtype == np.uint8 and list(stored.shape[1:]) == known["shape"]
        if not whole or len(stored) < len(pictures.names) or not pictures.names:
            return None
        return pictures if stored.nbytes > budget else replace(pictures, images=np.array(pictures.images))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None  # not there, written by something else, or damaged


def _read_all(files: Files, names: list[str], data: PictureData, place: Path) -> Pictures:
    """Reads every header, then every picture; keeps the result at `place` if it is large or took long to make."""
    root = files.root
    headers: dict[str, Header] = {}
    bad: list[str] = []
    for name in track(names, len(names), "reading headers") if len(names) >= WORTH_KEEPING else names:
        try:
            headers[name] = read_header(files.read(name), f"{root}/{name}")
        except OSError as error:
            bad.append(f"{name} ({error})")
    refuse(root, bad, len(names), data.bad_share)

    sizes = {name: header.size for name, header in headers.items()}
    side = common_side(root, sizes, data.resolution)
    scale, damaged = scale_of(files, [name for name in headers if headers[name].deep], data.range)
    bad += damaged.values()
    sizes = {name: size for name, size in sizes.items() if name not in damaged}
    channels = data.channels or common_channels({header.kind for header in headers.values()})
    store = Store(root, "pictures", len(names), data.bad_share, int(data.memory * 2**30), place)

    def fill(channels: int, scale: Scale) -> Pictures:
        def read(name: str) -> Pixels:
            return decode(files.read(name), channels, side, name, scale)

        def remarks(kept: list[str]) -> list[str]:
            return _remarks(root, [headers[name] for name in kept], side, channels, scale)

        return store.fill((channels, side, side), sizes, read, list(bad), remarks)

    pictures = fill(channels, scale)
    # what only their pixels tell, and is seldom so: then they are read once more
    again = (channels, scale)
    if channels == 4 and data.channels is None and _is_opaque(pictures.images):
        again = (1 if all(header.grey for header in headers.values()) else 3, scale)
    if data.range is None and (shades := shades_of(pictures.images[:, :3])) is not None:
        again = (again[0], replace(scale, shallow=shades))
    if again != (channels, scale):
        pictures = fill(*again)
    if again[0] < channels:
        pictures.notes.append(f"{root}: alpha is opaque in all pictures, and left out")
    deep = any(header.deep for header in headers.values())
    return store.keep(replace(pictures, range=again[1].deep if deep else again[1].shallow))


def scale_of(files: Files, deep: list[str], given: Range | None) -> tuple[Scale, dict[str, str]]:
    """The scale of a set, of which these pictures have more than 8 bits, and those of them that cannot be decoded.

    given: the recipe's range.
    """
    if given is not None:
        if not deep and given[1] > 255:
            raise ZerosumError(
                f"{files.root}: data.range = {given[0]:g} to {given[1]:g}, but its pictures have 8 bits: 0 to 255"
            )
        return Scale(deep=given) if deep else Scale(shallow=given), {}
    found: Values | None = None
    damaged: dict[str, str] = {}
    progress = "reading values" if len(deep) >= WORTH_KEEPING else None
    for name, values in zip(deep, decoded(lambda name: values_in(files.read(name)), deep, progress), strict=True):
        if isinstance(values, OSError):
            damaged[name] = f"{name} ({values})"
        else:
            found = values if found is None else found | values
    return PLAIN if found is None else Scale(deep=range_of(found, str(files.root))), damaged


def values_in(data: bytes) -> Values:
    """Of a picture with more than 8 bits. OSError for what is damaged, or holds NaN."""
    try:
        with _open(data, "image") as image:
            return Values.of(np.asarray(image))
    except DAMAGE as error:
        raise OSError(f"damaged: {error}") from None


def shades_of(images: Pixels) -> Range | None:
    """0 to the highest value, where bytes (N, ...) hold a mask or counted shades instead of brightness."""
    highest = 0
    for start in range(0, len(images), 64):
        highest = max(highest, int(images[start : start + 64].max()))
        if highest > SHADES:
            return None
    return (0.0, float(highest)) if highest > 0 else None


def _is_opaque(images: Pixels) -> bool:
    return all(bool((images[start : start + 64, 3] == 255).all()) for start in range(0, len(images), 64))


def common_side(root: Path, sizes: Mapping[str, tuple[int, int]], resolution: int | None) -> int:
    """The resolution, or the side that all pictures have in common; ZerosumError where they have none."""
    sides = {min(size) for size in sizes.values()}
    if resolution is None and len(sides) > 1:
        raise ZerosumError(
            f"{root}: pictures differ in size ({min(sides)} to {max(sides)}): {setting('data.resolution', 64)}"
        )
    return resolution or sides.pop()


def common_channels(kinds: set[str]) -> int:
    """1 where all pictures are grey, 4 where all have alpha, else 3."""
    return 1 if kinds == {"grey"} else 4 if kinds == {"alpha"} else 3


@dataclass(frozen=True)
class Store:
    """Where decoded pictures, or pairs of them, go: into memory, or into a file at `place` if there are many."""

    root: Path
    #: pictures or pairs, for remarks, and how many there were before any was left out
    what: str
    total: int
    bad_share: float
    #: bytes beyond which they live in a memory map
    budget: int
    place: Path

    def fill(
        self,
        shape: tuple[int, int, int],
        sizes: Mapping[str, tuple[int, int]],
        read: Callable[[str], Pixels],
        bad: list[str],
        remarks: Callable[[list[str]], list[str]],
    ) -> Pictures:
        """Decodes everything.

        sizes: of what is to be read, by name. read: gives one of them in this shape, OSError for what is damaged. bad:
        what could not be read before; more may come. remarks: what is worth telling of those that were read.
        """
        whole = (len(sizes), *shape)
        large = math.prod(whole) > self.budget
        images: Any = memory_map(self._draft, whole) if large else np.empty(whole, np.uint8)
        kept: list[str] = []
        progress = "decoding pictures" if len(sizes) >= WORTH_KEEPING else None
        for name, result in zip(sizes, decoded(read, list(sizes), progress), strict=True):
            if isinstance(result, OSError):
                bad.append(f"{name} ({result})")
            else:
                images[len(kept)] = result
                kept.append(name)
        refuse(self.root, bad, self.total, self.bad_share)

        notes = remarks(kept)
        if bad:
            notes.insert(
                0, f"{self.root}: skipped {len(bad)} of {self.total} {self.what} that cannot be read: {shown(bad)}"
            )
        squares = {min(sizes[name]) for name in kept}
        native = squares.pop() if len(squares) == 1 else shape[2]
        return Pictures(images[: len(kept)], kept, native, notes, unreadable=len(bad))

    def keep(self, pictures: Pictures) -> Pictures:
        """The same, in the cache for the next time if there are many."""
        draft = self._draft
        if isinstance(pictures.images, np.memmap) or self.total >= WORTH_KEEPING:
            with suppress(OSError):  # what cannot be kept costs time, nothing else
                _keep(pictures, draft, self.place)
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return pictures

    @property
    def _draft(self) -> Path:
        return self.place.with_suffix(f".{os.getpid()}.part")


def _keep(pictures: Pictures, draft: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pictures.images, np.memmap):
        pictures.images.flush()
    else:
        with draft.open("wb") as file:
            np.save(file, pictures.images)
    known = {"shape": pictures.images.shape[1:], "names": pictures.names, "native": pictures.native}
    known |= {"notes": pictures.notes, "range": pictures.range, "unreadable": pictures.unreadable}
    place.with_suffix(".json").write_text(json.dumps(known), encoding="utf-8")
    draft.replace(place)


def refuse(root: Path, bad: list[str], total: int, share: float) -> None:
    if len(bad) == total:
        raise ZerosumError(f"{root}: none of its {total} pictures can be read: {bad[0]}")
    if len(bad) > share * total:
        raise ZerosumError(
            f"{root}: {len(bad)} of {total} pictures cannot be read, "
            f"more than data.bad_share = {share:g} allows: {bad[0]}"
        )


def read_header(data: bytes, where: str) -> Header:
    """Size and kind without decoding. OSError for what is no picture, ZerosumError for one too large to decode."""
    with _open(data, where) as image:
        traits = []
        size = image.size
        try:
            # Pillow decodes a whole PNG to look for EXIF after its pixels
            known = image.format != "PNG" or "exif" in image.info
            turn = image.getexif().get(0x0112, 1) if known else 1
            frames = getattr(image, "n_frames", 1)
        except DAMAGE as error:
            raise OSError(f"damaged: {error}") from None
        if turn in (5, 6, 7, 8):
            size = (size[1], size[0])
        if turn not in (0, 1):
            traits.append("rotated as their EXIF says")
        if frames > 1 and image.format != "MPO":  # there, smaller copies of the same picture follow
            traits.append("animated: first frame taken")
        deep = image.mode.startswith("I") or image.mode == "F"
        if image.format == "PNG" and data[24:25] == b"\x10" and not deep:
            traits.append("with 16 bits a colour, of which the upper 8 are read")
        if not deep and image.mode not in ("L", "RGB", "RGBA", "LA", "1"):
            traits.append({"P": "palette", "CMYK": "CMYK"}.get(image.mode, image.mode) + ", converted")
        alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
        grey = image.mode in ("1", "L", "LA", "La") or deep
        return Header(size, "alpha" if alpha else "grey" if grey else "colour", tuple(traits), grey, deep)


def _open(data: bytes, where: str) -> Image.Image:
    if not data:
        raise OSError("empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise OSError("not a picture") from None
    except Image.DecompressionBombError:
        raise ZerosumError(f"{where}: its header claims far too many pixels; a decompression bomb? Remove it") from None
    except DAMAGE as error:
        raise OSError(f"damaged: {error}") from None
    if image.width * image.height > MOST_PIXELS:
        millions = image.width * image.height / 1e6
        raise ZerosumError(
            f"{where}: {image.width}x{image.height} is {millions:.0f} million pixels, more than the "
            f"{MOST_PIXELS / 1e6:.0f} that are decoded; a decompression bomb? Remove or shrink it"
        )
    return image


def decode_whole(data: bytes, channels: int, where: str = "image", scale: Scale = PLAIN) -> Pixels:
    """One picture at its own size, (channels, height, width) uint8. OSError for what is damaged."""
    try:
        with _open(data, where) as opened:
            pixels = np.asarray(_convert(ImageOps.exif_transpose(opened), channels, scale), np.uint8)
    except DAMAGE as error:
        raise OSError(f"damaged: {error}") from None
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def decode(data: bytes, channels: int, resolution: int, where: str = "image", scale: Scale = PLAIN) -> Pixels:
    """One picture as (channels, resolution, resolution) uint8. OSError for what is damaged."""
    try:
        with _open(data, where) as opened, _ALONE if opened.width * opened.height > LARGE else nullcontext():
            opened.seek(0)
            if channels != 4 and min(opened.size) >= 4 * resolution and not is_padded(min(opened.size), resolution):
                opened.draft(None, (2 * resolution, 2 * resolution))  # JPEG only: decodes at a fraction of the size
            image = ImageOps.exif_transpose(opened)
            image = fit_image(_convert(image, channels, scale), resolution)
    except DAMAGE as error:
        raise OSError(f"damaged: {error}") from None
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def read_whole(root: Path, channels: int, values: Range = BYTES) -> Iterator[tuple[str, Pixels | OSError]]:
    """Each picture of a folder or zip, or one file, at its own size (channels, height, width), with its name.

    values: those that became 0 and 255 when a generator learnt from such pictures. ZerosumError where there is none.
    """
    scale = Scale(deep=values) if values[1] > 255 else Scale(shallow=values)
    if root.is_file() and root.suffix.lower() in SUFFIXES:
        files, names = Files(root.parent), [root.name]
    elif root.exists():
        files = Files(root)
        names = files.pictures
    else:
        raise ZerosumError(f"{root}: no such file or folder of pictures")
    with closing(files):
        if not names:
            raise ZerosumError(f"{root}: no pictures ({', '.join(sorted(SUFFIXES))}) in it")
        for name in names:
            try:
                yield name, decode_whole(files.read(name), channels, name, scale)
            except OSError as error:
                yield name, error
            except ZerosumError as error:  # far too large
                yield name, OSError(str(error))


def _convert(image: Image.Image, channels: int, scale: Scale) -> Image.Image:
    """Mode L, RGB or RGBA."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise ValueError("has NaN or infinite values")
        image = Image.fromarray(to_bytes(values, scale.deep))
    elif scale.shallow != BYTES and image.mode != "1":
        image = _stretched(image, scale.shallow)
    if channels == 4:
        return image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _stretched(image: Image.Image, values: Range) -> Image.Image:
    """The same with all bands but alpha brought to 0 ... 255."""
    image = image.convert(
        "RGBA" if image.mode in ("RGBA", "PA", "RGBa") or "transparency" in image.info else image.mode
    )
    image = image.convert("RGB") if image.mode not in ("L", "LA", "RGB", "RGBA") else image
    table = to_bytes(np.arange(256), values).tolist()
    same = list(range(256))
    return image.point([level for band in image.getbands() for level in (same if band == "A" else table)])


def decoded(read: Callable[[str], Result], names: list[str], progress: str | None = None) -> Iterator[Result | OSError]:
    """Pictures in order, decoded by as many threads as there are cores: Pillow works outside the interpreter's lock.

    read: of a name; it may raise OSError. progress: what a bar says.
    """

    def one(name: str) -> Result | OSError:
        try:
            return read(name)
        except OSError as error:
            return error

    chunk = 256  # bounds what is decoded ahead of its use
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = (names[start : start + chunk] for start in range(0, len(names), chunk))
        results = (result for part in chunks for result in pool.map(one, part))
        yield from results if progress is None else track(results, len(names), progress)


def _remarks(root: Path, headers: list[Header], side: int, channels: int, scale: Scale) -> list[str]:
    """One line for each kind of picture that was not simply taken as it is."""
    total = len(headers)
    counts = Counter(trait for header in headers for trait in header.traits)
    counts[f"of more than 8 bits: {described(scale.deep)} become 0 to 255"] = sum(header.deep for header in headers)
    if scale.shallow != BYTES:
        counts[f"hold {described(scale.shallow)}, which become 0 to 255"] = sum(not header.deep for header in headers)
    if channels != 4:
        counts["with alpha, laid on white"] = sum(header.kind == "alpha" for header in headers)
    if channels == 3:
        counts["grey, taken as colour"] = sum(header.kind == "grey" for header in headers)
    if channels == 1:
        counts["in colour, taken as grey"] = sum(header.kind == "colour" for header in headers)
    counts[f"not square: centre cut out for {side}x{side}"] = sum(h.size[0] != h.size[1] for h in headers)
    lines = [f"{root}: {count} of {total} pictures {what}" for what, count in counts.items() if count]
    squares = {min(header.size) for header in headers}
    if len(squares) > 1:
        lines.append(f"{root}: pictures of {min(squares)} to {max(squares)} pixels, all resized to {side}x{side}")
    elif side < 8:
        raise ZerosumError(f"{root}: pictures of {side}x{side} are too small: {setting('data.resolution', 16)}")
    return lines
