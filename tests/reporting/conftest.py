"""A finished run, a study made of copies of it, and a way to read pages."""

import json
import math
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import zerosum as zs
from tests.conftest import empty_picture

#: a name that does harm wherever it is not escaped
HOSTILE = "</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}&"


class Page(HTMLParser):
    """Tags with their attributes in order, and the text between them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8").replace("<wbr>", "")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] in ("style", "script"):
            return
        self.texts.append(data)

    @property
    def text(self) -> str:
        """What a person reads, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


ReadPage = Callable[..., Page]


@pytest.fixture
def read_page(tmp_path: Path) -> ReadPage:
    """The report of a folder, parsed."""

    def read(folder: Path, **options: Any) -> Page:
        return Page(zs.report(folder, tmp_path / "page.html", **options))

    return read


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe `digits`, narrow and short, with pictures, scores and checkpoints. Not to be changed."""
    short = {"steps": 6, "batch": 8, "tick": 1, "snapshot": 2, "checkpoint": 3, "generator.width": 8, "critic.width": 8}
    scores = {"scores.every": 3, "scores.images": 50, "scores.features": "random"}
    plain = {"precision": "fp32", "device": "cpu", "name": "tiny"}
    with pytest.MonkeyPatch.context() as patch:  # drawing plots takes longer than such a training
        for name in ("plot_losses", "plot_scores"):
            patch.setattr(f"zerosum.plots.{name}", empty_picture)
        return zs.train("digits", out=tmp_path_factory.mktemp("runs"), overrides=short | scores | plain).place


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / finished.name))


FID = "fid50@random"


@pytest.fixture
def study_folder(finished: Path, tmp_path: Path) -> Path:
    """Two settings of two seeds each, of which one run failed, and one setting that nobody has trained."""
    folder = tmp_path / "studies" / "00000-width"
    settings: list[dict[str, Any]] = [
        {"name": "narrow", "recipe": "digits", "set": {}, "knob": None, "value": None},
        {"name": "wide", "recipe": "digits", "set": {"generator.width": 16}, "knob": "generator.width", "value": 16},
        {"name": "wider", "recipe": "digits", "set": {"generator.width": 32}, "knob": "generator.width", "value": 32},
    ]
    runs: list[dict[str, Any]] = []
    for number, (setting, seed, fid) in enumerate((("narrow", 0, 12.5), ("narrow", 1, 11.5), ("wide", 0, 8.25))):
        place = folder / "runs" / f"{number:05d}-{setting}-{seed}"
        shutil.copytree(finished, place, ignore=shutil.ignore_patterns("checkpoints"))
        done = {
            "status": "finished",
            "steps": 6,
            "seconds": 2.0 + number,
            "scores": {FID: fid, "diversity50@random": 0.5},
        }
        runs.append({"setting": setting, "seed": seed, "folder": str(place.relative_to(folder)), **done})
    runs.append({"setting": "wide", "seed": 1, "folder": "runs/00003-wide-1", "status": "diverged", "scores": {}})
    for seed in (0, 1):
        runs.append({"setting": "wider", "seed": seed, "folder": None, "status": "waiting", "steps": 0, "scores": {}})
    sides = {"0": {"fid(wide)": 8.25, "fid(narrow)": 12.5}, "1": {"fid(wide)": 9.0, "fid(narrow)": 11.5}}
    claims: list[dict[str, Any]] = [
        {
            **{"say": "a wide generator is better", "expect": "fid(wide) < fid(narrow)", "verdict": "supported"},
            **{"direction": "as expected", "scale": "ratio", "difference": math.log(0.5), "effect": -2.5},
            **{"interval": [math.log(0.4), math.log(0.625)], "values": sides, "why": "the interval lies below 1"},
        },
        {
            **{"say": "a wide one is slower", "expect": "seconds(wide) > seconds(narrow)", "verdict": "not decided"},
            **{"direction": "as expected", "scale": "difference", "difference": 1.25, "interval": None, "effect": None},
            **{"values": {"0": {"seconds(wide)": 4.0, "seconds(narrow)": 2.75}}, "why": "one seed decides nothing"},
        },
        {
            **{"say": "a narrow one collapses", "expect": "diversity(narrow) < 0.2", "verdict": "contradicted"},
            **{"direction": "the other way", "scale": "difference", "difference": 0.3, "interval": [0.25, 0.35]},
            **{"effect": 6.0, "values": {}, "why": "diversity(narrow) = 0.5 against 0.2"},
        },
    ]
    stated = [{"say": one["say"], "expect": one["expect"]} for one in claims]
    plan = {"name": "width", "about": "Does the width of the generator matter?", "budget": "a minute", "quick": True}
    write(folder / "plan.json", plan | {"settings": settings, "seeds": [0, 1], "claims": stated, "search": None})
    write(folder / "results.json", {"runs": runs, "settings": {}, "claims": claims, "search": None})
    (folder / "study.yaml").write_text("name: width\n")
    return folder


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
