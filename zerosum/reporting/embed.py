"""Pictures inside the page, as data URIs."""

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

#: pixels across; larger pictures are reduced
WIDEST = 1000
#: pixels of a file above which it is not opened: its header may say anything
MOST_PIXELS = 40_000_000
#: bytes up to which a picture is kept exactly
EXACT = 48 * 1024


@dataclass(frozen=True)
class Picture:
    """Ready for an <img>: what it shows in words, and its size so that the page does not jump."""

    uri: str
    alt: str
    width: int
    height: int


def embed(image: Image.Image, alt: str) -> Picture:
    """As WebP: without loss where that is small, else at high quality."""
    if image.width > WIDEST:
        image = image.resize((WIDEST, max(1, round(image.height * WIDEST / image.width))), Image.Resampling.LANCZOS)
    data = _webp(image, lossless=True, quality=60)
    if len(data) > EXACT:
        data = min(data, _webp(image, lossless=False, quality=86), key=len)
    return Picture("data:image/webp;base64," + base64.b64encode(data).decode(), alt, image.width, image.height)


def _webp(image: Image.Image, lossless: bool, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless, quality=quality, method=4)
    return file.getvalue()


def embed_file(path: Path, alt: str) -> Picture | None:
    """A PNG of the run folder; None where it is missing, or is none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # about bombs
            with Image.open(path, formats=["PNG"]) as image:
                if image.width * image.height > MOST_PIXELS:
                    return None
                return embed(image.convert("RGBA" if "A" in image.getbands() else "RGB"), alt)
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        return None
