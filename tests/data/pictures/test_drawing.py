"""Grids: their sizes, their places, their colours."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from zerosum.data.pictures import drawing as pictures
from zerosum.data.pictures.drawing import fonts, lettering, save_grid, to_image, to_pixels


def test_pixels() -> None:
    images = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, -3.0, 1 / 255]).view(1, 1, 2, 4).repeat(1, 3, 1, 1)
    pixels = to_pixels(images)
    assert pixels.shape == (1, 2, 4, 3)
    assert pixels.dtype == torch.uint8
    assert pixels[0, :, :, 0].flatten().tolist() == [0, 64, 128, 191, 255, 255, 0, 128]


def test_every_byte_survives() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_pixels(values.float() / 127.5 - 1).permute(0, 3, 1, 2), values)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize(("side", "zoom"), [(8, 6), (16, 3), (28, 2), (48, 1), (64, 1)])
def test_grid_sizes(tmp_path: Path, channels: int, mode: str, side: int, zoom: int) -> None:
    images = torch.rand(7, channels, side, side) * 2 - 1
    save_grid(images, 3, tmp_path / "grid.png")
    cell = side * zoom + 2
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.size == (3 * cell + 2, 3 * cell + 2)
        assert sheet.mode == mode
        assert sheet.format == "PNG"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_stand_row_by_row(tmp_path: Path, channels: int) -> None:
    values = torch.linspace(-1, 0.8, 5).view(5, 1, 1, 1).expand(5, channels, 16, 16)
    save_grid(values, 2, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        pixels = np.asarray(sheet).reshape(sheet.height, sheet.width, -1)
    for index, value in enumerate(to_pixels(values)[:, 0, 0, 0].tolist()):
        top, left = index // 2 * 50 + 2, index % 2 * 50 + 2
        cell = pixels[top : top + 48, left : left + 48]
        assert (cell == value).all()
    assert (pixels[102:150, 52:100] == 255).all()  # the place of a sixth image is white


def test_a_grid_of_pixels_is_that_of_their_images(tmp_path: Path) -> None:
    images = torch.rand(5, 3, 8, 8) * 2 - 1
    pictures.save_grid(images, 2, tmp_path / "floats.png")
    pictures.save_whole(pictures.grid(pictures.to_pixels(images), 2), tmp_path / "bytes.png")
    assert (tmp_path / "floats.png").read_bytes() == (tmp_path / "bytes.png").read_bytes()


@pytest.mark.parametrize(("height", "width", "cell"), [(64, 64, 66 * 66), (64, 128, 66 * 130), (8, 8, 50 * 50)])
def test_how_many_a_grid_holds(height: int, width: int, cell: int) -> None:
    most = pictures.most_in_grid(height, width)
    assert most * cell <= 80_000_000 < (most + 1) * cell


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_picture_is_there_whole_or_not_at_all(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "seed0000.png"
    pictures.save_whole(Image.new("L", (3, 4), 7), place)
    before = place.read_bytes()

    def half(_: object, draft: Path, *__: object) -> None:
        draft.write_bytes(b"half")
        raise error

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(type(error)):
        pictures.save_whole(Image.new("L", (5, 6)), place)
    assert [path.name for path in tmp_path.iterdir()] == ["seed0000.png"]
    assert place.read_bytes() == before
    with Image.open(place) as image:
        assert (image.format, image.size) == ("PNG", (3, 4))


def test_a_name_says_the_format(tmp_path: Path) -> None:
    pictures.save_whole(Image.new("L", (3, 4)), tmp_path / "one.JPG")
    with Image.open(tmp_path / "one.JPG") as image:
        assert image.format == "JPEG"
    with pytest.raises(ValueError, match=r"unknown file extension: \.txt"):
        pictures.save_whole(Image.new("L", (3, 4)), tmp_path / "one.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["one.JPG"]


def test_row_names_need_a_margin(tmp_path: Path) -> None:
    images = torch.full((4, 1, 48, 48), -1.0)
    save_grid(images, 2, tmp_path / "bare.png")
    save_grid(images, 2, tmp_path / "named.png", ["a", "a long name"])
    with Image.open(tmp_path / "bare.png") as bare, Image.open(tmp_path / "named.png") as named:
        assert named.height == bare.height
        assert 60 < named.width - bare.width < 120
        margin = np.asarray(named.convert("L"))[:, : named.width - bare.width]
    dark = margin < 128
    assert dark[:50].any()
    assert dark[50:].sum() > dark[:50].sum()
    assert not dark[:, 0].any()


def test_one_image_to_pillow() -> None:
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        pixels = torch.randint(0, 256, (5, 6, channels), dtype=torch.uint8)
        image = to_image(pixels)
        assert (image.mode, image.size) == (mode, (6, 5))
        assert np.array_equal(np.asarray(image).reshape(5, 6, channels), pixels.numpy())


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder in place of those in which systems keep their fonts."""
    (tmp_path / "fonts" / "noto").mkdir(parents=True)
    monkeypatch.setattr(pictures, "FONT_FOLDERS", (str(tmp_path / "fonts"), str(tmp_path / "none")))
    fonts.cache_clear()
    yield tmp_path / "fonts" / "noto"
    fonts.cache_clear()


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "m\u00fcde",
        "\u03b3\u03ac\u03c4\u03b1",
        "\u043a\u043e\u0448\u043a\u0430",
        "\u05d7\u05ea\u05d5\u05dc",
        "\u0642\u0637\u0629",
    ],
)
def test_names_in_the_alphabets_around_the_mediterranean_need_no_font_of_the_system(
    name: str, no_system_fonts: Path
) -> None:
    drawn, font = lettering(name, 14)
    assert drawn == name
    # each letter has a shape of its own: none is the box that stands for what a font lacks
    shapes = {bytes(font.getmask(letter)) for letter in {*name, "\U0010fffe"}}
    assert len(shapes) == len({*name}) + 1


CAT, DOG = "\u732b", "\u72ac"


def test_letters_that_no_font_has_are_told_by_their_numbers(no_system_fonts: Path, tmp_path: Path) -> None:
    assert lettering(f"{CAT} 3", 14)[0] == r"\u732b 3"
    assert lettering("a\nb\x1b[31m\udcff", 14)[0] == "a b [31m "
    assert lettering(CAT * 60, 14)[0] == r"\u732b" * 9 + r"\u7..."
    for name in (CAT, DOG):
        save_grid(torch.zeros(1, 1, 48, 48), 1, tmp_path / f"{name}.png", [name])
    assert (tmp_path / f"{CAT}.png").read_bytes() != (tmp_path / f"{DOG}.png").read_bytes()


def test_a_font_of_the_system_is_taken_for_letters_that_others_lack(no_system_fonts: Path) -> None:
    """Here one that has some shape for every letter, under the name that such a font would have."""
    everything = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "LastResortHE-Regular.ttf"
    shutil.copy(everything, no_system_fonts / "NotoSansCJK-Regular.ttc")
    (no_system_fonts / "notosanscjk-damaged.ttf").write_bytes(b"no font")
    drawn, font = lettering(f"{CAT} dog", 14)
    assert drawn == f"{CAT} dog"
    assert "Resort" in str(font.getname()[0])
    assert "Resort" not in str(lettering("dog", 14)[1].getname()[0])
