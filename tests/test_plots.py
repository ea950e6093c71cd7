"""losses.png and scores.png: what somebody who looks into a run folder sees."""

import math
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from zerosum import plots
from zerosum.plots import INK, PAPER, TONES, plot_losses, plot_scores

Ticks = list[dict[str, float]]


def losses(count: int = 30) -> Ticks:
    return [
        {"step": step, "critic/loss": 1 / step, "generator/loss": step / 10, "critic/real": 1.0, "critic/fake": -1.0}
        for step in range(1, count)
    ]


def pixels(path: Path) -> Any:
    """uint8 (height, width, 3)."""
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image).astype(int)


def coloured(picture: Any, colour: str) -> Any:
    """Where a picture has this colour, bool (height, width)."""
    return (picture == ImageColor.getrgb(colour)).all(2)


def drawn(path: Path, ticks: Ticks) -> Any:
    plot_losses(ticks, path)
    return pixels(path)


def test_losses_and_outputs_stand_side_by_side(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "losses.png", losses())
    height, width, _ = picture.shape
    assert (width, height) == (1288, 442)
    left, right = picture[:, : width // 2], picture[:, width // 2 :]
    for half, tones, others in ((left, TONES[:2], TONES[2:4]), (right, TONES[2:4], TONES[:2])):
        assert 0.8 < coloured(half, PAPER).mean() < 0.99
        assert all(coloured(half, tone).sum() > 200 for tone in tones)
        assert not any(coloured(half, other).any() for other in others)
    # the critic's loss falls from left to right, the generator's rises
    for tone, falls in ((TONES[0], True), (TONES[1], False)):
        rows, columns = np.nonzero(coloured(left[80:], tone))
        first, last = rows[columns < columns.min() + 20].min(), rows[columns > columns.max() - 20].min()
        assert (first < last) == falls


def test_a_curve_is_that_of_the_data_and_a_picture_that_of_its_numbers(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "losses.png", losses())
    again = drawn(tmp_path / "again.png", losses())
    assert (tmp_path / "losses.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    other = drawn(tmp_path / "other.png", [{**tick, "generator/loss": 3 - tick["generator/loss"]} for tick in losses()])
    half = picture.shape[1] // 2
    assert (picture == again).all()
    assert (picture[:, :half] != other[:, :half]).any()
    assert (picture[:, half:] == other[:, half:]).all()


def test_one_tick_is_a_dot_and_what_is_missing_is_left_out(tmp_path: Path) -> None:
    tick = {"step": 1, "critic/loss": 0.5, "critic/real": math.nan}
    picture = drawn(tmp_path / "losses.png", [tick])
    assert picture.shape == (442, 644, 3)  # no chart of the outputs
    rows, columns = np.nonzero(coloured(picture[80:], TONES[0]))
    assert len(rows) > 20 and np.ptp(rows) < 12 and np.ptp(columns) < 12
    for ticks in ([], [{"step": 1, "critic/loss": math.nan}]):
        nothing = drawn(tmp_path / "nothing.png", ticks)
        assert nothing.shape == (442, 644, 3) and 0.5 < coloured(nothing, PAPER).mean() < 1


def test_a_long_run_is_smoothed_and_an_outlier_stays_out_of_the_frame(tmp_path: Path) -> None:
    ticks = [{"step": step, "critic/loss": 1 + step % 2 / 10} for step in range(1, 500)]
    ticks[250]["critic/loss"] = 1e30
    picture = drawn(tmp_path / "losses.png", ticks)
    columns = np.nonzero(coloured(picture[80:350], TONES[0]))[1]
    assert np.ptp(columns) > 450  # the frame is that of the others
    faint = plots.faded(TONES[0])
    assert coloured(picture, faint).sum() > 500
    assert not coloured(picture[:66, 200:], faint).any()  # beside the names of the curves


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2**53), st.floats()), max_size=100))
def test_any_numbers_can_be_drawn(
    tmp_path_factory: pytest.TempPathFactory, values: Sequence[tuple[int, float]]
) -> None:
    place = tmp_path_factory.getbasetemp() / "any.png"
    ticks: Ticks = [{"step": step, "critic/loss": value} for step, value in sorted(values)]
    assert drawn(place, ticks).shape == (442, 644, 3)


def line(name: str, step: int, value: float | None, floor: float | None = None, stamp: int = 0) -> dict[str, Any]:
    return {"name": name, "step": step, "value": value, "floor": floor, "stamp": {"seed": stamp}}


def test_a_chart_for_each_score_and_dashed_what_real_images_get(tmp_path: Path) -> None:
    fid = [line("fid@random", step, 100 / step, 1.5) for step in range(1, 9)]
    shares = [line("diversity@random", step, step / 10, None) for step in range(1, 9)]
    plot_scores(fid + shares, tmp_path / "scores.png")
    picture = pixels(tmp_path / "scores.png")
    assert picture.shape[:2] == (316, 920)
    dashes = [coloured(half[60:], INK).sum(1).max() for half in (picture[:, :460], picture[:, 460:])]
    assert dashes[0] > 150 and dashes[1] < 20
    four = [line(name, 1, 0.5) for name in "abcd"]
    plot_scores(four, tmp_path / "four.png")
    assert pixels(tmp_path / "four.png").shape[:2] == (2 * 316, 3 * 460)  # three in a row
    plot_scores([line(f"fid{count}", 1, 0.5) for count in range(5000)], tmp_path / "many.png")
    assert pixels(tmp_path / "many.png").shape[:2] == (plots.MOST // 3 * 316, 3 * 460)


def test_scores_of_another_kind_and_those_that_failed_are_left_out(tmp_path: Path) -> None:
    mine = [line("fid@random", step, float(10 - step), 1.0) for step in range(4, 8)]
    plot_scores(mine, tmp_path / "mine.png")
    strange = [line("fid@random", 1, 900.0, stamp=1), line("fid@random", 3, None), line("kid@random", 3, None)]
    plot_scores(strange + mine, tmp_path / "all.png")
    assert (tmp_path / "mine.png").read_bytes() == (tmp_path / "all.png").read_bytes()


def test_the_colours_are_those_of_the_page() -> None:
    style = (resources.files("zerosum.reporting") / "templates" / "style.css").read_text()
    light = style[: style.index("prefers-color-scheme")]
    assert tuple(re.findall(r"--tone\d: (#\w+);", light)) == TONES
    assert f"--ink: {INK};" in light
