"""How cost grows: one step with width, batch, resolution and channels; one epoch with the number of images."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import zerosum as zs
from benchmarks.works import Step, seconds
from zerosum.data.source import Source
from zerosum.engine.runs.run import Run
from zerosum.engine.training.loop import Totals, take_step
from zerosum.engine.training.memory import reused_memory
from zerosum.engine.training.precision import choose
from zerosum.recipe import Recipe

STEPS = 5
#: images of the epochs, one file that is read through a memory map
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
SIDE, BATCH = 32, 128


def measure(place: Path, picture: Path) -> str:
    """Draws the picture, and returns the text that goes with it."""
    sweeps: dict[str, Mapping[int, Step]] = {
        "width": {width: _step(width=width) for width in (8, 16, 32, 64, 128)},
        "batch": {batch: _step(batch=batch) for batch in (16, 32, 64, 128, 256)},
        "resolution": {side: _step(side=side, width=16) for side in (16, 32, 64, 128)},
        "channels": {channels: _step(channels=channels) for channels in (1, 3, 4)},
    }
    found = {f"one step, against {name}": _race(steps) for name, steps in sweeps.items()}
    found |= epochs(place)
    figure, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained")
    lines = []
    for axis, (words, times) in zip(axes.flat, found.items(), strict=True):
        sizes, taken = list(times), list(times.values())
        exponent, last = _exponent(sizes, taken), _exponent(sizes[-2:], taken[-2:])
        axis.loglog(sizes, taken, "o-")
        axis.set_title(f"{words}\nexponent {exponent:.2f}, at the end {last:.2f}", fontsize=9)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7, rotation=30)
        axis.minorticks_off()
        axis.set_ylim(min(taken) / 2, max(max(taken) * 2, min(taken) * 10))
        axis.set_yticks(taken, [f"{value:.2g}" if value < 100 else f"{value:,.0f}" for value in taken], fontsize=7)
        axis.set_ylabel("seconds", fontsize=8)
        axis.grid(alpha=0.3)
        values = ", ".join(f"{size:,}: {value:.3g} s" for size, value in times.items())
        lines.append(f"- {words}: exponent {exponent:.2f} over all, {last:.2f} between the last two ({values})")
    figure.savefig(picture, dpi=110)
    plt.close(figure)
    return (
        f"![step and epoch times on logarithmic axes]({picture.name})\n\n"
        + "\n".join(lines)
        + "\n\nThe base is a DCGAN of 32x32x3, width 32 and batch 64 (resolutions: width 16). Epochs are of grey "
        f"images of {SIDE}x{SIDE} in a memory-mapped file; reading is measured over the whole epoch, in its shuffled "
        "order, training as the median step times the steps of an epoch.\n"
    )


def _step(width: int = 32, batch: int = 64, side: int = 32, channels: int = 3) -> Step:
    images = np.random.default_rng(0).integers(0, 256, (512, channels, side, side), dtype=np.uint8)
    return _training(zs.make_source(images), width, batch)


def _training(source: Source, width: int, batch: int) -> Step:
    player = {"network": "dcgan", "width": width}
    run = Run.prepare(Recipe.parse({"name": "growth", "batch": batch, "generator": player, "critic": player}), source)
    totals = Totals()
    return lambda: take_step(run, totals)


def _race(steps: Mapping[int, Step]) -> dict[int, float]:
    """Size -> median seconds, one step of each size after the other, each after one that brings back what it uses."""
    times: dict[int, list[float]] = {size: [] for size in steps}
    with reused_memory():
        for _ in range(STEPS + 1):
            for size, step in steps.items():
                step()
                times[size].append(_seconds(step))
    return {size: statistics.median(taken[1:]) for size, taken in times.items()}


def epochs(place: Path) -> dict[str, dict[int, float]]:
    """Seconds of an epoch of each size: reading it, and training with a small network."""
    file = place / "images.npy"
    shape = (SIZES[-1], 1, SIDE, SIDE)
    images = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    block = np.random.default_rng(0).integers(0, 256, (10_000, *shape[1:]), dtype=np.uint8)
    for start in range(0, SIZES[-1], len(block)):
        images[start : start + len(block)] = block
    images.flush()
    mapped = np.load(file, mmap_mode="r")
    reading, training = {}, {}
    sources = {size: zs.make_source(mapped[:size]) for size in SIZES}
    steps = _race({size: _training(source, 16, BATCH) for size, source in sources.items()})
    for size, source in sources.items():
        reading[size] = _seconds(_whole_epoch(source))
        training[size] = steps[size] * (size // BATCH)
    return {"reading an epoch, against images": reading, "training an epoch, against images": training}


def _whole_epoch(source: Source) -> Callable[[], None]:
    def read() -> None:
        for turn in range(len(source) // BATCH):
            source.batch(0, turn, BATCH)

    return read


def _seconds(step: Step) -> float:
    return seconds(step, choose("auto", "auto").device)


def _exponent(sizes: list[int], taken: list[float]) -> float:
    """Slope of the straight line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(taken), 1)[0])
