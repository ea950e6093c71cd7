"""Progress on standard error: a bar with the remaining time on a terminal, now and then a plain line elsewhere."""

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self, TextIO, TypeVar, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zerosum import streams

Item = TypeVar("Item")
Opened = TypeVar("Opened")

#: seconds between two plain lines
PLAIN_EVERY = 10.0


_silent = False
#: notes that were shown, while none is shown twice
_said: set[str] | None = None


def be_silent() -> None:
    """From now on this process shows no notes and no progress: another one, which does the same, does."""
    global _silent  # noqa: PLW0603 - there is one standard error
    _silent = True


def is_silent() -> bool:
    return _silent


def note(text: str) -> None:
    """One line on standard error."""
    if _said is not None:
        if text in _said:
            return
        _said.add(text)
    if not _silent:
        complain(text)


@contextmanager
def once() -> Iterator[None]:
    """While it lasts, a note that was shown is not shown again, as of data that several runs have in common."""
    global _said  # noqa: PLW0603 - there is one standard error
    before, _said = _said, set() if _said is None else _said
    try:
        yield
    finally:
        _said = before


def complain(text: str) -> None:
    """One line on standard error, whatever happens; nothing where standard error is closed or its terminal gone."""
    streams.write(sys.stderr, f"{text}\n")


def console(stream: TextIO | None, width: int | None = None, quiet: bool = False) -> Console:
    """What rich draws on a stream with. It decides where a bar is drawn, and where escape sequences are written.

    Nowhere but on a terminal that knows them, whatever FORCE_COLOR says: they make a log unreadable.
    """
    return Console(file=stream, force_terminal=streams.is_redrawable(stream), width=width, quiet=quiet)


def _standard_error() -> Console:
    return console(cast(TextIO, streams.Unfailing(sys.stderr)), quiet=_silent)


def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items, with a bar while they are consumed."""
    drawn = _standard_error()
    if not drawn.is_terminal:
        began = printed = time.perf_counter()
        for done, item in enumerate(items, 1):
            yield item
            now = time.perf_counter()
            if now - printed >= PLAIN_EVERY and done < total:
                printed = now
                note(f"{what}: {done} of {total}, {clock((now - began) / done * (total - done))} left")
        return
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=drawn,
        transient=True,
    ) as bar:
        yield from bar.track(items, total=total)


class Bar:
    """A bar with a text beside it on a terminal; elsewhere plain lines, one every PLAIN_EVERY seconds."""

    def __init__(self, width: int, total: int, done: int, text: str) -> None:
        self.printed = time.perf_counter()
        self.bar = Progress(BarColumn(bar_width=width), TextColumn("{task.description}"), console=_standard_error())
        self.task = self.bar.add_task(text, total=total, completed=done)

    def __enter__(self) -> Self:
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.console.is_terminal:
            self.bar.stop()

    def say(self, text: str) -> None:
        """A line that stays, above the bar."""
        if self.bar.console.is_terminal:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            note(text)

    def draw(self, done: float, *lines: str, last: bool = False) -> None:
        """lines: beside the bar, or in one plain line; each should fit 80 columns. last: not to be left out."""
        shown = [line for line in lines if line]
        now = time.perf_counter()
        if self.bar.console.is_terminal:
            self.bar.update(self.task, completed=done, description="\n".join(shown))
        elif now - self.printed >= PLAIN_EVERY or last:
            self.printed = now
            note("  ".join(shown))


class TrainingBar(Bar):
    """step, both losses, the critic's mean output on real and generated samples, samples per second, remaining time."""

    def __init__(
        self, steps: int, done: int, batch: int, seconds_left: float | None = None, plural: str = "images"
    ) -> None:
        super().__init__(10, steps, done, "first steps ...")
        self.steps, self.done, self.batch, self.limit, self.plural = steps, done, batch, seconds_left, plural
        self.began = time.perf_counter()

    def show(self, tick: dict[str, float], headline: str = "") -> None:
        """tick: a line of stats.jsonl. headline: the last score in a few words."""
        now, step = time.perf_counter(), int(tick["step"])
        speed = (step - self.done) / (now - self.began)
        left = (self.steps - step) / speed
        if self.limit is not None:
            left = min(left, max(0.0, self.limit - (now - self.began)))
        pace = f"step {step}/{self.steps}  {speed * self.batch:,.0f} {self.plural}/s  {clock(left)} left"
        self.draw(step, pace, described(tick), headline, last=step == self.steps)


def described(tick: Mapping[str, float]) -> str:
    """The losses of a line of stats.jsonl; there is no critic's where the generator learns from its content loss alone.

    >>> described({"critic/loss": 1.386, "generator/loss": 0.7, "critic/real": 0.1, "critic/fake": -0.2})
    'loss critic 1.386 generator 0.700, critic on real +0.10 fake -0.20'
    >>> described({"generator/content": 0.0612})
    'content 0.0612'
    """
    parts = [f"content {tick['generator/content']:.4f}"] if "generator/content" in tick else []
    if "critic/loss" in tick and "generator/loss" in tick:
        parts.insert(0, f"loss critic {tick['critic/loss']:.3f} generator {tick['generator/loss']:.3f}")
        parts.append(f"critic on real {tick['critic/real']:+.2f} fake {tick['critic/fake']:+.2f}")
    return ", ".join(parts)


class StudyBar(Bar):
    """The share of all runs that is done, the remaining time, and a word on the run at work."""

    def __init__(self) -> None:
        super().__init__(20, 1, 0, "first run ...")

    def show(self, share: float, seconds_left: float, text: str) -> None:
        """share: in [0, 1]. seconds_left: NaN where nobody knows yet."""
        left = "" if math.isnan(seconds_left) else f", {clock(seconds_left)} left"
        self.draw(share, f"study {share:.0%} done{left}  {text}")


def clock(seconds: float) -> str:
    """
    >>> clock(3725)
    '1:02:05'
    >>> clock(65)
    '1:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def told(opened: tuple[Opened, list[str]]) -> Opened:
    """What was opened, once the lines that are worth telling about it have been told."""
    for line in opened[1]:
        note(line)
    return opened[0]
