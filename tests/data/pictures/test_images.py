"""Folders and zips of pictures: labels, splits, odd kinds of picture, what is skipped or refused, and the cache."""

import csv
import io
import json
import os
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.data.make import bomb, chunk, colour, encoded, noise, opened, opened_with_notes, write, write_zip
from zerosum.data.pictures import files as files_module
from zerosum.data.pictures import images as images_module
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.images import Header, decode, read_header, read_whole
from zerosum.data.pictures.open import open_held_out
from zerosum.data.pictures.spec import Input, PictureSpec
from zerosum.errors import ZerosumError
from zerosum.sections.picture import PictureData

TWO_CLASSES = {f"{name}/{i}.png": colour(10 * len(name) + i) for name in ("cat", "horse") for i in range(3)}


def metadata(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def one_colour(*value: int) -> bytes:
    return encoded(np.full((16, 16, len(value)), value, np.uint8))


# folders, zips and their labels


def test_class_folders(tmp_path: Path) -> None:
    source, notes = opened_with_notes(write(tmp_path, TWO_CLASSES))
    assert notes == [f"{tmp_path}: 6 pictures", f"{tmp_path}: labels: folders of classes cat, horse"]
    assert source.images.shape == (6, 3, 16, 16)
    assert source.spec.labels == {"class": ("cat", "horse")}
    assert source.labels is not None
    assert source.labels[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(source.images[4], noise(16, 16, 3, seed=51).transpose(2, 0, 1))


def test_folders_and_zips_give_the_same(tmp_path: Path) -> None:
    files = TWO_CLASSES | {"cat/deep/x.png": colour(9), "README.md": "words"}
    folder = opened(write(tmp_path / "set", files))
    for compression in (0, 8):
        packed = opened(write_zip(tmp_path / f"set{compression}.zip", files, compression))
        np.testing.assert_array_equal(packed.images, folder.images)
        np.testing.assert_array_equal(packed.labels, folder.labels)
        assert packed.spec == folder.spec
        assert packed.fingerprint == folder.fingerprint


def test_class_folders_below_one_common_folder(tmp_path: Path) -> None:
    files = {f"set/pictures/{name}": data for name, data in TWO_CLASSES.items()}
    assert opened(write_zip(tmp_path / "set.zip", files)).spec.labels == {"class": ("cat", "horse")}


@pytest.mark.parametrize(
    "names", [["a.png", "b.png"], ["one/a.png", "one/b.png"], ["one/a.png", "b.png"], ["x/one/a.png", "x/one/b.png"]]
)
def test_pictures_that_are_not_all_in_class_folders_have_no_labels(names: list[str], tmp_path: Path) -> None:
    source = opened(write(tmp_path, {name: colour(i) for i, name in enumerate(names)}))
    assert len(source) == 2
    assert source.labels is None
    assert source.spec.labels == {}


def test_labels_may_be_left_out(tmp_path: Path) -> None:
    assert opened(write(tmp_path, TWO_CLASSES), labelled=False).labels is None


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    files = {"a.png": colour(), ".b.png": colour(1), ".git/c.png": colour(2), "__MACOSX/._a.png": b"resource fork"}
    assert len(opened(write(tmp_path / "set", files))) == 1
    assert len(opened(write_zip(tmp_path / "set.zip", files))) == 1


def test_other_files_are_told(tmp_path: Path) -> None:
    files = {"a.PNG": colour(), "b.heic": b"", "notes.txt": "", "more.md": "", ".DS_Store": b""}
    for place in (write(tmp_path / "set", files), write_zip(tmp_path / "set.zip", files)):
        with pytest.raises(ZerosumError, match=r"1 of 2 pictures are lost.*kind that is not read \(b\.heic\): convert"):
            opened(place)
        source, notes = opened_with_notes(place, bad_share=0.5)
        assert len(source) == 1
        assert notes == [
            f"{place}: 1 picture; 1 picture of a kind that is not read (b.heic); 1 hidden (.DS_Store); "
            "2 other files (more.md, notes.txt)",
            f"{place}: labels: none",
        ]


@pytest.mark.parametrize("files", [{}, {"a.txt": "words"}, {".hidden.png": colour()}])
def test_a_set_without_pictures_is_refused(files: dict[str, bytes | str], tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(ZerosumError, match="no pictures"):
        opened(write(tmp_path / "set", files))
    with pytest.raises(ZerosumError, match="no pictures"):
        opened(write_zip(tmp_path / "set.zip", files))


def test_train_and_test_folders(tmp_path: Path) -> None:
    files = {f"{split}/{name}": data for split in ("train", "test") for name, data in TWO_CLASSES.items()}
    files |= {"test/cat/3.png": colour(77), "val/cat/1.png": colour(78)}
    for place in (write(tmp_path / "set", files), write_zip(tmp_path / "set.zip", files)):
        train, test = opened(place), opened(place, split="test")
        assert (len(train), len(test)) == (6, 7)
        assert train.spec.labels == test.spec.labels == {"class": ("cat", "horse")}
        assert test.spec.counts == (4, 3)


def test_no_test_split_is_said(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="no test split"):
        opened(write(tmp_path / "plain", {"a.png": colour()}), split="test")
    with pytest.raises(ZerosumError, match="no pictures in its folder test"):
        opened(write(tmp_path / "half", {"train/a.png": colour()}), split="test")


def test_metadata(tmp_path: Path) -> None:
    table = metadata("gender,file_name , age", "male,b.png,30", "female,sub/a.png,", "male,c.png,5", "")
    files = {
        "metadata.csv": table,
        "b.png": colour(1),
        "sub/a.png": colour(0),
        "c.png": colour(2),
        "extra.png": colour(3),
    }
    for place in (write(tmp_path / "set", files), write_zip(tmp_path / "set.zip", files)):
        source, notes = opened_with_notes(place, attributes={"gender": None})
        assert source.spec.labels == {"gender": ("female", "male")}
        assert source.labels is not None
        assert source.labels[:, 0].tolist() == [1, 0, 1]
        for row, seed in enumerate((1, 0, 2)):
            np.testing.assert_array_equal(source.images[row], noise(16, 16, 3, seed=seed).transpose(2, 0, 1))
        assert notes[0] == f"{place}: 3 pictures; 1 not listed in metadata.csv (extra.png)"
        assert notes[1:] == [f"{place}: labels: metadata.csv (gender, age)"]
        with pytest.raises(ZerosumError, match=r"'age' is empty"):
            opened(place)


def test_metadata_with_bins_leaves_out_and_tells(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{i}.png": colour(i) for i in range(5)}
    files["metadata.csv"] = metadata("file_name,age", *(f"{i}.png,{20 * i}" for i in range(5)))
    bins = {"age": {"young": [10, 30], "old": [60, 100]}}
    source, notes = opened_with_notes(write(tmp_path, files), attributes=bins)
    assert source.spec.labels == {"age": ("young", "old")}
    assert source.spec.counts == (1, 2)
    np.testing.assert_array_equal(source.images[0], noise(16, 16, 3, seed=1).transpose(2, 0, 1))
    assert any("2 pictures lie in none of the bins" in note for note in notes)


def test_bins_that_hold_no_picture_are_refused(tmp_path: Path) -> None:
    files = {"a.png": colour(), "metadata.csv": metadata("file_name,age", "a.png,20")}
    with pytest.raises(ZerosumError, match="age"):
        opened(write(tmp_path, files), attributes={"age": {"old": [60, 100]}})


def test_metadata_in_train_and_test(tmp_path: Path) -> None:
    files = {
        "train/metadata.csv": metadata("file_name,kind", "a.png,x", "b.png,y"),
        "train/a.png": colour(0),
        "train/b.png": colour(1),
        "test/metadata.csv": metadata("file_name,kind", "a.png,y", "b.png,x"),
        "test/a.png": colour(2),
        "test/b.png": colour(3),
    }
    train, test = opened(write(tmp_path, files)), opened(tmp_path, split="test")
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels[:, 0].tolist() == [0, 1]
    assert test.labels[:, 0].tolist() == [1, 0]


def test_metadata_with_file_names_only_gives_no_labels(tmp_path: Path) -> None:
    files = {"a.png": colour(), "b.png": colour(1), "metadata.csv": metadata("file_name", "b.png")}
    source = opened(write(tmp_path, files))
    assert len(source) == 1
    assert source.labels is None


def test_metadata_of_a_spreadsheet(tmp_path: Path) -> None:
    table = '\ufefffile_name,kind\r\n"a.png","one, two"\r\n\r\n./b.png,"say ""hi"""\r\n'
    source = opened(write(tmp_path, {"a.png": colour(), "b.png": colour(1), "metadata.csv": table}))
    assert source.spec.labels == {"kind": ("one, two", 'say "hi"')}


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        (metadata("file_name,kind", "a.png,x", "gone.png,y"), ["1 of its 2 files are not there", "gone.png (line 3)"]),
        (metadata("file_name,kind", *(f"no{i}.png,y" for i in range(9))), ["9 of its 9 files", "no2.png (line 4) ..."]),
        (metadata("file_name,kind", "../a.png,x"), ["../a.png"]),
        (metadata("file_name,kind", "/etc/passwd,x"), ["/etc/passwd"]),
        (metadata("file_name,kind", ",x"), ["line 2"]),
        (metadata("file_name,kind", "a.png,x", "b.png,y", "a.png,x"), ["line 4", "a.png", "line 2"]),
        (metadata("file_name,kind", "a.png,x", "./a.png,y"), ["line 3", "line 2"]),
        (metadata("file_name,kind", "a.png,x", "b.png,"), ["'kind' is empty"]),
        (metadata("file_name,kind", "a.png,x", "b.png"), ["line 3", "1 values", "2 columns"]),
        (metadata("file_name,kind", "a.png,x,y"), ["line 2", "3 values"]),
        (metadata("name,kind", "ann,x"), ["file_name", "['name', 'kind']"]),
        (metadata("file_name,kind,kind", "a.png,x,y"), ["each column once"]),
        (metadata("file_name,kind"), ["lists no files"]),
        ("", ["file_name"]),
        ('file_name,kind\na.png,"x', ["not a readable CSV"]),
        (b"\xff\xfef\x00i\x00l\x00e\x00", ["lists no files"]),
        (b"file_name,\x81\na.png,x", ["not a readable table", "UTF-8"]),
        (b"file_name,kind\na.png,\0", ["zero bytes"]),
    ],
)
def test_wrong_metadata_is_explained(table: str | bytes, parts: list[str], tmp_path: Path) -> None:
    files = {"a.png": colour(), "b.png": colour(1), "metadata.csv": table}
    for place in (write(tmp_path / "set", files), write_zip(tmp_path / "set.zip", files)):
        with pytest.raises(ZerosumError) as caught:
            opened(place)
        said = str(caught.value)
        assert str(place) in said
        assert "\n" not in said
        assert all(part in said for part in parts), said


def test_an_unknown_value_names_the_nearest(tmp_path: Path) -> None:
    files = {
        "a.png": colour(),
        "b.png": colour(1),
        "metadata.csv": metadata("file_name,kind", "a.png,cat", "b.png,dgo"),
    }
    with pytest.raises(ZerosumError, match=r"image 2: unknown kind 'dgo': did you mean 'dog'"):
        opened(write(tmp_path, files), attributes={"kind": ["cat", "dog"]})


# every kind of picture


def test_sizes_that_differ_ask_for_a_resolution(tmp_path: Path) -> None:
    files = {"a.png": colour(0, 16, 16), "b.png": colour(1, 40, 30), "c.png": colour(2, 15, 99)}
    with pytest.raises(ZerosumError, match=r'differ in size \(15 to 30\): overrides=\{"data.resolution": 64\}'):
        opened(write(tmp_path, files))
    source, notes = opened_with_notes(tmp_path, resolution=16)
    assert source.images.shape == (3, 3, 16, 16)
    assert source.spec.native == 16
    np.testing.assert_array_equal(source.images[0], noise(16, 16, 3, seed=0).transpose(2, 0, 1))
    assert any("15 to 30 pixels, all resized to 16x16" in note for note in notes)
    assert any("2 of 3 pictures not square" in note for note in notes)


def test_the_side_of_the_data_is_kept_when_it_is_smaller(tmp_path: Path) -> None:
    source = opened(write(tmp_path, {"a.png": colour(0, 28, 28), "b.png": colour(1, 28, 40)}), resolution=32)
    assert source.spec.native == 28
    np.testing.assert_array_equal(source.images[0][:, 2:30, 2:30], noise(28, 28, 3, seed=0).transpose(2, 0, 1))


def test_tiny_pictures_need_a_resolution(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match=r'too small: overrides=\{"data\.resolution": 16\}'):
        opened(write(tmp_path, {"a.png": colour(0, 4, 4)}))
    assert opened(tmp_path, resolution=16).images.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_are_read_exactly(kind: str) -> None:
    pixels = noise(16, 16, 3)
    data = encoded(pixels, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert read_header(data, "x") == Header((16, 16), "colour", ())
    np.testing.assert_array_equal(decode(data, 3, 16), pixels.transpose(2, 0, 1))


def test_jpeg_is_read_nearly() -> None:
    smooth = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)
    pixels = np.stack([smooth, 255 - smooth, smooth // 2], 2)
    found = decode(encoded(pixels, "JPEG", quality=95), 3, 64).astype(int)
    assert np.abs(found - pixels.transpose(2, 0, 1)).max() <= 12


@pytest.mark.parametrize("resolution", [32, 64])
def test_jpegs_that_are_decoded_small_are_as_good_as_whole_ones(resolution: int) -> None:
    """Rings that become finer towards the edge: what is decoded at too small a size has them blurred and bent."""
    side = 8 * resolution
    y, x = np.mgrid[:side, :side] / side - 0.5
    rings = np.rint(127.5 + 100 * np.cos((x * x + y * y) * resolution * 6)).astype(np.uint8)
    data = encoded(rings, "JPEG", quality=95)
    found = decode(data, 1, resolution).astype(float)
    with Image.open(io.BytesIO(data)) as whole:
        expected = np.asarray(whole.resize((resolution, resolution), Image.Resampling.LANCZOS), float)
    assert np.sqrt(np.square(found[0] - expected).mean()) < 5


def test_large_jpegs_shrink_as_other_pictures_do() -> None:
    smooth = np.add.outer(np.arange(256), np.arange(256)) // 2
    pixels = np.stack([smooth, 255 - smooth, smooth // 2], 2).astype(np.uint8)
    jpeg, png = (decode(encoded(pixels, kind), 3, 32).astype(int) for kind in ("JPEG", "PNG"))
    assert np.abs(jpeg - png).max() <= 4


def test_grey_stays_one_channel(tmp_path: Path) -> None:
    files = {f"{i}.png": encoded(noise(16, 16, seed=i)) for i in range(3)}
    source, notes = opened_with_notes(write(tmp_path, files))
    assert source.images.shape == (3, 1, 16, 16)
    np.testing.assert_array_equal(source.images[1, 0], noise(16, 16, seed=1))
    assert notes == [f"{tmp_path}: 3 pictures", f"{tmp_path}: labels: none"]
    colours = opened(tmp_path, channels=3)
    np.testing.assert_array_equal(colours.images, np.repeat(source.images, 3, 1))


def test_grey_among_colour_is_taken_as_colour_and_told(tmp_path: Path) -> None:
    files = {"a.png": encoded(noise(16, 16)), "b.png": colour(1), "c.png": colour(2)}
    source, notes = opened_with_notes(write(tmp_path, files))
    np.testing.assert_array_equal(source.images[0], np.repeat(noise(16, 16)[None], 3, 0))
    assert notes[2:] == [f"{tmp_path}: 1 of 3 pictures grey, taken as colour"]


def test_colour_may_be_taken_as_grey(tmp_path: Path) -> None:
    source, notes = opened_with_notes(write(tmp_path, {"a.png": one_colour(255, 0, 0)}), channels=1)
    assert 70 <= int(source.images.min()) == int(source.images.max()) <= 82  # 0.299 * 255
    assert notes[2:] == [f"{tmp_path}: 1 of 1 pictures in colour, taken as grey"]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.full((16, 16), 32768, np.uint16)
    values[0, :4] = [0, 257, 65535, 40000]
    files = {"a.png": encoded(Image.fromarray(values)), "b.tif": encoded(Image.fromarray(values), "TIFF")}
    files["c.pgm"] = b"P5 16 16 65535\n" + values.astype(">u2").tobytes()
    source, notes = opened_with_notes(write(tmp_path, files))
    assert source.images.shape == (3, 1, 16, 16)
    for image in source.images:
        assert image[0, 0, :4].tolist() == [0, 1, 255, 156]
        assert 127 <= int(image[0, 5, 5]) <= 128
    said = "3 of 3 pictures of more than 8 bits: values 0 to 65535 (16 bits) become 0 to 255"
    assert any(said in note for note in notes)
    assert source.spec.range == (0, 65535)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_twelve_bits_in_sixteen(kind: str, tmp_path: Path) -> None:
    """The range is that of the whole set, for training and for held-out pictures alike."""
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint16) * 273, (16, 16))  # 0 to 4095
    files = {
        "train/a.png": encoded(Image.fromarray(ramp), kind),
        "train/b.png": encoded(Image.fromarray(ramp // 4), kind),
    }
    files["test/a.png"] = encoded(Image.fromarray(ramp // 32), kind)
    source, notes = opened_with_notes(write(tmp_path, files))
    assert source.spec.range == (0, 4095)
    np.testing.assert_array_equal(source.images[0, 0, 0], np.arange(16) * 17)
    np.testing.assert_array_equal(source.images[1, 0, 0], np.rint((np.arange(16) * 273 // 4) * 255 / 4095))
    assert any("values 0 to 4095 (12 bits) become 0 to 255" in note for note in notes)
    held_out = open_held_out(PictureData(uri=str(tmp_path)), source.spec)
    assert held_out is not None
    np.testing.assert_array_equal(held_out.images[0, 0, 0], np.rint((np.arange(16) * 273 // 32) * 255 / 4095))
    assert opened(tmp_path, range=[0, 65535]).images.max() == 16


def test_pictures_to_start_from_are_read_as_those_of_the_training(tmp_path: Path) -> None:
    """Also where their own values would say otherwise."""
    scan = np.broadcast_to(np.arange(16, dtype=np.uint16) * 16, (16, 16))  # 0 to 240, of 12 bits
    write(
        tmp_path,
        {"a.png": encoded(Image.fromarray(scan)), "b.png": encoded(Image.fromarray((scan // 240).astype(np.uint8)))},
    )
    read = dict(read_whole(tmp_path, 1, (0, 4095)))
    assert isinstance(read["a.png"], np.ndarray)
    np.testing.assert_array_equal(read["a.png"][0, 0], np.rint(np.arange(16) * 16 * 255 / 4095))
    mask = dict(read_whole(tmp_path, 1, (0, 1)))["b.png"]
    assert isinstance(mask, np.ndarray)
    assert mask.max() == 255
    spec = PictureSpec.of(1, 16, 16, values=(0, 4095), given=Input(1, range=(-1, 1)))
    assert PictureSpec.parse(json.loads(json.dumps(spec.plain()))) == spec
    for wrong in ([3, 3], [0], [float("nan"), 1], "ab"):
        with pytest.raises((ValueError, TypeError)):
            PictureSpec.parse(spec.plain() | {"facts": {**spec.facts, "range": wrong}})


def test_masks_and_counted_shades_in_bytes(tmp_path: Path) -> None:
    mask = (noise(16, 16) > 127).astype(np.uint8)
    for folder, values, expected in (
        ("mask", mask, mask * 255),
        ("counted", mask * 4, mask * 255),
        ("dark", mask * 17, mask * 17),
    ):
        files = {f"{folder}/a.png": encoded(values), f"{folder}/b.png": encoded(0 * values)}
        source, notes = opened_with_notes(write(tmp_path, files) / folder)
        np.testing.assert_array_equal(source.images[:, 0], [expected, 0 * mask])
        assert any("which become 0 to 255" in note for note in notes) is (folder != "dark")
        np.testing.assert_array_equal(opened(tmp_path / folder, range=[0, 255]).images[0, 0], values)
    with pytest.raises(ZerosumError, match=r"data.range = 0 to 4095, but its pictures have 8 bits"):
        opened(tmp_path / "mask", range=[0, 4095])
    in_colour = np.stack([mask, 0 * mask, mask], 2)
    source = opened(write(tmp_path / "colour", {"a.png": encoded(in_colour)}))
    np.testing.assert_array_equal(source.images[0], in_colour.transpose(2, 0, 1) * 255)
    larger = opened(tmp_path / "mask", resolution=32)  # scaled before it is enlarged, or nothing would lie between
    assert len(np.unique(larger.images)) > 10


def test_shades_beside_alpha(tmp_path: Path) -> None:
    shades, alpha = noise(16, 16) % 8, noise(16, 16, seed=1)
    picture = Image.merge("LA", [Image.fromarray(shades), Image.fromarray(alpha)])
    source = opened(write(tmp_path, {"a.png": encoded(picture)}))
    assert source.spec.channels == 4
    np.testing.assert_array_equal(source.images[0, 0], np.rint(shades * (255 / 7)))
    np.testing.assert_array_equal(source.images[0, 3], alpha)


def test_alpha_that_is_opaque_everywhere_is_no_channel(tmp_path: Path) -> None:
    grey = Image.fromarray(noise(16, 16))
    opaque, clear = Image.new("L", (16, 16), 255), Image.new("L", (16, 16), 254)
    for name, mode, bands, channels in (
        ("colour", "RGBA", [grey] * 3, 3),
        ("grey", "LA", [grey], 1),
    ):
        root = tmp_path / name
        write(root, {f"{i}.png": encoded(Image.merge(mode, [*bands, opaque])) for i in range(3)})
        source = opened(root)
        assert source.spec.channels == channels
        np.testing.assert_array_equal(source.images[0, 0], np.asarray(grey))
        assert any("alpha is opaque in all pictures" in note for note in opened_with_notes(root)[1])
        assert opened(root, channels=4).spec.channels == 4
        write(root, {"9.png": encoded(Image.merge(mode, [*bands, clear]))})
        assert opened(root).spec.channels == 4


def test_sixteen_bits_a_colour_are_told() -> None:
    """Pillow keeps the upper 8 of them."""
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + noise(96, seed=row).tobytes() for row in range(16))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert "with 16 bits a colour, of which the upper 8 are read" in read_header(data, "x").traits
    assert decode(data, 3, 16).std() > 30


def test_pictures_by_their_content(tmp_path: Path) -> None:
    """What cameras, browsers and phones call pictures, and pictures without an ending."""
    pixels = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    jpeg = encoded(pixels, "JPEG", quality=95)
    mpo = encoded(Image.fromarray(pixels), "MPO", save_all=True, append_images=[Image.fromarray(pixels[:8, :8])])
    files = {"a.jfif": jpeg, "b.JPE": jpeg, "c.jpg": mpo, "d.mpo": mpo, "e": jpeg, "f.jpg_large": jpeg, "g.txt": jpeg}
    files |= {"h.png": encoded(pixels), "i.download": encoded(pixels), "j": b"words", "k.avif": encoded(pixels, "AVIF")}
    for place in (write(tmp_path / "set", files), write_zip(tmp_path / "set.zip", files)):
        source, notes = opened_with_notes(place)
        assert notes[0] == f"{place}: 9 pictures; 2 other files (g.txt, j)"
        assert not any("animated" in note for note in notes)
        assert all(np.abs(image.astype(int) - pixels.transpose(2, 0, 1)).max() < 8 for image in source.images)


def test_one_bit_is_black_and_white() -> None:
    pixels = noise(16, 16) > 127
    for kind in ("PNG", "TIFF", "BMP"):
        data = encoded(Image.fromarray(pixels), kind)
        assert read_header(data, "x").kind == "grey"
        np.testing.assert_array_equal(decode(data, 1, 16)[0], pixels * np.uint8(255))


def test_palettes_become_their_colours() -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 10, 20, 30])
    image.putpixel((2, 1), 0)
    data = encoded(image)
    header = read_header(data, "x")
    assert header.kind == "colour"
    assert header.traits == ("palette, converted",)
    found = decode(data, 3, 16)
    assert found[:, 5, 5].tolist() == [10, 20, 30]
    assert found[:, 1, 2].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind)
    header = read_header(data, "x")
    assert (header.kind, header.traits) == ("colour", ("CMYK, converted",))
    red, green, blue = (int(value) for value in decode(data, 3, 16).mean((1, 2)))
    assert red >= 240
    assert green <= 15
    assert blue <= 15


def test_alpha_is_kept_when_all_have_it_and_laid_on_white_when_not(tmp_path: Path) -> None:
    pixels = noise(16, 16, 4)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = (10, 20, 30, 0), (10, 20, 30, 255), (0, 0, 0, 128)
    source = opened(write(tmp_path / "all", {"a.png": encoded(pixels), "b.png": encoded(pixels)}))
    np.testing.assert_array_equal(source.images[0], pixels.transpose(2, 0, 1))
    mixed, notes = opened_with_notes(write(tmp_path / "mixed", {"a.png": encoded(pixels), "b.png": colour()}))
    assert mixed.images.shape == (2, 3, 16, 16)
    assert mixed.images[0, :, 0, 0].tolist() == [255, 255, 255]
    assert mixed.images[0, :, 0, 1].tolist() == [10, 20, 30]
    assert all(126 <= int(value) <= 128 for value in mixed.images[0, :, 0, 2])
    assert any("1 of 2 pictures with alpha, laid on white" in note for note in notes)


def test_grey_with_alpha() -> None:
    pixels = noise(16, 16, 2)
    pixels[0, 0], pixels[0, 1] = (90, 0), (90, 255)
    data = encoded(Image.merge("LA", [Image.fromarray(part) for part in np.moveaxis(pixels, 2, 0)]))
    assert read_header(data, "x").kind == "alpha"
    assert decode(data, 1, 16)[0, 0, :2].tolist() == [255, 90]
    full = decode(data, 4, 16)
    np.testing.assert_array_equal(full[3], pixels[:, :, 1])
    assert full[:3, 0, 1].tolist() == [90, 90, 90]


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_counts_as_alpha(mode: str) -> None:
    image = Image.new(mode, (16, 16), 0)
    image.putpixel((3, 0), {"RGB": (255, 255, 255)}.get(mode, 1))
    if mode == "P":
        image.putpalette([255, 0, 0, 0, 255, 0])
    data = encoded(image, transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert read_header(data, "x").kind == "alpha"
    found = decode(data, 3, 16)
    assert found[:, 5, 5].tolist() == [255, 255, 255]
    assert decode(data, 4, 16)[3, 5, 5] == 0
    assert decode(data, 4, 16)[3, 0, 3] == 255


TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("orientation", sorted(TURNS))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_rotations_are_applied(orientation: int, kind: str) -> None:
    pixels = noise(16, 24, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(pixels, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    turned = TURNS[orientation](pixels)
    header = read_header(data, "x")
    assert sorted(header.size) == [16, 24]
    if kind != "TIFF":  # which Pillow turns by itself
        assert header.size == (turned.shape[1], turned.shape[0])
    assert header.traits == (() if orientation == 1 else ("rotated as their EXIF says",))
    top, left = (turned.shape[0] - 16) // 2, (turned.shape[1] - 16) // 2
    np.testing.assert_array_equal(decode(data, 3, 16), turned[top : top + 16, left : left + 16].transpose(2, 0, 1))


def test_exif_rotation_of_a_jpeg_by_its_corners(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :32] = (250, 10, 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the top left goes to the top right
    files = {"a.jpg": encoded(pixels, "JPEG", exif=exif, quality=95)}
    for side in (64, 16, 8):
        source, notes = opened_with_notes(write(tmp_path, files), resolution=side)
        red = source.images[0, 0]
        assert red[side // 4, 3 * side // 4] > 230
        assert max(red[side // 4, side // 4], red[3 * side // 4, 3 * side // 4], red[3 * side // 4, side // 4]) < 20
        assert notes[2:] == [f"{tmp_path}: 1 of 1 pictures rotated as their EXIF says"]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), value) for value in ("red", "blue", "green")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert any("first frame" in trait for trait in read_header(data, "x").traits)
    red, green, blue = (int(value) for value in decode(data, 3, 16).mean((1, 2)))
    assert red >= 245
    assert green <= 10
    assert blue <= 10


def test_floating_point_pixels_are_read_by_their_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    write(tmp_path, {"a.tif": encoded(Image.fromarray(values), "TIFF")})
    np.testing.assert_array_equal(opened(tmp_path).images[0, 0], np.rint(values * 255))
    write(tmp_path, {"b.tif": encoded(Image.fromarray(1000 * values), "TIFF")})
    with pytest.raises(ZerosumError, match=r'values from 0\.\d+ to 99\d.*overrides=\{"data.range": \[0, 998\]\}'):
        opened(tmp_path)
    source = opened(tmp_path, range=[0, 500])
    np.testing.assert_array_equal(source.images[1, 0], np.rint(np.minimum(values * 510, 255)))
    values[3, 3] = np.nan
    write(tmp_path, {"b.tif": encoded(Image.fromarray(values), "TIFF")})
    for limits in (None, [0, 1]):
        _, notes = opened_with_notes(tmp_path, bad_share=0.5, range=limits)
        assert "1 unreadable" in notes[0]
        assert any("NaN" in note for note in notes)


# what is skipped, and what is refused


def broken() -> dict[str, bytes]:
    whole = colour(5, 64, 64)
    return {
        "cut.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "text.png": b"no picture at all",
        "head.gif": b"GIF89a",
    }


def test_what_cannot_be_read_is_skipped_named_and_counted(tmp_path: Path) -> None:
    good = {f"{i:03d}.png": colour(i, 64, 64) for i in range(96)}
    files = good | broken()
    for place in (write(tmp_path / "set", files), write_zip(tmp_path / "set.zip", files)):
        source, notes = opened_with_notes(place)
        assert len(source) == 96
        np.testing.assert_array_equal(source.images[95], noise(64, 64, 3, seed=95).transpose(2, 0, 1))
        assert len(notes) == 3
        assert notes[0] == f"{place}: 96 pictures; 4 unreadable"
        assert "skipped 4 of 100 pictures that cannot be read" in notes[2]
        assert notes[2].count("(") == 3  # three are named with their reasons
        assert notes[2].endswith("...")


def test_labels_stay_with_their_pictures_when_some_are_skipped(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{i:02d}.png": one_colour(i, i, i) for i in range(40)}
    whole = colour(5, 16, 16)
    files["03.png"], files["20.png"] = b"not a picture", whole[: len(whole) // 2]
    files["metadata.csv"] = metadata("file_name,number", *(f"{i:02d}.png,{i // 4}" for i in reversed(range(40))))
    source, notes = opened_with_notes(write(tmp_path, files), range=[0, 255])
    assert len(source) == 38
    assert "skipped 2 of 40" in notes[2]
    assert source.labels is not None
    names = source.spec.labels["number"]
    assert [int(names[index]) for index in source.labels[:, 0]] == (source.images[:, 0, 0, 0] // 4).tolist()
    assert source.images[:, 0, 0, 0].tolist() == [i for i in reversed(range(40)) if i not in (3, 20)]


@pytest.mark.parametrize(("share", "fine"), [(0.0, False), (0.09, False), (0.1, True), (1.0, True)])
def test_too_large_a_share_of_bad_pictures_is_refused(share: float, fine: bool, tmp_path: Path) -> None:
    files = {f"{i}.png": colour(i) for i in range(9)} | {"bad.png": b"not a picture"}
    if fine:
        assert len(opened(write(tmp_path, files), bad_share=share)) == 9
    else:
        with pytest.raises(ZerosumError, match=rf"1 of 10 pictures cannot be read.*bad_share = {share:g}.*bad\.png"):
            opened(write(tmp_path, files), bad_share=share)


def test_bad_pixels_count_like_bad_headers(tmp_path: Path) -> None:
    whole = colour(5)
    files = {f"{i}.png": colour(i) for i in range(8)} | {"cut.png": whole[: len(whole) // 2], "text.png": b"text"}
    with pytest.raises(ZerosumError, match="2 of 10 pictures cannot be read"):
        opened(write(tmp_path, files), bad_share=0.1)
    assert len(opened(tmp_path, bad_share=0.2)) == 8


def test_nothing_but_bad_pictures_is_refused_whatever_the_share(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="none of its 4 pictures can be read"):
        opened(write(tmp_path / "a", broken() | {"cut.png": b"x"}), bad_share=1.0)
    with pytest.raises(ZerosumError, match="can be read"):
        opened(write(tmp_path / "b", {"cut.bmp": encoded(noise(16, 16, 3), "BMP")[:300]}), bad_share=1.0)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (9_000, 9_000), (400_000, 201)])
def test_a_decompression_bomb_is_refused_before_decoding(
    width: int, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{i:03d}.png": colour(i) for i in range(99)} | {"bomb.png": bomb(width, height)}
    monkeypatch.setattr(images_module, "decode", lambda *_: pytest.fail("a picture was decoded"))
    with pytest.raises(ZerosumError, match=r"bomb\.png.*decompression bomb"):
        opened(write(tmp_path, files), resolution=16)


def test_decode_refuses_bombs_by_itself() -> None:
    with pytest.raises(ZerosumError, match="decompression bomb"):
        decode(bomb(), 3, 16)


def test_a_large_picture_below_the_limit_is_taken() -> None:
    assert decode(encoded(Image.new("L", (4000, 2000), 77)), 1, 16).tolist() == [[[77] * 16] * 16]


def test_a_file_too_large_to_be_a_picture_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MOST_BYTES", 2000)
    files = {"a.png": colour(), "big.png": colour(0, 64, 64)}
    for place in (write(tmp_path / "set", files), write_zip(tmp_path / "set.zip", files)):
        source, notes = opened_with_notes(place, bad_share=0.5)
        assert len(source) == 1
        assert "big.png" in notes[2]
        assert "too large" in notes[2]


def test_text_that_unpacks_to_much_is_damage() -> None:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    text = b"Comment\x00\x00" + zlib.compress(bytes(80 * 2**20))
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"zTXt", text) + chunk(b"IDAT", zlib.compress(bytes(72)))
    )
    with pytest.raises(OSError, match=r"damaged|not a picture"):
        read_header(data + chunk(b"IEND", b""), "x")


def pictures_of_every_kind() -> dict[str, bytes]:
    image = Image.fromarray(noise(12, 8, 3))
    other = image.rotate(180)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "jpeg": encoded(image, "JPEG", exif=exif),
        "png": encoded(image, exif=exif),
        "apng": encoded(image, save_all=True, append_images=[other]),
        "gif": encoded(image, "GIF", save_all=True, append_images=[other]),
        "tiff": encoded(image, "TIFF"),
        "webp": encoded(image, "WEBP", exif=exif),
        "avif": encoded(image, "AVIF", exif=exif),
        "bmp": encoded(image, "BMP"),
        "ppm": encoded(image, "PPM"),
    }


@pytest.mark.parametrize("kind", sorted(pictures_of_every_kind()))
def test_headers_are_read_without_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures_of_every_kind()[kind]
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("pixels were decoded"))
    assert sorted(read_header(data, "x").size) == [8, 12]


def test_a_png_without_exif_is_not_decoded_for_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("pixels were decoded"))
    assert read_header(colour(), "x") == Header((16, 16), "colour", ())


@pytest.mark.parametrize("kind", sorted(pictures_of_every_kind()))
def test_damaged_pictures_raise_no_other_errors(kind: str) -> None:
    whole = pictures_of_every_kind()[kind]
    random = np.random.default_rng(0)
    damaged = [whole[:length] for length in range(0, len(whole), max(1, len(whole) // 150))]
    for _ in range(350):
        changed = bytearray(whole)
        changed[random.integers(len(whole))] = random.integers(256)
        damaged.append(bytes(changed))
    strange, refused = set(), 0
    for data in damaged:
        for work in (lambda data: read_header(data, "x"), lambda data: decode(data, 3, 8)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    work(data)
            except (OSError, ZerosumError):
                refused += 1
            except Exception as error:
                strange.add(f"{type(error).__name__}: {error}"[:80])
    assert not strange
    assert refused > 20


@pytest.mark.parametrize("kind", sorted(pictures_of_every_kind()))
def test_pictures_cut_short_cause_no_warnings(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = pictures_of_every_kind()[kind]
    cuts = sorted({round(length) for length in np.linspace(0, len(whole) - 1, 150)})
    files = {f"{length:05d}.{kind}": whole[:length] for length in cuts} | {f"whole.{kind}": whole}
    files = {name.replace(".apng", ".png"): data for name, data in files.items()}
    source, notes = opened_with_notes(write(tmp_path, files), bad_share=1.0, resolution=8)
    assert 1 <= len(source) <= len(files) // 2
    assert f"skipped {len(files) - len(source)} of {len(files)} pictures" in notes[2]
    assert capfd.readouterr().err == ""


def test_damaged_exif_does_not_stop_the_rest(tmp_path: Path) -> None:
    files = {f"{i:02d}.jpg": encoded(noise(16, 16, 3, seed=i), "JPEG") for i in range(30)}
    files["x.jpg"] = encoded(noise(16, 16, 3), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05\x01\x12")
    source, notes = opened_with_notes(write(tmp_path, files))
    assert len(source) == 31 or (len(source) == 30 and "x.jpg" in notes[2])


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "set.zip", TWO_CLASSES).read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2], whole[-200:]):
        (tmp_path / "set.zip").write_bytes(content)
        with pytest.raises(ZerosumError, match=r"set\.zip"):
            opened(tmp_path / "set.zip")


def test_a_damaged_member_is_skipped(tmp_path: Path) -> None:
    files = {f"{i:02d}.bmp": encoded(noise(16, 16, 3, seed=i), "BMP") for i in range(30)}
    path = write_zip(tmp_path / "set.zip", files)
    whole = bytearray(path.read_bytes())
    start = whole.index(b"07.bmp") + len("07.bmp")
    for place in range(start, start + 60):  # the compressed data of one picture
        whole[place] ^= 255
    path.write_bytes(bytes(whole))
    source, notes = opened_with_notes(path)
    assert len(source) == 29
    assert "skipped 1 of 30" in notes[2]
    assert "07.bmp" in notes[2]


def test_flipped_bytes_of_a_zip_raise_one_kind_of_error_only(tmp_path: Path) -> None:
    picture = encoded(Image.new("RGB", (8, 8), "red"), "BMP")
    path = write_zip(tmp_path / "set.zip", {"a.bmp": picture, "b.bmp": picture})
    whole = path.read_bytes()
    strange, refused = set(), 0
    for place in range(len(whole)):
        for value in {255, whole[place] ^ 1} - {whole[place]}:
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                opened(path)
            except ZerosumError:
                refused += 1
            except Exception as error:
                strange.add(f"byte {place} = {value}: {type(error).__name__}: {error}")
    assert not strange
    assert refused > 50


# paths that lead elsewhere


@pytest.mark.parametrize("name", ["../up.png", "a/../../up.png", "/abs.png", "//abs.png", "C:\\abs.png", "..\\up.png"])
def test_zip_members_that_point_elsewhere_do_no_harm(name: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {name: colour(1), "good.png": colour(2), "more.png": colour(3)})
    before = sorted(tmp_path.rglob("*"))
    source = opened(path)
    assert 2 <= len(source) <= 3
    assert source.labels is None
    assert sorted(tmp_path.rglob("*")) == before
    assert not list(tmp_path.parent.glob("up.png"))


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret.png": colour(1), "deep/other.png": colour(2)})
    folder = write(tmp_path / "set", {"a.png": colour(0)})
    (folder / "file.png").symlink_to(tmp_path / "outside" / "secret.png")
    (folder / "folder").symlink_to(tmp_path / "outside")
    (folder / "broken.png").symlink_to(tmp_path / "nowhere")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "again").symlink_to(folder)
    with pytest.raises(
        ZerosumError, match=r'2 links out of the folder.*to follow them: overrides=\{"data.links": True\}'
    ):
        opened(folder)
    source, notes = opened_with_notes(folder, bad_share=0.9)
    assert len(source) == 1
    np.testing.assert_array_equal(source.images[0], noise(16, 16, 3).transpose(2, 0, 1))
    assert "2 links out of the folder (file.png, folder, 3 pictures behind)" in notes[0]
    assert "2 links that lead nowhere (broken.png, loop.png)" in notes[0]
    assert "1 link to folders that are read at their own place (again)" in notes[0]
    followed, notes = opened_with_notes(folder, bad_share=0.9, links=True)
    assert len(followed) == 4
    assert "out of the folder" not in notes[0]


def test_links_within_a_folder_are_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", {"a.png": colour(0)})
    (folder / "b.png").symlink_to(folder / "a.png")
    (tmp_path / "link").symlink_to(folder)
    assert len(opened(folder)) == 2
    assert len(opened(tmp_path / "link")) == 2


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": colour(0)})
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert len(opened(tmp_path)) == 1


# the cache of decoded pictures


class Counting:
    """Counts what is decoded."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *arguments: Any) -> Pixels:
        self.count += 1
        return decode(*arguments)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Sets of 10 pictures are worth keeping."""
    counting = Counting()
    monkeypatch.setattr(images_module, "decode", counting)
    monkeypatch.setattr(images_module, "WORTH_KEEPING", 10)
    return counting


def twelve(root: Path) -> Path:
    good: dict[str, bytes | str] = {f"{i:02d}.png": colour(i) for i in range(11)}
    return write(root, good | {"05x.bmp": encoded(noise(16, 16, 3), "BMP")[:300]})


@pytest.mark.parametrize("memory", [4.0, 1e-6])
def test_the_second_opening_decodes_nothing(
    memory: float, counting: Counting, data_folder: Path, tmp_path: Path
) -> None:
    first, told = opened_with_notes(twelve(tmp_path / "set"), bad_share=0.1, memory=memory)
    assert counting.count == 12
    second, told_again = opened_with_notes(tmp_path / "set", bad_share=0.1, memory=memory)
    assert counting.count == 12
    assert told == told_again
    assert "05x.bmp" in told[2]
    for source in (first, second):
        assert isinstance(source.images, np.memmap) is (memory < 1)
        assert len(source) == 11
        for seed in range(11):
            np.testing.assert_array_equal(source.images[seed], noise(16, 16, 3, seed=seed).transpose(2, 0, 1))
    assert first.fingerprint == second.fingerprint
    assert len(list(data_folder.rglob("*.npy"))) == 1
    assert not list(data_folder.rglob("*.part"))


def test_the_cache_is_of_one_set_at_one_resolution(counting: Counting, data_folder: Path, tmp_path: Path) -> None:
    opened(twelve(tmp_path / "set"), bad_share=0.1)
    opened(tmp_path / "set", bad_share=0.1, resolution=8)
    assert counting.count == 24
    opened(tmp_path / "set", bad_share=0.1, channels=1)
    assert counting.count == 36
    write(tmp_path / "set", {"00.png": colour(99, 16, 16) + b" "})
    changed = opened(tmp_path / "set", bad_share=0.1)
    assert counting.count == 48
    np.testing.assert_array_equal(changed.images[0], noise(16, 16, 3, seed=99).transpose(2, 0, 1))
    twelve(tmp_path / "other" / "set")
    opened(tmp_path / "other" / "set", bad_share=0.1)
    assert counting.count == 60
    assert len(list(data_folder.rglob("*.npy"))) == 5


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "array truncated": lambda array, _: array.write_bytes(array.read_bytes()[:-100]),
    "array empty": lambda array, _: array.write_bytes(b""),
    "array no array": lambda array, _: array.write_bytes(b"something else"),
    "array of another shape": lambda array, _: np.save(array, noise(12, 3, 8, 8)),
    "array of fewer pictures": lambda array, _: np.save(array, noise(4, 3, 16, 16)),
    "array of another type": lambda array, _: np.save(array, np.zeros((12, 3, 16, 16), np.float32)),
    "list missing": lambda _, listed: listed.unlink(),
    "list empty": lambda _, listed: listed.write_text(""),
    "list of another kind": lambda _, listed: listed.write_text("[1, 2]"),
    "list without names": lambda _, listed: listed.write_text('{"shape": [3, 16, 16], "native": 16, "notes": []}'),
    "list of no names": lambda _, listed: listed.write_text(
        '{"shape": [3, 16, 16], "names": [], "native": 16, "notes": []}'
    ),
}


@pytest.mark.parametrize("memory", [4.0, 1e-6])
@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_damaged_cache_is_made_again(
    damage: str, memory: float, counting: Counting, data_folder: Path, tmp_path: Path
) -> None:
    first = np.array(opened(twelve(tmp_path / "set"), bad_share=0.1, memory=memory).images)
    (array,) = data_folder.rglob("*.npy")
    (listed,) = data_folder.rglob("*.json")
    DAMAGES[damage](array, listed)
    second = opened(tmp_path / "set", bad_share=0.1, memory=memory)
    assert counting.count == 24
    np.testing.assert_array_equal(second.images, first)
    opened(tmp_path / "set", bad_share=0.1, memory=memory)
    assert counting.count == 24


def test_small_sets_are_not_kept(data_folder: Path, tmp_path: Path) -> None:
    opened(twelve(tmp_path / "set"), bad_share=0.1)
    assert list(data_folder.iterdir()) == []


def test_large_sets_are_read_through_a_memory_map(data_folder: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO_CLASSES)
    large, small = opened(folder, memory=1e-6), opened(folder)
    assert isinstance(large.images, np.memmap)
    assert not isinstance(small.images, np.memmap)
    np.testing.assert_array_equal(large.images, small.images)
    assert large.fingerprint == small.fingerprint
    assert len(list(data_folder.rglob("*.npy"))) == 1


def test_a_cache_that_cannot_be_written_costs_time_only(
    counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"file": b""})
    monkeypatch.setenv("ZEROSUM_CACHE", str(tmp_path / "file" / "below"))
    for count in (12, 24):
        assert len(opened(twelve(tmp_path / "set"), bad_share=0.1)) == 11
        assert counting.count == count
    large = opened(tmp_path / "set", bad_share=0.1, memory=1e-6)  # in a folder that lasts as long as this process
    assert isinstance(large.images, np.memmap)


def test_decoding_on_many_threads_keeps_order(tmp_path: Path) -> None:
    count = 600
    pictures = {f"{i:04d}.png": one_colour(i % 256, i // 256, 7) for i in range(count)}
    before = list(warnings.filters)
    found = opened(write_zip(tmp_path / "set.zip", pictures)).images[:, :2, 8, 8].astype(int)
    assert (found[:, 0] + 256 * found[:, 1]).tolist() == list(range(count))
    assert list(warnings.filters) == before  # of the whole process, which threads share


# real sets


def test_real_faces(real_data: Path, data_folder: Path) -> None:
    if not (real_data / "faces64.zip").is_file():
        pytest.skip("no faces64.zip in the real data")
    (data_folder / "faces64.zip").symlink_to(real_data / "faces64.zip")
    bins = {"young": [10, 30], "adult": [30, 55], "old": [55, 120]}
    attributes = {"gender": ["female", "male"], "age": bins}
    source, notes = opened_with_notes("faces64", attributes=attributes)
    with zipfile.ZipFile(real_data / "faces64.zip") as file:
        rows = list(csv.DictReader(io.StringIO(file.read("metadata.csv").decode())))
    expected: Counter[str] = Counter()
    for row in rows:
        group = next((name for name, (low, high) in bins.items() if low <= float(row["age"]) < high), "")
        expected[f"{row['gender']} {group}"] += 1
    left_out = expected.pop("female ") + expected.pop("male ")
    spec = source.spec
    assert len(rows) == 16_000
    assert 100 <= left_out <= 6_000
    assert len(source) == 16_000 - left_out
    assert source.images.shape[1:] == (3, 64, 64)
    assert spec.labels == {"gender": ("female", "male"), "age": ("young", "adult", "old")}
    assert {spec.describe(row): count for row, count in zip(spec.combinations, spec.counts, strict=True)} == expected
    assert any(f"{left_out} pictures lie in none of the bins" in note for note in notes)
    assert len(list(data_folder.rglob("*.npy"))) == 1
