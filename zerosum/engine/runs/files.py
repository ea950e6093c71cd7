"""How a run's files are written and read: each is there whole or not at all, and logs survive a cut last line.

A run may come from a stranger. What is read of it is what its kind of file should hold, or a `ZerosumError`.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from zerosum.errors import ZerosumError
from zerosum.whole import whole as written

#: begins the names of files that are being written; what a crash leaves of them is cleared away by `tidy`
DRAFT = ".part-"
#: bytes of a file of settings, and of a log, beyond which it is not read: far more than any run writes
MOST_TEXT, MOST_LOG = 2**24, 2**28
#: whole numbers beyond it are no steps, images or seconds
MOST_NUMBER = 2**53


def whole(path: Path) -> AbstractContextManager[Path]:
    """As `zerosum.whole.whole`, with a draft that `tidy` knows."""
    return written(path, path.with_name(f"{DRAFT}{path.name}"))


def tidy(folder: Path) -> None:
    """Removes drafts that a crash has left in this folder."""
    for draft in folder.glob(f"{DRAFT}*"):
        if draft.is_file():
            draft.unlink()


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def check_folder(folder: Path) -> None:
    """ZerosumError if a run folder holds a link that leads out of it, or what is neither file nor folder.

    Reading through such a link would show, and writing would harm, what is no business of the run.
    """
    inside = folder.resolve()
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place) / name
            try:
                fine = path.resolve().is_relative_to(inside)
                kind = path.stat().st_mode
            except (OSError, RuntimeError):  # leads nowhere, or to itself
                if not path.is_symlink():  # it was there a moment ago: somebody trains in this folder
                    continue
                raise ZerosumError(f"{path}: is a link that leads nowhere: remove it") from None
            if not fine:
                raise ZerosumError(f"{path}: is a link out of the run's folder, which is not followed: remove it")
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise ZerosumError(f"{path}: is neither a file nor a folder: remove it")


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """OSError for a file that is not there or larger than `most` bytes."""
    if path.stat().st_size > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return path.read_text(encoding="utf-8", errors="replace")


def read_json(path: Path) -> dict[str, Any]:
    """An object of JSON; ZerosumError for anything else."""
    try:
        values = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ZerosumError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(values, dict):
        raise ZerosumError(f"{path}: cannot be read: no JSON object")
    return values


def is_count(value: object) -> bool:
    """Whether a value of JSON is a whole number from 0 on of a size that steps may have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_NUMBER


def is_number(value: object) -> bool:
    """Whether a value of JSON can be reckoned with: NaN and infinity too, but no whole number too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) <= MOST_NUMBER


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Appends JSON lines."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file that have a step; what a crash cut short, and what follows it, is left out."""
    lines = []
    for text in read_text(path, MOST_LOG).splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except (ValueError, RecursionError):
            break
    return [line for line in lines if isinstance(line, dict) and is_count(line.get("step"))]


def read_ticks(path: Path) -> list[dict[str, float]]:
    """The lines of stats.jsonl: numbers by their names."""
    return [{key: value for key, value in line.items() if is_number(value)} for line in read_lines(path)]


def read_scores(path: Path) -> list[dict[str, Any]]:
    """The lines of scores.jsonl: each has a name, and a value that is a number or None, as its floor is."""

    def fits(line: dict[str, Any]) -> bool:
        numbers = (line.get("value", ""), line.get("floor"))
        return bool(re.fullmatch(r"[\w@./+-]{1,200}", str(line.get("name")))) and all(
            value is None or is_number(value) for value in numbers
        )

    return [line for line in read_lines(path) if fits(line)]


def read_findings(path: Path) -> list[dict[str, Any]]:
    """The lines of findings.jsonl: each has the name of a finding, and how often training had gone back before."""
    lines = read_lines(path)
    return [one for one in lines if isinstance(one.get("finding"), str) and is_count(one.get("setbacks", 0))]


def drop_after(path: Path, step: int) -> None:
    """Removes the lines of a .jsonl file that belong to later steps."""
    if path.is_file():
        kept = [line for line in read_lines(path) if line["step"] <= step]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Onto the disk: a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
