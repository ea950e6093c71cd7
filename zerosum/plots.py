"""Plots of losses and of scores over a run, as PNG files."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def plot_losses(ticks: Sequence[Mapping[str, float]], path: Path) -> None:
    """Both losses, and the critic's mean output on real and on generated images, against steps."""
    figure, left, right = _two_panels()
    steps = [tick["step"] for tick in ticks]
    named = {"critic/loss": "critic", "generator/loss": "generator", "generator/content": "content"}
    for axes, title, names in (
        (left, "losses", {key: word for key, word in named.items() if any(key in tick for tick in ticks)}),
        (right, "critic's mean output", {"critic/real": "real images", "critic/fake": "generated images"}),
    ):
        for key, label in names.items():
            axes.plot(steps, [tick.get(key, float("nan")) for tick in ticks], label=label, linewidth=1.2)
        axes.set(title=title, xlabel="generator steps")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)


def plot_scores(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The lines of scores.jsonl: distances, dashed what real images get, and shares, against steps."""
    figure, left, right = _two_panels()
    names = dict.fromkeys(line["name"] for line in lines)
    for name in names:
        found = [line for line in lines if line["name"] == name and line["value"] is not None]
        steps, values = [line["step"] for line in found], [line["value"] for line in found]
        floors = [line["floor"] for line in found if line.get("floor") is not None]
        style = {"marker": "o" if len(found) < 3 else "", "linewidth": 1.2}
        if name.startswith(("fid", "class_fid")):
            (curve,) = left.plot(steps, values, label=name, **style)
            if floors:
                left.axhline(floors[-1], color=curve.get_color(), linestyle="--", linewidth=1)
        elif name.startswith(("accuracy", "diversity", "worst_class", "memorised")) and "fid" not in name:
            right.plot(steps, values, label=name.partition("@")[0].replace("_", " "), **style)
    left.set(title="Frechet distance (dashed: real images)", xlabel="generator steps", yscale="log")
    right.set(title="shares", xlabel="generator steps", ylim=(0, 1.35))  # the legend stands above 1
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8, ncols=2, loc="upper center")
    figure.savefig(path, dpi=100)


def _two_panels() -> tuple[Any, Any, Any]:
    # pyplot would keep global figures and look for a screen; it is also slow to import, so only when drawn
    with _quiet("matplotlib"):  # it warns of home folders that cannot be written, and then makes do without
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, *figure.subplots(1, 2)


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """While it lasts, a logger tells of errors only."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
