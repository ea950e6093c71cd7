"""Pictures of columns: shares by hand, and what can be seen of them."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from zerosum.data import rows_drawing
from zerosum.data.columns import Codec, Column
from zerosum.data.rows_drawing import HEIGHT, MADE, REAL, WIDTH, category_bars, draw_columns, number_bars

AGE = Column("age", "number", knots=(0.0, 100.0))


def pixels_of(image: Image.Image, colour: str) -> int:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((np.asarray(image) == wanted).all(2).sum())


def test_shares_of_categories_by_hand() -> None:
    bars = category_bars(["a", "b", "b", "NA"], ["b", "c"])
    assert bars.names == ["b", "a", "c", "missing"]
    assert bars.real == [0.5, 0.25, 0, 0.25]
    assert bars.made == [0.5, 0, 0.5, 0]
    assert category_bars(["a"], ["a", ""]).names == ["a", "missing"]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("count", [7, 8, 9, 10, 30])
def test_rare_categories_stand_together(count: int, missing: bool) -> None:
    words = [str(n) for n in range(count) for _ in range(40 - n)] + [""] * missing
    bars = category_bars(words, ["0", str(count - 1)])
    room = rows_drawing.BARS - missing
    kept = count if count <= room else room - 1
    assert bars.names[:kept] == [str(n) for n in range(kept)]
    assert bars.names[kept:] == [f"{count - kept} others"] * (kept < count) + ["missing"] * missing
    assert sum(bars.real) == pytest.approx(1)
    assert sum(bars.made) == 1
    assert bars.made[0] == bars.made[kept - (kept == count)] == 0.5


def test_whole_numbers_have_bins_of_their_own() -> None:
    bars = number_bars(AGE, ["3", "3", "5", "4"], ["5", "9", "-2"])
    assert bars.real == [0.5, 0.25, 0.25]
    assert bars.made == pytest.approx([1 / 3, 0, 2 / 3])  # what lies beyond is in the outermost bins
    assert bars.ticks == [(0, "3"), (3, "5")]
    assert bars.names == ["", "", ""]


@pytest.mark.parametrize(("high", "decimals"), [(23, 0), (24, 0), (73, 0), (100, 0), (1, 1), (7.3, 2), (0.5, 3)])
def test_bins_hold_equally_many_values(high: float, decimals: int) -> None:
    """Each of all that the column's digits can write, once: no bin but the last may have fewer."""
    values = np.arange(0, high + 0.5 * 10.0**-decimals, 10.0**-decimals)
    column = Column("x", "number", knots=(0.0, high), decimals=decimals)
    words = [f"{value:.{decimals}f}" for value in values]
    bars = number_bars(column, words, words)
    counts = np.round(np.array(bars.real) * len(words))
    assert 12 <= len(counts) <= 24 or len(counts) == len(values)
    assert len(set(counts[:-1])) <= 1
    assert 0 < counts[-1] <= counts[0]
    assert bars.made == bars.real


def test_missing_numbers_have_a_bar_behind_a_gap() -> None:
    bars = number_bars(AGE, ["3", "5", "", ""], ["3", "5", "5", "5"])
    assert bars.names == ["", "", "", "", "", "", "missing", ""]
    assert bars.real == [0.25, 0, 0.25, 0, 0, 0, 0.5, 0]
    assert bars.made == [0.25, 0, 0.75, 0, 0, 0, 0, 0]
    assert number_bars(AGE, ["", ""], ["", "5"]).real[-2] == 1


@pytest.mark.parametrize("words", [["1e-320", "2e-320"], ["-1e100", "1e100"], ["7.25", "7.25"], ["1e99", "1.5"]])
def test_numbers_of_any_size(words: list[str]) -> None:
    column = Column("x", "number", knots=(min(map(float, words)), max(map(float, words))), decimals=324)
    bars = number_bars(column, words, words)
    assert sum(bars.real) == 1
    draw_columns({"x": words}, {"x": words}, [column])


def test_outliers_do_not_squeeze_the_others() -> None:
    words = [str(n % 50) for n in range(1000)]
    assert number_bars(AGE, words, words).ticks == [(0, "0"), (17, "49")]
    bars = number_bars(AGE, [*words, "1000000"], words)
    assert [text for _, text in bars.ticks] == ["to 0", "49 on"]
    assert max(bars.real) < 0.1
    assert sum(bars.real) == pytest.approx(1)
    heavy = number_bars(AGE, ["0"] * 999 + ["50000"], ["0"])  # the others are one value: nothing is squeezed
    assert [text for _, text in heavy.ticks] == ["0", "50,000"]


def table(count: int, **changes: Any) -> dict[str, list[str]]:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "height in kilometres above the level of the sea": random.normal(size=count).round(2),
        "$x_2^ \\frac 猫": random.choice(["eins", "zwei", "drei", "a value with a very long name indeed"], count),
        "age": [("" if n % 5 == 0 else n % 60) for n in range(count)],
    } | changes
    return {name: [str(word) for word in words] for name, words in columns.items()}


def test_panels() -> None:
    real = table(500)
    codec = Codec.fit(real)
    image = draw_columns(real, table(200), codec.columns)
    assert image.mode == "RGB"
    assert image.width == 3 * WIDTH
    assert HEIGHT < image.height < 1.3 * HEIGHT
    for colour in (REAL, MADE):
        assert all(
            pixels_of(image.crop((n * WIDTH, 50, (n + 1) * WIDTH, image.height)), colour) > 500 for n in range(3)
        )
        assert pixels_of(image.crop((0, 0, image.width, 50)), colour) > 100  # the legend


def test_bars_are_as_large_as_their_shares() -> None:
    real, made = {"x": ["a"] * 75 + ["b"] * 25}, {"x": ["a"] * 25 + ["b"] * 75}
    image = draw_columns(real, made, Codec.fit(real).columns).crop((0, 50, WIDTH, 300))
    areas = [[pixels_of(image.crop((0, top, WIDTH, top + 22)), colour) for top in (36, 58)] for colour in (REAL, MADE)]
    assert areas[0][0] / areas[0][1] == pytest.approx(3, rel=0.1)
    room = WIDTH - 2 * rows_drawing.MARGIN - rows_drawing.NAMES - rows_drawing.SHARES
    assert areas[0][0] == pytest.approx(8 * room, rel=0.15)  # the largest share fills it
    real, made = {"x": ["0.5"] * 75 + ["1.5"] * 25}, {"x": ["0.5"] * 25 + ["1.5"] * 75}
    image = draw_columns(real, made, Codec.fit(real).columns).crop((0, 50, WIDTH, 300))
    halves = (0, WIDTH // 2), (WIDTH // 2, WIDTH)
    areas = [[pixels_of(image.crop((a, 35, b, 250)), colour) for a, b in halves] for colour in (REAL, MADE)]
    assert areas[0][0] / areas[0][1] == pytest.approx(3, rel=0.1)
    assert areas[1][1] / areas[1][0] == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(
    ("count", "most", "across", "down"), [(1, 24, 1, 1), (5, 24, 4, 2), (30, 24, 4, 6), (9, 4, 4, 1)]
)
def test_many_columns(count: int, most: int, across: int, down: int) -> None:
    words = {f"column {n}": ["a", "b"] for n in range(count)}
    image = draw_columns(words, words, Codec.fit(words).columns, most)
    assert image.width == across * WIDTH
    assert down * HEIGHT < image.height < down * HEIGHT + 60
    for index in range(min(count, most)):
        left, top = index % across * WIDTH, index // across * HEIGHT + 46
        assert pixels_of(image.crop((left, top, left + WIDTH, top + HEIGHT)), REAL) > 500
    alone = draw_columns(words, words, Codec.fit(words).columns[:most])
    assert (image == alone) == (count <= most)  # it says that it shows some only
