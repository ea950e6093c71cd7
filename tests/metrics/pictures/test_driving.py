"""Scores of drives, against closed forms and against a world whose rules are known."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import Call
from tests.drives import ROLL, drive_recipe, make_drive
from zerosum import api, scoring
from zerosum.data.pictures.drives import DriveSource
from zerosum.data.pictures.open import open_held_out, open_source
from zerosum.errors import ZerosumError
from zerosum.metrics.pictures.driving import (
    AHEAD,
    FORCED,
    HORIZONS,
    DrivingYardstick,
    correlation,
    costs,
    mirrored_costs,
)
from zerosum.modalities.picture import section

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_drive(tmp_path_factory.mktemp("drive"), 120)


@pytest.fixture(scope="module")
def yardstick(drive: Path) -> DrivingYardstick:
    data = section(drive_recipe(drive).data)
    source, _ = open_source(data)
    held_out = open_held_out(data, source.spec)
    assert isinstance(source, DriveSource)
    assert isinstance(held_out, DriveSource)
    return DrivingYardstick(source, held_out)


def true_drives(yardstick: DrivingYardstick, count: int) -> Iterator[tuple[Tensor, None]]:
    for start in yardstick.held_out.spread(count, AHEAD):
        clip = yardstick.held_out.images[start + 2 : start + 2 + AHEAD]
        yield torch.from_numpy(np.array(clip)).flatten(0, 1)[None], None


def rolled(yardstick: DrivingYardstick, obedient: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """What the true world does when it is forced, or one that does the same whatever it is told."""
    for forced in FORCED:
        frame = torch.from_numpy(np.array(yardstick.held_out.images[1]))
        steps = [torch.roll(frame, round(ROLL * forced * at) if obedient else at, 2) for at in range(1, AHEAD + 1)]
        yield torch.cat(steps)[None], torch.tensor([forced])


def test_true_frames_are_perfect_and_repeating_gets_what_it_should(yardstick: DrivingYardstick) -> None:
    scores = yardstick.measure(true_drives(yardstick, 6), 6)
    assert set(scores.scores) == {f"{kind}{at}" for kind in ("psnr", "ssim", "sharpness") for at in HORIZONS}
    for at in HORIZONS:
        assert scores.scores[f"psnr{at}"] == pytest.approx(100)
        assert scores.scores[f"ssim{at}"] == pytest.approx(1)
        assert scores.scores[f"sharpness{at}"] == pytest.approx(1)
    images, starts = yardstick.held_out.images.astype(float), yardstick.held_out.spread(6, AHEAD)
    for at in HORIZONS:
        errors = ((images[starts + 1 + at] - images[starts + 1]) ** 2).mean((1, 2, 3))
        psnr = np.minimum(10 * np.log10(255**2 / np.maximum(errors, 1e-9)), 100).mean()
        assert scores.baselines["repeat"][f"psnr{at}"] == pytest.approx(psnr, rel=1e-4)
    assert scores.baselines["repeat"]["psnr5"] < 40


def test_obedience_tells_a_world_that_obeys_from_one_that_does_not(yardstick: DrivingYardstick) -> None:
    def drives(obedient: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
        yield from true_drives(yardstick, 2)
        yield from rolled(yardstick, obedient)

    obeys = yardstick.measure(drives(True), 2)
    not_so = yardstick.measure(drives(False), 2)
    assert obeys.scores["obedience"] > 0.9
    assert abs(not_so.scores["obedience"]) < 0.3
    assert obeys.floor["obedience"] > 0.8
    read = [obeys.classes[f"steering {forced:+g}"]["read"] for forced in FORCED]
    assert read == sorted(read)
    assert read == pytest.approx([*FORCED], abs=0.3)


def test_costs_are_least_at_the_true_motion_whatever_the_contrast_and_mirror_with_the_frames() -> None:
    frame = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (3, 16, 32)))
    window = torch.stack([torch.roll(frame, 2 * at, 2) for at in range(3)])[None].to(torch.uint8)
    seen = costs(window).view(9, 4, 4)  # shifts by -4 ... 4 pixels
    assert (seen.argmin(0) == 2).all()  # what comes from two pixels to the left
    assert torch.allclose(seen[2], torch.full((4, 4), -1.0, dtype=torch.float64))
    assert torch.allclose(seen.mean(0), torch.zeros(4, 4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(costs(window // 2 * 2), costs(window // 2), atol=1e-6)
    assert torch.allclose(costs(window.flip(4)), mirrored_costs(costs(window)), atol=1e-6)
    still = costs(window[:, :1].expand(-1, 3, -1, -1, -1)).view(9, 4, 4)
    assert (still.argmin(0) == 4).all()


def test_cheap_scores_look_at_no_forced_drives(yardstick: DrivingYardstick) -> None:
    def drives() -> Iterator[tuple[Tensor, Tensor | None]]:
        yield from true_drives(yardstick, 3)
        raise AssertionError("too far")

    scores = yardstick.measure(drives(), 3, cheap=True)
    assert "obedience" not in scores.scores
    assert not scores.baselines


def test_recordings_that_are_too_short_are_refused_before_training(tmp_path: Path) -> None:
    folder = make_drive(tmp_path / "drive", 40)
    with pytest.raises(ZerosumError, match=r"need 30 held-out frames after 2 given ones .* there are 14"):
        api.train(drive_recipe(folder, scores__every=6), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_correlation() -> None:
    a = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert correlation(a, 2 * a + 1) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    assert correlation(a, torch.ones(4)) == 0
    b = torch.tensor([1.0, 0.0, 2.0, 5.0])
    assert correlation(a, b) == pytest.approx(float(np.corrcoef(a, b)[0, 1]))


def test_a_run_is_scored_reported_and_keeps_its_best(drive: Path, tmp_path: Path, call: Call) -> None:
    recipe = drive_recipe(drive, steps=10, scores__every=5, scores__images=50)
    run = api.train(recipe, out=tmp_path)
    assert run.folder is not None
    lines = [json.loads(line) for line in (run.folder / "scores.jsonl").read_text().splitlines()]
    assert {line["name"] for line in lines} >= {"psnr15", "ssim30", "sharpness1"}
    assert json.loads((run.folder / "summary.json").read_text())["best"]["name"] == "psnr15"
    code, printed, _ = call("score", str(run.folder), "--n", "20", "--json")
    assert code == 0
    values: dict[str, Any] = json.loads(printed)
    assert values["scores"].keys() >= {"psnr1", "psnr30", "ssim15", "sharpness30", "obedience"}
    assert values["floor"]["obedience"] > 0.8
    assert values["baselines"]["repeat"].keys() >= {"psnr1", "ssim30"}
    assert all(math.isfinite(value) for value in values["scores"].values())
    table = scoring.as_table({"run": scoring.score(run.folder, n=20)})
    assert table.index("psnr1 ") < table.index("psnr15 ") < table.index("psnr30 ") < table.index("ssim1 ")
    assert "repeat" in table
    code, page, _ = call("report", str(run.folder))
    assert code == 0
    text = Path(page.strip()).read_text()
    assert "Film strips from the same held-out places" in text
    assert "psnr15" in text
    assert "of 3x16x32" in text
