"""The standard streams of a process where they are closed, gone, or no terminal."""

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

#: what a system says of a terminal that was closed, and of a pipe that nobody reads any more
GONE = (errno.EIO, errno.ENXIO, errno.EPIPE, errno.EBADF)
#: names of terminals whose lines cannot be redrawn; "" is no name at all
DUMB = ("", "dumb", "unknown")


def open_closed() -> None:
    """Opens the null device in place of each standard stream that the process was started without (`2>&-`).

    Otherwise the next file that is opened, a checkpoint for example, would get descriptor 2, and everything that C
    libraries complain about would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # the lowest free number is given out, which is this one, since those below are open by now
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # so Python says that there was no such descriptor
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def write(stream: TextIO | None, text: str) -> None:
    """Writes and flushes, or does nothing where the terminal, or whoever read the stream, is gone.

    What a full disk or a slow reader does not take stays in the buffer, for the next call.
    """
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        if error.errno in GONE:
            discard(stream)
    except ValueError:
        pass  # closed


def is_gone(stream: TextIO | None) -> bool:
    """Whether nothing can be delivered any more, since the terminal or the reader is gone."""
    if stream is None or stream.closed:
        return True
    try:
        stream.flush()
        os.write(stream.fileno(), b"")  # a terminal's buffer is empty after a write that failed
    except OSError as error:
        return error.errno in GONE
    return False


def settle(stream: TextIO | None) -> None:
    """Writes the rest of the buffer, or drops it: Python ends with exit code 120 where it cannot be written."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        discard(stream)


def discard(stream: TextIO | None) -> None:
    """What is in the buffer of a stream, and all that will be written to it, goes nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


def is_redrawable(stream: TextIO | None) -> bool:
    """Whether lines of this stream can be drawn again: no file, no pipe, no terminal that knows no escape sequences."""
    terminal = os.environ.get("TERM", "" if os.name == "posix" else "console")
    if stream is None or terminal.lower() in DUMB or os.environ.get("TTY_COMPATIBLE") == "0":
        return False
    try:
        return stream.isatty()
    except (OSError, ValueError, AttributeError):
        return False


class Unfailing:
    """A stream for rich, which draws from a thread of its own: writing to it never fails."""

    def __init__(self, stream: TextIO | None) -> None:
        # the stream itself, where rich has put something in its place that would draw into the bar
        self.stream: TextIO | None = getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        write(self.stream, text)
        return len(text)

    def flush(self) -> None:
        """Every write is flushed."""

    def isatty(self) -> bool:
        return is_redrawable(self.stream)
