"""The files of a folder or zip, and what their arrangement says of splits and labels."""

import csv
import io
import lzma
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from zerosum.errors import NoTestSplit, ZerosumError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
#: files that may lie beside pictures without a word about them
BESIDE = {".csv", ".md", ".txt"}
METADATA = "metadata.csv"

#: folders of unpaired pictures, as CycleGAN's data sets have them
PILE = re.compile(r"(?:^|/)(train|test)([AB])/")

#: what damaged zips raise; RuntimeError: encrypted, or a method unknown
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(RuntimeError, ValueError, EOFError, IndexError, struct.error),
)

#: a file of more bytes, once unpacked, is no picture
MOST_BYTES = 256 * 2**20
#: bytes of a metadata.csv at most: some million lines
MOST_TABLE = 64 * 2**20


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path is a file of this folder, and no link that leads out of it."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return False


class Files:
    """The files of a folder or zip by their path inside it, read one at a time. Links out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.zip: zipfile.ZipFile | None = None
        if root.is_dir():
            found = [path for path in root.rglob("*") if is_inside(path, root)]
            stats = {path.relative_to(root).as_posix(): path.stat() for path in found}
            self.stamps = {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
        else:
            try:
                self.zip = zipfile.ZipFile(root)
            except (*ZIP_DAMAGE, OSError) as error:
                raise ZerosumError(f"{root}: not a readable zip: {error}") from None
            infos = self.zip.infolist()
            if sum(info.compress_size for info in infos) > root.stat().st_size:
                raise ZerosumError(f"{root}: its members lie one upon another; a decompression bomb? Remove it")
            named = [info for info in infos if info.filename and not info.filename.startswith("/")]
            members = [info for info in named if not info.is_dir()]
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
            with self.zip.open(name) as file:
                return file.read(self.stamps[name][0])  # no more than it claims, whatever it unpacks to
        except ZIP_DAMAGE as error:
            raise OSError(f"damaged in the zip ({error})") from None

    def close(self) -> None:
        if self.zip is not None:
            self.zip.close()


def select(files: Files, split: str) -> tuple[list[str], dict[str, list[str]] | None, list[str]]:
    """Names of the pictures of a split, the columns of their labels if they have any, and remarks.

    Labels come from metadata.csv, or from class folders. Folders train and test at the top are splits;
    trainA, trainB, testA and testB are splits of two piles.
    """
    root, notes = files.root, []
    listed = [name for name in files.names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not listed:
        raise ZerosumError(f"{root}: no pictures ({', '.join(sorted(SUFFIXES))}) in it")
    other = [name for name in files.names if PurePosixPath(name).suffix.lower() not in SUFFIXES | BESIDE]
    if other:
        notes.append(f"{root}: {len(other)} files are no pictures and are left out: {', '.join(other[:3])}")
    tables = [name for name in files.names if PurePosixPath(name).name == METADATA]
    tops = {name.split("/")[0] if "/" in name else "" for name in listed}
    piles = {name: found for name in listed if (found := PILE.search(name))}
    if {"trainA", "trainB"} <= {found[1] + found[2] for found in piles.values()}:
        listed = [name for name in listed if name in piles and piles[name][1] == split]
        if not listed:
            raise NoTestSplit(f"{root} has no test split: no folders testA and testB in it")
        return listed, {"pile": [piles[name][2] for name in listed]}, notes
    if "train" in tops and tops <= {"train", "test", "val", "valid"}:
        listed = [name for name in listed if name.startswith(split + "/")]
        tables = [name for name in tables if name.startswith(split + "/")]
    elif split == "test":
        raise NoTestSplit(f"{root} has no test split: no folders train and test in it")
    if not listed:
        kind = NoTestSplit if split == "test" else ZerosumError
        raise kind(f"{root}: no pictures in its folder {split}")
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
        if files.stamps[table][0] > MOST_TABLE:
            raise OSError(f"{files.stamps[table][0]:,} bytes is too large")
        text = files.read(table).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text), strict=True)
        header = [name.strip() for name in next(lines, [])]
        rows = [(number, row) for number, row in enumerate(lines, 2) if any(word.strip() for word in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ZerosumError(f"{where}: not a readable CSV: {error}") from None
    if "file_name" not in header or len(set(header)) != len(header):
        raise ZerosumError(f"{where}: its first line must name each column once, file_name among them; it has {header}")
    at = header.index("file_name")
    names: list[str] = []
    missing: list[str] = []
    seen: dict[str, int] = {}
    known = set(listed)
    for number, row in rows:
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
    columns = {key: [row[i].strip() for _, row in rows] for i, key in enumerate(header) if i != at}
    return names, columns
