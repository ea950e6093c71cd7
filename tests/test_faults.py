"""What befalls a real training process from outside: kills, signals, full and read-only disks, a second process."""

import fcntl
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import Call, same
from tests.test_cli import COMMAND, ENVIRONMENT
from zerosum.engine.runs.files import DRAFT, read_json, read_lines
from zerosum.engine.runs.folder import held
from zerosum.engine.runs.reading import checkpoints, damage, newest

#: a step takes milliseconds, and every one is saved, so that what befalls the process often befalls a save
EVERY_STEP = [
    *("--set", "generator={network: mlp, first: 64, labels: 64, hidden: [64]}"),
    *("--set", "critic={network: mlp, first: 64, labels: 64, hidden: [64]}"),
    *("--set", "condition.method=join"),
    *("--set", "batch=8"),
    *("--set", "precision=fp32"),
    *("--set", "tick=3"),
    *("--set", "snapshot=7"),
    *("--set", "checkpoint=1"),
    *("--set", "scores.every=0"),
]


def begin(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error, without a traceback."""
    _, errors = process.communicate(timeout=400)
    assert "Traceback" not in errors, errors
    return process.returncode, errors


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def saved_steps(out: Path) -> int:
    """The newest checkpoint's step, 0 where there is none."""
    return max((int(path.name[5:]) for path in out.glob("0*/checkpoints/step-*")), default=0)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(newest(folder / "checkpoints") / "state.safetensors")


def litter(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if DRAFT in path.name or path.name.endswith((".part", ".old"))]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A training without end, some checkpoints in, and its folder."""
    process = begin("train", "digits", "--out", str(tmp_path), *EVERY_STEP, "--set", "steps=1000000")
    wait_until(lambda: saved_steps(tmp_path) > 2, process)
    yield process, tmp_path / "00000-digits"
    if process.returncode is None:
        kill(process)


def goes_on(folder: Path) -> None:
    """A few steps more, from the newest checkpoint."""
    before = saved_steps(folder.parent)
    code, errors = end(begin("resume", str(folder), "--set", f"steps={before + 5}"))
    assert code == 0, errors
    assert saved_steps(folder.parent) == before + 5
    assert litter(folder) == []
    ticks = [int(line["step"]) for line in read_lines(folder / "stats.jsonl")]
    assert ticks == sorted(set(ticks))


def kill_often(tmp_path: Path, kills: int, steps: int) -> None:
    """However often a run is killed, it ends as one that was never disturbed, bit for bit."""
    chance = random.Random(kills)  # noqa: S311 - moments, not secrets
    straight, disturbed = tmp_path / "a", tmp_path / "b"
    code, errors = end(begin("train", "digits", "--out", str(straight), *EVERY_STEP, "--set", f"steps={steps}"))
    assert code == 0, errors
    process = begin("train", "digits", "--out", str(disturbed), *EVERY_STEP, "--set", f"steps={steps}")
    folder = disturbed / "00000-digits"
    died = 0
    for _ in range(kills):
        wait_until((folder / "recipe.yaml").is_file, process)
        reached = saved_steps(disturbed)
        wait_until(lambda: saved_steps(disturbed) > reached or process.poll() is not None, process)  # noqa: B023
        time.sleep(chance.random() * 0.2)
        kill(process)
        died += process.returncode == -signal.SIGKILL
        assert damage(newest(folder / "checkpoints")) is None
        process = begin("resume", str(folder))
    code, errors = end(process)
    assert code == 0, errors
    assert died == kills
    assert same(weights(straight / "00000-digits"), weights(folder))
    assert litter(folder) == []


def test_killed_at_random_moments(tmp_path: Path) -> None:
    kill_often(tmp_path, 3, 200)


@pytest.mark.slow
def test_killed_fifty_times_at_random_moments(tmp_path: Path) -> None:
    kill_often(tmp_path, 50, 1500)


def test_killed_before_its_first_checkpoint_it_begins_again(tmp_path: Path, call: Call) -> None:
    settings = [*EVERY_STEP, "--set", "checkpoint=1000", "--set", "steps=1000"]
    process = begin("train", "digits", "--out", str(tmp_path), *settings)
    folder = tmp_path / "00000-digits"
    wait_until((folder / "stats.jsonl").is_file, process)
    kill(process)
    assert checkpoints(folder / "checkpoints") == []
    code, _, errors = call("resume", str(folder), "--set", "steps=6")
    assert code == 0, errors
    assert "going on at step 0 of 6" in errors
    assert [line["step"] for line in read_lines(folder / "stats.jsonl")] == [3, 6]


def test_two_interrupts_end_at_once_and_harm_nothing(running: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = running
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.001)
    code, _ = end(process)
    assert code in (-signal.SIGINT, 130)  # the first may have been quick enough to end in peace
    goes_on(folder)


def test_terminated_in_the_midst_of_saving(running: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = running
    process.terminate()
    code, errors = end(process)
    assert code == 143
    assert f"stopped at step {saved_steps(folder.parent)} of 1000000, everything saved" in errors
    assert read_json(folder / "summary.json")["status"] == "interrupted"
    goes_on(folder)


class OnTerminal:
    """A command with a terminal of its own, as in a window or over ssh, that is closed by `close`."""

    def __init__(self, *arguments: str, ignore: bool = False) -> None:
        self.master, terminal = os.openpty()

        def take_over() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignore else signal.SIG_DFL)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=ENVIRONMENT | {"TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=take_over,  # noqa: PLW1509 - no threads are at work here
        )
        os.close(terminal)
        self.shown = b""

    def look(self) -> None:
        """Reads what is shown; a terminal that nobody reads halts who writes to it."""
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 65536)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 100
        while not condition():
            self.look()
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        os.close(self.master)


def test_a_closed_terminal_ends_a_training_with_everything_saved(tmp_path: Path) -> None:
    terminal = OnTerminal("train", "digits", "--out", str(tmp_path), *EVERY_STEP, "--set", "steps=1000000")
    terminal.wait_until(lambda: saved_steps(tmp_path) > 2 and b"\x1b[" in terminal.shown)  # the bar is there
    terminal.close()
    assert terminal.process.wait(100) == 128 + signal.SIGHUP
    folder = tmp_path / "00000-digits"
    assert read_json(folder / "summary.json")["status"] == "interrupted"
    assert int(read_lines(folder / "stats.jsonl")[-1]["step"]) == saved_steps(tmp_path)
    goes_on(folder)


def test_a_training_that_ignores_hangups_outlives_its_terminal(tmp_path: Path) -> None:
    """As with nohup, or disown; the results, too, have nowhere to go."""
    terminal = OnTerminal("train", "digits", "--out", str(tmp_path), *EVERY_STEP, "--set", "steps=60", ignore=True)
    terminal.wait_until(lambda: saved_steps(tmp_path) > 2)
    terminal.close()
    assert terminal.process.wait(100) == 0
    assert read_json(tmp_path / "00000-digits" / "summary.json")["status"] == "finished"
    assert saved_steps(tmp_path) == 60


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    arguments = ["train", "digits", "--out", str(tmp_path), *EVERY_STEP, "--set", "steps=12"]
    process = begin(*arguments, before=("sh", "-c", f'exec "$0" "$@" {closed}'))
    out, errors = process.communicate(timeout=100)
    folder = tmp_path / "00000-digits"
    assert process.returncode == 0, errors
    assert out == ("" if ">&-" in closed.split() else f"{folder}\n")
    assert "Traceback" not in errors
    assert ("step 12/12" in errors) == ("2>&-" not in closed)
    assert damage(newest(folder / "checkpoints")) is None
    goes_on(folder)


def check_broken(process: subprocess.Popen[str], folder: Path, reason: str) -> None:
    """The process ends by itself with one line and its exit code, and what was saved is whole."""
    code, errors = end(process)
    (line,) = [line for line in errors.splitlines() if line.startswith("zerosum: ")]
    assert code == 4
    assert reason in line
    assert f"zerosum resume {folder}" in line
    saved = checkpoints(folder / "checkpoints")
    assert len(saved) >= 1
    assert all(damage(path) is None for path in saved)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no limits on other processes on this system")
def test_files_that_can_no_longer_grow(running: tuple[subprocess.Popen[str], Path]) -> None:
    """The system refuses to write more than a few bytes: as a full disk, without one."""
    process, folder = running
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    check_broken(process, folder, "File too large")
    assert litter(folder) == []
    goes_on(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be made by root on Linux only")
    yield place
    subprocess.run([str(shutil.which("umount")), "-l", str(place)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    process = begin("train", "digits", "--out", str(small_disk), *EVERY_STEP, "--set", "steps=1000000")
    wait_until(lambda: saved_steps(small_disk) > 2, process)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while process.poll() is None:  # what the rotation of checkpoints sets free is taken at once
            with suppress(OSError):
                file.write(bytes(4096))
    check_broken(process, small_disk / "00000-digits", "No space left on device")
    assert litter(small_disk / "00000-digits") == []
    ballast.unlink()
    goes_on(small_disk / "00000-digits")


def test_too_small_a_disk_is_known_before_the_training(small_disk: Path) -> None:
    code, errors = end(begin("train", "digits", "--out", str(small_disk)))
    assert code == 2
    assert "are free, but checkpoints may take" in errors
    assert "make room" in errors
    assert list(small_disk.iterdir()) == []


def test_a_folder_turned_read_only(tmp_path: Path) -> None:
    # root may write everywhere, unless it gives that up
    setpriv = shutil.which("setpriv")
    if os.geteuid() == 0 and setpriv is None:
        pytest.skip("root may write everywhere, and there is no setpriv to give that up")
    humble = (str(setpriv), "--bounding-set", "-dac_override") if os.geteuid() == 0 else ()
    process = begin("train", "digits", "--out", str(tmp_path), *EVERY_STEP, "--set", "steps=1000000", before=humble)
    wait_until(lambda: saved_steps(tmp_path) > 2, process)
    folder = tmp_path / "00000-digits"
    places = [folder, folder / "checkpoints", folder / "samples"]
    for place in places:
        place.chmod(0o555)
    try:
        check_broken(process, folder, "Permission denied")
    finally:
        for place in places:
            place.chmod(0o755)
    goes_on(folder)


def test_two_processes_never_train_one_run(running: tuple[subprocess.Popen[str], Path], call: Call) -> None:
    process, folder = running
    code, _, errors = call("resume", str(folder))
    assert code == 2
    assert f"{folder} is being trained by another process: wait for it, or stop it" in errors
    assert process.poll() is None
    process.terminate()
    assert end(process)[0] == 143
    with held(folder):
        code, errors = end(begin("resume", str(folder)))
        assert code == 2
        assert "is being trained by another process" in errors
    goes_on(folder)


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    running: tuple[subprocess.Popen[str], Path], call: Call
) -> None:
    process, folder = running
    process.terminate()
    assert end(process)[0] == 143
    last = newest(folder / "checkpoints")
    content = bytearray((last / "state.safetensors").read_bytes())
    content[-5] ^= 4
    (last / "state.safetensors").write_bytes(bytes(content))
    step = int(last.name[5:])
    code, _, errors = call("resume", str(folder), "--set", f"steps={step + 1}")
    assert code == 0, errors
    assert f"{last.name}: state.safetensors is damaged: using step-{step - 1:06d} instead" in errors
    assert f"going on at step {step - 1} of {step + 1}" in errors
    assert damage(newest(folder / "checkpoints")) is None


def test_the_interpreter_is_the_commands() -> None:
    """These tests start the command beside the interpreter that runs them."""
    assert Path(COMMAND).is_file()
    assert Path(COMMAND).parent == Path(sys.executable).parent
