"""A drive in a world that is a cylinder: each frame is the last one, rolled by what was steered."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from zerosum.recipe import Recipe

#: pixels that a steering of 1 rolls
ROLL = 4


def make_drive(folder: Path, count: int = 60, height: int = 16, width: int = 32, seed: int = 0) -> Path:
    """count frames IMG/0000.png ... and log.csv with file_name, time, steering, throttle; steering in quarters."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    frame = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    (folder / "IMG").mkdir(parents=True)
    rows, steering = [], 0.0
    for at in range(count):
        if at % 5 == 0:
            steering = float(random.integers(-4, 5)) / 4
        Image.fromarray(frame).save(folder / f"IMG/{at:04d}.png")
        rows.append([f"IMG/{at:04d}.png", round(0.07 * at, 2), steering, 1.0])
        frame = np.roll(frame, round(ROLL * steering), axis=1)
    write_log(folder, rows)
    return folder


def write_log(folder: Path, rows: list[list[object]], header: str = "file_name,time,steering,throttle") -> None:
    with (folder / "log.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def read_log(folder: Path) -> list[list[object]]:
    with (folder / "log.csv").open(newline="") as file:
        rows: list[list[object]] = [[*row] for row in csv.reader(file)]
    return rows[1:]


def drive_recipe(folder: Path, **overrides: object) -> Recipe:
    """A tiny world for such a drive."""
    values = {
        "name": "tiny-world",
        "steps": 6,
        "batch": 4,
        "data": {
            "uri": str(folder),
            "mirror": True,
            "input": "drive",
            "hold_out": 0.4,
            "drive": {"frames": 2, "ahead": 3},
        },
        "latent": {"size": 0},
        "condition": {"method": "picture"},
        "generator": {"network": "world", "width": 8, "blocks": 1},
        "critic": {"network": "patch", "width": 8, "layers": 2, "norm": "none"},
        "adversarial": 0.02,
        "content": {"weight": 1.0},
        "optimizer": {"lr": 0.003},
        "scores": {"every": 0, "best": "psnr15"},
        "precision": "fp32",
        "device": "cpu",
        "tick": 1,
        "snapshot": 1000,
        "checkpoint": 3,
    }
    return Recipe.parse(values).with_overrides({key.replace("__", "."): value for key, value in overrides.items()})
