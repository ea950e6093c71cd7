"""The files of a folder or zip: each is counted once, as one to read, or as one that is left out, with the reason."""

import lzma
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from zerosum.errors import ZerosumError, setting

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".gif", ".webp", ".avif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
}
#: endings of pictures that are not decoded here, so that each of them is a lost one
FOREIGN = {
    *(".heic", ".heif", ".jp2", ".j2k", ".jxl", ".tga", ".svg", ".psd", ".exr", ".hdr", ".xcf", ".eps", ".ico"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dcm", ".dicom", ".nii"),
}
#: endings of files that are not opened to see whether they hold a picture
PLAIN = {".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".xml", ".yaml", ".yml", ".html", ".py", ".npy", ".npz"}
#: how the pictures that are read begin, whatever their file is called
BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"RIFF")

#: what damaged zips raise; RuntimeError: encrypted, or a method unknown
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(RuntimeError, ValueError, EOFError, IndexError, struct.error),
)

#: a file of more bytes, once unpacked, is no picture
MOST_BYTES = 256 * 2**20
#: files behind a link that are looked at to count its pictures
MOST_BEHIND = 20_000
#: names that a message repeats
NAMED = 3

# why files are left out
HIDDEN = "hidden"
OTHER = "other files"
ODD = "neither files nor folders"
INNER = "links to folders that are read at their own place"
OUT = "links out of the folder"
NOWHERE = "links that lead nowhere"
UNKNOWN = "pictures of a kind that is not read"


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path is a file of this folder, and no link that leads out of it."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return False


def is_picture(name: str) -> bool:
    """Whether a file's name ends like that of a picture that is read."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def composed(text: str) -> str:
    """Unicode's composed form (NFC), since macOS stores names decomposed and tables are typed composed."""
    return unicodedata.normalize("NFC", text)


class Files:
    """The files of a folder or zip by their path inside it, read one at a time.

    root: the folder or zip. links: follow links out of the folder, and links to folders; otherwise only those to files
    inside it. Raises ZerosumError for what is no zip.
    """

    def __init__(self, root: Path, links: bool = False) -> None:
        self.root, self.links = root, links
        self.zip: zipfile.ZipFile | None = None
        #: path inside the root -> what changes when the file does; the first number is its size in bytes
        self.stamps: dict[str, tuple[int, int]] = {}
        #: reason -> what is left out, without a picture being lost
        self.aside: dict[str, list[str]] = {}
        #: reason -> name -> how many pictures are lost with it
        self.lost: dict[str, dict[str, int]] = {}
        #: folders that may not be read
        self.locked: list[str] = []
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._odd_names = 0
        if root.is_dir():
            self._walk(root)
        else:
            self._unzip()
        self.names = sorted(self.stamps)
        self.pictures = [name for name in self.names if self._holds_picture(name)]

    def _walk(self, root: Path) -> None:
        # folder, path inside the root, the folders above it and itself
        pending: list[tuple[Path, str, tuple[tuple[int, int], ...]]] = [(root, "", (_identity(root),))]
        while pending:
            folder, prefix, above = pending.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                self.locked.append(f"{prefix or root} ({error.strerror})")
                continue
            for entry in entries:
                name = prefix + entry.name
                try:
                    if entry.name.startswith(".") or entry.name in ("__MACOSX", "lost+found"):
                        self._leave(HIDDEN, name)
                    elif entry.is_symlink() and not self._follows(entry, name, above, root.resolve()):
                        continue
                    elif entry.is_dir():
                        pending.append((Path(entry.path), f"{name}/", (*above, _identity(entry))))
                    elif entry.is_file():
                        facts = entry.stat()
                        self.stamps[name] = (facts.st_size, facts.st_mtime_ns)
                    else:
                        self._leave(ODD, name)
                except FileNotFoundError:  # it was there a moment ago
                    continue

    def _follows(self, link: "os.DirEntry[str]", name: str, above: tuple[tuple[int, int], ...], root: Path) -> bool:
        """Whether a link is read as what it leads to; if not, it is counted here."""
        try:
            target = Path(link.path).resolve(strict=True)
        except (OSError, RuntimeError):
            self._lose(NOWHERE, name, int(is_picture(name) or not PurePosixPath(name).suffix))
            return False
        inside, folder = target.is_relative_to(root), target.is_dir()
        if folder and _identity(target) in above:  # it leads to a folder that holds it
            self._leave(INNER, name)
            return False
        if self.links or (inside and not folder):
            return True
        if inside:
            self._leave(INNER, name)
        else:
            self._lose(
                OUT, name, _pictures_behind(target) if folder else int(is_picture(name) or is_picture(str(target)))
            )
        return False

    def _unzip(self) -> None:
        try:
            self.zip = zipfile.ZipFile(self.root)
        except (*ZIP_DAMAGE, OSError) as error:
            raise ZerosumError(f"{self.root}: not a readable zip: {error}") from None
        infos = self.zip.infolist()
        if sum(info.compress_size for info in infos) > self.root.stat().st_size:
            raise ZerosumError(f"{self.root}: its members lie one upon another; a decompression bomb? Remove it")
        for info in infos:
            name = self._name_of(info)
            if not name or name.endswith("/"):
                continue
            parts = name.split("/")
            if ".." in parts:
                self._leave("names that lead out of the zip", name)
            elif any(part.startswith(".") or part == "__MACOSX" for part in parts):
                self._leave(HIDDEN, name)
            elif stat.S_ISLNK(info.external_attr >> 16):
                self._lose(OUT, name, int(is_picture(name)))
            else:
                if name in self.stamps:
                    self._leave("older members of the same name", name)
                self.stamps[name] = (info.file_size, info.CRC)
                self._members[name] = info

    def _name_of(self, info: zipfile.ZipInfo) -> str:
        """The path of a member: zips of Windows may separate folders by backslashes, others hide UTF-8 in old names."""
        name = info.filename.replace("\\", "/").lstrip("/")
        if not (info.flag_bits & 0x800 or name.isascii()):
            try:
                name = name.encode("cp437").decode("utf-8")
            except ValueError:
                self._odd_names += 1
        return name

    def _holds_picture(self, name: str) -> bool:
        """By its ending, or by its first bytes where that says nothing; what is no picture is counted here."""
        suffix = PurePosixPath(name.lower().removesuffix(".gz")).suffix
        if suffix in SUFFIXES and not name.lower().endswith(".gz"):
            return True
        if suffix in FOREIGN:
            self._lose(UNKNOWN, name, 1)
            return False
        if suffix not in PLAIN and self._begins_like_a_picture(name):
            return True
        self._leave(OTHER, name)
        return False

    def _begins_like_a_picture(self, name: str) -> bool:
        try:
            with (self.root / name).open("rb") if self.zip is None else self.zip.open(self._members[name]) as file:
                head = file.read(12)
        except (*ZIP_DAMAGE, OSError):
            return False
        return head.startswith(BEGINNINGS) and (not head.startswith(b"RIFF") or head[8:] == b"WEBP")

    def _leave(self, reason: str, name: str) -> None:
        self.aside.setdefault(reason, []).append(name)

    def _lose(self, reason: str, name: str, pictures: int) -> None:
        if pictures:
            self.lost.setdefault(reason, {})[name] = pictures
        else:
            self._leave(reason, name)

    def check_lost(self, share: float) -> None:
        """ZerosumError where more than this share of all pictures is lost before any was read, or nobody knows."""
        if self.locked and share < 1:
            raise ZerosumError(
                f"{self.root}: {counted('folders may not be read', self.locked)}, and nobody knows which pictures are "
                f"lost with them: gain the right to read them, take them out, or {setting('data.bad_share', 1)}"
            )
        lost = {reason: sum(names.values()) for reason, names in self.lost.items()}
        total = sum(lost.values()) + len(self.pictures)
        if sum(lost.values()) <= share * total:
            return
        worst = max(lost, key=lambda reason: lost[reason])
        raise ZerosumError(
            f"{self.root}: {sum(lost.values())} of {total} pictures are lost, more than data.bad_share = {share:g} "
            f"allows: {self.lost_said(worst)}: {_remedy(worst)}"
            + (f", or {setting('data.bad_share', 1)}" if self.pictures else "")
        )

    def lost_said(self, reason: str) -> str:
        names = self.lost[reason]
        behind = sum(names.values())
        more = f", {number_of(behind, 'pictures')} behind" if behind != len(names) else ""
        return f"{number_of(len(names), reason)} ({shown(sorted(names))}{more})"

    def use(self, names: Sequence[str]) -> None:
        """These are read after all, for labels: they are not left out."""
        for reason in [reason for reason, left in self.aside.items() if set(left) & set(names)]:
            self.aside[reason] = [name for name in self.aside[reason] if name not in names]
            if not self.aside[reason]:
                del self.aside[reason]

    def left_out(self) -> list[str]:
        """What is left out, and why: "2 other files (a.csv, b.md)"."""
        lost = [self.lost_said(reason) for reason in self.lost]
        lost += [counted("folders that may not be read", self.locked)] if self.locked else []
        return lost + [counted(reason, names) for reason, names in self.aside.items()]

    def remarks(self) -> list[str]:
        """One line for each thing worth telling about names."""
        if not self._odd_names:
            return []
        return [
            f"{self.root}: {self._odd_names} names in the zip are in an unknown encoding, and may look odd where they "
            "are labels: zip the folder again with names in UTF-8"
        ]

    def read(self, name: str) -> bytes:
        """OSError for what cannot be read, or is too large to be a picture."""
        if self.stamps[name][0] > MOST_BYTES:
            raise OSError(f"{self.stamps[name][0]:,} bytes is too large")
        if self.zip is None:
            return (self.root / name).read_bytes()
        try:
            with self.zip.open(self._members[name]) as file:
                return file.read(self.stamps[name][0])  # no more than it claims, whatever it unpacks to
        except ZIP_DAMAGE as error:
            raise OSError(f"damaged in the zip ({error})") from None

    def close(self) -> None:
        if self.zip is not None:
            self.zip.close()


def _remedy(reason: str) -> str:
    if reason == OUT:
        return f"to follow them: {setting('data.links', True)}"
    return "convert them to PNG or JPEG" if reason == UNKNOWN else "put back what they lead to, or take them out"


def no_pictures(files: Files) -> ZerosumError:
    """What to say of a folder or zip in which nothing can be read."""
    inner = [
        name for name in files.names if name.lower().endswith((".zip", ".tar", ".gz", ".tgz", ".npz", ".npy", ".7z"))
    ]
    hint = f"; give one of the files in it, unpacked if need be: {shown(inner)}" if inner else ""
    left = "; ".join(files.left_out())
    endings = ", ".join(sorted(SUFFIXES))
    return ZerosumError(f"{files.root}: no pictures ({endings}) in it" + (f"; left out: {left}" if left else "") + hint)


def counted(what: str, names: Sequence[str]) -> str:
    return f"{number_of(len(names), what)} ({shown(sorted(names))})"


def number_of(count: int, what: str) -> str:
    """
    >>> number_of(1, "links out of the folder"), number_of(2, "other files")
    ('1 link out of the folder', '2 other files')
    """
    one = re.sub(r"^((?:other |older )?(?:picture|link|file|folder|name|member|pair))s\b", r"\1", what)
    return f"{count} {one if count == 1 else what}"


def shown(names: list[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")


def _identity(place: "Path | os.DirEntry[str]") -> tuple[int, int]:
    facts = place.stat()
    return facts.st_dev, facts.st_ino


def _pictures_behind(folder: Path) -> int:
    """How many pictures lie below a folder that is not read; at least one, since nobody links to nothing."""
    found = 0
    for number, name in enumerate(_names_below(folder)):
        found += is_picture(name)
        if number >= MOST_BEHIND:
            break
    return max(1, found)


def _names_below(folder: Path) -> Iterator[str]:
    for _, _, names in os.walk(folder):
        yield from names
