"""Memory between steps: what the C library is asked for, and what the process then really keeps."""

import ctypes
import mmap
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_recipe, tiny_source
from zerosum.engine.runs.run import Run
from zerosum.engine.training.loop import train
from zerosum.engine.training.memory import reused_memory

Calls = list[tuple[int, int]]

#: from <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


class Library:
    """Notes what it is asked for; `trimmed` counts memory given back."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.trimmed = 0

    def mallopt(self, name: int, value: int) -> int:
        self.calls.append((name, value))
        return 1

    def malloc_trim(self, left: int) -> int:
        assert left == 0
        self.trimmed += 1
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """In place of the C library, and on Linux."""
    fake = Library()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: fake)
    return fake


def test_memory_is_kept_and_given_back(library: Library) -> None:
    with reused_memory():
        kept = dict(library.calls)
        library.calls.clear()
        assert library.trimmed == 0
    assert library.trimmed == 1
    # more than a tensor has; then the most that the library, which adapts its bounds, would have come to by itself
    assert kept == {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**30}
    assert dict(library.calls) == {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}


def test_memory_is_given_back_after_an_error(library: Library) -> None:
    def fail_inside() -> None:
        with reused_memory():
            raise RuntimeError("amid training")

    with pytest.raises(RuntimeError, match="amid"):
        fail_inside()
    assert dict(library.calls) == {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
    assert library.trimmed == 1


@pytest.mark.parametrize("missing", ["mallopt", "malloc_trim"])
def test_another_c_library_is_left_alone(library: Library, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delattr(Library, missing)
    inside = False
    with reused_memory():
        inside = True
    assert inside
    assert library.calls == []
    assert library.trimmed == 0


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(library: Library, monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    inside = False
    with reused_memory():
        inside = True
    assert inside
    assert library.calls == []


def resident() -> int:
    """Bytes of memory that this process really has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_the_real_library_keeps_and_gives_back() -> None:
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not the GNU C library")
    size = 2**24
    with reused_memory():
        block = torch.ones(size // 4)
        del block
        kept = resident()
    assert kept - resident() > 0.9 * size


@pytest.mark.usefixtures("plot_nothing")
def test_a_whole_training_is_inside(tmp_path: Path, library: Library) -> None:
    run = Run.prepare(tiny_recipe({"steps": 2}), tiny_source())
    run.create_folder(tmp_path)
    ticks = train(run)
    assert library.calls == []
    assert [len(library.calls) for _ in ticks] == [2, 2]
    assert len(library.calls) == 4
    assert library.trimmed == 1
