"""How the columns of two tables are distributed, side by side, as a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from zerosum.data.columns import Column, Doubles, tidy
from zerosum.data.pictures.drawing import lettering

#: bins of a histogram, and bars of categories, at most
BINS, BARS = 24, 9
#: the share of rows at each end that a histogram's outermost bins take together, where outliers would squeeze the rest
OUTLIERS = 0.005
#: of a panel, in pixels: its width and height, the margins, the room for names of categories, for shares, and for the
#: largest share of a histogram
WIDTH, HEIGHT, MARGIN, NAMES, SHARES, PEAK = 380, 250, 16, 140, 56, 84
#: of letters, and of the title of a panel
SIZE, TITLE = 14, 16
#: from top to bottom of a panel: where the plot begins, and what is left below it
TOP, BOTTOM = 40, 26
#: panels in a row at most
ACROSS = 4
REAL, MADE, TEXT, LINE = "#9a9a9a", "#d1495b", "#222222", "#c8c8c8"


@dataclass(frozen=True)
class Bars:
    """Shares of rows in two tables: of each bar its name, "" where `ticks` say what bars mean, and the two shares."""

    names: list[str]
    real: list[float]
    made: list[float]
    #: place along the bars, from 0 to their number, and text
    ticks: list[tuple[float, str]]


def draw_columns(
    real: Mapping[str, Sequence[str]],
    made: Mapping[str, Sequence[str]] | None,
    columns: Sequence[Column],
    most: int = 24,
) -> Image.Image:
    """A panel for each of the first `most` columns: shares of rows, the real table's in grey, the generated in colour.
    made: None for real rows alone.

    Numbers are histograms over the same bins, categories bars of the most frequent values, with all others together;
    cells without a value have a bar of their own. Every table has a row at least.
    """
    shown = columns[:most]
    across = min(ACROSS, len(shown))
    down = -(-len(shown) // across)
    sheet = Image.new("RGB", (across * WIDTH, down * HEIGHT + 2 * MARGIN + SIZE), "white")
    pen = ImageDraw.Draw(sheet)
    left = float(MARGIN)
    for colour, name in ((REAL, "real"), (MADE, "generated"))[: 1 if made is None else 2]:
        pen.rectangle((left, MARGIN, left + SIZE, MARGIN + SIZE), fill=colour)
        left = _write(pen, (left + SIZE + 6, MARGIN + SIZE / 2), f"{name}, share of rows", anchor="lm") + MARGIN
    if len(columns) > most:
        _write(pen, (left, MARGIN + SIZE / 2), f"the first {most} of {len(columns)} columns", anchor="lm")
    for index, column in enumerate(shown):
        x, y = index % across * WIDTH, index // across * HEIGHT + 2 * MARGIN + SIZE
        words = real[column.name], (real if made is None else made)[column.name]
        _fitted(pen, (x + MARGIN, y + TITLE), column.name, WIDTH - 2 * MARGIN - PEAK, TITLE, anchor="lm")
        if column.kind == "number":
            _draw_upright(pen, x, y, number_bars(column, *words), made is not None)
        else:
            _draw_lying(pen, x, y, category_bars(*words), made is not None)
    return sheet


def category_bars(real: Sequence[str], made: Sequence[str]) -> Bars:
    """The values that are most frequent in the real table, all others together, and missing ones."""
    counts, others = Counter(map(tidy, real)), Counter(map(tidy, made))
    values = [value for value, _ in counts.most_common() if value]
    values += [value for value, _ in others.most_common() if value and value not in counts]
    room = BARS - int(bool(counts[""] or others[""]))
    kept = values if len(values) <= room else values[: room - 1]
    names = list(kept)
    pairs = [(counts[value], others[value]) for value in kept]
    if len(kept) < len(values):
        rest = values[len(kept) :]
        names.append(f"{len(rest)} others")
        pairs.append((sum(counts[value] for value in rest), sum(others[value] for value in rest)))
    if counts[""] or others[""]:
        names.append("missing")
        pairs.append((counts[""], others[""]))
    return Bars(names, [one / len(real) for one, _ in pairs], [one / len(made) for _, one in pairs], [])


def number_bars(column: Column, real: Sequence[str], made: Sequence[str]) -> Bars:
    """A histogram over bins of one width, a multiple of the column's last digit, and missing values behind a gap.

    Where a few outliers would leave the others in a bin or two, the outermost bins take all that lies beyond them.
    """
    pair = column.numbers(real), column.numbers(made)
    known = pair[0][~np.isnan(pair[0])]
    seen = known if len(known) else np.array(column.knots)
    low, high = float(seen.min()), float(seen.max())
    inner = [float(value) for value in np.quantile(seen, [OUTLIERS, 1 - OUTLIERS], method="nearest")]
    squeezed = high - low > 3 * (inner[1] - inner[0]) > 0
    if squeezed:
        low, high = inner
    # steps of the last digit, or far finer ones where there are too many to count
    unit = max(10.0**-column.decimals, (high - low) / 1e6, 1e-300)
    steps = round((high - low) / unit) + 1
    each = -(-steps // BINS)
    count = -(-steps // each)
    shares = [_histogram(values, low - unit / 2, each * unit, count) for values in pair]
    first, last = _number(low, column.decimals), _number(high, column.decimals)
    if squeezed:
        first, last = f"to {first}", f"{last} on"
    ticks = [(0.0, first), (float(count), last)]
    names = [""] * count
    if any(np.isnan(values).any() for values in pair):
        names += ["", "", "", "missing", ""]
        for share, values in zip(shares, pair, strict=True):
            share += [0.0, 0.0, 0.0, float(np.isnan(values).mean()), 0.0]
    return Bars(names, shares[0], shares[1], ticks)


def _histogram(values: Doubles, start: float, width: float, count: int) -> list[float]:
    known = values[~np.isnan(values)]
    places = np.floor((known - start) / width).clip(0, count - 1).astype(np.int64)
    return (np.bincount(places, minlength=count) / len(values)).tolist()  # type: ignore[no-any-return]


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{min(decimals, 2)}f}" if 0.01 <= abs(value) < 1e7 or value == 0 else f"{value:.3g}"


def _draw_lying(pen: ImageDraw.ImageDraw, x: int, y: int, bars: Bars, both: bool) -> None:
    """Bars from left to right, one below the other, with their names before and their shares behind them."""
    room = WIDTH - 2 * MARGIN - NAMES - SHARES
    most, left, step = max(*bars.real, *bars.made), x + MARGIN + NAMES, (HEIGHT - TOP - 4) // BARS
    for index, (name, real, made) in enumerate(zip(bars.names, bars.real, bars.made, strict=True)):
        top = y + TOP + index * step
        _fitted(pen, (left - 6, top + step / 2), name, NAMES - 6, SIZE, anchor="rm")
        for offset, share, colour in ((3, real, REAL), (step // 2, made, MADE))[: 1 + both]:
            pen.rectangle((left, top + offset, left + room * share / most, top + offset + step // 2 - 3), fill=colour)
        _write(
            pen,
            (left + room * max(real, made) / most + 6, top + step / 2),
            f"{made:.1%}",
            anchor="lm",
            fill=MADE if both else TEXT,
        )


def _draw_upright(pen: ImageDraw.ImageDraw, x: int, y: int, bars: Bars, both: bool) -> None:
    """Bars side by side, with the ticks below them."""
    most, left, low = max(*bars.real, *bars.made), x + MARGIN, y + HEIGHT - BOTTOM
    step, tall = (WIDTH - 2 * MARGIN) / len(bars.real), HEIGHT - TOP - BOTTOM
    for index, pair in enumerate(zip(bars.real, bars.made, strict=True)):
        for offset, share, colour in zip((0.06, 0.5), pair, (REAL, MADE), strict=True):
            start = left + (index + offset) * step
            if share and (both or colour == REAL):
                pen.rectangle((start, low - tall * share / most, start + 0.42 * step, low), fill=colour)
    pen.line((left, low, x + WIDTH - MARGIN, low), fill=LINE)
    _write(pen, (x + WIDTH - MARGIN, y + TITLE), f"top {most:.1%}", anchor="rm")
    for place, text in bars.ticks:
        _write(pen, (left + place * step, low + 5), text, anchor="rt" if place else "lt")
    if "missing" in bars.names:
        _write(pen, (x + WIDTH - MARGIN, low + 5), "missing", anchor="rt")


def _write(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, anchor: str, fill: str = TEXT, size: int = SIZE
) -> float:
    """Draws words and says where they end."""
    text, font = lettering(text, size)
    pen.text(place, text, fill=fill, font=font, anchor=anchor)
    return float(pen.textbbox(place, text, font=font, anchor=anchor)[2])


def _fitted(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, room: float, size: int, anchor: str
) -> None:
    """Words that are cut where they would need more room."""
    drawn, font = lettering(text, size)
    while len(drawn) > 1 and font.getlength(drawn) > room:
        drawn = drawn.removesuffix("…")[:-1] + "…"
    pen.text(place, drawn, fill=TEXT, font=font, anchor=anchor)
