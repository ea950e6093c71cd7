"""A folder or zip of picture files, with labels from class folders or from metadata.csv.

Every picture is decoded once. Headers are read first, so that what cannot be used is known, and named, before any pixel
is decoded. Rotations in EXIF are applied, 16-bit values scaled, palettes and CMYK converted, alpha laid on white unless
every picture has it, and of animations the first frame is taken.
"""

import csv
import hashlib
import io
import json
import os
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zerosum.data.arrays import memory_map
from zerosum.data.fit import Pixels, fit_image, is_padded
from zerosum.errors import ZerosumError
from zerosum.progress import track

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
#: what Pillow raises on damaged files
DAMAGE = (
    *(ValueError, SyntaxError, IndexError, TypeError, KeyError, AttributeError),
    *(ArithmeticError, EOFError, MemoryError, struct.error),
)
METADATA = "metadata.csv"

#: a picture with more pixels is refused before it is decoded
MOST_PIXELS = 80_000_000
#: so is a file of more bytes once unpacked
MOST_BYTES = 256 * 2**20

#: sets of at least so many pictures are kept decoded in the data folder, so that they open at once the next time
WORTH_KEEPING = 1000


class Files:
    """The files of a folder or zip by their path inside it, read one at a time. Links out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.zip: zipfile.ZipFile | None = None
        if root.is_dir():
            inside = root.resolve()
            found = [path for path in root.rglob("*") if path.is_file() and path.resolve().is_relative_to(inside)]
            self.sizes = {path.relative_to(root).as_posix(): path.stat() for path in found}
            self.stamps = {name: (stat.st_size, stat.st_mtime_ns) for name, stat in self.sizes.items()}
        else:
            try:
                self.zip = zipfile.ZipFile(root)
            except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, IndexError, struct.error) as error:
                raise ZerosumError(f"{root}: not a readable zip: {error}") from None
            members = [info for info in self.zip.infolist() if not info.is_dir()]
            members = [info for info in members if not info.filename.startswith("/")]
            self.stamps = {info.filename: (info.file_size, info.CRC) for info in members}
        hidden = (".", "__MACOSX")
        self.names = sorted(n for n in self.stamps if not any(part.startswith(hidden) for part in n.split("/")))

    def read(self, name: str) -> bytes:
        """OSError for what cannot be read, or is too large to be a picture."""
        if self.stamps[name][0] > MOST_BYTES:
            raise OSError(f"{self.stamps[name][0]:,} bytes is too large")
        if self.zip is None:
            return (self.root / name).read_bytes()
        try:
            return self.zip.read(name)
        except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, zlib.error, IndexError, struct.error) as error:
            raise OSError(f"damaged in the zip ({error})") from None

    def close(self) -> None:
        if self.zip is not None:
            self.zip.close()


@dataclass
class Pictures:
    """Fitted pictures (N, channels, resolution, resolution) with their labels' columns of words, and remarks."""

    images: Pixels
    native: int
    columns: dict[str, list[str]] | None
    notes: list[str]


@dataclass(frozen=True)
class Header:
    size: tuple[int, int]
    kind: str  # grey, colour or alpha
    traits: tuple[str, ...]


def read_images(
    root: Path, split: str, resolution: int | None, channels: int | None, bad_share: float, budget: int, cache: Path
) -> Pictures:
    """All usable pictures under a folder or in a zip. ZerosumError, in one line, for what cannot be learned from.

    budget: bytes above which the decoded pictures live in a memory-mapped file in the folder `cache`.
    """
    with closing(Files(root)) as files, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow on odd files; here, since threads share the filters
        names, columns, notes = _select(files, split)
        kept, headers, bad = [], [], []
        for name in track(names, len(names), "reading headers") if len(names) >= WORTH_KEEPING else names:
            try:
                headers.append(read_header(files.read(name), f"{root}/{name}"))
                kept.append(name)
            except OSError as error:
                bad.append(f"{name} ({error})")
        _refuse(root, bad, len(names), bad_share)
        if not kept:
            raise ZerosumError(f"{root}: none of its {len(names)} pictures can be read: {bad[0]}")

        sides = {min(header.size) for header in headers}
        if resolution is None and len(sides) > 1:
            raise ZerosumError(
                f"{root}: pictures differ in size ({min(sides)} to {max(sides)}): --set data.resolution=64"
            )
        side = resolution or sides.pop()
        if channels is None:
            kinds = {header.kind for header in headers}
            channels = 1 if kinds == {"grey"} else 4 if kinds == {"alpha"} else 3
        images, fine, unreadable = _decode_all(files, kept, (channels, side), budget, cache)
        bad += unreadable
        _refuse(root, bad, len(names), bad_share)
        if not any(fine):
            raise ZerosumError(f"{root}: none of its {len(names)} pictures can be read: {bad[0]}")

    headers = [header for header, good in zip(headers, fine, strict=True) if good]
    kept = [name for name, good in zip(kept, fine, strict=True) if good]
    if bad:
        shown = "; ".join(bad[:3]) + (" ..." if len(bad) > 3 else "")
        notes.append(f"{root}: skipped {len(bad)} of {len(names)} pictures that cannot be read: {shown}")
    notes += _remarks(root, headers, side, channels)
    squares = {min(header.size) for header in headers}
    place = {name: row for row, name in enumerate(names)}
    words = {key: [column[place[name]] for name in kept] for key, column in columns.items()} if columns else None
    return Pictures(images, squares.pop() if len(squares) == 1 else side, words, notes)


def _refuse(root: Path, bad: list[str], total: int, share: float) -> None:
    if len(bad) > share * total:
        raise ZerosumError(
            f"{root}: {len(bad)} of {total} pictures cannot be read, "
            f"more than data.bad_share = {share:g} allows: {bad[0]}"
        )


def _select(files: Files, split: str) -> tuple[list[str], dict[str, list[str]] | None, list[str]]:
    """Names of the pictures of a split, the columns of their labels, and notes."""
    root, notes = files.root, []
    listed = [name for name in files.names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not listed:
        raise ZerosumError(f"{root}: no pictures ({', '.join(sorted(SUFFIXES))}) in it")
    other = [
        n
        for n in files.names
        if n not in set(listed) and PurePosixPath(n).suffix.lower() not in (".csv", ".md", ".txt")
    ]
    if other:
        notes.append(f"{root}: {len(other)} files are no pictures and are left out: {', '.join(other[:3])}")
    tables = [name for name in files.names if PurePosixPath(name).name == METADATA]
    tops = {name.split("/")[0] if "/" in name else "" for name in listed}
    if "train" in tops and tops <= {"train", "test", "val", "valid"}:
        listed = [name for name in listed if name.startswith(split + "/")]
        tables = [name for name in tables if name.startswith(split + "/")]
    elif split == "test":
        raise ZerosumError(f"{root} has no test split: no folders train and test in it")
    if not listed:
        raise ZerosumError(f"{root}: no pictures in its folder {split}")
    if tables:
        return *_from_table(files, listed, tables[0], notes), notes
    common = os.path.commonpath([str(PurePosixPath(name).parent) for name in listed])
    folders = [PurePosixPath(name).relative_to(common).parts for name in listed]
    classes = [parts[0] for parts in folders if len(parts) > 1]
    if len(classes) == len(listed) and len(set(classes)) > 1:
        return listed, {"class": classes}, notes
    return listed, None, notes


def _from_table(
    files: Files, listed: list[str], table: str, notes: list[str]
) -> tuple[list[str], dict[str, list[str]]]:
    where = f"{files.root}/{table}"
    base = PurePosixPath(table).parent
    try:
        text = files.read(table).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ZerosumError(f"{where}: not a readable CSV: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if "file_name" not in header or len(set(header)) != len(header):
        raise ZerosumError(f"{where}: its first line must name each column once, file_name among them; it has {header}")
    at = header.index("file_name")
    body = [(number, row) for number, row in enumerate(rows[1:], 2) if any(word.strip() for word in row)]
    names: list[str] = []
    missing: list[str] = []
    seen: dict[str, int] = {}
    known = set(listed)
    for number, row in body:
        if len(row) != len(header):
            raise ZerosumError(
                f"{where}, line {number}: {len(row)} values where the first line names {len(header)} columns"
            )
        name = str(base / row[at].strip())
        if name in seen:
            raise ZerosumError(f"{where}, line {number}: {row[at]} stands there already in line {seen[name]}")
        seen[name] = number
        if name not in known:
            missing.append(f"{row[at]} (line {number})")
        names.append(name)
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise ZerosumError(f"{where}: {len(missing)} of its {len(names)} files are not there, or no pictures: {shown}")
    if not names:
        raise ZerosumError(f"{where}: lists no files")
    unlisted = len(known) - len(names)
    if unlisted:
        notes.append(f"{where}: {unlisted} pictures are not listed in it and are left out")
    columns = {key: [row[i].strip() for _, row in body] for i, key in enumerate(header) if i != at}
    return names, columns


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
        if frames > 1:
            traits.append("animated: first frame taken")
        if image.mode.startswith("I"):
            traits.append("16-bit, scaled to 8")
        elif image.mode == "F":
            raise OSError("floating-point pixels")
        elif image.mode not in ("L", "RGB", "RGBA", "LA", "1"):
            traits.append({"P": "palette", "CMYK": "CMYK"}.get(image.mode, image.mode) + ", converted")
        alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
        grey = image.mode in ("1", "L") or image.mode.startswith("I")
        return Header(size, "alpha" if alpha else "grey" if grey else "colour", tuple(traits))


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


def decode(data: bytes, channels: int, resolution: int, where: str = "image") -> Pixels:
    """One picture as (channels, resolution, resolution) uint8. OSError for what is damaged."""
    try:
        with _open(data, where) as opened:
            opened.seek(0)
            if channels != 4 and min(opened.size) >= 4 * resolution and not is_padded(min(opened.size), resolution):
                opened.draft(None, (2 * resolution, 2 * resolution))  # JPEG only: decodes at a fraction of the size
            image = ImageOps.exif_transpose(opened)
            image = fit_image(_convert(image, channels), resolution)
    except DAMAGE as error:
        raise OSError(f"damaged: {error}") from None
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _convert(image: Image.Image, channels: int) -> Image.Image:
    """Mode L, RGB or RGBA."""
    if image.mode.startswith("I"):
        image = Image.fromarray(np.clip(np.rint(np.asarray(image, np.float64) / 257), 0, 255).astype(np.uint8))
    if channels == 4:
        return image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _decode_all(
    files: Files, names: list[str], shape: tuple[int, int], budget: int, cache: Path
) -> tuple[Pixels, list[bool], list[str]]:
    """The pictures that could be decoded, in order; which those are; and the others with their reasons."""
    channels, side = shape
    key = hashlib.sha256(
        repr((1, shape, [(name, files.stamps[name]) for name in names], str(files.root.resolve()))).encode()
    )
    place = cache / "decoded" / f"{files.root.stem}-{key.hexdigest()[:24]}.npy"
    large = len(names) * channels * side * side > budget
    if place.is_file() and place.with_suffix(".json").is_file():
        try:
            stored: Pixels = np.load(place, mmap_mode="r" if large else None, allow_pickle=False)
            found = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
            if (
                stored.dtype == np.uint8
                and stored.shape[1:] == (channels, side, side)
                and len(found["fine"]) == len(names)
                and len(stored) >= sum(found["fine"])
            ):
                return stored[: sum(found["fine"])], found["fine"], found["bad"]
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            pass  # written by something else or damaged: decode again
    full = (len(names), channels, side, side)
    draft = place.with_suffix(f".{os.getpid()}.part")
    images: Any = memory_map(draft, full) if large else np.empty(full, np.uint8)

    fine: list[bool] = []
    bad: list[str] = []
    for name, result in zip(names, _decoded(files, names, channels, side), strict=True):
        if isinstance(result, OSError):
            bad.append(f"{name} ({result})")
        else:
            images[sum(fine) if bad else len(fine)] = result
        fine.append(not isinstance(result, OSError))
    if large or len(names) >= WORTH_KEEPING:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if large:
                images.flush()
            else:
                with draft.open("wb") as file:
                    np.save(file, images)
            draft.replace(place)
            place.with_suffix(".json").write_text(json.dumps({"fine": fine, "bad": bad}), encoding="utf-8")
        except OSError:
            with suppress(OSError):
                draft.unlink()  # a cache that cannot be written costs time, nothing else
    return images[: sum(fine)], fine, bad


def _decoded(files: Files, names: list[str], channels: int, side: int) -> Iterator[Pixels | OSError]:
    """Pictures in order, decoded by as many threads as there are cores: Pillow works outside the interpreter's lock."""

    def one(name: str) -> Pixels | OSError:
        try:
            return decode(files.read(name), channels, side, name)
        except OSError as error:
            return error

    chunk = 256  # bounds what is decoded ahead of its use
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = (names[start : start + chunk] for start in range(0, len(names), chunk))
        results = (result for part in chunks for result in pool.map(one, part))
        yield from track(results, len(names), "decoding pictures") if len(names) >= WORTH_KEEPING else results


def _remarks(root: Path, headers: list[Header], side: int, channels: int) -> list[str]:
    """One line for each kind of picture that was not simply taken as it is."""
    total = len(headers)
    counts = Counter(trait for header in headers for trait in header.traits)
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
        raise ZerosumError(f"{root}: pictures of {side}x{side} are too small: --set data.resolution=16")
    return lines
