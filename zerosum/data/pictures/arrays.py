"""Arrays: `.npy` and `.npz` files as NumPy, Keras, MedMNIST and others name them, and the digits of scikit-learn."""

import math
import re
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from zerosum.data.pictures.files import ZIP_DAMAGE, is_inside
from zerosum.data.pictures.fit import Pixels, fit_array
from zerosum.data.pictures.values import Range, Values, range_of, to_bytes
from zerosum.errors import NoTestSplit, ZerosumError

Array = np.ndarray[Any, Any]

#: what damaged .npy and .npz files raise
ARRAY_DAMAGE = (*ZIP_DAMAGE, OSError, tokenize.TokenError, SyntaxError, TypeError, KeyError, MemoryError)

#: what images and labels of each split are called, in small letters
IMAGES = {
    "train": (
        *("images", "x_train", "x", "arr_0", "train_images", "train_x", "trainx", "images_train", "xtrain"),
        *("data", "imgs", "image", "img", "pixels", "samples", "features"),
    ),
    "test": (
        *("x_test", "test_images", "test_x", "testx", "images_test", "xtest"),
        *("x_val", "val_images", "val_x", "images_val", "x_valid", "valid_images"),
    ),
}
LABELS = {
    "train": (
        *("labels", "y_train", "y", "arr_1", "train_labels", "train_y", "trainy", "labels_train", "ytrain"),
        *("label", "targets", "target", "classes"),
    ),
    "test": (
        *("y_test", "test_labels", "test_y", "testy", "labels_test", "ytest"),
        *("y_val", "val_labels", "val_y", "labels_val", "y_valid", "valid_labels"),
    ),
}

#: images converted at a time
CHUNK = 1024
#: bytes that a file may unpack to where nothing else is said
MOST = 2**32


def read_npy(path: Path, split: str, budget: int = MOST) -> tuple[Array, Array | None, str]:
    """Images and labels of a .npy (memory-mapped) or .npz file, and what they are called.

    A file may hold both splits, or say train in its name and have the test one beside it; labels may be in it or beside
    it. budget: bytes of memory that an .npz may unpack to. NoTestSplit where none is named.
    """
    if path.suffix.lower() == ".npy":
        partner = _other_split(path) if split == "test" else path
        if partner is None:
            raise NoTestSplit(f"{path} has no test split")
        return _mapped(partner), *_labels_beside(partner, budget)
    with _opened(path) as file:
        images, labels = _pick(file.files, split, {name: _shape(file, name) for name in file.files})
        if images is None:
            partner = _other_split(path) if split == "test" else None
            if partner is not None:
                return read_npy(partner, "train", budget)
            kind = NoTestSplit if split == "test" else ZerosumError
            known = ", ".join(IMAGES[split])
            raise kind(f"{path} has arrays {', '.join(file.files)}: expected one of {known}")
        check_unpacked(file, [name for name in (images, labels) if name], budget, path)
        try:
            found = file[images], file[labels] if labels else None
        except ARRAY_DAMAGE as error:
            raise ZerosumError(f"{path}: not a readable array file: {error}") from None
    if labels:
        return *found, labels
    return found[0], *_labels_beside(path, budget)


def _pick(names: list[str], split: str, shapes: dict[str, tuple[int, ...]]) -> tuple[str | None, str | None]:
    """The arrays of images and of labels, by the names that the field gives them; else the only one of their shape."""
    plain = {re.sub(r"[\s-]", "_", name.lower()): name for name in names}
    images, labels = (next((plain[one] for one in known[split] if one in plain), None) for known in (IMAGES, LABELS))
    if images is None and split == "train":
        fitting = [name for name in names if len(shapes[name]) in (3, 4) and not re.search(r"test|val", name.lower())]
        images = fitting[0] if len(fitting) == 1 else None
    return images, labels


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open .npz."""
    try:
        with path.open("rb") as opened:
            if opened.read(2) != b"PK":
                raise ZerosumError(f"{path}: not a readable array file: no .npz")
            opened.seek(0)
            file = np.load(opened, allow_pickle=False)
            yield file
    except ARRAY_DAMAGE as error:
        raise ZerosumError(f"{path}: not a readable array file: {error}") from None


def _shape(file: Any, name: str) -> tuple[int, ...]:
    """Of an array in an .npz, from its header alone; () where that is damaged."""
    member = name if name in file.zip.namelist() else f"{name}.npy"
    try:
        with file.zip.open(member) as opened:
            version = np.lib.format.read_magic(opened)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape: tuple[int, ...] = read(opened)[0]
            return shape
    except ARRAY_DAMAGE:
        return ()


def _mapped(path: Path) -> Array:
    try:
        with path.open("rb") as opened:
            if opened.read(6) != b"\x93NUMPY":
                raise ZerosumError(f"{path}: not a readable array file: no .npy")
        mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ARRAY_DAMAGE as error:
        raise ZerosumError(f"{path}: not a readable array file: {error}") from None
    return mapped


def _other_split(path: Path) -> Path | None:
    """The file of test images beside one of training images, as k49-test-imgs.npz is beside k49-train-imgs.npz."""
    for word in ("test", "t10k", "val"):
        name = re.sub(r"train(ing)?", word, path.name, count=1)
        if name != path.name and is_inside(path.with_name(name), path.parent):
            return path.with_name(name)
    return None


def _labels_beside(path: Path, budget: int) -> tuple[Array | None, str]:
    """The labels of images in a file of their own, as y_train.npy is beside x_train.npy; None, and "" without any."""
    for image, label in (("images", "labels"), ("imgs", "labels"), ("image", "label"), ("X", "y"), ("x", "y")):
        name = re.sub(rf"(?<![A-Za-z]){image}(?![A-Za-z])", label, path.name, count=1)
        beside = path.with_name(name)
        if name == path.name or not is_inside(beside, path.parent):
            continue
        if beside.suffix.lower() == ".npy":
            return np.array(_mapped(beside)), name
        with _opened(beside) as file:
            if len(file.files) == 1:
                check_unpacked(file, file.files, budget, beside)
                return file[file.files[0]], name
    return None, ""


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
    """(N, H, W), (N, H, W, C), (N, C, H, W), or flat (N, H * H) or (N, 3 * H * H) -> (N, C, H, W), as a view."""
    if images.ndim >= 2 and 0 in images.shape:
        raise ZerosumError(f"{where}: shape {images.shape} has no pixels")
    if images.ndim == 2:
        for channels in (1, 3):
            side = math.isqrt(images.shape[1] // channels)
            if side >= 8 and channels * side**2 == images.shape[1]:
                return images.reshape(-1, channels, side, side)
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3, 4):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3, 4):
        return images.transpose(0, 3, 1, 2)
    raise ZerosumError(
        f"{where}: shape {images.shape} is no (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels"
    )


def values_of(images: Array, where: str) -> Values:
    """The extremes of an array, a part of it at a time; ZerosumError for NaN and for what holds no numbers."""
    result: Values | None = None
    try:
        for start in range(0, len(images), CHUNK):
            part = Values.of(images[start : start + CHUNK])
            result = part if result is None else result | part
    except ValueError as error:
        raise ZerosumError(f"{where}: {error}") from None
    if result is None:
        raise ZerosumError(f"{where}: {images.dtype} values cannot be pixels: there are none")
    return result


def to_uint8(images: Array, where: str) -> Pixels:
    """Images (N, ...) that somebody hands over, as bytes: bytes as they are, other values by what all of them are."""
    if images.dtype == np.uint8:
        return images
    values, result = range_of(values_of(images, where), where), np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        result[start : start + CHUNK] = to_bytes(images[start : start + CHUNK], values)
    return result


def is_opaque(images: Array, values: Range) -> bool:
    """Whether the fourth channel of images (N, 4, H, W) is opaque in all of them."""
    highest = max(values[1], float(images[: min(len(images), 64), 3].max()))
    return all(bool((images[start : start + CHUNK, 3] == highest).all()) for start in range(0, len(images), CHUNK))


def fit_into(result: Pixels, images: Array, values: Range) -> None:
    """Images as bytes, fitted, into an array (N, C, resolution, resolution), a part at a time."""
    for start in range(0, len(images), CHUNK):
        result[start : start + CHUNK] = fit_array(to_bytes(images[start : start + CHUNK], values), result.shape[-1])


def memory_map(path: Path, shape: tuple[int, ...]) -> Any:
    """A new array of bytes in a .npy file, for what does not fit in memory."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    except OSError as error:
        raise ZerosumError(
            f"cannot write decoded images to {path.parent}: {error.strerror}; set ZEROSUM_CACHE"
        ) from None


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
