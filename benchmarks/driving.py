"""A drive in a learnt world: python -m benchmarks.driving GAN CONTENT [--out docs] [--start 0.5]

Of two runs of `world-driving`, as it is and with --set adversarial=0: their scores on the held-out part of the drive
beside those of repeating the last frame, frames a second, and three drives from one start, to the left, straight on and
to the right, as a film and as a strip.
"""

import argparse
import time
from pathlib import Path

import torch
import typer
from torch import Tensor

from zerosum import api, scoring
from zerosum.data.pictures.drawing import save_film, save_grid
from zerosum.data.pictures.drives import DriveSource
from zerosum.engine.runs.reading import stored_recipe
from zerosum.engine.trained.pictures.world import WorldGan
from zerosum.errors import ZerosumError
from zerosum.metrics.result import Scores
from zerosum.modalities import open_source

DRIVES = {"left": -0.25, "straight": 0.0, "right": 0.25}
FRAMES, COLUMNS = 42, 8


def table(gan: Scores, content: Scores) -> str:
    """A row for each score, a column for each way."""
    ways = {"GAN": gan.scores, "without a critic": content.scores, "repeat the last frame": gan.baselines["repeat"]}
    rows = [["score", *ways, "real frames"], ["---"] * (2 + len(ways))]
    for name in gan.scores:
        values = [*(inside.get(name) for inside in ways.values()), gan.floor.get(name)]
        rows.append([name, *("-" if value is None else f"{value:.4g}" for value in values)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def speed(gan: WorldGan, history: Tensor, steps: int = 200) -> float:
    """Frames a second."""
    world = gan.play(history)
    world.step()
    began = time.perf_counter()
    for _ in range(steps):
        world.step(steering=0.1)
    return steps / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gan", type=Path)
    parser.add_argument("content", type=Path)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--start", type=float, default=0.5, help="of the films, as a share of the held-out part")
    given = parser.parse_args()
    gan = api.load(given.gan)
    recording, _ = open_source(stored_recipe(given.gan).data, split="test")
    if not (isinstance(gan, WorldGan) and isinstance(recording, DriveSource)):
        raise ZerosumError(f"{given.gan} is no world")
    starts = recording.starts(1)
    batch = recording.clips(starts[[int(given.start * (len(starts) - 1))]], 1)
    cut = gan.input.frames * gan.spec.channels
    history = batch.given[0, :cut].reshape(gan.input.frames, -1, *batch.real.shape[2:])
    films = {
        name: gan.play(history).film(FRAMES, [{"steering": steering, "throttle": 1.0}])
        for name, steering in DRIVES.items()
    }
    gap = torch.ones(FRAMES, gan.spec.channels, history.shape[2], 2)
    left, straight, right = films.values()
    save_film(torch.cat([left, gap, straight, gap, right], 3), given.out / "world.gif", 2)
    places = torch.linspace(0, FRAMES - 1, COLUMNS).round().long()
    save_grid(torch.cat([film[places] for film in films.values()]), COLUMNS, given.out / "world.png", list(films))
    typer.echo(f"{speed(gan, history):.0f} frames a second on {torch.get_num_threads()} threads\n")
    typer.echo(table(scoring.score(given.gan), scoring.score(given.content)))


if __name__ == "__main__":
    main()
