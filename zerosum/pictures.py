"""Grids of images and plots of losses, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

#: small images are enlarged to at least this side in a grid: pixel by pixel, but smoothly below 16 pixels, where a
#: person sees blocks instead of shapes
READABLE = 48
#: pixels between two images of a grid
GAP = 2
#: milliseconds of each frame of a film
FRAME = 70
#: pixels of a grid at most: about what viewers and editors open
MOST_PIXELS = 80_000_000
#: characters of a name in the margin at most
LONGEST = 60


def to_pixels(images: Tensor) -> Tensor:
    """[-1, 1] float (N, C, H, W) -> uint8 (N, H, W, C), rounded."""
    return images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu()


def to_image(pixels: Tensor) -> Image.Image:
    """uint8 (H, W, C) with 1, 3 or 4 channels."""
    array = pixels.numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else np.ascontiguousarray(array))


def enlarged(pixels: Tensor) -> Image.Image:
    """The same, at least READABLE pixels high."""
    height, width = pixels.shape[:2]
    zoom = max(1, -(-READABLE // height))
    smooth = Image.Resampling.BICUBIC if height < 16 else Image.Resampling.NEAREST
    return to_image(pixels).resize((width * zoom, height * zoom), smooth)


def most_in_grid(height: int, width: int) -> int:
    """How many images of this size a grid holds."""
    zoom = max(1, -(-READABLE // height))
    return MOST_PIXELS // ((height * zoom + GAP) * (width * zoom + GAP))


def save_grid(images: Tensor, columns: int, path: Path, rows: Sequence[str] = ()) -> None:
    """Images (N, C, H, W) in [-1, 1], or what `to_pixels` made of them, row by row, with the name of each row in the
    margin.
    """
    pixels = images if images.dtype == torch.uint8 else to_pixels(images)
    channels, gap = pixels.shape[3], GAP
    cell, high = (side + gap for side in enlarged(pixels[0]).size)
    font = ImageFont.load_default(size=14)
    rows = [name if len(name) <= LONGEST else name[: LONGEST - 3] + "..." for name in rows]
    margin = int(max((font.getlength(name) for name in rows), default=-12)) + 12
    count = -(-len(pixels) // columns)
    sheet = Image.new("RGBA" if channels == 4 else "RGB", (margin + columns * cell + gap, count * high + gap), "white")
    for index, image in enumerate(pixels):
        left, top = margin + index % columns * cell + gap, index // columns * high + gap
        sheet.paste(enlarged(image).convert(sheet.mode), (left, top))
    draw = ImageDraw.Draw(sheet)
    for index, name in enumerate(rows):
        draw.text((margin - 6, index * high + high // 2), name, fill="black", font=font, anchor="rm")
    if channels == 1 and not rows:
        sheet = sheet.convert("L")
    save_whole(sheet, path)


def save_whole(image: Image.Image, path: Path) -> None:
    """A picture file that is there whole or not at all, whenever the program is stopped.

    Its name says its format; ValueError for one that says none.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"unknown file extension: {path.suffix}")
    draft = path.with_name(f".{path.name}.part")
    try:
        image.save(draft, kind)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def save_film(frames: Tensor, path: Path, zoom: int = 4) -> None:
    """Frames (T, C, H, W) in [-1, 1] as a GIF that is repeated for ever, at about the speed of a recording."""
    height, width = frames.shape[2:]
    pages = [
        to_image(one).convert("RGB").resize((width * zoom, height * zoom), Image.Resampling.BICUBIC)
        for one in to_pixels(frames)
    ]
    pages[0].save(path, "GIF", save_all=True, append_images=pages[1:], duration=FRAME, loop=0)


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, *figure.subplots(1, 2)
