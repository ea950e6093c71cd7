"""Files that are there whole or not at all, whenever the program is stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, draft: Path | None = None) -> Iterator[Path]:
    """A place to write to that takes the place of `path` once all is written; nothing is left of it on an error.

    draft: that place, a hidden file beside `path` if nothing is said.
    """
    draft = path.with_name(f".{path.name}.part") if draft is None else draft
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
