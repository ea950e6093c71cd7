"""The cache: a folder for what can be made again, since a data folder may be shared or read-only."""

import atexit
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pooch
from safetensors import SafetensorError

from zerosum.errors import ZerosumError
from zerosum.progress import note

#: what is kept, each in a folder of its own; beside them lie weights that were downloaded
KINDS = ("classifiers", "decoded", "features", "floors")

#: folders that cannot be written -> what stands in for them in this process
_stand_ins: dict[Path | None, Path] = {}


def cache_folder() -> Path:
    """$ZEROSUM_CACHE, or the user's; where it cannot be written, a temporary folder, of which a note tells once.

    The temporary folder is private, since others may have put something under any name that can be guessed. It holds
    links to what the real one has, so that a shared read-only cache can be read, and is removed at the end of the
    process. Raises ZerosumError where no temporary folder can be made either.
    """
    wanted = user_folder("ZEROSUM_CACHE")
    if wanted is not None and is_writable(wanted):
        return wanted
    if wanted not in _stand_ins:
        reason = "this user has no home folder" if wanted is None else f"{wanted} cannot be written"
        try:
            folder = Path(mkdtemp(prefix="zerosum-cache-"))
        except OSError:
            raise ZerosumError(f"{reason}, and no temporary folder either: set ZEROSUM_CACHE to one that can") from None
        atexit.register(rmtree, folder, ignore_errors=True)
        if wanted is not None:
            _link(wanted, folder)
        _stand_ins[wanted] = folder
        note(
            f"{reason}: what could be kept for the next time, classifiers and decoded pictures, will be made again; to "
            "keep it, set ZEROSUM_CACHE to a folder that can be written"
        )
    return _stand_ins[wanted]


def user_folder(variable: str) -> Path | None:
    """The folder that a variable of the environment names, or the user's cache folder; None for a user without one."""
    try:
        if named := os.environ.get(variable):
            return Path(named).expanduser()
        folder = Path(pooch.os_cache("zerosum"))
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return None
    return folder if folder.is_absolute() else None


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which may have to be made first. Makes nothing."""
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:  # below a folder that may not even be looked at
        return False


def keep(place: Path, write: Callable[[Path], object]) -> bool:
    """Writes a file of the cache in one move, and says whether it will be there the next time.

    A cache that cannot be written only costs time.
    """
    draft = place.with_name(f".{os.getpid()}-{place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        draft.replace(place)
    except (OSError, SafetensorError):
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        return False
    return not is_temporary(place)


def is_temporary(place: Path) -> bool:
    """Whether a file or folder of the cache lasts as long as this process only."""
    return any(place.is_relative_to(folder) for folder in _stand_ins.values())


def _link(wanted: Path, folder: Path) -> None:
    """Links in `folder` to what the cache has, which may lie in one folder with data sets."""
    for kind in ("", *KINDS):
        with suppress(OSError):
            (folder / kind).mkdir(exist_ok=True)
            for path in (wanted / kind).iterdir():
                if path.is_file():
                    (folder / kind / path.name).symlink_to(path.absolute())
