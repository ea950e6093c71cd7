"""Small data and small recipes that the tests share."""

import atexit
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zerosum import cli
from zerosum.data.pictures.domains import domain_source
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.data.pictures.views import edges_source, shrunk_source
from zerosum.data.source import Batch, Source
from zerosum.engine.training.precision import Precision
from zerosum.engine.watching.diagnosis import Finding
from zerosum.games.objectives import objective
from zerosum.games.step import Game
from zerosum.recipe import Penalties, Recipe
from zerosum.sections.picture import PictureData

# the tests' tensors are too small to share between threads; it also makes sums the same on every machine
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # commands that tests start

# no test writes into the user's cache; set here and not in a fixture, so that commands which tests start inherit it
_CACHE = TemporaryDirectory(prefix="zerosum-tests-")
atexit.register(_CACHE.cleanup)
os.environ["ZEROSUM_CACHE"] = _CACHE.name

CPU = Precision("fp32", torch.device("cpu"))

TINY: dict[str, Any] = {
    "name": "tiny",
    "steps": 6,
    "batch": 4,
    "latent": {"size": 8},
    "generator": {"network": "mlp", "first": 16, "labels": 16, "hidden": [16]},
    "critic": {"network": "mlp", "first": 16, "labels": 16, "hidden": [16]},
    "precision": "fp32",
    "device": "cpu",
    "tick": 1,
    "snapshot": 1000,
    "checkpoint": 3,
}
TINY_DCGAN: dict[str, Any] = TINY | {
    "generator": {"network": "dcgan", "width": 4},
    "critic": {"network": "dcgan", "width": 4},
}


def beside_data(err: str) -> list[str]:
    """The lines on standard error but for those that tell what was found when data was opened."""
    told = re.compile(r".*: (labels: |[\d,]+ (pictures?|pairs?)\b).*")
    return [line for line in err.splitlines() if not told.fullmatch(line)]


def tiny_recipe(overrides: dict[str, Any] | None = None, network: str = "mlp") -> Recipe:
    """A recipe whose steps take milliseconds, with dotted keys changed."""
    return Recipe.parse(TINY_DCGAN if network == "dcgan" else TINY).with_overrides(overrides or {})


def tiny_source(
    side: int = 8,
    channels: int = 1,
    count: int = 22,
    *,
    classes: int = 3,
    labelled: bool = True,
    mirror: bool = False,
    seed: int = 0,
) -> PictureSource:
    """Each class has its own brightness, under noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = random.integers(0, 100, (count, channels, side, side)) + (labels * 150 // classes)[:, None, None, None]
    return make_source(images.astype(np.uint8), labels.astype(np.int64) if labelled else None, mirror=mirror)


def with_input(source: PictureSource, data: PictureData) -> PictureSource:
    """The same images with what such data gives as their condition."""
    match data.input:
        case "shrunk":
            return shrunk_source(source, data.factor)
        case "edges":
            return edges_source(source)
        case "domains":
            return domain_source(make_source(source.images, np.arange(len(source)) % 2), "tiny")
        case _:
            return source


def tiny_batch(source: Source, size: int = 4, draw: int = 0) -> Batch:
    return source.batch(0, draw, size)


def tiny_game(source: PictureSource, name: str = "non-saturating", penalties: dict[str, Any] | None = None) -> Game:
    return Game(objective(name), Penalties.model_validate(penalties or {}), source.spec.sizes, 1.0, CPU)


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A copy of every weight, running statistic and counter."""
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    """Whether both hold the same names and bit-identical values."""
    return before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())


def only_ticks(news: Iterable[dict[str, float] | Finding]) -> Iterator[dict[str, float]]:
    """What a training yields, without its findings."""
    return (one for one in news if not isinstance(one, Finding))


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process, which has torch already: exit code, standard output, standard error."""

    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["zerosum", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, captured.out, captured.err

    return invoke


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    monkeypatch.setenv("ZEROSUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real sets: in $ZEROSUM_TEST_DATA, or in shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("ZEROSUM_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no real data: set ZEROSUM_TEST_DATA to a folder with faces64.zip and mnist/")
    return folder


@pytest.fixture
def source() -> PictureSource:
    return tiny_source()


def empty_picture(_: object, path: Path) -> None:
    """In place of a plot."""
    path.touch()


@pytest.fixture
def plot_nothing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leaves the plot of losses out, which takes longer than a tiny training."""

    monkeypatch.setattr("zerosum.plots.plot_losses", empty_picture)
    return empty_picture


class OwnGenerator(nn.Module):
    """z (N, 8) -> images (N, 1, 8, 8), for the latent and the data of `tiny_recipe`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 64)

    def forward(self, z: Tensor, _: Tensor | None) -> Tensor:
        return torch.tanh(self.layer(z)).view(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def undrawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for one file, and runs without plots, which take longer than a tiny training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("plot_losses", "plot_scores"):
            patch.setattr(f"zerosum.plots.{name}", empty_picture)
        yield


@pytest.fixture(scope="module")
def quick_scores(undrawn: None) -> Iterator[None]:
    """And classifiers that learn in a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zerosum.metrics.pictures.classifier.STEPS", 60)
        yield
