"""Where lines, ticks and dots stand, and how numbers are written."""

import doctest
import json
import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zerosum import charts
from zerosum.charts import (
    decades,
    envelope,
    finite,
    interval_of,
    line_chart,
    number,
    robust_span,
    smoothed,
    span_of,
    spread,
    strips,
    thinned,
    ticks,
)
from zerosum.reporting import page, run_page

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize("module", [charts, page, run_page])
def test_examples_in_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_numbers_have_three_significant_digits_and_are_never_invented() -> None:
    assert [number(value) for value in (0, 3, 3.0, 3.14159, 999.4, 1234.5, 0.000123)] == [
        *("0", "3", "3", "3.14", "999", "1,230", "0.000123")
    ]
    strange: list[object] = [None, math.nan, math.inf, "3", True, [], 10**400]
    for nothing in strange:
        assert number(nothing) == "–"


def test_a_line_stands_where_its_values_are() -> None:
    chart = line_chart("Loss", {"critic": [(0, 0.0), (10, 1.0)]}, spans=((0, 10), (0, 1)))
    assert chart is not None
    assert chart.curves[0].path == f"M0 {chart.height:g}L{chart.width:g} 0"
    assert chart.x_ticks[0] == (0, "0") and chart.x_ticks[-1] == (chart.width, "10")
    assert chart.y_ticks[0] == (chart.height, "0.0") and chart.y_ticks[-1] == (0, "1.0")
    assert "Loss, over steps 0 to 10: critic from 0 to 1" in chart.described
    assert json.loads(chart.data)[0]["points"] == [[0, 0.0, "0"], [10, chart.width, "1"]]


def test_missing_values_interrupt_a_line() -> None:
    chart = line_chart("Loss", {"critic": [(0, 1.0), (1, math.nan), (2, 2.0), (3, 3.0)]})
    assert chart is not None
    assert re.fullmatch(r"M[\d. ]+h0M[\d. ]+L[\d. ]+", chart.curves[0].path)  # a lone value is a dot
    assert line_chart("Loss", {"critic": [(0, math.nan)]}) is None
    both = line_chart("Loss", {"critic": [], "generator": [(0, 1.0)]})
    assert both is not None and [curve.tone for curve in both.curves] == [1]
    assert line_chart("Loss", {}) is None


def test_long_lines_are_smoothed_over_their_raw_values() -> None:
    line = [(float(step), math.sin(step) + step / 1000) for step in range(2000)]
    chart = line_chart("Loss", {"critic": line})
    assert chart is not None
    assert chart.curves[0].faint
    assert chart.curves[0].path.count("L") <= charts.POINTS + 1
    assert "mean over 50 ticks" in chart.remark
    values = [y for _, y in smoothed(line, 50)]
    assert max(abs(y - step / 1000) for (step, _), y in zip(line, values, strict=True) if 25 < step < 1975) < 0.06


def test_rare_outliers_do_not_flatten_the_rest_and_are_told() -> None:
    line = [(float(step), 1 + step / 300) for step in range(300)] + [(300.0, -1000.0)]
    chart = line_chart("Loss", {"critic": line}, smooth=False)
    assert chart is not None
    assert "Outside the frame: 1 of 301 values, −1,000 to −1,000." in chart.remark
    assert min(float(text.replace("−", "-")) for _, text in chart.y_ticks) >= 0


def test_distances_over_decades_are_logarithmic() -> None:
    chart = line_chart("fid", {"fid": [(0, 1000.0), (1, 10.0)]}, level=3.0)
    assert chart is not None
    assert "Logarithmic" in chart.remark
    assert [text for _, text in chart.y_ticks][:2] == ["5", "10"] or "10" in [text for _, text in chart.y_ticks]
    places = {text: place for place, text in chart.y_ticks}
    assert places["10"] - places["100"] == pytest.approx(places["100"] - places["1,000"])
    assert chart.level is not None and chart.level[1] == "3"
    assert chart.level[0] > places["10"]


@given(st.lists(numbers, min_size=1), st.one_of(st.just(math.nan), numbers))
@example([5e-324], math.nan)
@example([-5e-324, 0.0], 1.0)
def test_frames_hold_what_they_should(values: list[float], level: float) -> None:
    low, high = span_of(values)
    assert low < high and low <= min(values) and max(values) <= high
    low, high = robust_span(values, level)
    assert low < high
    if not math.isnan(level):
        assert low <= level <= high
    assert sum(low <= value <= high for value in values) >= len(values) - 2 * (len(values) // 100)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=120), st.floats(), st.booleans())
def test_any_numbers_can_be_drawn(line: list[tuple[float, float]], level: float, smooth: bool) -> None:
    known = sorted((finite(x), finite(y)) for x, y in line if math.isfinite(finite(x)))
    chart = line_chart("Loss", {"critic": known}, level=finite(level), smooth=smooth)
    assert (chart is None) == all(math.isnan(y) for _, y in known)
    if chart is not None:
        assert "nan" not in chart.curves[0].path and "inf" not in chart.curves[0].path
        assert all(math.isfinite(place) for place, _ in [*chart.x_ticks, *chart.y_ticks])
    values = [y for _, y in known if math.isfinite(y)]
    drawn, axis, _ = strips({"a": values}, finite(level)) if values else ([], [], None)
    assert all(0 <= dot <= 100 for row in drawn for dot in row.dots)
    assert all(math.isfinite(place) for place, _ in axis)


@given(numbers, st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low: float, width: float, count: int) -> None:
    high = low + width
    if high - low < 1e-9 * abs(low):
        return
    found = ticks(low, high, count)
    assert len(found) <= count + 1
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in found)


def test_decades() -> None:
    assert decades(0.9, 12) == [1, 2, 5, 10]
    assert decades(0.5, 20_000) == [1, 10, 100, 1000, 10_000]
    assert decades(1e-20, 1) == pytest.approx([1e-18, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 1])
    assert 1 <= len(decades(5e-324, 1e99)) <= charts.DECADES + 1


def test_what_is_as_good_as_nothing_is_drawn_from_nothing_on() -> None:
    chart = line_chart("Loss", {"critic": [(0, 5e-324), (1, 5e-324)]})
    assert chart is not None
    assert "Logarithmic" not in chart.remark
    assert [text for _, text in chart.y_ticks] == ["0.0", "0.5", "1.0"]


def test_many_points_keep_the_ends_and_the_spikes() -> None:
    line = [(float(step), 0.0) for step in range(5000)]
    line[1234] = (1234.0, 9.0)
    assert thinned(line)[-1] == line[-1] and len(thinned(line)) <= charts.POINTS + 1
    assert (1234.0, 9.0) in envelope(line)
    assert envelope(line) == sorted(envelope(line))


def test_strips_share_an_axis() -> None:
    rows, axis, level = strips({"a": [1.0, 3.0], "b": [2.0], "c": []}, 1.5)
    assert [row.name for row in rows] == ["a", "b", "c"]
    assert rows[0].mean == rows[1].dots[0]  # the mean of 1 and 3 is 2
    assert rows[0].dots[0] < (level or 0) < rows[1].dots[0]
    assert (rows[2].dots, rows[2].mean, rows[2].text) == ([], None, "–")
    assert [text for _, text in axis] == ["1", "2", "3"]
    assert spread([1.0, 2.0, 3.0, 4.0]) == "2.50 ± 1.3"


def test_intervals_are_drawn_around_zero() -> None:
    drawn = interval_of(-2.0, [-3, -1])
    assert drawn is not None
    assert 0 < drawn.low < drawn.dot < drawn.high < drawn.zero < 100
    for broken in (None, [], [1], [1, "2"], [2, 1], [1, None], "12"):
        assert interval_of(1.0, broken) is None
    assert interval_of(math.nan, [1, 2]) is None
