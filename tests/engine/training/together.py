"""Started by torchrun: trains every system of test_parallel.py, and keeps what each process ends with."""

import sys
from pathlib import Path

import torch

from tests.engine.training.test_parallel import SYSTEMS, play
from zerosum.engine.training import parallel
from zerosum.engine.training.state import tensors_of

if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    with parallel.joined():
        for name in SYSTEMS:
            state = play(name, place).state
            assert state.step == SYSTEMS[name].get("steps", 6)
            torch.save(tensors_of(state), place / f"{name}-{parallel.rank()}.pt")
