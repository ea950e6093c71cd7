"""What several processes and what saving cost: python -m benchmarks.parallel

Trains the same recipe as one process on one thread, as one on two threads, and as two processes of one thread each
(torchrun), whole commands one after the other, and reads the speed from what each run wrote; then times a checkpoint
beside the steps between two of them. Writes docs/parallel.md. About five minutes on two cores.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.speed import machine, table
from zerosum import api
from zerosum.engine.runs.checkpoint import save_checkpoint
from zerosum.engine.runs.files import read_lines
from zerosum.engine.training.loop import Totals, take_step
from zerosum.progress import note

ROUNDS = 3
#: way -> processes, threads of each
WAYS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
#: recipe -> overrides, and steps: the first fifth of them warms up
RECIPES: dict[str, tuple[dict[str, str], int]] = {
    "digits": ({}, 60),
    "dcgan-faces": ({}, 40),
}
#: recipes whose checkpoints are timed, as they are
SAVED = ("digits", "dcgan-faces")


def made_up(place: Path) -> dict[str, Path | None]:
    """Data of each recipe: no real pictures are needed for their speed."""
    rng = np.random.default_rng(0)
    grey, colour = place / "grey.npz", place / "colour.npz"
    np.savez(grey, images=rng.integers(0, 256, (2048, 28, 28), np.uint8), labels=rng.integers(0, 10, 2048))
    np.savez(colour, images=rng.integers(0, 256, (2048, 3, 32, 32), np.uint8))
    return {name: None if name == "digits" else grey if "mnist" in name else colour for name in {*RECIPES, *SAVED}}


def speed(recipe: str, way: str, data: Path | None, out: Path) -> float:
    """Images a second between the first fifth of the steps and the last."""
    processes, threads = WAYS[way]
    changes, steps = RECIPES[recipe]
    folder = Path(sys.executable).parent
    start = [str(folder / "torchrun"), "--standalone", "--nproc-per-node", str(processes), "-m"] * (processes > 1)
    begin = [sys.executable, "-m"] if processes == 1 else []
    keys = {**changes, "steps": str(steps), "tick": str(steps // 5), "scores.every": "0", "snapshot": "100000"}
    words = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    command = [*start, *begin, "zerosum", "train", recipe, "--out", str(out), "--name", "timed", *words]
    before = {path.name for path in out.glob("*-timed")}
    subprocess.run(
        command + (["--data", str(data)] if data else []),
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        check=True,
    )
    (run,) = [path for path in out.glob("*-timed") if path.name not in before]
    ticks = read_lines(run / "stats.jsonl")
    first, last = ticks[0], ticks[-1]
    return float((last["images"] - first["images"]) / (last["seconds"] - first["seconds"]))


def scaling(sources: Mapping[str, Path | None], place: Path) -> str:
    rows = [["recipe", *(f"{way}, images/s" for way in WAYS), "efficiency of the second core", "against 2 threads"]]
    for recipe in RECIPES:
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                found[way].append(speed(recipe, way, sources[recipe], place))
        one, threads, two = (statistics.median(found[way]) for way in WAYS)
        rows.append([f"`{recipe}`", *(f"{each:,.0f}" for each in (one, threads, two))])
        rows[-1] += [f"**{two / one / 2:.2f}**", f"**{two / threads:.2f}**"]
        note(", ".join(rows[-1]))
    return table(rows)


def saving(sources: Mapping[str, Path | None]) -> str:
    """Seconds of a checkpoint beside those of the steps between two."""
    rows = [["recipe", "checkpoint every", "MiB", "seconds of a checkpoint", "of the steps between", "share"]]
    for recipe in SAVED:
        data = sources[recipe]
        run = api.prepare(recipe, None if data is None else str(data))
        steps, saves = [], []
        with tempfile.TemporaryDirectory() as folder:
            for index in range(8):
                began = time.perf_counter()
                take_step(run, Totals())
                middle = time.perf_counter()
                path = save_checkpoint(run.state, Path(folder), run.recipe.keep)
                if index > 1:
                    steps.append(middle - began)
                    saves.append(time.perf_counter() - middle)
            size = sum(file.stat().st_size for file in path.iterdir()) / 2**20
        step, save = statistics.median(steps), statistics.median(saves)
        between = step * run.recipe.checkpoint
        cells = [f"{run.recipe.checkpoint:,} steps", f"{size:.0f}", f"{save:.2f}", f"{between:.0f}"]
        rows.append([f"`{recipe}`", *cells, f"**{save / between:.2%}**"])
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/parallel.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = made_up(Path(folder))
        text = PAGE.format(saving=saving(sources), scaling=scaling(sources, Path(folder)), machine=machine())
    options.out.write_text(text, encoding="utf-8")
    note(str(options.out))


PAGE = """# Several processes, and what saving costs

Made by `python -m benchmarks.parallel`, on made-up pictures.

    torchrun --nproc-per-node 2 -m zerosum train mnist            two processes of one machine
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m zerosum train faces ...
    torchrun --nproc-per-node 4 -m zerosum resume RUN             go on, with any number of processes

The batch of the recipe is shared by the processes, so a run with two is the same run as with one: the same images, the
same noise, the mean of the gradients. Without batch normalisation and dropout the weights are the same up to the order
of summation. Batch normalisation uses the statistics of each process's share, and the running ones are averaged;
dropout is drawn by each process for itself. Every process must find the data; only the first one writes, scores and
decides. On GPUs (NCCL) each process takes the one of its local rank. Tried with processes of one machine,
and with two agents of torchrun on it as if they were two nodes; not yet on several machines, nor on GPUs.

{scaling}
Efficiency: two processes against twice one process on one thread. Against 2 threads: two processes against the one
process that has both cores to itself, which is what runs without torchrun.

## Checkpoints

{saving}
Written beside their place, flushed to the disk, summed with SHA-256, then renamed; see [faults.md](faults.md).

{machine}.
"""

if __name__ == "__main__":
    main()
