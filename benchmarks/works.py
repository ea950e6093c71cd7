"""What is timed: the same networks, batch and optimiser as a recipe of zerosum and as a tutorial's script."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import zerosum as zs
from benchmarks import plain
from zerosum import api
from zerosum.engine.runs.run import Run
from zerosum.engine.training.loop import Totals, take_step
from zerosum.recipe import Recipe

#: pictures of each made-up set
COUNT = 2048
CLASSES = 10

Step = Callable[[], object]


def _dcgan(width: int, **options: Any) -> dict[str, Any]:
    return {"network": "dcgan", "width": width, **options}


ADAM = {"lr": 0.0002, "betas": [0.5, 0.999]}


@dataclass(frozen=True)
class Work:
    title: str
    recipe: Mapping[str, Any]
    side: int
    channels: int = 3
    latent: int = 100
    batch: int = 128
    conditional: bool = False
    #: how many times as fast as the plain script it should be, and the share of the best matrix product
    goal: float = 0.0
    share: float | None = None

    @property
    def images(self) -> int:
        """Real images of one step."""
        return self.batch * int(self.recipe["critic"].get("steps", 1))

    def parsed(self, precision: str) -> Recipe:
        values = {"name": "timed", "batch": self.batch, "precision": precision, "latent": {"size": self.latent}}
        return Recipe.parse({**values, **self.recipe})


WORKS = {
    "dcgan-32": Work(
        "DCGAN 32x32x3, width 32, batch 128",
        {"generator": _dcgan(32), "critic": _dcgan(32), "optimizer": ADAM},
        32,
        goal=3.0,
        share=0.45,
    ),
    "dcgan-64": Work(
        "DCGAN 64x64x3, width 64, batch 128",
        {"generator": _dcgan(64), "critic": _dcgan(64), "optimizer": ADAM},
        64,
        goal=2.4,
        share=0.65,
    ),
    "cdcgan": Work(
        "cDCGAN 32x32x1, width 128, batch 128",
        {"generator": _dcgan(128), "critic": _dcgan(128), "condition": {"method": "join"}, "optimizer": ADAM},
        32,
        channels=1,
        conditional=True,
        goal=2.3,
    ),
    "cgan": Work(
        "cGAN, fully connected, batch 128",
        {
            "generator": {"network": "mlp", "first": 256, "labels": 256, "hidden": [512, 1024], "norm": "batch"},
            "critic": {"network": "mlp", "first": 1024, "labels": 1024, "hidden": [512, 256]},
            "condition": {"method": "join"},
            "optimizer": ADAM,
        },
        28,
        channels=1,
        conditional=True,
        goal=2.5,
    ),
    "wgan-gp": Work(
        "WGAN-GP 32x32x3, width 64, batch 64, 5 critic steps",
        {
            "generator": _dcgan(64),
            "critic": _dcgan(64, norm="none", steps=5),
            "objective": "wasserstein",
            "penalties": {"gradient": {"weight": 10.0}},
            "optimizer": {"lr": 0.0001, "betas": [0.0, 0.9]},
        },
        32,
        latent=128,
        batch=64,
        goal=2.0,
    ),
}


def make_pictures(folder: Path) -> None:
    """Smooth made-up pictures of 64x64 pixels as JPEG files, of the size on disk that photographs of faces have."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(COUNT):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{index:05d}.jpg", quality=90)


def digits() -> tuple[plain.Pixels, np.ndarray[Any, np.dtype[np.int64]]]:
    """Made-up grey pictures (N, 28, 28) with labels, in memory as MNIST is."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (COUNT, 28, 28), dtype=np.uint8), rng.integers(0, CLASSES, COUNT)


def prepare(work: Work, precision: str, folder: Path) -> Run:
    """zerosum's run of this work, ready to train."""
    if not work.conditional:
        return api.prepare(work.parsed(precision), str(folder), {"data.resolution": work.side})
    pixels, labels = digits()
    edge = (work.side - 28) // 2
    padded = np.pad(pixels, ((0, 0), (edge, edge), (edge, edge)))[:, None]
    return api.prepare(work.parsed(precision), source=zs.make_source(padded, labels, native=28))


def zerosum_step(work: Work, precision: str, folder: Path) -> Step:
    run, totals = prepare(work, precision, folder), Totals()
    return lambda: take_step(run, totals)


def plain_step(work: Work, folder: Path, device: torch.device) -> tuple[Step, plain.Batches]:
    """The tutorial's step, and its data, which knows how long loading took."""
    side, channels, width = work.side, work.channels, int(work.recipe["generator"].get("width", 0))
    pictures: list[Any] = list(digits()[0]) if work.conditional else sorted(folder.glob("*.jpg"))
    data = plain.Batches(plain.Pictures(pictures, digits()[1].tolist(), side), work.batch)
    if width == 0:
        networks = plain.mlp_generator(side * side, work.latent), plain.mlp_critic(side * side)
        return plain.gan_step(*networks, data, device, (work.latent,), ((), ())), data
    labels = CLASSES if work.conditional else 0
    wasserstein = work.recipe.get("objective") == "wasserstein"
    generator = plain.dcgan_generator(side, channels, width, work.latent, labels)
    critic = plain.dcgan_critic(side, channels, width, labels, norm=not wasserstein)
    if wasserstein:
        return plain.wgan_gp_step(generator, critic, data, device, work.latent), data
    conditions = ((1, 1), (side, side)) if labels else None
    return plain.gan_step(generator, critic, data, device, (work.latent, 1, 1), conditions), data


def seconds(step: Step, device: torch.device, turn: int = 1) -> float:
    """Of one step, on average over a turn of some."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    for _ in range(turn):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / turn
