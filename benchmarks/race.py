"""Several ways to do the same work, in turns of a few steps, each way in a process of its own.

A process each, since the way memory is reused, and threads, would otherwise leak from one way into the other.
"""

import multiprocessing
import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks.works import WORKS, plain_step, seconds, zerosum_step
from zerosum.engine.training.memory import reused_memory
from zerosum.engine.training.precision import choose

PLAIN = "plain"
WARM_UP = 3


@dataclass
class Lap:
    """Seconds of a step in each turn, those of them that loading took, and the peak of memory in bytes.

    Memory: the process's resident one, or the GPU's.
    """

    steps: list[float] = field(default_factory=list)
    loading: list[float] = field(default_factory=list)
    peak: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.steps)

    @property
    def least(self) -> float:
        return min(self.steps)


def race(work: str, ways: Sequence[str], rounds: int, folder: Path, turn: int = 1) -> dict[str, Lap]:
    """ways: "plain", or a precision of zerosum. In every round each takes a turn of so many steps."""
    context = multiprocessing.get_context("spawn")
    laps, pipes, processes = {way: Lap() for way in ways}, {}, []
    for way in ways:
        pipes[way], theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work, way, folder), daemon=True)
        process.start()
        theirs.close()
        pipes[way].recv()
        processes.append(process)
    for _ in range(rounds):
        for way in ways:
            pipes[way].send(turn)
            whole, loading, laps[way].peak = pipes[way].recv()
            laps[way].steps.append(whole)
            laps[way].loading.append(loading)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(0)
        process.join()
    return laps


def _serve(pipe: Connection, name: str, way: str, folder: Path) -> None:
    device = choose("auto", "auto").device
    work = WORKS[name]
    if way == PLAIN:
        torch.manual_seed(0)
        step, data = plain_step(work, folder, device)
        for _ in range(WARM_UP):
            step()
        pipe.send(True)
        while turn := pipe.recv():
            before = data.seconds
            whole = seconds(step, device, turn)
            pipe.send((whole, (data.seconds - before) / turn, _peak(device)))
        return
    with reused_memory():
        step = zerosum_step(work, way, folder)
        for _ in range(WARM_UP):
            step()
        pipe.send(True)
        while turn := pipe.recv():
            pipe.send((seconds(step, device, turn), 0.0, _peak(device)))


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
