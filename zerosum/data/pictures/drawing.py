"""Grids of images and films, as files."""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zerosum.fonts import DEJAVU
from zerosum.whole import whole

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

Font = ImageFont.FreeTypeFont
#: where systems keep their fonts, and how the names of those begin that have letters of many scripts
FONT_FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts"),
)
FONT_NAMES = (
    *(
        "notosanscjk",
        "notosanssc",
        "notosansjp",
        "notosanskr",
        "sourcehansans",
        "wqy",
        "ipag",
        "ipaex",
        "droidsansfall",
    ),
    *("pingfang", "hiragino", "applesdgothic", "msyh", "msgothic", "yugoth", "malgun", "simsun", "arialunicode"),
    *("dejavusans", "freesans", "notosans", "notoserif", "segoeui", "symbola", "unifont"),
)


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


def grid(pixels: Tensor, columns: int, rows: Sequence[str] = ()) -> Image.Image:
    """Images uint8 (N, H, W, C), row by row, with the name of each row in the margin."""
    channels, gap = pixels.shape[3], GAP
    cell, high = (side + gap for side in enlarged(pixels[0]).size)
    names = [lettering(name, 14) for name in rows]
    margin = int(max((font.getlength(name) for name, font in names), default=-12)) + 12
    count = -(-len(pixels) // columns)
    sheet = Image.new("RGBA" if channels == 4 else "RGB", (margin + columns * cell + gap, count * high + gap), "white")
    for index, image in enumerate(pixels):
        left, top = margin + index % columns * cell + gap, index // columns * high + gap
        sheet.paste(enlarged(image).convert(sheet.mode), (left, top))
    draw = ImageDraw.Draw(sheet)
    for index, (name, font) in enumerate(names):
        draw.text((margin - 6, index * high + high // 2), name, fill="black", font=font, anchor="rm")
    if channels == 1 and not names:
        sheet = sheet.convert("L")
    return sheet


def save_grid(images: Tensor, columns: int, path: Path, rows: Sequence[str] = ()) -> None:
    """A `grid` of images (N, C, H, W) in [-1, 1] as a file."""
    save_whole(grid(to_pixels(images), columns, rows), path)


def draw_pairs(pairs: Tensor) -> Image.Image:
    """The closest pairs as a picture: generated above, its nearest training image below."""
    images = pairs.float().div(127.5).sub(1)
    half = min(10, len(images))
    rows = [half_row for block in torch.split(images, half) for half_row in (block[:, 0], block[:, 1])]
    padded = [torch.cat([row, torch.ones(half - len(row), *row.shape[1:])]) for row in rows]
    return grid(to_pixels(torch.cat(padded)), half, ["generated", "training"] * (len(rows) // 2))


def save_whole(image: Image.Image, path: Path) -> None:
    """A picture file that is there whole or not at all, whenever the program is stopped.

    Its name says its format; ValueError for one that says none.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"unknown file extension: {path.suffix}")
    with whole(path) as draft:
        image.save(draft, kind)


def lettering(name: str, size: int) -> tuple[str, Font]:
    """A name as it can be drawn, and the font for it: the first that has all of its letters, else the most of them.

    Letters that the font lacks are replaced by their number, \\u732b, so that different names look different.
    """
    name = "".join(letter if letter.isprintable() else " " for letter in name[: LONGEST + 1])
    best, most = fonts(size)[0], -1
    for font in fonts(size):
        count = sum(map(partial(has, font), name))
        if count > most:
            best, most = font, count
        if count == len(name):
            break
    codes = (letter if has(best, letter) else letter.encode("unicode_escape").decode() for letter in name)
    drawn = "".join(codes)
    return drawn if len(drawn) <= LONGEST else drawn[: LONGEST - 3] + "...", best


@lru_cache(maxsize=100_000)
def has(font: Font, letter: str) -> bool:
    """Whether a font has a letter of its own for it, and not the box that stands for all that it lacks."""
    if letter.isspace() or unicodedata.category(letter) == "Cf" or "VARIATION" in unicodedata.name(letter, ""):
        return True  # nothing is drawn
    mask, box = font.getmask(letter), font.getmask("\U0010fffe")
    return (mask.size, bytes(mask)) != (box.size, bytes(box))


@lru_cache(maxsize=4)
def fonts(size: int) -> "Fonts":
    return Fonts(size)


class Fonts(Sequence[Font]):
    """Pillow's own font, that of the package, and those of the system, looked for once they are needed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.opened = [cast(Font, ImageFont.load_default(size=size))]
        self.waiting = chain([DEJAVU], system_fonts())

    def __getitem__(self, index: Any) -> Any:
        while index >= len(self.opened):
            path = next(self.waiting, None)
            if path is None:
                raise IndexError(index)
            try:
                self.opened.append(ImageFont.truetype(path, self.size))
            except OSError:  # damaged, or of a kind that Pillow does not read
                continue
        return self.opened[index]

    def __len__(self) -> int:
        return len(self.opened)


def system_fonts() -> Iterator[Path]:
    """Fonts of this machine with letters that the others lack, Chinese, Japanese and Korean first."""
    files = [
        path
        for folder in map(Path, FONT_FOLDERS)
        if folder.expanduser().is_dir()
        for path in sorted(folder.expanduser().rglob("*"))
        if path.suffix.lower() in (".ttf", ".ttc", ".otf", ".otc")
    ]
    for start in FONT_NAMES:
        yield from (path for path in files if path.stem.lower().replace(" ", "").startswith(start))


def save_film(frames: Tensor, path: Path, zoom: int = 4) -> None:
    """Frames (T, C, H, W) in [-1, 1] as a GIF that is repeated for ever, at about the speed of a recording."""
    height, width = frames.shape[2:]
    pages = [
        to_image(one).convert("RGB").resize((width * zoom, height * zoom), Image.Resampling.BICUBIC)
        for one in to_pixels(frames)
    ]
    pages[0].save(path, "GIF", save_all=True, append_images=pages[1:], duration=FRAME, loop=0)
