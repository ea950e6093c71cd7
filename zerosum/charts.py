"""Charts as geometry: where lines, ticks and dots stand, and how numbers are written.

Who draws them is another matter: the templates of pages as SVG in the page's own colours, `plots` as PNG files.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean
from typing import Any

#: of the drawing, in its own units; about the pixels that it gets on a phone
WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 10, 34
#: ticks above which a curve is also shown smoothed, and points that are enough for any screen
MANY, POINTS = 80, 300
#: powers of ten on a logarithmic axis
DECADES = 7

Point = tuple[float, float]
Span = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    name: str
    #: which of the page's colours
    tone: int
    #: in the coordinates of the plot area, gaps as NaN: what is read, and the raw values behind it
    places: list[Point]
    behind: list[Point] = field(default_factory=list)

    @property
    def path(self) -> str:
        """SVG path data."""
        return path(self.places)

    @property
    def faint(self) -> str:
        return path(self.behind)


@dataclass(frozen=True)
class Chart:
    title: str
    curves: list[Curve]
    #: place in the plot area and text
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    #: what real samples get, dashed: place and text
    level: tuple[float, str] | None
    #: what a person who cannot see the chart is told
    described: str
    #: what is worth knowing about how it was drawn
    remark: str
    #: JSON for the read-out: places and values
    data: str
    #: of the plot area, and of everything around it as an SVG viewBox
    width: float = WIDTH - LEFT - RIGHT
    height: float = HEIGHT - TOP - BOTTOM
    box: str = f"{-LEFT} {-TOP} {WIDTH} {HEIGHT}"


def line_chart(
    title: str,
    lines: Mapping[str, Sequence[Point]],
    *,
    tones: Sequence[int] = (),
    level: float = math.nan,
    spans: tuple[Span, Span] | None = None,
    smooth: bool = True,
) -> Chart | None:
    """Lines over generator steps; None where there is nothing to draw.

    lines: name -> points (step, value), gaps as NaN. level: a dashed line, what real samples get. spans: of x and y, to
    be shared by several charts; without them y is logarithmic where it spans decades, and leaves rare outliers out.
    """
    points = [point for line in lines.values() for point in line if math.isfinite(point[1])]
    if not points:
        return None
    across, up = spans or (span_of([x for x, _ in points]), robust_span([y for _, y in points], level))
    log = up[0] > 0 and up[1] / up[0] > 30
    scale = math.log10 if log else float
    low, high = scale(up[0]), scale(up[1])

    def place(x: float, y: float) -> Point:
        y = math.nan if log and y <= 0 else scale(y)
        return (
            (x - across[0]) / (across[1] - across[0]) * (WIDTH - LEFT - RIGHT),
            (1 - (y - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
        )

    curves, readings, told, remarks = [], [], [], []
    for index, (name, line) in enumerate(lines.items()):
        if not any(math.isfinite(y) for _, y in line):
            continue
        shown, behind = list(line), list[Point]()
        if smooth and len(line) > MANY:
            window = len(line) // 40
            behind = [place(*point) for point in envelope(line)]
            shown = smoothed(line, window)
            remarks = [f"Bold: mean over {window} ticks; faint: every tick."]
        shown = thinned(shown)
        curves.append(Curve(name, tones[index] if tones else index, [place(*point) for point in shown], behind))
        readings.append({"name": name, "points": [[x, round(place(x, y)[0], 1), number(y)] for x, y in shown]})
        ends = [y for _, y in shown if math.isfinite(y)]
        told.append(
            f"{name} from {number(ends[0])} to {number(ends[-1])}, {number(min(ends))} at least, "
            f"{number(max(ends))} at most"
        )
    outside = [y for _, y in points if not up[0] <= y <= up[1]]
    if outside:
        ends = [min(outside), max(outside)]
        remarks.append(f"Outside the frame: {len(outside)} of {len(points)} values, {' to '.join(map(number, ends))}.")
    if log:
        remarks.append("Logarithmic scale.")
    dashed = None
    if math.isfinite(level) and up[0] <= level <= up[1]:
        dashed = place(across[0], level)[1], number(level)
        told.append(f"real samples get {number(level)}")
    return Chart(
        title,
        curves,
        [(place(x, up[0])[0], text) for x, text in labelled(ticks(*across, 4))],
        [
            (place(across[0], y)[1], text)
            for y, text in ([(y, f"{y:,g}") for y in decades(*up)] if log else labelled(ticks(*up, 4)))
        ],
        dashed,
        f"{title}, over steps {number(across[0])} to {number(across[1])}: " + "; ".join(told),
        " ".join(remarks),
        json.dumps(readings),
    )


def loss_charts(curve: Callable[[str], list[Point]]) -> list[Chart]:
    """Both losses, the critic's mean outputs and, where they change, the learning rates.

    curve: the points of a run under a key of stats.jsonl, such as "critic/loss".
    """
    charts = [
        line_chart("Losses", {"critic": curve("critic/loss"), "generator": curve("generator/loss")}),
        line_chart(
            "Critic's mean output",
            {"on real samples": curve("critic/real"), "on generated samples": curve("critic/fake")},
            tones=(2, 3),
        ),
        line_chart("Content loss", {"generator": curve("generator/content")}, tones=(1,)),
    ]
    rates = {name: curve(f"{name}/lr") for name in ("critic", "generator")}
    if any(len({rate for _, rate in rates[name]}) > 1 for name in rates):
        rates = {"both networks": rates["critic"]} if rates["critic"] == rates["generator"] else rates
        charts.append(line_chart("Learning rates", rates, smooth=False))
    return [chart for chart in charts if chart is not None]


def score_chart(name: str, line: Sequence[Point], floor: float) -> Chart | None:
    """One score over time. floor: what real samples get."""
    return line_chart(name, {name: line}, level=floor, tones=(4,), smooth=False)


def span_of(values: Sequence[float]) -> Span:
    """The least and the largest, a little apart where they are as good as the same."""
    low, high = min(values), max(values)
    if max(-low, high) < sys.float_info.min:  # nothing, or too little to halve
        return min(low, 0.0), 1.0
    room = 0.5 * max(abs(low), abs(high))
    return (low, high) if high - low > 1e-9 * room else (low - room, high + room)


def robust_span(values: Sequence[float], level: float = math.nan) -> Span:
    """What a frame shows of these values, with some air: all, unless a hundredth of them would flatten the rest."""
    ordered = sorted(values)
    cut = len(ordered) // 100
    low, high = span_of(ordered)
    inner_low, inner_high = span_of(ordered[cut : len(ordered) - cut])
    if high - low > 3 * (inner_high - inner_low):
        low, high = inner_low, inner_high
    if math.isfinite(level):
        low, high = min(low, level), max(high, level)
    if low > 0 and high / low > 30:  # a logarithmic scale
        return low / 1.2, high * 1.2
    air = 0.06 * (high - low)
    return (low - air if not 0 <= low < air else min(0.0, low)), high + air


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers in a span.

    >>> ticks(0, 1600, 4)
    [0.0, 500.0, 1000.0, 1500.0]
    """
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next((factor for factor in (1, 2, 5) if (high - low) / (step * factor) <= count), 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def labelled(places: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks with their texts, all with as many decimals as the finest needs.

    >>> labelled([0.5, 1.0]), labelled([0, 1000])
    ([(0.5, '0.5'), (1.0, '1.0')], [(0, '0'), (1000, '1,000')])
    """
    step = min((b - a for a, b in zip(places, places[1:], strict=False)), default=1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals > 6:
        return [(value, number(value)) for value in places]
    return [(value, f"{value:,.{decimals}f}".replace("-", "−")) for value in places]


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten in a span, or the powers alone, or some of them, where that would be many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = -(-(last - first) // DECADES)
    powers = [power for power in range(first, last + 1) if power % every == 0]
    factors = (1, 2, 5) if high / low < 300 else (1,)
    return [value for power in powers for factor in factors if low <= (value := factor * 10.0**power) <= high]


def smoothed(line: Sequence[Point], window: int) -> list[Point]:
    """The mean over `window` neighbours, fewer at both ends; NaN stays out of it."""
    half = window // 2
    result = []
    for index, (x, _) in enumerate(line):
        near = [y for _, y in line[max(0, index - half) : index + half + 1] if math.isfinite(y)]
        result.append((x, fmean(near) if near else math.nan))
    return result


def thinned(line: Sequence[Point]) -> list[Point]:
    """No more points than a screen shows, the last among them."""
    every = -(-len(line) // POINTS)
    return [*line[:-1:every], line[-1]] if every > 1 else list(line)


def envelope(line: Sequence[Point]) -> list[Point]:
    """The least and the largest value of each stretch, so that no spike is lost."""
    every = -(-len(line) // POINTS)
    if every == 1:
        return list(line)
    result = []
    for start in range(0, len(line), every):
        stretch = sorted(line[start : start + every], key=lambda point: point[1])
        result += sorted({stretch[0], stretch[-1]})
    return result


def path(places: Sequence[Point]) -> str:
    """SVG path data; a value that is not there interrupts the line, and one that stands alone is a dot.

    >>> path([(0, 1), (2, 3), (4, math.nan), (5, 6), (7, math.nan), (8, 9), (10, 11)])
    'M0 1L2 3M5 6h0M8 9L10 11'
    """
    return "".join(
        "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in stretch) + ("h0" if len(stretch) == 1 else "")
        for stretch in stretches(places)
    )


def stretches(places: Sequence[Point]) -> list[list[Point]]:
    """The parts of a line that are drawn without lifting the pen."""
    groups = groupby(places, key=lambda place: math.isfinite(place[1]))
    return [list(stretch) for there, stretch in groups if there]


def _short(value: float) -> str:
    return f"{round(value, 1):g}"


@dataclass(frozen=True)
class Strip:
    """One setting's values on an axis from 0 to 100 that it shares with others."""

    name: str
    dots: list[float]
    mean: float | None
    text: str


def strips(
    rows: Mapping[str, Sequence[float]], level: float
) -> tuple[list[Strip], list[tuple[float, str]], float | None]:
    """A row of dots for each setting, the ticks of their common axis, and the place of the level of real samples."""
    values = [value for row in rows.values() for value in row]
    levels = [level] if math.isfinite(level) else []
    low, high = span_of([*values, *levels])
    air = 0.06 * (high - low)
    low, high = low - air, high + air

    def place(value: float) -> float:
        return round((value - low) / (high - low) * 100, 2)

    drawn = [
        Strip(name, [place(value) for value in row], place(fmean(row)) if row else None, spread(row))
        for name, row in rows.items()
    ]
    return (
        drawn,
        [(place(value), text) for value, text in labelled(ticks(low, high, 3))],
        place(level) if levels else None,
    )


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation.

    >>> spread([1.0, 2.0, 3.0]), spread([1.5]), spread([])
    ('2 ± 1.0', '1.50', '–')
    """
    if len(values) < 2:
        return number(values[0]) if values else number(None)
    mean = fmean(values)
    return uncertain(mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)))


def uncertain(value: Any, error: Any) -> str:
    """A number with its error, of which two digits say enough.

    >>> uncertain(9.4123, 0.0695), uncertain(120.0, 13.2), uncertain(0.5, 0), uncertain(0.5, None)
    ('9.41 ± 0.070', '120 ± 13', '0.500 ± 0', '0.500')
    """
    known = finite(error)
    if math.isnan(known):
        return number(value)
    error = f"{known:#.2g}".removesuffix(".").replace("-", "−") if 0 < known < 100 else number(known)
    return f"{number(value)} ± {error}"


@dataclass(frozen=True)
class Interval:
    """A difference and its interval on an axis from 0 to 100 around zero."""

    low: float
    high: float
    dot: float
    zero: float


def interval_of(difference: float, interval: Any) -> Interval | None:
    """None unless the interval is two numbers, low and high."""
    if not isinstance(interval, list) or len(interval) != 2:
        return None
    low, high = map(finite, interval)
    if not all(map(math.isfinite, (low, high, difference))) or low > high:
        return None
    start, end = span_of([low, high, difference, 0.0])
    air = 0.06 * (end - start)
    start, end = start - air, end + air
    low, high, dot, zero = (round((value - start) / (end - start) * 100, 2) for value in (low, high, difference, 0.0))
    return Interval(low, high, dot, zero)


def finite(value: Any) -> float:
    """A number that a stranger's file holds, or NaN for anything else, such as what nobody can have measured."""
    return float(value) if type(value) in (int, float) and -1e100 < value < 1e100 else math.nan


def number(value: Any) -> str:
    """Three significant digits; whole numbers whole; a dash for what is not there.

    >>> number(60000), number(0.99), number(4.23456), number(12345.6), number(-0.5), number(1e-7), number(None)
    ('60,000', '0.990', '4.23', '12,300', '−0.500', '1.00e−07', '–')
    """
    known = finite(value)
    if math.isnan(known):
        return "–"
    if known == round(known) and abs(known) < 1e15:
        text = f"{round(known):,}"
    elif 1000 <= abs(known) < 1e15:
        text = f"{float(f'{known:.3g}'):,.0f}"
    else:
        text = f"{known:#.3g}".removesuffix(".")
    return text.replace("-", "−")  # a minus sign, not a hyphen


def duration(seconds: Any) -> str:
    """
    >>> duration(48.2), duration(200), duration(7500), duration(None)
    ('48 s', '3 min 20 s', '2 h 5 min', '–')
    """
    known = finite(seconds)
    if math.isnan(known):
        return "–"
    minutes, rest = divmod(round(known), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
