"""Arrays: `.npy` and `.npz` files, the four IDX files of MNIST and its kin, and the digits of scikit-learn."""

import gzip
import math
import struct
import tokenize
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from zerosum.data.files import ZIP_DAMAGE, is_inside
from zerosum.data.fit import Pixels, fit_array
from zerosum.errors import NoTestSplit, ZerosumError

Array = np.ndarray[Any, Any]

#: what damaged .npy and .npz files raise
ARRAY_DAMAGE = (*ZIP_DAMAGE, OSError, tokenize.TokenError, SyntaxError, TypeError, KeyError, MemoryError)

#: images converted at a time
CHUNK = 1024
#: bytes that a file may unpack to where nothing else is said
MOST = 2**32


def read_npy(path: Path, split: str, budget: int = MOST) -> tuple[Array, Array | None]:
    """Images and labels of a .npy (memory-mapped) or .npz file; test images only where the file names some.

    budget: bytes of memory that an .npz may unpack to.
    """
    names = {"train": (("images", "x_train", "x", "arr_0"), ("labels", "y_train", "y", "arr_1")),
             "test": (("x_test", "test_images"), ("y_test", "test_labels"))}[split]  # fmt: skip
    try:
        if path.suffix.lower() == ".npy":
            if split == "test":
                raise NoTestSplit(f"{path} has no test split")
            with path.open("rb") as opened:
                if opened.read(6) != b"\x93NUMPY":
                    raise ZerosumError(f"{path}: not a readable array file: no .npy")
            return np.load(path, mmap_mode="r", allow_pickle=False), None
        with path.open("rb") as opened:
            if opened.read(2) != b"PK":
                raise ZerosumError(f"{path}: not a readable array file: no .npz")
            opened.seek(0)
            file = np.load(opened, allow_pickle=False)
            found = [next((name for name in group if name in file), None) for group in names]
            if found[0] is None:
                kind = NoTestSplit if split == "test" else ZerosumError
                raise kind(f"{path} has arrays {', '.join(file.files)}: expected one of {', '.join(names[0])}")
            check_unpacked(file, [name for name in found if name], budget, path)
            return file[found[0]], file[found[1]] if found[1] else None
    except ARRAY_DAMAGE as error:
        raise ZerosumError(f"{path}: not a readable array file: {error}") from None


def check_unpacked(file: Any, names: list[str], budget: int, path: Path) -> None:
    """ZerosumError if arrays of an open .npz take more than so many bytes of memory; a bomb may be small on disk."""
    sizes = {info.filename.removesuffix(".npy"): info.file_size for info in file.zip.infolist()}
    total = sum(sizes.get(name.removesuffix(".npy"), 0) for name in names)
    if total > budget:
        raise ZerosumError(
            f"{path}: unpacks to {total / 2**30:.2f} GiB, more than {budget / 2**30:g}: raise data.memory, or save it "
            "as .npy, which is read through a memory map"
        )


def arrange(images: Array, where: str) -> Array:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) -> (N, C, H, W), as a view."""
    if images.ndim >= 3 and 0 in images.shape:
        raise ZerosumError(f"{where}: shape {images.shape} has no pixels")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3, 4):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3, 4):
        return images.transpose(0, 3, 1, 2)
    raise ZerosumError(
        f"{where}: shape {images.shape} is no (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels"
    )


def to_uint8(images: Array, where: str) -> "ToUint8":
    """How to bring these values to 0 ... 255: as they are, from 16 bits, or from floats in [0, 1] or [-1, 1]."""
    if images.dtype == np.uint8:
        return ToUint8(1.0, 0.0)
    if images.dtype == np.uint16:
        return ToUint8(1 / 257, 0.0)
    if images.dtype.kind not in "fiu" or len(images) == 0:
        raise ZerosumError(f"{where}: {images.dtype} values cannot be pixels")
    parts = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ZerosumError(f"{where}: has NaN or infinite values")
    if images.dtype.kind == "f" and high <= 1:
        if low >= 0:
            return ToUint8(255.0, 0.0)
        if low >= -1:
            return ToUint8(127.5, 127.5)
    if low >= 0 and high <= 255:
        return ToUint8(1.0, 0.0)
    raise ZerosumError(f"{where}: values from {low:g} to {high:g}: expected 0 to 255, 0 to 1, or -1 to 1")


class ToUint8:
    """value -> round(value * scale + shift)"""

    def __init__(self, scale: float, shift: float) -> None:
        self.scale, self.shift = scale, shift

    def __call__(self, part: Array) -> Pixels:
        if part.dtype == np.uint8:
            return part
        return np.rint(part.astype(np.float64) * self.scale + self.shift).astype(np.uint8)


def fit_into(result: Pixels, images: Array, convert: ToUint8) -> None:
    """Converted and fitted images into an array (N, C, resolution, resolution), a chunk at a time."""
    for start in range(0, len(images), CHUNK):
        result[start : start + CHUNK] = fit_array(convert(images[start : start + CHUNK]), result.shape[-1])


def memory_map(path: Path, shape: tuple[int, ...]) -> Any:
    """A new array of bytes in a .npy file, for what does not fit in memory."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    except OSError as error:
        raise ZerosumError(
            f"cannot write decoded images to {path.parent}: {error.strerror}; set ZEROSUM_CACHE"
        ) from None


IDX_FILES = {"train": ("train-images", "train-labels"), "test": ("t10k-images", "t10k-labels")}


def is_idx(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("train-images*idx3-ubyte*"))


def read_idx_folder(folder: Path, split: str, budget: int = MOST) -> tuple[Array, Array]:
    """Images (N, H, W) and labels (N,) of a folder with the four IDX files, gzipped or not.

    budget: bytes of memory that each may take.
    """
    parts = []
    for stem, dimensions in zip(IDX_FILES[split], (3, 1), strict=True):
        found = sorted(path for path in folder.glob(f"{stem}*idx{dimensions}-ubyte*") if is_inside(path, folder))
        if not found:
            kind = NoTestSplit if split == "test" else ZerosumError
            raise kind(f"{folder}: {stem}-idx{dimensions}-ubyte.gz is missing")
        parts.append(read_idx(found[0], dimensions, budget))
    images, labels = parts
    if len(images) != len(labels):
        raise ZerosumError(f"{folder}: {len(images)} images but {len(labels)} labels")
    return images, labels


def read_idx(path: Path, dimensions: int, budget: int = MOST) -> Array:
    """An array of bytes in the IDX format: 0, 0, type 8, number of dimensions, each as a big-endian int, the data."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes((0, 0, 8, dimensions)):
                raise ZerosumError(f"{path}: not an IDX file of {dimensions} dimensions")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            count = math.prod(shape)
            if count > budget:
                raise ZerosumError(
                    f"{path}: has {count / 2**30:.2f} GiB of values, more than {budget / 2**30:g}: raise data.memory"
                )
            data = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ZerosumError(f"{path}: damaged: {error}") from None
    if len(data) != count:
        raise ZerosumError(f"{path}: damaged: holds {len(data)} values where its header says {count}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_digits(split: str) -> tuple[Array, Array]:
    """The 1,797 digits of scikit-learn, 8x8 with values 0 to 16, as uint8; every sixth is held out for testing."""
    # its file is read as it lies there, since importing scikit-learn takes longer than the first thirty steps
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ZerosumError("scikit-learn, which carries the digits, is not installed: pip install scikit-learn")
    rows = np.loadtxt(Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz", delimiter=",")
    test = np.arange(len(rows)) % 6 == 5
    chosen = rows[test if split == "test" else ~test]
    images, labels = chosen[:, :-1].reshape(-1, 8, 8), chosen[:, -1]
    return np.rint(images * (255 / 16)).astype(np.uint8), labels.astype(np.int64)
