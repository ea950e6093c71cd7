"""The MNIST recipes side by side: python -m benchmarks.mnist --minutes 20

Trains each recipe for so long (or further, where its run folder is there already), times its steps, scores everything
under one stamp, and writes the table.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import zerosum as zs
from zerosum import api
from zerosum.data.pictures.open import open_source
from zerosum.engine.runs.reading import newest, step_of, stored_recipe
from zerosum.engine.training.loop import Totals, take_step
from zerosum.metrics.evaluate import floor_of
from zerosum.metrics.vocabulary import kind_of
from zerosum.progress import note
from zerosum.recipe import Recipe
from zerosum.scoring import shown
from zerosum.sections.picture import PictureData

RECIPES = ("gan-mnist", "cgan-mnist", "cdcgan-mnist", "wgan-gp-mnist", "mnist")
COLUMNS = {
    "fid": "FID",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "inception_score": "inception score",
    "diversity": "diversity",
    "accuracy": "accuracy",
    "cross_entropy": "cross-entropy",
    "class_fid": "FID in class",
    "worst_class_fid": "worst",
    "class_diversity": "diversity in class",
    "worst_class_diversity": "worst",
    "worst_class_share": "rarest class",
    "memorised": "copies",
}


def train(runs: Path, minutes: float) -> dict[str, Path]:
    """Recipe -> its run folder, each trained for so many minutes more, if it was not finished."""
    folders = {}
    for recipe in RECIPES:
        found = sorted(path for path in runs.glob(f"*-{recipe}") if path.name.partition("-")[2] == recipe)
        if not found:
            note(f"training {recipe}")
            folders[recipe] = zs.train(recipe, out=runs, minutes=minutes).place
        else:
            folders[recipe] = found[-1]
            if minutes > 0 and _steps(found[-1]) < stored_recipe(found[-1]).steps:
                zs.resume(found[-1], minutes=minutes)
    return folders


def _steps(folder: Path) -> int:
    return step_of(newest(folder / "checkpoints"))


def time_steps(rounds: int = 9) -> dict[str, float]:
    """Recipe -> median seconds of one training step, one step of each recipe after the other."""
    games = {recipe: api.prepare(recipe) for recipe in RECIPES}
    times: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
    for _ in range(rounds + 2):
        for recipe, run in games.items():
            began = time.perf_counter()
            take_step(run, Totals())
            times[recipe].append(time.perf_counter() - began)
    return {recipe: statistics.median(found[2:]) for recipe, found in times.items()}


def collapsed(count: int = 10_000) -> zs.Scores:
    """Scores of a generator that draws one perfect digit of each class: the real one nearest to its class's mean."""
    source, _ = open_source(PictureData(uri="mnist"))
    assert source.labels is not None  # noqa: S101
    labels = source.labels[:, 0]
    chosen = []
    for digit in range(10):
        index = np.flatnonzero(labels == digit)
        images = source.images[index].reshape(len(index), -1).astype(np.float32)
        chosen.append(index[np.square(images - images.mean(0)).sum(1).argmin()])
    drawn = np.random.default_rng(0).choice(labels, count)
    return zs.score(source.images[np.array(chosen)[drawn]], "mnist", fake_labels=drawn)


def table(rows: dict[str, tuple[str, str, zs.Scores]]) -> str:
    """Markdown: real digits, then a row for each name -> (steps, minutes, scores), the best Frechet distance first."""
    named = {name: scores for name, (_, _, scores) in rows.items()}
    ranked = zs.compare(named)
    heads = ["", "steps", "minutes", *COLUMNS.values()]
    lines = [heads, ["---"] * len(heads)]
    floor = {kind_of(name): value for name, value in floor_of(named).items()}
    lines.append(["*real training digits*", "", "", *(shown(floor.get(kind)) for kind in COLUMNS)])
    for name in ranked:
        steps, minutes, scores = rows[name]
        errors = {kind_of(key): value for key, value in scores.errors.items()}
        lines.append([name, steps, minutes, *(shown(scores.value(kind), errors.get(kind)) for kind in COLUMNS)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of training for each recipe; 0 only scores")
    parser.add_argument("--runs", type=Path, default=Path("runs/mnist-table"), help="where the run folders are")
    parser.add_argument("--out", type=Path, default=Path("docs/mnist-scores.md"), help="the table")
    options = parser.parse_args()
    folders = train(options.runs, options.minutes)
    seconds = time_steps()
    rows = {}
    for recipe, folder in folders.items():
        steps, whole = _steps(folder), Recipe.load(recipe).steps
        began = time.perf_counter()
        scores = zs.score(folder)
        note(f"{recipe}: scored in {time.perf_counter() - began:.1f} s: {json.dumps(scores.seconds)}")
        rows[f"`{recipe}`"] = (f"{steps:,} of {whole:,}", f"{steps * seconds[recipe] / 60:.0f}", scores)
    rows["*one perfect digit of each class*"] = ("", "", collapsed())
    stamp = next(iter(rows.values()))[2].stamp
    lines = [
        "# MNIST, every recipe, every score",
        "",
        "Made by `python -m benchmarks.mnist`; what the columns mean is in [scores.md](scores.md).",
        "",
        table(rows),
        "Steps were timed apart from the training, one of each recipe after the other on "
        f"{torch.get_num_threads()} cores: "
        + ", ".join(f"`{recipe}` {value * 1000:.0f} ms" for recipe, value in seconds.items())
        + "; minutes are steps times that.",
        "",
        "Stamp: " + ", ".join(f"{key} `{value}`" for key, value in stamp.items()),
    ]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    note(str(options.out))


if __name__ == "__main__":
    main()
