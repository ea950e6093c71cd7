"""Made-up pictures, folders, zips and IDX files for tests."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.open import open_source
from zerosum.data.pictures.source import PictureSource
from zerosum.loading import validated
from zerosum.sections.picture import PictureData


def noise(*shape: int, seed: int = 0) -> Pixels:
    """Random uint8 values."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def colour(seed: int = 0, width: int = 16, height: int = 16) -> bytes:
    """A PNG of noise in colour."""
    return encoded(noise(height, width, 3, seed=seed))


def write(root: Path, files: Mapping[str, object]) -> Path:
    """These files, bytes or text, by their path below the root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_bytes(content))
    return root


def write_zip(path: Path, files: Mapping[str, object], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip with these members, bytes or text."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, as_bytes(content))
    return path


def as_bytes(content: object) -> bytes:
    assert isinstance(content, bytes | str)
    return content.encode() if isinstance(content, str) else content


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """A PNG of a few bytes that claims to have so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def idx(array: Pixels) -> bytes:
    """The bytes of an IDX file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def idx_folder(root: Path, count: int = 20, side: int = 28, classes: int = 10, zipped: bool = True) -> Path:
    """The four files of MNIST, with noise: `count` training samples and half as many for testing."""
    ending = ".gz" if zipped else ""
    for stem, number, seed in (("train", count, 0), ("t10k", count // 2, 1)):
        labels = (np.arange(number) % classes).astype(np.uint8)
        for name, array in (("images-idx3", noise(number, side, side, seed=seed)), ("labels-idx1", labels)):
            data = idx(array)
            write(root, {f"{stem}-{name}-ubyte{ending}": gzip.compress(data) if zipped else data})
    return root


def opened(uri: object, split: str = "train", labelled: bool = True, **keys: Any) -> PictureSource:
    """The source of a URI, with keys of the recipe's data section."""
    return opened_with_notes(uri, split, labelled, **keys)[0]


def opened_with_notes(
    uri: object, split: str = "train", labelled: bool = True, **keys: Any
) -> tuple[PictureSource, list[str]]:
    return open_source(validated(PictureData, {"uri": str(uri)} | keys, "data"), labelled, split)
