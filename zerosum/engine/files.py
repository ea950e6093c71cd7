"""How a run's files are written and read: each is there whole or not at all, and logs survive a cut last line."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zerosum.errors import ZerosumError

#: begins the names of files that are being written; what a crash leaves of them is cleared away by `tidy`
DRAFT = ".part-"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write to that takes the place of `path` once all is written; nothing is left of it on an error."""
    draft = path.with_name(f"{DRAFT}{path.name}")
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


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


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZerosumError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Appends JSON lines."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file that have a step; what a crash cut short, and what follows it, is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return [line for line in lines if isinstance(line, dict) and "step" in line]


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
