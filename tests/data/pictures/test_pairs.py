"""Pairs of pictures: layouts, splits, what is refused, and that both of a pair go together."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.make import bomb, encoded, noise, opened, opened_with_notes, write, write_zip
from zerosum.data.pictures.fit import Pixels
from zerosum.data.pictures.source import PictureSource
from zerosum.errors import NoTestSplit, ZerosumError

SIDE = 16
STEMS = [f"p{number}" for number in range(4)]
#: the two pictures of each pair
A, B = ({stem: noise(SIDE, SIDE, 3, seed=seed + at) for at, stem in enumerate(STEMS)} for seed in (0, 100))

LAYOUTS = {
    "folders": {f"{side}/{stem}.png": encoded(own[stem]) for side, own in (("A", A), ("B", B)) for stem in STEMS},
    "side by side": {f"{stem}.png": encoded(np.concatenate([A[stem], B[stem]], 1)) for stem in STEMS},
    "in a folder": {
        f"my set/{side}/deep/{stem}.png": encoded(o[stem]) for side, o in (("A", A), ("B", B)) for stem in STEMS
    },
}


def open_pairs(root: Path, split: str = "train", **keys: Any) -> PictureSource:
    return opened(root, split, input="pair", **keys)


def as_floats(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div(127.5).sub(1)


def check(source: PictureSource, stems: list[str], given: str = "A") -> None:
    """Every pair is there, in order, and right."""
    assert len(source) == len(stems)
    batch = source.pick(np.arange(len(stems)))
    first, second = (A, B) if given == "A" else (B, A)
    for picture, image, stem in zip(batch.given, batch.real, stems, strict=True):
        assert torch.equal(picture, as_floats(first[stem]))
        assert torch.equal(image, as_floats(second[stem]))


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("zipped", [False, True])
def test_layouts(tmp_path: Path, layout: str, zipped: bool) -> None:
    files = LAYOUTS[layout]
    root = write_zip(tmp_path / "set.zip", files) if zipped else write(tmp_path / "set", files)
    source = open_pairs(root)
    check(source, STEMS)
    assert (source.spec.channels, source.spec.resolution, source.spec.native, source.labels) == (3, SIDE, SIDE, None)
    assert source.spec.input is not None
    assert (source.spec.input.channels, source.spec.input.factor) == (3, 1)
    check(open_pairs(root, given="B"), STEMS, "B")
    assert open_pairs(root, given="B").fingerprint != source.fingerprint
    assert torch.equal(source.native([1])[0], as_floats(B[STEMS[1]]))


@pytest.mark.parametrize("path", ["{part}/{side}/{stem}.png", "{side}/{part}/{stem}.png"])
def test_splits(tmp_path: Path, path: str) -> None:
    files = {
        path.format(part=part, side=side, stem=stem): encoded(own[stem])
        for side, own in (("A", A), ("B", B))
        for part, stems in (("train", STEMS[:3]), ("test", STEMS[3:]))
        for stem in stems
    }
    root = write(tmp_path, files)
    check(open_pairs(root), STEMS[:3])
    check(open_pairs(root, "test", hold_out=0.5), STEMS[3:])  # the data's own split goes first


def test_a_part_is_held_out_where_there_is_no_test_split(tmp_path: Path) -> None:
    root = write(tmp_path, LAYOUTS["folders"])
    with pytest.raises(NoTestSplit):
        open_pairs(root, "test")
    train, test = (open_pairs(root, split, hold_out=0.25) for split in ("train", "test"))
    assert (len(train), len(test)) == (3, 1)
    shown = torch.cat([train.pick(np.arange(3)).real, test.pick(np.arange(1)).real])
    assert {tuple(image.flatten().tolist()) for image in shown} == {
        tuple(as_floats(B[stem]).flatten().tolist()) for stem in STEMS
    }


def test_both_of_a_pair_are_mirrored_and_resized_alike(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(32, dtype=np.uint8)[None, :, None] * 8, (32, 1, 3))
    root = write(tmp_path, {f"{side}/{n}.png": encoded(ramp) for side in "AB" for n in range(8)})
    batch = open_pairs(root, mirror=True, resolution=16).batch(0, 0, 8)
    assert torch.equal(batch.given, batch.real)  # as they were equal before
    rising = batch.real[:, 0, 0, -1] > batch.real[:, 0, 0, 0]
    assert 0 < rising.sum() < 8


def test_channels_are_those_of_both(tmp_path: Path) -> None:
    grey, alpha = encoded(noise(8, 8)), encoded(noise(8, 8, 4))
    assert open_pairs(write(tmp_path / "1", {"A/x.png": grey, "B/x.png": grey})).spec.channels == 1
    assert open_pairs(write(tmp_path / "2", {"A/x.png": grey, "B/x.png": alpha})).spec.channels == 3
    assert open_pairs(write(tmp_path / "3", {"A/x.png": alpha, "B/x.png": alpha})).spec.channels == 4
    spec = open_pairs(tmp_path / "2", channels=1).spec
    assert spec.input is not None
    assert (spec.channels, spec.input.channels) == (1, 1)


def test_what_is_told(tmp_path: Path) -> None:
    good = LAYOUTS["folders"]
    root = write(
        tmp_path / "1", good | {"A/bad.png": b"no picture", "B/bad.png": encoded(B["p0"]), "x.png": bomb(9, 9)}
    )
    source, notes = opened_with_notes(root, input="pair", bad_share=0.5)
    check(source, STEMS)
    assert notes[0] == f"{root}: 5 pairs, folders A and B; 1 picture in neither A nor B (x.png)"
    assert any("skipped 1 of 5 pairs that cannot be read: bad (not a picture)" in note for note in notes)
    wide = encoded(noise(8, 12, 3))
    _, notes = opened_with_notes(write(tmp_path / "2", {"A/x.png": wide, "B/x.png": wide}), input="pair")
    assert any("1 of 1 pairs not square: centre cut out for 8x8" in note for note in notes)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"A/x.png": 16, "A/y.png": 16, "B/x.png": 16},
            r"1 of 2 pictures of A have none of the same name in B: A/y.png",
        ),
        ({"A/x.png": 16}, r"1 of 1 pictures of A have none of the same name in B"),
        ({"B/x.png": 16}, r"1 of 1 pictures of B have none of the same name in A"),
        ({"A/x.png": 16, "B/x.png": 8}, r"A/x.png is 16x16, B/x.png is 8x8: both pictures of a pair have one size"),
        ({"x.png": 16}, r"x.png is 16x16: a pair is a picture twice as wide as high"),
        ({"A/x.png": 16, "A/x.jpg": 16, "B/x.png": 16}, r"A/x.jpg and A/x.png would both be x: rename one"),
        ({"readme.txt": None}, r"no pictures"),
        (
            {"A/x.png": 16, "B/x.png": 16, "A/y.png": 32, "B/y.png": 32},
            r"differ in size \(16 to 32\): overrides=\{.data.reso",
        ),
        ({"A/x.png": None, "B/x.png": 16}, r"none of its 1 pictures can be read: x \(not a picture\)"),
        ({"test/A/x.png": 16, "test/B/x.png": 16}, r"no pictures in its folder train"),
    ],
)
def test_what_is_refused(tmp_path: Path, files: dict[str, int | None], message: str) -> None:
    written = {
        name: b"nothing" if side is None else encoded(noise(side, side, 3), "JPEG" if name.endswith("jpg") else "PNG")
        for name, side in files.items()
    }
    with pytest.raises(ZerosumError, match=message) as error:
        open_pairs(write(tmp_path, written))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("uri", ["digits", "x.npy", "s3://bucket/set"])
def test_only_folders_and_zips_hold_pairs(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", noise(4, 8, 8))
    with pytest.raises(ZerosumError, match=r"data.input = pair: give a folder or zip of pairs"):
        opened(uri, input="pair")


def test_a_large_set_is_kept_and_read_through_a_memory_map(tmp_path: Path, empty_cache: Path) -> None:
    root = write(tmp_path / "set", LAYOUTS["folders"])
    first, again = (open_pairs(root, memory=1e-9) for _ in range(2))
    for source in (first, again):
        assert isinstance(source.images.base if source.images.base is not None else source.images, np.memmap)
        check(source, STEMS)
    assert len(list((empty_cache / "decoded").glob("*-pairs-*.npy"))) == 1


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "outside", {"y.png": encoded(A["p0"])})
    root = write(tmp_path / "set", LAYOUTS["folders"])
    (root / "A" / "y.png").symlink_to(tmp_path / "outside" / "y.png")
    with pytest.raises(ZerosumError, match=r"1 of 9 pictures are lost.*1 link out of the folder \(A/y\.png\)"):
        open_pairs(root)
    check(open_pairs(root, bad_share=0.2), STEMS)


def test_a_zip_with_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in (
            LAYOUTS["folders"] | {"../A/evil.png": b"", "__MACOSX/A/p0.png": b"", "/.abs.png": b""}
        ).items():
            file.writestr(name, data)
    check(open_pairs(path), STEMS)
    Image.new("RGB", (8, 8)).save(tmp_path / "alone.png")
    with pytest.raises(ZerosumError, match=r"expected a folder"):
        open_pairs(tmp_path / "alone.png")


def test_each_side_has_values_of_its_own(tmp_path: Path) -> None:
    """A mask of 0 and 1, and a scan of 12 bits."""
    mask = (noise(16, 16) > 127).astype(np.uint8)
    scan = noise(16, 16, seed=1).astype(np.uint16) * 16
    scan[0, 0] = 4095
    root = write(tmp_path, {"A/x.png": encoded(mask), "B/x.png": encoded(Image.fromarray(scan))})
    for given, ranges in (("A", (0, 1)), ("B", (0, 4095))):
        source, notes = opened_with_notes(root, input="pair", given=given)
        first, second = source.images[0] if given == "A" else source.images[0][::-1]
        np.testing.assert_array_equal(first, mask * 255)
        np.testing.assert_array_equal(second, np.rint(scan * (255 / 4095)))
        assert source.spec.input is not None
        assert source.spec.input.range == ranges
        assert any("B: values 0 to 4095 (12 bits) become 0 to 255" in note for note in notes)


def test_domains_of_cyclegan_may_be_pairs(tmp_path: Path) -> None:
    folders = ("trainA", "trainB", "testA", "testB")
    files = {f"{folder}/{i}.png": encoded(noise(16, 16, 3, seed=i)) for folder in folders for i in range(3)}
    assert (len(open_pairs(write(tmp_path, files))), len(open_pairs(tmp_path, "test"))) == (3, 3)
