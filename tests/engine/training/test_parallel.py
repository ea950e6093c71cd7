"""Two processes with half a batch each do what one does with the whole batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from tests.conftest import Call, same, tiny_recipe, tiny_source
from tests.test_cli import ENVIRONMENT
from tests.test_faults import EVERY_STEP, litter, saved_steps
from zerosum import api
from zerosum.data.pictures.views import edges_source
from zerosum.engine.runs.files import read_json, read_lines
from zerosum.engine.runs.reading import damage, newest
from zerosum.engine.runs.run import Run
from zerosum.engine.training import parallel
from zerosum.engine.training.state import tensors_of
from zerosum.errors import ZerosumError

#: plain gradient descent: Adam's first steps would blow rounding in a gradient near zero up to the size of a step
DESCENT = {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": [0.5, 0.5]}, "batch": 8, "average.half_life": 20.0}
#: name -> overrides of the tiny recipe; "network" and "exact" are this file's own
SYSTEMS: dict[str, dict[str, Any]] = {
    "labels": DESCENT | {"condition.method": "join"},
    "gradient-penalty": DESCENT
    | {"penalties.gradient.weight": 10.0, "objective": "wasserstein", "critic.steps": 2, "optimizer.lr": 0.01},
    "lazy-r1-r2": DESCENT | {"penalties.r1": {"weight": 1.0, "every": 3}, "penalties.r2": {"weight": 1.0, "every": 2}},
    "relativistic": DESCENT | {"objective": "relativistic"},
    "auxiliary": DESCENT | {"condition.method": "auxiliary"},
    "mirrored": DESCENT | {"objective": "hinge"},
    "adam": {"batch": 8, "optimizer.lr": 1e-5},
    "pictures": DESCENT
    | {
        "condition.method": "picture",
        "data.input": "edges",
        "latent.size": 0,
        "content.weight": 10.0,
        "optimizer.lr": 0.01,  # at 0.05 rounding turns signs in the gradient of the absolute difference
        "generator": {"network": "unet", "width": 4, "levels": 2},
        "critic": {"network": "patch", "width": 4, "layers": 1},
    },
    "convolutions": DESCENT
    | {
        "generator": {"network": "dcgan", "width": 4, "norm": "none"},
        "critic": {"network": "dcgan", "width": 4, "norm": "none"},
    },
    # these draw dropout, or normalise, in each process for itself: they go on alike, but not as one process would
    "dropout": DESCENT | {"critic.dropout": 0.5, "generator.dropout": 0.5},
    "batch-norm": DESCENT | {"generator": {"network": "dcgan", "width": 4}, "critic": {"network": "dcgan", "width": 4}},
}
EXACT = [name for name in SYSTEMS if name not in ("dropout", "batch-norm")]


def play(name: str, out: Path) -> Run:
    side = 16 if "convolutions" in name or "norm" in name else 8
    source = tiny_source(side, mirror=name == "mirrored")
    source = edges_source(source) if name == "pictures" else source
    overrides = {"precision": "fp32", "snapshot": 100, **SYSTEMS[name]}
    return api.train(tiny_recipe(overrides), source=source, out=out)


def torchrun(*arguments: str) -> list[str]:
    script = str(Path(sys.executable).parent / "torchrun")
    return [script, "--standalone", "--nproc-per-node", "2", *arguments]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes ended with, in every system."""
    place = tmp_path_factory.mktemp("together")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        torchrun("-m", "tests.engine.training.together", str(place)),
        capture_output=True,
        text=True,
        cwd=root,
        env=ENVIRONMENT | {"PYTHONPATH": str(root)},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_processes_hold_the_same_bits(together: Path, name: str) -> None:
    first, second = (torch.load(together / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert same(first, second)
    assert all(value.isfinite().all() for value in first.values())


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("plot_nothing")
def test_two_processes_follow_one(together: Path, tmp_path: Path, name: str) -> None:
    two = torch.load(together / f"{name}-0.pt", weights_only=True)
    run = play(name, tmp_path)
    one = tensors_of(run.state)
    born = tensors_of(Run.prepare(run.recipe, run.source).state)
    moved = max(float((one[key] - value).abs().max()) for key, value in born.items())
    apart = max(float((one[key].double() - value.double()).abs().max()) for key, value in two.items())
    assert moved > 2e-5
    assert apart < 2e-3 * moved
    assert apart < 1e-5
    assert read_json(run.place / "environment.json")["processes"] == 1


@pytest.mark.usefixtures("plot_nothing")
def test_the_leader_alone_writes(together: Path) -> None:
    folders = sorted(path for path in together.iterdir() if path.is_dir())
    assert len(folders) == len(SYSTEMS)
    for folder in folders:
        assert read_json(folder / "environment.json")["processes"] == 2
        assert [line["step"] for line in read_lines(folder / "stats.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.usefixtures("plot_nothing")
def test_losses_are_those_of_the_whole_batch(together: Path, tmp_path: Path) -> None:
    (folder,) = [path for path in together.iterdir() if path.is_dir() and path.name.startswith("00000")]
    one = read_lines(play("labels", tmp_path).place / "stats.jsonl")
    two = read_lines(folder / "stats.jsonl")
    for mine, theirs in zip(one, two, strict=True):
        assert {key for key in mine if "critic/" in key} == {key for key in theirs if "critic/" in key}
        for key in ("critic/loss", "critic/real", "critic/fake", "generator/loss"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-5)


def test_shares() -> None:
    assert parallel.share(7) == slice(0, 7)
    for rank, expected in enumerate((slice(0, 4), slice(4, 8), slice(8, 12))):
        with patch.object(parallel, "size", lambda: 3), patch.object(parallel, "rank", lambda rank=rank: rank):
            assert parallel.share(12) == expected
            with pytest.raises(ZerosumError, match="batch = 64 cannot be shared evenly by 3 processes: batch=63"):
                parallel.share(64)


def test_shares_of_a_batch_are_the_batch() -> None:
    source = tiny_source(mirror=True)
    whole = source.batch(3, 5, 8)
    parts = [source.batch(3, 5, 8, share=part) for part in (slice(0, 4), slice(4, 8))]
    assert torch.equal(torch.cat([part.real for part in parts]), whole.real)
    assert whole.condition.labels is not None
    assert torch.equal(
        torch.cat([part.condition.labels for part in parts if part.condition.labels is not None]),
        whole.condition.labels,
    )


def test_alone() -> None:
    """Without torchrun there is nobody to wait for."""
    with parallel.joined():
        assert (parallel.size(), parallel.rank(), parallel.leads()) == (1, 0, True)
        tensor = torch.ones(3)
        parallel.average([tensor])
        assert torch.equal(tensor, torch.ones(3))
        assert parallel.led(lambda: 5) == 5
        parallel.tell(parallel.STEP)


LONG = [*EVERY_STEP, "--set", "steps=1000000"]


def start_two(out: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        torchrun("-m", "zerosum", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"ZEROSUM_TIMEOUT": "20"},
        cwd=out,
        start_new_session=True,
    )


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes that torchrun has started, the leader first."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    numbers: dict[int, int] = {}
    for pid in map(int, listed.split()):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ranks = [int(line[5:]) for line in environment if line.startswith(b"RANK=")]
        numbers |= dict.fromkeys(ranks, pid)
    return [numbers[rank] for rank in sorted(numbers)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dies", [0, 1])
def test_one_process_dies(tmp_path: Path, call: Call, dies: int) -> None:
    """The others end soon, and the run goes on, with another number of processes."""
    process = start_two(tmp_path, "train", "digits", "--out", str(tmp_path), *LONG)
    try:
        deadline = time.monotonic() + 100
        while saved_steps(tmp_path) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(workers(process)[dies], signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    if dies == 1:
        assert "another process of this training died or does not answer" in errors
    folder = tmp_path / "00000-digits"
    assert damage(newest(folder / "checkpoints")) is None
    step = saved_steps(tmp_path)
    code, _, errors = call("resume", str(folder), "--set", f"steps={step + 3}")
    assert code == 0, errors
    assert "the number of processes was 2, is 1" in errors
    assert saved_steps(tmp_path) == step + 3
    assert litter(folder) == []


def test_wrong_usage_is_said_once(tmp_path: Path) -> None:
    process = start_two(tmp_path, "train", "digits", "--set", "no.such=1")
    _, errors = process.communicate(timeout=100)
    assert process.returncode != 0
    assert errors.count("zerosum: --set: unknown key 'no.such'") == 1
