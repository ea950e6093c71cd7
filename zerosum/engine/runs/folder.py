"""The folder of a run: made under the next number, held by the one process that trains in it, with space to write."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock, Timeout

from zerosum.engine.training import parallel
from zerosum.engine.training.state import State, tensors_of
from zerosum.errors import ZerosumError, option, setting


def new_folder(out: Path, name: str) -> Path:
    """out/NNNNN-name with the next free number."""
    check_writable(out)
    numbers = [int(found[1]) for path in out.iterdir() if (found := re.match(r"(\d{5,})-", path.name))]
    number = max(numbers, default=-1) + 1
    while True:
        folder = out / f"{number:05d}-{name}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile; ZerosumError if somebody does already. For the one who writes."""
    if not parallel.leads():
        yield
        return
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ZerosumError(f"{folder} is being trained by another process: wait for it, or stop it") from None
    except OSError as error:
        if not folder.is_dir():
            raise
        raise ZerosumError(
            f"cannot write into {folder}: {error.strerror}; to go on with the run, copy its folder to where you can"
        ) from None
    try:
        yield
    finally:
        lock.release()


def check_space(out: Path, state: State, keep: int) -> None:
    """ZerosumError unless the checkpoints that are kept at a time can be written and will fit on the disk."""
    check_writable(out)
    weights = sum(value.nbytes for value in tensors_of(state).values())
    # Adam adds two numbers for each weight; beside the newest ones stand the best and one that is being written
    needed, free = 3 * weights * (keep + 2), shutil.disk_usage(out).free
    if free < needed:
        raise ZerosumError(
            f"{out}: {free / 2**20:,.0f} MiB are free, but checkpoints may take {needed / 2**20:,.0f}: "
            f"make room, choose another place with {option('out')}, or keep fewer with {setting('keep', 1)}"
        )


def check_writable(out: Path) -> None:
    """ZerosumError unless files can be made in this folder, which is created if need be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise ZerosumError(
            f"cannot write runs into {out}: {error.strerror}; choose another place with {option('out')}"
        ) from None
