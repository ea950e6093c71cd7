"""Bars on terminals, plain lines elsewhere, silence where nobody is left."""

import io
import sys
from collections.abc import Callable

import pytest

from tests.test_streams import Terminal, broken_pipe
from zerosum import progress
from zerosum.progress import StudyBar, TrainingBar, complain, console, note, track

TICK = {"step": 3.0, "critic/loss": 1.0, "generator/loss": 2.0, "critic/real": 0.5, "critic/fake": -0.5}


def train() -> None:
    with TrainingBar(10, 0, 4) as bar:
        bar.show(TICK, "fid 12")
        bar.say("a finding [with brackets]")
        note("a note")


def study() -> None:
    with StudyBar() as bar:
        bar.show(0.25, 60.0, "run 1")
        bar.say("a finding [with brackets]")
        note("a note")


def count() -> None:
    assert list(track(range(3), 3, "counting")) == [0, 1, 2]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What something writes to a standard error of this kind, on a terminal of this name."""

    def show(work: Callable[[], None], stream: io.StringIO, terminal: str = "xterm-256color", **variables: str) -> str:
        monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
        monkeypatch.setattr(sys, "stderr", stream)
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": terminal, "COLUMNS": "100", **variables}.items():
            monkeypatch.setenv(name, value)
        work()
        return stream.getvalue()

    return show


@pytest.mark.parametrize("work", [train, study, count])
def test_a_bar_on_a_terminal(work: Callable[[], None], shown: Callable[..., str]) -> None:
    text = shown(work, Terminal())
    assert "\x1b[" in text
    assert "━" in text
    if work is not count:
        assert "a finding [with brackets]" in text
        assert "a note" in text


@pytest.mark.parametrize("work", [train, study, count])
def test_no_escape_sequence_anywhere_else(work: Callable[[], None], shown: Callable[..., str]) -> None:
    places: list[tuple[io.StringIO, str, dict[str, str]]] = [
        (Terminal(), "dumb", {}),
        (Terminal(), "unknown", {"FORCE_COLOR": "1"}),
        (io.StringIO(), "xterm", {}),
        (io.StringIO(), "xterm", {"FORCE_COLOR": "1"}),
        (io.StringIO(), "xterm", {"TTY_COMPATIBLE": "1"}),
    ]
    for stream, terminal, variables in places:
        text = shown(work, stream, terminal, **variables)
        assert "\x1b" not in text
        assert "\r" not in text
        if work is train:
            pace, *rest = text.splitlines()
            assert pace.startswith("step 3/10  ")
            assert pace.endswith("loss critic 1.000 generator 2.000, critic on real +0.50 fake -0.50  fid 12")
            assert rest == ["a finding [with brackets]", "a note"]
        elif work is study:
            lines = ["study 25% done, 1:00 left  run 1", "a finding [with brackets]", "a note"]
            assert text.splitlines() == lines
        else:
            assert text.splitlines() == [f"counting: {done} of 3, 0:00 left" for done in (1, 2)]


def test_plain_lines_come_now_and_then_and_at_the_end(shown: Callable[..., str]) -> None:
    def work() -> None:
        progress.PLAIN_EVERY = 3600.0  # the fixture puts it back
        with TrainingBar(3, 0, 4) as bar:
            for step in (1.0, 2.0, 3.0):
                bar.show(TICK | {"step": step})

    (line,) = shown(work, io.StringIO()).splitlines()
    assert line.startswith("step 3/3  ")


@pytest.mark.parametrize("work", [train, study, count])
def test_nobody_is_left_to_read(
    work: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No error, and nothing in standard output in its place."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr(sys, "stderr", None)
    work()
    complain("a complaint")
    for is_terminal in (False, True):
        with broken_pipe() as stream:
            monkeypatch.setattr(stream, "isatty", lambda: is_terminal, raising=False)  # noqa: B023
            monkeypatch.setattr(sys, "stderr", stream)
            work()
            complain("a complaint")
    assert capsys.readouterr().out == ""


def test_tables_have_colours_on_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    for stream, coloured in ((io.StringIO(), False), (Terminal(), True)):
        console(stream, width=80).print("[bold]text[/bold]")
        assert ("\x1b[" in stream.getvalue()) == coloured
        assert "text" in stream.getvalue()
