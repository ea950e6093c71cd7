"""One form for two sets of images: channels and sides as Pillow has them, and what is lost by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tiny_source
from tests.data.make import colour, encoded, write, write_zip
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.forms import Form, Sizes, loses_colour, reformed, sizes_of_pictures, with_channels
from zerosum.data.pictures.source import PictureSource, make_source
from zerosum.data.source import Lazy

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def every_colour_and_alpha() -> Pixels:
    """(1, 4, 256, 256): each value under each alpha, and two other orders of the values beside it."""
    value, alpha = np.meshgrid(np.arange(256), np.arange(256))
    return np.stack([value, value[:, ::-1], (value * 7 + 3) % 256, alpha])[None].astype(np.uint8)


def as_pillow(pixels: Pixels, channels: int) -> Pixels:
    """One image, converted as picture files are."""
    own = pixels[0, 0] if pixels.shape[1] == 1 else np.ascontiguousarray(pixels[0].transpose(1, 2, 0))
    image = Image.fromarray(own)
    if image.mode == "RGBA" and channels < 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    found = np.asarray(image.convert(MODES[channels]))
    return found[None, None] if channels == 1 else found.transpose(2, 0, 1)[None]


@pytest.mark.parametrize("own", MODES)
@pytest.mark.parametrize("channels", MODES)
def test_channels_are_those_of_pillow(own: int, channels: int) -> None:
    pixels = every_colour_and_alpha()[:, :own]
    found = with_channels(pixels, channels)
    assert found.dtype == np.uint8
    assert np.array_equal(found, as_pillow(pixels, channels))


def test_equal_channels_and_opaque_alpha_lose_nothing() -> None:
    grey = tiny_source(8, 1, 30).images
    for channels in (3, 4):
        more = make_source(with_channels(grey, channels))
        assert np.array_equal(with_channels(more.images, 1), grey)
        assert not loses_colour(more, 1)
    coloured = tiny_source(8, 3, 30)
    assert loses_colour(coloured, 1)
    assert not loses_colour(coloured, 3)
    assert not loses_colour(make_source(grey), 3)
    for channel in range(3):  # a single pixel of the last picture
        images = grey.repeat(3, 1)
        images[-1, channel, 5, 5] ^= 1
        assert loses_colour(make_source(images), 1)
    glass = with_channels(grey, 4)
    glass[-1, 3, 0, 0] = 254
    assert loses_colour(make_source(glass), 3)


def test_the_common_form_is_made_up_from_nothing() -> None:
    one, other = Sizes(3, 40, 46), Sizes(1, 64, 64)
    assert Form.common(one, other, 4096) == Form.common(other, one, 4096) == Form(1, 40)
    assert Form.common(one, other, 32) == Form(1, 32)
    assert Form(1, 64).fits(other)
    assert not any(form.fits(one) for form in (Form(3, 40), Form(3, 46), Form(1, 40)))
    assert (str(one), str(other)) == ("40 to 46 pixels, 3 channels", "64 pixels, 1 channel")


def test_a_set_in_another_form() -> None:
    padded = make_source(tiny_source(10, 3, 12).images, native=9)  # at ten pixels for networks alone
    labelled = tiny_source(12, 3, 12)
    for source, own in ((padded, 9), (labelled, 12)):
        found = reformed(source, Form(1, 6))
        assert found.images.shape == (12, 1, 6, 6)
        assert (found.spec.channels, found.spec.resolution, found.spec.native) == (1, 6, 6)
        assert found.labels is source.labels
        assert found.spec.labels == source.spec.labels
        assert reformed(source, Form(3, own)) is source
    # Lanczos, as for files
    image = Image.fromarray(labelled.images[3].transpose(1, 2, 0)).convert("L")
    assert np.array_equal(
        reformed(labelled, Form(1, 6)).images[3, 0], np.asarray(image.resize((6, 6), Image.Resampling.LANCZOS))
    )


def test_chosen_rows_alone() -> None:
    chosen = tiny_source(8, 3, 12).only(np.array([5, 2]))
    found = reformed(chosen, Form(1, 8))
    assert len(found) == 2
    assert np.array_equal(found.images, with_channels(tiny_source(8, 3, 12).images[[5, 2]], 1))
    assert found.native([1]).shape == (1, 1, 8, 8)


class Far(Lazy):
    shape, digest = (3, 3, 8, 8), "far"

    def __getitem__(self, index: Any) -> Pixels:
        raise AssertionError("nobody looks")

    def positions(self, seed: int, start: int, count: int) -> Any: ...

    def read_ahead(self, seed: int, position: int) -> None: ...


def test_images_that_are_decoded_when_asked_for_are_not_looked_at() -> None:
    source: PictureSource = make_source(Far())
    assert loses_colour(source, 1)
    assert reformed(source, Form(3, 8)) is source
    with pytest.raises(Exception, match="8 pixels, 3 channels"):
        reformed(source, Form(1, 8))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_sizes_of_pictures(kind: str, tmp_path: Path) -> None:
    def sizes(files: Mapping[str, object]) -> Sizes | None:
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}.{kind}"
        return sizes_of_pictures(write(place, files) if kind == "folder" else write_zip(place, files))

    grey: dict[str, object] = {f"{side}.png": encoded(np.zeros((side, side + 3), np.uint8)) for side in (12, 20, 16)}
    assert sizes(grey) == Sizes(1, 12, 20)
    assert sizes(grey | {"deep/colour.png": colour(1)}) == Sizes(3, 12, 20)
    assert sizes({"alone.png": colour(1)}) == Sizes(3, 16, 16)
    # what cannot be read is somebody else's business
    assert sizes(grey | {"bad.png": b"\x89PNG", "notes.txt": b"x"}) == Sizes(1, 12, 20)
    assert sizes({"bad.png": b"\x89PNG"}) is None
    assert sizes({"notes.txt": b"x"}) is None


def test_sizes_of_what_is_no_set_of_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", np.zeros((3, 8, 8), np.uint8))
    assert sizes_of_pictures(tmp_path / "set.npy") is None
