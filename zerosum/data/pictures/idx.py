"""The IDX files of MNIST, Fashion-MNIST, KMNIST and EMNIST, wherever tools and people have put them."""

import gzip
import math
import os
import re
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zerosum.data.pictures.arrays import MOST, Array
from zerosum.data.pictures.files import is_inside, shown
from zerosum.errors import NoTestSplit, ZerosumError, option

#: train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte
NAME = re.compile(
    r"(?P<set>(?:[\w-]*[-_])?)(?P<part>train|t10k|test)[-_](?P<what>images|labels)[-_.]idx(?P<dim>[13])[-_.]ubyte(?:\.gz)?",
    re.IGNORECASE,
)
#: folders below the one that is given in which the files are looked for, and entries that are looked at
DEEPEST, MOST_ENTRIES = 3, 50_000


@dataclass
class IdxSet:
    """The files of one set: (train or test, images or labels) -> path."""

    folder: Path
    name: str
    files: dict[tuple[str, str], Path] = field(default_factory=dict)

    def read(self, split: str, labelled: bool = True, budget: int = MOST) -> tuple[Array, Array | None, list[str]]:
        """Images (N, H, W), labels (N,), and remarks. labelled: the labels must be there, and are read.

        budget: bytes of memory that each may take.
        """
        stem = "train" if split == "train" else "t10k"
        path = self.files.get((split, "images"))
        if path is None:
            kind = NoTestSplit if split == "test" else ZerosumError
            raise kind(f"{self.folder}: {self.name}{stem}-images-idx3-ubyte.gz is missing")
        images, notes = read_idx(path, 3, budget), []
        if self.name.lower().startswith("emnist"):
            images = images.transpose(0, 2, 1)
            notes.append(f"{path.name}: EMNIST keeps its pictures lying on their side: turned upright")
        beside = self.files.get((split, "labels"))
        if not labelled:
            return images, None, notes
        if beside is None:
            raise ZerosumError(f"{self.folder}: {self.name}{stem}-labels-idx1-ubyte.gz is missing")
        labels = read_idx(beside, 1, budget)
        if len(images) != len(labels):
            raise ZerosumError(f"{self.folder}: {len(images)} images but {len(labels)} labels")
        return images, labels, notes


def find_idx(path: Path) -> IdxSet | None:
    """The set of IDX files in a folder, in folders below it, or beside the one that is given; None without any.

    ZerosumError where there are several sets.
    """
    root = path if path.is_dir() else _home(path)
    sets: dict[tuple[Path, str], IdxSet] = {}
    for file in _candidates(root, 1 if path.is_file() else DEEPEST):
        match = NAME.fullmatch(file.name)
        if match is None or not is_inside(file, root) or (match["what"].lower() == "images") != (match["dim"] == "3"):
            continue
        folder = _home(file)
        one = sets.setdefault((folder, match["set"].lower()), IdxSet(folder, match["set"]))
        split = "train" if match["part"].lower() == "train" else "test"
        one.files.setdefault((split, match["what"].lower()), file)
    found = [one for one in sets.values() if ("train", "images") in one.files]
    if path.is_file():
        if (given := NAME.fullmatch(path.name)) is None:
            return None
        found = [one for key, one in sets.items() if key == (_home(path), given["set"].lower())]
        if found and given["part"].lower() != "train":  # the images of this file alone
            found[0].files = {
                ("train", what): file for (split, what), file in found[0].files.items() if split == "test"
            }
    if len(found) > 1:
        images = sorted(str(one.files["train", "images"]) for one in found)
        raise ZerosumError(f"{path}: holds {len(found)} sets of IDX files: name one, {option('data')} {shown(images)}")
    return found[0] if found else None


def _home(file: Path) -> Path:
    """The folder of a set: on Kaggle each of its files lies in one that is called like the file."""
    return file.parent.parent if NAME.fullmatch(file.parent.name) else file.parent


def _candidates(root: Path, depth: int) -> list[Path]:
    """Files down to a depth; those nearer to the root first."""
    result, folders, seen = [], [root], 0
    for level in range(depth + 1):
        deeper: list[Path] = []
        for folder in folders:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            seen += len(entries)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if level < depth and not entry.name.startswith("."):
                        deeper.append(Path(entry.path))
                elif "idx" in entry.name.lower():
                    result.append(Path(entry.path))
        folders = deeper if seen < MOST_ENTRIES else []
    return result


def read_idx(path: Path, dimensions: int, budget: int = MOST) -> Array:
    """An array of bytes in the IDX format: 0, 0, type 8, number of dimensions, each as a big-endian int, the data.

    Packed with gzip or not, whatever the file is called: browsers unpack what they download.
    """
    try:
        with path.open("rb") as opened:
            packed = opened.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
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
