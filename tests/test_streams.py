"""Standard streams that are closed, gone, full, or no terminal."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zerosum import streams
from zerosum.streams import Unfailing, is_gone, is_redrawable, open_closed, settle, write


def run(code: str, redirections: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A new interpreter that is started by a shell with these redirections."""
    command = ["sh", "-c", f'exec "$0" "$@" {redirections}', sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(os.name != "posix", reason="a shell starts processes without streams")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- 2>&-", "<&- >&- 2>&-", ">&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    code = """
import os, sys
from zerosum.streams import open_closed
open_closed()
with open(sys.argv[1], "w") as file:
    assert file.fileno() > 2
    for number in (1, 2):
        os.write(number, b"a C library complains")
    print("a result")
    print("a note", file=sys.stderr)
    sys.stdin.read()
    assert os.get_inheritable(0) and os.get_inheritable(1) and os.get_inheritable(2)
"""
    done = run(code, closed, str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_bytes() == b""
    assert ("a result" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    assert ("a note" in done.stderr) == ("2>&-" not in closed)
    assert "a note" not in done.stdout


def test_open_streams_stay_what_they_are() -> None:
    before = (sys.stdin, sys.stdout, sys.stderr)
    open_closed()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


def broken_pipe() -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", encoding="utf-8")


def test_a_reader_that_is_gone_is_no_error() -> None:
    with broken_pipe() as stream:
        assert not is_gone(stream)  # nothing was written yet
        stream.write("x")
        assert is_gone(stream)
        write(stream, "text\n")
        write(stream, "text\n")
        assert not is_gone(stream)  # by now it leads nowhere
    with broken_pipe() as stream:
        stream.write("x")
        settle(stream)  # closing the file would raise else


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    write(stream, "text")
    settle(stream)
    assert is_gone(stream)
    write(None, "text")
    settle(None)
    assert is_gone(None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_no_error_and_not_the_end() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        write(stream, "text\n")
        assert not is_gone(stream)
        assert Path(f"/proc/self/fd/{stream.fileno()}").readlink() == Path("/dev/full")  # it may have room again
        settle(stream)


def test_exit_codes_survive_a_reader_that_is_gone() -> None:
    code = """
import os, sys
from zerosum.streams import settle, write
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 2)
write(sys.stderr, "text")
sys.stderr.write("more")
settle(sys.stderr)
sys.exit(129)
"""
    assert run(code, "").returncode == 129


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "redrawable"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "linux", "NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "Unknown"}, False),
        ({"TERM": ""}, False),
        ({}, os.name != "posix"),
        ({"TERM": "xterm", "TTY_COMPATIBLE": "0"}, False),
    ],
)
def test_what_can_be_redrawn(variables: dict[str, str], redrawable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_redrawable(Terminal()) == redrawable
    assert Unfailing(Terminal()).isatty() == redrawable
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
        assert not is_redrawable(io.StringIO())
        assert not is_redrawable(None)


def test_rich_writes_to_what_is_below(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = io.StringIO()
    outer = io.StringIO()
    outer.rich_proxied_file = inner  # type: ignore[attr-defined]
    assert Unfailing(outer).write("text") == 4
    assert (inner.getvalue(), outer.getvalue()) == ("text", "")
    assert Unfailing(None).write("text") == 4
    assert Unfailing(None).encoding == "utf-8"
    monkeypatch.setattr(streams, "write", lambda *_: None)
    Unfailing(inner).flush()
