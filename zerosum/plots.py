"""The charts of a run as PNG files: those of its page, drawn with Pillow, for who looks into the folder."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from zerosum.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Chart,
    Point,
    finite,
    loss_charts,
    score_chart,
    stretches,
)
from zerosum.fonts import DEJAVU

#: colours of the page in the light; it has five tones, of which the last is the first again
PAPER, INK, SOFT, LINE = "#ffffff", "#20242a", "#59616b", "#ddd9d1"
TONES = ("#1d5fa8", "#c24d0c", "#1d7a6c", "#8a4bab", "#1d5fa8")
#: of a chart with its title above and its remarks below, in its own units
PANEL, HEAD, REMARK = (WIDTH + 20, HEIGHT + 86), 48, 14
#: charts of scores at most: more names than a run has, but the folder that goes on may be a stranger's
MOST = 30
#: letters of a line of remarks
LETTERS = 74
#: times that everything is drawn larger than it is in the end, which makes slanted lines smooth
FINE = 3


def plot_losses(ticks: Sequence[Mapping[str, float]], path: Path) -> None:
    """Both losses, and the critic's mean output on real and on generated samples, against steps."""
    draw(loss_charts(lambda key: [(tick["step"], finite(tick.get(key))) for tick in ticks]), 2, 1.4, path)


def plot_scores(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The lines of scores.jsonl against steps, a chart for each name, and dashed what real samples get."""
    named: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        named.setdefault(line["name"], []).append(line)
    charts = []
    for name, mine in list(named.items())[:MOST]:
        points = [(line["step"], finite(line["value"])) for line in mine if line.get("stamp") == mine[-1].get("stamp")]
        charts.append(score_chart(name, points, finite(mine[-1].get("floor"))))
    draw([chart for chart in charts if chart is not None], 3, 1.0, path)


def draw(charts: Sequence[Chart], columns: int, zoom: float, path: Path) -> None:
    """Draws charts in rows of `columns`. zoom: pixels for each of a chart's own units."""
    pen = Pen(zoom * FINE)
    columns, rows = max(1, min(columns, len(charts))), max(1, -(-len(charts) // columns))
    wide, high = (round(side * zoom) for side in PANEL)
    sheet = Image.new("RGB", (columns * wide, rows * high), PAPER)
    for index, chart in enumerate(charts):
        panel = pen.panel(chart, (wide * FINE, high * FINE)).reduce(FINE)
        sheet.paste(panel, (index % columns * wide, index // columns * high))
    if not charts:
        words = "There is no number to draw."
        ImageDraw.Draw(sheet).text((wide / 2, high / 2), words, SOFT, Pen(zoom).font(12), "mm")
    sheet.save(path, "PNG")


class Pen:
    """Draws charts. scale: pixels for each of their own units."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def font(self, size: float) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(DEJAVU, size * self.scale)

    def panel(self, chart: Chart, size: tuple[int, int]) -> Image.Image:
        """A chart with all that the page says around it."""
        image = Image.new("RGB", size, PAPER)
        pencil, small = ImageDraw.Draw(image), self.font(10.5)

        def at(x: float, y: float) -> Point:
            return (LEFT + x) * self.scale, (HEAD + TOP + y) * self.scale

        pencil.text(at(0, -42), chart.title, INK, self.font(13), "ls")
        keys = [(curve.name, TONES[curve.tone]) for curve in chart.curves if curve.name != chart.title]
        keys += [(f"dashed: real samples {chart.level[1]}", INK)] if chart.level else []
        x = 0.0
        for words, colour in keys:
            pencil.text(at(x, -24), words, colour, small, "ls")
            x += pencil.textlength(words, small) / self.scale + 18
        for y, text in chart.y_ticks:
            pencil.line([at(0, y), at(chart.width, y)], LINE, round(self.scale))
            pencil.text(at(-7, y), text, SOFT, small, "rm")
        for x, text in chart.x_ticks:
            pencil.text(at(x, chart.height + 15), text, SOFT, small, "rs" if x > chart.width - 16 else "ms")
        pencil.line([at(0, chart.height), at(chart.width, chart.height)], SOFT, round(self.scale))
        pencil.text(at(chart.width, chart.height + 30), "generator steps", SOFT, small, "rs")
        for number, line in enumerate(textwrap.wrap(chart.remark, LETTERS)):
            pencil.text(at(0, chart.height + BOTTOM + 10 + number * REMARK), line, SOFT, self.font(9.5), "ls")
        # curves may leave the frame: they are drawn on a piece of their own
        corner = (round(at(0, -TOP)[0]), round(at(0, -TOP)[1]))
        piece = (*corner, round(at(chart.width + 6, 0)[0]), round(at(0, chart.height + 3)[1]))
        inside = image.crop(piece)
        self._curves(ImageDraw.Draw(inside), chart)
        image.paste(inside, corner)
        return image

    def _curves(self, pencil: ImageDraw.ImageDraw, chart: Chart) -> None:
        for curve in chart.curves:
            self._line(pencil, curve.behind, faded(TONES[curve.tone]), 0.8)
        if chart.level:
            y = (chart.level[0] + TOP) * self.scale
            for x in range(0, round(chart.width), 7):
                pencil.line([(x * self.scale, y), ((x + 4) * self.scale, y)], INK, round(1.2 * self.scale))
        for curve in chart.curves:
            self._line(pencil, curve.places, TONES[curve.tone], 1.7)

    def _line(self, pencil: ImageDraw.ImageDraw, places: Sequence[Point], colour: str, width: float) -> None:
        """What is far outside comes nearer, since Pillow reckons in whole numbers."""
        for stretch in stretches(places):
            points = [(x * self.scale, (min(max(y, -9 * HEIGHT), 9 * HEIGHT) + TOP) * self.scale) for x, y in stretch]
            if len(points) == 1:
                pencil.circle(points[0], 2 * width * self.scale, colour)
            else:
                pencil.line(points, colour, max(1, round(width * self.scale)), joint="curve")


def faded(colour: str) -> str:
    """As at an opacity of 0.3 on white."""
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.3 * (255 - part)):02x}" for part in parts)


def save_picture(picture: Image.Image, path: Path) -> None:
    """As the files of a run folder are, whatever the path is called."""
    picture.save(path, "PNG")
